//! What polling the market-data service costs its users: the stand-in with the real fan-out, asked by a user with our
//! polling off and on, side by side, and right beside one of our calls.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{micros, quantiles};
use crate::simulate::{self, MarketData, Simulator, Source, Speed, Timing, Upstream};

/// Bases we ask for, as shipped.
const BASES: [&str; 3] = ["BTC", "ETH", "SOL"];

/// How fast everything goes.
pub(super) struct Pace {
    /// How long the service waits for one upstream request.
    upstream: Duration,
    /// Each of [`BASES`] is asked for once in it by us, evenly spread; the measurement is one slot long.
    slot: Duration,
    /// How often the user asks for a price and for open interest.
    user_every: Duration,
    /// How often a user's call is made right after one of ours.
    besides: u32,
}

impl Pace {
    /// Twenty times the real pace: a request of 100 ms and a slot of 20 min (exchanges.md C.6) become 5 ms and a minute.
    pub(super) const SCALED: Self = Self {
        upstream: Duration::from_millis(5),
        slot: Duration::from_secs(60),
        user_every: Duration::from_millis(300),
        besides: 40,
    };
}

/// How long the user waits for each endpoint, in microseconds.
struct Waits {
    price: Histogram<u64>,
    multi_oi: Histogram<u64>,
}

impl Waits {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { price: Histogram::new(3)?, multi_oi: Histogram::new(3)? })
    }

    fn quantiles(&self) -> Value {
        json!({ "combined_price_us": quantiles(&self.price), "multi_oi_us": quantiles(&self.multi_oi) })
    }
}

/// Measures at a pace. Ratios do not depend on the pace, the times do.
pub(super) async fn run(pace: &Pace) -> anyhow::Result<Value> {
    let (quiet, polled) = (Stand::start(pace).await?, Stand::start(pace).await?);
    let polling = polled.poll(pace.slot);
    let (off, on) = tokio::try_join!(quiet.user(pace), polled.user(pace))?;
    polling.await.context("the polling ended badly")??;
    let beside = polled.beside(pace).await?;
    quiet.stop().await?;
    polled.stop().await?;
    Ok(json!({
        "upstream_request_us": micros(pace.upstream),
        "polling_off": off.quantiles(),
        "polling_on": on.quantiles(),
        "beside_a_call_of_ours": beside.quantiles(),
        "on_over_off": { "combined_price": ratios(&on.price, &off.price), "multi_oi": ratios(&on.multi_oi, &off.multi_oi) },
        "beside_over_off": {
            "combined_price": ratios(&beside.price, &off.price),
            "multi_oi": ratios(&beside.multi_oi, &off.multi_oi),
        },
    }))
}

/// One stand-in and a client of it.
struct Stand {
    simulator: Simulator,
    client: Client,
    shutdown: CancellationToken,
}

impl Stand {
    async fn start(pace: &Pace) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let source =
            Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 };
        let config =
            simulate::Config { listen: simulate::LOOPBACK, source, timing: Timing::default(), faults: [].into() };
        let simulator = simulate::start(config, shutdown.clone()).await.context("the market cannot be simulated")?;
        let upstream_ms = u64::try_from(pace.upstream.as_millis()).context("too slow")?;
        let upstream_ms = Upstream::ALL.map(|upstream| (upstream, upstream_ms)).into();
        simulator.control().set_market_data(MarketData { upstream_ms, ..MarketData::default() });
        let http = reqwest::Client::builder().no_proxy().build().context("no HTTP client")?;
        let client = Client { http, url: simulator.market_data_url() };
        Ok(Self { simulator, client, shutdown })
    }

    /// Asks as a user does for the length of a slot.
    async fn user(&self, pace: &Pace) -> anyhow::Result<Waits> {
        let mut waits = Waits::new()?;
        let end = Instant::now() + pace.slot;
        let mut ticks = interval(pace.user_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < end {
            ticks.tick().await;
            waits.price.record(micros(self.client.price().await?))?;
            waits.multi_oi.record(micros(self.client.multi_oi(BASES[0]).await?))?;
        }
        Ok(waits)
    }

    /// Asks as our ingest does for the length of a slot.
    fn poll(&self, slot: Duration) -> JoinHandle<anyhow::Result<()>> {
        let (client, start) = (self.client.clone(), Instant::now());
        tokio::spawn(async move {
            for (place, base) in (1..).zip(BASES) {
                sleep_until(start + slot * place / 4).await;
                client.multi_oi(base).await?;
            }
            Ok(())
        })
    }

    /// Asks as a user whose every call meets one of ours that has just begun.
    async fn beside(&self, pace: &Pace) -> anyhow::Result<Waits> {
        let mut waits = Waits::new()?;
        for _ in 0..pace.besides {
            let begun = async {
                sleep(pace.upstream / 2).await;
                self.client.price().await
            };
            let (_, price) = tokio::try_join!(self.client.multi_oi(BASES[0]), begun)?;
            waits.price.record(micros(price))?;
            let begun = async {
                sleep(pace.upstream / 2).await;
                self.client.multi_oi(BASES[1]).await
            };
            let (_, multi_oi) = tokio::try_join!(self.client.multi_oi(BASES[0]), begun)?;
            waits.multi_oi.record(micros(multi_oi))?;
        }
        Ok(waits)
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        // A connection that is kept open would be waited for.
        drop(self.client);
        self.simulator.join().await.context("the simulated market ended badly")
    }
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn price(&self) -> anyhow::Result<Duration> {
        self.ask("combined_price", json!({"symbol": "BTC-USDT", "exchange": null})).await
    }

    async fn multi_oi(&self, base: &str) -> anyhow::Result<Duration> {
        self.ask("multi_oi", json!({"base_symbol": base})).await
    }

    /// Returns how long an answer took.
    async fn ask(&self, endpoint: &str, body: Value) -> anyhow::Result<Duration> {
        let asked = Instant::now();
        let answer = self.http.post(format!("{}/{endpoint}", self.url)).body(body.to_string()).send().await?;
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        anyhow::ensure!(answer["success"] == true, "{endpoint} failed: {answer}");
        Ok(asked.elapsed())
    }
}

/// The ratios of two waits at the quantiles that are shown, with two digits.
fn ratios(on: &Histogram<u64>, off: &Histogram<u64>) -> Value {
    let ratio = |quantile| {
        // Waits are far below 2^52 microseconds.
        let ratio = on.value_at_quantile(quantile) as f64 / off.value_at_quantile(quantile).max(1) as f64;
        (ratio * 100.0).round() / 100.0
    };
    json!({ "p50": ratio(0.5), "p95": ratio(0.95), "p99": ratio(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_is_measured_without_our_polling_with_it_and_beside_it() {
        // A second installation is refused, which changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pace = Pace {
            upstream: Duration::from_millis(1),
            slot: Duration::from_millis(40),
            user_every: Duration::from_millis(10),
            besides: 1,
        };
        let measured = run(&pace).await.unwrap();
        for (part, endpoint) in [
            ("polling_off", "multi_oi_us"),
            ("polling_on", "combined_price_us"),
            ("beside_a_call_of_ours", "multi_oi_us"),
            ("beside_over_off", "combined_price"),
        ] {
            for quantile in ["p50", "p95", "p99"] {
                assert!(measured[part][endpoint][quantile].as_f64().unwrap() > 0.0, "{measured}");
            }
        }
    }
}
