//! What people do in a chat, and what the bot hears of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    chat::{BOT_ID, BOT_USERNAME, Chat, Kind, Member, Standing, Status},
    keyboard,
    message::{Content, Message},
    server::Server,
    text::{Text, units},
};

/// Presses that wait for an answer. At the bound the oldest are forgotten.
const QUERIES_MAX: usize = 10_000;

/// Where the numbers of presses begin.
const FIRST_QUERY: u64 = 4_000_000_000_000_000;

/// Longest text of a person, in UTF-16 units (`telegram.md` 6).
const TEXT_UNITS_MAX: usize = 4096;

/// A chat as it is to be, with the bot in it. Its messages stay.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatSetup {
    /// Its number: positive for a private chat, negative for the others.
    pub id: i64,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its title; of a private chat the person's first name.
    pub title: String,
    /// Topics of a supergroup, by thread; none: it has no topics.
    #[serde(default)]
    pub topics: BTreeMap<i64, String>,
    /// Who is in it, the bot aside.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// Something a person writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The chat.
    pub chat: i64,
    /// Who; absent: the person of a private chat, else an administrator or somebody.
    pub from: Option<i64>,
    /// What, 1 to 4096 UTF-16 units.
    pub text: String,
    /// The topic, where the chat has topics.
    pub thread: Option<i64>,
    /// The message it replies to.
    pub reply_to: Option<i64>,
}

/// A press on a button.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Press {
    /// The chat.
    pub chat: i64,
    /// Who; absent: as in [`Say`].
    pub from: Option<i64>,
    /// The message with the button.
    pub message_id: i64,
    /// The `callback_data` of the button.
    pub data: String,
}

/// A change of what the bot is in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The chat.
    pub chat: i64,
    /// Who changes it; absent: as in [`Say`].
    pub from: Option<i64>,
    /// What the bot is from then on.
    pub status: Status,
}

/// A group that becomes a supergroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The group.
    pub from: i64,
    /// The number of the supergroup.
    pub to: i64,
}

/// People cannot do that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// A number that no chat of this kind has, or there are too many chats.
    #[error("no chat of this kind has the number {0}")]
    Number(i64),
    /// The chat is gone, migrated, or the bot is not in it or blocked.
    #[error("the bot hears nothing from chat {0}")]
    Unheard(i64),
    /// The text is empty or too long.
    #[error("a text has 1 to 4096 UTF-16 units")]
    Text,
    /// There is no such topic.
    #[error("chat {chat} has no topic {thread}")]
    Topic {
        /// The chat.
        chat: i64,
        /// The topic.
        thread: i64,
    },
    /// There is no such message.
    #[error("chat {chat} has no message {message_id}")]
    Message {
        /// The chat.
        chat: i64,
        /// The message.
        message_id: i64,
    },
    /// The message has no such button.
    #[error("message {message_id} has no button with the data `{data}`")]
    Button {
        /// The message.
        message_id: i64,
        /// What was looked for.
        data: String,
    },
}

impl Server {
    /// Makes a chat what it is to be.
    pub(super) fn set_chat(&mut self, setup: ChatSetup) -> Result<(), PeopleError> {
        let ChatSetup { id, kind, title, topics, members } = setup;
        let is_possible = match kind {
            Kind::Private => id > 0,
            Kind::Group => Kind::of(id) == Kind::Group && id < 0,
            Kind::Supergroup | Kind::Channel => Kind::of(id) == Kind::Supergroup,
        };
        let chat = self.chat(id).filter(|_| is_possible).ok_or(PeopleError::Number(id))?;
        (chat.kind, chat.title, chat.topics) = (kind, title, topics);
        chat.members = members.into_iter().map(|member| (member.id, member)).collect();
        chat.standing = Standing::Is(Status::Member);
        Ok(())
    }

    /// Takes a person or a group away.
    pub(super) fn remove_chat(&mut self, id: i64) -> Result<(), PeopleError> {
        self.chat(id).ok_or(PeopleError::Number(id))?.standing = Standing::Gone;
        Ok(())
    }

    /// Writes something and returns the number of the message.
    pub(super) fn say(&mut self, say: Say, now_ms: i64) -> Result<i64, PeopleError> {
        let Say { chat: id, from, text, thread, reply_to } = say;
        let text = Text::plain(&text);
        if !(1..=TEXT_UNITS_MAX).contains(&units(&text.text)) {
            return Err(PeopleError::Text);
        }
        let chat = self.chat(id).ok_or(PeopleError::Number(id))?;
        let from = from.unwrap_or_else(|| chat.somebody());
        chat.topic(thread).map_err(|_| PeopleError::Topic { chat: id, thread: thread.unwrap_or_default() })?;
        let replied = match reply_to {
            None => None,
            Some(message_id) => {
                Some(chat.messages.get(&message_id).ok_or(PeopleError::Message { chat: id, message_id })?)
            }
        };
        let thread = chat.topic(thread).ok().flatten().or_else(|| replied?.thread);
        let is_heard = is_heard(chat, &text.text, replied);
        let starts = text.text.split(char::is_whitespace).next() == Some("/start");
        let is_closed = matches!(chat.standing, Standing::Is(Status::Kicked | Status::Left));
        if chat.kind == Kind::Private && starts && is_closed {
            self.set_member(Membership { chat: id, from: Some(from), status: Status::Member }, now_ms)?;
        }
        let chat = self.heard(id)?;
        if chat.kind != Kind::Private {
            let name = chat.name(from);
            chat.members.entry(from).or_insert(Member { id: from, name, status: Status::Member });
        }
        let kind = if chat.kind == Kind::Channel { "channel_post" } else { "message" };
        let message = Message { reply_to, thread, ..Message::new(0, from, now_ms / 1000, Content::Text(text)) };
        let message = self.keep(id, message);
        let message_id = message["message_id"].as_i64().unwrap_or_default();
        if is_heard {
            self.updates.push(kind, message, now_ms);
        }
        Ok(message_id)
    }

