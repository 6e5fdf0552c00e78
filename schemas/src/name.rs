//! Names the venues give: validated where they are read, escaped where they enter a subject.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

use crate::caps::{NAME_BYTES_MAX, VENUE_BYTES_MAX};

/// A name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {what}", .text.escape_debug())]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the name as it was given. Escape it before showing it to a person.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    let text = text.chars().take(NAME_BYTES_MAX).collect();
                    Err(InvalidName { what: $what, text })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

name! {
    /// A venue: `binance`, `bybit`, `okx`; `[a-z0-9-]{1,32}`.
    Venue, "venue name ([a-z0-9-], 1 to 32 characters)", |text| {
        (1..=VENUE_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
}

/// What the names of external venues begin with: those that another service collects and hands on, `ext-gate`.
///
/// They are shown and never confirm an explosion beside a venue that is read directly.
pub const EXTERNAL_PREFIX: &str = "ext-";

impl Venue {
    /// Whether another service collects this venue and hands it on.
    pub fn is_external(&self) -> bool {
        self.as_str().starts_with(EXTERNAL_PREFIX)
    }
}

name! {
    /// A base asset as the venue names it, upper case where it has case: `BTC`, `1000PEPE`, `币安人生`.
    Base, "base asset (1 to 64 bytes, no spaces)", is_name
}

name! {
    /// A venue's own name of an instrument: `BTCUSDT`, `BTC-USDT-SWAP`.
    Instrument, "instrument (1 to 64 bytes, no spaces)", is_name
}

/// Returns `name` as one token of a subject: itself if it is `[A-Za-z0-9_-]{1,32}`, else `x-` and its bytes in hex.
///
/// Distinct names have distinct tokens: a plain name that starts with `x-` is written in hex too.
pub fn subject_token(name: &str) -> Cow<'_, str> {
    let plain = (1..=32).contains(&name.len())
        && !name.starts_with("x-")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("x-{}", data_encoding::HEXLOWER.encode(name.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn venues_are_lower_case_tokens() {
        assert!("ext-gate".parse::<Venue>().is_ok());
        for text in ["", "Binance", "a.b", "a b", "abcdefghijklmnopqrstuvwxyz0123456"] {
            assert!(text.parse::<Venue>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_external_venue_is_known_by_its_prefix() {
        assert!("ext-gate".parse::<Venue>().unwrap().is_external());
        assert!(!"binance".parse::<Venue>().unwrap().is_external());
    }

    #[test]
    fn names_may_be_of_any_script_but_hold_no_spaces_or_controls() {
        assert!("币安人生USDT".parse::<Instrument>().is_ok());
        for text in ["", "BTC USDT", "BTC\nUSDT", "\u{7}"] {
            assert!(text.parse::<Instrument>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_never_breaks_a_subject() {
        assert_eq!(subject_token("1000PEPE"), "1000PEPE");
        assert_eq!(subject_token("币"), "x-e5b881");
        assert_eq!(subject_token("a.b>*"), "x-612e623e2a");
        assert_eq!(subject_token("x-61"), "x-782d3631");
    }
}
