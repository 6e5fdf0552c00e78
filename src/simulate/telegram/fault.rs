//! What the Bot API stand-in answers instead of what was asked for.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A scripted answer of the Bot API (`telegram.md` 4, 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429, with this many seconds in the body and in the header.
    RetryAfter(u64),
    /// 403: the user blocked the bot.
    Blocked,
    /// 400: there is no such chat.
    ChatNotFound,
    /// 400: the entities of the text cannot be parsed.
    CantParseEntities,
    /// 401: the token is not valid.
    Unauthorized,
    /// 502 with an HTML page.
    BadGateway,
    /// The request is carried out and never answered.
    Hang,
    /// The request is carried out and the connection is reset without an answer.
    Reset,
    /// The request is carried out and its 200 breaks off in the middle.
    Truncated,
}

impl Fault {
    /// Returns the refusal; none where the request is carried out all the same and only its answer suffers.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            Self::RetryAfter(seconds) => Refusal {
                parameters: json!({"retry_after": seconds}),
                ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, &format!("Too Many Requests: retry after {seconds}"))
            },
            Self::Blocked => Refusal::forbidden("bot was blocked by the user"),
            Self::ChatNotFound => Refusal::bad("chat not found"),
            Self::CantParseEntities => {
                Refusal::bad("can't parse entities: Unsupported start tag \"x\" at byte offset 0")
            }
            Self::Unauthorized => Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::BadGateway => Refusal::new(StatusCode::BAD_GATEWAY, "Bad Gateway"),
            Self::Hang | Self::Reset | Self::Truncated => return None,
        })
    }
}

/// An answer with `ok: false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) description: String,
    /// `parameters` of the answer; null: none.
    parameters: Value,
    /// How long the server holds the answer back.
    pub(super) held: Duration,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, description: &str) -> Self {
        Self { code, description: description.to_owned(), parameters: Value::Null, held: Duration::ZERO }
    }

    /// A request that is wrong.
    pub(super) fn bad(what: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, &format!("Bad Request: {what}"))
    }

    /// What the bot may not do.
    pub(super) fn forbidden(what: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, &format!("Forbidden: {what}"))
    }

    /// A group that goes on under another number.
    pub(super) fn migrated(to: i64) -> Self {
        let parameters = json!({"migrate_to_chat_id": to});
        Self { parameters, ..Self::bad("group chat was upgraded to a supergroup chat") }
    }

    /// Two that want the updates of one bot.
    pub(super) fn conflict(what: &str, held: Duration) -> Self {
        Self { held, ..Self::new(StatusCode::CONFLICT, &format!("Conflict: {what}")) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"ok": false, "error_code": self.code.as_u16(), "description": self.description});
        let retry_after = self.parameters["retry_after"].as_u64();
        if !self.parameters.is_null() {
            body["parameters"] = self.parameters;
        }
        match retry_after {
            Some(seconds) => {
                (self.code, [(header::RETRY_AFTER, seconds.to_string())], axum::Json(body)).into_response()
            }
            None => (self.code, axum::Json(body)).into_response(),
        }
    }
}

pub(super) fn bad_gateway() -> Response {
    let page =
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>";
    (StatusCode::BAD_GATEWAY, Html(page)).into_response()
}

/// Returns a 200 that promises all of `answer` and breaks off after half of it.
pub(super) fn truncated(answer: &Value) -> Response {
    let mut text = answer.to_string();
    let length = text.len();
    text.truncate(text.floor_char_boundary(length / 2));
    let chunks = stream::once(async { Ok(Bytes::from(text)) }).chain(stream::once(async {
        // The server writes the first half when the second is not there yet, and never if it is an error at once.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }));
    let body = Body::from_stream(chunks);
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    (headers, body).into_response()
}
