//! What foreshock's own services say of themselves.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;
use url::Url;

use super::{docker, get};
use crate::{run::host_clock_ms, validate::Running};

/// Asks ingest and notify at their HTTP addresses. A service that does not answer is a finding, not an error.
pub(super) async fn look(
    project: &str,
    ingest: &Url,
    notify: &Url,
    rollback_s: Option<u64>,
) -> anyhow::Result<Running> {
    let client = reqwest::Client::builder().no_proxy().build().context("no HTTP client")?;
    let status = get(&client, ingest.join("/status")?).await.ok();
    let metrics = get(&client, notify.join("/metrics")?).await.ok();
    Ok(Running {
        memory_bytes: docker::memory_of(project).await?,
        now: host_clock_ms(),
        feeds: status.and_then(|status| feeds(&status)),
        calls: metrics.map(|metrics| calls(&metrics)),
        rollback_s,
    })
}

/// State of each venue and since when, from ingest's `/status`.
fn feeds(status: &str) -> Option<BTreeMap<String, (String, i64)>> {
    let status: Value = serde_json::from_str(status).ok()?;
    let venues = status["services"]["ingest"]["venues"].as_object()?;
    // What has no state yet has been so since the process began.
    let began = status["now"].as_i64()? - status["uptime_s"].as_i64()? * 1000;
    let feed = |(venue, feed): (&String, &Value)| {
        let state = feed["state"].as_str().unwrap_or("not yet connected").to_owned();
        (venue.clone(), (state, feed["since"].as_i64().unwrap_or(began)))
    };
    // Exchanges behind the market-data service have no feed of ours.
    Some(venues.iter().filter(|(venue, _)| !venue.starts_with("ext-")).map(feed).collect())
}

/// Calls of the Bot API that went well and that did not, from notify's `/metrics`.
fn calls(metrics: &str) -> (u64, u64) {
    let mut counts = (0, 0);
    for line in metrics.lines().filter(|line| line.starts_with("foreshock_telegram_requests_total{")) {
        let Some(count) = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()) else { continue };
        if line.contains("result=\"ok\"") {
            counts.0 += count;
        } else {
            counts.1 += count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_results() {
        let metrics = "# TYPE foreshock_telegram_requests counter\n\
                       foreshock_telegram_requests_total{method=\"sendMessage\",result=\"ok\"} 7\n\
                       foreshock_telegram_requests_total{method=\"editMessageText\",result=\"ok\"} 2\n\
                       foreshock_telegram_requests_total{method=\"sendMessage\",result=\"limited\"} 1\n\
                       foreshock_deliveries_total{result=\"failed\"} 50\n";
        assert_eq!(calls(metrics), (9, 1));
    }

    #[test]
    fn feeds_have_a_state_since_a_moment() {
        let status = r#"{"now": 90000, "uptime_s": 80, "services": {"ingest": {"venues": {
            "okx": {"state": "connected", "since": 5000}, "bybit": {"state": null, "since": null},
            "ext-okx": {"state": null, "since": null}}}}}"#;
        let feeds = feeds(status).unwrap();
        assert_eq!(feeds["okx"], ("connected".to_owned(), 5000));
        assert_eq!(feeds["bybit"], ("not yet connected".to_owned(), 10_000));
        assert_eq!(feeds.len(), 2);
        assert!(super::feeds("{}").is_none());
    }
}
