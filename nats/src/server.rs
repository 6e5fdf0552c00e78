//! The private nats-server of `up`: a child on loopback with a generated password and its own folder.

mod binary;
mod files;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use data_encoding::HEXLOWER;
use rand::{TryRngCore, rngs::OsRng};
use schemas::secret::Secret;
use tokio::{
    process::{Child, Command},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

pub use binary::SearchPath;

use crate::{
    config::{Credentials, Servers},
    server::files::Folder,
};

/// The Go runtime's own limit, three quarters of the 56 MB the server may have (design 9).
const GO_MEMORY_LIMIT: &str = "44MiB";
/// The ports file appears within 40 ms of the start (nats.md 0); a large store takes seconds to be read.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the ports file is looked for.
const START_POLL: Duration = Duration::from_millis(10);
/// How long a server may take to end by itself before it is killed, which loses nothing (nats.md 3.2).
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a server that died is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// What a private server is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its folder: created with mode 0700. Two servers never share one.
    pub folder: PathBuf,
    /// Where to look for the binary.
    pub search: SearchPath,
    /// What becomes of what an earlier start stored there.
    pub store: Store,
}

/// What becomes of what an earlier start stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// It goes on from it.
    Kept,
    /// It is removed: an artificial market begins anew each time.
    Fresh,
}

/// A private server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No binary of a version this program knows.
    #[error("no nats-server 2.15 found; scripts/setup.sh puts one at .tools/nats-server")]
    NoBinary,
    /// The given binary is of another version or does not run.
    #[error("{} is not a nats-server 2.15", path.display())]
    WrongBinary {
        /// The path.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{} is in use by another foreshock; stop that one or choose another folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be used.
    #[error("the folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not come up.
    #[error("nats-server did not start; see {}", log.display())]
    NotStarted {
        /// Its log.
        log: PathBuf,
    },
}

/// A running private server. It is started again when it dies, on the same port.
///
/// [`PrivateServer::stop`] ends it; dropping kills it, which loses nothing either. When this process is killed the server
/// lives on, because nothing portable ties it to its parent: the next start in the same folder ends it first.
#[derive(Debug)]
pub struct PrivateServer {
    port: u16,
    password: Secret,
    restarts: watch::Receiver<u64>,
    stop: Option<oneshot::Sender<()>>,
    supervisor: JoinHandle<()>,
}

const USER: &str = "foreshock";

impl PrivateServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let binary = binary::find(&config.search).await?;
        let folder = Folder::open(&config.folder)?;
        stop_stale(&binary, &folder).await?;
        match config.store {
            Store::Kept => {}
            // Only now is it certain that no server uses it.
            Store::Fresh => folder.remove_store()?,
        }
        let password = generate_password().map_err(|error| folder.error(std::io::Error::other(error)))?;
        folder.write_config(None, USER, &password)?;
        let mut child = spawn(&binary, &folder)?;
        let Some(port) = wait_for_port(&mut child, &folder).await else {
            stop_child(&binary, &mut child).await;
            return Err(ServerError::NotStarted { log: folder.log() });
        };
        // A killed server comes back where its clients look for it.
        folder.write_config(Some(port), USER, &password)?;
        info!(port, folder = %config.folder.display(), "a private nats-server runs");
        let (stop, stopped) = oneshot::channel();
        let (restarted, restarts) = watch::channel(0);
        let supervisor = tokio::spawn(supervise(binary, folder, child, restarted, stopped));
        Ok(Self { port, password, restarts, stop: Some(stop), supervisor })
    }

    /// Returns where it listens.
    pub fn servers(&self) -> Servers {
        format!("127.0.0.1:{}", self.port).parse().expect("an address and a port are a NATS URL")
    }

    /// Returns the user and the password of this start.
    pub fn credentials(&self) -> Credentials {
        Credentials { user: USER.to_owned(), password: self.password.clone() }
    }

    /// Returns how often the server died and was started again, to be watched.
    pub fn restarts(&self) -> watch::Receiver<u64> {
        self.restarts.clone()
    }

    /// Ends the server and waits for that.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the supervisor has ended, and its child with it.
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.supervisor).await {
            warn!(%error, "the nats-server was not ended cleanly");
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// nats.md 4: a password that starts with a letter and is alphanumeric is read by the server as it is.
fn generate_password() -> Result<Secret, rand::rand_core::OsError> {
    let mut random = [0; 16];
    OsRng.try_fill_bytes(&mut random)?;
    Ok(Secret::new(format!("p{}", HEXLOWER.encode(&random))))
}

async fn supervise(
    binary: PathBuf,
    folder: Folder,
    mut child: Child,
    restarted: watch::Sender<u64>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let status = tokio::select! {
            status = child.wait() => status,
            _ = &mut stopped => {
                stop_child(&binary, &mut child).await;
                folder.forget_process();
                return;
            }
        };
        warn!(status = ?status.ok(), log = %folder.log().display(), "nats-server ended; starting it again");
        loop {
            tokio::select! {
                () = sleep(RESTART_PAUSE) => {}
                _ = &mut stopped => return,
            }
            match spawn(&binary, &folder) {
                Ok(again) => {
                    child = again;
                    restarted.send_modify(|count| *count += 1);
                    break;
                }
                Err(error) => warn!(%error, "nats-server cannot be started again; retrying"),
            }
        }
    }
}

fn spawn(binary: &Path, folder: &Folder) -> Result<Child, ServerError> {
    folder.forget_process();
    let mut command = Command::new(binary);
    command.arg("-c").arg(folder.config()).env("GOMEMLIMIT", GO_MEMORY_LIMIT);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // Ctrl-C in a terminal goes to a whole process group; the server must outlive the services that drain into it.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(|source| folder.error(source))
}

async fn wait_for_port(child: &mut Child, folder: &Folder) -> Option<u16> {
    let pid = child.id()?;
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(port) = folder.port_of(pid) {
            return Some(port);
        }
        if child.try_wait().ok()?.is_some() {
            return None;
        }
        sleep(START_POLL).await;
    }
    None
}

async fn stop_child(binary: &Path, child: &mut Child) {
    if let Some(pid) = child.id() {
        signal_to_quit(binary, pid).await;
    }
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        warn!(%error, "nats-server cannot be killed");
    }
}

/// Ends a server that an earlier start in this folder left behind. Nobody else holds the folder, so nobody needs it.
async fn stop_stale(binary: &Path, folder: &Folder) -> Result<(), ServerError> {
    let Some(pid) = folder.stale_process() else { return Ok(()) };
    info!(pid, "ending the nats-server an earlier start left behind");
    signal_to_quit(binary, pid).await;
    let deadline = Instant::now() + STOP_TIMEOUT;
    while folder.stale_process().is_some() {
        if Instant::now() > deadline {
            return Err(ServerError::InUse { folder: folder.path().to_owned() });
        }
        sleep(START_POLL).await;
    }
    folder.forget_process();
    Ok(())
}

/// Asks a server to end. The binary itself sends the signal, so no unsafe code and no other program is needed.
async fn signal_to_quit(binary: &Path, pid: u32) {
    let mut command = Command::new(binary);
    command.arg("--signal").arg(format!("quit={pid}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    if let Err(error) = command.status().await {
        warn!(%error, "nats-server cannot be asked to end");
    }
}
