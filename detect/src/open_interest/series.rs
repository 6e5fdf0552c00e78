//! The samples of one instrument of one venue: which are taken, and which are kept for how long.

use std::collections::VecDeque;

use rust_decimal::Decimal;
use schemas::{
    amount::{Quantity, Usd},
    market::OpenInterest,
    position::Sequence,
    time::EventTime,
};
use serde::{Deserialize, Serialize};

use super::{LOOK_BACK_MS, change::Change};
use crate::rules::OI_WINDOW_MS_MAX;

/// Longest time between two samples of a venue, in milliseconds: 5 minutes (design 9).
const INTERVAL_MS_MAX: i64 = 5 * 60_000;

/// A baseline may be older than the start of its window by this many intervals, and a venue without a sample for as
/// many is stale (design 4).
const TOLERANCE_INTERVALS: i64 = 2;

/// How long every sample is kept, in milliseconds before the newest: any window with its tolerance, 70 minutes.
const FINE_MS: i64 = OI_WINDOW_MS_MAX + TOLERANCE_INTERVALS * INTERVAL_MS_MAX;

/// Most samples kept in full, about one a second. At the bound the oldest is thinned before its time.
const FINE_MAX: usize = 4_096;

/// Of older samples the last one at or before each multiple of this is kept, in milliseconds: 5 minutes, of which the
/// quarter-hour grid of the baseline is a multiple. So a series keeps 301 of them at most.
pub(super) const GRID_MS: i64 = 5 * 60_000;

/// A sample at this multiple of the one before, or at this fraction, is a suspect until the next confirms it. Real
/// explosions take minutes; one value at twice the level was a venue's mistake as far as is known.
const SUSPECT_MULTIPLE: i64 = 2;

/// A suspect is confirmed by a sample within this part of it: a quarter.
const CONFIRMED_WITHIN: i64 = 4;

/// The size of a contract is unchanged when its coins or its USD differ by no more than this part: 0.1 %. Rounding of
/// the venues' figures is far below, changes of a contract's size are multiples.
const SIZE_WITHIN: i64 = 1_000;

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The venue's time.
    pub(crate) time: EventTime,
    /// The venue's native quantity, one side.
    pub(crate) contracts: Quantity,
    /// The same in coins.
    pub(crate) coins: Quantity,
    /// Where it stands in MARKET.
    pub(crate) position: Sequence,
}

/// The newest sample, with what is needed of that one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub(crate) sample: Sample,
    /// What the contracts are worth.
    pub(crate) notional_usd: Usd,
    /// How often the venue is sampled, in milliseconds.
    pub(crate) interval_ms: i64,
}

/// What is kept of an old sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    time: EventTime,
    contracts: Quantity,
}

/// The samples of one instrument. Times rise strictly from `coarse` over `fine` to `newest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series {
    coarse: VecDeque<Point>,
    fine: VecDeque<Sample>,
    newest: Newest,
    /// A sample that jumped from the newest and waits for the next to confirm it.
    suspect: Option<Sample>,
}

/// What became of an incoming sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the newest one.
    Accepted,
    /// It jumped: it waits for the next one.
    Held,
    /// Its time is not after that of the one before.
    Stale,
    /// The contract's size changed: it is the first of a series begun anew.
    Resized,
    /// The suspect before it was a glitch and is gone; it itself is the newest one.
    AcceptedAfterGlitch,
    /// The suspect before it was a glitch and is gone; it itself waits for the next one.
    HeldAfterGlitch,
}

impl Newest {
    pub(crate) fn of(event: &OpenInterest, position: Sequence) -> Self {
        let OpenInterest { contracts, coins, event_time, .. } = *event;
        Self {
            sample: Sample { time: event_time, contracts, coins, position },
            notional_usd: event.notional_usd,
            interval_ms: i64::from(event.interval_ms),
        }
    }
}

impl Series {
    /// Begins with a sample.
    pub(crate) const fn begin(first: Newest) -> Self {
        Self { coarse: VecDeque::new(), fine: VecDeque::new(), newest: first, suspect: None }
    }

