//! One alert, every recipient: what is to be stored in the ledger about it.

use std::collections::{BTreeMap, VecDeque};

use schemas::{
    alert::Alert,
    delivery::{self, Delivery, LedgerEvent, Outcome},
    id::Id,
};

use crate::{
    caps::{DECIDED_MAX, UNFINISHED_MAX},
    decide::{Decision, History, Market, Policy, Reason, decide},
    recent::Recent,
    recipient::Recipient,
    text::{Latency, Message, Text},
    time::WallTime,
};

/// Decides about alerts for every recipient, as a fold of the ledger.
///
/// For each alert: [`Self::decide`], store what it returns in that order, give each stored event to
/// [`Self::handle_event`], and only then take the next alert. After a restart the whole ledger is given to
/// [`Self::handle_event`] first. An alert that comes again is decided again only for whom nothing is stored yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Decider {
    policy: Policy,
    histories: BTreeMap<Recipient, History>,
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
    /// Returns a decider that knows nothing of the ledger yet.
    pub fn new(policy: Policy, recipients: impl IntoIterator<Item = Recipient>) -> Self {
        Self {
            policy,
            histories: recipients.into_iter().map(|recipient| (recipient.clone(), History::new(recipient))).collect(),
            decided: Recent::new(DECIDED_MAX),
            unfinished: VecDeque::new(),
        }
    }

    /// Takes in a stored event of the ledger.
    pub fn handle_event(&mut self, event: &LedgerEvent) {
        for history in self.histories.values_mut() {
            history.apply(event);
        }
        match event {
            LedgerEvent::Decision(decision) => {
                self.unfinished.retain(|unfinished| unfinished.alert != decision.alert);
                self.decided.insert(decision.alert);
            }
            LedgerEvent::Delivery(delivery) => self.note_stored(delivery),
        }
    }

    fn note_stored(&mut self, delivery: &Delivery) {
        let decided = match &delivery.outcome {
            Outcome::Intent { .. } => Decision::Send.as_str(),
            Outcome::Limited { reason } => reason,
            Outcome::Expired { age_ms } => Reason::Expired { age_ms: *age_ms }.as_str(),
            Outcome::Attempt { .. } | Outcome::Deferred { .. } | Outcome::Sent { .. } | Outcome::Failed { .. } => {
                return;
            }
        };
        let Some(recipient) = Recipient::from_ledger(&delivery.channel, &delivery.recipient) else { return };
        if self.decided.contains(&delivery.alert) {
            return;
        }
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

    /// Returns what is to be stored about an alert, in this order: a delivery for each recipient that is to be sent it or
    /// that a limit held, and the one decision at the end. Nothing when the decision is stored already.
    pub fn decide(&self, alert: &Alert, now: WallTime) -> Vec<LedgerEvent> {
        if self.decided.contains(&alert.id) {
            return Vec::new();
        }
        let stored = self.unfinished.iter().find(|unfinished| unfinished.alert == alert.id).map(|known| &known.stored);
        let message = Message::of(alert, self.latency(alert, now));
        let mut events = Vec::new();
        let mut recipients: BTreeMap<String, u32> = BTreeMap::new();
        for (recipient, history) in &self.histories {
            let decided = stored.and_then(|stored| stored.get(recipient).cloned()).unwrap_or_else(|| {
                let decision = decide(alert, history, &self.policy, now);
                events.extend(outcome(decision, &message, recipient).map(|outcome| {
                    LedgerEvent::Delivery(Delivery {
                        v: delivery::VERSION,
                        alert: alert.id,
                        kind: alert.kind(),
                        base: alert.base.clone(),
                        priority: alert.priority,
                        event_time: alert.event_time,
                        channel: recipient.channel().to_owned(),
                        recipient: recipient.name().to_owned(),
                        at: now.as_millis(),
                        outcome,
                    })
                }));
                decision.as_str().to_owned()
            });
            *recipients.entry(decided).or_default() += 1;
        }
        events.push(LedgerEvent::Decision(delivery::Decision {
            v: delivery::VERSION,
            alert: alert.id,
            kind: alert.kind(),
            base: alert.base.clone(),
            priority: alert.priority,
            event_time: alert.event_time,
            recipients,
        }));
        events
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

/// Returns what is recorded for a recipient. What every recipient is spared alike is only counted in the decision.
fn outcome(decision: Decision, message: &Message, recipient: &Recipient) -> Option<Outcome> {
    match decision {
        Decision::Send => Some(Outcome::Intent { text: Text::of(message, recipient).into_string() }),
        Decision::Hold(Reason::Disabled | Reason::Phase) => None,
        Decision::Hold(Reason::Expired { age_ms }) => Some(Outcome::Expired { age_ms }),
        Decision::Hold(reason @ (Reason::FiveMinutes | Reason::Rate)) => {
            Some(Outcome::Limited { reason: reason.as_str().to_owned() })
        }
    }
}

#[cfg(test)]
mod tests;
