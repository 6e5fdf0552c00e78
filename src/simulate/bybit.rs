//! Bybit v5, linear: topics, whole-batch refusals, batches of half a second, tickers as snapshot and deltas.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Router,
    extract::{State, WebSocketUpgrade, ws::Utf8Bytes},
    response::Response,
    routing::get,
};
use schemas::market::Side;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use ingest::exchange::Exchange;

use super::{
    fault::Faults,
    hub::{Instruments, Published, Shared},
    market::{ASSETS, Forced, Market},
    recording::Recorded,
    session::{Companions, Keepalive, Reply, Session},
    socket,
};

mod rest;

pub(super) use rest::rest;

const LIQUIDATIONS: &str = "allLiquidation.";
const TICKERS: &str = "tickers.";

/// Length of the window whose liquidations of one symbol are one frame (`exchanges.md` A.2).
const BATCH_MS: i64 = 500;

/// How often a ticker is sent (`exchanges.md` C.1).
const TICKER_MS: i64 = 100;

pub(super) fn sockets() -> Router<Arc<Shared>> {
    Router::new().route("/bybit/v5/public/linear", get(linear))
}

async fn linear(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let session = BybitSession::new(&shared);
    socket::accept(shared, Exchange::Bybit, upgrade, Box::new(session))
}

/// Returns the contracts listed when no instruments file is given: no HYPE, and one perpetual settled in USDC.
pub(super) fn instruments() -> Instruments {
    let bases = ASSETS.iter().map(|asset| asset.base).filter(|base| *base != "HYPE");
    let usdc = row("BTCPERP", "BTC", "USDC");
    Instruments::new(bases.map(|base| row(&format!("{base}USDT"), base, "USDT")).chain([usdc]).collect(), "symbol")
}

fn row(symbol: &str, base: &str, settle: &str) -> Value {
    json!({"symbol": symbol, "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": base,
        "quoteCoin": settle, "settleCoin": settle, "launchTime": "1585526400000", "deliveryTime": "0"})
}

/// Returns the listing of a recorded symbol that is a plain USDT or USDC name (`BTCUSDT`, `BTCPERP`).
pub(super) fn plain_row(symbol: &str) -> Option<Value> {
    let names = [("USDT", "USDT"), ("PERP", "USDC")];
    names.into_iter().find_map(|(suffix, settle)| Some(row(symbol, symbol.strip_suffix(suffix)?, settle)))
}

/// Returns the rows of an `instruments-info` reply.
pub(super) fn instruments_of(reply: &Value) -> Option<Instruments> {
    Some(Instruments::new(reply["result"]["list"].as_array()?.clone(), "symbol"))
}

/// Returns what the venue publishes of the liquidations of one second: a frame per symbol and half second, each with the
/// market time it leaves at.
pub(super) fn publish(forced: &[Forced]) -> Vec<(i64, Published)> {
    let mut batches = BTreeMap::<(i64, usize), Vec<&Forced>>::new();
    for one in forced.iter().filter(|one| one.venue == Exchange::Bybit) {
        batches.entry((one.at_ms.div_euclid(BATCH_MS), one.asset)).or_default().push(one);
    }
    batches.into_iter().map(|((window, asset), batch)| frame((window + 1) * BATCH_MS, asset, &batch)).collect()
}

fn frame(sent_ms: i64, asset: usize, batch: &[&Forced]) -> (i64, Published) {
    let asset = &ASSETS[asset];
    let symbol = format!("{}USDT", asset.base);
    let rows: Vec<_> = batch
        .iter()
        .map(|one| {
            // The bankruptcy price lies below the mark for a dead long; `S` is the side of the position (A.2).
            let price = one.beyond_mark(0.005);
            let side = match one.liquidated {
                Side::Long => "Buy",
                Side::Short => "Sell",
            };
            let quantity = (one.usd / price).max(0.1_f64.powi(asset.quantity_places as i32));
            json!({"T": one.at_ms, "s": symbol, "S": side, "v": format!("{quantity:.*}", asset.quantity_places),
                "p": format!("{price:.*}", asset.price_places)})
        })
        .collect();
    let text = json!({"topic": format!("{LIQUIDATIONS}{symbol}"), "type": "snapshot", "ts": sent_ms, "data": rows});
    (sent_ms, Published { key: symbol, text: text.to_string().into() })
}

