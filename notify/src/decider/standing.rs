//! What the outcome of a delivery means for its recipient's standing.

use schemas::{
    delivery::{Delivery, LedgerEvent, Note, Outcome},
    subscriber::{self, Cause, Preferences, Standing, Subscriber},
};

use super::Decider;
use crate::{failure::Refusal, recipient::Recipient};

impl Decider {
    /// Returns what is to be stored in SUBSCRIBERS because of a stored event: who is refused for ever is switched off, who
    /// is reached again is switched on, who moved goes on under its new id.
    ///
    /// Nothing when the recipient's state is newer than the event, so that asking again changes nothing.
    pub fn standing_after(&self, event: &LedgerEvent) -> Vec<Subscriber> {
        let (channel, recipient, at, outcome) = match event {
            LedgerEvent::Delivery(Delivery { channel, recipient, at, outcome, .. })
            | LedgerEvent::Note(Note { channel, recipient, at, outcome, .. }) => (channel, recipient, *at, outcome),
            LedgerEvent::Decision(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => return Vec::new(),
        };
        let Some(recipient) = Recipient::from_ledger(channel, recipient) else { return Vec::new() };
        let recipient = self.subscribers.resolve(&recipient);
        let Some(known) = self.subscribers.get(&recipient).filter(|known| known.at < at) else { return Vec::new() };
        let changed = |standing: Standing| vec![Subscriber { standing, ..changed(known, at) }];
        match (outcome, &known.standing) {
            (Outcome::Failed { reason }, Standing::Active | Standing::Off { .. }) => {
                permanent(reason).map_or_else(Vec::new, |reason| changed(Standing::Off { reason }))
            }
            (Outcome::Sent { .. }, Standing::Off { .. }) => changed(Standing::Active),
            (Outcome::Deferred { moved_to: Some(to), .. }, _) => self.moved(known, to, at),
            (Outcome::Deferred { reason, .. }, _) if reason == "topic_gone" && known.preferences.topic.is_some() => {
                let preferences = Preferences { topic: None, ..known.preferences.clone() };
                vec![Subscriber { preferences, ..self::changed(known, at) }]
            }
            (
                Outcome::Intent { .. }
                | Outcome::Limited { .. }
                | Outcome::Expired { .. }
                | Outcome::Attempt { .. }
                | Outcome::Deferred { .. }
                | Outcome::Sent { .. }
                | Outcome::Failed { .. }
                | Outcome::Edited { .. }
                | Outcome::Gone { .. },
                _,
            ) => Vec::new(),
        }
    }

    /// The new id first: a crash between the two leaves one that is told twice rather than none that is told.
    fn moved(&self, known: &Subscriber, to: &str, at: i64) -> Vec<Subscriber> {
        let heir = Recipient::from_ledger(&known.channel, to);
        let heir = heir.filter(|heir| self.subscribers.get(heir).is_none());
        let heir = heir.map(|heir| Subscriber { recipient: heir.name().to_owned(), ..changed(known, at) });
        let old = Subscriber { standing: Standing::Moved { to: to.to_owned() }, ..changed(known, at) };
        heir.into_iter().chain([old]).collect()
    }
}

fn changed(known: &Subscriber, at: i64) -> Subscriber {
    Subscriber { v: subscriber::VERSION, at, cause: Cause::Delivery, update: None, ..known.clone() }
}

/// Returns the refusal's name when no message to this recipient can ever arrive.
fn permanent(reason: &str) -> Option<String> {
    let name = reason.strip_prefix("failed:")?;
    Refusal::PERMANENT.iter().any(|refusal| refusal.as_str() == name).then(|| name.to_owned())
}
