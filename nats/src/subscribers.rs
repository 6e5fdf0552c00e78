//! SUBSCRIBERS: the last state on each recipient's subject.

use std::collections::BTreeMap;

use schemas::{
    position::Sequence,
    subject::Stream,
    subscriber::Subscriber,
    wire::{self, DecodeError},
};

use crate::{
    bus::Bus,
    cursor::{Cursor, CursorError},
    log::{Expect, PublishError, Stored},
    read::{ReadError, Record},
};

/// The state of a recipient, and its place: what the next one expects to be the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscriber {
    /// The state.
    pub subscriber: Subscriber,
    /// Its place in SUBSCRIBERS.
    pub sequence: Sequence,
}

/// Subscribers cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SubscribersError {
    /// The stream does not answer.
    #[error("a subscriber cannot be looked up")]
    Read(#[from] ReadError),
    /// The stream is not the one it was.
    #[error("the subscribers cannot be read")]
    Cursor(#[from] CursorError),
    /// A stored state cannot be understood.
    #[error("the subscriber at {sequence} of SUBSCRIBERS cannot be decoded")]
    Undecodable {
        /// The place.
        sequence: Sequence,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

impl Bus {
    /// Returns the last state of every recipient, in the order of their subjects.
    ///
    /// # Errors
    /// See [`SubscribersError`]; an earlier state that cannot be decoded is none.
    pub async fn subscribers(&self) -> Result<Vec<StoredSubscriber>, SubscribersError> {
        let mut last: BTreeMap<String, Record> = BTreeMap::new();
        let mut cursor = Cursor::open(self, Stream::Subscribers, Sequence::new(1), None).await?;
        while let Some(record) = cursor.next_pending().await? {
            last.insert(record.subject.clone(), record);
        }
        last.values().map(decoded).collect()
    }

    /// Returns the last state of one recipient, if it ever had one.
    ///
    /// # Errors
    /// See [`SubscribersError`].
    pub async fn subscriber(
        &self,
        channel: &str,
        recipient: &str,
    ) -> Result<Option<StoredSubscriber>, SubscribersError> {
        let subject = self.names().subscriber(channel, recipient);
        self.last_on_subject(Stream::Subscribers, &subject).await?.as_ref().map(decoded).transpose()
    }

    /// Stores a state, provided that `last` is the place of the one before (0: there is none).
    ///
    /// # Errors
    /// [`PublishError::WrongLastSequence`] when another change came first. After any other error it may be stored or not.
    pub async fn put_subscriber(&self, subscriber: &Subscriber, last: Sequence) -> Result<Stored, PublishError> {
        let subject = self.names().subscriber(&subscriber.channel, &subscriber.recipient);
        self.append(&subject, subscriber, Expect::LastSubjectSequence(last), None).await
    }
}

fn decoded(record: &Record) -> Result<StoredSubscriber, SubscribersError> {
    let sequence = record.sequence;
    match wire::decode(&record.payload) {
        Ok(subscriber) => Ok(StoredSubscriber { subscriber, sequence }),
        Err(source) => Err(SubscribersError::Undecodable { sequence, source }),
    }
}
