//! Who is told what: a fold of SUBSCRIBERS.

use std::collections::BTreeMap;

use schemas::subscriber::{Standing, Subscriber};

use crate::{caps::MOVES_MAX, recipient::Recipient};

/// The last event of every recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribers(BTreeMap<Recipient, Subscriber>);

impl Subscribers {
    /// Returns nobody.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes in an event. A channel of a newer program is not ours.
    pub fn handle(&mut self, subscriber: Subscriber) {
        if let Some(recipient) = Recipient::of(&subscriber) {
            self.0.insert(recipient, subscriber);
        }
    }

    /// Returns the state of a recipient.
    pub fn get(&self, recipient: &Recipient) -> Option<&Subscriber> {
        self.0.get(recipient)
    }

    /// Returns every recipient and its state, in the order of the recipients.
    pub fn iter(&self) -> impl Iterator<Item = (&Recipient, &Subscriber)> {
        self.0.iter()
    }

    /// Returns how many recipients get alerts.
    pub fn active(&self) -> usize {
        self.0.values().filter(|subscriber| subscriber.standing == Standing::Active).count()
    }

    /// Returns the recipient under which the state of this one goes on: itself unless its group moved.
    pub fn resolve(&self, recipient: &Recipient) -> Recipient {
        let mut recipient = recipient.clone();
        for _ in 0..MOVES_MAX {
            let Some(Standing::Moved { to }) = self.get(&recipient).map(|subscriber| &subscriber.standing) else {
                break;
            };
            let Some(moved) = Recipient::from_ledger(recipient.channel().as_str(), to) else { break };
            recipient = moved;
        }
        recipient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{chat, subscriber};

    #[test]
    fn a_moved_group_is_followed_and_a_circle_ends() {
        let mut subscribers = Subscribers::default();
        let moved =
            |from, to: &str| Subscriber { standing: Standing::Moved { to: to.to_owned() }, ..subscriber(&chat(from)) };
        subscribers.handle(moved(-1, "-2"));
        subscribers.handle(moved(-2, "-3"));
        assert_eq!(subscribers.resolve(&chat(-1)), chat(-3));
        assert_eq!(subscribers.resolve(&chat(7)), chat(7));
        subscribers.handle(moved(-3, "-1"));
        subscribers.resolve(&chat(-1));
    }
}
