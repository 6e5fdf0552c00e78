//! Which message is due when: a state machine over the ledger, without I/O and without a clock.

mod agenda;
mod item;
mod queue;
mod result;
mod thread;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use schemas::{
    delivery::{Delivery, LedgerEvent, Note, Outcome, Topic},
    id::Id,
    subscriber::{Standing, Subscriber},
};

use crate::{
    buttons::Buttons,
    caps::{BACKOFF, DECIDED_MAX, EDIT_LIMIT, FINISHED_MAX, IN_FLIGHT_MAX, MOVES_MAX, PENDING_MAX},
    decide::Market,
    failure::MessageId,
    recent::Recent,
    recipient::{Channel, Recipient},
    text::Text,
    time::WallTime,
};
use agenda::{Agenda, Lane};
use item::{Class, Intent, Pending};
use queue::{Queue, Turn};
use thread::{First, Revision, Thread};
use window::{Even, Rest, Window};

/// How the outbox sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Live or recorded.
    pub market: Market,
    /// Calls a second over all chats: [`crate::caps::OVERALL_LIMIT`], or [`crate::caps::OVERALL_LIMIT_SHARED`].
    pub overall_limit: usize,
    /// Buttons stand under alerts: somebody hears when one is pressed.
    pub buttons: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this event in DELIVERIES and give it to [`Outbox::handle_event`].
    ///
    /// An [`Outcome::Attempt`] or [`Outcome::Deferred`] is stored with the subject's expected last sequence: a refusal
    /// means that another sender is at work, whose open attempt nobody else may close. Then drop this outbox, and fold the
    /// ledger anew before sending again.
    Record(LedgerEvent),
    /// Make this call and give its result to [`Outbox::handle_result`].
    Send(Call),
}

/// One call. That of a message follows the record of its attempt; an edit needs none, for it may be made twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where it goes: whose it is, or where a migrated group is by now.
    pub to: Recipient,
    /// The alert or note it is about.
    pub id: Id,
    /// Which attempt it is, counted from 1; 0 of an edit.
    pub number: u32,
    /// What to do.
    pub what: What,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Sends a message.
    Message {
        /// Its text.
        text: Text,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// The forum topic it goes to.
        forum: Option<i64>,
        /// It makes no sound.
        silent: bool,
        /// What stands under it.
        buttons: Option<Buttons>,
    },
    /// Changes the growing message of a thread.
    Edit {
        /// The message.
        message: MessageId,
        /// Its new text.
        text: Text,
        /// What stands under it; without them they would vanish.
        buttons: Option<Buttons>,
    },
    /// Sends the chart of an alert.
    Picture {
        /// The alert.
        alert: Id,
        /// The message it belongs to.
        reply_to: Option<MessageId>,
        /// The forum topic it goes to.
        forum: Option<i64>,
    },
}

/// Decides which message is due when.
///
/// Give every event of SUBSCRIBERS to [`Self::handle_subscriber`] and every event of DELIVERIES to [`Self::handle_event`],
/// in order and once, this outbox's own records included. While this process may send: [`Self::poll`] until it returns
/// nothing, carry out each action, and call it again after every event and result and at [`Self::poll_timeout`]. At most one
/// record is outstanding at a time; calls overlap.
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    queues: Agenda,
    /// Where groups are by now.
    moves: BTreeMap<Recipient, Recipient>,
    /// Unfinished messages in all queues.
    pending: usize,
    /// Intents taken in so far.
    order: u64,
    in_flight: usize,
    overall: Even,
    edits: Window,
    /// Nothing is sent until then: the Bot API is away, or refuses the token.
    rest: Rest,
    /// Calls in a row that found the Bot API away.
    unreachable: u32,
    /// The record handed out, until its event comes back.
    outstanding: Option<LedgerEvent>,
    /// What came of calls, to be recorded.
    results: VecDeque<LedgerEvent>,
    /// Recorded attempts whose calls are to be made.
    calls: VecDeque<Call>,
    finished: Recent<(Id, Recipient)>,
    /// Alerts whose decision is stored: an intent that comes after it is a late copy.
    decided: Recent<Id>,
}

