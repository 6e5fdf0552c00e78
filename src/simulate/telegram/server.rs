//! The stand-in's server: what it knows, and what becomes of a request.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use axum::http::StatusCode;
use serde_json::Value;

use super::{
    Rule,
    call::Call,
    chance::Dice,
    chat::{Chat, Kind},
    commands::Commands,
    fault::{Fault, Refusal},
    limits::{Limit, Window},
    message::Message,
    photos::Photos,
    record::{Outcome, Request, Requests},
    updates::{Polled, Updates},
};

/// Chats known. At the bound a number or name that was not seen is "chat not found".
const CHATS_MAX: usize = 100_000;

/// Messages kept in all. At the bound the oldest are forgotten: "message to edit not found".
const MESSAGES_MAX: usize = 50_000;

/// Where the numbers of channels begin that are known by name only.
const NAMED_MAX: i64 = -1_009_000_000_000;

/// Methods that count against the limits: sends and edits (`telegram.md` 3).
const LIMITED: [&str; 4] = ["sendmessage", "sendphoto", "editmessagetext", "editmessagereplymarkup"];

/// What is known and what is to fail.
#[derive(Default)]
pub(super) struct Server {
    pub(super) rules: Vec<Rule>,
    pub(super) dice: Option<Dice>,
    pub(super) is_limited: bool,
    /// Longest time an answer is held back.
    pub(super) delay: Duration,
    pub(super) requests: Requests,
    pub(super) chats: BTreeMap<i64, Chat>,
    pub(super) photos: Photos,
    pub(super) updates: Updates,
    pub(super) commands: Commands,
    /// Presses that were not answered, with their time.
    pub(super) queries: BTreeMap<u64, i64>,
    pub(super) last_query: u64,
    /// Channels by the name they were first called with.
    names: BTreeMap<String, i64>,
    sent: Window,
    /// Every message, oldest first; of deleted ones the place only.
    order: VecDeque<(i64, i64)>,
    last_message: i64,
}

/// What becomes of a request.
pub(super) struct Answer {
    /// What happens to the answer on its way.
    pub(super) fault: Option<Fault>,
    pub(super) result: Result<Value, Refusal>,
}

/// What keeps a request from its ordinary answer.
type Trouble = Option<(Outcome, Fault)>;

impl Server {
    /// Carries out a request or fails it, and keeps it. Calls of getUpdates begin with [`Server::begin_poll`] instead.
    pub(super) fn handle(&mut self, mut call: Call, now_ms: i64) -> Answer {
        let trouble = self.trouble(&call, now_ms);
        let result = match trouble.as_ref().and_then(|(_, fault)| fault.refusal()) {
            Some(refusal) => Err(refusal),
            None => self.carry_out(&mut call, now_ms),
        };
        self.conclude(call, trouble, result, now_ms)
    }

    /// Begins a call of getUpdates, which [`Server::conclude`] ends.
    pub(super) fn begin_poll(&mut self, call: &Call, now_ms: i64) -> (Trouble, Polled) {
        let trouble = self.trouble(call, now_ms);
        let polled = match trouble.as_ref().and_then(|(_, fault)| fault.refusal()) {
            Some(refusal) => Polled::Answered(Err(refusal)),
            None => self.updates.begin(call, now_ms),
        };
        (trouble, polled)
    }

    /// Keeps a request with its answer.
    pub(super) fn conclude(
        &mut self,
        call: Call,
        trouble: Trouble,
        result: Result<Value, Refusal>,
        now_ms: i64,
    ) -> Answer {
        let (kind, fault) = match trouble {
            Some((kind, fault)) => (kind, Some(fault)),
            None if result.is_ok() => (Outcome::Ok, None),
            None => (Outcome::Refused, None),
        };
        let status = match (&fault, &result) {
            (Some(Fault::Hang | Fault::Reset | Fault::Truncated), _) => None,
            (_, Ok(_)) => Some(StatusCode::OK.as_u16()),
            (_, Err(refusal)) => Some(refusal.code.as_u16()),
        };
        let message_id = result.as_ref().ok().and_then(|result| result["message_id"].as_i64());
        self.requests.push(Request {
            index: 0,
            at_ms: now_ms,
            chat: call.chat(),
            bot: call.bot,
            method: call.method,
            params: Value::Object(call.fields),
            kind,
            status,
            description: result.as_ref().err().map(|refusal| refusal.description.clone()),
            message_id,
            delivered: message_id.is_some(),
        });
        Answer { fault, result }
    }

