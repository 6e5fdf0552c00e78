//! `foreshock bench`: parse, window step, the way through the broker against the bare client in the same run, and what our
//! polling costs the users of the market-data service.
//!
//! Machines are noisy: compare the ratios of one run, not the figures of two.

mod market_data;

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use detect::{
    detector::{Detector, Start},
    rules::Rules,
};
use hdrhistogram::Histogram;
use ingest::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    normalize::{Normalizer, Receipt},
};
use nats::{BacklogLimits, Bus, Cursor, Observed, PrivateServer, PublisherConfig, ServerConfig, Store, VenuePublisher};
use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd},
    id::Id,
    market::{Liquidation, MarketEvent, Origin, PriceKind, Reported, Rules as RulesEvent, Side},
    position::Sequence,
    subject::Stream,
    time::{EventTime, ReceivedAt},
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::run::{
    Context, detect as worker, host_clock_ms,
    running::{self, Running},
    say, service, stdout,
};

/// Frames parsed per venue.
const FRAMES: u32 = 200_000;
/// Events folded.
const EVENTS: u64 = 1_000_000;
/// Events sent through the broker as fast as it takes them, by the bare client and by the pipeline.
const THROUGHPUT_EVENTS: u64 = 20_000;
/// Events sent through the broker at [`LATENCY_RATE`] a second.
const LATENCY_EVENTS: u64 = 2_000;
const LATENCY_RATE: u32 = 200;

/// Every liquidation is an alert, so that every event shows how long the whole way takes.
const LOUD: &str = "[liquidation.default]\nsingle_usd = 1\ncascade_count = 1_000_000\ncascade_usd = 900_000_000_000\nwindow = \"30s\"\n";

pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    say("parse: frames of each venue");
    let parse = parse()?;
    say("window: the fold alone");
    let window = window();
    say("pipeline: publisher, MARKET, detector, ALERTS, on a private nats-server");
    let pipeline = pipeline(context).await?;
    say("market-data: its stand-in asked by a user, with our polling on and off (a minute)");
    let market_data = market_data::run(&market_data::Pace::SCALED).await?;
    let result = json!({
        "parse_ns_per_frame": parse,
        "window_ns_per_event": window,
        "pipeline": pipeline,
        "market_data": market_data,
    });
    let text = if context.json { result.to_string() } else { serde_json::to_string_pretty(&result)? };
    writeln!(stdout(), "{text}").context("stdout cannot be written")
}

/// Live frames of each venue (exchanges.md A.1 to A.3).
fn parse() -> anyhow::Result<BTreeMap<&'static str, u64>> {
    const OKX_INSTRUMENTS: &str = r#"{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP","instFamily":"BTC-USDT","uly":"BTC-USDT","ctVal":"0.01","ctMult":"1","ctValCcy":"BTC","ctType":"linear","settleCcy":"USDT","state":"live"}]}"#;
    let by_name = |exchange| Instruments::by_name(exchange).context("no plain names");
    let venues = [
        (
            by_name(Exchange::Binance)?,
            r#"{"e":"forceOrder","E":1791435250143,"o":{"s":"BTCUSDT","S":"BUY","o":"LIMIT","f":"IOC","q":"15.4","p":"1.4111","ap":"1.4043","X":"FILLED","l":"15.4","z":"15.4","T":1791435249136,"ps":"BTCUSDT","st":1}}"#,
        ),
        (
            by_name(Exchange::Bybit)?,
            r#"{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1791594602982,"data":[{"T":1791594602908,"s":"BTCUSDT","S":"Sell","v":"0.024","p":"82843.00"}]}"#,
        ),
        (
            Instruments::from_reply(Exchange::Okx, OKX_INSTRUMENTS.as_bytes())?,
            r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"63524.6","ccy":"","posSide":"long","side":"sell","sz":"1000","ts":"1791435480289"}],"instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT"}]}"#,
        ),
    ];
    let mut costs = BTreeMap::new();
    for (instruments, frame) in venues {
        let name = instruments.exchange().as_str();
        let mut normalizer = Normalizer::new(instruments, Bases::All, RETENTION);
        let began = Instant::now();
        for _ in 0..FRAMES {
            let frame = normalizer.frame(black_box(frame.as_bytes()), Receipt::Recorded);
            anyhow::ensure!(frame.liquidations.len() == 1, "the frame of {name} was not taken");
        }
        costs.insert(name, per(began.elapsed(), u64::from(FRAMES)));
    }
    Ok(costs)
}

