//! Open interest from the venues' own endpoints to the chat: what each scenario must give and nothing else, whatever is
//! killed meanwhile, and what the venues are asked for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foreshock::simulate::{self, Control, Faults, Refusal, Scenario, Simulator, Source, Speed, Timing};
use futures_util::{SinkExt, StreamExt, future::join_all};
use ingest::{account::Account, exchange::Exchange};
use nats::{Bus, Cursor, Market, Register};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rust_decimal::Decimal;
use schemas::{
    alert::{Direction, Finding, OiExplosion, Phase},
    market::{MarketEvent, OpenInterest},
    name::{Instrument, Venue},
    position::Sequence,
    subject::Stream,
    time::ReceivedAt,
    wire,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::{decisions, unfinished},
    support::{CHAT, Nats, Service, TOKEN, alerts, env, eventually, json_lines, ledger, machine, run, settled},
};

/// A scenario's 36 minutes take 72 s. A slot is 2 s at least, so a machine may be late by that.
const SPEED: f64 = 30.0;

/// At this speed a turn passes to another process (10 s) within two slots of Binance, so that none goes stale for it.
const SPEED_OF_KILLS: f64 = 20.0;

/// Market time since the start after which no scenario can give another alert: the rise began at minute 20, and one
/// window of 15 minutes later it is its own baseline.
const END_MS: i64 = 36 * MINUTE_MS;
const MINUTE_MS: i64 = 60_000;

/// The shipped `change_pct` of BTC.
const CHANGE_PCT: i64 = 15;

