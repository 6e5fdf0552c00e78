//! What people write to the bot and press under its alerts, and what other programs ask over NATS.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foreshock::simulate::{
    self, Simulator, Source, Speed, Timing,
    telegram::{Bot, ChatSetup, Kind, Member, Membership, Press, Say, Status},
};
use nats::{Bus, Market};
use schemas::{
    alert::{self, Alert, Finding, LargeLiquidation, Priority},
    delivery::{LedgerEvent, Topic},
    id::Id,
    market::{Origin, PriceKind, Rules, Side},
    position::{Created, Evidence, MarketPosition, Sequence},
    subscriber::{Standing, Subscriber},
    time::{EventTime, ReceivedAt},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{CHAT, Nats, Service, TOKEN, env, eventually, ledger, run};

/// How long an answer may take on a slow and shared machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CHAT_ID: i64 = 4242;
const GROUP: i64 = -1_000_000_000_777;
const ADMIN: i64 = 501;
const MEMBER: i64 = 502;
const STRANGER: i64 = 666;
const GUEST: i64 = 777;

/// Methods a shared token never calls: another program owns polls, commands, buttons and the webhook (design 5).
const OF_A_BOT_OF_OUR_OWN: [&str; 7] =
    ["getUpdates", "deleteWebhook", "getMyCommands", "setMyCommands", "answerCallbackQuery", "getChatMember", "getMe"];

/// A notifier with a token of its own, a broker with rules, and the Bot API.
struct Stage {
    nats: Nats,
    bus: Bus,
    simulator: Simulator,
    env: BTreeMap<String, String>,
    logs: TempDir,
}

impl Stage {
    async fn new(token: &str) -> Option<Self> {
        let nats = Nats::start()?;
        let bus = nats.bus("", Market::Live).await;
        bus.apply_topology().await.unwrap();
        let rules = Rules::new(1, Origin::Cli, detect::rules::SHIPPED.to_owned());
        bus.publish_rules(&rules, Sequence::new(0)).await.unwrap();
        bus.repair_rules().await.unwrap();
        let source =
            Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 9 };
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
        let env = env([
            ("NATS_URL", nats.url()),
            ("FORESHOCK_TELEGRAM_API_URL", simulator.telegram_url()),
            (token, TOKEN.to_owned()),
            ("TELEGRAM_CHAT_ID", format!("{CHAT},{GROUP}")),
            ("FORESHOCK_ALLOWED_CHATS", GUEST.to_string()),
            ("ALERT_RATE_LIMIT_SECONDS", "0".to_owned()),
        ]);
        let member = |id, name: &str, status| Member { id, name: name.to_owned(), status };
        let members = vec![member(ADMIN, "Ada", Status::Administrator), member(MEMBER, "Max", Status::Member)];
        let group =
            ChatSetup { id: GROUP, kind: Kind::Supergroup, title: "Desk".to_owned(), topics: BTreeMap::new(), members };
        let stage = Self { nats, bus, simulator, env, logs: tempfile::tempdir().unwrap() };
        stage.bot().set_chat(group).unwrap();
        Some(stage)
    }

    fn start(&self) -> Service {
        Service::start("notify", &self.env, &self.logs.path().join("notify.log"))
    }

    fn bot(&self) -> Bot {
        self.simulator.telegram()
    }

    fn say(&self, chat: i64, from: i64, text: &str) -> i64 {
        self.bot().say(Say { chat, from: Some(from), text: text.to_owned(), ..Say::default() }).unwrap()
    }

    /// What the bot wrote into a chat, oldest first.
    fn told(&self, chat: i64) -> Vec<String> {
        let is_ours = |message: &Value| message["from"]["is_bot"] == true;
        let messages = self.bot().messages(chat);
        messages.iter().filter(|message| is_ours(message)).map(text).collect()
    }

    /// Waits for a message of the bot that begins so.
    async fn hears(&self, chat: i64, begins: &str) -> String {
        let found = || self.told(chat).into_iter().rev().find(|text| text.starts_with(begins));
        let began = std::time::Instant::now();
        while found().is_none() {
            assert!(began.elapsed() < PATIENCE, "never in {chat}: {begins}; but {:?}", self.told(chat));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        found().unwrap()
    }

    async fn subscriber(&self, chat: i64) -> Option<Subscriber> {
        let stored = self.bus.subscriber("telegram", &chat.to_string()).await.unwrap();
        stored.map(|stored| stored.subscriber)
    }

    /// Stores a large liquidation of the present and returns its message in the chat.
    async fn alert(&self, number: i64, chat: i64) -> (Id, Value) {
        let alert = large_liquidation(number);
        let position = MarketPosition { created: Created::from_nanos(7), sequence: Sequence::new(1) };
        let evidence = Evidence { first: Sequence::new(1), last: Sequence::new(1) };
        self.bus.publish_alert(&alert, position, evidence, now_ms()).await.unwrap();
        let has_button = |message: &Value| message.to_string().contains(&alert.id.to_string());
        let found = || self.bot().messages(chat).into_iter().find(has_button);
        eventually("the alert with its buttons", async || found().is_some()).await;
        (alert.id, found().unwrap())
    }

    fn press(&self, chat: i64, from: i64, message: &Value, data: String) {
        let message_id = message["message_id"].as_i64().unwrap();
        self.bot().press(Press { chat, from: Some(from), message_id, data }).unwrap();
    }

    /// Texts that answered pressed buttons, oldest first.
    fn toasts(&self) -> Vec<String> {
        let answers = self.bot().requests().into_iter().filter(|request| request.method == "answerCallbackQuery");
        answers.map(|answer| text(&answer.params)).collect()
    }

    /// Asks as another program does.
    async fn request(&self, request: Value) -> Value {
        let client = async_nats::connect(self.nats.url()).await.unwrap();
        let answer = client.request("service.notify.subscriptions", request.to_string().into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }
}

fn text(message: &Value) -> String {
    message["text"].as_str().unwrap_or_default().to_owned()
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn large_liquidation(number: i64) -> Alert {
    let trigger = Id::of("test", &[&number.to_string()]);
    let base = ["BTC", "ETH", "SOL"][number as usize % 3].parse().unwrap();
    Alert {
        v: alert::VERSION,
        id: Alert::id_of_start(alert::Kind::LargeLiquidation, &base, trigger),
        base,
        priority: Priority::High,
        rules: trigger,
        trigger,
        event_time: EventTime::from_millis(now_ms()),
        received_at: ReceivedAt::from_millis(now_ms()),
        window_ms: 30_000,
        coverage: BTreeMap::new(),
        saturated: false,
        finding: Finding::LargeLiquidation(LargeLiquidation {
            venue: "okx".parse().unwrap(),
            instrument: "BTC-USDT-SWAP".parse().unwrap(),
            liquidated: Side::Long,
            quantity: "1".parse().unwrap(),
            price: "1000000".parse().unwrap(),
            price_kind: PriceKind::Bankruptcy,
            notional_usd: "1000000".parse().unwrap(),
            episode: None,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_heard_and_changes_what_it_gets() {
    let Some(stage) = Stage::new("FORESHOCK_BOT_TOKEN").await else { return };
    // A webhook left behind would keep every update from us.
    stage.bot().set_webhook(Some("https://example.org/hook".to_owned()));
    stage.say(CHAT_ID, CHAT_ID, "/settings");
    let service = stage.start();
    stage.hears(CHAT_ID, "⚙️ Settings").await;

    stage.say(CHAT_ID, CHAT_ID, "/mute BTC 1h");
    stage.hears(CHAT_ID, "🔕").await;
    let mutes = stage.subscriber(CHAT_ID).await.unwrap().preferences.mutes;
    assert_eq!(mutes.len(), 1, "{mutes:?}");
    stage.say(CHAT_ID, CHAT_ID, "/threshold BTC 250k");
    eventually("a threshold", async || !stage.subscriber(CHAT_ID).await.unwrap().preferences.thresholds.is_empty())
        .await;
    stage.say(CHAT_ID, CHAT_ID, "/test");
    stage.hears(CHAT_ID, "🧪 TEST").await;
    stage.say(CHAT_ID, CHAT_ID, "/help");
    assert!(stage.hears(CHAT_ID, "📖").await.contains("/liquidations"));
    stage.say(CHAT_ID, CHAT_ID, "/alerts");
    stage.hears(CHAT_ID, "⚠️").await;

    // Who is in no list is told whom to ask, once; who is in the list may subscribe.
    stage.say(STRANGER, STRANGER, "/start");
    stage.say(STRANGER, STRANGER, "/start again");
    stage.say(GUEST, GUEST, "/start");
    stage.hears(GUEST, "👋").await;
    assert_eq!(stage.subscriber(GUEST).await.unwrap().standing, Standing::Active);
    assert_eq!(stage.told(STRANGER).len(), 1);
    assert_eq!(stage.subscriber(STRANGER).await, None);

    // Settings of a group are its administrators' business.
    stage.say(GROUP, MEMBER, "/mute ETH 1h");
    stage.say(GROUP, ADMIN, "/mute SOL 1h");
    eventually("two answers in the group", async || stage.told(GROUP).len() == 2).await;
    let muted: Vec<_> = stage.subscriber(GROUP).await.unwrap().preferences.mutes.into_iter().map(|m| m.base).collect();
    assert_eq!(muted, [Some("SOL".parse().unwrap())]);

    // Who blocks the bot is switched off, and on again by /start.
    let member = |status| Membership { chat: GUEST, from: None, status };
    stage.bot().set_member(member(Status::Kicked)).unwrap();
    let off = Standing::Off { reason: "blocked".to_owned() };
    eventually("switched off", async || stage.subscriber(GUEST).await.unwrap().standing == off).await;
    stage.say(GUEST, GUEST, "/start");
    eventually("on again", async || stage.subscriber(GUEST).await.unwrap().standing == Standing::Active).await;

    let methods: BTreeSet<String> = stage.bot().requests().into_iter().map(|request| request.method).collect();
    let unused = ["answerCallbackQuery"];
    for method in OF_A_BOT_OF_OUR_OWN.iter().filter(|method| !unused.contains(method)) {
        assert!(methods.contains(*method), "{method} in {methods:?}");
    }
    assert!(!service.log().contains("test-token"), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_mute_explain_and_rate() {
    let Some(stage) = Stage::new("FORESHOCK_BOT_TOKEN").await else { return };
    let _service = stage.start();
    stage.say(CHAT_ID, CHAT_ID, "/start");
    stage.hears(CHAT_ID, "👋").await;
    let (alert, message) = stage.alert(0, CHAT_ID).await;
    for code in ["u", "n", "m1", "d"] {
        stage.press(CHAT_ID, CHAT_ID, &message, format!("{code}:{alert}"));
    }
    eventually("four answers", async || stage.toasts().len() == 4).await;
    assert_eq!(stage.subscriber(CHAT_ID).await.unwrap().preferences.mutes.len(), 1);
    stage.hears(CHAT_ID, "🔎").await;
    let rated: Vec<_> = ledger(&stage.bus)
        .await
        .into_iter()
        .filter_map(|event| if let LedgerEvent::Feedback(rated) = event { Some(rated) } else { None })
        .collect();
    assert_eq!(
        rated.iter().map(|rated| (rated.alert, rated.useful)).collect::<Vec<_>>(),
        [(alert, true), (alert, false)]
    );

    // What people said is a figure, and the commands of the chat and of the terminal tell it alike.
    stage.say(CHAT_ID, CHAT_ID, "/history 2h");
    assert!(stage.hears(CHAT_ID, "📊").await.contains("Useful: 0 of 1 rated"));
    let (code, out, err) = run(&["history", "--json"], &stage.env);
    assert_eq!(code, 0, "{err}");
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rows[0]["rated"], &rows[0]["useful"], &rows[0]["sent"]), (&json!(1), &json!(0), &json!(2)), "{rows}");
    assert!(rows[0]["accepted_ms"]["p99"].as_i64().unwrap() >= rows[0]["detected_ms"]["p50"].as_i64().unwrap());
    stage.say(CHAT_ID, CHAT_ID, &format!("/why {alert}"));
    eventually("explained twice", async || {
        stage.told(CHAT_ID).iter().filter(|text| text.starts_with("🔎") && text.contains("$1M on okx")).count() == 2
    })
    .await;

    let (alert, message) = stage.alert(1, GROUP).await;
    stage.press(GROUP, MEMBER, &message, format!("m8:{alert}"));
    eventually("five answers", async || stage.toasts().len() == 5).await;
    assert!(stage.subscriber(GROUP).await.unwrap().preferences.mutes.is_empty());
    stage.press(GROUP, ADMIN, &message, format!("m8:{alert}"));
    eventually("muted", async || stage.subscriber(GROUP).await.unwrap().preferences.mutes.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_or_carried_out_twice_across_kills() {
    let Some(stage) = Stage::new("FORESHOCK_BOT_TOKEN").await else { return };
    let mut service = stage.start();
    let mut said = 0;
    for round in 0..8 {
        for number in 0..3 {
            // Each changes something that only it changes.
            stage.say(CHAT_ID, CHAT_ID, ["/test", "/settings pictures off", "/settings"][number]);
            said += 1;
        }
        // At another moment each time: before, within and after carrying out.
        tokio::time::sleep(Duration::from_millis(round * 60)).await;
        service.kill_and_restart();
    }
    let updates = async || {
        let events = ledger(&stage.bus).await.into_iter();
        events.filter_map(|event| if let LedgerEvent::Update(done) = event { Some(done.update) } else { None })
    };
    eventually("everything is carried out", async || updates().await.count() >= said).await;
    let numbers: Vec<i64> = updates().await.collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "each once: {numbers:?}");
    assert_eq!(numbers.len(), said);
    // One answer an update, one message a test, however often they were begun.
    let (mut answers, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for event in ledger(&stage.bus).await {
        if let LedgerEvent::Note(note) = event {
            match note.topic {
                Topic::Answer { .. } => drop(answers.insert(note.id)),
                Topic::Notice { .. } => drop(tests.insert(note.id)),
                Topic::Digest { .. } | Topic::Picture { .. } | Topic::Canary { .. } => {}
            }
        }
    }
    assert_eq!((answers.len(), tests.len()), (said, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_shared_token_nobody_is_heard_and_nothing_of_the_bot_is_touched() {
    let Some(stage) = Stage::new("TELEGRAM_BOT_TOKEN").await else { return };
    stage.bot().set_webhook(Some("https://example.org/hook".to_owned()));
    stage.say(CHAT_ID, CHAT_ID, "/settings");
    let _service = stage.start();
    eventually("everybody is subscribed", async || stage.subscriber(GROUP).await.is_some()).await;
    let alert = large_liquidation(0);
    let position = MarketPosition { created: Created::from_nanos(7), sequence: Sequence::new(1) };
    let evidence = Evidence { first: Sequence::new(1), last: Sequence::new(1) };
    stage.bus.publish_alert(&alert, position, evidence, now_ms()).await.unwrap();
    eventually("both chats are told", async || stage.told(CHAT_ID).len() + stage.told(GROUP).len() == 2).await;
    // Other programs may still change what a chat gets.
    let reply = stage.request(json!({ "recipient": CHAT, "command": "/mute BTC 1h" })).await;
    assert_eq!(reply["ok"], true, "{reply}");

    let called: BTreeSet<String> = stage.bot().requests().into_iter().map(|request| request.method).collect();
    let allowed = ["sendMessage", "editMessageText", "sendPhoto", "getMe"];
    assert!(called.iter().all(|method| allowed.contains(&method.as_str())), "{called:?}");
    for method in OF_A_BOT_OF_OUR_OWN.iter().filter(|method| !allowed.contains(method)) {
        assert!(!called.contains(*method), "{method}");
    }
    let markup = stage.bot().requests().into_iter().find(|request| !request.params["reply_markup"].is_null());
    assert_eq!(markup, None, "no buttons: nobody would hear them");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_change_subscriptions_over_nats() {
    let Some(stage) = Stage::new("FORESHOCK_BOT_TOKEN").await else { return };
    let _service = stage.start();
    eventually("everybody is subscribed", async || stage.subscriber(GROUP).await.is_some()).await;
    let before = stage.told(CHAT_ID).len();
    let reply = stage.request(json!({ "recipient": CHAT, "command": "/mute BTC 1h", "request": "r-1" })).await;
    assert_eq!((&reply["ok"], &reply["request"]), (&json!(true), &json!("r-1")), "{reply}");
    assert_eq!(reply["subscriber"]["preferences"]["mutes"][0]["base"], "BTC");
    // The operator's authority: also for chats that are in no list, and for groups.
    let reply = stage.request(json!({ "recipient": "99", "command": "/start" })).await;
    assert_eq!(reply["subscriber"]["standing"], "active", "{reply}");
    let reply = stage.request(json!({ "recipient": GROUP.to_string(), "command": "/settings edits on" })).await;
    assert_eq!(reply["subscriber"]["preferences"]["edits_only"], true, "{reply}");
    for (request, says) in [
        (json!({ "recipient": CHAT, "command": "/threshold BTC 1k" }), "from $100,000 on"),
        (json!({ "recipient": CHAT, "command": "/nonsense" }), "there is no such command"),
        (json!({ "recipient": "me", "command": "/help" }), "`me` is no chat"),
        (json!({ "command": "/help" }), "is not understood"),
    ] {
        let reply = stage.request(request.clone()).await;
        assert_eq!(reply["ok"], false, "{request}: {reply}");
        assert!(reply["error"].as_str().unwrap().contains(says), "{request}: {reply}");
    }
    assert_eq!(stage.told(CHAT_ID).len(), before, "the answer goes to who asked");
    let services = stage.bus.collect_status(&["notify"], Duration::from_secs(1)).await.unwrap();
    assert_eq!(services.len(), 1);
}
