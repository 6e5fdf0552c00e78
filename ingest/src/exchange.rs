//! The venues this crate speaks to.

use std::{fmt, str::FromStr};

use schemas::name::Venue;
use serde::{Deserialize, Serialize};

/// A venue whose protocol is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// Binance USD-M futures.
    Binance,
    /// Bybit linear contracts.
    Bybit,
    /// OKX perpetual swaps.
    Okx,
}

/// A text names no venue of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no known venue: binance, bybit or okx", .0.escape_debug())]
pub struct UnknownExchange(String);

impl Exchange {
    /// Every venue, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Binance, Self::Bybit, Self::Okx];

    /// Returns the name events carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
        }
    }

    /// Returns the name people read.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Binance => "Binance",
            Self::Bybit => "Bybit",
            Self::Okx => "OKX",
        }
    }

    /// Returns the venue as events carry it.
    pub fn venue(self) -> Venue {
        self.as_str().parse().expect("the names above are lower-case tokens")
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Exchange {
    type Err = UnknownExchange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|exchange| exchange.as_str() == text)
            .ok_or_else(|| UnknownExchange(text.chars().take(32).collect()))
    }
}
