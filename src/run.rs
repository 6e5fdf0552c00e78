//! The commands: one file each.

mod bench;
mod config;
mod decode;
pub mod detect;
mod explain;
mod frames;
mod heart;
mod history;
mod http;
pub mod ingest;
mod metrics;
mod normalize;
pub mod notify;
mod plot;
mod probe;
mod replay;
mod rules;
mod running;
mod service;
mod simulate;
mod status;
pub(crate) mod subscribers;
mod table;
mod topology;
mod up;
mod validate;

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use nats::{Bus, ConnectError, Record, TopologyError};
use schemas::{delivery::Dead, subject::Stream, wire::DecodeError};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    cli::{self, Cli, Command},
    config::{ConfigErrors, Environment, Http, Settings},
    exit::{ExitCode, UsageError},
    logging::{self, Sink},
    signal,
};

/// Pause between two attempts of something that is repeated until it succeeds.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// After the first signal everything has this long to end (ops.md 8); what is not finished is found again by the next
/// start.
const DRAIN: Duration = Duration::from_secs(10);

/// What every command is given.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    /// Answers are JSON.
    pub(crate) json: bool,
    /// Where a nats-server may be.
    pub(crate) path: nats::SearchPath,
    pub(crate) shutdown: CancellationToken,
}

/// Runs the command and returns how it ended. What went wrong is on stderr, and for configuration nothing else happened.
pub fn main(cli: &Cli) -> ExitCode {
    let environment = Environment::from_process();
    let settings = match Settings::load(cli.global.config.as_deref(), &environment, &cli.global.flags()) {
        Ok(settings) => settings,
        Err(ConfigErrors { problems }) => {
            say("the configuration cannot be used:");
            problems.iter().for_each(|problem| say(&format!("  {problem}")));
            return ExitCode::Usage;
        }
    };
    if let (Command::Health(cli::Health { service: None }), Http::At(listen)) = (&cli.command, settings.http) {
        return probe::health(listen);
    }
    let view = up::View::for_command(&cli.command);
    let sink = sink(&cli.command, &view);
    if let Err(error) = logging::install(&settings.log, &settings.instance, sink, view.log_writer()) {
        say(&format!("{error:#}"));
        return ExitCode::Usage;
    }
    // One TLS stack for NATS, WebSocket and HTTP; a second installation finds the first and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("the runtime cannot be started: {error}"));
            return ExitCode::Failed;
        }
    };
    let context = Context {
        settings,
        json: cli.global.json,
        path: up::search_path(&environment),
        shutdown: CancellationToken::new(),
    };
    let code = runtime.block_on(supervise(context, &cli.command, view));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// What runs for long logs what it does; what gives an answer logs what is unusual.
const fn sink(command: &Command, view: &up::View) -> Sink {
    match command {
        Command::Up(_) if view.is_live() => Sink::View,
        Command::Up(_) | Command::Ingest | Command::Detect | Command::Notify | Command::Simulate(_) => Sink::Stderr,
        Command::Normalize(_)
        | Command::Replay(_)
        | Command::Plot(_)
        | Command::Decode
        | Command::Topology(_)
        | Command::Rules(_)
        | Command::Explain(_)
        | Command::History(_)
        | Command::Subscribers(_)
        | Command::Status
        | Command::Health(_)
        | Command::Config(_)
        | Command::Validate(_)
        | Command::Bench => Sink::Aside,
    }
}

/// Runs the command until it ends or signals end it.
async fn supervise(context: Context, command: &Command, view: up::View) -> ExitCode {
    let is_answer = sink(command, &view) == Sink::Aside;
    let shutdown = context.shutdown.clone();
    let result = tokio::select! {
        result = dispatch(context, command, view) => result,
        watched = signal::watch(shutdown.clone()) => match watched {
            Ok(()) => return ExitCode::Interrupted,
            Err(error) => Err(error).context("signals cannot be watched"),
        },
        () = drained(shutdown) => {
            say("not everything ended in time; the next start finds what is left");
            return ExitCode::Failed;
        }
    };
    match result {
        Ok(code) => code,
        Err(error) if is_answer && is_reader_gone(&error) => ExitCode::Done,
        Err(error) if error.chain().any(is_stop) => ExitCode::Done,
        Err(error) => {
            say(&format!("{error:#}"));
            let is_usage = error.chain().any(|cause| {
                cause.is::<UsageError>() || matches!(cause.downcast_ref(), Some(TopologyError::Market { .. }))
            });
            if is_usage { ExitCode::Usage } else { ExitCode::Failed }
        }
    }
}

async fn drained(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

async fn dispatch(context: Context, command: &Command, view: up::View) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(&context, options, view).await?,
        Command::Ingest => service::ingest(&context).await?,
        Command::Detect => service::detect(&context).await?,
        Command::Notify => service::notify(&context).await?,
        Command::Normalize(options) => normalize::run(options)?,
        Command::Replay(options) => replay::run(&context, options).await?,
        Command::Plot(options) => plot::run(&context, options).await?,
        Command::Simulate(options) => simulate::run(&context, options).await?,
        Command::Decode => decode::run()?,
        Command::Topology(command) => return topology::run(&context, command).await,
        Command::Rules(command) => rules::run(&context, command).await?,
        Command::Explain(command) => explain::run(&context, command).await?,
        Command::History(options) => history::run(&context, options).await?,
        Command::Subscribers(command) => subscribers::run(&context, command).await?,
        Command::Status => status::status(&context).await?,
        Command::Health(options) => return status::health(&context, options).await,
        Command::Config(command) => config::run(&context, command)?,
        Command::Validate(command) => return validate::run(&context, command).await,
        Command::Bench => bench::run(&context).await?,
    }
    Ok(ExitCode::Done)
}

/// Connects to the broker that is configured, or to the private one of a running `up`.
pub(crate) async fn connect(context: &Context, client: &str) -> anyhow::Result<Bus> {
    let config = running::nats_config(&context.settings, client)?;
    Ok(Bus::connect(config, &context.shutdown).await?)
}

/// Puts a message that cannot be decoded into DEAD, trying until it is there, so that reading on loses nothing.
pub(crate) async fn park(bus: &Bus, stream: Stream, record: &Record, problem: &DecodeError) {
    let (sequence, subject) = (record.sequence.get(), record.subject.as_str());
    let name = stream.as_str();
    warn!(stream = name, sequence, subject = %subject.escape_debug(), error = %problem, "message cannot be decoded; parked");
    let dead = Dead::new(name, sequence, subject, problem.to_string(), &record.payload);
    while let Err(error) = bus.publish_dead(stream, problem.reason(), &dead).await {
        if !error.is_retryable() {
            error!(stream = name, sequence, %error, "message cannot be parked");
            return;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// This host's clock, in milliseconds since 1970 UTC.
pub(crate) fn host_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a line for people to stderr.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes answers to stdout, holding them back in large pieces unless it is a terminal.
pub(crate) fn stdout() -> Box<dyn std::io::Write + Send> {
    let stdout = std::io::stdout();
    if stdout.is_terminal() { Box::new(stdout) } else { Box::new(std::io::BufWriter::new(stdout)) }
}

/// Returns whether an error only says that the end was asked for while NATS was still away.
fn is_stop(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ConnectError::Stopped { .. }))
}

/// Returns whether an error only says that the reader of our output has gone, as `head` does.
fn is_reader_gone(error: &anyhow::Error) -> bool {
    let is_broken_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_broken_pipe))
}
