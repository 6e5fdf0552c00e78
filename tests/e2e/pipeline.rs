//! The OKX recording through real sockets, JetStream and the Bot API stand-in, against the same recording as a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use foreshock::simulate::{self, Simulator, Source, Speed, Timing, telegram::Request};
use ingest::exchange::Exchange;
use nats::{Bus, Market};
use schemas::{
    alert::{Alert, Finding, Kind, Phase, Priority},
    delivery::{LedgerEvent, Outcome},
    id::Id,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    history,
    support::{
        CHAT, Nats, OKX, OKX_INSTRUMENTS, Service, TOKEN, alerts, env, eventually, figures, ledger, recording,
        replayed_file, settled,
    },
};

/// A running market and everything around the services.
pub(crate) struct Stage {
    pub(crate) nats: Nats,
    pub(crate) simulator: Simulator,
    pub(crate) bus: Bus,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) logs: TempDir,
    /// The alerts of the recording as a file.
    pub(crate) file: Vec<Value>,
}

impl Stage {
    /// Nothing where the recordings or nats-server are missing.
    pub(crate) async fn okx(speed: Speed, wait_subscribers: usize) -> Option<Self> {
        let (file, instruments, nats) = (recording(OKX)?, recording(OKX_INSTRUMENTS)?, Nats::start()?);
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let args = [&text(&file), "--venue", "okx", "--instruments", &text(&instruments)];
        let replayed = replayed_file(&args);
        let source =
            Source::Recording { venue: Exchange::Okx, file, instruments: Some(instruments), speed, wait_subscribers };
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
        let bus = nats.bus("", Market::Recorded).await;
        let env = env([
            ("NATS_URL", nats.url()),
            ("FORESHOCK_MARKET", "recorded".to_owned()),
            ("FORESHOCK_VENUES", "okx".to_owned()),
            ("FORESHOCK_OKX_WS_URL", simulator.ws_url(Exchange::Okx)),
            ("FORESHOCK_OKX_REST_URL", simulator.http_url(Exchange::Okx)),
            ("FORESHOCK_TELEGRAM_API_URL", simulator.telegram_url()),
            ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
            ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
            ("MONITORING_LOG_LEVEL", "INFO".to_owned()),
        ]);
        Some(Self { nats, simulator, bus, env, logs: tempfile::tempdir().unwrap(), file: replayed })
    }

    /// Starts a service; `name` tells several of a role apart.
    pub(crate) fn start(&self, role: &str, name: &str) -> Service {
        let mut env = self.env.clone();
        env.insert("FORESHOCK_INSTANCE".to_owned(), name.to_owned());
        Service::start(role, &env, &self.logs.path().join(format!("{role}-{name}.log")))
    }

    /// Waits until the whole recording was played and everything that follows from it is decided and sent.
    pub(crate) async fn drained(&self) {
        self.simulator.done().await;
        let quiet = Duration::from_secs(4);
        let count = settled("alerts", quiet, async || alerts(&self.bus).await.len()).await;
        eventually("every alert is decided", async || decisions(&ledger(&self.bus).await).len() >= count).await;
        eventually("every delivery has ended", async || unfinished(&ledger(&self.bus).await) == 0).await;
    }
}

/// The alerts of one kind of run, by id, without what the world around it decides.
pub(crate) fn by_id(alerts: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    alerts.into_iter().map(|alert| (alert["id"].as_str().unwrap().to_owned(), figures(alert))).collect()
}

/// Promise (b): the same ids and figures as the file, except an `ended` that the file leaves open.
pub(crate) fn assert_same_as_file(stored: &[(Alert, Vec<u8>)], file: &[Value]) {
    let file = by_id(file.iter().cloned());
    let mut stored = by_id(stored.iter().map(|(alert, _)| serde_json::to_value(alert).unwrap()));
    stored.retain(|id, alert| file.contains_key(id) || alert["phase"] != "ended");
    assert_eq!(stored.keys().collect::<Vec<_>>(), file.keys().collect::<Vec<_>>());
    assert_eq!(stored, file);
}

pub(crate) fn decisions(ledger: &[LedgerEvent]) -> BTreeMap<Id, BTreeMap<String, u32>> {
    let mut decisions = BTreeMap::new();
    for event in ledger {
        if let LedgerEvent::Decision(decision) = event {
            let before = decisions.insert(decision.alert, decision.recipients.clone());
            assert_eq!(before, None, "one decision an alert");
        }
    }
    decisions
}

/// Returns the messages that tell an alert: no edits, pictures and digests.
pub(crate) fn sent_alerts(requests: &[Request]) -> Vec<&Request> {
    let is_digest = |request: &Request| request.params["text"].as_str().is_some_and(|text| text.starts_with('🔕'));
    requests.iter().filter(|request| request.method == "sendMessage" && !is_digest(request)).collect()
}

