//! Binance's frames → events; pure.

use schemas::market::{PriceKind, Side};
use serde_json::value::RawValue;

use crate::{
    binance::message::{Envelope, ForceOrder, MarkPrice, Order},
    normalize::{Kind, Reason},
    open_interest::quote::{Quote, Scope},
    reading::{Field, Reading, Stated},
};

/// COIN-M in the field `st` (exchanges.md A.1).
const COIN_MARGINED: i64 = 2;

/// Reads one frame: an object or an array of them, raw or wrapped in `{"stream","data"}`.
pub(crate) fn frame(bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    if is_array(bytes) {
        return messages(bytes, reading);
    }
    let Some(envelope) = reading.json::<Envelope<'_>>(bytes) else {
        return Kind::Unreadable;
    };
    match (envelope.data, &envelope.e) {
        (Some(data), _) if is_array(data.get().as_bytes()) => messages(data.get().as_bytes(), reading),
        (Some(data), _) => message(data, reading),
        (None, Some(kind)) => message_of(kind, bytes, reading),
        (None, None) => answer(&envelope, bytes, reading),
    }
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

/// Reads an array; one message that could be read makes it a frame of that kind.
fn messages(bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    let Some(items) = reading.json::<Vec<&RawValue>>(bytes) else {
        return Kind::Unreadable;
    };
    let kinds = items.into_iter().map(|raw| message(raw, reading));
    kinds.fold(Kind::Unreadable, |kind, next| if next == Kind::Unreadable { kind } else { next })
}

fn message(raw: &RawValue, reading: &mut Reading<'_>) -> Kind {
    match reading.item::<Envelope<'_>>(raw) {
        Some(Envelope { e: Some(kind), .. }) => message_of(&kind, raw.get().as_bytes(), reading),
        Some(_) => unknown(raw.get(), reading),
        None => Kind::Unreadable,
    }
}

fn message_of(kind: &str, bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    match kind {
        "forceOrder" => {
            let Some(event) = reading.json::<ForceOrder<'_>>(bytes) else {
                return Kind::Unreadable;
            };
            force_order(&event, reading);
            Kind::Liquidations
        }
        "markPriceUpdate" => {
            let Some(mark) = reading.json::<MarkPrice<'_>>(bytes) else {
                return Kind::Unreadable;
            };
            reading.pushed_at(mark.E);
            if let (Some(symbol), Some(price)) = (mark.s, mark.p) {
                reading.quote(Quote {
                    instrument: symbol.into_owned(),
                    time_ms: mark.E,
                    scope: Scope::Statement,
                    size: None,
                    mark: Some(price.into_owned()),
                });
            }
            Kind::Companion
        }
        other => unknown(other, reading),
    }
}

fn unknown(text: &str, reading: &mut Reading<'_>) -> Kind {
    reading.refuse(Reason::UnknownFrame, text);
    Kind::Unreadable
}

fn force_order(event: &ForceOrder<'_>, reading: &mut Reading<'_>) {
    reading.pushed_at(event.E);
    let order = &event.o;
    if event.st == Some(COIN_MARGINED) || order.st == Some(COIN_MARGINED) || is_coin_margined(&order.s) {
        return reading.refuse(Reason::CoinMargined, &order.s);
    }
    // exchanges.md A.1: `ap × z` is money that traded; where either is 0 only limit price and quantity are left.
    let (quantity, price, price_kind) = if is_zero(&order.ap) || is_zero(&order.z) {
        (&order.q, &order.p, PriceKind::Bankruptcy)
    } else {
        (&order.z, &order.ap, PriceKind::Average)
    };
    reading.take(&Stated {
        instrument: &order.s,
        liquidated: liquidated(&order.S),
        quantity,
        price,
        price_kind,
        time_ms: order.T,
        key: &key(order),
    });
}

/// `s, S, T, ap, z` (exchanges.md A.6): not `E`, which differs between connections.
fn key<'a>(order: &'a Order<'a>) -> [Field<'a>; 5] {
    [
        Field::Text(&order.s),
        Field::Text(&order.S),
        Field::Integer(order.T),
        Field::Number(&order.ap),
        Field::Number(&order.z),
    ]
}

/// `S` is the side of the closing order (exchanges.md A.1).
fn liquidated(side: &str) -> Option<Side> {
    match side {
        "SELL" => Some(Side::Long),
        "BUY" => Some(Side::Short),
        _ => None,
    }
}

/// `…USD_PERP` and `…USD_yymmdd` are COIN-M; `BTCUSDT_251226` is not.
fn is_coin_margined(symbol: &str) -> bool {
    symbol.rsplit_once('_').is_some_and(|(pair, term)| {
        pair.ends_with("USD") && (term == "PERP" || (term.len() == 6 && term.bytes().all(|b| b.is_ascii_digit())))
    })
}

fn is_zero(figure: &str) -> bool {
    figure.bytes().all(|b| b == b'0' || b == b'.')
}

fn answer(envelope: &Envelope<'_>, bytes: &[u8], reading: &mut Reading<'_>) -> Kind {
    let text = String::from_utf8_lossy(bytes);
    let request = envelope.id.map_or_else(String::new, |id| id.get().trim_matches('"').to_owned());
    if envelope.error.is_some() || envelope.code.is_some() {
        reading.refuse(Reason::Subscription, &text);
        return Kind::SubscriptionRefused { request, topic: None };
    }
    if envelope.id.is_some() {
        return Kind::Subscribed { request };
    }
    unknown(&text, reading)
}
