//! What section 5 of the design promises about every alert and every recipient.

use std::{collections::BTreeMap, time::Duration};

use notify::{
    caps::{ATTEMPTS_MAX, CHAT_PERIOD, HOUR, HOURLY, REPEAT_AFTER, TIME_TO_LIVE},
    failure::Failure,
    recipient::Recipient,
};
use schemas::{
    alert::{Alert, Kind, Priority},
    delivery::{Decision, Delivery, LedgerEvent, Outcome},
    id::Id,
    name::Base,
    time::EventTime,
    wire,
};

use crate::{
    bot::{Heard, settled},
    world::World,
};

/// What the ledger and the Bot API know of one alert and one recipient, each in its order.
#[derive(Debug, Default)]
struct Course<'a> {
    events: Vec<&'a Delivery>,
    calls: Vec<&'a Heard>,
}

type Courses<'a> = BTreeMap<(Id, Recipient), Course<'a>>;

/// Checks decisions and deliveries.
pub(crate) fn deliveries_are_as_promised(world: &World) {
    let alerts = world.alerts.stored.iter().map(|stored| wire::decode::<Alert>(&stored.payload).unwrap());
    let alerts: BTreeMap<Id, Alert> = alerts.map(|alert| (alert.id, alert)).collect();
    let courses = courses(world);
    let mut decisions = BTreeMap::new();
    for event in world.ledger.events() {
        if let LedgerEvent::Decision(decision) = event {
            let before = decisions.insert(decision.alert, decision);
            assert_eq!(before, None, "an alert has one decision");
            counts_what_is_stored(decision, &courses);
        }
    }
    assert!(decisions.keys().eq(alerts.keys()), "every alert has a decision, and nothing else");
    five_minutes_lie_between_messages(world);
    attempts_keep_the_pace(world);
    for ((alert, recipient), course) in &courses {
        let _shown = Shown(recipient, course);
        course.check(&alerts[alert]);
    }
}

fn courses(world: &World) -> Courses<'_> {
    let mut courses = Courses::new();
    for event in world.ledger.events() {
        // A change of an earlier message is none of its own.
        if let LedgerEvent::Delivery(delivery) = event
            && !matches!(delivery.outcome, Outcome::Edited { .. } | Outcome::Gone { .. })
        {
            courses.entry((delivery.alert, recipient_of(delivery))).or_default().events.push(delivery);
        }
    }
    // A refusal or a move may be learnt by an edit too: then nothing was decided.
    courses.retain(|_, course| course.events.iter().any(|event| is_decision(&event.outcome)));
    for call in world.bot.calls.iter().filter(|call| call.is_new()) {
        if let Some(course) = courses.get_mut(&(call.id, call.recipient.clone())) {
            course.calls.push(call);
        }
    }
    courses
}

fn recipient_of(delivery: &Delivery) -> Recipient {
    settled(&Recipient::from_ledger(&delivery.channel, &delivery.recipient).unwrap())
}

const fn is_decision(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Intent { .. } | Outcome::Limited { .. } | Outcome::Expired { .. })
}

/// Reasons that are only counted.
const COUNTED: [&str; 4] = ["edit", "held:off", "held:filter", "held:phase"];

fn counts_what_is_stored(decision: &Decision, courses: &Courses<'_>) {
    let mut stored = BTreeMap::new();
    for ((_, _), course) in courses.iter().filter(|((alert, _), _)| *alert == decision.alert) {
        *stored.entry(course.decided().to_owned()).or_default() += 1;
    }
    let mut counted = decision.recipients.clone();
    counted.retain(|reason, _| !COUNTED.contains(&reason.as_str()));
    assert_eq!(counted, stored, "{decision:?}");
    assert_eq!(decision.recipients.contains_key("edit"), decision.edit.is_some(), "{decision:?}");
}

/// Design 5: one message a second and chat.
fn attempts_keep_the_pace(world: &World) {
    let mut last = BTreeMap::new();
    for event in world.ledger.events() {
        if let LedgerEvent::Delivery(delivery) = event
            && matches!(delivery.outcome, Outcome::Deferred { moved_to: Some(_), .. })
        {
            // Another chat, another pace.
            last.remove(&recipient_of(delivery));
        }
        if let LedgerEvent::Delivery(delivery) = event
            && matches!(delivery.outcome, Outcome::Attempt { .. })
        {
            let before = last.insert(recipient_of(delivery), delivery.at);
            assert!(before.is_none_or(|at| delivery.at - at >= millis(CHAT_PERIOD)), "too fast: {delivery:?}");
        }
    }
}

/// Design 5, rule 6, on the event time that was the largest when an alert was decided. What is known not to have arrived by
/// then was told to nobody, and fills no place.
fn five_minutes_lie_between_messages(world: &World) {
    let mut clock = EventTime::from_millis(0);
    let mut told: BTreeMap<(Recipient, &Base, Kind), BTreeMap<Id, EventTime>> = BTreeMap::new();
    let mut hours: BTreeMap<Recipient, BTreeMap<Id, EventTime>> = BTreeMap::new();
    for event in world.ledger.events() {
        let delivery = match event {
            LedgerEvent::Decision(decision) => {
                clock = clock.max(decision.event_time);
                continue;
            }
            LedgerEvent::Delivery(delivery) => delivery,
            LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => continue,
        };
        clock = clock.max(delivery.event_time);
        if let Outcome::Intent { reply, .. } = delivery.outcome {
            let hour = hours.entry(recipient_of(delivery)).or_default();
            hour.insert(delivery.alert, clock);
            let new = hour.values().filter(|at| clock.millis_since(**at) < millis(HOUR)).count();
            assert!(new <= HOURLY[2], "the hour is full: {delivery:?}");
            if reply {
                continue;
            }
            let earlier = told.entry((recipient_of(delivery), &delivery.base, delivery.kind)).or_default();
            for (alert, at) in earlier.iter().filter(|(alert, _)| **alert != delivery.alert) {
                let is_apart = clock.millis_since(*at) >= millis(REPEAT_AFTER);
                assert!(is_apart, "five minutes after {alert}: {delivery:?}");
            }
            earlier.insert(delivery.alert, clock);
        } else if never_arrived(&delivery.outcome) {
            hours.entry(recipient_of(delivery)).or_default().remove(&delivery.alert);
            let key = (recipient_of(delivery), &delivery.base, delivery.kind);
            told.entry(key).or_default().remove(&delivery.alert);
        }
    }
}

