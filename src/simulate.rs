//! A local market: the three venues' own WebSocket and REST protocols and stand-ins for Telegram's Bot API and the existing
//! market-data service, on one loopback port. The demo and the tests run against it; `foreshock simulate` runs it alone.
//!
//! # What is served
//!
//! | base URL | what |
//! |---|---|
//! | `ws://ADDR/binance` | `/market/stream?streams=a/b` (wrapped), `/market/ws/<stream>` (raw), SUBSCRIBE on the socket; the retired `/stream` and `/ws/<stream>` connect, acknowledge and stay silent. Streams: `!forceOrder@arr`, `<symbol>@forceOrder`, `<symbol>@markPrice@1s` (and without `@1s` every 3 s). A ping frame every 3 min, cut without a pong for 10 min, cut beyond 10 messages a second |
//! | `http://ADDR/binance` | `/fapi/v1/exchangeInfo`, `/fapi/v1/time`, `/fapi/v1/openInterest` of one symbol, `/fapi/v1/premiumIndex` of one or all |
//! | `ws://ADDR/bybit` | `/v5/public/linear`. Topics: `allLiquidation.<symbol>`, `tickers.<symbol>` (a snapshot, then deltas of what changed); an unknown topic refuses the whole batch; `{"op":"ping"}`; cut when nothing was heard for 10 min |
//! | `http://ADDR/bybit` | `/v5/market/instruments-info` with cursor pages, `/v5/market/time`, `/v5/market/tickers` of one or all linear contracts (`openInterest` counts both sides) |
//! | `ws://ADDR/okx` | `/ws/v5/public`. Channels: `liquidation-orders` by `instType`, `open-interest` (every 3 s when changed) and `mark-price` (every second) by `instId`; 60018 for anything else; text `ping`; cut when nothing went either way for 30 s |
//! | `http://ADDR/okx` | `/api/v5/public/instruments`, `/api/v5/public/time`, `/api/v5/public/liquidation-orders` (what was published so far, newest first, at most 10,000), `/api/v5/public/open-interest` and `/api/v5/public/mark-price` of one or all swaps |
//! | `http://ADDR/telegram` | the Bot API: see [`telegram`] |
//! | `http://ADDR/market-data` | `POST /multi_oi`, `POST /combined_price`, `GET /health`, see below |
//! | `http://ADDR/control` | the control below |
//!
//! # Where the market comes from
//!
//! [`Source::Seed`]: a synthetic market from the present on, in real time or faster. What happens in market second n depends
//! on the seed and n alone, so every connection and every run sees the same. Quiet liquidations, about twenty large ones an hour, and storms
//! that are cascades by the rules as shipped. Each venue publishes as the real one does: Binance the largest of each
//! symbol and second when the second closes (`E` about `T` + 1000, with some COIN-M contracts in `!forceOrder@arr`),
//! Bybit everything, in batches of half a second and symbol, OKX single events, HYPE among them, which it does not list.
//! At a speed above real time every time in frames and replies follows market time, connections are still kept in real
//! time, and companion frames are sent as those of a recording are. With `wait_subscribers` it starts once that many
//! sockets are subscribed to the liquidations of each venue, and waits as a recording does.
//!
//! A [`Scenario`] plants one event in the open interest of BTC, or in its price, after 20 quiet minutes; there are no
//! storms then, and everything depends on the seed and the market time since the start. [`Scenario::samples`] is what an
//! ideal ingest would make of it. When it is over the market goes on.
//!
//! [`Source::Recording`]: the frames of one venue, one JSON a line, plain or gzip, played in file order at their
//! recorded times (Binance `E`, Bybit `ts`, OKX the newest `ts`). Wrapped Binance frames are unwrapped; lines that are
//! no liquidation frames are skipped and counted. The recording starts once `wait_subscribers` sockets are subscribed
//! to the venue's liquidations and have left their subscriptions alone for 300 ms; until then the market clock runs in
//! real time in the hour before the first frame. After the last frame it goes on at the same speed; at [`Speed::Max`] it
//! jumps to 2 minutes past the end and goes on in real time. Companion frames (mark prices, tickers, open interest; their
//! values are synthetic) are sent on all three venues at every second of market time, at most 1,000 rounds a second in
//! real time, and are never stamped later than a liquidation of an earlier time that is still to come (unless that is
//! over 3 s late).
//!
//! # Who waits for whom
//!
//! Every socket of a venue gets the same frames in the same order. A socket that falls 4,096 frames behind, or takes
//! nothing for 30 s, is disconnected and counted (`cut_slow`), and delays no other. At [`Speed::Max`] the player waits
//! for the slowest socket of the recorded venue instead, so nothing is lost; a socket that takes nothing for 30 s is
//! disconnected there too. `done` means handed to every socket's queue.
//!
//! # The market-data service
//!
//! A call of `multi_oi` makes as many upstream requests as the real service (29 to six venues), in parallel between venues,
//! one after the other within one, and answers with the same wrong figures. `combined_price` stands for everything else the
//! service is there for: it makes one request to Binance. A venue takes one request at a time, whichever call it is for, so
//! the one call is slowed down by the other. Its answers of the simulated venues follow the market, scenario included.
//!
//! # Faults
//!
//! [`Faults`] hold until they are replaced, [`Action`]s happen once to the sockets that are open. In-process through
//! [`Simulator::control`]; over HTTP:
//!
//! ```text
//! GET  /control    {"market_ms", "playback": null | {"position","frames","skipped","done"},
//!                   "scenario": null | {"name","elapsed_ms","done"},
//!                   "venues": {"binance": {"connected","subscribed","opened","cut_slow","frames_sent",
//!                                          "rest_requests": {path: count}, "faults"}, …},
//!                   "market_data": {"calls": {endpoint: count}, "upstream_requests": {venue: count}, "behaviour"}}
//! POST /control    {"venue": "binance"|"bybit"|"okx" (absent: all), "faults": {…}, "action": "…", "market_data": {…}};
//!                  answers as GET does, 400 {"error"} when it is not understood
//!   faults (replaced as a whole; {} is healthy)
//!     "silence"              "answering": sockets stay open and pings are answered, data does not come;
//!                            "deaf": nothing is read or answered either. What falls into the silence is lost
//!     "malformed"            probability that a data frame is preceded by JSON of the wrong shape
//!     "truncated"            … by the first half of itself
//!     "oversized"            … by a frame of more than 1 MiB
//!     "duplicate"            probability that a liquidation frame is sent twice
//!     "disorder"             {"probability", "max_ms"}: a liquidation frame is held up to max_ms, later ones overtake it
//!     "refuse_topics"        ["…"]: Binance streams, Bybit topics, OKX channels, refused as unknown ones are
//!                            (in a Binance URL: taken and silent)
//!     "refuse_sockets"       how upgrades are refused: "restricted" (451 JSON), "forbidden" (403 HTML),
//!                            "rate_limited" (429; Bybit retCode 10006), "banned" (418; Bybit 403; OKX 429),
//!                            "unavailable" (503 HTML)
//!     "refuse_rest"          how REST requests are refused: the same words
//!     "frozen_interest"      true: open interest and its times stand still, everything else goes on: Bybit's deltas come
//!                            without it, OKX sends none, REST repeats it
//!     "disconnect_every_ms"  each socket is dropped this long after it was opened
//!     "clock_ms"             added to every time the venue states
//!   action
//!     "disconnect"           dropped without a close frame
//!     "half_open"            left open, never read or written again; new connections work
//!     "notice"               OKX announces an upgrade (64008) and cuts 60 s later; other venues do nothing
//!     "malformed", "oversized"   one such frame
//!   market_data (replaced as a whole; {} is healthy)
//!     "upstream_ms"          {venue: how long one request takes}; 100 where none is given
//!     "failed"               ["…"]: upstream venues that are left out; hyperliquid: HTTP 200 with "success": false
//!     "crash"                true: 500 with plain text
//!     "delay_ms"             added to every answer
//! ```

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State as Shares},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use ingest::exchange::Exchange;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;

