//! Updates of Telegram, read with teloxide's types: who asks for what, and where.

use schemas::id::Id;
use serde_json::{Map, Value};
use teloxide::types::{
    CallbackQuery, Chat as TelegramChat, ChatKind as TelegramChatKind, ChatMemberUpdated, Message, PublicChatKind,
    Update, UpdateKind,
};

use super::command::{self, Command, Read};
use crate::{buttons::Button, recipient::ChatId, time::WallTime};

/// What an update or a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A command was written.
    Command(Written),
    /// A button was pressed.
    Press(Pressed),
    /// The bot was let in or put out.
    Member(Membership),
    /// Nothing.
    Ignored(Ignored),
}

/// A command, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Telegram's number of the update; absent for a request, which has none.
    pub update: Option<i64>,
    /// The chat.
    pub chat: Chat,
    /// Who wrote it.
    pub author: Author,
    /// Telegram's number of the message; absent for a request.
    pub message_id: Option<i64>,
    /// The forum topic it was written in.
    pub forum: Option<i64>,
    /// The message it replies to.
    pub reply_to: Option<i64>,
    /// When it was written: Telegram's clock, or the host's for a request.
    pub at: WallTime,
    /// The command's name, for the ledger.
    pub name: &'static str,
    /// What is asked for.
    pub command: Command,
}

/// A pressed button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// Telegram's number of the update.
    pub update: i64,
    /// Telegram's id of the press, for its answer.
    pub callback_id: String,
    /// The chat.
    pub chat: Chat,
    /// Telegram's number of the person.
    pub user: i64,
    /// The message under which the button stands.
    pub message_id: i64,
    /// The forum topic of that message.
    pub forum: Option<i64>,
    /// The button and its alert; absent when this program did not put it there.
    pub button: Option<(Button, Id)>,
}

/// The bot was let in or put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Telegram's number of the update.
    pub update: i64,
    /// The chat.
    pub chat: Chat,
    /// Whether the bot is in it, and may be written to.
    pub present: bool,
    /// When: Telegram's clock.
    pub at: WallTime,
}

/// A chat as an update shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Its number.
    pub id: ChatId,
    /// Its public `@name`, by which the configuration may know it.
    pub name: Option<ChatId>,
    /// What it is.
    pub kind: ChatKind,
}

/// What a chat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// With one person.
    Private,
    /// A group or supergroup.
    Group,
    /// A channel: it has no commands.
    Channel,
}

/// Who wrote a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A person, by Telegram's number.
    User(i64),
    /// An administrator who writes in the name of the group.
    AnonymousAdmin,
    /// Whoever may publish on the broker.
    Operator,
}

/// An update that asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Telegram's number of it, where that could be read.
    pub update: Option<i64>,
    /// Why.
    pub reason: Reason,
}

/// Why an update is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be read, or is of a kind this program does not know.
    Undecodable,
    /// It is of a kind that was not asked for.
    OtherKind,
    /// It is no text, or a text in a group that is no command of ours.
    NotACommand,
    /// It is a command for another bot.
    OtherBot,
    /// It is from a channel.
    Channel,
}

impl Reason {
    /// Returns the stable name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::OtherKind => "other_kind",
            Self::NotACommand => "not_a_command",
            Self::OtherBot => "other_bot",
            Self::Channel => "channel",
        }
    }
}

/// Reads one update of `getUpdates`. `bot` is the bot's own user name, without `@`.
///
/// Never fails: what cannot be read is ignored with its reason, and its number confirmed like any other.
pub fn read(update: &Value, bot: &str) -> Asked {
    let number = update["update_id"].as_i64();
    let ignored = |reason| Asked::Ignored(Ignored { update: number, reason });
    // From text: teloxide finds the kind of an update only where its key can be borrowed.
    let text = essential(update).to_string();
    let Ok(Update { id, kind }) = serde_json::from_str(&text) else { return ignored(Reason::Undecodable) };
    let id = i64::from(id.0);
    match kind {
        UpdateKind::Message(message) => written(id, &message, bot).unwrap_or_else(ignored),
        UpdateKind::CallbackQuery(query) => pressed(id, query).map_or_else(|| ignored(Reason::OtherKind), Asked::Press),
        UpdateKind::MyChatMember(change) => Asked::Member(membership(id, &change)),
        UpdateKind::Error(_) => ignored(Reason::Undecodable),
        UpdateKind::EditedMessage(_)
        | UpdateKind::ChannelPost(_)
        | UpdateKind::EditedChannelPost(_)
        | UpdateKind::BusinessConnection(_)
        | UpdateKind::BusinessMessage(_)
        | UpdateKind::EditedBusinessMessage(_)
        | UpdateKind::DeletedBusinessMessages(_)
        | UpdateKind::MessageReaction(_)
        | UpdateKind::MessageReactionCount(_)
        | UpdateKind::InlineQuery(_)
        | UpdateKind::ChosenInlineResult(_)
        | UpdateKind::ShippingQuery(_)
        | UpdateKind::PreCheckoutQuery(_)
        | UpdateKind::PurchasedPaidMedia(_)
        | UpdateKind::Poll(_)
        | UpdateKind::PollAnswer(_)
        | UpdateKind::ChatMember(_)
        | UpdateKind::ChatJoinRequest(_)
        | UpdateKind::ChatBoost(_)
        | UpdateKind::RemovedChatBoost(_) => ignored(Reason::OtherKind),
    }
}

