//! Finding a nats-server of a version that is known to work.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::server::ServerError;

const NAME: &str = "nats-server";
/// nats.md is about this version.
const VERSION: &str = "v2.15.";
/// Where scripts/setup.sh puts it, below some folder upwards.
const TOOLS: &str = ".tools";

/// Where to look for the binary, in this order.
#[derive(Clone, Debug, Default)]
pub struct SearchPath {
    /// This one and no other.
    pub explicit: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// Folders in which, and above which, `.tools/nats-server` may lie: that of the executable, the current one.
    pub near: Vec<PathBuf>,
}

pub(super) async fn find(search: &SearchPath) -> Result<PathBuf, ServerError> {
    if let Some(path) = &search.explicit {
        return if is_wanted(path).await {
            Ok(path.clone())
        } else {
            Err(ServerError::WrongBinary { path: path.clone() })
        };
    }
    let in_path = search.path.iter().flat_map(std::env::split_paths).map(|folder| folder.join(NAME));
    let nearby = search.near.iter().flat_map(|folder| folder.ancestors()).map(|folder| folder.join(TOOLS).join(NAME));
    for candidate in in_path.chain(nearby) {
        if candidate.is_file() && is_wanted(&candidate).await {
            return Ok(candidate);
        }
    }
    Err(ServerError::NoBinary)
}

async fn is_wanted(binary: &Path) -> bool {
    let answer = Command::new(binary).arg("--version").kill_on_drop(true).output().await;
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains(VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_program_is_not_taken_for_it() {
        let explicit = Some(PathBuf::from("/bin/true"));
        let wrong = find(&SearchPath { explicit, ..SearchPath::default() }).await;
        assert!(matches!(wrong, Err(ServerError::WrongBinary { .. })));
        let nowhere = find(&SearchPath { near: vec![PathBuf::from("/bin")], ..SearchPath::default() }).await;
        assert!(matches!(nowhere, Err(ServerError::NoBinary)), "{nowhere:?}");
    }
}
