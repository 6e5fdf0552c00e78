use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::failure::Refusal;

const TOKEN: &str = "123456:AAbb_cc-DD";

/// What the fake Bot API does with one request.
enum Script {
    /// Answers with this status line, headers and body.
    Answer(&'static str, &'static str, &'static str),
    /// Takes the request and never answers.
    Hang,
    /// Takes the request and closes.
    Close,
    /// Takes the request and resets the connection.
    Reset,
    /// Says more bytes will come than do.
    Truncate,
}

/// A Bot API for one request; the handle gives the request it got.
async fn fake(script: Script) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let serve = async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = read_request(&mut socket).await;
        match script {
            Script::Answer(status, headers, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
            Script::Hang => {
                // Until the client gives up.
                socket.read_to_end(&mut Vec::new()).await.unwrap();
            }
            Script::Close => {}
            Script::Reset => socket.set_zero_linger().unwrap(),
            Script::Truncate => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"ok\":true,").await.unwrap();
            }
        }
        request
    };
    (url, tokio::spawn(serve))
}

/// Reads one request: its line, its headers and the body they announce.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let read = socket.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
            if body.len() >= length.lines().next().unwrap().parse().unwrap() {
                return text;
            }
        }
        assert!(read > 0, "the client closed within its request");
    }
}

fn client(base_url: Url, timeout: Duration) -> Telegram {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Telegram::with_timeout(&Config { base_url, token: Secret::new(TOKEN.to_owned()) }, timeout).unwrap()
}

async fn send(url: Url, text: &Text) -> Result<MessageId, SendError> {
    client(url, CALL_TIMEOUT).send_message(&ChatId::from_number(-42), text, &Frame::default()).await
}

/// What came of a call that met `script`, and that its error does not show the token.
async fn failure_of(script: Script) -> Result<MessageId, Failure> {
    let timeout = match script {
        Script::Hang => Duration::from_millis(200),
        Script::Answer(..) | Script::Close | Script::Reset | Script::Truncate => CALL_TIMEOUT,
    };
    let (url, _server) = fake(script).await;
    let result = client(url, timeout)
        .send_message(&ChatId::from_number(-42), &Text::Plain("text".to_owned()), &Frame::default())
        .await;
    result.map_err(|error| {
        assert_no_token(&error);
        error.failure
    })
}

fn assert_no_token(error: &dyn std::error::Error) {
    let mut shown = format!("{error:?}");
    let mut cause = Some(error);
    while let Some(error) = cause {
        shown += &error.to_string();
        cause = error.source();
    }
    assert!(!shown.contains("123456") && !shown.contains("sendMessage"), "{shown}");
}