mod binance;
mod bybit;
mod clock;
mod control;
mod fault;
mod hub;
mod listener;
mod market;
mod market_data;
mod okx;
mod player;
mod recording;
mod scenario;
mod session;
mod socket;
mod source;
pub mod telegram;
#[cfg(test)]
mod tests;

pub use control::{Control, Playback, ScenarioState, State, VenueState};
pub use fault::{Action, Disorder, Faults, Refusal, Silence};
pub use market::Storms;
pub use market_data::{MarketData, MarketDataState, Upstream};
pub use recording::FileError;
pub use scenario::Scenario;
pub use source::{Source, Speed};

use hub::{Hub, Instruments, Shared};
use listener::{Connection, Resettable};
use source::{Play, Prepared};

/// A free port on loopback.
pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the market comes from.
    pub source: Source,
    /// How the venues keep and end connections.
    pub timing: Timing,
    /// What venues do wrong from the start.
    pub faults: BTreeMap<Exchange, Faults>,
}

/// How the venues keep and end connections, in real time. The default is what the venues do (`exchanges.md` B).
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Binance sends a ping frame this often: 3 min.
    pub binance_ping: Duration,
    /// Binance cuts when no pong came for this long: 10 min.
    pub binance_pong_within: Duration,
    /// Bybit cuts when it heard nothing for this long: 10 min.
    pub bybit_idle: Duration,
    /// OKX cuts when nothing went either way for this long: 30 s.
    pub okx_idle: Duration,
    /// OKX cuts this long after its upgrade notice: 60 s.
    pub okx_notice: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            binance_ping: Duration::from_secs(180),
            binance_pong_within: Duration::from_secs(600),
            bybit_idle: Duration::from_secs(600),
            okx_idle: Duration::from_secs(30),
            okx_notice: Duration::from_secs(60),
        }
    }
}

