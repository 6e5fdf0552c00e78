//! OKX's frames → events; pure.

use schemas::market::{PriceKind, Side};
use serde_json::value::RawValue;

use crate::{
    normalize::{Kind, Reason, escape},
    okx::{
        LIQUIDATIONS,
        interest::quote,
        message::{Detail, Envelope, Interest, Orders},
    },
    reading::{Field, Reading, Stated},
};

/// The notice of an upgrade, 60 s ahead (exchanges.md B).
const UPGRADE: &str = "64008";

/// Reads one frame.
pub(crate) fn frame(bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    if bytes.trim_ascii() == b"pong" {
        return Kind::Pong;
    }
    let Some(envelope) = reading.json::<Envelope<'_>>(bytes) else {
        return Kind::Unreadable;
    };
    let channel = envelope.arg.as_ref().map_or("", |arg| &arg.channel);
    match (envelope.event.as_deref(), channel, envelope.data) {
        (Some(event), ..) => answer(event, &envelope, reading),
        (None, LIQUIDATIONS, Some(data)) => liquidations(data, reading),
        (None, "open-interest" | "mark-price", Some(data)) => companion(&envelope, data, reading),
        (None, ..) => {
            reading.refuse(Reason::UnknownFrame, &String::from_utf8_lossy(bytes));
            Kind::Unreadable
        }
    }
}

fn liquidations(data: &RawValue, reading: &mut Reading<'_>) -> Kind {
    let Some(rows) = reading.json::<Vec<&RawValue>>(data.get().as_bytes()) else {
        return Kind::Unreadable;
    };
    orders(&rows, reading);
    Kind::Liquidations
}

/// Takes the liquidations of every instrument, in the venue's order.
pub(crate) fn orders(rows: &[&RawValue], reading: &mut Reading<'_>) {
    for raw in rows {
        let Some(Orders { inst_id, details }) = reading.item(raw) else {
            continue;
        };
        for raw in details {
            if let Some(detail) = reading.item::<Detail<'_>>(raw) {
                take(&inst_id, &detail, reading);
            }
        }
    }
}

fn take(instrument: &str, detail: &Detail<'_>, reading: &mut Reading<'_>) {
    let Detail { bk_px, pos_side, side, sz, ts } = detail;
    let Ok(time_ms) = ts.parse() else {
        return reading.refuse(Reason::NotANumber, &format!("{instrument}, time {ts}"));
    };
    reading.take(&Stated {
        instrument,
        liquidated: liquidated(pos_side, side),
        quantity: sz,
        price: bk_px,
        price_kind: PriceKind::Bankruptcy,
        time_ms,
        // exchanges.md A.6: the same over the socket and REST.
        key: &[
            Field::Text(instrument),
            Field::Text(pos_side),
            Field::Integer(time_ms),
            Field::Number(bk_px),
            Field::Number(sz),
        ],
    });
}

/// `posSide` is the liquidated position; for `net` only the closing order tells (exchanges.md A.3).
fn liquidated(position: &str, order: &str) -> Option<Side> {
    match (position, order) {
        ("long", _) | ("net", "sell") => Some(Side::Long),
        ("short", _) | ("net", "buy") => Some(Side::Short),
        _ => None,
    }
}

fn companion(envelope: &Envelope<'_>, data: &RawValue, reading: &mut Reading<'_>) -> Kind {
    let Some(items) = reading.json::<Vec<&RawValue>>(data.get().as_bytes()) else {
        return Kind::Unreadable;
    };
    let instrument = envelope.arg.as_ref().and_then(|arg| arg.inst_id.as_deref());
    let mut kind = Kind::Unreadable;
    for raw in items {
        if let Some(item) = reading.item::<Interest<'_>>(raw) {
            reading.pushed_at(item.ts.parse().ok());
            if let Some(quote) = quote(item, instrument) {
                reading.quote(quote);
            }
            kind = Kind::Companion;
        }
    }
    kind
}

fn answer(event: &str, envelope: &Envelope<'_>, reading: &mut Reading<'_>) -> Kind {
    match event {
        "subscribe" => {
            let request = envelope.arg.as_ref().map_or_else(String::new, |arg| arg.channel.clone().into_owned());
            Kind::Subscribed { request }
        }
        "error" => {
            let code = envelope.code.as_deref().unwrap_or_default();
            let message = envelope.msg.as_deref().unwrap_or_default();
            reading.refuse(Reason::Subscription, &format!("{code} {message}"));
            Kind::SubscriptionRefused { request: String::new(), topic: channel_in(message) }
        }
        "notice" if envelope.code.as_deref() == Some(UPGRADE) => Kind::UpgradeNotice,
        // Notices and connection counts of no interest here.
        _ => Kind::Ignored,
    }
}

/// Finds the channel a refusal names: `Wrong URL or channel:liquidation-orders,instId:… doesn't exist`.
fn channel_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("channel:")?;
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    Some(escape(&rest[..end]))
}
