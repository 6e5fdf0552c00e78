//! Feeds against venues on loopback: what a connection's life looks like from the channel and the monitor.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ingest::{
    account::OwnAccounts,
    config::{Bases, Config, Endpoints, Market, OpenInterest, RETENTION, Timings},
    exchange::Exchange,
    monitor::{Monitor, VenueStatus},
    normalize::Reason,
    run::{Observation, RunError, run},
};
use schemas::market::{Feed, FeedState, MarketEvent};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    server::{Client, Rest, Venue, soon},
    venues::okx_instruments,
};

/// A venue time the frames of these tests count from, in milliseconds.
const START: i64 = 1_772_622_790_000;

/// A running ingest of one venue.
struct Ingest {
    exchange: Exchange,
    events: mpsc::Receiver<Observation>,
    monitor: Monitor,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

/// Timings that make a test quick and leave out what it does not ask for.
fn quick() -> Timings {
    Timings {
        check_every: Duration::from_millis(5),
        overlap: Duration::from_millis(50),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        alive_after: Duration::from_hours(1),
        ..Timings::default()
    }
}

fn config(exchange: Exchange, venue: &Venue, rest: &Rest) -> Config {
    let endpoints = Endpoints { ws: venue.url(), rest: rest.url.clone() };
    Config {
        venues: [(exchange, endpoints)].into(),
        bases: Bases::Only(["BTC".parse().unwrap()].into()),
        instance: "a".to_owned(),
        market: Market::Recorded,
        retention: RETENTION,
        timings: quick(),
        open_interest: OpenInterest::default(),
    }
}

fn start(exchange: Exchange, config: Config) -> Ingest {
    // A second test of this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (sender, events) = mpsc::channel(64);
    let (monitor, shutdown) = (Monitor::new(), CancellationToken::new());
    let outputs = BTreeMap::from([(exchange.venue(), sender)]);
    let task = tokio::spawn(run(config, outputs, Arc::new(OwnAccounts::default()), monitor.clone(), shutdown.clone()));
    Ingest { exchange, events, monitor, shutdown, task }
}

impl Ingest {
    async fn next(&mut self) -> Observation {
        soon("an event", self.events.recv()).await.expect("the feed runs")
    }

    async fn feed(&mut self) -> Feed {
        let observation = self.next().await;
        let MarketEvent::Feed(feed) = observation.event else { panic!("{observation:?}") };
        feed
    }

    async fn state(&mut self) -> FeedState {
        self.feed().await.state
    }

    /// Waits for a liquidation and returns its venue time after [`START`] and whether it was backfilled.
    async fn liquidation(&mut self) -> (i64, bool) {
        let observation = self.next().await;
        let MarketEvent::Liquidation(event) = observation.event else { panic!("{observation:?}") };
        (event.event_time.as_millis() - START, observation.backfill)
    }

    fn status(&self) -> VenueStatus {
        self.monitor.snapshot().venues.remove(&self.exchange.venue()).unwrap_or_default()
    }

