//! What a subscriber may not become, and how that is told.

use std::collections::BTreeSet;

use schemas::{
    name::Base,
    subscriber::{Preferences, QuietHours, Subscriber, Thresholds},
};

use super::{dollars, liquidations, percent};
use crate::{
    caps::{BASES_MAX, MUTES_MAX},
    commands::{
        facts::{Floor, Floors},
        phrase,
    },
    text::figures::shown,
};

/// A change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing is looked for in this base.
    #[error("{} is not watched here, only: {watched}", shown(.base.as_str()))]
    NotWatched {
        /// The base asset.
        base: Base,
        /// Those that are, for people.
        watched: String,
    },
    /// The rules look for nothing of this kind in this base.
    #[error("{what} of {} are not looked for here", shown(.base.as_str()))]
    NoRule {
        /// The base asset.
        base: Base,
        /// The kind, for people.
        what: &'static str,
    },
    /// A lower threshold would show nothing more: nothing below the rule is ever found.
    #[error("{what} of {} are looked for from {floor} on, so {asked} would change nothing", shown(.base.as_str()))]
    BelowRule {
        /// The base asset.
        base: Base,
        /// The kind, for people.
        what: &'static str,
        /// What was asked for.
        asked: String,
        /// The rule in force.
        floor: String,
    },
    /// Without the rules a threshold cannot be judged.
    #[error("the rules in force cannot be looked up just now")]
    NoRules,
    /// A bound of the list is reached.
    #[error("there is room for {max} {what} only")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// No calendar reaches so far.
    #[error("the end of the mute cannot be told")]
    NoEnd,
    /// A time zone or an hour of stored quiet hours is wrong.
    #[error("the quiet hours are not valid")]
    InvalidQuiet,
}

pub(super) fn bounded(count: usize, max: usize, what: &'static str) -> Result<(), Refused> {
    if count > max { Err(Refused::TooMany { what, max }) } else { Ok(()) }
}

pub(super) fn check_bases(
    preferences: &Preferences,
    named: &BTreeSet<Base>,
    floors: Option<&Floors>,
) -> Result<(), Refused> {
    for base in named {
        floors.map_or(Ok(()), |floors| floor_of(base, floors).map(drop))?;
    }
    bounded(preferences.bases.as_ref().map_or(0, BTreeSet::len), BASES_MAX, "symbols")
}

pub(super) fn floor_of<'a>(base: &Base, floors: &'a Floors) -> Result<&'a Floor, Refused> {
    let watched = || {
        let names: Vec<_> = floors.bases.keys().map(|base| shown(base.as_str())).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    floors.get(base).ok_or_else(|| Refused::NotWatched { base: base.clone(), watched: watched() })
}

pub(super) fn check_thresholds(base: &Base, own: &Thresholds, floor: &Floor) -> Result<(), Refused> {
    check(base, "large liquidations", own.single_usd, floor.single_usd, dollars)?;
    check(base, "cascades", own.cascade_usd, floor.cascade_usd, dollars)?;
    check(base, "cascades", own.cascade_count, floor.cascade_count, liquidations)?;
    check(base, "moves of open interest", own.change_pct, floor.change_pct, percent)
}

fn check<T: PartialOrd + Copy>(
    base: &Base,
    what: &'static str,
    own: Option<T>,
    floor: Option<T>,
    show: fn(T) -> String,
) -> Result<(), Refused> {
    match (own, floor) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(Refused::NoRule { base: base.clone(), what }),
        (Some(own), Some(floor)) if own < floor => {
            Err(Refused::BelowRule { base: base.clone(), what, asked: show(own), floor: show(floor) })
        }
        (Some(_), Some(_)) => Ok(()),
    }
}

/// Checks a state that was stored elsewhere, as `foreshock subscribers add --from` reads it.
///
/// # Errors
/// [`Refused`]: what no command would have let it become.
pub fn check_stored(subscriber: &Subscriber, floors: Option<&Floors>) -> Result<(), Refused> {
    let preferences = &subscriber.preferences;
    check_bases(preferences, preferences.bases.as_ref().unwrap_or(&BTreeSet::new()), floors)?;
    bounded(preferences.mutes.len(), MUTES_MAX, "mutes")?;
    bounded(preferences.thresholds.len(), BASES_MAX, "symbols with thresholds")?;
    for (base, own) in &preferences.thresholds {
        check_thresholds(base, own, floor_of(base, floors.ok_or(Refused::NoRules)?)?)?;
    }
    let is_valid = |quiet: &QuietHours| {
        quiet.from < 1440 && quiet.to < 1440 && phrase::zone_name(&quiet.zone).is_some_and(|name| name == quiet.zone)
    };
    if preferences.quiet.as_ref().is_none_or(is_valid) { Ok(()) } else { Err(Refused::InvalidQuiet) }
}
