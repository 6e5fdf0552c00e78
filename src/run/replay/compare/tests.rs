use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::{
    alert::{Cascade, Dominant, LargeLiquidation, OiExplosion, VERSION},
    amount::{Ratio, Usd},
    market::{PriceKind, Side},
    time::ReceivedAt,
};

use super::*;

const WINDOW_MS: u64 = 30_000;

/// An alert about BTC at this second, of the thing with this number.
fn alert(finding: Finding, number: u64, millis: i64, priority: Priority) -> Alert {
    let trigger = Id::of("test", &[&number.to_string()]);
    Alert {
        v: VERSION,
        id: Id::of("test", &["alert", &number.to_string(), &millis.to_string()]),
        base: "BTC".parse().unwrap(),
        priority,
        rules: trigger,
        trigger,
        event_time: EventTime::from_millis(millis),
        received_at: ReceivedAt::from_millis(millis),
        window_ms: WINDOW_MS,
        coverage: BTreeMap::new(),
        saturated: false,
        finding,
    }
}

fn cascade(phase: Phase) -> Finding {
    Finding::Cascade(Cascade {
        phase,
        episode: Id::of("test", &["episode"]),
        tier: 1,
        count: 5,
        notional_usd: Usd::default(),
        longs: 5,
        shorts: 0,
        long_usd: Usd::default(),
        short_usd: Usd::default(),
        dominant: Dominant { side: Side::Long, share: Ratio::default() },
        largest_usd: Usd::default(),
        bursts: 1,
        venues: BTreeMap::new(),
        price_venue: "okx".parse().unwrap(),
        first_price: "1".parse().unwrap(),
        last_price: "1".parse().unwrap(),
        linked_bases: Vec::new(),
        duration_ms: 0,
    })
}

fn explosion(direction: Direction, phase: Phase) -> Finding {
    Finding::OiExplosion(OiExplosion {
        direction,
        phase,
        change_pct: Ratio::default(),
        before_usd: Usd::default(),
        after_usd: Usd::default(),
        change_usd: Usd::default(),
        confirming: 2,
        reporting: 3,
        all_change_pct: Ratio::default(),
        venues: BTreeMap::new(),
        baseline: None,
        momentum_pct_per_min: None,
        trend_1h_pct: None,
        trend_24h_pct: None,
    })
}

fn large() -> Finding {
    Finding::LargeLiquidation(LargeLiquidation {
        venue: "okx".parse().unwrap(),
        instrument: "BTC-USDT-SWAP".parse().unwrap(),
        liquidated: Side::Long,
        quantity: "1".parse().unwrap(),
        price: "1".parse().unwrap(),
        price_kind: PriceKind::Average,
        notional_usd: Usd::default(),
        episode: None,
    })
}

/// Phases of cascades at these milliseconds.
fn cascades(alerts: &[(Phase, i64, Priority)]) -> Episodes {
    episodes(alerts.iter().map(|(phase, millis, priority)| alert(cascade(*phase), 0, *millis, *priority)))
}

fn episodes(alerts: impl IntoIterator<Item = Alert>) -> Episodes {
    let mut episodes = Episodes::default();
    for alert in alerts {
        episodes.take(&alert, true).unwrap();
    }
    episodes
}

/// The rows of the table without its head, then the summary.
fn compared(before: Episodes, after: Episodes) -> Vec<String> {
    let text = Report::new(before, after).text();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("base "));
    lines.map(ToOwned::to_owned).collect()
}

use Phase::{Ended, Escalated, Started, Updated};
use Priority::{High, Low, Medium};

