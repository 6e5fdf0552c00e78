//! Runs the feeds: one task per venue, none of which waits for another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use schemas::{
    market::MarketEvent,
    name::{Base, Instrument, Venue},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::{
    account::Accounts,
    config::{Bases, Config, Endpoints, Source},
    exchange::Exchange,
    feed::{Feed, Stop, Wiring},
    follow::{Link, Listing, follow},
    instruments::Instruments,
    monitor::Monitor,
    normalize::Normalizer,
    open_interest::{
        collector::{Collector, Heard},
        external_venues,
        market_data::{MarketData, Service},
        perpetual,
        plan::{self, TooManyBases},
        sampler::Sampler,
        teller::Teller,
    },
    rest::Rest,
    skew::Clocks,
};

/// Frames of open interest between a socket and its collector; when it is full the socket waits.
const HEARD: usize = 64;

/// One event of a venue, in the order in which it is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// A liquidation, a sample of open interest, a change of a feed, or an `alive`.
    pub event: MarketEvent,
    /// Whether it came over REST after a gap: what MARKET already holds is to be read before it is published (design 3).
    pub backfill: bool,
}

/// The feeds ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A configured venue has no channel.
    #[error("no output for venue {0}")]
    NoOutput(Venue),
    /// Open interest of more bases than a budget carries.
    #[error("open interest cannot be sampled")]
    OpenInterest(#[from] TooManyBases),
    /// No REST client can be built.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// The receiver of a venue's observations is gone.
    #[error("nobody takes the events of {0}")]
    OutputClosed(Venue),
    /// A venue's task panicked.
    #[error("the task of a venue ended")]
    Task(#[source] tokio::task::JoinError),
}

/// Follows every configured venue until `shutdown` is cancelled, handing on what each says through its own channel.
///
/// `outputs` holds one bounded channel per configured venue, and with [`Source::MarketData`] one per
/// [`external_venues`]; a full one holds back that venue alone. Every REST request is spent from `accounts` first. A
/// process-wide rustls provider must be installed before. Dropping the future ends all connections; what was read and not
/// yet handed on is lost.
///
/// # Errors
/// [`RunError`] when the feeds cannot start, or one of them ends without being asked to; then all are ended.
pub async fn run(
    config: Config,
    outputs: BTreeMap<Venue, mpsc::Sender<Observation>>,
    accounts: Arc<dyn Accounts>,
    monitor: Monitor,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    plan::check(&config.open_interest, config.venues.keys().copied())?;
    let timings = &config.timings;
    let rest = Rest::new(timings.rest_timeout, timings.refused_retry, accounts.clone()).map_err(RunError::Client)?;
    // Cancelled with the caller's token, and by us when one feed fails.
    let shutdown = shutdown.child_token();
    let tasks = JoinSet::new();
    let mut start = Start { config, outputs, accounts, monitor, rest, clocks: Clocks::default(), shutdown, tasks };
    for (exchange, endpoints) in start.config.venues.clone() {
        start.venue(exchange, &endpoints)?;
    }
    if let Source::MarketData(url) = start.config.open_interest.source.clone() {
        start.market_data(url)?;
    }
    let Start { shutdown, mut tasks, outputs, .. } = start;
    // A receiver sees the end of its venue.
    drop(outputs);
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = match ended {
            Ok((_, Stop::Shutdown)) => Ok(()),
            Ok((venue, Stop::OutputClosed)) => Err(RunError::OutputClosed(venue)),
            Err(error) => Err(RunError::Task(error)),
        };
        if ended.is_err() {
            shutdown.cancel();
        }
        result = result.and(ended);
    }
    result
}

/// What the tasks are made of.
struct Start {
    config: Config,
    outputs: BTreeMap<Venue, mpsc::Sender<Observation>>,
    accounts: Arc<dyn Accounts>,
    monitor: Monitor,
    rest: Rest,
    clocks: Clocks,
    shutdown: CancellationToken,
    tasks: JoinSet<(Venue, Stop)>,
}

