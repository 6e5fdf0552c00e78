//! The stand-in over HTTP.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    super::listener::Connection,
    Bot, Request,
    call::{self, Call},
    control::Order,
    fault::{self, Fault, Refusal},
    page::{self, View},
    server::Answer,
};

/// Largest request, in bytes: a photo of 10 MB and its fields.
const BODY_BYTES_MAX: usize = 11 * 1024 * 1024;

/// How long a request hangs at most.
const HANG_MAX: Duration = Duration::from_secs(600);

pub(in super::super) fn routes(bot: Bot) -> Router {
    Router::new()
        .route("/telegram/", get(list))
        .route("/telegram/chat/{chat}", get(chat))
        .route("/telegram/photo/{file_id}", get(photo))
        .route("/telegram/requests", get(requests))
        .route("/telegram/control", post(control))
        .route("/telegram/{bot}/{method}", get(call).post(call))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(bot)
}

#[derive(Deserialize)]
struct Since {
    since: Option<u64>,
}

async fn requests(State(bot): State<Bot>, Query(Since { since }): Query<Since>) -> Json<Vec<Request>> {
    Json(bot.lock().requests.page(since))
}

async fn list(State(bot): State<Bot>, Query(view): Query<View>) -> Response {
    shown(page::list(bot.lock().chats.values(), &view))
}

async fn chat(State(bot): State<Bot>, Path(id): Path<i64>, Query(view): Query<View>) -> Response {
    let server = bot.lock();
    match server.chats.get(&id) {
        Some(chat) => shown(page::chat(chat, &server.photos, &view)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Nothing on a page comes from elsewhere or runs.
fn shown(page: String) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn photo(State(bot): State<Bot>, Path(file_id): Path<String>) -> Response {
    match bot.lock().photos.look(&file_id) {
        Some((kind, bytes)) => {
            let headers = [(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (headers, bytes.to_vec()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn control(State(bot): State<Bot>, body: String) -> Response {
    let refused = |error: String| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    match serde_json::from_str::<Order>(&body).map(|order| order.carry_out(&bot)) {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => refused(error.to_string()),
        Err(error) => refused(error.to_string()),
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
    let Some(number) = call::bot_of(&token) else {
        return Refusal::new(StatusCode::NOT_FOUND, "Not Found").into_response();
    };
    let call = match Call::read(number.to_owned(), method, query, &headers, &body) {
        Ok(call) => call,
        Err(refusal) => return refusal.into_response(),
    };
    let Answer { fault, result } = bot.answer(call).await;
    match (fault, result) {
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
