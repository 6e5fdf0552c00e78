//! A stand-in for Telegram's Bot API: carries out the methods foreshock calls, checks what the real server checks, keeps
//! every request, does what people do in a chat, and fails as scripted or by chance.
//!
//! `POST /telegram/bot<token>/<method>` with a JSON or multipart body, or a query; any token of the real form
//! (`<digits>:<letters>`) is taken and is the same bot, another answers 404. Texts of refusals are those of the
//! open-source server at 10.0. Methods:
//!
//! | method | checked |
//! |---|---|
//! | `sendMessage`, `sendPhoto`, `editMessageText`, `editMessageReplyMarkup`, `deleteMessage` | `chat_id`, whether the bot may write there, an empty text, `parse_mode` (HTML or none), the entities, the length after parsing in UTF-16 units (4096, captions 1024), inline keyboards, the topic where the chat has topics, the message that is edited (also for being the same), deleted or replied to |
//! | `sendPhoto` | a PNG or JPEG by its head, its size; a `file_id` of the last 300 photos; no URL |
//! | `getUpdates` | long polling up to 50 s, `offset` (also negative), `limit`, `allowed_updates`; 409 while a webhook is set, or for the older of two polls; what asks too often is slowed down |
//! | `answerCallbackQuery` | a press of the last minute that was not answered yet |
//! | `setMyCommands`, `getMyCommands` | names, descriptions, scopes |
//! | `getMe`, `getChat`, `getChatMember`, `getWebhookInfo`, `deleteWebhook` | |
//!
//! A chat is there as soon as its number is named: positive private, from -1000000000000 on a supergroup without topics,
//! other negative ones a group; `@name` is a channel. The bot may write in it, and whoever speaks there is a member.
//!
//! ```text
//! GET  /telegram/requests[?since=N]  [{"index","at_ms","bot","method","chat","params","kind","status","description",
//!                           "message_id","delivered"}, …], oldest first, at most 10,000: from index N on, or the last ones;
//!                           of the last 200,000. "bot" is what the token begins with, never more of it; "kind" is "ok",
//!                           "refused", "limited", "scripted" or "chance"; "status" null: no answer, or one that broke off
//! GET  /telegram/           the chats, for a browser; with ?theme=dark in dark
//! GET  /telegram/chat/ID    a chat as a phone shows it, times in UTC; [?thread=N] one topic, [?theme=dark]
//! GET  /telegram/photo/ID   a photo that was sent
//! POST /telegram/control    any of the following in one object; answers {"ok": true} and what is said below, or 400 {"error"}
//!   "rules"    [{"fault": …, "chat": "…", "method": "…", "times": n}, …] replaces all rules; the first that fits a request
//!              is used; without "chat", "method", "times": any, any, always
//!     fault    {"retry_after": seconds}, "blocked", "chat_not_found", "cant_parse_entities", "unauthorized",
//!              "bad_gateway", and, the request being carried out all the same: "hang", "reset", "truncated"
//!   "limits"   true: 1 message a second and chat (3 at once), 20 a minute and group, 30 a second in all, sends and edits
//!              together; what is refused does not count
//!   "chance"   {"seed", "retry_after", "reset", "bad_gateway"}: probabilities by request; null: none
//!   "delay_ms" answers are held back up to this long, evenly spread; what was asked for is carried out at once. 0: none
//!   "webhook"  "https://…": getUpdates fails until deleteWebhook; null: none
//!   "chat"     {"id", "type": "private"|"group"|"supergroup"|"channel", "title", "topics": {"7": "name"},
//!              "members": [{"id", "name", "status"}]} makes a chat; the bot is a member
//!   "gone"     ID: the person is deactivated, the group deleted
//!   "member"   {"chat", "from", "status": "creator"|"administrator"|"member"|"restricted"|"left"|"kicked"}: of the bot
//!   "migrate"  {"from", "to"}: a group becomes a supergroup
//!   "say"      {"chat", "from", "text", "thread", "reply_to"}: answers with "message_id". In groups the bot hears commands
//!              and replies to it only. `/start` unblocks
//!   "press"    {"chat", "from", "message_id", "data"}: a button that is there; answers with "callback_query_id"
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::clock::wall_ms;

mod call;
mod chance;
mod chat;
mod commands;
mod control;
mod fault;
mod html;
mod http;
mod keyboard;
mod limits;
mod message;
mod methods;
mod multipart;
mod page;
mod people;
mod photos;
mod record;
mod server;
#[cfg(test)]
mod tests;
mod text;
mod updates;

pub use chance::Chance;
pub use chat::{Kind, Member, Status};
pub use control::ChanceError;
pub use fault::Fault;
pub use people::{ChatSetup, Membership, Migration, PeopleError, Press, Say};
pub use record::{Outcome, Request};

pub(super) use http::routes;

use call::Call;
use chance::Dice;
use fault::Refusal;
use server::{Answer, Server};
use updates::{Poll, Polled};

/// A scripted fault and the requests it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What happens.
    pub fault: Fault,
    /// The `chat_id`; absent: any.
    pub chat: Option<String>,
    /// The method; absent: any.
    pub method: Option<String>,
    /// How many requests; absent: all.
    pub times: Option<u32>,
}

impl Rule {
    /// Returns the rule that the next `times` requests meet `fault`.
    pub const fn next(fault: Fault, times: u32) -> Self {
        Self { fault, chat: None, method: None, times: Some(times) }
    }
}