impl Start {
    /// Starts the channels of one venue.
    fn venue(&mut self, exchange: Exchange, endpoints: &Endpoints) -> Result<(), RunError> {
        let output = self.output(&exchange.venue())?;
        let bases: Vec<Base> = match self.config.open_interest.source {
            Source::Direct => self.config.open_interest.bases.iter().cloned().collect(),
            Source::MarketData(_) => Vec::new(),
        };
        let sampled: BTreeMap<Instrument, Base> =
            bases.into_iter().filter_map(|base| Some((perpetual(exchange, &base)?, base))).collect();
        let (unlisted, known_unlisted) = watch::channel(BTreeSet::new());
        let listing = Listing { refresh_at: Instant::now(), unlisted };
        let monitor = self.monitor.venue(exchange.venue());
        let liquidations = self.wiring(output.clone(), None, monitor);
        let names: Vec<Instrument> = sampled.keys().cloned().collect();
        let link = self.link(exchange, endpoints, names.clone(), Some(listing));
        let feed = Feed::new(self.normalizer(exchange, self.config.bases.clone()), liquidations);
        self.spawn(exchange.venue(), info_span!("ingest", venue = %exchange), follow(feed, link));
        if sampled.is_empty() {
            return Ok(());
        }

        let interval_ms = plan::interval_ms(exchange, sampled.len())?;
        let monitor = self.monitor.open_interest(exchange.venue(), interval_ms);
        let (quotes, heard) = mpsc::channel::<Heard>(HEARD);
        let wiring = self.wiring(output.clone(), Some(quotes), monitor.socket.clone());
        let link = self.link(exchange, endpoints, names, None);
        // Only quotes are read from it: no base is needed.
        let feed = Feed::new(self.normalizer(exchange, Bases::Only(BTreeSet::new())), wiring);
        let title = format!("{} (open interest)", exchange.title());
        let collector = Collector {
            exchange,
            market: self.config.market,
            retention: self.config.retention,
            timings: self.config.timings,
            sampler: Sampler::new(exchange.venue(), interval_ms, sampled),
            rest: self.rest.clone(),
            base: endpoints.rest.clone(),
            accounts: self.accounts.clone(),
            clocks: self.clocks.clone(),
            teller: Teller::new(exchange.venue(), title, monitor, output, self.shutdown.clone()),
            heard,
            unlisted: known_unlisted,
            shutdown: self.shutdown.clone(),
        };
        let span = || info_span!("open_interest", venue = %exchange);
        self.spawn(exchange.venue(), span(), follow(feed, link));
        self.spawn(exchange.venue(), span(), collector.run(interval_ms));
        Ok(())
    }

    /// Starts the market-data service as the source of open interest.
    fn market_data(&mut self, url: url::Url) -> Result<(), RunError> {
        let bases: Vec<Base> = self.config.open_interest.bases.iter().cloned().collect();
        if bases.is_empty() {
            return Ok(());
        }
        let interval_ms = plan::market_data_interval_ms(bases.len())?;
        let mut tellers = BTreeMap::new();
        for venue in external_venues() {
            let monitor = self.monitor.open_interest(venue.clone(), interval_ms);
            let (output, shutdown) = (self.output(&venue)?, self.shutdown.clone());
            let teller =
                Teller::new(venue.clone(), format!("the market-data service ({venue})"), monitor, output, shutdown);
            tellers.insert(venue, teller);
        }
        let service = Service::new(url, self.accounts.clone(), interval_ms).map_err(RunError::Client)?;
        let (timings, shutdown) = (self.config.timings, self.shutdown.clone());
        let task = MarketData { service, bases, interval_ms, timings, tellers, shutdown };
        let venue = external_venues().next().expect("the service asks exchanges");
        self.spawn(venue, info_span!("market_data"), task.run());
        Ok(())
    }

    fn output(&self, venue: &Venue) -> Result<mpsc::Sender<Observation>, RunError> {
        self.outputs.get(venue).cloned().ok_or_else(|| RunError::NoOutput(venue.clone()))
    }

    const fn normalizer(&self, exchange: Exchange, bases: Bases) -> Normalizer {
        Normalizer::new(Instruments::listed(exchange, BTreeMap::new()), bases, self.config.retention)
    }

    fn wiring(
        &self,
        output: mpsc::Sender<Observation>,
        collector: Option<mpsc::Sender<Heard>>,
        monitor: crate::monitor::VenueMonitor,
    ) -> Wiring {
        Wiring {
            instance: self.config.instance.clone(),
            market: self.config.market,
            alive_after: self.config.timings.alive_after,
            output,
            collector,
            monitor,
            clocks: self.clocks.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn link(
        &self,
        exchange: Exchange,
        endpoints: &Endpoints,
        sampled: Vec<Instrument>,
        listing: Option<Listing>,
    ) -> Link {
        let (endpoints, rest) = (endpoints.clone(), self.rest.clone());
        Link { exchange, endpoints, timings: self.config.timings, rest, sampled, listing }
    }

    fn spawn(&mut self, venue: Venue, span: tracing::Span, task: impl Future<Output = Stop> + Send + 'static) {
        self.tasks.spawn(async move { (venue, task.await) }.instrument(span));
    }
}
