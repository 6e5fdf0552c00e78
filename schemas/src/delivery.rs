//! What we decided and what we sent: the ledger in DELIVERIES, and what could not be processed, in DEAD.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Kind, Priority},
    id::Id,
    name::Base,
    time::{EventTime, ReceivedAt},
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
    /// What happened to a message that is no alert.
    Note(Note),
    /// What somebody thinks of an alert.
    Feedback(Feedback),
    /// An update of Telegram was carried out.
    Update(Update),
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
    /// How many recipients each reason applied to: `send`, `reply`, `edit`, `held:…`, `expired`.
    pub recipients: BTreeMap<String, u32>,
    /// What the messages of its episode are changed to, where recipients have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edit: Option<Edit>,
}

/// A new text for the messages of an episode: one for all recipients that have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Edit {
    /// The episode, as in [`Outcome::Intent`].
    pub thread: Id,
    /// Host clock, milliseconds since 1970 UTC: when it was decided.
    pub at: i64,
    /// The text, as Telegram's HTML.
    pub text: String,
    /// It is the last: the episode has ended.
    pub last: bool,
    /// Recipients with a message of the episode that are not to see it: muted, or told by a message of their own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub except: BTreeSet<String>,
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
        /// What the message belongs to: a cascade's episode, or an explosion's base and direction.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        thread: Option<Id>,
        /// It answers the thread's first message in this chat; else it is a first one.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        reply: bool,
        /// A chart is to follow it.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        picture: bool,
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
        /// Why: `rate_limited`, `unreachable`, `migrated`, `unparseable`, `too_long`, `topic_gone`.
        reason: String,
        /// How long the recipient is left alone, in milliseconds from `at`.
        wait_ms: u64,
        /// The recipient it is by now, where the group has another id.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        moved_to: Option<String>,
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
    /// The first message of its episode shows it.
    Edited {
        /// The channel's own id of the message.
        message_id: i64,
    },
    /// The message that was to show it cannot be changed any more: it was deleted.
    Gone {
        /// The channel's own id of the message.
        message_id: i64,
    },
}

/// A message that is no alert, between us and one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Note {
    /// Schema version.
    pub v: u16,
    /// Id of the message: a function of its topic and recipient.
    pub id: Id,
    /// By which way: `telegram`, `terminal`.
    pub channel: String,
    /// The recipient's name there.
    pub recipient: String,
    /// Host clock, milliseconds since 1970 UTC: when this was recorded.
    pub at: i64,
    /// What it is about, told apart by `topic`.
    #[serde(flatten)]
    pub topic: Topic,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What a message that is no alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "topic", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Topic {
    /// What was held since the last one. It makes no sound.
    Digest {
        /// Venue time: the largest decided when it was made.
        event_time: EventTime,
        /// How many alerts it names.
        held: u32,
    },
    /// The chart of an alert.
    Picture {
        /// The alert.
        alert: Id,
    },
    /// The answer to a command.
    Answer {
        /// The update of Telegram that held the command.
        update: i64,
        /// The command's name, such as `mute`.
        command: String,
        /// The message that held it, which the answer replies to.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reply_to: Option<i64>,
        /// The forum topic it was written in.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        forum: Option<i64>,
    },
    /// A canary on its last stretch, to nobody.
    Canary {
        /// When an ingest let it go, host clock, milliseconds since 1970 UTC.
        received_at: ReceivedAt,
    },
    /// News of foreshock's own state, for its operators.
    Notice {
        /// What happened: `feed_dead`, `feed_back`.
        name: String,
    },
}

/// What somebody thinks of an alert. The last one of a person counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Feedback {
    /// Schema version.
    pub v: u16,
    /// Id of the alert.
    pub alert: Id,
    /// By which way it was told.
    pub channel: String,
    /// In which chat.
    pub recipient: String,
    /// Who: a hash of the person's id.
    pub by: Id,
    /// Whether it was of use.
    pub useful: bool,
    /// The update of Telegram that said so.
    pub update: i64,
    /// Host clock, milliseconds since 1970 UTC: when this was recorded.
    pub at: i64,
}

/// An update of Telegram was carried out: everything that follows from it is stored. It is not carried out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Update {
    /// Schema version.
    pub v: u16,
    /// Telegram's number of it.
    pub update: i64,
    /// Always `telegram`.
    pub channel: String,
    /// The chat it came from.
    pub recipient: String,
    /// What it asked for: a command's or button's name, `member`; never its text.
    pub command: String,
    /// Host clock, milliseconds since 1970 UTC: when this was recorded.
    pub at: i64,
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
