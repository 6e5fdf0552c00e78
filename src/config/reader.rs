//! Four layers, one reader: a key's text is looked up in flags, environment, file and defaults, in this order.

use std::path::Path;

use schemas::secret::{MASK, Secret};
use toml::{Table, Value};

use super::{
    Effective, Environment, Flags, Origin,
    keys::{self, Key, Kind},
};

/// Longest part of a value shown in a message, in characters; the rest is cut.
const SHOWN_CHARS_MAX: usize = 100;

/// Reads keys, collecting every mistake. A key in error yields its default, which is never used.
pub(super) struct Reader<'a> {
    /// The file without its rules.
    pub(super) file: &'a Table,
    pub(super) environment: &'a Environment,
    pub(super) flags: &'a Flags,
    pub(super) problems: Vec<String>,
    pub(super) effective: Vec<Effective>,
}

/// A key's text before it is understood; there is none when the file holds another form than the key's kind.
struct Raw {
    text: Option<String>,
    shown: String,
    origin: Origin,
}

impl Reader<'_> {
    /// Reads a key that has a default.
    pub(super) fn value<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Option<T>) -> T {
        let default = key.default.expect("a key read as `value` has a default");
        self.value_or(key, default, parse)
    }

    /// Reads a key whose default depends on the environment.
    pub(super) fn value_or<T>(&mut self, key: &Key, default: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let value = self.read(key, Some(default), &parse);
        value.or_else(|| parse(default)).expect("defaults are valid: tests read each of them")
    }

    /// Reads a key that may be unset.
    pub(super) fn optional<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.read(key, None, &parse)
    }

    fn read<T>(&mut self, key: &Key, default: Option<&str>, parse: &impl Fn(&str) -> Option<T>) -> Option<T> {
        let Some(raw) = self.raw(key) else {
            self.effective.push(Effective::new(key, default, Origin::Default));
            return default.and_then(parse);
        };
        let value = raw.text.as_deref().and_then(parse);
        if value.is_none() {
            self.problem(&raw.origin.name(key.path), Some(&raw.shown), key.valid);
        }
        self.effective.push(Effective::new(key, Some(&raw.shown), raw.origin));
        value
    }

    fn raw(&self, key: &Key) -> Option<Raw> {
        let raw = |text: &str, origin| Raw { text: Some(text.to_owned()), shown: shown(key, text), origin };
        if let Some(flag) = key.flag
            && let Some(text) = self.flags.get(flag)
        {
            return Some(raw(text.trim(), Origin::Flag(flag)));
        }
        if let Some(text) = self.environment.get(key.env) {
            return Some(raw(text, Origin::Environment(key.env.to_owned())));
        }
        let value = find(self.file, key.path)?;
        Some(match text_of(key.kind, value) {
            Some(text) => raw(text.trim(), Origin::File),
            None => Raw { text: None, shown: shown(key, &value.to_string()), origin: Origin::File },
        })
    }

    /// Reads a secret from its variable, or from the file that a variable or the configuration file names.
    pub(super) fn secret(&mut self, key: &Key, parse: impl Fn(&str) -> Option<Secret>) -> Option<Secret> {
        let environment = self.environment;
        let (variable, path_variable, path_key) = (key.env, key.file_variable(), key.file_path());
        let (text, origin) = match (environment.get(variable), environment.get(&path_variable)) {
            (Some(_), Some(_)) => {
                self.problems.push(format!("{variable} and {path_variable} are both set: set one of them"));
                return None;
            }
            (Some(text), None) => (Some(text.to_owned()), Origin::Environment(variable.to_owned())),
            (None, Some(path)) => (self.text_in(&path_variable, path), Origin::Environment(path_variable)),
            (None, None) => match find(self.file, &path_key) {
                Some(Value::String(path)) => (self.text_in(&path_key, path), Origin::File),
                Some(value) => {
                    self.problem(&path_key, Some(&value.to_string()), "a path");
                    return None;
                }
                None => {
                    self.effective.push(Effective::new(key, None, Origin::Default));
                    return None;
                }
            },
        };
        let secret = parse(&text?);
        if secret.is_none() {
            self.problem(&origin.name(&path_key), None, key.valid);
        }
        self.effective.push(Effective::new(key, Some(MASK), origin));
        secret
    }

    fn text_in(&mut self, name: &str, path: &str) -> Option<String> {
        let shown = path.escape_debug();
        match self.environment.read(Path::new(path)) {
            Ok(text) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Ok(_) => self.problems.push(format!("{name} is \"{shown}\": that file is empty")),
            Err(error) => self.problems.push(format!("{name} is \"{shown}\": that file cannot be read ({error})")),
        }
        None
    }

    /// Returns whether anything but a default stands for the key, valid or not.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        key.flag.is_some_and(|flag| self.flags.contains_key(flag))
            || key.variables().iter().any(|name| self.environment.get(name).is_some())
            || find(self.file, &key.file_path()).is_some()
    }

    /// Replaces what is shown of the key read last.
    pub(super) fn show(&mut self, shown: String) {
        if let Some(last) = self.effective.last_mut() {
            last.value = Some(shown);
        }
    }

    /// Adds the mistake that `name` is `shown` where something else is expected.
    pub(super) fn problem(&mut self, name: &str, shown: Option<&str>, expected: &str) {
        let is = shown.map_or_else(String::new, |shown| {
            let cut: String = shown.chars().take(SHOWN_CHARS_MAX).collect();
            format!(" is \"{}\"", cut.escape_debug())
        });
        self.problems.push(format!("{name}{is}: {expected} is expected"));
    }

    /// Finds what nobody reads: keys of the file, and variables with our own start.
    pub(super) fn refuse_unknown(&mut self) {
        let paths: Vec<String> = keys::ALL.iter().map(|key| key.file_path()).collect();
        self.refuse_unknown_keys(self.file, "", &paths);
        let known: Vec<String> = keys::ALL.iter().flat_map(|key| key.variables()).collect();
        let own = |name: &str| name.starts_with(keys::OWN_VARIABLES) && name != keys::TEST_DATA;
        let valid: Vec<&str> = known.iter().map(String::as_str).filter(|name| own(name)).collect();
        for name in self.environment.names().filter(|name| own(name) && !valid.contains(name)) {
            self.problems.push(format!("{} is unknown: valid are {}", name.escape_debug(), valid.join(", ")));
        }
    }

    fn refuse_unknown_keys(&mut self, table: &Table, under: &str, paths: &[String]) {
        for (name, value) in table {
            let path = format!("{under}{name}");
            let section = format!("{path}.");
            match value.as_table() {
                _ if paths.contains(&path) => {}
                Some(inner) if paths.iter().any(|known| known.starts_with(&section)) => {
                    self.refuse_unknown_keys(inner, &section, paths);
                }
                Some(_) | None => {
                    let expected = match keys::ALL.iter().find(|key| key.path == path) {
                        Some(key) => {
                            format!("a secret stands in {} or in a file that {} names", key.env, key.file_path())
                        }
                        None => format!("valid are {}", siblings(under, paths).join(", ")),
                    };
                    self.problems.push(format!("{} is unknown: {expected}", path.escape_debug()));
                }
            }
        }
    }
}

/// Returns the names valid directly under a section.
fn siblings<'a>(under: &str, paths: &'a [String]) -> Vec<&'a str> {
    let mut names: Vec<_> = paths.iter().filter_map(|path| path.strip_prefix(under)?.split('.').next()).collect();
    if under.is_empty() {
        names.push(keys::LIQUIDATION);
    }
    names.dedup();
    names
}

fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

/// Returns a value of the file as the text a variable would hold.
fn text_of(kind: Kind, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(value.to_string()),
        Value::Array(items) if kind == Kind::List => {
            let items: Option<Vec<String>> = items.iter().map(|item| text_of(Kind::Value, item)).collect();
            items.map(|items| items.join(","))
        }
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// Returns a value as it may be shown: a URL that could hold a password or a token in a query is masked.
fn shown(key: &Key, text: &str) -> String {
    let may_hold_secret = match key.kind {
        Kind::Value | Kind::List => false,
        Kind::Url => text.contains(['@', '?']),
        Kind::Secret => true,
    };
    if may_hold_secret { MASK.to_owned() } else { text.to_owned() }
}
