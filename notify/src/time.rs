//! This host's clock, as a value.

use std::time::Duration;

use schemas::time::EventTime;

/// A moment on this host's clock, in milliseconds since 1970 UTC. Whoever calls this crate reads it; nothing here does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// Takes milliseconds since 1970 UTC on this host's clock.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since 1970 UTC on this host's clock.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the moment `wait` later, held at the end of the range.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// Returns the time from this moment to `later`; nothing when that is past.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Returns how long after `event_time` (the venue's clock) this moment is, in milliseconds: where the clocks meet.
    ///
    /// Negative when the venue's clock is ahead of ours.
    pub const fn millis_after(self, event_time: EventTime) -> i64 {
        self.0.saturating_sub(event_time.as_millis())
    }
}

/// Returns a duration in milliseconds, held at the end of the range.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
