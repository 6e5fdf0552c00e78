//! What waits to be published: bounded, in order, and aware of what it had to drop.

use std::collections::VecDeque;

use bytes::Bytes;
use schemas::{
    id::Id,
    market::{Feed, FeedState, MarketEvent},
    name::Venue,
    time::EventTime,
    wire::{self, TooLarge},
};

use crate::publisher::Observed;

/// How much waits at most. Beyond it the oldest go, counted, and a feed event tells of the gap (design 8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Events.
    pub events: usize,
    /// Bytes held for them.
    pub bytes: usize,
}

impl BacklogLimits {
    /// The bound of one ingest process: 100,000 events or 10 MB (design 8.6).
    pub const PROCESS: Self = Self { events: 100_000, bytes: 10_000_000 };

    /// Returns one venue's part of the bound of a process with this many venues.
    #[must_use]
    pub fn shared_by(venues: usize) -> Self {
        let venues = venues.max(1);
        Self { events: Self::PROCESS.events / venues, bytes: Self::PROCESS.bytes / venues }
    }
}

/// What kind of event waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Liquidation,
    Alive,
    Other,
}

/// An event ready to be published.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) subject: String,
    pub(super) id: Id,
    pub(super) kind: Kind,
    pub(super) event_time: EventTime,
    pub(super) backfill: bool,
    pub(super) schema: String,
    pub(super) payload: Bytes,
}

impl Item {
    pub(super) fn new(subject: String, observed: &Observed, event_time: EventTime) -> Result<Self, TooLarge> {
        let kind = match &observed.event {
            MarketEvent::Liquidation(_) => Kind::Liquidation,
            MarketEvent::Feed(feed) if feed.state == FeedState::Alive => Kind::Alive,
            MarketEvent::Feed(_) | MarketEvent::OpenInterest(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => {
                Kind::Other
            }
        };
        let encoded = wire::encode(&observed.event)?;
        Ok(Self {
            subject,
            id: observed.event.id(),
            kind,
            event_time,
            backfill: observed.backfill,
            schema: encoded.schema,
            payload: encoded.payload.into(),
        })
    }

    fn bytes(&self) -> usize {
        self.payload.len() + self.subject.len() + self.schema.len() + size_of::<Self>()
    }
}

/// What one push cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Events that had to go because of the bound.
    pub(super) events: u64,
    /// Signs of life that a newer one replaced, or that had to go.
    pub(super) alives: u64,
}

/// The stretch of events that had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    first: EventTime,
    last: EventTime,
}

impl Loss {
    /// Returns the event that tells of it: the channel `log` lost what lies between.
    pub(super) fn into_event(self, venue: &Venue, instance: &str) -> Feed {
        let gap_ms = u64::try_from(self.last.millis_since(self.first)).unwrap_or(0);
        Feed::change(venue.clone(), "log", instance, FeedState::Recovered, self.first, Some(gap_ms), self.last)
    }
}

/// The backlog of one venue.
///
/// An ingest writes no sign of life while it holds older events (design 4). So at most one waits, behind everything
/// older; a newer one takes its place at the end. After an outage only the newest is published, and last.
#[derive(Debug)]
pub(super) struct Backlog {
    items: VecDeque<Item>,
    bytes: usize,
    limits: BacklogLimits,
    loss: Option<Loss>,
}

impl Backlog {
    pub(super) const fn new(limits: BacklogLimits) -> Self {
        Self { items: VecDeque::new(), bytes: 0, limits, loss: None }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, item: Item) -> Dropped {
        let mut dropped = Dropped::default();
        // The one that waits is at the end, unless events came after it.
        if item.kind == Kind::Alive
            && let Some(index) = self.items.iter().rposition(|waiting| waiting.kind == Kind::Alive)
            && let Some(replaced) = self.items.remove(index)
        {
            self.bytes -= replaced.bytes();
            dropped.alives += 1;
        }
        self.bytes += item.bytes();
        self.items.push_back(item);
        while self.items.len() > self.limits.events || self.bytes > self.limits.bytes {
            let Some(oldest) = self.pop() else { break };
            if oldest.kind == Kind::Alive {
                dropped.alives += 1;
                continue;
            }
            dropped.events += 1;
            let at = oldest.event_time;
            let loss = self.loss.get_or_insert(Loss { first: at, last: at });
            loss.first = loss.first.min(at);
            loss.last = loss.last.max(at);
        }
        dropped
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Returns what was lost just before the oldest event that waits, once.
    pub(super) const fn take_loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn venue() -> Venue {
        "okx".parse().unwrap()
    }

    fn item(feed: Feed) -> Item {
        let event_time = feed.event_time;
        let observed = Observed { event: MarketEvent::Feed(feed), backfill: false };
        Item::new("market.feed.okx".to_owned(), &observed, event_time).unwrap()
    }

    fn change(millis: i64) -> Item {
        let at = EventTime::from_millis(millis);
        item(Feed::change(venue(), "liquidation", "a", FeedState::Connected, at, None, at))
    }

    fn alive(millis: i64) -> Item {
        item(Feed::alive(venue(), "liquidation", EventTime::from_millis(millis)))
    }

    fn times(backlog: &Backlog) -> Vec<i64> {
        backlog.items.iter().map(|item| item.event_time.as_millis()).collect()
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_and_the_gap_is_known() {
        let mut backlog = Backlog::new(BacklogLimits { events: 2, bytes: 1_000_000 });
        let dropped: u64 = [1_000, 2_000, 4_000, 8_000].map(|millis| backlog.push(change(millis)).events).iter().sum();
        assert_eq!((dropped, times(&backlog)), (2, vec![4_000, 8_000]));
        let feed = backlog.take_loss().unwrap().into_event(&venue(), "a");
        assert_eq!((feed.channel.as_str(), feed.state, feed.gap_ms), ("log", FeedState::Recovered, Some(1_000)));
        assert_eq!((feed.since.as_millis(), feed.event_time.as_millis()), (1_000, 2_000));
        assert_eq!(backlog.take_loss(), None);
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let one = change(1_000).bytes();
        let mut backlog = Backlog::new(BacklogLimits { events: 100, bytes: 2 * one });
        for millis in [1_000, 2_000, 3_000] {
            backlog.push(change(millis));
        }
        assert_eq!(times(&backlog), [2_000, 3_000]);
        while backlog.pop().is_some() {}
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn one_sign_of_life_waits_behind_everything_older() {
        let mut backlog = Backlog::new(BacklogLimits { events: 10, bytes: 1_000_000 });
        backlog.push(alive(5_000));
        backlog.push(change(6_000));
        let dropped = backlog.push(alive(10_000));
        assert_eq!((dropped, times(&backlog)), (Dropped { events: 0, alives: 1 }, vec![6_000, 10_000]));
    }
}
