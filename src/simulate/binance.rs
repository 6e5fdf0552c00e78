//! Binance USD-M: routed streams, the retired URLs that stay silent, and the wording of liquidations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path, Query, State, WebSocketUpgrade, ws::Utf8Bytes},
    response::Response,
    routing::get,
};
use schemas::market::Side;
use serde::Deserialize;
use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::{
    clock::wall_ms,
    fault::Faults,
    hub::{Instruments, Published, Shared},
    market::{ASSETS, Forced, Market},
    recording::Recorded,
    session::{Companions, Keepalive, Reply, Session},
    socket,
};

mod rest;

pub(super) use rest::rest;

/// The stream of every symbol's liquidations.
const ALL_LIQUIDATIONS: &str = "!forceOrder@arr";

/// Client messages a second, beyond which the venue cuts (`exchanges.md` B).
const MESSAGES_PER_SECOND_MAX: u32 = 10;

/// Length of the window of which only the largest liquidation of a symbol is published (`exchanges.md` A.1).
const WINDOW_MS: i64 = 1000;

/// Funding is every eight hours.
const FUNDING_MS: i64 = 8 * 3600 * 1000;

pub(super) fn sockets() -> Router<Arc<Shared>> {
    Router::new()
        .route("/binance/market/stream", get(combined))
        .route("/binance/market/ws", get(raw))
        .route("/binance/market/ws/{*streams}", get(raw))
        .route("/binance/stream", get(retired))
        .route("/binance/ws", get(retired))
        .route("/binance/ws/{*streams}", get(retired))
}

#[derive(Deserialize)]
struct Streams {
    #[serde(default)]
    streams: String,
}

async fn combined(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Streams>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let session = BinanceSession::new(&shared, Form::Combined, &query.streams);
    socket::accept(shared, Exchange::Binance, upgrade, Box::new(session))
}

async fn raw(State(shared): State<Arc<Shared>>, streams: Option<Path<String>>, upgrade: WebSocketUpgrade) -> Response {
    let streams = streams.map(|Path(streams)| streams).unwrap_or_default();
    let session = BinanceSession::new(&shared, Form::Raw, &streams);
    socket::accept(shared, Exchange::Binance, upgrade, Box::new(session))
}

async fn retired(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let session = BinanceSession::new(&shared, Form::Retired, "");
    socket::accept(shared, Exchange::Binance, upgrade, Box::new(session))
}

/// Returns the symbols listed when no instruments file is given: no HYPE, and one perpetual margined in USDC.
pub(super) fn instruments() -> Instruments {
    let bases = ASSETS.iter().map(|asset| asset.base).filter(|base| *base != "HYPE");
    Instruments::new(bases.map(|base| row(base, "USDT")).chain([row("BTC", "USDC")]).collect(), "symbol")
}

fn row(base: &str, quote: &str) -> Value {
    json!({"symbol": format!("{base}{quote}"), "pair": format!("{base}{quote}"), "contractType": "PERPETUAL",
        "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "marginAsset": quote,
        "onboardDate": 1_569_398_400_000_i64, "deliveryDate": 4_133_404_800_000_i64})
}

/// Returns the listing of a recorded symbol (the key of its frames) that is a plain USDT or USDC name.
pub(super) fn plain_row(key: &str) -> Option<Value> {
    let symbol = key.to_uppercase();
    ["USDT", "USDC"].into_iter().find_map(|quote| Some(row(symbol.strip_suffix(quote)?, quote)))
}

/// Returns the rows of an `exchangeInfo` reply.
pub(super) fn instruments_of(reply: &Value) -> Option<Instruments> {
    Some(Instruments::new(reply["symbols"].as_array()?.clone(), "symbol"))
}