    /// Presses a button and returns the id of the callback query.
    pub(super) fn press(&mut self, press: Press, now_ms: i64) -> Result<String, PeopleError> {
        let Press { chat: id, from, message_id, data } = press;
        let chat = self.heard(id)?;
        let message = chat.messages.get(&message_id).ok_or(PeopleError::Message { chat: id, message_id })?;
        if !keyboard::has_data(&message.keyboard, &data) {
            return Err(PeopleError::Button { message_id, data });
        }
        let from = chat.user(from.unwrap_or_else(|| chat.somebody()));
        let mut query = json!({"from": from, "message": message.json(chat), "data": data,
            "chat_instance": (id.unsigned_abs() ^ FIRST_QUERY).to_string()});
        self.last_query += 1;
        let number = FIRST_QUERY + self.last_query;
        query["id"] = json!(number.to_string());
        if self.queries.len() == QUERIES_MAX {
            self.queries.pop_first();
        }
        self.queries.insert(number, now_ms);
        self.updates.push("callback_query", query, now_ms);
        Ok(number.to_string())
    }

    /// Changes what the bot is in a chat, which it hears unless nothing changed.
    pub(super) fn set_member(&mut self, change: Membership, now_ms: i64) -> Result<(), PeopleError> {
        let Membership { chat: id, from, status } = change;
        let chat = self.chat(id).ok_or(PeopleError::Number(id))?;
        let before = match chat.standing {
            Standing::Is(before) if before == status => return Ok(()),
            Standing::Is(before) => before,
            Standing::Gone => Status::Left,
            Standing::Migrated(_) => return Err(PeopleError::Unheard(id)),
        };
        chat.standing = Standing::Is(status);
        let member = |status: Status| status.json(chat.user(BOT_ID));
        let update = json!({"chat": chat.json(), "from": chat.user(from.unwrap_or_else(|| chat.somebody())),
            "date": now_ms / 1000, "old_chat_member": member(before), "new_chat_member": member(status)});
        self.updates.push("my_chat_member", update, now_ms);
        Ok(())
    }

    /// Makes a group a supergroup, of which both chats tell.
    pub(super) fn migrate(&mut self, migration: Migration, now_ms: i64) -> Result<(), PeopleError> {
        let Migration { from, to } = migration;
        let group = self.heard(from)?;
        if group.kind != Kind::Group || Kind::of(to) != Kind::Supergroup {
            return Err(PeopleError::Number(if group.kind == Kind::Group { to } else { from }));
        }
        let (title, members, standing) = (group.title.clone(), group.members.clone(), group.standing);
        let somebody = group.somebody();
        let supergroup = self.chat(to).ok_or(PeopleError::Number(to))?;
        (supergroup.title, supergroup.members, supergroup.standing) = (title, members, standing);
        let date_s = now_ms / 1000;
        for (chat, content) in [(from, Content::MigratedTo(to)), (to, Content::MigratedFrom(from))] {
            let told = self.keep(chat, Message::new(0, somebody, date_s, content));
            self.updates.push("message", told, now_ms);
        }
        if let Some(group) = self.chat(from) {
            group.standing = Standing::Migrated(to);
        }
        Ok(())
    }

    /// Returns the messages of a chat as `Message`, oldest first.
    pub(super) fn messages(&self, chat: i64) -> Vec<Value> {
        let Some(chat) = self.chats.get(&chat) else { return Vec::new() };
        chat.messages.values().map(|message| message.json(chat)).collect()
    }

    /// Returns a chat the bot is in.
    fn heard(&mut self, id: i64) -> Result<&mut Chat, PeopleError> {
        let chat = self.chat(id).ok_or(PeopleError::Number(id))?;
        match chat.standing {
            Standing::Is(Status::Creator | Status::Administrator | Status::Member | Status::Restricted) => Ok(chat),
            Standing::Is(Status::Left | Status::Kicked) | Standing::Gone | Standing::Migrated(_) => {
                Err(PeopleError::Unheard(id))
            }
        }
    }
}

/// Returns whether the bot hears a message. In groups that is commands that are not another bot's, and replies to it
/// (`core.telegram.org/bots/features#privacy-mode`), unless it is an administrator.
fn is_heard(chat: &Chat, text: &str, replied: Option<&Message>) -> bool {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    let is_ours = word.split_once('@').is_none_or(|(_, bot)| bot.eq_ignore_ascii_case(BOT_USERNAME));
    match chat.kind {
        Kind::Private | Kind::Channel => true,
        Kind::Group | Kind::Supergroup => {
            (word.starts_with('/') && is_ours)
                || replied.is_some_and(Message::is_of_bot)
                || chat.status(BOT_ID).is_admin()
        }
    }
}
