//! The reading of one frame: what all venues do with a stated liquidation once its fields are known.

use std::collections::BTreeMap;

use schemas::{
    amount::{Price, Quantity, Usd, parse_decimal},
    market::{Liquidation, PriceKind, Reported, Side},
    name::Instrument,
    time::{EventTime, ReceivedAt},
};
use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use crate::{
    config::Bases,
    instruments::Instruments,
    normalize::{FUTURE_MS_MAX, Frame, Kind, Reason, Receipt, Refusal, escape, excerpt},
    open_interest::quote::Quote,
};

/// Most items read from one frame: a Bybit frame holds one symbol's half second, an OKX one a few dozen. What is beyond
/// is refused as one `oversized`, so that a mad frame costs bounded memory.
pub(crate) const ITEMS_MAX: usize = 4096;

/// Venue times outside 2015 to 2100, in milliseconds since 1970, are mistakes of unit and refused as `absurd` in every
/// market: no perpetual traded earlier.
const TIME_MS: std::ops::Range<i64> = 1_420_070_400_000..4_102_444_800_000;

/// Bounds of venue time against a receipt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) offset_ms: i64,
    pub(crate) retention_ms: i64,
}

impl Limits {
    pub(crate) fn is_future(self, time: EventTime, received_at: ReceivedAt) -> bool {
        self.age_ms(time, received_at) < -FUTURE_MS_MAX
    }

    fn is_past(self, time: EventTime, received_at: ReceivedAt) -> bool {
        self.age_ms(time, received_at) > self.retention_ms
    }

    /// Takes a venue's time, or tells why it cannot be true.
    pub(crate) fn event_time(self, time_ms: i64, receipt: Receipt) -> Result<EventTime, Reason> {
        if !TIME_MS.contains(&time_ms) {
            return Err(Reason::Absurd);
        }
        let time = EventTime::from_millis(time_ms);
        match receipt {
            Receipt::Live(received_at) if self.is_future(time, received_at) => Err(Reason::Future),
            Receipt::Live(received_at) if self.is_past(time, received_at) => Err(Reason::Past),
            Receipt::Live(_) | Receipt::Recorded => Ok(time),
        }
    }

    /// Age at receipt on the venue's own clock, which is behind ours by the offset.
    fn age_ms(self, time: EventTime, received_at: ReceivedAt) -> i64 {
        received_at.millis_after(time).saturating_sub(self.offset_ms)
    }
}

/// Whether equal tuples of one frame are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ordinals {
    /// A frame: two genuinely equal fills are two facts.
    Counted,
    /// A backfill page: it may repeat what it lists, so it never assigns more than 1 (design 3).
    One,
}

/// A liquidation as a venue states it.
pub(crate) struct Stated<'a> {
    pub(crate) instrument: &'a str,
    /// The position that died, if the side is one the venue documents.
    pub(crate) liquidated: Option<Side>,
    /// In the instrument's unit.
    pub(crate) quantity: &'a str,
    pub(crate) price: &'a str,
    pub(crate) price_kind: PriceKind,
    pub(crate) time_ms: i64,
    /// The venue's fields of the dedup key (exchanges.md A.6), in order.
    pub(crate) key: &'a [Field<'a>],
}

/// A field of a dedup key.
pub(crate) enum Field<'a> {
    Text(&'a str),
    Number(&'a str),
    Integer(i64),
}

impl Field<'_> {
    fn normalised(&self) -> Result<String, Reason> {
        match self {
            Self::Text(text) => Ok((*text).to_owned()),
            Self::Number(text) => Ok(parse_decimal(text)?.normalize().to_string()),
            Self::Integer(value) => Ok(value.to_string()),
        }
    }
}

/// Collects what one frame holds.
pub(crate) struct Reading<'a> {
    instruments: &'a Instruments,
    bases: &'a Bases,
    receipt: Receipt,
    limits: Limits,
    ordinals: Ordinals,
    equal: BTreeMap<Vec<String>, u32>,
    items: usize,
    frame: Frame,
}

impl<'a> Reading<'a> {
    pub(crate) const fn new(
        instruments: &'a Instruments,
        bases: &'a Bases,
        receipt: Receipt,
        limits: Limits,
        ordinals: Ordinals,
    ) -> Self {
        let frame = Frame {
            kind: Kind::Ignored,
            liquidations: Vec::new(),
            quotes: Vec::new(),
            refused: Vec::new(),
            untracked: 0,
            pushed_at: None,
        };
        Self { instruments, bases, receipt, limits, ordinals, equal: BTreeMap::new(), items: 0, frame }
    }

