//! `foreshock ingest`: hears the venues and stores what they say in MARKET.

pub mod accounts;
mod canary;
mod metrics;
mod minutes;
mod outlook;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use ingest::{
    channel::Channel,
    config::{Bases, Config, Endpoints, Market, RETENTION, Source, Timings},
    exchange::Exchange,
    monitor::{Monitor, VenueStatus},
    open_interest::external_venues,
    run::Observation,
};
use nats::{BacklogLimits, Bus, Observed, PublisherConfig, PublisherMonitor, PublisherStats, VenuePublisher};
use schemas::{
    market::{Feed as FeedEvent, FeedState, MarketEvent},
    name::Venue,
};
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::accounts::NatsAccounts;
pub use self::minutes::Minute;
use crate::{
    config::{self, Settings},
    run::host_clock_ms,
};

/// Events between a socket and its publisher. The publisher never waits for NATS, so this only smooths bursts; when it
/// is full the socket waits.
const CHANNEL: usize = 1024;

/// Changes of feeds on their way to the outlook, which are few; when it is full the venue waits.
const CHANGES: usize = 16;

/// How long the backlog may take to empty at shutdown; what is left is heard by another ingest or lost, and said.
const DRAIN: Duration = Duration::from_secs(5);

/// What people see of an ingest process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Every venue, by name.
    pub venues: BTreeMap<Venue, Feed>,
    /// While a venue refuses this client: how many are left, and whether explosions can still be confirmed by the rules
    /// that were in force at the last refusal or return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<String>,
    /// Liquidations per minute and side, the minutes of the last hour that had one, oldest first.
    pub minutes: Vec<Minute>,
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
    outlook: watch::Sender<Option<String>>,
    durations: metrics::Durations,
    minutes: minutes::Minutes,
}

impl Watch {
    /// Returns a watch over the enabled venues.
    pub fn new(settings: &Settings) -> Self {
        let publishers = venues(settings).into_iter().map(|venue| (venue, Arc::default()));
        Self {
            feeds: Monitor::new(),
            publishers: publishers.collect(),
            outlook: watch::Sender::default(),
            durations: metrics::Durations::default(),
            minutes: minutes::Minutes::default(),
        }
    }

    /// Returns the state at this moment.
    pub fn status(&self) -> Status {
        let mut sockets = self.feeds.snapshot().venues;
        let venues = self.publishers.iter().map(|(venue, publisher)| {
            let socket = sockets.remove(venue).unwrap_or_default();
            (venue.clone(), Feed { socket, market: publisher.stats() })
        });
        Status { venues: venues.collect(), outlook: self.outlook.borrow().clone(), minutes: self.minutes.snapshot() }
    }
}

/// Runs until `shutdown`, then until every backlog is empty or its time is over.
///
/// # Errors
/// When a task ends that should not.
pub async fn run(bus: Bus, settings: &Settings, watch: Watch, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let mut outputs = BTreeMap::new();
    let (changes, changed) = mpsc::channel(CHANGES);
    let count = watch.publishers.len();
    for (venue, monitor) in watch.publishers {
        let (observations, heard) = mpsc::channel(CHANNEL);
        outputs.insert(venue.clone(), observations);
        let config = PublisherConfig {
            instance: settings.instance.clone(),
            backlog: BacklogLimits::shared_by(count),
            drain: DRAIN,
        };
        let publisher = VenuePublisher::new(bus.clone(), venue, config, monitor);
        // Ends when its venue does, so that nothing heard is left behind.
        tasks.spawn(publish(publisher, heard, changes.clone(), watch.durations.clone(), watch.minutes.clone()));
    }
    drop(changes);
    let reason = {
        let feeds = watch.feeds.clone();
        move |feed: &FeedEvent| {
            let status = feeds.snapshot().venues.remove(&feed.venue)?;
            let of_open_interest = status.open_interest.and_then(|status| status.last_error);
            if feed.channel == Channel::OpenInterest.as_str() { of_open_interest } else { status.last_error }
        }
    };
    let direct = settings.venues.enabled().len();
    // Ends with the publishers.
    tasks.spawn(outlook::tell(bus.clone(), settings.clone(), direct, changed, reason, watch.outlook));
    if let (Some(every), Some((_, venue)), config::Market::Live) =
        (settings.canary, outputs.first_key_value(), settings.market)
    {
        tasks.spawn(canary::fly(every, venue.clone(), shutdown.clone()));
    }
    // A name of this process alone: the holder of its turns.
    let holder = format!("{}-{}-{}", settings.instance, std::process::id(), host_clock_ms());
    let (accounts, keeper) = NatsAccounts::new(bus, holder, settings.market);
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run());
    hear(settings, outputs, accounts, watch.feeds, &mut tasks, &mut keeping, shutdown).await?;
    while let Some(ended) = tasks.join_next().await {
        ended.context("a publisher ended")?;
    }
    // With the venues its last user is gone.
    keeping.join_all().await;
    Ok(())
}