/// The handle on the stand-in.
#[derive(Clone)]
pub struct Bot {
    server: Arc<Mutex<Server>>,
    /// Told whenever a poll that waits may have an answer.
    wake: watch::Sender<()>,
    shutdown: CancellationToken,
}

impl Bot {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self { server: Arc::default(), wake: watch::Sender::new(()), shutdown }
    }

    /// Replaces the scripted faults; the first that fits a request is used.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.lock().rules = rules;
    }

    /// Switches the limits of rate on or off; they are off at first.
    pub fn set_limits(&self, is_on: bool) {
        self.lock().is_limited = is_on;
    }

    /// Replaces the faults by chance; they begin at the seed.
    ///
    /// # Errors
    /// These are no probabilities.
    pub fn set_chance(&self, chance: Option<Chance>) -> Result<(), ChanceError> {
        if chance.as_ref().is_some_and(|chance| !chance.is_valid()) {
            return Err(ChanceError);
        }
        self.lock().dice = chance.map(Dice::new);
        Ok(())
    }

    /// Holds answers back up to this long, evenly spread; what was asked for is carried out at once.
    pub fn set_delay(&self, longest: Duration) {
        self.lock().delay = longest;
    }

    /// Sets or takes away a webhook, which gets nothing but makes getUpdates fail.
    pub fn set_webhook(&self, url: Option<String>) {
        self.lock().updates.webhook = url.filter(|url| !url.is_empty());
        self.wake.send_replace(());
    }

    /// Makes a chat what it is to be.
    ///
    /// # Errors
    /// No chat of this kind has this number.
    pub fn set_chat(&self, chat: ChatSetup) -> Result<(), PeopleError> {
        self.act(|server, _| server.set_chat(chat))
    }

    /// Takes a person or a group away for good; the bot is not told.
    ///
    /// # Errors
    /// No chat has this number.
    pub fn remove_chat(&self, chat: i64) -> Result<(), PeopleError> {
        self.act(|server, _| server.remove_chat(chat))
    }

    /// Changes what the bot is in a chat, for which it gets `my_chat_member` unless nothing changed.
    ///
    /// # Errors
    /// No chat has this number, or it has migrated.
    pub fn set_member(&self, change: Membership) -> Result<(), PeopleError> {
        self.act(|server, now_ms| server.set_member(change, now_ms))
    }

    /// Makes a group a supergroup: both tell so, and the old number is refused from then on.
    ///
    /// # Errors
    /// One of the numbers is not of such a chat, or the bot is not in it.
    pub fn migrate(&self, migration: Migration) -> Result<(), PeopleError> {
        self.act(|server, now_ms| server.migrate(migration, now_ms))
    }

    /// Has a person write something and returns the number of the message.
    ///
    /// # Errors
    /// It cannot be written there, or the bot is not in the chat; `/start` from a person lets it in again.
    pub fn say(&self, say: Say) -> Result<i64, PeopleError> {
        self.act(|server, now_ms| server.say(say, now_ms))
    }

    /// Has a person press a button and returns the id of the callback query, to be answered within a minute.
    ///
    /// # Errors
    /// There is no such button, or the bot is not in the chat.
    pub fn press(&self, press: Press) -> Result<String, PeopleError> {
        self.act(|server, now_ms| server.press(press, now_ms))
    }

    /// Returns the messages that stand in a chat as the Bot API's `Message`, oldest first.
    pub fn messages(&self, chat: i64) -> Vec<Value> {
        self.lock().messages(chat)
    }

    /// Returns the requests received, oldest first, at most the last 200,000.
    pub fn requests(&self) -> Vec<Request> {
        self.requests_since(0)
    }

    /// Returns the requests from an index on.
    pub fn requests_since(&self, index: u64) -> Vec<Request> {
        self.lock().requests.since(index).cloned().collect()
    }

    fn act<T>(&self, act: impl FnOnce(&mut Server, i64) -> T) -> T {
        let done = act(&mut self.lock(), wall_ms());
        self.wake.send_replace(());
        done
    }

    async fn answer(&self, call: Call) -> Answer {
        if !call.method.eq_ignore_ascii_case("getUpdates") {
            let (answer, wait) = {
                let mut server = self.lock();
                let answer = server.handle(call, wall_ms());
                (answer, server.delay.mul_f64(server.requests.spread()))
            };
            if !wait.is_zero() {
                // Either way it is answered.
                let _ = timeout(wait, self.shutdown.cancelled()).await;
            }
            return answer;
        }
        let (trouble, polled) = self.lock().begin_poll(&call, wall_ms());
        let result = match polled {
            Polled::Answered(result) => result,
            Polled::Waits(poll) => {
                // An older poll ends with this one.
                self.wake.send_replace(());
                self.wait(poll).await
            }
        };
        if let Err(Refusal { held, .. }) = &result {
            // Either way it is answered.
            let _ = timeout(*held, self.shutdown.cancelled()).await;
        }
        self.lock().conclude(call, trouble, result, wall_ms())
    }

    async fn wait(&self, poll: Poll) -> Result<Value, Refusal> {
        let mut wake = self.wake.subscribe();
        loop {
            wake.mark_unchanged();
            let now_ms = wall_ms();
            let answer = self.lock().updates.look(poll, now_ms);
            if let Some(answer) = answer {
                return answer;
            }
            let left = Duration::from_millis((poll.until_ms - now_ms).unsigned_abs());
            tokio::select! {
                // The sender lives in `self`.
                _ = wake.changed() => {}
                () = sleep(left) => {}
                () = self.shutdown.cancelled() => return Ok(json!([])),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("nothing panics while it holds the bot")
    }
}
