//! The command line: clap types only. Wrong usage exits 2, which is clap's own code for it.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use ingest::exchange::Exchange;
use jiff::Timestamp;
use schemas::{alert::Kind, name::Base};
use url::Url;

use crate::{
    config::{Flags, values},
    history::GroupBy,
    simulate::Scenario,
};

pub mod subscribers;
#[cfg(test)]
mod tests;

/// Largest factor of a speed: a week in under a second. Beyond it `max` says what is meant; a larger one is refused.
const SPEED_MAX: f64 = 1_000_000.0;

/// Early warning of liquidation cascades and open-interest explosions on crypto futures venues
#[derive(Debug, Parser)]
#[command(name = "foreshock", version)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Configuration file (default: foreshock.toml in the working directory, if it exists)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Answer in JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// NATS servers, separated by commas, such as nats://127.0.0.1:4222
    #[arg(long, global = true, value_name = "URL")]
    pub nats_url: Option<String>,
    /// Prefix of every name on the broker, [a-z0-9-], at most 16 characters
    #[arg(long, global = true, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Where to answer HTTP (status page, health, metrics), such as 127.0.0.1:9180, or off
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub http_listen: Option<String>,
    /// Least severe log lines to write: TRACE, DEBUG, INFO, WARNING or ERROR
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of log lines: text or json (default: text on a terminal, else json)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Folder for the store of the private nats-server
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<String>,
}

impl Global {
    /// Returns the flags that are configuration, by name, for [`crate::config::Settings::load`].
    pub fn flags(&self) -> Flags {
        let flags = [
            ("--nats-url", &self.nats_url),
            ("--prefix", &self.prefix),
            ("--http-listen", &self.http_listen),
            ("--log-level", &self.log_level),
            ("--log-format", &self.log_format),
            ("--state-dir", &self.state_dir),
        ];
        flags.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on a private nats-server unless NATS_URL is set
    Up(Up),
    /// Run the service that listens to the venues
    Ingest,
    /// Run the service that recognises cascades and explosions
    Detect,
    /// Run the service that tells subscribers
    Notify,
    /// Turn raw venue frames, one JSON a line, into events as JSON lines
    Normalize(Normalize),
    /// Run recorded events through the live detector: alerts as JSON lines, or what other rules would change; nothing sent
    Replay(Replay),
    /// Draw open interest and its alerts as an SVG picture
    Plot(Plot),
    /// Run a local market that speaks the venues' own WebSocket and REST protocols
    Simulate(Simulate),
    /// Turn one stored message on stdin into JSON, for nats sub --translate
    Decode,
    /// Compare streams and consumers with what they should be
    #[command(subcommand)]
    Topology(Topology),
    /// Show, check and change the detection rules
    #[command(subcommand)]
    Rules(Rules),
    /// Show why an alert fired, who was told and how fast
    Explain(Explain),
    /// Show what was found and told: alerts, latencies, what was held, what arrived, what was useful
    History(Box<History>),
    /// List, add and change who is told what
    #[command(subcommand)]
    Subscribers(subscribers::Subscribers),
    /// Show the state of every service
    Status,
    /// Exit 0 if the services are healthy, else 1: asked over NATS, or, with --http-listen and no --service, the one process that
    /// answers there
    Health(Health),
    /// Look into the configuration
    #[command(subcommand)]
    Config(Config),
    /// Keep what an existing system is, and compare it later: may foreshock stay beside it?
    #[command(subcommand)]
    Validate(Validate),
    /// Measure detection and the way through the broker on this machine
    Bench,
}

// clap waives `requires` towards a member of a group whose other member is present; `conflicts_with` says the rest.

/// Options of `up`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("artificial").args(["demo", "replay"]))]
pub struct Up {
    /// Use a simulated market instead of the venues
    #[arg(long)]
    pub demo: bool,
    /// Use recorded frames instead of the venues (may be gzip)
    #[arg(long, value_name = "FILE", requires = "venue")]
    pub replay: Option<PathBuf>,
    /// Venue whose frames --replay reads: binance, bybit or okx
    #[arg(long, requires = "replay", conflicts_with = "demo")]
    pub venue: Option<Exchange>,
    /// The venue's own instruments reply, for --replay
    #[arg(long, value_name = "FILE", requires = "replay", conflicts_with = "demo")]
    pub instruments: Option<PathBuf>,
    /// Speed of the recorded or simulated market: 60x, or max for a recording (max, 1x; 60x with --scenario)
    #[arg(long, value_name = "FACTOR", requires = "artificial")]
    pub speed: Option<Speed>,
    /// Seed of the simulated market
    #[arg(long, value_name = "N", default_value_t = 1, requires = "demo", conflicts_with = "replay")]
    pub seed: u64,
    /// What happens to open interest in the simulated market, instead of storms of liquidations
    #[arg(long, value_name = "NAME", requires = "demo", conflicts_with = "replay")]
    pub scenario: Option<Scenario>,
}

/// Options of `normalize`.
#[derive(Debug, Args)]
pub struct Normalize {
    /// Venue whose frames these are: binance, bybit or okx
    #[arg(long)]
    pub venue: Exchange,
    /// The venue's own instruments reply (OKX needs it)
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
    /// Frames, one JSON a line (may be gzip)
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
}

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["file", "stream"]))]
pub struct Replay {
    /// Replay recorded frames, one JSON a line (may be gzip; - is stdin)
    #[arg(long, value_name = "FILE", requires = "venue")]
    pub file: Option<PathBuf>,
    /// Venue whose frames --file reads: binance, bybit or okx
    #[arg(long, conflicts_with = "stream")]
    pub venue: Option<Exchange>,
    /// The venue's own instruments reply, for --file (OKX needs it)
    #[arg(long, value_name = "FILE", conflicts_with = "stream")]
    pub instruments: Option<PathBuf>,
    /// Replay the stream MARKET
    #[arg(long)]
    pub stream: bool,
    /// Show alerts from this time on: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", conflicts_with_all = ["file", "from_seq", "to_seq"])]
    pub since: Option<When>,
    /// Show alerts before this time: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", conflicts_with_all = ["file", "from_seq", "to_seq"])]
    pub until: Option<When>,
    /// Show alerts from this position of MARKET on
    #[arg(long, value_name = "N", conflicts_with = "file", value_parser = clap::value_parser!(u64).range(1..))]
    pub from_seq: Option<u64>,
    /// Show alerts up to this position of MARKET
    #[arg(long, value_name = "N", conflicts_with = "file", value_parser = clap::value_parser!(u64).range(1..))]
    pub to_seq: Option<u64>,
    /// Use these rules instead of those in force
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Show what these rules would add, lose or move, instead of alerts
    #[arg(long, value_name = "OTHER_RULES", conflicts_with = "speed")]
    pub compare: Option<PathBuf>,
    /// Speed in event time: 60x or max
    #[arg(long, value_name = "FACTOR", default_value = "max")]
    pub speed: Speed,
}

