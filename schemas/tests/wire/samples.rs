//! One event of each kind, with every optional field present or, where it matters, absent.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    alert::{
        Alert, Baseline, Cascade, Direction, Dominant, Finding, Kind, LargeLiquidation, OiExplosion, Phase, Priority,
        VenueChange, VenueTotal,
    },
    amount::{Price, Quantity, Ratio, Usd, parse_decimal},
    delivery::{self, Dead, Decision, Delivery, Edit, Feedback, LedgerEvent, Note, Outcome, Topic, Update},
    id::Id,
    market::{
        Canary, Feed, FeedState, Liquidation, MarketEvent, OpenInterest, Origin, PriceKind, Reported, Rules, Side,
    },
    name::{Base, Venue},
    subscriber::{self, Cause, Mute, Preferences, QuietHours, Standing, Subscriber, Thresholds},
    time::{EventTime, ReceivedAt},
};

const EVENT_TIME: EventTime = EventTime::from_millis(1_763_922_488_123);
const RECEIVED_AT: ReceivedAt = ReceivedAt::from_millis(1_763_922_488_523);

fn base(name: &str) -> Base {
    name.parse().unwrap()
}

fn venue(name: &str) -> Venue {
    name.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn ratio(text: &str) -> Ratio {
    Ratio::new(parse_decimal(text).unwrap())
}

pub(crate) fn liquidation() -> MarketEvent {
    let reported = Reported {
        venue: venue("bybit"),
        instrument: "BTCUSDT".parse().unwrap(),
        base: base("BTC"),
        liquidated: Side::Long,
        quantity: quantity("0.015"),
        price: price("97123.4"),
        price_kind: PriceKind::Bankruptcy,
        notional_usd: usd("1456.85"),
        event_time: EVENT_TIME,
    };
    let key = ["BTCUSDT", "1763922488123", "Buy", "0.015", "97123.4"];
    MarketEvent::Liquidation(Liquidation::new(reported, &key, 1, RECEIVED_AT))
}

pub(crate) fn open_interest() -> MarketEvent {
    let (venue, instrument) = (venue("okx"), "BTC-USDT-SWAP".parse().unwrap());
    MarketEvent::OpenInterest(OpenInterest {
        v: schemas::market::VERSION,
        id: OpenInterest::id_of(&venue, &instrument, 29_398_708),
        venue,
        instrument,
        base: base("BTC"),
        contracts: quantity("2216113.01000000309"),
        coins: quantity("22161.1301"),
        mark_price: price("97120.5"),
        notional_usd: usd("2152300034.48"),
        interval_ms: 60_000,
        event_time: EVENT_TIME,
        received_at: RECEIVED_AT,
    })
}

pub(crate) fn alive() -> MarketEvent {
    MarketEvent::Feed(Feed::alive(venue("binance"), "liquidation", EventTime::from_millis(1_763_922_485_000)))
}

pub(crate) fn recovered() -> MarketEvent {
    let since = EventTime::from_millis(1_763_922_470_000);
    let state = FeedState::Recovered;
    MarketEvent::Feed(Feed::change(venue("okx"), "liquidation", "ingest-1", state, since, Some(18_123), EVENT_TIME))
}

pub(crate) fn rules() -> MarketEvent {
    MarketEvent::Rules(Rules::new(3, Origin::Cli, "[liquidation.BTC]\nsingle_usd = 100_000\n".to_owned()))
}

pub(crate) fn canary() -> MarketEvent {
    MarketEvent::Canary(Canary::new(1_763_922_480_000, ReceivedAt::from_millis(1_763_922_480_004)))
}

fn alert(priority: Priority, window_ms: u64, finding: Finding) -> Alert {
    let kind = match &finding {
        Finding::LargeLiquidation(_) => Kind::LargeLiquidation,
        Finding::Cascade(_) => Kind::Cascade,
        Finding::OiExplosion(_) => Kind::OiExplosion,
    };
    let trigger = liquidation().id();
    Alert {
        v: schemas::alert::VERSION,
        id: Alert::id_of_start(kind, &base("BTC"), trigger),
        base: base("BTC"),
        priority,
        rules: Id::of("section", &["sample"]),
        trigger,
        event_time: EVENT_TIME,
        received_at: RECEIVED_AT,
        window_ms,
        coverage: BTreeMap::from([(venue("binance"), true), (venue("bybit"), true), (venue("okx"), false)]),
        saturated: false,
        finding,
    }
}

pub(crate) fn large_liquidation() -> Alert {
    alert(
        Priority::Low,
        30_000,
        Finding::LargeLiquidation(LargeLiquidation {
            venue: venue("bybit"),
            instrument: "BTCUSDT".parse().unwrap(),
            liquidated: Side::Short,
            quantity: quantity("1.5"),
            price: price("97123.4"),
            price_kind: PriceKind::Bankruptcy,
            notional_usd: usd("145685.10"),
            episode: Some(Id::of("alert", &["sample"])),
        }),
    )
}

pub(crate) fn cascade() -> Alert {
    let finding = Finding::Cascade(Cascade {
        phase: Phase::Started,
        episode: Alert::id_of_start(Kind::Cascade, &base("BTC"), liquidation().id()),
        tier: 2,
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
            (venue("binance"), VenueTotal { count: 5, notional_usd: usd("1000000.00") }),
            (venue("okx"), VenueTotal { count: 2, notional_usd: usd("234567.89") }),
        ]),
        price_venue: venue("binance"),
        first_price: price("97123.4"),
        last_price: price("96000"),
        linked_bases: vec![base("ETH"), base("币安人生")],
        duration_ms: 21_500,
    });
    alert(Priority::High, 30_000, finding)
}

