//! How many messages the server takes in a while.

use std::collections::VecDeque;

/// So many in so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    max: usize,
    span_ms: i64,
}

impl Limit {
    /// One message a second in a chat; that three may come at once is a guess at "short bursts pass" (`telegram.md` 3).
    pub(super) const CHAT: Self = Self { max: 3, span_ms: 3_000 };
    /// 20 messages a minute in a group (`telegram.md` 3).
    pub(super) const GROUP: Self = Self { max: 20, span_ms: 60_000 };
    /// 30 messages a second in all (`telegram.md` 3).
    pub(super) const OVERALL: Self = Self { max: 30, span_ms: 1_000 };
}

/// When the last messages under a limit came, in milliseconds; never more than the limit allows.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<i64>);

impl Window {
    /// Returns how long to wait for the next message, in seconds rounded up; 0: it may come.
    pub(super) fn wait_s(&mut self, limit: Limit, now_ms: i64) -> u64 {
        while self.0.front().is_some_and(|at_ms| at_ms + limit.span_ms <= now_ms) {
            self.0.pop_front();
        }
        let Some(oldest) = self.0.front().filter(|_| self.0.len() >= limit.max) else { return 0 };
        u64::try_from(oldest + limit.span_ms - now_ms).unwrap_or(0).div_ceil(1000)
    }

    /// Counts a message, after [`Window::wait_s`] allowed it.
    pub(super) fn count(&mut self, now_ms: i64) {
        self.0.push_back(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_takes_twenty_in_any_minute() {
        let mut window = Window::default();
        let mut waits = Vec::new();
        for second in 0..120 {
            let wait = window.wait_s(Limit::GROUP, second * 1_000);
            if wait == 0 {
                window.count(second * 1_000);
            }
            waits.push(wait);
        }
        let expected: Vec<u64> = (0..120).map(|second| if second % 60 < 20 { 0 } else { 60 - second % 60 }).collect();
        assert_eq!(waits, expected);
    }
}
