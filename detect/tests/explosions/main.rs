//! What fires as an open-interest explosion, what does not, and what the alert says.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod market;
mod restart;

use detect::{
    detector::{Counters, Detected, Start},
    rules::Rules,
};
use rust_decimal::Decimal;
use schemas::{
    alert::{Alert, Direction, Kind, OiExplosion, Phase, Priority, VenueChange},
    amount::{Quantity, Ratio, Usd},
    market::OpenInterest,
    position::{Evidence, Sequence},
    time::ReceivedAt,
};

use crate::market::{Market, RULES, explosion, minute_of, only};

const THREE: [(&str, i64); 3] = [("binance", 1_000), ("bybit", 500), ("okx", 2_000)];

/// A market in which three venues stood still for half an hour.
fn calm() -> Market {
    let mut market = Market::begin(Start::Complete, RULES);
    assert_eq!(market.steady(&THREE, 0..=30), []);
    market
}

fn ratio(text: &str) -> Ratio {
    Ratio::new(text.parse().unwrap())
}

fn coins(coins: i64) -> Quantity {
    Quantity::new(coins.into()).unwrap()
}

fn usd(usd: i64) -> Usd {
    Usd::from_cents(usd * 100)
}

fn phases(alerts: &[Detected]) -> Vec<(Direction, Phase)> {
    alerts.iter().map(explosion).map(|explosion| (explosion.direction, explosion.phase)).collect()
}

#[test]
fn two_venues_fire_and_the_alert_tells_both_their_change_and_that_of_all() {
    let mut market = calm();
    market.alive(31);
    assert_eq!(market.coins("binance", 31, 1_200), [], "one venue alone does not");
    assert_eq!(market.coins("okx", 31, 2_100), [], "5 % is no confirmation");
    let alerts = market.coins("bybit", 31, 575);
    let expected = OiExplosion {
        direction: Direction::Up,
        phase: Phase::Started,
        // 1,500 coins became 1,775; of all 3,500 became 3,875.
        change_pct: ratio("18.3333"),
        before_usd: usd(1_500_000),
        after_usd: usd(1_775_000),
        change_usd: usd(275_000),
        confirming: 2,
        reporting: 3,
        all_change_pct: ratio("10.7143"),
        venues: [("binance", "20", 1_000, 1_200), ("bybit", "15", 500, 575), ("okx", "5", 2_000, 2_100)]
            .into_iter()
            .map(|(venue, pct, before, after)| {
                let change =
                    VenueChange { change_pct: ratio(pct), coins_before: coins(before), coins_after: coins(after) };
                (venue.parse().unwrap(), change)
            })
            .collect(),
        baseline: None,
        // Six samples each of which the last moved: slope 5/35 of the step a minute. binance 2.8571 %, bybit 2.1429 %,
        // okx 0.7143 %, weighted by 1,200, 575 and 2,100.
        momentum_pct_per_min: Some(ratio("1.5899")),
        trend_1h_pct: None,
        trend_24h_pct: None,
    };
    assert_eq!(only(&alerts), expected);

    let Detected { alert, position, evidence } = &alerts[0];
    let trigger = OpenInterest::id_of(&"bybit".parse().unwrap(), &"BTCUSDT".parse().unwrap(), 31);
    let base = "BTC".parse().unwrap();
    assert_eq!(alert.id, Alert::id_of_start(Kind::OiExplosion, &base, trigger));
    assert_eq!((alert.trigger, alert.event_time), (trigger, minute_of(31)));
    assert_eq!(alert.received_at, ReceivedAt::from_millis(minute_of(31).as_millis() + 40));
    assert_eq!((alert.window_ms, alert.saturated, alert.priority), (900_000, false, Priority::Medium));
    assert_eq!(alert.rules, Rules::parse(RULES).unwrap().oi(&base).unwrap().digest());
    assert_eq!(alert.coverage, [("okx".parse().unwrap(), false)].into(), "one alive a minute is no coverage");
    // Four messages a minute after the rules: minute 16 begins with position 66.
    let first = Sequence::new(67);
    assert_eq!(*evidence, Evidence { first, last: *position });
}

#[test]
fn three_venues_fire_once() {
    let mut market = calm();
    let alerts = market.steady(&[("binance", 1_160), ("bybit", 580), ("okx", 2_320)], 31..=60);
    let found = only(&alerts);
    assert_eq!((found.confirming, found.reporting, found.change_pct), (2, 3, ratio("16")));
    assert_eq!(alerts[0].alert.priority, Priority::Medium, "the third venue was not heard yet");
}

