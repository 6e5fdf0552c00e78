//! Which venues were seen during a window, judged on the `alive`s before the firing position.

use std::collections::{BTreeMap, VecDeque};

use schemas::{name::Venue, time::EventTime};
use serde::{Deserialize, Serialize};

/// Longest gap between two `alive`s of a covered venue, in milliseconds (design 4).
const GAP_MS_MAX: i64 = 10_000;

/// Newest `alive` of a covered venue is at most this long before the window's end, in milliseconds (design 4).
const NEWEST_AGE_MS_MAX: i64 = 15_000;

/// A venue without an `alive` for this long is not listed any more, in milliseconds: 24 h (design 4).
const LISTED_MS: i64 = 24 * 3_600_000;

/// Runs kept per venue. Only the newest one decides; older ones matter when a late `alive` closes the gap to them. At
/// the bound the oldest is forgotten.
const RUNS_MAX: usize = 64;

/// The `alive`s of every venue, kept as runs without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    venues: BTreeMap<Venue, VecDeque<Run>>,
}

/// A stretch of `alive`s none of which is more than [`GAP_MS_MAX`] after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: EventTime,
    last: EventTime,
}

impl Coverage {
    /// Takes an `alive` of `venue` at `tick`, in any order.
    pub(crate) fn alive(&mut self, venue: &Venue, tick: EventTime) {
        if !self.venues.contains_key(venue) {
            self.venues.insert(venue.clone(), VecDeque::new());
        }
        let Some(runs) = self.venues.get_mut(venue) else { return };
        let next = runs.partition_point(|run| run.last < tick);
        let joins_previous = next > 0 && tick.millis_since(runs[next - 1].last) <= GAP_MS_MAX;
        let joins_next = runs.get(next).is_some_and(|run| run.first.millis_since(tick) <= GAP_MS_MAX);
        match (joins_previous, joins_next) {
            (true, true) => {
                let following = runs.remove(next).expect("the next run was just looked at");
                runs[next - 1].last = following.last;
            }
            (true, false) => runs[next - 1].last = tick,
            (false, true) => runs[next].first = runs[next].first.min(tick),
            (false, false) => runs.insert(next, Run { first: tick, last: tick }),
        }
        if runs.len() > RUNS_MAX {
            runs.pop_front();
        }
    }

    /// Returns, for every venue alive in the 24 h before `now`, whether it was covered from `start` to `end`.
    pub(crate) fn judge(&self, start: EventTime, end: EventTime, now: EventTime) -> BTreeMap<Venue, bool> {
        self.venues
            .iter()
            .filter_map(|(venue, runs)| Some((venue, runs.back()?)))
            .filter(|(_, newest)| now.millis_since(newest.last) <= LISTED_MS)
            .map(|(venue, newest)| {
                let from_before = newest.first <= start && start.millis_since(newest.last) <= GAP_MS_MAX;
                (venue.clone(), from_before && end.millis_since(newest.last) <= NEWEST_AGE_MS_MAX)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> EventTime {
        EventTime::from_millis(seconds * 1000)
    }

    fn coverage(ticks: impl IntoIterator<Item = i64>) -> Coverage {
        let mut coverage = Coverage::default();
        for tick in ticks {
            coverage.alive(&"okx".parse().unwrap(), seconds(tick));
        }
        coverage
    }

    fn covered(ticks: impl IntoIterator<Item = i64>) -> bool {
        coverage(ticks).judge(seconds(100), seconds(130), seconds(130))[&"okx".parse().unwrap()]
    }

    #[test]
    fn a_venue_is_covered_by_alives_without_a_gap() {
        assert!(covered([90, 95, 100, 105, 110, 115, 120, 125]));
        assert!(covered([90, 100, 110, 120]), "gaps of 10 s are allowed");
        assert!(covered((90..=115).step_by(5)), "the newest may be 15 s before the end");
        assert!(!covered((90..=114).step_by(4)), "but no more");
        assert!(!covered([105, 110, 115, 120, 125]), "one must lie at or before the start");
        assert!(!covered([90, 101, 110, 120, 125]), "a gap of 11 s is one");
        assert!(!covered([60, 65, 120, 125]));
    }

    #[test]
    fn order_does_not_matter() {
        let ordered = coverage([90, 95, 100, 105, 150, 155]);
        let shuffled = coverage([155, 90, 105, 100, 150, 95, 100]);
        assert_eq!(ordered, shuffled);
        assert_eq!(coverage([90, 110, 100]), coverage([90, 100, 110]), "a late alive closes a gap");
    }

    #[test]
    fn a_venue_unheard_for_a_day_is_not_listed() {
        assert!(coverage([0]).judge(seconds(86_300), seconds(86_401), seconds(86_401)).is_empty());
    }
}
