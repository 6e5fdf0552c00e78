//! Alerts and ledger events for tests.

use std::collections::BTreeMap;

use schemas::{
    alert::{
        Alert, Baseline, Cascade, Direction, Dominant, Finding, Kind, LargeLiquidation, OiExplosion, Phase, Priority,
        VenueChange, VenueTotal,
    },
    amount::{Ratio, Usd, parse_decimal},
    delivery::{self, Decision, Delivery, LedgerEvent, Outcome},
    id::Id,
    market::{PriceKind, Side},
    name::Venue,
    subscriber::{self, Cause, Preferences, Standing, Subscriber},
    time::{EventTime, ReceivedAt},
};

use crate::recipient::{ChatId, Recipient};

pub(crate) fn chat(number: i64) -> Recipient {
    Recipient::Telegram(ChatId::from_number(number))
}

pub(crate) fn venue(name: &str) -> Venue {
    name.parse().unwrap()
}

pub(crate) fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

pub(crate) fn ratio(text: &str) -> Ratio {
    Ratio::new(parse_decimal(text).unwrap())
}

/// An alert of `kind`, of the phase `started`, about `base` at `millis`, with its own id.
pub(crate) fn alert(kind: Kind, base: &str, millis: i64) -> Alert {
    let finding = match kind {
        Kind::LargeLiquidation => large_liquidation(),
        Kind::Cascade => cascade(),
        Kind::OiExplosion => explosion(),
    };
    let base = base.parse().unwrap();
    let trigger = Id::of("test", &[&millis.to_string()]);
    Alert {
        v: schemas::alert::VERSION,
        id: Alert::id_of_start(kind, &base, trigger),
        base,
        priority: Priority::Medium,
        rules: Id::of("test", &["rules"]),
        trigger,
        event_time: EventTime::from_millis(millis),
        received_at: ReceivedAt::from_millis(millis.saturating_add(400)),
        window_ms: if kind == Kind::OiExplosion { 900_000 } else { 30_000 },
        coverage: BTreeMap::from([(venue("binance"), true), (venue("bybit"), true), (venue("okx"), true)]),
        saturated: false,
        finding,
    }
}

pub(crate) fn with_phase(mut alert: Alert, changed: Phase) -> Alert {
    match &mut alert.finding {
        Finding::LargeLiquidation(_) => {}
        Finding::Cascade(Cascade { phase, .. }) | Finding::OiExplosion(OiExplosion { phase, .. }) => *phase = changed,
    }
    alert
}

fn large_liquidation() -> Finding {
    Finding::LargeLiquidation(LargeLiquidation {
        venue: venue("bybit"),
        instrument: "BTCUSDT".parse().unwrap(),
        liquidated: Side::Long,
        quantity: "1.5".parse().unwrap(),
        price: "97123.4".parse().unwrap(),
        price_kind: PriceKind::Bankruptcy,
        notional_usd: usd("145685.10"),
        episode: None,
    })
}

fn cascade() -> Finding {
    Finding::Cascade(Cascade {
        phase: Phase::Started,
        episode: Id::of("test", &["episode"]),
        tier: 4,
        count: 7,
        notional_usd: usd("1234567.89"),
        longs: 5,
        shorts: 2,
        long_usd: usd("1000000.00"),
        short_usd: usd("234567.89"),
        dominant: Dominant { side: Side::Long, share: ratio("0.81") },
        largest_usd: usd("600000.00"),
        bursts: 4,
        venues: BTreeMap::from([
            (venue("binance"), VenueTotal { count: 2, notional_usd: usd("234567.89") }),
            (venue("okx"), VenueTotal { count: 5, notional_usd: usd("1000000.00") }),
        ]),
        price_venue: venue("okx"),
        first_price: "97123.4".parse().unwrap(),
        last_price: "95200".parse().unwrap(),
        linked_bases: Vec::new(),
        duration_ms: 125_000,
    })
}

fn explosion() -> Finding {
    let change = |change_pct: &str, coins_before: &str, coins_after: &str| VenueChange {
        change_pct: ratio(change_pct),
        coins_before: coins_before.parse().unwrap(),
        coins_after: coins_after.parse().unwrap(),
    };
    Finding::OiExplosion(OiExplosion {
        direction: Direction::Up,
        phase: Phase::Started,
        change_pct: ratio("18.4213"),
        before_usd: usd("2100000000.00"),
        after_usd: usd("2500000000.00"),
        change_usd: usd("400000000.00"),
        confirming: 3,
        reporting: 3,
        all_change_pct: ratio("18.4213"),
        venues: BTreeMap::from([
            (venue("binance"), change("19.2", "10000", "11920")),
            (venue("bybit"), change("17.4", "8000", "9392")),
            (venue("okx"), change("18.1", "3500", "4133.5")),
        ]),
        baseline: Some(Baseline { z_score: ratio("4.2"), samples: 96 }),
        momentum_pct_per_min: Some(ratio("1.25")),
        trend_1h_pct: Some(ratio("20.4")),
        trend_24h_pct: Some(ratio("-3.1416")),
    })
}

/// A recipient that takes everything.
pub(crate) fn subscriber(recipient: &Recipient) -> Subscriber {
    Subscriber {
        v: subscriber::VERSION,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        at: 0,
        cause: Cause::Config,
        update: None,
        standing: Standing::Active,
        preferences: Preferences::default(),
    }
}

/// The intent of a first message that belongs to nothing.
pub(crate) fn intent() -> Outcome {
    Outcome::Intent { text: String::new(), thread: None, reply: false, picture: false }
}

pub(crate) fn delivery(alert: &Alert, recipient: &Recipient, outcome: Outcome) -> LedgerEvent {
    LedgerEvent::Delivery(Delivery {
        v: delivery::VERSION,
        alert: alert.id,
        kind: alert.kind(),
        base: alert.base.clone(),
        priority: alert.priority,
        event_time: alert.event_time,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        at: alert.event_time.as_millis(),
        outcome,
    })
}

pub(crate) fn decision(alert: &Alert) -> LedgerEvent {
    LedgerEvent::Decision(Decision {
        v: delivery::VERSION,
        alert: alert.id,
        kind: alert.kind(),
        base: alert.base.clone(),
        priority: alert.priority,
        event_time: alert.event_time,
        recipients: BTreeMap::new(),
        edit: None,
    })
}
