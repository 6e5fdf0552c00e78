//! What one venue's feed says: its events, its state, its `alive`s, in one order. It outlives the sockets.

use std::time::Duration;

use schemas::{
    market::{Feed as FeedEvent, FeedState, Liquidation, MarketEvent},
    time::{EventTime, ReceivedAt},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    alive::Alive,
    config::Market,
    exchange::Exchange,
    monitor::VenueMonitor,
    normalize::{Frame, Kind, Normalizer, Reason, Receipt, Refusal},
    recent::Recent,
    refusals::RefusalLog,
    run::Observation,
    skew::{Clocks, Offset},
    socket::now,
};

/// The channel of a venue whose state the feed events tell.
const CHANNEL: &str = "liquidation";

/// Why a feed ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was asked to.
    Shutdown,
    /// Nobody takes its observations.
    OutputClosed,
}

/// The feed of one venue.
pub(crate) struct Feed {
    pub(crate) exchange: Exchange,
    pub(crate) market: Market,
    pub(crate) normalizer: Normalizer,
    pub(crate) monitor: VenueMonitor,
    pub(crate) shutdown: CancellationToken,
    instance: String,
    output: mpsc::Sender<Observation>,
    clocks: Clocks,
    alive_after: Duration,
    recent: Recent,
    refusals: RefusalLog,
    offset: Offset,
    is_skewed: bool,
    alive: Alive,
    /// The newest venue time that can be true.
    newest: Option<EventTime>,
    /// Since when a proven socket is open without a break, on our clock.
    live_since: Option<Instant>,
    /// Since when, in venue time, nothing was heard; nothing while live or before the first time.
    lost_at: Option<EventTime>,
}

/// Where a feed belongs and where its observations go.
pub(crate) struct Wiring {
    pub(crate) instance: String,
    pub(crate) market: Market,
    pub(crate) alive_after: Duration,
    pub(crate) output: mpsc::Sender<Observation>,
    pub(crate) monitor: VenueMonitor,
    pub(crate) clocks: Clocks,
    pub(crate) shutdown: CancellationToken,
}

impl Feed {
    /// Begins a feed that has heard nothing.
    pub(crate) fn new(normalizer: Normalizer, wiring: Wiring) -> Self {
        let Wiring { instance, market, alive_after, output, monitor, clocks, shutdown } = wiring;
        Self {
            exchange: normalizer.instruments().exchange(),
            market,
            normalizer,
            monitor,
            shutdown,
            instance,
            output,
            clocks,
            alive_after,
            recent: Recent::default(),
            refusals: RefusalLog::default(),
            offset: Offset::default(),
            is_skewed: false,
            alive: Alive::default(),
            newest: None,
            live_since: None,
            lost_at: None,
        }
    }

    /// Reads one frame, hands on what it holds, and returns what kind it was.
    pub(crate) async fn take(&mut self, bytes: &[u8], received_at: ReceivedAt) -> Result<Kind, Stop> {
        let receipt = match self.market {
            Market::Live => Receipt::Live(received_at),
            Market::Recorded => Receipt::Recorded,
        };
        let frame = self.normalizer.frame(bytes, receipt);
        self.count(&frame, received_at);
        for refusal in &frame.refused {
            self.refuse(refusal);
        }
        if let (Market::Live, Some(pushed_at)) = (self.market, frame.pushed_at) {
            self.measure(received_at, pushed_at).await?;
        }
        self.heard(&frame, received_at);
        self.hand_on(frame.liquidations, Backfill::No).await?;
        Ok(frame.kind)
    }

    /// Hands on what a backfill found.
    pub(crate) async fn take_backfill(&mut self, found: crate::backfill::Backfilled) -> Result<(), Stop> {
        for refusal in &found.refused {
            self.refuse(refusal);
        }
        self.hand_on(found.liquidations, Backfill::Yes).await
    }

