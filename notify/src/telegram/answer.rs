//! What an answer of the Bot API means (telegram.md 4): by its code and the beginning of its text.

use std::time::Duration;

use serde::Deserialize;

use super::SendError;
use crate::{
    caps::{RETRY_AFTER_DEFAULT, RETRY_AFTER_MAX},
    failure::{Failure, MessageId, Refusal},
    recipient::ChatId,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    error_code: Option<u16>,
    description: String,
    parameters: Parameters,
    result: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// What came back of a call that was made: the message, or as much of it as arrived.
#[derive(Debug, PartialEq)]
pub(super) struct Answer(serde_json::Value);

impl Answer {
    /// Returns the message's id.
    pub(super) fn message_id(&self) -> Result<MessageId, SendError> {
        self.0["message_id"].as_i64().map(MessageId).ok_or(SendError::of(Failure::SentIdLost))
    }

    /// Returns the name of the largest size of its picture.
    pub(super) fn file_id(&self) -> Option<String> {
        Some(self.0["photo"].as_array()?.last()?["file_id"].as_str()?.to_owned())
    }

    /// Returns the result as it came; null of an answer that broke off.
    pub(super) fn into_result(self) -> serde_json::Value {
        self.0
    }
}

/// Classifies an answer; `body` is absent when it broke off.
pub(super) fn classify(status: u16, retry_after: Option<Duration>, body: Option<&[u8]>) -> Result<Answer, Failure> {
    let answer: Option<Wire> = body.and_then(|body| serde_json::from_slice(body).ok());
    let answer = answer.unwrap_or_default();
    let code = answer.error_code.unwrap_or(status);
    Err(match code {
        200..=299 => return Ok(Answer(answer.result)),
        400 => bad_request(&answer),
        401 | 404 => Failure::Unauthorized,
        403 => Failure::Refused(forbidden(&answer.description)),
        429 => {
            let wait = answer.parameters.retry_after.map(Duration::from_secs).or(retry_after);
            Failure::RetryAfter(wait.unwrap_or(RETRY_AFTER_DEFAULT).min(RETRY_AFTER_MAX))
        }
        409 => Failure::Conflict,
        // Any other fault of the request is one of this message, for ever.
        402..=499 => Failure::Refused(Refusal::BadRequest),
        _ => Failure::Ambiguous,
    })
}

fn bad_request(answer: &Wire) -> Failure {
    if let Some(chat) = answer.parameters.migrate_to_chat_id {
        return Failure::Migrated(ChatId::from_number(chat));
    }
    let text = text_of(&answer.description, "bad request:");
    if text.starts_with("message is not modified") {
        Failure::NotModified
    } else if ["message to edit not found", "message can't be edited", "message_id_invalid"]
        .iter()
        .any(|known| text.starts_with(known))
    {
        Failure::MessageGone
    } else if text.starts_with("message thread not found") {
        Failure::TopicGone
    } else if text.starts_with("can't parse entities") {
        Failure::Unparseable
    } else if text.starts_with("message is too long") || text.starts_with("message_too_long") {
        Failure::TooLong
    } else if ["chat not found", "private chat not found", "chat_id is empty"]
        .iter()
        .any(|known| text.starts_with(known))
    {
        Failure::Refused(Refusal::ChatNotFound)
    } else if text.contains("not enough rights") || text.contains("have no rights") {
        Failure::Refused(Refusal::NoRights)
    } else {
        Failure::Refused(Refusal::BadRequest)
    }
}

fn forbidden(description: &str) -> Refusal {
    let text = text_of(description, "forbidden:");
    [
        ("bot was blocked by the user", Refusal::Blocked),
        ("user is deactivated", Refusal::Deactivated),
        ("bot was kicked from", Refusal::Kicked),
        ("bot is not a member of", Refusal::NotMember),
        ("the group chat was deleted", Refusal::GroupDeleted),
        ("bot can't initiate conversation", Refusal::NotStarted),
    ]
    .into_iter()
    .find_map(|(known, refusal)| text.starts_with(known).then_some(refusal))
    .unwrap_or(Refusal::Forbidden)
}

/// Returns a description in lower case without its class, so that it can be compared.
fn text_of(description: &str, class: &str) -> String {
    let text = description.to_lowercase();
    text.strip_prefix(class).unwrap_or(&text).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn refused(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }

    #[test]
    fn every_row_of_the_table() {
        for (status, description, expected) in [
            (403, "Forbidden: bot was blocked by the user", refused(Refusal::Blocked)),
            (403, "Forbidden: user is deactivated", refused(Refusal::Deactivated)),
            (403, "Forbidden: bot was kicked from the group chat", refused(Refusal::Kicked)),
            (403, "Forbidden: bot was kicked from the supergroup chat", refused(Refusal::Kicked)),
            (403, "Forbidden: bot is not a member of the channel chat", refused(Refusal::NotMember)),
            (403, "Forbidden: the group chat was deleted", refused(Refusal::GroupDeleted)),
            (403, "Forbidden: bot can't initiate conversation with a user", refused(Refusal::NotStarted)),
            (403, "Forbidden: something of next year", refused(Refusal::Forbidden)),
            (400, "Bad Request: chat not found", refused(Refusal::ChatNotFound)),
            (400, "Bad Request: private chat not found", refused(Refusal::ChatNotFound)),
            (400, "Bad Request: chat_id is empty", refused(Refusal::ChatNotFound)),
            (400, "Bad Request: can't parse entities: unexpected end tag", Failure::Unparseable),
            (400, "Bad Request: message is too long", Failure::TooLong),
            (400, "Bad Request: MESSAGE_TOO_LONG", Failure::TooLong),
            (400, "Bad Request: message is not modified: specified new message content", Failure::NotModified),
            (400, "Bad Request: message to edit not found", Failure::MessageGone),
            (400, "Bad Request: message can't be edited", Failure::MessageGone),
            (400, "Bad Request: MESSAGE_ID_INVALID", Failure::MessageGone),
            (400, "Bad Request: message thread not found", Failure::TopicGone),
            (400, "Bad Request: not enough rights to send text messages to the chat", refused(Refusal::NoRights)),
            (400, "Bad Request: have no rights to send a message", refused(Refusal::NoRights)),
            (400, "Bad Request: something of next year", refused(Refusal::BadRequest)),
            (401, "Unauthorized", Failure::Unauthorized),
            (404, "Not Found", Failure::Unauthorized),
            (409, "Conflict: terminated by other getUpdates request", Failure::Conflict),
            (500, "Internal Server Error", Failure::Ambiguous),
            (302, "Found", Failure::Ambiguous),
        ] {
            let body = serde_json::json!({ "ok": false, "error_code": status, "description": description }).to_string();
            assert_eq!(classify(status, None, Some(body.as_bytes())), Err(expected), "{description}");
        }
    }

    #[test]
    fn the_wait_comes_from_the_body_then_the_header() {
        let body = br#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":7}}"#;
        let header = Some(Duration::from_secs(9));
        let wait = |seconds| Err(Failure::RetryAfter(Duration::from_secs(seconds)));
        assert_eq!(classify(429, header, Some(body)), wait(7));
        assert_eq!(classify(429, header, None), wait(9));
        assert_eq!(classify(429, None, Some(b"<html>")), wait(RETRY_AFTER_DEFAULT.as_secs()));
        assert_eq!(classify(429, Some(Duration::MAX), None), wait(RETRY_AFTER_MAX.as_secs()));
    }

    #[test]
    fn a_migration_names_the_chat() {
        let body = br#"{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-1001234567890},
            "description":"Bad Request: group chat was upgraded to a supergroup chat"}"#;
        assert_eq!(classify(400, None, Some(body)), Err(Failure::Migrated(ChatId::from_number(-1_001_234_567_890))));
    }

    #[test]
    fn success_without_an_id_was_sent() {
        let id = |body| classify(200, None, body).unwrap().message_id().map_err(|error| error.failure);
        assert_eq!(id(Some(br#"{"ok":true,"result":{"message_id":42}}"#)), Ok(MessageId(42)));
        for body in [None, Some(&b"{\"ok\":true,\"resu"[..]), Some(b""), Some(b"<html>")] {
            assert_eq!(id(body), Err(Failure::SentIdLost));
        }
    }

    #[test]
    fn a_picture_s_file_is_the_largest_of_its_sizes() {
        let body = br#"{"ok":true,"result":{"message_id":42,"photo":[{"file_id":"small"},{"file_id":"large"}]}}"#;
        assert_eq!(classify(200, None, Some(body)).unwrap().file_id().as_deref(), Some("large"));
    }

    #[test]
    fn an_answer_of_something_in_between_is_judged_by_its_status() {
        for (status, expected) in [
            (502, Failure::Ambiguous),
            (403, refused(Refusal::Forbidden)),
            (400, refused(Refusal::BadRequest)),
            (413, refused(Refusal::BadRequest)),
            (401, Failure::Unauthorized),
        ] {
            assert_eq!(classify(status, None, Some(b"<html>Bad Gateway</html>")), Err(expected));
        }
    }
}
