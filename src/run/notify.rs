//! `foreshock notify`: decides about every alert, keeps the ledger, and sends.
//!
//! Both state machines are folds of DELIVERIES, and what this process stores comes back to them through the same
//! cursor. So there is one order of facts, and a crash anywhere repeats work and changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use nats::{Bus, Cursor, Delivered, Durable, Expect, Lease, LeaseError, PublishError};
use notify::{
    caps::{OVERALL_LIMIT, OVERALL_LIMIT_SHARED},
    decide::{Market, Policy, RateLimit},
    decider::Decider,
    failure::{Failure, MessageId, Refusal},
    outbox::{Action, Call, Config as OutboxConfig, Outbox},
    recipient::Recipient,
    telegram::{self, Telegram},
    terminal,
    text::Message,
    time::WallTime,
};
use schemas::{
    alert::{Alert, Priority},
    delivery::{Delivery, LedgerEvent, Outcome},
    id::Id,
    position::Sequence,
    subject::Stream,
    wire,
};
use serde::Serialize;
use tokio::{
    io::AsyncWrite,
    sync::{Mutex, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::{self, BotToken, Settings},
    run::{RETRY_PAUSE, host_clock_ms, park},
};

/// The lease of whoever sends.
const LEASE: &str = "notify";

/// How long a sender that vanished keeps its lease: a second one takes over after it. The fence against two senders is
/// the expected sequence of an attempt, not this.
const LEASE_TIME: Duration = Duration::from_secs(3);

/// Alerts kept for people to see; older ones go.
const RECENT: usize = 50;

/// Where texts go while there is no token.
pub type Terminal = Box<dyn AsyncWrite + Send + Unpin>;

/// What people see of a notifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// It has read the ledger, or stands by while another one sends.
    pub ready: bool,
    /// It sends; otherwise it stands by.
    pub sender: bool,
    /// The last place of ALERTS decided and acknowledged by this process.
    pub position: u64,
    /// Alerts decided by this process, by reason.
    pub decided: BTreeMap<String, u64>,
    /// Deliveries the channel accepted, by this process.
    pub sent: u64,
    /// Deliveries given up, by this process.
    pub failed: u64,
    /// Deliveries that wait.
    pub waiting: u64,
    /// The last alerts and what was decided about them, oldest first.
    pub recent: VecDeque<Recent>,
}

/// One alert as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// Its id.
    pub alert: Id,
    /// Venue time, milliseconds since 1970 UTC.
    pub event_time: i64,
    /// How much it matters.
    pub priority: Priority,
    /// Its text on one line.
    pub summary: String,
    /// What was decided for most recipients.
    pub decision: String,
}

/// Runs until `shutdown`; sends while it holds the lease.
///
/// # Errors
/// When the configuration cannot be used, or a stream is not the one it was.
pub async fn run(
    bus: Bus,
    settings: &Settings,
    terminal: Terminal,
    status: watch::Sender<Status>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let sinks = Arc::new(Sinks::new(settings, terminal)?);
    // A name of this process alone: the holder of a lease, and the author of an attempt.
    let author = format!("{}-{}-{}", settings.instance, std::process::id(), host_clock_ms());
    while !shutdown.is_cancelled() {
        let Some(lease) = take_lease(&bus, &author, &status, &shutdown).await else { break };
        let lost = CancellationToken::new();
        let keeping = tokio::spawn(keep_lease(lease, lost.clone()));
        let result = Sender::new(&bus, &author, &sinks).await?.run(&status, &shutdown, &lost).await;
        lost.cancel();
        // The task ends at once and gives the lease up, so that another need not wait for its end.
        keeping.await.context("the lease of the sender was not kept")?;
        match result? {
            Ended::Shutdown => break,
            Ended::Fenced => warn!("another notifier sends; reading the ledger anew"),
        }
    }
    Ok(())
}

/// Waits for the lease; returns nothing when `shutdown` comes first.
async fn take_lease(
    bus: &Bus,
    author: &str,
    status: &watch::Sender<Status>,
    shutdown: &CancellationToken,
) -> Option<Lease> {
    let mut waits = false;
    loop {
        match Lease::acquire(bus, LEASE, author, LEASE_TIME).await {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) if !waits => {
                waits = true;
                info!("another notifier holds the lease; standing by");
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "lease not taken; trying again"),
        }
        status.send_modify(|status| (status.ready, status.sender) = (true, false));
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Renews the lease until `ended`, which it cancels itself when the lease is lost.
async fn keep_lease(mut lease: Lease, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEASE_TIME / 3) => {}
            () = ended.cancelled() => {
                // A lease that cannot be given up ends by itself.
                let _ = lease.release().await;
                return;
            }
        }
        match lease.renew().await {
            Ok(()) => {}
            Err(error @ LeaseError::Lost { .. }) => {
                warn!(%error, "sending stops");
                return ended.cancel();
            }
            Err(error) => warn!(%error, "lease not renewed; trying again"),
        }
    }
}

