//! One alert, every recipient: what is to be stored in the ledger about it.

mod digest;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemas::{
    alert::{Alert, Phase},
    delivery::{self, Delivery, Edit, LedgerEvent, Outcome},
    id::Id,
    subscriber::{Standing, Subscriber},
    time::EventTime,
};

use crate::{
    caps::{DECIDED_MAX, EXCEPT_MAX, UNFINISHED_MAX},
    decide::{self, Decision, History, Market, Now, Policy, Reason, decide, thread},
    recent::Recent,
    recipient::{Channel, Recipient},
    subscribers::Subscribers,
    text::{Latency, Message},
    time::WallTime,
};

/// Decides about alerts for every recipient, as a fold of SUBSCRIBERS and of the ledger.
///
/// After a start SUBSCRIBERS comes first, then the whole ledger, then both as they grow. For each alert: [`Self::decide`],
/// store what it returns, the last event after all others, give each stored event to [`Self::handle_event`], and only then
/// take the next alert. An alert that comes again is decided again only for whom nothing is stored yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Decider {
    policy: Policy,
    subscribers: Subscribers,
    /// The largest event time decided so far; it never goes back.
    clock: Option<EventTime>,
    /// Only of who was told something or kept from it.
    histories: BTreeMap<Recipient, History>,
    /// Recipients for whom something is held, to be told in a digest.
    held: BTreeSet<Recipient>,
    decided: Recent<Id>,
    unfinished: VecDeque<Unfinished>,
}

/// An alert whose decision is not stored, and what is stored about it.
#[derive(Debug, PartialEq, Eq)]
struct Unfinished {
    alert: Id,
    stored: BTreeMap<Recipient, String>,
}

impl Decider {
    /// Returns a decider that knows nothing yet.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            subscribers: Subscribers::new(),
            clock: None,
            histories: BTreeMap::new(),
            held: BTreeSet::new(),
            decided: Recent::new(DECIDED_MAX),
            unfinished: VecDeque::new(),
        }
    }

    /// Returns who is told what.
    pub const fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    /// Takes in a stored event of SUBSCRIBERS.
    pub fn handle_subscriber(&mut self, subscriber: Subscriber) {
        let moved = matches!(subscriber.standing, Standing::Moved { .. });
        let recipient = Recipient::of(&subscriber);
        self.subscribers.handle(subscriber);
        let Some(recipient) = recipient.filter(|_| moved) else { return };
        // The group goes on under its new id with what it was told before.
        if let Some(earlier) = self.histories.remove(&recipient) {
            let to = self.subscribers.resolve(&recipient);
            let history = self.histories.entry(to.clone()).or_default();
            history.inherit(earlier);
            self.held.remove(&recipient);
            if history.holds() {
                self.held.insert(to);
            }
        }
    }

    /// Takes in a stored event of the ledger.
    pub fn handle_event(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Decision(decision) => {
                self.advance(decision.event_time);
                self.unfinished.retain(|unfinished| unfinished.alert != decision.alert);
                self.decided.insert(decision.alert);
            }
            LedgerEvent::Delivery(delivery) => {
                let clock = self.advance(delivery.event_time);
                let market = self.policy.market;
                self.fold(&delivery.channel, &delivery.recipient, |history| history.apply(delivery, clock, market));
                self.note_stored(delivery);
            }
            LedgerEvent::Note(note) => {
                let market = self.policy.market;
                self.fold(&note.channel, &note.recipient, |history| history.apply_note(note, market));
            }
            LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => {}
        }
    }

    fn advance(&mut self, event_time: EventTime) -> EventTime {
        let clock = self.clock.map_or(event_time, |clock| clock.max(event_time));
        self.clock = Some(clock);
        clock
    }

    fn fold(&mut self, channel: &str, recipient: &str, apply: impl FnOnce(&mut History)) {
        let Some(recipient) = Recipient::from_ledger(channel, recipient) else { return };
        let recipient = self.subscribers.resolve(&recipient);
        let history = self.histories.entry(recipient.clone()).or_default();
        apply(history);
        if history.holds() {
            self.held.insert(recipient)
        } else {
            self.held.remove(&recipient)
        };
    }

    fn note_stored(&mut self, delivery: &Delivery) {
        let decided = match &delivery.outcome {
            Outcome::Intent { reply: false, .. } => Decision::Send.as_str(),
            Outcome::Intent { reply: true, .. } => Decision::Reply.as_str(),
            Outcome::Limited { reason } => reason,
            Outcome::Expired { age_ms } => Reason::Expired { age_ms: *age_ms }.as_str(),
            Outcome::Attempt { .. }
            | Outcome::Deferred { .. }
            | Outcome::Sent { .. }
            | Outcome::Failed { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => return,
        };
        let Some(recipient) = Recipient::from_ledger(&delivery.channel, &delivery.recipient) else { return };
        if self.decided.contains(&delivery.alert) {
            return;
        }
        let recipient = self.subscribers.resolve(&recipient);
        if let Some(known) = self.unfinished.iter_mut().find(|unfinished| unfinished.alert == delivery.alert) {
            // An expiry in the outbox follows the intent that was decided.
            known.stored.entry(recipient).or_insert_with(|| decided.to_owned());
            return;
        }
        if self.unfinished.len() == UNFINISHED_MAX {
            self.unfinished.pop_front();
        }
        let stored = BTreeMap::from([(recipient, decided.to_owned())]);
        self.unfinished.push_back(Unfinished { alert: delivery.alert, stored });
    }

    /// Returns what is to be stored about an alert: a delivery for each recipient that is to be sent it or that a limit
    /// held, and last the one decision, which is stored after all of them. Nothing when the decision is stored already.
    pub fn decide(&self, alert: &Alert, now: WallTime) -> Vec<LedgerEvent> {
        if self.decided.contains(&alert.id) {
            return Vec::new();
        }
        let stored = self.unfinished.iter().find(|unfinished| unfinished.alert == alert.id).map(|known| &known.stored);
        let message = Message::of(alert, self.latency(alert, now));
        // Rendered once: there may be ten thousand recipients.
        let text = match self.policy.channel {
            Channel::Telegram => message.html(),
            Channel::Terminal | Channel::Null => message.plain(),
        };
        let mut round = Round { alert, at: now.as_millis(), text, events: Vec::new(), except: BTreeSet::new() };
        let mut recipients: BTreeMap<String, u32> = BTreeMap::new();
        let nothing = History::default();
        let clock = self.clock.map_or(alert.event_time, |clock| clock.max(alert.event_time));
        for (recipient, subscriber) in self.subscribers.iter() {
            let moved = matches!(subscriber.standing, Standing::Moved { .. });
            if moved || recipient.channel() != self.policy.channel {
                continue;
            }
            let history = self.histories.get(recipient).unwrap_or(&nothing);
            let has_thread = thread(alert).is_some_and(|thread| history.has_thread(thread, clock));
            let known = stored.and_then(|stored| stored.get(recipient).cloned());
            let is_edit = known.is_none() && {
                let decision = decide(alert, subscriber, history, &self.policy, Now { clock, wall: now });
                round.take(recipient, subscriber, decision);
                *recipients.entry(decision.as_str().to_owned()).or_default() += 1;
                decision == Decision::Edit
            };
            if let Some(decided) = known {
                *recipients.entry(decided).or_default() += 1;
            }
            if has_thread && !is_edit && round.except.len() < EXCEPT_MAX {
                round.except.insert(recipient.name().to_owned());
            }
        }
        round.finish(recipients)
    }

    fn latency(&self, alert: &Alert, now: WallTime) -> Option<Latency> {
        match self.policy.market {
            Market::Live => Some(Latency {
                seen_ms: alert.received_at.millis_after(alert.event_time),
                sent_ms: now.millis_after(alert.event_time),
            }),
            Market::Recorded => None,
        }
    }
}

