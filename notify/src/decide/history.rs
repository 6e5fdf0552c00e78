//! What one recipient was told: a fold of the ledger.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use schemas::{
    alert::{Kind, Priority},
    delivery::{Delivery, Note, Outcome, Topic},
    id::Id,
    name::Base,
    time::EventTime,
};

use super::{Held, Market};
use crate::{
    caps::{DIGEST_AFTER, DIGEST_DELAY, HELD_AGE, HOUR, HOURLY, RATE_LIMIT_MAX, REPLY_AFTER, THREAD_AGE, THREADS_MAX},
    failure::Failure,
    time::{WallTime, millis},
};

/// What one recipient was told, in the stored order of the ledger. Times are the clock of decisions: the largest event
/// time decided so far; it never goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The new messages of the last hour, oldest first, without those that certainly never arrived.
    told: VecDeque<Told>,
    /// Boxed: a map allocates places for eleven, and there may be ten thousand chats with one thread each.
    threads: BTreeMap<Id, Box<Thread>>,
    held: Held,
    /// What the last digest names, until it is known what came of it.
    telling: Option<(Id, Held)>,
    /// When the last digest was made, on the clock of digests.
    digested: Option<i64>,
}

/// A new message: a first one, or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    alert: Id,
    base: Base,
    kind: Kind,
    thread: Option<Id>,
    reply: bool,
    /// The clock when it was decided.
    at: EventTime,
}

/// The messages about one running thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    /// The alert of its first message.
    first: Id,
    base: Base,
    kind: Kind,
    /// The clock at its last message or edit.
    seen: EventTime,
}

impl History {
    /// Takes in what happened between an alert and this recipient; `clock` includes the alert.
    pub fn apply(&mut self, delivery: &Delivery, clock: EventTime, market: Market) {
        let stamp = stamp(market, clock, delivery.at);
        match &delivery.outcome {
            Outcome::Intent { thread, reply, .. } => self.intend(delivery, *thread, *reply, clock),
            Outcome::Limited { .. } => self.held.add(delivery, None, stamp),
            Outcome::Expired { age_ms } => {
                self.held.add(delivery, Some(*age_ms), stamp);
                self.forget(delivery.alert);
            }
            // Nobody knows whether it arrived: it counts, but it cannot be edited.
            Outcome::Failed { reason } if is_ambiguous(reason) => self.forget_thread(delivery.alert),
            Outcome::Failed { .. } => self.forget(delivery.alert),
            Outcome::Edited { .. } => {
                for thread in self.threads.values_mut().filter(|thread| thread.is_of(delivery)) {
                    thread.seen = clock;
                }
            }
            Outcome::Gone { .. } => self.threads.retain(|_, thread| !thread.is_of(delivery)),
            Outcome::Attempt { .. } | Outcome::Deferred { .. } | Outcome::Sent { .. } => {}
        }
    }

    fn intend(&mut self, delivery: &Delivery, thread: Option<Id>, reply: bool, clock: EventTime) {
        let age = |time: EventTime| clock.millis_since(time);
        let (alert, base, kind) = (delivery.alert, delivery.base.clone(), delivery.kind);
        self.told.retain(|told| age(told.at) < millis(HOUR.max(RATE_LIMIT_MAX)));
        self.told.push_back(Told { alert, base: base.clone(), kind, thread, reply, at: clock });
        let Some(id) = thread else { return };
        if reply {
            if let Some(thread) = self.threads.get_mut(&id) {
                thread.seen = clock;
            }
            return;
        }
        self.threads.retain(|_, thread| age(thread.seen) < millis(THREAD_AGE));
        self.threads.insert(id, Box::new(Thread { first: alert, base, kind, seen: clock }));
        if self.threads.len() > THREADS_MAX
            && let Some((oldest, _)) = self.threads.iter().min_by_key(|(_, thread)| thread.seen)
        {
            let oldest = *oldest;
            self.threads.remove(&oldest);
        }
    }

    /// A message that never arrived was told to nobody: it fills no place, and the next one is a first message again.
    fn forget(&mut self, alert: Id) {
        self.told.retain(|told| told.alert != alert);
        self.forget_thread(alert);
    }

    /// Without its first message a thread has none that could be edited or replied to.
    fn forget_thread(&mut self, alert: Id) {
        self.threads.retain(|_, thread| thread.first != alert);
    }

