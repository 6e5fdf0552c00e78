//! A notifier as `foreshock notify` joins the crate's two state machines, crashing and freezing between any two steps.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use notify::{
    caps::OVERALL_LIMIT,
    decide::{Market, Policy, RateLimit},
    decider::Decider,
    outbox::{Action, Call, Config, Outbox},
    recipient::{Channel, Recipient},
    time::WallTime,
};
use schemas::{
    alert::Alert,
    delivery::{Delivery, LedgerEvent, Note, Outcome},
    subscriber::{self, Cause, Preferences, Standing, Subscriber},
    wire,
};

use crate::{
    bot::Answer,
    streams::{Appended, subject_of},
    world::World,
};

/// How long a lease lasts without its holder, and how often it is renewed.
const LEASE_MS: i64 = 3_000;
const RENEW_MS: i64 = 1_000;

/// Who may send: an author, and until when unless it renews.
#[derive(Default)]
pub(crate) struct Lease {
    held: Option<(String, i64)>,
}

impl Lease {
    /// Takes the lease unless somebody holds it.
    fn acquire(&mut self, author: &str, now_ms: i64) -> bool {
        let is_free = self.held.as_ref().is_none_or(|(_, until_ms)| *until_ms < now_ms);
        if is_free {
            self.held = Some((author.to_owned(), now_ms + LEASE_MS));
        }
        is_free
    }

    /// Renews it unless it ran out.
    fn renew(&mut self, author: &str, now_ms: i64) -> bool {
        let held = self.held.as_mut().filter(|(holder, until_ms)| holder == author && *until_ms >= now_ms);
        let is_held = held.is_some();
        if let Some((_, until_ms)) = held {
            *until_ms = now_ms + LEASE_MS;
        }
        is_held
    }
}

/// A notifier process.
pub(crate) struct Notifier {
    number: usize,
    policy: Policy,
    /// How often it started: the author of its records.
    starts: usize,
    sending: Option<Sender>,
}

struct Sender {
    author: String,
    decider: Decider,
    outbox: Outbox,
    /// Events of SUBSCRIBERS that were folded in.
    subscribers: usize,
    /// What deliveries mean for their recipients, to be stored.
    standing: VecDeque<Subscriber>,
    digests_at_ms: i64,
    /// The last place of the ledger that was folded in.
    folded: usize,
    /// The place up to which it must be before anything else is done.
    fold_to: usize,
    last_of: BTreeMap<String, usize>,
    /// Index of the next alert to look at.
    next_alert: usize,
    deciding: Option<(usize, VecDeque<LedgerEvent>)>,
    calls: Vec<(i64, Call, Answer)>,
    renew_at_ms: i64,
    records: usize,
}

/// What a step did.
enum Did {
    Nothing,
    Something,
    /// A crash right after it hurts most.
    Critical,
    /// Another sender was faster.
    Fenced,
}

impl Notifier {
    pub(crate) const fn new(number: usize, rate_limit: Option<RateLimit>) -> Self {
        let policy = Policy {
            market: Market::Live,
            channel: Channel::Telegram,
            shared_token: false,
            liquidation_alerts: true,
            oi_alerts: true,
            rate_limit,
        };
        Self { number, policy, starts: 0, sending: None }
    }

    /// Does one thing and returns when to call again.
    pub(crate) fn step(&mut self, world: &mut World) -> i64 {
        let Some(sender) = &mut self.sending else {
            let author = format!("{}-{}", self.number, self.starts);
            if !world.lease.acquire(&author, world.now_ms) {
                return world.after(400..600);
            }
            self.starts += 1;
            self.sending = Some(Sender::start(world, self.policy, author));
            return world.after(1..50);
        };
        if world.now_ms >= sender.renew_at_ms {
            if !world.lease.renew(&sender.author, world.now_ms) {
                self.sending = None;
                return world.after(1..50);
            }
            sender.renew_at_ms = world.now_ms + RENEW_MS;
        }
        let did = sender.step(world);
        let is_idle = matches!(did, Did::Nothing);
        let hurts = match did {
            Did::Nothing => 0.000_2,
            Did::Something => 0.003,
            Did::Critical => 0.02,
            Did::Fenced => {
                world.struck.fenced += 1;
                self.sending = None;
                return world.after(1..50);
            }
        };
        if world.strikes(hurts) {
            world.struck.notifier_crashes += 1;
            self.sending = None;
            return world.after(500..6_000);
        }
        if world.strikes(hurts / 2.0) {
            // It stands still for longer than its lease, and does not know it until the next renewal.
            world.struck.freezes += 1;
            let thaw_ms = world.after(LEASE_MS + 500..25_000);
            sender.renew_at_ms = thaw_ms + 30;
            return thaw_ms;
        }
        if is_idle { world.after(20..300) } else { world.after(1..20) }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self, world: &World) -> bool {
        self.sending
            .as_ref()
            .is_none_or(|sender| sender.outbox.pending() == 0 && sender.deciding.is_none() && sender.calls.is_empty())
            && world.alerts.acknowledged.len() == world.alerts.stored.len()
    }
}

impl Sender {
    /// Folds the ledger up to its end.
    fn start(world: &World, policy: Policy, author: String) -> Self {
        let mut sender = Self {
            author,
            decider: Decider::new(policy),
            outbox: Outbox::new(Config { market: policy.market, overall_limit: OVERALL_LIMIT, buttons: true }),
            subscribers: 0,
            standing: VecDeque::new(),
            digests_at_ms: 0,
            folded: 0,
            fold_to: 0,
            last_of: BTreeMap::new(),
            next_alert: 0,
            deciding: None,
            calls: Vec::new(),
            renew_at_ms: world.now_ms + RENEW_MS,
            records: 0,
        };
        sender.fold_subscribers(world);
        while sender.fold(world) {}
        sender
    }

