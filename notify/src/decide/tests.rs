use std::collections::BTreeSet;

use schemas::{
    alert::{Cascade, LargeLiquidation},
    delivery::{LedgerEvent, Outcome},
    market::Side,
    subscriber::{Mute, QuietHours},
};

use super::*;
use crate::{recipient::Recipient, samples};

const MINUTE: i64 = 60_000;

/// 2026-03-04T00:00:00Z, so that minutes of the tests are minutes of the day.
const DAY: i64 = 1_772_582_400_000;

fn policy() -> Policy {
    Policy {
        market: Market::Live,
        channel: Channel::Telegram,
        shared_token: false,
        liquidation_alerts: true,
        oi_alerts: true,
        rate_limit: Some(RateLimit::new(Duration::from_secs(60)).unwrap()),
    }
}

fn recipient() -> Recipient {
    samples::chat(1)
}

fn subscriber() -> Subscriber {
    samples::subscriber(&recipient())
}

fn with(change: impl FnOnce(&mut Preferences)) -> Subscriber {
    let mut subscriber = subscriber();
    change(&mut subscriber.preferences);
    subscriber
}

fn started(kind: Kind, base: &str, minute: i64) -> Alert {
    samples::alert(kind, base, DAY + minute * MINUTE)
}

fn cascade(phase: Phase, minute: i64) -> Alert {
    samples::with_phase(started(Kind::Cascade, "BTC", minute), phase)
}

fn with_priority(alert: Alert, priority: Priority) -> Alert {
    Alert { priority, ..alert }
}

/// A single liquidation inside an open cascade.
fn single_inside(minute: i64) -> Alert {
    let mut alert = started(Kind::LargeLiquidation, "BTC", minute);
    if let Finding::LargeLiquidation(LargeLiquidation { episode, .. }) = &mut alert.finding {
        *episode = Some(Id::of("test", &["episode"]));
    }
    alert
}

fn apply(history: &mut History, alert: &Alert, outcome: Outcome) {
    let LedgerEvent::Delivery(delivery) = samples::delivery(alert, &recipient(), outcome) else { unreachable!() };
    history.apply(&delivery, alert.event_time, Market::Live);
}

fn intent(alert: &Alert, reply: bool) -> Outcome {
    Outcome::Intent { text: String::new(), thread: thread(alert), reply, picture: false }
}

/// The history of a chat that was to be sent these alerts as first messages.
fn told(alerts: &[Alert]) -> History {
    let mut history = History::default();
    for alert in alerts {
        apply(&mut history, alert, intent(alert, false));
    }
    history
}

/// A history of so many first messages about other bases, a minute apart up to minute 9.
fn busy(messages: i64) -> History {
    let alert = |number: i64| started(Kind::Cascade, &format!("B{number}"), 10 - messages + number);
    told(&(0..messages).map(alert).collect::<Vec<_>>())
}

fn now(alert: &Alert) -> Now {
    Now { clock: alert.event_time, wall: WallTime::from_millis(alert.event_time.as_millis()) }
}

