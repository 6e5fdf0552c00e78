//! Amounts: decimals at every boundary, cents inside detection.

use std::{
    borrow::Cow,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Sub, SubAssign},
    str::FromStr,
};

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::caps::NOTIONAL_CENTS_MAX;

/// A figure of a venue cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// It is not a plain decimal number (NaN, infinity and exponents are not).
    #[error("not a decimal number")]
    NotANumber,
    /// It is zero where only a positive figure makes sense.
    #[error("zero")]
    Zero,
    /// It is negative where only a positive figure makes sense.
    #[error("negative")]
    Negative,
    /// It is larger than anything that can be true.
    #[error("absurdly large")]
    Absurd,
}

/// Largest price or quantity taken, 10^15: prices of coins and counts of the cheapest tokens stay far below.
const FIGURE_MAX: i64 = 1_000_000_000_000_000;

/// Digits before the point that 96 bits always hold. A figure with more is refused as absurd.
const WHOLE_DIGITS_MAX: usize = 28;

fn positive(value: Decimal) -> Result<Decimal, InvalidAmount> {
    if value.is_zero() {
        Err(InvalidAmount::Zero)
    } else if value.is_sign_negative() {
        Err(InvalidAmount::Negative)
    } else if value > Decimal::from(FIGURE_MAX) {
        Err(InvalidAmount::Absurd)
    } else {
        Ok(value.normalize())
    }
}

/// Reads a plain decimal as venues write them; 29 digits and more are rounded (OKX sends up to 24).
///
/// # Errors
/// [`InvalidAmount::NotANumber`], or [`InvalidAmount::Absurd`] when 96 bits do not hold the whole part.
pub fn parse_decimal(text: &str) -> Result<Decimal, InvalidAmount> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') {
        return Err(InvalidAmount::NotANumber);
    }
    // `Decimal` reports too many digits before the point as bad syntax.
    let whole = text.trim_start_matches(['-', '0']).bytes().take_while(u8::is_ascii_digit).count();
    if whole > WHOLE_DIGITS_MAX {
        return Err(InvalidAmount::Absurd);
    }
    Decimal::from_str(text).map_err(|error| match error {
        rust_decimal::Error::ExceedsMaximumPossibleValue | rust_decimal::Error::LessThanMinimumPossibleValue => {
            InvalidAmount::Absurd
        }
        rust_decimal::Error::ErrorString(_)
        | rust_decimal::Error::Underflow
        | rust_decimal::Error::ScaleExceedsMaximumPrecision(_)
        | rust_decimal::Error::ConversionTo(_) => InvalidAmount::NotANumber,
    })
}

