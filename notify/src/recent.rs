//! The last things seen, of a bounded number.

use std::collections::{BTreeSet, VecDeque};

/// A set that forgets the oldest of more than `bound` values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recent<T> {
    bound: usize,
    known: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T: Clone + Ord> Recent<T> {
    pub(crate) const fn new(bound: usize) -> Self {
        Self { bound, known: BTreeSet::new(), order: VecDeque::new() }
    }

    pub(crate) fn contains(&self, value: &T) -> bool {
        self.known.contains(value)
    }

    pub(crate) fn insert(&mut self, value: T) {
        if self.known.insert(value.clone()) {
            self.order.push_back(value);
        }
        if self.order.len() > self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut recent = Recent::new(2);
        for value in [1, 2, 2, 3] {
            recent.insert(value);
        }
        assert_eq!([1, 2, 3].map(|value| recent.contains(&value)), [false, true, true]);
    }
}
