//! `foreshock simulate`: a local market that speaks the venues' own protocols.

use std::collections::BTreeMap;

use anyhow::Context as _;
use ingest::exchange::Exchange;
use serde_json::json;
use tracing::info;

use crate::{
    cli::{self, Speed},
    exit::UsageError,
    run::{Context, stdout},
    simulate::{self, Config, Disorder, Faults, Refusal, Silence, Simulator, Source, Storms, Timing},
};

/// Probability of the faults that happen to single frames.
const FAULT_PROBABILITY: f64 = 0.1;

/// How long a disordered frame is held at most, in milliseconds.
const DISORDER_MS: u64 = 2_000;

/// How often `disconnect` drops each socket, in milliseconds.
const DISCONNECT_EVERY_MS: u64 = 30_000;

/// How far `clock` puts a venue's clock off, in milliseconds.
const CLOCK_MS: i64 = 60_000;

pub(super) async fn run(context: &Context, options: &cli::Simulate) -> anyhow::Result<()> {
    let source = match (&options.recording, options.venue) {
        (Some(file), Some(venue)) => Source::Recording {
            venue,
            file: file.clone(),
            instruments: options.instruments.clone(),
            speed: options.speed.into(),
            wait_subscribers: options.wait_subscribers,
        },
        _ if options.speed == Speed::Max => {
            return Err(UsageError(
                "--speed max needs --recording: an invented market has no end to run to".to_owned(),
            )
            .into());
        }
        // Storms are left out where there is a scenario.
        _ => Source::Seed {
            seed: options.seed,
            storms: Some(Storms::DEMO),
            scenario: options.scenario,
            speed: options.speed.into(),
            wait_subscribers: options.wait_subscribers,
        },
    };
    let faults = faults(&options.faults)?;
    let config = Config { listen: (options.host, options.port).into(), source, timing: Timing::default(), faults };
    let simulator =
        simulate::start(config, context.shutdown.clone()).await.context("the market cannot be simulated")?;
    writeln!(stdout(), "{}", describe(&simulator, context.json)).context("stdout cannot be written")?;
    tokio::select! {
        () = simulator.done() => info!("the recording was played to its end; the market goes on without liquidations"),
        () = context.shutdown.cancelled() => {}
    }
    context.shutdown.cancelled().await;
    simulator.join().await.context("the simulated market ended badly")
}

/// The settings that make ingest and notify use this market.
fn describe(simulator: &Simulator, json: bool) -> String {
    let venues = Exchange::ALL.into_iter().flat_map(|venue| {
        let name = venue.as_str().to_uppercase();
        [
            (format!("FORESHOCK_{name}_WS_URL"), simulator.ws_url(venue)),
            (format!("FORESHOCK_{name}_REST_URL"), simulator.http_url(venue)),
        ]
    });
    let telegram = ("FORESHOCK_TELEGRAM_API_URL".to_owned(), simulator.telegram_url());
    let market_data = ("MARKET_DATA_URL".to_owned(), simulator.market_data_url());
    let settings: Vec<_> = venues.chain([telegram, market_data]).collect();
    if json {
        return json!(settings.into_iter().collect::<BTreeMap<_, _>>()).to_string();
    }
    let lines: Vec<_> = settings.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let (addr, chats) = (simulator.addr(), simulator.telegram_url());
    format!("{}\n# control: http://{addr}/control\n# chats as a phone shows them: {chats}/", lines.join("\n"))
}

fn faults(named: &[cli::Fault]) -> anyhow::Result<BTreeMap<Exchange, Faults>> {
    let mut faults: BTreeMap<Exchange, Faults> = BTreeMap::new();
    for cli::Fault { name, venue } in named {
        let faults = faults.entry(*venue).or_default();
        match name.as_str() {
            "silence" => faults.silence = Some(Silence::Answering),
            "deaf" => faults.silence = Some(Silence::Deaf),
            "malformed" => faults.malformed = FAULT_PROBABILITY,
            "truncated" => faults.truncated = FAULT_PROBABILITY,
            "oversized" => faults.oversized = FAULT_PROBABILITY,
            "duplicate" => faults.duplicate = FAULT_PROBABILITY,
            "disorder" => {
                faults.disorder = Some(Disorder { probability: FAULT_PROBABILITY, max_ms: DISORDER_MS });
            }
            "restricted" => faults.refuse_sockets = Some(Refusal::Restricted),
            "forbidden" => faults.refuse_sockets = Some(Refusal::Forbidden),
            "rest" => faults.refuse_rest = Some(Refusal::RateLimited),
            "disconnect" => faults.disconnect_every_ms = Some(DISCONNECT_EVERY_MS),
            "frozen" => faults.frozen_interest = true,
            "clock" => faults.clock_ms = CLOCK_MS,
            _ => {
                return Err(UsageError(format!(
                    "`{}` is no fault: silence, deaf, malformed, truncated, oversized, duplicate, disorder, restricted, \
                     forbidden, rest, disconnect, frozen and clock are",
                    name.escape_debug()
                ))
                .into());
            }
        }
    }
    Ok(faults)
}

impl From<Speed> for simulate::Speed {
    fn from(speed: Speed) -> Self {
        match speed {
            Speed::Times(factor) => Self::Times(factor),
            Speed::Max => Self::Max,
        }
    }
}