    /// Takes the next sample in MARKET order.
    pub(crate) fn take(&mut self, incoming: Newest) -> Taken {
        let heard = self.suspect.as_ref().map_or(self.newest.sample.time, |suspect| suspect.time);
        if incoming.sample.time <= heard {
            return Taken::Stale;
        }
        if !is_same_size(&self.newest, &incoming) || is_rebased(&self.newest, &incoming) {
            *self = Self::begin(incoming);
            return Taken::Resized;
        }
        let suspect = self.suspect.take();
        if let Some(suspect) = suspect
            && confirms(&suspect, &incoming.sample)
        {
            // Only the newest sample's value and interval are ever asked for.
            self.push(Newest { sample: suspect, ..incoming });
            self.push(incoming);
            return Taken::Accepted;
        }
        let jumps = jumps(&self.newest.sample, &incoming.sample);
        if jumps {
            self.suspect = Some(incoming.sample);
        } else {
            self.push(incoming);
        }
        match (suspect.is_some(), jumps) {
            (false, false) => Taken::Accepted,
            (false, true) => Taken::Held,
            (true, false) => Taken::AcceptedAfterGlitch,
            (true, true) => Taken::HeldAfterGlitch,
        }
    }

    fn push(&mut self, incoming: Newest) {
        let before = std::mem::replace(&mut self.newest, incoming);
        self.fine.push_back(before.sample);
        let newest = incoming.sample.time;
        let fine_from = newest.plus_millis(-FINE_MS);
        while let Some(oldest) = self.fine.pop_front_if(|oldest| oldest.time < fine_from) {
            self.thin(oldest);
        }
        if self.fine.len() > FINE_MAX
            && let Some(oldest) = self.fine.pop_front()
        {
            self.thin(oldest);
        }
        let coarse_from = newest.plus_millis(-LOOK_BACK_MS);
        while self.coarse.pop_front_if(|oldest| oldest.time < coarse_from).is_some() {}
    }

    /// Keeps of a sample that left `fine` what the grid needs: it is the last one at or before a full five minutes if
    /// such a moment lies between it and its successor.
    fn thin(&mut self, sample: Sample) {
        let next = self.fine.front().map_or(self.newest.sample.time, |next| next.time);
        let before = |time: EventTime| (time.as_millis() - 1).div_euclid(GRID_MS);
        if before(next) > before(sample.time) {
            self.coarse.push_back(Point { time: sample.time, contracts: sample.contracts });
        }
    }

    /// Returns the newest sample.
    pub(crate) const fn newest(&self) -> &Newest {
        &self.newest
    }

    /// How much older than asked for a sample may be, in milliseconds: two intervals.
    pub(crate) const fn tolerance_ms(&self) -> i64 {
        TOLERANCE_INTERVALS.saturating_mul(self.newest.interval_ms)
    }

    /// Whether there was no sample for two intervals of the timer clock.
    pub(crate) fn is_stale(&self, timer_clock: Option<EventTime>) -> bool {
        timer_clock > Some(self.newest.sample.time.plus_millis(self.tolerance_ms()))
    }

    /// Returns the last sample at or before the start of the window that ends with the newest one, unless it is older
    /// than that by more than the tolerance.
    pub(crate) fn baseline(&self, window_ms: i64) -> Option<&Sample> {
        let start = self.newest.sample.time.plus_millis(-window_ms);
        let after = self.fine.partition_point(|sample| sample.time <= start);
        let sample = self.fine.get(after.checked_sub(1)?)?;
        (start.millis_since(sample.time) <= self.tolerance_ms()).then_some(sample)
    }

    /// Returns the time and quantity of the last sample kept at or before `time`.
    ///
    /// Beyond the last 70 minutes that is the last one of all only where `time` is a full five minutes.
    pub(crate) fn at(&self, time: EventTime) -> Option<(EventTime, Quantity)> {
        let Newest { sample: newest, .. } = self.newest;
        if newest.time <= time {
            return Some((newest.time, newest.contracts));
        }
        let after = self.fine.partition_point(|sample| sample.time <= time);
        if let Some(sample) = after.checked_sub(1).and_then(|index| self.fine.get(index)) {
            return Some((sample.time, sample.contracts));
        }
        let after = self.coarse.partition_point(|point| point.time <= time);
        let point = after.checked_sub(1).and_then(|index| self.coarse.get(index))?;
        Some((point.time, point.contracts))
    }

    /// Returns the samples of the last `span_ms` before the newest one, oldest first, with the newest.
    pub(crate) fn last(&self, span_ms: i64) -> impl Iterator<Item = &Sample> + Clone {
        let from = self.newest.sample.time.plus_millis(-span_ms);
        let first = self.fine.partition_point(|sample| sample.time < from);
        self.fine.range(first..).chain(std::iter::once(&self.newest.sample))
    }

    /// Returns the change between two quantities in USD, both at the value of the newest sample, or nothing where
    /// decimals do not hold it.
    pub(crate) fn value(&self, before: Quantity, after: Quantity) -> Option<Change> {
        let notional = self.newest.notional_usd.to_decimal();
        let contracts = self.newest.sample.contracts.value();
        let value = |quantity: Quantity| notional.checked_mul(quantity.value())?.checked_div(contracts);
        Some(Change { before: value(before)?, after: value(after)? })
    }
}