#[test]
fn an_explosion_on_all_venues_is_of_high_priority() {
    let mut market = Market::begin(Start::Complete, RULES);
    market.steady(&THREE[..2], 0..=30);
    let alerts = market.steady(&[("binance", 1_160), ("bybit", 580)], 31..=31);
    assert_eq!((only(&alerts).reporting, alerts[0].alert.priority), (2, Priority::High));
}

#[test]
fn one_and_a_half_times_the_change_is_of_high_priority() {
    let mut market = calm();
    let alerts = market.steady(&[("binance", 1_225), ("bybit", 613), ("okx", 2_000)], 31..=31);
    assert_eq!((only(&alerts).change_pct, alerts[0].alert.priority), (ratio("22.5333"), Priority::High));
}

#[test]
fn one_venue_alone_does_not_fire() {
    let mut market = calm();
    assert_eq!(market.steady(&[("binance", 1_900), ("bybit", 510), ("okx", 2_020)], 31..=60), []);
}

#[test]
fn too_little_open_interest_does_not_fire() {
    let mut market = calm();
    market.mark = 700;
    assert_eq!(market.steady(&[("binance", 1_200), ("bybit", 600), ("okx", 2_000)], 31..=45).len(), 1);
    let mut market = calm();
    market.mark = 500;
    assert_eq!(market.steady(&[("binance", 1_200), ("bybit", 600), ("okx", 2_000)], 31..=45), [], "900,000 USD");
}

#[test]
fn a_move_of_the_price_is_no_change() {
    let mut market = calm();
    market.mark = 1_200;
    assert_eq!(market.steady(&THREE, 31..=60), []);
    // Inverse contracts of 100 USD: their coins move with the price.
    let inverse = |market: &mut Market, minute, mark| {
        market.alive(minute);
        let sample = (10_000, Decimal::from(1_000_000) / Decimal::from(mark), 1_000_000);
        ["binance", "okx"].map(|venue| market.sample(venue, "BTCUSD", minute, sample)).concat()
    };
    let mut market = Market::begin(Start::Complete, RULES);
    let alerts: Vec<_> = (0..60).flat_map(|minute| inverse(&mut market, minute, 1_000 + 10 * minute)).collect();
    assert_eq!(alerts, []);
    assert_eq!(market.detector.counters().oi_resized, 0);
}

#[test]
fn a_fall_fires_too() {
    let mut market = calm();
    let found = only(&market.steady(&[("binance", 800), ("bybit", 400), ("okx", 2_000)], 31..=45));
    assert_eq!((found.direction, found.phase), (Direction::Down, Phase::Started));
    assert_eq!((found.change_pct, found.change_usd), (ratio("-20"), usd(-300_000)));
    assert_eq!((found.before_usd, found.after_usd), (usd(1_500_000), usd(1_200_000)));
}

#[test]
fn a_stale_venue_neither_confirms_nor_reports() {
    let mut market = calm();
    market.steady(&[("binance", 1_200)], 31..=31);
    // The newest sample of binance is two intervals old at minute 33 and stale after.
    assert_eq!(market.steady(&[("okx", 2_000)], 32..=34), []);
    assert_eq!(market.coins("bybit", 34, 575), []);

    let mut market = calm();
    market.steady(&[("binance", 1_200)], 31..=31);
    market.steady(&[("okx", 2_000)], 32..=33);
    let found = only(&market.coins("bybit", 33, 575));
    assert_eq!((found.confirming, found.reporting), (2, 3));
}

#[test]
fn a_venue_without_a_baseline_does_not_report() {
    let mut market = Market::begin(Start::Complete, RULES);
    market.steady(&THREE[..2], 0..=30);
    market.steady(&THREE[2..], 25..=30);
    let found = only(&market.steady(&[("okx", 2_500), ("binance", 1_200), ("bybit", 600)], 31..=31));
    assert_eq!((found.confirming, found.reporting), (2, 2));
}

