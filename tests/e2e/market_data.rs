//! The existing market-data service as the source of open interest, beside the venues' own liquidations.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foreshock::simulate::{self, Control, MarketData, Simulator, Source, Speed, Storms, Timing, Upstream};
use ingest::{account::Account, exchange::Exchange};
use nats::{Bus, Cursor, Market, Register};
use schemas::{
    market::{MarketEvent, OpenInterest},
    position::Sequence,
    subject::Stream,
    time::ReceivedAt,
    wire,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{Nats, Service, env, eventually, run};

/// How often the service is asked for each of two bases, in milliseconds (exchanges.md C.6).
const SLOT_MS: i64 = 1_200_000;

/// What the test needs of one slot, in milliseconds: in the next the service is rightly asked again.
const ROOM_MS: i64 = 120_000;

/// A storm in every five seconds, so that liquidations are there soon.
const STORMS: Storms = Storms { every: Duration::from_secs(5), strength: 1.0 };

struct World {
    nats: Nats,
    simulator: Simulator,
    control: Control,
    bus: Bus,
    env: BTreeMap<String, String>,
    folder: TempDir,
}

impl World {
    /// Nothing where nats-server is missing.
    async fn start() -> Option<Self> {
        let nats = Nats::start()?;
        let source = Source::Seed {
            seed: 7,
            storms: Some(STORMS),
            scenario: None,
            speed: Speed::Times(1.0),
            wait_subscribers: 0,
        };
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
        let bus = nats.bus("", Market::Live).await;
        bus.apply_topology().await.unwrap();
        let mut env = env([
            ("NATS_URL", nats.url()),
            ("FORESHOCK_OI_SOURCE", "market-data".to_owned()),
            ("FORESHOCK_OI_BASES", "BTC,ETH".to_owned()),
            ("MARKET_DATA_URL", simulator.market_data_url()),
        ]);
        for venue in Exchange::ALL {
            let name = venue.as_str().to_uppercase();
            env.insert(format!("FORESHOCK_{name}_WS_URL"), simulator.ws_url(venue));
            env.insert(format!("FORESHOCK_{name}_REST_URL"), simulator.http_url(venue));
        }
        // What is heard is stored once there are rules.
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.toml");
        std::fs::write(&rules, detect::rules::SHIPPED).unwrap();
        let (code, _, err) = run(&["rules", "set", rules.to_str().unwrap()], &env);
        assert_eq!(code, 0, "{err}");
        let control = simulator.control();
        Some(Self { nats, simulator, control, bus, env, folder })
    }

    /// Lets these exchanges fail for the service; requests take no time.
    fn fail<const N: usize>(&self, failed: [Upstream; N]) {
        let upstream_ms = Upstream::ALL.map(|upstream| (upstream, 0)).into();
        self.control.set_market_data(MarketData { upstream_ms, failed: failed.into(), ..MarketData::default() });
    }

    fn calls(&self) -> u64 {
        self.control.state().market_data.calls.get("multi_oi").copied().unwrap_or_default()
    }

    /// Every event in MARKET, with its subject.
    async fn market(&self) -> Vec<(String, MarketEvent)> {
        let mut cursor = Cursor::open(&self.bus, Stream::Market, Sequence::new(1), None).await.unwrap();
        let mut events = Vec::new();
        while let Some(record) = cursor.next_pending().await.unwrap() {
            events.push((record.subject.to_string(), wire::decode(&record.payload).unwrap()));
        }
        events
    }

    async fn samples(&self) -> Vec<(String, OpenInterest)> {
        let samples = self.market().await.into_iter().filter_map(|(subject, event)| match event {
            MarketEvent::OpenInterest(sample) => Some((subject, sample)),
            MarketEvent::Liquidation(_) | MarketEvent::Feed(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => None,
        });
        samples.collect()
    }

    async fn subjects(&self) -> BTreeSet<String> {
        self.samples().await.into_iter().map(|(subject, _)| subject).collect()
    }

    /// What ingest says of an exchange of the service; null while it does not answer.
    async fn status(&self, exchange: &str) -> Value {
        let services = self.bus.collect_status(&["ingest"], Duration::from_millis(300)).await.unwrap();
        let status = services.into_iter().next_back().map_or(Value::Null, |service| service.status);
        status["state"]["venues"][format!("ext-{exchange}")]["open_interest"].clone()
    }

    fn account(&self, name: &str) -> Register {
        Register::new(&self.bus, "requests", name)
    }

    async fn spent(&self, name: &str) -> u64 {
        let value = self.account(name).load().await.unwrap().value;
        let account: Account = value.map(|value| serde_json::from_slice(&value).unwrap()).unwrap_or_default();
        account.spent(ReceivedAt::from_millis(now_ms())).into()
    }

    /// Makes the calls of this slot forgotten, so that the next process asks again in it.
    async fn forget_calls(&self) {
        let calls = self.account("market-data");
        let revision = calls.load().await.unwrap().revision;
        calls.replace(revision, serde_json::to_vec(&Account::default()).unwrap().into()).await.unwrap();
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The subjects of samples of these exchanges.
fn subjects(of: &[(&str, &[&str])]) -> BTreeSet<String> {
    let subject = |(exchange, bases): &(&str, &[&str])| -> Vec<_> {
        bases.iter().map(|base| format!("market.oi.ext-{exchange}.{base}")).collect()
    };
    of.iter().flat_map(subject).collect()
}

async fn figure(url: String, path: &str) -> f64 {
    // A second installation is refused, which changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    answer.pointer(path).unwrap().as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_market_data_service_is_asked_at_once_and_once_a_slot_and_its_figures_are_venues_of_their_own() {
    let left = SLOT_MS - now_ms().rem_euclid(SLOT_MS);
    if left < ROOM_MS {
        tokio::time::sleep(Duration::from_millis(left.unsigned_abs() + 1)).await;
    }
    let Some(world) = World::start().await else { return };
    let slot = now_ms().div_euclid(SLOT_MS);

    // Without Hyperliquid it answers 200 with `success: false`: asked for both bases right after the start.
    world.fail([Upstream::Hyperliquid]);
    let mut ingest = Service::start("ingest", &world.env, &world.folder.path().join("ingest.log"));
    let failed = "the market-data service failed: 'NoneType' object has no attribute 'validation_passed'";
    eventually("a failure is shown", async || world.calls() >= 2 && world.status("okx").await["last_error"] == *failed)
        .await;
    assert_eq!(ingest.log().matches("the market-data service failed").count(), 1, "said once");
    assert_eq!(world.subjects().await, BTreeSet::new());
    eventually("every exchange is charged what the service asks it", async || {
        let (calls, state) = (world.calls(), world.control.state());
        let mut charged = Vec::new();
        for upstream in Upstream::ALL {
            let direct = Exchange::ALL.into_iter().find(|venue| venue.as_str() == upstream.as_str());
            let own: u64 = direct.map_or(0, |venue| state.venues[&venue].rest_requests.values().sum());
            let through = world.spent(upstream.as_str()).await.saturating_sub(own);
            charged.push(through == calls * upstream.requests());
        }
        charged == [true; 6] && world.spent("market-data").await == calls
    })
    .await;

    // A restart does not ask again in the slot: seen at the end, by the number of calls.
    let before = world.calls();
    ingest.kill_and_restart();
    eventually("the new process has the turn and knows what was asked", async || {
        let status = world.status("hyperliquid").await;
        status["has_turn"] == true && status["requests_hour"] == before
    })
    .await;

    // Bybit is gone for the service.
    world.fail([Upstream::Bybit]);
    world.forget_calls().await;
    ingest.kill_and_restart();
    let both: &[&str] = &["BTC", "ETH"];
    let without_bybit = [("binance", both), ("okx", both), ("bitget", both), ("gateio", &["BTC"])];
    eventually("the others are there", async || world.subjects().await == subjects(&without_bybit)).await;
    let missing = "the market-data service (ext-bybit) gives no open interest of ETH (missing)";
    eventually("Bybit is missed", async || world.status("bybit").await["last_error"] == *missing).await;
    assert_eq!(world.status("gateio").await["refused"]["unknown_unit"], 1);

    // And comes back.
    world.fail([]);
    world.forget_calls().await;
    ingest.kill_and_restart();
    let with_bybit = [&without_bybit[..], &[("bybit", both)]].concat();
    eventually("Bybit is there", async || world.subjects().await == subjects(&with_bybit)).await;

    let bybit =
        format!("{}/v5/market/tickers?category=linear&symbol=BTCUSDT", world.simulator.http_url(Exchange::Bybit));
    let binance = format!("{}/fapi/v1/openInterest?symbol=BTCUSDT", world.simulator.http_url(Exchange::Binance));
    let truth = [
        ("market.oi.ext-binance.BTC", figure(binance, "/openInterest").await),
        ("market.oi.ext-bybit.BTC", figure(bybit, "/result/list/0/openInterest").await / 2.0),
    ];
    for (subject, truth) in truth {
        let (_, sample) = world.samples().await.into_iter().rfind(|(of, _)| of == subject).unwrap();
        let coins: f64 = sample.coins.value().to_string().parse().unwrap();
        assert!((coins / truth - 1.0).abs() < 0.05, "{subject}: {coins}, in truth {truth}");
        assert_eq!((i64::from(sample.interval_ms), sample.contracts), (SLOT_MS, sample.coins));
    }
    eventually("liquidations are heard beside", async || {
        world.market().await.iter().any(|(_, event)| matches!(event, MarketEvent::Liquidation(_)))
    })
    .await;
    // The three forced to ask did so for two bases each, and the restart between them for none.
    if now_ms().div_euclid(SLOT_MS) == slot {
        assert_eq!(world.calls(), 6);
    }
    drop(ingest);
    drop(world.nats);
}
