//! The updates that wait for the bot, and who asks for them (`telegram.md` 8).

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

use super::{call::Call, fault::Refusal};

/// Updates kept, and how long. At the bound the oldest go.
const UPDATES_MAX: usize = 10_000;
const AGE_MS_MAX: i64 = 24 * 3_600_000;

/// Longest long poll, in seconds, and most updates in an answer.
const TIMEOUT_S_MAX: i64 = 50;
const LIMIT_MAX: i64 = 100;

/// How far an offset may lie ahead of the newest update; one beyond it is not looked at.
const AHEAD_MAX: i64 = 10;

/// The same offset asked again within this time waits as long as this, and a conflict soon after another is held back
/// as long.
const PACE_MS: i64 = 3_000;

/// Where the numbers begin; on the real server anywhere.
const FIRST_ID: i64 = 100_000_001;

const OTHER_POLL: &str = "terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK_ACTIVE: &str =
    "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

/// A long poll that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    number: u64,
    from: i64,
    limit: usize,
    /// When it is answered with nothing.
    pub(super) until_ms: i64,
}

/// What came of a call of getUpdates so far.
#[derive(Debug, PartialEq)]
pub(super) enum Polled {
    Answered(Result<Value, Refusal>),
    Waits(Poll),
}

/// The queue.
pub(super) struct Updates {
    /// When each came, and what it is; the first has the number `first`.
    queue: VecDeque<(i64, Value)>,
    first: i64,
    /// Kinds the bot asked for; absent: all but those nobody gets unasked, none of which is made here.
    allowed: Option<BTreeSet<String>>,
    pub(super) webhook: Option<String>,
    /// Number of the newest poll that waits.
    poll: u64,
    /// Offset and time of the last call.
    asked: Option<(i64, i64)>,
    conflict_ms: i64,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            first: FIRST_ID,
            allowed: None,
            webhook: None,
            poll: 0,
            asked: None,
            conflict_ms: 0,
        }
    }
}

