//! `foreshock detect`: folds MARKET and stores what comes of it in ALERTS.
//!
//! Any number of workers do the same at the same time: the broker takes each alert once.

mod metrics;
mod rules;
mod start;

pub use metrics::Watch;
pub(crate) use rules::publish as publish_rules;
pub(crate) use start::from_the_first;

use std::time::Duration;

use anyhow::Context as _;
use detect::{
    detector::{CODE, Counters, Detected, Detector, Output},
    rules::Rules,
};
use nats::{AlertStored, Bus, Cursor, Record, SaveOutcome, SnapshotHead};
use schemas::{
    alert::Alert,
    amount::Usd,
    id::Id,
    market::{Canary, MarketEvent},
    position::{Created, MarketPosition, Sequence},
    subject::Stream,
    wire,
};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::run::{RETRY_PAUSE, host_clock_ms, metrics::ms_to_s, park};

/// A snapshot is written at most this often (design 4).
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);

/// What people see of a worker is brought up to date at most this often.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

/// A canary older than an alert's time to live (design 5) says nothing any more.
const CANARY_AGE_MS_MAX: i64 = 120_000;

/// What people see of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// It has read everything MARKET held when it started.
    pub ready: bool,
    /// The last place of MARKET it has handled, with every output stored.
    pub position: u64,
    /// Messages of MARKET it still has to read.
    pub pending: u64,
    /// Alerts it was the first to store.
    pub stored: u64,
    /// Alerts that were in ALERTS already.
    pub already_present: u64,
    /// Messages that could not be decoded and were parked.
    pub dead: u64,
    /// Position of the last snapshot.
    pub snapshot: Option<u64>,
    /// What the fold counted.
    pub counters: Counters,
    /// What each base looks like.
    pub bases: Vec<Base>,
}

/// One base's window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The base asset.
    pub base: String,
    /// Its window clock, milliseconds since 1970 UTC, venue time.
    pub clock: Option<i64>,
    /// Accepted liquidations in the window.
    pub count: u64,
    /// Their sum.
    pub notional_usd: Usd,
    /// The tier of the open cascade.
    pub open_tier: Option<u64>,
    /// Its open interest, once there is a sample.
    pub open_interest: Option<OpenInterest>,
}

/// One base's open interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OpenInterest {
    /// Venues with a sample that is not stale.
    pub venues: u32,
    /// Their newest open interest together.
    pub usd: Usd,
    /// Venue time of the newest sample, milliseconds since 1970 UTC.
    pub newest: i64,
}

/// Runs a worker until `shutdown`.
///
/// `configured` are the rules of file and environment, if this worker is configured with any.
///
/// # Errors
/// When the log is not the one it began with (deleted, restored from an older copy), or the rules cannot be read: a new
/// start sorts that out.
pub async fn run(bus: Bus, configured: Option<Rules>, watch: Watch, shutdown: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        result = work(&bus, configured, &watch) => result,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn work(bus: &Bus, configured: Option<Rules>, watch: &Watch) -> anyhow::Result<()> {
    rules::bring_into_force(bus, configured).await.context("the configured rules cannot be brought into force")?;
    let start = start::find(bus).await.context("the place to start from cannot be found")?;
    let restored = start.last.map(|(position, _)| position.get());
    let mut worker = Worker {
        bus,
        watch,
        created: start.created,
        detector: start.detector,
        skip_before: start.skip_before,
        last: start.last,
        snapshot_at: Instant::now(),
        snapshot_of: start.last.map(|(position, _)| position),
        status: Status { position: restored.unwrap_or_default(), snapshot: restored, ..Status::default() },
    };
    let from = start.from;
    let mut cursor = Cursor::open(bus, Stream::Market, from, None).await.context("MARKET cannot be read")?;
    let mut shown = Instant::now();
    loop {
        if !worker.status.ready && cursor.pending() == 0 {
            worker.status.ready = true;
            info!(from = from.get(), position = worker.status.position, "detector has caught up with MARKET");
            worker.show(0);
        }
        // 1. What is there is handled, 2. else what people see is brought up to date, 3. else a snapshot is due.
        tokio::select! {
            biased;
            record = cursor.next() => {
                let record = record.context("MARKET cannot be read on")?;
                let began = Instant::now();
                worker.handle(&record).await;
                worker.watch.durations.process.observe(began.elapsed().as_secs_f64());
                if shown.elapsed() >= STATUS_INTERVAL {
                    shown = Instant::now();
                    worker.show(cursor.pending());
                }
            }
            () = tokio::time::sleep(STATUS_INTERVAL) => worker.show(cursor.pending()),
        }
        worker.save_if_due().await;
    }
}

struct Worker<'a> {
    bus: &'a Bus,
    watch: &'a Watch,
    created: Created,
    detector: Detector,
    /// What fires before this place is in ALERTS already.
    skip_before: Sequence,
    /// The last message handled, with the id it was published under.
    last: Option<(Sequence, Option<Id>)>,
    snapshot_at: Instant,
    snapshot_of: Option<Sequence>,
    status: Status,
}

