//! The control: faults and state, in-process and as JSON.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json, Router,
    extract::State as Shares,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use ingest::exchange::Exchange;

use super::{
    fault::{Action, Faults},
    hub::{Item, Shared},
    market_data::{MarketData, MarketDataState},
    scenario::Scenario,
};

/// How far a recording has been played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Playback {
    /// Frames handed to the sockets.
    pub position: u64,
    /// Frames there are.
    pub frames: u64,
    /// Lines of the file that are no liquidation frames.
    pub skipped: u64,
    /// Whether the last frame was handed to the sockets.
    pub done: bool,
}

/// What the simulator is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct State {
    /// Market time, in milliseconds since 1970 UTC.
    pub market_ms: i64,
    /// The recording; absent in the seeded market.
    pub playback: Option<Playback>,
    /// What is planted in the seeded market; absent where nothing is.
    pub scenario: Option<ScenarioState>,
    /// Each venue.
    pub venues: BTreeMap<Exchange, VenueState>,
    /// The stand-in of the market-data service.
    pub market_data: MarketDataState,
}

/// How far a scenario has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScenarioState {
    /// Which one.
    pub name: Scenario,
    /// Market time since its start, in milliseconds.
    pub elapsed_ms: i64,
    /// Whether it is over; the market goes on quietly then.
    pub done: bool,
}

/// What one venue is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VenueState {
    /// Sockets that are open, half-open ones aside.
    pub connected: usize,
    /// Of these, sockets subscribed to liquidations.
    pub subscribed: usize,
    /// Sockets opened since the start.
    pub opened: u64,
    /// Sockets disconnected because they were too slow.
    pub cut_slow: u64,
    /// Text frames sent, of every kind.
    pub frames_sent: u64,
    /// REST requests by path, refused ones included.
    pub rest_requests: BTreeMap<String, u64>,
    /// What the venue does wrong, by request or because the scenario has it so.
    pub faults: Faults,
}

/// The handle on the simulated venues.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Replaces what `venue` does wrong; the default makes it healthy.
    pub fn set_faults(&self, venue: Exchange, faults: Faults) {
        self.shared.set_faults(venue, faults);
    }

    /// Replaces how the stand-in of the market-data service behaves; the default makes it healthy.
    pub fn set_market_data(&self, behaviour: MarketData) {
        self.shared.market_data.behave(behaviour);
    }

    /// Does something once to every socket of `venue` that is open.
    pub fn act(&self, venue: Exchange, action: Action) {
        self.shared.hub(venue).send(Item::Action(action));
    }

    /// Returns what the simulator is doing.
    pub fn state(&self) -> State {
        let market_ms = self.shared.market_ms();
        let venue_state = |venue: Exchange| {
            let hub = self.shared.hub(venue);
            let sockets = *hub.sockets.borrow();
            let state = VenueState {
                connected: sockets.connected,
                subscribed: sockets.subscribed,
                opened: sockets.opened,
                cut_slow: sockets.cut_slow,
                frames_sent: hub.frames_sent.load(Ordering::Relaxed),
                rest_requests: hub.rest_requests.lock().expect("nothing panics while it holds the counts").clone(),
                faults: self.shared.faults(venue),
            };
            (venue, state)
        };
        let scenario = self.shared.market.planted().map(|planted| ScenarioState {
            name: planted.scenario,
            elapsed_ms: planted.elapsed_ms(market_ms),
            done: planted.is_done(market_ms),
        });
        State {
            market_ms,
            playback: *self.shared.playback.borrow(),
            scenario,
            venues: Exchange::ALL.into_iter().map(venue_state).collect(),
            market_data: self.shared.market_data.state(),
        }
    }

    /// Returns when `venue` has at least `sockets` sockets subscribed to liquidations.
    pub async fn subscribed(&self, venue: Exchange, sockets: usize) {
        let mut counts = self.shared.hub(venue).sockets.subscribe();
        // The sender lives in `shared`, so this never fails.
        let _ = counts.wait_for(|counts| counts.subscribed >= sockets).await;
    }
}

/// The body of `POST /control`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Absent: every venue.
    venue: Option<Exchange>,
    faults: Option<Faults>,
    action: Option<Action>,
    market_data: Option<MarketData>,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/control", get(state).post(order))
}

async fn state(Shares(shared): Shares<Arc<Shared>>) -> Json<State> {
    Json(Control::new(shared).state())
}

async fn order(Shares(shared): Shares<Arc<Shared>>, body: String) -> Response {
    let order: Order = match serde_json::from_str(&body) {
        Ok(order) => order,
        Err(error) => return (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    };
    let control = Control::new(shared);
    if let Some(behaviour) = order.market_data {
        control.set_market_data(behaviour);
    }
    for venue in Exchange::ALL.into_iter().filter(|venue| order.venue.is_none_or(|one| one == *venue)) {
        if let Some(faults) = &order.faults {
            control.set_faults(venue, faults.clone());
        }
        if let Some(action) = order.action {
            control.act(venue, action);
        }
    }
    Json(control.state()).into_response()
}
