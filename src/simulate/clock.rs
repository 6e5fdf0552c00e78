//! The market's clock: what every simulated venue takes for the time.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// How market time follows real time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// The seeded market: the host's clock.
    Wall,
    /// A recording that waits, or that is played as fast as it is taken.
    Standing(i64),
    /// A recording at a speed: `from_ms` at `since`, then `speed` times real time.
    Running { from_ms: i64, since: Instant, speed: f64 },
}

impl Clock {
    /// Returns market time in milliseconds since 1970 UTC.
    pub(super) fn now_ms(self) -> i64 {
        match self {
            Self::Wall => wall_ms(),
            Self::Standing(ms) => ms,
            Self::Running { from_ms, since, speed } => {
                let passed_ms = since.elapsed().as_secs_f64() * 1000.0 * speed;
                from_ms.saturating_add(passed_ms as i64)
            }
        }
    }
}

/// Returns the host's time in milliseconds since 1970 UTC.
pub(super) fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
