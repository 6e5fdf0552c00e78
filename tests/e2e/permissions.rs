//! nats/server.conf: what each user may do, and that the services need no more.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use foreshock::simulate::{self, Source, Speed, Storms, Timing};
use ingest::exchange::Exchange;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{CHAT, Nats, Service, TOKEN, env, eventually, run};

/// How long the server has to deny something; it answers within milliseconds.
const DENIAL: Duration = Duration::from_secs(3);

const USERS: [&str; 5] = ["ingest", "detect", "notify", "viewer", "admin"];

/// What somebody tries.
#[derive(Clone, Copy, Debug)]
enum Act {
    Publish(&'static str),
    Subscribe(&'static str),
}
use Act::{Publish, Subscribe};

/// Acts and who may do them; everybody else is denied.
const ACTS: [(Act, &[&str]); 34] = [
    // Facts of the market, and which rules are in force.
    (Publish("market.liquidation.binance.BTC"), &["ingest", "admin"]),
    (Publish("market.oi.binance.BTC"), &["ingest", "admin"]),
    (Publish("market.feed.binance"), &["ingest", "admin"]),
    (Publish("market.rules"), &["detect", "admin"]),
    (Publish("rules.7"), &["detect", "admin"]),
    // Conclusions, decisions, deliveries, recipients.
    (Publish("alert.cascade.BTC.x"), &["detect", "admin"]),
    (Publish("decision.x"), &["notify", "admin"]),
    (Publish("delivery.telegram.1"), &["notify", "admin"]),
    (Publish("subscriber.telegram.1"), &["notify", "admin"]),
    (Publish("dead.MARKET.x"), &["detect", "notify", "admin"]),
    (Publish("dead.DELIVERIES.x"), &["notify", "admin"]),
    // Buckets.
    (Publish("$KV.STATE.head.x"), &["detect", "admin"]),
    (Publish("$KV.LEASES.notify"), &["ingest", "notify", "admin"]),
    (Publish("$KV.LEASES.poll.binance"), &["ingest", "admin"]),
    // Reading, by a consumer or at once.
    (Publish("$JS.API.CONSUMER.CREATE.MARKET.x"), &["ingest", "detect", "notify", "admin"]),
    (Publish("$JS.API.CONSUMER.CREATE.ALERTS.x"), &["notify", "admin"]),
    (Publish("$JS.API.DIRECT.GET.ALERTS"), &["detect", "notify", "viewer", "admin"]),
    (Publish("$JS.API.CONSUMER.CREATE.SUBSCRIBERS.x"), &["notify", "admin"]),
    (Publish("$JS.API.DIRECT.GET.SUBSCRIBERS"), &["notify", "admin"]),
    (Publish("$JS.API.CONSUMER.CREATE.DELIVERIES.x"), &["notify", "admin"]),
    (Publish("$JS.API.DIRECT.GET.DELIVERIES"), &["notify", "admin"]),
    (Publish("$JS.API.CONSUMER.MSG.NEXT.ALERTS.notify"), &["notify", "admin"]),
    (Subscribe("alert.>"), &["viewer", "admin"]),
    (Subscribe("delivery.>"), &["admin"]),
    (Subscribe("_INBOX_notify.>"), &["notify", "admin"]),
    (Subscribe("_INBOX_admin.>"), &["admin"]),
    // Asking services, and answering for one.
    (Publish("service.notify.subscriptions"), &["admin"]),
    (Publish("service.detect.status"), &["viewer", "admin"]),
    (Subscribe("service.notify.subscriptions"), &["notify", "admin"]),
    // Changing, emptying, importing.
    (Publish("$JS.API.STREAM.CREATE.MARKET"), &["admin"]),
    (Publish("$JS.API.STREAM.UPDATE.MARKET"), &["admin"]),
    (Publish("$JS.API.STREAM.PURGE.ALERTS"), &["admin"]),
    (Publish("$JS.API.STREAM.RESTORE.ALERTS"), &["admin"]),
    (Publish("$JS.API.CONSUMER.CREATE.ALERTS.notify"), &["notify", "admin"]),
];

async fn connect(nats: &Nats, user: &str) -> (Client, mpsc::UnboundedReceiver<String>) {
    let (denials, denied) = mpsc::unbounded_channel();
    let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
    let options = options.custom_inbox_prefix(format!("_INBOX_{user}")).event_callback(move |event| {
        let denials = denials.clone();
        async move {
            if let Event::ServerError(error) = event {
                let _ = denials.send(error.to_string());
            }
        }
    });
    (options.connect(nats.url()).await.unwrap(), denied)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let Some(nats) = Nats::start_with_users() else { return };
    eventually("the broker listens", async || {
        tokio::net::TcpStream::connect(nats.url().trim_start_matches("nats://")).await.is_ok()
    })
    .await;
    // Without streams nothing that is allowed changes anything.
    for user in USERS {
        for (act, allowed) in ACTS {
            let (client, mut denied) = connect(&nats, user).await;
            let _subscription = match act {
                Publish(subject) => {
                    client.publish(subject, "x".into()).await.unwrap();
                    None
                }
                Subscribe(subject) => Some(client.subscribe(subject).await.unwrap()),
            };
            client.flush().await.unwrap();
            let is_allowed = allowed.contains(&user);
            // What is denied is said before the answer to the flush.
            let wait = if is_allowed { Duration::from_millis(20) } else { DENIAL };
            let denial = timeout(wait, denied.recv()).await.ok().flatten();
            assert_eq!(denial.is_none(), is_allowed, "{user} {act:?}: {denial:?}");
            if let Some(denial) = denial {
                assert!(denial.to_lowercase().contains("permissions violation"), "{denial}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_need_no_more_than_their_users_may() {
    let Some(mut nats) = Nats::start_with_users() else { return };
    let storms = Some(Storms { every: Duration::from_secs(5), strength: 1.0 });
    let source = Source::Seed { seed: 3, storms, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 };
    let config = simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: [].into() };
    let simulator = simulate::start(config, CancellationToken::new()).await.unwrap();
    let mut common = env([
        ("NATS_URL", nats.url()),
        ("FORESHOCK_TELEGRAM_API_URL", simulator.telegram_url()),
        ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
        ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
        ("FORESHOCK_FEED_GRACE", "20s".to_owned()),
        ("FORESHOCK_OPERATOR_CHATS", CHAT.to_owned()),
        // Else one liquidation before it may hold the cascade, and its chart with it.
        ("ALERT_RATE_LIMIT_SECONDS", "0".to_owned()),
    ]);
    for venue in Exchange::ALL {
        let name = venue.as_str().to_uppercase();
        common.insert(format!("FORESHOCK_{name}_WS_URL"), simulator.ws_url(venue));
        common.insert(format!("FORESHOCK_{name}_REST_URL"), simulator.http_url(venue));
    }
    let folder = tempfile::tempdir().unwrap();
    let as_user = |user: &str| {
        let mut env = common.clone();
        env.insert("NATS_USER".to_owned(), user.to_owned());
        env.insert("NATS_PASSWORD".to_owned(), user.to_owned());
        env
    };
    // Only the operator makes streams.
    let (code, _, err) = run(&["topology", "apply"], &as_user("admin"));
    assert_eq!(code, 0, "{err}");
    let services =
        ["ingest", "detect", "notify"].map(|role| Service::start(role, &as_user(role), &folder.path().join(role)));
    let called = |method: &str| simulator.telegram().requests().iter().any(|request| request.method == method);
    eventually("alerts arrive, with a chart", async || called("sendMessage") && called("sendPhoto")).await;
    // Long enough for a snapshot, renewed leases and a look at the feeds.
    sleep(Duration::from_secs(12)).await;
    let (code, out, err) = run(&["status", "--json"], &as_user("admin"));
    assert_eq!(code, 0, "{err}");
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    let services_seen = status["services"].as_array().unwrap();
    assert_eq!(services_seen.len(), 3, "{status}");
    let detect = services_seen.iter().find(|service| service["role"] == "detect").unwrap();
    assert!(detect["status"]["state"]["snapshot"].is_number(), "{status}");
    // What clients ask after they lost the broker, they may ask too.
    for _ in 0..2 {
        nats.kill();
        nats.restart();
        let sent = simulator.telegram().requests().len();
        eventually("alerts arrive again", async || simulator.telegram().requests().len() > sent + 1).await;
    }
    let (code, _, err) = run(&["subscribers", "mute", CHAT, "1h"], &as_user("admin"));
    assert_eq!(code, 0, "{err}");
    for service in &services {
        let log = service.log();
        assert!(!log.contains("NATS refused something"), "{log}");
    }
}