/// Hears the venues until `shutdown`; what hangs on them ends after them.
async fn hear(
    settings: &Settings,
    outputs: BTreeMap<Venue, mpsc::Sender<Observation>>,
    accounts: NatsAccounts,
    monitor: Monitor,
    publishing: &mut JoinSet<()>,
    keeping: &mut JoinSet<()>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let shared = Arc::new(accounts.clone());
    let feeds = ingest::run::run(config(settings), outputs, shared, monitor, shutdown.clone());
    tokio::pin!(feeds);
    tokio::select! {
        ended = &mut feeds => ended.context("the venues cannot be heard")?,
        ended = publishing.join_next(), if !publishing.is_empty() => {
            ended.transpose().context("a publisher ended")?;
            anyhow::ensure!(shutdown.is_cancelled(), "a publisher ended while its venue goes on");
            feeds.await.context("the venues cannot be heard")?;
        }
        ended = keeping.join_next() => {
            ended.transpose().context("the accounts of requests ended")?;
            anyhow::bail!("the accounts of requests ended while the venues go on");
        }
    }
    drop(accounts);
    Ok(())
}

async fn publish(
    publisher: VenuePublisher,
    mut heard: mpsc::Receiver<Observation>,
    changes: mpsc::Sender<FeedEvent>,
    durations: metrics::Durations,
    minutes: minutes::Minutes,
) {
    let (events, observed) = mpsc::channel(1);
    let forward = async move {
        while let Some(Observation { event, backfill }) = heard.recv().await {
            if let MarketEvent::Liquidation(event) = &event
                && !backfill
            {
                let delay_ms = event.received_at.as_millis() - event.event_time.as_millis();
                durations.observe(&event.venue, delay_ms);
                minutes.add(event.received_at, event.liquidated, event.notional_usd);
            }
            if let MarketEvent::Feed(feed) = &event
                && feed.state != FeedState::Alive
                && changes.send(feed.clone()).await.is_err()
            {
                warn!("nobody tells what refusals leave");
            }
            if events.send(Observed { event, backfill }).await.is_err() {
                warn!("a publisher ended before its venue");
                return;
            }
        }
    };
    tokio::join!(forward, publisher.run(observed, CancellationToken::new()));
}

fn config(settings: &Settings) -> Config {
    let venues = settings
        .venues
        .enabled()
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
        open_interest: settings.open_interest.clone(),
    }
}

/// Returns every venue this process has events of.
fn venues(settings: &Settings) -> Vec<Venue> {
    let external = match &settings.open_interest.source {
        Source::MarketData(_) if !settings.open_interest.bases.is_empty() => external_venues().collect(),
        Source::MarketData(_) | Source::Direct => Vec::new(),
    };
    settings.venues.enabled().into_keys().map(Exchange::venue).chain(external).collect()
}

/// Returns the configured bases as ingest takes them.
pub(crate) fn bases(bases: &config::Bases) -> Bases {
    match bases {
        config::Bases::All => Bases::All,
        config::Bases::Only(bases) => Bases::Only(bases.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn venues_with(variables: &[(&str, &str)]) -> Vec<String> {
        let settings = Settings::load(None, &Environment::from_pairs(variables, &[]), &Flags::new()).unwrap();
        Watch::new(&settings).status().venues.into_keys().map(|venue| venue.to_string()).collect()
    }

    #[test]
    fn the_exchanges_of_the_market_data_service_are_venues_of_their_own() {
        let service = [("FORESHOCK_OI_SOURCE", "market-data"), ("MARKET_DATA_URL", "http://market-data:8001")];
        let direct = ["binance", "bybit", "okx"];
        let external = ["binance", "bitget", "bybit", "gateio", "hyperliquid", "okx"].map(|name| format!("ext-{name}"));
        assert_eq!(venues_with(&[]), direct);
        let mut all = [&direct.map(str::to_owned)[..], &external].concat();
        all.sort();
        assert_eq!(venues_with(&service), all);
        assert_eq!(venues_with(&[&service[..], &[("FORESHOCK_OI_BASES", "none")]].concat()), direct);
    }
}
