//! The simulator over real loopback sockets.

use std::{collections::BTreeMap, io::Write, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};
use tokio_util::sync::CancellationToken;

use super::{clock::wall_ms, *};

mod bot;
mod faults;
mod interest;
mod market_data;
mod playback;
mod protocol;
mod scenarios;

/// How long something that must happen may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long something that must not happen is waited for.
const GLANCE: Duration = Duration::from_millis(300);

async fn simulator(source: Source, timing: Timing) -> (Simulator, CancellationToken) {
    let shutdown = CancellationToken::new();
    let config = Config { listen: LOOPBACK, source, timing, faults: BTreeMap::new() };
    (start(config, shutdown.clone()).await.unwrap(), shutdown)
}

/// A seeded market without storms.
async fn quiet() -> (Simulator, CancellationToken) {
    simulator(
        Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        Timing::default(),
    )
    .await
}

/// Stops a simulator and shows that everything it started ends.
async fn stop(simulator: Simulator, shutdown: CancellationToken) {
    shutdown.cancel();
    timeout(PATIENCE, simulator.join()).await.expect("it ends").unwrap();
}

/// A client as any exchange's client is.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Self {
        Self(connect_async(url).await.unwrap().0)
    }

    async fn okx(simulator: &Simulator) -> Self {
        let mut client = Self::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
        client
            .send(&json!({"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"},
                {"channel": "mark-price", "instId": "BTC-USDT-SWAP"}]}))
            .await;
        for _ in 0..2 {
            assert_eq!(client.json().await["event"], "subscribe");
        }
        client
    }

    async fn bybit(simulator: &Simulator) -> Self {
        let mut client = Self::connect(&format!("{}/v5/public/linear", simulator.ws_url(Exchange::Bybit))).await;
        client.send(&json!({"op": "subscribe", "args": ["tickers.BTCUSDT"]})).await;
        assert_eq!(client.json().await["success"], true);
        client
    }

    async fn send(&mut self, value: &Value) {
        self.send_text(&value.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.0.next()).await.expect("something comes")
    }

    /// Returns the next text.
    async fn text(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.message().await.expect("the socket is open").unwrap() {
                return text.to_string();
            }
        }
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Returns whether a text comes within a glance.
    async fn is_silent(&mut self) -> bool {
        timeout(GLANCE, self.text()).await.is_err()
    }

    /// Returns when the server has ended the connection, passing over what came before.
    async fn ended(&mut self) {
        while let Some(Ok(message)) = self.message().await {
            if message.is_close() {
                return;
            }
        }
    }
}

fn http() -> reqwest::Client {
    // A second installation is refused, which changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn get(url: &str) -> Value {
    http().get(url).send().await.unwrap().json().await.unwrap()
}

/// Writes frames as a recording.
fn recording(frames: &[Value]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for frame in frames {
        writeln!(file, "{frame}").unwrap();
    }
    file
}

/// Returns OKX frames with one liquidation each, `step_ms` apart, told apart by `sz`.
fn okx_frames(count: i64, step_ms: i64) -> Vec<Value> {
    let frame = |number: i64| {
        json!({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [{
            "details": [{"bkPx": "100", "posSide": "long", "side": "sell", "sz": number.to_string(),
                "ts": (1_772_622_793_984 + number * step_ms).to_string()}],
            "instFamily": "BTC-USDT", "instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT"}]})
    };
    (0..count).map(frame).collect()
}

fn okx_source(file: &tempfile::NamedTempFile, speed: Speed, wait_subscribers: usize) -> Source {
    Source::Recording { venue: Exchange::Okx, file: file.path().to_owned(), instruments: None, speed, wait_subscribers }
}

/// Returns the number of an [`okx_frames`] frame; none for companions.
fn number(frame: &Value) -> Option<i64> {
    frame["data"][0]["details"][0]["sz"].as_str()?.parse::<f64>().ok().map(|number| number as i64)
}
