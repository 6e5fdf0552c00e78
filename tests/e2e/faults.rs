//! What venues and the broker do wrong, and what `foreshock ingest` makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use foreshock::simulate::{
    self, Action, Control, Disorder, Faults, Refusal, Silence, Simulator, Source, Storms, Timing,
};
use futures_util::{SinkExt as _, StreamExt as _};
use ingest::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    normalize::{Normalizer, Receipt},
};
use nats::{Bus, Cursor, Market};
use schemas::{
    id::Id,
    market::{Feed, FeedState, MarketEvent},
    position::Sequence,
    subject::Stream,
    wire,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::support::{Nats, Service, env, eventually, run};

/// A storm in every five seconds: some ten liquidations a second, on all venues.
const STORMS: Storms = Storms { every: Duration::from_secs(5), strength: 1.0 };

/// `alive`s are this far apart, in milliseconds of venue time (design 4).
const TICK_MS: i64 = 5_000;

/// How many liquidations are heard before a test has seen enough.
const ENOUGH: usize = 60;

/// A broker that holds rules, a stormy market, and what the services are told.
pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) simulator: Simulator,
    pub(crate) control: Control,
    pub(crate) bus: Bus,
    /// What every service is told.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) folder: TempDir,
}

impl World {
    /// Nothing where nats-server is missing.
    pub(crate) async fn start(faults: BTreeMap<Exchange, Faults>) -> Option<Self> {
        let world = Self::without_rules(faults).await?;
        world.bus.apply_topology().await.unwrap();
        let rules = world.folder.path().join("rules.toml");
        std::fs::write(&rules, detect::rules::SHIPPED).unwrap();
        let (code, _, err) = run(&["rules", "set", rules.to_str().unwrap()], &world.env);
        assert_eq!(code, 0, "{err}");
        Some(world)
    }

