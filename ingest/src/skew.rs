//! How far a venue's clock is off ours, and whether it is the one that is wrong (design 3, `event_time`).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use schemas::time::{EventTime, ReceivedAt};

use crate::exchange::Exchange;

/// Span of the median, in milliseconds (design 3).
const SPAN_MS: i64 = 60_000;

/// Distance of samples, in milliseconds: 60 samples bound the work, and a busy companion weighs no more than a slow one.
const SAMPLE_MS: i64 = 1_000;

/// Fewest samples that are judged: one late frame at the start of a socket is no clock.
const SAMPLES_MIN: usize = 5;

/// A feed farther than this from the median of all clocks is skewed, in milliseconds (design 3).
const SKEWED_MS: i64 = 10_000;

/// A skewed feed is taken back within this, in milliseconds (design 3).
const RECOVERED_MS: i64 = 5_000;

/// The offset of one feed: the median over a minute of receipt minus venue time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offset {
    samples: VecDeque<(ReceivedAt, i64)>,
}

impl Offset {
    /// Takes one pair of times and returns the offset in milliseconds once there are enough.
    pub(crate) fn push(&mut self, received_at: ReceivedAt, pushed_at: EventTime) -> Option<i64> {
        let age_ms = |at: ReceivedAt| received_at.as_millis() - at.as_millis();
        // Our own clock was set back: what was measured before is of another clock.
        if self.samples.back().is_some_and(|(at, _)| age_ms(*at) < 0) {
            self.samples.clear();
        }
        if self.samples.back().is_none_or(|(at, _)| age_ms(*at) >= SAMPLE_MS) {
            self.samples.push_back((received_at, received_at.millis_after(pushed_at)));
        }
        while self.samples.front().is_some_and(|(at, _)| age_ms(*at) > SPAN_MS) {
            self.samples.pop_front();
        }
        self.get()
    }

    /// Returns the offset in milliseconds, positive when the venue's clock is behind ours; nothing before five samples.
    pub(crate) fn get(&self) -> Option<i64> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        median(self.samples.iter().map(|(_, offset)| *offset).collect())
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    // Halved before the sum, which may be beyond 64 bits.
    Some(values[middle - 1] / 2 + upper / 2)
}

/// The offsets of all feeds of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks(Arc<Mutex<BTreeMap<Exchange, i64>>>);

impl Clocks {
    /// Notes a feed's offset, or that it is not known, and judges it against all others and our own clock.
    pub(crate) fn judge(&self, exchange: Exchange, offset_ms: Option<i64>, was_skewed: bool) -> bool {
        // A poisoned map is a map of integers still.
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(offset_ms) = offset_ms else {
            offsets.remove(&exchange);
            return was_skewed;
        };
        offsets.insert(exchange, offset_ms);
        let reference = reference(&offsets);
        let distance_ms = offset_ms.saturating_sub(reference).saturating_abs();
        distance_ms > if was_skewed { RECOVERED_MS } else { SKEWED_MS }
    }

    /// Returns how far the market's time is behind ours, in milliseconds: what no single wrong clock decides.
    pub(crate) fn reference_ms(&self) -> i64 {
        reference(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The median of all feeds' offsets and our own clock.
fn reference(offsets: &BTreeMap<Exchange, i64>) -> i64 {
    let own = 0;
    median(offsets.values().copied().chain([own]).collect()).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> ReceivedAt {
        ReceivedAt::from_millis(millis)
    }

    #[test]
    fn the_offset_is_the_median_of_a_minute() {
        let mut offset = Offset::default();
        let mut last = None;
        for second in 0..5 {
            // One frame is a minute late; a median does not see it.
            let delay_ms = if second == 2 { 60_000 } else { 100 + second };
            last = offset.push(at(second * 1_000), EventTime::from_millis(second * 1_000 - delay_ms));
            assert_eq!(last.is_some(), second == 4);
        }
        assert_eq!(last, Some(103));
        for second in 5..90 {
            last = offset.push(at(second * 1_000), EventTime::from_millis(second * 1_000 - 500));
        }
        assert_eq!(last, Some(500));
        assert!(offset.samples.len() <= 61);
    }

    #[test]
    fn one_wrong_clock_among_four_is_skewed_until_back_within_five_seconds() {
        let clocks = Clocks::default();
        assert!(!clocks.judge(Exchange::Binance, Some(120), false));
        assert!(!clocks.judge(Exchange::Bybit, Some(80), false));
        assert!(!clocks.judge(Exchange::Okx, Some(9_000), false));
        assert!(clocks.judge(Exchange::Okx, Some(-12_000), false));
        assert!(clocks.judge(Exchange::Okx, Some(-7_000), true));
        assert!(!clocks.judge(Exchange::Okx, Some(-4_000), true));
    }

    #[test]
    fn our_own_wrong_clock_skews_no_feed() {
        let clocks = Clocks::default();
        clocks.judge(Exchange::Binance, Some(60_100), false);
        clocks.judge(Exchange::Bybit, Some(60_200), false);
        assert!(!clocks.judge(Exchange::Okx, Some(60_150), false));
        assert!(!clocks.judge(Exchange::Binance, Some(60_100), false));
    }
}
