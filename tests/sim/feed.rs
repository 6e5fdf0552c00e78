//! One venue in one ingest process: frames in, events published in socket order.

use std::collections::{BTreeSet, VecDeque};

use ingest::{
    exchange::Exchange,
    normalize::{Normalizer, Receipt},
};
use rand::{Rng, rngs::SmallRng};
use schemas::{
    id::Id,
    market::{Feed as FeedEvent, FeedState, MarketEvent},
    time::{EventTime, ReceivedAt},
};

use crate::{
    connection::{Arrival, Heard},
    frames,
    streams::Log,
};

/// Design 4: an ingest writes no `alive` in the first 10 s of a socket.
const ALIVE_AFTER_MS: i64 = 10_000;
/// Design 4: the newest venue time, minus 3 s, rounded down to 5 s.
const GRACE_MS: i64 = 3_000;
const TICK_MS: i64 = 5_000;
/// A venue's clock this far ahead of ours is not believed (design 3).
const FUTURE_MS: i64 = 10_000;

const CHANNEL: &str = "liquidation";

/// The feed of one venue.
pub(crate) struct Feed {
    exchange: Exchange,
    instance: String,
    normalizer: Normalizer,
    arrivals: VecDeque<Arrival>,
    /// Every publish is acknowledged at once.
    is_prompt: bool,
    sent: BTreeSet<Id>,
    queue: VecDeque<MarketEvent>,
    newest: Option<EventTime>,
    live_since_ms: Option<i64>,
    last_tick: Option<EventTime>,
}

impl Feed {
    pub(crate) fn new(exchange: Exchange, instance: String, arrivals: Vec<Arrival>, is_prompt: bool) -> Self {
        Self {
            exchange,
            instance,
            normalizer: frames::normalizer(exchange),
            arrivals: arrivals.into(),
            is_prompt,
            sent: BTreeSet::new(),
            queue: VecDeque::new(),
            newest: None,
            live_since_ms: None,
            last_tick: None,
        }
    }

    /// Takes what arrived, publishes the oldest that waits, and returns when to call again; nothing at the end.
    pub(crate) fn step(&mut self, rng: &mut SmallRng, log: &mut Log, now_ms: i64) -> Option<i64> {
        while let Some(arrival) = self.arrivals.pop_front_if(|arrival| arrival.at_ms <= now_ms) {
            self.hear(arrival);
            while self.is_prompt
                && let Some(event) = self.queue.pop_front()
            {
                log.publish(&event);
            }
        }
        if let Some(event) = self.queue.pop_front() {
            log.publish(&event);
            // The next one only after its acknowledgement.
            let stall_ms = if rng.random_bool(0.003) { rng.random_range(300..2_000) } else { 0 };
            return Some(now_ms + stall_ms + rng.random_range(1..12));
        }
        self.arrivals.front().map(|arrival| arrival.at_ms)
    }

    fn hear(&mut self, Arrival { at_ms, heard }: Arrival) {
        match heard {
            Heard::Connected => {
                self.live_since_ms = Some(at_ms);
                let state = if self.newest.is_some() { FeedState::Recovered } else { FeedState::Connected };
                self.change(state, at_ms);
            }
            Heard::Lost => {
                self.live_since_ms = None;
                self.change(FeedState::Disconnected, at_ms);
            }
            Heard::Killed => {
                self.sent.clear();
                self.queue.clear();
                (self.newest, self.live_since_ms, self.last_tick) = (None, None, None);
            }
            Heard::Frame(bytes) => self.frame(&bytes, at_ms),
        }
    }

    fn frame(&mut self, bytes: &[u8], at_ms: i64) {
        let frame = self.normalizer.frame(bytes, Receipt::Live(ReceivedAt::from_millis(at_ms)));
        let believed = frame.pushed_at.filter(|time| time.as_millis() <= at_ms + FUTURE_MS);
        let events = frame.liquidations.iter().map(|event| event.event_time).max();
        self.newest = self.newest.max(believed).max(events);
        for event in frame.liquidations {
            if self.sent.insert(event.id) {
                self.queue.push_back(MarketEvent::Liquidation(event));
            }
        }
        if self.live_since_ms.is_some_and(|since_ms| at_ms - since_ms >= ALIVE_AFTER_MS) {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let Some(newest) = self.newest else { return };
        let tick = EventTime::from_millis((newest.as_millis() - GRACE_MS).div_euclid(TICK_MS) * TICK_MS);
        if self.last_tick.is_some_and(|last| last >= tick) {
            return;
        }
        self.last_tick = Some(tick);
        // At most one waits, behind everything older (design 4).
        self.queue.retain(|event| !matches!(event, MarketEvent::Feed(feed) if feed.state == FeedState::Alive));
        self.queue.push_back(MarketEvent::Feed(FeedEvent::alive(self.exchange.venue(), CHANNEL, tick)));
    }

    fn change(&mut self, state: FeedState, at_ms: i64) {
        let (venue, at) = (self.exchange.venue(), EventTime::from_millis(at_ms));
        let event = FeedEvent::change(venue, CHANNEL, &self.instance, state, at, None, at);
        self.queue.push_back(MarketEvent::Feed(event));
    }
}
