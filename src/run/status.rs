//! `foreshock status` and `foreshock health`: the services say themselves how they are.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use nats::{Bus, ServiceStatus};
use schemas::subject::Stream;
use serde_json::{Value, json};

use crate::{
    cli,
    exit::ExitCode,
    run::{Context, connect, say, service::ROLES, stdout},
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
    let sick =
        roles.iter().copied().find(|role| !services.iter().any(|service| service.role == *role && is_ready(service)));
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
fn is_ready(service: &ServiceStatus) -> bool {
    service.status["state"].get("ready").is_none_or(|ready| ready == &Value::Bool(true))
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
            let line = |(venue, feed): (&String, &Value)| {
                let refused: u64 =
                    feed["refused"].as_object().into_iter().flat_map(|all| all.values()).map(&number).sum();
                let error = feed["last_error"].as_str().map(|error| format!(" — {error}")).unwrap_or_default();
                format!(
                    "{venue:<8} {:<12} {} events, {} refused, {} stored, {} duplicates, {} waiting, {} reconnects{error}",
                    feed["state"].as_str().unwrap_or("connecting"),
                    number(&feed["events"]),
                    refused,
                    number(&feed["market"]["stored"]),
                    number(&feed["market"]["duplicates"]) + number(&feed["market"]["left_out"]),
                    number(&feed["market"]["backlog_events"]),
                    number(&feed["reconnects"]),
                )
            };
            venues.map(line).collect()
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
                lines.push(format!(
                    "{:<8} {} liquidations, ${} in the window{}{}",
                    base["base"].as_str().unwrap_or("?").escape_debug(),
                    number(&base["count"]),
                    base["notional_usd"].as_str().unwrap_or("0"),
                    base["open_tier"].as_u64().map(|tier| format!(", cascade of tier {tier}")).unwrap_or_default(),
                    clock.map(|clock| format!(", last at {clock}")).unwrap_or_default(),
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