/// Reads a recorded line: a frame of `allLiquidation`.
pub(super) fn recorded(text: &str, line: &Value) -> Option<Recorded> {
    let key = line["topic"].as_str()?.strip_prefix(LIQUIDATIONS)?.to_owned();
    let event_ms = line["data"].as_array()?.iter().filter_map(|row| row["T"].as_i64()).min()?;
    let sent_ms = line["ts"].as_i64().unwrap_or(event_ms);
    Some(Recorded { sent_ms, event_ms, published: Published { key, text: text.into() } })
}

struct BybitSession {
    shared: Arc<Shared>,
    connection: String,
    liquidations: BTreeSet<String>,
    companions: Companions,
    /// What each ticker's fields were when they were last sent.
    tickers: BTreeMap<String, Map<String, Value>>,
    sent: u64,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    req_id: String,
    op: String,
    #[serde(default)]
    args: Vec<String>,
}

impl BybitSession {
    fn new(shared: &Arc<Shared>) -> Self {
        let number = shared.hub(Exchange::Bybit).sockets.borrow().opened;
        Self {
            shared: Arc::clone(shared),
            connection: format!("sim-{number}"),
            liquidations: BTreeSet::new(),
            companions: Companions::default(),
            tickers: BTreeMap::new(),
            sent: 0,
        }
    }

    fn answer(&self, request: &Request, success: bool, message: &str) -> Vec<Reply> {
        let reply = json!({"success": success, "ret_msg": message, "conn_id": self.connection,
            "req_id": request.req_id, "op": request.op});
        vec![Reply::Text(reply.to_string())]
    }

    fn exists(&self, topic: &str) -> bool {
        let symbol = topic.strip_prefix(LIQUIDATIONS).or_else(|| topic.strip_prefix(TICKERS));
        symbol.is_some_and(|symbol| self.shared.hub(Exchange::Bybit).instruments.has(symbol))
    }

    fn subscribe(&mut self, topic: &str) {
        if let Some(symbol) = topic.strip_prefix(LIQUIDATIONS) {
            self.liquidations.insert(symbol.to_owned());
        } else {
            self.companions.add(topic);
        }
    }

    fn unsubscribe(&mut self, topic: &str) {
        if let Some(symbol) = topic.strip_prefix(LIQUIDATIONS) {
            self.liquidations.remove(symbol);
        }
        self.companions.remove(topic);
        self.tickers.remove(topic);
    }
}

/// Returns every field of a ticker; `openInterest` counts both sides (`exchanges.md` C.3).
fn ticker(shared: &Shared, symbol: &str, now_ms: i64) -> Option<Map<String, Value>> {
    let is_contract = |rest: &str| matches!(rest, "USDT" | "PERP");
    let asset = ASSETS.iter().position(|asset| symbol.strip_prefix(asset.base).is_some_and(is_contract))?;
    let market = &shared.market;
    // A frozen figure in USD keeps the price of its time.
    let interest_ms = shared.interest_ms(Exchange::Bybit, now_ms);
    let coins = market.open_interest(Exchange::Bybit, asset, interest_ms);
    let usd = coins * market.price(asset, interest_ms);
    let price = price(market, asset, now_ms);
    let fields = json!({
        "symbol": symbol,
        "lastPrice": price,
        "markPrice": price,
        "indexPrice": price,
        "openInterest": coins_text(asset, coins * 2.0),
        "openInterestValue": format!("{:.2}", usd * 2.0),
        "singleOpenInterest": coins_text(asset, coins),
        "singleOpenInterestValue": format!("{usd:.2}"),
        "fundingRate": "-0.00004893",
    });
    fields.as_object().cloned()
}

/// Returns the open interest of one side at market time `at_ms` as the venue words it: coins.
pub(super) fn single_coins(market: &Market, asset: usize, at_ms: i64) -> String {
    coins_text(asset, market.open_interest(Exchange::Bybit, asset, at_ms))
}

