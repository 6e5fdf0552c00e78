//! What section 5 of the design promises, checked on the ledger as it grows, and against what the Bot API saw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hdrhistogram::Histogram;
use jiff::{Timestamp, tz::TimeZone};
use notify::recipient::Recipient;
use schemas::{
    alert::{Alert, Finding, Kind, Phase, Priority},
    delivery::{Decision, Delivery, LedgerEvent, Note, Outcome, Topic},
    id::Id,
    name::Base,
    subscriber::{Preferences, QuietHours, Subscriber},
    time::EventTime,
};

use super::{HOUR_MS, api::Api, people::PEOPLE};

/// Reasons that are only counted in a decision.
const COUNTED: [&str; 4] = ["edit", "held:off", "held:filter", "held:phase"];

/// Least share of what is due to a chat that can be reached.
const ARRIVE: f64 = 0.999;

#[derive(Default)]
pub(super) struct Account {
    alerts: BTreeMap<Id, Alert>,
    preferences: BTreeMap<String, Preferences>,
    zones: BTreeMap<String, TimeZone>,
    /// The largest event time decided.
    clock: i64,
    decided: BTreeMap<Id, Decision>,
    /// What is stored about the alert that is being decided.
    stored: BTreeMap<String, u32>,
    told: BTreeMap<String, Told>,
    /// Messages about alerts that have not ended, and when what they tell happened.
    open: BTreeMap<(Id, String), EventTime>,
    digested: BTreeMap<String, i64>,
    /// Messages about alerts that were to be sent, and when that was decided.
    due: Vec<(Id, String, i64)>,
    /// How they ended.
    ended: BTreeMap<(Id, String), String>,
    notes: BTreeMap<(&'static str, String), u64>,
    edits: u64,
    /// Seconds from an alert's event time to the answer, in hundredths.
    waits: Option<Histogram<u64>>,
}

/// What a chat was told.
#[derive(Default)]
struct Told {
    /// New messages of the last hour and the clock when they were decided.
    hour: VecDeque<(Id, i64)>,
    first: BTreeMap<(Base, Kind), (Id, i64)>,
}

impl Account {
    pub(super) fn handle_subscriber(&mut self, subscriber: &Subscriber) {
        self.preferences.insert(subscriber.recipient.clone(), subscriber.preferences.clone());
    }

    pub(super) fn handle_alert(&mut self, alert: &Alert) {
        self.clock = self.clock.max(alert.event_time.as_millis());
        assert_eq!(self.alerts.insert(alert.id, alert.clone()), None, "an alert comes once");
        self.stored.clear();
    }

    pub(super) fn handle_event(&mut self, event: &LedgerEvent, now_ms: i64) {
        match event {
            LedgerEvent::Decision(decision) => self.decision(decision),
            LedgerEvent::Delivery(delivery) => self.delivery(delivery, now_ms),
            LedgerEvent::Note(note) => self.note(note, now_ms),
            LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => panic!("nobody presses anything here"),
        }
    }

    fn decision(&mut self, decision: &Decision) {
        assert_eq!(decision.recipients.values().sum::<u32>(), PEOPLE as u32, "everybody is decided about");
        let mut counted = decision.recipients.clone();
        counted.retain(|reason, _| !COUNTED.contains(&reason.as_str()));
        assert_eq!(counted, self.stored, "{decision:?}");
        let before = self.decided.insert(decision.alert, Decision { edit: None, ..decision.clone() });
        assert_eq!(before, None, "an alert has one decision");
    }

    fn delivery(&mut self, delivery: &Delivery, now_ms: i64) {
        let key = (delivery.alert, delivery.recipient.clone());
        let is_open = self.open.contains_key(&key);
        match &delivery.outcome {
            Outcome::Intent { reply, .. } => {
                *self.stored.entry(if *reply { "reply" } else { "send" }.to_owned()).or_default() += 1;
                self.is_wanted(delivery, *reply, now_ms);
                self.keeps_the_limits(delivery, *reply);
                self.due.push((delivery.alert, delivery.recipient.clone(), now_ms));
                let before = self.open.insert(key, delivery.event_time);
                assert!(before.is_none(), "decided twice: {delivery:?}");
            }
            Outcome::Limited { reason } => *self.stored.entry(reason.clone()).or_default() += 1,
            Outcome::Expired { .. } if !is_open => *self.stored.entry("expired".to_owned()).or_default() += 1,
            Outcome::Expired { .. } => self.end(key, "expired", now_ms),
            Outcome::Failed { reason } => self.end(key, reason, now_ms),
            Outcome::Sent { .. } => self.end(key, "sent", now_ms),
            Outcome::Edited { .. } => self.edits += 1,
            Outcome::Attempt { .. } => assert!(is_open, "an attempt at nothing: {delivery:?}"),
            Outcome::Deferred { .. } | Outcome::Gone { .. } => {}
        }
    }

