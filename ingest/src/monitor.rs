//! What each feed is doing, readable at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemas::{
    market::FeedState,
    name::Venue,
    time::{EventTime, ReceivedAt},
};
use serde::Serialize;

use crate::{exchange::Exchange, normalize::Reason};

/// The state and counters of all feeds of this process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Monitor(Arc<Mutex<BTreeMap<Exchange, VenueMonitor>>>);

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
}

impl Monitor {
    /// Returns a monitor without any feed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a copy of everything.
    pub fn snapshot(&self) -> Snapshot {
        let venues = lock(&self.0);
        let venues = venues.iter().map(|(exchange, venue)| (exchange.venue(), venue.status().clone()));
        Snapshot { venues: venues.collect() }
    }

    /// Returns the status of one venue, beginning it where there is none.
    pub(crate) fn venue(&self, exchange: Exchange) -> VenueMonitor {
        lock(&self.0).entry(exchange).or_default().clone()
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
        monitor.venue(Exchange::Okx).count_refused(Reason::UnknownInstrument);
        monitor.venue(Exchange::Okx).status().state = Some(FeedState::Connected);
        let json = serde_json::to_value(monitor.snapshot()).unwrap();
        assert_eq!(json["venues"]["okx"]["refused"], serde_json::json!({"unknown_instrument": 1}));
        assert_eq!(json["venues"]["okx"]["state"], "connected");
    }

    #[test]
    fn the_name_of_a_reason_is_the_one_it_is_serialised_under() {
        for reason in [Reason::NotANumber, Reason::CoinMargined, Reason::UnknownFrame, Reason::NotUsd] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
