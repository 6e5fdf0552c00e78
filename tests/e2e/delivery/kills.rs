//! Notifiers that are killed or frozen at any moment of a delivery.

use std::{collections::BTreeMap, time::Duration};

use nats::Market;
use notify::caps::IN_FLIGHT_MAX;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use schemas::{
    alert::{Alert, Priority},
    delivery::{LedgerEvent, Outcome},
    id::Id,
};
use tokio::time::sleep;

use super::{Stage, alert, arrived};
use crate::support::{Service, eventually, machine};

const CHATS: std::ops::Range<i64> = 100..130;

/// Kills of an everyday run; `FORESHOCK_KILLS=100` makes a hundred of them.
const KILLS: usize = 12;

/// How often a sender is frozen.
const FREEZES: usize = 4;

/// Longest time the stand-in takes for an answer: there are always calls under way.
const DELAY: Duration = Duration::from_millis(400);

/// Longest time between a call and what happens to its sender, in milliseconds; two alerts take twice as long.
const MOMENT_MS: u64 = 1_000;

/// Venue time between two alerts, which is more than any limit looks back: in a recorded market all are sent at once.
const APART_MS: i64 = 2 * 3_600_000;

/// A market that goes on alerting thirty chats, and what came of it.
struct Storm {
    stage: Stage,
    rng: SmallRng,
    alerts: Vec<Alert>,
}

