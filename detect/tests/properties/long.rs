//! Days of open interest, long enough for everything that looks back: thinning, the baseline, the trends.

use proptest::prelude::*;
use schemas::{
    market::{Feed, MarketEvent, Origin, Rules},
    name::Venue,
    time::EventTime,
};

use crate::{Figures, START_MS, fold, position, reference::Reference, sample};
use detect::detector::{Detector, Start};

const RULES: &str = "[oi.BTC]\nchange_pct=9\nwindow=\"15m\"\nmin_usd=10000\nconfirm=2\n";
const OTHER_RULES: &str = "[oi.BTC]\nchange_pct=9\nwindow=\"60m\"\nmin_usd=10000\nconfirm=2\n";

/// What one venue does in five minutes: its change per mille (nothing: no sample), and how much later than on time it
/// is, in milliseconds.
type Tick = (Option<i64>, i64);

fn ticks() -> impl Strategy<Value = Vec<[Tick; 3]>> {
    let per_mille =
        prop_oneof![12 => (-12_i64..12).prop_map(Some), 1 => (-90_i64..110).prop_map(Some), 1 => Just(None)];
    let tick = (per_mille, prop_oneof![3 => Just(0_i64), 2 => 0_i64..60_000]);
    prop::collection::vec([tick.clone(), tick.clone(), tick], 200..420)
}

/// The log of these ticks; every `jolt` of them all venues move together, so that explosions are not rare.
fn log(ticks: &[[Tick; 3]], jolt: usize, rules: &str) -> Vec<MarketEvent> {
    let venues = ["binance", "bybit", "okx"].map(|venue| venue.parse::<Venue>().unwrap());
    let mut log = vec![MarketEvent::Rules(Rules::new(1, Origin::Config, rules.to_owned()))];
    let mut levels = [100_000_i64; 3];
    for (n, tick) in ticks.iter().enumerate() {
        let now = START_MS + n as i64 * 300_000;
        let alive = EventTime::from_millis(now.div_euclid(5_000) * 5_000 - 5_000);
        log.push(MarketEvent::Feed(Feed::alive(venues[0].clone(), "liquidation", alive)));
        let jolted = if n % jolt != 0 {
            0
        } else if n % 2 == 0 {
            120
        } else {
            -110
        };
        for ((venue, (per_mille, late_ms)), level) in venues.iter().zip(tick).zip(&mut levels) {
            let Some(per_mille) = per_mille else { continue };
            *level += *level * (per_mille + jolted) / 1_000;
            let figures = Figures { contracts: *level, coins: *level * 10, mark: 1_000 + n as i64 % 13 };
            let time = EventTime::from_millis(now + late_ms);
            log.push(MarketEvent::OpenInterest(sample(venue, "BTC", ("BTC", n as i64), time, 300_000, &figures)));
        }
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 16 } else { 200 }))]

    #[test]
    fn days_of_open_interest_agree_with_the_reference(
        ticks in ticks(),
        jolt in 20_usize..70,
        rules in prop::sample::select(vec![RULES, OTHER_RULES]),
    ) {
        let log = log(&ticks, jolt, rules);
        let mut reference = Reference::default();
        for (index, event) in log.iter().enumerate() {
            reference.handle(position(index), event);
        }
        prop_assert!(!reference.alerts.is_empty());
        let mut detector = Detector::new(Start::Complete);
        let mut alerts = fold(&mut detector, &log[..log.len() / 2], 0);
        let mut detector = Detector::restore(&detector.snapshot()).unwrap();
        alerts.extend(fold(&mut detector, &log, log.len() / 2));
        prop_assert_eq!(alerts, reference.alerts);
    }

    #[test]
    fn a_trimmed_fold_tells_of_open_interest_what_the_whole_does_after_25_hours(
        ticks in ticks(),
        jolt in 20_usize..70,
        cut in 1_usize..300,
        rules in prop::sample::select(vec![RULES, OTHER_RULES]),
    ) {
        let log = log(&ticks, jolt, rules);
        let whole = fold(&mut Detector::new(Start::Complete), &log, 0);
        let mut detector = Detector::new(Start::Trimmed);
        detector.handle_event(position(0), &log[0]);
        let trimmed = fold(&mut detector, &log, cut);
        let Some(first) = log[cut..].iter().find_map(crate::event_time) else { return Ok(()) };
        let warm = first.plus_millis(25 * 3_600_000);
        let expected: Vec<_> = whole.into_iter().filter(|detected| detected.alert.event_time >= warm).collect();
        prop_assert_eq!(trimmed, expected);
    }
}