/// Returns what the venue publishes of the liquidations of one second, each with the market time it leaves at: the
/// largest of each symbol, when its window closes.
pub(super) fn publish(forced: &[Forced]) -> Vec<(i64, Published)> {
    let mut largest = BTreeMap::<(usize, bool), &Forced>::new();
    for one in forced.iter().filter(|one| one.venue == Exchange::Binance) {
        let held = largest.entry((one.asset, one.inverse)).or_insert(one);
        if one.usd > held.usd {
            *held = one;
        }
    }
    largest.into_values().map(frame).collect()
}

fn frame(one: &Forced) -> (i64, Published) {
    let asset = one.asset();
    // exchanges.md A.1: E − T is about 1007 ms.
    let sent_ms = one.at_ms + WINDOW_MS + one.at_ms.rem_euclid(13);
    let (symbol, pair, product, quantity, places) = if one.inverse {
        // A COIN-M contract of BTC is worth 100 USD; its quantities are whole contracts.
        (format!("{}USD_PERP", asset.base), format!("{}USD", asset.base), 2, one.usd / 100.0, 0)
    } else {
        let symbol = format!("{}USDT", asset.base);
        (symbol.clone(), symbol, 1, one.usd / one.mark, asset.quantity_places)
    };
    let step = 0.1_f64.powi(places as i32);
    let decimal = |value: f64| format!("{:.places$}", value.max(step));
    let price = |value: f64| format!("{:.places$}", value, places = asset.price_places);
    let side = match one.liquidated {
        Side::Long => "SELL",
        Side::Short => "BUY",
    };
    let text = json!({"e": "forceOrder", "E": sent_ms, "o": {
        "s": symbol, "S": side, "o": "LIMIT", "f": "IOC", "q": decimal(quantity), "p": price(one.beyond_mark(0.008)),
        "ap": price(one.mark), "X": "FILLED", "l": decimal(quantity / 3.0), "z": decimal(quantity), "T": one.at_ms,
        "ps": pair, "st": product,
    }});
    (sent_ms, Published { key: symbol.to_lowercase(), text: text.to_string().into() })
}

/// Reads a recorded line: a liquidation frame, raw or wrapped, one object or an array of one.
pub(super) fn recorded(text: &str, line: &Value) -> Option<Recorded> {
    let data = line.get("data").unwrap_or(line);
    let event = data.as_array().map_or(data, |events| &events[0]);
    let order = (event["e"] == "forceOrder").then(|| &event["o"])?;
    let event_ms = order["T"].as_i64()?;
    let key = order["s"].as_str()?.to_lowercase();
    let sent_ms = event["E"].as_i64().unwrap_or(event_ms);
    let text = if line.get("data").is_some() { data.to_string() } else { text.to_owned() };
    Some(Recorded { sent_ms, event_ms, published: Published { key, text: text.into() } })
}

/// How the streams of a connection are worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `/market/stream`: wrapped in `{"stream","data"}`.
    Combined,
    /// `/market/ws`: as they are.
    Raw,
    /// Without `/market`: subscriptions are acknowledged and nothing comes, since 2026-04-23.
    Retired,
}

struct BinanceSession {
    shared: Arc<Shared>,
    form: Form,
    liquidations: BTreeSet<String>,
    companions: Companions,
    second: i64,
    messages: u32,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    #[serde(default)]
    params: Vec<String>,
    id: Value,
}

impl BinanceSession {
    fn new(shared: &Arc<Shared>, form: Form, streams: &str) -> Self {
        let mut session = Self {
            shared: Arc::clone(shared),
            form,
            liquidations: BTreeSet::new(),
            companions: Companions::default(),
            second: 0,
            messages: 0,
        };
        let refused = shared.hub(Exchange::Binance).faults.borrow().refuse_topics.clone();
        for stream in streams.split('/').filter(|stream| !stream.is_empty() && !refused.iter().any(|one| one == stream))
        {
            session.subscribe(stream);
        }
        session
    }

    /// A stream that does not exist is taken too and stays silent (`exchanges.md` A.1).
    fn subscribe(&mut self, stream: &str) {
        if self.form == Form::Retired {
            return;
        }
        if stream == ALL_LIQUIDATIONS || stream.ends_with("@forceOrder") {
            self.liquidations.insert(stream.to_owned());
        } else {
            self.companions.add(stream);
        }
    }

