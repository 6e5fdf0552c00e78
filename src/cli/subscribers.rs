//! `foreshock subscribers`: the same phrases as the chat's commands, as options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use notify::{
    commands::{command::Wrong, settings::Change, words},
    recipient::Recipient,
};

/// Commands of `subscribers`.
#[derive(Debug, Subcommand)]
pub enum Subscribers {
    /// List who gets what
    List,
    /// Subscribe a chat, or take back what `export` wrote
    Add(Box<Add>),
    /// Change what a chat gets
    Set(Box<Set>),
    /// Silence a chat for a while
    Mute(Mute),
    /// Send a chat nothing any more; its settings stay
    Remove {
        /// Chat: its number, @name, or local for the terminal
        #[arg(value_name = "CHAT", value_parser = recipient, allow_negative_numbers = true)]
        recipient: Recipient,
    },
    /// Write every subscriber as JSON lines
    Export,
}

/// Options of `subscribers add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Chat: its number, @name, or local for the terminal
    #[arg(value_name = "CHAT", value_parser = recipient, allow_negative_numbers = true, required_unless_present = "from")]
    pub recipient: Option<Recipient>,
    /// What it gets (default: everything)
    #[command(flatten)]
    pub settings: Settings,
    /// JSON lines that `export` wrote (- is stdin); what is there by the same name is replaced
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "recipient", "bases", "kinds", "min_priority", "thresholds", "quiet", "pictures", "edits_only", "topic",
        ]
    )]
    pub from: Option<PathBuf>,
}

/// Options of `subscribers set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Chat: its number, @name, or local for the terminal
    #[arg(value_name = "CHAT", value_parser = recipient, allow_negative_numbers = true)]
    pub recipient: Recipient,
    /// What it gets
    #[command(flatten)]
    pub settings: Settings,
}

/// Options of `subscribers mute`.
#[derive(Debug, Args)]
pub struct Mute {
    /// Chat: its number, @name, or local for the terminal
    #[arg(value_name = "CHAT", value_parser = recipient, allow_negative_numbers = true)]
    pub recipient: Recipient,
    /// As behind /mute: BTC 1h, cascades 8h, 2d, BTC until tomorrow, off
    #[arg(value_name = "PHRASE", required = true, num_args = 1..)]
    pub phrase: Vec<String>,
}

/// What a chat gets.
#[derive(Debug, Args)]
pub struct Settings {
    /// Only these base assets, such as BTC,ETH; or all
    #[arg(long, value_name = "BASES", value_parser = words::bases)]
    pub bases: Option<Change>,
    /// Only these of cascades,liquidations,oi; or all
    #[arg(long, value_name = "KINDS", value_parser = words::kinds)]
    pub kinds: Option<Change>,
    /// Nothing below low, medium or high
    #[arg(long, value_name = "PRIORITY", value_parser = words::min_priority)]
    pub min_priority: Option<Change>,
    /// Only larger ones: BTC.single=250k, BTC.cascade=2m, BTC.cascade_count=10, BTC.oi=20, BTC=off; may be repeated
    #[arg(long = "threshold", value_name = "BASE.WHAT=FIGURE", value_parser = threshold)]
    pub thresholds: Vec<Change>,
    /// Quiet hours such as "23:00-07:00 Europe/Berlin"; or off
    #[arg(long, value_name = "HOURS", value_parser = words::quiet, allow_hyphen_values = true)]
    pub quiet: Option<Change>,
    /// Whether charts follow alerts: on or off
    #[arg(long, value_name = "SWITCH", value_parser = pictures)]
    pub pictures: Option<Change>,
    /// A growing cascade only edits its message
    #[arg(
        long,
        value_name = "SWITCH",
        value_parser = edits_only,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "on"
    )]
    pub edits_only: Option<Change>,
    /// Number of the forum topic that messages go to; or off
    #[arg(long, value_name = "N", value_parser = topic)]
    pub topic: Option<Change>,
}

impl Settings {
    /// Returns what was asked for.
    pub fn changes(&self) -> Vec<Change> {
        let before = [&self.bases, &self.kinds, &self.min_priority];
        let after = [&self.quiet, &self.pictures, &self.edits_only, &self.topic];
        let (before, after) = (before.into_iter().flatten(), after.into_iter().flatten());
        before.chain(&self.thresholds).chain(after).cloned().collect()
    }
}

fn recipient(text: &str) -> Result<Recipient, notify::recipient::InvalidChatId> {
    if text == Recipient::Terminal.name() { Ok(Recipient::Terminal) } else { text.parse().map(Recipient::Telegram) }
}

/// Turns `BTC.single=250k` into the words behind `/threshold`.
fn threshold(text: &str) -> Result<Change, Wrong> {
    let (place, figure) = text.split_once('=').unwrap_or((text, ""));
    match place.split_once('.') {
        Some((base, what)) => words::threshold(&[base, what, figure]),
        None if figure == "off" => words::threshold(&[place, figure]),
        None => words::threshold(&[]),
    }
}

fn pictures(text: &str) -> Result<Change, Wrong> {
    words::setting(&["pictures", text], None)
}

fn edits_only(text: &str) -> Result<Change, Wrong> {
    words::setting(&["edits", text], None)
}

fn topic(text: &str) -> Result<Change, Wrong> {
    match text.parse::<i64>() {
        Ok(topic) if topic > 0 => Ok(Change::Topic(Some(topic))),
        Ok(_) | Err(_) => words::setting(&["topic", text], None),
    }
}