/// How sending ended.
enum Ended {
    Shutdown,
    /// The lease is lost or another sender was faster.
    Fenced,
}

/// The ways out.
struct Sinks {
    telegram: Option<Telegram>,
    terminal: Mutex<Terminal>,
    recipients: Vec<Recipient>,
    outbox: OutboxConfig,
    policy: Policy,
}

impl Sinks {
    fn new(settings: &Settings, terminal: Terminal) -> anyhow::Result<Self> {
        let market = match settings.market {
            config::Market::Live => Market::Live,
            config::Market::Recorded => Market::Recorded,
        };
        let (telegram, recipients, overall_limit) = match &settings.telegram.token {
            None => (None, vec![Recipient::Terminal], OVERALL_LIMIT),
            Some(token) => {
                let (token, limit) = match token.clone() {
                    BotToken::Own(token) => (token, OVERALL_LIMIT),
                    BotToken::Shared(token) => (token, OVERALL_LIMIT_SHARED),
                };
                let client = Telegram::new(&telegram::Config { base_url: settings.telegram.api_url.clone(), token })?;
                let chats = settings.telegram.chats.iter().map(|chat| Ok(Recipient::Telegram(chat.parse()?)));
                (Some(client), chats.collect::<anyhow::Result<Vec<_>>>()?, limit)
            }
        };
        let policy = Policy {
            market,
            liquidation_alerts: settings.notify.liquidation_alerts,
            oi_alerts: settings.notify.oi_alerts,
            rate_limit: settings.notify.rate_limit.map(RateLimit::new).transpose()?,
        };
        let outbox = OutboxConfig { market, overall_limit };
        Ok(Self { telegram, terminal: Mutex::new(terminal), recipients, outbox, policy })
    }

    async fn send(&self, call: &Call) -> Result<Option<MessageId>, Failure> {
        match (&call.to, &self.telegram) {
            (Recipient::Terminal, _) => {
                terminal::print(&mut *self.terminal.lock().await, call.text.as_str()).await.map(|()| None)
            }
            (Recipient::Telegram(chat), Some(telegram)) => match telegram.send_message(chat, &call.text).await {
                Ok(id) => Ok(Some(id)),
                Err(error) => {
                    let cause = anyhow::Error::new(error);
                    warn!(%chat, alert_id = %call.alert, error = format!("{cause:#}"), "not delivered");
                    let error = cause.downcast::<telegram::SendError>().map_err(|_| Failure::Ambiguous)?;
                    Err(error.failure)
                }
            },
            // An intent from a time with a token, or an ambiguous attempt of it: without one it cannot be sent.
            (Recipient::Telegram(_), None) => Err(Failure::Refused(Refusal::Forbidden)),
        }
    }
}

/// The one that sends.
struct Sender<'a> {
    bus: &'a Bus,
    sinks: &'a Arc<Sinks>,
    ledger: Cursor,
    /// Places of the ledger below this were stored before this process began.
    began_at: Sequence,
    decider: Decider,
    outbox: Outbox,
    /// The last place on each recipient's subject: what an attempt expects.
    last_of: BTreeMap<String, Sequence>,
    /// Tells this process's attempts from those of another.
    author: &'a str,
    records: u64,
    calls: JoinSet<(Call, Result<Option<MessageId>, Failure>)>,
    shown: Status,
}

/// An alert on its way to its acknowledgement.
struct Deciding {
    delivered: Delivered,
    alert: Option<Alert>,
    /// What is still to be stored.
    events: VecDeque<LedgerEvent>,
}

