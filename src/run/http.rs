//! What a process answers over HTTP: a page for people, whether it lives and is ready, its state, its metrics. Nothing can be changed there.

mod page;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use nats::{Bus, Connection};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Http,
    run::{
        Context,
        heart::Heart,
        host_clock_ms,
        metrics::{self, Page},
        status::is_ready,
    },
};

/// Where `up` shows itself when nothing is configured; when the port is taken, at a free one.
const UP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

/// How often it is looked whether a check changed.
const LOOK: Duration = Duration::from_secs(1);

/// Messages of MARKET a detector may be behind and still be ready: two minutes at the default profile's 100 a second
/// (design 9), which it reads in a fraction of a second.
const BEHIND_MAX: u64 = 12_000;

/// What one service of this process shows of itself.
#[derive(Clone)]
pub(super) struct Face {
    /// `ingest`, `detect` or `notify`.
    pub(super) role: &'static str,
    /// Its connection.
    pub(super) bus: Bus,
    /// Its state.
    pub(super) status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl Face {
    /// Returns what a service shows; `status` is called for every question and must not block.
    pub(super) fn new(role: &'static str, bus: &Bus, status: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self { role, bus: bus.clone(), status: Arc::new(status) }
    }
}

/// One thing that must be so for a process to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    ok: bool,
    /// Since when, host clock, milliseconds since 1970 UTC.
    since: i64,
}

struct Shown {
    instance: String,
    heart: Heart,
    faces: Vec<Face>,
    registry: Registry,
    checks: Mutex<BTreeMap<String, Check>>,
    /// Places for pages that are shown.
    listeners: Arc<Semaphore>,
}

/// Answers until `end`, unless it is configured off.
pub(super) async fn serve(
    context: &Context,
    heart: Heart,
    faces: Vec<Face>,
    mut registry: Registry,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let Some(listener) = listen(context.settings.http, faces.len() > 1).await? else { return Ok(()) };
    let at = listener.local_addr().context("the HTTP socket has no address")?;
    let instance = context.settings.instance.clone();
    metrics::ours(&mut registry).register_collector(Box::new(Readiness(faces.clone())));
    let listeners = Arc::new(Semaphore::new(page::LISTENERS_MAX));
    let shown = Arc::new(Shown { instance, heart, faces, registry, checks: Mutex::default(), listeners });
    info!(url = %format_args!("http://{at}/"), "state, health and metrics are answered over HTTP");
    let app = router(Arc::clone(&shown));
    tokio::spawn(async move {
        let looking = async {
            loop {
                shown.look();
                tokio::time::sleep(LOOK).await;
            }
        };
        let serving = axum::serve(listener, app).into_future();
        tokio::select! {
            () = looking => {}
            () = end.cancelled() => {}
            ended = serving => if let Err(error) = ended { warn!(%error, "HTTP is not answered any more") },
        }
    });
    Ok(())
}

async fn listen(configured: Http, is_up: bool) -> anyhow::Result<Option<TcpListener>> {
    match configured {
        Http::Off => Ok(None),
        Http::Unset if !is_up => Ok(None),
        Http::Unset => match TcpListener::bind(UP).await {
            Ok(listener) => Ok(Some(listener)),
            // Another one of ours may run; whoever wants a certain place configures it.
            Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()),
        },
        Http::At(at) => {
            let bound = TcpListener::bind(at).await;
            Ok(Some(
                bound.with_context(|| format!("HTTP cannot be answered at {at}: choose another with --http-listen"))?,
            ))
        }
    }
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/events", get(page::events))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(scrape))
        .with_state(shown)
}

/// Whether the scheduler beats; nothing outside this process (ops.md 7).
async fn livez(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    if shown.heart.is_beating() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "hangs\n") }
}

async fn readyz(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let checks = shown.look();
    let is_ready = checks.values().all(|check| check.ok);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": is_ready, "checks": checks })))
}

async fn status(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    Json(shown.status())
}

async fn scrape(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let mut page = String::new();
    match text::encode(&mut page, &shown.registry) {
        Ok(()) => Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl Shown {
    fn status(&self) -> Value {
        let services: BTreeMap<_, _> = self.faces.iter().map(|face| (face.role, (face.status)())).collect();
        json!({
            "instance": self.instance,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.heart.began().elapsed().as_secs(),
            "now": host_clock_ms(),
            "services": services,
        })
    }

    /// Returns what the page shows, as JSON. It changes with the second, so that an age on the page is one of now.
    fn picture(&self) -> String {
        let mut picture = self.status();
        picture["checks"] = json!(self.look());
        picture.to_string()
    }

    /// Looks at every check, keeping since when it is as it is.
    fn look(&self) -> BTreeMap<String, Check> {
        let now = host_clock_ms();
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        for face in &self.faces {
            for (name, ok) in checks_of(face) {
                let check = checks.entry(format!("{}.{name}", face.role)).or_insert(Check { ok, since: now });
                if check.ok != ok {
                    *check = Check { ok, since: now };
                }
            }
        }
        checks.clone()
    }
}

/// The checks of every service as metrics.
struct Readiness(Vec<Face>);

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|face| face.role)).finish()
    }
}

impl Collector for Readiness {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let checks = self.0.iter().flat_map(|face| {
            checks_of(face).into_iter().map(|(name, ok)| {
                ([("service", face.role.to_owned()), ("check", name.to_owned())], Some(f64::from(u8::from(ok))))
            })
        });
        Page(encoder).gauge("ready", "1 for every check of a service that holds; ready when all do", checks)
    }
}

fn checks_of(face: &Face) -> Vec<(&'static str, bool)> {
    let status = (face.status)();
    let is_connected = matches!(*face.bus.connection().borrow(), Connection::Up { .. });
    let mut checks = vec![("nats", is_connected), ("recovered", is_ready(&status))];
    if let Some(pending) = status["pending"].as_u64() {
        checks.push(("lag", pending <= BEHIND_MAX));
    }
    if let Some(is_refused) = status["token_refused"].as_bool() {
        checks.push(("token", !is_refused));
    }
    checks
}
