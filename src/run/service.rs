//! One service alone, as compose runs it.

use std::sync::Arc;

use anyhow::Context as _;
use nats::{Bus, Service, TopologyError};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::run::{
    self, Context, RETRY_PAUSE, connect,
    heart::Heart,
    http::{self, Face},
    metrics,
};

/// The roles a service can have, in the order of the flow.
pub(crate) const ROLES: [&str; 3] = ["ingest", "detect", "notify"];

pub(super) async fn ingest(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "ingest").await?;
    let (watch, mut registry) = (run::ingest::Watch::new(&context.settings), metrics::registry());
    watch.register(metrics::ours(&mut registry));
    let seen = watch.clone();
    let face = Face::new("ingest", &bus, move || json(&seen.status()));
    let answering = answer(context, vec![face], registry).await?;
    let result = run::ingest::run(bus.clone(), &context.settings, watch, context.shutdown.clone()).await;
    end(bus, answering, result).await
}

pub(super) async fn detect(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "detect").await?;
    let (watch, mut registry) = (run::detect::Watch::default(), metrics::registry());
    watch.register(metrics::ours(&mut registry));
    let seen = watch.clone();
    let face = Face::new("detect", &bus, move || json(&seen.status()));
    let answering = answer(context, vec![face], registry).await?;
    let rules = context.settings.rules.clone();
    let result = run::detect::run(bus.clone(), rules, watch, context.shutdown.clone()).await;
    end(bus, answering, result).await
}

pub(super) async fn notify(context: &Context) -> anyhow::Result<()> {
    let bus = open(context, "notify").await?;
    let (watch, mut registry) = (run::notify::Watch::default(), metrics::registry());
    watch.register(metrics::ours(&mut registry));
    let seen = watch.clone();
    let face = Face::new("notify", &bus, move || json(&seen.status()));
    let answering = answer(context, vec![face], registry).await?;
    let terminal = Box::new(tokio::io::stdout());
    let result = run::notify::run(bus.clone(), &context.settings, terminal, watch, context.shutdown.clone()).await;
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

/// What answers for the services of this process, and how to end it.
pub(super) struct Answering {
    tasks: JoinSet<()>,
    end: CancellationToken,
}

/// Lets the services of this process answer for their state: over NATS, so that `foreshock status` and `nats micro` show
/// them, and over HTTP. From here on the process ends when it hangs.
pub(super) async fn answer(context: &Context, faces: Vec<Face>, registry: Registry) -> anyhow::Result<Answering> {
    let heart = Heart::start().context("the watchdog cannot be started")?;
    let (end, mut tasks) = (CancellationToken::new(), JoinSet::new());
    for face in &faces {
        let description = match face.role {
            "ingest" => "hears the venues and stores what they say in MARKET",
            "detect" => "folds MARKET and stores what it finds in ALERTS",
            _ => "tells subscribers of ALERTS and keeps the ledger in DELIVERIES",
        };
        let (instance, status) = (context.settings.instance.clone(), Arc::clone(&face.status));
        let named = move || serde_json::json!({ "instance": instance, "version": env!("CARGO_PKG_VERSION"), "state": status() });
        let instance = &context.settings.instance;
        let service = Service::register(&face.bus, face.role, description, instance, Arc::new(named)).await?;
        tasks.spawn(service.run(end.clone()));
    }
    http::serve(context, heart, faces, registry, end.clone()).await?;
    Ok(Answering { tasks, end })
}

impl Answering {
    /// Ends what answers.
    pub(super) async fn end(self) {
        self.end.cancel();
        self.tasks.join_all().await;
    }
}

/// Ends a service: what answers for it, then its connection.
async fn end(bus: Bus, answering: Answering, result: anyhow::Result<()>) -> anyhow::Result<()> {
    answering.end().await;
    bus.close().await;
    result
}

pub(super) fn json(status: &impl serde::Serialize) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}
