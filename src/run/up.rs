//! `foreshock up`: everything in one process, on a private nats-server unless one is configured.

mod summary;
mod view;

use std::{path::Path, time::Duration};

use ::ingest::exchange::Exchange;
use anyhow::Context as _;
use nats::{Bus, PrivateServer, SearchPath, ServerConfig, Store};
use prometheus_client::registry::Registry;
use schemas::{position::Sequence, subject::Stream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    cli::{self, Speed},
    config::{Environment, Market, Settings},
    exit::UsageError,
    run::{
        Context, detect,
        http::Face,
        ingest, metrics, notify,
        running::{self, Running},
        service::{self, Answering},
    },
    simulate::{self, Scenario, Simulator, Source, Storms, Timing},
};
pub(crate) use view::View;

/// How often the end of a replay is looked for.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// After the last frame was handed to the sockets, the pipeline counts as drained when nothing new came for this long.
const SETTLED: Duration = Duration::from_secs(2);

/// What the market is.
enum Mode<'a> {
    Live,
    Demo { seed: u64, scenario: Option<Scenario>, speed: Speed },
    Replay { file: &'a Path, venue: Exchange, instruments: Option<&'a Path>, speed: Speed },
}

impl<'a> Mode<'a> {
    fn of(options: &'a cli::Up) -> Self {
        match (&options.replay, options.venue) {
            (Some(file), Some(venue)) => {
                let speed = options.speed.unwrap_or(Speed::Max);
                Self::Replay { file, venue, instruments: options.instruments.as_deref(), speed }
            }
            _ if options.demo => {
                // A scenario has twenty quiet minutes before anything happens.
                let usual = if options.scenario.is_some() { 60.0 } else { 1.0 };
                let speed = options.speed.unwrap_or(Speed::Times(usual));
                Self::Demo { seed: options.seed, scenario: options.scenario, speed }
            }
            _ => Self::Live,
        }
    }

    /// The name of the folder of the store, and the prefix of all names but those of the live market.
    const fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Demo { .. } => "demo",
            Self::Replay { .. } => "replay",
        }
    }

    /// Whether the market's time is another one than ours.
    fn market(&self) -> Market {
        match self {
            Self::Live => Market::Live,
            Self::Demo { speed, .. } if *speed == Speed::Times(1.0) => Market::Live,
            Self::Demo { .. } | Self::Replay { .. } => Market::Recorded,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Live => "live venues".to_owned(),
            Self::Demo { seed, scenario: None, .. } => format!("simulated market, seed {seed}"),
            Self::Demo { seed, scenario: Some(scenario), .. } => {
                format!("simulated market, seed {seed}, scenario {}", scenario.as_str())
            }
            Self::Replay { file, venue, .. } => {
                let file = file.file_name().unwrap_or_default().to_string_lossy();
                format!("replay of {venue}: {}", file.escape_debug())
            }
        }
    }
}

/// Returns where a nats-server may be: on PATH, or where scripts/setup.sh puts it.
pub(super) fn search_path(environment: &Environment) -> SearchPath {
    let near = [std::env::current_exe(), std::env::current_dir()];
    SearchPath {
        explicit: None,
        path: environment.get("PATH").map(Into::into),
        near: near.into_iter().filter_map(Result::ok).collect(),
    }
}

pub(super) async fn run(context: &Context, options: &cli::Up, view: View) -> anyhow::Result<()> {
    let mode = Mode::of(options);
    // The market outlives the services, so that its end is not mistaken for a broken connection.
    let market = CancellationToken::new();
    let simulator = start_simulator(&mode, market.clone()).await?;
    let settings = adapt(&context.settings, &mode, simulator.as_ref())?;
    let broker = Broker::start(&settings, &mode, &context.path).await?;
    let context =
        &Context { settings, json: context.json, path: context.path.clone(), shutdown: context.shutdown.clone() };
    let result = run_services(context, &mode, simulator.as_ref(), &broker, view).await;
    // The broker goes last, when everything that hangs on it has ended.
    context.shutdown.cancel();
    broker.stop().await;
    market.cancel();
    if let Some(simulator) = simulator {
        simulator.join().await.context("the simulated market ended badly")?;
    }
    result
}

async fn start_simulator(mode: &Mode<'_>, end: CancellationToken) -> anyhow::Result<Option<Simulator>> {
    let source = match mode {
        Mode::Live => return Ok(None),
        Mode::Demo { speed: Speed::Max, .. } => {
            return Err(
                UsageError("--speed max needs --replay: a simulated market has no end to run to".to_owned()).into()
            );
        }
        Mode::Demo { seed, scenario, speed } => {
            // Time that runs faster than ours does not begin without us.
            let wait_subscribers = usize::from(mode.market() == Market::Recorded);
            let speed = (*speed).into();
            Source::Seed { seed: *seed, storms: Some(Storms::DEMO), scenario: *scenario, speed, wait_subscribers }
        }
        Mode::Replay { file, venue, instruments, speed } => Source::Recording {
            venue: *venue,
            file: file.to_path_buf(),
            instruments: instruments.map(Path::to_path_buf),
            speed: (*speed).into(),
            wait_subscribers: 1,
        },
    };
    let config = simulate::Config {
        listen: simulate::LOOPBACK,
        source,
        timing: Timing::default(),
        faults: std::collections::BTreeMap::new(),
    };
    let started = simulate::start(config, end).await;
    Ok(Some(started.context("the market cannot be simulated")?))
}

