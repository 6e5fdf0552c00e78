//! Open interest of one base by venue over the window before an alert.

use std::collections::BTreeMap;

use detect::rules::OI_WINDOW_MS_MAX;
use rust_decimal::Decimal;
use schemas::{
    amount::{Quantity, Ratio, Usd},
    market::OpenInterest,
    name::{Base, Instrument, Venue},
    time::EventTime,
};

/// Venues drawn. Of more, those with the largest open interest are.
pub(super) const VENUES_MAX: usize = 8;

/// Shortest window in milliseconds, so that the picture has a width. A shorter one is drawn as this.
const WINDOW_MS_MIN: i64 = 60_000;

/// What is shown before the window, as a part of it: enough to see what was usual.
const LEAD_IN_PART: i64 = 3;

/// Change of open interest of one base by venue, in percent of the native quantity at the window's start, event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    pub(super) base: Base,
    /// When the alert fired: the end of the picture.
    pub(super) at: EventTime,
    pub(super) window_ms: i64,
    /// The rule's `change_pct`, with the sign of the largest change shown.
    pub(super) threshold: Option<Ratio>,
    /// By name.
    pub(super) lines: Vec<Line>,
}

/// One venue's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    /// Its change over the window; absent when nothing came from it for two intervals before the alert.
    pub(super) change: Option<Ratio>,
    /// Percent by time, in stretches with nothing known between them; none is empty.
    pub(super) stretches: Vec<Vec<(EventTime, Ratio)>>,
}

impl Interest {
    /// Compares the samples of `base` up to the alert's `event_time` with those one window earlier, as detection does: a
    /// venue's newest sample with its last one at or before a window earlier, at most two intervals older than that.
    ///
    /// The picture begins a third of a window before the window. A venue without such a sample is left out, so `samples`
    /// should begin two intervals before the window at least. Of a venue's instruments the one with the largest open
    /// interest is drawn, of more than eight venues the eight largest. `threshold` is the rule's `change_pct`.
    /// A window under a minute is taken as a minute, one over an hour as an hour.
    pub fn new<'a>(
        base: Base,
        event_time: EventTime,
        window_ms: i64,
        threshold: Option<Ratio>,
        samples: impl IntoIterator<Item = &'a OpenInterest>,
    ) -> Self {
        let window_ms = window_ms.clamp(WINDOW_MS_MIN, OI_WINDOW_MS_MAX);
        let from = event_time.plus_millis(-(window_ms + window_ms / LEAD_IN_PART));
        let mut series: BTreeMap<(&Venue, &Instrument), Vec<&OpenInterest>> = BTreeMap::new();
        for sample in samples {
            if sample.base == base && sample.event_time <= event_time {
                series.entry((&sample.venue, &sample.instrument)).or_default().push(sample);
            }
        }
        let mut venues: BTreeMap<&Venue, Vec<&OpenInterest>> = BTreeMap::new();
        for ((venue, _), mut samples) in series {
            samples.sort_by_key(|sample| sample.event_time);
            let held = venues.entry(venue).or_default();
            if size(&samples) > size(held) {
                *held = samples;
            }
        }
        let mut largest: Vec<_> = venues
            .into_values()
            .filter_map(|samples| Some((size(&samples), Line::new(&samples, from, event_time, window_ms)?)))
            .collect();
        largest.sort_by_key(|(usd, _)| std::cmp::Reverse(*usd));
        largest.truncate(VENUES_MAX);
        let mut lines: Vec<_> = largest.into_iter().map(|(_, line)| line).collect();
        lines.sort_by(|one, other| one.name.cmp(&other.name));
        let values = || lines.iter().flat_map(Line::values).map(Ratio::value);
        let falls = values().min().unwrap_or_default().abs() > values().max().unwrap_or_default().abs();
        let threshold = threshold.map(|it| if falls { Ratio::new(-it.value()) } else { it });
        Self { base, at: event_time, window_ms, threshold, lines }
    }

    /// Returns when the picture begins.
    pub(super) const fn from(&self) -> EventTime {
        self.at.plus_millis(-(self.window_ms + self.window_ms / LEAD_IN_PART))
    }

    /// Returns when the window begins.
    pub(super) const fn window_start(&self) -> EventTime {
        self.at.plus_millis(-self.window_ms)
    }
}

/// Returns what the newest sample is worth.
fn size(samples: &[&OpenInterest]) -> Option<Usd> {
    samples.last().map(|newest| newest.notional_usd)
}

