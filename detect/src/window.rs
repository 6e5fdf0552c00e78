//! The sliding window of one base: every liquidation of the last five minutes of its window clock.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Usd},
    market::{Liquidation, Side},
    name::{Instrument, Venue},
    position::Sequence,
    time::EventTime,
};
use serde::{Deserialize, Serialize};

use crate::{
    record::{Fields, Record, SERIES_MAX},
    rules::LIQUIDATION_WINDOW_MS_MAX,
};

/// Most records a base keeps (design 9). At the bound the oldest goes; if it stood in the judged window, alerts are
/// marked `saturated` until it would have left.
pub(crate) const RECORDS_MAX: usize = 65_536;

/// One accepted liquidation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) time: EventTime,
    pub(crate) usd: Usd,
    pub(crate) side: Side,
    pub(crate) venue: &'a Venue,
    /// Stands for the venue and its instrument, for as long as the window lives.
    pub(crate) series: u16,
    pub(crate) position: Sequence,
    pub(crate) price: Price,
}

/// The window of one base.
///
/// Records are kept in order of event time (equal times in MARKET order) for five minutes of the window clock,
/// whatever is judged; the judged part, `clock - span < time <= clock`, is always a suffix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The largest event time of the base's own liquidations; nothing before the first.
    clock: Option<EventTime>,
    /// Position of the newest record: completes the positions of all.
    newest: Sequence,
    /// Length of the judged part, in milliseconds.
    span: i64,
    /// Liquidations below this do not count towards `qualified`.
    dust_below: Usd,
    #[serde(with = "packed")]
    records: VecDeque<Record>,
    /// Index of the first record of the judged part.
    start: usize,
    /// Accepted liquidations in the judged part, how many of them are no dust, and their sum.
    count: u64,
    qualified: u64,
    sum: Usd,
    /// The instruments that records name by index.
    series: Vec<(Venue, Instrument)>,
    /// Prices too long for a record, by position.
    wide_prices: BTreeMap<Sequence, Decimal>,
    /// The latest event time that was dropped from the judged part because a bound was reached.
    dropped: Option<EventTime>,
}

impl Window {
    /// Returns an empty window that judges the last `span` milliseconds.
    pub(crate) fn new(span: i64, dust_below: Usd) -> Self {
        Self {
            clock: None,
            newest: Sequence::new(0),
            span,
            dust_below,
            records: VecDeque::new(),
            start: 0,
            count: 0,
            qualified: 0,
            sum: Usd::default(),
            series: Vec::new(),
            wide_prices: BTreeMap::new(),
            dropped: None,
        }
    }

    pub(crate) const fn clock(&self) -> Option<EventTime> {
        self.clock
    }

    /// Length of the judged part, in milliseconds.
    pub(crate) const fn span(&self) -> i64 {
        self.span
    }

    /// Accepted liquidations in the judged part that are no dust.
    pub(crate) const fn qualified(&self) -> u64 {
        self.qualified
    }

