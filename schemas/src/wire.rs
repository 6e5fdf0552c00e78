//! The wire format: MessagePack with field names, the type and its version in the payload and in a header.
//!
//! Decoding is total: bytes in, event or typed error out. Old versions are read for ever; a newer one is refused by name.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    alert::{self, Alert},
    caps::MESSAGE_BYTES_MAX,
    delivery::{self, Dead, LedgerEvent},
    market::{self, MarketEvent},
    subscriber::{self, Subscriber},
};

/// A payload type that has a place on the wire.
pub trait Message: Serialize + DeserializeOwned {
    /// Newest version this code reads and the one it writes.
    const VERSION: u16;

    /// Returns the name in the field `type`.
    fn type_name(&self) -> &'static str;
}

impl Message for MarketEvent {
    const VERSION: u16 = market::VERSION;

    fn type_name(&self) -> &'static str {
        match self {
            Self::Liquidation(_) => "liquidation",
            Self::OpenInterest(_) => "open_interest",
            Self::Canary(_) => "canary",
            Self::Feed(_) => "feed",
            Self::Rules(_) => "rules",
        }
    }
}

impl Message for Alert {
    const VERSION: u16 = alert::VERSION;

    fn type_name(&self) -> &'static str {
        "alert"
    }
}

impl Message for LedgerEvent {
    const VERSION: u16 = delivery::VERSION;

    fn type_name(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision",
            Self::Delivery(_) => "delivery",
            Self::Note(_) => "note",
            Self::Feedback(_) => "feedback",
            Self::Update(_) => "update",
        }
    }
}

impl Message for Subscriber {
    const VERSION: u16 = subscriber::VERSION;

    fn type_name(&self) -> &'static str {
        "subscriber"
    }
}

impl Message for Dead {
    const VERSION: u16 = delivery::VERSION;

    fn type_name(&self) -> &'static str {
        "dead"
    }
}

/// An encoded message: what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Value of the header [`crate::subject::HEADER_SCHEMA`].
    pub schema: String,
    /// MessagePack.
    pub payload: Vec<u8>,
}

/// A message cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

/// A payload cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not an event of the expected kind.
    #[error("not a known event: {0}")]
    Malformed(String),
    /// It was written by a newer program.
    #[error("version {found} is newer than {known}, the newest this program reads")]
    Newer {
        /// The version found.
        found: u16,
        /// The newest known.
        known: u16,
    },
}

impl DecodeError {
    /// Returns the reason under which it is counted and parked.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "undecodable",
            Self::Newer { .. } => "newer",
        }
    }
}

/// Encodes a message.
///
/// # Errors
/// [`TooLarge`] above [`MESSAGE_BYTES_MAX`].
pub fn encode<M: Message>(message: &M) -> Result<Encoded, TooLarge> {
    let payload = rmp_serde::to_vec_named(message).expect("events hold only strings, integers, booleans and maps");
    if payload.len() > MESSAGE_BYTES_MAX {
        return Err(TooLarge { bytes: payload.len() });
    }
    Ok(Encoded { schema: format!("{}/{}", message.type_name(), M::VERSION), payload })
}

/// Decodes a message.
///
/// # Errors
/// [`DecodeError`] for anything that is not a message of this kind and a version this code reads.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, DecodeError> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u16,
    }
    let malformed = |error: rmp_serde::decode::Error| DecodeError::Malformed(error.to_string());
    let version: Version = read(payload).map_err(malformed)?;
    if version.v > M::VERSION {
        return Err(DecodeError::Newer { found: version.v, known: M::VERSION });
    }
    read(payload).map_err(malformed)
}

/// Deepest nesting read; events nest to four. A deeper payload is refused as malformed: the library's own 1,024 levels
/// overflow a thread's stack where a field is buffered to be told apart.
const NESTING_MAX: usize = 32;

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
    deserializer.set_max_depth(NESTING_MAX);
    T::deserialize(&mut deserializer)
}
