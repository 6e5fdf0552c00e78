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

use super::Market;
use crate::{
    caps::{DIGEST_AFTER, DIGEST_DELAY, HELD_MAX, HOUR, HOURLY, RATE_LIMIT_MAX, REPLY_AFTER, THREAD_AGE, THREADS_MAX},
    time::{WallTime, millis},
};

/// What one recipient was told, in the stored order of the ledger. Times are the clock of decisions: the largest event
/// time decided so far; it never goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// For each base and kind the clock when a first message was last to be sent.
    told: BTreeMap<(Base, Kind), EventTime>,
    /// The clock at every new message of the last hour.
    sent: VecDeque<EventTime>,
    threads: BTreeMap<Id, Thread>,
    held: Held,
    /// When the last digest was made, on the clock of digests.
    digested: Option<i64>,
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
    replied: Option<EventTime>,
}

/// What was held since the last digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// By base and kind.
    pub(crate) parts: BTreeMap<(Base, Kind), Part>,
    /// How many beyond [`HELD_MAX`] pairs.
    pub(crate) more: u32,
    /// The first of them.
    pub(crate) first: Option<Id>,
    /// When the first was held, on the clock of digests.
    since: i64,
}

/// What was held of one base and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) count: u32,
    /// The largest age of those that expired, in milliseconds.
    pub(crate) late_ms: Option<i64>,
}

impl Held {
    /// Returns how many alerts were held.
    pub(crate) fn count(&self) -> u32 {
        self.parts.values().map(|part| part.count).sum::<u32>().saturating_add(self.more)
    }
}

impl History {
    /// Takes in what happened between an alert and this recipient; `clock` includes the alert.
    pub fn apply(&mut self, delivery: &Delivery, clock: EventTime, market: Market) {
        let stamp = stamp(market, clock, delivery.at);
        match &delivery.outcome {
            Outcome::Intent { thread, reply, .. } => self.intend(delivery, *thread, *reply, clock),
            Outcome::Limited { .. } => self.hold(delivery, None, stamp),
            Outcome::Expired { age_ms } => {
                self.hold(delivery, Some(*age_ms), stamp);
                self.forget_first(delivery.alert);
            }
            Outcome::Failed { .. } => self.forget_first(delivery.alert),
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
        let age = |time: &EventTime| clock.millis_since(*time);
        self.sent.retain(|sent| age(sent) < millis(HOUR));
        self.sent.push_back(clock);
        let (base, kind) = (delivery.base.clone(), delivery.kind);
        if reply {
            if let Some(thread) = thread.and_then(|thread| self.threads.get_mut(&thread)) {
                (thread.seen, thread.replied) = (clock, Some(clock));
            }
            return;
        }
        self.told.retain(|_, told| age(told) < millis(RATE_LIMIT_MAX));
        self.told.insert((base.clone(), kind), clock);
        let Some(id) = thread else { return };
        self.threads.retain(|_, thread| age(&thread.seen) < millis(THREAD_AGE));
        self.threads.insert(id, Thread { first: delivery.alert, base, kind, seen: clock, replied: None });
        if self.threads.len() > THREADS_MAX
            && let Some((oldest, _)) = self.threads.iter().min_by_key(|(_, thread)| thread.seen)
        {
            let oldest = *oldest;
            self.threads.remove(&oldest);
        }
    }

    fn hold(&mut self, delivery: &Delivery, late_ms: Option<i64>, stamp: i64) {
        let held = &mut self.held;
        if held.first.is_none() {
            (held.first, held.since) = (Some(delivery.alert), stamp);
        }
        let key = (delivery.base.clone(), delivery.kind);
        if held.parts.len() >= HELD_MAX && !held.parts.contains_key(&key) {
            held.more = held.more.saturating_add(1);
            return;
        }
        let part = held.parts.entry(key).or_default();
        part.count = part.count.saturating_add(1);
        part.late_ms = part.late_ms.max(late_ms);
    }

    /// A message that never arrived is none that could be edited or replied to.
    fn forget_first(&mut self, alert: Id) {
        self.threads.retain(|_, thread| thread.first != alert);
    }

    /// Takes in what happened to another message to this recipient.
    pub fn apply_note(&mut self, note: &Note, market: Market) {
        if let (Topic::Digest { event_time, .. }, Outcome::Intent { .. }) = (&note.topic, &note.outcome) {
            self.digested = Some(stamp(market, *event_time, note.at));
            self.held = Held::default();
        }
    }

    /// Goes on with what was told under an earlier id of the same chat.
    pub(crate) fn inherit(&mut self, earlier: Self) {
        for (key, told) in earlier.told {
            let known = self.told.entry(key).or_insert(told);
            *known = told.max(*known);
        }
        self.sent.extend(earlier.sent);
        self.sent.make_contiguous().sort_unstable();
        for (id, thread) in earlier.threads {
            self.threads.entry(id).or_insert(thread);
        }
        if self.held.first.is_none() {
            self.held = earlier.held;
        }
        self.digested = self.digested.max(earlier.digested);
    }

    /// Returns whether the recipient has a message of the thread that can grow.
    pub(crate) fn has_thread(&self, thread: Id, clock: EventTime) -> bool {
        self.threads.get(&thread).is_some_and(|thread| clock.millis_since(thread.seen) < millis(THREAD_AGE))
    }

    /// Returns whether another reply of the thread comes too soon.
    pub(super) fn replied_lately(&self, thread: Id, clock: EventTime) -> bool {
        let replied = self.threads.get(&thread).and_then(|thread| thread.replied);
        replied.is_some_and(|replied| clock.millis_since(replied) < millis(REPLY_AFTER))
    }

    /// Returns whether the recipient was told of the base and kind within `span`.
    pub(super) fn told_within(&self, base: &Base, kind: Kind, clock: EventTime, span: Duration) -> bool {
        let told = self.told.get(&(base.clone(), kind));
        told.is_some_and(|told| clock.millis_since(*told) < millis(span))
    }

    /// Returns whether the recipient was told of the base within `span`.
    pub(super) fn told_of_base_within(&self, base: &Base, clock: EventTime, span: Duration) -> bool {
        let mut of_base = self.told.iter().filter(|((told, _), _)| told == base);
        of_base.any(|(_, told)| clock.millis_since(*told) < millis(span))
    }

    /// Returns whether the hour has no place left for this priority.
    pub(super) fn is_full(&self, priority: Priority, clock: EventTime) -> bool {
        let [low, medium, high] = HOURLY;
        let places = match priority {
            Priority::Low => low,
            Priority::Medium => medium,
            Priority::High => high,
        };
        self.sent.iter().filter(|sent| clock.millis_since(**sent) < millis(HOUR)).count() >= places
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

/// The clock of digests, in milliseconds: this host's, as what is told at the end of quiet hours follows people's day; in
/// a recorded market, whose hours pass at another speed, the one of decisions.
const fn stamp(market: Market, clock: EventTime, wall_ms: i64) -> i64 {
    match market {
        Market::Live => wall_ms,
        Market::Recorded => clock.as_millis(),
    }
}