    /// Accepted liquidations in the judged part.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub(crate) const fn sum(&self) -> Usd {
        self.sum
    }

    /// Whether the judged part lacks something because a bound was reached.
    pub(crate) fn is_saturated(&self) -> bool {
        self.dropped.is_some_and(|time| self.is_judged(time))
    }

    fn is_judged(&self, time: EventTime) -> bool {
        self.clock.is_some_and(|clock| time > clock.plus_millis(-self.span))
    }

    /// Judges the last `span` milliseconds from here on.
    pub(crate) fn judge(&mut self, span: i64, dust_below: Usd) {
        if (self.span, self.dust_below) == (span, dust_below) {
            return;
        }
        (self.span, self.dust_below) = (span, dust_below);
        (self.start, self.count, self.qualified, self.sum) = (self.records.len(), 0, 0, Usd::default());
        let Some(clock) = self.clock else { return };
        while self.start > 0 && self.is_judged(self.records[self.start - 1].time(clock)) {
            self.start -= 1;
            self.add(self.records[self.start]);
        }
    }

    /// Moves the window clock forward to `time`; an earlier `time` leaves it.
    pub(crate) fn advance(&mut self, time: EventTime) {
        let Some(before) = self.clock else {
            self.clock = Some(time);
            return;
        };
        if time <= before {
            return;
        }
        // Times are completed by the clock they were stored under, so the old ones leave before it moves.
        let (judged_from, kept_from) = (time.plus_millis(-self.span), time.plus_millis(-LIQUIDATION_WINDOW_MS_MAX));
        while let Some(record) = self.records.get(self.start).filter(|record| record.time(before) <= judged_from) {
            let record = *record;
            self.remove(record);
            self.start += 1;
        }
        while self.records.front().is_some_and(|record| record.time(before) <= kept_from) {
            let record = self.records.pop_front().expect("the front was just looked at");
            self.forget_price(record, before);
            self.start -= 1;
        }
        self.clock = Some(time);
    }

    /// Keeps a liquidation whose time the clock has reached; one that is not `accepted` is only remembered.
    ///
    /// Returns it if it entered the window.
    pub(crate) fn insert<'e>(
        &mut self,
        event: &'e Liquidation,
        position: Sequence,
        accepted: bool,
    ) -> Option<Item<'e>> {
        let clock = self.clock.expect("the clock was advanced to the event before");
        if event.event_time <= clock.plus_millis(-LIQUIDATION_WINDOW_MS_MAX) {
            return None;
        }
        let Some(series) = self.series_of(&event.venue, &event.instrument) else {
            self.drop_at(event.event_time);
            return None;
        };
        if self.records.len() == RECORDS_MAX {
            self.drop_oldest(clock);
        }
        self.newest = position;
        let price = event.price.value();
        let record = Record::pack(&Fields {
            time: event.event_time,
            usd: event.notional_usd,
            side: event.liquidated,
            accepted,
            series,
            position,
            price: Some(price),
        });
        if record.unpack(clock, position).price.is_none() {
            self.wide_prices.insert(position, price);
        }
        let index = self.records.partition_point(|record| record.time(clock) <= event.event_time);
        self.records.insert(index, record);
        if self.is_judged(event.event_time) {
            self.add(record);
        } else {
            self.start += 1;
        }
        accepted.then_some(Item {
            time: event.event_time,
            usd: event.notional_usd,
            side: event.liquidated,
            venue: &event.venue,
            series,
            position,
            price: event.price,
        })
    }

    /// Whether a liquidation of this venue, side and exact time is kept, late or not.
    pub(crate) fn holds(&self, venue: &Venue, side: Side, time: EventTime) -> bool {
        self.at(venue, side, time).next().is_some()
    }

    /// Whether an accepted liquidation of this venue, side and exact time is kept.
    pub(crate) fn holds_accepted(&self, venue: &Venue, side: Side, time: EventTime) -> bool {
        self.at(venue, side, time).any(|fields| fields.accepted)
    }

    fn at(&self, venue: &Venue, side: Side, time: EventTime) -> impl Iterator<Item = Fields> {
        let clock = self.clock.unwrap_or(time);
        let from = self.records.partition_point(|record| record.time(clock) < time);
        self.records
            .range(from..)
            .map(move |record| record.unpack(clock, self.newest))
            .take_while(move |fields| fields.time == time)
            .filter(move |fields| fields.side == side && self.series[usize::from(fields.series)].0 == *venue)
    }

    /// Iterates over the accepted liquidations of the judged part, by event time.
    pub(crate) fn judged(&self) -> impl Iterator<Item = Item<'_>> {
        let clock = self.clock.unwrap_or(EventTime::from_millis(0));
        self.records.range(self.start..).filter(|record| record.accepted()).map(move |record| {
            let Fields { time, usd, side, series, position, price, .. } = record.unpack(clock, self.newest);
            let price = price.or_else(|| self.wide_prices.get(&position).copied());
            let price = price.and_then(|price| Price::new(price).ok());
            let price = price.expect("a price that a record does not hold is kept beside it");
            Item { time, usd, side, venue: &self.series[usize::from(series)].0, series, position, price }
        })
    }

    fn series_of(&mut self, venue: &Venue, instrument: &Instrument) -> Option<u16> {
        let known = self.series.iter().position(|known| known.0 == *venue && known.1 == *instrument);
        let index = u16::try_from(known.unwrap_or(self.series.len())).ok().filter(|index| *index <= SERIES_MAX)?;
        if known.is_none() {
            self.series.push((venue.clone(), instrument.clone()));
        }
        Some(index)
    }

    fn drop_oldest(&mut self, clock: EventTime) {
        let Some(record) = self.records.pop_front() else { return };
        self.forget_price(record, clock);
        if self.start > 0 {
            self.start -= 1;
        } else {
            self.remove(record);
            self.drop_at(record.time(clock));
        }
    }

    fn drop_at(&mut self, time: EventTime) {
        self.dropped = self.dropped.max(Some(time));
    }

    fn forget_price(&mut self, record: Record, clock: EventTime) {
        if !self.wide_prices.is_empty() {
            self.wide_prices.remove(&record.unpack(clock, self.newest).position);
        }
    }

    fn add(&mut self, record: Record) {
        if record.accepted() {
            self.count += 1;
            self.qualified += u64::from(record.usd() >= self.dust_below);
            self.sum += record.usd();
        }
    }

    fn remove(&mut self, record: Record) {
        if record.accepted() {
            self.count -= 1;
            self.qualified -= u64::from(record.usd() >= self.dust_below);
            self.sum -= record.usd();
        }
    }
}

/// Records in a snapshot: their bytes one after the other.
mod packed {
    use std::collections::VecDeque;

    use serde::{Deserializer, Serializer, de::Error};

    use crate::record::Record;

    pub(super) fn serialize<S: Serializer>(records: &VecDeque<Record>, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = records.iter().flat_map(Record::bytes).copied().collect();
        serializer.serialize_bytes(&bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<Record>, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = VecDeque<Record>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "records of {} bytes each", Record::BYTES)
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                let (records, rest) = bytes.as_chunks::<{ Record::BYTES }>();
                if rest.is_empty() {
                    Ok(records.iter().copied().map(Record::from_bytes).collect())
                } else {
                    Err(E::invalid_length(bytes.len(), &self))
                }
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