    pub(crate) fn finish(mut self, kind: Kind) -> Frame {
        self.frame.kind = kind;
        self.frame
    }

    pub(crate) fn refuse(&mut self, reason: Reason, detail: &str) {
        self.frame.refused.push(Refusal { reason, detail: escape(detail) });
    }

    /// Notes a time at which the venue sent something; the newest stands.
    pub(crate) fn pushed_at(&mut self, time_ms: Option<i64>) {
        let time = time_ms.filter(|ms| TIME_MS.contains(ms)).map(EventTime::from_millis);
        self.frame.pushed_at = self.frame.pushed_at.max(time);
    }

    /// Takes what the companion states; it is judged where it is sampled.
    pub(crate) fn quote(&mut self, quote: Quote) {
        self.frame.quotes.push(quote);
    }

    /// Reads JSON of the venue's shape; otherwise it is refused and nothing returned.
    pub(crate) fn json<'b, T: Deserialize<'b>>(&mut self, bytes: &'b [u8]) -> Option<T> {
        let error = match serde_json::from_slice(bytes) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let reason = match error.classify() {
            Category::Syntax | Category::Eof | Category::Io => Reason::Malformed,
            Category::Data => Reason::UnknownFrame,
        };
        self.frame.refused.push(Refusal { reason, detail: excerpt(bytes) });
        None
    }

    /// Reads one item of a batch; returns nothing where it is refused or beyond the number that is read.
    pub(crate) fn item<'b, T: Deserialize<'b>>(&mut self, raw: &'b RawValue) -> Option<T> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            if self.items == ITEMS_MAX + 1 {
                self.refuse(Reason::Oversized, &format!("more than {ITEMS_MAX} items in a frame"));
            }
            return None;
        }
        self.json(raw.get().as_bytes())
    }

    /// Takes a stated liquidation, or refuses it with the reason.
    pub(crate) fn take(&mut self, stated: &Stated<'_>) {
        match self.liquidation(stated) {
            Ok(Some(liquidation)) => self.frame.liquidations.push(liquidation),
            Ok(None) => self.frame.untracked += 1,
            Err(reason) => {
                let Stated { instrument, quantity, price, time_ms, .. } = stated;
                self.refuse(reason, &format!("{instrument} {quantity} at {price}, time {time_ms}"));
            }
        }
    }

    fn liquidation(&mut self, stated: &Stated<'_>) -> Result<Option<Liquidation>, Reason> {
        let instrument: Instrument = stated.instrument.parse().map_err(|_| Reason::UnknownInstrument)?;
        let contract = self.instruments.get(&instrument).ok_or(Reason::UnknownInstrument)?;
        if !self.bases.contains(&contract.base) {
            return Ok(None);
        }
        let liquidated = stated.liquidated.ok_or(Reason::UnknownSide)?;
        let price: Price = stated.price.parse()?;
        let native: Quantity = stated.quantity.parse()?;
        let (quantity, notional_usd): (Quantity, Usd) = contract.unit.value(native, price).ok_or(Reason::NotUsd)??;
        let event_time = self.limits.event_time(stated.time_ms, self.receipt)?;
        let key = stated.key.iter().map(Field::normalised).collect::<Result<Vec<_>, _>>()?;
        let ordinal = self.ordinal(&key);
        let reported = Reported {
            venue: self.instruments.exchange().venue(),
            instrument,
            base: contract.base,
            liquidated,
            quantity,
            price,
            price_kind: stated.price_kind,
            notional_usd,
            event_time,
        };
        let received_at = match self.receipt {
            Receipt::Live(received_at) => received_at,
            Receipt::Recorded => ReceivedAt::unrecorded(event_time),
        };
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Ok(Some(Liquidation::new(reported, &key, ordinal, received_at)))
    }

    fn ordinal(&mut self, key: &[String]) -> u32 {
        match self.ordinals {
            Ordinals::One => 1,
            Ordinals::Counted => {
                let count = self.equal.entry(key.to_vec()).or_default();
                *count += 1;
                *count
            }
        }
    }
}