fn coins_text(asset: usize, coins: f64) -> String {
    format!("{coins:.*}", ASSETS[asset].quantity_places)
}

/// Returns a price at market time `at_ms` as the venue words it.
pub(super) fn price(market: &Market, asset: usize, at_ms: i64) -> String {
    format!("{:.*}", ASSETS[asset].price_places, market.price(asset, at_ms))
}

impl Session for BybitSession {
    fn handle_text(&mut self, text: &str, faults: &Faults) -> Vec<Reply> {
        let Ok(request) = serde_json::from_str::<Request>(text) else {
            let nothing = Request { req_id: String::new(), op: String::new(), args: Vec::new() };
            return self.answer(&nothing, false, "error:invalid request");
        };
        match request.op.as_str() {
            "ping" => self.answer(&request, true, "pong"),
            // exchanges.md A.2: one bad topic rejects the whole batch.
            "subscribe" => {
                match request.args.iter().find(|topic| !self.exists(topic) || faults.refuse_topics.contains(topic)) {
                    Some(bad) => self.answer(&request, false, &format!("error:handler not found,topic:{bad}")),
                    None => {
                        request.args.iter().for_each(|topic| self.subscribe(topic));
                        self.answer(&request, true, "")
                    }
                }
            }
            "unsubscribe" => {
                request.args.iter().for_each(|topic| self.unsubscribe(topic));
                self.answer(&request, true, "")
            }
            op => self.answer(&request, false, &format!("error:unknown op {op}")),
        }
    }

    fn handle_liquidations(&mut self, frame: &Published) -> Vec<Utf8Bytes> {
        self.liquidations.contains(&frame.key).then(|| frame.text.clone()).into_iter().collect()
    }

    fn handle_tick(&mut self, now_ms: i64) -> Vec<Utf8Bytes> {
        let mut frames = Vec::new();
        for topic in self.companions.due(now_ms, |_| TICKER_MS) {
            let Some(fields) = topic.strip_prefix(TICKERS).and_then(|symbol| ticker(&self.shared, symbol, now_ms))
            else {
                continue;
            };
            let (kind, data) = match self.tickers.get(topic) {
                None => ("snapshot", fields.clone()),
                // An absent field is unchanged; the symbol always stands in it.
                Some(before) => {
                    let changed =
                        |(name, value): &(&String, &Value)| *name == "symbol" || before.get(*name) != Some(*value);
                    let delta = fields.iter().filter(changed).map(|(name, value)| (name.clone(), value.clone()));
                    ("delta", delta.collect::<Map<_, _>>())
                }
            };
            if data.len() > 1 {
                self.sent += 1;
                let frame = json!({"topic": topic, "type": kind, "data": data, "cs": self.sent, "ts": now_ms});
                frames.push(frame.to_string().into());
                self.tickers.insert(topic.to_owned(), fields);
            }
        }
        frames
    }

    fn liquidation_topics(&self) -> usize {
        self.liquidations.len()
    }

    fn keepalive(&self) -> Keepalive {
        Keepalive::Heard { after: self.shared.timing.bybit_idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liquidations_of_a_symbol_within_half_a_second_are_one_frame() {
        let forced = |asset: usize, at_ms: i64| Forced {
            venue: Exchange::Bybit,
            asset,
            inverse: false,
            liquidated: Side::Long,
            usd: 1000.0,
            mark: 100.0,
            at_ms,
        };
        let published = publish(&[forced(0, 10), forced(2, 20), forced(0, 499), forced(0, 500)]);
        let batches: Vec<_> = published
            .iter()
            .map(|(sent_ms, frame)| {
                let value: Value = serde_json::from_str(&frame.text).unwrap();
                (*sent_ms, frame.key.clone(), value["data"].as_array().unwrap().len())
            })
            .collect();
        assert_eq!(batches, [(500, "BTCUSDT".into(), 2), (500, "SOLUSDT".into(), 1), (1000, "BTCUSDT".into(), 1)]);
        let first: Value = serde_json::from_str(&published[0].1.text).unwrap();
        assert_eq!(first["data"][0], json!({"T": 10, "s": "BTCUSDT", "S": "Buy", "v": "10.050", "p": "99.5"}));
    }
}