#[test]
fn an_external_venue_is_shown_and_counts_only_where_no_direct_one_is_alive() {
    let external = [("ext-gate", 1_000), ("ext-bitget", 1_000)];
    let mut market = calm();
    market.steady(&external, 0..=30);
    assert_eq!(market.steady(&[("ext-gate", 1_500), ("ext-bitget", 1_500)], 31..=31), [], "direct venues are alive");
    let found = only(&market.steady(&[("binance", 1_200), ("bybit", 600)], 31..=31));
    assert_eq!((found.confirming, found.reporting, found.all_change_pct), (2, 3, ratio("8.5714")));
    let shown: Vec<_> = found.venues.keys().map(ToString::to_string).collect();
    assert_eq!(shown, ["binance", "bybit", "ext-bitget", "ext-gate", "okx"]);

    let mut market = Market::begin(Start::Complete, RULES);
    market.steady(&THREE, 0..=10);
    market.steady(&external, 0..=30);
    let found = only(&market.steady(&[("ext-gate", 1_200), ("ext-bitget", 1_200)], 31..=31));
    assert_eq!((found.confirming, found.reporting, found.change_pct), (2, 2, ratio("20")));
}

#[test]
fn a_rise_to_a_higher_multiple_is_told_once_while_it_goes_on() {
    let mut market = calm();
    let mut alerts = Vec::new();
    for (minute, percent) in [(31, 16), (32, 25), (33, 31), (34, 29), (35, 33), (36, 61), (37, 61)] {
        let now = THREE.map(|(venue, coins)| (venue, coins * (100 + percent) / 100));
        alerts.extend(market.steady(&now, [minute]));
    }
    let expected =
        [(Direction::Up, Phase::Started), (Direction::Up, Phase::Escalated), (Direction::Up, Phase::Escalated)];
    assert_eq!(phases(&alerts), expected);
    let levels: Vec<_> = alerts.iter().map(|one| explosion(one).change_pct).collect();
    assert_eq!(levels[0], ratio("16"));
    assert!(levels[1] >= ratio("30") && levels[2] >= ratio("60"), "{levels:?}");
}

#[test]
fn it_fires_again_one_window_after_the_condition_held_last() {
    let mut market = calm();
    let up = |percent: i64| THREE.map(|(venue, coins)| (venue, coins * (100 + percent) / 100));
    // The first venue's sample of minute 46 still finds the change of minute 45 on the two others.
    assert_eq!(market.steady(&up(16), 31..=60).len(), 1);
    assert_eq!(market.steady(&up(36), 61..=61).len(), 1, "15 minutes after");

    let mut market = calm();
    market.steady(&up(16), 31..=59);
    assert_eq!(market.steady(&up(36), 60..=60), [], "14 minutes after is the same explosion");
    assert_eq!(market.steady(&up(36), 61..=74), [], "and goes on");
}

#[test]
fn directions_are_armed_apart_and_a_sample_tells_one_of_them() {
    let rules = RULES.replace("confirm = 2", "confirm = 1");
    let mut market = Market::begin(Start::Complete, &rules);
    market.steady(&THREE, 0..=30);
    market.rules(RULES);
    market.steady(&[("binance", 1_300), ("okx", 1_500)], 31..=31);
    market.rules(&rules);
    assert_eq!(phases(&market.coins("bybit", 31, 500)), [(Direction::Up, Phase::Started)]);
    assert_eq!(phases(&market.coins("bybit", 32, 500)), [(Direction::Down, Phase::Started)]);
    assert_eq!(market.coins("bybit", 33, 500), []);
}

#[test]
fn a_glitch_does_not_fire_and_a_doubling_fires_one_sample_later() {
    let mut market = calm();
    let high = [("binance", 10_000), ("bybit", 5_000), ("okx", 20_000)];
    assert_eq!(market.steady(&high, 31..=31), []);
    assert_eq!(market.steady(&THREE, 32..=50), []);
    assert_eq!(market.detector.counters().oi_glitches, 3);
    assert_eq!(market.steady(&high, 51..=51), []);
    let found = market.steady(&high, 52..=52);
    assert_eq!(
        (phases(&found), explosion(&found[0]).change_pct),
        (vec![(Direction::Up, Phase::Started)], ratio("900"))
    );
}

#[test]
fn a_change_of_the_contracts_size_does_not_fire() {
    let mut market = calm();
    for minute in 31..=60 {
        market.alive(minute);
        for (venue, coins) in THREE {
            let sample = (coins * 3 / 2, coins.into(), coins * 1_000);
            assert_eq!(market.sample(venue, "BTCUSDT", minute, sample), []);
        }
    }
    assert_eq!(market.detector.counters().oi_resized, 3);
}

