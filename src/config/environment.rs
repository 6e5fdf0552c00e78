//! The world outside as a value: environment variables and files, which a test replaces.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Longest configuration or secret file read, in bytes: far above any real one. A longer file is refused.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Environment variables, and the files configuration may read.
pub struct Environment {
    variables: BTreeMap<String, String>,
    files: Files,
}

enum Files {
    Disk,
    Given(BTreeMap<PathBuf, String>),
}

impl Environment {
    /// Returns this process's variables and the file system.
    ///
    /// A name or value that is no UTF-8 is read with replacement characters.
    pub fn from_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { variables, files: Files::Disk }
    }

    /// Returns an environment of the given variables and files alone.
    pub fn from_pairs(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let files = files.iter().map(|&(path, text)| (path.into(), text.to_owned())).collect();
        Self { variables, files: Files::Given(files) }
    }

    /// Returns a variable without surrounding space. An empty one counts as unset, for compose files pass `${NAME:-}`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns the names of all variables, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Returns the text of a file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        match &self.files {
            Files::Disk => read_file(path),
            Files::Given(files) => files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}