macro_rules! positive_decimal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Takes a positive decimal.
            ///
            /// # Errors
            /// Zero, negative and absurdly large values are refused.
            pub fn new(value: Decimal) -> Result<Self, InvalidAmount> {
                positive(value).map(Self)
            }

            /// Returns the value, normalised (no trailing zeros).
            pub const fn value(self) -> Decimal {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidAmount;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(parse_decimal(text)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

positive_decimal! {
    /// A price in USD per coin (USDT, USDC and USD1 are taken as one USD), positive, normalised.
    Price
}

positive_decimal! {
    /// A positive number of coins or of a venue's contracts, normalised.
    Quantity
}

/// An amount of USD in whole cents; may be negative where it is a difference. As JSON a string with two places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i64);

impl Usd {
    /// Takes whole cents.
    pub const fn from_cents(cents: i64) -> Self {
        Self(cents)
    }

    /// Returns whole cents.
    pub const fn cents(self) -> i64 {
        self.0
    }

    /// Returns `price` times `quantity` rounded half-even to cents.
    ///
    /// # Errors
    /// [`InvalidAmount::Absurd`] above [`NOTIONAL_CENTS_MAX`].
    pub fn notional(price: Price, quantity: Quantity) -> Result<Self, InvalidAmount> {
        Self::notional_of(price.0.checked_mul(quantity.0).ok_or(InvalidAmount::Absurd)?)
    }

    /// Returns a decimal number of USD rounded half-even to cents, as the notional of one event.
    ///
    /// # Errors
    /// [`InvalidAmount::Absurd`] above [`NOTIONAL_CENTS_MAX`].
    pub fn notional_of(usd: Decimal) -> Result<Self, InvalidAmount> {
        let cents = Self::round(usd).ok_or(InvalidAmount::Absurd)?;
        if cents.0 > NOTIONAL_CENTS_MAX { Err(InvalidAmount::Absurd) } else { Ok(cents) }
    }

    /// Returns a decimal number of USD rounded half-even to cents, or nothing when 64 bits do not hold it.
    pub fn round(usd: Decimal) -> Option<Self> {
        let cents =
            usd.checked_mul(Decimal::ONE_HUNDRED)?.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven);
        i64::try_from(cents).ok().map(Self)
    }

    /// Returns this amount as a decimal number of USD.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 2)
    }

    /// Returns this amount's share of `whole`, rounded half-even to four places; zero of zero.
    pub fn share_of(self, whole: Self) -> Ratio {
        Ratio(
            self.to_decimal()
                .checked_div(whole.to_decimal())
                .unwrap_or_default()
                .round_dp_with_strategy(Ratio::PLACES, RoundingStrategy::MidpointNearestEven),
        )
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Usd {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Self::add)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_decimal())
    }
}

impl FromStr for Usd {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::round(parse_decimal(text)?).ok_or(InvalidAmount::Absurd)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A ratio, percentage or score, rounded half-even to four places. As JSON a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(Decimal);

impl Ratio {
    /// Decimal places kept (design 4).
    pub const PLACES: u32 = 4;

    /// Takes a decimal, rounding it half-even to four places.
    pub fn new(value: Decimal) -> Self {
        Self(value.round_dp_with_strategy(Self::PLACES, RoundingStrategy::MidpointNearestEven).normalize())
    }

    /// Returns the value.
    pub const fn value(self) -> Decimal {
        self.0
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.normalize())
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        parse_decimal(&text).map(Self::new).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_cannot_be_true_are_refused() {
        for (text, error) in [
            ("", InvalidAmount::NotANumber),
            ("NaN", InvalidAmount::NotANumber),
            ("inf", InvalidAmount::NotANumber),
            ("1e5", InvalidAmount::NotANumber),
            ("1.2.3", InvalidAmount::NotANumber),
            ("0", InvalidAmount::Zero),
            ("0.000", InvalidAmount::Zero),
            ("-1", InvalidAmount::Negative),
            ("1000000000000001", InvalidAmount::Absurd),
            ("99999999999999999999999999999999999", InvalidAmount::Absurd),
        ] {
            assert_eq!(text.parse::<Price>(), Err(error), "{text}");
        }
    }

    #[test]
    fn long_decimals_are_taken() {
        assert_eq!("2216113.01000000309".parse::<Quantity>().unwrap().to_string(), "2216113.01000000309");
        assert_eq!("1939251795.54769270396321".parse::<Quantity>().unwrap().to_string(), "1939251795.54769270396321");
    }

    #[test]
    fn a_notional_is_rounded_half_even() {
        let notional = |price: &str, quantity: &str| {
            Usd::notional(price.parse().unwrap(), quantity.parse().unwrap()).map(|usd| usd.to_string())
        };
        assert_eq!(notional("0.005", "1"), Ok("0.00".to_owned()));
        assert_eq!(notional("0.015", "1"), Ok("0.02".to_owned()));
        assert_eq!(notional("1.4043", "15.4"), Ok("21.63".to_owned()));
        assert_eq!(notional("100000000", "1000"), Err(InvalidAmount::Absurd));
    }

    #[test]
    fn a_share_has_four_places() {
        assert_eq!(Usd(1).share_of(Usd(3)).value().to_string(), "0.3333");
        assert_eq!(Usd(1).share_of(Usd(0)).value().to_string(), "0");
    }
}
