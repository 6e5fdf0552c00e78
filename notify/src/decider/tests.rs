use proptest::prelude::*;
use schemas::alert::{Kind, Phase};

use super::*;
use crate::{decide::RateLimit, samples};

fn policy(market: Market) -> Policy {
    let rate_limit = RateLimit::new(std::time::Duration::from_secs(60)).unwrap();
    Policy { market, liquidation_alerts: true, oi_alerts: true, rate_limit: Some(rate_limit) }
}

fn recipients() -> Vec<Recipient> {
    vec![samples::chat(1), samples::chat(-2), Recipient::Terminal]
}

fn decider(market: Market) -> Decider {
    Decider::new(policy(market), recipients())
}

/// Decides and stores, as the root does.
fn store(decider: &mut Decider, ledger: &mut Vec<LedgerEvent>, alert: &Alert, now: WallTime) {
    for event in decider.decide(alert, now) {
        decider.handle_event(&event);
        ledger.push(event);
    }
}

fn counts(events: &[LedgerEvent]) -> Vec<(String, u32)> {
    events
        .iter()
        .filter_map(|event| match event {
            LedgerEvent::Decision(decision) => Some(decision.recipients.clone()),
            LedgerEvent::Delivery(_) => None,
        })
        .flatten()
        .collect()
}

#[test]
fn each_recipient_gets_its_rendering_and_the_alert_one_decision() {
    let alert = samples::alert(Kind::Cascade, "BTC", 1_000_000);
    let events = decider(Market::Live).decide(&alert, WallTime::from_millis(1_000_900));
    let texts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            LedgerEvent::Delivery(Delivery { channel, recipient, outcome: Outcome::Intent { text }, .. }) => {
                Some((channel.as_str(), recipient.as_str(), text.contains("<i>"), text.contains("sent +0.9 s")))
            }
            LedgerEvent::Delivery(_) | LedgerEvent::Decision(_) => None,
        })
        .collect();
    let expected = [("terminal", "local", false, true), ("telegram", "-2", true, true), ("telegram", "1", true, true)];
    assert_eq!(texts, expected);
    assert!(matches!(events.last(), Some(LedgerEvent::Decision(_))));
    assert_eq!(counts(&events), [("send".to_owned(), 3)]);
}

#[test]
fn what_all_are_spared_alike_is_only_counted() {
    let alert = samples::with_phase(samples::alert(Kind::Cascade, "BTC", 0), Phase::Updated);
    let events = decider(Market::Live).decide(&alert, WallTime::from_millis(0));
    assert_eq!(events.len(), 1);
    assert_eq!(counts(&events), [("held:phase".to_owned(), 3)]);
}

#[test]
fn a_recorded_market_neither_expires_nor_shows_latency() {
    let alert = samples::alert(Kind::Cascade, "BTC", 0);
    let late = WallTime::from_millis(1_000_000_000);
    assert_eq!(counts(&decider(Market::Live).decide(&alert, late)), [("expired".to_owned(), 3)]);
    let recorded = decider(Market::Recorded).decide(&alert, late);
    assert_eq!(counts(&recorded), [("send".to_owned(), 3)]);
    assert!(recorded.iter().all(|event| !format!("{event:?}").contains("seen")));
}

#[test]
fn an_alert_that_comes_again_is_decided_for_the_rest_only() {
    let alert = samples::alert(Kind::Cascade, "BTC", 0);
    let now = WallTime::from_millis(0);
    let whole = decider(Market::Live).decide(&alert, now);
    for stored in 0..=whole.len() {
        let mut restarted = decider(Market::Live);
        whole[..stored].iter().for_each(|event| restarted.handle_event(event));
        assert_eq!(restarted.decide(&alert, now), whole[stored..], "{stored} events were stored");
    }
}

#[test]
fn an_intent_that_expired_in_the_outbox_is_still_counted_as_sent() {
    let alert = samples::alert(Kind::Cascade, "BTC", 0);
    let mut decider = decider(Market::Live);
    decider.handle_event(&samples::delivery(&alert, &samples::chat(1), Outcome::Intent { text: String::new() }));
    decider.handle_event(&samples::delivery(&alert, &samples::chat(1), Outcome::Expired { age_ms: 1 }));
    let events = decider.decide(&alert, WallTime::from_millis(120_001));
    assert_eq!(counts(&events), [("expired".to_owned(), 2), ("send".to_owned(), 1)]);
}

fn alerts() -> impl Strategy<Value = Vec<(Alert, WallTime)>> {
    let kinds = prop::sample::select(vec![Kind::LargeLiquidation, Kind::Cascade, Kind::OiExplosion]);
    let phases = prop::sample::select(vec![Phase::Started, Phase::Started, Phase::Ended]);
    // Half a minute a step, so that spans of exactly five minutes occur.
    let one = (kinds, prop::sample::select(vec!["BTC", "ETH"]), 0..60_i64, phases, 0..160_000_i64);
    prop::collection::vec(one, 1..40).prop_map(|alerts| {
        alerts
            .into_iter()
            .enumerate()
            .map(|(index, (kind, base, step, phase, age_ms))| {
                let mut alert = samples::with_phase(samples::alert(kind, base, step * 30_000), phase);
                alert.id = Id::of("test", &[&index.to_string()]);
                let now = WallTime::from_millis(alert.event_time.as_millis() + age_ms);
                (alert, now)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_restart_folds_to_the_same_state_and_decides_the_same(alerts in alerts(), crash in any::<prop::sample::Index>()) {
        let (mut decider_live, mut ledger) = (decider(Market::Live), Vec::new());
        for (alert, now) in &alerts {
            store(&mut decider_live, &mut ledger, alert, *now);
        }
        let mut restarted = decider(Market::Live);
        ledger.iter().for_each(|event| restarted.handle_event(event));
        prop_assert_eq!(&restarted, &decider_live);

        // A crash between any two stored events: the ledger ends up the same.
        let stored = crash.index(ledger.len() + 1);
        let (mut after, mut again) = (decider(Market::Live), ledger[..stored].to_vec());
        again.iter().for_each(|event| after.handle_event(event));
        for (alert, now) in &alerts {
            store(&mut after, &mut again, alert, *now);
        }
        prop_assert_eq!(again, ledger);
    }

    #[test]
    fn no_recipient_is_told_of_a_base_and_kind_twice_in_five_minutes(alerts in alerts()) {
        let (mut decider, mut ledger) = (decider(Market::Recorded), Vec::new());
        let mut clock = i64::MIN;
        let mut told: BTreeMap<(String, String, Kind), i64> = BTreeMap::new();
        for (alert, now) in &alerts {
            let before = ledger.len();
            store(&mut decider, &mut ledger, alert, *now);
            clock = clock.max(alert.event_time.as_millis());
            for event in &ledger[before..] {
                if let LedgerEvent::Delivery(Delivery { recipient, outcome: Outcome::Intent { .. }, .. }) = event {
                    let key = (recipient.clone(), alert.base.to_string(), alert.kind());
                    let last = told.insert(key, clock);
                    prop_assert!(last.is_none_or(|last| clock - last >= 300_000));
                }
            }
        }
    }
}
