//! OKX v5: channels with acknowledgements and refusals, the text ping, the idle cut, and the history of liquidations.

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
use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::{
    fault::Faults,
    hub::{Instruments, Published, Shared},
    market::{ASSETS, Asset, Forced},
    recording::Recorded,
    session::{Companions, Keepalive, Reply, Session},
    socket,
};

mod history;
mod interest;
mod rest;

pub(super) use history::History;
pub(super) use interest::{Contract, Interest, mark_price};
pub(super) use rest::rest;

const LIQUIDATIONS: &str = "liquidation-orders";

/// How often open interest is sent (`exchanges.md` C.1), and a mark price, which is the quicker of the two.
const OPEN_INTEREST_MS: i64 = 3000;
const MARK_PRICE_MS: i64 = 1000;

pub(super) fn sockets() -> Router<Arc<Shared>> {
    Router::new().route("/okx/ws/v5/public", get(public))
}

async fn public(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let session = OkxSession::new(&shared);
    socket::accept(shared, Exchange::Okx, upgrade, Box::new(session))
}

/// Returns the swaps listed when no instruments file is given: linear ones of the assets with a known contract, and the
/// inverse one of BTC.
pub(super) fn instruments() -> Instruments {
    let row = |family: &str, value: &str, value_currency: &str, kind: &str, settle: &str| {
        json!({"instType": "SWAP", "instId": format!("{family}-SWAP"), "instFamily": family, "uly": family,
            "ctVal": value, "ctMult": "1", "ctValCcy": value_currency, "ctType": kind, "settleCcy": settle,
            "baseCcy": "", "quoteCcy": "", "state": "live", "expTime": "", "lever": "100"})
    };
    let linear = |asset: &Asset| {
        let value = asset.okx_contract?.to_string();
        Some(row(&format!("{}-USDT", asset.base), &value, asset.base, "linear", "USDT"))
    };
    let inverse = row("BTC-USD", "100", "USD", "inverse", "BTC");
    Instruments::new(ASSETS.iter().filter_map(linear).chain([inverse]).collect(), "instId")
}

/// Returns the rows of an `instruments` reply.
pub(super) fn instruments_of(reply: &Value) -> Option<Instruments> {
    Some(Instruments::new(reply["data"].as_array()?.clone(), "instId"))
}

/// Returns what the venue publishes of the liquidations of one second, each with the market time it leaves at.
pub(super) fn publish(forced: &[Forced]) -> Vec<(i64, Published)> {
    forced.iter().filter(|one| one.venue == Exchange::Okx).map(frame).collect()
}

fn frame(one: &Forced) -> (i64, Published) {
    let asset = one.asset();
    let family = format!("{}-USDT", asset.base);
    // exchanges.md A.3: the published price is the bankruptcy price.
    let price = one.beyond_mark(0.006);
    let contracts = (one.usd / price / asset.okx_contract.unwrap_or(1.0)).max(0.01);
    let (position, order) = match one.liquidated {
        Side::Long => ("long", "sell"),
        Side::Short => ("short", "buy"),
    };
    let text = json!({"arg": {"channel": LIQUIDATIONS, "instType": "SWAP"}, "data": [{
        "details": [{"bkLoss": "0", "bkPx": format!("{price:.*}", asset.price_places), "ccy": "", "posSide": position,
            "side": order, "sz": format!("{contracts:.2}"), "ts": one.at_ms.to_string()}],
        "instFamily": family, "instId": format!("{family}-SWAP"), "instType": "SWAP", "uly": family,
    }]});
    (one.at_ms + 20 + one.at_ms.rem_euclid(180), Published { key: "SWAP".to_owned(), text: text.to_string().into() })
}

