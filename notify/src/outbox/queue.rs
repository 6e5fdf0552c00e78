//! What waits for one recipient.

use std::{cmp::Reverse, collections::BTreeMap};

use schemas::{
    alert::Priority,
    delivery::{self, Delivery, Outcome},
    id::Id,
};

use super::window::{Rest, Window};
use crate::{
    caps::{ATTEMPTS_MAX, CHAT_LIMIT, CHAT_PERIOD, GROUP_LIMIT, GROUP_PERIOD},
    decide::Market,
    failure::Failure,
    recipient::{ChatId, Recipient},
    text::Text,
    time::WallTime,
};

/// A place in a queue: high priority first, then in the order of the ledger.
pub(super) type Place = (Reverse<Priority>, u64);

/// A delivery that is not finished: a fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Its intent.
    intent: Delivery,
    /// How many attempts are recorded.
    pub(super) attempts: u32,
    /// The last attempt has no known result.
    pub(super) open: bool,
    /// An attempt was made after one whose result stayed unknown.
    pub(super) repeated: bool,
    /// Telegram could not take the text as it is.
    pub(super) fallback: bool,
}

impl Pending {
    pub(super) const fn new(intent: Delivery) -> Self {
        Self { intent, attempts: 0, open: false, repeated: false, fallback: false }
    }

    pub(super) const fn alert(&self) -> Id {
        self.intent.alert
    }

    /// Returns the next event of this delivery, to be recorded.
    pub(super) fn event(&self, outcome: Outcome, now: WallTime) -> Delivery {
        Delivery { v: delivery::VERSION, at: now.as_millis(), outcome, ..self.intent.clone() }
    }

    /// Returns what happens to it when it is its turn.
    pub(super) fn next(&self, market: Market, now: WallTime) -> Outcome {
        match market.expired(self.intent.event_time, now) {
            Some(_) if self.open => failed(&Failure::Ambiguous),
            Some(age_ms) => Outcome::Expired { age_ms },
            None if self.open && !self.may_repeat() => failed(&Failure::Ambiguous),
            None => Outcome::Attempt { number: self.attempts + 1 },
        }
    }

    /// Returns whether it may be sent again although its last attempt may have arrived (design 5).
    pub(super) const fn may_repeat(&self) -> bool {
        match self.intent.priority {
            Priority::High | Priority::Medium => !self.repeated && self.attempts < ATTEMPTS_MAX,
            Priority::Low => false,
        }
    }

    /// Returns the text to send.
    pub(super) fn text(&self, recipient: &Recipient) -> Text {
        let Outcome::Intent { text } = &self.intent.outcome else {
            unreachable!("a pending delivery is made of an intent")
        };
        let text = Text::stored(recipient, text.clone());
        let text = if self.fallback { text.fallback() } else { text };
        if self.repeated { text.marked() } else { text }
    }
}

pub(super) fn failed(failure: &Failure) -> Outcome {
    Outcome::Failed { reason: format!("failed:{}", failure.reason()) }
}

/// One recipient's deliveries and pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) pending: BTreeMap<Place, Pending>,
    /// The delivery between the record of its attempt and the record of what came of it: one at a time.
    pub(super) busy: Option<Place>,
    pub(super) rest: Rest,
    /// The chat's id after the group's migration.
    pub(super) moved: Option<ChatId>,
    windows: Vec<Window>,
}

impl Queue {
    pub(super) fn new(recipient: &Recipient) -> Self {
        let windows = match recipient {
            Recipient::Terminal => Vec::new(),
            Recipient::Telegram(chat) => {
                let minute = chat.is_group().then(|| Window::new(GROUP_LIMIT, GROUP_PERIOD));
                [Window::new(CHAT_LIMIT, CHAT_PERIOD)].into_iter().chain(minute).collect()
            }
        };
        Self { pending: BTreeMap::new(), busy: None, rest: Rest::NONE, moved: None, windows }
    }

    pub(super) fn note(&mut self, at: WallTime) {
        self.windows.iter_mut().for_each(|window| window.note(at));
    }

    /// Returns the place of the next delivery and when its turn is, or nothing while one is busy or none waits.
    pub(super) fn turn(&self, now: WallTime) -> Option<(Place, WallTime)> {
        if self.busy.is_some() {
            return None;
        }
        let place = *self.pending.keys().next()?;
        let at = self.windows.iter().map(|window| window.opens(now)).max().unwrap_or(now);
        Some((place, at.max(self.rest.ends(now))))
    }

    pub(super) fn place_of(&self, alert: Id) -> Option<Place> {
        self.pending.iter().find(|(_, pending)| pending.alert() == alert).map(|(place, _)| *place)
    }

    /// Returns the oldest of the lowest priority that is not busy.
    pub(super) fn least(&self) -> Option<Place> {
        let idle = || self.pending.keys().filter(|place| Some(**place) != self.busy);
        let (lowest, _) = *idle().next_back()?;
        idle().find(|(priority, _)| *priority == lowest).copied()
    }
}