    /// Writes the ticks of `alive` the venue's time has passed, unless the socket is too young (design 4, promise (b)).
    pub(crate) async fn tick(&mut self) -> Result<(), Stop> {
        let is_due = self.live_since.is_some_and(|since| since.elapsed() >= self.alive_after);
        let Some(newest) = self.newest.filter(|_| is_due && !self.is_skewed) else {
            return Ok(());
        };
        for tick in self.alive.advance(newest) {
            self.send(MarketEvent::Feed(FeedEvent::alive(self.exchange.venue(), CHANNEL, tick)), Backfill::No).await?;
        }
        Ok(())
    }

    /// Tells that a socket is proven live, and returns when the venue was last heard before.
    pub(crate) async fn live(&mut self) -> Result<Option<EventTime>, Stop> {
        self.live_since = Some(Instant::now());
        let at = self.venue_now();
        let lost_at = self.lost_at.take();
        let (state, gap_ms) = match lost_at {
            None => (FeedState::Connected, None),
            Some(lost_at) => (FeedState::Recovered, Some(at.millis_since(lost_at).max(0).unsigned_abs())),
        };
        tracing::info!(state = state.as_str(), gap_ms, "liquidations flow");
        self.change(state, at, gap_ms).await?;
        if self.is_skewed {
            // A new connection is no proof that the venue's clock is back.
            self.change(FeedState::Skewed, at, None).await?;
        }
        Ok(lost_at)
    }

    /// Tells that a live feed was lost; nothing when it was not live.
    pub(crate) async fn lost(&mut self, state: FeedState) -> Result<(), Stop> {
        if self.live_since.take().is_none() {
            return Ok(());
        }
        self.alive.break_off();
        self.offset = Offset::default();
        self.clocks.judge(self.exchange, None, self.is_skewed);
        let lost_at = self.newest.unwrap_or_else(|| self.venue_now());
        self.lost_at = Some(lost_at);
        self.change(state, lost_at, None).await
    }

    /// Tells once that the venue refuses this client.
    pub(crate) async fn refused(&mut self) -> Result<(), Stop> {
        if self.monitor.status().state == Some(FeedState::Refused) {
            return Ok(());
        }
        self.change(FeedState::Refused, self.venue_now(), None).await
    }

    /// Returns the venue's time: our clock less the measured offset, in a recorded market the newest time heard. Where
    /// nothing was heard our clock stands in.
    pub(crate) fn venue_now(&self) -> EventTime {
        let estimated = EventTime::from_millis(now().as_millis() - self.offset.get().unwrap_or_default());
        match self.market {
            Market::Live => estimated,
            Market::Recorded => self.newest.unwrap_or(estimated),
        }
    }

