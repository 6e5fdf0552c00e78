//! Delivery: a real nats-server, `foreshock notify` as processes, the Bot API stand-in, and alerts from the test itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use foreshock::simulate::{
    self, Simulator, Source, Speed, Timing,
    telegram::{Bot, Request},
};
use nats::{AlertStored, Bus, Market};
use schemas::{
    alert::{Alert, Finding, Kind, Phase, Priority},
    delivery::{LedgerEvent, Outcome},
    id::Id,
    market::{Origin, Rules},
    position::{Created, Evidence, MarketPosition, Sequence},
    subject::Stream,
    subscriber::{Cause, Preferences, Standing, Subscriber},
    time::{EventTime, ReceivedAt},
};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::{Nats, Service, TOKEN, env, eventually, ledger, run};

mod kills;
mod memory;
mod thousand;

/// A cascade's start as the schemas' own tests have it.
const CASCADE: &str = include_str!("../../schemas/tests/fixtures/v1/alert_cascade.json");

/// A broker with rules, the Bot API stand-in, and nobody who sends.
struct Stage {
    simulator: Simulator,
    bus: Bus,
    env: BTreeMap<String, String>,
    logs: TempDir,
    nats: Nats,
}

impl Stage {
    /// A stage with these chats. Nothing where nats-server is missing. The bot's token is foreshock's own.
    async fn new(market: Market, chats: Range<i64>) -> Option<Self> {
        let nats = Nats::start()?;
        let source =
            Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 1 };
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
        let bus = nats.bus("", market).await;
        bus.apply_topology().await.unwrap();
        let rules = Rules::new(1, Origin::Cli, detect::rules::SHIPPED.to_owned());
        bus.publish_rules(&rules, Sequence::new(0)).await.unwrap();
        let name = match market {
            Market::Live => "live",
            Market::Recorded => "recorded",
        };
        let env = env([
            ("NATS_URL", nats.url()),
            ("FORESHOCK_MARKET", name.to_owned()),
            ("FORESHOCK_TELEGRAM_API_URL", simulator.telegram_url()),
            ("FORESHOCK_BOT_TOKEN", TOKEN.to_owned()),
            ("TELEGRAM_CHAT_ID", chats.start.to_string()),
        ]);
        let stage = Self { simulator, bus, env, logs: tempfile::tempdir().unwrap(), nats };
        stage.subscribe(chats);
        Some(stage)
    }

    fn notifier(&self, name: &str) -> Service {
        let mut env = self.env.clone();
        env.insert("FORESHOCK_INSTANCE".to_owned(), name.to_owned());
        Service::start("notify", &env, &self.logs.path().join(format!("notify-{name}.log")))
    }

    fn bot(&self) -> Bot {
        self.simulator.telegram()
    }

    /// Subscribes chats to everything but pictures, from a file as an operator would.
    fn subscribe(&self, chats: Range<i64>) {
        let lines: Vec<_> = chats.map(|chat| serde_json::to_string(&subscriber(chat)).unwrap()).collect();
        let file = self.logs.path().join("chats.jsonl");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let (code, out, err) = run(&["subscribers", "add", "--from", file.to_str().unwrap()], &self.env);
        assert_eq!((code, out.trim()), (0, format!("{} stored, 0 unchanged", lines.len()).as_str()), "{err}");
    }

    /// Stores an alert as a detector does.
    async fn publish(&self, alert: &Alert) {
        let position = MarketPosition { created: Created::from_nanos(1), sequence: Sequence::new(1) };
        let evidence = Evidence { first: Sequence::new(1), last: Sequence::new(1) };
        let stored = self.bus.publish_alert(alert, position, evidence, now_ms()).await.unwrap();
        assert!(matches!(stored, AlertStored::Stored(_)), "{stored:?}");
    }

    /// Waits until `alerts` are decided and every delivery has ended, and returns the ledger.
    ///
    /// However long that takes, the ledger grows meanwhile: a chat takes one message a second.
    async fn delivered(&self, alerts: usize) -> Vec<LedgerEvent> {
        loop {
            let events = ledger(&self.bus).await;
            let (decided, open) = tally(&events);
            if decided == alerts && open == 0 {
                return events;
            }
            let so_far = Sequence::new(events.len() as u64);
            let state = async || self.bus.stream_state(Stream::Deliveries).await.unwrap();
            sleep(Duration::from_millis(500)).await;
            eventually("deliveries go on", async || state().await.last > so_far).await;
        }
    }
}

/// Decisions, and deliveries without an end. One that is sent while another sender gives it up has two.
fn tally(ledger: &[LedgerEvent]) -> (usize, usize) {
    let (mut decided, mut open, mut ended) = (0, BTreeSet::new(), BTreeSet::new());
    for event in ledger {
        let LedgerEvent::Delivery(delivery) = event else {
            decided += usize::from(matches!(event, LedgerEvent::Decision(_)));
            continue;
        };
        let key = (delivery.alert, &delivery.recipient);
        match delivery.outcome {
            Outcome::Intent { .. } => open.insert(key),
            Outcome::Sent { .. } | Outcome::Failed { .. } | Outcome::Expired { .. } => ended.insert(key),
            Outcome::Limited { .. }
            | Outcome::Attempt { .. }
            | Outcome::Deferred { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => false,
        };
    }
    (decided, open.difference(&ended).count())
}

/// The start of a cascade, the `number`th of its kind.
fn alert(number: i64, priority: Priority, event_time: i64) -> Alert {
    let mut alert: Alert = serde_json::from_str(CASCADE).unwrap();
    alert.trigger = Id::of("test", &[&number.to_string()]);
    alert.id = Alert::id_of_start(Kind::Cascade, &alert.base, alert.trigger);
    alert.priority = priority;
    alert.event_time = EventTime::from_millis(event_time);
    alert.received_at = ReceivedAt::from_millis(event_time + 100);
    if let Finding::Cascade(cascade) = &mut alert.finding {
        cascade.phase = Phase::Started;
        cascade.episode = alert.id;
        // The text tells one from another.
        cascade.count = number.unsigned_abs() + 5;
    }
    alert
}

fn subscriber(chat: i64) -> Subscriber {
    Subscriber {
        v: schemas::subscriber::VERSION,
        channel: "telegram".to_owned(),
        recipient: chat.to_string(),
        at: 0,
        cause: Cause::Cli,
        update: None,
        standing: Standing::Active,
        preferences: Preferences { pictures: false, ..Preferences::default() },
    }
}

/// Messages that stand in a chat, oldest first.
fn arrived(bot: &Bot) -> Vec<Request> {
    let mut requests = bot.requests();
    requests.retain(|request| request.method == "sendMessage" && request.delivered);
    requests
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

const fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}
