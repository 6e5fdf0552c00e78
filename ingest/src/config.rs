//! What an ingest process is told; every figure has a default, and tests shorten the timings.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemas::name::Base;
use url::Url;

use crate::exchange::Exchange;

/// Configuration of [`crate::run::run`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The venues to follow and where they are.
    pub venues: BTreeMap<Exchange, Endpoints>,
    /// Which bases are kept.
    pub bases: Bases,
    /// Name of this process in feed events; distinct between redundant ingests.
    pub instance: String,
    /// Whether the market is the live one or a recording.
    pub market: Market,
    /// How long MARKET keeps events (default 7 days): what is older is refused as `past`.
    pub retention: Duration,
    /// Waits and limits in time.
    pub timings: Timings,
    /// How open interest is sampled.
    pub open_interest: OpenInterest,
}

/// How open interest is sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenInterest {
    /// Whose USDT perpetuals are sampled; none: no sampling at all.
    pub bases: BTreeSet<Base>,
    /// Where the samples come from.
    pub source: Source,
}

/// Where samples of open interest come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The venues themselves.
    #[default]
    Direct,
    /// The existing market-data service at this base URL, read only (exchanges.md F.1).
    MarketData(Url),
}

/// Where a venue is reached: base URLs without a path; the path belongs to the venue's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// WebSocket base, `wss://host[:port]`.
    pub ws: Url,
    /// REST base, `https://host[:port]`.
    pub rest: Url,
}

impl Endpoints {
    /// Returns the production addresses of `exchange` (exchanges.md A.1, A.2, A.3, D).
    pub fn production(exchange: Exchange) -> Self {
        let (ws, rest) = match exchange {
            Exchange::Binance => ("wss://fstream.binance.com", "https://fapi.binance.com"),
            Exchange::Bybit => ("wss://stream.bybit.com", "https://api.bybit.com"),
            Exchange::Okx => ("wss://ws.okx.com:8443", "https://www.okx.com"),
        };
        let url = |text: &str| Url::parse(text).expect("the addresses above are URLs");
        Self { ws: url(ws), rest: url(rest) }
    }
}

/// Which bases are kept; events of others are counted as untracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bases {
    /// All of them.
    All,
    /// These, in upper case.
    Only(BTreeSet<Base>),
}

impl Bases {
    /// Returns whether events of `base` are kept.
    pub fn contains(&self, base: &Base) -> bool {
        match self {
            Self::All => true,
            Self::Only(bases) => bases.contains(base),
        }
    }
}

/// The mode of the whole installation (design 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// What the venues say now.
    Live,
    /// A recording: no checks of time, `received_at` is the event time, venue time may run faster than ours.
    Recorded,
}

/// Waits and limits in time, on this host's monotonic clock unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// From the start of a connection attempt to a confirmed subscription with data. Then the attempt is given up.
    pub connect_timeout: Duration,
    /// Silence of a proven socket after which it is dead. With `check_every` a dead feed is known within 10 s (design 9).
    pub stale_after: Duration,
    /// How often silence, keepalive and renewal are looked at.
    pub check_every: Duration,
    /// Age of a Binance socket at which it is replaced: the venue cuts at 24 h (exchanges.md B).
    pub renew_after: Duration,
    /// How long both sockets of a replacement are heard, so that whatever was on its way on either arrives.
    pub overlap: Duration,
    /// First wait before a new attempt; it doubles from one failure to the next (design 9).
    pub backoff_min: Duration,
    /// Longest wait before a new attempt.
    pub backoff_max: Duration,
    /// Health after which the waits begin at `backoff_min` again.
    pub healthy_after: Duration,
    /// Wait after the venue refused this region.
    pub refused_retry: Duration,
    /// Age of the instruments at which they are fetched again (exchanges.md C.6).
    pub instruments_refresh: Duration,
    /// Wait after a refresh that failed while instruments are known: Bybit's block demands ten minutes without any
    /// request (exchanges.md C.7).
    pub instruments_retry: Duration,
    /// Longest time of one REST request.
    pub rest_timeout: Duration,
    /// Longest time of a whole backfill; `alive` is held back meanwhile, and a slower one is given up.
    pub backfill_timeout: Duration,
    /// How often the turn to ask a venue for open interest is asked for, so that it is kept or taken over.
    pub turn_every: Duration,
    /// How long a feed must have been live before it may write `alive` (design 4, promise (b)).
    pub alive_after: Duration,
    /// Bybit: how often `{"op":"ping"}` is sent (exchanges.md B).
    pub bybit_ping: Duration,
    /// OKX: silence after which the text `ping` is sent; the venue cuts after 30 s (exchanges.md B), and below
    /// `stale_after` it gives a quiet but working connection the chance to say so.
    pub okx_ping: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stale_after: Duration::from_secs(8),
            check_every: Duration::from_secs(1),
            renew_after: Duration::from_hours(23),
            overlap: Duration::from_secs(2),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(16),
            healthy_after: Duration::from_mins(1),
            refused_retry: Duration::from_hours(1),
            instruments_refresh: Duration::from_hours(6),
            instruments_retry: Duration::from_mins(10),
            rest_timeout: Duration::from_secs(10),
            backfill_timeout: Duration::from_secs(30),
            turn_every: Duration::from_secs(3),
            alive_after: Duration::from_secs(10),
            bybit_ping: Duration::from_secs(20),
            okx_ping: Duration::from_secs(5),
        }
    }
}

/// Default of [`Config::retention`]: what MARKET keeps as shipped (design 3).
pub const RETENTION: Duration = Duration::from_hours(7 * 24);
