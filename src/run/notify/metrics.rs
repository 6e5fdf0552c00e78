//! What is measured of a notifier.

use std::{fmt, time::Duration};

use notify::{failure::Failure, outbox::What};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::sync::watch;

use super::Status;
use crate::run::metrics::{Page, ms_to_s, seconds};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Reads the state of a running notifier at any moment; clones share it.
#[derive(Clone, Debug)]
pub struct Watch {
    pub(super) status: watch::Sender<Status>,
    pub(super) calls: Calls,
}

/// What calls of the Bot API came to, and how long things took.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    results: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram>,
    event_to_confirm: Histogram,
    canary: Histogram,
}

impl Default for Watch {
    fn default() -> Self {
        let calls = Calls {
            results: Family::default(),
            durations: Family::new_with_constructor(seconds),
            event_to_confirm: seconds(),
            canary: seconds(),
        };
        Self { status: watch::Sender::default(), calls }
    }
}

impl Calls {
    /// Takes in one call.
    pub(super) fn observe<T>(&self, what: &What, result: &Result<T, Failure>, took: Duration) {
        let method = match what {
            What::Message { .. } => "sendMessage",
            What::Edit { .. } => "editMessageText",
            What::Picture { .. } => "sendPhoto",
        };
        let result = result.as_ref().err().map_or("ok", Failure::reason);
        self.results.get_or_create(&[("method", method), ("result", result)]).inc();
        self.durations.get_or_create(&[("method", method)]).observe(took.as_secs_f64());
    }

    /// Takes in an alert that was accepted: host clock minus the alert's event time, in milliseconds.
    pub(super) fn confirmed(&self, after_ms: i64) {
        self.event_to_confirm.observe(ms_to_s(after_ms.max(0)));
    }

    /// Takes in a canary that came to its end: the host clocks of its end and its beginning apart, in milliseconds.
    pub(super) fn canary(&self, took_ms: i64) {
        self.canary.observe(ms_to_s(took_ms));
    }
}

impl Watch {
    /// Returns the state at this moment.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Adds what is measured to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Calls { results, durations, event_to_confirm, canary } = self.calls.clone();
        registry.register("telegram_requests", "Calls of the Bot API, by what came of them", results);
        registry.register("telegram_request_seconds", "Time until a call of the Bot API was answered", durations);
        let help = "From an alert's venue time until the channel accepted it";
        registry.register("event_to_confirm_seconds", help, event_to_confirm);
        let help = "From an ingest through every stream to the sink that is nobody, once a minute";
        registry.register("canary_seconds", help, canary);
        registry.register_collector(Box::new(Figures(self.status.subscribe())));
    }
}

#[derive(Debug)]
struct Figures(watch::Receiver<Status>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.borrow().clone();
        let mut page = Page(encoder);
        let flag = |is: bool| Some(f64::from(u8::from(is)));
        page.gauge("sender", "1 while this notifier sends; else it stands by", [([], flag(status.sender))])?;
        page.gauge("token_refused", "1 while the Bot API refuses the token", [([], flag(status.token_refused))])?;
        let decided = status.decided.iter().map(|(reason, count)| ([("reason", reason.clone())], *count));
        page.counter("decisions", "Decisions for one recipient each, by reason", decided)?;
        let results = [("sent", status.sent), ("edited", status.edited), ("failed", status.failed)];
        let results = results.map(|(result, count)| ([("result", result.to_owned())], count));
        page.counter("deliveries", "What became of deliveries", results)?;
        let commands = status.commands.iter().map(|(command, count)| ([("command", command.clone())], *count));
        page.counter("commands", "Updates of Telegram carried out, by command", commands)?;
        let canary = status.canary.map(|canary| ms_to_s(canary.at));
        page.gauge("canary_last_timestamp_seconds", "When a canary last came to its end, host clock", [([], canary)])?;
        page.gauge("outbox_items", "Messages that wait", [([], Some(status.waiting as f64))])?;
        page.gauge("subscribers", "Recipients that get alerts", [([], Some(status.subscribers as f64))])
    }
}
