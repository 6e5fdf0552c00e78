//! Which liquidations of a venue MARKET holds: read with an own cursor before anything late is published, because the
//! server remembers ids only for its dedup window.

use std::collections::{HashSet, VecDeque};

use schemas::{id::Id, position::Sequence, subject::Stream, time::EventTime};

use crate::{
    bus::Bus,
    read::{ReadError, ReadFrom},
};

/// Ids remembered at most; beyond it those that lie first in the log are forgotten, and a repetition of one of them
/// would be stored. That many take about 15 MB and are two days of one liquidation a second.
const IDS_MAX: usize = 200_000;
/// Messages asked for at once.
const BATCH: u32 = 1000;
/// MARKET may have stored an event this much before its venue time: 10 s of clock that design 3 allows, and 5 s for ours.
const STORED_BEFORE_MS: i64 = 15_000;
/// When an older event makes the log be read again from further back, it is read from this much further.
const STEP_BACK_MS: i64 = 10 * 60_000;

/// The ids, and how far the log was read.
#[derive(Debug)]
pub(super) struct HeldIds {
    filter: String,
    cursor: Option<Cursor>,
    ids: HashSet<Id>,
    order: VecDeque<Id>,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// The server's clock where reading began, in milliseconds since 1970 UTC; absent for the first message held.
    since_ms: Option<i64>,
    from: ReadFrom,
}

impl HeldIds {
    /// Remembers nothing yet of the subjects that match `filter`.
    pub(super) fn new(filter: String) -> Self {
        Self { filter, cursor: None, ids: HashSet::new(), order: VecDeque::new() }
    }

    /// Returns whether MARKET holds `id`, of an event at `event_time`; without it the whole log is looked at.
    pub(super) async fn contains(
        &mut self,
        bus: &Bus,
        id: Id,
        event_time: Option<EventTime>,
    ) -> Result<bool, ReadError> {
        let since_ms = event_time.map(|at| at.as_millis().saturating_sub(STORED_BEFORE_MS));
        let mut cursor = match self.cursor {
            Some(cursor) if covers(cursor.since_ms, since_ms) => cursor,
            Some(_) => Cursor::at(since_ms.map(|since| since.saturating_sub(STEP_BACK_MS))),
            None => Cursor::at(since_ms),
        };
        loop {
            let records = bus.batch(Stream::Market, cursor.from, &self.filter, BATCH).await?;
            let Some(last) = records.last() else { break };
            cursor.from = ReadFrom::Sequence(last.sequence.next());
            for record in &records {
                if let Some(Ok(id)) = record.headers.message_id().map(str::parse) {
                    self.remember(id);
                }
            }
            self.cursor = Some(cursor);
            if records.len() < BATCH as usize {
                break;
            }
        }
        self.cursor = Some(cursor);
        Ok(self.ids.contains(&id))
    }

    fn remember(&mut self, id: Id) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.ids.remove(&first);
        }
    }
}

impl Cursor {
    fn at(since_ms: Option<i64>) -> Self {
        let from = since_ms.map_or(ReadFrom::Sequence(Sequence::new(1)), ReadFrom::StoredAt);
        Self { since_ms, from }
    }
}

/// Returns whether reading from `begun` has seen everything that reading from `wanted` would see.
fn covers(begun: Option<i64>, wanted: Option<i64>) -> bool {
    match (begun, wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(begun), Some(wanted)) => begun <= wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_that_lie_first_are_forgotten_first() {
        let mut held = HeldIds::new(String::new());
        let id = |number: usize| Id::of("test", &[&number.to_string()]);
        for number in 0..=IDS_MAX {
            held.remember(id(number));
        }
        assert_eq!(held.ids.len(), IDS_MAX);
        assert!(!held.ids.contains(&id(0)) && held.ids.contains(&id(1)));
    }

    #[test]
    fn reading_from_an_earlier_moment_covers_a_later_one() {
        for (begun, wanted, expected) in [
            (None, None, true),
            (None, Some(1), true),
            (Some(1), None, false),
            (Some(1), Some(2), true),
            (Some(2), Some(1), false),
        ] {
            assert_eq!(covers(begun, wanted), expected, "{begun:?} {wanted:?}");
        }
    }
}
