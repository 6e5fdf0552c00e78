//! What was held: the substance of the next digest.

use std::collections::BTreeMap;

use schemas::{alert::Kind, delivery::Delivery, id::Id, name::Base};

use crate::caps::HELD_MAX;

/// What was held since the last digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// By base and kind.
    pub(crate) parts: BTreeMap<(Base, Kind), Part>,
    /// How many beyond [`HELD_MAX`] pairs.
    pub(crate) more: u32,
    /// The first of them; or the digest that was to name them and never arrived, so that the next one is another.
    pub(crate) first: Option<Id>,
    /// When the first was held, on the clock of digests.
    pub(super) since: i64,
}

/// What was held of one base and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) count: u32,
    /// The largest age of those that expired, in milliseconds.
    pub(crate) late_ms: Option<i64>,
}

impl Held {
    /// Returns how many alerts were held.
    pub(crate) fn count(&self) -> u32 {
        self.parts.values().map(|part| part.count).sum::<u32>().saturating_add(self.more)
    }

    /// Adds an alert that was held.
    pub(super) fn add(&mut self, delivery: &Delivery, late_ms: Option<i64>, stamp: i64) {
        if self.first.is_none() {
            (self.first, self.since) = (Some(delivery.alert), stamp);
        }
        self.add_part((delivery.base.clone(), delivery.kind), Part { count: 1, late_ms });
    }

    /// Adds what `digest` was to name.
    pub(super) fn add_earlier(&mut self, earlier: Self, digest: Id) {
        (self.first, self.since) = (Some(digest), earlier.since);
        self.more = self.more.saturating_add(earlier.more);
        earlier.parts.into_iter().for_each(|(key, part)| self.add_part(key, part));
    }

    fn add_part(&mut self, key: (Base, Kind), added: Part) {
        if self.parts.len() >= HELD_MAX && !self.parts.contains_key(&key) {
            self.more = self.more.saturating_add(added.count);
            return;
        }
        let part = self.parts.entry(key).or_default();
        part.count = part.count.saturating_add(added.count);
        part.late_ms = part.late_ms.max(added.late_ms);
    }
}