    /// Nobody gets what it does not want. Read from the preferences anew, not with the code under test.
    fn is_wanted(&mut self, delivery: &Delivery, reply: bool, now_ms: i64) {
        let preferences = &self.preferences[&delivery.recipient];
        let (base, kind) = (&delivery.base, delivery.kind);
        let alert = &self.alerts[&delivery.alert];
        assert!(preferences.bases.as_ref().is_none_or(|bases| bases.contains(base)), "{delivery:?}");
        assert!(preferences.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind)), "{delivery:?}");
        assert!(delivery.priority >= preferences.min_priority, "{delivery:?}");
        assert!(!(reply && preferences.edits_only), "{delivery:?}");
        let is_muted = preferences.mutes.iter().any(|mute| {
            let (of_base, of_kind) = (mute.base.as_ref(), mute.kind);
            now_ms < mute.until && of_base.is_none_or(|of| of == base) && of_kind.is_none_or(|of| of == kind)
        });
        assert!(!is_muted, "{delivery:?}");
        if let Some(own) = preferences.thresholds.get(base) {
            let enough = match &alert.finding {
                Finding::LargeLiquidation(large) => own.single_usd.is_none_or(|least| large.notional_usd >= least),
                Finding::Cascade(cascade) => own.cascade_usd.is_none_or(|least| cascade.notional_usd >= least),
                Finding::OiExplosion(_) => true,
            };
            assert!(enough, "{delivery:?}");
        }
        let quiet = preferences.quiet.clone().filter(|_| !reply);
        assert!(!quiet.is_some_and(|quiet| self.is_quiet(&quiet, now_ms)), "{delivery:?}");
    }

    fn is_quiet(&mut self, quiet: &QuietHours, now_ms: i64) -> bool {
        let zone = self.zones.entry(quiet.zone.clone()).or_insert_with(|| TimeZone::get(&quiet.zone).unwrap());
        let offset_s = zone.to_offset(Timestamp::from_millisecond(now_ms).unwrap()).seconds();
        let minute = (now_ms / 1_000 + i64::from(offset_s)).rem_euclid(86_400) / 60;
        let (from, to) = (i64::from(quiet.from), i64::from(quiet.to));
        // All of them span midnight.
        minute >= from || minute < to
    }

    /// Design 5, rules 6 and 8, on the largest event time decided.
    fn keeps_the_limits(&mut self, delivery: &Delivery, reply: bool) {
        let (clock, told) = (self.clock, self.told.entry(delivery.recipient.clone()).or_default());
        told.hour.retain(|(_, at)| clock - at < HOUR_MS);
        told.hour.push_back((delivery.alert, clock));
        let places = match delivery.priority {
            Priority::Low => 6,
            Priority::Medium => 8,
            Priority::High => 10,
        };
        assert!(told.hour.len() <= places, "more than {places} an hour: {delivery:?}");
        if reply {
            return;
        }
        let before = told.first.insert((delivery.base.clone(), delivery.kind), (delivery.alert, clock));
        assert!(before.is_none_or(|(_, at)| clock - at >= 300_000), "within five minutes of {before:?}: {delivery:?}");
    }

    /// A message ended. What certainly never arrived takes no place in the hour and is no repeat.
    fn end(&mut self, key: (Id, String), how: &str, now_ms: i64) {
        // A refusal may be learnt by an edit too.
        let Some(event_time) = self.open.remove(&key) else { return assert_ne!(how, "sent", "{key:?} was not due") };
        if how == "sent" {
            let waits = self.waits.get_or_insert_with(|| Histogram::new(3).unwrap());
            waits.record((now_ms - event_time.as_millis()).unsigned_abs() / 10).unwrap();
        } else if how != "failed:ambiguous"
            && let Some(told) = self.told.get_mut(&key.1)
        {
            told.hour.retain(|(alert, _)| *alert != key.0);
            told.first.retain(|_, (alert, _)| *alert != key.0);
        }
        self.ended.insert(key, how.to_owned());
    }

    fn note(&mut self, note: &Note, now_ms: i64) {
        let topic = match note.topic {
            Topic::Digest { .. } => "digest",
            Topic::Picture { .. } => "picture",
            Topic::Canary { .. } => "canary",
            Topic::Answer { .. } | Topic::Notice { .. } => panic!("nobody asks here: {note:?}"),
        };
        let state = match &note.outcome {
            Outcome::Intent { .. } => {
                let before = self.digested.insert(note.recipient.clone(), now_ms);
                assert!(before.is_none_or(|at| now_ms - at >= HOUR_MS), "a second digest in an hour: {note:?}");
                "due"
            }
            Outcome::Sent { .. } => "sent",
            Outcome::Expired { .. } => "expired",
            Outcome::Failed { reason } => reason,
            Outcome::Attempt { .. } | Outcome::Deferred { .. } => return,
            Outcome::Limited { .. } | Outcome::Edited { .. } | Outcome::Gone { .. } => panic!("{note:?}"),
        };
        *self.notes.entry((topic, state.to_owned())).or_default() += 1;
    }

    /// Checks the whole and says what there was.
    pub(super) fn finish(self, api: &Api) -> String {
        assert!(self.decided.keys().eq(self.alerts.keys()), "every alert has a decision, and nothing else");
        assert!(self.open.is_empty(), "everything has ended");
        let chat = |name: &String| Recipient::Telegram(name.parse().unwrap());
        for ((id, chat), (plain, marked)) in &api.arrived {
            assert!(*plain <= 1 && *marked <= 1, "{id} in {chat:?}: {plain} times, and {marked} times marked");
        }
        let (mut due, mut arrived) = (0_u64, 0_u64);
        let mut rest: BTreeMap<(Priority, &str), u64> = BTreeMap::new();
        let mut unreachable: BTreeMap<&str, u64> = BTreeMap::new();
        for (alert, recipient, at) in &self.due {
            let how = self.ended[&(*alert, recipient.clone())].as_str();
            let is_there = api.arrived.contains_key(&(*alert, chat(recipient)));
            assert!(is_there || how != "sent", "{alert} is not in {recipient}");
            if !api.reaches(&chat(recipient), *at) {
                assert!(!is_there, "{alert} is in {recipient}");
                *unreachable.entry(how).or_default() += 1;
                continue;
            }
            due += 1;
            arrived += u64::from(is_there);
            if !is_there {
                *rest.entry((self.alerts[alert].priority, how)).or_default() += 1;
            }
        }
        let ratio = arrived as f64 / due as f64;
        let repeats = api.arrived.values().filter(|(_, marked)| *marked > 0).count();
        let waits = self.waits.unwrap();
        let wait = |quantile| waits.value_at_quantile(quantile) as f64 / 100.0;
        let starts = |alert: &&Alert| matches!(&alert.finding, Finding::Cascade(one) if one.phase == Phase::Started);
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in self.decided.values().flat_map(|decision| &decision.recipients) {
            *reasons.entry(reason).or_default() += u64::from(*count);
        }
        let bases: BTreeSet<_> = self.alerts.values().map(|alert| &alert.base).collect();
        assert!(bases.len() >= 3 && due > 50_000, "too little of a storm: {due} due, {bases:?}");
        assert!(ratio >= ARRIVE, "{arrived} of {due} arrived; not: {rest:?}");
        format!(
            "a week: {} alerts ({} cascades), {PEOPLE} recipients, decisions {reasons:?}; {due} messages due to chats that \
             can be reached, {arrived} arrived ({:.3} %), {repeats} of them also marked as repeats; the rest by reason \
             {rest:?}; to others {unreachable:?}; p50 {:.1} s, p99 {:.1} s, longest {:.1} s from event to answer; notes \
             {:?}; {} edits; {} calls, faults {:?}",
            self.alerts.len(),
            self.alerts.values().filter(starts).count(),
            ratio * 100.0,
            wait(0.5),
            wait(0.99),
            waits.max() as f64 / 100.0,
            self.notes,
            self.edits,
            api.calls,
            api.faults,
        )
    }
}
