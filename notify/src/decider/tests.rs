use proptest::prelude::*;
use schemas::{
    alert::{Kind, Phase},
    delivery::{Note, Topic},
    subscriber::{Cause, Mute, Preferences, QuietHours},
};

use super::*;
use crate::{decide::RateLimit, failure::Refusal, samples};

fn policy(market: Market) -> Policy {
    let rate_limit = RateLimit::new(std::time::Duration::from_secs(60)).unwrap();
    Policy {
        market,
        channel: Channel::Telegram,
        shared_token: false,
        liquidation_alerts: true,
        oi_alerts: true,
        rate_limit: Some(rate_limit),
    }
}

fn recipients() -> Vec<Recipient> {
    vec![samples::chat(1), samples::chat(-2), samples::chat(3), Recipient::Terminal]
}

fn decider(market: Market) -> Decider {
    let mut decider = Decider::new(policy(market));
    for recipient in recipients() {
        decider.handle_subscriber(samples::subscriber(&recipient));
    }
    decider
}

/// Stores what came of each intent about an alert, unless that is stored already.
fn end(decider: &mut Decider, ledger: &mut Vec<LedgerEvent>, alert: &Alert, outcome: Option<&Outcome>) {
    let Some(outcome) = outcome else { return };
    let of = |event: &LedgerEvent| match event {
        LedgerEvent::Delivery(delivery) => Some(delivery.clone()).filter(|delivery| delivery.alert == alert.id),
        LedgerEvent::Decision(_) | LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
    };
    let stored: Vec<_> = ledger.iter().filter_map(of).collect();
    let is_intent = |delivery: &&Delivery| matches!(delivery.outcome, Outcome::Intent { .. });
    let is_ended =
        |intent: &Delivery| stored.iter().any(|other| other.recipient == intent.recipient && !is_intent(&other));
    for intent in stored.iter().filter(is_intent).filter(|intent| !is_ended(intent)) {
        let event = LedgerEvent::Delivery(Delivery { outcome: outcome.clone(), ..intent.clone() });
        decider.handle_event(&event);
        ledger.push(event);
    }
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
            LedgerEvent::Delivery(_) | LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
        })
        .flatten()
        .collect()
}

/// The texts to be sent, with their recipients.
fn texts(events: &[LedgerEvent]) -> Vec<(&str, &str)> {
    events
        .iter()
        .filter_map(|event| match event {
            LedgerEvent::Delivery(Delivery { recipient, outcome: Outcome::Intent { text, .. }, .. }) => {
                Some((recipient.as_str(), text.as_str()))
            }
            LedgerEvent::Delivery(_)
            | LedgerEvent::Decision(_)
            | LedgerEvent::Note(_)
            | LedgerEvent::Feedback(_)
            | LedgerEvent::Update(_) => None,
        })
        .collect()
}

#[test]
fn each_recipient_of_the_channel_gets_a_delivery_and_the_alert_one_decision() {
    let alert = samples::alert(Kind::Cascade, "BTC", 1_000_000);
    let events = decider(Market::Live).decide(&alert, WallTime::from_millis(1_000_900));
    let told = texts(&events);
    assert_eq!(told.iter().map(|(recipient, _)| *recipient).collect::<Vec<_>>(), ["-2", "1", "3"]);
    assert!(told.iter().all(|(_, text)| text.contains("<i>") && text.contains("sent +0.9 s")));
    assert!(matches!(events.last(), Some(LedgerEvent::Decision(_))));
    assert_eq!(counts(&events), [("send".to_owned(), 3)]);

    let terminal = Policy { channel: Channel::Terminal, ..policy(Market::Live) };
    let decider = Decider { policy: terminal, ..decider(Market::Live) };
    let events = decider.decide(&alert, WallTime::from_millis(1_000_900));
    let [("local", text)] = texts(&events)[..] else { panic!("{events:?}") };
    assert!(!text.contains("<i>"));
}

#[test]
fn a_picture_follows_the_first_message_of_a_start_where_it_is_wanted() {
    let mut decider = decider(Market::Live);
    let mut plain = samples::subscriber(&samples::chat(3));
    plain.preferences.pictures = false;
    decider.handle_subscriber(plain);
    let pictures = |alert: &Alert| {
        let events = decider.decide(alert, WallTime::from_millis(0));
        let is_with = |event: &LedgerEvent| format!("{event:?}").contains("picture: true");
        events.iter().filter(|event| is_with(event)).count()
    };
    let cascade = samples::alert(Kind::Cascade, "BTC", 0);
    assert_eq!(pictures(&cascade), 2);
    assert_eq!(pictures(&samples::alert(Kind::OiExplosion, "BTC", 0)), 2);
    assert_eq!(pictures(&samples::alert(Kind::LargeLiquidation, "BTC", 0)), 0);
    assert_eq!(pictures(&samples::with_phase(cascade, Phase::Updated)), 0);
}

