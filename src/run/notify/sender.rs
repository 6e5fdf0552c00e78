//! The notifier that sends: one loop that owns every state and every write.

mod commands;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use nats::{Bus, Cursor, Delivered, Durable, Record};
use notify::{
    canary,
    commands::{facts::Known, journal::Journal},
    decide::Market,
    decider::Decider,
    failure::{Failure, MessageId},
    outbox::{Action, Call, Outbox},
    recipient::Recipient,
    text::Message,
    time::WallTime,
};
use schemas::{
    alert::Alert,
    delivery::{Delivery, LedgerEvent, Note, Outcome, Topic},
    id::Id,
    market::MarketEvent,
    position::Sequence,
    subject::Stream,
    subscriber::{self, Cause, Preferences, Standing, Subscriber},
    wire,
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Ended, Status, Watch,
    asked::{ASKS_MAX, Ask},
    lookup::Lookup,
    sinks::Sinks,
    store::{Fenced, Store},
    view, wall_time,
};
use crate::run::park;

/// How long the loop sleeps at most: what it waits for wakes it.
const IDLE: Duration = Duration::from_secs(1);

async fn open(bus: &Bus, stream: Stream) -> anyhow::Result<Cursor> {
    let cursor = Cursor::open(bus, stream, Sequence::new(1), None).await;
    cursor.with_context(|| format!("{} cannot be read", stream.as_str()))
}

pub(super) struct Sender {
    bus: Bus,
    sinks: Arc<Sinks>,
    watch: Watch,
    store: Store,
    ledger: Cursor,
    subscribers: Cursor,
    /// Places of the ledger below this were stored before this process began.
    began_at: Sequence,
    decider: Decider,
    outbox: Outbox,
    /// What operators are to be told.
    notices: mpsc::Receiver<LedgerEvent>,
    /// Notices the ledger holds: as many as a month of it has.
    noticed: BTreeSet<Id>,
    /// What people and programs ask.
    asks: mpsc::Receiver<Ask>,
    lookup: Arc<Lookup>,
    /// What is being looked up for them, in the order in which they asked.
    looking_up: FuturesOrdered<JoinHandle<(Ask, Known)>>,
    /// Which updates were carried out.
    journal: Journal,
    /// When digests are looked for again.
    digests_at: WallTime,
    /// What deliveries mean for their recipients, to be stored.
    standing: VecDeque<Subscriber>,
    /// Calls on their way, and how long each took.
    calls: JoinSet<(Call, Result<Option<MessageId>, Failure>, Duration)>,
    shown: Status,
}

/// An alert on its way to its acknowledgement.
struct Deciding {
    delivered: Delivered,
    alert: Option<Alert>,
    /// What is to be stored.
    events: Vec<LedgerEvent>,
}

