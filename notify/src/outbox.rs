//! Which delivery is due when: a state machine over the ledger, without I/O and without a clock.

mod queue;
mod window;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use schemas::{
    delivery::{Delivery, LedgerEvent, Outcome},
    id::Id,
};

use crate::{
    caps::{ATTEMPTS_MAX, BACKOFF, FINISHED_MAX, IN_FLIGHT_MAX, PENDING_MAX, UNAUTHORIZED_REST},
    decide::Market,
    failure::{Failure, MessageId},
    recent::Recent,
    recipient::Recipient,
    text::Text,
    time::{WallTime, millis},
};
use queue::{Pending, Place, Queue, failed};
use window::{Rest, Window};

/// How the outbox sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Live or recorded.
    pub market: Market,
    /// Messages a second over all chats: [`crate::caps::OVERALL_LIMIT`], or [`crate::caps::OVERALL_LIMIT_SHARED`].
    pub overall_limit: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this event in DELIVERIES, on the recipient's subject, and give it to [`Outbox::handle_event`].
    ///
    /// An [`Outcome::Attempt`] or [`Outcome::Deferred`] is stored with the subject's expected last sequence: a refusal
    /// means that another sender is at work, whose open attempt nobody else may close. Then drop this outbox, and fold the ledger anew before sending again.
    Record(Delivery),
    /// Make this call and give its result to [`Outbox::handle_result`].
    Send(Call),
}

/// One call, whose attempt is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose delivery it is.
    pub recipient: Recipient,
    /// Where to send it: the recipient, or where a migrated group is now.
    pub to: Recipient,
    /// The alert it is about.
    pub alert: Id,
    /// Which attempt it is, counted from 1.
    pub number: u32,
    /// What to send.
    pub text: Text,
}

/// Decides which delivery is due when.
///
/// Give every event of DELIVERIES to [`Self::handle_event`], in order and once, this outbox's own records included. While
/// this process may send: [`Self::poll`] until it returns nothing, carry out each action, and call it again after every
/// event and result and at [`Self::poll_timeout`]. At most one record is outstanding at a time; calls overlap.
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    queues: BTreeMap<Recipient, Queue>,
    /// Unfinished deliveries in all queues.
    pending: usize,
    /// Intents taken in so far.
    order: u64,
    overall: Window,
    /// Nothing is sent until then: the token was refused.
    rest: Rest,
    /// The record handed out, until its event comes back.
    outstanding: Option<Delivery>,
    /// What came of calls, to be recorded.
    results: VecDeque<Delivery>,
    /// Recorded attempts whose calls are to be made.
    calls: VecDeque<Call>,
    finished: Recent<(Id, Recipient)>,
}

