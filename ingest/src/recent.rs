//! The ids a feed has sent lately: the second copy of a fact is dropped before it can come out of order.

use std::collections::{HashSet, VecDeque};

use schemas::id::Id;

/// Ids remembered per venue, about 0.7 MB: at 100 events/s (design 9) they cover the dedup window of MARKET, two minutes.
/// Beyond it the oldest are forgotten, and MARKET itself drops or holds the copy.
const IDS_MAX: usize = 16_384;

/// A bounded set of ids, the oldest leaving first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    ids: HashSet<Id>,
    order: VecDeque<Id>,
}

impl Recent {
    /// Remembers `id` and returns whether it was not known.
    pub(crate) fn insert(&mut self, id: Id) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        if self.order.len() == IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_is_known_until_the_bound_is_reached() {
        let id = |n: usize| Id::of("test", &[&n.to_string()]);
        let mut recent = Recent::default();
        assert!(recent.insert(id(0)));
        assert!(!recent.insert(id(0)));
        for n in 1..=IDS_MAX {
            assert!(recent.insert(id(n)));
        }
        assert!(recent.insert(id(0)));
        assert_eq!((recent.ids.len(), recent.order.len()), (IDS_MAX, IDS_MAX));
    }
}
