//! The figures that tell how far an explosion is out of the ordinary: baseline, momentum and trend.

use rust_decimal::Decimal;
use schemas::{
    alert::Baseline,
    amount::{Quantity, Ratio},
    time::EventTime,
};

use super::{
    LOOK_BACK_MS,
    change::Change,
    series::{GRID_MS, Series},
};

/// The fixed grid of the baseline, in milliseconds: a quarter of an hour (design 4).
const BASELINE_GRID_MS: i64 = 15 * 60_000;

/// How far the baseline looks back, in milliseconds: 24 h (design 4).
const BASELINE_MS: i64 = 24 * 3_600_000;

/// Fewest changes a baseline is made of (design 4): half a day.
const BASELINE_MIN: usize = 48;

/// What the momentum is the slope of, in milliseconds: 5 minutes (design 4).
const MOMENTUM_MS: i64 = 5 * 60_000;

/// Returns how unusual `change_pct` is among the overall changes over `window_ms` that end on the quarter-hour grid of
/// the 24 h up to `at`; nothing under 48 of them, or where they are all the same.
///
/// The changes before the last 70 minutes need a window of whole five minutes: for any other one the thinned samples
/// hold the start of few windows within the tolerance, and there may be no baseline.
pub(super) fn baseline(series: &[&Series], window_ms: i64, at: EventTime, change_pct: Decimal) -> Option<Baseline> {
    let last = at.as_millis().div_euclid(BASELINE_GRID_MS);
    let first = (at.as_millis() - BASELINE_MS).div_euclid(BASELINE_GRID_MS) + 1;
    let changes: Vec<Decimal> = (first..=last)
        .map(|step| EventTime::from_millis(step * BASELINE_GRID_MS))
        .filter_map(|end| {
            let start = end.plus_millis(-window_ms);
            let both = |series: &&Series| series.value(within(series, start, at)?, within(series, end, at)?);
            Change::sum(series.iter().filter_map(both))?.pct()
        })
        .collect();
    if changes.len() < BASELINE_MIN {
        return None;
    }
    let (mean, deviation) = mean_and_deviation(&changes)?;
    let z_score = change_pct.checked_sub(mean)?.checked_div(deviation)?;
    Some(Baseline { z_score: Ratio::new(z_score), samples: u32::try_from(changes.len()).unwrap_or(u32::MAX) })
}

/// Returns the quantity at `time`, of what a fold that began 25 h before `now` holds too.
fn within(series: &Series, time: EventTime, now: EventTime) -> Option<Quantity> {
    let (found, quantity) = series.at(time)?;
    let is_near = time.millis_since(found) <= series.tolerance_ms();
    (is_near && now.millis_since(found) <= LOOK_BACK_MS).then_some(quantity)
}

/// Returns the mean and the sample standard deviation of two or more values.
fn mean_and_deviation(values: &[Decimal]) -> Option<(Decimal, Decimal)> {
    let mean = sum(values.iter().copied())?.checked_div(values.len().into())?;
    let square = |value: &Decimal| {
        let distance = value.checked_sub(mean)?;
        distance.checked_mul(distance)
    };
    let squares: Vec<Decimal> = values.iter().map(square).collect::<Option<_>>()?;
    let variance = sum(squares)?.checked_div((values.len() - 1).into())?;
    Some((mean, square_root(variance)))
}

fn sum(values: impl IntoIterator<Item = Decimal>) -> Option<Decimal> {
    values.into_iter().try_fold(Decimal::ZERO, Decimal::checked_add)
}

/// Returns the square root of a number that is not negative, to 14 significant digits or more.
fn square_root(mut number: Decimal) -> Decimal {
    // As many digits as 96 bits hold, and an even number of places, so that the root has half of them.
    number.rescale(Decimal::MAX_SCALE);
    let odd = number.scale() % 2;
    let digits = number.mantissa().unsigned_abs() * 10_u128.pow(odd);
    let root = i128::try_from(digits.isqrt()).unwrap_or(i128::MAX);
    Decimal::from_i128_with_scale(root, (number.scale() + odd) / 2)
}

