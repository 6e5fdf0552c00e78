//! One connection: carries a [`Session`] over a WebSocket and does the faults to it.

use std::{collections::BTreeMap, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{broadcast, broadcast::error::RecvError, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use ingest::exchange::Exchange;

use super::{
    fault::{self, Action, Faults, Silence},
    hub::{Hub, Item, Published, QUEUE_ITEMS, SOCKETS_MAX, Shared},
    session::{Keepalive, Reply, Session},
};

/// How long one frame may take to leave. A peer that takes nothing for longer is disconnected: a TCP window and the
/// queue before it hold minutes of the busiest market.
const SEND_MAX: Duration = Duration::from_secs(30);

/// How often a send that takes long looks whether the queue behind it overflows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a half-open connection is kept. TCP itself would give up after about this long.
const HALF_OPEN_MAX: Duration = Duration::from_secs(15 * 60);

/// Frames held back for disorder at once, per connection. At the bound a frame is sent at once, in order.
const HELD_MAX: usize = 1024;

/// When nothing is due, the loop looks again after this long.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// Normal end of a WebSocket (RFC 6455, 7.4.1: going away).
const GOING_AWAY: u16 = 1001;

/// Close code of OKX for an idle connection, the only venue that cuts by [`Keepalive::Traffic`].
const OKX_IDLE: u16 = 4004;

/// Upgrades a request to a connection of `venue` that speaks `session`, unless the venue refuses it.
pub(super) fn accept(
    shared: Arc<Shared>,
    venue: Exchange,
    upgrade: WebSocketUpgrade,
    session: Box<dyn Session>,
) -> Response {
    if let Some(refusal) = shared.faults(venue).refuse_sockets {
        return fault::refuse(venue, refusal, shared.venue_ms(venue));
    }
    if shared.hub(venue).sockets.borrow().connected >= SOCKETS_MAX {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // Taken here, so that the end of the simulator waits for a connection that is still being upgraded.
    let token = shared.tasks.token();
    upgrade.on_upgrade(move |ws| async move {
        Socket::new(&shared, venue, ws, session).run().await;
        drop(token);
    })
}

/// Counts a connection while it lives.
struct Membership {
    shared: Arc<Shared>,
    venue: Exchange,
    topics: usize,
}

impl Membership {
    fn hub(&self) -> &Hub {
        self.shared.hub(self.venue)
    }

    fn set_topics(&mut self, topics: usize) {
        let before = std::mem::replace(&mut self.topics, topics);
        if before != topics {
            self.hub().sockets.send_modify(|sockets| {
                sockets.subscribed += usize::from(topics > 0);
                sockets.subscribed -= usize::from(before > 0);
            });
        }
    }

    fn too_slow(&self) -> End {
        self.hub().sockets.send_modify(|sockets| sockets.cut_slow += 1);
        End::Drop
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.set_topics(0);
        self.hub().sockets.send_modify(|sockets| sockets.connected -= 1);
        // The player may be waiting for this connection, whose queue was dropped just before.
        self.hub().drained.notify_one();
    }
}

/// How a connection ends.
enum End {
    /// With a close frame.
    Close(u16, &'static str),
    /// Without a word.
    Drop,
    /// Not at all, as far as the peer can see.
    HalfOpen,
}

struct Socket {
    ws: WebSocket,
    session: Box<dyn Session>,
    faults: watch::Receiver<Faults>,
    // Before `membership`, so that it is dropped first.
    items: broadcast::Receiver<Item>,
    membership: Membership,
    rng: SmallRng,
    held: BTreeMap<(Instant, u64), Utf8Bytes>,
    held_before: u64,
    opened_at: Instant,
    heard_at: Instant,
    sent_at: Instant,
    pinged_at: Instant,
    ponged_at: Instant,
    closing_at: Option<Instant>,
}

impl Socket {
    fn new(shared: &Arc<Shared>, venue: Exchange, ws: WebSocket, session: Box<dyn Session>) -> Self {
        let hub = shared.hub(venue);
        let (items, faults) = (hub.items.subscribe(), hub.faults.subscribe());
        let mut number = 0;
        hub.sockets.send_modify(|sockets| {
            sockets.opened += 1;
            sockets.connected += 1;
            number = sockets.opened;
        });
        let mut membership = Membership { shared: Arc::clone(shared), venue, topics: 0 };
        membership.set_topics(session.liquidation_topics());
        let now = Instant::now();
        Self {
            ws,
            session,
            faults,
            items,
            membership,
            // Faults are the same in every run with the same order of connections.
            rng: SmallRng::seed_from_u64(number),
            held: BTreeMap::new(),
            held_before: 0,
            opened_at: now,
            heard_at: now,
            sent_at: now,
            pinged_at: now,
            ponged_at: now,
            closing_at: None,
        }
    }

    async fn run(mut self) {
        let venue = self.membership.venue;
        debug!(%venue, "simulated socket opened");
        let Err(end) = self.serve().await;
        let Self { mut ws, items, membership, .. } = self;
        let shutdown = membership.shared.shutdown.clone();
        drop(items);
        drop(membership);
        match end {
            End::Drop => {}
            End::Close(code, reason) => {
                let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
                // The peer may be gone, which is the aim.
                let _ = timeout(SEND_MAX, ws.send(close)).await;
            }
            End::HalfOpen => {
                let _ = timeout(HALF_OPEN_MAX, shutdown.cancelled()).await;
            }
        }
        debug!(%venue, "simulated socket closed");
    }

    /// Serves until there is a reason to end.
    async fn serve(&mut self) -> Result<Infallible, End> {
        let shutdown = self.membership.shared.shutdown.clone();
        loop {
            let faults = self.faults.borrow_and_update().clone();
            let deaf = faults.silence == Some(Silence::Deaf);
            if deaf {
                // Nobody can be heard: idle times count from the end of the silence.
                self.heard_at = Instant::now();
                self.ponged_at = self.heard_at;
            }
            let wake = self.next_due(&faults);
            tokio::select! {
                () = shutdown.cancelled() => return Err(End::Close(GOING_AWAY, "simulator stops")),
                // The sender lives in `shared`, so this never fails.
                _ = self.faults.changed() => {}
                item = self.items.recv() => {
                    self.membership.hub().drained.notify_one();
                    match item {
                        Ok(item) => self.handle_item(item, &faults).await?,
                        Err(RecvError::Lagged(_)) => return Err(self.membership.too_slow()),
                        Err(RecvError::Closed) => return Err(End::Drop),
                    }
                }
                message = self.ws.recv(), if !deaf => match message {
                    Some(Ok(message)) => self.handle_message(message, &faults).await?,
                    Some(Err(_)) | None => return Err(End::Drop),
                },
                () = sleep_until(wake) => self.handle_due(&faults).await?,
            }
        }
    }

    async fn handle_item(&mut self, item: Item, faults: &Faults) -> Result<(), End> {
        match item {
            Item::Liquidations(frame) => self.handle_liquidations(&frame, faults).await,
            Item::Tick(now_ms) => {
                for text in self.session.handle_tick(now_ms) {
                    self.send_data(text, faults).await?;
                }
                Ok(())
            }
            Item::Action(Action::Disconnect) => Err(End::Drop),
            Item::Action(Action::HalfOpen) => Err(End::HalfOpen),
            Item::Action(Action::Malformed) => self.send_text(fault::malformed(self.membership.venue)).await,
            Item::Action(Action::Oversized) => self.send_text(fault::oversized()).await,
            Item::Action(Action::Notice) => {
                let Some(notice) = self.session.notice() else { return Ok(()) };
                self.closing_at = Some(Instant::now() + self.membership.shared.timing.okx_notice);
                self.send_text(notice.into()).await
            }
        }
    }

    async fn handle_liquidations(&mut self, frame: &Published, faults: &Faults) -> Result<(), End> {
        for text in self.session.handle_liquidations(frame) {
            let copies = if self.chance(faults.duplicate) { 2 } else { 1 };
            for _ in 0..copies {
                match &faults.disorder {
                    Some(disorder) if self.held.len() < HELD_MAX && self.chance(disorder.probability) => {
                        let hold = Duration::from_millis(self.rng.random_range(0..=disorder.max_ms));
                        self.held_before += 1;
                        self.held.insert((Instant::now() + hold, self.held_before), text.clone());
                    }
                    Some(_) | None => self.send_data(text.clone(), faults).await?,
                }
            }
        }
        Ok(())
    }

    async fn handle_message(&mut self, message: Message, faults: &Faults) -> Result<(), End> {
        self.heard_at = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Pong(_) => {
                self.ponged_at = self.heard_at;
                return Ok(());
            }
            Message::Close(_) => return Err(End::Drop),
            // The WebSocket answers a protocol ping itself.
            Message::Ping(_) | Message::Binary(_) => return Ok(()),
        };
        for reply in self.session.handle_text(&text, faults) {
            match reply {
                Reply::Text(text) => self.send_text(text.into()).await?,
                Reply::Cut => return Err(End::Drop),
            }
        }
        self.membership.set_topics(self.session.liquidation_topics());
        Ok(())
    }

    /// Returns when [`Self::handle_due`] has something to do next.
    fn next_due(&self, faults: &Faults) -> Instant {
        let keepalive = match self.session.keepalive() {
            Keepalive::Ping { every, pong_within } => (self.pinged_at + every).min(self.ponged_at + pong_within),
            Keepalive::Heard { after } => self.heard_at + after,
            Keepalive::Traffic { after } => self.heard_at.max(self.sent_at) + after,
        };
        let keepalive = if faults.silence == Some(Silence::Deaf) { None } else { Some(keepalive) };
        let forced = faults.disconnect_every_ms.map(|ms| self.opened_at + Duration::from_millis(ms));
        let held = self.held.keys().next().map(|(at, _)| *at);
        [keepalive, forced, held, self.closing_at]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + NOTHING_DUE)
    }

    async fn handle_due(&mut self, faults: &Faults) -> Result<(), End> {
        let now = Instant::now();
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= now
        {
            let text = entry.remove();
            self.send_data(text, faults).await?;
        }
        let forced = faults.disconnect_every_ms.is_some_and(|ms| now >= self.opened_at + Duration::from_millis(ms));
        if forced || self.closing_at.is_some_and(|at| now >= at) {
            return Err(End::Drop);
        }
        if faults.silence == Some(Silence::Deaf) {
            return Ok(());
        }
        match self.session.keepalive() {
            Keepalive::Ping { pong_within, .. } if now >= self.ponged_at + pong_within => Err(End::Drop),
            Keepalive::Ping { every, .. } if now >= self.pinged_at + every => {
                self.pinged_at = now;
                self.send(Message::Ping(Bytes::new())).await
            }
            Keepalive::Heard { after } if now >= self.heard_at + after => Err(End::Drop),
            Keepalive::Traffic { after } if now >= self.heard_at.max(self.sent_at) + after => {
                Err(End::Close(OKX_IDLE, "No data received in 30s."))
            }
            Keepalive::Ping { .. } | Keepalive::Heard { .. } | Keepalive::Traffic { .. } => Ok(()),
        }
    }

    /// Sends a data frame as the faults have it.
    async fn send_data(&mut self, text: Utf8Bytes, faults: &Faults) -> Result<(), End> {
        if faults.silence.is_some() {
            return Ok(());
        }
        let text = if faults.clock_ms == 0 { text } else { fault::shift_times(&text, faults.clock_ms) };
        if self.chance(faults.malformed) {
            self.send_text(fault::malformed(self.membership.venue)).await?;
        }
        if self.chance(faults.truncated) {
            self.send_text(fault::truncated(&text)).await?;
        }
        if self.chance(faults.oversized) {
            self.send_text(fault::oversized()).await?;
        }
        self.send_text(text).await
    }

    async fn send_text(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.send(Message::Text(text)).await?;
        self.membership.hub().count_frame();
        Ok(())
    }

    /// Sends a message, watching how far the connection falls behind meanwhile.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let started = Instant::now();
        let mut sending = pin!(self.ws.send(message));
        while started.elapsed() < SEND_MAX && self.items.len() <= QUEUE_ITEMS {
            match timeout(LOOK_EVERY, &mut sending).await {
                Ok(Ok(())) => {
                    self.sent_at = Instant::now();
                    return Ok(());
                }
                Ok(Err(_)) => return Err(End::Drop),
                Err(_) => {}
            }
        }
        Err(self.membership.too_slow())
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability.min(1.0))
    }
}
