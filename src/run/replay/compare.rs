//! What other rules would have told: the episodes of two replays side by side.
//!
//! An episode is what a person hears of as one thing: a large liquidation, a cascade from start to end, an explosion with
//! its rises. Episodes of the two replays are the same when they are of one base, kind and direction and overlap in venue
//! time; large liquidations when they are of the same liquidation.

mod report;

use std::collections::BTreeMap;

use anyhow::ensure;
use schemas::{
    alert::{Alert, Direction, Finding, Phase, Priority},
    id::Id,
    name::Base,
    time::EventTime,
};

pub(super) use self::report::Report;

/// Most episodes of one replay that are compared, some 30 MB. Beyond it the command fails and says so.
const EPISODES_MAX: usize = 100_000;

/// What episodes are told apart by, beside their base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Cascade,
    Explosion(Direction),
    /// Of this liquidation.
    LargeLiquidation(Id),
}

/// One thing that alerts told of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Episode {
    /// Of its first alert.
    alert: Id,
    from: EventTime,
    /// When it ended, else one window after its last alert.
    until: EventTime,
    /// The highest of its alerts.
    priority: Priority,
    /// Its first alert fired in the range that was asked for.
    in_range: bool,
}

impl Episode {
    fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.until && other.from <= self.until
    }
}

/// The episodes of one replay: of each thing in order of time, and one after the other.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    by_thing: BTreeMap<(Base, What), Vec<Episode>>,
    count: usize,
}

impl Episodes {
    /// Takes the next alert of the replay.
    ///
    /// # Errors
    /// When there are too many episodes.
    pub(super) fn take(&mut self, alert: &Alert, in_range: bool) -> anyhow::Result<()> {
        let (what, phase) = match &alert.finding {
            Finding::LargeLiquidation(_) => (What::LargeLiquidation(alert.trigger), Phase::Started),
            Finding::Cascade(cascade) => (What::Cascade, cascade.phase),
            Finding::OiExplosion(explosion) => (What::Explosion(explosion.direction), explosion.phase),
        };
        let window_ms = match what {
            What::LargeLiquidation(_) => 0,
            What::Cascade | What::Explosion(_) => i64::try_from(alert.window_ms).unwrap_or(i64::MAX),
        };
        let episodes = self.by_thing.entry((alert.base.clone(), what)).or_default();
        // The start of what goes on is missing where a fold began in the middle of it.
        if phase == Phase::Started || episodes.is_empty() {
            self.count += 1;
            ensure!(
                self.count <= EPISODES_MAX,
                "more than {EPISODES_MAX} alerts cannot be compared; a shorter range or stricter rules give fewer"
            );
            let (alert, from, priority) = (alert.id, alert.event_time, alert.priority);
            episodes.push(Episode { alert, from, until: from, priority, in_range });
        }
        if let Some(episode) = episodes.last_mut() {
            episode.priority = episode.priority.max(alert.priority);
            episode.until = match phase {
                Phase::Started | Phase::Escalated | Phase::Updated => alert.event_time.plus_millis(window_ms),
                Phase::Ended => alert.event_time,
            };
        }
        Ok(())
    }
}

/// What became of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    base: Base,
    what: What,
    fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Both {
        before: Episode,
        after: Episode,
    },
    /// Only the other rules tell it.
    Added {
        after: Episode,
        /// When the episode began that it was a part of.
        part_of: Option<EventTime>,
    },
    /// The other rules do not tell it.
    Lost {
        before: Episode,
        /// When the episode began that it would be a part of.
        part_of: Option<EventTime>,
    },
}

/// Pairs the episodes of the rules in force and of the other rules; those that begin in the range, in order of time.
fn pairs(mut before: Episodes, mut after: Episodes) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let things = before.by_thing.keys().chain(after.by_thing.keys()).cloned();
    for thing in things.collect::<std::collections::BTreeSet<_>>() {
        let of = |episodes: &mut Episodes| episodes.by_thing.remove(&thing).unwrap_or_default();
        let fates = fates(&of(&mut before), &of(&mut after));
        let (base, what) = thing;
        pairs.extend(fates.into_iter().map(|fate| Pair { base: base.clone(), what, fate }));
    }
    pairs.retain(|pair| pair.fate.is_in_range());
    pairs.sort_by_key(|pair| pair.fate.at());
    pairs
}

/// Pairs the episodes of one thing, each with the first that overlaps it. What overlaps one that has its pair is a part of it.
fn fates(before: &[Episode], after: &[Episode]) -> Vec<Fate> {
    let mut fates = Vec::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    // The last of each side: an episode without a pair can only be a part of that.
    let (mut last_old, mut last_new): (Option<&Episode>, Option<&Episode>) = (None, None);
    let part_of =
        |episode: &Episode, last: Option<&Episode>| last.filter(|last| last.overlaps(episode)).map(|last| last.from);
    loop {
        let (is_old, is_new) = match (old.peek(), new.peek()) {
            (None, None) => return fates,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(before), Some(after)) if before.overlaps(after) => (true, true),
            (Some(before), Some(after)) => (before.from < after.from, before.from >= after.from),
        };
        let (next_old, next_new) = (old.next_if(|_| is_old), new.next_if(|_| is_new));
        fates.extend(match (next_old, next_new) {
            (Some(before), Some(after)) => Some(Fate::Both { before: before.clone(), after: after.clone() }),
            (Some(before), None) => Some(Fate::Lost { before: before.clone(), part_of: part_of(before, last_new) }),
            (None, Some(after)) => Some(Fate::Added { after: after.clone(), part_of: part_of(after, last_old) }),
            (None, None) => None,
        });
        (last_old, last_new) = (next_old.or(last_old), next_new.or(last_new));
    }
}

impl Fate {
    fn is_in_range(&self) -> bool {
        match self {
            Self::Both { before, after } => before.in_range || after.in_range,
            Self::Added { after: episode, .. } | Self::Lost { before: episode, .. } => episode.in_range,
        }
    }

    /// Returns when the thing begins with the rules in force, else with the others.
    const fn at(&self) -> EventTime {
        match self {
            Self::Both { before: episode, .. }
            | Self::Added { after: episode, .. }
            | Self::Lost { before: episode, .. } => episode.from,
        }
    }
}

#[cfg(test)]
mod tests;
