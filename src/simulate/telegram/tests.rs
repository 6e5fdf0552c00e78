//! The server without a network.

use serde_json::{Value, json};

use super::{call::Call, photos::tests::png, server::Server, *};

mod people;

const NOW_MS: i64 = 1_790_000_000_000;
const FORUM: i64 = -1_001_234_567_890;

/// Calls a method and returns its result, or the description of the refusal.
fn call_at(server: &mut Server, method: &str, params: Value, now_ms: i64) -> Result<Value, String> {
    let Value::Object(fields) = params else { unreachable!("tests pass objects") };
    let call = Call { method: method.to_owned(), fields, ..Call::default() };
    server.handle(call, now_ms).result.map_err(|refusal| refusal.description)
}

fn call(server: &mut Server, method: &str, params: Value) -> Result<Value, String> {
    call_at(server, method, params, NOW_MS)
}

fn bad<T>(what: &str) -> Result<T, String> {
    Err(format!("Bad Request: {what}"))
}

fn send(server: &mut Server, chat: i64) -> Result<(), String> {
    call(server, "sendMessage", json!({"chat_id": chat, "text": "x"})).map(drop)
}

/// Returns what waits for the bot and confirms it.
fn updates(server: &mut Server) -> Vec<Value> {
    let look = |server: &mut Server, params: Value| {
        let Value::Object(fields) = params else { unreachable!("an object") };
        match server.updates.begin(&Call { fields, ..Call::default() }, NOW_MS) {
            Polled::Answered(Ok(Value::Array(found))) => found,
            Polled::Answered(_) | Polled::Waits(_) => Vec::new(),
        }
    };
    let found = look(server, json!({}));
    let next = found.last().map_or(0, |last| last["update_id"].as_i64().unwrap() + 1);
    look(server, json!({"offset": next}));
    found
}

fn forum() -> ChatSetup {
    ChatSetup {
        id: FORUM,
        kind: Kind::Supergroup,
        title: "Desk".into(),
        topics: [(7, "Liquidations".into())].into(),
        members: vec![
            Member { id: 11, name: "Ada".into(), status: Status::Administrator },
            Member { id: 12, name: "Bob".into(), status: Status::Restricted },
        ],
    }
}

#[test]
fn a_text_is_measured_in_utf16_after_parsing() {
    let mut server = Server::default();
    let mut send = |text: String| {
        call(&mut server, "sendMessage", json!({"chat_id": 1, "text": text, "parse_mode": "HTML"})).map(drop)
    };
    assert_eq!(send(format!("<b>{}</b>", "x".repeat(4096))), Ok(()));
    assert_eq!(send("🚨".repeat(2048)), Ok(()));
    assert_eq!(send("🚨".repeat(2049)), bad("message is too long"));
    assert_eq!(send("<b> </b>".into()), bad("message text is empty"));
    assert_eq!(send("a<b".into()), bad("can't parse entities: Unclosed start tag at byte offset 1"));
}

#[test]
fn messages_are_numbered_edited_and_replied_to_within_their_chat() {
    let mut server = Server::default();
    let sent = call(&mut server, "sendMessage", json!({"chat_id": "7", "text": "one"})).unwrap();
    assert_eq!((&sent["message_id"], &sent["chat"]["id"]), (&json!(1), &json!(7)));
    let edit = |chat: i64, id: i64, text: &str| json!({"chat_id": chat, "message_id": id, "text": text});
    let edited = call(&mut server, "editMessageText", edit(7, 1, "two")).unwrap();
    assert_eq!((&edited["text"], edited["edit_date"].as_i64()), (&json!("two"), Some(NOW_MS / 1000)));
    let same = call(&mut server, "editMessageText", edit(7, 1, "two")).unwrap_err();
    assert!(same.starts_with("Bad Request: message is not modified"), "{same}");
    for (chat, id) in [(8, 1), (7, 2)] {
        assert_eq!(call(&mut server, "editMessageText", edit(chat, id, "x")), bad("message to edit not found"));
    }
    let reply = |id: i64| json!({"chat_id": 7, "text": "re", "reply_parameters": {"message_id": id}});
    let replied = call(&mut server, "sendMessage", reply(1)).unwrap();
    assert_eq!((&replied["message_id"], &replied["reply_to_message"]["text"]), (&json!(2), &json!("two")));
    assert_eq!(call(&mut server, "sendMessage", reply(9)), bad("message to be replied not found"));
    // Supergroups and channels have numbers of their own, the other chats share theirs.
    let id = |server: &mut Server, chat: Value| {
        call(server, "sendMessage", json!({"chat_id": chat, "text": "x"})).unwrap()["message_id"].clone()
    };
    assert_eq!(id(&mut server, json!(-42)), 3);
    assert_eq!((id(&mut server, json!(FORUM)), id(&mut server, json!("@news"))), (json!(1), json!(1)));
    assert_eq!(id(&mut server, json!("@news")), 2);
}