    fn step(&mut self, world: &mut World) -> Did {
        let now = WallTime::from_millis(world.wall_ms());
        // 1. What was stored comes back first.
        if self.folded < self.fold_to {
            self.fold(world);
            return Did::Something;
        }
        // 2. What a decision asks to be stored, in its order; then the acknowledgement.
        if let Some((index, events)) = &mut self.deciding {
            match events.pop_front() {
                Some(event) => self.store_decided(world, &event),
                None => {
                    world.alerts.acknowledged.insert(*index);
                    self.deciding = None;
                }
            }
            return Did::Critical;
        }
        // 3. What deliveries mean for their recipients, digests that are due, what the outbox asks for.
        if let Some(changed) = self.standing.pop_front() {
            // Provided that nobody else changed anything since it was read; here that is all of SUBSCRIBERS.
            if self.subscribers == world.subscribers.len() {
                world.subscribers.push(changed);
            }
            self.fold_subscribers(world);
            return Did::Critical;
        }
        if world.now_ms >= self.digests_at_ms {
            self.digests_at_ms = world.now_ms + 1_000;
            for digest in self.decider.digests(now) {
                self.store_decided(world, &digest);
            }
            return Did::Something;
        }
        match self.outbox.poll(now) {
            Some(Action::Send(call)) => {
                let (answer, wait_ms) = world.call(&call);
                self.calls.push((world.now_ms + wait_ms, call, answer));
                return Did::Critical;
            }
            Some(Action::Record(event)) => return self.record(world, &event),
            None => {}
        }
        // 4. What came of calls, what others stored, the next alert.
        if let Some(index) = self.calls.iter().position(|(done_ms, ..)| *done_ms <= world.now_ms) {
            let (_, call, answer) = self.calls.remove(index);
            self.outbox.handle_result(&call, answer, now);
            return Did::Critical;
        }
        if self.fold(world) {
            return Did::Something;
        }
        // From the first that is not acknowledged, in order.
        while world.alerts.acknowledged.contains(&self.next_alert) {
            self.next_alert += 1;
        }
        if let Some(stored) = world.alerts.stored.get(self.next_alert) {
            let alert: Alert = wire::decode(&stored.payload).unwrap();
            self.deciding = Some((self.next_alert, self.decider.decide(&alert, now).into()));
            self.next_alert += 1;
            return Did::Something;
        }
        Did::Nothing
    }

    /// Takes in the next event of the ledger, if there is one.
    fn fold(&mut self, world: &World) -> bool {
        let Some((subject, event)) = world.ledger.get(self.folded + 1) else { return false };
        self.folded += 1;
        self.last_of.insert(subject.to_owned(), self.folded);
        self.decider.handle_event(event);
        self.outbox.handle_event(event);
        self.standing.extend(self.decider.standing_after(event));
        true
    }

    fn fold_subscribers(&mut self, world: &World) {
        for subscriber in &world.subscribers[self.subscribers..] {
            self.outbox.handle_subscriber(subscriber);
            self.decider.handle_subscriber(subscriber.clone());
        }
        self.subscribers = world.subscribers.len();
    }

    fn store_decided(&mut self, world: &mut World, event: &LedgerEvent) {
        let (expected, id) = match event {
            LedgerEvent::Decision(decision) => (Some(0), format!("decision:{}", decision.alert)),
            LedgerEvent::Delivery(delivery) => {
                (None, format!("decided:{}:{}:{}", delivery.alert, delivery.channel, delivery.recipient))
            }
            LedgerEvent::Note(note) => (None, format!("note:{}", note.id)),
            LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => unreachable!("nobody presses anything here"),
        };
        match world.ledger.append(event, expected, id, world.now_ms) {
            Appended::Stored(place) => self.fold_to = place,
            // The one decision about this alert is there.
            Appended::Refused => {}
        }
    }

    /// Stores what the outbox asks for. What opens the way to another call is the fence between two senders: an attempt,
    /// and a deferral, which from a sender that woke up late would close the newer attempt of another one.
    fn record(&mut self, world: &mut World, event: &LedgerEvent) -> Did {
        let is_fenced = match event {
            LedgerEvent::Delivery(Delivery { outcome, .. }) | LedgerEvent::Note(Note { outcome, .. }) => {
                matches!(outcome, Outcome::Attempt { .. } | Outcome::Deferred { .. })
            }
            LedgerEvent::Decision(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => false,
        };
        let last = self.last_of.get(&subject_of(event)).copied().unwrap_or(0);
        self.records += 1;
        let id = format!("{}:{}", self.author, self.records);
        match world.ledger.append(event, is_fenced.then_some(last), id, world.now_ms) {
            Appended::Stored(place) => {
                self.fold_to = place;
                Did::Critical
            }
            Appended::Refused => Did::Fenced,
        }
    }
}

/// A recipient that takes everything.
pub(crate) fn subscribed(recipient: &Recipient) -> Subscriber {
    Subscriber {
        v: subscriber::VERSION,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        at: 0,
        cause: Cause::Config,
        update: None,
        standing: Standing::Active,
        preferences: Preferences::default(),
    }
}

/// `ALERT_RATE_LIMIT_SECONDS` as shipped.
pub(crate) fn rate_limit() -> RateLimit {
    RateLimit::new(Duration::from_secs(60)).unwrap()
}
