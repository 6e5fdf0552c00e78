//! Open interest: the samples of every venue, and the explosions in them.

mod arming;
mod change;
mod figures;
mod series;
mod venues;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemas::{
    alert::{Direction, OiExplosion, Phase, Priority},
    amount::{Ratio, Usd},
    market::OpenInterest,
    name::Base,
    position::Sequence,
    time::EventTime,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::series::Taken;
use self::{
    arming::Arming,
    change::Change,
    series::{Newest, Series},
    venues::{Report, Venues},
};
use crate::rules::{OiRule, Rules};

/// How far back the fold looks, in milliseconds: the 24 h of the baseline and the longest window (design 4).
pub(crate) const LOOK_BACK_MS: i64 = 25 * 3_600_000;

/// Most series of all bases. The samples of a further one are ignored and counted.
const SERIES_MAX: usize = 1_024;

/// An explosion at this many tenths of the rule's change has high priority (design 4: 1.5 times).
const HIGH_TENTHS: i64 = 15;

/// The trends that an alert tells, in milliseconds: one hour and one day.
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The open interest of every base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holdings {
    bases: BTreeMap<Base, Interest>,
}

/// The open interest of one base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Interest {
    venues: Venues,
    up: Arming,
    down: Arming,
}

/// An explosion as an alert tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explosion {
    pub(crate) finding: OiExplosion,
    pub(crate) priority: Priority,
    /// The smallest position of the confirming venues' baselines.
    pub(crate) first: Sequence,
}

/// What people see of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Acting venues with a sample that is not stale.
    pub(crate) venues: u32,
    /// Their newest open interest together.
    pub(crate) usd: Usd,
    /// Event time of the newest sample, of whatever venue.
    pub(crate) newest: EventTime,
}

impl Holdings {
    /// Takes a sample, or nothing of it where a bound is reached.
    pub(crate) fn take(&mut self, event: &OpenInterest, position: Sequence) -> Option<Taken> {
        let incoming = Newest::of(event, position);
        let known = self.bases.get_mut(&event.base).and_then(|interest| interest.venues.series_mut(event));
        if let Some(series) = known {
            return Some(series.take(incoming));
        }
        let count: usize = self.bases.values().map(|interest| interest.venues.series_count()).sum();
        let has_room = self.bases.get(&event.base).is_none_or(|interest| interest.venues.has_room_for(event));
        if count >= SERIES_MAX || !has_room {
            return None;
        }
        self.bases.entry(event.base.clone()).or_default().venues.begin(event, incoming);
        Some(Taken::Accepted)
    }

    /// Judges a base at the event time of a sample that was accepted; gives the explosion to tell, if there is one.
    pub(crate) fn judge(
        &mut self,
        base: &Base,
        rule: &OiRule,
        at: EventTime,
        timer_clock: Option<EventTime>,
    ) -> Option<Explosion> {
        self.bases.get_mut(base)?.judge(rule, at, timer_clock)
    }

    /// Arms the bases that no section covers any more: another section begins anew.
    pub(crate) fn disarm_without(&mut self, rules: &Rules) {
        for (base, interest) in &mut self.bases {
            if rules.oi(base).is_none() {
                (interest.up, interest.down) = (Arming::Armed, Arming::Armed);
            }
        }
    }

    /// Returns the bases with a sample, by name.
    pub(crate) fn bases(&self) -> impl Iterator<Item = &Base> {
        self.bases.keys()
    }

    /// Returns what people see of a base, once there is a sample.
    pub(crate) fn view(&self, base: &Base, timer_clock: Option<EventTime>) -> Option<View> {
        self.bases.get(base)?.venues.view(timer_clock)
    }
}

