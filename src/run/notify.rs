//! `foreshock notify`: decides about every alert, keeps the ledger, and sends.
//!
//! Both state machines are folds of SUBSCRIBERS and DELIVERIES, and what this process stores comes back to them through the
//! same cursors. So there is one order of facts, and a crash anywhere repeats work and changes nothing.

mod asked;
mod feeds;
mod lease;
mod lookup;
mod metrics;
mod pictures;
mod sender;
mod sinks;
mod store;
mod view;

use std::sync::Arc;

use anyhow::Context as _;
use nats::Bus;
use notify::time::WallTime;
use schemas::delivery::LedgerEvent;
use tokio::{io::AsyncWrite, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub(crate) use self::sinks::policy;
pub use self::{
    metrics::Watch,
    view::{Recent, Status},
};
use self::{sender::Sender, sinks::Sinks};
use crate::{
    config::{Market, Settings},
    run::host_clock_ms,
};

/// Where texts go while there is no token.
pub type Terminal = Box<dyn AsyncWrite + Send + Unpin>;

/// How sending ended.
enum Ended {
    Shutdown,
    /// The lease is lost or another sender was faster.
    Fenced,
}

/// Runs until `shutdown`; sends while it holds the lease.
///
/// # Errors
/// When the configuration cannot be used, or a stream is not the one it was.
pub async fn run(
    bus: Bus,
    settings: &Settings,
    terminal: Terminal,
    watch: Watch,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let sinks = Arc::new(Sinks::new(&bus, settings, terminal)?);
    let process = format!("{}-{}-{}", settings.instance, std::process::id(), host_clock_ms());
    for term in (1_u64..).take_while(|_| !shutdown.is_cancelled()) {
        // A name of this term alone: the holder of a lease, and the author of records, which are counted anew in each. Under
        // the name of an earlier term the broker would take them for copies of what was stored then, and drop them.
        let author = format!("{process}-{term}");
        let Some(lease) = lease::take(&bus, &author, &watch.status, &shutdown).await else { break };
        let lost = CancellationToken::new();
        let keeping = tokio::spawn(lease::keep(lease, lost.clone()));
        let notices = watch_feeds(&bus, settings, &sinks);
        let (asks, asked) = mpsc::channel(asked::ASKS_MAX);
        let sender = Sender::new(&bus, &author, &sinks, &watch, notices, asked).await?;
        // Whoever sends also hears: two pollers of one token would refuse each other.
        let end = shutdown.child_token();
        let hearing = hear(&bus, &sinks, asks, sender.next_update(), end.clone());
        let result = sender.run(&shutdown, &lost).await;
        lost.cancel();
        end.cancel();
        hearing.await.context("commands were not heard to the end")?;
        // The task ends at once and gives the lease up, so that another need not wait for its end.
        keeping.await.context("the lease of the sender was not kept")?;
        match result? {
            Ended::Shutdown => break,
            Ended::Fenced => warn!("another notifier sends; reading the ledger anew"),
        }
    }
    Ok(())
}

/// Hears commands until `end`, from Telegram with a token of our own, and over NATS.
fn hear(
    bus: &Bus,
    sinks: &Sinks,
    asks: mpsc::Sender<asked::Ask>,
    offset: Option<i64>,
    end: CancellationToken,
) -> JoinHandle<()> {
    let requests = asked::serve(bus.clone(), asks.clone(), end.clone());
    let bot = sinks.bot.clone();
    tokio::spawn(async move {
        let updates = async {
            if let Some(bot) = bot {
                asked::hear(bot, offset, asks, end).await;
            }
        };
        tokio::join!(updates, requests);
    })
}

/// Returns what operators are to be told. Only a live market has feeds that can die.
fn watch_feeds(bus: &Bus, settings: &Settings, sinks: &Sinks) -> mpsc::Receiver<LedgerEvent> {
    let (sender, notices) = mpsc::channel(feeds::NOTICES_MAX);
    if settings.market == Market::Live {
        let watching = feeds::watch(bus.clone(), sinks.operators.clone(), settings.notify.feed_grace, sender);
        tokio::spawn(async {
            if let Err(problem) = watching.await {
                error!(error = format!("{problem:#}"), "the feeds are not watched any more");
            }
        });
    }
    notices
}

fn wall_time() -> WallTime {
    WallTime::from_millis(host_clock_ms())
}
