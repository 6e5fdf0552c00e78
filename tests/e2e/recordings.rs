//! What the rules find in the real recordings, and the fold against itself over them.

use std::collections::{BTreeMap, BTreeSet};

use detect::{
    detector::{Detected, Detector, Output, Start},
    rules::Rules,
};
use schemas::{
    alert::{Finding, Phase},
    amount::Usd,
    market::{MarketEvent, Origin, Rules as RulesEvent},
    position::Sequence,
};
use serde_json::{Value, json};

use crate::support::{BINANCE, OKX, OKX_INSTRUMENTS, json_lines, recording, replayed_file, run};

/// The alerts of one kind and, for cascades, phase `started`: base and event time.
fn fired(alerts: &[Value], kind: &str) -> BTreeMap<String, Vec<i64>> {
    let mut fired: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert["kind"] == kind) {
        if alert["phase"].is_null() || alert["phase"] == "started" {
            let base = alert["base"].as_str().unwrap().to_owned();
            fired.entry(base).or_default().push(alert["event_time"].as_i64().unwrap());
        }
    }
    fired
}

fn counts(fired: BTreeMap<String, Vec<i64>>) -> BTreeMap<String, usize> {
    fired.into_iter().map(|(base, times)| (base, times.len())).collect()
}

#[test]
fn the_okx_recording_holds_the_cascades_computed_independently() {
    let (Some(file), Some(instruments)) = (recording(OKX), recording(OKX_INSTRUMENTS)) else { return };
    let (file, instruments) = (file.to_str().unwrap(), instruments.to_str().unwrap());
    let alerts = replayed_file(&[file, "--venue", "okx", "--instruments", instruments]);
    let expected = BTreeMap::from([
        (
            "SOL".to_owned(),
            vec![1772634675209, 1772634995100, 1772638189775, 1772639885708, 1772653361875, 1772667194004],
        ),
        ("ETH".to_owned(), vec![1772685152013, 1772685936324, 1772688277120]),
    ]);
    assert_eq!(fired(&alerts, "cascade"), expected);
    let singles = BTreeMap::from([("BTC".to_owned(), 4), ("ETH".to_owned(), 7), ("SOL".to_owned(), 23)]);
    assert_eq!(counts(fired(&alerts, "large_liquidation")), singles);
}

#[test]
fn the_binance_recording_holds_four_large_liquidations_and_no_cascade() {
    let Some(file) = recording(BINANCE) else { return };
    let alerts = replayed_file(&[file.to_str().unwrap(), "--venue", "binance"]);
    assert_eq!(fired(&alerts, "cascade"), BTreeMap::new());
    let singles = BTreeMap::from([("BTC".to_owned(), 3), ("SOL".to_owned(), 1)]);
    assert_eq!(counts(fired(&alerts, "large_liquidation")), singles);
}

#[test]
fn duplicates_in_a_recording_have_one_id() {
    let Some(file) = recording(BINANCE) else { return };
    let (code, out, err) = run(&["normalize", "--venue", "binance", file.to_str().unwrap()], &BTreeMap::new());
    assert_eq!(code, 0, "{err}");
    let events = json_lines(&out);
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    // 3,510 frames with 1,673 exact duplicates (shared data, README).
    assert_eq!((events.len(), ids.len()), (3_510, 3_510 - 1_673));
}

#[test]
fn an_instrument_without_metadata_is_refused_and_counted() {
    let (Some(file), Some(instruments)) = (recording(OKX), recording(OKX_INSTRUMENTS)) else { return };
    let args = ["normalize", "--venue", "okx", "--instruments", instruments.to_str().unwrap(), file.to_str().unwrap()];
    let (code, out, err) = run(&args, &BTreeMap::new());
    assert_eq!(code, 0);
    let events = json_lines(&out);
    assert!(events.iter().all(|event| event["base"] != "HYPE"));
    let last = err.lines().last().unwrap();
    let refused = 3_100 - events.len();
    assert_eq!(last, format!("{} events, {refused} refused (unknown_instrument {refused})", events.len()));
    assert_eq!(events[0]["notional_usd"], json!("1811.16"), "20.18 contracts of 1 SOL at 89.75");
}

