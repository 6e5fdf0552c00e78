//! The canary: through every stream to nobody, seen by nobody but the figures.

use std::collections::BTreeMap;

use nats::Cursor;
use reqwest::Client;
use schemas::{
    delivery::{LedgerEvent, Note, Outcome, Topic},
    market::MarketEvent,
    position::Sequence,
    subject::Stream,
    wire,
};
use serde_json::Value;

use crate::{
    faults::World,
    support::{CHAT, TOKEN, address, eventually, ledger, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_the_whole_way_and_is_told_to_nobody() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(mut world) = World::start(BTreeMap::new()).await else { return };
    for (name, value) in [
        ("FORESHOCK_CANARY", "1s".to_owned()),
        ("FORESHOCK_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("FORESHOCK_TELEGRAM_API_URL", world.simulator.telegram_url()),
        ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
        ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
        ("FORESHOCK_LOG_DIR", world.folder.path().join("logs").display().to_string()),
    ] {
        world.env.insert(name.to_owned(), value);
    }
    // Two of each but the sender: a canary is one all the same.
    let _ingest = [world.service("ingest", "a"), world.service("ingest", "b")];
    let _detect = [world.service("detect", "c"), world.service("detect", "d")];
    let notify = world.service("notify", "e");
    let page = address(&notify).await;
    let ended = async || -> Vec<(schemas::id::Id, i64)> {
        let notes = ledger(&world.bus).await.into_iter().filter_map(|event| match event {
            LedgerEvent::Note(Note {
                id,
                topic: Topic::Canary { received_at },
                outcome: Outcome::Sent { .. },
                at,
                ..
            }) => Some((id, at - received_at.as_millis())),
            LedgerEvent::Note(_)
            | LedgerEvent::Decision(_)
            | LedgerEvent::Delivery(_)
            | LedgerEvent::Feedback(_)
            | LedgerEvent::Update(_) => None,
        });
        notes.collect()
    };
    eventually("five canaries come to their end", async || ended().await.len() >= 5).await;

    let ended = ended().await;
    let mut ids: Vec<_> = ended.iter().map(|(id, _)| *id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), ended.len(), "twice: {ended:?}");
    assert!(ended.iter().all(|(_, took_ms)| (0..60_000).contains(took_ms)), "{ended:?}");
    // It lies in both streams, and is no alert.
    let mut market =
        Cursor::open(&world.bus, Stream::Market, Sequence::new(1), Some("market.canary".to_owned())).await.unwrap();
    let mut heard = Vec::new();
    while let Some(record) = market.next_pending().await.unwrap() {
        let Ok(MarketEvent::Canary(canary)) = wire::decode(&record.payload) else { panic!("{}", record.subject) };
        heard.push(canary.id);
    }
    assert!(ids.iter().all(|id| heard.contains(id)));
    let filter = Some("canary.*".to_owned());
    let mut seen = Cursor::open(&world.bus, Stream::Alerts, Sequence::new(1), filter).await.unwrap();
    let record = seen.next_pending().await.unwrap().expect("a canary lies in ALERTS");
    assert!(record.headers.position().is_some(), "{}", record.subject);

    // Nobody was told, no history has it, and the figures do.
    let state: Value = Client::new().get(format!("http://{page}/status")).send().await.unwrap().json().await.unwrap();
    let state = &state["services"]["notify"];
    assert!(state["canary"]["took_ms"].as_i64().is_some_and(|ms| ms < 60_000), "{state}");
    let told = world.simulator.telegram().requests();
    let (code, history, said) = run(&["history", "--json"], &world.env);
    assert_eq!(code, 0, "{said}");
    assert!(ids.iter().all(|id| !history.contains(&id.to_string()) && !format!("{told:?}").contains(&id.to_string())));
    let metrics = Client::new().get(format!("http://{page}/metrics")).send().await.unwrap().text().await.unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("foreshock_canary_seconds_count "));
    assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() >= 5), "{metrics}");
    assert!(metrics.contains("foreshock_canary_last_timestamp_seconds "));

    // The lines of each process also lie in a file of its own.
    let files: Vec<String> = std::fs::read_dir(world.folder.path().join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["a", "b", "c", "d", "e"] {
        let file = files.iter().find(|file| file.starts_with(&format!("{name}.")) && file.ends_with(".jsonl"));
        let file = world.folder.path().join("logs").join(file.unwrap_or_else(|| panic!("{name}: {files:?}")));
        let lines = std::fs::read_to_string(&file).unwrap();
        assert!(
            lines.lines().count() > 0 && lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
            "{lines}"
        );
        assert!(!lines.contains(TOKEN));
    }
}
