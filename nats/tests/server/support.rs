//! A server per test, and events to put into it.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nats::{Bus, Config, Credentials, Cursor, Limits, Market, Record, Replicas};
use schemas::{
    alert::{Alert, Finding, LargeLiquidation, Priority},
    amount::Usd,
    id::Id,
    market::{Feed, Liquidation, MarketEvent, Origin, PriceKind, Reported, Rules, Side},
    name::Venue,
    position::{Created, Evidence, MarketPosition, Sequence},
    secret::Secret,
    subject::{Names, Stream},
    time::{EventTime, ReceivedAt},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Longest wait of any test for anything: far above what it takes, so that it only ends tests that hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const USER: &str = "tester";
pub(crate) const PASSWORD: &str = "p4ssw0rd";

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes far less")
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Returns the binary that scripts/setup.sh provides. Without it the tests of this file say so, and fail in CI.
pub(crate) fn binary() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let found = candidates.chain([root.join(".tools/nats-server")]).find(|candidate| candidate.is_file());
    if found.is_none() {
        eprintln!("\n*** NOT RUN: no nats-server; scripts/setup.sh puts one at .tools/nats-server ***\n");
        assert!(std::env::var_os("CI").is_none(), "a test that needs nats-server did not run");
    }
    found
}

/// Returns a port nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A nats-server with JetStream. Killed when dropped.
pub(crate) struct Server {
    binary: PathBuf,
    folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts one on a free port, unless there is no binary.
    pub(crate) fn start() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.run();
        Some(server)
    }

    /// Chooses folder and port without starting anything.
    pub(crate) fn prepare() -> Option<Self> {
        Some(Self { binary: binary()?, folder: tempfile::tempdir().unwrap(), port: free_port(), child: None })
    }

    pub(crate) fn run(&mut self) {
        let mut command = Command::new(&self.binary);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "--user", USER, "--pass", PASSWORD]);
        command.arg("-sd").arg(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            servers: format!("127.0.0.1:{}", self.port).parse().unwrap(),
            credentials: Some(Credentials { user: USER.to_owned(), password: Secret::new(PASSWORD.to_owned()) }),
            ca: None,
            names: Names::default(),
            client_name: "test".to_owned(),
            replicas: Replicas::One,
            market: Market::Live,
            limits: Limits::DEFAULT,
        }
    }

    pub(crate) async fn bus(&self) -> Bus {
        connect(self.config()).await
    }

    /// Returns a connection to a server whose topology is in place.
    pub(crate) async fn ready(&self) -> Bus {
        let bus = self.bus().await;
        bus.apply_topology().await.unwrap();
        bus
    }

    /// Returns a connection of the test's own, to do what foreshock never does.
    pub(crate) async fn intruder(&self) -> async_nats::jetstream::Context {
        let options = async_nats::ConnectOptions::with_user_and_password(USER.to_owned(), PASSWORD.to_owned());
        async_nats::jetstream::new(options.connect(format!("127.0.0.1:{}", self.port)).await.unwrap())
    }
}

pub(crate) async fn connect(config: Config) -> Bus {
    soon(Bus::connect(config, &CancellationToken::new())).await.unwrap()
}

pub(crate) fn venue() -> Venue {
    "okx".parse().unwrap()
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Returns the liquidation `number` of the venue, of the base BTC.
pub(crate) fn liquidation(number: usize, event_time_ms: i64) -> MarketEvent {
    let reported = Reported {
        venue: venue(),
        instrument: "BTC-USDT-SWAP".parse().unwrap(),
        base: "BTC".parse().unwrap(),
        liquidated: Side::Long,
        quantity: "1".parse().unwrap(),
        price: "100000".parse().unwrap(),
        price_kind: PriceKind::Bankruptcy,
        notional_usd: Usd::from_cents(10_000_000),
        event_time: EventTime::from_millis(event_time_ms),
    };
    let received_at = ReceivedAt::from_millis(event_time_ms);
    MarketEvent::Liquidation(Liquidation::new(reported, &[&number.to_string()], 1, received_at))
}

pub(crate) fn alive(tick_ms: i64) -> MarketEvent {
    MarketEvent::Feed(Feed::alive(venue(), "liquidation", EventTime::from_millis(tick_ms)))
}

pub(crate) fn rules(version: u64) -> Rules {
    Rules::new(version, Origin::Config, format!("# version {version}"))
}

pub(crate) fn alert(number: usize) -> Alert {
    let trigger = Id::of("test", &[&number.to_string()]);
    let base = "BTC".parse().unwrap();
    Alert {
        v: schemas::alert::VERSION,
        id: Alert::id_of_start(schemas::alert::Kind::LargeLiquidation, &base, trigger),
        base,
        priority: Priority::Low,
        rules: trigger,
        trigger,
        event_time: EventTime::from_millis(1_000),
        received_at: ReceivedAt::from_millis(1_000),
        window_ms: 30_000,
        coverage: BTreeMap::new(),
        saturated: false,
        finding: Finding::LargeLiquidation(LargeLiquidation {
            venue: venue(),
            instrument: "BTC-USDT-SWAP".parse().unwrap(),
            liquidated: Side::Long,
            quantity: "1".parse().unwrap(),
            price: "100000".parse().unwrap(),
            price_kind: PriceKind::Bankruptcy,
            notional_usd: Usd::from_cents(10_000_000),
            episode: None,
        }),
    }
}

/// Stores an alert whose place and evidence are of no interest.
pub(crate) async fn store_alert(bus: &Bus, number: usize) -> nats::AlertStored {
    let position = MarketPosition { created: Created::from_nanos(7), sequence: Sequence::new(42) };
    let evidence = Evidence { first: Sequence::new(40), last: Sequence::new(42) };
    bus.publish_alert(&alert(number), position, evidence, 1_234).await.unwrap()
}

/// Returns everything a stream holds that matches `filter`.
pub(crate) async fn contents(bus: &Bus, stream: Stream, filter: Option<String>) -> Vec<Record> {
    let mut cursor = soon(Cursor::open(bus, stream, Sequence::new(1), filter)).await.unwrap();
    let mut records = Vec::new();
    while let Some(record) = soon(cursor.next_pending()).await.unwrap() {
        records.push(record);
    }
    records
}

/// Returns the ids of the venue's liquidations in MARKET, in order.
pub(crate) async fn stored_ids(bus: &Bus) -> Vec<String> {
    let filter = bus.names().liquidations_of(&venue());
    let records = contents(bus, Stream::Market, Some(filter)).await;
    records.iter().map(|record| record.headers.message_id().unwrap().to_owned()).collect()
}
