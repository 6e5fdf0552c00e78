//! Chats and the people in them, and what the bot hears.

use serde_json::{Value, json};
use teloxide_core::types::{Update, UpdateKind};

use super::*;

#[test]
fn a_chat_that_is_closed_says_why() {
    let (channel, kicked, left) = (-1_002_000_000_000, Status::Kicked, Status::Left);
    let forbidden = |what: &str| Err(format!("Forbidden: {what}"));
    for (chat, status, expected) in [
        (7, Some(kicked), forbidden("bot was blocked by the user")),
        (7, Some(left), forbidden("bot can't initiate conversation with a user")),
        (7, None, forbidden("user is deactivated")),
        (-42, Some(kicked), forbidden("bot was kicked from the group chat")),
        (-42, Some(left), forbidden("bot is not a member of the group chat")),
        (-42, None, forbidden("the group chat was deleted")),
        (FORUM, Some(kicked), forbidden("bot was kicked from the supergroup chat")),
        (FORUM, Some(Status::Restricted), bad("not enough rights to send text messages to the chat")),
        (FORUM, None, bad("chat not found")),
        (channel, Some(kicked), forbidden("bot was kicked from the channel chat")),
        (channel, Some(left), forbidden("bot is not a member of the channel chat")),
    ] {
        let mut server = Server::default();
        let setup = ChatSetup { id: channel, kind: Kind::Channel, topics: [].into(), ..forum() };
        server.set_chat(setup).unwrap();
        match status {
            Some(status) => server.set_member(Membership { chat, from: None, status }, NOW_MS).unwrap(),
            None => server.remove_chat(chat).unwrap(),
        }
        assert_eq!(send(&mut server, chat), expected);
        if status.is_some() {
            server.set_member(Membership { chat, from: None, status: Status::Administrator }, NOW_MS).unwrap();
            assert_eq!(send(&mut server, chat), Ok(()));
        }
    }
    for nowhere in [json!(0), json!("x"), json!("12x")] {
        let refused = call(&mut Server::default(), "sendMessage", json!({"chat_id": nowhere, "text": "x"}));
        assert_eq!(refused, bad("chat not found"));
    }
    assert_eq!(call(&mut Server::default(), "sendMessage", json!({"text": "x"})), bad("chat_id is empty"));
}

#[test]
fn a_group_goes_on_under_its_new_number() {
    let mut server = Server::default();
    send(&mut server, -42).unwrap();
    server.migrate(Migration { from: -42, to: FORUM }, NOW_MS).unwrap();
    let Value::Object(fields) = json!({"chat_id": -42, "text": "x"}) else { unreachable!("an object") };
    let refused = server.handle(Call { method: "sendMessage".into(), fields, ..Call::default() }, NOW_MS).result;
    assert_eq!(refused, Err(Refusal::migrated(FORUM)));
    assert_eq!(send(&mut server, FORUM), Ok(()));
    let told: Vec<_> = updates(&mut server)
        .iter()
        .map(|update| {
            let message = &update["message"];
            (
                message["chat"]["id"].clone(),
                message["migrate_to_chat_id"].clone(),
                message["migrate_from_chat_id"].clone(),
            )
        })
        .collect();
    assert_eq!(told, [(json!(-42), json!(FORUM), Value::Null), (json!(FORUM), Value::Null, json!(-42))]);
    assert_eq!(server.migrate(Migration { from: -42, to: FORUM }, NOW_MS), Err(PeopleError::Unheard(-42)));
    assert_eq!(server.migrate(Migration { from: 7, to: FORUM }, NOW_MS), Err(PeopleError::Number(7)));
    assert_eq!(server.migrate(Migration { from: -43, to: -44 }, NOW_MS), Err(PeopleError::Number(-44)));
}

