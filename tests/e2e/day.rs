//! A day of open interest as the state of `foreshock detect`: what a restart takes and what it holds, and that neither
//! way to that state changes anything.
//!
//! The figures are printed, for machines differ: `cargo test --release --test e2e day -- --nocapture`.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ingest::exchange::Exchange;
use nats::{Bus, Market};
use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd},
    market::{MarketEvent, OpenInterest, VERSION},
    name::{Base, Instrument},
    time::{EventTime, ReceivedAt},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{Nats, Service, alerts, env, machine, run};

const BASES: i64 = 50;
const SLOTS: i64 = 24 * 60;
const INTERVAL_MS: u32 = 60_000;

/// Venue time of the first sample.
const START_MS: i64 = 1_795_000_020_000;

/// Samples on their way to the broker at once.
const SENT_AT_ONCE: usize = 256;

/// How long anything may take before the test gives up: unoptimized, on a shared machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The samples of one slot, of every venue and base. Each base explodes once on all venues, in a slot of its own.
fn samples(slot: i64) -> impl Iterator<Item = MarketEvent> {
    let places = (0..BASES).flat_map(|base| Exchange::ALL.map(|venue| (base, venue)));
    places.map(move |(base, venue)| {
        let exploded = slot >= 60 + base * 20;
        let noise = (slot * 7 + base * 13 + venue as i64 * 29) % 97;
        let contracts = Decimal::from(1_000_000 + noise * 20 + i64::from(exploded) * 250_000);
        let (venue, name) = (venue.venue(), base_name(base));
        let instrument: Instrument = format!("{name}USDT").parse().unwrap();
        let event_time = EventTime::from_millis(START_MS + slot * i64::from(INTERVAL_MS));
        let quantity = Quantity::new(contracts).unwrap();
        MarketEvent::OpenInterest(OpenInterest {
            v: VERSION,
            id: OpenInterest::id_of(&venue, &instrument, event_time.as_millis() / i64::from(INTERVAL_MS)),
            venue,
            instrument,
            base: name,
            contracts: quantity,
            coins: quantity,
            mark_price: Price::new(Decimal::ONE_HUNDRED).unwrap(),
            notional_usd: Usd::round(contracts * Decimal::ONE_HUNDRED).unwrap(),
            interval_ms: INTERVAL_MS,
            event_time,
            received_at: ReceivedAt::from_millis(event_time.as_millis()),
        })
    })
}

fn base_name(base: i64) -> Base {
    format!("C{base}").parse().unwrap()
}

fn rules() -> String {
    let rule = "change_pct = 15.0\nwindow = \"15m\"\nmin_usd = 50_000_000\nconfirm = 2\n";
    (0..BASES).map(|base| format!("[oi.{}]\n{rule}", base_name(base))).collect()
}

/// Stores the whole day, as fast as the broker takes it.
async fn publish(bus: &Bus) {
    let events = stream::iter((0..SLOTS).flat_map(samples));
    let stored = events.map(|event| async move { bus.publish_event(&event).await });
    stored.buffered(SENT_AT_ONCE).try_for_each(async |_| Ok(())).await.unwrap();
}

struct World {
    nats: Nats,
    bus: Bus,
    env: BTreeMap<String, String>,
}

impl World {
    /// The state detect answers with, once `holds` of it.
    async fn state(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let services = self.bus.collect_status(&["detect"], Duration::from_millis(50)).await.unwrap();
            if let Some(state) = services.into_iter().map(|mut service| service.status["state"].take()).find(&holds) {
                return state;
            }
            assert!(began.elapsed() < PATIENCE, "detect never came to the state");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts detect and returns it with its state once it is ready; says what that took.
    async fn detect(&self, log: &Path, how: &str) -> (Service, Value) {
        let began = Instant::now();
        let service = Service::start("detect", &self.env, log);
        let state = self.state(|state| state["ready"] == true).await;
        eprintln!("{how}: ready after {} ms, {}", began.elapsed().as_millis(), memory(&service));
        (service, state)
    }
}

fn memory(service: &Service) -> String {
    let mib = |figure| service.memory_kib(figure).map_or(f64::NAN, |kib| kib as f64 / 1024.0);
    format!("resident {:.1} MiB, of it heap {:.1}; {:.1} at most", mib("VmRSS"), mib("RssAnon"), mib("VmHWM"))
}

/// What must not depend on the way to the state.
fn figures(state: &Value) -> (Value, Value) {
    (state["bases"].clone(), state["position"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_a_day_of_three_venues_and_fifty_bases_changes_nothing() {
    let _machine = machine().await;
    let Some(nats) = Nats::start() else { return };
    let bus = nats.bus("", Market::Live).await;
    bus.apply_topology().await.unwrap();
    let world = World { env: env([("NATS_URL", nats.url())]), nats, bus };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, rules()).unwrap();
    let (code, _, err) = run(&["rules", "set", file.to_str().unwrap()], &world.env);
    assert_eq!(code, 0, "{err}");
    publish(&world.bus).await;

    let log = |name: &str| folder.path().join(name);
    let (service, folded) = world.detect(&log("first.log"), "the whole log").await;
    assert_eq!(folded["counters"]["oi_samples"], BASES * SLOTS * 3);
    let found = alerts(&world.bus).await;
    assert_eq!(found.len(), usize::try_from(BASES).unwrap(), "one explosion of each base");
    world.state(|state| state["snapshot"] == folded["position"]).await;
    eprintln!("after its snapshot: {}", memory(&service));
    // SIGKILL.
    drop(service);

    let log = log("second.log");
    let (service, restored) = world.detect(&log, "a snapshot").await;
    assert!(service.log().contains("detector goes on from a snapshot"), "{}", service.log());
    assert_eq!(figures(&restored), figures(&folded));
    let next: Vec<_> = samples(SLOTS).collect();
    for event in &next {
        world.bus.publish_event(event).await.unwrap();
    }
    let last = restored["position"].as_u64().unwrap() + next.len() as u64;
    world.state(|state| state["position"] == last).await;
    world.state(|state| state["snapshot"] == last).await;
    eprintln!("after the next samples and snapshot: {}", memory(&service));
    assert_eq!(alerts(&world.bus).await, found, "neither lost nor new");
    drop(service);
    drop(world.nats);
}
