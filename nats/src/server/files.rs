//! The folder of a private server: its lock, configuration, pid, ports, log and store.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use schemas::{caps::MESSAGE_BYTES_MAX, secret::Secret};
use serde::Deserialize;

use crate::server::ServerError;

/// Name of the store within the folder.
const STORE: &str = "store";

/// An open folder. Its lock ends with this value, or with the process however that ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// The ports file of nats-server: lists of URLs.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ServerError> {
        let unusable = |source| ServerError::Folder { folder: path.to_owned(), source };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(unusable)?;
        // The server is found by its full configuration path, so that it does not matter from where this was started.
        let path = path.canonicalize().map_err(unusable)?;
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ServerError::InUse { folder: path }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("nats-server.conf")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("nats-server.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.path.join("nats-server.pid")
    }

    pub(super) fn error(&self, source: io::Error) -> ServerError {
        ServerError::Folder { folder: self.path.clone(), source }
    }

    /// Writes the server's configuration, readable by its owner only. Without a port the server chooses one.
    pub(super) fn write_config(&self, port: Option<u16>, user: &str, password: &Secret) -> Result<(), ServerError> {
        let text = config_text(&self.path, port, user, password);
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(self.config()).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| self.error(source))
    }

    /// Removes everything the server stored.
    pub(super) fn remove_store(&self) -> Result<(), ServerError> {
        match fs::remove_dir_all(self.path.join(STORE)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.error(source)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns the port the server `pid` wrote down, once it has.
    pub(super) fn port_of(&self, pid: u32) -> Option<u16> {
        let text = fs::read_to_string(self.path.join(format!("nats-server_{pid}.ports"))).ok()?;
        let ports: Ports = serde_json::from_str(&text).ok()?;
        ports.nats.first()?.rsplit(':').next()?.parse().ok()
    }

    /// Removes what a server that ended left behind: its pid and ports files.
    pub(super) fn forget_process(&self) {
        let ports = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        let ports = ports.filter(|path| path.extension().is_some_and(|extension| extension == "ports"));
        for file in ports.chain([self.pid_file()]) {
            // What is not there need not be removed, and what cannot be is overwritten by the next server.
            let _ = fs::remove_file(file);
        }
    }

    /// Returns the process of an earlier server of this folder that still runs. A pid alone proves nothing, because the
    /// system uses it again: the process must run with this folder's configuration.
    pub(super) fn stale_process(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config();
        let config = config.as_os_str().as_encoded_bytes();
        command.split(|byte| *byte == 0).any(|argument| argument == config).then_some(pid)
    }
}

fn config_text(folder: &Path, port: Option<u16>, user: &str, password: &Secret) -> String {
    let port = port.map_or(-1, i32::from);
    let folder = folder.display();
    let password = password.expose();
    format!(
        r#"# Written by foreshock at every start.
server_name: "foreshock"
listen: "127.0.0.1:{port}"
ports_file_dir: "{folder}"
pid_file: "{folder}/nats-server.pid"
log_file: "{folder}/nats-server.log"
logfile_size_limit: 1MB
logfile_max_num: 3
max_payload: {MESSAGE_BYTES_MAX}
authorization {{ user: "{user}", password: "{password}" }}
jetstream {{
  store_dir: "{folder}/{STORE}"
  max_file_store: 1GB
  max_memory_store: 16MB
  # What a power failure may take; fsync every second costs nothing measurable.
  sync_interval: "1s"
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("store");
        let first = Folder::open(&path).unwrap();
        assert!(matches!(Folder::open(&path), Err(ServerError::InUse { .. })));
        drop(first);
        assert!(Folder::open(&path).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn folder_and_password_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("store")).unwrap();
        folder.write_config(None, "me", &Secret::new("secret".to_owned())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&folder.config())), (0o700, 0o600));
    }

    #[test]
    fn a_process_that_is_no_server_of_this_folder_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("store")).unwrap();
        fs::write(folder.pid_file(), std::process::id().to_string()).unwrap();
        assert_eq!(folder.stale_process(), None);
    }
}
