//! Logs refusals at a bounded rate: the first of a reason at once, then a count a minute. The counters miss none.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::normalize::Reason;

/// Distance of two lines about one reason.
const QUIET: Duration = Duration::from_mins(1);

/// What was logged of each reason, and what was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusalLog {
    reasons: BTreeMap<Reason, Logged>,
}

#[derive(Clone, Copy, Debug)]
struct Logged {
    at: Instant,
    held: u64,
}

impl RefusalLog {
    /// Notes a refusal and returns whether it is to be logged itself.
    pub(crate) fn note(&mut self, reason: Reason, now: Instant) -> bool {
        match self.reasons.get_mut(&reason) {
            Some(logged) => {
                logged.held += 1;
                false
            }
            None => {
                self.reasons.insert(reason, Logged { at: now, held: 0 });
                true
            }
        }
    }

    /// Returns the reasons whose minute is over, with the number that was held back. A reason that has been quiet for a
    /// minute counts as a first again.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(Reason, u64)> {
        let over = |logged: &Logged| now.duration_since(logged.at) >= QUIET;
        let due: Vec<_> = self
            .reasons
            .iter()
            .filter(|(_, logged)| over(logged))
            .map(|(reason, logged)| (*reason, logged.held))
            .collect();
        for (reason, held) in &due {
            if *held == 0 {
                self.reasons.remove(reason);
            } else {
                self.reasons.insert(*reason, Logged { at: now, held: 0 });
            }
        }
        due.into_iter().filter(|(_, held)| *held > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_and_the_rest_counted_once_a_minute() {
        let start = Instant::now();
        let mut log = RefusalLog::default();
        assert!(log.note(Reason::Malformed, start));
        assert!(!log.note(Reason::Malformed, start));
        assert!(!log.note(Reason::Malformed, start));
        assert_eq!(log.due(start + QUIET / 2), []);
        assert_eq!(log.due(start + QUIET), [(Reason::Malformed, 2)]);
        assert_eq!(log.due(start + QUIET * 2), []);
        assert!(log.note(Reason::Malformed, start + QUIET * 3));
    }
}