    /// Counts something refused and logs it at a bounded rate.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.monitor.count_refused(refusal.reason);
        if self.refusals.note(refusal.reason, Instant::now()) {
            tracing::warn!(reason = %refusal.reason, detail = refusal.detail, "refused what the venue sent");
        }
    }

    /// Logs the counts of refusals that were not logged themselves.
    pub(crate) fn log_refusals(&mut self) {
        for (reason, count) in self.refusals.due(Instant::now()) {
            tracing::warn!(%reason, count, "refused what the venue sent");
        }
    }

    /// Logs a line about something that went wrong and keeps it for the status.
    pub(crate) fn complain(&self, what: &str) {
        let line = format!("{} {what}", self.exchange.title());
        tracing::warn!("{line}");
        self.monitor.status().last_error = Some(line);
    }

    fn count(&self, frame: &Frame, received_at: ReceivedAt) {
        let mut status = self.monitor.status();
        status.frames += 1;
        status.untracked += frame.untracked;
        status.without_average += frame.without_average();
        status.heard_at = Some(received_at);
    }

    /// Moves the newest venue time. A clock that cannot be true must not: `alive` never goes back.
    fn heard(&mut self, frame: &Frame, received_at: ReceivedAt) {
        if self.is_skewed {
            return;
        }
        let stated = frame.pushed_at.filter(|time| match self.market {
            Market::Live => !self.normalizer.is_future(*time, received_at),
            Market::Recorded => true,
        });
        // A companion without a time proves the feed live all the same; our clock stands in (design 4).
        let estimated = (frame.kind == Kind::Companion && frame.pushed_at.is_none() && self.market == Market::Live)
            .then(|| self.venue_now());
        let events = frame.liquidations.iter().map(|event| event.event_time).max();
        self.newest = self.newest.max(stated).max(estimated).max(events);
        self.monitor.status().venue_time = self.newest;
    }

    /// Measures the venue's clock and judges it (design 3): a wrong one must not blind a base.
    async fn measure(&mut self, received_at: ReceivedAt, pushed_at: EventTime) -> Result<(), Stop> {
        let offset_ms = self.offset.push(received_at, pushed_at);
        if let Some(offset_ms) = offset_ms {
            self.normalizer.set_offset_ms(offset_ms);
        }
        self.monitor.status().offset_ms = offset_ms;
        let is_skewed = self.clocks.judge(self.exchange, offset_ms, self.is_skewed);
        if is_skewed == self.is_skewed {
            return Ok(());
        }
        self.is_skewed = is_skewed;
        self.alive.break_off();
        if is_skewed {
            // Receipt minus venue time: negative when the venue's clock is ahead.
            let offset_ms = offset_ms.unwrap_or_default();
            let (seconds, way) =
                ((offset_ms.unsigned_abs() + 500) / 1_000, if offset_ms < 0 { "ahead" } else { "behind" });
            self.complain(&format!("has a clock {seconds} s {way}; its events are refused until it is back"));
            self.change(FeedState::Skewed, self.venue_now(), None).await
        } else {
            tracing::info!(offset_ms, "the venue's clock is back");
            self.change(FeedState::Recovered, self.venue_now(), None).await
        }
    }

    async fn hand_on(&mut self, liquidations: Vec<Liquidation>, backfill: Backfill) -> Result<(), Stop> {
        for event in liquidations {
            if self.is_skewed {
                let detail = format!("{} at {}", event.instrument, event.event_time.as_millis());
                self.refuse(&Refusal { reason: Reason::Skewed, detail });
            } else if self.recent.insert(event.id) {
                self.send(MarketEvent::Liquidation(event), backfill).await?;
                let mut status = self.monitor.status();
                status.events += 1;
                status.backfilled += u64::from(backfill == Backfill::Yes);
            } else {
                self.monitor.status().duplicates += 1;
            }
        }
        Ok(())
    }

    async fn change(&self, state: FeedState, since: EventTime, gap_ms: Option<u64>) -> Result<(), Stop> {
        {
            let mut status = self.monitor.status();
            status.state = Some(state);
            status.since = Some(now());
        }
        let (venue, at) = (self.exchange.venue(), self.venue_now());
        let event = FeedEvent::change(venue, CHANNEL, &self.instance, state, since, gap_ms, at);
        self.send(MarketEvent::Feed(event), Backfill::No).await
    }

    /// Hands one event on, waiting where the channel is full: the socket is not read meanwhile, so the venue's own
    /// buffers hold what comes. A shutdown ends the wait, and the event is lost with it.
    async fn send(&self, event: MarketEvent, backfill: Backfill) -> Result<(), Stop> {
        let observation = Observation { event, backfill: backfill == Backfill::Yes };
        tokio::select! {
            biased;
            sent = self.output.send(observation) => sent.map_err(|_| Stop::OutputClosed),
            () = self.shutdown.cancelled() => Err(Stop::Shutdown),
        }
    }
}

