//! A nats-server, the services as processes, the recordings, and what the streams hold.

use std::{
    collections::BTreeMap,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nats::{Bus, Config, Cursor, Limits, Market, Replicas};
use schemas::{alert::Alert, delivery::LedgerEvent, position::Sequence, subject::Stream, wire};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_foreshock");

/// How long anything may take before a test gives up: these machines are slow and shared.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const OKX: &str = "okx_swap_liquidations_2026-03-04_to_05T06.jsonl.gz";
pub(crate) const BINANCE: &str = "binance_usdm_liquidations_2025-01-26_to_02-06.jsonl.gz";
pub(crate) const OKX_INSTRUMENTS: &str = "okx_instruments.json";

/// The token and chat of tests; `no_secret_reaches_a_log` looks for the former.
pub(crate) const TOKEN: &str = "123456:test-token-of-no-bot";
pub(crate) const CHAT: &str = "4242";

/// Returns a recording. Without the folder a test says loudly that it did not run, and fails in CI.
pub(crate) fn recording(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("FORESHOCK_DATA").map_or(beside, PathBuf::from);
    found(folder.join(name), "the recordings are missing: set FORESHOCK_DATA")
}

fn nats_server() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/nats-server");
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut in_path = std::env::split_paths(&in_path).map(|folder| folder.join("nats-server"));
    let path = in_path.find(|path| path.is_file()).unwrap_or(own);
    found(path, "nats-server is missing: run scripts/setup.sh")
}

fn found(path: PathBuf, otherwise: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{otherwise} ({})", path.display());
    eprintln!("!!! NOT RUN: {otherwise}");
    None
}

/// A nats-server with a store of its own, which can be killed and started again on the same port.
pub(crate) struct Nats {
    binary: PathBuf,
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Nats {
    pub(crate) fn start() -> Option<Self> {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// As the composition has it: nats/server.conf, and for each user a password that is its name.
    pub(crate) fn start_with_users() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let users = ["INGEST", "DETECT", "NOTIFY", "ADMIN", "VIEWER", "SYS"];
        let passwords = users.map(|user| format!("{user}_PASSWORD = \"{}\"\n", user.to_lowercase()));
        std::fs::write(folder.path().join("passwords.conf"), passwords.concat()).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("nats/server.conf");
        let shipped = std::fs::read_to_string(shipped).unwrap();
        // The store cannot be given beside a configuration that names one.
        let adapted = shipped.replace("store_dir: /data", &format!("store_dir: \"{}\"", folder.path().display()));
        assert_ne!(adapted, shipped);
        std::fs::write(folder.path().join("server.conf"), adapted).unwrap();
        Self::start_in(folder)
    }

    /// Over TLS only, with this certificate.
    pub(crate) fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        let at = folder.path().display();
        let config = format!(
            "jetstream {{ store_dir: \"{at}\" }}\ntls {{ cert_file: \"{at}/cert.pem\", key_file: \"{at}/key.pem\" }}\n"
        );
        std::fs::write(folder.path().join("server.conf"), config).unwrap();
        Self::start_in(folder)
    }

    fn start_in(folder: TempDir) -> Option<Self> {
        let binary = nats_server()?;
        // The port is free now; another process taking it in between would be a bug of the test machine.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(&binary, folder.path(), port);
        Some(Self { binary, folder, port, child })
    }

    fn spawn(binary: &Path, folder: &Path, port: u16) -> Child {
        let mut server = Command::new(binary);
        // What is given here wins over a configuration.
        let config = folder.join("server.conf");
        if config.exists() {
            server.arg("-c").arg(config).args(["-m", "-1"]);
        } else {
            server.args(["-js", "-sd"]).arg(folder);
        }
        server.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
        // As the composition has it (design 9).
        server.env("GOMEMLIMIT", "44MiB");
        server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(&self.binary, self.folder.path(), self.port);
    }

    /// Returns a figure of its memory in KiB, as [`Service::memory_kib`] does.
    pub(crate) fn memory_kib(&self, figure: &str) -> Option<u64> {
        memory_kib(&self.child, figure)
    }

