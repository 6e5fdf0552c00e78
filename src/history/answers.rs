//! What can be asked.

use std::collections::BTreeMap;

use rusqlite::{ToSql, types::Null};
use schemas::{alert::Kind, name::Base};
use serde::Serialize;

use super::{HistoryError, Model};

/// What is asked about: alerts of a time and, if wanted, of one base and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// First moment, venue time, milliseconds since 1970 UTC.
    pub(crate) since: i64,
    /// The moment after the last one.
    pub(crate) until: i64,
    pub(crate) base: Option<Base>,
    pub(crate) kind: Option<Kind>,
}

/// The alerts of a range: what every question selects from.
const SELECTED: &str = "SELECT * FROM alert
  WHERE event_time >= ?1 AND event_time < ?2 AND (?3 IS NULL OR base = ?3) AND (?4 IS NULL OR kind = ?4)";

impl Range {
    fn ask<T>(&self, ask: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        let (base, kind) = (self.base.as_ref().map(Base::as_str), self.kind.map(Kind::as_str));
        let base: &dyn ToSql = base.as_ref().map_or(&Null, |base| base);
        let kind: &dyn ToSql = kind.as_ref().map_or(&Null, |kind| kind);
        ask(&[&self.since, &self.until, base, kind])
    }
}

/// Percentiles of a time, in milliseconds; absent of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: Option<i64>,
    pub(crate) p90: Option<i64>,
    pub(crate) p99: Option<i64>,
}

impl Percentiles {
    /// Returns those of values with their counts, in the order of the values.
    fn of(counts: &[(i64, u64)]) -> Self {
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let at = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            counts.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            })
        };
        let at = |percent| at(percent).map(|(value, _)| *value);
        Self { p50: at(50), p90: at(90), p99: at(99) }
    }
}

/// Figures of some alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Alerts, every phase.
    pub(crate) alerts: u64,
    /// What began: alerts that are no later phase of another.
    pub(crate) began: u64,
    /// Decisions by reason, over all recipients.
    pub(crate) decided: BTreeMap<String, u64>,
    /// Messages that were to be sent.
    pub(crate) due: u64,
    /// Those the channel accepted.
    pub(crate) sent: u64,
    /// Those that were not, by reason; what is still on its way is missing.
    pub(crate) not_sent: BTreeMap<String, u64>,
    /// Calls made, edits aside.
    pub(crate) attempts: u64,
    /// Calls that did not arrive and were made again, by reason.
    pub(crate) deferred: BTreeMap<String, u64>,
    /// Messages changed.
    pub(crate) edited: u64,
    /// From the venue's time to detection, milliseconds; of a live market.
    pub(crate) detected_ms: Percentiles,
    /// From the venue's time to the channel's acceptance, milliseconds; of a live market.
    pub(crate) accepted_ms: Percentiles,
    /// Ratings of people, the last of each.
    pub(crate) rated: u64,
    /// Those that say useful.
    pub(crate) useful: u64,
}

/// By what alerts are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// Base asset.
    Base,
    /// Kind of alert.
    Kind,
    /// Priority.
    Priority,
    /// UTC day.
    Day,
    /// UTC hour.
    Hour,
}

impl GroupBy {
    /// Returns the name of the column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Kind => "kind",
            Self::Priority => "priority",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// Returns the SQL of the group an alert is in.
    const fn expression(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Kind => "kind",
            Self::Priority => "priority",
            Self::Day => "strftime('%Y-%m-%d', event_time / 1000, 'unixepoch')",
            Self::Hour => "strftime('%Y-%m-%d %H:00', event_time / 1000, 'unixepoch')",
        }
    }
}

/// Some alerts that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) summary: Summary,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Venue time, milliseconds since 1970 UTC.
    pub(crate) event_time: i64,
    pub(crate) base: String,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    pub(crate) priority: String,
    /// Its most important figure.
    pub(crate) headline: String,
    /// The figures of this alert alone.
    #[serde(flatten)]
    pub(crate) summary: Summary,
}