    /// Returns what a request meets: a rule first, then chance, then the limits.
    fn trouble(&mut self, call: &Call, now_ms: i64) -> Trouble {
        if let Some(fault) = self.next_scripted(call) {
            return Some((Outcome::Scripted, fault));
        }
        if let Some(fault) = self.dice.as_mut().and_then(Dice::roll) {
            return Some((Outcome::Chance, fault));
        }
        let wait_s = self.wait_s(call, now_ms);
        (wait_s > 0).then_some((Outcome::Limited, Fault::RetryAfter(wait_s)))
    }

    fn next_scripted(&mut self, call: &Call) -> Option<Fault> {
        if self.rules.is_empty() {
            return None;
        }
        let chat = call.chat();
        let fits = |rule: &Rule| {
            rule.times != Some(0)
                && rule.chat.as_deref().is_none_or(|wanted| Some(wanted) == chat.as_deref())
                && rule.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&call.method))
        };
        let rule = self.rules.iter_mut().find(|rule| fits(rule))?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }

    /// Counts a send or an edit, unless it is too early; then returns how long to wait, in seconds.
    fn wait_s(&mut self, call: &Call, now_ms: i64) -> u64 {
        if !self.is_limited || !LIMITED.iter().any(|method| call.method.eq_ignore_ascii_case(method)) {
            return 0;
        }
        // What has no chat is refused for that.
        let Ok(id) = self.resolve(call) else { return 0 };
        let Some(chat) = self.chats.get_mut(&id) else { return 0 };
        let in_group = if chat.kind == Kind::Private { 0 } else { chat.sent_in_group.wait_s(Limit::GROUP, now_ms) };
        let wait_s = chat.sent.wait_s(Limit::CHAT, now_ms).max(in_group).max(self.sent.wait_s(Limit::OVERALL, now_ms));
        if wait_s == 0 {
            chat.sent.count(now_ms);
            self.sent.count(now_ms);
            if chat.kind != Kind::Private {
                chat.sent_in_group.count(now_ms);
            }
        }
        wait_s
    }

    /// Returns the number of the chat a request names; a chat that was not seen before is there from then on.
    pub(super) fn resolve(&mut self, call: &Call) -> Result<i64, Refusal> {
        let not_found = || Refusal::bad("chat not found");
        let written = call.chat().unwrap_or_default();
        if written.is_empty() {
            return Err(Refusal::bad("chat_id is empty"));
        }
        let Some(name) = written.strip_prefix('@') else {
            let id = written.parse().map_err(|_| not_found())?;
            return self.chat(id).map(|chat| chat.id).ok_or_else(not_found);
        };
        if let Some(id) = self.names.get(name) {
            return Ok(*id);
        }
        let id = NAMED_MAX - i64::try_from(self.names.len()).unwrap_or(i64::MAX);
        let channel = self.chat(id).ok_or_else(not_found)?;
        (channel.kind, channel.title, channel.username) = (Kind::Channel, name.to_owned(), Some(name.to_owned()));
        self.names.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Returns a chat, also one that was not seen before; none at the bound.
    pub(super) fn chat(&mut self, id: i64) -> Option<&mut Chat> {
        if id == 0 || (self.chats.len() >= CHATS_MAX && !self.chats.contains_key(&id)) {
            return None;
        }
        Some(self.chats.entry(id).or_insert_with(|| Chat::new(id, Kind::of(id))))
    }

    /// Puts a message into a chat that is there and returns it as `Message`; its number is given here.
    pub(super) fn keep(&mut self, chat: i64, mut message: Message) -> Value {
        let chat = self.chats.get_mut(&chat).expect("the chat was looked up before");
        let last = if chat.kind.has_own_numbers() { &mut chat.last_message } else { &mut self.last_message };
        *last += 1;
        message.id = *last;
        let json = message.json(chat);
        self.order.push_back((chat.id, message.id));
        chat.messages.insert(message.id, message);
        if self.order.len() > MESSAGES_MAX
            && let Some((chat, message)) = self.order.pop_front()
            && let Some(chat) = self.chats.get_mut(&chat)
        {
            chat.messages.remove(&message);
        }
        json
    }
}
