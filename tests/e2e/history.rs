//! `foreshock history` and `foreshock explain`, after a run whose ledger is known.

use std::{collections::BTreeMap, process::Stdio};

use nats::{Bus, Cursor};
use schemas::{
    alert::{Alert, Finding, Kind},
    delivery::{LedgerEvent, Outcome},
    position::Sequence,
    subject::Stream,
};
use serde_json::Value;

use crate::support::{alerts, ledger, program, run};

fn answer(args: &[&str], env: &BTreeMap<String, String>) -> String {
    let (code, out, err) = run(args, env);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

fn json(args: &[&str], env: &BTreeMap<String, String>) -> Value {
    serde_json::from_str(&answer(&[args, &["--json"]].concat(), env)).unwrap()
}

/// Asks for everything and compares it with the streams, counted here.
pub(crate) async fn assert_told_as_it_was(bus: &Bus, env: &BTreeMap<String, String>) {
    let (stored, events) = (alerts(bus).await, ledger(bus).await);
    let deliveries = || {
        events
            .iter()
            .filter_map(|event| if let LedgerEvent::Delivery(delivery) = event { Some(delivery) } else { None })
    };
    let due = deliveries().filter(|delivery| matches!(delivery.outcome, Outcome::Intent { .. })).count();
    let sent = deliveries().filter(|delivery| matches!(delivery.outcome, Outcome::Sent { .. })).count();
    assert!(due > 10 && sent == due, "{sent} of {due}");
    let mut decided: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &events {
        if let LedgerEvent::Decision(decision) = event {
            for (reason, count) in &decision.recipients {
                *decided.entry(reason).or_default() += u64::from(*count);
            }
        }
    }

    let stats = json(&["history", "--stats"], env);
    let total = &stats["total"];
    assert_eq!((total["alerts"].as_u64(), total["due"].as_u64()), (Some(stored.len() as u64), Some(due as u64)));
    assert_eq!(total["sent"].as_u64(), Some(sent as u64));
    assert_eq!(total["decided"], serde_json::to_value(&decided).unwrap());
    let of = |base: &str| stored.iter().filter(|(alert, _)| alert.base.as_str() == base).count() as u64;
    for group in stats["by_base"].as_array().unwrap() {
        assert_eq!(group["alerts"].as_u64(), Some(of(group["name"].as_str().unwrap())), "{group}");
    }
    let rows = json(&["history", "--kind", "cascade"], env);
    let cascades = stored.iter().filter(|(alert, _)| alert.kind() == Kind::Cascade).count();
    assert_eq!(rows.as_array().unwrap().len(), cascades);
    let csv = answer(&["history", "--csv", "--base", "SOL"], env);
    assert_eq!(csv.lines().count() as u64, of("SOL") + 1);
    assert!(csv.lines().all(|line| line.ends_with("0,0") || line.ends_with("rated,useful")), "{csv}");

    // A kept model, gone on with, killed while it is made and made anew, says the same.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.sqlite");
    let kept = ["history", "--stats", "--db", file.to_str().unwrap()];
    let mut making = program().args(kept).envs(env).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    making.kill().unwrap();
    making.wait().unwrap();
    for _ in 0..2 {
        assert_eq!(json(&kept, env), stats);
    }
    assert_eq!(json(&[&kept[..], &["--rebuild"]].concat(), env), stats);

    // One alert of each phase is explained, by its own figures.
    let mut phases: BTreeMap<String, &Alert> = BTreeMap::new();
    for (alert, _) in &stored {
        let phase = match &alert.finding {
            Finding::Cascade(cascade) => cascade.phase.as_str(),
            Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => "single",
        };
        phases.insert(phase.to_owned(), alert);
    }
    assert!(phases.len() >= 4, "{:?}", phases.keys());
    for alert in phases.values() {
        let id = alert.id.to_string();
        let explained = json(&["explain", &id], env);
        assert_eq!(explained["alert"], serde_json::to_value(alert).unwrap());
        let count = match &alert.finding {
            Finding::Cascade(cascade) => cascade.count,
            Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => 1,
        };
        assert_eq!(explained["evidence"]["events"].as_array().unwrap().len() as u64, count, "{id}");
        assert!(explained["rule"]["section"].as_str().unwrap().contains("cascade_usd"), "{explained}");
        let told: u64 =
            explained["decision"]["recipients"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(explained["recipients"].as_object().unwrap().len() as u64, told);
        let page = answer(&["explain", &id[..8]], env);
        assert!(page.contains(&id) && page.contains("version 1"), "{page}");
    }
    for (id, says) in [("zzzzzzzz", "no alert in ALERTS begins with `zzzzzzzz`"), ("ab", "no id of an alert")] {
        let (code, _, err) = run(&["explain", id], env);
        assert_eq!((code, err.contains(says)), (1, true), "{err}");
    }
    let held = Cursor::open(bus, Stream::Alerts, Sequence::new(1), None).await.unwrap().pending();
    assert_eq!(held, stored.len() as u64, "asking changes nothing");
}
