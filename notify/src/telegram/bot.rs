//! The calls that only a bot of our own may make: hearing people. With a shared token another program does (design 5).

use reqwest::Client;
use serde_json::{Value, json};
use url::Url;

use super::{Answer, Config, ConfigError, SendError, call, client, method_url};
use crate::{
    caps::{ANSWER_BYTES_MAX, CALL_TIMEOUT, POLL_TIMEOUT, UPDATES_BYTES_MAX, UPDATES_MAX},
    failure::Failure,
    recipient::ChatId,
};

/// Kinds of updates that are asked for (telegram.md 8); the others never come.
const KINDS: [&str; 3] = ["message", "callback_query", "my_chat_member"];

/// What somebody is in a group who may change its settings.
const ADMINS: [&str; 2] = ["creator", "administrator"];

/// A client that hears what people write to the bot. A shared token has none: make it only of a token of our own.
#[derive(Clone)]
pub struct OwnBot {
    client: Client,
    get_me: Url,
    get_updates: Url,
    delete_webhook: Url,
    answer_callback_query: Url,
    get_chat_member: Url,
    get_my_commands: Url,
    set_my_commands: Url,
}

impl OwnBot {
    /// Makes a client. The process must have installed its TLS provider before.
    ///
    /// # Errors
    /// [`ConfigError`], which holds neither the address nor the token.
    ///
    /// # Panics
    /// Without an installed TLS provider.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let url = |method| method_url(config, method);
        Ok(Self {
            client: client(CALL_TIMEOUT)?,
            get_me: url("getMe")?,
            get_updates: url("getUpdates")?,
            delete_webhook: url("deleteWebhook")?,
            answer_callback_query: url("answerCallbackQuery")?,
            get_chat_member: url("getChatMember")?,
            get_my_commands: url("getMyCommands")?,
            set_my_commands: url("setMyCommands")?,
        })
    }

    /// Returns the bot's user name, without `@`.
    ///
    /// # Errors
    /// [`SendError`]; asking again is harmless, as for every call here.
    pub async fn name(&self) -> Result<String, SendError> {
        let me = self.ask(&self.get_me, &json!({})).await?;
        me["username"].as_str().map(str::to_owned).ok_or(SendError::of(Failure::Ambiguous))
    }

    /// Ends a webhook, which would keep every update from us; updates that wait are kept (telegram.md 8).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn delete_webhook(&self) -> Result<(), SendError> {
        self.ask(&self.delete_webhook, &json!({ "drop_pending_updates": false })).await.map(drop)
    }

    /// Shows the commands in Telegram's menu, each with its description, unless it shows them already: setting them counts
    /// against a limit (telegram.md 9).
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn show_menu(&self, commands: &[(String, String)]) -> Result<(), SendError> {
        let command =
            |(command, description): &(String, String)| json!({ "command": command, "description": description });
        let wanted: Value = commands.iter().map(command).collect();
        if self.ask(&self.get_my_commands, &json!({})).await? == wanted {
            return Ok(());
        }
        self.ask(&self.set_my_commands, &json!({ "commands": wanted })).await.map(drop)
    }

    /// Returns the updates from `offset` on (absent: from the first that waits), which confirms everything before it. Waits
    /// up to [`POLL_TIMEOUT`] for the first one. An answer that broke off is asked for again, one update at a time.
    ///
    /// # Errors
    /// [`SendError`]; [`Failure::Conflict`] when another program asks too.
    pub async fn updates(&self, offset: Option<i64>) -> Result<Vec<Value>, SendError> {
        if let Value::Array(updates) = self.poll(offset, UPDATES_MAX).await?.into_result() {
            return Ok(updates);
        }
        if let Value::Array(updates) = self.poll(offset, 1).await?.into_result() {
            return Ok(updates);
        }
        Err(SendError::of(Failure::Ambiguous))
    }

    async fn poll(&self, offset: Option<i64>, limit: usize) -> Result<Answer, SendError> {
        let mut body = json!({ "timeout": POLL_TIMEOUT.as_secs(), "limit": limit, "allowed_updates": KINDS });
        if let Some(offset) = offset {
            body["offset"] = offset.into();
        }
        let patience = POLL_TIMEOUT + CALL_TIMEOUT;
        call(self.client.post(self.get_updates.clone()).timeout(patience).json(&body), UPDATES_BYTES_MAX).await
    }

    /// Answers a pressed button, which stops its clock; `text` is shown for a moment.
    ///
    /// # Errors
    /// [`SendError`]; a press that is too old cannot be answered any more.
    pub async fn answer_press(&self, callback_id: &str, text: &str) -> Result<(), SendError> {
        let body = json!({ "callback_query_id": callback_id, "text": text });
        self.ask(&self.answer_callback_query, &body).await.map(drop)
    }

    /// Returns whether a person may change the settings of a group.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn is_admin(&self, chat: &ChatId, user: i64) -> Result<bool, SendError> {
        let member = self.ask(&self.get_chat_member, &json!({ "chat_id": chat.as_str(), "user_id": user })).await?;
        Ok(member["status"].as_str().is_some_and(|status| ADMINS.contains(&status)))
    }

    async fn ask(&self, method: &Url, body: &Value) -> Result<Value, SendError> {
        let answer = call(self.client.post(method.clone()).json(body), ANSWER_BYTES_MAX).await?.into_result();
        // Every answer has a result: one without broke off.
        if answer.is_null() { Err(SendError::of(Failure::Ambiguous)) } else { Ok(answer) }
    }
}
