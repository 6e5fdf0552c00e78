//! What was found and told, as figures: a read model in SQLite, folded from ALERTS and DELIVERIES.
//!
//! It holds nothing that the streams do not say, so it may be thrown away at any time and made again with the same answers.
//! A fold is a transaction together with the places it reached, so folding goes on where it left off after any crash.
//! There is one row an alert and a few counters beside it, whatever the number of recipients; only what is on its way to
//! a recipient has a row of its own, until it ends.

mod answers;
mod fold;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use schemas::position::{Created, Sequence};

pub(crate) use self::{
    answers::{Group, GroupBy, Percentiles, Range, Row, Summary},
    fold::Fold,
};

/// Version of the tables; a database of another one is made anew.
const VERSION: i64 = 1;

/// Memory SQLite may keep pages in, in KiB.
const CACHE_KIB: i64 = 2048;

/// The tables. Ids are as in the streams, people and recipients hashed, times milliseconds since 1970 UTC.
const TABLES: &str = "
CREATE TABLE place (stream TEXT PRIMARY KEY, created INTEGER NOT NULL, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alert (
  id TEXT PRIMARY KEY, base TEXT NOT NULL, kind TEXT NOT NULL, phase TEXT, priority TEXT NOT NULL,
  event_time INTEGER NOT NULL, detected_ms INTEGER, headline TEXT NOT NULL, place INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_time ON alert (event_time);
CREATE TABLE decision (alert TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE decided (alert TEXT, reason TEXT, count INTEGER NOT NULL, PRIMARY KEY (alert, reason)) WITHOUT ROWID;
CREATE TABLE open (alert TEXT, recipient TEXT, place INTEGER NOT NULL, PRIMARY KEY (alert, recipient)) WITHOUT ROWID;
CREATE TABLE outcome (alert TEXT, name TEXT, count INTEGER NOT NULL, PRIMARY KEY (alert, name)) WITHOUT ROWID;
CREATE TABLE latency (alert TEXT, ms INTEGER, count INTEGER NOT NULL, PRIMARY KEY (alert, ms)) WITHOUT ROWID;
CREATE TABLE rating (alert TEXT, person TEXT, useful INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (alert, person)) WITHOUT ROWID;
";

/// Forgets what the streams hold no more: of ALERTS before ?1, of DELIVERIES before ?2. An alert's deliveries go with its
/// decision, which is stored after their intents.
const PRUNE: [&str; 7] = [
    "DELETE FROM alert WHERE place < ?1 AND ?2 NOT NULL",
    "DELETE FROM decided WHERE ?1 NOT NULL AND alert IN (SELECT alert FROM decision WHERE place < ?2)",
    "DELETE FROM outcome WHERE ?1 NOT NULL AND alert IN (SELECT alert FROM decision WHERE place < ?2)",
    "DELETE FROM latency WHERE ?1 NOT NULL AND alert IN (SELECT alert FROM decision WHERE place < ?2)",
    "DELETE FROM open WHERE ?1 NOT NULL AND place < ?2",
    "DELETE FROM rating WHERE ?1 NOT NULL AND place < ?2",
    "DELETE FROM decision WHERE ?1 NOT NULL AND place < ?2",
];

/// A history cannot be kept or asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// SQLite says no: a full disk, a file that is no database.
    #[error("the database of the history cannot be used; without --db none is needed")]
    Database(#[from] rusqlite::Error),
}

/// A stream the model is folded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Alerts,
    Deliveries,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Alerts => "ALERTS",
            Self::Deliveries => "DELIVERIES",
        }
    }
}

/// The read model.
#[derive(Debug)]
pub(crate) struct Model {
    db: Connection,
}

impl Model {
    /// Returns an empty model in memory.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn in_memory() -> Result<Self, HistoryError> {
        let model = Self { db: Connection::open_in_memory()? };
        model.clear()?;
        Ok(model)
    }

    /// Opens a file, or makes it. One of another version is made anew.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn open(file: &Path) -> Result<Self, HistoryError> {
        let model = Self { db: Connection::open(file)? };
        model.db.pragma_update(None, "cache_size", -CACHE_KIB)?;
        model.db.pragma_update(None, "journal_mode", "WAL")?;
        let version: i64 = model.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            model.clear()?;
        }
        Ok(model)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn clear(&self) -> Result<(), HistoryError> {
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let names: Vec<String> = self.db.prepare(names)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let drops: String = names.iter().map(|name| format!("DROP TABLE \"{name}\";")).collect();
        self.db.execute_batch(&format!("BEGIN; {drops} {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
        Ok(())
    }

    /// Forgets what the streams hold no more, so that a kept model answers as one made anew: `alerts` and `deliveries` are the
    /// first places they hold.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn prune(&mut self, alerts: Sequence, deliveries: Sequence) -> Result<(), HistoryError> {
        let transaction = self.db.transaction()?;
        for delete in PRUNE {
            transaction.execute(delete, params![alerts.get(), deliveries.get()])?;
        }
        Ok(transaction.commit()?)
    }

    /// Returns the next place of a stream to be folded; nothing when none of this stream, created then, was.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn next(&self, source: Source, created: Created) -> Result<Option<Sequence>, HistoryError> {
        let place = "SELECT next FROM place WHERE stream = ?1 AND created = ?2";
        let next = self.db.query_row(place, params![source.as_str(), created.as_nanos()], |row| row.get::<_, u64>(0));
        Ok(next.optional()?.map(Sequence::new))
    }

    /// Returns whether anything was folded.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn is_empty(&self) -> Result<bool, HistoryError> {
        Ok(self.db.query_row("SELECT count(*) = 0 FROM place", [], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests;