/// A storm of 500 events a second over three bases: every event moves, judges and evicts.
fn window() -> u64 {
    let mut detector = Detector::new(Start::Complete);
    let rules = RulesEvent::new(1, Origin::Config, Rules::shipped().to_toml());
    detector.handle_event(Sequence::new(1), &MarketEvent::Rules(rules));
    let events: Vec<_> = (0..1_000).map(|n| liquidation(n, EventTime::from_millis(0))).collect();
    let began = Instant::now();
    for n in 0..EVENTS {
        let mut event = events[usize::try_from(n % 1_000).unwrap_or(0)].clone();
        event.event_time = EventTime::from_millis(1_791_435_250_000 + i64::try_from(n).unwrap_or(0) * 2);
        detector.handle_event(Sequence::new(n + 2), &MarketEvent::Liquidation(event));
        while let Some(output) = detector.poll_output() {
            black_box(output);
        }
    }
    per(began.elapsed(), EVENTS)
}

async fn pipeline(context: &Context) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let search = context.path.clone();
    let store = Store::Fresh;
    let server = PrivateServer::start(ServerConfig { folder: folder.path().join("nats"), search, store }).await?;
    let credentials = server.credentials();
    let running = Running {
        url: format!("nats://{}", server.servers()),
        user: credentials.user,
        password: credentials.password.expose().to_owned(),
        prefix: "bench".to_owned(),
        market: "live".to_owned(),
    };
    let bus = Bus::connect(running::private(&running, "foreshock-bench".to_owned())?, &context.shutdown).await?;
    service::settle(&bus, &context.shutdown).await?;

    let bare = bare(&bus).await?;
    let stop = CancellationToken::new();
    let status = worker::Watch::default();
    let mut watched = status.subscribe();
    let worker = tokio::spawn(worker::run(bus.clone(), Some(Rules::parse(LOUD)?), status, stop.clone()));
    watched.wait_for(|status| status.ready).await.context("the detector did not start")?;
    let through = throughput(&bus, &mut watched).await?;
    let latency = latency(&bus).await?;
    stop.cancel();
    worker.await.context("the detector ended badly")??;
    bus.close().await;
    server.stop().await;
    let ratio = bare.rate / through.max(1.0);
    Ok(json!({
        "bare_client_events_per_s": bare.rate.round(),
        "pipeline_events_per_s": through.round(),
        "bare_over_pipeline": (ratio * 100.0).round() / 100.0,
        "bare_ack_us": quantiles(&bare.acks),
        "frame_to_alert_stored_us_at_200_per_s": quantiles(&latency),
    }))
}

struct Bare {
    rate: f64,
    /// Microseconds from publish to acknowledgement.
    acks: Histogram<u64>,
}

/// What the client alone does: one publish outstanding, as the contract asks of a venue's publisher.
async fn bare(bus: &Bus) -> anyhow::Result<Bare> {
    let mut acks = Histogram::new(3)?;
    let began = Instant::now();
    for n in 0..THROUGHPUT_EVENTS {
        let event = MarketEvent::Liquidation(liquidation(n + 10_000_000, now()));
        let sent = Instant::now();
        bus.publish_event(&event).await?;
        acks.record(micros(sent.elapsed()))?;
    }
    Ok(Bare { rate: rate(began.elapsed(), THROUGHPUT_EVENTS), acks })
}