/// The simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken or not allowed.
    #[error("cannot listen on {at}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A speed is a finite multiple above zero.
    #[error("{0} is no speed: a multiple above zero is")]
    Speed(f64),
    /// An invented market goes on for ever.
    #[error("an invented market has no end to run to: a speed such as 60x is needed, not max")]
    Endless,
    /// The recording or the instruments cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A running simulator. Cancelling its token stops it; dropping the handle does not.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    bot: telegram::Bot,
    server: JoinHandle<io::Result<()>>,
    player: JoinHandle<()>,
}

/// Starts a simulator. It listens when this returns, and runs until `shutdown` is cancelled.
///
/// # Errors
/// The port is taken, the speed is none, or a file cannot be used; each before anything runs.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Simulator, StartError> {
    let Config { listen, source, timing, faults } = config;
    let prepared = source::prepare(source).await?;
    launch(listen, prepared, timing, faults, shutdown).await
}

async fn launch(
    at: SocketAddr,
    prepared: Prepared,
    timing: Timing,
    faults: BTreeMap<Exchange, Faults>,
    shutdown: CancellationToken,
) -> Result<Simulator, StartError> {
    let Prepared { market, clock, instruments: mut given, play } = prepared;
    let mut hub = |venue, built_in: fn() -> Instruments| match given.take_if(|(of, _)| *of == venue) {
        Some((_, instruments)) => Hub::new(instruments),
        None => Hub::new(built_in()),
    };
    let hubs = [
        hub(Exchange::Binance, binance::instruments),
        hub(Exchange::Bybit, bybit::instruments),
        hub(Exchange::Okx, okx::instruments),
    ];
    let shared = Arc::new(Shared::new(hubs, market, clock, timing, shutdown.clone()));
    for (venue, faults) in faults {
        shared.set_faults(venue, faults);
    }
    if let Play::Recording { recording, .. } = &play {
        let (frames, skipped) = (recording.frames.len() as u64, recording.skipped);
        shared.playback.send_replace(Some(Playback { position: 0, frames, skipped, done: false }));
    }
    let listen = |source| StartError::Listen { at, source };
    let tcp = TcpListener::bind(at).await.map_err(listen)?;
    let addr = tcp.local_addr().map_err(listen)?;
    let bot = telegram::Bot::new(shutdown.clone());
    let app = router(&shared).merge(telegram::routes(bot.clone()));
    let server = axum::serve(Resettable(tcp), app.into_make_service_with_connect_info::<Connection>())
        .with_graceful_shutdown(shutdown.cancelled_owned());
    let server = tokio::spawn(server.into_future());
    let player = tokio::spawn(run(Arc::clone(&shared), play));
    Ok(Simulator { addr, shared, bot, server, player })
}

