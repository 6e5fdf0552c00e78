//! What a running service answers over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::{
    faults::World,
    support::{CHAT, TOKEN, address, eventually, run},
};

const PATHS: [&str; 6] = ["/", "/events", "/livez", "/readyz", "/status", "/metrics"];

async fn get(at: &str, path: &str) -> (StatusCode, String) {
    let answer = Client::new().get(format!("http://{at}{path}")).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Samples of a metrics page by name, every family announced once.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut announced = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            assert!(announced.insert(family.split(' ').next().unwrap().to_owned()), "announced twice: {family}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("foreshock_") || name.starts_with("process_"), "{name}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {name}");
        }
    }
    samples
}

async fn metrics(at: &str) -> BTreeMap<String, f64> {
    samples(&get(at, "/metrics").await.1)
}

fn health(at: &str) -> i32 {
    let env = BTreeMap::from([("FORESHOCK_HTTP_LISTEN".to_owned(), at.to_owned())]);
    run(&["health"], &env).0
}

#[tokio::test(flavor = "multi_thread")]
async fn services_say_that_they_live_are_ready_and_what_they_measured() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(mut world) = World::start(BTreeMap::new()).await else { return };
    for (name, value) in [
        ("FORESHOCK_TELEGRAM_API_URL", world.simulator.telegram_url()),
        ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
        ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
        ("FORESHOCK_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
    ] {
        world.env.insert(name.to_owned(), value);
    }
    let services = ["ingest", "detect", "notify"].map(|role| world.service(role, "a"));
    let [ingest, detect, notify] =
        [address(&services[0]).await, address(&services[1]).await, address(&services[2]).await];
    for at in [&ingest, &detect, &notify] {
        eventually("it is ready", async || get(at, "/readyz").await.0 == StatusCode::OK).await;
        assert_eq!(get(at, "/livez").await.0, StatusCode::OK);
        assert_eq!(health(at), 0);
        for path in PATHS {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let answer = Client::new().request(method, format!("http://{at}{path}")).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
            }
        }
        for path in PATHS.into_iter().filter(|path| *path != "/events") {
            let body = get(at, path).await.1;
            assert!(!body.contains(TOKEN), "{path}: {body}");
        }
    }

    let sent = "foreshock_telegram_requests_total{method=\"sendMessage\",result=\"ok\"}";
    eventually("an alert was delivered", async || metrics(&notify).await.contains_key(sent)).await;
    let ingest_figures = ["binance", "bybit", "okx"].into_iter().flat_map(|venue| {
        [
            format!("feed_messages_total{{venue=\"{venue}\"}}"),
            format!("feed_last_message_timestamp_seconds{{venue=\"{venue}\"}}"),
            format!("feed_exchange_to_receive_seconds_count{{venue=\"{venue}\"}}"),
            format!("feed_state{{venue=\"{venue}\",state=\"connected\"}}"),
            format!("log_publish_total{{venue=\"{venue}\",result=\"stored\"}}"),
        ]
    });
    let ingest_figures: Vec<String> = ingest_figures.collect();
    let detect_figures = [
        "alerts_total{result=\"stored\"}",
        "receipt_to_alert_seconds_count",
        "process_seconds_count",
        "ready{service=\"detect\",check=\"recovered\"}",
    ];
    let notify_figures = [
        "decisions_total{reason=\"send\"}",
        "deliveries_total{result=\"sent\"}",
        "event_to_confirm_seconds_count",
        "telegram_request_seconds_count{method=\"sendMessage\"}",
    ];
    for (at, figures) in [
        (&ingest, ingest_figures),
        (&detect, detect_figures.map(str::to_owned).to_vec()),
        (&notify, notify_figures.map(str::to_owned).to_vec()),
    ] {
        for name in figures {
            eventually(&format!("{name} is measured"), async || {
                metrics(at).await.get(&format!("foreshock_{name}")).is_some_and(|value| *value > 0.0)
            })
            .await;
        }
    }
    let state: Value = serde_json::from_str(&get(&detect, "/status").await.1).unwrap();
    assert_eq!(state["instance"], "a");
    assert!(state["services"]["detect"]["position"].as_u64().unwrap() > 0, "{state}");

    // Without NATS a service lives, and is not ready.
    world.nats.kill();
    for at in [&ingest, &detect, &notify] {
        eventually("it is not ready", async || get(at, "/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(get(at, "/livez").await.0, StatusCode::OK);
        assert_eq!(health(at), 1);
    }
    let checks: Value = serde_json::from_str(&get(&detect, "/readyz").await.1).unwrap();
    assert_eq!((&checks["ready"], &checks["checks"]["detect.nats"]["ok"]), (&false.into(), &false.into()), "{checks}");
    assert_eq!(metrics(&detect).await["foreshock_ready{service=\"detect\",check=\"nats\"}"], 0.0);
    world.nats.restart();
    for at in [&ingest, &detect, &notify] {
        eventually("it is ready again", async || get(at, "/readyz").await.0 == StatusCode::OK).await;
    }
}

/// The next state a page is sent.
async fn next_state(page: &mut reqwest::Response, read: &mut String) -> Value {
    loop {
        if let Some((event, rest)) = read.split_once("\n\n") {
            let state = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            *read = rest.to_owned();
            return state;
        }
        let chunk = page.chunk().await.unwrap().expect("the stream goes on");
        read.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_elsewhere_and_is_live() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(mut world) = World::start(BTreeMap::new()).await else { return };
    world.env.insert("FORESHOCK_HTTP_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
    let ingest = world.service("ingest", "a");
    let at = address(&ingest).await;
    let page = Client::new().get(format!("http://{at}/")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(page.contains("new EventSource(\"events\")") && !page.contains("innerHTML"));
    for elsewhere in ["src=", "href=", "@import", "https://"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }

    let open = async || Client::new().get(format!("http://{at}/events")).send().await.unwrap();
    let mut first = open().await;
    assert_eq!(first.headers()["content-type"], "text/event-stream");
    let mut read = String::new();
    let began = next_state(&mut first, &mut read).await;
    assert_eq!((&began["instance"], &began["checks"]["ingest.nats"]["ok"]), (&"a".into(), &true.into()), "{began}");
    let mut later = next_state(&mut first, &mut read).await;
    assert!(later["now"].as_i64() > began["now"].as_i64());
    while later["services"]["ingest"]["minutes"].as_array().unwrap().is_empty() {
        later = next_state(&mut first, &mut read).await;
    }
    let minute = &later["services"]["ingest"]["minutes"][0];
    assert!(minute["longs"].as_u64().unwrap() + minute["shorts"].as_u64().unwrap() > 0, "{minute}");

    // Places are bounded, and given back by those who leave.
    let mut pages = vec![first];
    for _ in 1..32 {
        let page = open().await;
        assert_eq!(page.status(), StatusCode::OK);
        pages.push(page);
    }
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(pages);
    eventually("a place is free again", async || open().await.status() == StatusCode::OK).await;
}
