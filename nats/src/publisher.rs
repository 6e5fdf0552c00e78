//! The ordered publisher of one venue (design 4, promise b): one publish outstanding, the next only after its
//! acknowledgement, in the order of the socket, with a bounded backlog while NATS is away.

mod backlog;
mod held;
mod monitor;
mod pulse;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::HeaderMap;
use futures_util::{FutureExt, future::BoxFuture};
use schemas::{market::MarketEvent, name::Venue, time::EventTime};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use backlog::BacklogLimits;
pub use monitor::{PublisherMonitor, PublisherStats};

use crate::{
    bus::Bus,
    config::Market,
    log::{PublishError, Stored},
    publisher::{
        backlog::{Backlog, Item, Kind},
        held::HeldIds,
        pulse::Pulse,
    },
    read::{RETRY_PAUSE, ReadError},
};

/// An event as `ingest` observed it. The root package maps its observations to this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The event.
    pub event: MarketEvent,
    /// It came from a backfill or an old first frame, so MARKET may hold it from long ago.
    pub backfill: bool,
}

/// What a publisher is told.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// Which ingest process, for the feed event that names a loss.
    pub instance: String,
    /// How much is kept while NATS is away.
    pub backlog: BacklogLimits,
    /// How long the backlog may take to empty after shutdown was asked for.
    pub drain: Duration,
}

/// How a publisher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherReport {
    /// Events that were not stored: 0 is a clean end.
    pub unpublished: usize,
}

/// How often the process proves to itself that it did not stand still.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);
/// Problems that go on are said once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How often the first version of the rules is looked for.
const RULES_PAUSE: Duration = Duration::from_millis(500);
/// Ids are forgotten when nothing late was published for this long; they are read again when something is.
const HELD_RELEASED_AFTER: Duration = Duration::from_secs(60);

/// The publisher of one venue.
#[derive(Debug)]
pub struct VenuePublisher {
    bus: Bus,
    venue: Venue,
    config: PublisherConfig,
    monitor: Arc<PublisherMonitor>,
    backlog: Backlog,
    pulse: Pulse,
    current: Option<Arc<Item>>,
    held: Option<HeldIds>,
    held_used: Instant,
    rules_seen: bool,
    failing: Option<Failing>,
}

/// Since when events are not accepted, when that was last said, and whether the pause after the last attempt is over.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    said: Option<Instant>,
    rested: bool,
}

/// What one step of the outside world came to.
enum Step {
    /// A version of the rules exists.
    Rules,
    /// The pause is over and NATS answers.
    Ready,
    /// The current event was dealt with or not.
    Attempted { held: Option<HeldIds>, outcome: Result<Outcome, Problem> },
}

enum Outcome {
    Stored,
    Duplicate,
    /// MARKET held it; it was not published.
    LeftOut,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Problem {
    /// Returns whether the same event may be accepted later. A missing MARKET may be created.
    const fn is_retryable(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_retryable(),
            Self::Read(_) => true,
        }
    }
}

impl VenuePublisher {
    /// Returns a publisher of `venue`'s events that counts in `monitor`.
    pub fn new(bus: Bus, venue: Venue, config: PublisherConfig, monitor: Arc<PublisherMonitor>) -> Self {
        let backlog = Backlog::new(config.backlog);
        let pulse = Pulse::new(bus.config().limits.duplicate_window);
        Self {
            bus,
            venue,
            config,
            monitor,
            backlog,
            pulse,
            current: None,
            held: None,
            held_used: Instant::now(),
            rules_seen: false,
            failing: None,
        }
    }