impl Interest {
    /// At most one explosion is told per sample, for its alert is named after it: a rise first, a fall at the next one.
    fn judge(&mut self, rule: &OiRule, at: EventTime, timer_clock: Option<EventTime>) -> Option<Explosion> {
        let acting = self.venues.acting(timer_clock);
        let reports = self.venues.reports(rule.window_ms, timer_clock, acting);
        // Without a liquidation or an `alive` there is no timer clock: the samples' own time arms anew then.
        let now = timer_clock.unwrap_or(at);
        let mut told = None;
        for (direction, arming) in [(Direction::Up, &mut self.up), (Direction::Down, &mut self.down)] {
            let Some(found) = Condition::of(&reports, direction, rule) else { continue };
            if let Some(phase) = arming.hold(found.level, now, rule.window_ms)
                && told.is_none()
            {
                arming.tell(found.level, now);
                told = Some((found, phase));
            }
        }
        let (found, phase) = told?;
        let acting = self.venues.series_of(acting);
        Some(found.explosion(phase, &reports, rule, at, &acting))
    }
}

/// The condition, where it holds: enough venues confirm, and their open interest is large enough.
struct Condition {
    direction: Direction,
    level: u64,
    change: Change,
    /// In percent: of the confirming venues, and of every reporting one.
    change_pct: Decimal,
    all_change_pct: Decimal,
    before_usd: Usd,
    after_usd: Usd,
    confirming: u32,
    reporting: u32,
    first: Sequence,
}

impl Condition {
    fn of(reports: &[Report<'_>], direction: Direction, rule: &OiRule) -> Option<Self> {
        let acting = || reports.iter().filter(|report| report.acts);
        let confirming = || acting().filter(|report| report.confirms(direction, rule.change_pct));
        let count = u32::try_from(confirming().count()).ok()?;
        let after_usd: Usd = confirming().map(Report::notional_usd).sum();
        if count < rule.confirm || after_usd < rule.min_usd {
            return None;
        }
        let change = Change::sum(confirming().map(|report| report.value))?;
        Some(Self {
            direction,
            level: change.level(direction, rule.change_pct),
            change,
            change_pct: change.pct()?,
            all_change_pct: Change::sum(acting().map(|report| report.value))?.pct()?,
            before_usd: Usd::round(change.before)?,
            after_usd,
            confirming: count,
            reporting: u32::try_from(acting().count()).ok()?,
            first: confirming().filter_map(Report::first).min()?,
        })
    }

    fn explosion(
        self,
        phase: Phase,
        reports: &[Report<'_>],
        rule: &OiRule,
        at: EventTime,
        acting: &[&Series],
    ) -> Explosion {
        let reporting: Vec<&Series> = reports
            .iter()
            .filter(|report| report.acts)
            .flat_map(|report| report.ends.iter().map(|ends| ends.series))
            .collect();
        let finding = OiExplosion {
            direction: self.direction,
            phase,
            change_pct: Ratio::new(self.change_pct),
            before_usd: self.before_usd,
            after_usd: self.after_usd,
            change_usd: self.after_usd - self.before_usd,
            confirming: self.confirming,
            reporting: self.reporting,
            all_change_pct: Ratio::new(self.all_change_pct),
            venues: reports.iter().filter_map(|report| Some((report.venue.clone(), report.part()?))).collect(),
            baseline: figures::baseline(acting, rule.window_ms, at, self.all_change_pct),
            momentum_pct_per_min: figures::momentum(&reporting),
            trend_1h_pct: figures::trend(&reporting, HOUR_MS),
            trend_24h_pct: figures::trend(&reporting, DAY_MS),
        };
        Explosion { finding, priority: self.priority(rule), first: self.first }
    }

    fn priority(&self, rule: &OiRule) -> Priority {
        let high_pct = rule.change_pct * Decimal::new(HIGH_TENTHS, 1);
        let is_large = self.change.reaches(self.direction, high_pct);
        let all_confirm = self.confirming == self.reporting && self.reporting >= 2;
        if is_large || all_confirm { Priority::High } else { Priority::Medium }
    }
}
