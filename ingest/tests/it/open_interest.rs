//! Open interest against venues on loopback: what is sampled from a stream, what REST is asked, and what it costs.

mod limits;
mod market_data;
mod streams;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use ingest::{
    account::{Account, Accounts, Denied, Hold, OwnAccounts, Purpose},
    config::{Bases, Config, Endpoints, Market, OpenInterest, RETENTION, Source, Timings},
    exchange::Exchange,
    monitor::{Monitor, OpenInterestStatus},
    run::{Observation, RunError, run},
};
use schemas::{
    market::{Feed, MarketEvent},
    name::Venue as VenueName,
    time::ReceivedAt,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    server::{Client, Rest, Venue, soon},
    venues::okx_instruments,
};

/// A venue time at the border of a slot of one and of two minutes, in milliseconds.
const START: i64 = 1_772_622_840_000;

/// A running ingest.
struct Ingest {
    events: mpsc::Receiver<Observation>,
    monitor: Monitor,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

fn config(venues: BTreeMap<Exchange, Endpoints>, bases: &[&str], source: Source) -> Config {
    let bases: std::collections::BTreeSet<_> = bases.iter().map(|base| base.parse().unwrap()).collect();
    Config {
        venues,
        bases: Bases::Only(bases.clone()),
        instance: "a".to_owned(),
        market: Market::Recorded,
        retention: RETENTION,
        timings: Timings {
            check_every: Duration::from_millis(5),
            turn_every: Duration::from_millis(5),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(20),
            alive_after: Duration::from_hours(1),
            stale_after: Duration::from_hours(1),
            ..Timings::default()
        },
        open_interest: OpenInterest { bases, source },
    }
}

fn at(exchange: Exchange, venue: &Venue, rest: &Rest) -> BTreeMap<Exchange, Endpoints> {
    [(exchange, Endpoints { ws: venue.url(), rest: rest.url.clone() })].into()
}

/// Starts an ingest whose venues all speak into one channel.
fn start(config: Config, outputs: &[VenueName], accounts: Arc<dyn Accounts>) -> Ingest {
    // A second test of this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (sender, events) = mpsc::channel(256);
    let (monitor, shutdown) = (Monitor::new(), CancellationToken::new());
    let outputs = outputs.iter().map(|venue| (venue.clone(), sender.clone())).collect();
    let task = tokio::spawn(run(config, outputs, accounts, monitor.clone(), shutdown.clone()));
    Ingest { events, monitor, shutdown, task }
}

fn start_direct(exchange: Exchange, venue: &Venue, rest: &Rest, bases: &[&str], accounts: Arc<dyn Accounts>) -> Ingest {
    start(config(at(exchange, venue, rest), bases, Source::Direct), &[exchange.venue()], accounts)
}

impl Ingest {
    async fn next(&mut self) -> MarketEvent {
        soon("an event", self.events.recv()).await.expect("the ingest runs").event
    }

    /// Waits for a sample: instrument, contracts, coins, mark, and the second of its venue time.
    async fn sample(&mut self) -> (String, String, String, String, i64) {
        loop {
            if let MarketEvent::OpenInterest(sample) = self.next().await {
                let second = (sample.event_time.as_millis() - START) / 1_000;
                let (contracts, coins) = (sample.contracts.to_string(), sample.coins.to_string());
                return (sample.instrument.to_string(), contracts, coins, sample.mark_price.to_string(), second);
            }
        }
    }

    /// Waits for a change of the feed of open interest.
    async fn feed(&mut self) -> Feed {
        loop {
            if let MarketEvent::Feed(feed) = self.next().await
                && feed.channel == "open_interest"
            {
                return feed;
            }
        }
    }

    fn status(&self, venue: &VenueName) -> OpenInterestStatus {
        self.monitor.snapshot().venues.remove(venue).and_then(|status| status.open_interest).unwrap_or_default()
    }

