//! The connection: made with patience, watched, and closed without losing what was handed to it.

use std::{
    error::Error,
    future::ready,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event,
    jetstream::{self, context::ContextBuilder},
};
use schemas::{
    name::subject_token,
    subject::{Names, Stream},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::{Config, Market};

/// How often the server is pinged. Two missed pings end a half-open connection, so it is noticed within 15 s instead of
/// the client's default of three minutes (nats.md 6.2).
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect: back within half a second of the server (nats.md 6.2).
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// How long an answer of the server is waited for. What timed out may have happened all the same.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// While NATS is away this is said once per interval, not once per attempt.
const AWAY_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Whether NATS answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It does not; the client keeps trying.
    Away,
    /// It does.
    Up {
        /// Counts connections from 1: another number means that the connection was lost in between.
        epoch: u64,
    },
}

/// A connection cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server refuses the user or password.
    #[error("NATS at {servers} refuses these credentials")]
    Refused {
        /// The servers.
        servers: String,
    },
    /// The URL or TLS configuration cannot work.
    #[error("NATS at {servers} cannot be used")]
    Unusable {
        /// The servers.
        servers: String,
        /// What the client said.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The certificate of the authority cannot be read.
    #[error("the certificate of NATS's authority in {} cannot be read (nats.ca, NATS_CA)", file.display())]
    Authority {
        /// Its file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Shutdown was asked for before NATS answered.
    #[error("stopped before NATS at {servers} answered")]
    Stopped {
        /// The servers.
        servers: String,
    },
}

/// A connection to NATS. Clones share it.
#[derive(Clone, Debug)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    config: Arc<Config>,
    connection: watch::Receiver<Connection>,
}

impl Bus {
    /// Connects, waiting as long as NATS is away.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] for wrong credentials, [`ConnectError::Unusable`] and [`ConnectError::Authority`] for a
    /// configuration that cannot work, all at once; [`ConnectError::Stopped`] when `shutdown` came first.
    pub async fn connect(config: Config, shutdown: &CancellationToken) -> Result<Self, ConnectError> {
        let link = Arc::new(Link::new(&config));
        let client = tokio::select! {
            client = connect_patiently(&config, &link) => client?,
            () = shutdown.cancelled() => {
                return Err(ConnectError::Stopped { servers: config.servers.to_string() });
            }
        };
        let jetstream = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client.clone());
        let bus = Self { client, jetstream, config: Arc::new(config), connection: link.state.subscribe() };
        bus.connected().await;
        Ok(bus)
    }

    /// Returns the state of the connection, to be watched.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// Waits until NATS answers, and returns the number of the connection.
    pub async fn connected(&self) -> u64 {
        let mut connection = self.connection();
        loop {
            if let Connection::Up { epoch } = *connection.borrow_and_update() {
                return epoch;
            }
            if connection.changed().await.is_err() {
                // The sender lives in the client's event callback, so this is the end of the client: nothing will come.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns the names in use.
    pub fn names(&self) -> &Names {
        &self.config.names
    }

    /// Returns what kind of market this installation handles.
    pub fn market(&self) -> Market {
        self.config.market
    }

    /// Hands over what is buffered and closes the connection, on every clone.
    pub async fn close(&self) {
        // nats.md 6.2: dropping the client may lose buffered messages.
        let flushed = tokio::time::timeout(REQUEST_TIMEOUT, self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            debug!("the connection was closed with messages unsent");
        }
        if let Err(error) = self.client.drain().await {
            debug!(%error, "the connection was already closed");
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.connection.borrow(), Connection::Up { .. })
    }

    pub(crate) fn stream_name(&self, stream: Stream) -> String {
        self.names().stream(stream)
    }

    /// Returns a token no other process uses, for names of consumers.
    pub(crate) fn unique_token(&self) -> String {
        let inbox = self.client.new_inbox();
        inbox.rsplit('.').next().unwrap_or_default().to_owned()
    }

    pub(crate) const REQUEST_TIMEOUT: Duration = REQUEST_TIMEOUT;
}

async fn connect_patiently(config: &Config, link: &Arc<Link>) -> Result<Client, ConnectError> {
    if let Some(file) = &config.ca {
        // The client would say that something was not found, and not what.
        std::fs::metadata(file).map_err(|source| ConnectError::Authority { file: file.clone(), source })?;
    }
    // The client's own `retry_on_initial_connect` hides wrong credentials (nats.md 6.2), so the waiting is done here.
    loop {
        match options(config, Arc::clone(link)).connect(config.servers.addresses()).await {
            Ok(client) => return Ok(client),
            Err(source) => match source.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    return Err(ConnectError::Refused { servers: config.servers.to_string() });
                }
                // An authority that is not trusted, or another name: waiting makes it no better.
                _ if is_of_tls(&source) => {
                    return Err(ConnectError::Unusable { servers: config.servers.to_string(), source });
                }
                ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => {
                    return Err(ConnectError::Unusable { servers: config.servers.to_string(), source });
                }
                ConnectErrorKind::TimedOut
                | ConnectErrorKind::Dns
                | ConnectErrorKind::Io
                | ConnectErrorKind::MaxReconnects => link.is_away(),
            },
        }
        tokio::time::sleep(RECONNECT_DELAY_MAX).await;
    }
}