/// Returns the mean slope of the last 5 minutes of each series in percent of its first sample a minute, weighted by
/// value; nothing where no series has two samples.
pub(super) fn momentum(series: &[&Series]) -> Option<Ratio> {
    let weighted = |series: &&Series| {
        let value = series.newest().notional_usd.to_decimal();
        Some((slope(series)?.checked_mul(value)?, value))
    };
    let (slopes, values): (Vec<_>, Vec<_>) = series.iter().filter_map(weighted).unzip();
    sum(slopes)?.checked_div(sum(values)?).map(Ratio::new)
}

/// The least-squares slope of one series, in percent a minute.
fn slope(series: &Series) -> Option<Decimal> {
    let samples = series.last(MOMENTUM_MS);
    let first = samples.clone().next()?;
    let [mut n, mut x, mut y, mut xx, mut xy] = [Decimal::ZERO; 5];
    for sample in samples {
        // Distances from the first sample keep the sums small.
        let dx = Decimal::from(sample.time.millis_since(first.time));
        let dy = sample.contracts.value().checked_sub(first.contracts.value())?;
        n += Decimal::ONE;
        x += dx;
        y = dy.checked_add(y)?;
        xx += dx * dx;
        xy = dx.checked_mul(dy)?.checked_add(xy)?;
    }
    let covariance = n.checked_mul(xy)?.checked_sub(x.checked_mul(y)?)?;
    let per_milli = covariance.checked_div(n * xx - x * x)?;
    // 100 percent, 60,000 milliseconds a minute.
    per_milli.checked_mul(Decimal::from(6_000_000))?.checked_div(first.contracts.value())
}

/// Returns the overall change over the last `span_ms`, in percent, of the series that reach back so far; nothing where
/// none does. A start may be older by two intervals and by the five minutes to which old samples are thinned.
pub(super) fn trend(series: &[&Series], span_ms: i64) -> Option<Ratio> {
    let changes = series.iter().filter_map(|series| {
        let newest = series.newest().sample;
        let start = newest.time.plus_millis(-span_ms);
        let (found, before) = series.at(start)?;
        let is_near = start.millis_since(found) <= series.tolerance_ms().saturating_add(GRID_MS);
        series.value(before, newest.contracts).filter(|_| is_near)
    });
    Change::sum(changes)?.pct().map(Ratio::new)
}

#[cfg(test)]
mod tests {
    use schemas::{amount::Usd, position::Sequence};

    use super::*;
    use crate::open_interest::series::{Newest, Sample};

    const MINUTE_MS: i64 = 60_000;

    /// A series of (minute, contracts), each contract one coin worth `usd`.
    fn series(samples: impl IntoIterator<Item = (i64, i64)>, usd: i64) -> Series {
        let mut samples = samples.into_iter().map(|(minute, contracts)| {
            let quantity = Quantity::new(contracts.into()).unwrap();
            let time = EventTime::from_millis(minute * MINUTE_MS);
            let sample = Sample { time, contracts: quantity, coins: quantity, position: Sequence::new(1) };
            Newest { sample, notional_usd: Usd::from_cents(contracts * usd * 100), interval_ms: MINUTE_MS }
        });
        let mut series = Series::begin(samples.next().unwrap());
        for sample in samples {
            series.take(sample);
        }
        series
    }

    fn text(ratio: Option<Ratio>) -> Option<String> {
        ratio.map(|ratio| ratio.value().to_string())
    }

    #[test]
    fn momentum_is_the_slope_of_the_last_five_minutes_weighted_by_value() {
        let rises = series((0..20).map(|minute| (minute, 1000 + 10 * minute)), 1);
        // From 1140 at minute 14 by 10 a minute: 0.8772 %.
        assert_eq!(text(momentum(&[&rises])), Some("0.8772".to_owned()));
        let flat = series((0..20).map(|minute| (minute, 1190)), 3);
        assert_eq!(text(momentum(&[&rises, &flat])), Some("0.2193".to_owned()), "a quarter of the value rises");
        // 100, 104, 103: the slope through them is 1.5 a minute.
        assert_eq!(text(momentum(&[&series([(7, 100), (8, 104), (9, 103)], 1)])), Some("1.5".to_owned()));
        assert_eq!(momentum(&[&series([(0, 1000), (6, 1100)], 1)]), None, "one sample has no slope");
        assert_eq!(momentum(&[]), None);
    }

