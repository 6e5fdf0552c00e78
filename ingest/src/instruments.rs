//! What a venue lists: which base an instrument counts under, and what one unit of its quantity is worth.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use schemas::{
    amount::{InvalidAmount, Price, Quantity, Usd},
    name::{Base, Instrument},
};

use crate::{binance, bybit, config::Bases, exchange::Exchange, okx};

/// Coins that are taken as one USD each (exchanges.md A.4). Contracts quoted or settled in anything else are refused as
/// `not_usd`: their price is no USD price.
const USD_STABLE: [&str; 5] = ["USDT", "USDC", "USD1", "FDUSD", "BUSD"];

/// Decimal places of coins that are computed from USD contracts, where the quotient has no end.
const COIN_PLACES: u32 = 8;

/// Returns whether `coin` is taken as one USD.
pub(crate) fn is_usd_stable(coin: &str) -> bool {
    USD_STABLE.contains(&coin)
}

/// The instruments of one venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruments {
    exchange: Exchange,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Listed(BTreeMap<Instrument, Contract>),
    ByName,
}

/// What one instrument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contract {
    /// The venue's own base asset in upper case. A multiplier stays (`1000PEPE`): stripping it needs a list of known
    /// bases, and two ingests with different lists would publish one fact under two subjects.
    pub(crate) base: Base,
    pub(crate) unit: Unit,
}

/// What one unit of an instrument's quantity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// This many coins, valued by price.
    Coins(Decimal),
    /// This many USD, whatever the price.
    Usd(Decimal),
    /// Its price is in no USD: it cannot be valued.
    NotUsd,
}

impl Unit {
    /// Returns coins and notional of `quantity` units at `price`, or nothing where it cannot be valued.
    pub(crate) fn value(self, quantity: Quantity, price: Price) -> Option<Result<(Quantity, Usd), InvalidAmount>> {
        match self {
            Self::Coins(per_unit) => Some(coins(per_unit, quantity, price)),
            Self::Usd(per_unit) => Some(usd(per_unit, quantity, price)),
            Self::NotUsd => None,
        }
    }
}

fn coins(per_unit: Decimal, quantity: Quantity, price: Price) -> Result<(Quantity, Usd), InvalidAmount> {
    let coins = Quantity::new(quantity.value().checked_mul(per_unit).ok_or(InvalidAmount::Absurd)?)?;
    Ok((coins, Usd::notional(price, coins)?))
}

fn usd(per_unit: Decimal, quantity: Quantity, price: Price) -> Result<(Quantity, Usd), InvalidAmount> {
    let usd = quantity.value().checked_mul(per_unit).ok_or(InvalidAmount::Absurd)?;
    let coins = usd.checked_div(price.value()).ok_or(InvalidAmount::Absurd)?;
    let coins = coins.round_dp_with_strategy(COIN_PLACES, RoundingStrategy::MidpointNearestEven);
    Ok((Quantity::new(coins)?, Usd::notional_of(usd)?))
}

/// A venue's reply holds no instruments that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReply {
    /// It is not what the venue documents.
    #[error("not the {exchange} instruments reply: {detail}")]
    Malformed {
        /// The venue.
        exchange: Exchange,
        /// What was wrong, escaped.
        detail: String,
    },
    /// The venue answered with an error of its own.
    #[error("{exchange} answered code {code}: {message}")]
    Venue {
        /// The venue.
        exchange: Exchange,
        /// The venue's code.
        code: String,
        /// The venue's text, escaped.
        message: String,
    },
    /// It lists nothing.
    #[error("the {exchange} instruments reply lists nothing that can be used")]
    Empty {
        /// The venue.
        exchange: Exchange,
    },
}

/// One page of a venue's REST reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What it lists; Bybit's last page may be empty.
    pub instruments: Instruments,
    /// Cursor of the next page (Bybit).
    pub next: Option<String>,
    /// Items that could not be read and were left out.
    pub skipped: usize,
}

impl Page {
    /// Reads `binance exchangeInfo`, one page of `bybit instruments-info`, or `okx instruments`.
    ///
    /// # Errors
    /// [`InvalidReply`] when it is something else or an error of the venue.
    pub fn parse(exchange: Exchange, reply: &[u8]) -> Result<Self, InvalidReply> {
        match exchange {
            Exchange::Binance => binance::metadata::parse(reply),
            Exchange::Bybit => bybit::metadata::parse(reply),
            Exchange::Okx => okx::metadata::parse(reply),
        }
    }
}

impl Instruments {
    /// Reads a venue's own reply of one page, as `--instruments FILE` holds it.
    ///
    /// # Errors
    /// As [`Page::parse`], and [`InvalidReply::Empty`].
    pub fn from_reply(exchange: Exchange, reply: &[u8]) -> Result<Self, InvalidReply> {
        Page::parse(exchange, reply)?.instruments.not_empty()
    }

    pub(crate) fn not_empty(self) -> Result<Self, InvalidReply> {
        if self.count() == Some(0) { Err(InvalidReply::Empty { exchange: self.exchange }) } else { Ok(self) }
    }

    /// Returns the plain USDT and USDC names of Binance and Bybit, for use without metadata.
    ///
    /// OKX has none: its contracts have a value that no name tells.
    pub const fn by_name(exchange: Exchange) -> Option<Self> {
        match exchange {
            Exchange::Binance | Exchange::Bybit => Some(Self { exchange, source: Source::ByName }),
            Exchange::Okx => None,
        }
    }

    pub(crate) const fn listed(exchange: Exchange, contracts: BTreeMap<Instrument, Contract>) -> Self {
        Self { exchange, source: Source::Listed(contracts) }
    }