/// Points the services at the simulated market, under names of its own.
fn adapt(settings: &Settings, mode: &Mode<'_>, simulator: Option<&Simulator>) -> anyhow::Result<Settings> {
    let mut settings = settings.clone();
    let Some(simulator) = simulator else { return Ok(settings) };
    if settings.nats.names.prefix().is_empty() {
        settings.nats.names = mode.name().parse()?;
    }
    settings.market = mode.market();
    if matches!(mode, Mode::Replay { .. }) {
        // A recording of liquidations holds no open interest, and what the simulator invents beside it is none.
        settings.open_interest.bases.clear();
    }
    // An artificial market never reaches the real Telegram, whatever token the environment holds: plain http is for
    // loopback alone, so anything else may be the world outside.
    if settings.telegram.api_url.scheme() != "http" {
        settings.telegram.api_url = simulator.telegram_url().parse().context("the simulator's URL")?;
    }
    let played = match mode {
        Mode::Live | Mode::Demo { .. } => None,
        Mode::Replay { venue, .. } => Some(*venue),
    };
    let venues = &mut settings.venues;
    for (venue, target) in [
        (Exchange::Binance, &mut venues.binance),
        (Exchange::Bybit, &mut venues.bybit),
        (Exchange::Okx, &mut venues.okx),
    ] {
        target.enabled = played.is_none_or(|played| played == venue);
        target.ws_url = simulator.ws_url(venue).parse().context("the simulator's URL")?;
        target.rest_url = simulator.http_url(venue).parse().context("the simulator's URL")?;
    }
    Ok(settings)
}

/// The broker everything hangs on, and how other commands find it.
struct Broker {
    private: Option<(PrivateServer, running::Published)>,
    running: Option<Running>,
}

impl Broker {
    async fn start(settings: &Settings, mode: &Mode<'_>, path: &SearchPath) -> anyhow::Result<Self> {
        if !settings.nats.servers.is_empty() {
            return Ok(Self { private: None, running: None });
        }
        running::create_state_dir(&settings.state_dir)?;
        let folder = settings.state_dir.join(mode.name());
        let store = match mode {
            Mode::Live => Store::Kept,
            Mode::Demo { .. } | Mode::Replay { .. } => Store::Fresh,
        };
        let server = PrivateServer::start(ServerConfig { folder, search: path.clone(), store }).await?;
        let credentials = server.credentials();
        let running = Running {
            url: format!("nats://{}", server.servers()),
            user: credentials.user,
            password: credentials.password.expose().to_owned(),
            prefix: settings.nats.names.prefix().to_owned(),
            market: running::market(settings.market).as_str().to_owned(),
        };
        let published = running::publish(&settings.state_dir, &running)?;
        Ok(Self { private: Some((server, published)), running: Some(running) })
    }

    async fn connect(&self, context: &Context, role: &str) -> anyhow::Result<Bus> {
        let config = match &self.running {
            Some(running) => running::private(running, format!("foreshock-{role}-{}", context.settings.instance))?,
            None => running::nats_config(&context.settings, role)?,
        };
        Ok(Bus::connect(config, &context.shutdown).await?)
    }

    async fn stop(self) {
        if let Some((server, published)) = self.private {
            drop(published);
            server.stop().await;
        }
    }
}

async fn run_services(
    context: &Context,
    mode: &Mode<'_>,
    simulator: Option<&Simulator>,
    broker: &Broker,
    view: View,
) -> anyhow::Result<()> {
    let bus = broker.connect(context, "up").await?;
    service::settle(&bus, &context.shutdown).await?;
    if matches!(mode, Mode::Replay { .. }) && bus.stream_state(Stream::Market).await?.messages > 0 {
        let prefix = context.settings.nats.names.prefix();
        return Err(UsageError(format!(
            "the prefix `{prefix}` of this broker holds an earlier market: choose another with --prefix"
        ))
        .into());
    }
    let seen = Seen::new(&context.settings);
    let mut services = Services::start(context, broker, &seen, view.is_live()).await?;
    let screen = CancellationToken::new();
    let drawing = view.is_live().then(|| {
        let (seen, title) = (seen.clone(), mode.title());
        let (shutdown, screen) = (context.shutdown.clone(), screen.clone());
        let picture = move || view::Picture {
            title: title.clone(),
            ingest: seen.ingest.status(),
            detect: seen.detect.status(),
            notify: seen.notify.status(),
        };
        tokio::task::spawn_blocking(move || view::show(&view, picture, &shutdown, &screen))
    });
    let result = tokio::select! {
        result = services.first_end(&context.shutdown) => result,
        result = replayed(&bus, mode, simulator, &seen) => result.map(|()| context.shutdown.cancel()),
    };
    context.shutdown.cancel();
    let result = result.and(services.end().await);
    screen.cancel();
    if let Some(drawing) = drawing {
        drawing.await.context("the view ended badly")?.context("the terminal cannot be used")?;
    }
    if result.is_ok() && matches!(mode, Mode::Replay { .. }) {
        summary::print(&bus, context.json).await?;
    }
    bus.close().await;
    result
}