#[expect(clippy::redundant_clone, reason = "the rows of the table are alike, the last use of each value too")]
#[test]
fn every_reason_in_its_order() {
    let nothing = History::default();
    let cascade_told = told(&[cascade(Phase::Started, 10)]);
    let oi_told = told(&[started(Kind::OiExplosion, "BTC", 10)]);
    let mut replied = cascade_told.clone();
    apply(&mut replied, &cascade(Phase::Escalated, 11), intent(&cascade(Phase::Escalated, 11), true));
    let bases = |names: &[&str]| Some(names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<_>>());
    let only_eth = with(|wants| wants.bases = bases(&["ETH"]));
    let only_singles = with(|wants| wants.kinds = Some(BTreeSet::from([Kind::LargeLiquidation])));
    let muted =
        |until: i64| with(|wants| wants.mutes.push(Mute { base: None, kind: None, until: DAY + until * MINUTE }));
    let eth_muted = with(|wants| {
        wants.mutes.push(Mute { base: Some("ETH".parse().unwrap()), kind: None, until: i64::MAX });
    });
    let own = |change: fn(&mut Thresholds)| {
        with(|wants| {
            let mut own = Thresholds::default();
            change(&mut own);
            wants.thresholds.insert("BTC".parse().unwrap(), own);
        })
    };
    let quiet = with(|wants| wants.quiet = Some(QuietHours { from: 0, to: 120, zone: "UTC".to_owned() }));
    let edits_only = with(|wants| wants.edits_only = true);
    let important = with(|wants| wants.min_priority = Priority::High);
    let unsubscribed = Subscriber { standing: Standing::Unsubscribed, ..subscriber() };
    let off = Subscriber { standing: Standing::Off { reason: "blocked".to_owned() }, at: DAY, ..subscriber() };
    let no_liquidations = Policy { liquidation_alerts: false, ..policy() };
    let no_oi = Policy { oi_alerts: false, ..policy() };
    let shared = Policy { shared_token: true, ..policy() };
    let unlimited = Policy { rate_limit: None, ..policy() };
    let large = || started(Kind::LargeLiquidation, "BTC", 11);
    let late =
        |alert: &Alert| Now { wall: WallTime::from_millis(alert.event_time.as_millis() + 120_001), ..now(alert) };
    let day_later = 25 * 60;
    let any = subscriber();
    #[rustfmt::skip]
    let table: Vec<(&str, Alert, Subscriber, History, Policy, bool, &str)> = vec![
        ("nothing was told", cascade(Phase::Started, 10), any.clone(), nothing.clone(), policy(), false, "send"),
        ("unsubscribed", cascade(Phase::Started, 10), unsubscribed.clone(), nothing.clone(), no_liquidations, false, "held:off"),
        ("refused", with_priority(cascade(Phase::Started, day_later), Priority::High), off.clone(), nothing.clone(), policy(), false, "held:off"),
        ("refused, a day later, shared", with_priority(cascade(Phase::Started, day_later), Priority::High), off.clone(), nothing.clone(), shared, false, "send"),
        ("refused, a day later, medium", cascade(Phase::Started, day_later), off.clone(), nothing.clone(), shared, false, "held:off"),
        ("refused today, shared", with_priority(cascade(Phase::Started, 10), Priority::High), off.clone(), nothing.clone(), shared, false, "held:off"),
        ("liquidations off", large(), only_eth.clone(), nothing.clone(), no_liquidations, false, "held:disabled"),
        ("OI off", started(Kind::OiExplosion, "BTC", 10), any.clone(), nothing.clone(), no_oi, false, "held:disabled"),
        ("liquidations off, not OI", started(Kind::OiExplosion, "BTC", 10), any.clone(), nothing.clone(), no_liquidations, false, "send"),
        ("another base", cascade(Phase::Started, 10), only_eth.clone(), nothing.clone(), policy(), false, "held:filter"),
        ("another kind", cascade(Phase::Started, 10), only_singles.clone(), nothing.clone(), policy(), false, "held:filter"),
        ("muted", cascade(Phase::Started, 10), muted(11), nothing.clone(), policy(), false, "held:filter"),
        ("mute over", cascade(Phase::Started, 10), muted(10), nothing.clone(), policy(), false, "send"),
        ("muted, before its thread", cascade(Phase::Updated, 10), muted(11), cascade_told.clone(), policy(), false, "held:filter"),
        ("another base muted", cascade(Phase::Started, 10), eth_muted.clone(), nothing.clone(), policy(), false, "send"),
        ("below own sum", cascade(Phase::Started, 10), own(|own| own.cascade_usd = Some(samples::usd("1234567.90"))), nothing.clone(), policy(), false, "held:filter"),
        ("at own sum", cascade(Phase::Started, 10), own(|own| own.cascade_usd = Some(samples::usd("1234567.89"))), nothing.clone(), policy(), false, "send"),
        ("below own count", cascade(Phase::Started, 10), own(|own| own.cascade_count = Some(8)), nothing.clone(), policy(), false, "held:filter"),
        ("below own single", large(), own(|own| own.single_usd = Some(samples::usd("145685.11"))), nothing.clone(), policy(), false, "held:filter"),
        ("below own change", started(Kind::OiExplosion, "BTC", 10), own(|own| own.change_pct = Some(samples::ratio("18.5"))), nothing.clone(), policy(), false, "held:filter"),
        ("at own change", started(Kind::OiExplosion, "BTC", 10), own(|own| own.change_pct = Some(samples::ratio("18.4213"))), nothing.clone(), policy(), false, "send"),
        ("not important enough", cascade(Phase::Started, 10), important.clone(), nothing.clone(), policy(), false, "held:filter"),
        ("updated", cascade(Phase::Updated, 11), any.clone(), cascade_told.clone(), policy(), false, "edit"),
        ("updated, old", cascade(Phase::Updated, 11), any.clone(), cascade_told.clone(), policy(), true, "edit"),
        ("ended", cascade(Phase::Ended, 11), any.clone(), cascade_told.clone(), policy(), false, "edit"),
        ("escalated", cascade(Phase::Escalated, 11), any.clone(), cascade_told.clone(), policy(), false, "reply"),
        ("escalated in quiet hours", cascade(Phase::Escalated, 11), quiet.clone(), cascade_told.clone(), policy(), false, "reply"),
        ("escalated, edits only", cascade(Phase::Escalated, 11), edits_only.clone(), cascade_told.clone(), policy(), false, "edit"),
        ("escalated, old", cascade(Phase::Escalated, 11), any.clone(), cascade_told.clone(), policy(), true, "edit"),
        ("escalated again within the minute", cascade(Phase::Escalated, 11), any.clone(), replied.clone(), policy(), false, "edit"),
        ("escalated again a minute later", cascade(Phase::Escalated, 12), any.clone(), replied.clone(), policy(), false, "reply"),
        ("explosion escalated", samples::with_phase(started(Kind::OiExplosion, "BTC", 11), Phase::Escalated), any.clone(), oi_told.clone(), policy(), false, "reply"),
        ("explosion starts again", started(Kind::OiExplosion, "BTC", 11), any.clone(), oi_told.clone(), policy(), false, "held:five_minutes"),
        ("ended untold", cascade(Phase::Ended, 10), any.clone(), nothing.clone(), policy(), true, "held:phase"),
        ("updated untold", cascade(Phase::Updated, 10), any.clone(), nothing.clone(), policy(), false, "send"),
        ("escalated untold", cascade(Phase::Escalated, 10), any.clone(), nothing.clone(), policy(), false, "send"),
        ("old", cascade(Phase::Started, 10), quiet.clone(), nothing.clone(), policy(), true, "expired"),
        ("quiet hours", single_inside(10), quiet.clone(), nothing.clone(), policy(), false, "held:quiet"),
        ("quiet hours over", cascade(Phase::Started, 120), quiet.clone(), nothing.clone(), policy(), false, "send"),
        ("inside a cascade", single_inside(15), any.clone(), told(&[large()]), policy(), false, "held:cascade"),
        ("inside a cascade, high", with_priority(single_inside(10), Priority::High), any.clone(), nothing.clone(), policy(), false, "send"),
        ("inside a cascade, no cascades wanted", single_inside(10), only_singles.clone(), nothing.clone(), policy(), false, "send"),
        ("told at once before", started(Kind::Cascade, "BTC", 10), any.clone(), cascade_told.clone(), policy(), false, "held:five_minutes"),
        ("told 4 minutes before", started(Kind::Cascade, "BTC", 14), any.clone(), cascade_told.clone(), policy(), false, "held:five_minutes"),
        ("told 5 minutes before", started(Kind::Cascade, "BTC", 15), any.clone(), cascade_told.clone(), policy(), false, "send"),
        ("another kind at once", started(Kind::LargeLiquidation, "BTC", 10), any.clone(), cascade_told.clone(), policy(), false, "held:rate"),
        ("another kind, no rate", started(Kind::LargeLiquidation, "BTC", 10), any.clone(), cascade_told.clone(), unlimited, false, "send"),
        ("rate over", large(), any.clone(), cascade_told.clone(), policy(), false, "send"),
        ("another base at once", started(Kind::Cascade, "ETH", 10), any.clone(), cascade_told.clone(), policy(), false, "send"),
        ("low, 5 told", with_priority(large(), Priority::Low), any.clone(), busy(5), policy(), false, "send"),
        ("low, 6 told", with_priority(large(), Priority::Low), any.clone(), busy(6), policy(), false, "held:hour"),
        ("medium, 7 told", large(), any.clone(), busy(7), policy(), false, "send"),
        ("medium, 8 told", large(), any.clone(), busy(8), policy(), false, "held:hour"),
        ("high, 9 told", with_priority(large(), Priority::High), any.clone(), busy(9), policy(), false, "send"),
        ("high, 10 told", with_priority(large(), Priority::High), any.clone(), busy(10), policy(), false, "held:hour"),
        ("an hour later", with_priority(started(Kind::Cascade, "BTC", 70), Priority::High), any.clone(), busy(10), policy(), false, "send"),
    ];
    let mut seen = BTreeSet::new();
    for (what, alert, subscriber, history, policy, is_late, expected) in &table {
        let now = if *is_late { late(alert) } else { now(alert) };
        assert_eq!(decide(alert, subscriber, history, policy, now).as_str(), *expected, "{what}");
        seen.insert(*expected);
    }
    let every = [
        "edit",
        "expired",
        "held:cascade",
        "held:disabled",
        "held:filter",
        "held:five_minutes",
        "held:hour",
        "held:off",
        "held:phase",
        "held:quiet",
        "held:rate",
        "reply",
        "send",
    ];
    assert_eq!(seen, BTreeSet::from(every));
}