/// Intents without an outcome that ends them.
pub(crate) fn unfinished(ledger: &[LedgerEvent]) -> usize {
    let mut open = BTreeSet::new();
    for event in ledger {
        let LedgerEvent::Delivery(delivery) = event else { continue };
        match delivery.outcome {
            Outcome::Intent { .. } => {
                open.insert(delivery.alert);
            }
            Outcome::Sent { .. } | Outcome::Failed { .. } | Outcome::Expired { .. } => {
                open.remove(&delivery.alert);
            }
            Outcome::Limited { .. }
            | Outcome::Attempt { .. }
            | Outcome::Deferred { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => {}
        }
    }
    open.len()
}

/// What was told to the one chat so far, on the largest event time decided.
#[derive(Default)]
struct Told {
    clock: i64,
    /// First messages by base and kind.
    first: BTreeMap<(String, Kind), i64>,
    /// Every new message.
    new: Vec<i64>,
    /// The cascades the chat has a message of, and when it last got a reply about each.
    episodes: BTreeMap<Id, Option<i64>>,
}

impl Told {
    fn has_place(&self, priority: Priority) -> bool {
        let places = match priority {
            Priority::Low => 6,
            Priority::Medium => 8,
            Priority::High => 10,
        };
        self.new.iter().filter(|at| self.clock - **at < 3_600_000).count() < places
    }

    /// Design 5, for a chat that takes everything, in a market without time to live.
    fn decide(&mut self, alert: &Alert) -> &'static str {
        self.clock = self.clock.max(alert.event_time.as_millis());
        if let Finding::Cascade(cascade) = &alert.finding
            && cascade.phase != Phase::Started
        {
            let has_place = self.has_place(alert.priority);
            match self.episodes.get_mut(&cascade.episode) {
                Some(replied) => {
                    let is_lately = replied.is_some_and(|at| self.clock - at < 60_000);
                    if cascade.phase != Phase::Escalated || is_lately || !has_place {
                        return "edit";
                    }
                    *replied = Some(self.clock);
                    self.new.push(self.clock);
                    return "reply";
                }
                None if cascade.phase == Phase::Ended => return "held:phase",
                None => {}
            }
        }
        let base = alert.base.to_string();
        let within = |(told, kind): (&(String, Kind), &i64), wanted: Option<Kind>, span: i64| {
            told.0 == base && wanted.is_none_or(|wanted| wanted == told.1) && self.clock - kind < span
        };
        let is_inside = matches!(&alert.finding, Finding::LargeLiquidation(large) if large.episode.is_some());
        if is_inside && alert.priority != Priority::High {
            return "held:cascade";
        } else if self.first.iter().any(|told| within(told, Some(alert.kind()), 300_000)) {
            return "held:five_minutes";
        } else if self.first.iter().any(|told| within(told, None, 60_000)) {
            return "held:rate";
        } else if !self.has_place(alert.priority) {
            return "held:hour";
        }
        self.first.insert((base, alert.kind()), self.clock);
        self.new.push(self.clock);
        if let Finding::Cascade(cascade) = &alert.finding {
            self.episodes.insert(cascade.episode, None);
        }
        "send"
    }
}

/// What is to become of each alert. Written afresh from the contract, not with the code under test.
pub(crate) fn expected_decisions(stored: &[(Alert, Vec<u8>)]) -> BTreeMap<Id, &'static str> {
    let mut told = Told::default();
    stored.iter().map(|(alert, _)| (alert.id, told.decide(alert))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recording_through_the_whole_pipeline_gives_the_file_s_alerts_and_each_is_told_once() {
    let Some(stage) = Stage::okx(Speed::Max, 1).await else { return };
    let _detect = stage.start("detect", "a");
    let _notify = stage.start("notify", "a");
    let _ingest = stage.start("ingest", "a");
    stage.drained().await;

    let stored = alerts(&stage.bus).await;
    assert_same_as_file(&stored, &stage.file);

    let expected = expected_decisions(&stored);
    let decided = decisions(&ledger(&stage.bus).await);
    let decided: BTreeMap<_, _> = decided
        .iter()
        .map(|(alert, recipients)| {
            assert_eq!(recipients.values().sum::<u32>(), 1, "one chat");
            (*alert, recipients.keys().next().unwrap().as_str())
        })
        .collect();
    assert_eq!(decided, expected);

    let due = expected.values().filter(|decision| matches!(**decision, "send" | "reply")).count();
    let requests = stage.simulator.telegram().requests();
    assert!(requests.iter().all(|request| request.chat.as_deref() == Some(CHAT)));
    let sent = sent_alerts(&requests);
    assert_eq!(sent.len(), due, "once each");
    let is_ours = |method: &str| matches!(method, "sendMessage" | "editMessageText" | "sendPhoto");
    assert!(requests.iter().all(|request| is_ours(&request.method)), "a shared token makes no other call");
    let is_cascade = |alert: &Alert| alert.kind() == Kind::Cascade && matches!(expected[&alert.id], "send" | "reply");
    let due = stored.iter().filter(|(alert, _)| is_cascade(alert)).count();
    let cascades = sent.iter().filter(|request| request.params["text"].as_str().unwrap().contains("CASCADE")).count();
    assert_eq!(cascades, due);
    history::assert_told_as_it_was(&stage.bus, &stage.env).await;
}