    #[test]
    fn a_trend_is_the_change_of_those_that_reach_back() {
        let rises = series((0..=60).map(|minute| (minute, 100 + minute)), 1);
        let young = series((1..=60).map(|minute| (minute, 500 + minute)), 1);
        assert_eq!(text(trend(&[&rises], 3_600_000)), Some("60".to_owned()));
        assert_eq!(text(trend(&[&rises, &young], 3_600_000)), Some("60".to_owned()));
        assert_eq!(trend(&[&young], 3_600_000), None);
        // 100 coins that are worth 160 now and 320 that did not move.
        let flat = series((0..=60).map(|minute| (minute, 320)), 1);
        assert_eq!(text(trend(&[&rises, &flat], 3_600_000)), Some("14.2857".to_owned()));
        let day = series((0..=1_440).map(|minute| (minute, 2_000 + minute)), 1);
        assert_eq!(text(trend(&[&day], 86_400_000)), Some("72".to_owned()));
    }

    #[test]
    fn a_baseline_tells_how_many_deviations_from_the_mean_a_change_is() {
        // Quarters of an hour that alternate between 100 and 110: changes of +10 % and -9.0909 %, mean 0.4545,
        // deviation 9.5455 * sqrt(96/95) = 9.5956.
        let level = |minute: i64| if minute.div_euclid(15) % 2 == 0 { 100 } else { 110 };
        let day = series((0..=26 * 60).map(|minute| (minute, level(minute))), 1);
        let at = EventTime::from_millis(26 * 60 * MINUTE_MS);
        let judge = |series: &Series, window| baseline(&[series], window * MINUTE_MS, at, Decimal::from(20));
        let found = judge(&day, 15).unwrap();
        assert_eq!((found.z_score.value().to_string(), found.samples), ("2.0369".to_owned(), 96));
        assert_eq!(judge(&day, 30), None, "every half-hour change is zero");
        assert!(judge(&day, 12).is_none(), "thinned samples hold no start within two minutes of one of 12");
    }

    #[test]
    fn a_baseline_needs_half_a_day() {
        let level = |minute: i64| if minute.div_euclid(15) % 2 == 0 { 100 } else { 110 };
        let from = |first: i64| {
            let at = EventTime::from_millis(26 * 60 * MINUTE_MS);
            let samples = series((first..=26 * 60).map(|minute| (minute, level(minute))), 1);
            baseline(&[&samples], 15 * MINUTE_MS, at, Decimal::from(20)).map(|baseline| baseline.samples)
        };
        assert_eq!(from(26 * 60 - 48 * 15), Some(48));
        assert_eq!(from(26 * 60 - 48 * 15 + 1), None);
    }

    #[test]
    fn a_baseline_uses_nothing_older_than_25_hours() {
        // The first change of the day ends at minute 135 and starts at 75; minute 74 is 25 hours before the last.
        let at = EventTime::from_millis(1_574 * MINUTE_MS);
        let without = |missing: &[i64]| {
            let minutes = (0..=1_570).filter(|minute| !missing.contains(minute));
            let samples = series(minutes.map(|minute| (minute, 100 + minute.div_euclid(60) % 2 * 10)), 1);
            baseline(&[&samples], 60 * MINUTE_MS, at, Decimal::from(20)).map(|baseline| baseline.samples)
        };
        assert_eq!(without(&[75]), Some(96));
        assert_eq!(without(&[75, 74]), Some(95), "minute 73 would be within the tolerance");
    }

    #[test]
    fn a_square_root_is_good_to_many_digits() {
        for (number, expected) in [("2", "1.41421356237309"), ("4", "2"), ("0.0009", "0.03"), ("0", "0")] {
            let root = square_root(number.parse().unwrap());
            assert!(root.to_string().starts_with(expected), "{number}: {root}");
        }
        assert_eq!(square_root(Decimal::from(1_000_000)), Decimal::from(1000));
    }
}
