//! Writing the ledger and SUBSCRIBERS: once, in order, and behind a fence where two senders could meet.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use nats::{Bus, Expect, PublishError, Record};
use schemas::{
    delivery::{Delivery, LedgerEvent, Note, Outcome},
    position::Sequence,
    subscriber::Subscriber,
};
use tracing::{error, warn};

use crate::run::RETRY_PAUSE;

/// Deliveries on their way to the ledger at once. 64 reach most of the broker's rate (nats.md 2.6), so that the intents
/// of a thousand recipients are stored in a fraction of a second.
const IN_FLIGHT: usize = 64;

/// Another notifier wrote where this one was about to: it sends by now.
pub(super) struct Fenced;

/// What this process writes.
pub(super) struct Store {
    bus: Bus,
    /// Tells this process's records from those of another.
    author: String,
    records: u64,
    /// The last place on each subject that was read: what a fenced write expects.
    last_of: BTreeMap<String, Sequence>,
}

impl Store {
    pub(super) fn new(bus: &Bus, author: &str) -> Self {
        Self { bus: bus.clone(), author: author.to_owned(), records: 0, last_of: BTreeMap::new() }
    }

    /// Takes note of a place that was read.
    pub(super) fn note(&mut self, record: &Record) {
        match self.last_of.get_mut(&record.subject) {
            Some(last) => *last = record.sequence,
            None => drop(self.last_of.insert(record.subject.clone(), record.sequence)),
        }
    }

    /// Stores what was decided about an alert: everything but the last event in any order, then that one, the decision,
    /// which says that nothing is missing. Tries until it is stored or known to be there, and returns the last place.
    pub(super) async fn decided(&self, mut events: Vec<LedgerEvent>) -> Sequence {
        let Some(decision) = events.pop() else { return Sequence::new(0) };
        let stored = stream::iter(events).map(|event| async move { self.once(&event).await });
        let stored = stored.buffer_unordered(IN_FLIGHT);
        let last = stored.fold(Sequence::new(0), |last, stored| std::future::ready(last.max(stored))).await;
        last.max(self.once(&decision).await)
    }

    /// Stores an event under an id of its own, so that storing it again changes nothing, and returns its place.
    pub(super) async fn once(&self, event: &LedgerEvent) -> Sequence {
        let (expect, id) = match event {
            LedgerEvent::Decision(decision) => {
                (Expect::LastSubjectSequence(Sequence::new(0)), format!("decision:{}", decision.alert))
            }
            LedgerEvent::Delivery(Delivery { alert, channel, recipient, .. }) => {
                (Expect::Any, format!("decided:{alert}:{channel}:{recipient}"))
            }
            LedgerEvent::Note(note) => (Expect::Any, format!("note:{}", note.id)),
            LedgerEvent::Feedback(feedback) => (Expect::Any, format!("feedback:{}", feedback.update)),
            LedgerEvent::Update(update) => (Expect::Any, format!("update:{}", update.update)),
        };
        self.append(event, expect, &id).await.unwrap_or(Sequence::new(0))
    }

    /// Stores what the outbox asks for.
    ///
    /// # Errors
    /// [`Fenced`] when another sender was faster.
    pub(super) async fn record(&mut self, event: &LedgerEvent) -> Result<Sequence, Fenced> {
        let outcome = match event {
            LedgerEvent::Delivery(Delivery { outcome, .. }) | LedgerEvent::Note(Note { outcome, .. }) => Some(outcome),
            LedgerEvent::Decision(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
        };
        let expect = match outcome {
            // The fence: whoever's attempt is stored makes the call, and nobody closes the attempt of another.
            Some(Outcome::Attempt { .. } | Outcome::Deferred { .. }) => self.unchanged(&self.bus.names().ledger(event)),
            Some(
                Outcome::Intent { .. }
                | Outcome::Limited { .. }
                | Outcome::Expired { .. }
                | Outcome::Sent { .. }
                | Outcome::Edited { .. }
                | Outcome::Gone { .. }
                | Outcome::Failed { .. },
            )
            | None => Expect::Any,
        };
        self.records += 1;
        // Repeating after a lost acknowledgement must find the first copy; another process's must not be taken for ours.
        let id = format!("{}:{}", self.author, self.records);
        self.append(event, expect, &id).await
    }

    /// Stores a recipient's state, provided that nobody else changed it since it was read.
    ///
    /// # Errors
    /// [`Fenced`] when somebody did: read it, and decide anew.
    pub(super) async fn subscriber(&mut self, subscriber: &Subscriber) -> Result<Sequence, Fenced> {
        let subject = self.bus.names().subscriber(&subscriber.channel, &subscriber.recipient);
        self.records += 1;
        let id = format!("{}:{}", self.author, self.records);
        loop {
            match self.bus.append(&subject, subscriber, self.unchanged(&subject), Some(&id)).await {
                Ok(stored) => return Ok(stored.sequence),
                Err(PublishError::WrongLastSequence { .. }) => return Err(Fenced),
                Err(problem) => wait_after(&problem).await,
            }
        }
    }

    fn unchanged(&self, subject: &str) -> Expect {
        Expect::LastSubjectSequence(self.last_of.get(subject).copied().unwrap_or(Sequence::new(0)))
    }

    async fn append(&self, event: &LedgerEvent, expect: Expect, id: &str) -> Result<Sequence, Fenced> {
        let subject = self.bus.names().ledger(event);
        loop {
            match self.bus.append(&subject, event, expect, Some(id)).await {
                Ok(stored) => return Ok(stored.sequence),
                Err(PublishError::WrongLastSequence { .. }) => return Err(Fenced),
                Err(problem) => wait_after(&problem).await,
            }
        }
    }
}

async fn wait_after(problem: &PublishError) {
    if problem.is_retryable() {
        warn!(error = %problem, "not stored; trying again");
    } else {
        error!(error = %problem, "not stored");
    }
    tokio::time::sleep(RETRY_PAUSE).await;
}
