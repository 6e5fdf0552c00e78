//! What is shared between the player, the sockets, the REST handlers and the control.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::extract::ws::Utf8Bytes;
use serde_json::Value;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use ingest::exchange::Exchange;

use super::{
    Timing,
    clock::Clock,
    control::Playback,
    fault::{Action, Faults},
    market::Market,
    okx::History,
};

/// Items a socket may be behind. A socket further behind is disconnected, as a venue does with a slow reader; at
/// [`super::Speed::Max`] the player waits at half of it instead.
pub(super) const QUEUE_ITEMS: usize = 4096;

/// Sockets a venue takes at once. One more is answered 503. The real ones allow more (`exchanges.md` B).
pub(super) const SOCKETS_MAX: usize = 256;

/// What reaches every socket of a venue, in one order.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A liquidation frame.
    Liquidations(Arc<Published>),
    /// Market time, in milliseconds: companion frames are due.
    Tick(i64),
    /// A fault that happens once.
    Action(Action),
}

/// A liquidation frame as the venue words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// What subscriptions select by: the lower-case symbol (Binance), the symbol (Bybit), the `instType` (OKX).
    pub(super) key: String,
    /// The frame, one JSON object.
    pub(super) text: Utf8Bytes,
}

/// How many sockets there are. Every change of a subscription is a change of it, also where the figures stay.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sockets {
    pub(super) opened: u64,
    pub(super) connected: usize,
    pub(super) subscribed: usize,
    pub(super) cut_slow: u64,
}

/// One venue's side of the simulator.
pub(super) struct Hub {
    pub(super) items: broadcast::Sender<Item>,
    pub(super) drained: Notify,
    pub(super) faults: watch::Sender<Faults>,
    pub(super) sockets: watch::Sender<Sockets>,
    pub(super) frames_sent: AtomicU64,
    pub(super) instruments: Instruments,
}

impl Hub {
    pub(super) fn new(faults: Faults, instruments: Instruments) -> Self {
        Self {
            items: broadcast::Sender::new(QUEUE_ITEMS),
            drained: Notify::new(),
            faults: watch::Sender::new(faults),
            sockets: watch::Sender::default(),
            frames_sent: AtomicU64::new(0),
            instruments,
        }
    }

    /// Hands `item` to every socket; one whose queue is full loses its connection.
    pub(super) fn send(&self, item: Item) {
        // An error says that there is no socket.
        let _ = self.items.send(item);
    }

    /// Hands `item` to every socket, first waiting until the slowest one has room.
    ///
    /// A socket that takes nothing is dropped by its own send timeout, so this ends.
    pub(super) async fn send_waiting(&self, item: Item) {
        while self.items.len() >= QUEUE_ITEMS / 2 {
            self.drained.notified().await;
        }
        self.send(item);
    }

    pub(super) fn count_frame(&self) {
        self.frames_sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a venue lists: rows of its own instruments reply.
pub(super) struct Instruments {
    rows: Vec<Value>,
    names: BTreeSet<String>,
}

impl Instruments {
    /// Takes rows named by their field `name_field`.
    pub(super) fn new(rows: Vec<Value>, name_field: &str) -> Self {
        let names = rows.iter().filter_map(|row| row[name_field].as_str()).map(str::to_owned).collect();
        Self { rows, names }
    }

    /// Adds the rows that are not listed yet.
    pub(super) fn with(self, rows: Vec<Value>, name_field: &str) -> Self {
        let is_new = |row: &Value| row[name_field].as_str().is_some_and(|name| !self.has(name));
        let rows = self.rows.iter().cloned().chain(rows.into_iter().filter(is_new)).collect();
        Self::new(rows, name_field)
    }

    pub(super) fn rows(&self) -> &[Value] {
        &self.rows
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Everything the tasks share. Each part has one writer: the player (clock, playback, history), the control (faults),
/// the sockets (counts).
pub(super) struct Shared {
    hubs: [Hub; 3],
    pub(super) market: Market,
    pub(super) clock: watch::Sender<Clock>,
    pub(super) playback: watch::Sender<Option<Playback>>,
    pub(super) history: Mutex<History>,
    pub(super) timing: Timing,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    pub(super) fn new(hubs: [Hub; 3], market: Market, timing: Timing, shutdown: CancellationToken) -> Self {
        Self {
            hubs,
            market,
            clock: watch::Sender::new(Clock::Wall),
            playback: watch::Sender::new(None),
            history: Mutex::default(),
            timing,
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    pub(super) fn hub(&self, venue: Exchange) -> &Hub {
        &self.hubs[venue as usize]
    }

    /// Returns market time, in milliseconds.
    pub(super) fn market_ms(&self) -> i64 {
        self.clock.borrow().now_ms()
    }

    /// Returns what `venue` takes for the time, its fault included, in milliseconds.
    pub(super) fn venue_ms(&self, venue: Exchange) -> i64 {
        self.market_ms() + self.hub(venue).faults.borrow().clock_ms
    }

    /// Keeps what the venue's REST history will tell of a frame that is being published.
    pub(super) fn remember(&self, venue: Exchange, frame: &Published) {
        match venue {
            Exchange::Okx => self.history.lock().expect("nothing panics while it holds the history").push(&frame.text),
            // exchanges.md A.1, A.2: neither has a public history.
            Exchange::Binance | Exchange::Bybit => {}
        }
    }
}