impl Outbox {
    /// Returns an outbox that knows nothing of the ledger yet.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            queues: BTreeMap::new(),
            pending: 0,
            order: 0,
            overall: Window::new(config.overall_limit, Duration::from_secs(1)),
            rest: Rest::NONE,
            outstanding: None,
            results: VecDeque::new(),
            calls: VecDeque::new(),
            finished: Recent::new(FINISHED_MAX),
        }
    }

    /// Returns how many deliveries are not finished.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Takes in a stored event of the ledger.
    pub fn handle_event(&mut self, event: &LedgerEvent) {
        let delivery = match event {
            LedgerEvent::Delivery(delivery) => delivery,
            LedgerEvent::Decision(_) => return,
        };
        // A channel of a newer program is not ours to send.
        let Some(recipient) = Recipient::from_ledger(&delivery.channel, &delivery.recipient) else { return };
        let ours = self.outstanding.take_if(|outstanding| outstanding == delivery).is_some();
        let at = WallTime::from_millis(delivery.at);
        match &delivery.outcome {
            Outcome::Intent { .. } => self.queue_up(delivery, recipient),
            Outcome::Attempt { number } => self.attempted(delivery.alert, *number, recipient, at, ours),
            Outcome::Deferred { wait_ms, .. } => {
                let Some(queue) = self.queues.get_mut(&recipient) else { return };
                queue.rest = Rest::new(at, Duration::from_millis(*wait_ms));
                let Some(place) = queue.place_of(delivery.alert) else { return };
                if let Some(pending) = queue.pending.get_mut(&place) {
                    pending.open = false;
                }
                queue.busy.take_if(|busy| *busy == place);
            }
            Outcome::Limited { .. } | Outcome::Expired { .. } | Outcome::Sent { .. } | Outcome::Failed { .. } => {
                self.finish(delivery.alert, recipient);
            }
        }
    }

    fn queue_up(&mut self, intent: &Delivery, recipient: Recipient) {
        let key = (intent.alert, recipient);
        if self.finished.contains(&key) {
            return;
        }
        let (alert, recipient) = key;
        let queue = self.queues.entry(recipient).or_insert_with_key(Queue::new);
        if queue.place_of(alert).is_none() {
            self.order += 1;
            self.pending += 1;
            queue.pending.insert((Reverse(intent.priority), self.order), Pending::new(intent.clone()));
        }
    }

    /// Folds an attempt: a call of our own is made, the result of any other is unknown.
    fn attempted(&mut self, alert: Id, number: u32, recipient: Recipient, at: WallTime, ours: bool) {
        let Some(queue) = self.queues.get_mut(&recipient) else { return };
        queue.note(at);
        match recipient {
            Recipient::Telegram(_) => self.overall.note(at),
            Recipient::Terminal => {}
        }
        let Some(pending) = queue.place_of(alert).and_then(|place| queue.pending.get_mut(&place)) else { return };
        pending.attempts = number;
        pending.repeated |= pending.open;
        pending.open = true;
        if ours {
            let to = queue.moved.clone().map_or_else(|| recipient.clone(), Recipient::Telegram);
            let text = pending.text(&recipient);
            self.calls.push_back(Call { recipient, to, alert, number, text });
        } else {
            queue.rest = Rest::new(at, backoff(number));
        }
    }

    fn finish(&mut self, alert: Id, recipient: Recipient) {
        if let Some(queue) = self.queues.get_mut(&recipient)
            && let Some(place) = queue.place_of(alert)
        {
            queue.pending.remove(&place);
            queue.busy.take_if(|busy| *busy == place);
            self.pending -= 1;
        }
        self.finished.insert((alert, recipient));
    }

    /// Returns what is to be done now. Calls come first, then records; nothing new while a record is outstanding.
    pub fn poll(&mut self, now: WallTime) -> Option<Action> {
        if let Some(call) = self.calls.pop_front() {
            return Some(Action::Send(call));
        }
        if self.outstanding.is_some() {
            return None;
        }
        let record = self.results.pop_front().or_else(|| self.overflow(now)).or_else(|| self.next(now))?;
        self.outstanding = Some(record.clone());
        Some(Action::Record(record))
    }

    /// Over the bound the least of all deliveries is given up.
    fn overflow(&self, now: WallTime) -> Option<Delivery> {
        if self.pending <= PENDING_MAX {
            return None;
        }
        let least = self.queues.values().filter_map(|queue| queue.least().map(|place| (place, queue)));
        let (place, queue) = least.min_by_key(|((Reverse(priority), order), _)| (*priority, *order))?;
        let pending = queue.pending.get(&place)?;
        Some(pending.event(Outcome::Failed { reason: "failed:overflow".to_owned() }, now))
    }

    /// Returns the next event of the first delivery whose turn it is.
    fn next(&mut self, now: WallTime) -> Option<Delivery> {
        let (recipient, place, _) = self.turns(now).filter(|(.., at)| *at <= now).min_by_key(|(_, place, _)| *place)?;
        let recipient = recipient.clone();
        let queue = self.queues.get_mut(&recipient)?;
        let pending = queue.pending.get(&place)?;
        queue.busy = Some(place);
        Some(pending.event(pending.next(self.config.market, now), now))
    }

    /// Returns the next delivery of each recipient that may have one, and when its turn is.
    fn turns(&self, now: WallTime) -> impl Iterator<Item = (&Recipient, Place, WallTime)> {
        let in_flight = self.queues.values().filter(|queue| queue.busy.is_some()).count();
        let queues = if in_flight < IN_FLIGHT_MAX { Some(&self.queues) } else { None };
        let overall = self.overall.opens(now).max(self.rest.ends(now));
        queues.into_iter().flatten().filter_map(move |(recipient, queue)| {
            let (place, at) = queue.turn(now)?;
            let at = match recipient {
                Recipient::Telegram(_) => at.max(overall),
                Recipient::Terminal => at,
            };
            Some((recipient, place, at))
        })
    }

    /// Returns when [`Self::poll`] has something again; nothing while only an event or a result can change that.
    pub fn poll_timeout(&self, now: WallTime) -> Option<WallTime> {
        if !self.calls.is_empty() {
            return Some(now);
        }
        if self.outstanding.is_some() {
            return None;
        }
        if !self.results.is_empty() || self.pending > PENDING_MAX {
            return Some(now);
        }
        self.turns(now).map(|(.., at)| at).min()
    }

    /// Takes in what came of a call: the message's id, if its channel has one, or what went wrong.
    pub fn handle_result(&mut self, call: &Call, result: Result<Option<MessageId>, Failure>, now: WallTime) {
        let Some(queue) = self.queues.get_mut(&call.recipient) else { return };
        let Some(place) = queue.place_of(call.alert) else { return };
        let Some(pending) = queue.pending.get_mut(&place) else { return };
        let failure = match result {
            Ok(id) => {
                let outcome = Outcome::Sent { message_id: id.map(|MessageId(id)| id) };
                return self.results.push_back(pending.event(outcome, now));
            }
            // Another sender's attempt came after this one: only that it arrived is news.
            Err(failure) if pending.attempts != call.number && failure != Failure::SentIdLost => return,
            Err(failure) => failure,
        };
        let last = pending.attempts >= ATTEMPTS_MAX;
        let wait = match &failure {
            Failure::SentIdLost => {
                return self.results.push_back(pending.event(Outcome::Sent { message_id: None }, now));
            }
            Failure::Ambiguous if pending.may_repeat() => {
                // Nothing is known that could be recorded: the open attempt says so.
                queue.rest = Rest::new(now, backoff(pending.attempts));
                queue.busy = None;
                return;
            }
            Failure::RetryAfter(wait) => {
                queue.rest = Rest::new(now, *wait);
                (!last).then_some(*wait)
            }
            Failure::NotSent => (!last).then(|| backoff(pending.attempts)),
            Failure::Migrated(chat) => {
                queue.moved = Some(chat.clone());
                (!last).then_some(Duration::ZERO)
            }
            Failure::Unparseable | Failure::TooLong => {
                let first = !pending.fallback;
                pending.fallback = true;
                (first && !last).then_some(Duration::ZERO)
            }
            Failure::Unauthorized => {
                self.rest = Rest::new(now, UNAUTHORIZED_REST);
                None
            }
            Failure::Ambiguous | Failure::Refused(_) => None,
        };
        let outcome = wait.map_or_else(
            || failed(&failure),
            |wait| Outcome::Deferred {
                reason: failure.reason().to_owned(),
                wait_ms: u64::try_from(millis(wait)).unwrap_or(0),
            },
        );
        self.results.push_back(pending.event(outcome, now));
    }
}

/// Returns the wait after an attempt.
fn backoff(attempt: u32) -> Duration {
    let index = usize::try_from(attempt).unwrap_or(usize::MAX).saturating_sub(1);
    BACKOFF[index.min(BACKOFF.len() - 1)]
}

#[cfg(test)]
mod tests;
