//! What a command, a button, a request or the command line changes of a subscriber. One pure function for all of them.

use std::{collections::BTreeSet, time::Duration};

use schemas::{
    alert::{Kind, Priority},
    amount::{Ratio, Usd},
    name::Base,
    subscriber::{self, Cause, Mute, Preferences, QuietHours, Standing, Subscriber, Thresholds},
};

use super::{facts::Floors, phrase};
use crate::{
    caps::{BASES_MAX, MUTES_MAX},
    recipient::Recipient,
    text::figures::commas,
    time::{WallTime, millis},
};

mod check;

pub use check::{Refused, check_stored};
use check::{bounded, check_bases, check_thresholds, floor_of};

/// Every kind, in the order people read them.
pub(super) const KINDS: [Kind; 3] = [Kind::Cascade, Kind::LargeLiquidation, Kind::OiExplosion];

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Alerts are wanted.
    On,
    /// None are.
    Off,
    /// Every base asset, and exactly these kinds; none: all.
    Everything(BTreeSet<Kind>),
    /// These too; only these where everything was taken so far, or nothing.
    Take(Selection),
    /// Not these any more.
    Leave(Selection),
    /// Exactly these base assets; absent: all.
    Bases(Option<BTreeSet<Base>>),
    /// Exactly these kinds; absent: all.
    Kinds(Option<BTreeSet<Kind>>),
    /// One threshold of a base.
    Threshold(Base, Figure),
    /// The thresholds of a base are those of the rules.
    RuleThresholds(Base),
    /// Nothing of these for a while.
    Mute(Selection, End),
    /// These are not muted any more; an empty selection means that nothing is.
    Unmute(Selection),
    /// Quiet hours; absent: none.
    Quiet(Option<Hours>),
    /// Whether charts are wanted.
    Pictures(bool),
    /// Whether a growing cascade only edits its message.
    EditsOnly(bool),
    /// The least priority.
    MinPriority(Priority),
    /// The forum topic; absent: the general one.
    Topic(Option<i64>),
}

/// Some base assets, some kinds; none of either means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Base assets.
    pub bases: BTreeSet<Base>,
    /// Kinds.
    pub kinds: BTreeSet<Kind>,
}

impl Selection {
    /// Returns whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.bases.is_empty() && self.kinds.is_empty()
    }

    /// Returns every pair that is meant.
    fn pairs(&self) -> Vec<(Option<Base>, Option<Kind>)> {
        let kinds: Vec<_> =
            if self.kinds.is_empty() { vec![None] } else { self.kinds.iter().map(|k| Some(*k)).collect() };
        let of = |base: Option<&Base>| kinds.iter().map(move |kind| (base.cloned(), *kind)).collect::<Vec<_>>();
        if self.bases.is_empty() { of(None) } else { self.bases.iter().flat_map(|base| of(Some(base))).collect() }
    }

    pub(super) fn covers(&self, mute: &Mute) -> bool {
        self.pairs().iter().any(|(base, kind)| *base == mute.base && *kind == mute.kind)
    }
}

/// A threshold of somebody's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Least worth of a large liquidation.
    Single(Usd),
    /// Least worth of a cascade.
    Cascade(Usd),
    /// Least number of liquidations of a cascade.
    CascadeCount(u64),
    /// Least worth of a cascade, and least number of liquidations.
    CascadeBoth(Usd, u64),
    /// Least change of open interest, percent.
    OpenInterest(Ratio),
}

/// When a mute is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So long after it was asked for; at most [`crate::caps::MUTE_MAX`].
    After(Duration),
    /// Eight in the morning of the next day, in the time zone of the chat's quiet hours, else UTC.
    Tomorrow,
}

/// Quiet hours as they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minute of the day, 0 to 1439.
    pub from: u16,
    /// Minute of the day, 0 to 1439, another one.
    pub to: u16,
    /// Proper name of the time zone; absent: the one before, else UTC.
    pub zone: Option<String>,
}

/// Who changes a subscriber, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who.
    pub cause: Cause,
    /// The update of Telegram that asks for it.
    pub update: Option<i64>,
    /// When it was asked for: mutes begin then.
    pub asked: WallTime,
    /// When it is carried out.
    pub now: WallTime,
}

/// Returns the state of a recipient after `changes`, or nothing when they change nothing.
///
/// Who was never heard of begins with the defaults, and unsubscribed unless a change says otherwise. A change that is the
/// effect of `stamp.update` already is not made again.
///
/// # Errors
/// [`Refused`]; then none of the changes is made.
pub fn change(
    recipient: &Recipient,
    before: Option<&Subscriber>,
    changes: &[Change],
    floors: Option<&Floors>,
    stamp: Stamp,
) -> Result<Option<Subscriber>, Refused> {
    if before.is_some_and(|before| before.update.is_some() && before.update == stamp.update) {
        return Ok(None);
    }
    let (mut standing, mut preferences) = before.map_or_else(
        || (Standing::Unsubscribed, Preferences::default()),
        |before| (before.standing.clone(), before.preferences.clone()),
    );
    preferences.mutes.retain(|mute| mute.until > stamp.asked.as_millis());
    for change in changes {
        apply(change, &mut standing, &mut preferences, floors, stamp.asked)?;
    }
    if before.is_some_and(|before| before.standing == standing && before.preferences == preferences) {
        return Ok(None);
    }
    Ok(Some(Subscriber {
        v: subscriber::VERSION,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        at: stamp.now.as_millis(),
        cause: stamp.cause,
        update: stamp.update,
        standing,
        preferences,
    }))
}

