//! Binance's wire structs, named as the venue names them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Any object on the socket: a wrapped stream message, a raw message, or an answer to a request.
///
/// ```json
/// {"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1791435250143,"o":{}}}
/// {"e":"forceOrder","E":1791435250143,"o":{}}
/// {"result":null,"id":1}
/// {"error":{"code":2,"msg":"Invalid request"},"id":1}
/// ```
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) code: Option<&'a RawValue>,
}

/// A forced order (exchanges.md A.1; `!forceOrder@arr` sends one object a frame, despite its name).
///
/// ```json
/// {"e":"forceOrder","E":1791435250143,"o":{"s":"XRPUSDT","S":"BUY","o":"LIMIT","f":"IOC","q":"15.4","p":"1.4111",
///  "ap":"1.4043","X":"FILLED","l":"15.4","z":"15.4","T":1791435249136,"ps":"XRPUSDT","st":1}}
/// ```
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "named as the venue names them")]
pub(crate) struct ForceOrder<'a> {
    pub(crate) E: Option<i64>,
    /// Documented here, seen inside `o`.
    pub(crate) st: Option<i64>,
    #[serde(borrow)]
    pub(crate) o: Order<'a>,
}

/// The order of a [`ForceOrder`].
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "named as the venue names them")]
pub(crate) struct Order<'a> {
    #[serde(borrow)]
    pub(crate) s: Cow<'a, str>,
    /// Side of the order: SELL closes a long.
    #[serde(borrow)]
    pub(crate) S: Cow<'a, str>,
    /// Original quantity.
    #[serde(borrow)]
    pub(crate) q: Cow<'a, str>,
    /// Limit price, the bankruptcy side.
    #[serde(borrow)]
    pub(crate) p: Cow<'a, str>,
    /// Average fill price.
    #[serde(default = "zero")]
    pub(crate) ap: Cow<'a, str>,
    /// Filled quantity (`l` is only the last fill).
    #[serde(default = "zero")]
    pub(crate) z: Cow<'a, str>,
    pub(crate) T: i64,
    /// 1 = USD-M, 2 = COIN-M.
    pub(crate) st: Option<i64>,
}

/// An absent average or filled quantity says as little as a zero.
const fn zero() -> Cow<'static, str> {
    Cow::Borrowed("0")
}

/// The companion channel. Its `T` is the next funding time, no clock.
///
/// ```json
/// {"e":"markPriceUpdate","E":1789480000000,"s":"BTCUSDT","p":"76888.10","ap":"76888.10","P":"77018.80","i":"76935.00",
///  "r":"0.00008900","T":1789488000000,"st":1}
/// ```
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "named as the venue names them")]
pub(crate) struct MarkPrice<'a> {
    pub(crate) E: Option<i64>,
    pub(crate) s: Option<Cow<'a, str>>,
    /// The mark (`ap` is its moving average, exchanges.md C.5).
    pub(crate) p: Option<Cow<'a, str>>,
}

/// `GET /fapi/v1/openInterest?symbol=`, or the venue's error (exchanges.md C.2).
///
/// ```json
/// {"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}
/// {"code":-1121,"msg":"Invalid symbol."}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenInterest<'a> {
    /// Coins, each contract once.
    pub(crate) open_interest: Option<Cow<'a, str>>,
    pub(crate) symbol: Option<Cow<'a, str>>,
    pub(crate) time: Option<i64>,
    pub(crate) code: Option<i64>,
    pub(crate) msg: Option<Cow<'a, str>>,
}

/// `GET /fapi/v1/exchangeInfo`, or the venue's error.
#[derive(Deserialize)]
pub(crate) struct ExchangeInfo<'a> {
    #[serde(borrow, default)]
    pub(crate) symbols: Vec<&'a RawValue>,
    pub(crate) code: Option<i64>,
    pub(crate) msg: Option<Cow<'a, str>>,
}

/// One symbol of [`ExchangeInfo`].
///
/// ```json
/// {"symbol":"BTCUSDT","pair":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING","baseAsset":"BTC",
///  "quoteAsset":"USDT","marginAsset":"USDT"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Symbol<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) base_asset: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) quote_asset: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) margin_asset: Cow<'a, str>,
}
