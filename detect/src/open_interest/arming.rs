//! Whether a direction may fire, and what of it was told already.

use schemas::{alert::Phase, time::EventTime};
use serde::{Deserialize, Serialize};

/// One direction of one base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Arming {
    /// The next time the condition holds is the start of an explosion.
    #[default]
    Armed,
    /// An explosion was told.
    Told {
        /// The highest level told: 1, 2, 4, 8 … times the rule's change.
        level: u64,
        /// The timer clock when the condition held last.
        held: EventTime,
    },
}

impl Arming {
    /// Notes that the condition holds at `level`, and returns what there is to tell, if anything.
    ///
    /// A direction is armed again one window of timer clock after the condition held last.
    pub(crate) fn hold(&mut self, level: u64, now: EventTime, window_ms: i64) -> Option<Phase> {
        match self {
            Self::Told { held, .. } if now.millis_since(*held) >= window_ms => {
                *self = Self::Armed;
                Some(Phase::Started)
            }
            Self::Told { level: told, held } => {
                *held = now.max(*held);
                (level > *told).then_some(Phase::Escalated)
            }
            Self::Armed => Some(Phase::Started),
        }
    }

    /// Notes that `level` is told.
    pub(crate) const fn tell(&mut self, level: u64, now: EventTime) {
        *self = Self::Told { level, held: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: i64 = 900_000;

    fn at(seconds: i64) -> EventTime {
        EventTime::from_millis(seconds * 1000)
    }

    #[test]
    fn each_level_is_told_once_while_the_condition_goes_on() {
        let mut arming = Arming::default();
        let mut told = Vec::new();
        for (second, level) in [(0, 1), (60, 1), (120, 2), (180, 1), (240, 2), (300, 8), (360, 4)] {
            let phase = arming.hold(level, at(second), WINDOW_MS);
            if let Some(phase) = phase {
                arming.tell(level, at(second));
                told.push((second, phase));
            }
        }
        assert_eq!(told, [(0, Phase::Started), (120, Phase::Escalated), (300, Phase::Escalated)]);
    }

    #[test]
    fn it_is_armed_again_one_window_after_the_condition_held_last() {
        let mut arming = Arming::default();
        assert_eq!(arming.hold(1, at(0), WINDOW_MS), Some(Phase::Started));
        arming.tell(1, at(0));
        assert_eq!(arming.hold(1, at(800), WINDOW_MS), None, "it still holds");
        assert_eq!(arming.hold(1, at(1_699), WINDOW_MS), None, "899 s after it held last");
        assert_eq!(arming.hold(1, at(2_599), WINDOW_MS), Some(Phase::Started), "900 s after");
    }

    #[test]
    fn what_is_not_told_stays_to_be_told() {
        let mut arming = Arming::default();
        assert_eq!(arming.hold(1, at(0), WINDOW_MS), Some(Phase::Started));
        assert_eq!(arming.hold(1, at(60), WINDOW_MS), Some(Phase::Started));
    }
}