/// A simulated market and everything around the services, under a prefix of its own.
struct World {
    simulator: Simulator,
    control: Control,
    bus: Bus,
    env: BTreeMap<String, String>,
    logs: TempDir,
    end: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl World {
    async fn start(nats: &Nats, prefix: &str, market: Market, source: Source) -> Self {
        let end = CancellationToken::new();
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let simulator = simulate::start(config, end.clone()).await.unwrap();
        let bus = nats.bus(prefix, market).await;
        let market = match market {
            Market::Live => "live",
            Market::Recorded => "recorded",
        };
        let mut env = env([
            ("NATS_URL", nats.url()),
            ("FORESHOCK_PREFIX", prefix.to_owned()),
            ("FORESHOCK_MARKET", market.to_owned()),
            ("FORESHOCK_TELEGRAM_API_URL", simulator.telegram_url()),
            ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
            ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
            // A liquidation told within a minute of the explosion would hold it (design 5, rule 7).
            ("ENABLE_LIQUIDATION_ALERTS", "false".to_owned()),
        ]);
        for venue in Exchange::ALL {
            let name = venue.as_str().to_uppercase();
            env.insert(format!("FORESHOCK_{name}_WS_URL"), simulator.ws_url(venue));
            env.insert(format!("FORESHOCK_{name}_REST_URL"), simulator.http_url(venue));
        }
        let (control, logs) = (simulator.control(), tempfile::tempdir().unwrap());
        Self { simulator, control, bus, env, logs, end }
    }

    /// A scenario whose clock waits for `ingests` and for [`World::begin`].
    async fn waiting(nats: &Nats, scenario: Scenario, speed: f64, ingests: usize, seed: u64) -> Self {
        let (speed, wait_subscribers) = (Speed::Times(speed), ingests + 1);
        let source = Source::Seed { seed, storms: None, scenario: Some(scenario), speed, wait_subscribers };
        let prefix = serde_json::to_value(scenario).unwrap();
        Self::start(nats, prefix.as_str().unwrap(), Market::Recorded, source).await
    }

    fn service(&self, role: &str, name: &str) -> Service {
        let mut env = self.env.clone();
        env.insert("FORESHOCK_INSTANCE".to_owned(), name.to_owned());
        Service::start(role, &env, &self.logs.path().join(format!("{role}-{name}.log")))
    }

    /// Starts the clock once `ingests` hear the open interest of every venue and one of them has Binance's turn.
    async fn begin(&self, ingests: usize) {
        eventually("every ingest hears the open interest of every venue", async || {
            let status = self.interest().await;
            let hears = |venues: &BTreeMap<String, Value>| {
                let samples = |venue: &str| venues[venue]["newest"].as_object().map_or(0, serde_json::Map::len);
                samples("bybit") == 3 && samples("okx") == 3 && venues["binance"]["heard_at"].is_number()
            };
            status.len() == ingests
                && status.values().all(hears)
                && status.values().any(|venues| venues["binance"]["has_turn"] == true)
        })
        .await;
        // The last subscribers the clock waits for; it does not ask that they stay.
        for (venue, path, order) in [
            (Exchange::Binance, "/market/ws/!forceOrder@arr", None),
            (
                Exchange::Bybit,
                "/v5/public/linear",
                Some(json!({"op": "subscribe", "args": ["allLiquidation.BTCUSDT"]})),
            ),
            (
                Exchange::Okx,
                "/ws/v5/public",
                Some(json!({"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"}]})),
            ),
        ] {
            let (mut socket, _) = connect_async(format!("{}{path}", self.simulator.ws_url(venue))).await.unwrap();
            if let Some(order) = order {
                socket.send(Message::text(order.to_string())).await.unwrap();
            }
            tokio::spawn(async move {
                // Read until the venue ends it, as any subscriber does.
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
        eventually("the scenario begins", async || self.elapsed_ms() >= 0).await;
    }

    fn elapsed_ms(&self) -> i64 {
        self.control.state().scenario.unwrap().elapsed_ms
    }

    /// The status of open interest of every ingest, by instance and venue.
    async fn interest(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        let services = self.bus.collect_status(&["ingest"], Duration::from_secs(1)).await.unwrap_or_default();
        services
            .into_iter()
            .map(|service| {
                let venue = |venue: Exchange| {
                    let status = service.status["state"]["venues"][venue.as_str()]["open_interest"].clone();
                    (venue.as_str().to_owned(), status)
                };
                let instance = service.status["instance"].as_str().unwrap_or_default().to_owned();
                (instance, Exchange::ALL.map(venue).into())
            })
            .collect()
    }

    /// Waits for a market time, which comes by itself.
    async fn reach(&self, elapsed_ms: i64) {
        while self.elapsed_ms() < elapsed_ms {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a venue time after `elapsed_ms` was sampled on every venue, and all that follows is decided and sent.
    async fn drained(&self, elapsed_ms: i64) {
        let state = self.control.state();
        let end_ms = state.market_ms - state.scenario.unwrap().elapsed_ms + elapsed_ms;
        eventually("every venue is sampled past the end", async || {
            let samples = self.samples().await;
            let late = samples.iter().filter(|sample| sample.event_time.as_millis() >= end_ms);
            late.map(|sample| &sample.venue).collect::<BTreeSet<_>>().len() == 3
        })
        .await;
        self.detected(self.bus.stream_state(Stream::Market).await.unwrap().last.get()).await;
        let count = alerts(&self.bus).await.len();
        eventually("every alert is decided", async || decisions(&ledger(&self.bus).await).len() >= count).await;
        eventually("every delivery has ended", async || unfinished(&ledger(&self.bus).await) == 0).await;
    }

    /// Waits until a detector has read MARKET up to `last` and stored what came of it.
    async fn detected(&self, last: u64) {
        eventually("detect has read MARKET", async || {
            let services = self.bus.collect_status(&["detect"], Duration::from_secs(1)).await.unwrap_or_default();
            services.iter().any(|service| service.status["state"]["position"].as_u64() >= Some(last))
        })
        .await;
    }

    async fn samples(&self) -> Vec<OpenInterest> {
        // An ingest that is starting has no stream yet.
        let Ok(mut cursor) = Cursor::open(&self.bus, Stream::Market, Sequence::new(1), None).await else {
            return Vec::new();
        };
        let mut samples = Vec::new();
        while let Some(record) = cursor.next_pending().await.unwrap() {
            if let MarketEvent::OpenInterest(sample) = wire::decode(&record.payload).unwrap() {
                samples.push(sample);
            }
        }
        samples
    }

    async fn explosions(&self) -> Vec<(String, OiExplosion)> {
        let explosion = |alert: schemas::alert::Alert| match alert.finding {
            Finding::OiExplosion(explosion) => Some((alert.base.to_string(), explosion)),
            Finding::Cascade(_) | Finding::LargeLiquidation(_) => None,
        };
        alerts(&self.bus).await.into_iter().filter_map(|(alert, _)| explosion(alert)).collect()
    }

    /// First lines of the messages about open interest.
    fn told(&self) -> Vec<String> {
        let requests = self.simulator.telegram().requests().into_iter();
        let texts = requests.filter(|request| request.method == "sendMessage" && request.status == Some(200));
        let first = texts.filter_map(|request| Some(request.params["text"].as_str()?.lines().next()?.to_owned()));
        first.filter(|line| line.contains("OI ")).collect()
    }

    /// The account of a venue as it is stored.
    async fn account(&self, venue: Exchange) -> Account {
        let value = Register::new(&self.bus, "requests", venue.as_str()).load().await.unwrap().value;
        value.map(|value| serde_json::from_slice(&value).unwrap()).unwrap_or_default()
    }

    /// Requests that were counted before they were made, and those the venue got.
    async fn requests(&self, venue: Exchange) -> (u64, u64) {
        let got = self.control.state().venues[&venue].rest_requests.values().sum();
        let now = ReceivedAt::from_millis(jiff::Timestamp::now().as_millisecond());
        (self.account(venue).await.spent(now).into(), got)
    }
}

/// What a scenario must give: which way, and the venues that may confirm it.
fn expected(scenario: Scenario) -> Option<(Direction, &'static [&'static str])> {
    match scenario {
        Scenario::Three | Scenario::Down => Some((Direction::Up, &["binance", "bybit", "okx"])),
        Scenario::Two => Some((Direction::Up, &["binance", "bybit"])),
        Scenario::Fall => Some((Direction::Down, &["binance", "bybit", "okx"])),
        Scenario::One | Scenario::Price | Scenario::Stale | Scenario::Glitch => None,
    }
}

/// The venues that show the change themselves.
fn confirming(explosion: &OiExplosion) -> BTreeSet<&str> {
    let shows = |change: Decimal| match explosion.direction {
        Direction::Up => change >= Decimal::from(CHANGE_PCT),
        Direction::Down => change <= Decimal::from(-CHANGE_PCT),
    };
    let venues = explosion.venues.iter().filter(|(_, change)| shows(change.change_pct.value()));
    venues.map(|(venue, _)| venue.as_str()).collect()
}

async fn assert_exactly_what_it_should(world: &World, scenario: Scenario) {
    let (explosions, told) = (world.explosions().await, world.told());
    let Some((direction, venues)) = expected(scenario) else {
        assert_eq!((explosions, told), (Vec::new(), Vec::new()), "{scenario:?}");
        return;
    };
    let [(base, explosion)] = &explosions[..] else { panic!("{scenario:?}: {explosions:#?}") };
    let confirming = confirming(explosion);
    assert_eq!((base.as_str(), explosion.phase, explosion.direction), ("BTC", Phase::Started, direction));
    assert_eq!(confirming.len(), explosion.confirming as usize, "{scenario:?}: {explosion:#?}");
    assert!(confirming.len() >= 2 && confirming.iter().all(|venue| venues.contains(venue)), "{explosion:#?}");
    assert_eq!(told.len(), 1, "{scenario:?}: {told:?}");
    assert!(told[0].contains("BTC OI EXPLOSION"), "{told:?}");
}

/// Each once, of the slot it is in, and later than the one before.
fn assert_sound(samples: &[OpenInterest]) {
    let mut newest: BTreeMap<(&Venue, &Instrument), &OpenInterest> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for sample in samples {
        assert!(ids.insert(sample.id), "twice: {sample:?}");
        let interval_ms = if sample.venue.as_str() == "binance" { 120_000 } else { 60_000 };
        assert_eq!(sample.interval_ms, interval_ms);
        let slot = sample.event_time.as_millis().div_euclid(interval_ms.into());
        assert_eq!(sample.id, OpenInterest::id_of(&sample.venue, &sample.instrument, slot));
        if let Some(before) = newest.insert((&sample.venue, &sample.instrument), sample) {
            assert!(before.event_time < sample.event_time, "{before:?} {sample:?}");
        }
    }
    assert_eq!(newest.len(), 9, "three bases on three venues: {:?}", newest.keys());
}

/// A seed that a failure names, so that it can be had again.
fn seed() -> u64 {
    let seed = std::env::var("FORESHOCK_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    eprintln!("FORESHOCK_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scenario_gives_exactly_the_alert_it_should() {
    let _machine = machine().await;
    let Some(nats) = Nats::start() else { return };
    let seed = seed();
    let scenarios = [
        Scenario::Three,
        Scenario::Two,
        Scenario::One,
        Scenario::Fall,
        Scenario::Price,
        Scenario::Stale,
        Scenario::Down,
        Scenario::Glitch,
    ];
    join_all(scenarios.map(|scenario| play(&nats, scenario, seed))).await;
}

async fn play(nats: &Nats, scenario: Scenario, seed: u64) {
    let world = World::waiting(nats, scenario, SPEED, 1, seed).await;
    let _services = ["detect", "notify", "ingest"].map(|role| world.service(role, "a"));
    world.begin(1).await;
    world.reach(END_MS).await;
    world.drained(END_MS).await;
    assert_exactly_what_it_should(&world, scenario).await;
    assert_sound(&world.samples().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_an_explosion_change_no_alert() {
    let _machine = machine().await;
    let Some(nats) = Nats::start() else { return };
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::waiting(&nats, Scenario::Two, SPEED_OF_KILLS, 2, seed).await;
    let mut detects = ["a", "b"].map(|name| (name, world.service("detect", name)));
    let _notify = world.service("notify", "a");
    let mut ingests = ["a", "b"].map(|name| (name, world.service("ingest", name)));
    world.begin(2).await;
    // In the ramp of minutes 20 to 25, before and about the moment the alert fires.
    world.reach(21 * MINUTE_MS + rng.random_range(0..MINUTE_MS)).await;
    let mut asker = None;
    eventually("one ingest has the turn of Binance", async || {
        let status = world.interest().await;
        let mut askers = status.into_iter().filter(|(_, venues)| venues["binance"]["has_turn"] == true);
        asker = askers.next().map(|(instance, _)| instance);
        asker.is_some()
    })
    .await;
    let (_, asking) = ingests.iter_mut().find(|(name, _)| asker.as_deref() == Some(*name)).unwrap();
    asking.kill_and_restart();
    detects[0].1.kill_and_restart();
    world.reach(23 * MINUTE_MS + rng.random_range(0..MINUTE_MS)).await;
    for (_, detect) in &mut detects {
        detect.kill_and_restart();
    }
    world.reach(END_MS).await;
    world.drained(END_MS).await;

    assert_exactly_what_it_should(&world, Scenario::Two).await;
    assert_sound(&world.samples().await);
    // The market goes on: without an ingest MARKET stands still, and a replay reads what the detectors read.
    drop(ingests);
    let last = settled("MARKET", Duration::from_secs(2), async || {
        world.bus.stream_state(Stream::Market).await.unwrap().last.get()
    })
    .await;
    world.detected(last).await;
    let (code, replayed, err) = run(&["replay", "--stream"], &world.env);
    assert_eq!(code, 0, "{err}");
    let stored: Vec<Value> =
        alerts(&world.bus).await.iter().map(|(alert, _)| serde_json::to_value(alert).unwrap()).collect();
    assert_eq!(json_lines(&replayed), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_forget_neither_a_request_nor_a_ban() {
    let Some(nats) = Nats::start() else { return };
    let source = Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 };
    let world = World::start(&nats, "budget", Market::Live, source).await;
    world.bus.apply_topology().await.unwrap();
    let _detect = world.service("detect", "a");
    let mut ingest = world.service("ingest", "a");
    for kill in 1..=6 {
        for venue in Exchange::ALL {
            // Each process asks for the instruments when it starts; Bybit and OKX answer for open interest on their streams.
            eventually(&format!("start {kill} asks {venue}"), async || world.requests(venue).await.1 >= kill).await;
            // A kill between counting and asking leaves one that was counted and never asked, which is the safe side.
            eventually(&format!("all that {venue} got is counted and answered"), async || {
                let (counted, got) = world.requests(venue).await;
                (got..got + kill).contains(&counted)
            })
            .await;
        }
        if kill < 6 {
            ingest.kill_and_restart();
        }
    }
    for venue in Exchange::ALL {
        let (counted, got) = world.requests(venue).await;
        eprintln!("{venue}: {counted} counted, {got} got");
        assert!((6..100).contains(&got), "{venue} {got}");
    }

    world.control.set_faults(Exchange::Binance, Faults { refuse_rest: Some(Refusal::Banned), ..Faults::default() });
    ingest.kill_and_restart();
    let now = || ReceivedAt::from_millis(jiff::Timestamp::now().as_millisecond());
    let is_held = async || world.account(Exchange::Binance).await.held(now()).is_some();
    eventually("the ban is noted", is_held).await;
    let (_, got) = world.requests(Exchange::Binance).await;
    // It would be answered now, but must not ask.
    world.control.set_faults(Exchange::Binance, Faults::default());
    for _ in 0..3 {
        let others = world.requests(Exchange::Okx).await.1;
        ingest.kill_and_restart();
        eventually("the next one is up and asks another venue", async || {
            world.requests(Exchange::Okx).await.1 > others
        })
        .await;
        eventually("it knows of the ban", async || {
            let status = world.interest().await;
            status
                .values()
                .any(|venues| venues["binance"]["hold"].is_object() && venues["binance"]["heard_at"].is_number())
        })
        .await;
        assert_eq!(world.requests(Exchange::Binance).await.1, got);
    }
    assert!(is_held().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_refuses_comes_over_rest() {
    let Some(nats) = Nats::start() else { return };
    let speed = Speed::Times(SPEED);
    let source = Source::Seed { seed: seed(), storms: None, scenario: None, speed, wait_subscribers: 0 };
    let world = World::start(&nats, "rest", Market::Recorded, source).await;
    let refuse = |topics: &[&str]| Faults {
        refuse_topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..Faults::default()
    };
    // What is left of the stream states the venue's time, which in an accelerated market nothing else does.
    world.control.set_faults(Exchange::Bybit, refuse(&["tickers.ETHUSDT", "tickers.SOLUSDT"]));
    world.control.set_faults(Exchange::Okx, refuse(&["open-interest"]));
    // Ingest stores nothing before rules are in force.
    let _detect = world.service("detect", "a");
    let _ingest = world.service("ingest", "a");
    eventually("every venue is sampled over REST, slot after slot", async || {
        let samples = world.samples().await;
        Exchange::ALL.into_iter().all(|venue| samples.iter().filter(|one| one.venue == venue.venue()).count() >= 9)
    })
    .await;
    assert_sound(&world.samples().await);
    let venues = world.control.state().venues;
    for (venue, path) in [(Exchange::Bybit, "/v5/market/tickers"), (Exchange::Okx, "/api/v5/public/open-interest")] {
        assert!(venues[&venue].rest_requests[path] >= 3, "{:?}", venues[&venue].rest_requests);
    }
}