    async fn without_rules(faults: BTreeMap<Exchange, Faults>) -> Option<Self> {
        let nats = Nats::start()?;
        let source = Source::Seed {
            seed: 7,
            storms: Some(STORMS),
            scenario: None,
            speed: simulate::Speed::Times(1.0),
            wait_subscribers: 0,
        };
        let config = simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults };
        let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
        let bus = nats.bus("", Market::Live).await;
        let mut env = env([("NATS_URL", nats.url())]);
        for venue in Exchange::ALL {
            let name = venue.as_str().to_uppercase();
            env.insert(format!("FORESHOCK_{name}_WS_URL"), simulator.ws_url(venue));
            env.insert(format!("FORESHOCK_{name}_REST_URL"), simulator.http_url(venue));
        }
        let control = simulator.control();
        Some(Self { nats, simulator, control, bus, env, folder: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn service(&self, role: &str, name: &str) -> Service {
        let mut env = self.env.clone();
        env.insert("FORESHOCK_INSTANCE".to_owned(), name.to_owned());
        Service::start(role, &env, &self.folder.path().join(format!("{role}-{name}.log")))
    }

    /// Everything in MARKET, in order; fails where something lies in it twice.
    async fn market(&self) -> Vec<MarketEvent> {
        let mut cursor = Cursor::open(&self.bus, Stream::Market, Sequence::new(1), None).await.unwrap();
        let (mut events, mut ids) = (Vec::new(), BTreeSet::new());
        while let Some(record) = cursor.next_pending().await.unwrap() {
            let event: MarketEvent = wire::decode(&record.payload).unwrap();
            assert_eq!(record.headers.message_id(), Some(event.id().to_string().as_str()));
            assert!(ids.insert(event.id()), "twice: {event:?}");
            events.push(event);
        }
        events
    }

    /// The feed events of a venue in MARKET, in order: its `alive`s, or everything else.
    /// What MARKET holds of the venue's liquidation channel; open interest has sockets of its own.
    async fn feeds(&self, venue: Exchange, alive: bool) -> Vec<Feed> {
        let of_venue = |event| match event {
            MarketEvent::Feed(feed) if feed.venue.as_str() == venue.as_str() && feed.channel == "liquidation" => {
                Some(feed)
            }
            MarketEvent::Feed(_)
            | MarketEvent::Liquidation(_)
            | MarketEvent::OpenInterest(_)
            | MarketEvent::Rules(_)
            | MarketEvent::Canary(_) => None,
        };
        let feeds = self.market().await.into_iter().filter_map(of_venue);
        feeds.filter(|feed| (feed.state == FeedState::Alive) == alive).collect()
    }

    async fn changes(&self, venue: Exchange) -> Vec<FeedState> {
        self.feeds(venue, false).await.into_iter().map(|feed| feed.state).collect()
    }

    pub(crate) async fn reached(&self, venue: Exchange, state: FeedState) {
        let what = format!("{venue} is {}", state.as_str());
        eventually(&what, async || self.changes(venue).await.contains(&state)).await;
    }

    pub(crate) async fn alive(&self, venue: Exchange) {
        eventually(&format!("{venue} is alive"), async || !self.feeds(venue, true).await.is_empty()).await;
    }

    /// Waits for a liquidation of `venue` that is newer than everything MARKET holds of it.
    async fn flows(&self, venue: Exchange, instrument: &str) {
        let newest = async || {
            let of_venue = |event: &MarketEvent| match event {
                MarketEvent::Liquidation(event)
                    if event.venue.as_str() == venue.as_str() && event.instrument.as_str().starts_with(instrument) =>
                {
                    Some(event.event_time)
                }
                MarketEvent::Liquidation(_)
                | MarketEvent::Feed(_)
                | MarketEvent::OpenInterest(_)
                | MarketEvent::Rules(_)
                | MarketEvent::Canary(_) => None,
            };
            self.market().await.iter().filter_map(of_venue).max()
        };
        let before = newest().await;
        eventually(&format!("{venue} flows"), async || newest().await > before).await;
    }

    /// What `foreshock status` says of a venue, one value for each ingest.
    fn status(&self, venue: Exchange) -> Vec<Value> {
        let (code, out, err) = run(&["status", "--json"], &self.env);
        assert_eq!(code, 0, "{err}");
        let status: Value = serde_json::from_str(&out).unwrap();
        let services = status["services"].as_array().unwrap().iter();
        let ingests = services.filter(|service| service["role"] == "ingest");
        ingests.map(|service| service["status"]["state"]["venues"][venue.as_str()].clone()).collect()
    }

    /// What the only ingest says of a venue.
    fn feed(&self, venue: Exchange) -> Value {
        let [feed] = self.status(venue).try_into().unwrap();
        feed
    }

    fn refused(&self, venue: Exchange, reason: &str) -> u64 {
        self.feed(venue)["refused"][reason].as_u64().unwrap_or(0)
    }

    /// Waits until everything a witness heard lies in MARKET.
    async fn holds(&self, heard: &BTreeSet<Id>) {
        eventually("MARKET holds everything heard", async || {
            let held: BTreeSet<Id> = self.market().await.iter().map(MarketEvent::id).collect();
            heard.is_subset(&held)
        })
        .await;
    }
}

/// Hears the liquidations a venue publishes, beside every ingest.
struct Witness(Arc<Mutex<BTreeSet<Id>>>);

impl Witness {
    /// Listens when this returns, until the test ends.
    async fn start(simulator: &Simulator, venue: Exchange) -> Self {
        let (exchange, path) = match venue {
            Exchange::Binance => (Exchange::Binance, "/market/ws/!forceOrder@arr"),
            Exchange::Bybit => (Exchange::Bybit, "/v5/public/linear"),
            Exchange::Okx => (Exchange::Okx, "/ws/v5/public"),
        };
        let instruments = match Instruments::by_name(exchange) {
            Some(instruments) => instruments,
            None => listed(simulator, exchange).await,
        };
        let bases = Bases::Only(["BTC", "ETH", "SOL"].map(|base| base.parse().unwrap()).into());
        let normalizer = Normalizer::new(instruments, bases, RETENTION);
        let (mut socket, _) = connect_async(format!("{}{path}", simulator.ws_url(venue))).await.unwrap();
        let topics = ["BTCUSDT", "ETHUSDT", "SOLUSDT"].map(|symbol| format!("allLiquidation.{symbol}"));
        let subscribe = match venue {
            Exchange::Binance => None,
            Exchange::Bybit => Some(serde_json::json!({"op": "subscribe", "args": topics})),
            Exchange::Okx => Some(serde_json::json!({"op": "subscribe",
                "args": [{"channel": "liquidation-orders", "instType": "SWAP"}]})),
        };
        if let Some(request) = subscribe {
            socket.send(Message::text(request.to_string())).await.unwrap();
            socket.next().await.unwrap().unwrap();
        }
        let heard = Arc::new(Mutex::new(BTreeSet::new()));
        tokio::spawn(listen(socket, normalizer, Arc::clone(&heard)));
        Self(heard)
    }

    fn heard(&self) -> BTreeSet<Id> {
        self.0.lock().unwrap().clone()
    }
}

async fn listen(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut normalizer: Normalizer,
    heard: Arc<Mutex<BTreeSet<Id>>>,
) {
    // OKX cuts a connection on which nothing goes either way; the market is never that quiet.
    while let Some(Ok(message)) = socket.next().await {
        let frame = normalizer.frame(&message.into_data(), Receipt::Recorded);
        heard.lock().unwrap().extend(frame.liquidations.iter().map(|event| event.id));
    }
}

/// OKX counts contracts, so its names alone are not enough.
async fn listed(simulator: &Simulator, exchange: Exchange) -> Instruments {
    // A second installation finds the first and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/api/v5/public/instruments?instType=SWAP", simulator.http_url(Exchange::Okx));
    let reply = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    Instruments::from_reply(exchange, &reply).unwrap()
}

/// Everything heard by all of them, once that is enough.
async fn enough(witnesses: &[Witness]) -> BTreeSet<Id> {
    let before: usize = witnesses.iter().map(|witness| witness.heard().len()).sum();
    eventually("enough is heard", async || {
        let heard: usize = witnesses.iter().map(|witness| witness.heard().len()).sum();
        heard >= before + ENOUGH && witnesses.iter().all(|witness| !witness.heard().is_empty())
    })
    .await;
    witnesses.iter().flat_map(Witness::heard).collect()
}

async fn witnesses(simulator: &Simulator) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    for venue in Exchange::ALL {
        witnesses.push(Witness::start(simulator, venue).await);
    }
    witnesses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_socket_becomes_stale_and_recovers_while_the_others_go_on() {
    let Some(world) = World::start(BTreeMap::new()).await else { return };
    let _ingest = world.service("ingest", "a");
    for venue in Exchange::ALL {
        world.alive(venue).await;
    }
    let silent = [(Exchange::Bybit, Silence::Answering), (Exchange::Okx, Silence::Deaf)];
    let ticks_before = world.feeds(Exchange::Binance, true).await.len();
    for (venue, silence) in silent {
        world.control.set_faults(venue, Faults { silence: Some(silence), ..Faults::default() });
    }
    for (venue, _) in silent {
        world.reached(venue, FeedState::Stale).await;
    }
    let ticks = async || world.feeds(Exchange::Binance, true).await.len();
    eventually("the other venue goes on", async || ticks().await > ticks_before).await;
    for (venue, _) in silent {
        world.control.set_faults(venue, Faults::default());
    }
    for (venue, _) in silent {
        world.reached(venue, FeedState::Recovered).await;
        let changes = world.feeds(venue, false).await;
        let [connected, stale, recovered] = changes.try_into().unwrap();
        assert_eq!(connected.state, FeedState::Connected);
        // Silence is called so after eight seconds.
        assert!(recovered.gap_ms.unwrap() >= 7_000, "{recovered:?}");
        let ticks_before = world.feeds(venue, true).await.len();
        eventually("it is alive again", async || world.feeds(venue, true).await.len() > ticks_before).await;
        let ticks = world.feeds(venue, true).await;
        let in_gap = |tick: &&Feed| tick.event_time > stale.since && tick.event_time < recovered.since;
        assert_eq!(ticks.iter().find(in_gap), None, "nobody heard the venue then");
    }
    assert_eq!(world.changes(Exchange::Binance).await, [FeedState::Connected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_and_dropped_sockets_and_an_upgrade_notice_double_nothing() {
    let Some(world) = World::start(BTreeMap::new()).await else { return };
    let ingest = world.service("ingest", "a");
    for venue in Exchange::ALL {
        world.reached(venue, FeedState::Connected).await;
    }
    world.control.act(Exchange::Okx, Action::Notice);
    world.control.act(Exchange::Bybit, Action::HalfOpen);
    let dropped = Faults { disconnect_every_ms: Some(4_000), ..Faults::default() };
    world.control.set_faults(Exchange::Binance, dropped);
    eventually("Binance is dropped twice", async || {
        world.changes(Exchange::Binance).await.iter().filter(|state| **state == FeedState::Disconnected).count() >= 2
    })
    .await;
    world.control.set_faults(Exchange::Binance, Faults::default());
    world.reached(Exchange::Bybit, FeedState::Stale).await;
    world.reached(Exchange::Bybit, FeedState::Recovered).await;
    let is_back = async || world.changes(Exchange::Binance).await.last() == Some(&FeedState::Recovered);
    eventually("Binance is back", is_back).await;
    eventually("OKX was replaced", async || world.feed(Exchange::Okx)["renewals"] == 1).await;
    for venue in Exchange::ALL {
        world.flows(venue, "").await;
    }
    let reconnects = |venue| world.feed(venue)["reconnects"].as_u64().unwrap();
    assert!(reconnects(Exchange::Binance) >= 2);
    assert!(reconnects(Exchange::Bybit) >= 1);
    assert_eq!(reconnects(Exchange::Okx), 0, "the replacement came before the end");
    assert_eq!(world.changes(Exchange::Okx).await, [FeedState::Connected], "{}", ingest.log());
    for feed in world.feeds(Exchange::Binance, false).await {
        assert_eq!(feed.gap_ms.is_some(), feed.state == FeedState::Recovered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_are_counted_by_reason_and_lose_no_neighbour() {
    let Some(world) = World::start(BTreeMap::new()).await else { return };
    let _ingest = world.service("ingest", "a");
    for venue in Exchange::ALL {
        world.reached(venue, FeedState::Connected).await;
    }
    let witnesses = witnesses(&world.simulator).await;
    let faults = Faults {
        malformed: 0.3,
        truncated: 0.3,
        oversized: 0.02,
        duplicate: 0.5,
        disorder: Some(Disorder { probability: 0.5, max_ms: 1_000 }),
        ..Faults::default()
    };
    for venue in Exchange::ALL {
        world.control.set_faults(venue, faults.clone());
    }
    let heard = enough(&witnesses).await;
    world.holds(&heard).await;
    for venue in Exchange::ALL {
        // One at least: the others come by chance.
        world.control.act(venue, Action::Oversized);
        eventually(&format!("{venue} counts what is bad"), async || {
            let feed = world.feed(venue);
            let count = |reason: &str| feed["refused"][reason].as_u64().unwrap_or(0);
            let refused = ["malformed", "unknown_frame", "oversized"].into_iter().all(|reason| count(reason) > 0);
            refused && feed["duplicates"].as_u64() > Some(0)
        })
        .await;
        // A bad frame is no reason to hang up.
        assert_eq!(world.changes(venue).await, [FeedState::Connected]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_topic_loses_no_other_and_a_refused_region_is_told_in_one_line() {
    let topic = "allLiquidation.ETHUSDT".to_owned();
    let faults = BTreeMap::from([
        (Exchange::Binance, Faults { refuse_sockets: Some(Refusal::Restricted), ..Faults::default() }),
        (Exchange::Bybit, Faults { refuse_topics: vec![topic], ..Faults::default() }),
        (
            Exchange::Okx,
            Faults {
                refuse_sockets: Some(Refusal::Forbidden),
                refuse_rest: Some(Refusal::Forbidden),
                ..Faults::default()
            },
        ),
    ]);
    let Some(world) = World::start(faults).await else { return };
    let ingest = world.service("ingest", "a");
    world.reached(Exchange::Binance, FeedState::Refused).await;
    world.reached(Exchange::Okx, FeedState::Refused).await;
    world.alive(Exchange::Bybit).await;
    world.flows(Exchange::Bybit, "BTCUSDT").await;
    world.flows(Exchange::Bybit, "SOLUSDT").await;
    let is_eth = |event: &MarketEvent| matches!(event, MarketEvent::Liquidation(event) if event.base.as_str() == "ETH");
    assert!(!world.market().await.iter().any(is_eth));
    assert_eq!(world.refused(Exchange::Bybit, "subscription"), 1);
    for (venue, line) in
        [(Exchange::Binance, "Binance refuses this region (451)"), (Exchange::Okx, "OKX refuses this region (403)")]
    {
        let feed = world.feed(venue);
        assert_eq!(feed["state"], "refused");
        assert!(feed["last_error"].as_str().unwrap().starts_with(line), "{feed}");
        assert_eq!(ingest.log().matches(line).count(), 1, "{}", ingest.log());
        assert_eq!(world.changes(venue).await, [FeedState::Refused]);
        assert_eq!(world.feeds(venue, true).await, []);
    }
    assert_eq!(world.feed(Exchange::Bybit)["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rest_two_venues_come_up_by_name_and_okx_waits_for_it() {
    let down = Faults { refuse_rest: Some(Refusal::Unavailable), ..Faults::default() };
    let Some(world) = World::start(Exchange::ALL.map(|venue| (venue, down.clone())).into()).await else { return };
    let ingest = world.service("ingest", "a");
    for venue in [Exchange::Binance, Exchange::Bybit] {
        for name in ["BTCUSDT", "ETHUSDT", "SOLUSDT"] {
            world.flows(venue, name).await;
        }
    }
    let line = "OKX answers status 503: without its instruments nothing can be valued; trying again soon";
    eventually("OKX says what it waits for", async || ingest.log().contains(line)).await;
    assert_eq!(world.feed(Exchange::Okx)["last_error"], line);
    assert_eq!(world.changes(Exchange::Okx).await, []);
    world.control.set_faults(Exchange::Okx, Faults::default());
    world.reached(Exchange::Okx, FeedState::Connected).await;
    world.flows(Exchange::Okx, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_skewed_and_refused_until_it_is_back() {
    let wrong = Faults { clock_ms: 60_000, ..Faults::default() };
    let Some(world) = World::start([(Exchange::Bybit, wrong)].into()).await else { return };
    let ingest = world.service("ingest", "a");
    world.reached(Exchange::Bybit, FeedState::Skewed).await;
    eventually("a skewed liquidation", async || world.refused(Exchange::Bybit, "skewed") > 0).await;
    assert!(ingest.log().contains(" s ahead; its events are refused"), "{}", ingest.log());
    assert_eq!(world.feed(Exchange::Bybit)["state"], "skewed");
    let of_bybit =
        |event: &MarketEvent| matches!(event, MarketEvent::Liquidation(event) if event.venue.as_str() == "bybit");
    assert!(!world.market().await.iter().any(of_bybit));
    assert_eq!(world.feeds(Exchange::Bybit, true).await, []);

    world.control.set_faults(Exchange::Bybit, Faults::default());
    world.reached(Exchange::Bybit, FeedState::Recovered).await;
    world.flows(Exchange::Bybit, "").await;
    world.alive(Exchange::Bybit).await;
    for venue in [Exchange::Binance, Exchange::Okx] {
        assert_eq!(world.changes(venue).await, [FeedState::Connected]);
        assert_eq!(world.refused(venue, "skewed"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_wait_for_nats_and_its_absence_doubles_and_loses_nothing() {
    let Some(mut world) = World::without_rules(BTreeMap::new()).await else { return };
    world.nats.kill();
    let services = [("detect", "a"), ("notify", "a"), ("ingest", "a"), ("ingest", "b")];
    let services = services.map(|(role, name)| world.service(role, name));
    for service in &services {
        eventually("it says that it waits", async || service.log().contains("NATS does not answer; retrying")).await;
    }
    world.nats.restart();
    eventually("the streams are there", async || world.bus.market_state().await.is_ok()).await;
    for venue in Exchange::ALL {
        world.alive(venue).await;
    }

    let witnesses = witnesses(&world.simulator).await;
    enough(&witnesses).await;
    world.nats.kill();
    // The storm goes on meanwhile.
    sleep(Duration::from_secs(3)).await;
    enough(&witnesses).await;
    world.nats.restart();
    let heard = enough(&witnesses).await;
    world.holds(&heard).await;
    for venue in Exchange::ALL {
        let feeds = world.status(venue);
        assert_eq!(feeds.len(), 2);
        for feed in feeds {
            assert_eq!((&feed["market"]["dropped"], &feed["market"]["refused"]), (&0.into(), &0.into()));
            assert_eq!(feed["reconnects"], 0, "the venues noticed nothing");
        }
    }
    for service in &services {
        assert!(service.log().contains("NATS answers again"), "{}", service.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingests_store_each_event_and_each_tick_once() {
    let Some(world) = World::start(BTreeMap::new()).await else { return };
    let ingests = [world.service("ingest", "a"), world.service("ingest", "b")];
    for venue in Exchange::ALL {
        eventually("both are subscribed", async || {
            world.changes(venue).await == [FeedState::Connected, FeedState::Connected]
        })
        .await;
    }
    let heard = enough(&witnesses(&world.simulator).await).await;
    world.holds(&heard).await;
    for venue in Exchange::ALL {
        eventually("three ticks", async || world.feeds(venue, true).await.len() >= 3).await;
        let ticks: Vec<_> = world.feeds(venue, true).await.iter().map(|tick| tick.event_time.as_millis()).collect();
        assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] == TICK_MS), "{venue}: {ticks:?}");
        // Both hear the market, and the copy that comes second is left out.
        let feeds = world.status(venue);
        assert_eq!(feeds.len(), ingests.len());
        let sum = |name: &str| feeds.iter().map(|feed| feed["market"][name].as_u64().unwrap()).sum::<u64>();
        assert!(sum("duplicates") + sum("left_out") > 0, "{venue}");
        let least = feeds.iter().map(|feed| feed["events"].as_u64().unwrap()).min().unwrap();
        assert!(least > 0, "{venue}");
    }
}
