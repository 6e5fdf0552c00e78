//! The wait before a new attempt.

use std::time::Duration;

use rand::Rng;

/// Doubling waits between two bounds, shortened by jitter so that many clients do not come back at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    healthy_after: Duration,
    next: Duration,
}

/// Most that jitter takes off a wait: never over the stated figure, and never so short that it is no wait.
const JITTER: f64 = 0.25;

impl Backoff {
    /// Begins at `min`, ends at `max`, and begins anew after `healthy_after` of health.
    pub(crate) const fn new(min: Duration, max: Duration, healthy_after: Duration) -> Self {
        Self { min, max, healthy_after, next: min }
    }

    /// Returns the wait after an attempt that was healthy for `healthy`.
    pub(crate) fn after(&mut self, healthy: Duration, rng: &mut impl Rng) -> Duration {
        if healthy >= self.healthy_after {
            self.next = self.min;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(self.max);
        wait.mul_f64(rng.random_range(1.0 - JITTER..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn waits_double_to_the_bound_and_begin_anew_after_health() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(16), Duration::from_secs(60));
        let mut rng = SmallRng::seed_from_u64(7);
        for stated in [1, 2, 4, 8, 16, 16] {
            let wait = backoff.after(Duration::from_secs(59), &mut rng).as_secs_f64();
            assert!(wait <= f64::from(stated) && wait >= f64::from(stated) * 0.75, "{wait} for {stated}");
        }
        assert!(backoff.after(Duration::from_secs(60), &mut rng) <= Duration::from_secs(1));
    }
}