/// Whether a contract is as large as before: linear ones keep their coins, inverse ones their USD. Where decimals do
/// not hold the comparison it is taken as changed, and the series never gets a baseline.
fn is_same_size(before: &Newest, after: &Newest) -> bool {
    let is_same = |a: Decimal, b: Decimal| {
        // a / before.contracts = b / after.contracts, without a division.
        let a = a.checked_mul(after.sample.contracts.value())?;
        let b = b.checked_mul(before.sample.contracts.value())?;
        Some(a.checked_sub(b)?.abs().checked_mul(Decimal::from(SIZE_WITHIN))? <= a)
    };
    is_same(before.sample.coins.value(), after.sample.coins.value()) == Some(true)
        || is_same(before.notional_usd.to_decimal(), after.notional_usd.to_decimal()) == Some(true)
}

/// Whether a coin was replaced by many or many by one: the quantity jumps while what it is worth stays within a quarter.
/// Where contracts are coins (Binance, Bybit) nothing else tells it (exchanges.md C.4: rebases); positions that double
/// while the price halves between two samples do not exist.
fn is_rebased(before: &Newest, after: &Newest) -> bool {
    let (was, is) = (before.notional_usd.cents(), after.notional_usd.cents());
    jumps(&before.sample, &after.sample) && was.abs_diff(is) <= was.unsigned_abs() / 4
}

/// Quantities are at most 10^15, far from where multiplying by these numbers overflows.
fn jumps(before: &Sample, after: &Sample) -> bool {
    let (before, after) = (before.contracts.value(), after.contracts.value());
    let multiple = Decimal::from(SUSPECT_MULTIPLE);
    after >= before * multiple || after * multiple <= before
}

fn confirms(suspect: &Sample, next: &Sample) -> bool {
    let (suspect, next) = (suspect.contracts.value(), next.contracts.value());
    (next - suspect).abs() * Decimal::from(CONFIRMED_WITHIN) <= suspect
}

#[cfg(test)]
mod tests {
    use schemas::{amount::Price, id::Id, market::VERSION, time::ReceivedAt};

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    /// A sample of a linear contract of one thousandth of a coin, at a mark of 50,000.
    fn sample(minute: i64, contracts: i64) -> Newest {
        priced(minute, contracts, Decimal::new(contracts, 3), contracts * 50)
    }

    fn priced(minute: i64, contracts: i64, coins: Decimal, usd: i64) -> Newest {
        let event_time = EventTime::from_millis(minute * MINUTE_MS);
        let event = OpenInterest {
            v: VERSION,
            id: Id::of("open_interest", &[]),
            venue: "okx".parse().unwrap(),
            instrument: "BTC-USDT-SWAP".parse().unwrap(),
            base: "BTC".parse().unwrap(),
            contracts: Quantity::new(contracts.into()).unwrap(),
            coins: Quantity::new(coins).unwrap(),
            mark_price: Price::new(50_000.into()).unwrap(),
            notional_usd: Usd::from_cents(usd * 100),
            interval_ms: 60_000,
            event_time,
            received_at: ReceivedAt::unrecorded(event_time),
        };
        Newest::of(&event, Sequence::new(minute.unsigned_abs() + 1))
    }

    fn take_all(samples: &[(i64, i64)]) -> (Series, Vec<Taken>) {
        let mut series = Series::begin(sample(samples[0].0, samples[0].1));
        let taken = samples[1..].iter().map(|(minute, contracts)| series.take(sample(*minute, *contracts))).collect();
        (series, taken)
    }

    fn held(series: &Series) -> Vec<(i64, String)> {
        let minute = |time: EventTime| time.as_millis() / MINUTE_MS;
        series.last(i64::MAX).map(|one| (minute(one.time), one.contracts.to_string())).collect()
    }

    #[test]
    fn a_sample_whose_time_did_not_advance_is_none() {
        let (series, taken) = take_all(&[(5, 100), (5, 110), (4, 120), (6, 130), (6, 130)]);
        assert_eq!(taken, [Taken::Stale, Taken::Stale, Taken::Accepted, Taken::Stale]);
        assert_eq!(held(&series), [(5, "100".to_owned()), (6, "130".to_owned())]);
    }

    #[test]
    fn a_jump_waits_for_the_next_sample_to_confirm_it() {
        let (series, taken) = take_all(&[(0, 100), (1, 199), (2, 398), (3, 300)]);
        assert_eq!(taken, [Taken::Accepted, Taken::Held, Taken::Accepted], "300 is within a quarter of 398");
        assert_eq!(held(&series).len(), 4);
        let (series, taken) = take_all(&[(0, 100), (1, 50), (2, 62)]);
        assert_eq!(taken, [Taken::Held, Taken::Accepted]);
        assert_eq!(held(&series).len(), 3);
    }

