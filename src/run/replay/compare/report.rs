//! A comparison as people and programs read it.

use std::fmt::Write as _;

use jiff::Timestamp;
use schemas::{
    alert::{Direction, Kind, Priority},
    id::Id,
    name::Base,
    time::EventTime,
};
use serde::Serialize;

use super::{Episode, Episodes, Fate, Pair, What, pairs};

/// What other rules would change.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::run::replay) struct Report {
    summary: Summary,
    differences: Vec<Difference>,
}

/// How many episodes changed how: one that begins earlier with another priority counts in both.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    added: u64,
    lost: u64,
    earlier: u64,
    later: u64,
    priority: u64,
    unchanged: u64,
}

/// One episode that is told otherwise.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    base: Base,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    changes: Vec<Change>,
    /// How much later it begins, in milliseconds of venue time; negative when earlier. Where both rules tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    shift_ms: Option<i64>,
    /// Where only one tells it: when the episode began in which the other rules have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    part_of: Option<EventTime>,
    /// With the rules in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Told>,
    /// With the other rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Added,
    Lost,
    Earlier,
    Later,
    Priority,
}

/// How an episode is told.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Told {
    /// Id of its first alert.
    alert: Id,
    /// Of its first alert.
    event_time: EventTime,
    /// The highest of its alerts.
    priority: Priority,
}

impl Report {
    /// Compares what the rules in force and the other rules tell.
    pub(in crate::run::replay) fn new(before: Episodes, after: Episodes) -> Self {
        let mut report = Self { summary: Summary::default(), differences: Vec::new() };
        for pair in pairs(before, after) {
            let difference = Difference::of(&pair);
            report.summary.count(&difference.changes);
            if !difference.changes.is_empty() {
                report.differences.push(difference);
            }
        }
        report
    }

    /// Returns a table for people, with the summary as its last line.
    pub(in crate::run::replay) fn text(&self) -> String {
        let mut text = String::new();
        if !self.differences.is_empty() {
            let bases = self.differences.iter().map(|difference| shown(&difference.base).chars().count());
            let width = bases.max().unwrap_or_default().max("base".len());
            let mut row = |base: &str, what: &str, time: &str, change: &str| {
                writeln!(text, "{base:<width$}  {what:<17}  {time:<24}  {change}")
                    .expect("writing to a string does not fail");
            };
            row("base", "kind", "time", "with the other rules");
            for difference in &self.differences {
                row(&shown(&difference.base), difference.what(), &difference.time(), &difference.text());
            }
            text.push('\n');
        }
        let Summary { added, lost, earlier, later, priority, unchanged } = self.summary;
        write!(
            text,
            "{added} added, {lost} lost, {earlier} earlier, {later} later, {priority} of another priority, \
             {unchanged} unchanged"
        )
        .expect("writing to a string does not fail");
        text
    }
}

impl Summary {
    fn count(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            self.unchanged += 1;
        }
        for change in changes {
            *match change {
                Change::Added => &mut self.added,
                Change::Lost => &mut self.lost,
                Change::Earlier => &mut self.earlier,
                Change::Later => &mut self.later,
                Change::Priority => &mut self.priority,
            } += 1;
        }
    }
}

impl Difference {
    fn of(pair: &Pair) -> Self {
        let (kind, direction) = match pair.what {
            What::LargeLiquidation(_) => (Kind::LargeLiquidation, None),
            What::Cascade => (Kind::Cascade, None),
            What::Explosion(direction) => (Kind::OiExplosion, Some(direction)),
        };
        let (changes, shift_ms, part_of, before, after) = match &pair.fate {
            Fate::Added { after, part_of } => (vec![Change::Added], None, *part_of, None, Some(after)),
            Fate::Lost { before, part_of } => (vec![Change::Lost], None, *part_of, Some(before), None),
            Fate::Both { before, after } => {
                let shift_ms = after.from.millis_since(before.from);
                let moved = match shift_ms {
                    ..0 => Some(Change::Earlier),
                    0 => None,
                    1.. => Some(Change::Later),
                };
                let priority = (before.priority != after.priority).then_some(Change::Priority);
                let changes = moved.into_iter().chain(priority).collect();
                (changes, Some(shift_ms), None, Some(before), Some(after))
            }
        };
        let (before, after) = (before.map(Told::of), after.map(Told::of));
        Self { base: pair.base.clone(), kind, direction, changes, shift_ms, part_of, before, after }
    }

    const fn what(&self) -> &'static str {
        match (self.kind, self.direction) {
            (Kind::LargeLiquidation, _) => "large liquidation",
            (Kind::Cascade, _) => "cascade",
            (Kind::OiExplosion, Some(Direction::Up)) => "explosion up",
            (Kind::OiExplosion, Some(Direction::Down)) => "explosion down",
            (Kind::OiExplosion, None) => "explosion",
        }
    }

    /// Returns when it is told with the rules in force, else with the others.
    fn time(&self) -> String {
        let told = self.before.as_ref().or(self.after.as_ref());
        told.map_or_else(String::new, |told| moment(told.event_time))
    }

    fn text(&self) -> String {
        let priority = |told: &Option<Told>| told.as_ref().map_or("", |told| name(told.priority));
        let span = || span(self.shift_ms.unwrap_or_default().unsigned_abs());
        let change = |change: &Change| match change {
            Change::Added => format!("added, {}", priority(&self.after)),
            Change::Lost => format!("lost, {}", priority(&self.before)),
            Change::Earlier => format!("earlier by {}", span()),
            Change::Later => format!("later by {}", span()),
            Change::Priority => format!("priority {} → {}", priority(&self.before), priority(&self.after)),
        };
        let part_of = self.part_of.map(|from| format!("part of the one at {}", moment(from)));
        self.changes.iter().map(change).chain(part_of).collect::<Vec<_>>().join(", ")
    }
}

impl Told {
    const fn of(episode: &Episode) -> Self {
        Self { alert: episode.alert, event_time: episode.from, priority: episode.priority }
    }
}

const fn name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}

/// A venue's name could disturb the lines of a terminal.
fn shown(base: &Base) -> String {
    base.as_str().escape_debug().to_string()
}

fn moment(time: EventTime) -> String {
    let moment = Timestamp::from_millisecond(time.as_millis());
    moment.map_or_else(|_| "at no time".to_owned(), |moment| moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Returns a length of time such as `120 ms`, `4.2 s`, `2 min 5 s`.
fn span(millis: u64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..59_950 => {
            let tenths = (millis + 50) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        59_950.. => {
            let seconds = millis.saturating_add(500) / 1_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_to_what_matters() {
        for (millis, shown) in [
            (1, "1 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (4_249, "4.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min 0 s"),
            (125_000, "2 min 5 s"),
        ] {
            assert_eq!(span(millis), shown);
        }
    }
}
