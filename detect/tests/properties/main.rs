//! The detector against a naive reference, and the fold against itself, on random, disordered, duplicated, late input.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod long;
mod open_interest;
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use detect::{
    detector::{Detected, Detector, Start},
    rules::SHIPPED,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use schemas::{
    alert::{Finding, Kind},
    amount::{Price, Quantity, Usd},
    id::Id,
    market::{Feed, Liquidation, MarketEvent, OpenInterest, Origin, PriceKind, Reported, Rules, Side, VERSION},
    name::{Instrument, Venue},
    position::Sequence,
    time::{EventTime, ReceivedAt},
};

use crate::reference::{Reference, drain};

const START_MS: i64 = 1_772_634_675_209;

/// Rules small enough that random input opens, escalates and ends many cascades.
const EAGER: &str = "[liquidation.BTC]\nsingle_usd=90000\ncascade_count=3\ncascade_usd=60000\nwindow=\"30s\"\n\
    [liquidation.ETH]\nsingle_usd=50000\ncascade_count=2\ncascade_usd=40000\nwindow=\"10s\"\n\
    [oi.BTC]\nchange_pct=6\nwindow=\"3m\"\nmin_usd=10000\nconfirm=2\n\
    [oi.ETH]\nchange_pct=4.5\nwindow=\"90s\"\nmin_usd=5000\nconfirm=1\n";
const WIDER: &str = "[liquidation.BTC]\nsingle_usd=9000\ncascade_count=4\ncascade_usd=120000\nwindow=\"2m\"\n\
    [liquidation.default]\nsingle_usd=50000\ncascade_count=2\ncascade_usd=40000\nwindow=\"5m\"\n\
    [oi.BTC]\nchange_pct=3\nwindow=\"7m\"\nmin_usd=1\nconfirm=1\n";

#[derive(Clone, Debug)]
enum Step {
    Liquidation {
        base: usize,
        venue: usize,
        short: bool,
        forward_ms: i64,
        back_ms: i64,
        cents: i64,
        digits: u64,
    },
    /// The event `back` places before, once more.
    Duplicate {
        back: usize,
    },
    /// A sample `per_mille` from the one before, of which one in a while is far off or of another contract size.
    Sample {
        base: usize,
        venue: usize,
        second: bool,
        forward_ms: i64,
        back_ms: i64,
        per_mille: i64,
        resize: bool,
    },
    Alive {
        venue: usize,
        lag_ms: i64,
    },
    Rules(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let forward = prop_oneof![8 => 0_i64..4_000, 3 => Just(0), 2 => 4_000_i64..35_000, 1 => 35_000_i64..700_000];
    let back = prop_oneof![6 => Just(0_i64), 3 => 0_i64..5_000, 1 => 0_i64..400_000];
    let cents = prop_oneof![4 => 1_i64..3_000_000, 1 => 3_000_000_i64..200_000_000];
    let digits = prop_oneof![3 => 1_u64..100_000, 1 => 4_294_967_000_u64..99_999_999_999];
    let liquidation = (0_usize..3, 0_usize..3, any::<bool>(), forward, back, cents, digits).prop_map(
        |(base, venue, short, forward_ms, back_ms, cents, digits)| Step::Liquidation {
            base,
            venue,
            short,
            forward_ms: forward_ms / 10 * 10,
            back_ms: back_ms / 10 * 10,
            cents,
            digits,
        },
    );
    let forward = prop_oneof![4 => 0_i64..15_000, 1 => 15_000_i64..70_000];
    let back = prop_oneof![6 => Just(0_i64), 1 => 0_i64..60_000];
    let per_mille = prop_oneof![
        12 => -60_i64..60,
        4 => -200_i64..250,
        1 => prop_oneof![Just(-900_i64), Just(-500), Just(1_000), Just(5_000)],
    ];
    let resize = prop_oneof![30 => Just(false), 1 => Just(true)];
    let base = prop_oneof![4 => Just(0_usize), 1 => 1_usize..3];
    let sample = (base, 0_usize..4, any::<bool>(), forward, back, per_mille, resize).prop_map(
        |(base, venue, second, forward_ms, back_ms, per_mille, resize)| Step::Sample {
            base,
            venue,
            second: second && venue == 2,
            forward_ms,
            back_ms,
            per_mille,
            resize,
        },
    );
    prop_oneof![
        30 => liquidation,
        40 => sample,
        3 => (1_usize..20).prop_map(|back| Step::Duplicate { back }),
        12 => (0_usize..3, 0_i64..9_000).prop_map(|(venue, lag_ms)| Step::Alive { venue, lag_ms }),
        1 => (0_usize..3).prop_map(Step::Rules),
    ]
}

/// The log that the steps make: every id once, as MARKET holds it.
fn log(steps: &[Step]) -> Vec<MarketEvent> {
    let venues = ["binance", "bybit", "okx", "ext-gate"].map(|venue| venue.parse::<Venue>().unwrap());
    let mut log = vec![MarketEvent::Rules(Rules::new(1, Origin::Config, EAGER.to_owned()))];
    let mut now = START_MS;
    let mut levels: BTreeMap<(usize, usize, bool), (i64, i64)> = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        log.push(match step {
            Step::Liquidation { base, venue, short, forward_ms, back_ms, cents, digits } => {
                now += forward_ms;
                let name = ["BTC", "ETH", "SOL"][*base];
                let reported = Reported {
                    venue: venues[*venue].clone(),
                    instrument: format!("{name}-{}", n % 2).parse().unwrap(),
                    base: name.parse().unwrap(),
                    liquidated: if *short { Side::Short } else { Side::Long },
                    quantity: Quantity::new(Decimal::ONE).unwrap(),
                    price: Price::new(Decimal::new(i64::try_from(*digits).unwrap(), 5)).unwrap(),
                    price_kind: PriceKind::Bankruptcy,
                    notional_usd: Usd::from_cents(*cents),
                    event_time: EventTime::from_millis(now - back_ms),
                };
                let received_at = ReceivedAt::from_millis(now + 7);
                MarketEvent::Liquidation(Liquidation::new(reported, &[&n.to_string()], 1, received_at))
            }
            Step::Sample { base, venue, second, forward_ms, back_ms, per_mille, resize } => {
                now += forward_ms;
                let name = ["BTC", "ETH", "SOL"][*base];
                let (level, size) = levels.entry((*base, *venue, *second)).or_insert((10_000, 1));
                if *resize {
                    (*level, *size) = (*level * *size * 10 / 7, 7 - *size);
                }
                let told = (*level + *level * per_mille / 1_000).max(1);
                // What is far off is a glitch as often as it stays.
                if per_mille.abs() < 400 || n % 2 == 0 {
                    *level = told.clamp(100, 10_000_000);
                }
                let event_time = EventTime::from_millis(now - back_ms);
                let figures = Figures { contracts: told, coins: told * *size, mark: 900 + (n as i64 * 37) % 200 };
                MarketEvent::OpenInterest(sample(
                    &venues[*venue],
                    &format!("{name}-{second}"),
                    (name, n as i64),
                    event_time,
                    [60_000, 90_000, 60_000, 45_000][*venue],
                    &figures,
                ))
            }
            Step::Duplicate { back } => log[log.len() - back.min(&log.len())].clone(),
            Step::Alive { venue, lag_ms } => {
                let tick = (now - lag_ms).div_euclid(5_000) * 5_000;
                MarketEvent::Feed(Feed::alive(venues[*venue].clone(), "liquidation", EventTime::from_millis(tick)))
            }
            Step::Rules(which) => {
                let text = [EAGER, WIDER, SHIPPED][*which].to_owned();
                MarketEvent::Rules(Rules::new(n as u64 + 2, Origin::Cli, text))
            }
        });
    }
    let mut seen = BTreeSet::new();
    log.retain(|event| seen.insert(event.id()));
    log
}

struct Figures {
    contracts: i64,
    /// In thousandths.
    coins: i64,
    mark: i64,
}

/// A sample of `instrument` of (base, slot).
fn sample(
    venue: &Venue,
    instrument: &str,
    (base, slot): (&str, i64),
    event_time: EventTime,
    interval_ms: u32,
    figures: &Figures,
) -> OpenInterest {
    let instrument: Instrument = instrument.parse().unwrap();
    let coins = Quantity::new(Decimal::new(figures.coins, 3)).unwrap();
    let mark_price = Price::new(figures.mark.into()).unwrap();
    OpenInterest {
        v: VERSION,
        id: OpenInterest::id_of(venue, &instrument, slot),
        venue: venue.clone(),
        instrument,
        base: base.parse().unwrap(),
        contracts: Quantity::new(figures.contracts.into()).unwrap(),
        coins,
        mark_price,
        notional_usd: Usd::notional(mark_price, coins).unwrap(),
        interval_ms,
        event_time,
        received_at: ReceivedAt::from_millis(event_time.as_millis() + 900),
    }
}

fn position(index: usize) -> Sequence {
    Sequence::new(index as u64 + 1)
}

fn fold(detector: &mut Detector, log: &[MarketEvent], from: usize) -> Vec<Detected> {
    let mut alerts = Vec::new();
    for (index, event) in log.iter().enumerate().skip(from) {
        detector.handle_event(position(index), event);
        alerts.extend(drain(detector));
    }
    alerts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 192 } else { 2_000 }))]

    #[test]
    fn the_detector_agrees_with_the_reference(steps in prop::collection::vec(step(), 1..250)) {
        let log = log(&steps);
        let mut reference = Reference::default();
        for (index, event) in log.iter().enumerate() {
            reference.handle(position(index), event);
        }
        let alerts = fold(&mut Detector::new(Start::Complete), &log, 0);
        prop_assert_eq!(alerts, reference.alerts);
    }

    #[test]
    fn a_snapshot_and_the_tail_are_the_whole(steps in prop::collection::vec(step(), 1..120)) {
        let log = log(&steps);
        let whole = fold(&mut Detector::new(Start::Complete), &log, 0);
        let mut detector = Detector::new(Start::Complete);
        let mut alerts = Vec::new();
        for (index, event) in log.iter().enumerate() {
            let snapshot = detector.snapshot();
            let mut restored = Detector::restore(&snapshot).unwrap();
            prop_assert_eq!(&restored, &detector);
            if index % 17 == 0 {
                let tail = fold(&mut restored.clone(), &log, index);
                prop_assert_eq!(&alerts.iter().cloned().chain(tail).collect::<Vec<_>>(), &whole);
            }
            restored.handle_event(position(index), event);
            alerts.extend(drain(&mut restored));
            detector = restored;
        }
        prop_assert_eq!(alerts, whole);
    }

    #[test]
    fn a_fold_from_a_trimmed_log_emits_what_the_whole_does_once_its_look_back_is_full(
        steps in prop::collection::vec(step().prop_filter_map("calm", calm), 1..250),
        cut in 0.0_f64..1.0,
    ) {
        let log = log(&steps);
        let whole = fold(&mut Detector::new(Start::Complete), &log, 0);
        let cut = 1 + ((log.len() - 1) as f64 * cut) as usize;
        let mut detector = Detector::new(Start::Trimmed);
        detector.handle_event(position(0), &log[0]);
        let trimmed: BTreeSet<_> = fold(&mut detector, &log, cut).iter().map(place).collect();
        let is_sample = |event: &&MarketEvent| matches!(event, MarketEvent::OpenInterest(_));
        let heard = log[cut..].iter().filter(|event| !is_sample(event));
        let Some(first) = heard.filter_map(event_time).next() else { return Ok(()) };

        let whole_places: BTreeSet<_> = whole.iter().map(place).collect();
        prop_assert!(trimmed.is_subset(&whole_places));
        let warm = first.plus_millis(300_000);
        let is_cold = |detected: &Detected| detected.alert.event_time < warm;
        let cold_episodes: BTreeSet<_> = whole.iter().filter(|one| is_cold(one)).filter_map(episode).collect();
        let is_open_interest = |detected: &Detected| detected.alert.kind() == Kind::OiExplosion;
        for detected in whole.iter().filter(|one| !is_cold(one) && !is_open_interest(one)) {
            // What belongs to an episode that opened before stays silent, and so does a single inside it.
            if episode(detected).is_none_or(|episode| !cold_episodes.contains(&episode)) {
                prop_assert!(trimmed.contains(&place(detected)), "{:?}", detected);
            }
        }
    }
}

/// Without changes of rules, and with no more disorder than venues show.
fn calm(step: Step) -> Option<Step> {
    match step {
        Step::Liquidation { base, venue, short, forward_ms, back_ms, cents, digits } => {
            Some(Step::Liquidation { base, venue, short, forward_ms, back_ms: back_ms.min(2_000), cents, digits })
        }
        Step::Rules(_) => None,
        Step::Duplicate { .. } | Step::Alive { .. } | Step::Sample { .. } => Some(step),
    }
}

fn place(detected: &Detected) -> (Id, Sequence) {
    (detected.alert.id, detected.position)
}

fn episode(detected: &Detected) -> Option<Id> {
    match &detected.alert.finding {
        Finding::Cascade(cascade) => Some(cascade.episode),
        Finding::LargeLiquidation(single) => single.episode,
        Finding::OiExplosion(_) => None,
    }
}

fn event_time(event: &MarketEvent) -> Option<EventTime> {
    match event {
        MarketEvent::Liquidation(event) => Some(event.event_time),
        MarketEvent::Feed(feed) => Some(feed.event_time),
        MarketEvent::OpenInterest(event) => Some(event.event_time),
        MarketEvent::Rules(_) | MarketEvent::Canary(_) => None,
    }
}
