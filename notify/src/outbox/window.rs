//! Pacing: so many in a period.

use std::{collections::VecDeque, time::Duration};

use crate::{caps::BURST, time::WallTime};

/// Lets `limit` through in any `period`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    limit: usize,
    period: Duration,
    /// The last `limit` at most, in the order they happened.
    passed: VecDeque<WallTime>,
}

impl Window {
    pub(super) const fn new(limit: usize, period: Duration) -> Self {
        Self { limit, period, passed: VecDeque::new() }
    }

    pub(super) fn note(&mut self, at: WallTime) {
        self.passed.push_back(at);
        if self.passed.len() > self.limit {
            self.passed.pop_front();
        }
    }

    /// Returns when the next may pass, `now` at the earliest. A clock set back opens the window rather than closing it.
    pub(super) fn opens(&self, now: WallTime) -> WallTime {
        let full_since = self.passed.len().checked_sub(self.limit).and_then(|index| self.passed.get(index));
        match full_since {
            Some(first) if *first <= now => now.max(first.plus(self.period)),
            Some(_) | None => now,
        }
    }
}

/// Lets `limit` through in any second, and no more than [`BURST`] of them at once.
///
/// A second's worth at once would meet the next second's at a server that counts by arrival: both together are more than it
/// takes in a second of its own. And what is more urgent waits for one place, not for the next second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Even {
    second: Window,
    burst: Window,
}

impl Even {
    pub(super) fn new(limit: usize) -> Self {
        let second = Duration::from_secs(1);
        let burst = second * BURST as u32 / limit.max(1) as u32;
        Self { second: Window::new(limit, second), burst: Window::new(BURST, burst) }
    }

    pub(super) fn note(&mut self, at: WallTime) {
        self.second.note(at);
        self.burst.note(at);
    }

    /// As [`Window::opens`].
    pub(super) fn opens(&self, now: WallTime) -> WallTime {
        self.second.opens(now).max(self.burst.opens(now))
    }
}

/// A rest from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest(Option<(WallTime, WallTime)>);

impl Rest {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn new(from: WallTime, wait: Duration) -> Self {
        Self(Some((from, from.plus(wait))))
    }

    /// Returns when it is over, `now` at the earliest. A clock set back ends it.
    pub(super) fn ends(self, now: WallTime) -> WallTime {
        match self.0 {
            Some((from, until)) if from <= now => now.max(until),
            Some(_) | None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> WallTime {
        WallTime::from_millis(millis)
    }

    #[test]
    fn no_more_than_the_limit_passes_in_a_period() {
        let mut window = Window::new(2, Duration::from_secs(1));
        window.note(at(0));
        assert_eq!(window.opens(at(10)), at(10));
        window.note(at(300));
        assert_eq!(window.opens(at(999)), at(1_000));
        window.note(at(1_000));
        assert_eq!(window.opens(at(1_000)), at(1_300));
    }

    #[test]
    fn a_second_s_worth_is_spread_over_the_second() {
        let mut even = Even::new(30);
        let mut now = at(0);
        let mut passed = Vec::new();
        while passed.len() < 90 {
            now = even.opens(now);
            even.note(now);
            passed.push(now.as_millis());
        }
        assert_eq!(passed[..7], [0, 0, 0, 100, 100, 100, 200]);
        assert_eq!(passed[30], 1_000);
        let most =
            passed.iter().map(|from| passed.iter().filter(|at| (*from..from + 1_000).contains(at)).count()).max();
        assert_eq!(most, Some(30));
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut window = Window::new(1, Duration::from_secs(1));
        window.note(at(5_000));
        assert_eq!(window.opens(at(1_000)), at(1_000));
        assert_eq!(Rest::new(at(5_000), Duration::from_secs(60)).ends(at(1_000)), at(1_000));
        assert_eq!(Rest::new(at(5_000), Duration::from_secs(60)).ends(at(6_000)), at(65_000));
    }
}