impl Line {
    /// Returns the line of one instrument's samples (by time, none after `at`), or nothing without a baseline.
    fn new(samples: &[&OpenInterest], from: EventTime, at: EventTime, window_ms: i64) -> Option<Self> {
        let newest = samples.last()?;
        let start = newest.event_time.plus_millis(-window_ms);
        let place = samples.partition_point(|sample| sample.event_time <= start).checked_sub(1)?;
        let baseline = samples.get(place).filter(|it| start.millis_since(it.event_time) <= tolerance_ms(newest))?;
        let point = |sample: &&OpenInterest| (sample.event_time, change(baseline.contracts, sample.contracts));
        let shown = &samples[samples.partition_point(|sample| sample.event_time < from)..];
        let stretches = shown
            .chunk_by(|one, next| next.event_time.millis_since(one.event_time) <= tolerance_ms(next))
            .map(|stretch| stretch.iter().map(point).collect());
        let is_fresh = at.millis_since(newest.event_time) <= tolerance_ms(newest);
        Some(Self {
            name: newest.venue.to_string(),
            change: is_fresh.then(|| change(baseline.contracts, newest.contracts)),
            stretches: stretches.collect(),
        })
    }

    pub(super) fn points(&self) -> impl DoubleEndedIterator<Item = (EventTime, Ratio)> {
        self.stretches.iter().flatten().copied()
    }

    fn values(&self) -> impl Iterator<Item = Ratio> {
        self.points().map(|(_, value)| value)
    }
}

/// Returns the change in percent.
fn change(before: Quantity, after: Quantity) -> Ratio {
    let ratio = after.value().checked_div(before.value()).and_then(|ratio| ratio.checked_sub(Decimal::ONE));
    Ratio::new(ratio.and_then(|ratio| ratio.checked_mul(Decimal::ONE_HUNDRED)).unwrap_or_default())
}

/// Returns how old a venue's newest sample may be: two intervals (design 4).
fn tolerance_ms(sample: &OpenInterest) -> i64 {
    2 * i64::from(sample.interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::samples::{AT, interest, time};

    const WINDOW_MS: i64 = 900_000;

    fn ratio(text: &str) -> Ratio {
        Ratio::new(text.parse().unwrap())
    }

    fn chart(samples: &[OpenInterest]) -> Interest {
        Interest::new("BTC".parse().unwrap(), time(0), WINDOW_MS, Some(ratio("15")), samples)
    }

    fn lines(chart: &Interest) -> Vec<(&str, Option<Ratio>)> {
        chart.lines.iter().map(|line| (line.name.as_str(), line.change)).collect()
    }

    #[test]
    fn a_change_is_measured_from_the_last_sample_a_window_earlier() {
        let samples = [
            interest("okx", "90", -1_300_000),
            interest("okx", "100", -930_000),
            interest("okx", "101", -880_000),
            interest("okx", "118", 0),
            interest("okx", "500", 60_000),
        ];
        let expected = Interest {
            base: "BTC".parse().unwrap(),
            at: time(0),
            window_ms: WINDOW_MS,
            threshold: Some(ratio("15")),
            lines: vec![Line {
                name: "okx".to_owned(),
                change: Some(ratio("18")),
                stretches: vec![
                    vec![(time(-930_000), ratio("0")), (time(-880_000), ratio("1"))],
                    vec![(time(0), ratio("18"))],
                ],
            }],
        };
        assert_eq!(chart(&samples), expected);
        assert_eq!(time(0), EventTime::from_millis(AT));
    }

    #[test]
    fn samples_may_come_in_any_order() {
        let mut samples = vec![
            interest("okx", "100", -960_000),
            interest("bybit", "100", -960_000),
            interest("okx", "90", -60_000),
            interest("bybit", "95", -60_000),
        ];
        let drawn = chart(&samples);
        assert_eq!(lines(&drawn), [("bybit", Some(ratio("-5"))), ("okx", Some(ratio("-10")))]);
        assert_eq!(drawn.threshold, Some(ratio("-15")));
        samples.reverse();
        assert_eq!(chart(&samples), drawn);
    }

    #[test]
    fn a_venue_without_a_baseline_is_left_out_and_a_silent_one_has_no_change() {
        let samples = [
            interest("binance", "100", -1_100_000),
            interest("binance", "120", -60_000),
            interest("bybit", "100", -960_000),
            interest("bybit", "110", -60_000),
            interest("okx", "100", -1_100_000),
            interest("okx", "110", -180_000),
        ];
        assert_eq!(lines(&chart(&samples)), [("bybit", Some(ratio("10"))), ("okx", None)]);
    }

    #[test]
    fn of_many_venues_and_instruments_the_largest_are_drawn() {
        let mut samples = Vec::new();
        for place in 1..=10 {
            let contracts = (place * 100).to_string();
            samples.push(interest(&format!("venue{place:02}"), &contracts, -900_000));
            samples.push(interest(&format!("venue{place:02}"), &contracts, 0));
        }
        let mut small = interest("venue10", "1", 0);
        small.instrument = "BTCUSDC".parse().unwrap();
        samples.push(small);
        let drawn = chart(&samples);
        let names: Vec<_> = drawn.lines.iter().map(|line| line.name.clone()).collect();
        assert_eq!(names, (3..=10).map(|place| format!("venue{place:02}")).collect::<Vec<_>>());
    }
}