/// Whether an event came over REST after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backfill {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Bases, RETENTION},
        exchange::Exchange,
        instruments::Instruments,
        monitor::Monitor,
    };

    /// A feed of Binance in a live market that may write `alive` at once, and what it hands on.
    fn feed() -> (Feed, mpsc::Receiver<Observation>) {
        let (output, observations) = mpsc::channel(1_000);
        let instruments = Instruments::by_name(Exchange::Binance).unwrap();
        let wiring = Wiring {
            instance: "a".to_owned(),
            market: Market::Live,
            alive_after: Duration::ZERO,
            output,
            monitor: Monitor::new().venue(Exchange::Binance),
            clocks: Clocks::default(),
            shutdown: CancellationToken::new(),
        };
        (Feed::new(Normalizer::new(instruments, Bases::All, RETENTION), wiring), observations)
    }

    /// What was handed on since the last time: states, ticks in seconds after `start_ms`, liquidations as `0`.
    fn told(observations: &mut mpsc::Receiver<Observation>, start_ms: i64) -> Vec<(&'static str, i64)> {
        let told = std::iter::from_fn(|| observations.try_recv().ok()).map(|observation| match observation.event {
            MarketEvent::Feed(feed) if feed.state == FeedState::Alive => {
                ("alive", (feed.event_time.as_millis() - start_ms) / 1_000)
            }
            MarketEvent::Feed(feed) => (feed.state.as_str(), 0),
            MarketEvent::Liquidation(_) => ("liquidation", 0),
            MarketEvent::OpenInterest(_) | MarketEvent::Rules(_) => ("other", 0),
        });
        told.collect()
    }

    /// One second of a venue whose clock is off: a mark and a liquidation.
    async fn second(feed: &mut Feed, received_ms: i64, ahead_ms: i64) {
        let (time, received_at) = (received_ms + ahead_ms, ReceivedAt::from_millis(received_ms));
        let mark = format!(r#"{{"e":"markPriceUpdate","E":{time}}}"#);
        feed.take(mark.as_bytes(), received_at).await.unwrap();
        let forced = format!(
            r#"{{"e":"forceOrder","E":{time},"o":{{"s":"BTCUSDT","S":"SELL","q":"1","p":"2","ap":"2","z":"1","T":{time}}}}}"#
        );
        feed.take(forced.as_bytes(), received_at).await.unwrap();
        feed.tick().await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_clock_writes_nothing_until_it_is_back() {
        let (mut feed, mut observations) = feed();
        let start_ms = now().as_millis() / 5_000 * 5_000;
        feed.live().await.unwrap();
        for s in 0..10 {
            second(&mut feed, start_ms + s * 1_000, 0).await;
        }
        let right = told(&mut observations, start_ms);
        assert_eq!(right.iter().filter(|(what, _)| *what == "liquidation").count(), 10);
        assert_eq!(
            right.iter().filter(|(what, _)| *what == "alive").map(|(_, at)| *at).collect::<Vec<_>>(),
            [-5, 0, 5]
        );

        // A minute ahead: refused as future while the median still trusts the clock, then as skewed.
        for s in 10..90 {
            second(&mut feed, start_ms + s * 1_000, 60_000).await;
        }
        assert_eq!(told(&mut observations, start_ms), [("skewed", 0)]);
        let refused = feed.monitor.status().refused.clone();
        assert_eq!(refused.values().sum::<u64>(), 80);
        assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [Reason::Future, Reason::Skewed]);

        for s in 90..160 {
            second(&mut feed, start_ms + s * 1_000, 0).await;
        }
        let back = told(&mut observations, start_ms);
        assert_eq!(back.first(), Some(&("recovered", 0)));
        let ticks: Vec<_> = back.iter().filter(|(what, _)| *what == "alive").map(|(_, at)| *at).collect();
        assert!(ticks.first().is_some_and(|first| *first > 90), "no tick of the time it was wrong: {ticks:?}");
        assert_eq!(ticks.last(), Some(&155));
        assert!(feed.monitor.status().refused[&Reason::Skewed] > refused[&Reason::Skewed]);
    }

    #[tokio::test]
    async fn a_lost_feed_is_told_once_and_comes_back_with_its_gap() {
        let (mut feed, mut observations) = feed();
        feed.lost(FeedState::Disconnected).await.unwrap();
        feed.live().await.unwrap();
        feed.lost(FeedState::Stale).await.unwrap();
        feed.lost(FeedState::Disconnected).await.unwrap();
        assert!(feed.live().await.unwrap().is_some());
        feed.refused().await.unwrap();
        feed.refused().await.unwrap();
        assert_eq!(told(&mut observations, 0), ["connected", "stale", "recovered", "refused"].map(|state| (state, 0)));
    }
}
