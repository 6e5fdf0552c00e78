//! `foreshock status` and `foreshock health`: the services say themselves how they are.

use std::time::Duration;

use anyhow::Context as _;
use ingest::exchange::Exchange;
use jiff::Timestamp;
use nats::{Bus, ServiceStatus};
use schemas::subject::Stream;
use serde_json::{Value, json};

use crate::{
    cli,
    exit::ExitCode,
    run::{Context, connect, host_clock_ms, say, service::ROLES, stdout},
};

/// How long services have to answer; they answer within milliseconds or not at all.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How long the broker has to answer a health check, below the three seconds a container's check has (ops.md 13).
const HEALTH_TIME: Duration = Duration::from_millis(2500);

pub(super) async fn status(context: &Context) -> anyhow::Result<()> {
    let bus = connect(context, "status").await?;
    let services = bus.collect_status(&ROLES, ANSWER_TIME).await?;
    let mut streams = Vec::new();
    for stream in Stream::ALL {
        if let Ok(state) = bus.stream_state(stream).await {
            streams.push(json!({
                "stream": bus.names().stream(stream),
                "messages": state.messages,
                "bytes": state.bytes,
                "first": state.first,
                "last": state.last,
            }));
        }
    }
    bus.close().await;
    let text = if context.json {
        json!({ "services": services, "streams": streams }).to_string()
    } else {
        table(&services, &streams)
    };
    writeln!(stdout(), "{text}").context("stdout cannot be written")
}

/// Exits 0 when every service asked for answers and is ready, else 1 with one line that says why.
pub(super) async fn health(context: &Context, options: &cli::Health) -> anyhow::Result<ExitCode> {
    let roles: Vec<&str> = match options.service {
        None => ROLES.to_vec(),
        Some(cli::Service::Ingest) => vec!["ingest"],
        Some(cli::Service::Detect) => vec!["detect"],
        Some(cli::Service::Notify) => vec!["notify"],
    };
    let ask = async {
        let bus = connect(context, "health").await?;
        collect(&bus, &roles).await
    };
    let services = tokio::time::timeout(HEALTH_TIME, ask).await.context("NATS does not answer")??;
    let sick = roles
        .iter()
        .copied()
        .find(|role| !services.iter().any(|service| service.role == *role && is_ready(&service.status["state"])));
    match sick {
        None => Ok(ExitCode::Done),
        Some(role) => {
            let answers = services.iter().any(|service| service.role == role);
            say(&format!("{role} {}", if answers { "is not ready yet" } else { "does not answer" }));
            Ok(ExitCode::Failed)
        }
    }
}

async fn collect(bus: &Bus, roles: &[&str]) -> anyhow::Result<Vec<ServiceStatus>> {
    Ok(bus.collect_status(roles, ANSWER_TIME).await?)
}

/// An ingest that answers is as healthy as it can make itself: a venue that refuses is shown, not cured by a restart.
pub(super) fn is_ready(state: &Value) -> bool {
    state.get("ready").is_none_or(|ready| ready == &Value::Bool(true))
}

fn table(services: &[ServiceStatus], streams: &[Value]) -> String {
    let mut lines = Vec::new();
    for role in ROLES {
        let mut answers = services.iter().filter(|service| service.role == role).peekable();
        if answers.peek().is_none() {
            lines.push(format!("{role:<8} does not answer"));
        }
        for service in answers {
            let state = &service.status["state"];
            let instance = service.status["instance"].as_str().unwrap_or("?");
            lines.push(format!("{role:<8} {instance}"));
            lines.extend(details(role, state).into_iter().map(|line| format!("         {line}")));
        }
    }
    lines.push(String::new());
    lines.push(format!("{:<20} {:>10} {:>12} {:>10}", "stream", "messages", "bytes", "last"));
    for stream in streams {
        let text = |key: &str| stream[key].as_str().map_or_else(|| stream[key].to_string(), ToOwned::to_owned);
        lines.push(format!(
            "{:<20} {:>10} {:>12} {:>10}",
            text("stream"),
            text("messages"),
            text("bytes"),
            text("last")
        ));
    }
    lines.join("\n")
}

