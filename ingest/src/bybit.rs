//! Bybit linear: one topic per symbol on one socket, `S` is the side of the position, and the client pings.

pub(crate) mod interest;
pub(crate) mod message;
pub(crate) mod metadata;
pub(crate) mod parse;

/// Path under the WebSocket base (exchanges.md A.2).
pub(crate) const WS_PATH: &str = "/v5/public/linear";

/// Path of the instruments reply under the REST base; further pages take `&cursor=`.
pub(crate) const INSTRUMENTS_PATH: &str = "/v5/market/instruments-info?category=linear&limit=1000";

/// The companion topic.
pub(crate) const COMPANION: &str = "tickers.BTCUSDT";

/// Prefix of a liquidation topic; the symbol follows.
pub(crate) const LIQUIDATIONS: &str = "allLiquidation.";

/// The client's ping (exchanges.md B).
pub(crate) const PING: &str = r#"{"op":"ping"}"#;

/// Prefix of a ticker topic; the symbol follows.
pub(crate) const TICKERS: &str = "tickers.";

/// Path of all tickers, open interest in them, under the REST base.
pub(crate) const TICKERS_PATH: &str = "/v5/market/tickers?category=linear";
