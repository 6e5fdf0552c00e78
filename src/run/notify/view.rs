//! What people see of a notifier.

use std::collections::{BTreeMap, VecDeque};

use schemas::{
    alert::Priority,
    delivery::{Decision, Delivery, LedgerEvent, Note, Outcome, Topic},
    id::Id,
};
use serde::Serialize;
use tracing::warn;

/// Alerts kept for people to see; older ones go.
const RECENT: usize = 50;

/// What people see of a notifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// It has read the ledger, or stands by while another one sends.
    pub ready: bool,
    /// It sends; otherwise it stands by.
    pub sender: bool,
    /// The last place of ALERTS decided and acknowledged by this process.
    pub position: u64,
    /// Alerts decided by this process, by reason.
    pub decided: BTreeMap<String, u64>,
    /// Messages the channel accepted, by this process.
    pub sent: u64,
    /// Changes of messages the channel accepted, by this process.
    pub edited: u64,
    /// Messages given up, by this process.
    pub failed: u64,
    /// Updates of Telegram this process carried out, by command, and those that ask for nothing, by reason.
    pub commands: BTreeMap<String, u64>,
    /// The Bot API refused the token at the last call.
    pub token_refused: bool,
    /// Messages that wait.
    pub waiting: u64,
    /// Recipients that get alerts.
    pub subscribers: u64,
    /// The last canary that came to its end.
    pub canary: Option<Canary>,
    /// The last alerts and what was decided about them, oldest first.
    pub recent: VecDeque<Recent>,
}

/// A canary that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// When, host clock, milliseconds since 1970 UTC.
    pub at: i64,
    /// How long its way from an ingest took, in milliseconds.
    pub took_ms: i64,
}

/// One alert as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// Its id.
    pub alert: Id,
    /// Venue time, milliseconds since 1970 UTC.
    pub event_time: i64,
    /// How much it matters.
    pub priority: Priority,
    /// Its text on one line.
    pub summary: String,
    /// What was decided for most recipients.
    pub decision: String,
    /// When the channel first accepted it, host clock, milliseconds since 1970 UTC.
    pub sent_at: Option<i64>,
}

impl Status {
    /// Counts an event of the ledger that was stored since this process began.
    pub(super) fn count(&mut self, event: &LedgerEvent) {
        let (outcome, id, recipient) = match event {
            LedgerEvent::Decision(decision) => return self.count_decision(decision),
            LedgerEvent::Delivery(delivery) => (&delivery.outcome, delivery.alert, &delivery.recipient),
            // Nobody was told anything.
            LedgerEvent::Note(Note { topic: Topic::Canary { .. }, .. }) => return,
            LedgerEvent::Note(note) => (&note.outcome, note.id, &note.recipient),
            LedgerEvent::Update(update) => return self.asked(&update.command),
            LedgerEvent::Feedback(_) => return,
        };
        if let LedgerEvent::Delivery(Delivery { alert, at, outcome: Outcome::Sent { .. }, .. }) = event
            && let Some(recent) = self.recent.iter_mut().rev().find(|recent| recent.alert == *alert)
        {
            recent.sent_at.get_or_insert(*at);
        }
        match outcome {
            Outcome::Sent { .. } => self.sent += 1,
            Outcome::Edited { .. } => self.edited += 1,
            Outcome::Failed { reason } => {
                warn!(%id, %recipient, %reason, "delivery given up");
                self.failed += 1;
            }
            Outcome::Intent { .. }
            | Outcome::Limited { .. }
            | Outcome::Expired { .. }
            | Outcome::Attempt { .. }
            | Outcome::Gone { .. }
            | Outcome::Deferred { .. } => {}
        }
    }

    /// Counts an update by what it asks for.
    pub(super) fn asked(&mut self, name: &str) {
        *self.commands.entry(name.to_owned()).or_default() += 1;
    }

    fn count_decision(&mut self, decision: &Decision) {
        let most = decision.recipients.iter().max_by_key(|(_, count)| **count);
        for (reason, count) in &decision.recipients {
            *self.decided.entry(reason.clone()).or_default() += u64::from(*count);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent {
            alert: decision.alert,
            event_time: decision.event_time.as_millis(),
            priority: decision.priority,
            summary: String::new(),
            decision: most.map_or_else(String::new, |(reason, _)| reason.clone()),
            sent_at: None,
        });
    }

    /// Adds the text of an alert that was decided.
    pub(super) fn summarize(&mut self, alert: Id, summary: String) {
        if let Some(recent) = self.recent.iter_mut().rev().find(|recent| recent.alert == alert) {
            recent.summary = summary;
        }
    }
}
