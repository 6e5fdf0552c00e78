//! Open interest: what the venues state becomes one sample per venue, instrument and slot.
//!
//! Pure are the parsing (beside each venue's other frames), [`quote`], the sampler and the [`plan`]; the collector of a
//! venue asks over REST where there is no stream or the stream gave nothing, and only while it has the turn.

pub mod plan;
pub mod quote;

pub(crate) mod collector;
pub(crate) mod market_data;
pub(crate) mod sampler;
pub(crate) mod teller;

use schemas::name::{Base, Instrument, Venue};

use crate::exchange::Exchange;
pub use market_data::external_venues;
pub use plan::check;

/// Returns the instrument that is sampled for `base`: the USDT perpetual, by its exact name (exchanges.md D).
pub(crate) fn perpetual(exchange: Exchange, base: &Base) -> Option<Instrument> {
    let name = match exchange {
        Exchange::Binance | Exchange::Bybit => format!("{base}USDT"),
        Exchange::Okx => format!("{base}-USDT-SWAP"),
    };
    name.parse().ok()
}

/// Returns the venue under which the market-data service's figures of `exchange` are written.
pub(crate) fn external(exchange: &str) -> Option<Venue> {
    format!("ext-{exchange}").parse().ok()
}