    fn unsubscribe(&mut self, stream: &str) {
        self.liquidations.remove(stream);
        self.companions.remove(stream);
    }

    fn word(form: Form, stream: &str, data: &Utf8Bytes) -> Utf8Bytes {
        match form {
            Form::Combined => format!(r#"{{"stream":{},"data":{data}}}"#, Value::from(stream)).into(),
            Form::Raw | Form::Retired => data.clone(),
        }
    }

    fn mark(shared: &Shared, stream: &str, now_ms: i64) -> Option<Utf8Bytes> {
        let symbol = stream.strip_suffix("@markPrice@1s").or_else(|| stream.strip_suffix("@markPrice"))?;
        // exchanges.md A.1: a name in upper case is taken and stays silent.
        if symbol.chars().any(char::is_uppercase) {
            return None;
        }
        let symbol = symbol.to_uppercase();
        let price = mark_price(&shared.market, asset_of(shared, &symbol)?, now_ms);
        // `T` is the next funding, in the future.
        let funding_ms = next_funding_ms(now_ms);
        let frame = json!({"e": "markPriceUpdate", "E": now_ms, "s": symbol, "p": price, "ap": price, "P": price,
            "i": price, "r": "0.00008900", "T": funding_ms, "st": 1});
        Some(frame.to_string().into())
    }

    fn is_flood(&mut self) -> bool {
        let second = wall_ms().div_euclid(1000);
        if second != self.second {
            (self.second, self.messages) = (second, 0);
        }
        self.messages += 1;
        self.messages > MESSAGES_PER_SECOND_MAX
    }
}

/// Returns the index of the asset of a listed symbol.
fn asset_of(shared: &Shared, symbol: &str) -> Option<usize> {
    let is_quote = |rest: &str| matches!(rest, "USDT" | "USDC");
    let listed = shared.hub(Exchange::Binance).instruments.has(symbol);
    let asset = ASSETS.iter().position(|asset| symbol.strip_prefix(asset.base).is_some_and(is_quote));
    asset.filter(|_| listed)
}

/// Returns the open interest of one side at market time `at_ms` as the venue words it: coins.
pub(super) fn coins(market: &Market, asset: usize, at_ms: i64) -> String {
    format!("{:.*}", ASSETS[asset].quantity_places, market.open_interest(Exchange::Binance, asset, at_ms))
}

/// Returns the mark price at market time `at_ms` as the venue words it.
pub(super) fn mark_price(market: &Market, asset: usize, at_ms: i64) -> String {
    format!("{:.8}", market.price(asset, at_ms))
}

const fn next_funding_ms(now_ms: i64) -> i64 {
    (now_ms.div_euclid(FUNDING_MS) + 1) * FUNDING_MS
}

impl Session for BinanceSession {
    fn handle_text(&mut self, text: &str, faults: &Faults) -> Vec<Reply> {
        if self.is_flood() {
            return vec![Reply::Cut];
        }
        let request = match serde_json::from_str::<Request>(text) {
            Ok(request) => request,
            Err(error) => {
                let reply = json!({"error": {"code": 3, "msg": format!("Invalid JSON: {error}")}});
                return vec![Reply::Text(reply.to_string())];
            }
        };
        let id = &request.id;
        if let Some(refused) = request.params.iter().find(|param| faults.refuse_topics.contains(param)) {
            let msg = format!("Invalid request: stream {refused} not found");
            return vec![Reply::Text(json!({"error": {"code": 2, "msg": msg}, "id": id}).to_string())];
        }
        let reply = match request.method.as_str() {
            "SUBSCRIBE" => {
                request.params.iter().for_each(|stream| self.subscribe(stream));
                json!({"result": null, "id": id})
            }
            "UNSUBSCRIBE" => {
                request.params.iter().for_each(|stream| self.unsubscribe(stream));
                json!({"result": null, "id": id})
            }
            method => {
                json!({"error": {"code": 2, "msg": format!("Invalid request: unknown method {method}")}, "id": id})
            }
        };
        vec![Reply::Text(reply.to_string())]
    }

