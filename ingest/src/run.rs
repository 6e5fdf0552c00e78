//! Runs the feeds: one task per venue, none of which waits for another.

use std::collections::BTreeMap;

use schemas::{market::MarketEvent, name::Venue};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::{
    config::Config,
    exchange::Exchange,
    feed::{Feed, Stop, Wiring},
    follow::{Link, follow},
    instruments::Instruments,
    monitor::Monitor,
    normalize::Normalizer,
    rest::Rest,
    skew::Clocks,
};

/// One event of a venue, in the order in which it is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// A liquidation, a change of the feed, or an `alive`.
    pub event: MarketEvent,
    /// Whether it came over REST after a gap: what MARKET already holds is to be read before it is published (design 3).
    pub backfill: bool,
}

/// The feeds ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A configured venue has no channel.
    #[error("no output for venue {0}")]
    NoOutput(Exchange),
    /// No REST client can be built.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// The receiver of a venue's observations is gone.
    #[error("nobody takes the events of {0}")]
    OutputClosed(Exchange),
    /// A venue's task panicked.
    #[error("the task of a venue ended")]
    Task(#[source] tokio::task::JoinError),
}

/// Follows every configured venue until `shutdown` is cancelled, handing on what each says through its own channel.
///
/// `outputs` holds one bounded channel per configured venue; a full one holds back that venue alone. A process-wide
/// rustls provider must be installed before. Dropping the future ends all connections; what was read and not yet handed
/// on is lost.
///
/// # Errors
/// [`RunError`] when the feeds cannot start, or one of them ends without being asked to; then all are ended.
pub async fn run(
    config: Config,
    mut outputs: BTreeMap<Venue, mpsc::Sender<Observation>>,
    monitor: Monitor,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let rest = Rest::new(config.timings.rest_timeout).map_err(RunError::Client)?;
    let clocks = Clocks::default();
    // Cancelled with the caller's token, and by us when one feed fails.
    let shutdown = shutdown.child_token();
    let mut tasks = JoinSet::new();
    for (exchange, endpoints) in config.venues {
        let output = outputs.remove(&exchange.venue()).ok_or(RunError::NoOutput(exchange))?;
        let nothing_known = Instruments::listed(exchange, BTreeMap::new());
        let normalizer = Normalizer::new(nothing_known, config.bases.clone(), config.retention);
        let wiring = Wiring {
            instance: config.instance.clone(),
            market: config.market,
            alive_after: config.timings.alive_after,
            output,
            monitor: monitor.venue(exchange),
            clocks: clocks.clone(),
            shutdown: shutdown.clone(),
        };
        let link =
            Link { exchange, endpoints, timings: config.timings, rest: rest.clone(), refresh_at: Instant::now() };
        let task = follow(Feed::new(normalizer, wiring), link);
        tasks.spawn(async move { (exchange, task.await) }.instrument(info_span!("ingest", venue = %exchange)));
    }
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = match ended {
            Ok((_, Stop::Shutdown)) => Ok(()),
            Ok((exchange, Stop::OutputClosed)) => Err(RunError::OutputClosed(exchange)),
            Err(error) => Err(RunError::Task(error)),
        };
        if ended.is_err() {
            shutdown.cancel();
        }
        result = result.and(ended);
    }
    result
}
