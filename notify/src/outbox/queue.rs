//! What waits for one recipient, and its pace.

use std::collections::BTreeMap;

use schemas::{delivery::Delivery, id::Id};

use super::{
    item::{Class, Intent, Pending, Place},
    thread::{First, Thread},
    window::{Rest, Window},
};
use crate::{
    caps::{CHAT_LIMIT, CHAT_PERIOD, GROUP_EDIT_LIMIT, GROUP_LIMIT, GROUP_PERIOD, THREAD_AGE, THREADS_MAX},
    failure::MessageId,
    recipient::Recipient,
    time::{WallTime, millis},
};

/// Whose turn it is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Message(Place),
    /// The growing message of this thread is changed.
    Edit(Id),
}

impl Turn {
    pub(super) const fn class(self) -> Class {
        match self {
            Self::Message((class, _)) => class,
            Self::Edit(_) => Class::Edit,
        }
    }

    /// Returns its place among the turns of all queues: edits go in the order in which they were due, so that in a storm
    /// every chat's message grows.
    pub(super) fn place(self, at: WallTime) -> Place {
        match self {
            Self::Message(place) => place,
            Self::Edit(_) => (Class::Edit, u64::try_from(at.as_millis()).unwrap_or(0)),
        }
    }
}

/// One recipient's messages and pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) pending: BTreeMap<Place, Pending>,
    /// Boxed: a map allocates places for eleven, and there may be ten thousand chats with one thread each.
    pub(super) threads: BTreeMap<Id, Box<Thread>>,
    /// What is under way, from the record of its attempt to the record of what came of it: one at a time.
    pub(super) busy: Option<Turn>,
    pub(super) rest: Rest,
    /// Forum topic its messages go to.
    pub(super) topic: Option<i64>,
    /// It gets nothing that was decided at or before this moment.
    pub(super) off_since: Option<WallTime>,
    windows: Vec<Window>,
    /// Of a group's calls in a minute only so many are edits.
    edits: Option<Window>,
}

impl Queue {
    pub(super) fn new(recipient: &Recipient) -> Self {
        let is_group = match recipient {
            Recipient::Terminal | Recipient::Null => false,
            Recipient::Telegram(chat) => chat.is_group(),
        };
        let windows = match recipient {
            Recipient::Terminal | Recipient::Null => Vec::new(),
            Recipient::Telegram(_) => {
                let minute = is_group.then(|| Window::new(GROUP_LIMIT, GROUP_PERIOD));
                [Window::new(CHAT_LIMIT, CHAT_PERIOD)].into_iter().chain(minute).collect()
            }
        };
        Self {
            pending: BTreeMap::new(),
            threads: BTreeMap::new(),
            busy: None,
            rest: Rest::NONE,
            topic: None,
            off_since: None,
            windows,
            edits: is_group.then(|| Window::new(GROUP_EDIT_LIMIT, GROUP_PERIOD)),
        }
    }

    /// Notes a call: every one counts, an edit twice.
    pub(super) fn note(&mut self, class: Class, at: WallTime) {
        self.windows.iter_mut().for_each(|window| window.note(at));
        if class == Class::Edit {
            self.edits.iter_mut().for_each(|window| window.note(at));
        }
    }

    /// Returns its first message and its first edit and when each turn comes; nothing while one is busy.
    pub(super) fn turns(&self, now: WallTime) -> Vec<(Turn, WallTime)> {
        if self.busy.is_some() {
            return Vec::new();
        }
        let paced = self.windows.iter().map(|window| window.opens(now)).max().unwrap_or(now).max(self.rest.ends(now));
        let message = self.pending.iter().find(|(_, pending)| !self.awaits_first(pending));
        let message = message.map(|(place, _)| (Turn::Message(*place), paced));
        let edits_open = self.edits.as_ref().map_or(now, |window| window.opens(now)).max(paced);
        let edits = self.threads.iter().filter_map(|(id, thread)| {
            let at = if thread.is_stale(now) { now } else { thread.due()?.max(edits_open) };
            Some((Turn::Edit(*id), at))
        });
        message.into_iter().chain(edits.min_by_key(|(_, at)| *at)).collect()
    }

