//! What the stand-in's server does with a request: the messages it holds, and what it refuses.

use std::collections::{BTreeMap, VecDeque};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::clock::wall_ms,
    Request, Rule,
    fault::{Fault, Refusal},
    html,
};

/// Requests kept. At the bound the oldest go.
const REQUESTS_MAX: usize = 10_000;

/// Messages that can be edited and replied to. At the bound the oldest are forgotten: "message to edit not found".
const MESSAGES_MAX: usize = 10_000;

/// Longest text and caption after parsing, in UTF-16 units (`telegram.md` 6).
const TEXT_UNITS_MAX: usize = 4096;
const CAPTION_UNITS_MAX: usize = 1024;

/// What the server knows: the messages of every chat, what was asked, and what is to fail.
#[derive(Default)]
pub(super) struct Chats {
    pub(super) rules: Vec<Rule>,
    pub(super) requests: VecDeque<Request>,
    /// What stands in each message, by id: chat, text, keyboard.
    messages: BTreeMap<i64, (String, String, Value)>,
    last_message: i64,
}

impl Chats {
    /// Carries out a request or fails it, and keeps it.
    pub(super) fn handle(
        &mut self,
        method: &str,
        params: Map<String, Value>,
    ) -> (Option<Fault>, Result<Value, Refusal>) {
        let chat = params.get("chat_id").map(chat_name);
        let fault = self.next_fault(method, chat.as_deref());
        let answer = match fault.as_ref().and_then(Fault::refusal) {
            Some(refusal) => Err(refusal),
            None => self.carry_out(method, chat.as_deref(), &params),
        };
        let status = match (&fault, &answer) {
            (Some(Fault::Hang | Fault::Reset | Fault::Truncated), _) => None,
            (_, Ok(_)) => Some(StatusCode::OK.as_u16()),
            (_, Err(refusal)) => Some(refusal.code.as_u16()),
        };
        if self.requests.len() == REQUESTS_MAX {
            self.requests.pop_front();
        }
        let message_id = answer.as_ref().ok().and_then(|result| result["message_id"].as_i64());
        self.requests.push_back(Request {
            at_ms: wall_ms(),
            method: method.to_owned(),
            chat,
            params: Value::Object(params),
            status,
            message_id,
            delivered: message_id.is_some(),
        });
        (fault, answer)
    }

    fn next_fault(&mut self, method: &str, chat: Option<&str>) -> Option<Fault> {
        let fits = |rule: &Rule| {
            rule.times != Some(0)
                && rule.chat.as_deref().is_none_or(|wanted| Some(wanted) == chat)
                && rule.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
        };
        let rule = self.rules.iter_mut().find(|rule| fits(rule))?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }

    fn carry_out(&mut self, method: &str, chat: Option<&str>, params: &Map<String, Value>) -> Result<Value, Refusal> {
        match method.to_ascii_lowercase().as_str() {
            "getme" => Ok(json!({"id": 1, "is_bot": true, "first_name": "Simulator", "username": "simulator_bot",
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false})),
            "sendmessage" => {
                let chat = chat_of(chat)?;
                let text = parsed(params, "text", TEXT_UNITS_MAX, "message is too long")?;
                if text.is_empty() {
                    return Err(Refusal::bad("message text is empty"));
                }
                self.send(chat, text, params, "text", json!({}))
            }
            "sendphoto" => {
                let chat = chat_of(chat)?;
                let photo = params.get("photo").filter(|photo| **photo != "");
                let photo = photo.ok_or_else(|| Refusal::bad("there is no photo in the request"))?;
                let caption = parsed(params, "caption", CAPTION_UNITS_MAX, "message caption is too long")?;
                let file_id = photo.as_str().map_or_else(|| format!("photo-{}", self.last_message + 1), str::to_owned);
                let size = json!({"file_id": file_id, "file_unique_id": file_id, "width": 800, "height": 400});
                self.send(chat, caption, params, "caption", json!({"photo": [size]}))
            }
            "editmessagetext" => self.edit(chat_of(chat)?, params),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found: method not found")),
        }
    }

    fn send(
        &mut self,
        chat: &str,
        text: String,
        params: &Map<String, Value>,
        text_field: &str,
        mut message: Value,
    ) -> Result<Value, Refusal> {
        let reply = params.get("reply_parameters");
        let replied = reply.and_then(|reply| reply["message_id"].as_i64());
        let is_known = |id: i64| self.messages.get(&id).is_some_and(|(of, _, _)| of == chat);
        let is_needed = reply.is_some_and(|reply| reply["allow_sending_without_reply"] != true);
        if is_needed && !replied.is_some_and(is_known) {
            return Err(Refusal::bad("message to be replied not found"));
        }
        self.last_message += 1;
        let id = self.last_message;
        message["message_id"] = json!(id);
        message["date"] = json!(wall_ms() / 1000);
        message["chat"] = chat_value(chat);
        if !text.is_empty() {
            message[text_field] = json!(text);
        }
        let keyboard = params.get("reply_markup").cloned().unwrap_or_default();
        self.messages.insert(id, (chat.to_owned(), text, keyboard));
        if self.messages.len() > MESSAGES_MAX {
            self.messages.pop_first();
        }
        Ok(message)
    }