impl Sender {
    /// Folds SUBSCRIBERS, then the ledger, up to their ends.
    pub(super) async fn new(
        bus: &Bus,
        author: &str,
        sinks: &Arc<Sinks>,
        watch: &Watch,
        notices: mpsc::Receiver<LedgerEvent>,
        asks: mpsc::Receiver<Ask>,
    ) -> anyhow::Result<Self> {
        let subscribers = open(bus, Stream::Subscribers).await?;
        let ledger = open(bus, Stream::Deliveries).await?;
        let began_at = bus.stream_state(Stream::Deliveries).await?.last.next();
        let mut sender = Self {
            bus: bus.clone(),
            sinks: Arc::clone(sinks),
            watch: watch.clone(),
            store: Store::new(bus, author),
            ledger,
            subscribers,
            began_at,
            decider: Decider::new(sinks.policy),
            outbox: Outbox::new(sinks.outbox),
            digests_at: WallTime::from_millis(0),
            notices,
            asks,
            lookup: Arc::new(Lookup::new(bus, sinks.policy, sinks.bot.clone())),
            looking_up: FuturesOrdered::new(),
            journal: Journal::default(),
            noticed: BTreeSet::new(),
            standing: VecDeque::new(),
            calls: JoinSet::new(),
            shown: Status { ready: true, sender: true, ..Status::default() },
        };
        while let Some(record) = sender.subscribers.next_pending().await.context("SUBSCRIBERS cannot be read")? {
            sender.fold_subscriber(&record).await;
        }
        while let Some(record) = sender.ledger.next_pending().await.context("the ledger cannot be read")? {
            sender.fold(&record).await;
        }
        sender.subscribe_configured().await?;
        Ok(sender)
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken, lost: &CancellationToken) -> anyhow::Result<Ended> {
        let mut alerts = Durable::open(&self.bus).await.context("ALERTS cannot be read")?;
        loop {
            if lost.is_cancelled() {
                return Ok(Ended::Fenced);
            }
            // 1. What deliveries mean for their recipients, 2. what the outbox asks for, 3. digests that are due.
            self.store_standing().await?;
            if let Err(Fenced) = self.act().await? {
                return Ok(Ended::Fenced);
            }
            self.make_digests().await?;
            self.show();
            let is_ending = shutdown.is_cancelled();
            if is_ending && self.calls.is_empty() {
                return Ok(Ended::Shutdown);
            }
            let now = wall_time();
            let due = self.outbox.poll_timeout(now).map_or(IDLE, |at| now.until(at).min(IDLE));
            tokio::select! {
                biased;
                Some(result) = self.calls.join_next() => {
                    let (call, result, took) = result.context("a call ended badly")?;
                    if matches!(call.to, Recipient::Telegram(_)) {
                        self.watch.calls.observe(&call.what, &result, took);
                        self.shown.token_refused = matches!(result, Err(Failure::Unauthorized));
                    }
                    self.outbox.handle_result(&call, result, wall_time());
                }
                record = self.ledger.next() => {
                    let record = record.context("the ledger cannot be read")?;
                    self.fold(&record).await;
                }
                record = self.subscribers.next() => {
                    let record = record.context("SUBSCRIBERS cannot be read")?;
                    self.fold_subscriber(&record).await;
                }
                // One alert at a time: what is decided about it is read back before the next one.
                delivered = alerts.next(), if !is_ending => {
                    let deciding = self.decide(delivered.context("ALERTS cannot be read")?).await;
                    self.finish(deciding).await?;
                }
                Some(notice) = self.notices.recv(), if !is_ending => self.store_notice(&notice).await?,
                Some(found) = self.looking_up.next(), if !is_ending => {
                    let (ask, known) = found.context("a question was not looked up")?;
                    self.carry_out(ask, known).await?;
                }
                Some(ask) = self.asks.recv(), if !is_ending && self.looking_up.len() < ASKS_MAX => self.look_up(ask),
                () = tokio::time::sleep(due) => {}
                () = lost.cancelled() => {}
                () = shutdown.cancelled(), if !is_ending => {}
            }
        }
    }

    /// Does what the outbox asks for, until it waits.
    async fn act(&mut self) -> anyhow::Result<Result<(), Fenced>> {
        while let Some(action) = self.outbox.poll(wall_time()) {
            match action {
                Action::Send(call) => self.call(call),
                Action::Record(event) => match self.store.record(&event).await {
                    Ok(stored) => self.fold_up_to(stored).await?,
                    Err(fenced) => return Ok(Err(fenced)),
                },
            }
        }
        Ok(Ok(()))
    }

    async fn store_notice(&mut self, notice: &LedgerEvent) -> anyhow::Result<()> {
        if matches!(notice, LedgerEvent::Note(note) if self.noticed.contains(&note.id)) {
            return Ok(());
        }
        let stored = self.store.once(notice).await;
        self.fold_up_to(stored).await
    }

    /// Looks for digests that are due, once a second.
    async fn make_digests(&mut self) -> anyhow::Result<()> {
        let now = wall_time();
        if now < self.digests_at {
            return Ok(());
        }
        self.digests_at = now.plus(IDLE);
        for digest in self.decider.digests(now) {
            let stored = self.store.once(&digest).await;
            self.fold_up_to(stored).await?;
        }
        Ok(())
    }

    async fn decide(&self, delivered: Delivered) -> Deciding {
        if self.bus.names().is_canary(&delivered.record.subject)
            && let Ok(MarketEvent::Canary(canary)) = wire::decode(&delivered.record.payload)
        {
            return Deciding { delivered, alert: None, events: vec![canary::intent(&canary, wall_time())] };
        }
        match wire::decode::<Alert>(&delivered.record.payload) {
            Ok(alert) => {
                let events = self.decider.decide(&alert, wall_time());
                self.sinks.pictures.remember(&alert, delivered.record.headers.evidence());
                Deciding { delivered, alert: Some(alert), events }
            }
            Err(problem) => {
                park(&self.bus, Stream::Alerts, &delivered.record, &problem).await;
                Deciding { delivered, alert: None, events: Vec::new() }
            }
        }
    }

    /// Stores what was decided about an alert, takes it in, and acknowledges the alert.
    async fn finish(&mut self, deciding: Deciding) -> anyhow::Result<()> {
        let Deciding { delivered, alert, events } = deciding;
        let stored = self.store.decided(events).await;
        self.fold_up_to(stored).await?;
        if let Err(error) = delivered.double_ack().await {
            // It comes again, and its decision is found in the ledger.
            warn!(%error, "alert not acknowledged");
        }
        self.shown.position = delivered.record.sequence.get();
        if let Some(alert) = alert {
            let lines = Message::of(&alert, None).plain();
            self.shown.summarize(alert.id, lines.lines().take(3).collect::<Vec<_>>().join("  "));
        }
        Ok(())
    }

