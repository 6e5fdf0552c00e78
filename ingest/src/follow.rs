//! Follows one venue: instruments, connection, waits, for as long as the process runs.

use std::{collections::BTreeSet, future::Future, time::Duration};

use rand::{SeedableRng, rngs::SmallRng};
use schemas::name::Instrument;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    backoff::Backoff,
    channel::Channel,
    config::{Bases, Endpoints, Timings},
    exchange::Exchange,
    feed::{Feed, Stop},
    instruments::Instruments,
    rest::{Rest, RestError},
    session::{Ended, Session},
    socket::{ConnectError, Socket},
};

/// How a venue is reached, and what is known of when to ask it again.
pub(crate) struct Link {
    pub(crate) exchange: Exchange,
    pub(crate) endpoints: Endpoints,
    pub(crate) timings: Timings,
    pub(crate) rest: Rest,
    /// The instruments whose open interest is sampled.
    pub(crate) sampled: Vec<Instrument>,
    /// What is done beside the socket.
    pub(crate) listing: Option<Listing>,
}

/// The instruments a venue lists: fetched on the side of liquidations, for both.
pub(crate) struct Listing {
    /// When they are to be fetched again.
    pub(crate) refresh_at: Instant,
    /// Which of the sampled ones the venue does not list.
    pub(crate) unlisted: watch::Sender<BTreeSet<Instrument>>,
}

impl Link {
    /// Returns the instruments to subscribe to.
    pub(crate) fn subscribed(&self, feed: &Feed) -> Vec<Instrument> {
        match self.exchange {
            _ if feed.channel == Channel::OpenInterest => self.sampled.clone(),
            Exchange::Bybit => feed.normalizer.instruments().of_bases(feed.normalizer.bases()),
            // One stream holds them all (exchanges.md A.1, A.3).
            Exchange::Binance | Exchange::Okx => Vec::new(),
        }
    }

    /// Opens a socket.
    pub(crate) fn connect(&self, feed: &Feed) -> impl Future<Output = Result<Socket, ConnectError>> + Send + use<> {
        let base = self.endpoints.ws.clone();
        Socket::connect(self.exchange, feed.channel, base, self.subscribed(feed), self.timings.connect_timeout)
    }

    /// Fetches the instruments.
    pub(crate) fn fetch(&self) -> impl Future<Output = Result<Instruments, RestError>> + Send + use<> {
        let (exchange, rest, base) = (self.exchange, self.rest.clone(), self.endpoints.rest.clone());
        async move { rest.instruments(exchange, &base).await }
    }

    /// Takes fetched instruments, or keeps what is known and says so.
    pub(crate) fn refreshed(&mut self, feed: &mut Feed, listed: Result<Instruments, RestError>) {
        match listed {
            Ok(instruments) => {
                tracing::info!(count = instruments.count(), "fetched the instruments");
                if let Some(listing) = &self.listing {
                    let is_unlisted = |name: &&Instrument| instruments.get(name).is_none();
                    listing.unlisted.send_replace(self.sampled.iter().filter(is_unlisted).cloned().collect());
                }
                feed.normalizer.set_instruments(instruments);
                self.refresh_in(self.timings.instruments_refresh);
            }
            Err(error) => {
                let wait = error.wait().unwrap_or_default().max(self.timings.instruments_retry);
                self.refresh_in(wait);
                feed.complain(&format!("{error}: the instruments stay as known, asked again in {}", show(wait)));
            }
        }
    }

    /// Returns whether the instruments are to be fetched again.
    pub(crate) fn is_refresh_due(&self, now: Instant) -> bool {
        self.listing.as_ref().is_some_and(|listing| now >= listing.refresh_at)
    }

    fn refresh_in(&mut self, wait: Duration) {
        if let Some(listing) = &mut self.listing {
            listing.refresh_at = Instant::now() + wait;
        }
    }

    /// Returns what can be read without metadata: nothing on OKX, and on Bybit nothing when every base is tracked, for
    /// its topics must be named.
    fn by_name(&self, bases: &Bases) -> Option<Instruments> {
        match (self.exchange, bases) {
            (Exchange::Bybit, Bases::All) => None,
            (Exchange::Binance | Exchange::Bybit | Exchange::Okx, _) => Instruments::by_name(self.exchange),
        }
    }
}

