//! From quotes to samples: one per instrument and slot, the first value of a slot. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd, parse_decimal},
    market::{OpenInterest, VERSION},
    name::{Base, Instrument, Venue},
    time::{EventTime, ReceivedAt},
};

use crate::{
    normalize::{Reason, Receipt, Refusal, escape},
    open_interest::{
        plan,
        quote::{Quote, Scope, Size},
    },
    reading::Limits,
};

/// Oldest mark price that values a sample, in milliseconds of venue time. It serves the dollar figures alone, and the
/// longest interval of a venue is as long.
const MARK_AGE_MS_MAX: i64 = 300_000;

/// Samples of one venue.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    venue: Venue,
    interval_ms: u32,
    instruments: BTreeMap<Instrument, Known>,
}

/// What is known of one instrument.
#[derive(Clone, Debug)]
struct Known {
    base: Base,
    /// The newest mark and its venue time.
    mark: Option<(Price, EventTime)>,
    /// What deltas change, since the snapshot of this socket.
    book: Option<Option<Holding>>,
    /// Venue time of the last sample.
    sampled: Option<EventTime>,
}

/// An open interest in the domain's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    contracts: Quantity,
    coins: Quantity,
    /// USD per coin as the venue's own USD figure implies it.
    implied: Option<Price>,
}

impl Sampler {
    /// Begins with nothing known.
    pub(crate) fn new(
        venue: Venue,
        interval_ms: u32,
        instruments: impl IntoIterator<Item = (Instrument, Base)>,
    ) -> Self {
        let known = |base| Known { base, mark: None, book: None, sampled: None };
        let instruments = instruments.into_iter().map(|(instrument, base)| (instrument, known(base)));
        Self { venue, interval_ms, instruments: instruments.collect() }
    }

    /// Returns the instruments that are sampled, sorted.
    pub(crate) fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.instruments.keys()
    }

    /// Samples an instrument no more.
    pub(crate) fn leave_out(&mut self, instrument: &Instrument) -> bool {
        self.instruments.remove(instrument).is_some()
    }

    /// Forgets what deltas would change: a new socket begins with a snapshot.
    pub(crate) fn new_socket(&mut self) {
        for known in self.instruments.values_mut() {
            known.book = None;
        }
    }

    /// Returns whether an instrument is sampled and `slot` has no sample of it.
    pub(crate) fn lacks(&self, instrument: &Instrument, slot: i64) -> bool {
        let has = |time| plan::slot(time, self.interval_ms) >= slot;
        self.instruments.get(instrument).is_some_and(|known| !known.sampled.is_some_and(has))
    }

    /// Returns whether a mark is known that can value a sample of `now`.
    pub(crate) fn is_marked(&self, instrument: &Instrument, now: EventTime) -> bool {
        self.instruments.get(instrument).is_some_and(|known| known.mark_at(now).is_some())
    }

    /// Takes what a venue stated and returns the sample it makes, if it is the first of its slot.
    ///
    /// # Errors
    /// [`Refusal`] where a figure or a time cannot be used. Instruments that are not sampled are no error.
    pub(crate) fn take(
        &mut self,
        quote: &Quote,
        receipt: Receipt,
        limits: Limits,
    ) -> Result<Option<OpenInterest>, Refusal> {
        let Ok(instrument) = quote.instrument.parse::<Instrument>() else {
            return Ok(None);
        };
        let Some(known) = self.instruments.get_mut(&instrument) else {
            return Ok(None);
        };
        let sample = known.take(quote, receipt, limits, self.interval_ms);
        let refuse = |reason| Refusal { reason, detail: escape(&format!("{instrument} at {:?}", quote.time_ms)) };
        let Some((holding, mark_price, event_time)) = sample.map_err(refuse)? else {
            return Ok(None);
        };
        let notional_usd =
            Usd::round(holding.coins.value().checked_mul(mark_price.value()).ok_or_else(|| refuse(Reason::Absurd))?)
                .ok_or_else(|| refuse(Reason::Absurd))?;
        known.sampled = Some(event_time);
        let slot = plan::slot(event_time, self.interval_ms);
        Ok(Some(OpenInterest {
            v: VERSION,
            id: OpenInterest::id_of(&self.venue, &instrument, slot),
            venue: self.venue.clone(),
            base: known.base.clone(),
            instrument,
            contracts: holding.contracts,
            coins: holding.coins,
            mark_price,
            notional_usd,
            interval_ms: self.interval_ms,
            event_time,
            received_at: match receipt {
                Receipt::Live(received_at) => received_at,
                Receipt::Recorded => ReceivedAt::unrecorded(event_time),
            },
        }))
    }
}