#[test]
fn a_reply_counts_in_the_hour_and_is_an_edit_beyond_it() {
    let mut history = told(&[cascade(Phase::Started, 10)]);
    for number in 0..7 {
        let other = started(Kind::Cascade, &format!("B{number}"), 11);
        apply(&mut history, &other, intent(&other, false));
    }
    let escalated = cascade(Phase::Escalated, 12);
    assert_eq!(decide(&escalated, &subscriber(), &history, &policy(), now(&escalated)), Decision::Edit);
    let high = with_priority(escalated, Priority::High);
    assert_eq!(decide(&high, &subscriber(), &history, &policy(), now(&high)), Decision::Reply);
    apply(&mut history, &high, intent(&high, true));
    apply(&mut history, &high, intent(&high, true));
    let later = with_priority(cascade(Phase::Escalated, 14), Priority::High);
    assert_eq!(decide(&later, &subscriber(), &history, &policy(), now(&later)), Decision::Edit);
}

#[test]
fn a_message_that_never_arrived_or_was_deleted_has_no_thread() {
    let first = cascade(Phase::Started, 10);
    let updated = cascade(Phase::Updated, 16);
    for (about, outcome) in [
        (&first, Outcome::Failed { reason: "failed:ambiguous".to_owned() }),
        (&first, Outcome::Expired { age_ms: 120_001 }),
        (&updated, Outcome::Gone { message_id: 1 }),
    ] {
        let mut history = told(std::slice::from_ref(&first));
        assert_eq!(decide(&updated, &subscriber(), &history, &policy(), now(&updated)), Decision::Edit);
        apply(&mut history, about, outcome.clone());
        assert_eq!(decide(&updated, &subscriber(), &history, &policy(), now(&updated)), Decision::Send, "{outcome:?}");
    }
}