/// What is seen of the three services.
#[derive(Clone)]
struct Seen {
    ingest: ingest::Watch,
    detect: detect::Watch,
    notify: notify::Watch,
}

impl Seen {
    fn new(settings: &Settings) -> Self {
        Self {
            ingest: ingest::Watch::new(settings),
            detect: detect::Watch::default(),
            notify: notify::Watch::default(),
        }
    }

    /// Returns what all of them measure.
    fn registry(&self) -> Registry {
        let mut registry = metrics::registry();
        let ours = metrics::ours(&mut registry);
        self.ingest.register(ours);
        self.detect.register(ours);
        self.notify.register(ours);
        registry
    }

    /// Returns what a service shows of itself.
    fn face(&self, role: &'static str, bus: &Bus) -> Face {
        let seen = self.clone();
        Face::new(role, bus, move || match role {
            "ingest" => service::json(&seen.ingest.status()),
            "detect" => service::json(&seen.detect.status()),
            _ => service::json(&seen.notify.status()),
        })
    }
}

/// The three services as they run alone, each with its own connection, and what answers for them.
struct Services {
    running: JoinSet<anyhow::Result<()>>,
    answering: Answering,
    connections: Vec<Bus>,
}

impl Services {
    async fn start(context: &Context, broker: &Broker, seen: &Seen, has_screen: bool) -> anyhow::Result<Self> {
        let (mut running, mut faces, mut connections) = (JoinSet::new(), Vec::new(), Vec::new());
        for role in service::ROLES {
            let bus = broker.connect(context, role).await?;
            faces.push(seen.face(role, &bus));
            connections.push(bus.clone());
            let (seen, settings, shutdown) = (seen.clone(), context.settings.clone(), context.shutdown.clone());
            running.spawn(async move {
                let result = match role {
                    "ingest" => ingest::run(bus, &settings, seen.ingest, shutdown).await,
                    "detect" => detect::run(bus, settings.rules.clone(), seen.detect, shutdown).await,
                    _ => {
                        let terminal: notify::Terminal =
                            if has_screen { Box::new(tokio::io::sink()) } else { Box::new(tokio::io::stdout()) };
                        notify::run(bus, &settings, terminal, seen.notify, shutdown).await
                    }
                };
                result.with_context(|| format!("{role} ended"))
            });
        }
        let answering = service::answer(context, faces, seen.registry()).await?;
        Ok(Self { running, answering, connections })
    }

    /// Waits until one service ends: at shutdown as asked, before it with its reason.
    async fn first_end(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let ended = self.running.join_next().await.context("no service runs")?;
        ended.context("a service ended badly")??;
        anyhow::ensure!(shutdown.is_cancelled(), "a service ended while the others go on");
        Ok(())
    }

    /// Waits for all of them, once their end was asked for.
    async fn end(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let ended = ended.context("a service ended badly").flatten();
            result = result.and(ended);
        }
        self.answering.end().await;
        for bus in self.connections {
            bus.close().await;
        }
        result
    }
}

/// Returns when a recording has gone through the whole pipeline; in other markets never.
async fn replayed(bus: &Bus, mode: &Mode<'_>, simulator: Option<&Simulator>, seen: &Seen) -> anyhow::Result<()> {
    let (Mode::Replay { .. }, Some(simulator)) = (mode, simulator) else { return std::future::pending().await };
    simulator.done().await;
    info!("the recording was played to its end");
    // Every liquidation the sockets delivered is in MARKET,
    let mut stored = (0, tokio::time::Instant::now());
    while stored.1.elapsed() < SETTLED {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let events =
            seen.ingest.status().venues.values().map(|feed| feed.socket.events + feed.market.backlog_events).sum();
        if stored.0 != events {
            stored = (events, tokio::time::Instant::now());
        }
    }
    // the detector has handled it,
    let market = bus.market_state().await?.last;
    while Sequence::new(seen.detect.status().position) < market {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }
    // and the notifier is done with what came of it.
    let alerts = bus.stream_state(Stream::Alerts).await?.last;
    loop {
        let (position, waiting) = {
            let notify = seen.notify.status();
            (Sequence::new(notify.position), notify.waiting)
        };
        if position >= alerts && waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }
}