    /// Publishes what comes through `events` until it is closed or `shutdown` is cancelled, then empties the backlog
    /// within the configured time.
    pub async fn run(mut self, mut events: mpsc::Receiver<Observed>, shutdown: CancellationToken) -> PublisherReport {
        let mut step: Option<BoxFuture<'static, Step>> = None;
        let mut pulse = tokio::time::interval(PULSE_INTERVAL);
        let mut deadline: Option<Instant> = None;
        loop {
            if step.is_none() {
                step = self.next_step();
            }
            if step.is_none() && deadline.is_some() {
                break;
            }
            let drained = deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                // 1. What is outstanding comes first: nothing else can be published before it.
                done = async { step.as_mut().expect("guarded").await }, if step.is_some() => {
                    step = None;
                    self.handle_step(done);
                }
                // 2. The heartbeat, so that a process that stood still knows it before it publishes.
                _ = pulse.tick() => self.pulse.beat(),
                // 3. The deadline and the wish to end.
                () = tokio::time::sleep_until(drained), if deadline.is_some() => break,
                () = shutdown.cancelled(), if deadline.is_none() => {
                    events.close();
                    while let Ok(observed) = events.try_recv() {
                        self.push(observed);
                    }
                    deadline = Some(Instant::now() + self.config.drain);
                }
                // 4. Input. It never waits for NATS: the backlog has its own bound.
                observed = events.recv(), if deadline.is_none() => match observed {
                    Some(observed) => self.push(observed),
                    None => deadline = Some(Instant::now() + self.config.drain),
                },
            }
        }
        let unpublished = self.backlog.len() + usize::from(self.current.is_some());
        if unpublished > 0 {
            warn!(venue = %self.venue, unpublished, "stopped with events that were not stored");
        }
        PublisherReport { unpublished }
    }

    fn push(&mut self, observed: Observed) {
        let event_time = match &observed.event {
            MarketEvent::Liquidation(event) => event.event_time,
            MarketEvent::OpenInterest(event) => event.event_time,
            MarketEvent::Feed(event) => event.event_time,
            // A host's clock: it only says how old the canary is.
            MarketEvent::Canary(event) => EventTime::from_millis(event.received_at.as_millis()),
            // Rules come from detect or the command line, never from a venue.
            MarketEvent::Rules(_) => return self.monitor.count_refused(),
        };
        let subject = self.bus.event_subject(&observed.event);
        match Item::new(subject, &observed, event_time) {
            Ok(item) => {
                let dropped = self.backlog.push(item);
                self.monitor.count_pushed(&self.backlog, dropped);
            }
            Err(too_large) => {
                error!(venue = %self.venue, error = %too_large, "an event was refused");
                self.monitor.count_refused();
            }
        }
    }

    /// Returns the next thing to wait for, or nothing when everything is published.
    fn next_step(&mut self) -> Option<BoxFuture<'static, Step>> {
        if self.current.is_none() {
            let gap = self.backlog.take_loss().map(|loss| loss.into_event(&self.venue, &self.config.instance));
            self.current = match gap {
                Some(feed) => {
                    let event_time = feed.event_time;
                    let event = MarketEvent::Feed(feed);
                    let subject = self.bus.event_subject(&event);
                    Item::new(subject, &Observed { event, backfill: false }, event_time).ok()
                }
                None => self.backlog.pop(),
            }
            .map(Arc::new);
            self.monitor.set_backlog(&self.backlog);
        }
        let item = Arc::clone(self.current.as_ref()?);
        let bus = self.bus.clone();
        if !self.rules_seen {
            return Some(wait_for_rules(bus, self.venue.clone()).boxed());
        }
        if self.failing.is_some_and(|failing| !failing.rested) || !bus.is_up() {
            return Some(wait_for_nats(bus).boxed());
        }
        let late = self.is_late(&item);
        let held = match (late, self.held.take()) {
            (true, held) => {
                self.held_used = Instant::now();
                Some(held.unwrap_or_else(|| HeldIds::new(self.bus.names().liquidations_of(&self.venue))))
            }
            (false, held) => {
                // Not needed for this event; kept for a while because late events come together.
                self.held = held.filter(|_| self.held_used.elapsed() < HELD_RELEASED_AFTER);
                None
            }
        };
        Some(attempt(bus, item, held).boxed())
    }

    /// Returns whether MARKET may hold the event although the server has forgotten its id (design 3 and 4).
    fn is_late(&mut self, item: &Item) -> bool {
        self.pulse.beat();
        match item.kind {
            // Only liquidations are summed up; any other event may lie in the log twice.
            Kind::Alive | Kind::Other => false,
            Kind::Liquidation => {
                let window = self.bus.config().limits.duplicate_window;
                // A venue's clock may be 10 s ahead of ours and of the other ingest's (design 3), and the publish takes
                // its time: a quarter of the window is kept in hand.
                let late_after = window.mul_f64(0.75);
                let age_ms = now_millis().saturating_sub(item.event_time.as_millis());
                item.backfill
                    || self.bus.market() == Market::Recorded
                    || self.pulse.stood_still()
                    || age_ms > i64::try_from(late_after.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }

    fn handle_step(&mut self, step: Step) {
        match step {
            Step::Rules => self.rules_seen = true,
            Step::Ready => {
                if let Some(failing) = &mut self.failing {
                    failing.rested = true;
                }
            }
            Step::Attempted { held, outcome } => {
                if held.is_some() {
                    self.held = held;
                }
                match outcome {
                    Ok(outcome) => self.handle_outcome(&outcome),
                    Err(problem) if problem.is_retryable() => self.handle_failure(&problem),
                    Err(problem) => {
                        error!(venue = %self.venue, error = %problem, "an event was refused");
                        self.monitor.count_refused();
                        self.current = None;
                    }
                }
            }
        }
    }

    fn handle_outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Stored => self.monitor.count_stored(),
            Outcome::Duplicate => self.monitor.count_duplicate(),
            Outcome::LeftOut => self.monitor.count_left_out(),
        }
        self.current = None;
        if let Some(failing) = self.failing.take() {
            let failed_ms = u64::try_from(failing.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(venue = %self.venue, failed_ms, waiting = self.backlog.len(), "events are stored again");
        }
    }

    fn handle_failure(&mut self, problem: &Problem) {
        self.monitor.count_retry();
        let now = Instant::now();
        let failing = self.failing.get_or_insert(Failing { since: now, said: None, rested: false });
        failing.rested = false;
        if failing.said.is_none_or(|said| now.duration_since(said) >= LOG_INTERVAL) {
            failing.said = Some(now);
            warn!(venue = %self.venue, error = %problem, "an event was not stored; retrying");
        }
    }
}

/// Publishes one event, unless it is late and MARKET holds it.
async fn attempt(bus: Bus, item: Arc<Item>, mut held: Option<HeldIds>) -> Step {
    let outcome = async {
        if let Some(held) = &mut held {
            let recorded = bus.market() == Market::Recorded;
            if held.contains(&bus, item.id, (!recorded).then_some(item.event_time)).await? {
                return Ok(Outcome::LeftOut);
            }
        }
        let encoded = (item.schema.clone(), item.payload.clone());
        let Stored { duplicate, .. } =
            bus.store(&item.subject, encoded, HeaderMap::new(), Some(&item.id.to_string())).await?;
        Ok(if duplicate { Outcome::Duplicate } else { Outcome::Stored })
    }
    .await;
    Step::Attempted { held, outcome }
}

/// Waits out a pause and then for the connection, so that nothing lies in the client's queue while NATS is away: what
/// lies there is sent after a reconnect, however late that is (nats.md 6.2).
async fn wait_for_nats(bus: Bus) -> Step {
    tokio::time::sleep(RETRY_PAUSE).await;
    bus.connected().await;
    Step::Ready
}

/// Design 4: ingest publishes nothing before a version of the rules exists.
async fn wait_for_rules(bus: Bus, venue: Venue) -> Step {
    let mut said: Option<Instant> = None;
    loop {
        bus.connected().await;
        match bus.has_rules().await {
            Ok(true) => return Step::Rules,
            Ok(false) if said.is_none() => {
                info!(%venue, "waiting for the first version of the rules; `foreshock detect` publishes it");
                said = Some(Instant::now());
            }
            Ok(false) => {}
            Err(error) if said.is_none_or(|said| said.elapsed() >= LOG_INTERVAL) => {
                warn!(%venue, %error, "the rules cannot be looked up; retrying");
                said = Some(Instant::now());
            }
            Err(_) => {}
        }
        tokio::time::sleep(RULES_PAUSE).await;
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
