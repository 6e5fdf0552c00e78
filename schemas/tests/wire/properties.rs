//! Codec properties: what is written is read back, and bytes of any kind are an event or an error.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*};
use rust_decimal::Decimal;
use schemas::{
    alert::{Alert, Cascade, Dominant, Finding, LargeLiquidation, Phase, Priority, VenueTotal},
    amount::{Price, Quantity, Ratio, Usd},
    delivery::{Dead, LedgerEvent},
    id::Id,
    market::{Liquidation, MarketEvent, PriceKind, Side},
    name::{Base, Instrument, Venue},
    subscriber::Subscriber,
    time::{EventTime, ReceivedAt},
    wire::{decode, encode},
};

use crate::samples;

fn id() -> impl Strategy<Value = Id> {
    any::<u64>().prop_map(|seed| Id::of("any", &[&seed.to_string()]))
}

fn base() -> impl Strategy<Value = Base> {
    "[A-Z0-9币安人生]{1,12}".prop_map(|text| text.parse().unwrap())
}

fn venue() -> impl Strategy<Value = Venue> {
    "[a-z0-9-]{1,32}".prop_map(|text| text.parse().unwrap())
}

fn instrument() -> impl Strategy<Value = Instrument> {
    "[A-Z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (1..=1_000_000_000_000_000_i64, 0..=15_u32).prop_map(|(digits, scale)| Decimal::new(digits, scale))
}

fn price() -> impl Strategy<Value = Price> {
    decimal().prop_map(|value| Price::new(value).unwrap())
}

fn quantity() -> impl Strategy<Value = Quantity> {
    decimal().prop_map(|value| Quantity::new(value).unwrap())
}

fn usd() -> impl Strategy<Value = Usd> {
    any::<i64>().prop_map(Usd::from_cents)
}

fn ratio() -> impl Strategy<Value = Ratio> {
    (any::<i64>(), 0..=8_u32).prop_map(|(digits, scale)| Ratio::new(Decimal::new(digits, scale)))
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Long), Just(Side::Short)]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Started), Just(Phase::Escalated), Just(Phase::Updated), Just(Phase::Ended)]
}

fn price_kind() -> impl Strategy<Value = PriceKind> {
    prop_oneof![Just(PriceKind::Average), Just(PriceKind::Bankruptcy)]
}

fn liquidation() -> impl Strategy<Value = Liquidation> {
    let names = (id(), venue(), instrument(), base());
    let figures = (side(), quantity(), price(), price_kind(), usd());
    (names, figures, any::<i64>(), any::<i64>()).prop_map(|(names, figures, event_time, received_at)| {
        let (id, venue, instrument, base) = names;
        let (liquidated, quantity, price, price_kind, notional_usd) = figures;
        Liquidation {
            v: schemas::market::VERSION,
            id,
            venue,
            instrument,
            base,
            liquidated,
            quantity,
            price,
            price_kind,
            notional_usd,
            event_time: EventTime::from_millis(event_time),
            received_at: ReceivedAt::from_millis(received_at),
        }
    })
}

fn large_liquidation() -> impl Strategy<Value = Finding> {
    (liquidation(), option::of(id())).prop_map(|(event, episode)| {
        Finding::LargeLiquidation(LargeLiquidation {
            venue: event.venue,
            instrument: event.instrument,
            liquidated: event.liquidated,
            quantity: event.quantity,
            price: event.price,
            price_kind: event.price_kind,
            notional_usd: event.notional_usd,
            episode,
        })
    })
}

fn cascade() -> impl Strategy<Value = Finding> {
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let sums = (usd(), usd(), usd(), usd());
    let total = (any::<u64>(), usd()).prop_map(|(count, notional_usd)| VenueTotal { count, notional_usd });
    let venues = collection::btree_map(venue(), total, 0..5);
    let prices = (venue(), price(), price());
    let linked = collection::vec(base(), 0..4);
    (phase(), id(), counts, sums, (side(), ratio()), venues, prices, linked).prop_map(
        |(phase, episode, counts, sums, (side, share), venues, prices, linked_bases)| {
            let (tier, count, longs, shorts, bursts, duration_ms) = counts;
            let (notional_usd, long_usd, short_usd, largest_usd) = sums;
            let (price_venue, first_price, last_price) = prices;
            Finding::Cascade(Cascade {
                phase,
                episode,
                tier,
                count,
                notional_usd,
                longs,
                shorts,
                long_usd,
                short_usd,
                dominant: Dominant { side, share },
                largest_usd,
                bursts,
                venues,
                price_venue,
                first_price,
                last_price,
                linked_bases,
                duration_ms,
            })
        },
    )
}

