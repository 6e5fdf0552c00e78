//! Faults on request: what a venue does wrong, and how each looks on the wire.

use axum::{
    extract::ws::Utf8Bytes,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use ingest::exchange::Exchange;

/// What one venue does wrong until it is told otherwise. The default is a healthy venue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Sockets stay open and no data comes; what falls into the silence is lost to them.
    pub silence: Option<Silence>,
    /// Probability that a data frame is preceded by one that is JSON of the wrong shape.
    pub malformed: f64,
    /// Probability that a data frame is preceded by the first half of itself.
    pub truncated: f64,
    /// Probability that a data frame is preceded by one of more than 1 MiB.
    pub oversized: f64,
    /// Probability that a liquidation frame is sent twice.
    pub duplicate: f64,
    /// Liquidation frames are held back, so that later ones overtake them.
    pub disorder: Option<Disorder>,
    /// Topics that are refused: a Binance stream, a Bybit topic, an OKX channel.
    pub refuse_topics: Vec<String>,
    /// WebSocket upgrades are refused.
    pub refuse_sockets: Option<Refusal>,
    /// REST requests are refused.
    pub refuse_rest: Option<Refusal>,
    /// Open interest and its times stand still, on sockets and over REST, while everything else goes on.
    pub frozen_interest: bool,
    /// Each socket is dropped this many milliseconds after it was opened.
    pub disconnect_every_ms: Option<u64>,
    /// Milliseconds added to every time the venue states.
    pub clock_ms: i64,
}

/// What a silent venue still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// Pings and subscriptions are answered, data does not come.
    Answering,
    /// Nothing is read or answered.
    Deaf,
}

/// How much disorder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disorder {
    /// Probability that a liquidation frame is held back.
    pub probability: f64,
    /// Longest hold, in milliseconds of real time; each is drawn evenly up to it.
    pub max_ms: u64,
}

/// How a request or an upgrade is refused (`exchanges.md` C.7, E).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// 451 with JSON: the region is not served (Binance).
    Restricted,
    /// 403 with an HTML page: the region is not served, or a firewall.
    Forbidden,
    /// Over the limit: 429, and on Bybit HTTP 200 with `retCode` 10006.
    RateLimited,
    /// Banned: 418 on Binance, 403 "access too frequent" on Bybit, 429 on OKX.
    Banned,
    /// 503 with an HTML page.
    Unavailable,
}

/// What happens once, to every socket of the venue that is open at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The connection is dropped without a close frame.
    Disconnect,
    /// The connection stays open and is never read or written again; new ones work.
    HalfOpen,
    /// OKX announces an upgrade (64008) and cuts after [`super::Timing::okx_notice`]; other venues do nothing.
    Notice,
    /// One frame of JSON of the wrong shape.
    Malformed,
    /// One frame of more than 1 MiB.
    Oversized,
}

/// Bytes of an oversized frame: just above 1 MiB, which no venue's real frame reaches.
const OVERSIZED_BYTES: usize = 1024 * 1024 + 1024;

/// How long a rate limit asks to wait, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

/// How far ahead a ban ends, in milliseconds: the shortest Binance gives (`exchanges.md` C.7).
const BAN_MS: i64 = 120_000;

/// Returns a frame that is JSON and has a liquidation's outline, with fields of the wrong types.
pub(super) fn malformed(venue: Exchange) -> Utf8Bytes {
    match venue {
        Exchange::Binance => r#"{"e":"forceOrder","E":"soon","o":{"s":7,"S":null}}"#,
        Exchange::Bybit => {
            r#"{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":"soon","data":{"T":null,"s":7,"S":"Up"}}"#
        }
        Exchange::Okx => r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":{"details":7}}"#,
    }
    .into()
}

/// Returns the first half of `text`.
pub(super) fn truncated(text: &str) -> Utf8Bytes {
    text[..text.floor_char_boundary(text.len() / 2)].into()
}

