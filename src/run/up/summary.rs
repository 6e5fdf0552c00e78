//! What a replay came to, read from the streams themselves.

use std::collections::BTreeMap;

use anyhow::Context as _;
use nats::{Bus, Cursor};
use schemas::{
    alert::{Alert, Finding},
    delivery::{LedgerEvent, Outcome},
    market::MarketEvent,
    position::Sequence,
    subject::Stream,
    wire::{self, Message},
};
use serde_json::json;

use crate::run::stdout;

/// Counts what lies in the streams and prints it.
pub(super) async fn print(bus: &Bus, json: bool) -> anyhow::Result<()> {
    let mut events = 0_u64;
    each(bus, Stream::Market, |event: MarketEvent| events += u64::from(matches!(event, MarketEvent::Liquidation(_))))
        .await?;
    let mut alerts: BTreeMap<String, u64> = BTreeMap::new();
    each(bus, Stream::Alerts, |alert: Alert| *alerts.entry(label(&alert)).or_default() += 1).await?;
    let (mut sent, mut decided) = (0_u64, BTreeMap::<String, u64>::new());
    each(bus, Stream::Deliveries, |event: LedgerEvent| match event {
        LedgerEvent::Decision(decision) => {
            for (reason, count) in decision.recipients {
                *decided.entry(reason).or_default() += u64::from(count);
            }
        }
        LedgerEvent::Delivery(delivery) => sent += u64::from(matches!(delivery.outcome, Outcome::Sent { .. })),
        LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => {}
    })
    .await?;
    let text = if json {
        json!({ "liquidations": events, "alerts": alerts, "decided": decided, "sent": sent }).to_string()
    } else {
        let row = |title: &str, counts: &BTreeMap<String, u64>| {
            let total: u64 = counts.values().sum();
            let parts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            format!("{title:<14}{total:>7}   {}", parts.join(", "))
        };
        format!(
            "{:<14}{events:>7}\n{}\n{}\n{:<14}{sent:>7}",
            "liquidations",
            row("alerts", &alerts),
            row("decisions", &decided),
            "sent",
        )
    };
    writeln!(stdout(), "{text}").context("stdout cannot be written")
}

async fn each<M: Message>(bus: &Bus, stream: Stream, mut handle: impl FnMut(M)) -> anyhow::Result<()> {
    let mut cursor = Cursor::open(bus, stream, Sequence::new(1), None).await?;
    while let Some(record) = cursor.next_pending().await? {
        if let Ok(message) = wire::decode(&record.payload) {
            handle(message);
        }
    }
    Ok(())
}

fn label(alert: &Alert) -> String {
    match &alert.finding {
        Finding::LargeLiquidation(_) => "large liquidation".to_owned(),
        Finding::Cascade(cascade) => format!("cascade {}", cascade.phase.as_str()),
        Finding::OiExplosion(explosion) => format!("explosion {}", explosion.phase.as_str()),
    }
}
