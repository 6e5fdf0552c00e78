//! Lets a canary go at each beat of this host's clock: the way to delivery is measured while the market is quiet.

use std::time::Duration;

use ingest::run::Observation;
use schemas::{
    market::{Canary, MarketEvent},
    time::ReceivedAt,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::run::host_clock_ms;

/// Runs until `end`. The canaries take the way of a venue's events, so a publisher that hangs is noticed.
pub(super) async fn fly(every: Duration, venue: mpsc::Sender<Observation>, end: CancellationToken) {
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    loop {
        // The beats are the same ones in every ingest, which makes their canaries one.
        let due = next_beat(host_clock_ms(), every_ms);
        let Ok(pause) = u64::try_from(due - host_clock_ms()) else { continue };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            () = end.cancelled() => return,
        }
        let event = MarketEvent::Canary(Canary::new(due, ReceivedAt::from_millis(host_clock_ms())));
        // A venue that has no room now has older events to bring home first; the next beat is soon.
        if let Err(mpsc::error::TrySendError::Closed(_)) = venue.try_send(Observation { event, backfill: false }) {
            return;
        }
    }
}

const fn next_beat(now_ms: i64, every_ms: i64) -> i64 {
    (now_ms.div_euclid(every_ms) + 1) * every_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_those_of_the_clock() {
        assert_eq!([0, 1, 59_999, 60_000].map(|now| next_beat(now, 60_000)), [60_000, 60_000, 60_000, 120_000]);
    }
}
