//! Events of the tests of this module, at times before [`AT`].

use schemas::{
    market::{Liquidation, OpenInterest, PriceKind, Reported, Side, VERSION},
    time::{EventTime, ReceivedAt},
};

/// When alerts of the tests fire, in milliseconds: 2026-03-04 14:31:15.209 UTC.
pub(super) const AT: i64 = 1_772_634_675_209;

/// Returns the moment this many milliseconds after [`AT`].
pub(super) fn time(millis: i64) -> EventTime {
    EventTime::from_millis(AT).plus_millis(millis)
}

/// Returns a liquidation of BTC.
pub(super) fn liquidation(venue: &str, liquidated: Side, usd: &str, millis: i64) -> Liquidation {
    let reported = Reported {
        venue: venue.parse().unwrap(),
        instrument: "BTCUSDT".parse().unwrap(),
        base: "BTC".parse().unwrap(),
        liquidated,
        quantity: "1".parse().unwrap(),
        price: "71000".parse().unwrap(),
        price_kind: PriceKind::Average,
        notional_usd: usd.parse().unwrap(),
        event_time: time(millis),
    };
    Liquidation::new(reported, &[usd], 1, ReceivedAt::unrecorded(time(millis)))
}

/// Returns a sample of BTC, taken every minute, worth a dollar a contract.
pub(super) fn interest(venue: &str, contracts: &str, millis: i64) -> OpenInterest {
    let (venue, instrument) = (venue.parse().unwrap(), "BTCUSDT".parse().unwrap());
    OpenInterest {
        v: VERSION,
        id: OpenInterest::id_of(&venue, &instrument, time(millis).as_millis() / 60_000),
        venue,
        instrument,
        base: "BTC".parse().unwrap(),
        contracts: contracts.parse().unwrap(),
        coins: contracts.parse().unwrap(),
        mark_price: "1".parse().unwrap(),
        notional_usd: contracts.parse().unwrap(),
        interval_ms: 60_000,
        event_time: time(millis),
        received_at: ReceivedAt::unrecorded(time(millis)),
    }
}
