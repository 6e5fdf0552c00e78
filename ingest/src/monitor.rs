//! What each feed is doing, readable at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::{
    market::FeedState,
    name::{Instrument, Venue},
    time::{EventTime, ReceivedAt},
};
use serde::Serialize;

use crate::{account::Hold, normalize::Reason};

/// The state and counters of all feeds of this process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<Mutex<BTreeMap<Venue, Entry>>>);

/// The two sides of a venue.
#[derive(Clone, Debug, Default)]
struct Entry {
    feed: VenueMonitor,
    open_interest: Option<InterestMonitor>,
}

/// What the monitor showed at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Every venue whose feed was started.
    pub venues: BTreeMap<Venue, VenueStatus>,
}

/// State and counters of one venue; the counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VenueStatus {
    /// State of the feed; nothing before the first connection was confirmed or refused.
    pub state: Option<FeedState>,
    /// Since when, on our clock.
    pub since: Option<ReceivedAt>,
    /// Frames received.
    pub frames: u64,
    /// Liquidations handed on, backfilled ones included.
    pub events: u64,
    /// Those of `events` that came over REST after a gap.
    pub backfilled: u64,
    /// Second copies dropped here.
    pub duplicates: u64,
    /// Liquidations of bases that are not tracked.
    pub untracked: u64,
    /// Those of `events` valued at the bankruptcy price for want of an average (Binance).
    pub without_average: u64,
    /// What was refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Attempts to connect after the first.
    pub reconnects: u64,
    /// Sockets replaced without a gap.
    pub renewals: u64,
    /// When something was last received, on our clock.
    pub heard_at: Option<ReceivedAt>,
    /// The newest venue time heard.
    pub venue_time: Option<EventTime>,
    /// Median of receipt minus venue time over a minute, in milliseconds; nothing in a recorded market.
    pub offset_ms: Option<i64>,
    /// The last line about something that went wrong.
    pub last_error: Option<String>,
    /// How open interest is sampled; nothing where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_interest: Option<OpenInterestStatus>,
}

/// How the open interest of one venue is sampled; the counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpenInterestStatus {
    /// State of its own socket; nothing before the first connection was confirmed or refused, or without a socket.
    pub state: Option<FeedState>,
    /// Since when, on our clock.
    pub since: Option<ReceivedAt>,
    /// Attempts to connect after the first.
    pub reconnects: u64,
    /// When something was last received on the socket, on our clock.
    pub heard_at: Option<ReceivedAt>,
    /// The last line about something that went wrong.
    pub last_error: Option<String>,
    /// What was refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Where and when the samples come from.
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// The samples of one venue and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sampling {
    /// How often each instrument is sampled, in milliseconds.
    pub interval_ms: u32,
    /// Samples handed on.
    pub samples: u64,
    /// The newest sample of each instrument.
    pub newest: BTreeMap<Instrument, NewestSample>,
    /// REST requests to the venue in the last hour, by every process and for every purpose.
    pub requests_hour: u32,
    /// The pause the venue demanded, while it lasts.
    pub hold: Option<Hold>,
    /// Whether this process is the one that asks over REST.
    pub has_turn: bool,
}

/// A newest sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NewestSample {
    /// Its venue time.
    pub event_time: EventTime,
    /// Where it came from.
    pub via: Via,
}

/// Where a sample came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The venue's stream.
    Stream,
    /// A REST request.
    Rest,
}

impl Monitor {
    /// Returns a monitor without any feed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a copy of everything.
    pub fn snapshot(&self) -> Snapshot {
        let venues = lock(&self.0);
        let status = |entry: &Entry| VenueStatus {
            open_interest: entry.open_interest.as_ref().map(InterestMonitor::status),
            ..entry.feed.status().clone()
        };
        Snapshot { venues: venues.iter().map(|(venue, entry)| (venue.clone(), status(entry))).collect() }
    }

    /// Returns the status of one venue, beginning it where there is none.
    pub(crate) fn venue(&self, venue: Venue) -> VenueMonitor {
        lock(&self.0).entry(venue).or_default().feed.clone()
    }

    /// Begins the status of one venue's open interest.
    pub(crate) fn open_interest(&self, venue: Venue, interval_ms: u32) -> InterestMonitor {
        let sampling = Sampling { interval_ms, ..Sampling::default() };
        let monitor = InterestMonitor { socket: VenueMonitor::default(), sampling: Arc::new(Mutex::new(sampling)) };
        lock(&self.0).entry(venue).or_default().open_interest = Some(monitor.clone());
        monitor
    }
}

/// The part of the monitor of a venue's open interest: its socket writes one half, its collector the other.
#[derive(Clone, Debug)]
pub(crate) struct InterestMonitor {
    pub(crate) socket: VenueMonitor,
    sampling: Arc<Mutex<Sampling>>,
}

impl InterestMonitor {
    /// Locks the collector's half; it is held for a few assignments and never over an await.
    pub(crate) fn sampling(&self) -> MutexGuard<'_, Sampling> {
        lock(&self.sampling)
    }

    fn status(&self) -> OpenInterestStatus {
        let socket = self.socket.status().clone();
        OpenInterestStatus {
            state: socket.state,
            since: socket.since,
            reconnects: socket.reconnects,
            heard_at: socket.heard_at,
            last_error: socket.last_error,
            refused: socket.refused,
            sampling: self.sampling().clone(),
        }
    }
}

/// One venue's part of the monitor: written by its feed alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct VenueMonitor(Arc<Mutex<VenueStatus>>);

impl VenueMonitor {
    /// Locks the status; it is held for a few assignments and never over an await.
    pub(crate) fn status(&self) -> MutexGuard<'_, VenueStatus> {
        lock(&self.0)
    }

    pub(crate) fn count_refused(&self, reason: Reason) {
        *self.status().refused.entry(reason).or_default() += 1;
    }
}

/// Counters are whole after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_json_with_stable_names() {
        let monitor = Monitor::new();
        let okx: Venue = "okx".parse().unwrap();
        monitor.venue(okx.clone()).count_refused(Reason::UnknownInstrument);
        monitor.venue(okx.clone()).status().state = Some(FeedState::Connected);
        let json = serde_json::to_value(monitor.snapshot()).unwrap();
        assert_eq!(json["venues"]["okx"]["refused"], serde_json::json!({"unknown_instrument": 1}));
        assert_eq!(json["venues"]["okx"]["state"], "connected");
        assert_eq!(json["venues"]["okx"].get("open_interest"), None);
        monitor.open_interest(okx, 60_000).sampling().samples = 2;
        let json = serde_json::to_value(monitor.snapshot()).unwrap();
        assert_eq!(json["venues"]["okx"]["open_interest"]["interval_ms"], 60_000);
        assert_eq!(json["venues"]["okx"]["open_interest"]["samples"], 2);
    }

    #[test]
    fn the_name_of_a_reason_is_the_one_it_is_serialised_under() {
        for reason in [Reason::NotANumber, Reason::CoinMargined, Reason::UnknownFrame, Reason::NotUsd] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
