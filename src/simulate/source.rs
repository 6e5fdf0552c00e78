//! Where the market comes from, and what that takes.

use std::path::PathBuf;

use ingest::exchange::Exchange;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    StartError,
    clock::{Clock, wall_ms},
    hub::Instruments,
    market::{Market, Storms},
    player,
    recording::{self, FileError, Recording},
    scenario::{Planted, Scenario},
};

/// Where the market comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A synthetic market, from the present on.
    Seed {
        /// Everything follows from it.
        seed: u64,
        /// Bursts that are cascades; none: a quiet market. There are none with a scenario.
        storms: Option<Storms>,
        /// What happens to open interest; none: noise.
        scenario: Option<Scenario>,
        /// How fast market time goes; it has no end that [`Speed::Max`] could run to.
        speed: Speed,
        /// Sockets that must be subscribed to the liquidations of each venue before it starts.
        wait_subscribers: usize,
    },
    /// The recorded liquidations of one venue. The other two are quiet.
    Recording {
        /// Whose frames they are.
        venue: Exchange,
        /// Raw frames, one JSON a line, plain or gzip, at most 256 MiB.
        file: PathBuf,
        /// The venue's own instruments reply, plain or gzip; without it the ones that are built in and, of Binance and
        /// Bybit, the plain USDT and USDC names that occur in the recording.
        instruments: Option<PathBuf>,
        /// How fast market time goes.
        speed: Speed,
        /// Sockets that must be subscribed to the venue's liquidations before the clock starts.
        wait_subscribers: usize,
    },
}

/// How fast market time goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This multiple of real time, above zero.
    Times(f64),
    /// As fast as the slowest socket takes it: of a recording.
    Max,
}

/// What the player plays.
pub(super) enum Play {
    Seed { speed: f64, start_ms: i64, wait_subscribers: usize },
    Recording { venue: Exchange, recording: Recording, speed: Speed, wait_subscribers: usize },
}

/// What a source comes to.
pub(super) struct Prepared {
    pub(super) market: Market,
    pub(super) clock: Clock,
    /// What one venue lists instead of what is built in.
    pub(super) instruments: Option<(Exchange, Instruments)>,
    pub(super) play: Play,
}

/// Reads and checks what a source needs.
pub(super) async fn prepare(source: Source) -> Result<Prepared, StartError> {
    match source {
        Source::Seed { seed, storms, scenario, speed, wait_subscribers } => {
            prepare_seed(seed, storms, scenario, speed, wait_subscribers)
        }
        Source::Recording { venue, file, instruments, speed, wait_subscribers } => {
            if let Speed::Times(times) = speed {
                check_speed(times)?;
            }
            let read = spawn_blocking(move || {
                let given = instruments.map(|file| recording::read_instruments(venue, &file)).transpose()?;
                let recording = Recording::read(venue, &file)?;
                let listed = given.or_else(|| recording::plain_instruments(venue, &recording));
                Ok::<_, FileError>((listed, recording))
            });
            let (given, recording) = read.await.expect("reading does not panic")?;
            // Companions need a market too; no storm may move their prices.
            Ok(Prepared {
                market: Market::new(0, None),
                clock: player::before_recording(&recording),
                instruments: given.map(|given| (venue, given)),
                play: Play::Recording { venue, recording, speed, wait_subscribers },
            })
        }
    }
}

fn prepare_seed(
    seed: u64,
    storms: Option<Storms>,
    scenario: Option<Scenario>,
    speed: Speed,
    wait_subscribers: usize,
) -> Result<Prepared, StartError> {
    let Speed::Times(speed) = speed else { return Err(StartError::Endless) };
    check_speed(speed)?;
    let start_ms = wall_ms().div_euclid(1000) * 1000;
    let market = match scenario {
        Some(scenario) => Market::with_scenario(seed, Planted { scenario, start_ms }),
        None => Market::new(seed, storms),
    };
    let clock = match wait_subscribers {
        0 if speed == 1.0 => Clock::Wall,
        0 => Clock::Running { from_ms: start_ms, since: Instant::now(), speed },
        _ => player::before(start_ms),
    };
    Ok(Prepared { market, clock, instruments: None, play: Play::Seed { speed, start_ms, wait_subscribers } })
}

fn check_speed(times: f64) -> Result<(), StartError> {
    if times.is_finite() && times > 0.0 { Ok(()) } else { Err(StartError::Speed(times)) }
}