fn apply(
    change: &Change,
    standing: &mut Standing,
    preferences: &mut Preferences,
    floors: Option<&Floors>,
    asked: WallTime,
) -> Result<(), Refused> {
    match change {
        Change::On => *standing = Standing::Active,
        Change::Off => *standing = Standing::Unsubscribed,
        Change::Everything(kinds) => {
            *standing = Standing::Active;
            preferences.bases = None;
            preferences.kinds = (!kinds.is_empty()).then(|| kinds.clone());
        }
        Change::Take(selection) => {
            let fresh = *standing == Standing::Unsubscribed;
            take(&mut preferences.bases, &selection.bases, fresh);
            take(&mut preferences.kinds, &selection.kinds, fresh);
            check_bases(preferences, &selection.bases, floors)?;
            *standing = Standing::Active;
        }
        Change::Leave(selection) => leave(selection, standing, preferences, floors)?,
        Change::Bases(bases) => {
            preferences.bases.clone_from(bases);
            check_bases(preferences, bases.as_ref().unwrap_or(&BTreeSet::new()), floors)?;
        }
        Change::Kinds(kinds) => preferences.kinds.clone_from(kinds),
        Change::Threshold(base, figure) => {
            let floor = floor_of(base, floors.ok_or(Refused::NoRules)?)?;
            let own = preferences.thresholds.entry(base.clone()).or_default();
            set(own, *figure);
            check_thresholds(base, own, floor)?;
            bounded(preferences.thresholds.len(), BASES_MAX, "symbols with thresholds")?;
        }
        Change::RuleThresholds(base) => drop(preferences.thresholds.remove(base)),
        Change::Mute(selection, end) => mute(selection, *end, preferences, asked)?,
        Change::Unmute(selection) => {
            preferences.mutes.retain(|mute| !selection.is_empty() && !selection.covers(mute));
        }
        Change::Quiet(None) => preferences.quiet = None,
        Change::Quiet(Some(hours)) => {
            let before = preferences.quiet.take().map(|quiet| quiet.zone);
            let zone = hours.zone.clone().or(before).unwrap_or_else(|| "UTC".to_owned());
            preferences.quiet = Some(QuietHours { from: hours.from, to: hours.to, zone });
        }
        Change::Pictures(pictures) => preferences.pictures = *pictures,
        Change::EditsOnly(edits_only) => preferences.edits_only = *edits_only,
        Change::MinPriority(priority) => preferences.min_priority = *priority,
        Change::Topic(topic) => preferences.topic = *topic,
    }
    Ok(())
}

/// Adds to a list; one that held everything, or whose owner took nothing, becomes what is added.
fn take<T: Clone + Ord>(list: &mut Option<BTreeSet<T>>, added: &BTreeSet<T>, fresh: bool) {
    match list {
        _ if added.is_empty() => {}
        Some(list) if !fresh => list.extend(added.iter().cloned()),
        Some(_) | None => *list = Some(added.clone()),
    }
}

/// Takes away from lists; when nothing is left, nothing is wanted, and the lists stay as they were.
fn leave(
    selection: &Selection,
    standing: &mut Standing,
    preferences: &mut Preferences,
    floors: Option<&Floors>,
) -> Result<(), Refused> {
    let all_bases = || floors.map(|floors| floors.bases.keys().cloned().collect()).ok_or(Refused::NoRules);
    if !selection.bases.is_empty() {
        let bases = preferences.bases.clone().map_or_else(all_bases, Ok)?;
        let left: BTreeSet<_> = bases.difference(&selection.bases).cloned().collect();
        if left.is_empty() { *standing = Standing::Unsubscribed } else { preferences.bases = Some(left) }
    }
    if !selection.kinds.is_empty() {
        let kinds = preferences.kinds.clone().unwrap_or_else(|| BTreeSet::from(KINDS));
        let left: BTreeSet<_> = kinds.difference(&selection.kinds).copied().collect();
        if left.is_empty() { *standing = Standing::Unsubscribed } else { preferences.kinds = Some(left) }
    }
    Ok(())
}

fn mute(selection: &Selection, end: End, preferences: &mut Preferences, asked: WallTime) -> Result<(), Refused> {
    let until = match end {
        End::After(span) => asked.as_millis().saturating_add(millis(span)),
        End::Tomorrow => {
            let zone = phrase::zone(preferences.quiet.as_ref().map(|quiet| quiet.zone.as_str()));
            phrase::tomorrow(asked.as_millis(), zone).ok_or(Refused::NoEnd)?
        }
    };
    preferences.mutes.retain(|mute| !selection.covers(mute));
    preferences.mutes.extend(selection.pairs().into_iter().map(|(base, kind)| Mute { base, kind, until }));
    bounded(preferences.mutes.len(), MUTES_MAX, "mutes")
}

const fn set(own: &mut Thresholds, figure: Figure) {
    match figure {
        Figure::Single(usd) => own.single_usd = Some(usd),
        Figure::Cascade(usd) => own.cascade_usd = Some(usd),
        Figure::CascadeCount(count) => own.cascade_count = Some(count),
        Figure::CascadeBoth(usd, count) => (own.cascade_usd, own.cascade_count) = (Some(usd), Some(count)),
        Figure::OpenInterest(change) => own.change_pct = Some(change),
    }
}

/// Returns an amount to the dollar: `$250,000`.
pub(super) fn dollars(usd: Usd) -> String {
    format!("${}", commas(usd.to_decimal()))
}

pub(super) fn liquidations(count: u64) -> String {
    crate::text::figures::count(count, "liquidation", "liquidations")
}

pub(super) fn percent(change: Ratio) -> String {
    format!("{}%", change.value().normalize())
}