#[test]
fn a_message_that_never_arrived_counts_in_no_limit() {
    let failed = |reason: &str| Outcome::Failed { reason: reason.to_owned() };
    for (outcome, arrived) in [
        (Outcome::Expired { age_ms: 120_001 }, false),
        (failed("failed:overflow"), false),
        (failed("failed:rate_limited"), false),
        (failed("failed:ambiguous"), true),
        (Outcome::Sent { message_id: Some(1) }, true),
    ] {
        let decided =
            |alert: &Alert, history: &History| decide(alert, &subscriber(), history, &policy(), now(alert)).as_str();
        let unless = |held: &'static str| if arrived { held } else { "send" };
        let first = cascade(Phase::Started, 10);
        let mut history = told(&[cascade(Phase::Started, 4), first.clone()]);
        apply(&mut history, &first, outcome.clone());
        let again = started(Kind::Cascade, "BTC", 11);
        assert_eq!(decided(&again, &history), unless("held:five_minutes"), "{outcome:?}");
        let single = started(Kind::LargeLiquidation, "BTC", 10);
        assert_eq!(decided(&single, &history), unless("held:rate"), "{outcome:?}");
        let mut history = busy(6);
        apply(&mut history, &started(Kind::Cascade, "B3", 7), outcome.clone());
        let low = with_priority(started(Kind::LargeLiquidation, "BTC", 11), Priority::Low);
        assert_eq!(decided(&low, &history), unless("held:hour"), "{outcome:?}");

        let mut history = told(&[cascade(Phase::Started, 10)]);
        let mut reply = cascade(Phase::Escalated, 11);
        reply.id = Id::of("test", &["reply"]);
        apply(&mut history, &reply, intent(&reply, true));
        apply(&mut history, &reply, outcome.clone());
        let higher = cascade(Phase::Escalated, 11);
        assert_eq!(decided(&higher, &history), if arrived { "edit" } else { "reply" }, "{outcome:?}");
    }
}