/// Reads a recorded line: a frame of `liquidation-orders`.
pub(super) fn recorded(text: &str, line: &Value) -> Option<Recorded> {
    let arg = (line["arg"]["channel"] == LIQUIDATIONS).then(|| &line["arg"])?;
    let key = arg["instType"].as_str()?.to_owned();
    let times = || {
        let details = line["data"].as_array().into_iter().flatten().flat_map(|row| row["details"].as_array());
        details.flatten().filter_map(|detail| detail["ts"].as_str()?.parse::<i64>().ok())
    };
    let published = Published { key, text: text.into() };
    Some(Recorded { sent_ms: times().max()?, event_ms: times().min()?, published })
}

struct OkxSession {
    shared: Arc<Shared>,
    connection: String,
    liquidations: BTreeSet<String>,
    /// `channel:instId`.
    companions: Companions,
    /// Which time the open interest last sent was of, by topic, in milliseconds: it is sent when it changed.
    told: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Option<String>,
    op: String,
    args: Vec<Arg>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    channel: String,
    #[serde(default)]
    inst_type: Option<String>,
    #[serde(default)]
    inst_id: Option<String>,
}

impl OkxSession {
    fn new(shared: &Arc<Shared>) -> Self {
        let number = shared.hub(Exchange::Okx).sockets.borrow().opened;
        Self {
            shared: Arc::clone(shared),
            connection: format!("{number:08x}"),
            liquidations: BTreeSet::new(),
            companions: Companions::default(),
            told: BTreeMap::new(),
        }
    }

    /// Carries out one argument and returns the `arg` of its acknowledgement: what is really subscribed.
    fn take(&mut self, op: &str, arg: &Arg, faults: &Faults) -> Option<Value> {
        if faults.refuse_topics.contains(&arg.channel) {
            return None;
        }
        match (arg.channel.as_str(), arg.inst_type.as_deref(), arg.inst_id.as_deref()) {
            // exchanges.md A.3: instId beside instType is dropped in silence.
            (LIQUIDATIONS, Some(kind @ ("SWAP" | "FUTURES" | "MARGIN" | "OPTION")), _) => {
                if op == "subscribe" {
                    self.liquidations.insert(kind.to_owned());
                } else {
                    self.liquidations.remove(kind);
                }
                Some(json!({"channel": LIQUIDATIONS, "instType": kind}))
            }
            (channel @ ("open-interest" | "mark-price"), _, Some(instrument)) => {
                if !self.shared.hub(Exchange::Okx).instruments.has(instrument) {
                    return None;
                }
                let topic = format!("{channel}:{instrument}");
                if op == "subscribe" {
                    self.companions.add(&topic);
                } else {
                    self.companions.remove(&topic);
                    self.told.remove(&topic);
                }
                Some(json!({"channel": channel, "instId": instrument}))
            }
            _ => None,
        }
    }

    fn refuse(&self, request: &Request, arg: &Arg) -> Value {
        let parts =
            [("channel", Some(&arg.channel)), ("instType", arg.inst_type.as_ref()), ("instId", arg.inst_id.as_ref())];
        let named: Vec<_> = parts.iter().filter_map(|(name, value)| Some(format!("{name}:{}", (*value)?))).collect();
        let msg = format!(
            "Wrong URL or {} doesn't exist. Please use the correct URL, channel and parameters referring to API document.",
            named.join(",")
        );
        self.answer(request.id.as_deref(), json!({"event": "error", "msg": msg, "code": "60018"}))
    }

    fn answer(&self, id: Option<&str>, mut reply: Value) -> Value {
        reply["connId"] = json!(self.connection);
        if let Some(id) = id {
            reply["id"] = json!(id);
        }
        reply
    }
}

impl Session for OkxSession {
    fn handle_text(&mut self, text: &str, faults: &Faults) -> Vec<Reply> {
        if text == "ping" {
            return vec![Reply::Text("pong".to_owned())];
        }
        let request = match serde_json::from_str::<Request>(text) {
            Ok(request) if matches!(request.op.as_str(), "subscribe" | "unsubscribe") => request,
            Ok(_) | Err(_) => {
                let msg = format!("Invalid request: {text}");
                let reply = self.answer(None, json!({"event": "error", "msg": msg, "code": "60012"}));
                return vec![Reply::Text(reply.to_string())];
            }
        };
        let mut replies = Vec::new();
        for arg in &request.args {
            let reply = match self.take(&request.op, arg, faults) {
                Some(taken) => self.answer(request.id.as_deref(), json!({"event": request.op, "arg": taken})),
                None => self.refuse(&request, arg),
            };
            replies.push(Reply::Text(reply.to_string()));
        }
        replies
    }

