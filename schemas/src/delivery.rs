//! What we decided and what we sent: the ledger in DELIVERIES, and what could not be processed, in DEAD.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Kind, Priority},
    id::Id,
    name::Base,
    time::EventTime,
};

/// Version of ledger events written by this code.
pub const VERSION: u16 = 1;

/// One event of DELIVERIES, told apart by its field `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum LedgerEvent {
    /// What was decided about one alert.
    Decision(Decision),
    /// What happened between one alert and one recipient.
    Delivery(Delivery),
}

/// The one decision about an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Decision {
    /// Schema version.
    pub v: u16,
    /// Id of the alert.
    pub alert: Id,
    /// Its kind.
    pub kind: Kind,
    /// Its base asset.
    pub base: Base,
    /// Its priority.
    pub priority: Priority,
    /// Its venue time.
    pub event_time: EventTime,
    /// How many recipients each reason applied to: `send`, `held:…`, `expired`.
    pub recipients: BTreeMap<String, u32>,
}

/// What happened between one alert and one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Delivery {
    /// Schema version.
    pub v: u16,
    /// Id of the alert.
    pub alert: Id,
    /// Its kind.
    pub kind: Kind,
    /// Its base asset.
    pub base: Base,
    /// Its priority.
    pub priority: Priority,
    /// Its venue time.
    pub event_time: EventTime,
    /// By which way: `telegram`, `terminal`.
    pub channel: String,
    /// The recipient's name there.
    pub recipient: String,
    /// Host clock, milliseconds since 1970 UTC: when this was recorded.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What happened to an alert on its way to a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Outcome {
    /// It is to be sent.
    Intent {
        /// The text, as the channel renders it.
        text: String,
    },
    /// It was held by a limit.
    Limited {
        /// Which: `held:…`.
        reason: String,
    },
    /// It was too old to be news.
    Expired {
        /// Its age when that was decided, in milliseconds.
        age_ms: i64,
    },
    /// A call is about to be made; nothing is known of it yet.
    Attempt {
        /// Counted from 1.
        number: u32,
    },
    /// The attempt certainly did not arrive; the next one may follow after the wait.
    Deferred {
        /// Why: `rate_limited`, `unreachable`, `migrated`, `unparseable`, `too_long`.
        reason: String,
        /// How long the recipient is left alone, in milliseconds from `at`.
        wait_ms: u64,
    },
    /// The channel accepted it.
    Sent {
        /// The channel's own id of the message, when its answer told it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        message_id: Option<i64>,
    },
    /// It was given up.
    Failed {
        /// Why: `failed:…`.
        reason: String,
    },
}

/// Something that could not be decoded or processed, parked with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "dead")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dead {
    /// Schema version.
    pub v: u16,
    /// The stream it lay in.
    pub stream: String,
    /// Its place there.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Why it could not be processed, for people.
    pub reason: String,
    /// Its payload in hex, cut at 16 KiB.
    pub payload_hex: String,
}

impl Dead {
    /// Bytes of a payload kept for looking at.
    pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

    /// Parks a message.
    pub fn new(stream: &str, sequence: u64, subject: &str, reason: String, payload: &[u8]) -> Self {
        let payload = &payload[..payload.len().min(Self::PAYLOAD_BYTES_MAX)];
        Self {
            v: VERSION,
            stream: stream.to_owned(),
            sequence,
            subject: subject.to_owned(),
            reason,
            payload_hex: data_encoding::HEXLOWER.encode(payload),
        }
    }
}
