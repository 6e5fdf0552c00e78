//! One service alone, as compose runs it.

use std::sync::Arc;

use anyhow::Context as _;
use nats::{Bus, Service, TopologyError};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::run::{self, Context, RETRY_PAUSE, connect};

/// The roles a service can have, in the order of the flow.
pub(crate) const ROLES: [&str; 3] = ["ingest", "detect", "notify"];

pub(super) async fn ingest(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "ingest").await?;
    let watch = run::ingest::Watch::new(&context.settings);
    let status = watch.clone();
    let answering = answer(&bus, context, "ingest", move || json(&status.status())).await?;
    let result = run::ingest::run(bus.clone(), &context.settings, watch, context.shutdown.clone()).await;
    end(bus, answering, result).await
}

pub(super) async fn detect(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "detect").await?;
    let (status, watched) = watch::channel(run::detect::Status::default());
    let answering = answer(&bus, context, "detect", move || json(&*watched.borrow())).await?;
    let rules = context.settings.rules.clone();
    let result = run::detect::run(bus.clone(), rules, status, context.shutdown.clone()).await;
    end(bus, answering, result).await
}

pub(super) async fn notify(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "notify").await?;
    let (status, watched) = watch::channel(run::notify::Status::default());
    let answering = answer(&bus, context, "notify", move || json(&*watched.borrow())).await?;
    let terminal = Box::new(tokio::io::stdout());
    let result = run::notify::run(bus.clone(), &context.settings, terminal, status, context.shutdown.clone()).await;
    end(bus, answering, result).await
}

/// Connects, and brings the topology to what this program needs; both wait as long as NATS is away.
pub(super) async fn open(context: &Context, role: &str) -> anyhow::Result<Bus> {
    let bus = connect(context, role).await?;
    settle(&bus, &context.shutdown).await?;
    Ok(bus)
}

/// Applies the topology; several processes may do so at once.
pub(super) async fn settle(bus: &Bus, shutdown: &CancellationToken) -> anyhow::Result<()> {
    loop {
        match bus.apply_topology().await {
            Ok(_) => return Ok(()),
            Err(error @ TopologyError::Unanswered { .. }) if !shutdown.is_cancelled() => {
                warn!(%error, "streams not settled; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error).context("the streams are not as they should be"),
        }
    }
}

/// A service's endpoint and how to end it.
pub(super) struct Answering {
    task: tokio::task::JoinHandle<()>,
    end: CancellationToken,
}

/// Lets the service answer for its state, so that `foreshock status` and `nats micro` show it.
pub(super) async fn answer(
    bus: &Bus,
    context: &Context,
    role: &'static str,
    status: impl Fn() -> Value + Send + Sync + 'static,
) -> anyhow::Result<Answering> {
    let description = match role {
        "ingest" => "hears the venues and stores what they say in MARKET",
        "detect" => "folds MARKET and stores what it finds in ALERTS",
        _ => "tells subscribers of ALERTS and keeps the ledger in DELIVERIES",
    };
    let instance = context.settings.instance.clone();
    let named = {
        let instance = instance.clone();
        move || serde_json::json!({ "instance": instance, "version": env!("CARGO_PKG_VERSION"), "state": status() })
    };
    let service = Service::register(bus, role, description, &instance, Arc::new(named)).await?;
    let end = CancellationToken::new();
    Ok(Answering { task: tokio::spawn(service.run(end.clone())), end })
}

/// Ends a service: its endpoint, then its connection.
pub(super) async fn end(bus: Bus, answering: Answering, result: anyhow::Result<()>) -> anyhow::Result<()> {
    answering.end.cancel();
    if let Err(error) = answering.task.await {
        warn!(%error, "the endpoint did not end cleanly");
    }
    bus.close().await;
    result
}

pub(super) fn json(status: &impl serde::Serialize) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}