impl Storm {
    async fn begin() -> Option<Self> {
        let stage = Stage::new(Market::Recorded, CHATS).await?;
        stage.bot().set_limits(true);
        stage.bot().set_delay(DELAY);
        let seed = std::env::var("FORESHOCK_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
        eprintln!("FORESHOCK_SEED={seed}");
        Some(Self { stage, rng: SmallRng::seed_from_u64(seed), alerts: Vec::new() })
    }

    async fn alert(&mut self) {
        let number = i64::try_from(self.alerts.len()).unwrap();
        let priority = [Priority::High, Priority::Medium, Priority::Low][self.alerts.len() % 3];
        let alert = alert(number, priority, 1_790_000_000_000 + number * APART_MS);
        self.stage.publish(&alert).await;
        self.alerts.push(alert);
    }

    /// Returns at some moment of a delivery: after the first call of whoever sends, with an alert's messages to go.
    async fn some_moment_of_a_delivery(&mut self) {
        self.alert().await;
        let from = self.requests();
        eventually("somebody sends", async || self.requests() > from).await;
        self.alert().await;
        sleep(Duration::from_millis(self.rng.random_range(0..MOMENT_MS))).await;
    }

    /// How many requests the stand-in got.
    fn requests(&self) -> u64 {
        self.stage.bot().requests().last().map_or(0, |request| request.index + 1)
    }

    /// What became of every message.
    async fn courses(&self) -> BTreeMap<(Id, String), Course> {
        let mut courses: BTreeMap<(Id, String), Course> = BTreeMap::new();
        for event in self.stage.delivered(self.alerts.len()).await {
            let LedgerEvent::Delivery(delivery) = event else { continue };
            let course = courses.entry((delivery.alert, delivery.recipient)).or_default();
            match delivery.outcome {
                Outcome::Attempt { .. } => course.unknown += 1,
                Outcome::Deferred { .. } => course.unknown -= 1,
                Outcome::Failed { reason } => course.failed = Some(reason),
                Outcome::Intent { .. } | Outcome::Sent { .. } => {}
                Outcome::Limited { .. } | Outcome::Expired { .. } | Outcome::Edited { .. } | Outcome::Gone { .. } => {
                    panic!("every alert is sent to everybody: {:?}", delivery.outcome)
                }
            }
        }
        for message in arrived(&self.stage.bot()) {
            let text = message.params["text"].as_str().unwrap();
            let alert = self.alerts.iter().find(|alert| text.contains(&count_of(alert))).expect("it tells an alert");
            let course = courses.get_mut(&(alert.id, message.chat.unwrap())).expect("the ledger knows of it");
            *(if text.contains("(may repeat)") { &mut course.marked } else { &mut course.plain }) += 1;
        }
        assert_eq!(courses.len(), self.alerts.len() * CHATS.count(), "every alert is due in every chat");
        courses
    }

    /// Design 5: high and medium arrive, with at most one marked repeat, which an attempt without a known result explains;
    /// low arrives at most once.
    async fn check(&self) -> Totals {
        let priorities: BTreeMap<_, _> = self.alerts.iter().map(|alert| (alert.id, alert.priority)).collect();
        let mut totals = Totals { due: 0, arrived: 0, repeated: 0, given_up: 0, given_up_and_there: 0 };
        for ((id, chat), course) in self.courses().await {
            let shown = format!("{id} in {chat}, {:?}: {course:?}", priorities[&id]);
            let Course { unknown, failed, plain, marked } = course;
            assert!(plain <= 1 && marked <= 1, "more than one repeat, or one without a mark: {shown}");
            assert!(marked == 0 || unknown >= 2, "a repeat that no unknown attempt explains: {shown}");
            assert!(failed.as_ref().is_none_or(|reason| reason == "failed:ambiguous"), "given up: {shown}");
            if priorities[&id] == Priority::Low {
                assert!(plain + marked <= 1 && unknown <= 1, "low is sent at most once: {shown}");
                assert!(plain == 1 || failed.is_some(), "lost, and the ledger does not say so: {shown}");
            } else {
                assert!(plain + marked >= 1, "lost: {shown}");
            }
            totals.due += 1;
            totals.arrived += u32::from(plain + marked > 0);
            totals.repeated += u32::from(plain + marked > 1);
            totals.given_up += u32::from(failed.is_some());
            totals.given_up_and_there += u32::from(failed.is_some() && plain + marked > 0);
        }
        totals
    }

    /// Returns which of two services sends, when they agree.
    async fn sender(&self) -> Option<usize> {
        let services = self.stage.bus.collect_status(&["notify"], Duration::from_millis(300)).await.unwrap_or_default();
        let mut senders = services.iter().filter(|one| one.status["state"]["sender"] == true);
        match (senders.next(), senders.next()) {
            (Some(one), None) => ["a", "b"].iter().position(|name| one.status["instance"] == *name),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }
}

#[derive(Debug, Default)]
struct Course {
    /// Attempts whose result is not in the ledger, or which were the last.
    unknown: u32,
    failed: Option<String>,
    /// Messages in the chat without and with the mark of a repeat.
    plain: u32,
    marked: u32,
}

#[derive(Debug)]
struct Totals {
    due: u32,
    arrived: u32,
    repeated: u32,
    given_up: u32,
    given_up_and_there: u32,
}

/// The line of a text that tells one alert from the others.
fn count_of(alert: &Alert) -> String {
    match &alert.finding {
        schemas::alert::Finding::Cascade(cascade) => format!("⚡ {} liquidations", cascade.count),
        schemas::alert::Finding::LargeLiquidation(_) | schemas::alert::Finding::OiExplosion(_) => {
            panic!("only cascades here")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_of_a_delivery_lose_nothing_and_repeat_only_what_is_marked() {
    let _machine = machine().await;
    let Some(mut storm) = Storm::begin().await else { return };
    let kills = std::env::var("FORESHOCK_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut notify = storm.stage.notifier("a");
    let mut killed_at = Vec::new();
    for _ in 0..kills {
        storm.some_moment_of_a_delivery().await;
        notify.kill_and_restart();
        killed_at.push(storm.requests());
    }
    let totals = storm.check().await;
    // A kill leaves as many attempts open as calls can be under way.
    let marked = arrived(&storm.stage.bot());
    let marked = marked.iter().filter(|request| request.params["text"].as_str().unwrap().contains("(may repeat)"));
    let mut by_kill: BTreeMap<usize, usize> = BTreeMap::new();
    for request in marked {
        *by_kill.entry(killed_at.partition_point(|at| *at <= request.index)).or_default() += 1;
    }
    assert!(by_kill.values().all(|repeats| *repeats <= IN_FLIGHT_MAX), "{by_kill:?}");
    assert!(totals.repeated > 0, "no kill hit a call");
    let most = by_kill.values().max();
    eprintln!("{kills} kills, {} alerts: {totals:?}; marked after one kill at most {most:?}", storm.alerts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stood_still_while_another_one_took_over_repeats_nothing_unmarked() {
    let _machine = machine().await;
    let Some(mut storm) = Storm::begin().await else { return };
    let services: [Service; 2] = ["a", "b"].map(|name| storm.stage.notifier(name));
    for round in 0..FREEZES {
        storm.some_moment_of_a_delivery().await;
        let mut sender = None;
        eventually("one of them sends", async || {
            sender = storm.sender().await;
            sender.is_some()
        })
        .await;
        let frozen = sender.unwrap();
        services[frozen].signal("STOP");
        if round % 2 == 0 {
            // It wakes up while the other one is at work.
            let from = storm.requests();
            eventually("the other one sends", async || storm.requests() > from).await;
        } else {
            storm.stage.delivered(storm.alerts.len()).await;
        }
        services[frozen].signal("CONT");
        eventually("the other one sends, alone", async || storm.sender().await == Some(1 - frozen)).await;
    }
    let totals = storm.check().await;
    assert!(totals.repeated > 0, "nothing was under way when the sender was frozen");
    eprintln!("{FREEZES} freezes, {} alerts: {totals:?}", storm.alerts.len());
}