impl Outbox {
    /// Returns an outbox that knows nothing of the ledger yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            queues: Agenda::new(),
            moves: BTreeMap::new(),
            pending: 0,
            order: 0,
            in_flight: 0,
            overall: Even::new(config.overall_limit),
            edits: Window::new(EDIT_LIMIT, Duration::from_secs(1)),
            rest: Rest::NONE,
            unreachable: 0,
            outstanding: None,
            results: VecDeque::new(),
            calls: VecDeque::new(),
            finished: Recent::new(FINISHED_MAX),
            decided: Recent::new(DECIDED_MAX),
        }
    }

    /// Returns how many messages are not finished.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Takes in a stored event of SUBSCRIBERS.
    pub fn handle_subscriber(&mut self, subscriber: &Subscriber) {
        let Some(recipient) = Recipient::of(subscriber) else { return };
        let at = WallTime::from_millis(subscriber.at);
        let off_since = match &subscriber.standing {
            Standing::Active => None,
            Standing::Unsubscribed | Standing::Off { .. } => Some(at),
            Standing::Moved { to } => return self.relocate(recipient, to),
        };
        let topic = subscriber.preferences.topic;
        if off_since.is_some() || topic.is_some() || self.queues.get(&recipient).is_some() {
            let queue = self.queues.get_or_new(&recipient);
            (queue.off_since, queue.topic) = (off_since, topic);
        }
    }

    fn relocate(&mut self, from: Recipient, to: &str) {
        let Some(to) = Recipient::from_ledger(from.channel().as_str(), to).filter(|to| *to != from) else { return };
        let earlier = self.queues.remove(&from);
        self.moves.insert(from, to.clone());
        if let Some(earlier) = earlier {
            self.in_flight -= usize::from(earlier.busy.is_some());
            self.queues.get_or_new(&to).inherit(earlier);
        }
    }

    /// Returns the recipient of an event as it is by now, or nothing for a channel of a newer program, which is not ours.
    fn recipient(&self, channel: &str, name: &str) -> Option<Recipient> {
        let mut recipient = Recipient::from_ledger(channel, name)?;
        for _ in 0..MOVES_MAX {
            let Some(moved) = self.moves.get(&recipient) else { break };
            recipient = moved.clone();
        }
        Some(recipient)
    }

    /// Takes in a stored event of the ledger.
    pub fn handle_event(&mut self, event: &LedgerEvent) {
        let ours = self.outstanding.take_if(|outstanding| outstanding == event).is_some();
        match event {
            LedgerEvent::Decision(decision) => {
                self.decided.insert(decision.alert);
                if let Some(revision) = Revision::of(decision) {
                    self.revise(&revision);
                }
            }
            LedgerEvent::Delivery(delivery) => self.handle_delivery(delivery, ours),
            LedgerEvent::Note(note) => self.handle_note(note, ours),
            LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => {}
        }
    }

    /// Whoever has a message of the thread is to see the new text.
    fn revise(&mut self, revision: &Arc<Revision>) {
        let left_out =
            |name: &String| [Channel::Terminal, Channel::Telegram].map(|on| self.recipient(on.as_str(), name));
        let except: BTreeSet<Recipient> = revision.except().iter().flat_map(left_out).flatten().collect();
        self.queues.change(|recipient, queue| {
            let thread = queue.threads.get_mut(&revision.thread()).filter(|_| !except.contains(recipient));
            thread.is_some_and(|thread| thread.revise(revision))
        });
    }

    fn handle_delivery(&mut self, delivery: &Delivery, ours: bool) {
        let Some(recipient) = self.recipient(&delivery.channel, &delivery.recipient) else { return };
        let at = WallTime::from_millis(delivery.at);
        match &delivery.outcome {
            Outcome::Intent { text, thread, reply, .. } => {
                if self.decided.contains(&delivery.alert) {
                    return;
                }
                let queued = self.queue_up(Intent::Alert(delivery.clone()), &recipient);
                let begins = thread.filter(|_| queued && !reply);
                if let (Some(thread), Some(queue)) = (begins, self.queues.get_mut(&recipient)) {
                    queue.begin(thread, Thread::new(delivery, text));
                }
            }
            Outcome::Sent { message_id } => {
                let first = message_id.map_or(First::Unknown, |id| First::Sent(MessageId(id)));
                self.note_first(&recipient, delivery.alert, Some(first));
                let intent = self.finish(delivery.alert, &recipient);
                self.follow_with_picture(intent, *message_id, &recipient, at);
            }
            Outcome::Limited { .. } | Outcome::Expired { .. } | Outcome::Failed { .. } => {
                self.note_first(&recipient, delivery.alert, None);
                self.finish(delivery.alert, &recipient);
            }
            Outcome::Edited { .. } => {
                let Some(queue) = self.queues.get_mut(&recipient) else { return };
                let thread = queue.thread_of(delivery);
                if let Some(thread) = thread.and_then(|thread| queue.threads.get_mut(&thread)) {
                    thread.note_edited(delivery.alert, at);
                }
                if !ours {
                    queue.note(Class::Edit, at);
                }
            }
            Outcome::Gone { .. } => {
                if let Some(queue) = self.queues.get_mut(&recipient)
                    && let Some(thread) = queue.thread_of(delivery)
                {
                    queue.threads.remove(&thread);
                }
            }
            Outcome::Attempt { number } => self.attempted(delivery.alert, *number, &recipient, at, ours),
            Outcome::Deferred { .. } => self.deferred(delivery.alert, &recipient, at, &delivery.outcome),
        }
    }

    fn handle_note(&mut self, note: &Note, ours: bool) {
        let Some(recipient) = self.recipient(&note.channel, &note.recipient) else { return };
        let at = WallTime::from_millis(note.at);
        match &note.outcome {
            Outcome::Intent { .. } => {
                self.queue_up(Intent::Note(note.clone()), &recipient);
            }
            Outcome::Attempt { number } => self.attempted(note.id, *number, &recipient, at, ours),
            Outcome::Deferred { .. } => self.deferred(note.id, &recipient, at, &note.outcome),
            Outcome::Sent { .. }
            | Outcome::Limited { .. }
            | Outcome::Expired { .. }
            | Outcome::Failed { .. }
            | Outcome::Edited { .. }
            | Outcome::Gone { .. } => {
                self.finish(note.id, &recipient);
            }
        }
    }

    fn queue_up(&mut self, intent: Intent, recipient: &Recipient) -> bool {
        let id = intent.id();
        if self.finished.contains(&(id, recipient.clone())) {
            return false;
        }
        let queue = self.queues.get_or_new(recipient);
        if queue.place_of(id).is_some() {
            return false;
        }
        self.order += 1;
        self.pending += 1;
        queue.pending.insert((intent.class(), self.order), Pending::new(intent));
        true
    }

    /// A chart follows the message that asked for it, once that is there.
    fn follow_with_picture(
        &mut self,
        intent: Option<Intent>,
        message_id: Option<i64>,
        recipient: &Recipient,
        at: WallTime,
    ) {
        if let Some(Intent::Alert(delivery)) = intent
            && matches!(delivery.outcome, Outcome::Intent { picture: true, .. })
            && message_id.is_some()
        {
            let sent = Delivery { at: at.as_millis(), ..delivery };
            self.queue_up(Intent::picture(&sent), recipient);
        }
    }

    /// Folds an attempt: a call of our own is made, the result of any other is unknown.
    fn attempted(&mut self, id: Id, number: u32, recipient: &Recipient, at: WallTime, ours: bool) {
        let Some(queue) = self.queues.get_mut(recipient) else { return };
        let Some(place) = queue.place_of(id) else { return };
        queue.note(place.0, at);
        match recipient {
            Recipient::Telegram(_) => self.overall.note(at),
            Recipient::Terminal | Recipient::Null => {}
        }
        let Some(pending) = queue.pending.get_mut(&place) else { return };
        pending.attempts = number;
        pending.tried += 1;
        pending.repeated |= pending.open;
        pending.open = true;
        if ours {
            let pending = pending.clone();
            let call = Self::call(&pending, number, recipient, queue, self.config.buttons);
            self.calls.push_back(call);
        } else {
            queue.rest = Rest::new(at, backoff(number));
        }
    }

    fn call(pending: &Pending, number: u32, to: &Recipient, queue: &Queue, has_buttons: bool) -> Call {
        let intent = &pending.intent;
        let topic = intent.note().map(|note| &note.topic);
        let (forum, asked) = match topic {
            Some(Topic::Answer { reply_to, forum, .. }) => (*forum, reply_to.map(MessageId)),
            Some(Topic::Digest { .. } | Topic::Picture { .. } | Topic::Notice { .. } | Topic::Canary { .. }) | None => {
                (queue.topic, None)
            }
        };
        let forum = forum.filter(|_| !pending.topic_gone);
        let what = match topic {
            Some(Topic::Picture { alert }) => {
                let of = queue.threads.iter().find(|(_, thread)| thread.alert == *alert).map(|(id, _)| *id);
                What::Picture { alert: *alert, reply_to: queue.first_of(of), forum }
            }
            Some(Topic::Digest { .. } | Topic::Answer { .. } | Topic::Notice { .. } | Topic::Canary { .. }) | None => {
                What::Message {
                    text: pending.text(to),
                    reply_to: asked.or_else(|| queue.first_of(intent.replies_to())),
                    forum,
                    silent: matches!(topic, Some(Topic::Digest { .. })),
                    buttons: intent.buttons().filter(|_| has_buttons),
                }
            }
        };
        Call { to: to.clone(), id: intent.id(), number, what }
    }

    fn deferred(&mut self, id: Id, recipient: &Recipient, at: WallTime, outcome: &Outcome) {
        let Outcome::Deferred { reason, wait_ms, moved_to } = outcome else { return };
        if let Some(queue) = self.queues.get_mut(recipient) {
            queue.rest = Rest::new(at, Duration::from_millis(*wait_ms));
            if let Some(place) = queue.place_of(id) {
                if let Some(pending) = queue.pending.get_mut(&place) {
                    pending.open = false;
                    // Without a connection, or without a valid token, nothing was tried.
                    if reason == "unreachable" || reason == "unauthorized" {
                        pending.tried = pending.tried.saturating_sub(1);
                    }
                    pending.topic_gone |= reason == "topic_gone";
                    pending.fallback |= reason == "unparseable" || reason == "too_long";
                }
                if queue.busy.take_if(|busy| *busy == Turn::Message(place)).is_some() {
                    self.in_flight -= 1;
                }
            }
        }
        if let Some(to) = moved_to {
            self.relocate(recipient.clone(), to);
        }
    }

    fn note_first(&mut self, recipient: &Recipient, alert: Id, first: Option<First>) {
        if let Some(queue) = self.queues.get_mut(recipient) {
            queue.note_first(alert, first);
        }
    }

    fn finish(&mut self, id: Id, recipient: &Recipient) -> Option<Intent> {
        self.finished.insert((id, recipient.clone()));
        let queue = self.queues.get_mut(recipient)?;
        let was_busy = queue.busy.is_some();
        let intent = queue.finish(id);
        if was_busy && queue.busy.is_none() {
            self.in_flight -= 1;
        }
        self.pending -= usize::from(intent.is_some());
        intent
    }

    /// Returns what is to be done now. Calls come first, then records; nothing new while a record is outstanding.
    pub fn poll(&mut self, now: WallTime) -> Option<Action> {
        if let Some(call) = self.calls.pop_front() {
            return Some(Action::Send(call));
        }
        if self.outstanding.is_some() {
            return None;
        }
        let record = match self.results.pop_front().or_else(|| self.overflow(now)) {
            Some(record) => record,
            None => match self.next(now)? {
                Action::Record(record) => record,
                call @ Action::Send(_) => return Some(call),
            },
        };
        self.outstanding = Some(record.clone());
        Some(Action::Record(record))
    }

    /// Over the bound the least of all messages is given up.
    fn overflow(&self, now: WallTime) -> Option<LedgerEvent> {
        if self.pending <= PENDING_MAX {
            return None;
        }
        let least = self.queues.iter().filter_map(|queue| queue.least().map(|place| (place, queue)));
        let (place, queue) = least.max_by_key(|((class, order), _)| (*class, std::cmp::Reverse(*order)))?;
        let pending = queue.pending.get(&place)?;
        Some(pending.intent.event(Outcome::Failed { reason: "failed:overflow".to_owned() }, now))
    }

    /// Begins what is next: the record of a message's outcome or attempt, or the call of an edit.
    fn next(&mut self, now: WallTime) -> Option<Action> {
        while self.in_flight < IN_FLIGHT_MAX {
            let opens = self.opens(now);
            let (recipient, turn) = self.queues.next(now, |lane| opens(lane) <= now)?;
            let queue = self.queues.get_mut(&recipient)?;
            match turn {
                Turn::Message(place) => {
                    let pending = queue.pending.get(&place)?;
                    let is_off = queue.off_since.is_some_and(|off| pending.intent.at() <= off)
                        && pending.intent.class() != Class::Answer
                        && !pending.open;
                    let outcome = if is_off {
                        Outcome::Failed { reason: "failed:off".to_owned() }
                    } else {
                        pending.next(self.config.market, now)
                    };
                    let event = pending.intent.event(outcome, now);
                    (queue.busy, self.in_flight) = (Some(turn), self.in_flight + 1);
                    return Some(Action::Record(event));
                }
                Turn::Edit(id) => {
                    if let Some(call) = self.edit(&recipient, id, now) {
                        return Some(Action::Send(call));
                    }
                }
            }
        }
        None
    }

    /// Begins an edit; drops one that nobody waits for any more, or that the channel cannot make.
    fn edit(&mut self, recipient: &Recipient, id: Id, now: WallTime) -> Option<Call> {
        let queue = self.queues.get_mut(recipient)?;
        let thread = queue.threads.get_mut(&id)?;
        let is_made = !thread.is_stale(now) && *recipient != Recipient::Terminal;
        let (Some(revision), First::Sent(message), true) = (thread.make(), thread.first, is_made) else {
            thread.next = None;
            return None;
        };
        (queue.busy, self.in_flight) = (Some(Turn::Edit(id)), self.in_flight + 1);
        queue.note(Class::Edit, now);
        self.overall.note(now);
        self.edits.note(now);
        let text = Text::stored(recipient, revision.text().to_owned());
        let buttons = Some(revision.buttons()).filter(|_| self.config.buttons);
        let what = What::Edit { message, text, buttons };
        Some(Call { to: recipient.clone(), id: revision.alert(), number: 0, what })
    }

    /// Returns when the limits over all chats let the next turn of a lane through.
    fn opens(&self, now: WallTime) -> impl Fn(Lane) -> WallTime + use<> {
        let overall = self.overall.opens(now).max(self.rest.ends(now));
        let edits = self.edits.opens(now).max(overall);
        move |lane| match lane {
            Lane::Unlimited => now,
            Lane::Messages => overall,
            Lane::Edits => edits,
        }
    }

    /// Returns when [`Self::poll`] has something again; nothing while only an event or a result can change that.
    pub fn poll_timeout(&mut self, now: WallTime) -> Option<WallTime> {
        if !self.calls.is_empty() {
            return Some(now);
        }
        if self.outstanding.is_some() {
            return None;
        }
        if !self.results.is_empty() || self.pending > PENDING_MAX {
            return Some(now);
        }
        let opens = self.opens(now);
        if self.in_flight < IN_FLIGHT_MAX { self.queues.comes(now, opens) } else { None }
    }
}

/// Returns the wait after an attempt.
fn backoff(attempt: u32) -> Duration {
    let index = usize::try_from(attempt).unwrap_or(usize::MAX).saturating_sub(1);
    BACKOFF[index.min(BACKOFF.len() - 1)]
}

#[cfg(test)]
mod tests;