fn later(alert: &Alert, phase: Phase, seconds: i64) -> Alert {
    let mut alert = samples::with_phase(alert.clone(), phase);
    alert.id = Id::of("test", &[phase.as_str(), &seconds.to_string()]);
    alert.event_time = alert.event_time.plus_millis(seconds * 1000);
    alert
}

fn edit(events: &[LedgerEvent]) -> Option<&Edit> {
    match events.last() {
        Some(LedgerEvent::Decision(decision)) => decision.edit.as_ref(),
        last => panic!("{last:?}"),
    }
}

#[test]
fn one_edit_changes_the_messages_of_all_but_those_who_are_told_otherwise() {
    let (mut decider, mut ledger) = (decider(Market::Live), Vec::new());
    let started = samples::alert(Kind::Cascade, "BTC", 0);
    store(&mut decider, &mut ledger, &started, WallTime::from_millis(0));
    let mut muted = samples::subscriber(&samples::chat(3));
    muted.preferences.mutes.push(Mute { base: None, kind: None, until: i64::MAX });
    decider.handle_subscriber(muted);
    let mut calm = samples::subscriber(&samples::chat(1));
    calm.preferences.edits_only = true;
    decider.handle_subscriber(calm);

    let updated = decider.decide(&later(&started, Phase::Updated, 5), WallTime::from_millis(5_000));
    assert_eq!(counts(&updated), [("edit".to_owned(), 2), ("held:filter".to_owned(), 1)]);
    let shown = edit(&updated).unwrap();
    assert_eq!((shown.last, &shown.except), (false, &BTreeSet::from(["3".to_owned()])));
    assert_eq!(Some(shown.thread), thread(&started));
    assert!(shown.text.contains("GOES ON"));

    let escalated = decider.decide(&later(&started, Phase::Escalated, 6), WallTime::from_millis(6_000));
    assert_eq!(texts(&escalated).iter().map(|(recipient, _)| *recipient).collect::<Vec<_>>(), ["-2"]);
    assert_eq!(edit(&escalated).unwrap().except, BTreeSet::from(["-2".to_owned(), "3".to_owned()]));

    let ended = decider.decide(&later(&started, Phase::Ended, 60), WallTime::from_millis(60_000));
    assert!(edit(&ended).unwrap().last);
}

#[test]
fn a_deleted_message_is_told_anew_by_the_next_phase_when_its_five_minutes_are_over() {
    let (mut decider, mut ledger) = (decider(Market::Live), Vec::new());
    let started = samples::alert(Kind::Cascade, "BTC", 0);
    store(&mut decider, &mut ledger, &started, WallTime::from_millis(0));
    let gone = Outcome::Gone { message_id: 10 };
    decider.handle_event(&samples::delivery(&later(&started, Phase::Updated, 5), &samples::chat(1), gone));
    let mut decided = |seconds: i64| {
        let before = ledger.len();
        let updated = later(&started, Phase::Updated, seconds);
        store(&mut decider, &mut ledger, &updated, WallTime::from_millis(seconds * 1000));
        counts(&ledger[before..])
    };
    let edit = |number| ("edit".to_owned(), number);
    assert_eq!(decided(10), [edit(2), ("held:five_minutes".to_owned(), 1)]);
    assert_eq!(decided(300), [edit(2), ("send".to_owned(), 1)]);
    assert_eq!(decided(305), [edit(3)]);
}

#[test]
fn what_nobody_is_told_is_only_counted() {
    let alert = samples::with_phase(samples::alert(Kind::Cascade, "BTC", 0), Phase::Ended);
    let events = decider(Market::Live).decide(&alert, WallTime::from_millis(0));
    assert_eq!(events.len(), 1);
    assert_eq!(counts(&events), [("held:phase".to_owned(), 3)]);
    assert_eq!(edit(&events), None);
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
    decider.handle_event(&samples::delivery(&alert, &samples::chat(1), samples::intent()));
    decider.handle_event(&samples::delivery(&alert, &samples::chat(1), Outcome::Expired { age_ms: 1 }));
    let events = decider.decide(&alert, WallTime::from_millis(120_001));
    assert_eq!(counts(&events), [("expired".to_owned(), 2), ("send".to_owned(), 1)]);
}