#[tokio::test]
async fn a_message_is_html_without_previews() {
    let answer = r#"{"ok":true,"result":{"message_id":7,"chat":{"id":-42}}}"#;
    let (url, server) = fake(Script::Answer("200 OK", "", answer)).await;
    assert_eq!(send(url, &Text::Html("<i>a</i>".to_owned())).await.unwrap(), MessageId(7));
    let request = server.await.unwrap();
    assert!(request.starts_with("POST /bot123456:AAbb_cc-DD/sendMessage HTTP/1.1\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected = serde_json::json!({
        "chat_id": "-42", "text": "<i>a</i>", "parse_mode": "HTML", "link_preview_options": { "is_disabled": true },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn plain_text_has_no_parse_mode() {
    let (url, server) = fake(Script::Answer("200 OK", "", r#"{"ok":true,"result":{"message_id":7}}"#)).await;
    send(url, &Text::Plain("a < b".to_owned())).await.unwrap();
    assert!(!server.await.unwrap().contains("parse_mode"));
}

#[tokio::test]
async fn faults_of_the_network_say_whether_it_was_sent() {
    assert_eq!(failure_of(Script::Hang).await, Err(Failure::Ambiguous));
    assert_eq!(failure_of(Script::Close).await, Err(Failure::Ambiguous));
    assert_eq!(failure_of(Script::Reset).await, Err(Failure::Ambiguous));
    assert_eq!(failure_of(Script::Truncate).await, Err(Failure::SentIdLost));
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = send(url, &Text::Plain("text".to_owned())).await.unwrap_err();
    assert_no_token(&error);
    assert_eq!(error.failure, Failure::NotSent);
}

#[tokio::test]
async fn answers_are_classified_by_code_and_text() {
    let migrated = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat",
        "parameters":{"migrate_to_chat_id":-100}}"#;
    for (status, headers, body, expected) in [
        (
            "429 Too Many Requests",
            "",
            r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 3","parameters":{"retry_after":3}}"#,
            Failure::RetryAfter(Duration::from_secs(3)),
        ),
        ("429 Too Many Requests", "retry-after: 4\r\n", "", Failure::RetryAfter(Duration::from_secs(4))),
        (
            "403 Forbidden",
            "",
            r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#,
            Failure::Refused(Refusal::Blocked),
        ),
        ("400 Bad Request", "", migrated, Failure::Migrated(ChatId::from_number(-100))),
        (
            "401 Unauthorized",
            "",
            r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#,
            Failure::Unauthorized,
        ),
        ("502 Bad Gateway", "", "<html>nginx</html>", Failure::Ambiguous),
        ("302 Found", "location: http://127.0.0.1:1/\r\n", "", Failure::Ambiguous),
    ] {
        assert_eq!(failure_of(Script::Answer(status, headers, body)).await, Err(expected), "{status}");
    }
}

/// What a bot of our own was told by an answer, and the request it made.
async fn own<T, F: Future<Output = T>>(answer: &'static str, ask: impl FnOnce(OwnBot) -> F) -> (T, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (base_url, server) = fake(Script::Answer("200 OK", "", answer)).await;
    let bot = OwnBot::new(&Config { base_url, token: Secret::new(TOKEN.to_owned()) }).unwrap();
    (ask(bot).await, server.await.unwrap())
}

#[tokio::test]
async fn a_bot_of_our_own_asks_for_what_it_hears() {
    let answer = r#"{"ok":true,"result":[{"update_id":8},{"update_id":9}]}"#;
    let (updates, request) = own(answer, |bot| async move { bot.updates(Some(8)).await.unwrap() }).await;
    assert_eq!(updates.len(), 2);
    assert!(request.starts_with("POST /bot123456:AAbb_cc-DD/getUpdates HTTP/1.1\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let kinds = ["message", "callback_query", "my_chat_member"];
    let expected = serde_json::json!({ "offset": 8, "timeout": 25, "limit": 10, "allowed_updates": kinds });
    assert_eq!(body, expected);

    let me = r#"{"ok":true,"result":{"id":1,"username":"foreshock_bot"}}"#;
    assert_eq!(own(me, |bot| async move { bot.name().await.unwrap() }).await.0, "foreshock_bot");
    let (_, request) =
        own(r#"{"ok":true,"result":true}"#, |bot| async move { bot.delete_webhook().await.unwrap() }).await;
    assert!(request.ends_with(r#"{"drop_pending_updates":false}"#), "{request}");
}

#[tokio::test]
async fn the_menu_is_set_only_when_it_differs() {
    let menu = vec![("help".to_owned(), "all commands".to_owned())];
    let same = r#"{"ok":true,"result":[{"command":"help","description":"all commands"}]}"#;
    // One request is answered: a second one would fail.
    let (shown, request) = own(same, |bot| async move { bot.show_menu(&menu).await }).await;
    assert!(shown.is_ok() && request.contains("/getMyCommands "), "{request}");
}

#[tokio::test]
async fn who_may_change_a_group_is_told_by_telegram() {
    for (answer, expected) in [
        (r#"{"ok":true,"result":{"status":"creator"}}"#, Some(true)),
        (r#"{"ok":true,"result":{"status":"administrator"}}"#, Some(true)),
        (r#"{"ok":true,"result":{"status":"member"}}"#, Some(false)),
        (r#"{"ok":true,"result":{"status":"a word of next year"}}"#, Some(false)),
        // Nothing is known: nobody is taken for an administrator.
        (r#"{"ok":true}"#, None),
        ("<html>", None),
    ] {
        let (admin, _) = own(answer, |bot| async move { bot.is_admin(&ChatId::from_number(-1), 5).await }).await;
        assert_eq!(admin.ok(), expected, "{answer}");
    }
}

#[tokio::test]
async fn another_poller_is_told_apart() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conflict = r#"{"ok":false,"error_code":409,"description":"Conflict: terminated by other getUpdates request"}"#;
    let (base_url, _server) = fake(Script::Answer("409 Conflict", "", conflict)).await;
    let bot = OwnBot::new(&Config { base_url, token: Secret::new(TOKEN.to_owned()) }).unwrap();
    let error = bot.updates(None).await.unwrap_err();
    assert_no_token(&error);
    assert_eq!(error.failure, Failure::Conflict);
}

#[test]
fn a_token_goes_over_plain_http_only_to_loopback() {
    let made = |url: &str, token: &str| {
        let config = Config { base_url: url.parse().unwrap(), token: Secret::new(token.to_owned()) };
        method_url(&config, "sendMessage")
    };
    for url in
        ["https://api.telegram.org", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://a/b/"]
    {
        assert!(made(url, TOKEN).is_ok(), "{url}");
    }
    assert_eq!(made("https://a/b/", TOKEN).unwrap().as_str(), "https://a/b/bot123456:AAbb_cc-DD/sendMessage");
    for url in ["http://api.telegram.org", "http://10.0.0.1", "http://localhost.example.org"] {
        assert!(matches!(made(url, TOKEN), Err(ConfigError::PlainHttp)), "{url}");
    }
    for url in ["ftp://127.0.0.1", "data:text"] {
        assert!(matches!(made(url, TOKEN), Err(ConfigError::NoHttp)), "{url}");
    }
    for token in ["", "123456", ":a", "a:b", "1:a/b", "1:a b"] {
        assert!(matches!(made("https://a", token), Err(ConfigError::Token)), "{token}");
    }
}

#[test]
fn a_configuration_does_not_show_its_token() {
    let config = Config { base_url: "https://a".parse().unwrap(), token: Secret::new(TOKEN.to_owned()) };
    assert!(!format!("{config:?} {}", config.token).contains("123456"));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_a_success_and_carries_its_buttons() {
    let body = r#"{"ok":false,"error_code":400,"description":"Bad Request: message is not modified: same"}"#;
    let (url, request) = fake(Script::Answer("400 Bad Request", "", body)).await;
    let buttons = Buttons { alert: schemas::id::Id::of("test", &[]), base: "BTC".parse().unwrap() };
    let chat = ChatId::from_number(-42);
    let text = Text::Html("<i>more</i>".to_owned());
    let result = client(url, CALL_TIMEOUT).edit_message(&chat, MessageId(7), &text, Some(&buttons)).await;
    assert_eq!(result.unwrap(), MessageId(7));
    let request = request.await.unwrap();
    for part in ["/editMessageText", r#""message_id":7"#, r#""parse_mode":"HTML""#, "inline_keyboard", "🔕 BTC 1 h"] {
        assert!(request.contains(part), "{part}: {request}");
    }
}

#[tokio::test]
async fn a_reply_names_its_message_topic_and_silence() {
    let answer = r#"{"ok":true,"result":{"message_id":9}}"#;
    let (url, request) = fake(Script::Answer("200 OK", "", answer)).await;
    let frame = Frame { reply_to: Some(MessageId(7)), forum: Some(3), silent: true, buttons: None };
    let chat = ChatId::from_number(-42);
    let sent = client(url, CALL_TIMEOUT).send_message(&chat, &Text::Plain("text".to_owned()), &frame).await;
    assert_eq!(sent.unwrap(), MessageId(9));
    let request = request.await.unwrap();
    for part in [
        r#""reply_parameters":{"message_id":7,"allow_sending_without_reply":true}"#,
        r#""message_thread_id":3"#,
        r#""disable_notification":true"#,
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    assert!(!request.contains("reply_markup"));
}

#[tokio::test]
async fn a_picture_is_uploaded_once_and_then_named() {
    let answer = r#"{"ok":true,"result":{"message_id":9,"photo":[{"file_id":"s"},{"file_id":"L"}]}}"#;
    let chat = ChatId::from_number(-42);
    let frame = Frame { reply_to: Some(MessageId(7)), ..Frame::default() };
    let (url, request) = fake(Script::Answer("200 OK", "", answer)).await;
    let sent = client(url, CALL_TIMEOUT).send_photo(&chat, Photo::Upload(b"\x89PNG"), &frame).await;
    assert_eq!(sent.unwrap(), (MessageId(9), Some("L".to_owned())));
    let request = request.await.unwrap();
    for part in ["multipart/form-data", r#"name="chat_id""#, "-42", r#"filename="chart.png""#, "PNG"] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let (url, request) = fake(Script::Answer("200 OK", "", answer)).await;
    client(url, CALL_TIMEOUT).send_photo(&chat, Photo::File("L"), &frame).await.unwrap();
    assert!(request.await.unwrap().contains(r#""photo":"L""#));
}
