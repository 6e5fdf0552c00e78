//! What several processes count together: one value under a key in LEASES, replaced only by who has seen it.

use async_nats::HeaderMap;
use bytes::Bytes;
use schemas::{name::subject_token, position::Sequence};

use crate::{
    bus::Bus,
    entry::{self, WriteError},
};

/// A register could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another process replaced it meanwhile: load it again.
    #[error("the register {key:?} was changed by another")]
    Changed {
        /// The key.
        key: String,
    },
    /// No answer; a value that was to be stored is stored or not.
    #[error("the register {key:?} cannot be reached")]
    Unanswered {
        /// The key.
        key: String,
        /// What the client or the server said.
        #[source]
        source: async_nats::Error,
    },
}

/// A value as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What [`Register::replace`] expects to find; 0 when there was no value.
    pub revision: Sequence,
    /// The value.
    pub value: Option<Bytes>,
}

/// A value that outlives every process, without a time to live.
#[derive(Clone, Debug)]
pub struct Register {
    bus: Bus,
    key: String,
}

impl Register {
    /// Returns the register `<kind>.<name>`, whether or not it holds anything yet. Both become plain tokens of a subject.
    pub fn new(bus: &Bus, kind: &str, name: &str) -> Self {
        Self { bus: bus.clone(), key: format!("{}.{}", subject_token(kind), subject_token(name)) }
    }

    /// Returns the value and its revision.
    ///
    /// # Errors
    /// [`RegisterError::Unanswered`].
    pub async fn load(&self) -> Result<Loaded, RegisterError> {
        match entry::last(&self.bus, &self.key).await {
            Ok(entry) => Ok(Loaded { revision: entry.revision, value: entry.value }),
            Err(source) => Err(RegisterError::Unanswered { key: self.key.clone(), source }),
        }
    }

    /// Puts `value` in the place of the one loaded as `revision`, and returns the new revision.
    ///
    /// # Errors
    /// [`RegisterError::Changed`] when another was faster, and nothing is stored then; [`RegisterError::Unanswered`].
    pub async fn replace(&self, revision: Sequence, value: Bytes) -> Result<Sequence, RegisterError> {
        let written = entry::write(&self.bus, &self.key, revision, HeaderMap::new(), value).await;
        written.map_err(|error| match error {
            WriteError::Changed => RegisterError::Changed { key: self.key.clone() },
            WriteError::Unanswered(source) => RegisterError::Unanswered { key: self.key.clone(), source },
        })
    }
}