const MINUTE: i64 = 60_000;

/// A decider in which chat 1 was told of BTC at minute 0 and kept from two more cascades and one explosion.
fn holding(market: Market) -> Decider {
    let mut decider = Decider::new(policy(market));
    decider.handle_subscriber(samples::subscriber(&samples::chat(1)));
    let mut ledger = Vec::new();
    for (kind, minute, age) in
        [(Kind::Cascade, 0, 0), (Kind::Cascade, 2, 0), (Kind::Cascade, 3, 0), (Kind::OiExplosion, 4, 7)]
    {
        let alert = samples::alert(kind, "BTC", minute * MINUTE);
        store(&mut decider, &mut ledger, &alert, WallTime::from_millis((minute + age) * MINUTE));
    }
    decider
}

fn digests(decider: &Decider, minute: i64) -> Vec<LedgerEvent> {
    decider.digests(WallTime::from_millis(minute * MINUTE))
}

#[test]
fn a_digest_tells_what_was_held_a_quarter_of_an_hour_later_and_hourly_at_most() {
    let mut decider = holding(Market::Live);
    assert_eq!(digests(&decider, 16), []);
    let due = digests(&decider, 17);
    let [LedgerEvent::Note(Note { outcome: Outcome::Intent { text, .. }, topic, id, .. })] = &due[..] else {
        panic!("{due:?}")
    };
    assert_eq!(text, "🔕 3 more alerts held\nBTC cascade ×2\nBTC OI explosion, 7 minutes late");
    assert_eq!(*topic, Topic::Digest { event_time: EventTime::from_millis(4 * MINUTE), held: 3 });
    // Made again after a crash it is the same one.
    assert!(matches!(&digests(&decider, 18)[..], [LedgerEvent::Note(again)] if again.id == *id));
    decider.handle_event(&due[0]);
    assert_eq!(digests(&decider, 60), []);

    let mut ledger = Vec::new();
    for minute in [30, 31] {
        let alert = samples::alert(Kind::Cascade, "BTC", minute * MINUTE);
        store(&mut decider, &mut ledger, &alert, WallTime::from_millis(minute * MINUTE));
    }
    assert_eq!(digests(&decider, 76), [], "an hour after the last one");
    assert_eq!(digests(&decider, 77).len(), 1);
}

/// The digests that are due, and the decider after their notes ended so.
fn ended(decider: &mut Decider, minute: i64, outcome: Outcome) -> Vec<Note> {
    let notes: Vec<_> = digests(decider, minute)
        .into_iter()
        .map(|event| {
            let LedgerEvent::Note(note) = event else { panic!("{event:?}") };
            note
        })
        .collect();
    for note in &notes {
        decider.handle_event(&LedgerEvent::Note(note.clone()));
        let at = note.at + MINUTE;
        decider.handle_event(&LedgerEvent::Note(Note { at, outcome: outcome.clone(), ..note.clone() }));
    }
    notes
}

fn text(note: &Note) -> &str {
    let Outcome::Intent { text, .. } = &note.outcome else { panic!("{note:?}") };
    text
}

#[test]
fn what_a_digest_named_that_never_arrived_is_named_by_the_next_one() {
    let expired = Outcome::Expired { age_ms: 1 };
    for outcome in [expired.clone(), failed("failed:rate_limited")] {
        let mut decider = holding(Market::Live);
        let first = ended(&mut decider, 17, outcome).remove(0);
        assert_eq!(digests(&decider, 76), [], "an hour after the last one");
        let mut ledger = Vec::new();
        for minute in [30, 31] {
            let alert = samples::alert(Kind::Cascade, "BTC", minute * MINUTE);
            store(&mut decider, &mut ledger, &alert, WallTime::from_millis(minute * MINUTE));
        }
        let again = ended(&mut decider, 77, Outcome::Sent { message_id: Some(1) }).remove(0);
        assert_ne!(again.id, first.id, "an outbox sends no digest twice");
        assert_eq!(text(&again), "🔕 4 more alerts held\nBTC cascade ×3\nBTC OI explosion, 7 minutes late");
        assert_eq!(digests(&decider, 200), []);
    }
    // Nobody knows whether it arrived: it is not told twice.
    let mut unknown = holding(Market::Live);
    ended(&mut unknown, 17, failed("failed:ambiguous"));
    assert_eq!(digests(&unknown, 77), []);
    // A day later it is no news.
    let mut away = holding(Market::Live);
    let tried: Vec<_> =
        (0..30).flat_map(|hour| ended(&mut away, 17 + hour * 60, expired.clone())).map(|note| note.id).collect();
    assert_eq!(tried.len(), 25);
    assert_eq!(tried.iter().collect::<BTreeSet<_>>().len(), 25);
}

