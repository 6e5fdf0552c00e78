//! Storing facts: every publish is idempotent and waits for the server's acknowledgement.

use std::{error::Error as _, time::Duration};

use async_nats::{
    HeaderMap,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_MESSAGE_TTL},
    jetstream::{self, ErrorCode, context::PublishErrorKind, message::PublishMessage},
};
use bytes::Bytes;
use schemas::{
    alert::Alert,
    delivery::Dead,
    market::{Canary, MarketEvent, Rules},
    position::{Evidence, MarketPosition, Sequence},
    subject::{HEADER_DETECTED_AT, HEADER_EVIDENCE, HEADER_POSITION, HEADER_SCHEMA, Stream},
    wire::{self, Encoded, Message, TooLarge},
};

use crate::bus::Bus;

/// How long a canary lies in ALERTS: longer than the notifier may be away before anybody has been told otherwise.
const CANARY_LIFE: Duration = Duration::from_secs(3600);

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place; of the first copy when it is a duplicate.
    pub sequence: Sequence,
    /// The stream held it already.
    pub duplicate: bool,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStored {
    /// It is in ALERTS, put there by this call.
    Stored(Sequence),
    /// It was there before: another worker was faster, or an earlier attempt had succeeded unseen.
    AlreadyPresent,
}

/// What must lie last on a subject for a publish to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// The message with this sequence; 0 means that the subject is empty.
    LastSubjectSequence(Sequence),
}

/// A message was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No answer, or one that may change: the message may be stored or not. Repeat it.
    #[error("`{subject}` was not acknowledged")]
    Unconfirmed {
        /// The subject.
        subject: String,
        /// What the client or the server said.
        #[source]
        source: jetstream::context::PublishError,
    },
    /// Another message came before: the expected last sequence does not hold.
    #[error("the last message on `{subject}` is another one than expected")]
    WrongLastSequence {
        /// The subject.
        subject: String,
    },
    /// The message is larger than a stream or the server takes.
    #[error("a message on `{subject}` is too large")]
    TooLarge {
        /// The subject.
        subject: String,
        /// By how much, where that is known.
        #[source]
        source: Option<TooLarge>,
    },
}

impl PublishError {
    /// Returns whether the same publish may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unconfirmed { .. } => true,
            Self::WrongLastSequence { .. } | Self::TooLarge { .. } => false,
        }
    }
}

impl Bus {
    /// Stores an event in MARKET under its id.
    ///
    /// # Errors
    /// See [`PublishError`]; repeating is always safe within the dedup window.
    pub async fn publish_event(&self, event: &MarketEvent) -> Result<Stored, PublishError> {
        self.append(&self.event_subject(event), event, Expect::Any, Some(&event.id().to_string())).await
    }

    /// Stores a version of the rules in MARKET, provided that `last` is the version before (0: there is none).
    ///
    /// # Errors
    /// [`PublishError::WrongLastSequence`] when another version came first.
    pub async fn publish_rules(&self, rules: &Rules, last: Sequence) -> Result<Stored, PublishError> {
        let event = MarketEvent::Rules(rules.clone());
        let expect = Expect::LastSubjectSequence(last);
        self.append(&self.names().rules(), &event, expect, Some(&rules.id.to_string())).await
    }

