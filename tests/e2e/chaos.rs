//! The recording while every process is killed again and again: the promises of design 4.
//!
//! Detect, notify and nats-server are killed at any moment, either of two ingests only when the other has been
//! subscribed for ten seconds with nothing older unacknowledged and NATS is up, as promise (b) is worded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foreshock::simulate::Speed;
use ingest::exchange::Exchange;
use nats::Bus;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use schemas::{
    delivery::{LedgerEvent, Outcome},
    market::MarketEvent,
    position::Sequence,
    subject::Stream,
    wire,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    pipeline::{Stage, assert_same_as_file, decisions, expected_decisions, sent_alerts},
    support::{alerts, eventually, json_lines, ledger, machine, run},
};

/// The recording's nineteen hours of liquidations pass in about a minute.
const SPEED: f64 = 1_100.0;

/// How long an ingest must have been subscribed before the other one may be killed, with a second to spare.
const SUBSCRIBED: Duration = Duration::from_secs(11);

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_change_no_alert() {
    let _machine = machine().await;
    let Some(mut stage) = Stage::okx(Speed::Times(SPEED), 2).await else { return };
    let seed = std::env::var("FORESHOCK_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    eprintln!("FORESHOCK_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut detect = [stage.start("detect", "a"), stage.start("detect", "b")];
    let mut notify = stage.start("notify", "a");
    let mut ingest = [stage.start("ingest", "a"), stage.start("ingest", "b")];
    eventually("both ingests are subscribed", async || subscribed(&stage) == 2).await;
    let mut subscribed_since = [Instant::now(); 2];
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    let mut next_ingest = 0;
    let mut bag = Vec::new();

    // A slow machine may get through few kills: it goes on until every kind of process was killed.
    while kills.len() < 4 || stage.simulator.control().state().playback.is_some_and(|playback| !playback.done) {
        sleep(Duration::from_millis(rng.random_range(500..2_500))).await;
        // Each kind once before any comes again, so that none depends on luck or on the speed of the machine.
        if bag.is_empty() {
            bag = vec!["detect", "notify", "nats", "ingest"];
            bag.shuffle(&mut rng);
        }
        let victim = bag.pop().expect("filled above");
        match victim {
            "detect" => detect[rng.random_range(0..2)].kill_and_restart(),
            "notify" => notify.kill_and_restart(),
            "nats" => {
                stage.nats.kill();
                sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
                stage.nats.restart();
                stage.bus.connected().await;
            }
            _ => {
                let other = 1 - next_ingest;
                if subscribed_since[other].elapsed() < SUBSCRIBED || !is_idle(&stage.bus, ["a", "b"][other]).await {
                    continue;
                }
                ingest[next_ingest].kill_and_restart();
                eventually("the killed ingest is subscribed again", async || subscribed(&stage) == 2).await;
                subscribed_since[next_ingest] = Instant::now();
                next_ingest = other;
            }
        }
        *kills.entry(victim).or_default() += 1;
    }
    eprintln!("kills: {kills:?}");
    stage.drained().await;

    let stored = alerts(&stage.bus).await;
    assert_log_holds_each_once(&stage.bus).await;
    // Promise (b): the undisturbed run gave the file's alerts (see `pipeline`), so this one must.
    assert_same_as_file(&stored, &stage.file);
    // Promise (a): what a replay of MARKET finds is what lies in ALERTS, field for field.
    let (code, replayed, err) = run(&["replay", "--stream"], &stage.env);
    assert_eq!(code, 0, "{err}");
    let stored_json: Vec<Value> = stored.iter().map(|(alert, _)| serde_json::to_value(alert).unwrap()).collect();
    assert_eq!(json_lines(&replayed), stored_json);

    let ledger = ledger(&stage.bus).await;
    let decided = decisions(&ledger);
    let expected = expected_decisions(&stored);
    assert_eq!(decided.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (alert, recipients) in &decided {
        assert_eq!(recipients.keys().collect::<Vec<_>>(), [expected[alert]], "{alert}");
    }
    assert_told(&stage, &ledger);
    drop((detect, ingest, notify));
}

fn subscribed(stage: &Stage) -> usize {
    stage.simulator.control().state().venues[&Exchange::Okx].subscribed
}

/// Whether an ingest answers and everything it heard is in MARKET.
async fn is_idle(bus: &Bus, instance: &str) -> bool {
    let services = bus.collect_status(&["ingest"], Duration::from_millis(500)).await.unwrap_or_default();
    let feed = |status: &Value| status["state"]["venues"]["okx"].clone();
    services.iter().any(|service| {
        let market = &feed(&service.status)["market"];
        service.status["instance"] == instance
            && feed(&service.status)["state"] != Value::Null
            && market["backlog_events"] == 0
    })
}

async fn assert_log_holds_each_once(bus: &Bus) {
    let mut cursor = nats::Cursor::open(bus, Stream::Market, Sequence::new(1), None).await.unwrap();
    let mut ids = BTreeSet::new();
    while let Some(record) = cursor.next_pending().await.unwrap() {
        let event: MarketEvent = wire::decode(&record.payload).unwrap();
        assert!(ids.insert(event.id()), "twice: {event:?}");
    }
}

/// Everything to be sent was sent; a repeat only where an attempt was ambiguous, marked, and once.
fn assert_told(stage: &Stage, ledger: &[LedgerEvent]) {
    let mut texts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for request in sent_alerts(&stage.simulator.telegram().requests()) {
        let text = request.params["text"].as_str().unwrap().to_owned();
        let is_marked = text.contains("(may repeat)");
        let plain = text.lines().filter(|line| !line.contains("(may repeat)")).collect::<Vec<_>>().join("\n");
        let (unmarked, marked) = texts.entry(plain).or_default();
        *(if is_marked { marked } else { unmarked }) += 1;
    }
    let mut low_failed = 0;
    for event in ledger {
        let LedgerEvent::Delivery(delivery) = event else { continue };
        if let Outcome::Failed { reason } = &delivery.outcome {
            // A crash between attempt and outcome: at most once for low.
            assert_eq!((reason.as_str(), delivery.priority), ("failed:ambiguous", schemas::alert::Priority::Low));
            low_failed += 1;
        }
    }
    let due = ledger.iter().filter(|event| is_intent(event)).count();
    let told = texts.len();
    assert!(told <= due && told + low_failed >= due, "{told} told, {due} due, {low_failed} given up");
    assert!(texts.values().all(|(unmarked, marked)| *unmarked <= 1 && *marked <= 1), "{texts:?}");
}

fn is_intent(event: &LedgerEvent) -> bool {
    matches!(event, LedgerEvent::Delivery(delivery) if matches!(delivery.outcome, Outcome::Intent { .. }))
}
