//! Bybit's wire structs, named as the venue names them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Any frame on the socket: data of a topic, or an answer to a request.
///
/// ```json
/// {"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1791594602982,"data":[]}
/// {"success":true,"ret_msg":"","conn_id":"d9tcajmgcca9r5l6sugg-21srs","req_id":"","op":"subscribe"}
/// {"success":false,"ret_msg":"error:handler not found,topic:liquidation.BTCUSDT","conn_id":"…","req_id":"old","op":"subscribe"}
/// {"success":true,"ret_msg":"pong","conn_id":"…","req_id":"","op":"ping"}
/// ```
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    pub(crate) topic: Option<Cow<'a, str>>,
    /// `snapshot` or `delta`; always `snapshot` on liquidation topics.
    #[serde(rename = "type")]
    pub(crate) kind: Option<Cow<'a, str>>,
    pub(crate) ts: Option<i64>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) op: Option<Cow<'a, str>>,
    pub(crate) success: Option<bool>,
    pub(crate) ret_msg: Option<Cow<'a, str>>,
    pub(crate) req_id: Option<Cow<'a, str>>,
}

/// One liquidation of an `allLiquidation` topic (exchanges.md A.2).
///
/// ```json
/// {"T":1791594602908,"s":"BTCUSDT","S":"Sell","v":"0.024","p":"82843.00"}
/// ```
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "named as the venue names them")]
pub(crate) struct Liquidation<'a> {
    pub(crate) T: i64,
    #[serde(borrow)]
    pub(crate) s: Cow<'a, str>,
    /// Side of the position: Buy means that a long was liquidated.
    #[serde(borrow)]
    pub(crate) S: Cow<'a, str>,
    /// Coins.
    #[serde(borrow)]
    pub(crate) v: Cow<'a, str>,
    /// Bankruptcy price.
    #[serde(borrow)]
    pub(crate) p: Cow<'a, str>,
}

/// `GET /v5/market/instruments-info`, one page.
///
/// ```json
/// {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[],"nextPageCursor":""}}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstrumentsInfo<'a> {
    pub(crate) ret_code: i64,
    pub(crate) ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
}

/// The result of [`InstrumentsInfo`]; an error carries an empty object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstrumentsPage<'a> {
    #[serde(borrow)]
    pub(crate) list: Vec<&'a RawValue>,
    pub(crate) next_page_cursor: Option<Cow<'a, str>>,
}

/// One instrument of [`InstrumentsPage`].
///
/// ```json
/// {"symbol":"BTCPERP","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDC","settleCoin":"USDC"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstrumentInfo<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) contract_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) base_coin: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) settle_coin: Cow<'a, str>,
}

/// A ticker of the topic `tickers.{symbol}` or of `GET /v5/market/tickers` (exchanges.md C.2). In a delta an absent field
/// means unchanged (C.1).
///
/// ```json
/// {"symbol":"BTCUSDT","lastPrice":"82546.60","markPrice":"82546.60","indexPrice":"82592.30","openInterest":"56106.721",
///  "openInterestValue":"4631419055.70","singleOpenInterest":"28053.361","singleOpenInterestValue":"2315709569.12",
///  "fundingRate":"-0.00004893","nextFundingTime":"1791619200000"}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ticker<'a> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) mark_price: Option<Cow<'a, str>>,
    /// Coins, longs and shorts together (exchanges.md C.3).
    pub(crate) open_interest: Option<Cow<'a, str>>,
    /// Coins, one side.
    pub(crate) single_open_interest: Option<Cow<'a, str>>,
}

/// `GET /v5/market/tickers?category=linear`.
///
/// ```json
/// {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[]},"time":1791594602983}
/// {"retCode":10006,"retMsg":"Too many visits","result":{},"time":1791594602983}
/// ```
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tickers<'a> {
    pub(crate) ret_code: i64,
    pub(crate) ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    pub(crate) time: Option<i64>,
}

/// The result of [`Tickers`]; an error carries an empty object.
#[derive(Deserialize)]
pub(crate) struct TickerList<'a> {
    #[serde(borrow)]
    pub(crate) list: Vec<&'a RawValue>,
}
