//! A stand-in of the existing market-data service with its real fan-out and faults (`exchanges.md` F.1).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::join_all;
use ingest::exchange::Exchange;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{hub::Shared, market::ASSETS};

mod answer;

/// A venue the service asks, in the order of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// Nine requests a call.
    Binance,
    /// Three.
    Bybit,
    /// Nine.
    Okx,
    /// Three.
    Gateio,
    /// Four.
    Bitget,
    /// One.
    Hyperliquid,
}

impl Upstream {
    /// Every upstream venue, in the order of the answers.
    pub const ALL: [Self; 6] = [Self::Binance, Self::Bybit, Self::Okx, Self::Gateio, Self::Bitget, Self::Hyperliquid];

    /// Returns the name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
            Self::Gateio => "gateio",
            Self::Bitget => "bitget",
            Self::Hyperliquid => "hyperliquid",
        }
    }

    /// Returns how many requests a call of `multi_oi` makes to it (`exchanges.md` C.6).
    pub const fn requests(self) -> u64 {
        match self {
            Self::Binance | Self::Okx => 9,
            Self::Bybit | Self::Gateio => 3,
            Self::Bitget => 4,
            Self::Hyperliquid => 1,
        }
    }

    /// Returns the venue that is simulated here, where it is one.
    const fn simulated(self) -> Option<Exchange> {
        match self {
            Self::Binance => Some(Exchange::Binance),
            Self::Bybit => Some(Exchange::Bybit),
            Self::Okx => Some(Exchange::Okx),
            Self::Gateio | Self::Bitget | Self::Hyperliquid => None,
        }
    }
}

/// How the service behaves. The default is healthy, as quick as real ones are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketData {
    /// How long one upstream request takes, in milliseconds of real time; 100 where none is given.
    pub upstream_ms: BTreeMap<Upstream, u64>,
    /// Upstream venues whose requests fail: they are left out. Without Hyperliquid there is no answer at all. A simulated
    /// venue whose REST is refused fails too.
    pub failed: BTreeSet<Upstream>,
    /// Every call is answered 500 with plain text.
    pub crash: bool,
    /// Added to every answer, in milliseconds of real time.
    pub delay_ms: u64,
}

/// What the service was asked and asked itself since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MarketDataState {
    /// Calls by endpoint.
    pub calls: BTreeMap<String, u64>,
    /// Requests to each upstream venue.
    pub upstream_requests: BTreeMap<Upstream, u64>,
    /// How it behaves.
    pub behaviour: MarketData,
}

/// How long an upstream request takes, in milliseconds: about a way over an ocean and back.
const UPSTREAM_MS: u64 = 100;

/// The service's side of the simulator.
#[derive(Default)]
pub(super) struct Service {
    state: Mutex<MarketDataState>,
    /// One upstream request of a venue at a time, first come, first served, whatever call it is for: the least capacity
    /// that calls can share.
    lines: [tokio::sync::Mutex<()>; Upstream::ALL.len()],
}

impl Service {
    pub(super) fn state(&self) -> MarketDataState {
        self.with(|state| state.clone())
    }

    pub(super) fn behave(&self, behaviour: MarketData) {
        self.with(|state| state.behaviour = behaviour);
    }

    fn with<T>(&self, look: impl FnOnce(&mut MarketDataState) -> T) -> T {
        look(&mut self.state.lock().expect("nothing panics while it holds the state"))
    }

    /// Counts a call and returns how it will go.
    fn called(&self, endpoint: &str) -> MarketData {
        self.with(|state| {
            *state.calls.entry(endpoint.to_owned()).or_default() += 1;
            state.behaviour.clone()
        })
    }

    /// Makes `count` upstream requests, one after the other.
    async fn ask(&self, upstream: Upstream, count: u64) {
        for _ in 0..count {
            let _line = self.lines[upstream as usize].lock().await;
            let ms = self.with(|state| {
                *state.upstream_requests.entry(upstream).or_default() += 1;
                state.behaviour.upstream_ms.get(&upstream).copied().unwrap_or(UPSTREAM_MS)
            });
            sleep(Duration::from_millis(ms)).await;
        }
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/market-data/health", get(health))
        .route("/market-data/multi_oi", post(multi_oi))
        .route("/market-data/combined_price", post(combined_price))
        .route("/market-data/comprehensive_analysis", post(comprehensive_analysis))
        .route("/market-data/volume_spike", post(volume_spike))
        .route("/market-data/cvd", post(cvd))
        .route("/market-data/market_profile", post(market_profile))
}

/// Says nothing about the upstream venues.
async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "market-data"}))
}

