//! Liquidations of one base by side and venue over the minutes before an alert.

use std::collections::BTreeMap;

use detect::rules::LIQUIDATION_WINDOW_MS_MAX;
use schemas::{
    amount::Usd,
    market::{Liquidation, Side},
    name::{Base, Venue},
    time::EventTime,
};

/// What is shown before the alert, in milliseconds: the longest window of a rule (design 4).
pub(super) const SPAN_MS: i64 = LIQUIDATION_WINDOW_MS_MAX;

/// Width of a bar in milliseconds: sixty bars, each a few pixels wide on a phone.
pub(super) const BAR_MS: i64 = 5_000;

/// Venues told apart by shade. The smaller ones beyond it are summed.
pub(super) const VENUES_MAX: usize = 4;

/// Liquidations of one base in the five minutes up to an alert, event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liquidations {
    pub(super) base: Base,
    /// When the alert fired: the end of the picture.
    pub(super) at: EventTime,
    /// The rule's window before `at`; within the picture.
    pub(super) window_ms: i64,
    /// The largest first, by name where equal; the last one may be several together.
    pub(super) venues: Vec<Share>,
    /// In time order, without empty ones.
    pub(super) bars: Vec<Bar>,
}

/// What was liquidated on a venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) usd: Usd,
}

/// What was liquidated after `until` - [`BAR_MS`] and no later than `until`, by venue in the order of the shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) until: EventTime,
    pub(super) longs: Vec<Usd>,
    pub(super) shorts: Vec<Usd>,
}

impl Liquidations {
    /// Sums the accepted events of `base` up to the alert's `event_time`, in buckets of five seconds that end with it, as
    /// windows do.
    ///
    /// Events of other bases, after the alert, or five minutes and more before it are left out; a longer window is cut to
    /// five minutes. Beyond four venues the smallest are shown as one.
    pub fn new<'a>(
        base: Base,
        event_time: EventTime,
        window_ms: i64,
        events: impl IntoIterator<Item = &'a Liquidation>,
    ) -> Self {
        let age = |event: &Liquidation| event_time.millis_since(event.event_time);
        let shown: Vec<_> =
            events.into_iter().filter(|event| event.base == base && (0..SPAN_MS).contains(&age(event))).collect();
        let (venues, places) = shares(&shown);
        let mut bars: BTreeMap<EventTime, Bar> = BTreeMap::new();
        for event in shown {
            let until = event_time.plus_millis(-(age(event) / BAR_MS * BAR_MS));
            let none = || vec![Usd::default(); venues.len()];
            let bar = bars.entry(until).or_insert_with(|| Bar { until, longs: none(), shorts: none() });
            let side = match event.liquidated {
                Side::Long => &mut bar.longs,
                Side::Short => &mut bar.shorts,
            };
            if let Some(sum) = places.get(&event.venue).and_then(|place| side.get_mut(*place)) {
                *sum += event.notional_usd;
            }
        }
        let window_ms = window_ms.clamp(0, SPAN_MS);
        Self { base, at: event_time, window_ms, venues, bars: bars.into_values().collect() }
    }

    /// Returns the sums of both sides: longs, shorts.
    pub(super) fn sides(&self) -> (Usd, Usd) {
        (self.bars.iter().map(Bar::long).sum(), self.bars.iter().map(Bar::short).sum())
    }
}

impl Bar {
    pub(super) fn long(&self) -> Usd {
        self.longs.iter().copied().sum()
    }

    pub(super) fn short(&self) -> Usd {
        self.shorts.iter().copied().sum()
    }
}

/// Returns the shares of the venues, and which of them each venue belongs to.
fn shares<'a>(events: &[&'a Liquidation]) -> (Vec<Share>, BTreeMap<&'a Venue, usize>) {
    let mut sums: BTreeMap<&Venue, Usd> = BTreeMap::new();
    for event in events {
        *sums.entry(&event.venue).or_default() += event.notional_usd;
    }
    let mut largest: Vec<_> = sums.into_iter().collect();
    largest.sort_by_key(|(_, usd)| std::cmp::Reverse(*usd));
    let places = largest.iter().enumerate().map(|(place, (venue, _))| (*venue, place.min(VENUES_MAX - 1))).collect();
    let mut shares: Vec<_> = largest.iter().map(|(venue, usd)| Share { name: venue.to_string(), usd: *usd }).collect();
    if shares.len() > VENUES_MAX {
        let others = shares.split_off(VENUES_MAX - 1);
        let usd = others.iter().map(|share| share.usd).sum();
        shares.push(Share { name: format!("{} others", others.len()), usd });
    }
    (shares, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::samples::{liquidation, time};

    fn chart(events: &[Liquidation]) -> Liquidations {
        Liquidations::new("BTC".parse().unwrap(), time(0), 30_000, events)
    }

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    fn share(name: &str, sum: &str) -> Share {
        Share { name: name.to_owned(), usd: usd(sum) }
    }

    #[test]
    fn events_are_summed_by_bar_side_and_venue() {
        let events = [
            liquidation("okx", Side::Long, "100.10", 0),
            liquidation("binance", Side::Long, "1000", -4_999),
            liquidation("okx", Side::Short, "20", -4_000),
            liquidation("okx", Side::Long, "0.20", 0),
            liquidation("binance", Side::Short, "5", -5_000),
        ];
        let zero = Usd::default();
        let expected = Liquidations {
            base: "BTC".parse().unwrap(),
            at: time(0),
            window_ms: 30_000,
            venues: vec![share("binance", "1005"), share("okx", "120.30")],
            bars: vec![
                Bar { until: time(-5_000), longs: vec![zero, zero], shorts: vec![usd("5"), zero] },
                Bar { until: time(0), longs: vec![usd("1000"), usd("100.30")], shorts: vec![zero, usd("20")] },
            ],
        };
        assert_eq!(chart(&events), expected);
        assert_eq!(expected.sides(), (usd("1100.30"), usd("25")));
    }

    #[test]
    fn what_is_later_older_or_of_another_base_is_left_out() {
        let mut other = liquidation("okx", Side::Long, "1", 0);
        other.base = "ETH".parse().unwrap();
        let events = [other, liquidation("okx", Side::Long, "1", 1), liquidation("okx", Side::Long, "1", -SPAN_MS)];
        assert_eq!((chart(&events).venues, chart(&events).bars), (vec![], vec![]));
        let first = [liquidation("okx", Side::Long, "1", 1 - SPAN_MS)];
        assert_eq!(chart(&first).bars[0].until, time(BAR_MS - SPAN_MS));
    }

    #[test]
    fn the_smallest_of_many_venues_are_one() {
        let events: Vec<_> = (1..=7)
            .map(|place| liquidation(&format!("venue{place}"), Side::Short, &(place * 10).to_string(), 0))
            .collect();
        let drawn = chart(&events);
        let shares = [share("venue7", "70"), share("venue6", "60"), share("venue5", "50"), share("4 others", "100")];
        assert_eq!(drawn.venues, shares);
        assert_eq!(drawn.bars[0].shorts, shares.map(|share| share.usd));
    }

    #[test]
    fn a_longer_window_is_cut_to_the_picture() {
        assert_eq!(Liquidations::new("BTC".parse().unwrap(), time(0), 600_000, &[]).window_ms, SPAN_MS);
    }
}
