//! How a delivery can fail, and what may be done about it.

use std::time::Duration;

use crate::recipient::ChatId;

/// Telegram's number of a message in its chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(pub i64);

/// What is known after a call that did not simply succeed (telegram.md 4 and 5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not sent: this chat is written to too often. It rests for the time given.
    #[error("too many requests, wait {} s", .0.as_secs())]
    RetryAfter(Duration),
    /// Certainly not sent: no connection was made.
    #[error("unreachable")]
    NotSent,
    /// Sent or not: nobody knows. The request left, and no proper answer came.
    #[error("no proper answer: it may have been sent")]
    Ambiguous,
    /// Sent, but the answer broke off before the message's id.
    #[error("sent, but the answer was cut")]
    SentIdLost,
    /// Not sent, and never will be.
    #[error("refused: {}", .0.as_str())]
    Refused(Refusal),
    /// Not sent: the group is now this chat.
    #[error("the group has another id")]
    Migrated(ChatId),
    /// Not sent: the forum topic is gone.
    #[error("the topic is gone")]
    TopicGone,
    /// Not changed: the message is gone, or too old.
    #[error("the message is gone")]
    MessageGone,
    /// Not changed: the message shows the text already. The client makes a success of it.
    #[error("the message shows it already")]
    NotModified,
    /// Not sent: our HTML was not understood.
    #[error("the text was not understood")]
    Unparseable,
    /// Not sent: our text was too long.
    #[error("the text was too long")]
    TooLong,
    /// Nothing heard: another program asks for this bot's updates, or a webhook is set.
    #[error("another program polls this token, or it has a webhook")]
    Conflict,
    /// Not sent: the token is wrong or revoked.
    #[error("the token was refused")]
    Unauthorized,
}

impl Failure {
    /// Returns the stable name used in the ledger, logs and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RetryAfter(_) => "rate_limited",
            Self::NotSent => "unreachable",
            Self::Ambiguous => "ambiguous",
            Self::SentIdLost => "id_lost",
            Self::Refused(refusal) => refusal.as_str(),
            Self::Migrated(_) => "migrated",
            Self::TopicGone => "topic_gone",
            Self::MessageGone => "message_gone",
            Self::NotModified => "not_modified",
            Self::Unparseable => "unparseable",
            Self::TooLong => "too_long",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// Why a recipient will not get this message, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user blocked the bot.
    Blocked,
    /// The user's account is gone.
    Deactivated,
    /// The bot was removed.
    Kicked,
    /// The bot was never let in.
    NotMember,
    /// The group is gone.
    GroupDeleted,
    /// The user never pressed start.
    NotStarted,
    /// Another prohibition for this chat.
    Forbidden,
    /// There is no such chat.
    ChatNotFound,
    /// The bot may not write there until an admin acts.
    NoRights,
    /// Another fault of this message.
    BadRequest,
    /// The terminal was closed.
    Closed,
    /// There is no picture to be sent.
    NoPicture,
    /// This process has no token: nobody was asked. With one the recipient is written to again.
    NoToken,
}

impl Refusal {
    /// Those after which no message to the recipient arrives until somebody acts (telegram.md 4). A terminal that was closed
    /// comes back with the next process.
    pub const PERMANENT: [Self; 9] = [
        Self::Blocked,
        Self::Deactivated,
        Self::Kicked,
        Self::NotMember,
        Self::GroupDeleted,
        Self::NotStarted,
        Self::Forbidden,
        Self::ChatNotFound,
        Self::NoRights,
    ];

    /// Returns the stable name used in the ledger, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Deactivated => "deactivated",
            Self::Kicked => "kicked",
            Self::NotMember => "not_member",
            Self::GroupDeleted => "group_deleted",
            Self::NotStarted => "not_started",
            Self::Forbidden => "forbidden",
            Self::ChatNotFound => "chat_not_found",
            Self::NoRights => "no_rights",
            Self::BadRequest => "bad_request",
            Self::Closed => "closed",
            Self::NoPicture => "no_picture",
            Self::NoToken => "no_token",
        }
    }
}