    /// Waits until the monitor shows something.
    async fn until(&self, what: &str, shown: impl Fn(&VenueStatus) -> bool) -> VenueStatus {
        soon(what, async {
            while !shown(&self.status()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        self.status()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end", self.task).await.unwrap().unwrap();
    }
}

async fn no_rest() -> Rest {
    Rest::start(|_| Err("503 Service Unavailable".to_owned())).await
}

fn mark(ms: i64) -> String {
    format!(r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{},"s":"BTCUSDT"}}}}"#, START + ms)
}

fn forced(ms: i64) -> String {
    let time = START + ms;
    format!(
        r#"{{"stream":"!forceOrder@arr","data":{{"e":"forceOrder","E":{time},"o":{{"s":"BTCUSDT","S":"SELL","q":"1","p":"2","ap":"2","z":"1","T":{time}}}}}}}"#
    )
}

#[tokio::test]
async fn a_feed_is_live_once_the_companion_speaks_and_a_bad_frame_loses_nothing() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.timings.alive_after = Duration::ZERO;
    let mut ingest = start(Exchange::Binance, config);
    let mut client = venue.accept().await;
    client.send(&mark(4_000)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    let alive = ingest.feed().await;
    assert_eq!((alive.state, alive.event_time.as_millis()), (FeedState::Alive, START));
    client.send(&forced(5_000)).await;
    client.send(r#"{"stream":"!forceOrder@arr","data":{"e":"force"#).await;
    client.send(&forced(6_000)).await;
    assert_eq!(ingest.liquidation().await, (5_000, false));
    assert_eq!(ingest.liquidation().await, (6_000, false));
    client.send(&mark(20_000)).await;
    for tick in [5_000, 10_000, 15_000] {
        assert_eq!(ingest.feed().await.event_time.as_millis() - START, tick);
    }
    let status = ingest.status();
    assert_eq!((status.frames, status.events), (5, 2));
    assert_eq!(status.refused, BTreeMap::from([(Reason::Malformed, 1)]));
    assert_eq!(status.state, Some(FeedState::Connected));
    ingest.stop().await;
}

#[tokio::test]
async fn silence_is_found_dead_and_the_gap_is_told() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.timings.stale_after = Duration::from_millis(500);
    let mut ingest = start(Exchange::Binance, config);
    let mut client = venue.accept().await;
    client.send(&mark(0)).await;
    client.send(&forced(500)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    ingest.liquidation().await;
    let stale = ingest.feed().await;
    assert_eq!((stale.state, stale.since.as_millis() - START), (FeedState::Stale, 500));
    client.gone().await;
    let mut client = venue.accept().await;
    // The first frame of the new connection repeats what was heard before.
    client.send(&forced(500)).await;
    client.send(&mark(30_500)).await;
    client.send(&forced(31_000)).await;
    let recovered = ingest.feed().await;
    assert_eq!((recovered.state, recovered.gap_ms), (FeedState::Recovered, Some(30_000)));
    assert_eq!(ingest.liquidation().await, (31_000, false));
    let status = ingest.status();
    assert_eq!((status.duplicates, status.reconnects), (1, 1));
    assert_eq!(status.last_error.as_deref(), Some("Binance was silent for 500ms"));
    ingest.stop().await;
}

#[tokio::test]
async fn a_closed_connection_is_told_and_opened_anew() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut ingest = start(Exchange::Binance, config(Exchange::Binance, &venue, &rest));
    let mut client = venue.accept().await;
    client.send(&mark(0)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    drop(client);
    assert_eq!(ingest.state().await, FeedState::Disconnected);
    let mut client = venue.accept().await;
    client.send(&mark(60_000)).await;
    let recovered = ingest.feed().await;
    assert_eq!((recovered.state, recovered.gap_ms), (FeedState::Recovered, Some(60_000)));
    ingest.stop().await;
}

#[tokio::test]
async fn a_connection_that_confirms_nothing_is_given_up() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.timings.connect_timeout = Duration::from_secs(1);
    let ingest = start(Exchange::Binance, config);
    // The retired paths complete the handshake and then say nothing.
    venue.accept().await.gone().await;
    venue.accept().await;
    assert_eq!(ingest.status().state, None);
    ingest.stop().await;
}

#[tokio::test]
async fn a_renewal_loses_and_repeats_nothing() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.timings.renew_after = Duration::from_millis(400);
    config.timings.overlap = Duration::from_millis(500);
    let mut ingest = start(Exchange::Binance, config);
    let mut old = venue.accept().await;
    old.send(&mark(0)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    let mut new = venue.accept().await;
    // Until the new connection is proven, the old one alone is heard.
    old.send(&forced(1_000)).await;
    assert_eq!(ingest.liquidation().await, (1_000, false));
    new.send(&mark(2_000)).await;
    old.send(&forced(3_000)).await;
    assert_eq!(ingest.liquidation().await, (3_000, false));
    new.send(&forced(3_000)).await;
    new.send(&forced(4_000)).await;
    assert_eq!(ingest.liquidation().await, (4_000, false));
    old.gone().await;
    new.send(&forced(5_000)).await;
    assert_eq!(ingest.liquidation().await, (5_000, false));
    let status = ingest.until("the renewal", |status| status.renewals == 1).await;
    assert_eq!((status.duplicates, status.reconnects, status.state), (1, 0, Some(FeedState::Connected)));
    ingest.stop().await;
}

#[tokio::test]
async fn an_oversized_frame_is_refused_and_a_huge_one_ends_the_connection() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut ingest = start(Exchange::Binance, config(Exchange::Binance, &venue, &rest));
    let mut client = venue.accept().await;
    client.send(&mark(0)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    client.send(&" ".repeat(3 << 19)).await;
    client.send(&forced(1_000)).await;
    assert_eq!(ingest.liquidation().await, (1_000, false));
    assert_eq!(ingest.status().refused, BTreeMap::from([(Reason::Oversized, 1)]));
    let huge = tokio::spawn(async move {
        // The client goes away in the middle of it.
        let huge = tokio_tungstenite::tungstenite::Message::text(" ".repeat(5 << 20));
        let _ = client.send_raw(huge).await;
    });
    assert_eq!(ingest.state().await, FeedState::Disconnected);
    assert_eq!(ingest.status().refused, BTreeMap::from([(Reason::Oversized, 2)]));
    venue.accept().await.send(&mark(2_000)).await;
    assert_eq!(ingest.state().await, FeedState::Recovered);
    huge.await.unwrap();
    ingest.stop().await;
}

fn tickers(ms: i64) -> String {
    format!(r#"{{"topic":"tickers.BTCUSDT","type":"delta","ts":{},"data":{{"symbol":"BTCUSDT"}}}}"#, START + ms)
}

/// Reads a subscribe frame and returns its id and topics.
async fn subscribed(client: &mut Client) -> (String, Vec<String>) {
    let frame: serde_json::Value = serde_json::from_str(&client.text().await).unwrap();
    assert_eq!(frame["op"], "subscribe");
    (frame["req_id"].as_str().unwrap().to_owned(), serde_json::from_value(frame["args"].clone()).unwrap())
}

async fn ack(client: &mut Client, id: &str) {
    client.send(&format!(r#"{{"success":true,"ret_msg":"","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#)).await;
}

#[tokio::test]
async fn a_refused_rest_side_stops_no_socket_and_a_refused_topic_no_other() {
    let venue = Venue::start().await;
    let rest = Rest::start(|_| Err("403 Forbidden".to_owned())).await;
    let mut ingest = start(Exchange::Bybit, config(Exchange::Bybit, &venue, &rest));
    let mut client = venue.accept().await;
    let (companion, topics) = subscribed(&mut client).await;
    assert_eq!(topics, ["tickers.BTCUSDT"]);
    ack(&mut client, &companion).await;
    let (id, topics) = subscribed(&mut client).await;
    assert_eq!(topics, ["allLiquidation.BTCUSDT", "allLiquidation.BTCPERP"]);
    client
        .send(&format!(
            r#"{{"success":false,"ret_msg":"error:handler not found,topic:allLiquidation.BTCPERP","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#
        ))
        .await;
    let (id, topics) = subscribed(&mut client).await;
    assert_eq!(topics, ["allLiquidation.BTCUSDT"]);
    client.send(&tickers(0)).await;
    ack(&mut client, &id).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    let status = ingest.status();
    assert_eq!(status.refused, BTreeMap::from([(Reason::Subscription, 1)]));
    let line = "Bybit refuses this region (403): the instruments stay as known, asked again in 1 h";
    assert_eq!(status.last_error.as_deref(), Some(line));
    ingest.stop().await;
}

#[tokio::test]
async fn bybit_is_pinged_and_listed_instruments_replace_names() {
    let venue = Venue::start().await;
    let rest = Rest::start(|path| {
        let row = |symbol: &str, base: &str| {
            format!(
                r#"{{"symbol":"{symbol}","contractType":"LinearPerpetual","baseCoin":"{base}","settleCoin":"USDT"}}"#
            )
        };
        let (row, next) =
            if path.contains("cursor=2") { (row("BTCUSDT", "BTC"), "") } else { (row("ETHUSDT", "ETH"), "2") };
        Ok(format!(r#"{{"retCode":0,"retMsg":"OK","result":{{"list":[{row}],"nextPageCursor":"{next}"}}}}"#))
    })
    .await;
    let mut config = config(Exchange::Bybit, &venue, &rest);
    config.timings.bybit_ping = Duration::from_millis(20);
    let ingest = start(Exchange::Bybit, config);
    let mut client = venue.accept().await;
    subscribed(&mut client).await;
    assert_eq!(subscribed(&mut client).await.1, ["allLiquidation.BTCUSDT"]);
    assert_eq!(client.text().await, r#"{"op":"ping"}"#);
    ingest.stop().await;
}

#[tokio::test]
async fn a_refused_region_is_told_once_and_asked_again_later() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.timings.refused_retry = Duration::from_millis(60);
    let mut ingest = start(Exchange::Binance, config);
    for _ in 0..2 {
        venue.refuse("HTTP/1.1 451 Unavailable For Legal Reasons\r\ncontent-length: 2\r\n\r\n{}").await;
    }
    assert_eq!(ingest.state().await, FeedState::Refused);
    let line = "Binance refuses this region (451); trying again in 60 ms";
    assert_eq!(ingest.status().last_error.as_deref(), Some(line));
    venue.accept().await.send(&mark(0)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    ingest.stop().await;
}

fn okx_mark(ms: i64) -> String {
    let time = START + ms;
    format!(r#"{{"arg":{{"channel":"mark-price","instId":"BTC-USDT-SWAP"}},"data":[{{"markPx":"1","ts":"{time}"}}]}}"#)
}

fn okx_detail(ms: i64) -> String {
    format!(r#"{{"bkLoss":"0","bkPx":"70000","ccy":"","posSide":"long","side":"sell","sz":"1","ts":"{}"}}"#, START + ms)
}

fn okx_orders(ms: i64) -> String {
    let detail = okx_detail(ms);
    format!(
        r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{{"instId":"BTC-USDT-SWAP","details":[{detail}]}}]}}"#
    )
}

async fn okx_subscribed(client: &mut Client) {
    assert!(client.text().await.contains(r#"{"channel":"liquidation-orders","instType":"SWAP"}"#));
    client.send(r#"{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"c"}"#).await;
}

/// An OKX REST side that lists instruments and answers the backfill with these details, and the paths it was asked for.
async fn okx_rest(details: Vec<String>) -> (Rest, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = asked.clone();
    let rest = Rest::start(move |path| {
        if path.contains("/instruments") {
            return Ok(okx_instruments());
        }
        paths.lock().unwrap().push(path.to_owned());
        let details = if path.contains("uly=BTC-USDT") { details.join(",") } else { String::new() };
        Ok(format!(r#"{{"code":"0","msg":"","data":[{{"instId":"BTC-USDT-SWAP","details":[{details}]}}]}}"#))
    })
    .await;
    (rest, asked)
}

#[tokio::test]
async fn an_okx_gap_is_filled_oldest_first_and_without_what_was_heard() {
    let venue = Venue::start().await;
    // Newest first: beyond the gap, two inside it, one heard before, one before the gap.
    let details = [40_000, 20_000, 10_000, 0, -60_000].map(okx_detail).to_vec();
    let (rest, asked) = okx_rest(details).await;
    let mut config = config(Exchange::Okx, &venue, &rest);
    config.timings.alive_after = Duration::ZERO;
    let mut ingest = start(Exchange::Okx, config);
    let mut client = venue.accept().await;
    okx_subscribed(&mut client).await;
    client.send(&okx_orders(0)).await;
    client.send(&okx_mark(1_000)).await;
    // The liquidation comes before the proof: what was heard is a fact all the same.
    assert_eq!(ingest.liquidation().await, (0, false));
    assert_eq!(ingest.state().await, FeedState::Connected);
    assert_eq!(ingest.state().await, FeedState::Alive);
    assert_eq!(asked.lock().unwrap().len(), 0);
    drop(client);
    assert_eq!(ingest.state().await, FeedState::Disconnected);
    let mut client = venue.accept().await;
    okx_subscribed(&mut client).await;
    client.send(&okx_mark(30_000)).await;
    let recovered = ingest.feed().await;
    assert_eq!((recovered.state, recovered.gap_ms), (FeedState::Recovered, Some(29_000)));
    assert_eq!(ingest.liquidation().await, (10_000, true));
    assert_eq!(ingest.liquidation().await, (20_000, true));
    assert!(asked.lock().unwrap()[1].ends_with("instType=SWAP&uly=BTC-USDT&state=filled&limit=100"));
    // Only with the gap filled is the venue alive again.
    client.send(&okx_mark(34_000)).await;
    assert_eq!(ingest.feed().await.event_time.as_millis() - START, 30_000);
    assert_eq!((ingest.status().backfilled, ingest.status().duplicates), (2, 1));
    ingest.stop().await;
}

#[tokio::test]
async fn an_okx_upgrade_notice_opens_the_new_connection_first() {
    let venue = Venue::start().await;
    let (rest, _) = okx_rest(Vec::new()).await;
    let mut ingest = start(Exchange::Okx, config(Exchange::Okx, &venue, &rest));
    let mut old = venue.accept().await;
    okx_subscribed(&mut old).await;
    old.send(&okx_mark(0)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    old.send(r#"{"event":"notice","code":"64008","msg":"upgrade","connId":"c"}"#).await;
    let mut new = venue.accept().await;
    okx_subscribed(&mut new).await;
    old.send(&okx_orders(1_000)).await;
    assert_eq!(ingest.liquidation().await, (1_000, false));
    new.send(&okx_mark(2_000)).await;
    old.gone().await;
    new.send(&okx_orders(3_000)).await;
    assert_eq!(ingest.liquidation().await, (3_000, false));
    ingest.stop().await;
}

#[tokio::test]
async fn a_quiet_okx_connection_is_pinged() {
    let venue = Venue::start().await;
    let (rest, _) = okx_rest(Vec::new()).await;
    let mut config = config(Exchange::Okx, &venue, &rest);
    config.timings.okx_ping = Duration::from_millis(20);
    let ingest = start(Exchange::Okx, config);
    let mut client = venue.accept().await;
    okx_subscribed(&mut client).await;
    assert_eq!(client.text().await, "ping");
    client.send("pong").await;
    ingest.until("the pong", |status| status.frames == 2).await;
    assert_eq!(ingest.status().refused, BTreeMap::new());
    ingest.stop().await;
}

#[tokio::test]
async fn okx_waits_for_its_instruments() {
    let venue = Venue::start().await;
    let tries = Mutex::new(0);
    let rest = Rest::start(move |_| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 3 { Err("503 Service Unavailable".to_owned()) } else { Ok(okx_instruments()) }
    })
    .await;
    let ingest = start(Exchange::Okx, config(Exchange::Okx, &venue, &rest));
    okx_subscribed(&mut venue.accept().await).await;
    let line = "OKX answers status 503: without its instruments nothing can be valued; trying again soon";
    assert_eq!(ingest.status().last_error.as_deref(), Some(line));
    ingest.stop().await;
}

#[tokio::test]
async fn a_live_market_measures_the_clock_and_refuses_the_future() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &venue, &rest);
    config.market = Market::Live;
    let mut ingest = start(Exchange::Binance, config);
    let mut client = venue.accept().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap() - START;
    client.send(&mark(now)).await;
    assert_eq!(ingest.state().await, FeedState::Connected);
    client.send(&forced(now + 60_000)).await;
    client.send(&forced(0)).await;
    client.send(&forced(now)).await;
    assert_eq!(ingest.liquidation().await, (now, false));
    assert_eq!(ingest.status().refused, BTreeMap::from([(Reason::Future, 1), (Reason::Past, 1)]));
    ingest.stop().await;
}

#[tokio::test]
async fn a_full_channel_holds_back_its_own_venue_alone() {
    let (slow, quick_venue, rest) = (Venue::start().await, Venue::start().await, no_rest().await);
    let mut config = config(Exchange::Binance, &slow, &rest);
    let endpoints = Endpoints { ws: quick_venue.url(), rest: rest.url.clone() };
    config.venues.insert(Exchange::Bybit, endpoints);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (full, _kept) = mpsc::channel(1);
    let (sender, mut events) = mpsc::channel(8);
    let outputs = BTreeMap::from([(Exchange::Binance.venue(), full), (Exchange::Bybit.venue(), sender)]);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(config, outputs, Arc::new(OwnAccounts::default()), Monitor::new(), shutdown.clone()));
    let mut client = slow.accept().await;
    for ms in 0..20 {
        client.send(&forced(ms)).await;
    }
    let mut client = quick_venue.accept().await;
    for _ in 0..2 {
        let (id, _) = subscribed(&mut client).await;
        ack(&mut client, &id).await;
    }
    client.send(&tickers(0)).await;
    let connected = soon("an event", events.recv()).await.unwrap();
    assert!(matches!(connected.event, MarketEvent::Feed(Feed { state: FeedState::Connected, .. })));
    shutdown.cancel();
    soon("the end", task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_the_run_with_its_reason() {
    let (venue, rest) = (Venue::start().await, no_rest().await);
    let ingest = start(Exchange::Binance, config(Exchange::Binance, &venue, &rest));
    drop(ingest.events);
    let mut client = venue.accept().await;
    client.send(&forced(0)).await;
    let ended = soon("the end", ingest.task).await.unwrap();
    assert!(matches!(&ended, Err(RunError::OutputClosed(venue)) if venue.as_str() == "binance"), "{ended:?}");
}
