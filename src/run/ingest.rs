//! `foreshock ingest`: hears the venues and stores what they say in MARKET.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use ingest::{
    config::{Bases, Config, Endpoints, Market, RETENTION, Timings},
    exchange::Exchange,
    monitor::{Monitor, VenueStatus},
    run::Observation,
};
use nats::{BacklogLimits, Bus, Observed, PublisherConfig, PublisherMonitor, PublisherStats, VenuePublisher};
use schemas::name::Venue;
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{self, Settings};

/// Events between a socket and its publisher. The publisher never waits for NATS, so this only smooths bursts; when it
/// is full the socket waits.
const CHANNEL: usize = 1024;

/// How long the backlog may take to empty at shutdown; what is left is heard by another ingest or lost, and said.
const DRAIN: Duration = Duration::from_secs(5);

/// What people see of an ingest process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Every venue, by name.
    pub venues: BTreeMap<Venue, Feed>,
}

/// One venue: what its socket does and what became of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Feed {
    /// The socket.
    #[serde(flatten)]
    pub socket: VenueStatus,
    /// The way into MARKET.
    pub market: PublisherStats,
}

/// Reads the state of a running ingest at any moment.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    feeds: Monitor,
    publishers: BTreeMap<Venue, Arc<PublisherMonitor>>,
}

impl Watch {
    /// Returns a watch over the enabled venues.
    pub fn new(settings: &Settings) -> Self {
        let publishers = endpoints(settings).into_keys().map(|exchange| (exchange.venue(), Arc::default()));
        Self { feeds: Monitor::new(), publishers: publishers.collect() }
    }

    /// Returns the state at this moment.
    pub fn status(&self) -> Status {
        let mut sockets = self.feeds.snapshot().venues;
        let venues = self.publishers.iter().map(|(venue, publisher)| {
            let socket = sockets.remove(venue).unwrap_or_default();
            (venue.clone(), Feed { socket, market: publisher.stats() })
        });
        Status { venues: venues.collect() }
    }
}

/// Runs until `shutdown`, then until every backlog is empty or its time is over.
///
/// # Errors
/// When a task ends that should not.
pub async fn run(bus: Bus, settings: &Settings, watch: Watch, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let mut outputs = BTreeMap::new();
    let venues = watch.publishers.len();
    for (venue, monitor) in watch.publishers {
        let (observations, heard) = mpsc::channel(CHANNEL);
        outputs.insert(venue.clone(), observations);
        let config = PublisherConfig {
            instance: settings.instance.clone(),
            backlog: BacklogLimits::shared_by(venues),
            drain: DRAIN,
        };
        let publisher = VenuePublisher::new(bus.clone(), venue, config, monitor);
        // Ends when its venue does, so that nothing heard is left behind.
        tasks.spawn(publish(publisher, heard));
    }
    let feeds = ingest::run::run(config(settings), outputs, watch.feeds, shutdown.clone());
    tokio::pin!(feeds);
    tokio::select! {
        ended = &mut feeds => ended.context("the venues cannot be heard")?,
        ended = tasks.join_next(), if !tasks.is_empty() => {
            ended.transpose().context("a publisher ended")?;
            anyhow::ensure!(shutdown.is_cancelled(), "a publisher ended while its venue goes on");
            feeds.await.context("the venues cannot be heard")?;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a publisher ended")?;
    }
    Ok(())
}

async fn publish(publisher: VenuePublisher, mut heard: mpsc::Receiver<Observation>) {
    let (events, observed) = mpsc::channel(1);
    let forward = async move {
        while let Some(Observation { event, backfill }) = heard.recv().await {
            if events.send(Observed { event, backfill }).await.is_err() {
                warn!("a publisher ended before its venue");
                return;
            }
        }
    };
    tokio::join!(forward, publisher.run(observed, CancellationToken::new()));
}

fn config(settings: &Settings) -> Config {
    let venues = endpoints(settings)
        .into_iter()
        .map(|(exchange, venue)| (exchange, Endpoints { ws: venue.ws_url.clone(), rest: venue.rest_url.clone() }));
    Config {
        venues: venues.collect(),
        bases: bases(&settings.bases),
        instance: settings.instance.clone(),
        market: match settings.market {
            config::Market::Live => Market::Live,
            config::Market::Recorded => Market::Recorded,
        },
        retention: RETENTION,
        timings: Timings::default(),
    }
}

fn endpoints(settings: &Settings) -> BTreeMap<Exchange, &config::Venue> {
    let config::Venues { binance, bybit, okx } = &settings.venues;
    let venues = [(Exchange::Binance, binance), (Exchange::Bybit, bybit), (Exchange::Okx, okx)];
    venues.into_iter().filter(|(_, venue)| venue.enabled).collect()
}

/// Returns the configured bases as ingest takes them.
pub(crate) fn bases(bases: &config::Bases) -> Bases {
    match bases {
        config::Bases::All => Bases::All,
        config::Bases::Only(bases) => Bases::Only(bases.clone()),
    }
}
