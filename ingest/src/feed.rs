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
    channel::Channel,
    config::Market,
    exchange::Exchange,
    monitor::VenueMonitor,
    normalize::{Frame, Kind, Normalizer, Reason, Receipt, Refusal},
    open_interest::collector::Heard,
    recent::Recent,
    refusals::RefusalLog,
    run::Observation,
    skew::{Clocks, Offset},
    socket::now,
};

/// Why a feed ends for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was asked to.
    Shutdown,
    /// Nobody takes its observations.
    OutputClosed,
}

/// The feed of one channel of a venue.
pub(crate) struct Feed {
    pub(crate) channel: Channel,
    pub(crate) exchange: Exchange,
    pub(crate) market: Market,
    pub(crate) normalizer: Normalizer,
    pub(crate) monitor: VenueMonitor,
    pub(crate) shutdown: CancellationToken,
    instance: String,
    output: mpsc::Sender<Observation>,
    collector: Option<mpsc::Sender<Heard>>,
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
    /// Who samples what the frames state: with it the feed is one of open interest, without one of liquidations.
    pub(crate) collector: Option<mpsc::Sender<Heard>>,
    pub(crate) monitor: VenueMonitor,
    pub(crate) clocks: Clocks,
    pub(crate) shutdown: CancellationToken,
}

impl Feed {
    /// Begins a feed that has heard nothing.
    pub(crate) fn new(normalizer: Normalizer, wiring: Wiring) -> Self {
        let Wiring { instance, market, alive_after, output, collector, monitor, clocks, shutdown } = wiring;
        Self {
            channel: if collector.is_some() { Channel::OpenInterest } else { Channel::Liquidations },
            exchange: normalizer.instruments().exchange(),
            market,
            normalizer,
            monitor,
            shutdown,
            instance,
            output,
            collector,
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
        match self.channel {
            Channel::Liquidations => self.hand_on(frame.liquidations, Backfill::No).await?,
            Channel::OpenInterest => {
                let Frame { quotes, pushed_at, .. } = frame;
                self.collect(Heard::Frame { quotes, pushed_at, received_at }).await?;
            }
        }
        Ok(frame.kind)
    }

    /// Tells that a socket was opened, before its first frame.
    pub(crate) async fn opened(&self) -> Result<(), Stop> {
        self.collect(Heard::Opened).await
    }

    async fn collect(&self, heard: Heard) -> Result<(), Stop> {
        let Some(collector) = &self.collector else {
            return Ok(());
        };
        tokio::select! {
            biased;
            // A collector ends when its output is gone, or with everything.
            sent = collector.send(heard) => sent.map_err(|_| Stop::OutputClosed),
            () = self.shutdown.cancelled() => Err(Stop::Shutdown),
        }
    }

    /// Hands on what a backfill found.
    pub(crate) async fn take_backfill(&mut self, found: crate::backfill::Backfilled) -> Result<(), Stop> {
        for refusal in &found.refused {
            self.refuse(refusal);
        }
        self.hand_on(found.liquidations, Backfill::Yes).await
    }

    /// Writes the ticks of `alive` the venue's time has passed, unless the socket is too young (design 4, promise (b)).
    /// They speak of liquidations alone.
    pub(crate) async fn tick(&mut self) -> Result<(), Stop> {
        let is_due = self.channel == Channel::Liquidations
            && self.live_since.is_some_and(|since| since.elapsed() >= self.alive_after);
        let Some(newest) = self.newest.filter(|_| is_due && !self.is_skewed) else {
            return Ok(());
        };
        for tick in self.alive.advance(newest) {
            self.send(
                MarketEvent::Feed(FeedEvent::alive(self.exchange.venue(), self.channel.as_str(), tick)),
                Backfill::No,
            )
            .await?;
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
        tracing::info!(state = state.as_str(), gap_ms, channel = self.channel.as_str(), "data flows");
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
        if self.channel == Channel::Liquidations {
            self.clocks.judge(self.exchange, None, self.is_skewed);
        }
        let lost_at = self.newest.unwrap_or_else(|| self.venue_now());
        self.lost_at = Some(lost_at);
        self.change(state, lost_at, None).await
    }

    /// Tells once that the venue refuses this client, and keeps `what` for the status. It is not logged here: whoever takes
    /// the feed's events knows what other venues are left, and says both in one line.
    pub(crate) async fn refused(&mut self, what: &str) -> Result<(), Stop> {
        self.monitor.status().last_error = Some(format!("{} {what}", self.exchange.title()));
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
        let line = match self.channel {
            Channel::Liquidations => format!("{} {what}", self.exchange.title()),
            Channel::OpenInterest => format!("{} (open interest) {what}", self.exchange.title()),
        };
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
        // One judge per venue: samples are checked against what all clocks say.
        if self.channel == Channel::OpenInterest {
            return Ok(());
        }
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
        let event = FeedEvent::change(venue, self.channel.as_str(), &self.instance, state, since, gap_ms, at);
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
mod tests;
