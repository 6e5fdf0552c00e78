//! What one connection speaks: a venue's protocol as text in, text out. The socket around it is the same for all.

use std::{collections::BTreeMap, time::Duration};

use axum::extract::ws::Utf8Bytes;

use super::{fault::Faults, hub::Published};

/// What a session does in answer to a client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It sends this text.
    Text(String),
    /// It drops the connection.
    Cut,
}

/// How a venue keeps and ends connections (`exchanges.md` B).
#[derive(Clone, Copy, Debug)]
pub(super) enum Keepalive {
    /// The server pings `every`, and cuts when no pong came for `pong_within`.
    Ping { every: Duration, pong_within: Duration },
    /// The server cuts when it heard nothing for `after`.
    Heard { after: Duration },
    /// The server cuts when nothing went either way for `after`.
    Traffic { after: Duration },
}

/// One connection's protocol and subscriptions; no I/O.
pub(super) trait Session: Send {
    /// Takes a client's text.
    fn handle_text(&mut self, text: &str, faults: &Faults) -> Vec<Reply>;

    /// Takes a liquidation frame and returns what this connection is sent of it.
    fn handle_liquidations(&mut self, frame: &Published) -> Vec<Utf8Bytes>;

    /// Takes market time and returns the companion frames that are due on this connection.
    fn handle_tick(&mut self, now_ms: i64) -> Vec<Utf8Bytes>;

    /// Returns how many liquidation topics are subscribed.
    fn liquidation_topics(&self) -> usize;

    /// Returns how the connection is kept.
    fn keepalive(&self) -> Keepalive;

    /// Returns the announcement that the connection will be closed, where the venue makes one.
    fn notice(&self) -> Option<String> {
        None
    }
}

/// Subscribed companion topics, each with the stretch of its interval it was last sent in.
#[derive(Debug, Default)]
pub(super) struct Companions(BTreeMap<String, Option<i64>>);

impl Companions {
    pub(super) fn add(&mut self, topic: &str) {
        self.0.entry(topic.to_owned()).or_default();
    }

    pub(super) fn remove(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    /// Returns the topics that were not yet sent in the stretch of their interval (from `interval_ms`, counted from 1970)
    /// that market time `now_ms` lies in, and marks them sent.
    pub(super) fn due(&mut self, now_ms: i64, interval_ms: impl Fn(&str) -> i64) -> Vec<&str> {
        self.0
            .iter_mut()
            .filter_map(|(topic, sent)| {
                let stretch = now_ms.div_euclid(interval_ms(topic));
                (sent.replace(stretch) != Some(stretch)).then_some(topic.as_str())
            })
            .collect()
    }
}