fn explosion() -> impl Strategy<Value = Finding> {
    any::<bool>().prop_map(|young| if young { samples::young_oi_explosion() } else { samples::oi_explosion() }.finding)
}

fn alert() -> impl Strategy<Value = Alert> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Medium), Just(Priority::High)];
    let times = (any::<i64>(), any::<i64>(), any::<u64>());
    let coverage = collection::btree_map(venue(), any::<bool>(), 0..5);
    let finding = prop_oneof![large_liquidation(), cascade(), explosion()];
    ((id(), id(), id()), base(), priority, times, coverage, any::<bool>(), finding).prop_map(
        |((id, rules, trigger), base, priority, (event_time, received_at, window_ms), coverage, saturated, finding)| {
            Alert {
                v: schemas::alert::VERSION,
                id,
                base,
                priority,
                rules,
                trigger,
                event_time: EventTime::from_millis(event_time),
                received_at: ReceivedAt::from_millis(received_at),
                window_ms,
                coverage,
                saturated,
                finding,
            }
        },
    )
}

/// Bytes of every kind of event, with some of them changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let mut payloads = vec![
        encode(&samples::liquidation()).unwrap().payload,
        encode(&samples::recovered()).unwrap().payload,
        encode(&samples::cascade()).unwrap().payload,
        encode(&samples::oi_explosion()).unwrap().payload,
        encode(&samples::decision()).unwrap().payload,
        encode(&samples::dead()).unwrap().payload,
    ];
    payloads.extend(samples::outcomes().map(|(_, outcome)| encode(&samples::delivery(outcome)).unwrap().payload));
    let changes = collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    (prop::sample::select(payloads), changes).prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

/// Decodes as every kind; what is an event is encoded and read back as the same event.
fn decode_as_every_kind(bytes: &[u8]) {
    macro_rules! total {
        ($($kind:ty),*) => { $(
            if let Ok(event) = decode::<$kind>(bytes) {
                assert_eq!(decode::<$kind>(&encode(&event).unwrap().payload), Ok(event));
            }
        )* };
    }
    total!(MarketEvent, Alert, LedgerEvent, Subscriber, Dead);
}

proptest! {
    #[test]
    fn a_liquidation_is_read_back(event in liquidation()) {
        let event = MarketEvent::Liquidation(event);
        prop_assert_eq!(decode(&encode(&event).unwrap().payload), Ok(event));
    }

    #[test]
    fn an_alert_is_read_back(alert in alert()) {
        prop_assert_eq!(decode(&encode(&alert).unwrap().payload), Ok(alert));
    }

    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in collection::vec(any::<u8>(), 0..512)) {
        decode_as_every_kind(&bytes);
    }

    #[test]
    fn damaged_events_are_an_event_or_an_error(bytes in damaged()) {
        decode_as_every_kind(&bytes);
    }
}

#[test]
fn hostile_nesting_and_lengths_are_errors() {
    let deep_arrays = vec![0x91; 60_000];
    let deep_maps: Vec<u8> = [0x81, 0xa1, b'v'].repeat(20_000);
    // A map whose unknown field nests, so that the flattened rest must be buffered.
    let deep_field: Vec<u8> = [&[0x82, 0xa1, b'v', 0x01, 0xa1, b'x'][..], &vec![0x91; 60_000]].concat();
    let huge_string = vec![0xdb, 0xff, 0xff, 0xff, 0xff];
    let huge_map = vec![0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b'v', 0x01];
    for bytes in [deep_arrays, deep_maps, deep_field, huge_string, huge_map] {
        assert!(decode::<Alert>(&bytes).is_err());
        assert!(decode::<MarketEvent>(&bytes).is_err());
    }
}

#[test]
fn a_message_over_64_kib_is_refused() {
    let mut alert = samples::cascade();
    alert.coverage =
        (0..3_000).map(|n| (format!("ext-venue-number-{n}").parse().unwrap(), true)).collect::<BTreeMap<_, _>>();
    assert!(encode(&alert).is_err());
}