    /// Reads the ledger until it has given `place`.
    async fn fold_up_to(&mut self, place: Sequence) -> anyhow::Result<()> {
        while self.ledger.position() <= place {
            let record = self.ledger.next().await.context("the ledger cannot be read")?;
            self.fold(&record).await;
        }
        Ok(())
    }

    async fn fold(&mut self, record: &Record) {
        let event = match wire::decode::<LedgerEvent>(&record.payload) {
            Ok(event) => event,
            Err(problem) => return park(&self.bus, Stream::Deliveries, record, &problem).await,
        };
        self.store.note(record);
        self.decider.handle_event(&event);
        self.outbox.handle_event(&event);
        self.journal.handle_event(&event);
        self.standing.extend(self.decider.standing_after(&event));
        if let LedgerEvent::Note(Note { id, topic: Topic::Notice { .. }, .. }) = &event {
            self.noticed.insert(*id);
        }
        if record.sequence >= self.began_at {
            self.shown.count(&event);
            self.time(&event);
        }
    }

    /// Measures how long an alert or a canary took; a recorded market has another time.
    fn time(&mut self, event: &LedgerEvent) {
        if let LedgerEvent::Note(Note { topic: Topic::Canary { received_at }, outcome, at, .. }) = event
            && matches!(outcome, Outcome::Sent { .. })
        {
            let took_ms = (at - received_at.as_millis()).max(0);
            self.watch.calls.canary(took_ms);
            self.shown.canary = Some(view::Canary { at: *at, took_ms });
        }
        if let LedgerEvent::Delivery(Delivery { event_time, at, outcome: Outcome::Sent { .. }, .. }) = event
            && self.sinks.policy.market == Market::Live
        {
            self.watch.calls.confirmed(at - event_time.as_millis());
        }
    }

    async fn fold_subscriber(&mut self, record: &Record) {
        match wire::decode::<Subscriber>(&record.payload) {
            Ok(subscriber) => {
                self.store.note(record);
                self.outbox.handle_subscriber(&subscriber);
                self.decider.handle_subscriber(subscriber);
            }
            Err(problem) => park(&self.bus, Stream::Subscribers, record, &problem).await,
        }
    }

    async fn fold_subscribers_up_to(&mut self, place: Sequence) -> anyhow::Result<()> {
        while self.subscribers.position() <= place {
            let record = self.subscribers.next().await.context("SUBSCRIBERS cannot be read")?;
            self.fold_subscriber(&record).await;
        }
        Ok(())
    }

    /// Subscribes the chats of the configuration that have no preferences to everything (design 7).
    async fn subscribe_configured(&mut self) -> anyhow::Result<()> {
        for recipient in self.sinks.recipients.clone() {
            if self.decider.subscribers().get(&recipient).is_some() {
                continue;
            }
            let subscriber = Subscriber {
                v: subscriber::VERSION,
                channel: recipient.channel().as_str().to_owned(),
                recipient: recipient.name().to_owned(),
                at: wall_time().as_millis(),
                cause: Cause::Config,
                update: None,
                standing: Standing::Active,
                preferences: Preferences::default(),
            };
            // What somebody else has given it by now comes through the cursor.
            if let Ok(stored) = self.store.subscriber(&subscriber).await {
                self.fold_subscribers_up_to(stored).await?;
            }
        }
        Ok(())
    }

    /// Stores what deliveries mean for their recipients. What somebody changed meanwhile stands.
    async fn store_standing(&mut self) -> anyhow::Result<()> {
        while let Some(subscriber) = self.standing.pop_front() {
            info!(recipient = %subscriber.recipient, standing = ?subscriber.standing, "a recipient's standing changed");
            if let Ok(stored) = self.store.subscriber(&subscriber).await {
                self.fold_subscribers_up_to(stored).await?;
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Call) {
        let sinks = Arc::clone(&self.sinks);
        self.calls.spawn(async move {
            let began = Instant::now();
            let result = sinks.send(&call).await;
            (call, result, began.elapsed())
        });
    }

    fn show(&mut self) {
        self.shown.waiting = self.outbox.pending() as u64;
        self.shown.subscribers = self.decider.subscribers().active() as u64;
        self.watch.status.send_if_modified(|shown| {
            let modified = *shown != self.shown;
            if modified {
                shown.clone_from(&self.shown);
            }
            modified
        });
    }
}