/// Options of `plot`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("story").required(true).args(["scenario", "from_stream"]))]
pub struct Plot {
    /// Draw a scenario of the simulated market
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<Scenario>,
    /// Seed of the scenario
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "from_stream")]
    pub seed: u64,
    /// Draw what the stream MARKET holds
    #[arg(id = "from_stream", long = "stream")]
    pub stream: bool,
    /// Base asset to draw
    #[arg(long, default_value = "BTC")]
    pub base: Base,
    /// Draw from this time on: RFC 3339, or 2h for two hours ago (24h)
    #[arg(long, value_name = "TIME", conflicts_with = "scenario")]
    pub since: Option<When>,
    /// Draw up to this time: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", conflicts_with = "scenario")]
    pub until: Option<When>,
    /// File to write: PNG when it ends in .png, else SVG
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Address to serve on: anybody who reaches it can give orders, so only within a network of your own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to serve on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9700)]
    pub port: u16,
    /// Seed of the invented market
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "recording")]
    pub seed: u64,
    /// What happens to open interest in the invented market, instead of storms of liquidations
    #[arg(long, value_name = "NAME", conflicts_with = "recording")]
    pub scenario: Option<Scenario>,
    /// Serve recorded frames instead of an invented market (may be gzip)
    #[arg(long, value_name = "FILE", requires = "venue")]
    pub recording: Option<PathBuf>,
    /// Venue whose frames --recording holds: binance, bybit or okx
    #[arg(long, requires = "recording")]
    pub venue: Option<Exchange>,
    /// The venue's own instruments reply, for --recording
    #[arg(long, value_name = "FILE", requires = "recording")]
    pub instruments: Option<PathBuf>,
    /// Speed in event time: 60x, or max for a recording
    #[arg(long, value_name = "FACTOR", default_value = "1x")]
    pub speed: Speed,
    /// Start the market only when this many sockets have subscribed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub wait_subscribers: usize,
    /// Misbehave on one venue; may be repeated
    #[arg(long = "fault", value_name = "NAME=VENUE")]
    pub faults: Vec<Fault>,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The alert's id, or the beginning of it
    #[arg(value_name = "ALERT_ID")]
    pub alert: String,
}

/// Options of `history`.
#[derive(Debug, Args)]
pub struct History {
    /// Show alerts from this time on: RFC 3339, or 2h for two hours ago (24h; of a recorded market everything)
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Show alerts before this time: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// Only this base asset
    #[arg(long)]
    pub base: Option<Base>,
    /// Only this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<AlertKind>,
    /// Show totals, and figures by base, kind and day
    #[arg(long, conflicts_with_all = ["by", "csv"])]
    pub stats: bool,
    /// Show figures by this instead of single alerts
    #[arg(long, value_name = "WHAT")]
    pub by: Option<GroupBy>,
    /// Write CSV, with times in milliseconds
    #[arg(long)]
    pub csv: bool,
    /// Keep the figures in this SQLite database, and go on with it next time
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// Make the database anew
    #[arg(long, requires = "db")]
    pub rebuild: bool,
}

/// A kind of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlertKind {
    /// One large liquidation
    LargeLiquidation,
    /// Many liquidations at once
    Cascade,
    /// A jump of open interest
    OiExplosion,
}

