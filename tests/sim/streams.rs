//! The three logs and the bucket of snapshots, in memory, with the guarantees the broker gives.

use std::collections::{BTreeMap, BTreeSet};

use detect::detector::Detected;
use schemas::{
    delivery::LedgerEvent,
    id::Id,
    market::MarketEvent,
    position::Sequence,
    subject::Names,
    wire::{self, Message},
};

/// The dedup window of a stream (design 3).
const DEDUP_MS: i64 = 120_000;

/// MARKET: refuses ids it holds, for its dedup window and what publishers read before they publish anything late are one
/// thing here.
#[derive(Default)]
pub(crate) struct Log {
    payloads: Vec<Vec<u8>>,
    /// The payloads as every reader decodes them.
    events: Vec<MarketEvent>,
    ids: BTreeSet<Id>,
}

impl Log {
    /// Stores an event unless its id is held.
    pub(crate) fn publish(&mut self, event: &MarketEvent) {
        if self.ids.insert(event.id()) {
            let payload = payload(event);
            self.events.push(wire::decode(&payload).unwrap());
            self.payloads.push(payload);
        }
    }

    /// Returns the event at a place counted from 1; nothing beyond the end.
    pub(crate) fn get(&self, sequence: Sequence) -> Option<&MarketEvent> {
        self.events.get(usize::try_from(sequence.get()).unwrap().checked_sub(1)?)
    }

    /// Iterates over all events with their places.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Sequence, &MarketEvent)> {
        (1..).map(Sequence::new).zip(&self.events)
    }

    pub(crate) const fn payloads(&self) -> &Vec<Vec<u8>> {
        &self.payloads
    }
}

/// ALERTS: each alert on its own subject, stored with *expected last subject sequence 0*.
#[derive(Default)]
pub(crate) struct Alerts {
    pub(crate) stored: Vec<StoredAlert>,
    ids: BTreeSet<Id>,
    /// Indices of those the notifier acknowledged.
    pub(crate) acknowledged: BTreeSet<usize>,
}

/// A message of ALERTS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAlert {
    pub(crate) position: Sequence,
    pub(crate) payload: Vec<u8>,
}

impl StoredAlert {
    pub(crate) fn new(detected: &Detected) -> Self {
        Self { position: detected.position, payload: payload(&detected.alert) }
    }
}

impl Alerts {
    /// Stores an alert, or refuses it as present.
    pub(crate) fn publish(&mut self, detected: &Detected) {
        if self.ids.insert(detected.alert.id) {
            self.stored.push(StoredAlert::new(detected));
        }
    }

    /// Position of the newest alert; 0 without one.
    pub(crate) fn newest_position(&self) -> Sequence {
        self.stored.last().map_or(Sequence::new(0), |alert| alert.position)
    }
}

/// DELIVERIES.
#[derive(Default)]
pub(crate) struct Ledger {
    records: Vec<(String, Vec<u8>)>,
    /// The payloads as every reader decodes them.
    events: Vec<LedgerEvent>,
    last_of: BTreeMap<String, usize>,
    message_ids: BTreeMap<String, (usize, i64)>,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is stored at this place, counted from 1; perhaps it was already.
    Stored(usize),
    /// The subject's last place is another one than was expected.
    Refused,
}

impl Ledger {
    /// Stores an event under a message id, if the last place on its subject is the expected one.
    pub(crate) fn append(
        &mut self,
        event: &LedgerEvent,
        expected: Option<usize>,
        message_id: String,
        now_ms: i64,
    ) -> Appended {
        if let Some((place, at_ms)) = self.message_ids.get(&message_id)
            && now_ms - at_ms < DEDUP_MS
        {
            return Appended::Stored(*place);
        }
        let subject = subject_of(event);
        let last = self.last_of.get(&subject).copied().unwrap_or(0);
        if expected.is_some_and(|expected| expected != last) {
            return Appended::Refused;
        }
        let payload = payload(event);
        self.events.push(wire::decode(&payload).unwrap());
        self.records.push((subject.clone(), payload));
        let place = self.records.len();
        self.last_of.insert(subject, place);
        self.message_ids.insert(message_id, (place, now_ms));
        Appended::Stored(place)
    }

    /// Returns the event at a place counted from 1, with its subject; nothing beyond the end.
    pub(crate) fn get(&self, place: usize) -> Option<(&str, &LedgerEvent)> {
        let index = place.checked_sub(1)?;
        Some((&self.records.get(index)?.0, &self.events[index]))
    }

    pub(crate) const fn events(&self) -> &Vec<LedgerEvent> {
        &self.events
    }

    pub(crate) fn into_records(self) -> Vec<(String, Vec<u8>)> {
        self.records
    }
}

/// Returns the subject of a ledger event.
pub(crate) fn subject_of(event: &LedgerEvent) -> String {
    Names::default().ledger(event)
}

/// STATE: the newest snapshot.
#[derive(Default)]
pub(crate) struct Snapshots {
    newest: Option<(Sequence, Vec<u8>)>,
}

impl Snapshots {
    /// Keeps a snapshot; a smaller position never replaces a larger one.
    pub(crate) fn save(&mut self, position: Sequence, state: Vec<u8>) {
        if self.newest.as_ref().is_none_or(|(newest, _)| *newest < position) {
            self.newest = Some((position, state));
        }
    }

    pub(crate) const fn newest(&self) -> Option<&(Sequence, Vec<u8>)> {
        self.newest.as_ref()
    }
}

fn payload<M: Message>(message: &M) -> Vec<u8> {
    wire::encode(message).unwrap().payload
}
