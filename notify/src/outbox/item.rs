//! One message on its way: what it is, how often it was tried, and what happens when it is its turn.

use std::cmp::Reverse;

use schemas::{
    alert::Priority,
    delivery::{self, Delivery, LedgerEvent, Note, Outcome, Topic},
    id::Id,
};

use crate::{
    buttons::Buttons,
    caps::{ANSWER_TIME_TO_LIVE, ATTEMPTS_MAX, DIGEST_TIME_TO_LIVE, NOTE_TIME_TO_LIVE, PICTURE_TIME_TO_LIVE},
    decide::Market,
    failure::Failure,
    recipient::Recipient,
    text::Text,
    time::{WallTime, millis},
};

/// What goes first, over all chats and in each: answers to people, then what is new, then what grows, then the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Answer,
    New(Reverse<Priority>),
    Edit,
    Digest,
    Picture,
}

/// A place in a queue: by class, then in the order of the ledger.
pub(super) type Place = (Class, u64);

/// The intent of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Alert(Delivery),
    Note(Note),
}

impl Intent {
    /// Returns the intent of an alert's chart, which is none in the ledger: it follows from the message it belongs to.
    pub(super) fn picture(of: &Delivery) -> Self {
        let alert = of.alert;
        Self::Note(Note {
            v: delivery::VERSION,
            id: Id::of("picture", &[&alert.to_string(), &of.channel, &of.recipient]),
            channel: of.channel.clone(),
            recipient: of.recipient.clone(),
            at: of.at,
            topic: Topic::Picture { alert },
            outcome: Outcome::Intent { text: String::new(), thread: None, reply: false, picture: false },
        })
    }

    pub(super) const fn id(&self) -> Id {
        match self {
            Self::Alert(delivery) => delivery.alert,
            Self::Note(note) => note.id,
        }
    }

    pub(super) const fn at(&self) -> WallTime {
        WallTime::from_millis(match self {
            Self::Alert(delivery) => delivery.at,
            Self::Note(note) => note.at,
        })
    }

    const fn outcome(&self) -> &Outcome {
        match self {
            Self::Alert(delivery) => &delivery.outcome,
            Self::Note(note) => &note.outcome,
        }
    }

    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Alert(delivery) => Class::New(Reverse(delivery.priority)),
            Self::Note(note) => match note.topic {
                Topic::Answer { .. } => Class::Answer,
                Topic::Notice { .. } => Class::New(Reverse(Priority::Medium)),
                Topic::Canary { .. } => Class::New(Reverse(Priority::Low)),
                Topic::Digest { .. } => Class::Digest,
                Topic::Picture { .. } => Class::Picture,
            },
        }
    }

    /// Returns the thread a reply belongs to.
    pub(super) fn replies_to(&self) -> Option<Id> {
        if let Outcome::Intent { thread, reply: true, .. } = self.outcome() { *thread } else { None }
    }

    /// Returns the next event of this message, to be recorded.
    pub(super) fn event(&self, outcome: Outcome, now: WallTime) -> LedgerEvent {
        let at = now.as_millis();
        match self {
            Self::Alert(delivery) => {
                LedgerEvent::Delivery(Delivery { v: delivery::VERSION, at, outcome, ..delivery.clone() })
            }
            Self::Note(note) => LedgerEvent::Note(Note { v: delivery::VERSION, at, outcome, ..note.clone() }),
        }
    }

    /// Returns the age of a message that is too old to be sent, in milliseconds.
    fn expired(&self, market: Market, now: WallTime) -> Option<i64> {
        let live = match self {
            Self::Alert(delivery) => return market.expired(delivery.event_time, now),
            Self::Note(note) => match note.topic {
                Topic::Answer { .. } => ANSWER_TIME_TO_LIVE,
                Topic::Picture { .. } => PICTURE_TIME_TO_LIVE,
                Topic::Digest { .. } => DIGEST_TIME_TO_LIVE,
                Topic::Notice { .. } | Topic::Canary { .. } => NOTE_TIME_TO_LIVE,
            },
        };
        let age_ms = now.as_millis().saturating_sub(self.at().as_millis());
        (age_ms > millis(live)).then_some(age_ms)
    }

    /// Returns whether a copy may be sent when nobody knows whether the first one arrived (design 5).
    const fn bears_a_copy(&self) -> bool {
        match self.class() {
            Class::New(Reverse(Priority::High | Priority::Medium)) => true,
            Class::New(Reverse(Priority::Low)) | Class::Answer | Class::Edit | Class::Digest | Class::Picture => false,
        }
    }

    /// Returns the buttons under it.
    pub(super) fn buttons(&self) -> Option<Buttons> {
        match self {
            Self::Alert(delivery) => Some(Buttons { alert: delivery.alert, base: delivery.base.clone() }),
            Self::Note(_) => None,
        }
    }

    pub(super) const fn note(&self) -> Option<&Note> {
        match self {
            Self::Alert(_) => None,
            Self::Note(note) => Some(note),
        }
    }
}

/// A message that is not finished: a fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) intent: Intent,
    /// How many attempts are recorded.
    pub(super) attempts: u32,
    /// How many of them may have been more than a try to connect: those are bounded.
    pub(super) tried: u32,
    /// The last attempt has no known result.
    pub(super) open: bool,
    /// An attempt was made after one whose result stayed unknown.
    pub(super) repeated: bool,
    /// Telegram could not take the text as it is.
    pub(super) fallback: bool,
    /// The topic it was to go to is gone.
    pub(super) topic_gone: bool,
}

impl Pending {
    pub(super) const fn new(intent: Intent) -> Self {
        Self { intent, attempts: 0, tried: 0, open: false, repeated: false, fallback: false, topic_gone: false }
    }

    /// Returns what happens to it when it is its turn.
    pub(super) fn next(&self, market: Market, now: WallTime) -> Outcome {
        match self.intent.expired(market, now) {
            Some(_) if self.open || self.repeated => failed(&Failure::Ambiguous),
            Some(age_ms) => Outcome::Expired { age_ms },
            None if self.open && !self.may_repeat() => failed(&Failure::Ambiguous),
            None => Outcome::Attempt { number: self.attempts + 1 },
        }
    }

    /// Returns whether it may be sent again although its last attempt may have arrived.
    pub(super) const fn may_repeat(&self) -> bool {
        self.intent.bears_a_copy() && !self.repeated && self.tried < ATTEMPTS_MAX
    }

    /// Returns the text to send.
    pub(super) fn text(&self, recipient: &Recipient) -> Text {
        let Outcome::Intent { text, .. } = self.intent.outcome() else {
            unreachable!("a pending message is made of an intent")
        };
        let text = Text::stored(recipient, text.clone());
        let text = if self.fallback { text.fallback() } else { text };
        if self.repeated { text.marked() } else { text }
    }
}

pub(super) fn failed(failure: &Failure) -> Outcome {
    Outcome::Failed { reason: format!("failed:{}", failure.reason()) }
}
