//! Noticing that this process stood still: frozen, swapped out, or on a host that slept.

use std::time::{Duration, Instant, SystemTime};

/// A longer silence of the own heartbeat means that the process stood still (design 4).
const STOOD_STILL_AFTER: Duration = Duration::from_secs(10);

/// The own heartbeat. Both clocks are watched, because the monotonic one stops while a host sleeps; a step of the other
/// is mistaken for standing still, which costs a few look-ups.
#[derive(Debug)]
pub(super) struct Pulse {
    monotonic: Instant,
    wall: SystemTime,
    wary_for: Duration,
    wary_until: Option<Instant>,
}

impl Pulse {
    /// Starts the heartbeat. After standing still the process is wary for `wary_for`: after that, everything it
    /// publishes was received afterwards.
    pub(super) fn new(wary_for: Duration) -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now(), wary_for, wary_until: None }
    }

    /// Notes that the process runs.
    pub(super) fn beat(&mut self) {
        self.beat_at(Instant::now(), SystemTime::now());
    }

    /// Returns whether the process stood still a short while ago, as of the last beat.
    pub(super) fn stood_still(&self) -> bool {
        self.wary_until.is_some_and(|until| self.monotonic < until)
    }

    fn beat_at(&mut self, monotonic: Instant, wall: SystemTime) {
        let silent = monotonic.saturating_duration_since(self.monotonic);
        let slept = wall.duration_since(self.wall).unwrap_or_default();
        if silent.max(slept) > STOOD_STILL_AFTER {
            self.wary_until = Some(monotonic + self.wary_for);
        }
        (self.monotonic, self.wall) = (monotonic, wall);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_silence_on_either_clock_makes_wary_for_a_while() {
        for (monotonic_s, wall_s, expected) in [(1, 1, false), (10, 10, false), (11, 11, true), (0, 11, true)] {
            let mut pulse = Pulse::new(Duration::from_secs(120));
            let (start, wall) = (pulse.monotonic, pulse.wall);
            let later = start + Duration::from_secs(monotonic_s);
            pulse.beat_at(later, wall + Duration::from_secs(wall_s));
            assert_eq!(pulse.stood_still(), expected, "{monotonic_s} {wall_s}");
            for second in 1..=121 {
                pulse.beat_at(later + Duration::from_secs(second), wall + Duration::from_secs(wall_s + second));
            }
            assert!(!pulse.stood_still(), "{monotonic_s} {wall_s}");
        }
    }
}
