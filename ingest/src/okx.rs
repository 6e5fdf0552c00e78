//! OKX swaps: one channel of all of them that cannot be narrowed, quantities in contracts, and a REST backfill.

pub(crate) mod interest;
pub(crate) mod message;
pub(crate) mod metadata;
pub mod page;
pub(crate) mod parse;

/// Path under the WebSocket base (exchanges.md A.3).
pub(crate) const WS_PATH: &str = "/ws/v5/public";

/// Path of the instruments reply under the REST base.
pub(crate) const INSTRUMENTS_PATH: &str = "/api/v5/public/instruments?instType=SWAP";

/// The liquidation channel.
pub(crate) const LIQUIDATIONS: &str = "liquidation-orders";

/// The one subscription: all liquidations of swaps, and two busy companions (exchanges.md B), which also beat the idle
/// cut of 30 s.
pub(crate) const SUBSCRIBE: &str = r#"{"op":"subscribe","args":[{"channel":"liquidation-orders","instType":"SWAP"},{"channel":"open-interest","instId":"BTC-USDT-SWAP"},{"channel":"mark-price","instId":"BTC-USDT-SWAP"}]}"#;

/// The client's ping; its answer is the text `pong` (exchanges.md B).
pub(crate) const PING: &str = "ping";

/// The channels of open interest, each asked for with one instrument.
pub(crate) const INTEREST: [&str; 2] = ["open-interest", "mark-price"];

/// The instrument whose channels are always busy.
pub(crate) const COMPANION: &str = "BTC-USDT-SWAP";

/// Path of the open interest of all swaps under the REST base.
pub(crate) const OPEN_INTEREST_PATH: &str = "/api/v5/public/open-interest?instType=SWAP";