impl Updates {
    /// Keeps an update unless the bot did not ask for its kind.
    pub(super) fn push(&mut self, kind: &str, content: Value, now_ms: i64) {
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(kind)) {
            return;
        }
        if self.queue.len() == UPDATES_MAX {
            self.drop_first(1);
        }
        let update_id = self.first + i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        let mut update = json!({"update_id": update_id});
        update[kind] = content;
        self.queue.push_back((now_ms, update));
    }

    /// Begins a call of getUpdates. Its offset confirms everything before it.
    pub(super) fn begin(&mut self, call: &Call, now_ms: i64) -> Polled {
        if self.webhook.is_some() {
            return Polled::Answered(Err(self.conflict(WEBHOOK_ACTIVE, now_ms)));
        }
        self.allow(call);
        let offset = call.integer("offset").unwrap_or(0);
        let limit = call.integer("limit").unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX) as usize;
        let mut timeout_ms = call.integer("timeout").unwrap_or(0).clamp(0, TIMEOUT_S_MAX) * 1_000;
        if self.asked.is_some_and(|(before, at_ms)| before == offset && now_ms < at_ms + PACE_MS) {
            timeout_ms = timeout_ms.max(PACE_MS);
        }
        self.asked = Some((offset, now_ms));
        let from = self.confirm(offset, now_ms);
        let poll = Poll { number: self.poll + 1, from, limit, until_ms: now_ms + timeout_ms };
        match self.from(&poll) {
            found if timeout_ms == 0 || !found.is_empty() => Polled::Answered(Ok(json!(found))),
            _ => {
                self.poll += 1;
                Polled::Waits(poll)
            }
        }
    }

    /// Returns the answer to a poll that waited, once there is one.
    pub(super) fn look(&mut self, poll: Poll, now_ms: i64) -> Option<Result<Value, Refusal>> {
        if poll.number != self.poll {
            return Some(Err(self.conflict(OTHER_POLL, now_ms)));
        }
        if self.webhook.is_some() {
            return Some(Err(self.conflict("terminated by setWebhook request", now_ms)));
        }
        let found = self.from(&poll);
        (!found.is_empty() || now_ms >= poll.until_ms).then(|| Ok(json!(found)))
    }

    /// Ends the webhook.
    pub(super) fn delete_webhook(&mut self, call: &Call) -> Value {
        self.webhook = None;
        if call.flag("drop_pending_updates") {
            self.drop_first(self.queue.len());
        }
        json!(true)
    }

    pub(super) fn webhook_info(&self) -> Value {
        let mut info = json!({"url": self.webhook.as_deref().unwrap_or_default(), "has_custom_certificate": false,
            "pending_update_count": self.queue.len()});
        if let Some(allowed) = &self.allowed {
            info["allowed_updates"] = json!(allowed);
        }
        info
    }

    fn allow(&mut self, call: &Call) {
        // What is no list changes nothing, and an empty list means the default.
        let Ok(Value::Array(kinds)) = call.structure("allowed_updates") else { return };
        let kinds: BTreeSet<_> = kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        self.allowed = (!kinds.is_empty()).then_some(kinds);
    }

    /// Forgets what is confirmed or too old, and returns the number of the first update that is wanted.
    fn confirm(&mut self, offset: i64, now_ms: i64) -> i64 {
        let old = self.queue.iter().take_while(|(at_ms, _)| at_ms + AGE_MS_MAX <= now_ms).count();
        self.drop_first(old);
        let length = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        let is_known = offset > 0 && offset <= self.first + length + AHEAD_MAX;
        let confirmed = match offset {
            ..0 => length.saturating_add(offset),
            _ if is_known => offset - self.first,
            _ => 0,
        };
        self.drop_first(usize::try_from(confirmed.min(length)).unwrap_or(0));
        if is_known { self.first.max(offset) } else { self.first }
    }

    fn drop_first(&mut self, count: usize) {
        self.queue.drain(..count);
        self.first += i64::try_from(count).unwrap_or(i64::MAX);
    }

    fn from(&self, poll: &Poll) -> Vec<Value> {
        let skipped = usize::try_from(poll.from - self.first).unwrap_or(0);
        self.queue.iter().skip(skipped).take(poll.limit).map(|(_, update)| update.clone()).collect()
    }

    fn conflict(&mut self, what: &str, now_ms: i64) -> Refusal {
        if now_ms < self.conflict_ms {
            return Refusal::conflict(what, Duration::from_millis(PACE_MS.unsigned_abs()));
        }
        self.conflict_ms = now_ms + PACE_MS;
        Refusal::conflict(what, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: Value) -> Call {
        let Value::Object(fields) = params else { unreachable!("tests pass objects") };
        Call { fields, ..Call::default() }
    }

    fn filled(count: i64) -> Updates {
        let mut updates = Updates::default();
        for at_ms in 0..count {
            updates.push("message", json!({"n": at_ms}), at_ms);
        }
        updates
    }

    /// What a call gets that does not wait, as numbers from the first one.
    fn got(updates: &mut Updates, params: Value, now_ms: i64) -> Vec<i64> {
        let Polled::Answered(Ok(found)) = updates.begin(&call(params), now_ms) else { unreachable!("it is answered") };
        let ids = found.as_array().unwrap().iter();
        ids.map(|update| update["update_id"].as_i64().unwrap() - FIRST_ID).collect()
    }

    #[test]
    fn an_offset_confirms_everything_before_it() {
        let mut updates = filled(5);
        assert_eq!(got(&mut updates, json!({"limit": 2}), 10_000), [0, 1]);
        assert_eq!(got(&mut updates, json!({"offset": FIRST_ID + 2}), 20_000), [2, 3, 4]);
        assert_eq!(got(&mut updates, json!({}), 30_000), [2, 3, 4]);
        assert_eq!(got(&mut updates, json!({"offset": -1}), 40_000), [4]);
        assert_eq!(got(&mut updates, json!({"offset": FIRST_ID + 16}), 50_000), [4], "too far ahead");
        assert_eq!(got(&mut updates, json!({"offset": FIRST_ID + 5}), 60_000), [0; 0]);
        updates.push("message", json!({}), 60_000);
        assert_eq!(got(&mut updates, json!({"offset": FIRST_ID + 6}), 70_000), [0; 0], "ahead of what came");
        assert_eq!(updates.first, FIRST_ID + 6);
    }

    #[test]
    fn updates_are_kept_a_day_and_within_their_bound() {
        let mut updates = filled(2);
        assert_eq!(got(&mut updates, json!({}), AGE_MS_MAX), [1]);
        let mut updates = filled(UPDATES_MAX as i64 + 3);
        assert_eq!(got(&mut updates, json!({"limit": 1}), 0), [3]);
    }

    #[test]
    fn a_poll_waits_for_an_update_its_end_or_another_poll() {
        let mut updates = Updates::default();
        let Polled::Waits(older) = updates.begin(&call(json!({"timeout": 99})), 0) else { unreachable!("it waits") };
        assert_eq!(older.until_ms, TIMEOUT_S_MAX * 1_000);
        assert_eq!(updates.look(older, 1), None);
        let Polled::Waits(newer) = updates.begin(&call(json!({"timeout": 50})), 2) else { unreachable!("it waits") };
        updates.push("message", json!({}), 3);
        let refused = updates.look(older, 3).unwrap().unwrap_err();
        assert_eq!((refused.code.as_u16(), refused.held), (409, Duration::ZERO));
        assert!(refused.description.starts_with("Conflict: terminated by other getUpdates request"));
        assert_eq!(updates.look(newer, 3).unwrap().unwrap()[0]["update_id"], FIRST_ID);
        let Polled::Waits(poll) = updates.begin(&call(json!({"offset": FIRST_ID + 1, "timeout": 1})), 10_000) else {
            unreachable!("it waits")
        };
        assert_eq!(updates.look(poll, 11_000), Some(Ok(json!([]))));
    }

    #[test]
    fn what_asks_too_often_is_slowed_down() {
        let mut updates = Updates::default();
        assert_eq!(got(&mut updates, json!({}), 0), [0; 0]);
        let Polled::Waits(poll) = updates.begin(&call(json!({})), 1) else { unreachable!("it waits") };
        assert_eq!(poll.until_ms, 1 + PACE_MS);
        updates.webhook = Some("https://example.org".into());
        let mut held = |now_ms| match updates.begin(&call(json!({})), now_ms) {
            Polled::Answered(Err(refused)) => refused.held.as_millis(),
            Polled::Answered(Ok(_)) | Polled::Waits(_) => unreachable!("a webhook is set"),
        };
        assert_eq!((held(0), held(2_999), held(3_000)), (0, 3_000, 0));
    }

    #[test]
    fn only_what_was_asked_for_is_kept() {
        let mut updates = Updates::default();
        got(&mut updates, json!({"allowed_updates": "[\"callback_query\"]"}), 0);
        updates.push("message", json!({}), 0);
        updates.push("callback_query", json!({}), 0);
        assert_eq!(got(&mut updates, json!({}), 5_000), [0]);
        assert_eq!(updates.webhook_info()["allowed_updates"], json!(["callback_query"]));
        got(&mut updates, json!({"allowed_updates": []}), 10_000);
        assert!(updates.webhook_info()["allowed_updates"].is_null());
    }
}
