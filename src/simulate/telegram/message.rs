//! A message as the server keeps it.

use serde_json::{Value, json};

use super::{
    chat::{BOT_ID, Chat, Kind},
    photos::Photo,
    text::Text,
};

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Text(Text),
    Photo(Photo, Text),
    /// A group became the supergroup of this number.
    MigratedTo(i64),
    /// A supergroup was the group of this number.
    MigratedFrom(i64),
}

impl Content {
    /// Returns what is written in it; nothing in service messages.
    pub(super) const fn text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) | Self::Photo(_, text) => Some(text),
            Self::MigratedTo(_) | Self::MigratedFrom(_) => None,
        }
    }
}

/// A message; its times in seconds since 1970 UTC on this host's clock.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: i64,
    pub(super) from: i64,
    pub(super) date_s: i64,
    pub(super) edited_s: Option<i64>,
    pub(super) content: Content,
    /// The inline keyboard; null: none.
    pub(super) keyboard: Value,
    pub(super) reply_to: Option<i64>,
    pub(super) thread: Option<i64>,
    pub(super) is_silent: bool,
    pub(super) is_protected: bool,
}

impl Message {
    /// Returns a message with nothing but its content.
    pub(super) const fn new(id: i64, from: i64, date_s: i64, content: Content) -> Self {
        Self {
            id,
            from,
            date_s,
            edited_s: None,
            content,
            keyboard: Value::Null,
            reply_to: None,
            thread: None,
            is_silent: false,
            is_protected: false,
        }
    }

    pub(super) const fn is_of_bot(&self) -> bool {
        self.from == BOT_ID
    }

    /// Returns it as `Message`, with the message it replies to.
    pub(super) fn json(&self, chat: &Chat) -> Value {
        let mut message = self.alone(chat);
        if let Some(replied) = self.reply_to.and_then(|id| chat.messages.get(&id)) {
            message["reply_to_message"] = replied.alone(chat);
        }
        message
    }

    fn alone(&self, chat: &Chat) -> Value {
        let mut message = json!({"message_id": self.id, "date": self.date_s, "chat": chat.json()});
        if chat.kind == Kind::Channel {
            message["sender_chat"] = chat.json();
        } else {
            message["from"] = chat.user(self.from);
        }
        if let Some(edited_s) = self.edited_s {
            message["edit_date"] = json!(edited_s);
        }
        if let Some(thread) = self.thread {
            message["message_thread_id"] = json!(thread);
            message["is_topic_message"] = json!(true);
        }
        if self.is_protected {
            message["has_protected_content"] = json!(true);
        }
        if !self.keyboard.is_null() {
            message["reply_markup"] = self.keyboard.clone();
        }
        match &self.content {
            Content::Text(text) => text.store(&mut message, "text", "entities"),
            Content::Photo(photo, caption) => {
                message["photo"] = photo.json();
                caption.store(&mut message, "caption", "caption_entities");
            }
            Content::MigratedTo(id) => message["migrate_to_chat_id"] = json!(id),
            Content::MigratedFrom(id) => message["migrate_from_chat_id"] = json!(id),
        }
        message
    }
}
