//! What a publisher counts. Nothing is dropped without being counted with its reason (design 8.5).

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::publisher::backlog::{Backlog, Dropped};

/// The counters of one publisher, shared with whoever shows them.
#[derive(Debug, Default)]
pub struct PublisherMonitor {
    stored: AtomicU64,
    duplicates: AtomicU64,
    left_out: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    alives_discarded: AtomicU64,
    retries: AtomicU64,
    backlog_events: AtomicU64,
    backlog_bytes: AtomicU64,
}

/// The counters at one moment, since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PublisherStats {
    /// Events MARKET took.
    pub stored: u64,
    /// Events the server refused as duplicates.
    pub duplicates: u64,
    /// Late events that were not published because MARKET held them: duplicates too.
    pub left_out: u64,
    /// Events that can never be stored: too large, or not a venue's.
    pub refused: u64,
    /// Events that went because the backlog was full: data lost.
    pub dropped: u64,
    /// Signs of life that were not written because older events waited.
    pub alives_discarded: u64,
    /// Attempts that were not acknowledged and were repeated.
    pub retries: u64,
    /// Events that wait, without the one that is being published.
    pub backlog_events: u64,
    /// Bytes held for them.
    pub backlog_bytes: u64,
}

impl PublisherMonitor {
    /// Returns the counters.
    pub fn stats(&self) -> PublisherStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublisherStats {
            stored: read(&self.stored),
            duplicates: read(&self.duplicates),
            left_out: read(&self.left_out),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
            alives_discarded: read(&self.alives_discarded),
            retries: read(&self.retries),
            backlog_events: read(&self.backlog_events),
            backlog_bytes: read(&self.backlog_bytes),
        }
    }

    pub(super) fn count_stored(&self) {
        add(&self.stored, 1);
    }

    pub(super) fn count_duplicate(&self) {
        add(&self.duplicates, 1);
    }

    pub(super) fn count_left_out(&self) {
        add(&self.left_out, 1);
    }

    pub(super) fn count_refused(&self) {
        add(&self.refused, 1);
    }

    pub(super) fn count_retry(&self) {
        add(&self.retries, 1);
    }

    pub(super) fn count_pushed(&self, backlog: &Backlog, dropped: Dropped) {
        add(&self.dropped, dropped.events);
        add(&self.alives_discarded, dropped.alives);
        self.set_backlog(backlog);
    }

    pub(super) fn set_backlog(&self, backlog: &Backlog) {
        self.backlog_events.store(backlog.len() as u64, Ordering::Relaxed);
        self.backlog_bytes.store(backlog.bytes() as u64, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
