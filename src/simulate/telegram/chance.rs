//! Faults by chance, from a seed.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Longest wait a random 429 asks for, in seconds.
const RETRY_AFTER_S_MAX: u64 = 3;

/// How likely a request meets a fault; the seed and the order of requests decide which ones do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    /// Seed of the random numbers.
    pub seed: u64,
    /// Probability of a 429 that asks for 1 to 3 s.
    #[serde(default)]
    pub retry_after: f64,
    /// Probability that the request is carried out and its connection reset.
    #[serde(default)]
    pub reset: f64,
    /// Probability of a 502.
    #[serde(default)]
    pub bad_gateway: f64,
}

impl Chance {
    /// Returns whether these are probabilities, together too.
    pub(super) fn is_valid(&self) -> bool {
        let all = [self.retry_after, self.reset, self.bad_gateway];
        all.iter().all(|one| (0.0..=1.0).contains(one)) && all.iter().sum::<f64>() <= 1.0
    }
}

/// The chance and where its random numbers stand.
pub(super) struct Dice {
    chance: Chance,
    random: SmallRng,
}

impl Dice {
    pub(super) fn new(chance: Chance) -> Self {
        Self { random: SmallRng::seed_from_u64(chance.seed), chance }
    }

    /// Returns what the next request meets.
    pub(super) fn roll(&mut self) -> Option<Fault> {
        let (at, seconds) = (self.random.random::<f64>(), self.random.random_range(1..=RETRY_AFTER_S_MAX));
        let Chance { retry_after, reset, bad_gateway, .. } = self.chance;
        if at < retry_after {
            Some(Fault::RetryAfter(seconds))
        } else if at < retry_after + reset {
            Some(Fault::Reset)
        } else if at < retry_after + reset + bad_gateway {
            Some(Fault::BadGateway)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_about_as_often_as_said() {
        let chance = Chance { seed: 7, retry_after: 0.1, reset: 0.05, bad_gateway: 0.02 };
        let rolls = || {
            let mut dice = Dice::new(chance.clone());
            (0..10_000).map(|_| dice.roll()).collect::<Vec<_>>()
        };
        let faults = rolls();
        assert_eq!(faults, rolls());
        let count = |fits: fn(&Fault) -> bool| faults.iter().flatten().filter(|fault| fits(fault)).count();
        assert!((900..1_100).contains(&count(|fault| matches!(fault, Fault::RetryAfter(1..=3)))));
        assert!((430..570).contains(&count(|fault| *fault == Fault::Reset)));
        assert!((150..250).contains(&count(|fault| *fault == Fault::BadGateway)));
        for (retry_after, reset) in [(0.6, 0.6), (-0.1, 0.0), (f64::NAN, 0.0)] {
            assert!(!Chance { retry_after, reset, ..Chance::default() }.is_valid());
        }
    }
}