/// Returns whether a handshake failed; the client gives its reason as an error of input and output.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn options(config: &Config, link: Arc<Link>) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name(&config.client_name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(|attempt| {
            let doubled = Duration::from_millis(1 << attempt.min(10));
            doubled.min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            link.note(&event);
            ready(())
        });
    // Beside the system's authorities.
    let options = match &config.ca {
        None => options,
        Some(ca) => options.add_root_certificates(ca.clone()),
    };
    match config.credentials.clone().or_else(|| config.servers.credentials()) {
        None => options,
        // An inbox of its own, so that no user may read another's answers (nats.md 4).
        Some(credentials) => options
            .custom_inbox_prefix(format!("_INBOX_{}", subject_token(&credentials.user)))
            .user_and_password(credentials.user, credentials.password.expose().to_owned()),
    }
}

/// What the client's events say about the connection. The events channel may drop some (nats.md 6.2), so the newest
/// state counts and nothing is summed up from them.
#[derive(Debug)]
struct Link {
    servers: String,
    state: watch::Sender<Connection>,
    away: Mutex<Away>,
}

/// Since when NATS is away, and when that was last said.
#[derive(Clone, Copy, Debug, Default)]
struct Away {
    epochs: u64,
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Link {
    fn new(config: &Config) -> Self {
        let (state, _) = watch::channel(Connection::Away);
        Self { servers: config.servers.to_string(), state, away: Mutex::default() }
    }

    fn note(&self, event: &Event) {
        match event {
            Event::Connected => self.is_back(),
            Event::Disconnected => {
                self.state.send_replace(Connection::Away);
                self.is_away();
            }
            Event::ServerError(refusal) => {
                // A denied permission is told nowhere else: the call itself just times out (nats.md 6.2).
                error!(servers = %self.servers, %refusal, "NATS refused something");
            }
            Event::ClientError(problem) => {
                debug!(%problem, "NATS client problem");
                if *self.state.borrow() == Connection::Away {
                    self.is_away();
                }
            }
            Event::SlowConsumer(subscription) => {
                warn!(subscription, "messages were dropped because they were not read fast enough");
            }
            Event::LameDuckMode => info!(servers = %self.servers, "NATS is about to shut down"),
            Event::Draining | Event::Closed => debug!(%event, "NATS connection ends"),
        }
    }

    fn is_away(&self) {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.since.get_or_insert(now);
        if away.said.is_none_or(|said| now.duration_since(said) >= AWAY_LOG_INTERVAL) {
            away.said = Some(now);
            warn!(servers = %self.servers, "NATS does not answer; retrying");
        }
    }

    fn is_back(&self) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.epochs += 1;
        away.said = None;
        match away.since.take() {
            Some(since) => {
                let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(servers = %self.servers, away_ms, "NATS answers again");
            }
            None => info!(servers = %self.servers, "connected to NATS"),
        }
        self.state.send_replace(Connection::Up { epoch: away.epochs });
    }
}
