//! A stand-in for Telegram's Bot API: carries out the methods foreshock sends with, checks what the real server checks
//! of a text, keeps every request, and fails as scripted.
//!
//! `POST /telegram/bot<token>/<method>` with a JSON or multipart body, or a query; any token of the real form
//! (`<digits>:<letters>`) is taken, another answers 404. Methods: `getMe`, `sendMessage`, `editMessageText`, `sendPhoto`.
//! Checked: `chat_id`, an empty text, `parse_mode` (HTML or none), the entities, the length after parsing in UTF-16
//! units (4096, captions 1024), the message that is edited (also for being the same) and the one that is replied to.
//! Limits of rate are not simulated: script a 429.
//!
//! ```text
//! GET  /telegram/requests   [{"at_ms","method","chat","params","status","message_id","delivered"}, …], oldest first,
//!                           the last 10,000; "status" null: no answer, or one that broke off; never the token
//! POST /telegram/control    {"rules": [{"fault": …, "chat": "…", "method": "…", "times": n}, …]} replaces all rules;
//!                           the first that fits a request is used; without "chat", "method", "times": any, any, always
//!   fault  {"retry_after": seconds}, "blocked", "chat_not_found", "cant_parse_entities", "unauthorized", "bad_gateway",
//!          and, the request being carried out all the same: "hang", "reset", "truncated"
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::listener::Connection;

mod chats;
mod fault;
mod html;
mod multipart;

pub use fault::Fault;

use chats::Chats;
use fault::Refusal;

/// Largest request, in bytes: a photo of 10 MB and its fields.
const BODY_BYTES_MAX: usize = 11 * 1024 * 1024;

/// How long a request hangs at most.
const HANG_MAX: Duration = Duration::from_secs(600);

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

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// When it was answered or failed, in milliseconds since 1970 UTC on this host's clock.
    pub at_ms: i64,
    /// The method, as it was written.
    pub method: String,
    /// Its `chat_id`, where it has one.
    pub chat: Option<String>,
    /// Its parameters; of an uploaded file only the size.
    pub params: Value,
    /// HTTP status of the answer; absent where there was none, or one that broke off.
    pub status: Option<u16>,
    /// The message that was sent or edited.
    pub message_id: Option<i64>,
    /// Whether a message was sent or edited, also where the answer did not say so.
    pub delivered: bool,
}

/// The handle on the stand-in.
#[derive(Clone)]
pub struct Bot {
    chats: Arc<Mutex<Chats>>,
    shutdown: CancellationToken,
}

impl Bot {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self { chats: Arc::default(), shutdown }
    }

    /// Replaces the scripted faults; the first that fits a request is used.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.lock().rules = rules;
    }

    /// Returns the requests received, oldest first, at most the last 10,000.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().expect("nothing panics while it holds the bot")
    }
}

pub(super) fn routes(bot: Bot) -> Router {
    Router::new()
        .route("/telegram/requests", get(requests))
        .route("/telegram/control", post(control))
        .route("/telegram/{bot}/{method}", get(call).post(call))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(bot)
}

async fn requests(State(bot): State<Bot>) -> Json<Vec<Request>> {
    Json(bot.requests())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    rules: Vec<Rule>,
}

async fn control(State(bot): State<Bot>, body: String) -> Response {
    match serde_json::from_str::<Order>(&body) {
        Ok(order) => {
            bot.set_rules(order.rules);
            Json(json!({"ok": true})).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

async fn call(
    State(bot): State<Bot>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path((token, method)): Path<(String, String)>,
    Query(query): Query<Map<String, Value>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_token(&token) {
        return Refusal::new(StatusCode::NOT_FOUND, "Not Found").into_response();
    }
    let params = match params(query, &headers, &body) {
        Ok(params) => params,
        Err(refusal) => return refusal.into_response(),
    };
    let (fault, answer) = bot.lock().handle(&method, params);
    match (fault, answer) {
        (Some(Fault::Hang), _) => {
            // Either way nobody is answered.
            let _ = timeout(HANG_MAX, bot.shutdown.cancelled()).await;
            connection.reset();
            StatusCode::NO_CONTENT.into_response()
        }
        (Some(Fault::Reset), _) => {
            connection.reset();
            StatusCode::NO_CONTENT.into_response()
        }
        (Some(Fault::BadGateway), _) => fault::bad_gateway(),
        (Some(Fault::Truncated), Ok(result)) => fault::truncated(&json!({"ok": true, "result": result})),
        (_, Ok(result)) => Json(json!({"ok": true, "result": result})).into_response(),
        (_, Err(refusal)) => refusal.into_response(),
    }
}

/// The real server answers 404 to what cannot be a token, and 401 to a token it does not know.
fn is_token(path: &str) -> bool {
    let Some((id, secret)) = path.strip_prefix("bot").and_then(|token| token.split_once(':')) else { return false };
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !id.is_empty()
        && id.bytes().all(|byte| byte.is_ascii_digit())
        && !secret.is_empty()
        && secret.bytes().all(is_secret)
}

/// Returns the parameters of a request: of the body, or else of the query.
fn params(query: Map<String, Value>, headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if let Some(boundary) = kind.strip_prefix("multipart/form-data").and_then(|rest| rest.split_once("boundary=")) {
        return Ok(multipart::fields(body, boundary.1.trim_matches('"')));
    }
    if body.is_empty() {
        return Ok(query);
    }
    serde_json::from_slice(body).map_err(|_| Refusal::bad("can't parse JSON object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_token_is_taken() {
        for (path, taken) in
            [("bot123:AbC-_9", true), ("bot123", false), ("bot:x", false), ("botx:1", false), ("123:x", false)]
        {
            assert_eq!(is_token(path), taken, "{path}");
        }
    }
}