#[test]
fn several_instruments_of_a_venue_are_weighed_by_value() {
    let rules = RULES.replace("confirm = 2", "confirm = 1");
    let mut market = Market::begin(Start::Complete, &rules);
    let mut tell = |minute, linear: i64, inverse: i64| {
        market.alive(minute);
        let mut alerts = market.sample("okx", "BTC-USDT-SWAP", minute, (linear, linear.into(), linear * 1_000));
        // An inverse contract of 100 USD, a tenth of a coin.
        alerts.extend(market.sample("okx", "BTC-USD-SWAP", minute, (inverse, Decimal::new(inverse, 1), inverse * 100)));
        alerts
    };
    for minute in 0..=30 {
        assert_eq!(tell(minute, 1_000, 10_000), []);
    }
    assert_eq!(tell(31, 1_250, 10_000), [], "12.5 % of both");
    let found = only(&tell(32, 1_250, 11_000));
    assert_eq!((found.change_pct, found.after_usd), (ratio("17.5"), usd(2_350_000)));
    let okx = &found.venues[&"okx".parse().unwrap()];
    assert_eq!((okx.coins_before, okx.coins_after), (coins(2_000), coins(2_350)));
}

#[test]
fn samples_are_kept_while_no_section_covers_the_base() {
    let mut market = Market::begin(Start::Complete, "");
    market.steady(&THREE, 0..=30);
    let up = THREE.map(|(venue, coins)| (venue, coins * 6 / 5));
    assert_eq!(market.steady(&up, 31..=32), []);
    market.rules(RULES);
    assert_eq!(market.steady(&up, 33..=33).len(), 1, "at the next sample");
    market.rules(&RULES.replace("15m", "14m"));
    assert_eq!(market.steady(&up, 34..=34), [], "it stays told");
    market.rules("");
    market.rules(RULES);
    assert_eq!(market.steady(&up, 35..=35).len(), 1, "another section begins anew");
}

#[test]
fn a_trimmed_fold_is_silent_for_25_hours() {
    let mut market = Market::begin(Start::Trimmed, RULES);
    let up = |percent: i64| THREE.map(|(venue, coins)| (venue, coins * (100 + percent) / 100));
    market.steady(&THREE, 0..=30);
    assert_eq!(market.steady(&up(20), 31..=60), []);
    assert_eq!(market.detector.counters().cold, 1);
    market.steady(&up(20), 61..=1_499);
    let found = only(&market.steady(&up(44), 1_500..=1_500));
    assert_eq!(found.baseline.map(|baseline| baseline.samples), Some(96));
    assert_eq!((found.trend_1h_pct, found.confirming), (Some(ratio("8.5714")), 2));
}

#[test]
fn what_is_beyond_a_bound_is_ignored_and_counted() {
    let mut market = Market::begin(Start::Complete, RULES);
    let sample = (1, Decimal::ONE, 1);
    for n in 0..17 {
        market.sample(&format!("venue-{n}"), "BTCUSDT", 0, sample);
        market.sample("venue-0", &format!("BTCUSDT-{n}"), 0, sample);
    }
    // One venue and ten instruments (one of the 18 came under its plain name) are too many.
    let expected = Counters { oi_samples: 34, oi_ignored: 11, ..Counters::default() };
    assert_eq!(market.detector.counters(), expected);
}

#[test]
fn a_venue_whose_figures_overflow_is_left_out() {
    let mut market = Market::begin(Start::Complete, RULES);
    let absurd = (10_000_000_000_000, Decimal::ONE, 90_000_000_000_000_000);
    for minute in 0..=30 {
        market.sample("bitget", "BTCUSDT", minute, absurd);
        market.steady(&THREE, [minute]);
    }
    market.sample("bitget", "BTCUSDT", 31, (12_000_000_000_000, Decimal::new(12, 1), 90_000_000_000_000_000));
    assert_eq!(market.detector.counters().oi_resized, 0);
    let found = only(&market.steady(&[("binance", 1_200), ("bybit", 600)], 31..=31));
    assert_eq!((found.confirming, found.reporting, found.venues.len()), (2, 3, 3));
}

#[test]
fn people_see_the_open_interest_of_a_base() {
    let mut market = calm();
    market.steady(&[("ext-gate", 700)], 31..=31);
    market.alive(33);
    let view = market.detector.bases().next().unwrap();
    let seen = view.open_interest.unwrap();
    assert_eq!((view.base.as_str(), view.count, view.clock), ("BTC", 0, None));
    assert_eq!((seen.venues, seen.usd, seen.newest), (1, usd(700_000), minute_of(31)), "the direct ones are stale");
}