fn never_arrived(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Expired { .. } => true,
        Outcome::Failed { reason } => reason != "failed:ambiguous",
        Outcome::Intent { .. }
        | Outcome::Limited { .. }
        | Outcome::Attempt { .. }
        | Outcome::Deferred { .. }
        | Outcome::Sent { .. }
        | Outcome::Edited { .. }
        | Outcome::Gone { .. } => false,
    }
}

/// Prints a course when a check of it fails.
struct Shown<'a>(&'a Recipient, &'a Course<'a>);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:#?}: {:#?}", self.0, self.1);
        }
    }
}

impl Course<'_> {
    /// The first thing stored is what was decided.
    fn decided(&self) -> &str {
        match self.events.first().map(|event| &event.outcome) {
            Some(Outcome::Intent { reply: false, .. }) => "send",
            Some(Outcome::Intent { reply: true, .. }) => "reply",
            Some(Outcome::Limited { reason }) => reason,
            Some(Outcome::Expired { .. }) => "expired",
            Some(
                Outcome::Attempt { .. }
                | Outcome::Deferred { .. }
                | Outcome::Sent { .. }
                | Outcome::Failed { .. }
                | Outcome::Edited { .. }
                | Outcome::Gone { .. },
            )
            | None => panic!("nothing was decided"),
        }
    }

    fn check(&self, alert: &Alert) {
        if !matches!(self.decided(), "send" | "reply") {
            assert!(self.calls.is_empty(), "held and sent");
            return;
        }
        assert!(self.tries() <= ATTEMPTS_MAX as usize, "too many attempts");
        assert!(self.calls.len() <= self.attempts(), "every call is recorded before it is made");

        let delivered: Vec<_> = self.calls.iter().filter(|call| call.is_delivered).collect();
        let repeated = delivered.iter().filter(|call| call.is_marked()).count();
        let first = delivered.len() - repeated;
        assert!(first <= 1 && repeated <= 1, "delivered {first} times and {repeated} times marked");
        assert!(alert.priority != Priority::Low || delivered.len() <= 1, "low: at most once");

        let (until, end) = self.events.iter().enumerate().find(|(_, event)| is_end(&event.outcome)).expect("it ends");
        let is_sent = self.events.iter().any(|event| matches!(event.outcome, Outcome::Sent { .. }));
        assert!(!is_sent || !delivered.is_empty(), "sent and not delivered");
        let so_far = Course { events: self.events[..until].to_vec(), calls: self.calls.clone() };
        assert!(so_far.may_end(end, alert), "given up too early");
    }

    /// Whether this end is one that the contract allows after what happened.
    fn may_end(&self, end: &Delivery, alert: &Alert) -> bool {
        let is_past = end.at - alert.event_time.as_millis() > millis(TIME_TO_LIVE);
        let is_spent = self.tries() == ATTEMPTS_MAX as usize;
        match &end.outcome {
            Outcome::Sent { .. } => true,
            Outcome::Expired { .. } => is_past,
            Outcome::Failed { reason } if reason == "failed:ambiguous" => {
                let is_deferral = |event: &&&Delivery| matches!(event.outcome, Outcome::Deferred { .. });
                let unknown = self.attempts() - self.events.iter().filter(is_deferral).count();
                is_spent || unknown >= 2 || is_past || alert.priority == Priority::Low
            }
            // Told by another message that the chat is gone.
            Outcome::Failed { reason } if reason == "failed:off" => true,
            Outcome::Failed { reason } => {
                self.calls.iter().filter_map(|call| call.answer.as_ref().err()).any(|failure| {
                    let is_final = matches!(failure, Failure::Refused(_) | Failure::Unparseable);
                    *reason == format!("failed:{}", failure.reason()) && (is_final || is_spent)
                })
            }
            Outcome::Intent { .. }
            | Outcome::Limited { .. }
            | Outcome::Attempt { .. }
            | Outcome::Deferred { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => false,
        }
    }

    /// Attempts that were more than a look whether anybody is there.
    fn tries(&self) -> usize {
        let is_look = |event: &&&Delivery| matches!(&event.outcome, Outcome::Deferred { reason, .. } if reason == "unreachable" || reason == "unauthorized");
        self.attempts() - self.events.iter().filter(is_look).count()
    }

    fn attempts(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.outcome, Outcome::Attempt { .. })).count()
    }
}

const fn is_end(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Sent { .. } | Outcome::Failed { .. } | Outcome::Expired { .. } => true,
        Outcome::Intent { .. }
        | Outcome::Limited { .. }
        | Outcome::Attempt { .. }
        | Outcome::Deferred { .. }
        | Outcome::Edited { .. }
        | Outcome::Gone { .. } => false,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}
