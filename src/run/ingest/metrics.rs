//! What is measured of an ingest.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};
use schemas::{market::FeedState, name::Venue};

use super::{Feed, Watch};
use crate::run::metrics::{Page, ms_to_s, seconds};

/// How long liquidations took from the venue's clock to ours, by venue.
#[derive(Clone, Debug)]
pub(super) struct Durations(Family<[(&'static str, String); 1], Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(seconds))
    }
}

impl Durations {
    /// Takes in one liquidation: receipt minus event time, in milliseconds.
    pub(super) fn observe(&self, venue: &Venue, delay_ms: i64) {
        // The venue's clock may be ahead of ours; then it took no time.
        self.0.get_or_create(&[("venue", venue.to_string())]).observe(ms_to_s(delay_ms.max(0)));
    }
}

impl Watch {
    /// Adds what is measured to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "From a liquidation's venue time to its receipt, two clocks";
        registry.register("feed_exchange_to_receive_seconds", help, self.durations.0.clone());
        registry.register_collector(Box::new(Figures(self.clone())));
    }
}

type Count = fn(&Feed) -> u64;

#[derive(Debug)]
struct Figures(Watch);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.status();
        let mut page = Page(encoder);
        let of = |venue: &Venue| [("venue", venue.to_string())];
        let feeds = || status.venues.iter();
        let count = |value: Count| feeds().map(move |(venue, feed)| (of(venue), value(feed)));
        page.counter("feed_messages", "Frames received", count(|feed| feed.socket.frames))?;
        page.counter("feed_events", "Liquidations handed on", count(|feed| feed.socket.events))?;
        page.counter("feed_duplicates", "Second copies dropped", count(|feed| feed.socket.duplicates))?;
        page.counter("feed_reconnects", "Attempts to connect after the first", count(|feed| feed.socket.reconnects))?;
        page.counter("feed_renewals", "Sockets replaced without a gap", count(|feed| feed.socket.renewals))?;
        let refused = feeds().flat_map(|(venue, feed)| {
            feed.socket
                .refused
                .iter()
                .map(move |(reason, count)| ([("venue", venue.to_string()), ("reason", reason.to_string())], *count))
        });
        page.counter("feed_parse_errors", "Events and frames refused, by reason", refused)?;
        let states = feeds().flat_map(|(venue, feed)| {
            FeedState::ALL.into_iter().map(move |state| {
                let labels = [("venue", venue.to_string()), ("state", state.as_str().to_owned())];
                (labels, Some(f64::from(u8::from(feed.socket.state == Some(state)))))
            })
        });
        page.gauge("feed_state", "1 for the state a feed is in", states)?;
        let heard = feeds().map(|(venue, feed)| (of(venue), feed.socket.heard_at.map(|at| ms_to_s(at.as_millis()))));
        page.gauge("feed_last_message_timestamp_seconds", "When something was last received, host clock", heard)?;
        let newest = feeds().map(|(venue, feed)| (of(venue), feed.socket.venue_time.map(|at| ms_to_s(at.as_millis()))));
        page.gauge("feed_last_event_timestamp_seconds", "The newest venue time heard", newest)?;
        let offset = feeds().map(|(venue, feed)| (of(venue), feed.socket.offset_ms.map(ms_to_s)));
        page.gauge("feed_clock_offset_seconds", "Receipt minus venue time, median over a minute", offset)?;
        let sampled = || feeds().filter_map(|(venue, feed)| Some((venue, feed.socket.open_interest.as_ref()?)));
        let samples = sampled().map(|(venue, oi)| (of(venue), oi.sampling.samples));
        page.counter("oi_samples", "Samples of open interest handed on", samples)?;
        let newest = sampled().map(|(venue, oi)| {
            let newest = oi.sampling.newest.values().map(|sample| sample.event_time.as_millis()).min();
            (of(venue), newest.map(ms_to_s))
        });
        page.gauge(
            "oi_oldest_sample_timestamp_seconds",
            "Venue time of the instrument's sample that is oldest",
            newest,
        )?;
        let interval = sampled().map(|(venue, oi)| (of(venue), Some(f64::from(oi.sampling.interval_ms) / 1000.0)));
        page.gauge("oi_interval_seconds", "How often each instrument is sampled", interval)?;
        let requests = sampled().map(|(venue, oi)| (of(venue), Some(f64::from(oi.sampling.requests_hour))));
        page.gauge("rest_requests_hour", "REST requests to a venue in the last hour, of every process", requests)?;
        let results: [(&str, Count); 5] = [
            ("stored", |feed| feed.market.stored),
            ("duplicate", |feed| feed.market.duplicates + feed.market.left_out),
            ("refused", |feed| feed.market.refused),
            ("dropped", |feed| feed.market.dropped),
            ("retried", |feed| feed.market.retries),
        ];
        let published = feeds().flat_map(|(venue, feed)| {
            let labels = |result: &str| [("venue", venue.to_string()), ("result", result.to_owned())];
            results.map(|(result, count)| (labels(result), count(feed)))
        });
        page.counter("log_publish", "What became of events on their way into MARKET", published)?;
        let waiting = feeds().map(|(venue, feed)| (of(venue), Some(feed.market.backlog_events as f64)));
        page.gauge("log_publish_waiting", "Events that wait for MARKET", waiting)
    }
}