    /// Waits until the monitor shows something.
    async fn until(
        &self,
        venue: &VenueName,
        what: &str,
        shown: impl Fn(&OpenInterestStatus) -> bool,
    ) -> OpenInterestStatus {
        soon(what, async {
            while !shown(&self.status(venue)) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        self.status(venue)
    }

    /// Waits until this process may ask: what passes before is not made up for.
    async fn has_turn(&self, exchange: Exchange) {
        self.until(&exchange.venue(), "the turn", |status| status.sampling.has_turn).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end", self.task).await.unwrap().unwrap();
    }
}

fn sample(
    instrument: &str,
    contracts: &str,
    coins: &str,
    mark: &str,
    second: i64,
) -> (String, String, String, String, i64) {
    (instrument.to_owned(), contracts.to_owned(), coins.to_owned(), mark.to_owned(), second)
}

/// Waits for the socket of liquidations and that of open interest, whichever comes first, and returns both.
async fn both(venue: &Venue) -> (Client, Client) {
    let (mut liquidations, mut open_interest) = (None, None);
    while liquidations.is_none() || open_interest.is_none() {
        let mut client = venue.accept().await;
        let asked = if client.path.contains("streams=") { client.path.clone() } else { client.text().await };
        let is_liquidations = ["forceOrder", "liq-1", "liquidation-orders"].iter().any(|word| asked.contains(word));
        *if is_liquidations { &mut liquidations } else { &mut open_interest } = Some(client);
    }
    (liquidations.unwrap(), open_interest.unwrap())
}

/// A REST side that notes the paths it is asked for, apart from instruments, which it answers for OKX alone.
async fn rest(answer: impl Fn(&str) -> Result<String, String> + Send + 'static) -> (Rest, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = asked.clone();
    let rest = Rest::start(move |path| {
        if path.contains("/api/v5/public/instruments") {
            return Ok(okx_instruments());
        }
        if path.contains("nfo") {
            return Err("503 Service Unavailable".to_owned());
        }
        paths.lock().unwrap().push(path.to_owned());
        answer(path)
    })
    .await;
    (rest, asked)
}

fn binance_mark(symbol: &str, ms: i64) -> String {
    format!(
        r#"{{"stream":"m","data":{{"e":"markPriceUpdate","E":{},"s":"{symbol}","p":"76888.10000000","ap":"1"}}}}"#,
        START + ms
    )
}

fn binance_interest(symbol: &str, ms: i64) -> String {
    format!(r#"{{"openInterest":"10659.509","symbol":"{symbol}","time":{}}}"#, START + ms)
}

fn bybit_ticker(kind: &str, symbol: &str, ms: i64, fields: &str) -> String {
    let time = START + ms;
    format!(r#"{{"topic":"tickers.{symbol}","type":"{kind}","ts":{time},"data":{{"symbol":"{symbol}"{fields}}}}}"#)
}

fn okx_interest(instrument: &str, ms: i64, contracts: &str) -> String {
    format!(
        r#"{{"instId":"{instrument}","instType":"SWAP","oi":"{contracts}","oiCcy":"22161.1301000000309","oiUsd":"1939251795.54769270396321","ts":"{}"}}"#,
        START + ms
    )
}

fn okx_frame(channel: &str, instrument: &str, item: &str) -> String {
    format!(r#"{{"arg":{{"channel":"{channel}","instId":"{instrument}"}},"data":[{item}]}}"#)
}

fn okx_mark(instrument: &str, ms: i64) -> String {
    okx_frame("mark-price", instrument, &format!(r#"{{"markPx":"77086.9","ts":"{}"}}"#, START + ms))
}

/// Accounts of one process whose turn a test gives and takes.
#[derive(Debug, Default)]
struct Turns {
    accounts: OwnAccounts,
    is_ours: AtomicBool,
}

impl Turns {
    fn give(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::SeqCst);
    }
}

impl Accounts for Turns {
    fn spend<'a>(
        &'a self,
        account: &'a str,
        now: ReceivedAt,
        purpose: Purpose,
        count: u32,
    ) -> BoxFuture<'a, Result<(), Denied>> {
        self.accounts.spend(account, now, purpose, count)
    }

    fn hold<'a>(&'a self, account: &'a str, now: ReceivedAt, hold: Hold) -> BoxFuture<'a, ()> {
        self.accounts.hold(account, now, hold)
    }

    fn turn<'a>(&'a self, _account: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async { self.is_ours.load(Ordering::SeqCst) })
    }

    fn seen(&self, account: &str) -> Account {
        self.accounts.seen(account)
    }
}