    fn handle_liquidations(&mut self, frame: &Published) -> Vec<Utf8Bytes> {
        let selects =
            |stream: &str| stream == ALL_LIQUIDATIONS || stream.strip_suffix("@forceOrder") == Some(frame.key.as_str());
        self.liquidations
            .iter()
            .filter(|stream| selects(stream))
            .map(|stream| Self::word(self.form, stream, &frame.text))
            .collect()
    }

    fn handle_tick(&mut self, now_ms: i64) -> Vec<Utf8Bytes> {
        let interval_ms = |stream: &str| if stream.ends_with("@1s") { 1000 } else { 3000 };
        let (form, shared) = (self.form, &self.shared);
        self.companions
            .due(now_ms, interval_ms)
            .into_iter()
            .filter_map(|stream| Some(Self::word(form, stream, &Self::mark(shared, stream, now_ms)?)))
            .collect()
    }

    fn liquidation_topics(&self) -> usize {
        self.liquidations.len()
    }

    fn keepalive(&self) -> Keepalive {
        let timing = &self.shared.timing;
        Keepalive::Ping { every: timing.binance_ping, pong_within: timing.binance_pong_within }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::market::Market, *};

    fn forced(asset: usize, usd: f64, inverse: bool, at_ms: i64) -> Forced {
        Forced { venue: Exchange::Binance, asset, inverse, liquidated: Side::Long, usd, mark: 80_000.0, at_ms }
    }

    #[test]
    fn only_the_largest_of_a_symbol_and_second_is_published_when_the_window_closes() {
        let published =
            publish(&[forced(0, 100.0, false, 1), forced(0, 40_000.0, false, 500), forced(0, 900.0, false, 700)]);
        assert_eq!(published.len(), 1);
        let (sent_ms, frame) = &published[0];
        let value: Value = serde_json::from_str(&frame.text).unwrap();
        assert_eq!((value["E"].as_i64(), value["o"]["T"].as_i64()), (Some(*sent_ms), Some(500)));
        assert!((1500..1520).contains(sent_ms));
        assert_eq!(
            (&value["o"]["S"], &value["o"]["z"], &value["o"]["ap"]),
            (&json!("SELL"), &json!("0.500"), &json!("80000.0"))
        );
    }

    #[test]
    fn a_coin_margined_liquidation_counts_contracts() {
        let published = publish(&[forced(0, 230_400.0, true, 1)]);
        let value: Value = serde_json::from_str(&published[0].1.text).unwrap();
        assert_eq!(
            (&value["o"]["s"], &value["o"]["z"], &value["o"]["st"]),
            (&json!("BTCUSD_PERP"), &json!("2304"), &json!(2))
        );
    }

    #[test]
    fn the_seeded_market_holds_some_coin_margined_ones() {
        let market = Market::new(1, None);
        let keys: BTreeSet<_> =
            (0..3600).flat_map(|n| publish(&market.second(n))).map(|(_, published)| published.key).collect();
        assert!(keys.contains("btcusd_perp") && keys.contains("btcusdt"), "{keys:?}");
    }

    #[test]
    fn recorded_frames_may_be_raw_or_wrapped() {
        let raw = json!({"e": "forceOrder", "E": 2001, "o": {"s": "BTCUSDT", "T": 1000}});
        let wrapped = json!({"stream": "!forceOrder@arr", "data": raw});
        let want = Recorded {
            sent_ms: 2001,
            event_ms: 1000,
            published: Published { key: "btcusdt".into(), text: raw.to_string().into() },
        };
        assert_eq!(recorded(&raw.to_string(), &raw), Some(want.clone()));
        assert_eq!(recorded(&wrapped.to_string(), &wrapped), Some(want));
        assert_eq!(recorded("", &json!({"result": null, "id": 1})), None);
    }
}