impl From<AlertKind> for Kind {
    fn from(kind: AlertKind) -> Self {
        match kind {
            AlertKind::LargeLiquidation => Self::LargeLiquidation,
            AlertKind::Cascade => Self::Cascade,
            AlertKind::OiExplosion => Self::OiExplosion,
        }
    }
}

/// Commands of `validate`.
#[derive(Debug, Subcommand)]
pub enum Validate {
    /// Keep what the existing containers, networks and answers are
    Capture {
        /// What is looked at
        #[command(flatten)]
        existing: Existing,
        /// File to keep it in
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Compare with what was kept: exits 1 when something of the existing system changed
    Check {
        /// What is looked at
        #[command(flatten)]
        existing: Existing,
        /// File of `capture`
        #[arg(long, value_name = "FILE")]
        baseline: PathBuf,
        /// Repeat it after each pause, such as 60s, until stopped
        #[arg(long, value_name = "PAUSE", value_parser = pause)]
        watch: Option<Duration>,
    },
    /// Decide whether foreshock may stay: a go or no-go for each condition, exits 1 on any no-go
    System {
        /// What is looked at
        #[command(flatten)]
        existing: Existing,
        /// File of `capture`
        #[arg(long, value_name = "FILE")]
        baseline: PathBuf,
        /// Where ingest answers HTTP
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9181")]
        ingest: Url,
        /// Where notify answers HTTP
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9183")]
        notify: Url,
        /// How long the rehearsal of a rollback took; not given when it failed
        #[arg(long, value_name = "N")]
        rollback_seconds: Option<u64>,
    },
}

/// What of an existing system is looked at.
#[derive(Debug, Args)]
pub struct Existing {
    /// Compose project of foreshock itself, which is left out
    #[arg(long, value_name = "NAME", default_value = "foreshock")]
    pub project: String,
    /// Compose project of the existing system (default: everything on this host that is not foreshock's)
    #[arg(long, value_name = "NAME")]
    pub existing: Option<String>,
    /// Where the existing market-data service answers; without it no answers are compared
    #[arg(long, value_name = "URL")]
    pub url: Option<Url>,
    /// How often each of its endpoints is asked
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Also keep the bot's menu of commands: one reading call with TELEGRAM_BOT_TOKEN
    #[arg(long)]
    pub bot_commands: bool,
}

/// Commands of `topology`.
#[derive(Debug, Subcommand)]
pub enum Topology {
    /// Show what would be created or changed
    Plan,
    /// Create and change what differs
    Apply,
}

/// Commands of `rules`.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Show the rules in force
    Show,
    /// Check a file of rules without using it
    Check {
        /// Rules as TOML (- is stdin)
        file: PathBuf,
    },
    /// Put a file of rules in force, without a restart
    Set {
        /// Rules as TOML (- is stdin)
        file: PathBuf,
    },
    /// List every version
    History,
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct Health {
    /// Ask only this service
    #[arg(long, value_name = "ROLE")]
    pub service: Option<Service>,
}

/// Commands of `config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check file, environment and flags without connecting, and show what is in force
    Check,
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// Listens to the venues.
    Ingest,
    /// Recognises cascades and explosions.
    Detect,
    /// Tells subscribers.
    Notify,
}

/// How fast recorded or invented time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as it happened: above 0, at most 1,000,000.
    Times(f64),
    /// As fast as the machine can.
    Max,
}

/// A text is no speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`60x`, a number above 0 and up to 1000000, or `max` is expected")]
pub struct InvalidSpeed;

impl FromStr for Speed {
    type Err = InvalidSpeed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        let factor: f64 = text.strip_suffix(['x', 'X']).unwrap_or(text).parse().map_err(|_| InvalidSpeed)?;
        if factor > 0.0 && factor <= SPEED_MAX { Ok(Self::Times(factor)) } else { Err(InvalidSpeed) }
    }
}

/// A moment as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this moment.
    At(Timestamp),
    /// This long ago.
    Ago(Duration),
}

/// A text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time such as `2026-03-04T14:31:15Z`, or a duration such as `2h` for two hours ago, is expected")]
pub struct InvalidWhen;

impl FromStr for When {
    type Err = InvalidWhen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match values::duration(text) {
            Some(ago) => Ok(Self::Ago(ago)),
            None => text.parse().map(Self::At).map_err(|_| InvalidWhen),
        }
    }
}

impl When {
    /// Returns the moment meant when it is `now`, host clock; an age no calendar reaches is the earliest moment.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

fn pause(text: &str) -> Result<Duration, &'static str> {
    values::duration(text).filter(|pause| !pause.is_zero()).ok_or("a duration such as `60s` is expected")
}

/// A fault of the simulated market: its name, which the simulator knows, and the venue that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the fault, not empty.
    pub name: String,
    /// Venue that misbehaves.
    pub venue: Exchange,
}

/// A text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NAME=VENUE with the venue binance, bybit or okx is expected")]
pub struct InvalidFault;

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, venue) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(InvalidFault)?;
        let venue = venue.parse().map_err(|_| InvalidFault)?;
        Ok(Self { name: name.to_owned(), venue })
    }
}
