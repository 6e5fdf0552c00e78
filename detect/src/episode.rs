//! A cascade from its first window to its end, and the figures over it.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{
    alert::{Cascade, Dominant, Phase, VenueTotal},
    amount::{Price, Usd},
    id::Id,
    market::Side,
    name::{Base, Venue},
    position::{Evidence, Sequence},
    time::{EventTime, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use crate::{rules::LiquidationRule, window::Item};

/// Most distinct bursts an episode counts. At the bound the count stands still and the episode is marked saturated.
const BURSTS_MAX: usize = 65_536;

/// After this much window clock without an alert of the episode the next liquidation makes an `updated`, in
/// milliseconds (design 4).
pub(crate) const UPDATE_AFTER_MS: i64 = 5_000;

/// Figures over a set of accepted liquidations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    longs: u64,
    shorts: u64,
    long_usd: Usd,
    short_usd: Usd,
    largest: Usd,
    /// Distinct (venue and instrument, short?, second).
    bursts: BTreeSet<(u16, bool, i64)>,
    bursts_full: bool,
    venues: BTreeMap<Venue, VenueFigures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VenueFigures {
    total: VenueTotal,
    /// Position and price of the first and the last in MARKET order.
    first: (Sequence, Price),
    last: (Sequence, Price),
}

impl Totals {
    pub(crate) fn of<'a>(items: impl Iterator<Item = Item<'a>>) -> Self {
        items.fold(Self::default(), |mut totals, item| {
            totals.add(&item);
            totals
        })
    }

    fn add(&mut self, item: &Item<'_>) {
        match item.side {
            Side::Long => {
                self.longs += 1;
                self.long_usd += item.usd;
            }
            Side::Short => {
                self.shorts += 1;
                self.short_usd += item.usd;
            }
        }
        self.largest = self.largest.max(item.usd);
        let burst = (item.series, item.side == Side::Short, item.time.second());
        if self.bursts.len() < BURSTS_MAX || self.bursts.contains(&burst) {
            self.bursts.insert(burst);
        } else {
            self.bursts_full = true;
        }
        let here = (item.position, item.price);
        if let Some(figures) = self.venues.get_mut(item.venue) {
            figures.total.count += 1;
            figures.total.notional_usd += item.usd;
            figures.first = figures.first.min(here);
            figures.last = figures.last.max(here);
        } else {
            let total = VenueTotal { count: 1, notional_usd: item.usd };
            self.venues.insert(item.venue.clone(), VenueFigures { total, first: here, last: here });
        }
    }

    pub(crate) fn sum(&self) -> Usd {
        self.long_usd + self.short_usd
    }

    fn dominant(&self) -> Dominant {
        let side = if self.short_usd > self.long_usd { Side::Short } else { Side::Long };
        Dominant { side, share: self.long_usd.max(self.short_usd).share_of(self.sum()) }
    }

    /// Whether the optional conditions of a rule hold (design 4: against one whale plus dust).
    pub(crate) fn satisfy(&self, rule: &LiquidationRule) -> bool {
        rule.max_share.is_none_or(|max| self.largest.share_of(self.sum()).value() <= max)
            && rule.min_bursts.is_none_or(|min| self.bursts.len() as u64 >= min)
            && rule.min_side_share.is_none_or(|min| self.dominant().share.value() >= min)
    }
}

/// An open cascade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Episode {
    /// Id of its `started` alert.
    pub(crate) id: Id,
    /// The section that opened it: renewal, tiers, window and digest stay those.
    pub(crate) rule: LiquidationRule,
    totals: Totals,
    linked: BTreeSet<Base>,
    tier: u64,
    /// How many `updated` there were.
    updates: u64,
    /// Liquidations at or before this are no part of it: where its first window began.
    window_start: EventTime,
    /// Event time of the first liquidation of the first window.
    first_event: EventTime,
    /// Window clock when the condition held last, and the event that made it hold.
    renewed: EventTime,
    renewed_by: (Id, ReceivedAt),
    /// Event time of its last alert.
    last_alert: EventTime,
    pub(crate) evidence: Evidence,
    pub(crate) saturated: bool,
}

/// What an accepted liquidation made of an open episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Nothing to say.
    Quiet,
    /// A higher tier was reached.
    Escalated {
        /// The multiple.
        tier: u64,
    },
    /// It is time to say that it goes on.
    Updated {
        /// Counted from 1.
        ordinal: u64,
    },
}

/// The firing event as an episode remembers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firing {
    pub(crate) id: Id,
    pub(crate) received_at: ReceivedAt,
    pub(crate) position: Sequence,
    /// The window clock.
    pub(crate) clock: EventTime,
}