#[test]
fn a_digest_waits_for_the_end_of_quiet_hours_and_for_a_chat_that_is_there() {
    let mut decider = holding(Market::Live);
    let mut sleeper = samples::subscriber(&samples::chat(1));
    sleeper.preferences.quiet = Some(QuietHours { from: 0, to: 420, zone: "UTC".to_owned() });
    decider.handle_subscriber(sleeper.clone());
    assert_eq!(digests(&decider, 419), []);
    assert_eq!(digests(&decider, 420).len(), 1);
    decider.handle_subscriber(Subscriber { standing: Standing::Unsubscribed, ..sleeper });
    assert_eq!(digests(&decider, 420), []);
}

#[test]
fn in_a_recorded_market_digests_follow_its_own_time() {
    let mut decider = holding(Market::Recorded);
    assert_eq!(digests(&decider, 10_000), []);
    decider.handle_event(&samples::decision(&samples::alert(Kind::Cascade, "ETH", 17 * MINUTE)));
    assert_eq!(digests(&decider, 0).len(), 1);
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned() }
}

#[test]
fn a_refusal_for_ever_switches_off_and_an_arrival_on_again() {
    let mut decider = decider(Market::Live);
    let alert = samples::alert(Kind::Cascade, "BTC", 1_000);
    let at = |outcome| samples::delivery(&alert, &samples::chat(1), outcome);
    for no_refusal in [Refusal::NoToken, Refusal::NoPicture, Refusal::Closed, Refusal::BadRequest] {
        let reason = format!("failed:{}", no_refusal.as_str());
        assert_eq!(decider.standing_after(&at(failed(&reason))), [], "{reason}");
    }
    assert_eq!(decider.standing_after(&at(failed("failed:ambiguous"))), []);
    let off = decider.standing_after(&at(failed("failed:blocked")));
    let [Subscriber { standing: Standing::Off { reason }, at: 1_000, cause: Cause::Delivery, .. }] = &off[..] else {
        panic!("{off:?}")
    };
    assert_eq!(reason, "blocked");
    decider.handle_subscriber(off[0].clone());
    assert_eq!(decider.standing_after(&at(failed("failed:blocked"))), [], "it is known");
    let LedgerEvent::Delivery(sent) = at(Outcome::Sent { message_id: Some(1) }) else { unreachable!() };
    let later = LedgerEvent::Delivery(Delivery { at: 2_000, ..sent });
    assert!(matches!(&decider.standing_after(&later)[..], [Subscriber { standing: Standing::Active, .. }]));
}

#[test]
fn a_group_that_moved_goes_on_under_its_new_id() {
    let mut decider = decider(Market::Live);
    let started = samples::alert(Kind::Cascade, "BTC", 1_000);
    store(&mut decider, &mut Vec::new(), &started, WallTime::from_millis(1_000));
    let moved = Outcome::Deferred { reason: "migrated".to_owned(), wait_ms: 0, moved_to: Some("-1002".to_owned()) };
    let after = decider.standing_after(&samples::delivery(&started, &samples::chat(-2), moved));
    let names: Vec<_> = after.iter().map(|one| (one.recipient.as_str(), &one.standing)).collect();
    assert_eq!(names, [("-1002", &Standing::Active), ("-2", &Standing::Moved { to: "-1002".to_owned() })]);
    after.into_iter().for_each(|one| decider.handle_subscriber(one));
    let updated = decider.decide(&later(&started, Phase::Updated, 5), WallTime::from_millis(6_000));
    assert_eq!(counts(&updated), [("edit".to_owned(), 3)]);
}

