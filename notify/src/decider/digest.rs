//! Digests: what was held, told later and without a sound.

use schemas::{
    delivery::{self, LedgerEvent, Note, Outcome, Topic},
    id::Id,
    subscriber::Standing,
    time::EventTime,
};

use super::Decider;
use crate::{
    caps::DIGESTS_MAX,
    decide::{Held, is_quiet},
    recipient::{Channel, Recipient},
    text::digest::Digest,
    time::WallTime,
};

impl Decider {
    /// Returns the intents of the digests that are due, to be stored: at most one an hour and chat (design 5), none in quiet
    /// hours. It looks at every chat for which something is held: ask no more than once a second.
    pub fn digests(&self, now: WallTime) -> Vec<LedgerEvent> {
        let Some(clock) = self.clock else { return Vec::new() };
        let due = self.held.iter().filter_map(|recipient| Some((recipient, self.due(recipient, clock, now)?)));
        due.take(DIGESTS_MAX).map(|(recipient, held)| digest(recipient, held, clock, now)).collect()
    }

    fn due(&self, recipient: &Recipient, clock: EventTime, now: WallTime) -> Option<&Held> {
        // Of all who wait few are due: only those are looked at any further.
        let held = self.histories.get(recipient)?.due(clock, now, self.policy.market)?;
        let subscriber = self.subscribers.get(recipient)?;
        let is_quiet = subscriber.preferences.quiet.as_ref().is_some_and(|quiet| is_quiet(quiet, now));
        let is_told =
            subscriber.standing == Standing::Active && recipient.channel() == self.policy.channel && !is_quiet;
        is_told.then_some(held)
    }
}

fn digest(recipient: &Recipient, held: &Held, clock: EventTime, now: WallTime) -> LedgerEvent {
    let digest = Digest::of(held);
    let text = match recipient.channel() {
        Channel::Terminal | Channel::Null => digest.plain(),
        Channel::Telegram => digest.html(),
    };
    let first = held.first.map_or_else(String::new, |first| first.to_string());
    LedgerEvent::Note(Note {
        v: delivery::VERSION,
        // What is held first is held once: a digest that is made again after a crash is the same one.
        id: Id::of("digest", &[recipient.channel().as_str(), recipient.name(), &first]),
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        at: now.as_millis(),
        topic: Topic::Digest { event_time: clock, held: held.count() },
        outcome: Outcome::Intent { text, thread: None, reply: false, picture: false },
    })
}