    /// A reply follows what it replies to.
    fn awaits_first(&self, pending: &Pending) -> bool {
        let thread = pending.intent.replies_to().and_then(|thread| self.threads.get(&thread));
        thread.is_some_and(|thread| thread.first == First::Waits)
    }

    /// Returns the message that a reply of this thread refers to.
    pub(super) fn first_of(&self, thread: Option<Id>) -> Option<MessageId> {
        match thread.and_then(|thread| self.threads.get(&thread))?.first {
            First::Sent(message) => Some(message),
            First::Waits | First::Unknown => None,
        }
    }

    pub(super) fn place_of(&self, id: Id) -> Option<Place> {
        self.pending.iter().find(|(_, pending)| pending.intent.id() == id).map(|(place, _)| *place)
    }

    /// Removes a message that is finished.
    pub(super) fn finish(&mut self, id: Id) -> Option<Intent> {
        let place = self.place_of(id)?;
        self.busy.take_if(|busy| *busy == Turn::Message(place));
        let finished = self.pending.remove(&place).map(|pending| pending.intent);
        if self.pending.is_empty() {
            // An emptied map keeps its places, which are large.
            self.pending = BTreeMap::new();
        }
        finished
    }

    /// Begins a thread with its first message. Beyond the bound the oldest no longer grows.
    pub(super) fn begin(&mut self, id: Id, thread: Thread) {
        // What was silent for longer is told anew, and a new thread shows that time passes.
        let lately = |other: &Thread| thread.edited().as_millis() - other.edited().as_millis() < millis(THREAD_AGE);
        self.threads.retain(|_, other| lately(other));
        self.threads.insert(id, Box::new(thread));
        if self.threads.len() > THREADS_MAX {
            let others = self.threads.iter().filter(|(other, _)| **other != id);
            if let Some(oldest) = others.min_by_key(|(_, thread)| thread.edited()).map(|(oldest, _)| *oldest) {
                self.threads.remove(&oldest);
            }
        }
    }

    /// Notes what became of the first message about an alert: the id to change it by, or that there is none.
    pub(super) fn note_first(&mut self, alert: Id, first: Option<First>) {
        match first {
            Some(first) => {
                for thread in self.threads.values_mut().filter(|thread| thread.alert == alert) {
                    thread.first = first;
                    if first == First::Unknown {
                        thread.next = None;
                    }
                }
            }
            None => self.threads.retain(|_, thread| thread.alert != alert),
        }
    }

    /// Returns the thread of what a delivery changed: the one that was to show it, else the last one of its base and kind,
    /// of which there may be several.
    pub(super) fn thread_of(&self, delivery: &Delivery) -> Option<Id> {
        let shows = self.threads.iter().find(|(_, thread)| thread.awaits(delivery.alert));
        let of_base = || self.threads.iter().filter(|(_, thread)| thread.is_of(delivery));
        shows.or_else(|| of_base().max_by_key(|(_, thread)| thread.edited())).map(|(id, _)| *id)
    }

    /// Returns the oldest message of the lowest class that is not busy.
    pub(super) fn least(&self) -> Option<Place> {
        let idle = || self.pending.keys().filter(|place| Some(Turn::Message(**place)) != self.busy);
        let (lowest, _) = *idle().next_back()?;
        idle().find(|(class, _)| *class == lowest).copied()
    }

    /// Goes on with what waited under an earlier id of the same chat.
    pub(super) fn inherit(&mut self, earlier: Self) {
        self.pending.extend(earlier.pending);
        for (id, thread) in earlier.threads {
            self.threads.entry(id).or_insert(thread);
        }
        self.topic = self.topic.or(earlier.topic);
    }
}