#[test]
fn a_topic_that_is_gone_is_left() {
    let mut decider = decider(Market::Live);
    let mut forum = samples::subscriber(&samples::chat(-2));
    forum.preferences.topic = Some(7);
    decider.handle_subscriber(forum);
    let gone = Outcome::Deferred { reason: "topic_gone".to_owned(), wait_ms: 0, moved_to: None };
    let alert = samples::alert(Kind::Cascade, "BTC", 1_000);
    let after = decider.standing_after(&samples::delivery(&alert, &samples::chat(-2), gone));
    assert!(matches!(&after[..], [Subscriber { preferences: Preferences { topic: None, .. }, .. }]), "{after:?}");
}

/// Alerts, when they are decided about, and what comes of their intents before the next one.
fn alerts() -> impl Strategy<Value = Vec<(Alert, WallTime, Option<Outcome>)>> {
    let kinds = prop::sample::select(vec![Kind::LargeLiquidation, Kind::Cascade, Kind::OiExplosion]);
    let phases =
        prop::sample::select(vec![Phase::Started, Phase::Started, Phase::Updated, Phase::Escalated, Phase::Ended]);
    // Half a minute a step, so that spans of exactly five minutes occur.
    let outcomes = prop::sample::select(vec![
        None,
        Some(Outcome::Sent { message_id: Some(1) }),
        Some(Outcome::Expired { age_ms: 120_001 }),
        Some(failed("failed:overflow")),
        Some(failed("failed:ambiguous")),
    ]);
    let one = (kinds, prop::sample::select(vec!["BTC", "ETH"]), 0..60_i64, phases, 0..160_000_i64, outcomes);
    prop::collection::vec(one, 1..40).prop_map(|alerts| {
        alerts
            .into_iter()
            .enumerate()
            .map(|(index, (kind, base, step, phase, age_ms, outcome))| {
                let mut alert = samples::with_phase(samples::alert(kind, base, step * 30_000), phase);
                alert.id = Id::of("test", &[&index.to_string()]);
                let now = WallTime::from_millis(alert.event_time.as_millis() + age_ms);
                (alert, now, outcome)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_restart_folds_to_the_same_state_and_decides_the_same(alerts in alerts(), crash in any::<prop::sample::Index>()) {
        let (mut decider_live, mut ledger) = (decider(Market::Live), Vec::new());
        for (alert, now, outcome) in &alerts {
            store(&mut decider_live, &mut ledger, alert, *now);
            end(&mut decider_live, &mut ledger, alert, outcome.as_ref());
        }
        let mut restarted = decider(Market::Live);
        ledger.iter().for_each(|event| restarted.handle_event(event));
        prop_assert_eq!(&restarted, &decider_live);

        // A crash between any two stored events: the ledger ends up the same.
        let stored = crash.index(ledger.len() + 1);
        let (mut after, mut again) = (decider(Market::Live), ledger[..stored].to_vec());
        again.iter().for_each(|event| after.handle_event(event));
        for (alert, now, outcome) in &alerts {
            store(&mut after, &mut again, alert, *now);
            end(&mut after, &mut again, alert, outcome.as_ref());
        }
        prop_assert_eq!(again, ledger);
    }

    #[test]
    fn nobody_gets_two_messages_in_five_minutes_or_more_than_ten_an_hour(alerts in alerts()) {
        let (mut decider, mut ledger) = (decider(Market::Recorded), Vec::new());
        let mut clock = i64::MIN;
        let mut told: BTreeMap<(String, String, Kind), i64> = BTreeMap::new();
        let mut hours: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (alert, now, outcome) in &alerts {
            let before = ledger.len();
            store(&mut decider, &mut ledger, alert, *now);
            clock = clock.max(alert.event_time.as_millis());
            let never_arrives = match outcome {
                Some(Outcome::Expired { .. }) => true,
                Some(Outcome::Failed { reason }) => reason != "failed:ambiguous",
                _ => false,
            };
            for event in &ledger[before..] {
                if let LedgerEvent::Delivery(Delivery { recipient, outcome: Outcome::Intent { reply, .. }, .. }) = event {
                    let new = hours.entry(recipient.clone()).or_default();
                    prop_assert!(new.iter().filter(|at| clock - **at < 3_600_000).count() < 10);
                    let key = (recipient.clone(), alert.base.to_string(), alert.kind());
                    let last = told.get(&key).filter(|_| !*reply);
                    prop_assert!(last.is_none_or(|last| clock - *last >= 300_000));
                    if never_arrives {
                        continue;
                    }
                    new.push(clock);
                    if !*reply {
                        told.insert(key, clock);
                    }
                }
            }
            end(&mut decider, &mut ledger, alert, outcome.as_ref());
        }
    }
}
