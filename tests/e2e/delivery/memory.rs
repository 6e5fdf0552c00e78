//! What a take-over costs after a day of deliveries: time and memory of `foreshock notify` and of the broker.
//!
//! The figures are printed, for machines differ:
//! `FORESHOCK_CHATS=10000 cargo test --release --test e2e delivery::memory -- --nocapture`.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nats::{Bus, Expect, Market};
use schemas::{
    alert::{Alert, Priority},
    delivery::{self, Decision, Delivery, LedgerEvent, Outcome},
    subject::Stream,
};
use tokio::time::sleep;

use super::{Stage, alert, now_ms, seconds};
use crate::support::{Service, machine};

/// Chats of an everyday run.
const CHATS: i64 = 200;

/// Messages each chat got in the day before, one an hour.
const MESSAGES: i64 = 24;

/// Chats whose events are on their way to the broker at once.
const SENT_AT_ONCE: usize = 256;

/// A text as long as that of a cascade with its small line.
const TEXT: &str = "<b>🚨 BTC LIQUIDATION CASCADE</b>\n⚡ 7 liquidations in 30 seconds\n💰 Total: $1.2M liquidated\n\
    📉 5 longs, 2 shorts\n⚠️ Potential price impact expected\n<i>binance, okx · seen +0.4 s, sent +0.9 s</i>";

/// How long anything may take before the test gives up: ten thousand chats take six minutes at 30 messages a second.
const PATIENCE: Duration = Duration::from_secs(900);

/// Stores what one alert of the day before left in the ledger, chat by chat, and its decision.
async fn store(bus: &Bus, alert: &Alert, chats: i64) {
    let at = alert.event_time.as_millis() + 1_000;
    let of_chat = |chat: i64| async move {
        let text = TEXT.to_owned();
        let outcomes = [
            Outcome::Intent { text, thread: Some(alert.id), reply: false, picture: false },
            Outcome::Attempt { number: 1 },
            Outcome::Sent { message_id: Some(chat * 100 + 7) },
        ];
        for outcome in outcomes {
            let event = LedgerEvent::Delivery(Delivery {
                v: delivery::VERSION,
                alert: alert.id,
                kind: alert.kind(),
                base: alert.base.clone(),
                priority: alert.priority,
                event_time: alert.event_time,
                channel: "telegram".to_owned(),
                recipient: chat.to_string(),
                at,
                outcome,
            });
            bus.append(&bus.names().ledger(&event), &event, Expect::Any, None).await?;
        }
        Ok::<_, nats::PublishError>(())
    };
    stream::iter(chats_of(chats)).map(of_chat).buffer_unordered(SENT_AT_ONCE).try_collect::<()>().await.unwrap();
    let decision = LedgerEvent::Decision(Decision {
        v: delivery::VERSION,
        alert: alert.id,
        kind: alert.kind(),
        base: alert.base.clone(),
        priority: alert.priority,
        event_time: alert.event_time,
        recipients: [("send".to_owned(), u32::try_from(chats).unwrap())].into(),
        edit: None,
    });
    bus.append(&bus.names().ledger(&decision), &decision, Expect::Any, None).await.unwrap();
}

/// Chats with numbers as long as Telegram's are.
const fn chats_of(chats: i64) -> std::ops::Range<i64> {
    6_100_000_000..6_100_000_000 + chats
}

/// Waits until something holds, longer than other tests need.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns what the notifier says of itself.
async fn status(bus: &Bus) -> Option<serde_json::Value> {
    let services = bus.collect_status(&["notify"], Duration::from_millis(200)).await.unwrap_or_default();
    services.first().map(|service| service.status["state"].clone())
}

fn memory(stage: &Stage, notify: &Service) -> String {
    let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
    let (of_notify, of_nats) =
        (|figure: &str| mib(notify.memory_kib(figure)), |figure: &str| mib(stage.nats.memory_kib(figure)));
    format!(
        "notify {:.1} MiB (at most {:.1}), nats {:.1} (at most {:.1})",
        of_notify("VmRSS"),
        of_notify("VmHWM"),
        of_nats("VmRSS"),
        of_nats("VmHWM"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_takes_over_a_day_of_deliveries_and_tells_everybody() {
    let _machine = machine().await;
    let chats = std::env::var("FORESHOCK_CHATS").map_or(CHATS, |chats| chats.parse().unwrap());
    let Some(stage) = Stage::new(Market::Recorded, chats_of(chats)).await else { return };
    let day_ms = now_ms() - MESSAGES * 3_600_000;
    for number in 0..MESSAGES {
        store(&stage.bus, &alert(number, Priority::High, day_ms + number * 3_600_000), chats).await;
    }
    let ledger = stage.bus.stream_state(Stream::Deliveries).await.unwrap();
    let mib = ledger.bytes as f64 / 1024.0 / 1024.0;
    eprintln!("{chats} chats; the ledger holds {} of {} events, {mib:.0} MiB", ledger.messages, ledger.last);

    let began = Instant::now();
    let notify = stage.notifier("a");
    until("it sends", async || status(&stage.bus).await.is_some_and(|status| status["sender"] == true)).await;
    eprintln!("start to ready {:.2} s; {}", began.elapsed().as_secs_f64(), memory(&stage, &notify));

    let bot = stage.bot();
    bot.set_limits(true);
    let alert = alert(MESSAGES, Priority::High, now_ms());
    let (began, stored_ms) = (Instant::now(), now_ms());
    stage.publish(&alert).await;
    let decided = |status: &serde_json::Value| status["decided"]["send"].as_i64() == Some(chats);
    until("it is decided", async || status(&stage.bus).await.is_some_and(|status| decided(&status))).await;
    eprintln!("decided after {:.2} s; {}", began.elapsed().as_secs_f64(), memory(&stage, &notify));
    let is_sent = |status: serde_json::Value| status["sent"].as_i64() == Some(chats) && status["waiting"] == 0;
    until("everybody is told", async || status(&stage.bus).await.is_some_and(is_sent)).await;
    let arrived = super::arrived(&bot);
    assert_eq!(arrived.len(), usize::try_from(chats).unwrap(), "once each");
    let after = |index: usize| seconds(arrived[index].at_ms - stored_ms);
    let last = arrived.len() - 1;
    eprintln!(
        "the first {:.2} s, the 100th {:.2} s, the last {:.1} s after the alert; {}",
        after(0),
        after(99),
        after(last),
        memory(&stage, &notify)
    );
}