#[test]
fn a_cascade_is_the_same_while_the_episodes_overlap() {
    let before = || cascades(&[(Started, 4_250, Medium), (Updated, 10_000, Medium), (Ended, 60_000, Medium)]);
    assert_eq!(
        compared(before(), before()),
        ["0 added, 0 lost, 0 earlier, 0 later, 0 of another priority, 1 unchanged"]
    );
    let after = cascades(&[(Started, 0, Medium), (Escalated, 9_000, High), (Ended, 70_000, Medium)]);
    let expected = [
        "BTC   cascade            1970-01-01T00:00:04.250Z  earlier by 4.3 s, priority medium → high",
        "0 added, 0 lost, 1 earlier, 0 later, 1 of another priority, 0 unchanged",
    ];
    assert_eq!(compared(before(), after), expected);
    // One that starts when the other has ended is another.
    let after = cascades(&[(Started, 60_001, High)]);
    let expected = [
        "BTC   cascade            1970-01-01T00:00:04.250Z  lost, medium",
        "BTC   cascade            1970-01-01T00:01:00.001Z  added, high",
        "1 added, 1 lost, 0 earlier, 0 later, 0 of another priority, 0 unchanged",
    ];
    assert_eq!(compared(before(), after), expected);
    let after = cascades(&[(Started, 60_000, Medium)]);
    let expected = "BTC   cascade            1970-01-01T00:00:04.250Z  later by 55.8 s";
    assert_eq!(compared(before(), after)[0], expected);
}

#[test]
fn an_episode_that_was_left_open_lasts_a_window_beyond_its_last_alert() {
    let before = || cascades(&[(Started, 0, Low), (Updated, 10_000, Low)]);
    let last = |millis| compared(before(), cascades(&[(Started, millis, Low)])).pop().unwrap();
    assert!(last(40_000).starts_with("0 added, 0 lost, 0 earlier, 1 later"), "{}", last(40_000));
    assert!(last(40_001).starts_with("1 added, 1 lost, 0 earlier, 0 later"), "{}", last(40_001));
}

#[test]
fn what_other_rules_join_or_split_is_said() {
    let two = || cascades(&[(Started, 0, Low), (Ended, 40_000, Low), (Started, 50_000, High), (Ended, 90_000, High)]);
    let one = || cascades(&[(Started, 0, High), (Ended, 90_000, High)]);
    let expected = [
        "BTC   cascade            1970-01-01T00:00:00.000Z  priority low → high",
        "BTC   cascade            1970-01-01T00:00:50.000Z  lost, high, part of the one at 1970-01-01T00:00:00.000Z",
        "0 added, 1 lost, 0 earlier, 0 later, 1 of another priority, 0 unchanged",
    ];
    assert_eq!(compared(two(), one()), expected);
    let split =
        "BTC   cascade            1970-01-01T00:00:50.000Z  added, high, part of the one at 1970-01-01T00:00:00.000Z";
    assert_eq!(compared(one(), two())[1], split);
}

#[test]
fn explosions_of_both_directions_are_apart_and_grow() {
    let up = |millis, phase, priority| alert(explosion(Direction::Up, phase), 0, millis, priority);
    let down = |millis| alert(explosion(Direction::Down, Started), 0, millis, Medium);
    let before = episodes([up(0, Started, Medium), up(20_000, Escalated, High), down(30_000)]);
    let after = episodes([up(45_000, Started, High)]);
    let expected = [
        "BTC   explosion up       1970-01-01T00:00:00.000Z  later by 45.0 s",
        "BTC   explosion down     1970-01-01T00:00:30.000Z  lost, medium",
        "0 added, 1 lost, 0 earlier, 1 later, 0 of another priority, 0 unchanged",
    ];
    assert_eq!(compared(before, after), expected);
}

#[test]
fn a_large_liquidation_is_the_same_when_the_liquidation_is() {
    let large = |number, priority| alert(large(), number, 7_000, priority);
    let before = episodes([large(1, Low), large(2, Medium), large(3, Low)]);
    let after = episodes([large(1, Low), large(2, High), large(4, Low)]);
    let expected = [
        "BTC   large liquidation  1970-01-01T00:00:07.000Z  added, low",
        "BTC   large liquidation  1970-01-01T00:00:07.000Z  lost, low",
        "BTC   large liquidation  1970-01-01T00:00:07.000Z  priority medium → high",
        "1 added, 1 lost, 0 earlier, 0 later, 1 of another priority, 1 unchanged",
    ];
    let mut lines = compared(before, after);
    lines[..3].sort();
    assert_eq!(lines, expected);
}

