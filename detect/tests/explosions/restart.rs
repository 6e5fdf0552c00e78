//! The state of a day, its size, and going on from it.

use std::time::{Duration, Instant};

use detect::{
    detector::{Detector, Start},
    rules::SHIPPED,
};
use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd},
    market::{MarketEvent, OpenInterest, Origin, Rules, VERSION},
    name::{Base, Instrument, Venue},
    position::Sequence,
    time::{EventTime, ReceivedAt},
};

const START_MS: i64 = 1_772_634_600_000;
const BASES: i64 = 50;

/// The sample of a venue and base at a minute: levels and digits as the venues give them, each on its own wave.
fn sample(venue: &Venue, nth: i64, base: i64, minute: i64) -> MarketEvent {
    let instrument: Instrument = format!("B{base}USDT").parse().unwrap();
    let wave = (minute * (7 + base + nth)) % 997;
    let contracts = Quantity::new(Decimal::new(80_000_000 + base * 1_234_567 + wave * 1_001, 3)).unwrap();
    let mark = Price::new(Decimal::new(5_000_000 + wave, 2)).unwrap();
    let event_time = EventTime::from_millis(START_MS + minute * 60_000 + nth * 137);
    MarketEvent::OpenInterest(OpenInterest {
        v: VERSION,
        id: OpenInterest::id_of(venue, &instrument, minute),
        venue: venue.clone(),
        instrument,
        base: format!("B{base}").parse::<Base>().unwrap(),
        contracts,
        coins: contracts,
        mark_price: mark,
        notional_usd: Usd::notional(mark, contracts).unwrap(),
        interval_ms: 60_000,
        event_time,
        received_at: ReceivedAt::unrecorded(event_time),
    })
}

/// The rules, and every minute's samples of three venues, each with its position.
fn log(minutes: i64) -> impl Iterator<Item = (Sequence, MarketEvent)> {
    let venues = ["binance", "bybit", "okx"].map(|venue| venue.parse::<Venue>().unwrap());
    let of_minute = move |minute| {
        let venues = venues.clone();
        (0..BASES).flat_map(move |base| {
            (0..).zip(&venues).map(|(nth, venue)| sample(venue, nth, base, minute)).collect::<Vec<_>>()
        })
    };
    let rules = MarketEvent::Rules(Rules::new(1, Origin::Config, SHIPPED.to_owned()));
    (1..).map(Sequence::new).zip(std::iter::once(rules).chain((0..minutes).flat_map(of_minute)))
}

#[test]
fn a_day_of_three_venues_and_fifty_bases_is_restored_from_its_snapshot() {
    const DAY: i64 = 24 * 60;
    let mut detector = Detector::new(Start::Complete);
    let mut log = log(DAY + 1);
    for (position, event) in log.by_ref().take(usize::try_from(DAY * BASES * 3).unwrap() + 1) {
        detector.handle_event(position, &event);
        assert_eq!(detector.poll_output(), None);
    }

    let (snapshot, written) = timed(|| detector.snapshot());
    let (mut restored, read) = timed(|| Detector::restore(&snapshot).unwrap());
    eprintln!("snapshot of {} bytes, written in {written:?}, restored in {read:?}", snapshot.len());
    assert!(restored == detector);
    assert!(snapshot.len() <= 2_000_000, "{} bytes", snapshot.len());

    for (position, event) in log {
        restored.handle_event(position, &event);
        detector.handle_event(position, &event);
    }
    assert!(restored == detector);
}

/// Does something and tells how long it took; nothing depends on that.
#[expect(clippy::disallowed_methods, reason = "a figure to print")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}
