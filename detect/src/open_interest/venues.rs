//! The venues of one base, and what each reports over a window.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemas::{
    alert::{Direction, VenueChange},
    amount::{Quantity, Ratio, Usd},
    market::OpenInterest,
    name::{Instrument, Venue},
    position::Sequence,
    time::EventTime,
};
use serde::{Deserialize, Serialize};

use super::{
    View,
    change::Change,
    series::{Newest, Sample, Series},
};

/// Most venues of a base. The samples of a further one are ignored and counted.
const VENUES_MAX: usize = 16;

/// Most instruments of a venue and base. The samples of a further one are ignored and counted.
const INSTRUMENTS_MAX: usize = 8;

/// The series of one base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Venues(BTreeMap<Venue, BTreeMap<Instrument, Series>>);

/// Which venues are judged: external ones stand in only while there is no direct one (design 4, exchanges.md F).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acting {
    /// A direct venue has a sample that is not stale.
    Direct,
    /// None has.
    External,
}

impl Acting {
    fn includes(self, venue: &Venue) -> bool {
        venue.is_external() == (self == Self::External)
    }
}

/// A venue that has a baseline and is not stale.
#[derive(Clone, Debug)]
pub(super) struct Report<'a> {
    pub(super) venue: &'a Venue,
    /// Whether it counts, or is only shown.
    pub(super) acts: bool,
    /// Its instruments that are present at both ends; at least one.
    pub(super) ends: Vec<Ends<'a>>,
    /// Its own change: of contracts where it has one instrument, of USD at today's mark where it has several.
    change: Change,
    /// Its change in USD, both ends at the mark of its newest samples.
    pub(super) value: Change,
}

/// An instrument at both ends of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    pub(super) series: &'a Series,
    pub(super) before: &'a Sample,
}

impl Venues {
    pub(super) fn series_mut(&mut self, event: &OpenInterest) -> Option<&mut Series> {
        self.0.get_mut(&event.venue)?.get_mut(&event.instrument)
    }

    /// Whether the bounds allow a series that is not there yet.
    pub(super) fn has_room_for(&self, event: &OpenInterest) -> bool {
        match self.0.get(&event.venue) {
            Some(instruments) => instruments.len() < INSTRUMENTS_MAX,
            None => self.0.len() < VENUES_MAX,
        }
    }

    pub(super) fn begin(&mut self, event: &OpenInterest, first: Newest) {
        let instruments = self.0.entry(event.venue.clone()).or_default();
        instruments.insert(event.instrument.clone(), Series::begin(first));
    }

    pub(super) fn series_count(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub(super) fn acting(&self, timer_clock: Option<EventTime>) -> Acting {
        let is_alive = |instruments: &BTreeMap<_, Series>| instruments.values().any(|one| !one.is_stale(timer_clock));
        if self.0.iter().any(|(venue, instruments)| !venue.is_external() && is_alive(instruments)) {
            Acting::Direct
        } else {
            Acting::External
        }
    }

    /// Returns every series of the acting venues, whether or not it is stale.
    pub(super) fn series_of(&self, acting: Acting) -> Vec<&Series> {
        let venues = self.0.iter().filter(|(venue, _)| acting.includes(venue));
        venues.flat_map(|(_, instruments)| instruments.values()).collect()
    }

    /// Returns what each venue reports, by name.
    pub(super) fn reports(&self, window_ms: i64, timer_clock: Option<EventTime>, acting: Acting) -> Vec<Report<'_>> {
        let report = |(venue, instruments)| Report::of(venue, instruments, window_ms, timer_clock, acting);
        self.0.iter().filter_map(report).collect()
    }

    /// Returns what people see of the base, or nothing before the first sample.
    pub(super) fn view(&self, timer_clock: Option<EventTime>) -> Option<View> {
        let all = self.0.values().flat_map(BTreeMap::values);
        let newest = all.map(|series| series.newest().sample.time).max()?;
        let acting = self.acting(timer_clock);
        let alive = self.0.iter().filter(|(venue, _)| acting.includes(venue)).filter_map(|(_, instruments)| {
            let fresh = instruments.values().filter(|series| !series.is_stale(timer_clock));
            fresh.map(|series| series.newest().notional_usd).reduce(|a, b| a + b)
        });
        let (venues, usd) = alive.fold((0, Usd::default()), |(venues, usd), value| (venues + 1, usd + value));
        Some(View { venues, usd, newest })
    }
}

impl<'a> Report<'a> {
    fn of(
        venue: &'a Venue,
        instruments: &'a BTreeMap<Instrument, Series>,
        window_ms: i64,
        timer_clock: Option<EventTime>,
        acting: Acting,
    ) -> Option<Self> {
        let fresh = instruments.values().filter(|series| !series.is_stale(timer_clock));
        let ends: Vec<Ends<'_>> =
            fresh.filter_map(|series| Some(Ends { series, before: series.baseline(window_ms)? })).collect();
        let values: Vec<Change> = ends.iter().map(Ends::value).collect::<Option<_>>()?;
        let value = Change::sum(values)?;
        let change = match ends.as_slice() {
            [only] => only.contracts(),
            _ => value,
        };
        Some(Self { venue, acts: acting.includes(venue), ends, change, value })
    }

    /// Whether the venue shows the change itself.
    pub(super) fn confirms(&self, direction: Direction, pct: Decimal) -> bool {
        self.change.reaches(direction, pct)
    }

    /// Returns the venue's part as an alert carries it.
    pub(super) fn part(&self) -> Option<VenueChange> {
        let coins = |end: fn(&Ends<'_>) -> Quantity| {
            let mut coins = self.ends.iter().map(|ends| end(ends).value());
            let sum = coins.try_fold(Decimal::ZERO, Decimal::checked_add)?;
            Quantity::new(sum).ok()
        };
        Some(VenueChange {
            change_pct: Ratio::new(self.change.pct()?),
            coins_before: coins(|ends| ends.before.coins)?,
            coins_after: coins(|ends| ends.series.newest().sample.coins)?,
        })
    }

    /// Returns what its instruments are worth.
    pub(super) fn notional_usd(&self) -> Usd {
        self.ends.iter().map(|ends| ends.series.newest().notional_usd).sum()
    }

    /// Returns the smallest position of its baseline.
    pub(super) fn first(&self) -> Option<Sequence> {
        self.ends.iter().map(|ends| ends.before.position).min()
    }
}

impl Ends<'_> {
    const fn contracts(&self) -> Change {
        Change { before: self.before.contracts.value(), after: self.series.newest().sample.contracts.value() }
    }

    fn value(&self) -> Option<Change> {
        self.series.value(self.before.contracts, self.series.newest().sample.contracts)
    }
}