#[test]
fn an_episode_counts_when_either_side_of_it_starts_in_the_range() {
    let began = |millis, is_in_range: bool| {
        let mut episodes = Episodes::default();
        episodes.take(&alert(cascade(Started), 0, millis, Low), is_in_range).unwrap();
        // What goes on in the range does not begin there.
        episodes.take(&alert(cascade(Updated), 0, millis + 5_000, Low), true).unwrap();
        episodes
    };
    let last = |before, after| compared(before, after).pop().unwrap();
    assert!(last(began(0, false), began(10_000, true)).contains("1 later"));
    assert!(last(began(0, false), began(0, false)).ends_with(" 0 unchanged"));
    assert!(last(began(0, false), Episodes::default()).contains("0 lost"));
    assert!(last(began(0, true), Episodes::default()).contains("1 lost"));
}

#[test]
fn the_json_of_a_comparison() {
    let before = cascades(&[(Started, 4_250, Medium), (Started, 90_000, Low)]);
    let after = episodes([
        alert(cascade(Started), 0, 0, High),
        alert(explosion(Direction::Down, Started), 0, 5_000, Low),
        alert(explosion(Direction::Down, Escalated), 0, 6_000, Low),
    ]);
    let id = |millis: i64| Id::of("test", &["alert", "0", &millis.to_string()]).to_string();
    let expected = serde_json::json!({
        "summary": { "added": 1, "lost": 1, "earlier": 1, "later": 0, "priority": 1, "unchanged": 0 },
        "differences": [
            {
                "base": "BTC", "kind": "cascade", "changes": ["earlier", "priority"], "shift_ms": -4_250,
                "before": { "alert": id(4_250), "event_time": 4_250, "priority": "medium" },
                "after": { "alert": id(0), "event_time": 0, "priority": "high" },
            },
            {
                "base": "BTC", "kind": "oi_explosion", "direction": "down", "changes": ["added"],
                "after": { "alert": id(5_000), "event_time": 5_000, "priority": "low" },
            },
            {
                "base": "BTC", "kind": "cascade", "changes": ["lost"],
                "before": { "alert": id(90_000), "event_time": 90_000, "priority": "low" },
            },
        ],
    });
    assert_eq!(serde_json::to_value(Report::new(before, after)).unwrap(), expected);
}

#[test]
fn too_many_episodes_are_refused() {
    let mut episodes = Episodes::default();
    let mut one = alert(large(), 0, 0, Low);
    for number in 0..=EPISODES_MAX {
        one.trigger = Id::of("test", &[&number.to_string()]);
        assert_eq!(episodes.take(&one, true).is_ok(), number < EPISODES_MAX, "{number}");
    }
}

proptest! {
    /// Every episode of both sides is in exactly one place, and who compares the other way round finds the opposite.
    #[test]
    fn nothing_is_lost_in_a_comparison(
        before in prop::collection::vec((1..50_000_i64, 1..60_000_i64), 0..20),
        after in prop::collection::vec((1..50_000_i64, 1..60_000_i64), 0..20),
    ) {
        let build = |gaps: &[(i64, i64)]| {
            let mut at = 0;
            let mut alerts = Vec::new();
            for (gap, length) in gaps {
                alerts.push((Started, at + gap, Medium));
                at += gap + length;
                alerts.push((Ended, at, Medium));
            }
            cascades(&alerts)
        };
        let report = |before, after| serde_json::to_value(Report::new(build(before), build(after))).unwrap();
        let (there, back) = (report(&before, &after), report(&after, &before));
        let count = |report: &serde_json::Value, name: &str| report["summary"][name].as_u64().unwrap();
        let both = count(&there, "earlier") + count(&there, "later") + count(&there, "unchanged");
        prop_assert_eq!(both + count(&there, "lost"), before.len() as u64);
        prop_assert_eq!(both + count(&there, "added"), after.len() as u64);
        for (one, other) in [("added", "lost"), ("earlier", "later"), ("unchanged", "unchanged")] {
            prop_assert_eq!(count(&there, one), count(&back, other));
            prop_assert_eq!(count(&there, other), count(&back, one));
        }
    }
}
