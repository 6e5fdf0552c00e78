//! Binance over REST: what is listed, the time, open interest of one symbol, marks of one or all.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::{super::hub::Shared, asset_of, coins, mark_price, next_funding_ms};

pub(in super::super) fn rest() -> Router<Arc<Shared>> {
    Router::new()
        .route("/binance/fapi/v1/time", get(time))
        .route("/binance/fapi/v1/exchangeInfo", get(exchange_info))
        .route("/binance/fapi/v1/openInterest", get(open_interest))
        .route("/binance/fapi/v1/premiumIndex", get(premium_index))
}

async fn time(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"serverTime": shared.venue_ms(Exchange::Binance)}))
}

async fn exchange_info(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let hub = shared.hub(Exchange::Binance);
    Json(json!({"timezone": "UTC", "serverTime": shared.venue_ms(Exchange::Binance), "futuresType": "U_MARGINED",
        "rateLimits": [], "exchangeFilters": [], "assets": [], "symbols": hub.instruments.rows()}))
}

fn error(code: i64, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"code": code, "msg": message}))).into_response()
}

fn invalid_symbol() -> Response {
    error(-1121, "Invalid symbol.")
}

#[derive(Deserialize)]
struct One {
    symbol: Option<String>,
}

/// There is no request for all symbols (`exchanges.md` C.1); `time` is when the figure changed last.
async fn open_interest(State(shared): State<Arc<Shared>>, Query(one): Query<One>) -> Response {
    let Some(symbol) = one.symbol.filter(|symbol| !symbol.is_empty()) else {
        return error(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.");
    };
    let Some(asset) = asset_of(&shared, &symbol) else { return invalid_symbol() };
    let at_ms = shared.interest_ms(Exchange::Binance, shared.market_ms());
    let time = at_ms + shared.offset_ms(Exchange::Binance);
    Json(json!({"openInterest": coins(&shared.market, asset, at_ms), "symbol": symbol, "time": time})).into_response()
}

async fn premium_index(State(shared): State<Arc<Shared>>, Query(one): Query<One>) -> Response {
    let now_ms = shared.market_ms();
    let row = |symbol: &str| {
        let price = mark_price(&shared.market, asset_of(&shared, symbol)?, now_ms);
        let (time, funding) = (shared.venue_ms(Exchange::Binance), next_funding_ms(now_ms));
        Some(json!({"symbol": symbol, "markPrice": price, "indexPrice": price, "estimatedSettlePrice": price,
            "lastFundingRate": "0.00008900", "interestRate": "0.00010000", "nextFundingTime": funding, "time": time}))
    };
    match one.symbol {
        Some(symbol) => row(&symbol).map_or_else(invalid_symbol, |row| Json(row).into_response()),
        None => {
            let symbols = shared.hub(Exchange::Binance).instruments.names();
            Json(symbols.filter_map(row).collect::<Vec<_>>()).into_response()
        }
    }
}
