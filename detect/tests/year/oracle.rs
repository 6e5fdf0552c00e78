//! When the condition holds in the data: from the generator's true values alone, in whole numbers.

use std::collections::VecDeque;

use crate::market::Truth;

const WINDOW_MS: i64 = 15 * 60_000;
/// Twice the interval of each venue.
const TOLERANCE_MS: [i64; 3] = [240_000, 120_000, 120_000];
/// The rule: 15 %, 50,000,000 USD, two venues.
const CHANGE_PCT: i64 = 15;
const MIN_USD_CENTS: i64 = 5_000_000_000;
const CONFIRM: usize = 2;

#[derive(Default)]
pub(crate) struct Oracle {
    venues: [VecDeque<Truth>; 3],
}

impl Oracle {
    pub(crate) fn hear(&mut self, truth: Truth) {
        let values = &mut self.venues[truth.venue];
        values.push_back(truth);
        if values.len() > 64 {
            values.pop_front();
        }
    }

    /// Whether the condition holds (for a rise, for a fall) when the timer clock shows `timer_ms`.
    pub(crate) fn holds(&self, timer_ms: i64) -> [bool; 2] {
        [1, -1].map(|sign| {
            let confirming = self.venues.iter().zip(TOLERANCE_MS).filter_map(|(values, tolerance_ms)| {
                let newest = values.back().filter(|newest| timer_ms - newest.time_ms <= tolerance_ms)?;
                let start = newest.time_ms - WINDOW_MS;
                let before = values.iter().rfind(|value| value.time_ms <= start)?;
                let gained = sign * (newest.thousandths - before.thousandths);
                let confirms =
                    start - before.time_ms <= tolerance_ms && gained * 100 >= CHANGE_PCT * before.thousandths;
                confirms.then_some(newest.usd_cents)
            });
            let (count, cents) = confirming.fold((0, 0), |(count, sum), cents| (count + 1, sum + cents));
            count >= CONFIRM && cents >= MIN_USD_CENTS
        })
    }
}