    /// Stores an alert in ALERTS once, without any time limit: its subject must be empty (design 3).
    ///
    /// `detected_at_ms` is the host's clock, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// See [`PublishError`]; repeating is always safe.
    pub async fn publish_alert(
        &self,
        alert: &Alert,
        position: MarketPosition,
        evidence: Evidence,
        detected_at_ms: i64,
    ) -> Result<AlertStored, PublishError> {
        let subject = self.names().alert(alert.kind(), &alert.base, alert.id);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_POSITION, position.to_string());
        headers.insert(HEADER_EVIDENCE, evidence.to_string());
        headers.insert(HEADER_DETECTED_AT, detected_at_ms.to_string());
        expect_last(&mut headers, Expect::LastSubjectSequence(Sequence::new(0)));
        let encoded = encode(&subject, alert)?;
        match self.store(&subject, encoded, headers, Some(&alert.id.to_string())).await {
            Ok(stored) if stored.duplicate => Ok(AlertStored::AlreadyPresent),
            Ok(stored) => Ok(AlertStored::Stored(stored.sequence)),
            // Beyond the dedup window the server refuses the second copy by its subject (nats.md 2.2).
            Err(PublishError::WrongLastSequence { .. }) => Ok(AlertStored::AlreadyPresent),
            Err(error) => Err(error),
        }
    }

    /// Stores a canary in ALERTS for an hour, unless it is there; `position` is its place in MARKET, which every message of
    /// ALERTS names.
    ///
    /// # Errors
    /// See [`PublishError`]; repeating is always safe.
    pub async fn publish_canary(&self, canary: &Canary, position: MarketPosition) -> Result<(), PublishError> {
        let subject = self.names().canary_seen(canary.id);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_POSITION, position.to_string());
        headers.insert(NATS_MESSAGE_TTL, CANARY_LIFE.as_secs().to_string());
        expect_last(&mut headers, Expect::LastSubjectSequence(Sequence::new(0)));
        let encoded = encode(&subject, &MarketEvent::Canary(canary.clone()))?;
        match self.store(&subject, encoded, headers, Some(&canary.id.to_string())).await {
            Ok(_) | Err(PublishError::WrongLastSequence { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Parks something in DEAD, once per place it was found in.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_dead(&self, stream: Stream, reason: &str, dead: &Dead) -> Result<Stored, PublishError> {
        let id = format!("{}:{}", dead.stream, dead.sequence);
        self.append(&self.names().dead(stream, reason), dead, Expect::Any, Some(&id)).await
    }

    /// Stores a ledger event or a subscriber's preference on its subject.
    ///
    /// # Errors
    /// [`PublishError::WrongLastSequence`] when `expect` does not hold: another writer was there.
    pub async fn append<M: Message>(
        &self,
        subject: &str,
        message: &M,
        expect: Expect,
        id: Option<&str>,
    ) -> Result<Stored, PublishError> {
        let mut headers = HeaderMap::new();
        expect_last(&mut headers, expect);
        self.store(subject, encode(subject, message)?, headers, id).await
    }

    /// Publishes encoded bytes and waits for the acknowledgement.
    pub(crate) async fn store(
        &self,
        subject: &str,
        encoded: (String, Bytes),
        mut headers: HeaderMap,
        id: Option<&str>,
    ) -> Result<Stored, PublishError> {
        let (schema, payload) = encoded;
        headers.insert(HEADER_SCHEMA, schema);
        if let Some(id) = id {
            headers.insert(NATS_MESSAGE_ID, id);
        }
        let message = PublishMessage::build().payload(payload).headers(headers);
        let acknowledged = match self.jetstream().send_publish(subject.to_owned(), message).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(ack) => Ok(Stored { sequence: Sequence::new(ack.sequence), duplicate: ack.duplicate }),
            Err(source) => Err(classify(subject.to_owned(), source)),
        }
    }

    pub(crate) fn event_subject(&self, event: &MarketEvent) -> String {
        match event {
            MarketEvent::Liquidation(event) => self.names().liquidation(&event.venue, &event.base),
            MarketEvent::OpenInterest(event) => self.names().open_interest(&event.venue, &event.base),
            MarketEvent::Feed(event) => self.names().feed(&event.venue),
            MarketEvent::Rules(_) => self.names().rules(),
            MarketEvent::Canary(_) => self.names().canary(),
        }
    }
}

/// Encodes a message for [`Bus::store`]: its schema and its bytes.
pub(crate) fn encode<M: Message>(subject: &str, message: &M) -> Result<(String, Bytes), PublishError> {
    match wire::encode(message) {
        Ok(Encoded { schema, payload }) => Ok((schema, payload.into())),
        Err(source) => Err(PublishError::TooLarge { subject: subject.to_owned(), source: Some(source) }),
    }
}

pub(crate) fn expect_last(headers: &mut HeaderMap, expect: Expect) {
    match expect {
        Expect::Any => {}
        Expect::LastSubjectSequence(sequence) => {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        }
    }
}

fn classify(subject: String, source: jetstream::context::PublishError) -> PublishError {
    match source.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
            PublishError::WrongLastSequence { subject }
        }
        PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge { subject, source: None },
        // nats.md 3.4: a full stream (10077) and a message above `max_msg_size` (10054) are both `Other`.
        PublishErrorKind::Other if server_code(&source) == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => {
            PublishError::TooLarge { subject, source: None }
        }
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::Other => PublishError::Unconfirmed { subject, source },
    }
}

fn server_code(error: &jetstream::context::PublishError) -> Option<ErrorCode> {
    error.source()?.downcast_ref::<jetstream::Error>().map(jetstream::Error::error_code)
}
