//! Binance USD-M: one stream of all symbols, with COIN-M merged into it, subscribed in the URL.

pub(crate) mod message;
pub(crate) mod metadata;
pub(crate) mod parse;

/// Path under the WebSocket base. Subscribed in the URL, so no ack is sent; the unrouted paths of before 2026-04-23 still
/// complete the handshake and then deliver nothing (exchanges.md A.1).
pub(crate) const WS_PATH: &str = "/market/stream?streams=!forceOrder@arr/btcusdt@markPrice@1s";

/// Path of the instruments reply under the REST base.
pub(crate) const INSTRUMENTS_PATH: &str = "/fapi/v1/exchangeInfo";