#[test]
fn an_edit_replaces_or_takes_away_the_keyboard() {
    let mut server = Server::default();
    let keyboard = json!({"inline_keyboard": [[{"text": "Mute", "callback_data": "m"}]]});
    let sent = json!({"chat_id": 7, "text": "<b>x</b>", "parse_mode": "HTML", "reply_markup": keyboard});
    assert_eq!(call(&mut server, "sendMessage", sent).unwrap()["reply_markup"], keyboard);
    let plain = json!({"chat_id": 7, "message_id": 1, "text": "x", "reply_markup": keyboard});
    let edited = call(&mut server, "editMessageText", plain).unwrap();
    assert!(edited["entities"].is_null(), "other formatting is a change: {edited}");
    let bare = json!({"chat_id": 7, "message_id": 1});
    assert!(call(&mut server, "editMessageReplyMarkup", bare.clone()).unwrap()["reply_markup"].is_null());
    assert!(call(&mut server, "editMessageReplyMarkup", bare.clone()).unwrap_err().contains("is not modified"));
    assert_eq!(call(&mut server, "deleteMessage", bare.clone()), Ok(json!(true)));
    assert_eq!(call(&mut server, "deleteMessage", bare.clone()), bad("message to delete not found"));
    assert_eq!(call(&mut server, "editMessageReplyMarkup", bare), bad("message to edit not found"));
}

#[test]
fn a_rule_fits_its_chat_and_method_and_wears_out() {
    let (chat, method) = (Some("1".to_owned()), Some("sendMessage".to_owned()));
    let rules = vec![Rule { fault: Fault::Blocked, chat, method, times: Some(1) }];
    let mut server = Server::default();
    server.rules = rules;
    assert!(send(&mut server, 2).is_ok());
    assert_eq!(send(&mut server, 1), Err("Forbidden: bot was blocked by the user".into()));
    assert!(send(&mut server, 1).is_ok());
    let kept: Vec<_> =
        server.requests.since(0).map(|kept| (kept.index, kept.kind, kept.status, kept.delivered)).collect();
    let ok = |index| (index, Outcome::Ok, Some(200), true);
    assert_eq!(kept, [ok(0), (1, Outcome::Scripted, Some(403), false), ok(2)]);
}

#[test]
fn a_photo_is_uploaded_once_and_sent_again() {
    let mut server = Server::default();
    let upload = |bytes: Vec<u8>| {
        let Value::Object(fields) = json!({"chat_id": "7", "caption": "c", "photo": {"bytes": bytes.len()}}) else {
            unreachable!("an object")
        };
        Call { method: "sendPhoto".into(), fields, files: [("photo".to_owned(), bytes)].into(), ..Call::default() }
    };
    let sent = server.handle(upload(png(800, 450)), NOW_MS).result.unwrap();
    let photo = &sent["photo"][0];
    assert_eq!((&photo["width"], &photo["height"], &sent["caption"]), (&json!(800), &json!(450), &json!("c")));
    let again = json!({"chat_id": 8, "photo": photo["file_id"], "disable_notification": true});
    assert_eq!(call(&mut server, "sendPhoto", again).unwrap()["photo"], sent["photo"]);
    assert_eq!(server.requests.since(1).next().unwrap().params["disable_notification"], true);
    for unknown in ["nonsense", "https://example.org/x.png"] {
        let unknown = json!({"chat_id": 7, "photo": unknown});
        assert_eq!(call(&mut server, "sendPhoto", unknown), bad("wrong file identifier/HTTP URL specified"));
    }
    assert_eq!(call(&mut server, "sendPhoto", json!({"chat_id": 7})), bad("there is no photo in the request"));
    let refused = server.handle(upload(b"GIF89a".to_vec()), NOW_MS).result.unwrap_err();
    assert_eq!(refused.description, "Bad Request: IMAGE_PROCESS_FAILED");
    let text = json!({"chat_id": 7, "message_id": 1, "text": "x"});
    assert_eq!(call(&mut server, "editMessageText", text), bad("there is no text in the message to edit"));
}

