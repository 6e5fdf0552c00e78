//! Bybit's frames → events; pure.

use schemas::market::{PriceKind, Side};
use serde_json::value::RawValue;

use crate::{
    bybit::{
        LIQUIDATIONS, TICKERS,
        interest::quote,
        message::{Envelope, Liquidation, Ticker},
    },
    normalize::{Kind, Reason},
    open_interest::quote::Scope,
    reading::{Field, Reading, Stated},
};

/// Reads one frame.
pub(crate) fn frame(bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    let Some(envelope) = reading.json::<Envelope<'_>>(bytes) else {
        return Kind::Unreadable;
    };
    match (&envelope.topic, envelope.data) {
        (Some(topic), Some(data)) if topic.starts_with(LIQUIDATIONS) => liquidations(&envelope, data, reading),
        (Some(topic), Some(data)) if topic.starts_with(TICKERS) => ticker(&envelope, data, reading),
        (_, None) => answer(&envelope, bytes, reading),
        (_, Some(_)) => unknown(bytes, reading),
    }
}

fn liquidations(envelope: &Envelope<'_>, data: &RawValue, reading: &mut Reading<'_>) -> Kind {
    let Some(items) = reading.json::<Vec<&RawValue>>(data.get().as_bytes()) else {
        return Kind::Unreadable;
    };
    reading.pushed_at(envelope.ts);
    for raw in items {
        if let Some(liquidation) = reading.item::<Liquidation<'_>>(raw) {
            take(&liquidation, reading);
        }
    }
    Kind::Liquidations
}

fn ticker(envelope: &Envelope<'_>, data: &RawValue, reading: &mut Reading<'_>) -> Kind {
    let Some(ticker) = reading.json::<Ticker<'_>>(data.get().as_bytes()) else {
        return Kind::Unreadable;
    };
    reading.pushed_at(envelope.ts);
    let scope = if envelope.kind.as_deref() == Some("snapshot") { Scope::Snapshot } else { Scope::Delta };
    reading.quote(quote(ticker, envelope.ts, scope));
    Kind::Companion
}

fn take(liquidation: &Liquidation<'_>, reading: &mut Reading<'_>) {
    let Liquidation { T, s, S, v, p } = liquidation;
    reading.take(&Stated {
        instrument: s,
        liquidated: liquidated(S),
        quantity: v,
        price: p,
        price_kind: PriceKind::Bankruptcy,
        time_ms: *T,
        // exchanges.md A.6.
        key: &[Field::Text(s), Field::Text(S), Field::Integer(*T), Field::Number(p), Field::Number(v)],
    });
}

/// `S` is the side of the position (exchanges.md A.2, with the evidence): half of public code has it inverted.
fn liquidated(side: &str) -> Option<Side> {
    match side {
        "Buy" => Some(Side::Long),
        "Sell" => Some(Side::Short),
        _ => None,
    }
}

fn answer(envelope: &Envelope<'_>, bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    let request = envelope.req_id.as_deref().unwrap_or_default().to_owned();
    match (envelope.op.as_deref(), envelope.success) {
        (Some("subscribe"), Some(true)) => Kind::Subscribed { request },
        (Some("subscribe"), Some(false)) => {
            let message = envelope.ret_msg.as_deref().unwrap_or_default();
            reading.refuse(Reason::Subscription, message);
            Kind::SubscriptionRefused { request, topic: topic_in(message) }
        }
        (Some("ping" | "pong"), _) => Kind::Pong,
        _ => unknown(bytes, reading),
    }
}

/// Finds the topic a refusal names: the only word with a dot in it (`error:handler not found,topic:liquidation.BTCUSDT`).
fn topic_in(message: &str) -> Option<String> {
    let words = message.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')));
    words.filter(|word| word.contains('.')).map(|word| word.trim_matches('.').to_owned()).find(|word| !word.is_empty())
}

fn unknown(bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    reading.refuse(Reason::UnknownFrame, &String::from_utf8_lossy(bytes));
    Kind::Unreadable
}
