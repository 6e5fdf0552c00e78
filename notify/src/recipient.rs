//! Who receives: a way and a name on it.

use std::{fmt, str::FromStr};

use schemas::subscriber::Subscriber;

/// A Telegram chat: its number, or `@name` of a public channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatId(String);

/// A text names no chat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no chat: a number such as -1001234567890, or @name", .0.escape_debug())]
pub struct InvalidChatId(String);

impl ChatId {
    /// Returns the chat with this number.
    pub fn from_number(number: i64) -> Self {
        Self(number.to_string())
    }

    /// Returns the number or `@name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is a group or channel, which have a limit a minute. Private chats have positive numbers.
    pub(crate) fn is_group(&self) -> bool {
        self.0.starts_with(['-', '@'])
    }
}

impl FromStr for ChatId {
    type Err = InvalidChatId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let named = text.strip_prefix('@').is_some_and(|name| {
            (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        match text.parse() {
            Ok(0) => Err(InvalidChatId(text.to_owned())),
            Ok(number) => Ok(Self::from_number(number)),
            Err(_) if named => Ok(Self(text.to_owned())),
            Err(_) => Err(InvalidChatId(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A way to recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The terminal of this process.
    Terminal,
    /// Telegram's Bot API.
    Telegram,
    /// Nobody: where canaries end.
    Null,
}

impl Channel {
    /// Returns the name in the ledger: `telegram`, `terminal` or `null`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Telegram => "telegram",
            Self::Null => "null",
        }
    }
}

/// A recipient: the channel and its name there, as the ledger holds them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// Whoever looks at the terminal, while there is no token.
    Terminal,
    /// A chat.
    Telegram(ChatId),
    /// Nobody: where canaries end.
    Null,
}

impl Recipient {
    /// Returns the recipient of a ledger event, or nothing when this program does not know the channel.
    pub fn from_ledger(channel: &str, recipient: &str) -> Option<Self> {
        match (channel, recipient) {
            ("terminal", "local") => Some(Self::Terminal),
            ("null", "canary") => Some(Self::Null),
            ("telegram", chat) => chat.parse().ok().map(Self::Telegram),
            _ => None,
        }
    }

    /// Returns the recipient of a subscriber's event, or nothing when this program does not know the channel.
    pub fn of(subscriber: &Subscriber) -> Option<Self> {
        Self::from_ledger(&subscriber.channel, &subscriber.recipient)
    }

    /// Returns the channel.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Terminal => Channel::Terminal,
            Self::Telegram(_) => Channel::Telegram,
            Self::Null => Channel::Null,
        }
    }

    /// Returns the name on the channel.
    pub fn name(&self) -> &str {
        match self {
            Self::Terminal => "local",
            Self::Telegram(chat) => chat.as_str(),
            Self::Null => "canary",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chats_are_numbers_or_public_names() {
        for (text, group) in [("42", false), ("-1001234567890", true), (" @alerts_1 ", true)] {
            let chat: ChatId = text.parse().unwrap();
            assert_eq!((chat.as_str(), chat.is_group()), (text.trim(), group));
        }
        for text in ["", "0", "@", "alerts", "-", "1.5", "@a b", "99999999999999999999"] {
            assert!(text.parse::<ChatId>().is_err(), "{text}");
        }
    }

    #[test]
    fn recipients_are_read_back_from_the_ledger() {
        for recipient in [Recipient::Terminal, Recipient::Null, Recipient::Telegram(ChatId::from_number(-42))] {
            assert_eq!(Recipient::from_ledger(recipient.channel().as_str(), recipient.name()), Some(recipient));
        }
        assert_eq!(Recipient::from_ledger("pigeon", "coop"), None);
    }
}
