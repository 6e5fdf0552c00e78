//! Who is told what: preferences in SUBSCRIBERS, as events. The last one of a recipient is the state.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Kind, Priority},
    amount::{Ratio, Usd},
    name::Base,
};

/// Version of subscribers written by this code.
pub const VERSION: u16 = 1;

/// One recipient's whole state after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "subscriber")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Subscriber {
    /// Schema version.
    pub v: u16,
    /// By which way: `telegram`, `terminal`.
    pub channel: String,
    /// The recipient's name there.
    pub recipient: String,
    /// Host clock, milliseconds since 1970 UTC: when it was changed.
    pub at: i64,
    /// Who changed it.
    pub cause: Cause,
    /// The change is the effect of this update of Telegram: a repeated one is known by it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub update: Option<i64>,
    /// Whether it gets anything.
    #[serde(flatten)]
    pub standing: Standing,
    /// What it gets.
    pub preferences: Preferences,
}

/// Who changed a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Cause {
    /// The configuration names the chat, and it had no preferences yet.
    Config,
    /// The command line.
    Cli,
    /// A request over NATS.
    Request,
    /// A command, button or membership change in the chat.
    Chat,
    /// What Telegram answered to a message: refused for ever, moved, accepted again.
    Delivery,
}

/// Whether a recipient gets anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Standing {
    /// It does.
    Active,
    /// It asked for nothing.
    Unsubscribed,
    /// Telegram refuses messages to it.
    Off {
        /// Why, by its stable name: `blocked`, `kicked`, `chat_not_found` …
        reason: String,
    },
    /// The group has another id, under which its state goes on.
    Moved {
        /// The recipient it is now.
        to: String,
    },
}

/// What a recipient gets. The default is everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Preferences {
    /// Only these base assets; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bases: Option<BTreeSet<Base>>,
    /// Only these kinds; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeSet<Kind>>,
    /// Nothing that matters less.
    pub min_priority: Priority,
    /// Own thresholds by base. They only narrow: one below the rule in force is refused when it is set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<Base, Thresholds>,
    /// When nothing is sent but what has begun; the rest is told in a digest afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
    /// What is not wanted for a while.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutes: Vec<Mute>,
    /// A growing cascade only edits its message and is never told anew.
    #[serde(skip_serializing_if = "is_false")]
    pub edits_only: bool,
    /// The start of a cascade or explosion is followed by a chart. Default: true.
    #[serde(skip_serializing_if = "is_true")]
    pub pictures: bool,
    /// Topic of a forum group that messages go to; absent: the general one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<i64>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            bases: None,
            kinds: None,
            min_priority: Priority::Low,
            thresholds: BTreeMap::new(),
            quiet: None,
            mutes: Vec::new(),
            edits_only: false,
            pictures: true,
            topic: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

/// Own thresholds for one base; an absent one is the rule's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Thresholds {
    /// Least worth of a single liquidation, USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_usd: Option<Usd>,
    /// Least worth of a cascade, USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade_usd: Option<Usd>,
    /// Least number of liquidations of a cascade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade_count: Option<u64>,
    /// Least change of open interest in either direction, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_pct: Option<Ratio>,
}

/// Hours of every day in which nothing new is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuietHours {
    /// Minute of the day at which they begin, 0 to 1439, on the clock of `zone`.
    pub from: u16,
    /// Minute of the day at which they end; before `from` when they span midnight.
    pub to: u16,
    /// IANA name of the time zone: `Europe/Berlin`, `UTC`.
    pub zone: String,
}

/// Something that is not wanted for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mute {
    /// Only this base asset; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base: Option<Base>,
    /// Only this kind; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Kind>,
    /// Host clock, milliseconds since 1970 UTC: when it is over.
    pub until: i64,
}