impl Worker<'_> {
    /// Handles one message of MARKET; returns when everything it gave out is stored.
    async fn handle(&mut self, record: &Record) {
        let event = wire::decode::<MarketEvent>(&record.payload);
        match &event {
            Ok(event) => self.detector.handle_event(record.sequence, event),
            Err(problem) => {
                self.status.dead += 1;
                park(self.bus, Stream::Market, record, problem).await;
            }
        }
        while let Some(output) = self.detector.poll_output() {
            match output {
                Output::Alert(detected) if detected.position < self.skip_before => {}
                Output::Alert(detected) => self.store(&detected).await,
                Output::RulesRefused { position, version, error } => {
                    error!(%position, version, %error, "rules cannot be read; the version before stays in force");
                }
            }
        }
        if let Ok(MarketEvent::Canary(canary)) = event {
            self.pass_on(record.sequence, &canary).await;
        }
        self.last = Some((record.sequence, record.headers.message_id().and_then(|id| id.parse().ok())));
        self.status.position = record.sequence.get();
    }

    /// Stores an alert; the next one only follows when this one is stored or refused as present.
    async fn store(&mut self, detected: &Detected) {
        let position = MarketPosition { created: self.created, sequence: detected.position };
        let alert = &detected.alert;
        loop {
            match self.bus.publish_alert(alert, position, detected.evidence, host_clock_ms()).await {
                Ok(AlertStored::Stored(_)) => {
                    self.status.stored += 1;
                    self.time(alert);
                    info!(alert_id = %alert.id, kind = alert.kind().as_str(), base = %alert.base, "alert stored");
                    return;
                }
                Ok(AlertStored::AlreadyPresent) => {
                    self.status.already_present += 1;
                    return;
                }
                Err(problem) if problem.is_retryable() => {
                    warn!(alert_id = %alert.id, error = %problem, "alert not acknowledged; trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(problem) => {
                    error!(alert_id = %alert.id, error = %problem, "alert cannot be stored");
                    return;
                }
            }
        }
    }

    /// Lets a canary fly on, once everything before it is stored. An old one would measure how long this worker was away.
    async fn pass_on(&self, sequence: Sequence, canary: &Canary) {
        let age_ms = host_clock_ms() - canary.received_at.as_millis();
        if sequence < self.skip_before || age_ms > CANARY_AGE_MS_MAX {
            return;
        }
        let position = MarketPosition { created: self.created, sequence };
        while let Err(problem) = self.bus.publish_canary(canary, position).await {
            warn!(id = %canary.id, error = %problem, "canary not passed on");
            if !problem.is_retryable() {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Measures how long an alert took; while it catches up, what is old says nothing.
    fn time(&self, alert: &Alert) {
        if self.status.ready {
            let (now, durations) = (host_clock_ms(), &self.watch.durations);
            durations.event_to_alert.observe(ms_to_s((now - alert.event_time.as_millis()).max(0)));
            durations.receipt_to_alert.observe(ms_to_s((now - alert.received_at.as_millis()).max(0)));
        }
    }

    async fn save_if_due(&mut self) {
        let Some((position, Some(id_at_position))) = self.last else { return };
        if self.snapshot_at.elapsed() < SNAPSHOT_INTERVAL || self.snapshot_of == Some(position) {
            return;
        }
        self.snapshot_at = Instant::now();
        let head = SnapshotHead { code: CODE.to_owned(), created: self.created, position, id_at_position };
        match self.bus.save_snapshot(&head, &self.detector.snapshot()).await {
            Ok(SaveOutcome::Saved) => self.status.snapshot = Some(position.get()),
            Ok(SaveOutcome::Superseded) => {}
            Err(problem) => {
                warn!(error = %problem, "snapshot not written; the one before stays");
                return;
            }
        }
        self.snapshot_of = Some(position);
    }

    fn show(&mut self, pending: u64) {
        self.status.pending = pending;
        self.status.counters = self.detector.counters();
        self.status.bases = self.detector.bases().map(Base::from).collect();
        self.watch.status.send_if_modified(|shown| {
            let modified = *shown != self.status;
            if modified {
                shown.clone_from(&self.status);
            }
            modified
        });
    }
}

impl From<detect::detector::BaseView<'_>> for Base {
    fn from(view: detect::detector::BaseView<'_>) -> Self {
        Self {
            base: view.base.to_string(),
            clock: view.clock.map(schemas::time::EventTime::as_millis),
            count: view.count,
            notional_usd: view.sum,
            open_tier: view.open_tier,
            open_interest: view.open_interest.map(|held| OpenInterest {
                venues: held.venues,
                usd: held.usd,
                newest: held.newest.as_millis(),
            }),
        }
    }
}