#[test]
fn topics_are_known_or_refused() {
    let mut server = Server::default();
    server.set_chat(forum()).unwrap();
    let sent = |chat: i64, thread: i64| json!({"chat_id": chat, "text": "x", "message_thread_id": thread});
    let message = call(&mut server, "sendMessage", sent(FORUM, 7)).unwrap();
    assert_eq!((&message["message_thread_id"], &message["chat"]["is_forum"]), (&json!(7), &json!(true)));
    let reply = json!({"chat_id": FORUM, "text": "x", "reply_parameters": {"message_id": 1}});
    assert_eq!(call(&mut server, "sendMessage", reply).unwrap()["message_thread_id"], 7);
    for (chat, thread) in [(FORUM, 8), (FORUM, 1), (42, 7)] {
        assert_eq!(call(&mut server, "sendMessage", sent(chat, thread)), bad("message thread not found"));
    }
    assert!(call(&mut server, "sendMessage", sent(-42, 7)).unwrap()["message_thread_id"].is_null());
}

#[test]
fn sends_and_edits_share_the_limits_of_their_chat_and_of_all() {
    let mut server = Server::default();
    server.is_limited = true;
    let send = |server: &mut Server, chat: i64, now_ms: i64| {
        call_at(server, "sendMessage", json!({"chat_id": chat, "text": "x"}), now_ms).map(drop)
    };
    let retry = |seconds: u64| Err(format!("Too Many Requests: retry after {seconds}"));
    assert_eq!([0, 0].map(|ms| send(&mut server, 7, ms)), [Ok(()), Ok(())]);
    let edit = json!({"chat_id": 7, "message_id": 1, "text": "y"});
    assert!(call_at(&mut server, "editMessageText", edit, 500).is_ok());
    assert_eq!(send(&mut server, 7, 500), retry(3));
    assert_eq!(send(&mut server, 8, 500), Ok(()), "another chat goes on");
    assert!(call_at(&mut server, "answerCallbackQuery", json!({}), 500).unwrap_err().contains("query is too old"));
    assert_eq!((send(&mut server, 7, 2_999), send(&mut server, 7, 3_000)), (retry(1), Ok(())));
    let group: Vec<_> = (0..30).map(|second| send(&mut server, -42, 10_000 + second * 1_000).is_ok()).collect();
    assert_eq!((group.iter().filter(|sent| **sent).count(), group[19], group[20]), (20, true, false));
    let all: Vec<_> = (100..140).map(|chat| send(&mut server, chat, 100_000)).collect();
    assert_eq!((all.iter().filter(|sent| sent.is_ok()).count(), &all[30]), (30, &retry(1)));
    let limited = server.requests.since(0).filter(|kept| kept.kind == Outcome::Limited);
    assert_eq!(limited.map(|kept| kept.status).collect::<Vec<_>>(), [Some(429); 22]);
}

#[test]
fn the_page_shows_the_chat_and_lets_no_text_out_of_its_place() {
    let mut server = Server::default();
    let evil = "<script>alert('1')</script>";
    let setup = ChatSetup { title: evil.into(), topics: [(7, evil.into())].into(), ..forum() };
    let members = vec![Member { id: 11, name: evil.into(), status: Status::Creator }];
    server.set_chat(ChatSetup { members, ..setup }).unwrap();
    let keyboard = json!({"inline_keyboard": [[{"text": evil, "callback_data": "\"><script>"}],
        [{"text": "Web", "url": "https://e.org"}]]});
    let sent = json!({"chat_id": FORUM, "text": evil, "reply_markup": keyboard, "disable_notification": true,
        "message_thread_id": 7});
    call(&mut server, "sendMessage", sent).unwrap();
    let say = Say { chat: FORUM, from: Some(11), text: evil.into(), reply_to: Some(1), thread: None };
    server.say(say, NOW_MS).unwrap();
    let edit = json!({"chat_id": FORUM, "message_id": 1, "text": "<b>14&lt;15</b>", "parse_mode": "HTML",
        "reply_markup": keyboard});
    call(&mut server, "editMessageText", edit).unwrap();
    let shown = page::chat(&server.chats[&FORUM], &server.photos, &page::View::default());
    assert!(!shown.contains("<script") && shown.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{shown}");
    for part in ["<b>14&lt;15</b>", "edited ", "class=\"bell\"", "class=\"link\"", "href=\"#m1\"", "<h2>", "2 members"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let listed = page::list(server.chats.values(), &page::View::default());
    assert!(!listed.contains("<script") && listed.contains(&format!("chat/{FORUM}")), "{listed}");
}
