//! A feed that dies and comes back, as operators hear of it.

use std::collections::BTreeMap;

use foreshock::simulate::{Action, Faults, Refusal};
use ingest::exchange::Exchange;

use crate::{
    faults::World,
    support::{CHAT, TOKEN, eventually},
};

const OPERATOR: i64 = 777;

/// What the operator's chat shows, oldest first.
fn told(world: &World) -> Vec<String> {
    let messages = world.simulator.telegram().messages(OPERATOR);
    messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_hear_once_of_a_dead_feed_and_once_of_its_return_also_across_a_restart() {
    let Some(mut world) = World::start(BTreeMap::new()).await else { return };
    for (name, value) in [
        ("FORESHOCK_TELEGRAM_API_URL", world.simulator.telegram_url()),
        ("TELEGRAM_BOT_TOKEN", TOKEN.to_owned()),
        ("TELEGRAM_CHAT_ID", CHAT.to_owned()),
        ("FORESHOCK_OPERATOR_CHATS", OPERATOR.to_string()),
        ("FORESHOCK_FEED_GRACE", "20s".to_owned()),
    ] {
        world.env.insert(name.to_owned(), value);
    }
    let _ingest = world.service("ingest", "a");
    let mut notify = world.service("notify", "a");
    for venue in Exchange::ALL {
        world.alive(venue).await;
    }

    let away = Faults { refuse_sockets: Some(Refusal::Unavailable), ..Faults::default() };
    world.control.set_faults(Exchange::Binance, away);
    world.control.act(Exchange::Binance, Action::Disconnect);
    // A socket carries the liquidations, another one open interest: both are gone.
    eventually("their death is told", async || told(&world).len() >= 2).await;
    notify.kill_and_restart();
    world.control.set_faults(Exchange::Binance, Faults::default());
    // The new process begins with the events of the last hour, so that it would tell of the death again first.
    eventually("their return is told", async || told(&world).len() >= 4).await;

    let mut told = told(&world);
    told.sort_unstable();
    let lines: Vec<Vec<&str>> = told.iter().map(|text| text.lines().collect()).collect();
    let titles: Vec<_> = lines.iter().map(|lines| lines[0]).collect();
    let expected = [
        "✅ Binance liquidations are back",
        "✅ Binance open interest is back",
        "🔌 Binance liquidations: no data for 20 seconds",
        "🔌 Binance open interest: no data for 20 seconds",
    ];
    assert_eq!(titles, expected, "{told:?}");
    for (back, dead) in [(&lines[0], &lines[2]), (&lines[1], &lines[3])] {
        let since = dead[1].strip_prefix("since ").and_then(|line| line.strip_suffix(" UTC, reason: disconnected"));
        assert_eq!(dead[2], "2 of 3 venues left");
        let begins = format!(" ({}–", since.unwrap());
        assert!(back[1].starts_with("gap ") && back[1].contains(&begins), "{told:?}");
    }
}