    pub(crate) async fn bus(&self, prefix: &str, market: Market) -> Bus {
        let config = Config {
            servers: self.url().parse().unwrap(),
            credentials: None,
            ca: None,
            names: prefix.parse().unwrap(),
            client_name: "test".to_owned(),
            replicas: Replicas::One,
            market,
            limits: Limits::DEFAULT,
        };
        Bus::connect(config, &CancellationToken::new()).await.unwrap()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running service; killed when dropped. What it logs goes to a file.
pub(crate) struct Service {
    child: Child,
    role: String,
    env: BTreeMap<String, String>,
    log: PathBuf,
}

impl Service {
    pub(crate) fn start(role: &str, env: &BTreeMap<String, String>, log: &Path) -> Self {
        let child = Self::spawn(role, env, log);
        Self { child, role: role.to_owned(), env: env.clone(), log: log.to_owned() }
    }

    fn spawn(role: &str, env: &BTreeMap<String, String>, log: &Path) -> Child {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = program();
        command.arg(role).envs(env).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().unwrap()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGKILL, and a new start.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.role, &self.env, &self.log);
    }

    /// Returns a figure of its memory in KiB, such as `VmRSS`; nothing where the system does not tell.
    pub(crate) fn memory_kib(&self, figure: &str) -> Option<u64> {
        memory_kib(&self.child, figure)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.role, self.log());
        }
    }
}

fn memory_kib(child: &Child, figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Held by tests that keep the whole machine busy or play a market faster than real time: two of them at once would starve
/// each other of a small machine's cores.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Waits until no other test holds the machine; it is held until the guard is dropped.
pub(crate) async fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// The program with nothing of this machine's environment but where its programs are.
pub(crate) fn program() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    // Tests count what lies in the streams.
    command.env("FORESHOCK_CANARY", "off");
    command
}

/// Runs a command to its end: exit code, stdout, stderr.
pub(crate) fn run(args: &[&str], env: &BTreeMap<String, String>) -> (i32, String, String) {
    let output = program().args(args).envs(env).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

pub(crate) fn env<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where a service says that it answers.
pub(crate) async fn address(service: &Service) -> String {
    let said = || {
        let log = service.log();
        let line = log.lines().find(|line| line.contains("answered over HTTP"))?;
        let line: Value = serde_json::from_str(line).unwrap();
        let url = line["url"].as_str().unwrap().strip_prefix("http://")?.strip_suffix('/')?;
        Some(url.to_owned())
    };
    eventually("it says where HTTP is answered", async || said().is_some()).await;
    said().unwrap()
}

/// Waits until something holds; `what` names it when it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until what `look` sees has not changed for `quiet`, and returns it.
pub(crate) async fn settled<T: PartialEq>(what: &str, quiet: Duration, mut look: impl AsyncFnMut() -> T) -> T {
    let began = Instant::now();
    let (mut seen, mut since) = (look().await, Instant::now());
    while since.elapsed() < quiet {
        assert!(began.elapsed() < PATIENCE, "never settled: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = look().await;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    seen
}

/// Every alert of ALERTS in order, with its payload.
pub(crate) async fn alerts(bus: &Bus) -> Vec<(Alert, Vec<u8>)> {
    let filter = Some(bus.names().alerts());
    let mut cursor = Cursor::open(bus, Stream::Alerts, Sequence::new(1), filter).await.unwrap();
    let mut alerts = Vec::new();
    while let Some(record) = cursor.next_pending().await.unwrap() {
        alerts.push((wire::decode(&record.payload).unwrap(), record.payload.to_vec()));
    }
    alerts
}

/// Every event of the ledger in order.
pub(crate) async fn ledger(bus: &Bus) -> Vec<LedgerEvent> {
    let mut cursor = Cursor::open(bus, Stream::Deliveries, Sequence::new(1), None).await.unwrap();
    let mut events = Vec::new();
    while let Some(record) = cursor.next_pending().await.unwrap() {
        events.push(wire::decode(&record.payload).unwrap());
    }
    events
}

/// What promise (b) compares: everything but what the world around a run decides.
pub(crate) fn figures(mut alert: Value) -> Value {
    let fields = alert.as_object_mut().unwrap();
    fields.remove("coverage");
    fields.remove("received_at");
    alert
}

/// The alerts of `replay --file`, as the program prints them.
pub(crate) fn replayed_file(args: &[&str]) -> Vec<Value> {
    let (code, out, err) = run(&[&["replay", "--file"], args].concat(), &BTreeMap::new());
    assert_eq!(code, 0, "{err}");
    json_lines(&out)
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
