//! The growing message of a thread in one chat: which one it is, and what it is to show next.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use schemas::{
    alert::Kind,
    delivery::{self, Decision, Delivery, Edit, Outcome},
    id::Id,
    name::Base,
};

use crate::{
    buttons::Buttons,
    caps::{EDIT_AFTER, EDIT_AFTER_MAX, EDIT_TIME_TO_LIVE},
    failure::MessageId,
    recipient::Recipient,
    time::{WallTime, millis},
};

/// One decision's text for the messages of a thread, shared by all chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    decision: Decision,
    edit: Edit,
    /// Hash of its text, made once for all chats.
    shows: Id,
}

impl Revision {
    /// Returns the revision a decision makes, if it makes one.
    pub(super) fn of(decision: &Decision) -> Option<Arc<Self>> {
        let edit = decision.edit.clone()?;
        let shows = hash(&edit.text);
        Some(Arc::new(Self { decision: Decision { edit: None, ..decision.clone() }, edit, shows }))
    }

    pub(super) const fn thread(&self) -> Id {
        self.edit.thread
    }

    pub(super) const fn alert(&self) -> Id {
        self.decision.alert
    }

    pub(super) fn text(&self) -> &str {
        &self.edit.text
    }

    /// Returns the names of those who are not to see it, as they were when it was decided.
    pub(super) const fn except(&self) -> &BTreeSet<String> {
        &self.edit.except
    }

    pub(super) fn buttons(&self) -> Buttons {
        Buttons { alert: self.decision.alert, base: self.decision.base.clone() }
    }

    /// Returns what is recorded about it for a recipient.
    pub(super) fn event(&self, recipient: &Recipient, outcome: Outcome, now: WallTime) -> Delivery {
        let Decision { alert, kind, base, priority, event_time, .. } = self.decision.clone();
        Delivery {
            v: delivery::VERSION,
            alert,
            kind,
            base,
            priority,
            event_time,
            channel: recipient.channel().as_str().to_owned(),
            recipient: recipient.name().to_owned(),
            at: now.as_millis(),
            outcome,
        }
    }
}

/// Which message of the chat it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Its first message is not sent yet.
    Waits,
    /// It can be changed.
    Sent(MessageId),
    /// It arrived, but its answer was lost: it cannot be changed.
    Unknown,
}

/// The growing message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    /// The alert of the first message.
    pub(super) alert: Id,
    base: Base,
    kind: Kind,
    pub(super) first: First,
    /// Hash of what it shows.
    shows: Id,
    edits: u32,
    edited: WallTime,
    /// What it is to show, the newest only.
    pub(super) next: Option<Arc<Revision>>,
    /// What is being made of it.
    making: Option<Arc<Revision>>,
}

impl Thread {
    pub(super) fn new(intent: &Delivery, text: &str) -> Self {
        Self {
            alert: intent.alert,
            base: intent.base.clone(),
            kind: intent.kind,
            first: First::Waits,
            shows: hash(text),
            edits: 0,
            edited: WallTime::from_millis(intent.at),
            next: None,
            making: None,
        }
    }

    /// Returns when it was last changed, or begun.
    pub(super) const fn edited(&self) -> WallTime {
        self.edited
    }

    /// Returns whether it is to show the text of this alert, or that is being made.
    pub(super) fn awaits(&self, alert: Id) -> bool {
        let is_it = |revision: &Option<Arc<Revision>>| revision.as_ref().is_some_and(|one| one.alert() == alert);
        is_it(&self.next) || is_it(&self.making)
    }

    pub(super) fn is_of(&self, delivery: &Delivery) -> bool {
        self.kind == delivery.kind && self.base == delivery.base
    }

    /// Takes a newer revision; returns whether there is anything to change.
    pub(super) fn revise(&mut self, revision: &Arc<Revision>) -> bool {
        let is_new = revision.shows != self.shows && self.first != First::Unknown;
        self.next = is_new.then(|| Arc::clone(revision));
        is_new
    }

    /// Returns the revision that was being made of this alert.
    pub(super) fn made(&self, alert: Id) -> Option<Arc<Revision>> {
        self.making.clone().filter(|making| making.alert() == alert)
    }

    /// Returns what to show, and keeps it until it is known what came of it.
    pub(super) fn make(&mut self) -> Option<Arc<Revision>> {
        self.making.clone_from(&self.next);
        self.making.clone()
    }

    /// Notes that it shows the revision of this alert since `at`.
    pub(super) fn note_edited(&mut self, alert: Id, at: WallTime) {
        (self.edits, self.edited) = (self.edits.saturating_add(1), at);
        if let Some(made) = self.making.take_if(|making| making.alert() == alert) {
            self.shows = made.shows;
        }
        if let Some(next) = self.next.take_if(|next| next.alert() == alert) {
            self.shows = next.shows;
        }
    }

    /// Returns when the next edit may be made; nothing while the message is not there.
    pub(super) fn due(&self) -> Option<WallTime> {
        let next = self.next.as_ref()?;
        match self.first {
            First::Waits | First::Unknown => None,
            First::Sent(_) if next.edit.last => Some(self.edited),
            First::Sent(_) => Some(self.edited.plus(spacing(self.edits))),
        }
    }

    /// Returns whether nobody waits for its next edit any more.
    pub(super) fn is_stale(&self, now: WallTime) -> bool {
        let decided = self.next.as_ref().map(|next| next.edit.at);
        decided.is_some_and(|decided| now.as_millis().saturating_sub(decided) > millis(EDIT_TIME_TO_LIVE))
    }
}

/// 3, 6, 12, 24, 40 s: an old cascade needs no new figure every few seconds.
fn spacing(edits: u32) -> Duration {
    EDIT_AFTER.saturating_mul(1_u32.checked_shl(edits).unwrap_or(u32::MAX)).min(EDIT_AFTER_MAX)
}

fn hash(text: &str) -> Id {
    Id::of("text", &[text])
}
