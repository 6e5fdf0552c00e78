//! The market's clock: what every simulated venue takes for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep, sleep_until};

/// Stands for times beyond what a timer holds.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How market time follows real time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// The seeded market in real time: the host's clock.
    Wall,
    /// A recording that waits, or that is played as fast as it is taken.
    Standing(i64),
    /// The seeded market or a recording at a speed: `from_ms` at `since`, then `speed` times real time.
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

    /// Returns when market time is `at_ms`; at once where it stands.
    pub(super) async fn sleep_until(self, at_ms: i64) {
        match self {
            Self::Wall => sleep(Duration::from_millis(u64::try_from(at_ms - wall_ms()).unwrap_or(0))).await,
            Self::Standing(_) => {}
            Self::Running { from_ms, since, speed } => {
                let passed = (at_ms - from_ms).max(0) as f64 / 1000.0 / speed;
                sleep_until(since + Duration::try_from_secs_f64(passed).unwrap_or(NEVER)).await;
            }
        }
    }
}

/// Returns the host's time in milliseconds since 1970 UTC.
pub(super) fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