    /// Adds another page of the same venue; where both list an instrument, the other page stands.
    pub fn extend(&mut self, other: Self) {
        match (&mut self.source, other.source) {
            (Source::Listed(contracts), Source::Listed(others)) => contracts.extend(others),
            (source, other) => *source = other,
        }
    }

    /// Returns the venue.
    pub const fn exchange(&self) -> Exchange {
        self.exchange
    }

    /// Returns how many instruments are listed; nothing where names are read instead.
    pub fn count(&self) -> Option<usize> {
        match &self.source {
            Source::Listed(contracts) => Some(contracts.len()),
            Source::ByName => None,
        }
    }

    /// Looks an instrument up by its exact name.
    pub(crate) fn get(&self, instrument: &Instrument) -> Option<Contract> {
        match &self.source {
            Source::Listed(contracts) => contracts.get(instrument).cloned(),
            Source::ByName => plain_name(self.exchange, instrument.as_str()),
        }
    }

    /// Returns the instruments of these bases that can be valued, sorted. By name, those of a closed list of bases are
    /// guessed from the venue's naming and may not exist; of [`Bases::All`] nothing is known.
    pub(crate) fn of_bases(&self, bases: &Bases) -> Vec<Instrument> {
        match (&self.source, bases) {
            (Source::Listed(contracts), _) => contracts
                .iter()
                .filter(|(_, contract)| bases.contains(&contract.base) && contract.unit != Unit::NotUsd)
                .map(|(instrument, _)| instrument.clone())
                .collect(),
            (Source::ByName, Bases::Only(bases)) => {
                let suffixes = plain_suffixes(self.exchange).iter();
                let names = suffixes.flat_map(|suffix| bases.iter().map(move |base| format!("{base}{suffix}")));
                names.filter_map(|name| name.parse().ok()).collect()
            }
            (Source::ByName, Bases::All) => Vec::new(),
        }
    }
}

/// Suffixes of the USDT and USDC perpetuals (exchanges.md D: Bybit's USDC perpetual is `BTCPERP`).
const fn plain_suffixes(exchange: Exchange) -> &'static [&'static str] {
    match exchange {
        Exchange::Binance => &["USDT", "USDC"],
        Exchange::Bybit => &["USDT", "PERP"],
        Exchange::Okx => &[],
    }
}

/// Reads a plain name: letters and digits of any script and one of the suffixes. Dated names (`BTCUSDT_251226`,
/// `BTCUSDT-21FEB25`) are not plain.
fn plain_name(exchange: Exchange, name: &str) -> Option<Contract> {
    let base = plain_suffixes(exchange).iter().find_map(|suffix| name.strip_suffix(suffix))?;
    if !base.chars().all(char::is_alphanumeric) {
        return None;
    }
    Some(Contract { base: base_of(base)?, unit: Unit::Coins(Decimal::ONE) })
}

/// Returns the base as events carry it.
pub(crate) fn base_of(asset: &str) -> Option<Base> {
    asset.to_uppercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(instruments: &Instruments, name: &str) -> Option<String> {
        instruments.get(&name.parse().unwrap()).map(|contract| contract.base.as_str().to_owned())
    }

    #[test]
    fn plain_names_are_read_exactly() {
        let binance = Instruments::by_name(Exchange::Binance).unwrap();
        let bybit = Instruments::by_name(Exchange::Bybit).unwrap();
        for (instruments, name, base) in [
            (&binance, "BTCUSDT", Some("BTC")),
            (&binance, "BTCUSDC", Some("BTC")),
            (&binance, "BTCDOMUSDT", Some("BTCDOM")),
            (&binance, "1000PEPEUSDT", Some("1000PEPE")),
            (&binance, "币安人生USDT", Some("币安人生")),
            (&binance, "BTCUSDT_251226", None),
            (&binance, "BTCUSD_PERP", None),
            (&binance, "ETHBTC", None),
            (&binance, "USDT", None),
            (&bybit, "BTCPERP", Some("BTC")),
            (&bybit, "BTCUSDC", None),
            (&bybit, "BTCUSDT-21FEB25", None),
        ] {
            assert_eq!(look_up(instruments, name).as_deref(), base, "{name}");
        }
        assert_eq!(Instruments::by_name(Exchange::Okx), None);
    }

    #[test]
    fn an_inverse_contract_is_valued_without_its_price() {
        let (coins, usd) =
            Unit::Usd(Decimal::ONE_HUNDRED).value("3".parse().unwrap(), "63524.6".parse().unwrap()).unwrap().unwrap();
        assert_eq!((coins.to_string(), usd.to_string()), ("0.00472258".to_owned(), "300.00".to_owned()));
    }

    #[test]
    fn a_linear_contract_is_valued_by_its_price() {
        // exchanges.md A.3: 1000 contracts BTC-USDT-SWAP at 63 524.6 = 10 BTC = $635,246.
        let (coins, usd) = Unit::Coins(Decimal::new(1, 2))
            .value("1000".parse().unwrap(), "63524.6".parse().unwrap())
            .unwrap()
            .unwrap();
        assert_eq!((coins.to_string(), usd.to_string()), ("10".to_owned(), "635246.00".to_owned()));
    }

    #[test]
    fn by_name_the_instruments_of_tracked_bases_follow_the_venues_naming() {
        let bases = Bases::Only(["BTC".parse().unwrap(), "ETH".parse().unwrap()].into());
        let names = |instruments: Instruments| {
            instruments.of_bases(&bases).iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Instruments::by_name(Exchange::Bybit).unwrap()), ["BTCUSDT", "ETHUSDT", "BTCPERP", "ETHPERP"]);
    }
}