/// One alert while every recipient is decided about.
struct Round<'a> {
    alert: &'a Alert,
    at: i64,
    text: String,
    events: Vec<LedgerEvent>,
    /// Who has a message of the thread and is not to see the edit.
    except: BTreeSet<String>,
}

impl Round<'_> {
    /// Adds what is recorded for a recipient. What is not told at all is only counted in the decision.
    fn take(&mut self, recipient: &Recipient, subscriber: &Subscriber, decision: Decision) {
        let outcome = match decision {
            Decision::Send => {
                let picture = subscriber.preferences.pictures
                    && recipient.channel() == Channel::Telegram
                    && decide::phase(self.alert) == Some(Phase::Started);
                Outcome::Intent { text: self.text.clone(), thread: thread(self.alert), reply: false, picture }
            }
            Decision::Reply => {
                Outcome::Intent { text: self.text.clone(), thread: thread(self.alert), reply: true, picture: false }
            }
            Decision::Edit | Decision::Hold(Reason::Off | Reason::Disabled | Reason::Filter | Reason::Phase) => return,
            Decision::Hold(Reason::Expired { age_ms }) => Outcome::Expired { age_ms },
            Decision::Hold(
                reason @ (Reason::Quiet | Reason::Cascade | Reason::FiveMinutes | Reason::Rate | Reason::Hour),
            ) => Outcome::Limited { reason: reason.as_str().to_owned() },
        };
        let alert = self.alert;
        self.events.push(LedgerEvent::Delivery(Delivery {
            v: delivery::VERSION,
            alert: alert.id,
            kind: alert.kind(),
            base: alert.base.clone(),
            priority: alert.priority,
            event_time: alert.event_time,
            channel: recipient.channel().as_str().to_owned(),
            recipient: recipient.name().to_owned(),
            at: self.at,
            outcome,
        }));
    }

    fn finish(self, recipients: BTreeMap<String, u32>) -> Vec<LedgerEvent> {
        let Self { alert, at, text, mut events, except } = self;
        let is_edited = recipients.contains_key(Decision::Edit.as_str());
        let last = decide::phase(alert) == Some(Phase::Ended);
        let edit = thread(alert).filter(|_| is_edited).map(|thread| Edit { thread, at, text, last, except });
        events.push(LedgerEvent::Decision(delivery::Decision {
            v: delivery::VERSION,
            alert: alert.id,
            kind: alert.kind(),
            base: alert.base.clone(),
            priority: alert.priority,
            event_time: alert.event_time,
            recipients,
            edit,
        }));
        events
    }
}

#[cfg(test)]
mod tests;