/// Why an attempt is over.
enum Over {
    Stop(Stop),
    /// Try again after the next wait of the backoff, or after this one if it is longer.
    Retry {
        at_least: Duration,
    },
}

impl From<Stop> for Over {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Follows the venue until it is stopped.
pub(crate) async fn follow(mut feed: Feed, mut link: Link) -> Stop {
    let Timings { backoff_min, backoff_max, healthy_after, .. } = link.timings;
    let mut backoff = Backoff::new(backoff_min, backoff_max, healthy_after);
    let mut rng = SmallRng::from_os_rng();
    loop {
        let (over, healthy) = attempt(&mut feed, &mut link).await;
        let wait = match over {
            Over::Stop(stop) => return stop,
            Over::Retry { at_least } => backoff.after(healthy, &mut rng).max(at_least),
        };
        tokio::select! {
            () = feed.shutdown.cancelled() => return Stop::Shutdown,
            () = sleep(wait) => {}
        }
        feed.monitor.status().reconnects += 1;
    }
}

/// Makes one attempt and returns why it is over and how long the feed was live.
async fn attempt(feed: &mut Feed, link: &mut Link) -> (Over, Duration) {
    let socket = match open(feed, link).await {
        Ok(socket) => socket,
        Err(over) => return (over, Duration::ZERO),
    };
    if let Err(stop) = feed.opened().await {
        return (Over::Stop(stop), Duration::ZERO);
    }
    let (ended, healthy) = Session::new(feed, link, socket).run().await;
    match ended {
        Ended::Stop(stop) => (Over::Stop(stop), healthy),
        Ended::Lost => (Over::Retry { at_least: Duration::ZERO }, healthy),
    }
}

async fn open(feed: &mut Feed, link: &mut Link) -> Result<Socket, Over> {
    if link.listing.is_some() && feed.normalizer.instruments().count() == Some(0) {
        learn(feed, link).await?;
    }
    let connecting = link.connect(feed);
    let connected = tokio::select! {
        () = feed.shutdown.cancelled() => return Err(Over::Stop(Stop::Shutdown)),
        connected = connecting => connected,
    };
    match connected {
        Ok(socket) => Ok(socket),
        Err(error @ ConnectError::Refused { .. }) => {
            let wait = link.timings.refused_retry;
            feed.refused(&format!("{error}; trying again in {}", show(wait))).await?;
            Err(Over::Retry { at_least: wait })
        }
        Err(error @ (ConnectError::Timeout(_) | ConnectError::Failed(_))) => {
            feed.complain(&error.to_string());
            Err(Over::Retry { at_least: Duration::ZERO })
        }
    }
}

/// Learns the instruments for the first time: from the venue, else by name, else not at all.
async fn learn(feed: &mut Feed, link: &mut Link) -> Result<(), Over> {
    let fetching = link.fetch();
    let listed = tokio::select! {
        () = feed.shutdown.cancelled() => return Err(Over::Stop(Stop::Shutdown)),
        listed = fetching => listed,
    };
    let error = match listed {
        Ok(instruments) => {
            link.refreshed(feed, Ok(instruments));
            return Ok(());
        }
        Err(error) => error,
    };
    if let Some(instruments) = link.by_name(feed.normalizer.bases()) {
        feed.normalizer.set_instruments(instruments);
        link.refreshed(feed, Err(error));
        return Ok(());
    }
    let at_least = error.wait().unwrap_or_default();
    let again = if at_least.is_zero() { "soon".to_owned() } else { format!("in {}", show(at_least)) };
    let what = format!("{error}: without its instruments nothing can be valued; trying again {again}");
    if matches!(error, RestError::Refused { .. }) {
        feed.refused(&what).await?;
    } else {
        feed.complain(&what);
    }
    Err(Over::Retry { at_least })
}

/// Returns a wait as people say it.
fn show(wait: Duration) -> String {
    match wait.as_secs() {
        0 => format!("{} ms", wait.as_millis()),
        seconds if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
