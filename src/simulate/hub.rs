//! What is shared between the player, the sockets, the REST handlers and the control.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
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
    fault::{Action, Faults, Refusal},
    market::Market,
    market_data::Service,
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
    /// REST requests by path, answered or refused; paths are those of the routes.
    pub(super) rest_requests: Mutex<BTreeMap<String, u64>>,
    pub(super) instruments: Instruments,
    /// Market time at which open interest was frozen by a fault; [`FLOWING`] while it is not.
    frozen_ms: AtomicI64,
}

/// Stands for open interest that is not frozen.
const FLOWING: i64 = i64::MAX;

impl Hub {
    pub(super) fn new(instruments: Instruments) -> Self {
        Self {
            items: broadcast::Sender::new(QUEUE_ITEMS),
            drained: Notify::new(),
            faults: watch::Sender::default(),
            sockets: watch::Sender::default(),
            frames_sent: AtomicU64::new(0),
            rest_requests: Mutex::default(),
            instruments,
            frozen_ms: AtomicI64::new(FLOWING),
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

    pub(super) fn count_rest(&self, path: &str) {
        let mut requests = self.rest_requests.lock().expect("nothing panics while it holds the counts");
        *requests.entry(path.to_owned()).or_default() += 1;
    }
}

/// What a venue lists: rows of its own instruments reply.
pub(super) struct Instruments {
    rows: Vec<Value>,
    /// Names, each with the index of its row.
    names: BTreeMap<String, usize>,
}

impl Instruments {
    /// Takes rows named by their field `name_field`.
    pub(super) fn new(rows: Vec<Value>, name_field: &str) -> Self {
        let name = |(index, row): (usize, &Value)| Some((row[name_field].as_str()?.to_owned(), index));
        let names = rows.iter().enumerate().filter_map(name).collect();
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

    /// Returns the names, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Returns the row of an instrument.
    pub(super) fn row(&self, name: &str) -> Option<&Value> {
        self.names.get(name).map(|index| &self.rows[*index])
    }
}

/// Everything the tasks share. Each part has one writer: the player (clock, playback, history), the control (faults),
/// the sockets and REST (counts).
pub(super) struct Shared {
    hubs: [Hub; 3],
    pub(super) market: Market,
    pub(super) clock: watch::Sender<Clock>,
    pub(super) playback: watch::Sender<Option<Playback>>,
    pub(super) history: Mutex<History>,
    pub(super) market_data: Service,
    pub(super) timing: Timing,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        hubs: [Hub; 3],
        market: Market,
        clock: Clock,
        timing: Timing,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            hubs,
            market,
            clock: watch::Sender::new(clock),
            playback: watch::Sender::new(None),
            history: Mutex::default(),
            market_data: Service::default(),
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

    /// Returns when market time is `at_ms`.
    pub(super) async fn sleep_until_market(&self, at_ms: i64) {
        let clock = *self.clock.borrow();
        clock.sleep_until(at_ms).await;
    }

    /// Returns how far the clock of `venue` is off, in milliseconds.
    pub(super) fn offset_ms(&self, venue: Exchange) -> i64 {
        self.hub(venue).faults.borrow().clock_ms
    }

    /// Returns what `venue` takes for the time, its fault included, in milliseconds.
    pub(super) fn venue_ms(&self, venue: Exchange) -> i64 {
        self.market_ms() + self.offset_ms(venue)
    }

    /// Returns the market time that the open interest published by `venue` at `at_ms` is of: earlier when it is frozen.
    pub(super) fn interest_ms(&self, venue: Exchange, at_ms: i64) -> i64 {
        self.market.interest_ms(venue, at_ms).min(self.hub(venue).frozen_ms.load(Ordering::Relaxed))
    }

    /// Replaces what `venue` is asked to do wrong. Open interest freezes as it is now, unless it is frozen already.
    pub(super) fn set_faults(&self, venue: Exchange, faults: Faults) {
        let hub = self.hub(venue);
        let frozen_ms =
            if faults.frozen_interest { hub.frozen_ms.load(Ordering::Relaxed).min(self.market_ms()) } else { FLOWING };
        hub.frozen_ms.store(frozen_ms, Ordering::Relaxed);
        hub.faults.send_replace(faults);
    }

    /// Returns what `venue` does wrong: what it is asked to, and what the scenario has it do.
    pub(super) fn faults(&self, venue: Exchange) -> Faults {
        let now_ms = self.market_ms();
        let mut faults = self.hub(venue).faults.borrow().clone();
        if self.market.is_down(venue, now_ms) {
            faults.refuse_sockets.get_or_insert(Refusal::Unavailable);
            faults.refuse_rest.get_or_insert(Refusal::Unavailable);
        }
        faults.frozen_interest |= self.market.interest_ms(venue, now_ms) < now_ms;
        faults
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
