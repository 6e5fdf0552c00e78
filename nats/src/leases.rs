//! Who sends, who polls: a key in LEASES that its holder renews and that expires with it.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    header::{NATS_MARKER_REASON, NATS_MESSAGE_TTL},
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
const KV_OPERATION: &str = "KV-Operation";

/// A lease could not be asked for, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It ran out and another may hold it: stop what it stood for.
    #[error("the lease {key:?} was lost")]
    Lost {
        /// The key.
        key: String,
    },
    /// No answer; while this goes on the lease runs out.
    #[error("the lease {key:?} cannot be reached")]
    Unanswered {
        /// The key.
        key: String,
        /// What the client or the server said.
        #[source]
        source: async_nats::Error,
    },
}

/// A lease that is held until it is released or not renewed for its time to live.
///
/// Whoever was frozen for longer than that may believe to hold it until the next [`Lease::renew`]: what it does in
/// between must be fenced by an expected sequence (design 5).
#[derive(Debug)]
pub struct Lease {
    bus: Bus,
    key: String,
    holder: String,
    ttl: Duration,
    revision: Sequence,
}

impl Lease {
    /// Takes the lease `key` for `holder`, unless somebody holds it. `ttl` is in whole seconds, at least 1 (nats.md 1).
    ///
    /// # Errors
    /// [`LeaseError::Unanswered`].
    pub async fn acquire(bus: &Bus, key: &str, holder: &str, ttl: Duration) -> Result<Option<Self>, LeaseError> {
        let (current, free) = match last(bus, key).await? {
            None => (Sequence::new(0), true),
            Some(entry) => (entry.revision, entry.holder.is_none()),
        };
        if !free {
            return Ok(None);
        }
        let mut lease =
            Self { bus: bus.clone(), key: key.to_owned(), holder: holder.to_owned(), ttl, revision: current };
        match lease.renew().await {
            Ok(()) => Ok(Some(lease)),
            // Somebody was faster.
            Err(LeaseError::Lost { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns who holds the lease `key`.
    ///
    /// # Errors
    /// [`LeaseError::Unanswered`].
    pub async fn holder(bus: &Bus, key: &str) -> Result<Option<String>, LeaseError> {
        Ok(last(bus, key).await?.and_then(|entry| entry.holder))
    }

    /// Holds the lease for another time to live. Call it every third of that.
    ///
    /// # Errors
    /// [`LeaseError::Lost`]: stop at once. [`LeaseError::Unanswered`]: try again until the time to live is over.
    pub async fn renew(&mut self) -> Result<(), LeaseError> {
        // nats.md 1: the client's own `update` drops the time to live, so the key is written as a plain message.
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_TTL, self.ttl.as_secs().max(1).to_string());
        let revision = self.write(headers, self.holder.clone().into()).await;
        match revision {
            Err(LeaseError::Lost { .. }) => match last(&self.bus, &self.key).await? {
                // An earlier renewal that timed out was stored all the same.
                Some(entry) if entry.holder.as_ref() == Some(&self.holder) && entry.revision > self.revision => {
                    self.revision = entry.revision;
                    Ok(())
                }
                _ => Err(LeaseError::Lost { key: self.key.clone() }),
            },
            Err(error) => Err(error),
            Ok(revision) => {
                self.revision = revision;
                Ok(())
            }
        }
    }

    /// Gives the lease up, so that another need not wait for its end.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when it was not held; [`LeaseError::Unanswered`], after which it ends by itself.
    pub async fn release(self) -> Result<(), LeaseError> {
        let mut headers = HeaderMap::new();
        headers.insert(KV_OPERATION, "DEL");
        self.write(headers, Bytes::new()).await.map(|_| ())
    }

    async fn write(&self, mut headers: HeaderMap, value: Bytes) -> Result<Sequence, LeaseError> {
        expect_last(&mut headers, Expect::LastSubjectSequence(self.revision));
        let subject = bucket_subject(self.bus.names(), Bucket::Leases, &self.key);
        let message = PublishMessage::build().payload(value).headers(headers);
        let acknowledged = match self.bus.jetstream().send_publish(subject, message).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(ack) => Ok(Sequence::new(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(LeaseError::Lost { key: self.key.clone() })
            }
            Err(error) => Err(LeaseError::Unanswered { key: self.key.clone(), source: error.into() }),
        }
    }
}

/// The newest message of a key.
struct Entry {
    revision: Sequence,
    /// Absent when it was given up or ran out.
    holder: Option<String>,
}

async fn last(bus: &Bus, key: &str) -> Result<Option<Entry>, LeaseError> {
    let unanswered = |source: async_nats::Error| LeaseError::Unanswered { key: key.to_owned(), source };
    let stream = bucket_stream(bus.names(), Bucket::Leases);
    let stream = bus.jetstream().get_stream_no_info(stream).await.map_err(|e| unanswered(e.into()))?;
    match stream.direct_get_last_for_subject(bucket_subject(bus.names(), Bucket::Leases, key)).await {
        Ok(message) => {
            let ended =
                [NATS_MARKER_REASON.as_ref(), KV_OPERATION].iter().any(|name| message.headers.get(*name).is_some());
            let holder = String::from_utf8_lossy(&message.payload).into_owned();
            Ok(Some(Entry { revision: Sequence::new(message.sequence), holder: (!ended).then_some(holder) }))
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(unanswered(error.into())),
    }
}
