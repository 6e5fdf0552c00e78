//! What is measured of a detector.

use std::fmt;

use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, metrics::histogram::Histogram, registry::Registry,
};
use tokio::sync::watch;

use super::Status;
use crate::run::metrics::{Page, ms_to_s, seconds};

/// Reads the state of a running worker at any moment; clones share it.
#[derive(Clone, Debug)]
pub struct Watch {
    pub(super) status: watch::Sender<Status>,
    pub(super) durations: Durations,
}

/// How long things took.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    /// Handling one message of MARKET, storing its alerts included.
    pub(super) process: Histogram,
    /// From the venue's event time of the firing event to its alert in ALERTS.
    pub(super) event_to_alert: Histogram,
    /// From the receipt of the firing event to its alert in ALERTS.
    pub(super) receipt_to_alert: Histogram,
}

impl Default for Watch {
    fn default() -> Self {
        let durations = Durations { process: seconds(), event_to_alert: seconds(), receipt_to_alert: seconds() };
        Self { status: watch::Sender::default(), durations }
    }
}

impl Watch {
    /// Returns the state at this moment.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Returns a way to wait for a state.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Adds what is measured to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Durations { process, event_to_alert, receipt_to_alert } = self.durations.clone();
        registry.register("process_seconds", "Handling one message of MARKET, its alerts stored", process);
        let help = "From the firing event's venue time to its alert stored";
        registry.register("event_to_decision_seconds", help, event_to_alert);
        let help = "From the firing event's receipt to its alert stored";
        registry.register("receipt_to_alert_seconds", help, receipt_to_alert);
        registry.register_collector(Box::new(Figures(self.status.subscribe())));
    }
}

#[derive(Debug)]
struct Figures(watch::Receiver<Status>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.borrow().clone();
        let mut page = Page(encoder);
        let pending = "Messages of a stream that are still to be read";
        page.gauge("consumer_pending", pending, [([("stream", "MARKET".to_owned())], Some(status.pending as f64))])?;
        let position = "The last place of a stream that was handled";
        page.gauge("consumer_position", position, [([("stream", "MARKET".to_owned())], Some(status.position as f64))])?;
        let snapshot = status.snapshot.map(|snapshot| snapshot as f64);
        page.gauge("snapshot_position", "The place of MARKET of the last snapshot", [([], snapshot)])?;
        let results = [("stored", status.stored), ("present", status.already_present)];
        let results = results.map(|(result, count)| ([("result", result.to_owned())], count));
        page.counter("alerts", "Alerts found, by whether this worker was the first to store them", results)?;
        page.counter("events_dead", "Messages that could not be decoded and were parked", [([], status.dead)])?;
        let counters = &status.counters;
        let handled = [("liquidation", counters.liquidations), ("open_interest", counters.oi_samples)];
        let handled = handled.map(|(kind, count)| ([("type", kind.to_owned())], count));
        page.counter("events_processed", "Events handled, by type", handled)?;
        let left_out = [
            ("late", counters.late),
            ("saturated", counters.saturated),
            ("oi_stale", counters.oi_stale),
            ("oi_glitch", counters.oi_glitches),
            ("oi_resized", counters.oi_resized),
            ("oi_ignored", counters.oi_ignored),
            ("rules_refused", counters.rules_refused),
            ("cold", counters.cold),
        ];
        let left_out = left_out.map(|(reason, count)| ([("reason", reason.to_owned())], count));
        page.counter("events_rejected", "Events or alerts that had no effect or a limited one, by reason", left_out)?;
        let bases = || status.bases.iter().map(|base| [("base", base.base.clone())]);
        let clocks = bases().zip(status.bases.iter().map(|base| base.clock.map(ms_to_s)));
        page.gauge("window_clock_timestamp_seconds", "Venue time of a base's newest liquidation", clocks)?;
        let windows = bases().zip(status.bases.iter().map(|base| Some(base.count as f64)));
        page.gauge("window_liquidations", "Accepted liquidations in a base's window", windows)?;
        let open = bases().zip(status.bases.iter().map(|base| Some(base.open_tier.unwrap_or(0) as f64)));
        page.gauge("cascade_tier", "Tier of a base's open cascade; 0 while none is open", open)?;
        let newest = status.bases.iter().map(|base| base.open_interest.map(|held| ms_to_s(held.newest)));
        page.gauge("oi_sample_timestamp_seconds", "Venue time of a base's newest open interest", bases().zip(newest))
    }
}