impl Known {
    fn take(
        &mut self,
        quote: &Quote,
        receipt: Receipt,
        limits: Limits,
        interval_ms: u32,
    ) -> Result<Option<(Holding, Price, EventTime)>, Reason> {
        let time = match (quote.time_ms, receipt) {
            (Some(time_ms), _) => limits.event_time(time_ms, receipt)?,
            // A mark without a time is of about when it came.
            (None, Receipt::Live(received_at)) if quote.size.is_none() => {
                EventTime::from_millis(received_at.as_millis() - limits.offset_ms)
            }
            (None, Receipt::Live(_) | Receipt::Recorded) => return Err(Reason::NotANumber),
        };
        if quote.scope == Scope::Snapshot {
            self.book = Some(None);
        }
        if quote.scope == Scope::Delta && self.book.is_none() {
            return Ok(None);
        }
        if let Some(mark) = &quote.mark
            && self.mark.is_none_or(|(_, at)| at <= time)
        {
            self.mark = Some((mark.parse()?, time));
        }
        let stated = quote.size.as_ref().map(holding).transpose();
        let held = match (quote.scope, &mut self.book) {
            (Scope::Snapshot | Scope::Delta, Some(book)) => {
                // A figure that cannot be used must not leave the one before it in force.
                *book = match stated {
                    Ok(stated) => stated.or(*book),
                    Err(reason) => {
                        *book = None;
                        return Err(reason);
                    }
                };
                *book
            }
            (Scope::Statement | Scope::Snapshot | Scope::Delta, _) => stated?,
        };
        let Some(holding) = held else {
            return Ok(None);
        };
        if let Some(sampled) = self.sampled
            && plan::slot(time, interval_ms) <= plan::slot(sampled, interval_ms)
        {
            // A later value of a slot that has its sample is nothing; the same time once more is a venue that stands still.
            return if time <= sampled { Err(Reason::Repeated) } else { Ok(None) };
        }
        let mark = self.mark_at(time).or(holding.implied).ok_or(Reason::Unmarked)?;
        Ok(Some((holding, mark, time)))
    }

    fn mark_at(&self, time: EventTime) -> Option<Price> {
        let (mark, at) = self.mark?;
        (time.millis_since(at).abs() <= MARK_AGE_MS_MAX).then_some(mark)
    }
}

/// Reads an open interest in the domain's units; where the venue counts coins they are its contracts.
fn holding(size: &Size) -> Result<Holding, Reason> {
    let in_coins = |coins: Quantity| Holding { contracts: coins, coins, implied: None };
    Ok(match size {
        Size::Coins(coins) => in_coins(coins.parse()?),
        Size::CoinsOfBothSides(coins) => in_coins(Quantity::new(parse_decimal(coins)? / Decimal::TWO)?),
        Size::Contracts { contracts, coins, usd } => {
            let coins: Quantity = coins.parse()?;
            let implied = match usd {
                Some(usd) => {
                    let price = parse_decimal(usd)?.checked_div(coins.value()).ok_or(Reason::Absurd)?;
                    Some(Price::new(price.round_sf(IMPLIED_DIGITS).ok_or(Reason::Absurd)?)?)
                }
                None => None,
            };
            Holding { contracts: contracts.parse()?, coins, implied }
        }
    })
}

/// Significant digits of a price that is a quotient: more than any venue's tick has.
const IMPLIED_DIGITS: u32 = 12;

#[cfg(test)]
mod tests;
