//! What came of a call.

use std::time::Duration;

use schemas::delivery::{LedgerEvent, Outcome};

use super::{Call, Outbox, What, backoff, item::failed, queue::Turn, window::Rest};
use crate::{
    caps::{ATTEMPTS_MAX, UNAUTHORIZED_REST, UNREACHABLE_REST_MAX},
    failure::{Failure, MessageId},
    recipient::Recipient,
    time::{WallTime, millis},
};

impl Outbox {
    /// Takes in what came of a call: the message's id, if its channel has one, or what went wrong.
    pub fn handle_result(&mut self, call: &Call, result: Result<Option<MessageId>, Failure>, now: WallTime) {
        let Some(recipient) = self.recipient(call.to.channel().as_str(), call.to.name()) else { return };
        match &result {
            Err(Failure::NotSent) => {
                // Nobody can be reached: one look at a time, ever more seldom.
                let wait = Duration::from_secs(1).saturating_mul(1 << self.unreachable.min(4));
                self.unreachable = self.unreachable.saturating_add(1);
                self.rest = Rest::new(now, wait.min(UNREACHABLE_REST_MAX));
            }
            Err(Failure::Unauthorized) => self.rest = Rest::new(now, UNAUTHORIZED_REST),
            Ok(_) | Err(_) => self.unreachable = 0,
        }
        match &call.what {
            What::Edit { .. } => self.edited(call, &recipient, result, now),
            What::Message { .. } | What::Picture { .. } => self.sent(call, &recipient, result, now),
        }
    }

    fn sent(&mut self, call: &Call, to: &Recipient, result: Result<Option<MessageId>, Failure>, now: WallTime) {
        let Some(queue) = self.queues.get_mut(to) else { return };
        let Some(place) = queue.place_of(call.id) else { return };
        let Some(pending) = queue.pending.get_mut(&place) else { return };
        let failure = match result {
            Ok(id) => {
                let outcome = Outcome::Sent { message_id: id.map(|MessageId(id)| id) };
                return self.results.push_back(pending.intent.event(outcome, now));
            }
            // Another sender's attempt came after this one: only that it arrived is news.
            Err(failure) if pending.attempts != call.number && failure != Failure::SentIdLost => return,
            Err(failure) => failure,
        };
        let last = pending.tried >= ATTEMPTS_MAX;
        let mut moved_to = None;
        let wait = match &failure {
            Failure::SentIdLost => {
                return self.results.push_back(pending.intent.event(Outcome::Sent { message_id: None }, now));
            }
            Failure::Ambiguous if pending.may_repeat() => {
                // Nothing is known that could be recorded: the open attempt says so.
                queue.rest = Rest::new(now, backoff(pending.tried));
                queue.busy = None;
                self.in_flight -= 1;
                return;
            }
            Failure::RetryAfter(wait) => {
                queue.rest = Rest::new(now, *wait);
                (!last).then_some(*wait)
            }
            // Nothing was tried: the rest of all sending is the wait, and the time to live ends it.
            Failure::NotSent | Failure::Unauthorized => Some(Duration::ZERO),
            Failure::Migrated(chat) => {
                moved_to = Some(chat.as_str().to_owned());
                Some(Duration::ZERO)
            }
            Failure::TopicGone => (!pending.topic_gone).then_some(Duration::ZERO),
            Failure::Unparseable | Failure::TooLong => (!pending.fallback && !last).then_some(Duration::ZERO),
            Failure::Ambiguous
            | Failure::MessageGone
            | Failure::NotModified
            | Failure::Conflict
            | Failure::Refused(_) => None,
        };
        // Whatever became of a repeat, its first copy may have arrived; a refusal says more about the recipient.
        let is_unknown = pending.repeated && !matches!(failure, Failure::Refused(_));
        let end = if is_unknown { &Failure::Ambiguous } else { &failure };
        let outcome = wait.map_or_else(|| failed(end), |wait| deferred(&failure, wait, moved_to));
        self.results.push_back(pending.intent.event(outcome, now));
    }

    /// An edit may be made twice, so what failed for the moment is simply due again.
    fn edited(&mut self, call: &Call, to: &Recipient, result: Result<Option<MessageId>, Failure>, now: WallTime) {
        let What::Edit { message, .. } = &call.what else { return };
        let Some(queue) = self.queues.get_mut(to) else { return };
        let Some(Turn::Edit(id)) = queue.busy.take_if(|busy| matches!(busy, Turn::Edit(_))) else { return };
        self.in_flight -= 1;
        let Some(thread) = queue.threads.get_mut(&id) else { return };
        let Some(revision) = thread.made(call.id) else { return };
        let message_id = message.0;
        let outcome = match result {
            Ok(_) | Err(Failure::SentIdLost | Failure::NotModified) => Outcome::Edited { message_id },
            Err(Failure::MessageGone) => Outcome::Gone { message_id },
            Err(Failure::RetryAfter(wait)) => return queue.rest = Rest::new(now, wait),
            Err(Failure::NotSent | Failure::Unauthorized | Failure::Ambiguous) => {
                return queue.rest = Rest::new(now, backoff(1));
            }
            Err(ref failure @ Failure::Migrated(ref chat)) => {
                deferred(failure, Duration::ZERO, Some(chat.as_str().to_owned()))
            }
            // The message stays as it is; what is wrong with one text is not with the next.
            Err(Failure::Unparseable | Failure::TooLong | Failure::TopicGone | Failure::Conflict) => {
                return thread.next = None;
            }
            Err(ref failure @ Failure::Refused(_)) => {
                thread.next = None;
                failed(failure)
            }
        };
        self.results.push_back(LedgerEvent::Delivery(revision.event(to, outcome, now)));
    }
}

fn deferred(failure: &Failure, wait: Duration, moved_to: Option<String>) -> Outcome {
    let wait_ms = u64::try_from(millis(wait)).unwrap_or(0);
    Outcome::Deferred { reason: failure.reason().to_owned(), wait_ms, moved_to }
}
