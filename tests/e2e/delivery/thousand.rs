//! A thousand chats, one alert.

use std::collections::BTreeMap;

use foreshock::simulate::telegram::{Fault, Outcome, Rule};
use nats::Market;
use schemas::{
    alert::Priority,
    delivery::{LedgerEvent, Outcome as Delivered},
};

use super::{Stage, alert, arrived, now_ms, seconds};
use crate::support::machine;

/// Chats. The first two, which have their turn first, are the ones in trouble.
const CHATS: std::ops::Range<i64> = 1_000..2_000;
const BLOCKED: i64 = 1_000;
const FLOODED: i64 = 1_001;

/// How long the flooded chat is to be left alone: longer than everybody else takes at 30 a second.
const HOLD_S: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_chats_get_an_alert_once_and_nobody_waits_for_who_is_held_back_or_gone() {
    let _machine = machine().await;
    let Some(stage) = Stage::new(Market::Live, CHATS).await else { return };
    let bot = stage.bot();
    bot.set_limits(true);
    let rule = |chat: i64, fault, times| Rule { fault, chat: Some(chat.to_string()), method: None, times };
    bot.set_rules(vec![rule(BLOCKED, Fault::Blocked, None), rule(FLOODED, Fault::RetryAfter(HOLD_S), Some(1))]);
    let _notify = stage.notifier("a");
    let began_ms = now_ms();
    stage.publish(&alert(1, Priority::High, began_ms)).await;
    let stored_ms = now_ms();
    let ledger = stage.delivered(1).await;

    let arrived = arrived(&bot);
    let mut by_chat: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for message in &arrived {
        by_chat.entry(message.chat.as_ref().unwrap().parse().unwrap()).or_default().push(message.at_ms);
    }
    // Everybody else got it, and once; the one that blocks the bot is named in the ledger, and switched off.
    assert_eq!(by_chat.keys().copied().collect::<Vec<_>>(), CHATS.filter(|chat| *chat != BLOCKED).collect::<Vec<_>>());
    assert!(by_chat.values().all(|times| times.len() == 1), "{by_chat:?}");
    let failed: Vec<_> = ledger.iter().filter_map(failure).collect();
    assert_eq!(failed, [(BLOCKED.to_string(), "failed:blocked".to_owned())]);

    // The held chat is asked again after its hold and not before; all others have it by then.
    let requests = bot.requests();
    let of = |chat: i64| requests.iter().filter(move |one| one.chat.as_deref() == Some(chat.to_string().as_str()));
    let held: Vec<_> = of(FLOODED).map(|request| request.at_ms).collect();
    assert_eq!((held.len(), of(BLOCKED).count()), (2, 1));
    assert!(held[1] - held[0] >= HOLD_S as i64 * 1_000, "{held:?}");
    let others: Vec<_> = arrived.iter().map(|message| message.at_ms).filter(|at| *at != held[1]).collect();
    assert!(others.iter().all(|at| *at < held[1]), "somebody waited for the chat that was held back");
    let after = others.iter().filter(|at| **at > held[0]).count();
    assert!(after > CHATS.count() / 2, "the chat was held back while most others waited: {after}");

    // Never above 30 in any second.
    let most = others.windows(31).map(|window| window[30] - window[0]).min().unwrap();
    assert!(most >= 1_000, "31 messages within {most} ms");
    let limited = requests.iter().filter(|request| request.kind == Outcome::Limited).count();
    eprintln!(
        "{} chats: first accepted {:.2} s after the alert was stored, the 100th {:.2} s, the last {:.2} s; {:.2} s from \
         first to last; the held one {:.2} s; at most {} a second; refused as too many {limited}",
        by_chat.len(),
        seconds(others[0] - stored_ms),
        seconds(others[99] - stored_ms),
        seconds(others[others.len() - 1] - stored_ms),
        seconds(others[others.len() - 1] - others[0]),
        seconds(held[1] - stored_ms),
        others.iter().map(|from| others.iter().filter(|at| (*from..from + 1_000).contains(*at)).count()).max().unwrap(),
    );
}

fn failure(event: &LedgerEvent) -> Option<(String, String)> {
    match event {
        LedgerEvent::Delivery(delivery) => match &delivery.outcome {
            Delivered::Failed { reason } => Some((delivery.recipient.clone(), reason.clone())),
            Delivered::Expired { .. } => Some((delivery.recipient.clone(), "expired".to_owned())),
            Delivered::Intent { .. }
            | Delivered::Limited { .. }
            | Delivered::Attempt { .. }
            | Delivered::Deferred { .. }
            | Delivered::Sent { .. }
            | Delivered::Edited { .. }
            | Delivered::Gone { .. } => None,
        },
        LedgerEvent::Decision(_) | LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
    }
}
