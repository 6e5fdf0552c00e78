//! What the methods do.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    call::Call,
    chat::{BOT_ID, BOT_NAME, BOT_USERNAME, Chat, Standing, Status},
    fault::Refusal,
    keyboard,
    message::{Content, Message},
    server::Server,
    text::{Text, units},
};

/// How long a press can be answered (not documented; the client's own wait is shorter).
const QUERY_AGE_MS_MAX: i64 = 60_000;

/// Longest answer to a press, in UTF-16 units (`telegram.md` 9).
const ANSWER_UNITS_MAX: usize = 200;

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly the \
                            same as a current content and reply markup of the message";

impl Server {
    pub(super) fn carry_out(&mut self, call: &mut Call, now_ms: i64) -> Result<Value, Refusal> {
        match call.method.to_ascii_lowercase().as_str() {
            "getme" => Ok(json!({"id": BOT_ID, "is_bot": true, "first_name": BOT_NAME, "username": BOT_USERNAME,
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false})),
            "sendmessage" => {
                let chat = self.writable(call)?;
                let text = Text::of_message(call)?;
                self.send(chat, Content::Text(text), call, now_ms)
            }
            "sendphoto" => {
                let chat = self.writable(call)?;
                let caption = Text::of_caption(call)?;
                let photo = self.photos.of(call)?;
                self.send(chat, Content::Photo(photo, caption), call, now_ms)
            }
            "editmessagetext" => {
                let text = Text::of_message(call)?;
                self.edit(call, now_ms, |message| match &mut message.content {
                    Content::Text(before) => {
                        *before = text;
                        Ok(())
                    }
                    Content::Photo(..) => Err(Refusal::bad("there is no text in the message to edit")),
                    Content::MigratedTo(_) | Content::MigratedFrom(_) => Err(Refusal::bad("message can't be edited")),
                })
            }
            "editmessagereplymarkup" => self.edit(call, now_ms, |_| Ok(())),
            "deletemessage" => self.delete(call),
            "answercallbackquery" => self.answer_query(call, now_ms),
            "getchat" => Ok(self.readable(call)?.full()),
            "getchatmember" => self.member(call),
            "setmycommands" => self.commands.set(call),
            "getmycommands" => self.commands.get(call),
            "deletewebhook" => Ok(self.updates.delete_webhook(call)),
            "getwebhookinfo" => Ok(self.updates.webhook_info()),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found: method not found")),
        }
    }

    fn writable(&mut self, call: &Call) -> Result<i64, Refusal> {
        let id = self.resolve(call)?;
        self.chats.get(&id).and_then(Chat::write_refusal).map_or(Ok(id), Err)
    }

    fn readable(&mut self, call: &Call) -> Result<&Chat, Refusal> {
        let id = self.resolve(call)?;
        let chat = self.chats.get(&id).ok_or_else(|| Refusal::bad("chat not found"))?;
        chat.read_refusal().map_or(Ok(chat), Err)
    }

    fn send(&mut self, id: i64, content: Content, call: &Call, now_ms: i64) -> Result<Value, Refusal> {
        let chat = self.chats.get(&id).ok_or_else(|| Refusal::bad("chat not found"))?;
        let keyboard = keyboard::inline(call)?;
        let thread = chat.topic(call.integer("message_thread_id"))?;
        let reply =
            call.structure("reply_parameters").map_err(|_| Refusal::bad("can't parse reply parameters JSON object"))?;
        let replied = reply["message_id"].as_i64().and_then(|id| chat.messages.get(&id));
        if replied.is_none() && !reply.is_null() && reply["allow_sending_without_reply"] != true {
            return Err(Refusal::bad("message to be replied not found"));
        }
        let message = Message {
            keyboard,
            reply_to: replied.map(|replied| replied.id),
            // A reply keeps to the topic of what it replies to (`telegram.md` 9).
            thread: thread.or_else(|| replied?.thread),
            is_silent: call.flag("disable_notification"),
            is_protected: call.flag("protect_content"),
            ..Message::new(0, BOT_ID, now_ms / 1000, content)
        };
        Ok(self.keep(id, message))
    }

    /// Edits a message of the bot; its keyboard is replaced or, where none is named, taken away.
    fn edit(
        &mut self,
        call: &Call,
        now_ms: i64,
        change: impl FnOnce(&mut Message) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        let keyboard = keyboard::inline(call)?;
        let chat = self.writable(call)?;
        let not_found = || Refusal::bad("message to edit not found");
        let chat = self.chats.get_mut(&chat).ok_or_else(not_found)?;
        let id = call.integer("message_id").unwrap_or_default();
        let before = chat.messages.get(&id).ok_or_else(not_found)?;
        if !before.is_of_bot() {
            return Err(Refusal::bad("message can't be edited"));
        }
        let mut message = before.clone();
        message.keyboard = keyboard;
        change(&mut message)?;
        if message.content == before.content && message.keyboard == before.keyboard {
            return Err(Refusal::bad(NOT_MODIFIED));
        }
        message.edited_s = Some(now_ms / 1000);
        let json = message.json(chat);
        chat.messages.insert(id, message);
        Ok(json)
    }

    fn delete(&mut self, call: &Call) -> Result<Value, Refusal> {
        let chat = self.writable(call)?;
        let not_found = || Refusal::bad("message to delete not found");
        let chat = self.chats.get_mut(&chat).ok_or_else(not_found)?;
        let id = call.integer("message_id").unwrap_or_default();
        let message = chat.messages.get(&id).ok_or_else(not_found)?;
        let is_allowed = message.is_of_bot() || chat.id > 0 || chat.status(BOT_ID).is_admin();
        if !is_allowed {
            return Err(Refusal::bad("message can't be deleted"));
        }
        chat.messages.remove(&id);
        Ok(json!(true))
    }

    fn answer_query(&mut self, call: &Call, now_ms: i64) -> Result<Value, Refusal> {
        if units(call.text("text")) > ANSWER_UNITS_MAX {
            return Err(Refusal::bad("MESSAGE_TOO_LONG"));
        }
        let id = call.text("callback_query_id").parse().ok();
        let pressed_ms = id.and_then(|id| self.queries.remove(&id));
        match pressed_ms {
            Some(pressed_ms) if now_ms < pressed_ms + QUERY_AGE_MS_MAX => Ok(json!(true)),
            Some(_) | None => Err(Refusal::bad("query is too old and response timeout expired or query ID is invalid")),
        }
    }

    fn member(&mut self, call: &Call) -> Result<Value, Refusal> {
        let user = call.integer("user_id").filter(|user| *user > 0);
        let user = user.ok_or_else(|| Refusal::bad("invalid user_id specified"))?;
        let chat = self.readable(call)?;
        let is_gone = matches!(chat.standing, Standing::Gone | Standing::Migrated(_));
        let is_out = user != BOT_ID && chat.id < 0 && matches!(chat.status(BOT_ID), Status::Left | Status::Kicked);
        match chat.write_refusal() {
            Some(refusal) if is_gone || is_out => Err(refusal),
            Some(_) | None => Ok(chat.status(user).json(chat.user(user))),
        }
    }
}
