//! Log lines: to stderr, as text for people or JSON for machines.

use std::io::{IsTerminal as _, Write};

use anyhow::Context as _;
use tracing_appender::rolling::{RollingFileAppender, Rotation};

use jiff::{Timestamp, tz::TimeZone};
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat, LogLevel};

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// To stderr, in the configured form.
    Stderr,
    /// To stderr, and only what is unusual: the command's own answer is what is wanted.
    Aside,
    /// Into the live view, short and for people.
    View,
}

/// Files of a process that are kept in the configured folder, one a day (UTC); older ones go.
pub(crate) const FILES: usize = 7;

/// Installs the process's subscriber; `writer` takes the lines. Where a folder is configured, what runs for long also writes
/// there, under the name of its `instance`.
///
/// # Errors
/// When that folder cannot be written.
pub(crate) fn install<W>(log: &Log, instance: &str, sink: Sink, writer: W) -> anyhow::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info if sink == Sink::Aside => "warn",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // The client's own lines about every reconnect repeat what ours say once.
    let filter = EnvFilter::new(format!("{level},async_nats=off,hyper=warn,rustls=warn,tungstenite=warn,h2=warn"));
    let is_terminal = std::io::stderr().is_terminal();
    let format = log.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let dir = log.dir.as_ref().filter(|_| sink != Sink::Aside);
    let files = dir.map(|dir| {
        let files = RollingFileAppender::builder().rotation(Rotation::DAILY).max_log_files(FILES);
        let files = files.filename_prefix(instance).filename_suffix("jsonl").build(dir);
        files.with_context(|| format!("log files cannot be written to {}", dir.display()))
    });
    let files = files.transpose()?.map(|files| {
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_target(false)
            .with_writer(files)
    });
    let registry = tracing_subscriber::registry().with(filter).with(files);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let installed = match (sink, format) {
        (Sink::View, _) => registry.with(layer.with_ansi(false).with_timer(TimeOfDay)).try_init(),
        (Sink::Stderr | Sink::Aside, LogFormat::Text) => registry.with(layer.with_ansi(is_terminal)).try_init(),
        (Sink::Stderr | Sink::Aside, LogFormat::Json) => {
            registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()
        }
    };
    if let Err(error) = installed {
        // Only a second installation in one process can fail, which is harmless.
        let _ = writeln!(std::io::stderr(), "log lines go to the subscriber that is there already: {error}");
    }
    Ok(())
}

/// Stamps a line with the time of day, UTC.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", Timestamp::now().to_zoned(TimeZone::UTC).strftime("%H:%M:%S"))
    }
}