impl<'a> Sender<'a> {
    /// Folds the ledger up to its end.
    async fn new(bus: &'a Bus, author: &'a str, sinks: &'a Arc<Sinks>) -> anyhow::Result<Self> {
        let ledger = Cursor::open(bus, Stream::Deliveries, Sequence::new(1), None).await;
        let ledger = ledger.context("the ledger cannot be read")?;
        let began_at = bus.stream_state(Stream::Deliveries).await?.last.next();
        let mut sender = Self {
            bus,
            sinks,
            ledger,
            began_at,
            decider: Decider::new(sinks.policy, sinks.recipients.iter().cloned()),
            outbox: Outbox::new(sinks.outbox),
            last_of: BTreeMap::new(),
            author,
            records: 0,
            calls: JoinSet::new(),
            shown: Status { ready: true, sender: true, ..Status::default() },
        };
        while let Some(record) = sender.ledger.next_pending().await.context("the ledger cannot be read")? {
            sender.fold(&record).await;
        }
        Ok(sender)
    }

    async fn run(
        mut self,
        status: &watch::Sender<Status>,
        shutdown: &CancellationToken,
        lost: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        let mut alerts = Durable::open(self.bus).await.context("ALERTS cannot be read")?;
        let mut deciding: Option<Deciding> = None;
        loop {
            if lost.is_cancelled() {
                return Ok(Ended::Fenced);
            }
            // 1. What a decision asks to be stored, in its order; then the acknowledgement. One alert at a time.
            if let Some(mut current) = deciding.take() {
                while let Some(event) = current.events.pop_front() {
                    let stored = self.store_decided(&event).await;
                    self.fold_up_to(stored).await?;
                }
                self.acknowledge(current).await;
            }
            // 2. What the outbox asks for.
            while let Some(action) = self.outbox.poll(wall_time()) {
                match action {
                    Action::Send(call) => self.call(call),
                    Action::Record(delivery) => match self.record(&delivery).await {
                        Some(stored) => self.fold_up_to(stored).await?,
                        None => return Ok(Ended::Fenced),
                    },
                }
            }
            self.show(status);
            let is_ending = shutdown.is_cancelled();
            if is_ending && self.calls.is_empty() {
                return Ok(Ended::Shutdown);
            }
            let due = self.outbox.poll_timeout(wall_time()).map_or(Duration::from_secs(1), |at| wall_time().until(at));
            tokio::select! {
                biased;
                Some(result) = self.calls.join_next() => {
                    let (call, result) = result.context("a call ended badly")?;
                    self.outbox.handle_result(&call, result, wall_time());
                }
                record = self.ledger.next() => {
                    let record = record.context("the ledger cannot be read")?;
                    self.fold(&record).await;
                }
                delivered = alerts.next(), if !is_ending => {
                    deciding = Some(self.decide(delivered.context("ALERTS cannot be read")?).await);
                }
                () = tokio::time::sleep(due) => {}
                () = lost.cancelled() => {}
                () = shutdown.cancelled(), if !is_ending => {}
            }
        }
    }

    async fn decide(&self, delivered: Delivered) -> Deciding {
        match wire::decode::<Alert>(&delivered.record.payload) {
            Ok(alert) => {
                let events = self.decider.decide(&alert, wall_time()).into();
                Deciding { delivered, alert: Some(alert), events }
            }
            Err(problem) => {
                park(self.bus, Stream::Alerts, &delivered.record, &problem).await;
                Deciding { delivered, alert: None, events: VecDeque::new() }
            }
        }
    }

    async fn acknowledge(&mut self, decided: Deciding) {
        let Deciding { delivered, alert, .. } = decided;
        if let Err(error) = delivered.double_ack().await {
            // It comes again, and its decision is found in the ledger.
            warn!(%error, "alert not acknowledged");
        }
        self.shown.position = delivered.record.sequence.get();
        if let Some(alert) = alert
            && let Some(recent) = self.shown.recent.iter_mut().rev().find(|recent| recent.alert == alert.id)
        {
            let lines = Message::of(&alert, None).plain();
            recent.summary = lines.lines().take(3).collect::<Vec<_>>().join("  ");
        }
    }

    /// Stores what was decided, trying until it is stored or known to be there.
    async fn store_decided(&self, event: &LedgerEvent) -> Sequence {
        let (subject, expect, id) = match event {
            LedgerEvent::Decision(decision) => {
                let expect = Expect::LastSubjectSequence(Sequence::new(0));
                (self.bus.names().decision(decision.alert), expect, format!("decision:{}", decision.alert))
            }
            LedgerEvent::Delivery(delivery) => {
                let Delivery { alert, channel, recipient, .. } = delivery;
                (self.subject_of(delivery), Expect::Any, format!("decided:{alert}:{channel}:{recipient}"))
            }
        };
        loop {
            match self.bus.append(&subject, event, expect, Some(&id)).await {
                Ok(stored) => return stored.sequence,
                // The one decision about this alert is there.
                Err(PublishError::WrongLastSequence { .. }) => return Sequence::new(0),
                Err(problem) => self.wait_after(&problem).await,
            }
        }
    }

