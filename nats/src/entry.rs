//! One key of a bucket: its newest message, and writing it on condition that nobody else did.

use async_nats::{
    HeaderMap,
    header::NATS_MARKER_REASON,
    jetstream::{context::PublishErrorKind, message::PublishMessage, stream::DirectGetErrorKind},
};
use bytes::Bytes;
use schemas::{position::Sequence, subject::Bucket};

use crate::{
    bus::Bus,
    log::{Expect, expect_last},
    topology::{bucket_stream, bucket_subject},
};

/// Header of the key-value convention: the operation, absent for a value.
pub(crate) const KV_OPERATION: &str = "KV-Operation";

/// The newest message of a key.
pub(crate) struct Entry {
    /// Its place: what a write expects to be the last one.
    pub(crate) revision: Sequence,
    /// Absent when the value was removed or ran out.
    pub(crate) value: Option<Bytes>,
}

impl Entry {
    /// Stands for a key that was never written.
    pub(crate) const NONE: Self = Self { revision: Sequence::new(0), value: None };
}

/// A key was not written.
pub(crate) enum WriteError {
    /// Its newest message is another one than expected.
    Changed,
    /// No answer: the value may be stored or not.
    Unanswered(async_nats::Error),
}

/// Returns the newest message of `key` in LEASES.
pub(crate) async fn last(bus: &Bus, key: &str) -> Result<Entry, async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(bucket_stream(bus.names(), Bucket::Leases)).await?;
    match stream.direct_get_last_for_subject(bucket_subject(bus.names(), Bucket::Leases, key)).await {
        Ok(message) => {
            let ended =
                [NATS_MARKER_REASON.as_ref(), KV_OPERATION].iter().any(|name| message.headers.get(*name).is_some());
            Ok(Entry { revision: Sequence::new(message.sequence), value: (!ended).then_some(message.payload) })
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(Entry::NONE),
        Err(error) => Err(error.into()),
    }
}

/// Writes `key` in LEASES, provided that its newest message is still `revision` (0: it was never written).
pub(crate) async fn write(
    bus: &Bus,
    key: &str,
    revision: Sequence,
    mut headers: HeaderMap,
    value: Bytes,
) -> Result<Sequence, WriteError> {
    expect_last(&mut headers, Expect::LastSubjectSequence(revision));
    let subject = bucket_subject(bus.names(), Bucket::Leases, key);
    let message = PublishMessage::build().payload(value).headers(headers);
    let acknowledged = match bus.jetstream().send_publish(subject, message).await {
        Ok(acknowledgement) => acknowledgement.await,
        Err(error) => Err(error),
    };
    match acknowledged {
        Ok(ack) => Ok(Sequence::new(ack.sequence)),
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Err(WriteError::Changed),
        Err(error) => Err(WriteError::Unanswered(error.into())),
    }
}
