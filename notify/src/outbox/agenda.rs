//! The queues of all recipients, and whose turn is next: kept in order, for ten thousand may wait at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    item::{Class, Place},
    queue::{Queue, Turn},
};
use crate::{recipient::Recipient, time::WallTime};

/// Turns that share limits over all queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// No limits.
    Unlimited,
    Messages,
    Edits,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Unlimited, Self::Messages, Self::Edits];

    const fn of(recipient: &Recipient, turn: Turn) -> Self {
        match (recipient, turn.class()) {
            (Recipient::Terminal | Recipient::Null, _) => Self::Unlimited,
            (Recipient::Telegram(_), Class::Edit) => Self::Edits,
            (Recipient::Telegram(_), Class::Answer | Class::New(_) | Class::Digest | Class::Picture) => Self::Messages,
        }
    }
}

/// Every queue, and the turns of those in which something waits.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queues: BTreeMap<Recipient, Queue>,
    /// Queues that may have other turns than are known here.
    touched: BTreeSet<Recipient>,
    /// The turns of each queue that are known here: at most one message and one edit.
    turns: BTreeMap<Recipient, Vec<(Turn, WallTime)>>,
    /// Turns that have come, by place.
    due: BTreeMap<Lane, BTreeSet<(Place, Recipient, Turn)>>,
    /// Turns that come later, by time.
    later: BTreeMap<Lane, BTreeSet<(WallTime, Recipient, Turn)>>,
    /// The last moment it was looked at.
    now: Option<WallTime>,
}

impl Agenda {
    /// Returns an agenda without queues.
    pub(super) const fn new() -> Self {
        Self {
            queues: BTreeMap::new(),
            touched: BTreeSet::new(),
            turns: BTreeMap::new(),
            due: BTreeMap::new(),
            later: BTreeMap::new(),
            now: None,
        }
    }

    pub(super) fn get(&self, recipient: &Recipient) -> Option<&Queue> {
        self.queues.get(recipient)
    }

    /// Returns a queue to be changed.
    pub(super) fn get_mut(&mut self, recipient: &Recipient) -> Option<&mut Queue> {
        let queue = self.queues.get_mut(recipient)?;
        self.touched.insert(recipient.clone());
        Some(queue)
    }

    /// Returns a queue to be changed, which is there from then on.
    pub(super) fn get_or_new(&mut self, recipient: &Recipient) -> &mut Queue {
        self.touched.insert(recipient.clone());
        self.queues.entry(recipient.clone()).or_insert_with_key(Queue::new)
    }

    pub(super) fn remove(&mut self, recipient: &Recipient) -> Option<Queue> {
        self.touched.insert(recipient.clone());
        self.queues.remove(recipient)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// Changes every queue for which `change` returns true.
    pub(super) fn change(&mut self, mut change: impl FnMut(&Recipient, &mut Queue) -> bool) {
        let changed =
            self.queues.iter_mut().filter_map(|(recipient, queue)| change(recipient, queue).then_some(recipient));
        self.touched.extend(changed.cloned());
    }

    /// Returns whose turn is next in the lanes that are open: of what is due the first by class, then in the order of the
    /// ledger; of edits the one that waited longest.
    pub(super) fn next(&mut self, now: WallTime, is_open: impl Fn(Lane) -> bool) -> Option<(Recipient, Turn)> {
        self.look(now);
        let open = self.due.iter().filter(|(lane, _)| is_open(**lane));
        let (_, recipient, turn) = open.filter_map(|(_, turns)| turns.first()).min()?;
        Some((recipient.clone(), *turn))
    }

    /// Returns when the next turn comes, given when each lane opens.
    pub(super) fn comes(&mut self, now: WallTime, opens: impl Fn(Lane) -> WallTime) -> Option<WallTime> {
        self.look(now);
        let first = |lane: &Lane| {
            let is_due = self.due.get(lane).is_some_and(|turns| !turns.is_empty());
            let later = || self.later.get(lane).and_then(BTreeSet::first).map(|(at, ..)| *at);
            if is_due { Some(now) } else { later() }
        };
        Lane::ALL.iter().filter_map(|lane| Some(first(lane)?.max(opens(*lane)))).min()
    }

    /// Learns the turns of the queues that were touched, and which turns have come.
    fn look(&mut self, now: WallTime) {
        // A clock set back ends every wait that began after it.
        if self.now.is_some_and(|before| now < before) {
            self.touched.extend(self.turns.keys().cloned());
        }
        self.now = Some(now);
        for recipient in std::mem::take(&mut self.touched) {
            self.forget(&recipient);
            let turns = self.queues.get(&recipient).map(|queue| queue.turns(now)).unwrap_or_default();
            for (turn, at) in &turns {
                let lane = Lane::of(&recipient, *turn);
                self.later.entry(lane).or_default().insert((*at, recipient.clone(), *turn));
            }
            if !turns.is_empty() {
                self.turns.insert(recipient, turns);
            }
        }
        for (lane, later) in &mut self.later {
            while later.first().is_some_and(|(at, ..)| *at <= now) {
                let Some((at, recipient, turn)) = later.pop_first() else { break };
                self.due.entry(*lane).or_default().insert((turn.place(at), recipient, turn));
            }
        }
    }

    fn forget(&mut self, recipient: &Recipient) {
        for (turn, at) in self.turns.remove(recipient).unwrap_or_default() {
            let lane = Lane::of(recipient, turn);
            if let Some(due) = self.due.get_mut(&lane) {
                due.remove(&(turn.place(at), recipient.clone(), turn));
            }
            if let Some(later) = self.later.get_mut(&lane) {
                later.remove(&(at, recipient.clone(), turn));
            }
        }
    }
}