impl Model {
    /// Returns the figures of all alerts in a range.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn summary(&self, range: &Range) -> Result<Summary, HistoryError> {
        Ok(self.groups_of("''", range)?.pop_first().map(|(_, summary)| summary).unwrap_or_default())
    }

    /// Returns the figures of a range in groups, in the order of their names.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn groups(&self, by: GroupBy, range: &Range) -> Result<Vec<Group>, HistoryError> {
        let groups = self.groups_of(by.expression(), range)?;
        Ok(groups.into_iter().map(|(name, summary)| Group { name, summary }).collect())
    }

    /// Returns the newest alerts of a range, oldest first, at most `count`.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn rows(&self, range: &Range, count: usize) -> Result<Vec<Row>, HistoryError> {
        let mut summaries = self.groups_of("id", range)?;
        let question = format!("{SELECTED} ORDER BY event_time DESC, id DESC LIMIT {count}");
        let mut statement = self.db.prepare(&question)?;
        let rows = range.ask(|values| {
            statement
                .query_map(values, |row| {
                    let id: String = row.get("id")?;
                    Ok(Row {
                        summary: summaries.remove(&id).unwrap_or_default(),
                        id,
                        event_time: row.get("event_time")?,
                        base: row.get("base")?,
                        kind: row.get("kind")?,
                        phase: row.get("phase")?,
                        priority: row.get("priority")?,
                        headline: row.get("headline")?,
                    })
                })?
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(rows.into_iter().rev().collect())
    }

    /// Returns how often something began, by base and kind.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn began(&self, range: &Range) -> Result<BTreeMap<(Base, Kind), u64>, HistoryError> {
        const KINDS: [Kind; 3] = [Kind::LargeLiquidation, Kind::Cascade, Kind::OiExplosion];
        let mut began = BTreeMap::new();
        for kind in KINDS.into_iter().filter(|kind| range.kind.is_none_or(|only| only == *kind)) {
            for (base, summary) in self.groups_of("base", &Range { kind: Some(kind), ..range.clone() })? {
                // What was stored is a base.
                began.extend(base.parse().ok().map(|base| ((base, kind), summary.began)));
            }
        }
        began.retain(|_, count| *count > 0);
        Ok(began)
    }

    /// Returns figures by the value of an SQL expression over alerts.
    fn groups_of(&self, group: &str, range: &Range) -> Result<BTreeMap<String, Summary>, HistoryError> {
        let mut groups: BTreeMap<String, Summary> = BTreeMap::new();
        let alerts =
            format!("SELECT {group}, count(*), sum(phase IS NULL OR phase = 'started') FROM ({SELECTED}) GROUP BY 1");
        self.each(&alerts, range, |name, row| {
            let summary = groups.entry(name).or_default();
            (summary.alerts, summary.began) = (row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        let counters = |table: &str, name: &str| {
            format!(
                "SELECT {group}, {name}, sum(count) FROM ({SELECTED}) AS chosen JOIN {table} ON alert = chosen.id
                 GROUP BY 1, 2 ORDER BY 1, 2"
            )
        };
        self.each(&counters("decided", "reason"), range, |name, row| {
            groups.entry(name).or_default().decided.insert(row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        self.each(&counters("outcome", "name"), range, |name, row| {
            groups.entry(name).or_default().note(row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        let ratings = format!(
            "SELECT {group}, count(*), sum(useful) FROM ({SELECTED}) AS chosen JOIN rating ON alert = chosen.id GROUP BY 1"
        );
        self.each(&ratings, range, |name, row| {
            let summary = groups.entry(name).or_default();
            (summary.rated, summary.useful) = (row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        let detected = format!(
            "SELECT {group}, detected_ms, count(*) FROM ({SELECTED}) WHERE detected_ms NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        );
        for (name, times) in self.times(&detected, range)? {
            groups.entry(name).or_default().detected_ms = Percentiles::of(&times);
        }
        for (name, times) in self.times(&counters("latency", "ms"), range)? {
            groups.entry(name).or_default().accepted_ms = Percentiles::of(&times);
        }
        Ok(groups)
    }

    fn times(&self, question: &str, range: &Range) -> Result<BTreeMap<String, Vec<(i64, u64)>>, HistoryError> {
        let mut times: BTreeMap<String, Vec<_>> = BTreeMap::new();
        self.each(question, range, |name, row| {
            times.entry(name).or_default().push((row.get(1)?, row.get(2)?));
            Ok(())
        })?;
        Ok(times)
    }

    fn each(
        &self,
        question: &str,
        range: &Range,
        mut take: impl FnMut(String, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), HistoryError> {
        let mut statement = self.db.prepare(question)?;
        range.ask(|values| {
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                take(row.get(0)?, row)?;
            }
            Ok(())
        })
    }
}

impl Summary {
    fn note(&mut self, name: String, count: u64) {
        match (name.as_str(), name.strip_prefix("deferred:")) {
            (_, Some(reason)) => drop(self.deferred.insert(reason.to_owned(), count)),
            ("due", _) => self.due = count,
            ("sent", _) => self.sent = count,
            ("attempt", _) => self.attempts = count,
            ("edited", _) => self.edited = count,
            // The message of an episode was deleted: no message of its own.
            ("gone", _) => {}
            _ => drop(self.not_sent.insert(name, count)),
        }
    }

    /// Returns messages on their way: due, and neither accepted nor given up.
    pub(crate) fn on_the_way(&self) -> u64 {
        self.due.saturating_sub(self.sent + self.not_sent.values().sum::<u64>())
    }
}