    /// Stores what the outbox asks for. Returns nothing when another sender was faster.
    async fn record(&mut self, delivery: &Delivery) -> Option<Sequence> {
        let subject = self.subject_of(delivery);
        let expect = match &delivery.outcome {
            // The fence: whoever's attempt is stored makes the call, and nobody closes the attempt of another.
            Outcome::Attempt { .. } | Outcome::Deferred { .. } => {
                Expect::LastSubjectSequence(self.last_of.get(&subject).copied().unwrap_or(Sequence::new(0)))
            }
            Outcome::Intent { .. }
            | Outcome::Limited { .. }
            | Outcome::Expired { .. }
            | Outcome::Sent { .. }
            | Outcome::Failed { .. } => Expect::Any,
        };
        self.records += 1;
        // Repeating after a lost acknowledgement must find the first copy; another process's must not be taken for ours.
        let id = format!("{}:{}", self.author, self.records);
        let event = LedgerEvent::Delivery(delivery.clone());
        loop {
            match self.bus.append(&subject, &event, expect, Some(&id)).await {
                Ok(stored) => return Some(stored.sequence),
                Err(PublishError::WrongLastSequence { .. }) => return None,
                Err(problem) => self.wait_after(&problem).await,
            }
        }
    }

    async fn wait_after(&self, problem: &PublishError) {
        if problem.is_retryable() {
            warn!(error = %problem, "ledger not written; trying again");
        } else {
            error!(error = %problem, "ledger not written");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }

    fn subject_of(&self, delivery: &Delivery) -> String {
        self.bus.names().delivery(&delivery.channel, &delivery.recipient)
    }

    /// Reads the ledger until it has given `place`.
    async fn fold_up_to(&mut self, place: Sequence) -> anyhow::Result<()> {
        while self.ledger.position() <= place {
            let record = self.ledger.next().await.context("the ledger cannot be read")?;
            self.fold(&record).await;
        }
        Ok(())
    }

    async fn fold(&mut self, record: &nats::Record) {
        let event = match wire::decode::<LedgerEvent>(&record.payload) {
            Ok(event) => event,
            Err(problem) => return park(self.bus, Stream::Deliveries, record, &problem).await,
        };
        self.decider.handle_event(&event);
        self.outbox.handle_event(&event);
        if matches!(event, LedgerEvent::Delivery(_)) {
            self.last_of.insert(record.subject.clone(), record.sequence);
        }
        if record.sequence >= self.began_at {
            self.count(&event);
        }
    }

    fn count(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Decision(decision) => {
                let most = decision.recipients.iter().max_by_key(|(_, count)| **count);
                for (reason, count) in &decision.recipients {
                    *self.shown.decided.entry(reason.clone()).or_default() += u64::from(*count);
                }
                if self.shown.recent.len() == RECENT {
                    self.shown.recent.pop_front();
                }
                self.shown.recent.push_back(Recent {
                    alert: decision.alert,
                    event_time: decision.event_time.as_millis(),
                    priority: decision.priority,
                    summary: String::new(),
                    decision: most.map_or_else(String::new, |(reason, _)| reason.clone()),
                });
            }
            LedgerEvent::Delivery(delivery) => match &delivery.outcome {
                Outcome::Sent { .. } => self.shown.sent += 1,
                Outcome::Failed { reason } => {
                    warn!(alert_id = %delivery.alert, recipient = %delivery.recipient, %reason, "delivery given up");
                    self.shown.failed += 1;
                }
                Outcome::Intent { .. }
                | Outcome::Limited { .. }
                | Outcome::Expired { .. }
                | Outcome::Attempt { .. }
                | Outcome::Deferred { .. } => {}
            },
        }
    }

    fn call(&mut self, call: Call) {
        let sinks = Arc::clone(self.sinks);
        self.calls.spawn(async move {
            let result = sinks.send(&call).await;
            (call, result)
        });
    }

    fn show(&mut self, status: &watch::Sender<Status>) {
        self.shown.waiting = self.outbox.pending() as u64;
        status.send_if_modified(|shown| {
            let modified = *shown != self.shown;
            if modified {
                shown.clone_from(&self.shown);
            }
            modified
        });
    }
}

fn wall_time() -> WallTime {
    WallTime::from_millis(host_clock_ms())
}
