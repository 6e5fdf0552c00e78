//! A local market: the three venues' own WebSocket and REST protocols and a stand-in for Telegram's Bot API, on one
//! loopback port. The demo and the tests run against it; `foreshock simulate` runs it alone.
//!
//! # What is served
//!
//! | base URL | what |
//! |---|---|
//! | `ws://ADDR/binance` | `/market/stream?streams=a/b` (wrapped), `/market/ws/<stream>` (raw), SUBSCRIBE on the socket; the retired `/stream` and `/ws/<stream>` connect, acknowledge and stay silent. Streams: `!forceOrder@arr`, `<symbol>@forceOrder`, `<symbol>@markPrice@1s` (and without `@1s` every 3 s). A ping frame every 3 min, cut without a pong for 10 min, cut beyond 10 messages a second |
//! | `http://ADDR/binance` | `/fapi/v1/exchangeInfo`, `/fapi/v1/time` |
//! | `ws://ADDR/bybit` | `/v5/public/linear`. Topics: `allLiquidation.<symbol>`, `tickers.<symbol>` (a snapshot, then deltas); an unknown topic refuses the whole batch; `{"op":"ping"}`; cut when nothing was heard for 10 min |
//! | `http://ADDR/bybit` | `/v5/market/instruments-info` with cursor pages, `/v5/market/time` |
//! | `ws://ADDR/okx` | `/ws/v5/public`. Channels: `liquidation-orders` by `instType`, `open-interest` (every 3 s) and `mark-price` (every second) by `instId`; 60018 for anything else; text `ping`; cut when nothing went either way for 30 s |
//! | `http://ADDR/okx` | `/api/v5/public/instruments`, `/api/v5/public/time`, `/api/v5/public/liquidation-orders` (what was published so far, newest first, at most 10,000) |
//! | `http://ADDR/telegram` | the Bot API: see [`telegram`] |
//! | `http://ADDR/control` | the control below |
//!
//! # Where the market comes from
//!
//! [`Source::Seed`]: a synthetic market in real time. What happens in market second n depends on the seed and n alone,
//! so every connection and every run sees the same. Quiet liquidations, about twenty large ones an hour, and storms
//! that are cascades by the rules as shipped. Each venue publishes as the real one does: Binance the largest of each
//! symbol and second when the second closes (`E` about `T` + 1000, with some COIN-M contracts in `!forceOrder@arr`),
//! Bybit everything, in batches of half a second and symbol, OKX single events, HYPE among them, which it does not list.
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
//! # Faults
//!
//! [`Faults`] hold until they are replaced, [`Action`]s happen once to the sockets that are open. In-process through
//! [`Simulator::control`]; over HTTP:
//!
//! ```text
//! GET  /control    {"market_ms", "playback": null | {"position","frames","skipped","done"},
//!                   "venues": {"binance": {"connected","subscribed","opened","cut_slow","frames_sent","faults"}, …}}
//! POST /control    {"venue": "binance"|"bybit"|"okx" (absent: all), "faults": {…}, "action": "…"}; answers as GET does,
//!                  400 {"error"} when it is not understood
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
//!     "disconnect_every_ms"  each socket is dropped this long after it was opened
//!     "clock_ms"             added to every time the venue states
//!   action
//!     "disconnect"           dropped without a close frame
//!     "half_open"            left open, never read or written again; new connections work
//!     "notice"               OKX announces an upgrade (64008) and cuts 60 s later; other venues do nothing
//!     "malformed", "oversized"   one such frame
//! ```

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
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
    task::{JoinError, JoinHandle, spawn_blocking},
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
mod okx;
mod player;
mod recording;
mod session;
mod socket;
pub mod telegram;
#[cfg(test)]
mod tests;

pub use control::{Control, Playback, State, VenueState};
pub use fault::{Action, Disorder, Faults, Refusal, Silence};
pub use market::Storms;
pub use recording::FileError;

use hub::{Hub, Instruments, Shared};
use listener::{Connection, Resettable};
use recording::Recording;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Where the market comes from.
    pub source: Source,
    /// How the venues keep and end connections.
    pub timing: Timing,
    /// What venues do wrong from the start.
    pub faults: BTreeMap<Exchange, Faults>,
}

