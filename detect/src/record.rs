//! One liquidation in a window, in 18 bytes (the budget of design 9).

use rust_decimal::Decimal;
use schemas::{amount::Usd, market::Side, position::Sequence, time::EventTime};

/// How much of the event time is kept: its low 19 bits in milliseconds, 524,288 ms. Every record of a window lies
/// within [`crate::rules::LIQUIDATION_WINDOW_MS_MAX`] of the window clock, so the clock completes it.
const TIME_BITS: u32 = 19;
const TIME_SPAN_MS: i64 = 1 << TIME_BITS;
const _: () = assert!(crate::rules::LIQUIDATION_WINDOW_MS_MAX < TIME_SPAN_MS);

/// Marks a price that 32 bits of digits do not hold; it is kept beside the window.
const WIDE_SCALE: u32 = 31;

/// Largest index of a series (an instrument of a venue) in a record.
pub(crate) const SERIES_MAX: u16 = (1 << 14) - 1;

/// Packed: time and price scale (3 bytes), cents (5), series with side and acceptance (2), position (4), price (4).
///
/// Little endian throughout. The position is its low 32 bits: the newest position of the window completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record([u8; Self::BYTES]);

const _: () = assert!(size_of::<Record>() == 18, "design 9: 18 bytes or fewer a record");
const _: () = assert!(schemas::caps::NOTIONAL_CENTS_MAX < 1 << 40, "five bytes hold every notional");

/// What a record keeps of a liquidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Event time; must be within the window's span of its clock.
    pub(crate) time: EventTime,
    /// Notional.
    pub(crate) usd: Usd,
    /// The side that died.
    pub(crate) side: Side,
    /// Whether it entered the window, or was late and is only remembered.
    pub(crate) accepted: bool,
    /// Index of its instrument, at most [`SERIES_MAX`].
    pub(crate) series: u16,
    /// Where it stands in MARKET.
    pub(crate) position: Sequence,
    /// The price, or nothing when it is kept beside the window.
    pub(crate) price: Option<Decimal>,
}

impl Record {
    pub(crate) const BYTES: usize = 18;

    /// Packs a liquidation. A price that does not fit is marked as wide: look at [`Record::unpack`]'s `price`.
    pub(crate) fn pack(fields: &Fields) -> Self {
        let price = fields.price.and_then(|price| {
            let digits = u32::try_from(price.mantissa()).ok()?;
            (price.scale() < WIDE_SCALE).then_some((digits, price.scale()))
        });
        let (digits, scale) = price.unwrap_or((0, WIDE_SCALE));
        let time = u32::try_from(fields.time.as_millis().rem_euclid(TIME_SPAN_MS)).expect("the remainder has 19 bits");
        let cents = u64::try_from(fields.usd.cents()).expect("a notional is not negative");
        let series = (fields.series << 2) | (u16::from(fields.accepted) << 1) | u16::from(fields.side == Side::Short);
        let mut bytes = [0; Self::BYTES];
        bytes[..3].copy_from_slice(&(time | scale << TIME_BITS).to_le_bytes()[..3]);
        bytes[3..8].copy_from_slice(&cents.to_le_bytes()[..5]);
        bytes[8..10].copy_from_slice(&series.to_le_bytes());
        bytes[10..14].copy_from_slice(&fields.position.get().to_le_bytes()[..4]);
        bytes[14..].copy_from_slice(&digits.to_le_bytes());
        Self(bytes)
    }

    /// Unpacks a liquidation with the help of the window's clock and newest position.
    pub(crate) fn unpack(&self, clock: EventTime, newest: Sequence) -> Fields {
        let flags = self.series_bits();
        let digits = u32::from_le_bytes([self.0[14], self.0[15], self.0[16], self.0[17]]);
        let scale = self.time_bits() >> TIME_BITS;
        Fields {
            time: self.time(clock),
            usd: self.usd(),
            side: if flags & 1 == 0 { Side::Long } else { Side::Short },
            accepted: self.accepted(),
            series: flags >> 2,
            position: self.position(newest),
            price: (scale != WIDE_SCALE).then(|| Decimal::new(i64::from(digits), scale)),
        }
    }

    /// Returns the event time: the latest one at or before `clock` with the bits kept.
    pub(crate) fn time(&self, clock: EventTime) -> EventTime {
        let low = i64::from(self.time_bits() & ((1 << TIME_BITS) - 1));
        let age = (clock.as_millis() - low).rem_euclid(TIME_SPAN_MS);
        clock.plus_millis(-age)
    }

    pub(crate) fn usd(&self) -> Usd {
        let mut bytes = [0; 8];
        bytes[..5].copy_from_slice(&self.0[3..8]);
        Usd::from_cents(i64::from_le_bytes(bytes))
    }

    pub(crate) fn accepted(&self) -> bool {
        self.series_bits() & 2 != 0
    }

    fn position(&self, newest: Sequence) -> Sequence {
        let low = u32::from_le_bytes([self.0[10], self.0[11], self.0[12], self.0[13]]);
        let newest_low = u32::from_le_bytes(newest.get().to_le_bytes()[..4].try_into().expect("four bytes"));
        Sequence::new(newest.get() - u64::from(newest_low.wrapping_sub(low)))
    }

    fn time_bits(&self) -> u32 {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], 0])
    }

    fn series_bits(&self) -> u16 {
        u16::from_le_bytes([self.0[8], self.0[9]])
    }

    pub(crate) const fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_gives_back_what_it_was_given(
            clock in 0_i64..4_000_000_000_000,
            age in 0..crate::rules::LIQUIDATION_WINDOW_MS_MAX,
            cents in 0..=schemas::caps::NOTIONAL_CENTS_MAX,
            short in any::<bool>(),
            accepted in any::<bool>(),
            series in 0..=SERIES_MAX,
            newest in 1_u64..u64::MAX,
            back in 0_u64..u64::from(u32::MAX),
            digits in any::<u32>(),
            scale in 0_u32..=28,
        ) {
            let clock = EventTime::from_millis(clock);
            let fields = Fields {
                time: clock.plus_millis(-age),
                usd: Usd::from_cents(cents),
                side: if short { Side::Short } else { Side::Long },
                accepted,
                series,
                position: Sequence::new(newest.saturating_sub(back)),
                price: Some(Decimal::new(i64::from(digits), scale)),
            };
            prop_assert_eq!(Record::pack(&fields).unpack(clock, Sequence::new(newest)), fields);
        }
    }

    #[test]
    fn a_price_of_too_many_digits_is_marked() {
        let fields = Fields {
            time: EventTime::from_millis(5),
            usd: Usd::from_cents(1),
            side: Side::Long,
            accepted: true,
            series: 0,
            position: Sequence::new(1),
            price: Some(Decimal::new(4_294_967_296, 4)),
        };
        assert_eq!(Record::pack(&fields).unpack(fields.time, fields.position).price, None);
    }
}