/// Without baseline, momentum and trends, which are absent in a young log.
pub(crate) fn young_oi_explosion() -> Alert {
    alert(
        Priority::Medium,
        900_000,
        Finding::OiExplosion(OiExplosion {
            direction: Direction::Down,
            phase: Phase::Started,
            change_pct: ratio("-18.4213"),
            before_usd: usd("2500000000.00"),
            after_usd: usd("2039467500.00"),
            change_usd: usd("-460532500.00"),
            confirming: 2,
            reporting: 2,
            all_change_pct: ratio("-18.4213"),
            venues: BTreeMap::from([(
                venue("okx"),
                VenueChange {
                    change_pct: ratio("-18.4213"),
                    coins_before: quantity("25000"),
                    coins_after: quantity("20394.675"),
                },
            )]),
            baseline: None,
            momentum_pct_per_min: None,
            trend_1h_pct: None,
            trend_24h_pct: None,
        }),
    )
}

pub(crate) fn oi_explosion() -> Alert {
    let mut alert = young_oi_explosion();
    if let Finding::OiExplosion(explosion) = &mut alert.finding {
        explosion.baseline = Some(Baseline { z_score: ratio("-4.2"), samples: 96 });
        explosion.momentum_pct_per_min = Some(ratio("-1.25"));
        explosion.trend_1h_pct = Some(ratio("-20"));
        explosion.trend_24h_pct = Some(ratio("3.1416"));
    }
    alert
}

pub(crate) fn decision() -> LedgerEvent {
    let alert = cascade();
    LedgerEvent::Decision(Decision {
        v: delivery::VERSION,
        alert: alert.id,
        kind: Kind::Cascade,
        base: alert.base,
        priority: alert.priority,
        event_time: alert.event_time,
        recipients: BTreeMap::from([("held:five_minutes".to_owned(), 1), ("send".to_owned(), 2)]),
        edit: None,
    })
}

/// A decision that changes the messages of its episode.
pub(crate) fn decision_with_edit() -> LedgerEvent {
    let LedgerEvent::Decision(decision) = decision() else { unreachable!() };
    let edit = Edit {
        thread: Id::of("test", &["episode"]),
        at: 1_763_922_488_900,
        text: "🔄 BTC LIQUIDATION CASCADE GOES ON".to_owned(),
        last: false,
        except: BTreeSet::from(["42".to_owned()]),
    };
    LedgerEvent::Decision(Decision { edit: Some(edit), ..decision })
}

pub(crate) fn note(topic: Topic, outcome: Outcome) -> LedgerEvent {
    LedgerEvent::Note(Note {
        v: delivery::VERSION,
        id: Id::of("test", &["note"]),
        channel: "telegram".to_owned(),
        recipient: "-1001234567890".to_owned(),
        at: 1_763_922_488_900,
        topic,
        outcome,
    })
}

