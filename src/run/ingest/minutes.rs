//! Liquidations per minute and side, for people to see.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use schemas::{amount::Usd, market::Side, time::ReceivedAt};
use serde::Serialize;

/// An hour; older minutes go.
const MINUTES: usize = 60;

const MINUTE_MS: i64 = 60_000;

/// What was liquidated in one minute, on all venues and bases this process hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// Its beginning by the time of receipt, milliseconds since 1970 UTC.
    pub at: i64,
    /// Liquidated longs.
    pub longs: u64,
    /// Liquidated shorts.
    pub shorts: u64,
    /// Worth of the longs.
    pub long_usd: Usd,
    /// Worth of the shorts.
    pub short_usd: Usd,
}

/// The last hour's minutes with a liquidation, oldest first; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes(Arc<Mutex<VecDeque<Minute>>>);

impl Minutes {
    /// Takes in a liquidation. One that is older than the hour is not counted.
    pub(super) fn add(&self, received_at: ReceivedAt, liquidated: Side, usd: Usd) {
        let at = received_at.as_millis().div_euclid(MINUTE_MS) * MINUTE_MS;
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = minutes.partition_point(|minute| minute.at < at);
        if minutes.get(place).is_none_or(|minute| minute.at != at) {
            if place == 0 && minutes.len() == MINUTES {
                return;
            }
            let zero = Usd::from_cents(0);
            minutes.insert(place, Minute { at, longs: 0, shorts: 0, long_usd: zero, short_usd: zero });
        }
        let minute = &mut minutes[place];
        let (count, sum) = match liquidated {
            Side::Long => (&mut minute.longs, &mut minute.long_usd),
            Side::Short => (&mut minute.shorts, &mut minute.short_usd),
        };
        *count += 1;
        *sum += usd;
        while minutes.len() > MINUTES {
            minutes.pop_front();
        }
    }

    /// Returns a copy.
    pub(super) fn snapshot(&self) -> Vec<Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(minutes: &Minutes, minute: i64, second: i64, side: Side, cents: i64) {
        let at = ReceivedAt::from_millis(minute * MINUTE_MS + second * 1_000);
        minutes.add(at, side, Usd::from_cents(cents));
    }

    #[test]
    fn sides_are_summed_by_the_minute_also_when_they_come_late() {
        let minutes = Minutes::default();
        add(&minutes, 10, 59, Side::Long, 500);
        add(&minutes, 11, 0, Side::Short, 7);
        add(&minutes, 10, 0, Side::Long, 1);
        add(&minutes, 9, 30, Side::Short, 2);
        let seen: Vec<_> = minutes
            .snapshot()
            .iter()
            .map(|m| (m.at / MINUTE_MS, m.longs, m.shorts, m.long_usd.cents(), m.short_usd.cents()))
            .collect();
        assert_eq!(seen, [(9, 0, 1, 0, 2), (10, 2, 0, 501, 0), (11, 0, 1, 0, 7)]);
    }

    #[test]
    fn an_hour_is_kept() {
        let minutes = Minutes::default();
        for minute in 0..100 {
            add(&minutes, minute, 0, Side::Long, 1);
        }
        add(&minutes, 3, 0, Side::Long, 1);
        let kept: Vec<_> = minutes.snapshot().iter().map(|minute| minute.at / MINUTE_MS).collect();
        assert_eq!(kept, (40..100).collect::<Vec<_>>());
    }
}