    fn handle_liquidations(&mut self, frame: &Published) -> Vec<Utf8Bytes> {
        self.liquidations.contains(&frame.key).then(|| frame.text.clone()).into_iter().collect()
    }

    fn handle_tick(&mut self, now_ms: i64) -> Vec<Utf8Bytes> {
        let interval_ms = |topic: &str| if topic.starts_with("mark-price") { MARK_PRICE_MS } else { OPEN_INTEREST_MS };
        let shared = &self.shared;
        let mut frames = Vec::new();
        for topic in self.companions.due(now_ms, interval_ms) {
            let Some((channel, instrument)) = topic.split_once(':') else { continue };
            let row = if channel == "mark-price" {
                interest::mark_row(shared, instrument, now_ms)
            } else {
                let interest_ms = shared.interest_ms(Exchange::Okx, now_ms);
                if self.told.insert(topic.to_owned(), interest_ms) == Some(interest_ms) {
                    continue;
                }
                interest::row(shared, instrument, interest_ms)
            };
            if let Some(row) = row {
                let arg = json!({"channel": channel, "instId": instrument});
                frames.push(json!({"arg": arg, "data": [row]}).to_string().into());
            }
        }
        frames
    }

    fn liquidation_topics(&self) -> usize {
        self.liquidations.len()
    }

    fn keepalive(&self) -> Keepalive {
        Keepalive::Traffic { after: self.shared.timing.okx_idle }
    }

    fn notice(&self) -> Option<String> {
        let msg = "The connection will soon be closed for a service upgrade. Please reconnect.";
        Some(self.answer(None, json!({"event": "notice", "code": "64008", "msg": msg})).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_values_are_those_of_the_recorded_instruments() {
        let instruments = instruments();
        let values: Vec<_> = instruments
            .rows()
            .iter()
            .map(|row| [&row["instId"], &row["ctVal"], &row["ctType"]].map(|field| field.as_str().unwrap()))
            .collect();
        assert_eq!(
            values,
            [
                ["BTC-USDT-SWAP", "0.01", "linear"],
                ["ETH-USDT-SWAP", "0.1", "linear"],
                ["SOL-USDT-SWAP", "1", "linear"],
                ["DOGE-USDT-SWAP", "1000", "linear"],
                ["BTC-USD-SWAP", "100", "inverse"],
            ]
        );
    }

    #[test]
    fn a_liquidation_counts_contracts_at_the_bankruptcy_price() {
        let one = Forced {
            venue: Exchange::Okx,
            asset: 0,
            inverse: false,
            liquidated: Side::Short,
            usd: 10_060.0,
            mark: 100_000.0,
            at_ms: 1000,
        };
        let (sent_ms, published) = frame(&one);
        let value: Value = serde_json::from_str(&published.text).unwrap();
        let detail = &value["data"][0]["details"][0];
        assert!((1020..1200).contains(&sent_ms));
        assert_eq!(
            (&detail["bkPx"], &detail["sz"], &detail["posSide"], &detail["side"], &detail["ts"]),
            (&json!("100600.0"), &json!("10.00"), &json!("short"), &json!("buy"), &json!("1000"))
        );
    }

    #[test]
    fn a_recorded_frame_leaves_at_its_newest_time() {
        let line = json!({"arg": {"channel": "liquidation-orders", "instType": "SWAP"},
            "data": [{"details": [{"ts": "5"}, {"ts": "9"}]}, {"details": [{"ts": "7"}]}]});
        let recorded = recorded(&line.to_string(), &line).unwrap();
        assert_eq!((recorded.sent_ms, recorded.event_ms), (9, 5));
    }
}