/// Every topic, by its name on the wire.
pub(crate) fn topics() -> [(&'static str, Topic); 5] {
    let answer = Topic::Answer { update: 900, command: "mute".to_owned(), reply_to: Some(41), forum: Some(7) };
    [
        ("digest", Topic::Digest { event_time: EventTime::from_millis(1_763_922_488_123), held: 4 }),
        ("picture", Topic::Picture { alert: Id::of("test", &["alert"]) }),
        ("answer", answer),
        ("canary", Topic::Canary { received_at: ReceivedAt::from_millis(1_763_922_480_004) }),
        ("notice", Topic::Notice { name: "feed_dead".to_owned() }),
    ]
}

pub(crate) fn feedback() -> LedgerEvent {
    LedgerEvent::Feedback(Feedback {
        v: delivery::VERSION,
        alert: Id::of("test", &["alert"]),
        channel: "telegram".to_owned(),
        recipient: "42".to_owned(),
        by: Id::of("test", &["person"]),
        useful: true,
        update: 901,
        at: 1_763_922_488_900,
    })
}

pub(crate) fn update() -> LedgerEvent {
    LedgerEvent::Update(Update {
        v: delivery::VERSION,
        update: 900,
        channel: "telegram".to_owned(),
        recipient: "42".to_owned(),
        command: "mute".to_owned(),
        at: 1_763_922_488_900,
    })
}

/// A subscriber with every preference set.
pub(crate) fn subscriber() -> Subscriber {
    let thresholds = Thresholds {
        single_usd: Some(usd("250000.00")),
        cascade_usd: Some(usd("2000000.00")),
        cascade_count: Some(8),
        change_pct: Some(ratio("20")),
    };
    Subscriber {
        v: subscriber::VERSION,
        channel: "telegram".to_owned(),
        recipient: "-1001234567890".to_owned(),
        at: 1_763_922_488_900,
        cause: Cause::Chat,
        update: Some(900),
        standing: Standing::Off { reason: "blocked".to_owned() },
        preferences: Preferences {
            bases: Some(BTreeSet::from([base("BTC"), base("币安人生")])),
            kinds: Some(BTreeSet::from([Kind::Cascade])),
            min_priority: Priority::Medium,
            thresholds: BTreeMap::from([(base("BTC"), thresholds)]),
            quiet: Some(QuietHours { from: 1380, to: 420, zone: "Europe/Berlin".to_owned() }),
            mutes: vec![Mute { base: Some(base("SOL")), kind: None, until: 1_763_926_088_900 }],
            edits_only: true,
            pictures: false,
            topic: Some(7),
        },
    }
}

/// A subscriber that chose nothing.
pub(crate) fn plain_subscriber() -> Subscriber {
    let preferences = Preferences::default();
    Subscriber { cause: Cause::Config, update: None, standing: Standing::Active, preferences, ..subscriber() }
}

pub(crate) fn delivery(outcome: Outcome) -> LedgerEvent {
    let alert = cascade();
    LedgerEvent::Delivery(Delivery {
        v: delivery::VERSION,
        alert: alert.id,
        kind: Kind::Cascade,
        base: alert.base,
        priority: alert.priority,
        event_time: alert.event_time,
        channel: "telegram".to_owned(),
        recipient: "-1001234567890".to_owned(),
        at: 1_763_922_488_900,
        outcome,
    })
}

/// Every outcome, by its name on the wire.
pub(crate) fn outcomes() -> [(&'static str, Outcome); 11] {
    let intent = |thread: Option<Id>| Outcome::Intent {
        text: "🚨 BTC LIQUIDATION CASCADE".to_owned(),
        thread,
        reply: thread.is_some(),
        picture: thread.is_some(),
    };
    [
        ("intent", intent(None)),
        ("intent_reply", intent(Some(Id::of("test", &["episode"])))),
        ("limited", Outcome::Limited { reason: "held:five_minutes".to_owned() }),
        ("expired", Outcome::Expired { age_ms: 120_001 }),
        ("attempt", Outcome::Attempt { number: 1 }),
        ("deferred", Outcome::Deferred { reason: "rate_limited".to_owned(), wait_ms: 5_000, moved_to: None }),
        (
            "deferred_moved",
            Outcome::Deferred { reason: "migrated".to_owned(), wait_ms: 0, moved_to: Some("-1002".to_owned()) },
        ),
        ("sent", Outcome::Sent { message_id: Some(42) }),
        ("failed", Outcome::Failed { reason: "failed:blocked".to_owned() }),
        ("edited", Outcome::Edited { message_id: 42 }),
        ("gone", Outcome::Gone { message_id: 42 }),
    ]
}

pub(crate) fn dead() -> Dead {
    Dead::new("MARKET", 42, "market.feed.okx", "not a known event".to_owned(), b"\xc1junk")
}