    #[test]
    fn a_jump_that_the_next_sample_does_not_confirm_is_a_glitch() {
        let (series, taken) = take_all(&[(0, 100), (1, 1000), (2, 101), (3, 10), (4, 300), (5, 100)]);
        let expected =
            [Taken::Held, Taken::AcceptedAfterGlitch, Taken::Held, Taken::HeldAfterGlitch, Taken::AcceptedAfterGlitch];
        assert_eq!(taken, expected);
        assert_eq!(held(&series), [(0, "100".to_owned()), (2, "101".to_owned()), (5, "100".to_owned())]);
        assert_eq!(take_all(&[(5, 100), (7, 1000), (6, 101)]).1[1], Taken::Stale, "the suspect's time counts");
    }

    #[test]
    fn a_change_of_the_contracts_size_begins_the_series_anew() {
        let mut series = take_all(&[(0, 1000), (1, 1000)]).0;
        // Ten times the contracts of a tenth each: neither coins nor USD of a contract stayed.
        assert_eq!(series.take(priced(2, 10_000, Decimal::ONE, 50_000)), Taken::Resized);
        assert_eq!(held(&series), [(2, "10000".to_owned())]);
        assert_eq!(series.baseline(MINUTE_MS), None);
    }

    #[test]
    fn a_coin_replaced_by_a_thousand_begins_the_series_anew() {
        let mut series = Series::begin(priced(0, 1_000, Decimal::from(1_000), 50_000));
        assert_eq!(series.take(priced(1, 1_000_000, Decimal::from(1_000_000), 51_000)), Taken::Resized);
        assert_eq!(series.take(priced(2, 1_020, Decimal::from(1_020), 52_000)), Taken::Resized, "and back");
        assert_eq!(series.take(priced(3, 3_000, Decimal::from(3_000), 150_000)), Taken::Held, "this is worth more");
    }

    #[test]
    fn a_move_of_the_price_is_no_change_of_size() {
        let mut linear = Series::begin(priced(0, 1000, Decimal::ONE, 50_000));
        assert_eq!(linear.take(priced(1, 1000, Decimal::ONE, 60_000)), Taken::Accepted, "its USD rose");
        let mut inverse = Series::begin(priced(0, 1000, Decimal::TWO, 100_000));
        assert_eq!(inverse.take(priced(1, 1000, Decimal::ONE, 100_000)), Taken::Accepted, "its coins fell");
    }

    #[test]
    fn a_baseline_lies_at_or_up_to_two_intervals_before_the_start_of_the_window() {
        let baseline = |minutes: &[(i64, i64)]| {
            let series = take_all(minutes).0;
            series.baseline(15 * MINUTE_MS).map(|sample| sample.time.as_millis() / MINUTE_MS)
        };
        assert_eq!(baseline(&[(4, 1), (5, 1), (6, 1), (20, 1)]), Some(5));
        assert_eq!(baseline(&[(3, 1), (6, 1), (20, 1)]), Some(3));
        assert_eq!(baseline(&[(2, 1), (6, 1), (20, 1)]), None);
        assert_eq!(baseline(&[(6, 1), (20, 1)]), None);
    }

    #[test]
    fn old_samples_are_thinned_to_the_last_before_each_full_five_minutes() {
        let minutes: Vec<_> = (0..=30 * 60).map(|minute| (minute, 100 + minute)).collect();
        let series = take_all(&minutes).0;
        assert_eq!(series.fine.front().map(|oldest| oldest.time.as_millis() / MINUTE_MS), Some(1800 - 70));
        let coarse: Vec<i64> = series.coarse.iter().map(|point| point.time.as_millis() / MINUTE_MS).collect();
        assert_eq!(coarse, (300..1730).step_by(5).collect::<Vec<_>>());
        let at = |minute: i64| series.at(EventTime::from_millis(minute * MINUTE_MS)).unwrap().1.to_string();
        assert_eq!([at(301), at(305), at(1733), at(9999)], ["400", "405", "1833", "1900"]);
        assert!(series.at(EventTime::from_millis(299 * MINUTE_MS)).is_none());
    }

    #[test]
    fn a_series_has_a_bound() {
        let mut series = Series::begin(sample(0, 100));
        for n in 1..6_000 {
            let mut next = sample(0, 100);
            next.sample.time = EventTime::from_millis(n * 100);
            series.take(next);
        }
        assert_eq!((series.fine.len(), series.coarse.len()), (FINE_MAX, 1));
    }
}