/// Events through publisher and detector, each of them an alert that is stored.
async fn throughput(bus: &Bus, status: &mut watch::Receiver<worker::Status>) -> anyhow::Result<f64> {
    let before = status.borrow().stored;
    let began = Instant::now();
    let events = publisher(bus);
    for n in 0..THROUGHPUT_EVENTS {
        let event = MarketEvent::Liquidation(liquidation(n, now()));
        events.send(Observed { event, backfill: false }).await.context("the publisher ended")?;
    }
    status.wait_for(|status| status.stored >= before + THROUGHPUT_EVENTS).await.context("the detector ended")?;
    Ok(rate(began.elapsed(), THROUGHPUT_EVENTS))
}

/// Microseconds from handing over an event to the server's time of its alert; broker and program share a clock here.
async fn latency(bus: &Bus) -> anyhow::Result<Histogram<u64>> {
    let end = bus.stream_state(Stream::Alerts).await?.last;
    let mut alerts = Cursor::open(bus, Stream::Alerts, end.next(), Some(bus.names().alerts())).await?;
    let events = publisher(bus);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / LATENCY_RATE);
    let mut handed: BTreeMap<Id, i128> = BTreeMap::new();
    for n in 0..LATENCY_EVENTS {
        pace.tick().await;
        let event = liquidation(n + 20_000_000, now());
        handed.insert(event.id, wall_nanos());
        let observed = Observed { event: MarketEvent::Liquidation(event), backfill: false };
        events.send(observed).await.context("the publisher ended")?;
    }
    let mut latency = Histogram::new(3)?;
    for _ in 0..LATENCY_EVENTS {
        let record = alerts.next().await?;
        let alert: schemas::alert::Alert = schemas::wire::decode(&record.payload)?;
        if let Some(at) = handed.get(&alert.trigger) {
            let nanos = i128::from(record.published_ns) - at;
            latency.record(u64::try_from(nanos / 1000).unwrap_or(0))?;
        }
    }
    Ok(latency)
}

fn wall_nanos() -> i128 {
    jiff::Timestamp::now().as_nanosecond()
}

fn publisher(bus: &Bus) -> mpsc::Sender<Observed> {
    let config = PublisherConfig {
        instance: "bench".to_owned(),
        backlog: BacklogLimits::PROCESS,
        drain: Duration::from_secs(5),
    };
    let publisher = VenuePublisher::new(bus.clone(), Exchange::Okx.venue(), config, Arc::default());
    let (events, observed) = mpsc::channel(64);
    // It ends when the sender is dropped; what it published is awaited through the streams.
    tokio::spawn(publisher.run(observed, CancellationToken::new()));
    events
}

fn liquidation(n: u64, event_time: EventTime) -> Liquidation {
    let base = ["BTC", "ETH", "SOL"][usize::try_from(n % 3).unwrap_or(0)];
    let (price, quantity) = (Decimal::from(1_000 + n % 977), Decimal::from(1 + n % 13));
    let positive = "counted from one";
    let (price, quantity) = (Price::new(price).expect(positive), Quantity::new(quantity).expect(positive));
    let reported = Reported {
        venue: Exchange::Okx.venue(),
        instrument: format!("{base}-USDT-SWAP").parse().expect("a plain name"),
        base: base.parse().expect("a plain name"),
        liquidated: if n.is_multiple_of(4) { Side::Short } else { Side::Long },
        quantity,
        price,
        price_kind: PriceKind::Bankruptcy,
        notional_usd: Usd::notional(price, quantity).expect("far below the bound"),
        event_time,
    };
    Liquidation::new(reported, &[&n.to_string()], 1, ReceivedAt::from_millis(event_time.as_millis()))
}

fn now() -> EventTime {
    EventTime::from_millis(host_clock_ms())
}

fn per(elapsed: Duration, count: u64) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / count.max(1)
}

fn rate(elapsed: Duration, count: u64) -> f64 {
    // Counts of a benchmark are far below 2^52.
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "p50": histogram.value_at_quantile(0.5),
        "p95": histogram.value_at_quantile(0.95),
        "p99": histogram.value_at_quantile(0.99),
        "max": histogram.max(),
    })
}
