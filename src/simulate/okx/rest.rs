//! OKX over REST: what is listed, the time, past liquidations, open interest and marks of one or all swaps.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::{
    super::{fault, hub::Shared},
    history, interest,
};

pub(in super::super) fn rest() -> Router<Arc<Shared>> {
    Router::new()
        .route("/okx/api/v5/public/time", get(time))
        .route("/okx/api/v5/public/instruments", get(instruments_list))
        .route("/okx/api/v5/public/liquidation-orders", get(liquidation_orders))
        .route("/okx/api/v5/public/open-interest", get(open_interest))
        .route("/okx/api/v5/public/mark-price", get(mark_price))
}

fn ok(data: &[Value]) -> Json<Value> {
    Json(json!({"code": "0", "msg": "", "data": data}))
}

fn error(code: &str, message: &str) -> Json<Value> {
    Json(json!({"code": code, "msg": message, "data": []}))
}

async fn time(State(shared): State<Arc<Shared>>) -> Json<Value> {
    ok(&[json!({"ts": shared.venue_ms(Exchange::Okx).to_string()})])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    inst_type: Option<String>,
    inst_id: Option<String>,
}

async fn instruments_list(State(shared): State<Arc<Shared>>, Query(listing): Query<Listing>) -> Json<Value> {
    match listing.inst_type.as_deref() {
        Some("SWAP") => ok(shared.hub(Exchange::Okx).instruments.rows()),
        Some("FUTURES" | "MARGIN" | "SPOT") => ok(&[]),
        Some(_) | None => error("51000", "Parameter instType error"),
    }
}

async fn liquidation_orders(State(shared): State<Arc<Shared>>, Query(query): Query<history::Query>) -> Json<Value> {
    let clock_ms = shared.hub(Exchange::Okx).faults.borrow().clock_ms;
    let page = shared.history.lock().expect("nothing panics while it holds the history").page(&query);
    match page {
        Ok(mut rows) => {
            rows.iter_mut().for_each(|row| fault::shift(row, clock_ms));
            ok(&rows)
        }
        Err(history::NoFamily) => error("50014", "Parameter uly or instFamily cannot be empty."),
    }
}

async fn open_interest(State(shared): State<Arc<Shared>>, Query(listing): Query<Listing>) -> Json<Value> {
    let at_ms = shared.interest_ms(Exchange::Okx, shared.market_ms());
    rows(&shared, &listing, |instrument| interest::row(&shared, instrument, at_ms))
}

async fn mark_price(State(shared): State<Arc<Shared>>, Query(listing): Query<Listing>) -> Json<Value> {
    let now_ms = shared.market_ms();
    rows(&shared, &listing, |instrument| interest::mark_row(&shared, instrument, now_ms))
}

/// Returns the rows of the instruments that are asked for: one, or all of a type.
fn rows(shared: &Shared, listing: &Listing, row: impl Fn(&str) -> Option<Value>) -> Json<Value> {
    match listing.inst_type.as_deref() {
        Some("SWAP") => {}
        Some("FUTURES" | "OPTION" | "MARGIN") => return ok(&[]),
        Some(_) | None => return error("51000", "Parameter instType error"),
    }
    let instruments = &shared.hub(Exchange::Okx).instruments;
    let wanted = |name: &&str| listing.inst_id.as_deref().is_none_or(|one| one == *name);
    let mut rows: Vec<_> = instruments.names().filter(wanted).filter_map(row).collect();
    if rows.is_empty() && listing.inst_id.is_some() {
        return error("51001", "Instrument ID or Spread ID doesn't exist.");
    }
    let offset_ms = shared.offset_ms(Exchange::Okx);
    rows.iter_mut().for_each(|row| fault::shift(row, offset_ms));
    ok(&rows)
}