/// Where the market comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A synthetic market in real time.
    Seed {
        /// Everything follows from it.
        seed: u64,
        /// Bursts that are cascades; none: a quiet market.
        storms: Option<Storms>,
    },
    /// The recorded liquidations of one venue. The other two are quiet.
    Recording {
        /// Whose frames they are.
        venue: Exchange,
        /// Raw frames, one JSON a line, plain or gzip, at most 256 MiB.
        file: PathBuf,
        /// The venue's own instruments reply, plain or gzip; without it the ones that are built in and, of Binance and
        /// Bybit, the plain USDT and USDC names that occur in the recording.
        instruments: Option<PathBuf>,
        /// How fast market time goes.
        speed: Speed,
        /// Sockets that must be subscribed to the venue's liquidations before the clock starts.
        wait_subscribers: usize,
    },
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This multiple of real time, above zero.
    Times(f64),
    /// As fast as the slowest socket takes it.
    Max,
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
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// Which port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// A speed is a finite multiple above zero.
    #[error("{0} is no speed: a multiple above zero is")]
    Speed(f64),
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
    let Config { port, source, timing, mut faults } = config;
    let mut hub = |venue, instruments| Hub::new(faults.remove(&venue).unwrap_or_default(), instruments);
    let (market, mut given, play) = prepare(source).await?;
    let mut instruments = |venue, built_in: fn() -> Instruments| match given.take_if(|(of, _)| *of == venue) {
        Some((_, instruments)) => instruments,
        None => built_in(),
    };
    let hubs = [
        hub(Exchange::Binance, instruments(Exchange::Binance, binance::instruments)),
        hub(Exchange::Bybit, instruments(Exchange::Bybit, bybit::instruments)),
        hub(Exchange::Okx, instruments(Exchange::Okx, okx::instruments)),
    ];
    let shared = Arc::new(Shared::new(hubs, market, timing, shutdown.clone()));
    if let Play::Recording { recording, .. } = &play {
        let (frames, skipped) = (recording.frames.len() as u64, recording.skipped);
        shared.playback.send_replace(Some(Playback { position: 0, frames, skipped, done: false }));
    }
    let listen = |source| StartError::Listen { port, source };
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
    let addr = tcp.local_addr().map_err(listen)?;
    let bot = telegram::Bot::new(shutdown.clone());
    let app = router(&shared).merge(telegram::routes(bot.clone()));
    let server = axum::serve(Resettable(tcp), app.into_make_service_with_connect_info::<Connection>())
        .with_graceful_shutdown(shutdown.cancelled_owned());
    let server = tokio::spawn(server.into_future());
    let player = tokio::spawn(run(Arc::clone(&shared), play));
    Ok(Simulator { addr, shared, bot, server, player })
}

/// What the player plays.
enum Play {
    Seed,
    Recording { venue: Exchange, recording: Recording, speed: Speed, wait_subscribers: usize },
}

/// Reads and checks what a source needs.
async fn prepare(source: Source) -> Result<(market::Market, Option<(Exchange, Instruments)>, Play), StartError> {
    match source {
        Source::Seed { seed, storms } => Ok((market::Market::new(seed, storms), None, Play::Seed)),
        Source::Recording { venue, file, instruments, speed, wait_subscribers } => {
            if let Speed::Times(times) = speed
                && !(times.is_finite() && times > 0.0)
            {
                return Err(StartError::Speed(times));
            }
            let read = spawn_blocking(move || {
                let given = instruments.map(|file| recording::read_instruments(venue, &file)).transpose()?;
                let recording = Recording::read(venue, &file)?;
                let listed = given.or_else(|| recording::plain_instruments(venue, &recording));
                Ok::<_, FileError>((listed, recording))
            });
            let (given, recording) = read.await.expect("reading does not panic")?;
            let play = Play::Recording { venue, recording, speed, wait_subscribers };
            // Companions need a market too; no storm may move their prices.
            Ok((market::Market::new(0, None), given.map(|given| (venue, given)), play))
        }
    }
}

async fn run(shared: Arc<Shared>, play: Play) {
    let played = async {
        match play {
            Play::Seed => player::play_seed(&shared).await,
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
    let refusing = |venue, rest: Router<Arc<Shared>>| {
        rest.route_layer(from_fn_with_state((Arc::clone(shared), venue), refuse_rest))
    };
    Router::new()
        .merge(binance::sockets())
        .merge(bybit::sockets())
        .merge(okx::sockets())
        .merge(refusing(Exchange::Binance, binance::rest()))
        .merge(refusing(Exchange::Bybit, bybit::rest()))
        .merge(refusing(Exchange::Okx, okx::rest()))
        .merge(control::routes())
        .with_state(Arc::clone(shared))
}

async fn refuse_rest(
    Shares((shared, venue)): Shares<(Arc<Shared>, Exchange)>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = shared.hub(venue).faults.borrow().refuse_rest;
    match refusal {
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
