//! What operators are told of feeds, in the hand of the alerts.

use std::time::Duration;

use schemas::{market::FeedState, name::Venue, time::EventTime};

use super::{
    Message,
    figures::{shown, span},
    listed,
};
use crate::{
    feeds::{Channel, Gap},
    time::millis,
};

/// A feed gave nothing for `grace`. `left` is how many venues of how many still have that channel.
pub(crate) fn dead(
    (venue, channel): &(Venue, Channel),
    grace: Duration,
    since: EventTime,
    reason: Option<FeedState>,
    [left, all]: [usize; 2],
) -> Message {
    let reason = reason.map_or("unknown", why);
    lines([
        format!("🔌 {} {}: no data for {}", title(venue), what(*channel), length(grace)),
        format!("since {} UTC, reason: {reason}", clock(since)),
        format!("{left} of {all} venues left"),
    ])
}

/// A feed gives data again.
pub(crate) fn back((venue, channel): &(Venue, Channel), gap: Gap) -> Message {
    let are = match channel {
        Channel::Liquidations => "are",
        Channel::OpenInterest => "is",
    };
    lines([
        format!("✅ {} {} {are} back", title(venue), what(*channel)),
        gap_line(gap),
        "alerts in between were made without it".to_owned(),
    ])
}

/// No venue was heard for `grace`. `reasons` are those that an ingest told.
pub(crate) fn all_dead<'a>(
    grace: Duration,
    since: EventTime,
    reasons: impl Iterator<Item = (&'a Venue, FeedState)>,
) -> Message {
    let reasons = listed(reasons.map(|(venue, state)| format!("{} {}", title(venue), why(state))));
    lines([
        format!("🔌 No venue is heard: no data for {}", length(grace)),
        format!("since {} UTC", clock(since)),
        reasons.unwrap_or_else(|| "no reason is told: is ingest running?".to_owned()),
        "no alerts meanwhile".to_owned(),
    ])
}

/// A venue is heard again.
pub(crate) fn all_back(gap: Gap) -> Message {
    lines(["✅ Venues are heard again".to_owned(), gap_line(gap), "what happened in between may be missing".to_owned()])
}

fn lines<const N: usize>(lines: [String; N]) -> Message {
    Message { lines: lines.into(), small: Vec::new() }
}

fn gap_line(Gap { since, until }: Gap) -> String {
    let gap_ms = u64::try_from(until.millis_since(since)).unwrap_or(0);
    format!("gap {} ({}–{} UTC)", span(gap_ms), clock(since), clock(until))
}

fn length(duration: Duration) -> String {
    span(millis(duration).unsigned_abs())
}

const fn what(channel: Channel) -> &'static str {
    match channel {
        Channel::Liquidations => "liquidations",
        Channel::OpenInterest => "open interest",
    }
}

const fn why(state: FeedState) -> &'static str {
    match state {
        FeedState::Disconnected => "disconnected",
        FeedState::Stale => "silent",
        FeedState::Skewed => "its clock is wrong",
        FeedState::Refused => "refuses our region (403 or 451)",
        FeedState::Connected | FeedState::Recovered | FeedState::Alive => "connected",
    }
}

fn title(venue: &Venue) -> String {
    match venue.as_str() {
        "binance" => "Binance".to_owned(),
        "bybit" => "Bybit".to_owned(),
        "okx" => "OKX".to_owned(),
        other => shown(other),
    }
}

/// Returns the time of day, UTC.
fn clock(time: EventTime) -> String {
    let seconds = time.second().rem_euclid(24 * 60 * 60);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