fn crashed() -> Response {
    let text = "500 Internal Server Error\n\nServer got itself in trouble";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

/// Failures are answered 200.
fn failure(error: &str, base: &Value) -> Response {
    Json(json!({"success": false, "error": error, "base_symbol": base})).into_response()
}

async fn multi_oi(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let behaviour = shared.market_data.called("multi_oi");
    sleep(Duration::from_millis(behaviour.delay_ms)).await;
    let Ok(body) = serde_json::from_str::<Value>(&body) else { return crashed() };
    if behaviour.crash {
        return crashed();
    }
    let Some(asked) = body["base_symbol"].as_str() else { return failure("base_symbol is required", &Value::Null) };
    // Only what ends in USDT is stripped, and only that: `BTC-USDT` becomes `BTC-`.
    let base = asked.to_uppercase();
    let base = base.strip_suffix("USDT").unwrap_or(&base);
    join_all(Upstream::ALL.map(|upstream| shared.market_data.ask(upstream, upstream.requests()))).await;
    let mut failed = behaviour.failed;
    failed.extend(
        Upstream::ALL
            .into_iter()
            .filter(|upstream| upstream.simulated().is_some_and(|venue| shared.faults(venue).refuse_rest.is_some())),
    );
    let asset = ASSETS.iter().position(|asset| asset.base == base);
    // Hyperliquid gives nothing for a failure and for an unknown coin, which breaks the sum of all.
    match asset.filter(|_| !failed.contains(&Upstream::Hyperliquid)) {
        Some(asset) => Json(answer::multi_oi(&shared, asset, &failed)).into_response(),
        None => failure("'NoneType' object has no attribute 'validation_passed'", &Value::from(base)),
    }
}

/// What an endpoint answers about an asset.
type Answer = fn(&Shared, usize) -> Value;

async fn combined_price(State(shared): State<Arc<Shared>>, body: String) -> Response {
    about_symbol(&shared, "combined_price", &body, answer::combined_price).await
}

async fn comprehensive_analysis(State(shared): State<Arc<Shared>>, body: String) -> Response {
    about_symbol(&shared, "comprehensive_analysis", &body, answer::comprehensive_analysis).await
}

async fn volume_spike(State(shared): State<Arc<Shared>>, body: String) -> Response {
    about_symbol(&shared, "volume_spike", &body, answer::volume_spike).await
}

async fn cvd(State(shared): State<Arc<Shared>>, body: String) -> Response {
    about_symbol(&shared, "cvd", &body, answer::cvd).await
}

async fn market_profile(State(shared): State<Arc<Shared>>, body: String) -> Response {
    about_symbol(&shared, "market_profile", &body, answer::market_profile).await
}

/// Answers a call that names a `symbol`, after one upstream request.
async fn about_symbol(shared: &Shared, endpoint: &str, body: &str, answer: Answer) -> Response {
    let behaviour = shared.market_data.called(endpoint);
    sleep(Duration::from_millis(behaviour.delay_ms)).await;
    let Ok(body) = serde_json::from_str::<Value>(body) else { return crashed() };
    if behaviour.crash {
        return crashed();
    }
    let symbol = body["symbol"].as_str().unwrap_or_default().to_uppercase();
    shared.market_data.ask(Upstream::Binance, 1).await;
    // Here symbols look like `BTC-USDT`.
    let asset = ASSETS.iter().position(|asset| symbol.split(['-', '/']).next() == Some(asset.base));
    match asset.filter(|_| !behaviour.failed.contains(&Upstream::Binance)) {
        Some(asset) => Json(json!({"success": true, "data": answer(shared, asset)})).into_response(),
        None => Json(json!({"success": false, "error": format!("no price of {symbol}")})).into_response(),
    }
}
