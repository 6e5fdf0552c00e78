//! Who sends, who polls: a key in LEASES that its holder renews and that expires with it.

use std::time::Duration;

use async_nats::{HeaderMap, header::NATS_MESSAGE_TTL};
use bytes::Bytes;
use schemas::position::Sequence;

use crate::{
    bus::Bus,
    entry::{self, Entry, KV_OPERATION, WriteError},
};

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
        let Entry { revision, value } = last(bus, key).await?;
        if value.is_some() {
            return Ok(None);
        }
        let mut lease = Self { bus: bus.clone(), key: key.to_owned(), holder: holder.to_owned(), ttl, revision };
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
        let holder = last(bus, key).await?.value;
        Ok(holder.map(|holder| String::from_utf8_lossy(&holder).into_owned()))
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
                Entry { revision, value: Some(holder) }
                    if holder == self.holder.as_bytes() && revision > self.revision =>
                {
                    self.revision = revision;
                    Ok(())
                }
                Entry { .. } => Err(LeaseError::Lost { key: self.key.clone() }),
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

    async fn write(&self, headers: HeaderMap, value: Bytes) -> Result<Sequence, LeaseError> {
        let written = entry::write(&self.bus, &self.key, self.revision, headers, value).await;
        written.map_err(|error| match error {
            WriteError::Changed => LeaseError::Lost { key: self.key.clone() },
            WriteError::Unanswered(source) => LeaseError::Unanswered { key: self.key.clone(), source },
        })
    }
}

async fn last(bus: &Bus, key: &str) -> Result<Entry, LeaseError> {
    entry::last(bus, key).await.map_err(|source| LeaseError::Unanswered { key: key.to_owned(), source })
}