#[test]
fn edits_keep_a_long_cascade_in_one_message() {
    let mut history = told(&[cascade(Phase::Started, 10)]);
    for minute in [60, 110, 160] {
        apply(&mut history, &cascade(Phase::Updated, minute), Outcome::Edited { message_id: 1 });
    }
    let ended = cascade(Phase::Ended, 200);
    assert_eq!(decide(&ended, &subscriber(), &history, &policy(), now(&ended)), Decision::Edit);
    let long_after = cascade(Phase::Updated, 300);
    assert_eq!(decide(&long_after, &subscriber(), &history, &policy(), now(&long_after)), Decision::Send);
}

#[test]
fn an_alert_expires_after_two_minutes_unless_the_market_is_recorded() {
    let alert = cascade(Phase::Started, 10);
    let recorded = Policy { market: Market::Recorded, ..policy() };
    for (age_ms, policy, expected) in [
        (2 * MINUTE, policy(), Decision::Send),
        (2 * MINUTE + 1, policy(), Decision::Hold(Reason::Expired { age_ms: 2 * MINUTE + 1 })),
        (2 * MINUTE + 1, recorded, Decision::Send),
        (i64::MAX - DAY - 10 * MINUTE, recorded, Decision::Send),
        (-MINUTE, policy(), Decision::Send),
    ] {
        let wall = WallTime::from_millis(alert.event_time.as_millis() + age_ms);
        let now = Now { wall, ..now(&alert) };
        assert_eq!(decide(&alert, &subscriber(), &History::default(), &policy, now), expected, "{age_ms}");
    }
}

#[test]
fn limits_run_on_the_clock_of_decisions_which_never_goes_back() {
    let history = told(&[started(Kind::Cascade, "BTC", 10)]);
    let older = started(Kind::Cascade, "BTC", 1);
    let at = |minute: i64| Now { clock: EventTime::from_millis(DAY + minute * MINUTE), ..now(&older) };
    assert_eq!(decide(&older, &subscriber(), &history, &policy(), at(10)), Decision::Hold(Reason::FiveMinutes));
    assert_eq!(decide(&older, &subscriber(), &history, &policy(), at(20)), Decision::Send);
}

#[test]
fn both_directions_of_an_explosion_have_threads_of_their_own() {
    let mut down = started(Kind::OiExplosion, "BTC", 11);
    if let Finding::OiExplosion(explosion) = &mut down.finding {
        explosion.direction = Direction::Down;
    }
    assert_ne!(thread(&started(Kind::OiExplosion, "BTC", 11)), thread(&down));
    let Finding::Cascade(Cascade { dominant, .. }) = &cascade(Phase::Started, 1).finding else { unreachable!() };
    assert_eq!(dominant.side, Side::Long);
}

#[test]
fn a_rate_limit_over_an_hour_is_refused() {
    assert!(RateLimit::new(Duration::from_secs(3600)).is_ok());
    assert!(RateLimit::new(Duration::from_secs(3601)).is_err());
}
