//! What was asked of the stand-in, and what it answered.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

/// Requests kept, about 1 KB each. At the bound the oldest go.
const REQUESTS_MAX: usize = 200_000;

/// Requests in one answer over HTTP.
const PAGE_MAX: usize = 10_000;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The request was carried out.
    Ok,
    /// The server refused it for what it asks, or for what the chat is.
    Refused,
    /// The server refused it because too many came.
    Limited,
    /// A rule says what happened.
    Scripted,
    /// Chance had it so.
    Chance,
}

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// How many came before it.
    pub index: u64,
    /// When it was answered or failed, in milliseconds since 1970 UTC on this host's clock.
    pub at_ms: i64,
    /// The number of the bot, which is what its token begins with.
    pub bot: String,
    /// The method, as it was written.
    pub method: String,
    /// Its `chat_id`, where it has one.
    pub chat: Option<String>,
    /// Its parameters; of an uploaded file only the size.
    pub params: Value,
    /// Where the answer came from.
    pub kind: Outcome,
    /// HTTP status of the answer; absent where there was none, or one that broke off.
    pub status: Option<u16>,
    /// What the answer says, where it is a refusal.
    pub description: Option<String>,
    /// The message that was sent or edited.
    pub message_id: Option<i64>,
    /// Whether a message was sent or edited, also where the answer did not say so.
    pub delivered: bool,
}

/// The requests, oldest first.
#[derive(Default)]
pub(super) struct Requests {
    kept: VecDeque<Request>,
    /// How many came.
    count: u64,
}

impl Requests {
    /// Keeps a request and gives it its index.
    pub(super) fn push(&mut self, request: Request) {
        if self.kept.len() == REQUESTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Request { index: self.count, ..request });
        self.count += 1;
    }

    /// Returns a number from 0 to 1 that differs from one request to the next: the multiples of the golden ratio are the most
    /// evenly spread.
    pub(super) fn spread(&self) -> f64 {
        // Requests are far fewer than 2^52.
        (self.count as f64 * 0.618_033_988_749_895).fract()
    }

    /// Returns those from an index on that are still kept.
    pub(super) fn since(&self, index: u64) -> impl Iterator<Item = &Request> {
        let first = self.count - self.kept.len() as u64;
        let skipped = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        self.kept.range(skipped.min(self.kept.len())..)
    }

    /// Returns one page: from an index on, or else the last ones.
    pub(super) fn page(&self, since: Option<u64>) -> Vec<Request> {
        let last = self.count.saturating_sub(PAGE_MAX as u64);
        self.since(since.unwrap_or(last)).take(PAGE_MAX).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at_ms: i64) -> Request {
        Request {
            index: 0,
            at_ms,
            bot: "1".to_owned(),
            method: "getMe".to_owned(),
            chat: None,
            params: Value::Null,
            kind: Outcome::Ok,
            status: Some(200),
            description: None,
            message_id: None,
            delivered: false,
        }
    }

    #[test]
    fn pages_follow_each_other_and_the_oldest_go() {
        let mut requests = Requests::default();
        for at_ms in 0..REQUESTS_MAX as i64 + 5 {
            requests.push(request(at_ms));
        }
        let first = requests.page(Some(0));
        assert_eq!((first.len(), first[0].index, first[0].at_ms), (PAGE_MAX, 5, 5));
        let next = requests.page(Some(first[PAGE_MAX - 1].index + 1));
        assert_eq!(next[0].index, first[PAGE_MAX - 1].index + 1);
        let last = requests.page(None);
        assert_eq!((last.len(), last[PAGE_MAX - 1].index), (PAGE_MAX, REQUESTS_MAX as u64 + 4));
        assert_eq!(requests.page(Some(u64::MAX)), []);
        assert_eq!(requests.since(0).count(), REQUESTS_MAX);
    }
}
