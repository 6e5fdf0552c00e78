//! The commands: their names, and what is understood of the words behind them.

use std::time::Duration;

use schemas::{id::Id, name::Base};
use teloxide::utils::command::{BotCommands, ParseError};

use super::{settings::Change, words};
use crate::caps::COMMAND_BYTES_MAX;

/// What a chat is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Change what it gets.
    Change(Change),
    /// Show its settings.
    Settings,
    /// Show its thresholds beside the rules.
    Thresholds,
    /// Show what is muted.
    Mutes,
    /// Show how things stand, and the newest alerts.
    Alerts,
    /// Show what was liquidated in the last minutes.
    Liquidations(Option<Base>),
    /// Show what was found and told.
    History {
        /// How far back; at most [`crate::caps::HISTORY_MAX`].
        span: Duration,
        /// Only this base asset.
        base: Option<Base>,
    },
    /// Explain an alert: this one, or the one the message replies to, or else the newest.
    Why(Option<Id>),
    /// Send a test message.
    Test,
    /// Show the commands.
    Help,
    /// Say what is understood: this was no command.
    Hint,
    /// Say what was not understood.
    Wrong(Wrong),
}

/// The words behind a command are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Wrong {
    /// What is wrong, a whole sentence.
    pub problem: String,
    /// A command that would work.
    pub example: &'static str,
}

/// The commands as Telegram's menu and `/help` show them.
#[derive(BotCommands, Clone, Copy, Debug)]
#[command(rename_rule = "lowercase")]
enum Typed {
    #[command(description = "switch alerts on")]
    Start,
    #[command(description = "choose symbols and kinds: BTC cascades")]
    Subscribe,
    #[command(description = "stop alerts, or only some: BTC")]
    Unsubscribe,
    #[command(description = "how things stand, and the newest alerts")]
    Alerts,
    #[command(description = "what was liquidated in the last minutes")]
    Liquidations,
    #[command(description = "only larger ones: BTC 250k")]
    Threshold,
    #[command(description = "silence for a while: BTC 1h")]
    Mute,
    #[command(description = "quiet hours: 23:00-07:00 Europe/Berlin")]
    Quiet,
    #[command(description = "everything set for this chat")]
    Settings,
    #[command(description = "what was found and told: 24h BTC")]
    History,
    #[command(description = "why an alert fired (reply to it)")]
    Why,
    #[command(description = "send a test message")]
    Test,
    #[command(description = "all commands")]
    Help,
}

/// Returns the commands for Telegram's menu, without the slash, each with its description.
pub fn menu() -> Vec<(String, String)> {
    let commands = Typed::bot_commands().into_iter();
    commands.map(|known| (known.command.trim_start_matches('/').to_owned(), known.description)).collect()
}

/// What a text turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A command of ours, with its name.
    Command(&'static str, Command),
    /// A command of no bot in particular that we do not have.
    Unknown,
    /// Addressed to another bot.
    Elsewhere,
}

/// Reads a text that begins with a slash. `forum` is the topic it was written in, for `/settings topic here`.
pub(super) fn read(text: &str, bot: &str, forum: Option<i64>) -> Read {
    let mut typed = text.split_whitespace();
    // Phones begin a message with a capital, and a command may be followed by a line break.
    let first = typed.next().unwrap_or_default().to_lowercase();
    let rest: Vec<&str> = typed.collect();
    let typed = match Typed::parse(&first, bot) {
        Ok(typed) => typed,
        Err(ParseError::WrongBotName(_)) => return Read::Elsewhere,
        Err(
            ParseError::UnknownCommand(_)
            | ParseError::TooFewArguments { .. }
            | ParseError::TooManyArguments { .. }
            | ParseError::IncorrectFormat(_)
            | ParseError::Custom(_),
        ) => return Read::Unknown,
    };
    let understood = if text.len() > COMMAND_BYTES_MAX {
        words::wrong("This is too long to be understood.", "/help")
    } else {
        typed.understand(&rest, forum)
    };
    Read::Command(typed.name(), understood.unwrap_or_else(Command::Wrong))
}

impl Typed {
    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Alerts => "alerts",
            Self::Liquidations => "liquidations",
            Self::Threshold => "threshold",
            Self::Mute => "mute",
            Self::Quiet => "quiet",
            Self::Settings => "settings",
            Self::History => "history",
            Self::Why => "why",
            Self::Test => "test",
            Self::Help => "help",
        }
    }

    fn understand(self, given: &[&str], forum: Option<i64>) -> Result<Command, Wrong> {
        match self {
            // The word behind /start is the payload of a link.
            Self::Start => Ok(Command::Change(Change::On)),
            Self::Subscribe => words::subscribe(given).map(Command::Change),
            Self::Unsubscribe => words::unsubscribe(given).map(Command::Change),
            Self::Alerts => Ok(Command::Alerts),
            Self::Liquidations => Ok(Command::Liquidations(words::one_base(given, "/liquidations BTC")?)),
            Self::Threshold if given.is_empty() => Ok(Command::Thresholds),
            Self::Threshold => words::threshold(given).map(Command::Change),
            Self::Mute if given.is_empty() => Ok(Command::Mutes),
            Self::Mute => words::mute(given).map(Command::Change),
            Self::Quiet if given.is_empty() => Ok(Command::Settings),
            Self::Quiet => words::quiet(&given.join(" ")).map(Command::Change),
            Self::Settings if given.is_empty() => Ok(Command::Settings),
            Self::Settings => words::setting(given, forum).map(Command::Change),
            Self::History => words::history(given),
            Self::Why => words::why(given),
            Self::Test => Ok(Command::Test),
            Self::Help => Ok(Command::Help),
        }
    }
}