async fn run(shared: Arc<Shared>, play: Play) {
    let played = async {
        match play {
            Play::Seed { speed, start_ms, wait_subscribers } => {
                player::play_seed(&shared, speed, start_ms, wait_subscribers).await;
            }
            Play::Recording { venue, recording, speed, wait_subscribers } => {
                player::play_recording(&shared, venue, speed, &recording, wait_subscribers).await;
            }
        }
    };
    tokio::select! {
        () = shared.shutdown.cancelled() => {}
        () = played => {}
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let guarded = |venue, rest: Router<Arc<Shared>>| {
        rest.route_layer(from_fn_with_state((Arc::clone(shared), venue), guard_rest))
    };
    Router::new()
        .merge(binance::sockets())
        .merge(bybit::sockets())
        .merge(okx::sockets())
        .merge(guarded(Exchange::Binance, binance::rest()))
        .merge(guarded(Exchange::Bybit, bybit::rest()))
        .merge(guarded(Exchange::Okx, okx::rest()))
        .merge(market_data::routes())
        .merge(control::routes())
        .with_state(Arc::clone(shared))
}

/// Counts a request, and refuses it where the venue does.
async fn guard_rest(
    Shares((shared, venue)): Shares<(Arc<Shared>, Exchange)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let of_venue = path.strip_prefix('/').and_then(|path| path.strip_prefix(venue.as_str()));
    shared.hub(venue).count_rest(of_venue.unwrap_or(path));
    match shared.faults(venue).refuse_rest {
        Some(refusal) => fault::refuse(venue, refusal, shared.venue_ms(venue)),
        None => next.run(request).await,
    }
}

impl Simulator {
    /// Returns the address it listens on.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the base URL of a venue's WebSockets.
    pub fn ws_url(&self, venue: Exchange) -> String {
        format!("ws://{}/{venue}", self.addr)
    }

    /// Returns the base URL of a venue's REST.
    pub fn http_url(&self, venue: Exchange) -> String {
        format!("http://{}/{venue}", self.addr)
    }

    /// Returns the base URL of the Bot API.
    pub fn telegram_url(&self) -> String {
        format!("http://{}/telegram", self.addr)
    }

    /// Returns the base URL of the stand-in of the market-data service.
    pub fn market_data_url(&self) -> String {
        format!("http://{}/market-data", self.addr)
    }

    /// Returns the handle on the venues.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// Returns the handle on the Bot API.
    pub fn telegram(&self) -> telegram::Bot {
        self.bot.clone()
    }

    /// Returns when the last frame of the recording was handed to every socket; in a seeded market never.
    pub async fn done(&self) {
        let mut playback = self.shared.playback.subscribe();
        // The sender lives in `shared`, so this never fails.
        let _ = playback.wait_for(|playback| playback.is_some_and(|playback| playback.done)).await;
    }

    /// Waits until everything has ended, which it does after the token was cancelled.
    ///
    /// # Errors
    /// A task panicked.
    pub async fn join(self) -> Result<(), JoinError> {
        let (served, ()) = tokio::try_join!(self.server, self.player)?;
        // axum retries every error of accept and never ends with one.
        let _ = served;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        Ok(())
    }
}
