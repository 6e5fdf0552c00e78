//! What is in force, and why: fit to be shown, secrets masked.

use std::fmt::{self, Display, Write as _};

use serde_json::{Map, Value, json};

use super::{Settings, keys::Key};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the default, or unset.
    Default,
    /// The configuration file.
    File,
    /// The variable of this name.
    Environment(String),
    /// The flag of this name, dashes included.
    Flag(&'static str),
}

impl Origin {
    /// Returns the name under which the user wrote the key `path`.
    pub(super) fn name(&self, path: &str) -> String {
        match self {
            Self::Default | Self::File => path.to_owned(),
            Self::Environment(_) | Self::Flag(_) => self.to_string(),
        }
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment(name) => name,
            Self::Flag(name) => name,
        })
    }
}

/// One key as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Dotted path of the key in the file.
    pub key: &'static str,
    /// Its value, masked where secret; absent when unset.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

impl Effective {
    pub(super) fn new(key: &Key, value: Option<&str>, origin: Origin) -> Self {
        Self { key: key.path, value: value.map(ToOwned::to_owned), origin }
    }
}

impl Settings {
    /// Returns the effective configuration as JSON: per key its value and where it came from, then the rules.
    pub fn describe(&self) -> Value {
        let line = |line: &Effective| {
            let shown = json!({ "value": line.value, "from": line.origin.to_string() });
            (line.key.to_owned(), shown)
        };
        let settings: Map<String, Value> = self.effective.iter().map(line).collect();
        json!({
            "file": self.file.as_ref().map(|path| path.display().to_string()),
            "settings": settings,
            "rules": { "configured": self.rules.is_some(), "text": self.rules_in_force().to_toml() },
        })
    }

    /// Returns the effective configuration as a table for people, the rules in their file form below it.
    pub fn describe_text(&self) -> String {
        let shown = |line: &Effective| {
            line.value.as_deref().map_or_else(|| "-".to_owned(), |value| value.escape_debug().to_string())
        };
        let rows: Vec<_> = self.effective.iter().map(|line| (line.key, shown(line), line.origin.to_string())).collect();
        let keys = rows.iter().map(|row| row.0.len()).max().unwrap_or_default();
        let values = rows.iter().map(|row| row.1.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for (key, value, origin) in rows {
            writeln!(text, "{key:keys$}  {value:values$}  {origin}").expect("writing to a string does not fail");
        }
        let source = if self.rules.is_some() { "configured" } else { "as shipped" };
        write!(text, "\n# rules, {source}\n{}", self.rules_in_force().to_toml())
            .expect("writing to a string does not fail");
        text
    }
}
