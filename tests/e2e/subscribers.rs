//! `foreshock subscribers`, against a real nats-server.

use std::collections::BTreeMap;

use nats::Market;
use schemas::{
    market::{Origin, Rules},
    position::Sequence,
};
use serde_json::Value;

use crate::support::{Nats, env, json_lines, run};

/// A broker whose rules are those as shipped.
async fn stage(nats: &Nats) -> BTreeMap<String, String> {
    let bus = nats.bus("", Market::Live).await;
    bus.apply_topology().await.unwrap();
    let rules = Rules::new(1, Origin::Cli, detect::rules::SHIPPED.to_owned());
    bus.publish_rules(&rules, Sequence::new(0)).await.unwrap();
    env([("NATS_URL", nats.url())])
}

/// Runs a command that must succeed.
fn done(args: &[&str], env: &BTreeMap<String, String>) -> String {
    let (code, out, err) = run(&[&["subscribers"], args].concat(), env);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_changed_from_the_command_line_and_survive_export_and_import() {
    let Some(nats) = Nats::start() else { return };
    let env = stage(&nats).await;
    let state = |args: &[&str]| -> Value { serde_json::from_str(&done(&[args, &["--json"]].concat(), &env)).unwrap() };

    let added = state(&["add", "-100123"]);
    assert_eq!((&added["standing"], &added["cause"]), (&Value::from("active"), &Value::from("cli")));
    let set = [
        "set",
        "-100123",
        "--bases",
        "btc,ETH",
        "--kinds",
        "cascades,oi",
        "--min-priority",
        "medium",
        "--threshold",
        "BTC.single=250k",
        "--threshold",
        "BTC.cascade_count=10",
        "--quiet",
        "23:00-07:00 europe/berlin",
        "--pictures",
        "off",
        "--edits-only",
        "--topic",
        "7",
    ];
    let preferences = state(&set)["preferences"].clone();
    let expected = serde_json::json!({
        "bases": ["BTC", "ETH"], "kinds": ["cascade", "oi_explosion"], "min_priority": "medium",
        "thresholds": {"BTC": {"single_usd": "250000.00", "cascade_count": 10}},
        "quiet": {"from": 1380, "to": 420, "zone": "Europe/Berlin"},
        "edits_only": true, "pictures": false, "topic": 7,
    });
    assert_eq!(preferences, expected);
    let muted = state(&["mute", "-100123", "BTC", "1h"]);
    assert_eq!(muted["preferences"]["mutes"][0]["base"], "BTC");
    done(&["add", "local"], &env);
    assert_eq!(state(&["remove", "local"])["standing"], "unsubscribed");

    let table = done(&["list"], &env);
    assert!(table.lines().any(|line| line.starts_with("-100123  active") && line.contains("BTC,ETH")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("local") && line.contains("unsubscribed")), "{table}");
    let listed: Vec<Value> = serde_json::from_str(&done(&["list", "--json"], &env)).unwrap();
    let exported = done(&["export"], &env);
    assert_eq!(json_lines(&exported), listed);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subscribers.jsonl");
    std::fs::write(&file, &exported).unwrap();
    let import = ["add", "--from", file.to_str().unwrap()];
    assert_eq!(done(&import, &env).trim(), "0 stored, 2 unchanged");
    let (_, shown, _) = run(&["subscribers", "remove", "-100123"], &env);
    assert!(shown.starts_with("-100123\n⚙️ Settings of this chat\n🔕 Alerts are off here"), "{shown}");
    assert_eq!(done(&import, &env).trim(), "1 stored, 1 unchanged");
    let restored: Vec<Value> = serde_json::from_str(&done(&["list", "--json"], &env)).unwrap();
    assert_eq!(restored[0]["standing"], listed[0]["standing"]);
    assert_eq!(restored[0]["preferences"], listed[0]["preferences"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_says_why_and_stores_nothing() {
    let Some(nats) = Nats::start() else { return };
    let env = stage(&nats).await;
    done(&["add", "42"], &env);
    let before = done(&["export"], &env);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("low.jsonl");
    let low = before.replace("\"min_priority\"", "\"thresholds\":{\"BTC\":{\"single_usd\":\"1.00\"}},\"min_priority\"");
    let other = before.replace("\"42\"", "\"43\"");
    std::fs::write(&file, format!("{other}\n{low}")).unwrap();
    for (args, code, says) in [
        (&["set", "42", "--threshold", "BTC.single=99k"][..], 2, "from $100,000 on, so $99,000 would change nothing"),
        (&["set", "42", "--threshold", "DOGE.single=1m"], 2, "DOGE is not watched here, only: BTC, ETH, SOL"),
        (&["set", "42", "--bases", "DOGE"], 2, "DOGE is not watched here"),
        (&["set", "42"], 2, "nothing is to be set"),
        (&["set", "42", "--quiet", "23:00-07:00 Berlin"], 2, "Is it Europe/Berlin?"),
        (&["set", "nobody", "--pictures", "off"], 2, "`nobody` is no chat"),
        (&["mute", "42", "BTC"], 2, "For how long?"),
        (&["set", "-5", "--pictures", "off"], 1, "-5 was never subscribed; `foreshock subscribers add -5` does it"),
        (&["remove", "-5"], 1, "-5 was never subscribed"),
        (
            &["add", "--from", file.to_str().unwrap()],
            2,
            "line 3: large liquidations of BTC are looked for from $100,000",
        ),
        (&["add", "--from", "/nowhere/at/all"], 2, "/nowhere/at/all cannot be taken"),
    ] {
        let (found, out, err) = run(&[&["subscribers"], args].concat(), &env);
        assert_eq!((found, out.as_str()), (code, ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    assert_eq!(done(&["export"], &env), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_only_thresholds_wait() {
    let Some(nats) = Nats::start() else { return };
    nats.bus("", Market::Live).await.apply_topology().await.unwrap();
    let env = env([("NATS_URL", nats.url())]);
    assert!(done(&["list"], &env).starts_with("there are no subscribers"));
    assert_eq!(done(&["export"], &env), "");
    done(&["add", "42", "--bases", "DOGE"], &env);
    let (code, _, err) = run(&["subscribers", "set", "42", "--threshold", "BTC.single=1m"], &env);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("there are no rules yet"), "{err}");
}