impl Episode {
    /// Opens an episode over the window that made the condition hold; `items` is not empty.
    pub(crate) fn open(
        id: Id,
        rule: LiquidationRule,
        items: &[Item<'_>],
        linked: BTreeSet<Base>,
        saturated: bool,
        firing: Firing,
    ) -> Self {
        let totals = Totals::of(items.iter().copied());
        let first_event = items.iter().map(|item| item.time).min().unwrap_or(firing.clock);
        let first = items.iter().map(|item| item.position).min().unwrap_or(firing.position);
        Self {
            id,
            tier: tier_of(totals.sum(), rule.cascade_usd),
            totals,
            linked,
            updates: 0,
            window_start: firing.clock.plus_millis(-rule.window_ms),
            rule,
            first_event,
            renewed: firing.clock,
            renewed_by: (firing.id, firing.received_at),
            last_alert: firing.clock,
            evidence: Evidence { first, last: firing.position },
            saturated,
        }
    }

    /// Adds an accepted liquidation; `holds` tells whether the condition holds with it.
    pub(crate) fn grow(&mut self, item: &Item<'_>, holds: bool, saturated: bool, firing: Firing) -> Growth {
        self.totals.add(item);
        self.evidence.last = item.position;
        self.saturated |= saturated || self.totals.bursts_full;
        if holds {
            self.renewed = firing.clock;
            self.renewed_by = (firing.id, firing.received_at);
        }
        let tier = tier_of(self.totals.sum(), self.rule.cascade_usd);
        if tier > self.tier {
            self.tier = tier;
            self.last_alert = firing.clock;
            Growth::Escalated { tier }
        } else if firing.clock.millis_since(self.last_alert) >= UPDATE_AFTER_MS {
            self.updates += 1;
            self.last_alert = firing.clock;
            Growth::Updated { ordinal: self.updates }
        } else {
            Growth::Quiet
        }
    }

    /// Notes that another base had a liquidation of equal venue, side and event time.
    pub(crate) fn link(&mut self, base: &Base) {
        if !self.linked.contains(base) {
            self.linked.insert(base.clone());
        }
    }

    /// Whether an accepted liquidation of this event time is part of the episode.
    pub(crate) fn spans(&self, time: EventTime) -> bool {
        time > self.window_start
    }

    /// When it ends unless the condition holds again, in event time.
    pub(crate) const fn deadline(&self) -> EventTime {
        self.renewed.plus_millis(self.rule.window_ms)
    }

    /// The event that set the deadline.
    pub(crate) const fn renewed_by(&self) -> (Id, ReceivedAt) {
        self.renewed_by
    }

    /// The multiple of `cascade_usd` reached.
    pub(crate) const fn tier(&self) -> u64 {
        self.tier
    }

    /// Returns the figures as an alert of this phase carries them.
    pub(crate) fn figures(&self, phase: Phase) -> Cascade {
        let totals = &self.totals;
        let by_sum_then_name = |a: &(&Venue, &VenueFigures), b: &(&Venue, &VenueFigures)| {
            a.1.total.notional_usd.cmp(&b.1.total.notional_usd).then_with(|| b.0.cmp(a.0))
        };
        let (price_venue, figures) =
            totals.venues.iter().max_by(by_sum_then_name).expect("an episode holds at least one liquidation");
        Cascade {
            phase,
            episode: self.id,
            tier: self.tier,
            count: totals.longs + totals.shorts,
            notional_usd: totals.sum(),
            longs: totals.longs,
            shorts: totals.shorts,
            long_usd: totals.long_usd,
            short_usd: totals.short_usd,
            dominant: totals.dominant(),
            largest_usd: totals.largest,
            bursts: totals.bursts.len() as u64,
            venues: totals.venues.iter().map(|(venue, figures)| (venue.clone(), figures.total)).collect(),
            price_venue: price_venue.clone(),
            first_price: figures.first.1,
            last_price: figures.last.1,
            linked_bases: self.linked.iter().cloned().collect(),
            duration_ms: self.renewed.millis_since(self.first_event).unsigned_abs(),
        }
    }
}

/// Returns the largest of 1, 2, 4, 8 … whose multiple of `unit` is at most `sum`; at least 1.
fn tier_of(sum: Usd, unit: Usd) -> u64 {
    let multiple = sum.cents() / unit.cents().max(1);
    1 << u64::try_from(multiple).unwrap_or(0).max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_powers_of_two() {
        let tier = |sum| tier_of(Usd::from_cents(sum), Usd::from_cents(100));
        assert_eq!([100, 199, 200, 399, 400, 799, 800].map(tier), [1, 1, 2, 2, 4, 4, 8]);
    }
}