#[test]
fn who_starts_the_bot_again_unblocks_it() {
    let mut server = Server::default();
    let say = |text: &str| Say { chat: 7, text: text.into(), ..Say::default() };
    server.set_member(Membership { chat: 7, from: None, status: Status::Kicked }, NOW_MS).unwrap();
    assert_eq!(server.say(say("hello"), NOW_MS), Err(PeopleError::Unheard(7)));
    server.say(say("/start preset_1"), NOW_MS).unwrap();
    let found = updates(&mut server);
    let status = |update: &Value, which: &str| update["my_chat_member"][which]["status"].clone();
    assert_eq!(
        (status(&found[0], "old_chat_member"), status(&found[0], "new_chat_member")),
        ("member".into(), "kicked".into())
    );
    assert_eq!(
        (status(&found[1], "old_chat_member"), status(&found[1], "new_chat_member")),
        ("kicked".into(), "member".into())
    );
    assert_eq!(found[2]["message"]["entities"], json!([{"type": "bot_command", "offset": 0, "length": 6}]));
    assert_eq!(send(&mut server, 7), Ok(()));
    server.set_member(Membership { chat: 7, from: None, status: Status::Member }, NOW_MS).unwrap();
    assert_eq!(updates(&mut server), [Value::Null; 0], "nothing changed");
}

#[test]
fn in_groups_the_bot_hears_commands_and_replies_to_it() {
    let mut server = Server::default();
    server.set_chat(forum()).unwrap();
    let sent = json!({"chat_id": FORUM, "text": "alert", "message_thread_id": 7});
    call(&mut server, "sendMessage", sent).unwrap();
    let mut heard = |text: &str, reply_to: Option<i64>| {
        let say = Say { chat: FORUM, from: Some(12), text: text.into(), reply_to, thread: None };
        server.say(say, NOW_MS).unwrap();
        updates(&mut server).pop().map(|update| update["message"].clone())
    };
    assert_eq!(heard("hello", None), None);
    assert_eq!(heard("/mute@other_bot", None), None);
    assert_eq!(heard("/mute@simulator_bot", None).unwrap()["from"]["first_name"], "Bob");
    let reply = heard("thanks", Some(1)).unwrap();
    assert_eq!((&reply["reply_to_message"]["text"], &reply["message_thread_id"]), (&json!("alert"), &json!(7)));
    assert_eq!(server.messages(FORUM).len(), 5, "what is not heard is said all the same");
}

#[test]
fn only_a_button_that_is_there_can_be_pressed_and_its_press_is_answered_once() {
    let mut server = Server::default();
    let keyboard = json!({"inline_keyboard": [[{"text": "Mute", "callback_data": "m1"}]]});
    call(&mut server, "sendMessage", json!({"chat_id": 7, "text": "x", "reply_markup": keyboard})).unwrap();
    let press = |message_id: i64, data: &str| Press { chat: 7, from: None, message_id, data: data.into() };
    assert_eq!(server.press(press(1, "m2"), NOW_MS), Err(PeopleError::Button { message_id: 1, data: "m2".into() }));
    assert_eq!(server.press(press(2, "m1"), NOW_MS), Err(PeopleError::Message { chat: 7, message_id: 2 }));
    let id = server.press(press(1, "m1"), NOW_MS).unwrap();
    let query = updates(&mut server).remove(0)["callback_query"].clone();
    assert_eq!((&query["id"], &query["data"], &query["from"]["id"]), (&json!(id), &json!("m1"), &json!(7)));
    assert_eq!(query["message"]["reply_markup"], keyboard);
    let too_old = bad("query is too old and response timeout expired or query ID is invalid");
    let answer = json!({"callback_query_id": id, "text": "muted"});
    let long = json!({"callback_query_id": id, "text": "x".repeat(201)});
    assert_eq!(call(&mut server, "answerCallbackQuery", long), bad("MESSAGE_TOO_LONG"));
    assert_eq!(call(&mut server, "answerCallbackQuery", answer.clone()), Ok(json!(true)));
    assert_eq!(call(&mut server, "answerCallbackQuery", answer), too_old);
    let late = server.press(press(1, "m1"), NOW_MS).unwrap();
    let answer = json!({"callback_query_id": late});
    assert_eq!(call_at(&mut server, "answerCallbackQuery", answer, NOW_MS + 60_000), too_old);
}

