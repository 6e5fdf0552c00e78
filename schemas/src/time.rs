//! Two clocks, two types: the venue's and ours.

use serde::{Deserialize, Serialize};

/// A moment on the venue's clock, in milliseconds since 1970 UTC. The only clock detection knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventTime(i64);

impl EventTime {
    /// Takes milliseconds since 1970 UTC on the venue's clock.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since 1970 UTC on the venue's clock.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the moment `millis` later (earlier when negative), held at the ends of the range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds from `earlier` to this moment; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the whole second this moment lies in, in seconds since 1970 UTC.
    pub const fn second(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A moment on this host's clock, in milliseconds since 1970 UTC: when a frame was received.
///
/// In a recorded market it is the recorded receipt, or the event time where none was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceivedAt(i64);

impl ReceivedAt {
    /// Takes milliseconds since 1970 UTC on this host's clock.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since 1970 UTC on this host's clock.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the receipt of something that was recorded without one: its event time.
    pub const fn unrecorded(event_time: EventTime) -> Self {
        Self(event_time.0)
    }

    /// Returns how long after `event_time` this receipt was, in milliseconds: the one place where the clocks meet.
    ///
    /// Negative when the venue's clock is ahead of ours.
    pub const fn millis_after(self, event_time: EventTime) -> i64 {
        self.0.saturating_sub(event_time.0)
    }
}