/// Leaves out what no command needs. teloxide's types are of Bot API 9.1 and refuse a whole message for one mark or
/// keyboard of a later version, also inside the message it replies to.
fn essential(update: &Value) -> Value {
    const OF_MESSAGE: [&str; 8] =
        ["message_id", "message_thread_id", "is_topic_message", "date", "chat", "from", "sender_chat", "text"];
    let pick = |message: &Value| {
        let fields = OF_MESSAGE.iter().filter_map(|name| Some(((*name).to_owned(), message.get(*name)?.clone())));
        fields.collect::<Map<_, _>>()
    };
    let mut update = update.clone();
    if let Some(message) = update.get_mut("message") {
        let mut picked = pick(message);
        if let Some(reply) = message.get("reply_to_message") {
            picked.insert("reply_to_message".to_owned(), pick(reply).into());
        }
        *message = picked.into();
    }
    if let Some(message) = update.pointer_mut("/callback_query/message") {
        *message = pick(message).into();
    }
    update
}

fn written(update: i64, message: &Message, bot: &str) -> Result<Asked, Reason> {
    let chat = chat(&message.chat);
    if chat.kind == ChatKind::Channel {
        return Err(Reason::Channel);
    }
    let text = message.text().ok_or(Reason::NotACommand)?.trim();
    let forum = forum(message);
    let is_addressed = || text.split_whitespace().next().is_some_and(|command| command.contains('@'));
    let (name, command) = if text.starts_with('/') {
        match command::read(text, bot, forum) {
            Read::Command(name, command) => (name, command),
            Read::Elsewhere => return Err(Reason::OtherBot),
            // In a group it may be meant for another bot, unless it names this one.
            Read::Unknown if chat.kind == ChatKind::Private || is_addressed() => ("hint", Command::Hint),
            Read::Unknown => return Err(Reason::NotACommand),
        }
    } else if chat.kind == ChatKind::Private {
        ("hint", Command::Hint)
    } else {
        return Err(Reason::NotACommand);
    };
    let writes_as_chat = message.sender_chat.as_ref().is_some_and(|sender| sender.id == message.chat.id);
    let author = match &message.from {
        _ if writes_as_chat => Author::AnonymousAdmin,
        Some(user) => Author::User(i64::try_from(user.id.0).map_err(|_| Reason::Undecodable)?),
        None => return Err(Reason::NotACommand),
    };
    // In a topic every message is a reply to the one that opened it.
    let reply_to = message.reply_to_message().map(|replied| i64::from(replied.id.0)).filter(|id| Some(*id) != forum);
    Ok(Asked::Command(Written {
        update: Some(update),
        chat,
        author,
        message_id: Some(i64::from(message.id.0)),
        forum,
        reply_to,
        at: WallTime::from_millis(message.date.timestamp_millis()),
        name,
        command,
    }))
}

fn pressed(update: i64, query: CallbackQuery) -> Option<Pressed> {
    let message = query.message.as_ref()?;
    Some(Pressed {
        update,
        chat: chat(message.chat()),
        user: i64::try_from(query.from.id.0).ok()?,
        message_id: i64::from(message.id().0),
        forum: message.regular_message().and_then(forum),
        button: query.data.as_deref().and_then(Button::decode),
        callback_id: query.id.0,
    })
}

fn membership(update: i64, change: &ChatMemberUpdated) -> Membership {
    Membership {
        update,
        chat: chat(&change.chat),
        present: change.new_chat_member.is_present(),
        at: WallTime::from_millis(change.date.timestamp_millis()),
    }
}

/// The thread of a message is a topic only where Telegram says so: in other groups it is a chain of replies.
fn forum(message: &Message) -> Option<i64> {
    message.thread_id.filter(|_| message.is_topic_message).map(|thread| i64::from(thread.0.0))
}

fn chat(chat: &TelegramChat) -> Chat {
    let kind = match &chat.kind {
        TelegramChatKind::Private(_) => ChatKind::Private,
        TelegramChatKind::Public(public) => match public.kind {
            PublicChatKind::Channel(_) => ChatKind::Channel,
            PublicChatKind::Group | PublicChatKind::Supergroup(_) => ChatKind::Group,
        },
    };
    let name = chat.username().filter(|_| kind != ChatKind::Private);
    let name = name.and_then(|name| format!("@{name}").parse().ok());
    Chat { id: ChatId::from_number(chat.id.0), name, kind }
}

#[cfg(test)]
mod tests;