    /// Takes in what happened to another message to this recipient.
    pub fn apply_note(&mut self, note: &Note, market: Market) {
        let Topic::Digest { event_time, .. } = &note.topic else { return };
        let stamp = stamp(market, *event_time, note.at);
        match &note.outcome {
            Outcome::Intent { .. } => {
                self.digested = Some(stamp);
                self.telling = Some((note.id, std::mem::take(&mut self.held)));
            }
            Outcome::Expired { .. } => self.hold_again(note.id, stamp),
            Outcome::Failed { reason } if !is_ambiguous(reason) => self.hold_again(note.id, stamp),
            Outcome::Failed { .. } | Outcome::Sent { .. } => {
                self.telling.take_if(|(id, _)| *id == note.id);
            }
            Outcome::Limited { .. }
            | Outcome::Attempt { .. }
            | Outcome::Deferred { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => {}
        }
    }

    /// What a digest named that never arrived is held again, while it is news.
    fn hold_again(&mut self, digest: Id, stamp: i64) {
        if let Some((_, named)) = self.telling.take_if(|(id, _)| *id == digest)
            && stamp.saturating_sub(named.since) < millis(HELD_AGE)
        {
            self.held.add_earlier(named, digest);
        }
    }

    /// Goes on with what was told under an earlier id of the same chat.
    pub(crate) fn inherit(&mut self, earlier: Self) {
        self.told.extend(earlier.told);
        self.told.make_contiguous().sort_by_key(|told| told.at);
        for (id, thread) in earlier.threads {
            self.threads.entry(id).or_insert(thread);
        }
        if self.held.first.is_none() {
            self.held = earlier.held;
        }
        self.telling = self.telling.take().or(earlier.telling);
        self.digested = self.digested.max(earlier.digested);
    }

    /// Returns whether the recipient has a message of the thread that can grow.
    pub(crate) fn has_thread(&self, thread: Id, clock: EventTime) -> bool {
        self.threads.get(&thread).is_some_and(|thread| clock.millis_since(thread.seen) < millis(THREAD_AGE))
    }

    /// Returns whether another reply of the thread comes too soon.
    pub(super) fn replied_lately(&self, thread: Id, clock: EventTime) -> bool {
        self.told_since(clock, REPLY_AFTER).any(|told| told.reply && told.thread == Some(thread))
    }

    /// Returns whether the recipient was told of the base and kind within `span`.
    pub(super) fn told_within(&self, base: &Base, kind: Kind, clock: EventTime, span: Duration) -> bool {
        self.told_since(clock, span).any(|told| !told.reply && told.base == *base && told.kind == kind)
    }

    /// Returns whether the recipient was told of the base within `span`.
    pub(super) fn told_of_base_within(&self, base: &Base, clock: EventTime, span: Duration) -> bool {
        self.told_since(clock, span).any(|told| !told.reply && told.base == *base)
    }

    /// Returns whether the hour has no place left for this priority.
    pub(super) fn is_full(&self, priority: Priority, clock: EventTime) -> bool {
        let [low, medium, high] = HOURLY;
        let places = match priority {
            Priority::Low => low,
            Priority::Medium => medium,
            Priority::High => high,
        };
        self.told_since(clock, HOUR).count() >= places
    }

    fn told_since(&self, clock: EventTime, span: Duration) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| clock.millis_since(told.at) < millis(span))
    }

    /// Returns what a digest is to tell, when one is due on the clock of digests.
    pub(crate) fn due(&self, clock: EventTime, now: WallTime, market: Market) -> Option<&Held> {
        let stamp = stamp(market, clock, now.as_millis());
        let waited = stamp.saturating_sub(self.held.since) >= millis(DIGEST_DELAY);
        let apart = self.digested.is_none_or(|last| stamp.saturating_sub(last) >= millis(DIGEST_AFTER));
        (self.held.first.is_some() && waited && apart).then_some(&self.held)
    }

    /// Returns whether something is held.
    pub(crate) const fn holds(&self) -> bool {
        self.held.first.is_some()
    }
}

impl Thread {
    fn is_of(&self, delivery: &Delivery) -> bool {
        self.kind == delivery.kind && self.base == delivery.base
    }
}

fn is_ambiguous(reason: &str) -> bool {
    reason.strip_prefix("failed:") == Some(Failure::Ambiguous.reason())
}

/// The clock of digests, in milliseconds: this host's, as what is told at the end of quiet hours follows people's day; in
/// a recorded market, whose hours pass at another speed, the one of decisions.
const fn stamp(market: Market, clock: EventTime, wall_ms: i64) -> i64 {
    match market {
        Market::Live => wall_ms,
        Market::Recorded => clock.as_millis(),
    }
}
