//! Bybit over REST: what is listed, in pages, the time, and tickers of one or all linear contracts.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::{super::hub::Shared, ticker};

/// Rows of a page when the request names no limit, and the largest limit (`exchanges.md` D).
const PAGE_ROWS: usize = 500;
const PAGE_ROWS_MAX: usize = 1000;

pub(in super::super) fn rest() -> Router<Arc<Shared>> {
    Router::new()
        .route("/bybit/v5/market/time", get(time))
        .route("/bybit/v5/market/instruments-info", get(instruments_info))
        .route("/bybit/v5/market/tickers", get(tickers))
}

fn reply(code: i64, message: &str, result: Value, now_ms: i64) -> Json<Value> {
    Json(json!({"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}))
}

async fn time(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let now_ms = shared.venue_ms(Exchange::Bybit);
    let result = json!({"timeSecond": (now_ms / 1000).to_string(), "timeNano": format!("{now_ms}000000")});
    reply(0, "OK", result, now_ms)
}

#[derive(Deserialize)]
struct Page {
    category: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    cursor: String,
}

async fn instruments_info(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Json<Value> {
    let now_ms = shared.venue_ms(Exchange::Bybit);
    if page.category.as_deref() != Some("linear") {
        return reply(10001, "params error: category only support linear", json!({}), now_ms);
    }
    let rows = shared.hub(Exchange::Bybit).instruments.rows();
    let start = if page.cursor.is_empty() { 0 } else { after_cursor(rows, &page.cursor) };
    let end = rows.len().min(start + page.limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX));
    let cursor = if end < rows.len() { cursor(&rows[start], &rows[end - 1]) } else { String::new() };
    reply(0, "OK", json!({"category": "linear", "list": rows[start..end], "nextPageCursor": cursor}), now_ms)
}

/// The venue's cursors are percent-encoded already, so that they survive verbatim use; encoded again they work too.
fn cursor(first: &Value, last: &Value) -> String {
    let name = |row: &Value| row["symbol"].as_str().unwrap_or_default().to_owned();
    format!("first%3D{}%26last%3D{}", name(first), name(last))
}

fn after_cursor(rows: &[Value], cursor: &str) -> usize {
    let cursor = cursor.replace("%3D", "=").replace("%26", "&");
    let last = cursor.rsplit_once("last=").map(|(_, last)| last);
    rows.iter().position(|row| row["symbol"].as_str() == last).map_or(rows.len(), |index| index + 1)
}

#[derive(Deserialize)]
struct Selection {
    category: Option<String>,
    symbol: Option<String>,
}

/// Rows state no time of their own: the only one is that of the reply.
async fn tickers(State(shared): State<Arc<Shared>>, Query(selection): Query<Selection>) -> Json<Value> {
    let (market_ms, now_ms) = (shared.market_ms(), shared.venue_ms(Exchange::Bybit));
    if selection.category.as_deref() != Some("linear") {
        return reply(10001, "params error: category only support linear", json!({}), now_ms);
    }
    let instruments = &shared.hub(Exchange::Bybit).instruments;
    let wanted = |name: &&str| selection.symbol.as_deref().is_none_or(|symbol| symbol == *name);
    let rows: Vec<_> =
        instruments.names().filter(wanted).filter_map(|symbol| ticker(&shared, symbol, market_ms)).collect();
    if rows.is_empty() && selection.symbol.is_some() {
        return reply(10001, "params error: symbol invalid", json!({}), now_ms);
    }
    reply(0, "OK", json!({"category": "linear", "list": rows}), now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_verbatim_and_encoded_again() {
        let rows: Vec<_> = ["A", "B", "C"].iter().map(|name| json!({"symbol": name})).collect();
        assert_eq!(cursor(&rows[0], &rows[1]), "first%3DA%26last%3DB");
        assert_eq!(after_cursor(&rows, "first=A&last=B"), 2);
        assert_eq!(after_cursor(&rows, "first%3DA%26last%3DB"), 2);
        assert_eq!(after_cursor(&rows, "nonsense"), 3);
    }
}
