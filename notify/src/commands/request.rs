//! The same commands over NATS: whoever may publish there has the operator's authority.

use schemas::subscriber::Subscriber;
use serde::{Deserialize, Serialize};

use super::{
    Effects,
    command::{self, Command, Read},
    update::{Asked, Author, Chat, ChatKind, Written},
};
use crate::{
    recipient::{ChatId, InvalidChatId},
    time::WallTime,
};

/// A request as it comes: `{"recipient":"-100123","command":"/mute BTC 1h"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    recipient: String,
    command: String,
    /// Comes back in the reply, so that the asker knows which it answers.
    request: Option<String>,
}

/// A request asks for nothing that can be done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It has another form.
    #[error("the request is not understood; {{\"recipient\":\"-100123\",\"command\":\"/mute BTC 1h\"}} would be")]
    Malformed(#[source] serde_json::Error),
    /// It names no chat.
    #[error(transparent)]
    Recipient(#[from] InvalidChatId),
    /// There is no such command.
    #[error("there is no such command; /help lists them")]
    Unknown,
}

/// Reads a request and its own id, if it has one. `now` is the host's clock: mutes begin then.
///
/// # Errors
/// See [`Refusal`]; [`refused`] is the reply to it.
pub fn read(json: &[u8], now: WallTime) -> Result<(Asked, Option<String>), Refusal> {
    let Request { recipient, command, request } = serde_json::from_slice(json).map_err(Refusal::Malformed)?;
    let chat: ChatId = recipient.parse()?;
    let Read::Command(name, command) = command::read(command.trim(), "", None) else { return Err(Refusal::Unknown) };
    let kind = if chat.is_group() { ChatKind::Group } else { ChatKind::Private };
    let written = Written {
        update: None,
        chat: Chat { id: chat, name: None, kind },
        author: Author::Operator,
        message_id: None,
        forum: None,
        reply_to: None,
        at: now,
        name,
        command,
    };
    Ok((Asked::Command(written), request))
}

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// The request's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What the chat would have been told, as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The subscriber after it, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Subscriber>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns the reply to a request that was carried out; `before` is what its recipient had, for when nothing changed.
pub fn reply(asked: &Asked, effects: &Effects, before: Option<&Subscriber>, request: Option<String>) -> Reply {
    let text = effects.answer.as_ref().map(|answer| answer.page.plain());
    let is_wrong = matches!(asked, Asked::Command(Written { command: Command::Wrong(_), .. }));
    if is_wrong || effects.refused {
        return Reply { ok: false, request, text: None, subscriber: None, error: text };
    }
    let subscriber = effects.subscribers.last().or(before).cloned();
    Reply { ok: true, request, text, subscriber, error: None }
}

/// Returns the reply to a request that was not understood.
pub fn refused(refusal: &Refusal) -> Reply {
    Reply { ok: false, request: None, text: None, subscriber: None, error: Some(refusal.to_string()) }
}
