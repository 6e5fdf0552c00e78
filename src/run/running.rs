//! How other commands find the private broker of a running `up`: a file in the state folder, readable by its owner only.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nats::{Credentials, Limits, Market, Replicas};
use schemas::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::{
    config::{self, Settings},
    exit::UsageError,
};

/// The private broker of a running `up`, and what it is used for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// `nats://host:port`.
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// The prefix of all names.
    pub(crate) prefix: String,
    /// `live` or `recorded`.
    pub(crate) market: String,
}

/// Removes the file again when `up` ends.
pub(crate) struct Published(PathBuf);

impl Drop for Published {
    fn drop(&mut self) {
        // A file that stays only makes other commands wait for a server that is gone.
        let _ = fs::remove_file(&self.0);
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("running.json")
}

/// Creates the state folder, readable by its owner only.
pub(crate) fn create_state_dir(state_dir: &Path) -> anyhow::Result<()> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    created.with_context(|| format!("the state folder {} cannot be created", state_dir.display()))
}

/// Says where the private broker is, for as long as the value lives.
pub(crate) fn publish(state_dir: &Path, running: &Running) -> anyhow::Result<Published> {
    let (path, fresh) = (path(state_dir), state_dir.join("running.json.new"));
    let text = serde_json::to_string(running).context("the place of the broker cannot be written down")?;
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, &path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Published(path))
}

fn find(state_dir: &Path) -> anyhow::Result<Option<Running>> {
    let path = path(state_dir);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Returns how to connect: to the configured broker, else to the private one of a running `up`.
pub(crate) fn nats_config(settings: &Settings, client: &str) -> anyhow::Result<nats::Config> {
    let client_name = format!("foreshock-{client}-{}", settings.instance);
    if !settings.nats.servers.is_empty() {
        return Ok(nats::Config {
            servers: settings.nats.servers.join(",").parse()?,
            credentials: settings.nats.credentials.as_ref().map(|credentials| Credentials {
                user: credentials.user.clone(),
                password: credentials.password.clone(),
            }),
            ca: settings.nats.ca.clone(),
            names: settings.nats.names.clone(),
            client_name,
            replicas: if settings.nats.replicas == 3 { Replicas::Three } else { Replicas::One },
            market: market(settings.market),
            limits: Limits::DEFAULT,
        });
    }
    let running = find(&settings.state_dir)?.ok_or_else(|| {
        UsageError(format!(
            "no broker: set NATS_URL, or start `foreshock up` (nothing is running in {})",
            settings.state_dir.display()
        ))
    })?;
    private(&running, client_name)
}

/// Returns how to connect to a private broker.
pub(crate) fn private(running: &Running, client_name: String) -> anyhow::Result<nats::Config> {
    Ok(nats::Config {
        servers: running.url.parse()?,
        credentials: Some(Credentials { user: running.user.clone(), password: Secret::new(running.password.clone()) }),
        ca: None,
        names: running.prefix.parse()?,
        client_name,
        replicas: Replicas::One,
        market: running.market.parse()?,
        limits: Limits::DEFAULT,
    })
}

pub(crate) const fn market(market: config::Market) -> Market {
    match market {
        config::Market::Live => Market::Live,
        config::Market::Recorded => Market::Recorded,
    }
}