/// The OKX recording as a log, with the rules before it.
fn okx_log() -> Option<Vec<MarketEvent>> {
    let (file, instruments) = (recording(OKX)?, recording(OKX_INSTRUMENTS)?);
    let args = ["normalize", "--venue", "okx", "--instruments", instruments.to_str()?, file.to_str()?];
    let (_, out, _) = run(&args, &BTreeMap::new());
    let rules = RulesEvent::new(1, Origin::Config, Rules::shipped().to_toml());
    let events = out.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut seen = BTreeSet::new();
    let once = events.filter(|event: &MarketEvent| seen.insert(event.id()));
    Some(std::iter::once(MarketEvent::Rules(rules)).chain(once).collect())
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

fn drain(detector: &mut Detector) -> Vec<Detected> {
    std::iter::from_fn(|| detector.poll_output())
        .map(|output| match output {
            Output::Alert(detected) => *detected,
            Output::RulesRefused { error, .. } => panic!("{error}"),
        })
        .collect()
}

/// Holds for every k: the state restored at k is the state, and so the tail is the tail. Every fiftieth tail is folded.
fn assert_snapshots_hold(log: &[MarketEvent]) {
    let whole = fold(&mut Detector::new(Start::Complete), log, 0);
    let mut detector = Detector::new(Start::Complete);
    let (mut alerts, mut inside_episodes) = (Vec::new(), 0);
    for (index, event) in log.iter().enumerate() {
        let restored = Detector::restore(&detector.snapshot()).unwrap();
        assert_eq!(restored, detector, "at {index}");
        let is_inside = detector.bases().any(|base| base.open_tier.is_some());
        inside_episodes += usize::from(is_inside);
        if index % 50 == 0 || (is_inside && index % 5 == 0) {
            let tail = fold(&mut restored.clone(), log, index);
            assert_eq!(alerts.iter().cloned().chain(tail).collect::<Vec<_>>(), whole, "at {index}");
        }
        detector = restored;
        detector.handle_event(position(index), event);
        alerts.extend(drain(&mut detector));
    }
    assert_eq!(alerts, whole);
    assert!(inside_episodes > 50, "the recording opens episodes");
}

#[test]
fn a_snapshot_and_the_tail_are_the_whole_recording() {
    let Some(log) = okx_log() else { return };
    assert_snapshots_hold(&log);
}

#[test]
fn a_rule_change_in_the_middle_of_an_episode_leaves_the_episode_its_own_section() {
    let Some(mut log) = okx_log() else { return };
    let before = fold(&mut Detector::new(Start::Complete), &log, 0);
    // The second alert of an episode of SOL that has later phases.
    let is_later = |detected: &&Detected| match &detected.alert.finding {
        Finding::Cascade(cascade) => detected.alert.base.as_str() == "SOL" && cascade.phase == Phase::Updated,
        Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => false,
    };
    let later = before.iter().find(is_later).expect("an episode of SOL is updated");
    let Finding::Cascade(cascade) = &later.alert.finding else { unreachable!() };
    let (episode, digest) = (cascade.episode, later.alert.rules);

    let mut stricter = Rules::shipped();
    let section = stricter.liquidation_mut(&"SOL".parse().unwrap()).unwrap();
    (section.cascade_usd, section.cascade_count, section.window_ms) = (Usd::from_cents(100_000_000), 50, 10_000);
    let (new_digest, change) = (section.digest(), RulesEvent::new(2, Origin::Cli, stricter.to_toml()));
    let at = usize::try_from(later.position.get()).unwrap() - 1;
    log.insert(at, MarketEvent::Rules(change));

    let after = fold(&mut Detector::new(Start::Complete), &log, 0);
    let of_episode = |alerts: &[Detected]| -> Vec<_> {
        let alerts =
            alerts.iter().filter(|one| matches!(&one.alert.finding, Finding::Cascade(c) if c.episode == episode));
        alerts.map(|one| one.alert.clone()).collect()
    };
    assert_eq!(of_episode(&after), of_episode(&before), "same renewal, tiers, window, end and digest");
    assert!(of_episode(&after).iter().all(|alert| alert.rules == digest));
    let later = after.iter().filter(|one| one.alert.base.as_str() == "SOL" && one.position > position(at));
    let others: Vec<_> = later
        .filter(|one| !matches!(&one.alert.finding, Finding::Cascade(c) if c.episode == episode))
        .map(|one| (one.alert.kind().as_str(), one.alert.rules))
        .collect();
    assert!(
        !others.is_empty() && others.iter().all(|(kind, rules)| *kind == "large_liquidation" && *rules == new_digest)
    );
    assert_snapshots_hold(&log);
}
