//! Which updates were carried out, folded from the ledger: no command is run twice, or lost, across restarts.

use schemas::delivery::LedgerEvent;

use super::REFUSED;
use crate::{
    caps::{STRANGERS_MAX, UPDATES_DONE_MAX},
    recent::Recent,
    recipient::ChatId,
};

/// What the ledger says of updates.
#[derive(Clone, Debug)]
pub struct Journal {
    done: Recent<i64>,
    last: Option<i64>,
    /// Chats that were told that they may not use commands.
    strangers: Recent<String>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { done: Recent::new(UPDATES_DONE_MAX), last: None, strangers: Recent::new(STRANGERS_MAX) }
    }
}

impl Journal {
    /// Takes in a stored event of the ledger.
    pub fn handle_event(&mut self, event: &LedgerEvent) {
        if let LedgerEvent::Update(update) = event {
            self.done.insert(update.update);
            self.last = Some(update.update);
            if update.command == REFUSED {
                self.strangers.insert(update.recipient.clone());
            }
        }
    }

    /// Returns whether an update was carried out.
    ///
    /// Its number alone says so: after a week without any, Telegram goes on with numbers that may be smaller.
    pub fn is_done(&self, update: i64) -> bool {
        self.done.contains(&update)
    }

    /// Returns the first update to be asked for, if any was ever carried out.
    pub fn offset(&self) -> Option<i64> {
        self.last.map(|last| last.saturating_add(1))
    }

    /// Returns whether a chat was told that it may not use commands.
    pub fn was_refused(&self, chat: &ChatId) -> bool {
        self.strangers.contains(&chat.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use schemas::delivery::{self, Update};

    use super::*;

    fn carried(update: i64, recipient: &str, command: &str) -> LedgerEvent {
        let (recipient, command) = (recipient.to_owned(), command.to_owned());
        let channel = "telegram".to_owned();
        LedgerEvent::Update(Update { v: delivery::VERSION, update, channel, recipient, command, at: 1 })
    }

    #[test]
    fn what_was_carried_out_is_known_and_asking_goes_on_behind_the_last() {
        let mut journal = Journal::default();
        assert_eq!((journal.offset(), journal.is_done(7)), (None, false));
        for (update, chat, command) in [(7, "42", "mute"), (9, "43", "refused"), (3, "42", "help")] {
            journal.handle_event(&carried(update, chat, command));
        }
        assert_eq!([3, 7, 8, 9].map(|update| journal.is_done(update)), [true, true, false, true]);
        assert_eq!(journal.offset(), Some(4), "numbers may begin anew");
        let told = [42, 43].map(|chat| journal.was_refused(&ChatId::from_number(chat)));
        assert_eq!(told, [false, true]);
    }
}