    fn edit(&mut self, chat: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let text = parsed(params, "text", TEXT_UNITS_MAX, "message is too long")?;
        if text.is_empty() {
            return Err(Refusal::bad("message text is empty"));
        }
        let id = params.get("message_id").and_then(Value::as_i64).unwrap_or_default();
        let found = self.messages.get_mut(&id).filter(|(of, _, _)| of == chat);
        let (_, before, keyboard_before) = found.ok_or_else(|| Refusal::bad("message to edit not found"))?;
        let keyboard = params.get("reply_markup").cloned().unwrap_or_default();
        if *before == text && *keyboard_before == keyboard {
            return Err(Refusal::bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message",
            ));
        }
        (*before, *keyboard_before) = (text.clone(), keyboard);
        let now_s = wall_ms() / 1000;
        Ok(json!({"message_id": id, "date": now_s, "edit_date": now_s, "chat": chat_value(chat), "text": text}))
    }
}

fn chat_name(chat: &Value) -> String {
    chat.as_str().map_or_else(|| chat.to_string(), str::to_owned)
}

fn chat_of(chat: Option<&str>) -> Result<&str, Refusal> {
    match chat {
        None | Some("") => Err(Refusal::bad("chat_id is empty")),
        Some(chat) if chat.starts_with('@') || chat.parse::<i64>().is_ok() => Ok(chat),
        Some(_) => Err(Refusal::bad("chat not found")),
    }
}

fn chat_value(chat: &str) -> Value {
    match chat.parse::<i64>() {
        Ok(id) if id < 0 => json!({"id": id, "type": "supergroup"}),
        Ok(id) => json!({"id": id, "type": "private"}),
        Err(_) => json!({"id": -1, "type": "channel", "username": chat.trim_start_matches('@')}),
    }
}

/// Returns the parsed text of a field, checked as the server checks it.
fn parsed(params: &Map<String, Value>, field: &str, units_max: usize, too_long: &str) -> Result<String, Refusal> {
    let text = params.get(field).and_then(Value::as_str).unwrap_or_default();
    let mode = params.get("parse_mode").and_then(Value::as_str).unwrap_or_default();
    let text = match mode.to_ascii_lowercase().as_str() {
        "" => text.trim().to_owned(),
        "html" => html::parse(text).map_err(|error| Refusal::bad(&format!("can't parse entities: {error}")))?,
        _ => return Err(Refusal::bad("unsupported parse_mode")),
    };
    if text.encode_utf16().count() > units_max { Err(Refusal::bad(too_long)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(chats: &mut Chats, method: &str, params: Value) -> Result<Value, String> {
        let Value::Object(params) = params else { unreachable!("tests pass objects") };
        chats.handle(method, params).1.map_err(|refusal| refusal.description)
    }

    #[test]
    fn a_text_is_measured_in_utf16_after_parsing() {
        let mut chats = Chats::default();
        let mut send = |text: String| {
            call(&mut chats, "sendMessage", json!({"chat_id": 1, "text": text, "parse_mode": "HTML"})).map(drop)
        };
        assert_eq!(send(format!("<b>{}</b>", "x".repeat(4096))), Ok(()));
        assert_eq!(send("🚨".repeat(2048)), Ok(()));
        assert_eq!(send("🚨".repeat(2049)), Err("Bad Request: message is too long".into()));
        assert_eq!(send("<b> </b>".into()), Err("Bad Request: message text is empty".into()));
        let unclosed = "Bad Request: can't parse entities: Unclosed start tag at byte offset 1";
        assert_eq!(send("a<b".into()), Err(unclosed.into()));
    }

    #[test]
    fn messages_are_numbered_edited_and_replied_to_within_their_chat() {
        let mut chats = Chats::default();
        let sent = call(&mut chats, "sendMessage", json!({"chat_id": "7", "text": "one"})).unwrap();
        assert_eq!((&sent["message_id"], &sent["chat"]["id"]), (&json!(1), &json!(7)));
        let edit = |chat: i64, id: i64, text: &str| json!({"chat_id": chat, "message_id": id, "text": text});
        assert!(call(&mut chats, "editMessageText", edit(7, 1, "two")).is_ok());
        let same = call(&mut chats, "editMessageText", edit(7, 1, "two")).unwrap_err();
        assert!(same.starts_with("Bad Request: message is not modified"), "{same}");
        for (chat, id) in [(8, 1), (7, 2)] {
            let error = call(&mut chats, "editMessageText", edit(chat, id, "x")).unwrap_err();
            assert_eq!(error, "Bad Request: message to edit not found");
        }
        let reply = |id: i64| json!({"chat_id": 7, "text": "re", "reply_parameters": {"message_id": id}});
        assert_eq!(call(&mut chats, "sendMessage", reply(1)).unwrap()["message_id"], 2);
        assert_eq!(
            call(&mut chats, "sendMessage", reply(9)).unwrap_err(),
            "Bad Request: message to be replied not found"
        );
    }

    #[test]
    fn a_rule_fits_its_chat_and_method_and_wears_out() {
        let (chat, method) = (Some("1".to_owned()), Some("sendMessage".to_owned()));
        let rules = vec![Rule { fault: Fault::Blocked, chat, method, times: Some(1) }];
        let mut chats = Chats { rules, ..Chats::default() };
        let send = |chat: i64| json!({"chat_id": chat, "text": "x"});
        assert!(call(&mut chats, "sendMessage", send(2)).is_ok());
        assert_eq!(call(&mut chats, "sendMessage", send(1)).unwrap_err(), "Forbidden: bot was blocked by the user");
        assert!(call(&mut chats, "sendMessage", send(1)).is_ok());
        let kept: Vec<_> = chats.requests.iter().map(|kept| (kept.status, kept.delivered)).collect();
        assert_eq!(kept, [(Some(200), true), (Some(403), false), (Some(200), true)]);
    }
}