fn details(role: &str, state: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    match role {
        "ingest" => {
            let venues = state["venues"].as_object().into_iter().flatten();
            let lines = |(venue, feed): (&String, &Value)| {
                let refused: u64 =
                    feed["refused"].as_object().into_iter().flat_map(|all| all.values()).map(&number).sum();
                let error = feed["last_error"].as_str().map(|error| format!(" — {error}")).unwrap_or_default();
                let line = format!(
                    "{venue:<8} {:<12} {} events, {} refused, {} stored, {} duplicates, {} waiting, {} reconnects{error}",
                    feed["state"].as_str().unwrap_or_else(|| without_state(venue)),
                    number(&feed["events"]),
                    refused,
                    number(&feed["market"]["stored"]),
                    number(&feed["market"]["duplicates"]) + number(&feed["market"]["left_out"]),
                    number(&feed["market"]["backlog_events"]),
                    number(&feed["reconnects"]),
                );
                let open_interest = open_interest(&feed["open_interest"], host_clock_ms());
                [Some(line), open_interest.map(|line| format!("{:<8} open interest: {line}", ""))].into_iter().flatten()
            };
            let outlook = state["outlook"].as_str().map(ToOwned::to_owned);
            venues.flat_map(lines).chain(outlook).collect()
        }
        "detect" => {
            let mut lines = vec![format!(
                "{}, at MARKET:{}, {} behind, {} alerts stored first, {} were there, {} late",
                if state["ready"] == true { "caught up" } else { "catching up" },
                number(&state["position"]),
                number(&state["pending"]),
                number(&state["stored"]),
                number(&state["already_present"]),
                number(&state["counters"]["late"]),
            )];
            for base in state["bases"].as_array().into_iter().flatten() {
                let clock = base["clock"].as_i64().and_then(|clock| Timestamp::from_millisecond(clock).ok());
                let held = &base["open_interest"];
                let open_interest = held["usd"]
                    .as_str()
                    .map(|usd| format!("; open interest ${usd} on {} venues", number(&held["venues"])));
                lines.push(format!(
                    "{:<8} {} liquidations, ${} in the window{}{}{}",
                    base["base"].as_str().unwrap_or("?").escape_debug(),
                    number(&base["count"]),
                    base["notional_usd"].as_str().unwrap_or("0"),
                    base["open_tier"].as_u64().map(|tier| format!(", cascade of tier {tier}")).unwrap_or_default(),
                    clock.map(|clock| format!(", last at {clock}")).unwrap_or_default(),
                    open_interest.unwrap_or_default(),
                ));
            }
            lines
        }
        _ => {
            let decided = state["decided"].as_object().into_iter().flatten();
            let decided: Vec<_> = decided.map(|(reason, count)| format!("{reason} {count}")).collect();
            vec![format!(
                "{}, {} sent, {} failed, {} waiting{}{}",
                if state["ready"] == true { "caught up" } else { "catching up" },
                number(&state["sent"]),
                number(&state["failed"]),
                number(&state["waiting"]),
                if decided.is_empty() { "" } else { "; decided: " },
                decided.join(", "),
            )]
        }
    }
}

/// Returns what is shown of a venue whose feed has no state yet: an external one never has, for it is only asked.
pub(super) fn without_state(venue: &str) -> &'static str {
    if venue.parse::<Exchange>().is_ok() { "connecting" } else { "asked" }
}

/// Returns how a venue's open interest is sampled, from that part of its status: where samples come from and how often,
/// how old the newest is at `now` (milliseconds since 1970 UTC), the requests of the last hour, and a pause in force.
pub(super) fn open_interest(status: &Value, now: i64) -> Option<String> {
    let status = status.as_object()?;
    let number = |key: &str| status.get(key).and_then(Value::as_i64);
    let interval = number("interval_ms").map(|interval| format!("every {} s", interval / 1000));
    let samples = status.get("newest").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values);
    let newest = samples.max_by_key(|sample| sample["event_time"].as_i64());
    let source = newest.and_then(|sample| sample["via"].as_str()).map(ToOwned::to_owned);
    let newest = newest.and_then(|sample| sample["event_time"].as_i64());
    let newest = match newest.map(|at| (at, (now - at) / 1000)) {
        None => "no sample yet".to_owned(),
        // A recorded market's time is another than ours; a venue's clock may be a little ahead.
        Some((at, age)) if !(-10..86_400).contains(&age) => Timestamp::from_millisecond(at)
            .map_or_else(|_| "newest at no time".to_owned(), |at| format!("newest at {at}")),
        Some((_, age)) => format!("newest {} s old", age.max(0)),
    };
    let requests = number("requests_hour").map(|count| format!("{count} requests in the last hour"));
    let hold = status.get("hold").and_then(Value::as_object).map(|hold| {
        let until = hold.get("until").and_then(Value::as_i64).and_then(|until| Timestamp::from_millisecond(until).ok());
        let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
        let why = hold.get("why").and_then(Value::as_str).unwrap_or_default().escape_debug();
        format!("held{until} ({why})")
    });
    let parts = [source, interval, Some(newest), requests, hold];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_interest_of_a_venue_is_one_line() {
        assert_eq!(open_interest(&Value::Null, 0), None);
        assert_eq!(open_interest(&json!({}), 0).unwrap(), "no sample yet");
        let status = json!({
            "interval_ms": 120_000, "requests_hour": 90,
            "newest": {"BTCUSDT": {"event_time": 1_000, "via": "stream"}, "ETHUSDT": {"event_time": 5_000, "via": "rest"}},
            "hold": {"until": 60_000, "why": "limits requests (418)"},
        });
        let expected = "rest, every 120 s, newest 12 s old, 90 requests in the last hour, \
                        held until 1970-01-01T00:01:00Z (limits requests (418))";
        assert_eq!(open_interest(&status, 17_000).unwrap(), expected);
    }

    #[test]
    fn ingest_shows_open_interest_below_each_venue_and_what_refusals_left() {
        let status = json!({
            "venues": {
                "ext-okx": {},
                "okx": {"state": "connected", "open_interest": {"interval_ms": 60_000, "newest": {"A": {"event_time": 1, "via": "stream"}}}},
            },
            "outlook": "2 of 3 venues left, `confirm = 2` can still be met",
        });
        let lines = details("ingest", &status);
        let starts = [
            "ext-okx  asked ",
            "okx      connected ",
            "         open interest: stream, every 60 s, newest ",
            "2 of 3 ",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:#?}");
    }
}