#[test]
fn members_are_what_they_were_made_or_became_by_speaking() {
    let mut server = Server::default();
    server.set_chat(forum()).unwrap();
    server.say(Say { chat: FORUM, from: Some(13), text: "hi".into(), ..Say::default() }, NOW_MS).unwrap();
    let mut status = |chat: i64, user: i64| {
        let member = call(&mut server, "getChatMember", json!({"chat_id": chat, "user_id": user}));
        member.map(|member| member["status"].as_str().unwrap().to_owned())
    };
    let bot = chat::BOT_ID;
    for (chat, user, expected) in [
        (FORUM, 11, "administrator"),
        (FORUM, 12, "restricted"),
        (FORUM, 13, "member"),
        (FORUM, 14, "left"),
        (FORUM, bot, "member"),
        (7, 7, "member"),
        (7, 8, "left"),
    ] {
        assert_eq!(status(chat, user).as_deref(), Ok(expected), "{chat} {user}");
    }
    assert_eq!(status(FORUM, 0), bad("invalid user_id specified"));
    let full = call(&mut server, "getChat", json!({"chat_id": FORUM})).unwrap();
    assert_eq!((&full["title"], &full["type"]), (&json!("Desk"), &json!("supergroup")));
    server.set_member(Membership { chat: FORUM, from: None, status: Status::Left }, NOW_MS).unwrap();
    let out = call(&mut server, "getChatMember", json!({"chat_id": FORUM, "user_id": 11}));
    assert_eq!(out, Err("Forbidden: bot is not a member of the supergroup chat".into()));
}

#[test]
fn every_kind_of_update_is_one_that_a_client_knows() {
    let mut server = Server::default();
    server.set_chat(forum()).unwrap();
    server.set_chat(ChatSetup { id: -1_002_000_000_000, kind: Kind::Channel, topics: [].into(), ..forum() }).unwrap();
    let keyboard = json!({"inline_keyboard": [[{"text": "Mute", "callback_data": "m"}]]});
    let html = "<b>a</b><i>a</i><u>a</u><s>a</s><code>a</code><pre>a</pre><tg-spoiler>a</tg-spoiler>\
                <a href=\"https://e.org\">a</a><blockquote>a</blockquote><blockquote expandable>a</blockquote>";
    for chat in [7, FORUM] {
        let sent = json!({"chat_id": chat, "text": html, "parse_mode": "HTML", "reply_markup": keyboard,
            "protect_content": true});
        call(&mut server, "sendMessage", sent).unwrap();
        server.press(Press { chat, from: None, message_id: 1, data: "m".into() }, NOW_MS).unwrap();
        let thread = (chat == FORUM).then_some(7);
        let say = Say { chat, from: None, text: "/help me".into(), thread, reply_to: Some(1) };
        server.say(say, NOW_MS).unwrap();
    }
    server.say(Say { chat: -1_002_000_000_000, text: "post".into(), ..Say::default() }, NOW_MS).unwrap();
    for status in [Status::Administrator, Status::Restricted, Status::Left, Status::Kicked, Status::Creator] {
        server.set_member(Membership { chat: FORUM, from: Some(11), status }, NOW_MS).unwrap();
    }
    server.migrate(Migration { from: -42, to: -1_003_000_000_000 }, NOW_MS).unwrap();
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for update in updates(&mut server) {
        let known: Update =
            serde_json::from_str(&update.to_string()).unwrap_or_else(|error| panic!("{error}: {update}"));
        assert_eq!(i64::from(known.id.0), update["update_id"].as_i64().unwrap());
        let kind = if let UpdateKind::Message(message) = &known.kind {
            assert_eq!(json!(message.id.0), update["message"]["message_id"]);
            "message"
        } else if let UpdateKind::CallbackQuery(query) = &known.kind {
            assert_eq!(query.data.as_deref(), Some("m"));
            assert!(query.regular_message().is_some_and(|message| message.reply_markup().is_some()));
            "callback_query"
        } else if matches!(known.kind, UpdateKind::MyChatMember(_)) {
            "my_chat_member"
        } else {
            assert!(matches!(known.kind, UpdateKind::ChannelPost(_)), "{update}");
            "channel_post"
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let expected = [("callback_query", 2), ("channel_post", 1), ("message", 4), ("my_chat_member", 5)];
    assert_eq!(kinds, expected.into());
}