/// Returns a frame of more than 1 MiB.
pub(super) fn oversized() -> Utf8Bytes {
    format!(r#"{{"pad":"{}"}}"#, "x".repeat(OVERSIZED_BYTES)).into()
}

/// Returns the answer to a refused request, at venue time `now_ms`.
pub(super) fn refuse(venue: Exchange, refusal: Refusal, now_ms: i64) -> Response {
    let page = |title: &str| Html(format!("<html><head><title>{title}</title></head><body>{title}</body></html>"));
    let json = |status: StatusCode, body: Value| (status, axum::Json(body)).into_response();
    let limited = |body: Value| {
        let headers = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS.to_string())];
        (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(body)).into_response()
    };
    match (refusal, venue) {
        (Refusal::Restricted, Exchange::Binance | Exchange::Bybit | Exchange::Okx) => json(
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            json!({"code": 0, "msg": "Service unavailable from a restricted location according to 'b. Eligibility' \
                in https://www.binance.com/en/terms. Please contact customer service if you believe you received \
                this message in error."}),
        ),
        (Refusal::Forbidden, Exchange::Binance | Exchange::Bybit | Exchange::Okx) => {
            (StatusCode::FORBIDDEN, page("ERROR: The request could not be satisfied")).into_response()
        }
        (Refusal::RateLimited, Exchange::Binance) => {
            limited(json!({"code": -1003, "msg": "Too many requests; current limit is 2400 requests per minute."}))
        }
        (Refusal::RateLimited, Exchange::Bybit) => json(
            StatusCode::OK,
            json!({"retCode": 10006, "retMsg": "Too many visits. Exceeded the API Rate Limit.", "result": {},
                "retExtInfo": {}, "time": now_ms}),
        ),
        (Refusal::RateLimited | Refusal::Banned, Exchange::Okx) => {
            limited(json!({"code": "50011", "msg": "Too Many Requests", "data": []}))
        }
        (Refusal::Banned, Exchange::Binance) => json(
            StatusCode::IM_A_TEAPOT,
            json!({"code": -1003, "msg": format!("Way too many requests; IP(127.0.0.1) banned until {}. Please use \
                the websocket for live updates to avoid bans.", now_ms + BAN_MS)}),
        ),
        (Refusal::Banned, Exchange::Bybit) => (StatusCode::FORBIDDEN, "access too frequent").into_response(),
        (Refusal::Unavailable, Exchange::Binance | Exchange::Bybit | Exchange::Okx) => {
            (StatusCode::SERVICE_UNAVAILABLE, page("503 Service Temporarily Unavailable")).into_response()
        }
    }
}

/// Names of the fields that hold a time in milliseconds, in frames and REST rows of the three venues.
const TIME_FIELDS: [&str; 3] = ["E", "T", "ts"];

/// Returns the JSON `text` with `by_ms` added to every time in it.
pub(super) fn shift_times(text: &str, by_ms: i64) -> Utf8Bytes {
    let Ok(mut value) = serde_json::from_str(text) else { return text.into() };
    shift(&mut value, by_ms);
    value.to_string().into()
}

/// Adds `by_ms` to every time in `value`.
pub(super) fn shift(value: &mut Value, by_ms: i64) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if TIME_FIELDS.contains(&name.as_str()) {
                    if let Some(ms) = field.as_i64() {
                        *field = (ms + by_ms).into();
                    } else if let Some(ms) = field.as_str().and_then(|text| text.parse::<i64>().ok()) {
                        *field = (ms + by_ms).to_string().into();
                    }
                }
                shift(field, by_ms);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by_ms)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_shifts_every_time_and_nothing_else() {
        let okx = r#"{"data":[{"details":[{"bkPx":"1.5","ts":"1000"}],"uly":"BTC-USDT"}]}"#;
        assert_eq!(
            shift_times(okx, 5).as_str(),
            r#"{"data":[{"details":[{"bkPx":"1.5","ts":"1005"}],"uly":"BTC-USDT"}]}"#
        );
        let binance = r#"{"E":2000,"e":"forceOrder","o":{"T":1000,"z":"7"}}"#;
        assert_eq!(shift_times(binance, -5).as_str(), r#"{"E":1995,"e":"forceOrder","o":{"T":995,"z":"7"}}"#);
    }

    #[test]
    fn an_unknown_fault_is_an_error() {
        assert!(serde_json::from_str::<Faults>(r#"{"silense":"deaf"}"#).is_err());
        let faults: Faults = serde_json::from_str(r#"{"silence":"deaf","duplicate":0.5}"#).unwrap();
        assert_eq!(faults, Faults { silence: Some(Silence::Deaf), duplicate: 0.5, ..Faults::default() });
    }
}
