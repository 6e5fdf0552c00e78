//! Commands: carried out in the order in which they came, each once.

use std::sync::Arc;

use notify::{
    commands::{
        self, Effects,
        facts::Known,
        update::{Asked, Ignored, Membership, Pressed, Written},
    },
    recipient::Recipient,
};
use schemas::{subject::Stream, subscriber::Subscriber};
use tracing::{debug, warn};

use super::{Sender, wall_time};
use crate::run::notify::{
    asked::{Ask, Done},
    store::Fenced,
};

/// Changes of others that may come first, again and again, before a command is given up.
const ATTEMPTS_MAX: usize = 8;

impl Sender {
    /// Returns the first update of Telegram that was not carried out, as far as the ledger tells.
    pub(in crate::run::notify) fn next_update(&self) -> Option<i64> {
        self.journal.offset()
    }

    /// Begins to look up what is needed for an answer.
    pub(super) fn look_up(&mut self, ask: Ask) {
        let needs = commands::needs(&ask.asked, self.decider.subscribers(), &self.sinks.commands);
        let lookup = Arc::clone(&self.lookup);
        self.looking_up.push_back(tokio::spawn(async move {
            let known = lookup.known(&needs).await;
            (ask, known)
        }));
    }

    /// Stores what follows, and answers when all of it is stored.
    pub(super) async fn carry_out(&mut self, ask: Ask, mut known: Known) -> anyhow::Result<()> {
        self.catch_up().await?;
        let Ask { asked, answer } = ask;
        let done = if update_of(&asked).is_some_and(|update| self.journal.is_done(update)) {
            Done { effects: Effects::default(), before: None }
        } else {
            if let Asked::Command(written) = &*asked {
                known.refused_before = self.journal.was_refused(&written.chat.id);
            }
            self.effects(&asked, &known).await?
        };
        if let Asked::Ignored(Ignored { reason, .. }) = *asked {
            debug!(reason = reason.as_str(), "an update asks for nothing");
            self.shown.asked(reason.as_str());
        }
        // Who asked may be gone.
        drop(answer.send(done));
        Ok(())
    }

    /// Takes in what another notifier stored, as far as the broker tells: one that stood still must not do again what its
    /// successor did.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        for stream in [Stream::Subscribers, Stream::Deliveries] {
            match (self.bus.stream_state(stream).await, stream) {
                (Ok(state), Stream::Subscribers) => self.fold_subscribers_up_to(state.last).await?,
                (Ok(state), _) => self.fold_up_to(state.last).await?,
                // What is stored under a command's own id is refused as present.
                (Err(error), _) => warn!(%error, "the ends of the streams are unknown"),
            }
        }
        Ok(())
    }

    async fn effects(&mut self, asked: &Asked, known: &Known) -> anyhow::Result<Done> {
        for _ in 0..ATTEMPTS_MAX {
            let now = wall_time();
            let effects = commands::carry_out(asked, known, self.decider.subscribers(), &self.sinks.commands, now);
            let before = effects.answer.as_ref().and_then(|answer| self.state_of(&answer.recipient));
            if let Err(Fenced) = self.store_subscribers(&effects).await? {
                self.catch_up().await?;
                continue;
            }
            // The last of them says that all is stored.
            for event in effects.events(now) {
                let stored = self.store.once(&event).await;
                self.fold_up_to(stored).await?;
            }
            return Ok(Done { effects, before });
        }
        anyhow::bail!("a recipient is being changed by others all the time; a command was not carried out")
    }

    fn state_of(&self, recipient: &Recipient) -> Option<Subscriber> {
        self.decider.subscribers().get(recipient).cloned()
    }

    async fn store_subscribers(&mut self, effects: &Effects) -> anyhow::Result<Result<(), Fenced>> {
        for subscriber in &effects.subscribers {
            match self.store.subscriber(subscriber).await {
                Ok(stored) => self.fold_subscribers_up_to(stored).await?,
                Err(fenced) => return Ok(Err(fenced)),
            }
        }
        Ok(Ok(()))
    }
}

fn update_of(asked: &Asked) -> Option<i64> {
    match asked {
        Asked::Command(Written { update, .. }) | Asked::Ignored(Ignored { update, .. }) => *update,
        Asked::Press(Pressed { update, .. }) | Asked::Member(Membership { update, .. }) => Some(*update),
    }
}
