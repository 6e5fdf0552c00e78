//! `foreshock up`: everything in one process, on a private nats-server.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{BINANCE, CHAT, Nats, OKX, TOKEN, env, eventually, program, recording, run};

fn state_dir(folder: &Path) -> BTreeMap<String, String> {
    env([("FORESHOCK_STATE_DIR", folder.to_str().unwrap().to_owned())])
}

#[test]
fn a_replay_ends_with_what_came_of_it_and_never_reaches_the_real_telegram() {
    let (Some(file), Some(_nats)) = (recording(OKX), Nats::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let to_terminal = state_dir(folder.path());
    // With a bot's token: there is no way from here to Telegram, so a delivery that succeeds was the stand-in's.
    let mut to_chat = to_terminal.clone();
    to_chat.insert("TELEGRAM_BOT_TOKEN".to_owned(), TOKEN.to_owned());
    to_chat.insert("TELEGRAM_CHAT_ID".to_owned(), CHAT.to_owned());
    let args = ["up", "--replay", file.to_str().unwrap(), "--venue", "okx", "--json"];
    for (attempt, env) in [("the first", &to_chat), ("the second", &to_terminal)] {
        let (code, out, err) = run(&args, env);
        assert_eq!(code, 0, "{err}");
        let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let expected = json!({
            "liquidations": 1738,
            "alerts": {
                "cascade started": 9,
                "cascade updated": 18,
                "cascade escalated": 4,
                "cascade ended": 9,
                "large liquidation": 34,
            },
            "decided": {
                "edit": 17,
                "held:cascade": 14,
                "held:five_minutes": 5,
                "held:phase": 4,
                "held:rate": 12,
                "reply": 2,
                "send": 20,
            },
            "sent": 22,
        });
        assert_eq!(summary, expected, "{attempt}: a replay begins anew each time");
    }
}

#[test]
fn a_replay_without_instruments_hears_every_plain_name_the_file_holds() {
    let (Some(file), Some(_nats)) = (recording(BINANCE), Nats::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let args = ["up", "--replay", file.to_str().unwrap(), "--venue", "binance", "--json"];
    let (code, out, err) = run(&args, &state_dir(folder.path()));
    assert_eq!(code, 0, "{err}");
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let (_, _, file) = run(&["replay", "--file", file.to_str().unwrap(), "--venue", "binance"], &BTreeMap::new());
    assert!(file.ends_with(&format!("{} events, 4 alerts, 0 refused\n", summary["liquidations"])), "{summary} {file}");
    assert_eq!(summary["alerts"], json!({ "large liquidation": 4 }));
}

/// A running `up --demo`; killed when dropped.
struct Demo(Child);

impl Demo {
    fn start(env: &BTreeMap<String, String>) -> Self {
        let mut up = program();
        up.args(["up", "--demo"]).envs(env).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(up.spawn().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_commands_find_a_running_demo_and_sigterm_ends_it_cleanly() {
    if Nats::start().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let env = state_dir(folder.path());
    let (code, _, err) = run(&["status"], &env);
    assert_eq!(code, 2);
    assert!(err.contains("no broker: set NATS_URL, or start `foreshock up`"), "{err}");

    let mut demo = Demo::start(&env);
    eventually("the demo is healthy", async || run(&["health"], &env).0 == 0).await;
    let (code, status, _) = run(&["status", "--json"], &env);
    let status: Value = serde_json::from_str(&status).unwrap();
    let mut roles: Vec<_> =
        status["services"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!((code, roles), (0, vec!["detect", "ingest", "notify"]));
    let (code, rules, _) = run(&["rules", "show"], &env);
    assert_eq!(code, 0);
    assert!(rules.contains("[liquidation.BTC]"), "{rules}");
    let (code, plan, _) = run(&["topology", "plan"], &env);
    assert_eq!(code, 0, "{plan}");

    // A second one in the same folder is refused and disturbs nothing.
    let (code, _, err) = run(&["up", "--demo"], &env);
    assert_eq!(code, 1);
    assert!(err.contains("is in use by another foreshock"), "{err}");
    assert_eq!(run(&["health"], &env).0, 0);

    assert!(Command::new("kill").args(["-TERM", &demo.0.id().to_string()]).status().unwrap().success());
    let mut ended = None;
    eventually("the demo ends", async || {
        ended = demo.0.try_wait().unwrap();
        ended.is_some()
    })
    .await;
    assert!(ended.unwrap().success(), "{ended:?}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!folder.path().join("running.json").exists(), "nothing is left that points to it");
}
