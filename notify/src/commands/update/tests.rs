use serde_json::json;

use super::*;
use crate::commands::settings::Change;

fn message(chat: Value, text: &str) -> Value {
    json!({"update_id": 7, "message": {
        "message_id": 11, "date": 1_790_000_000, "chat": chat, "text": text,
        "from": {"id": 42, "is_bot": false, "first_name": "Ann", "language_code": "de"},
        "entities": [{"type": "bot_command", "offset": 0, "length": 5}],
    }})
}

fn private() -> Value {
    json!({"id": 42, "type": "private", "first_name": "Ann"})
}

fn group() -> Value {
    json!({"id": -100_123, "type": "supergroup", "title": "Desk", "username": "the_desk", "is_forum": true})
}

fn command(update: &Value) -> Written {
    match read(update, "Foreshock_Bot") {
        Asked::Command(written) => written,
        other @ (Asked::Press(_) | Asked::Member(_) | Asked::Ignored(_)) => panic!("{other:?}"),
    }
}

fn reason(update: &Value) -> &'static str {
    match read(update, "foreshock_bot") {
        Asked::Ignored(ignored) => ignored.reason.as_str(),
        other @ (Asked::Press(_) | Asked::Member(_) | Asked::Command(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_command_knows_where_it_was_written() {
    let written = command(&message(private(), "/settings"));
    assert_eq!(
        written,
        Written {
            update: Some(7),
            chat: Chat { id: ChatId::from_number(42), name: None, kind: ChatKind::Private },
            author: Author::User(42),
            message_id: Some(11),
            forum: None,
            reply_to: None,
            at: WallTime::from_millis(1_790_000_000_000),
            name: "settings",
            command: Command::Settings,
        }
    );
}

#[test]
fn commands_are_known_however_they_are_written() {
    for text in ["/settings", "/Settings", "/settings@foreshock_bot", "/SETTINGS@FORESHOCK_BOT", " /settings \n"] {
        assert_eq!(command(&message(group(), text)).command, Command::Settings, "{text}");
    }
    assert_eq!(command(&message(private(), "/start ref-1_x")).command, Command::Change(Change::On));
    assert_eq!(command(&message(private(), "/history\n24h")).name, "history");
}

#[test]
fn what_is_meant_for_others_is_ignored() {
    assert_eq!(reason(&message(group(), "/mute@other_bot BTC 1h")), "other_bot");
    assert_eq!(reason(&message(private(), "/mute@other_bot BTC 1h")), "other_bot");
    assert_eq!(reason(&message(group(), "good morning")), "not_a_command");
    assert_eq!(reason(&message(group(), "/weather")), "not_a_command");
    assert_eq!(reason(&message(json!({"id": -5, "type": "channel", "title": "News"}), "/mute 1h")), "channel");
}

#[test]
fn what_is_no_command_is_answered_with_a_hint_where_only_we_are_meant() {
    for (chat, text) in [(private(), "hello"), (private(), "/weather"), (group(), "/weather@foreshock_bot")] {
        let written = command(&message(chat, text));
        assert_eq!((written.name, written.command), ("hint", Command::Hint), "{text}");
    }
}

#[test]
fn topics_and_replies_are_told_apart() {
    let mut update = message(group(), "/settings topic here");
    update["message"]["message_thread_id"] = json!(5);
    update["message"]["reply_to_message"] = json!({"message_id": 5, "date": 1, "chat": group(),
        "forum_topic_created": {"name": "Alerts", "icon_color": 1}});
    assert_eq!(command(&update).forum, None, "a chain of replies in a plain group");
    update["message"]["is_topic_message"] = json!(true);
    let written = command(&update);
    assert_eq!((written.forum, written.reply_to), (Some(5), None));
    assert_eq!(written.command, Command::Change(Change::Topic(Some(5))));
    update["message"]["reply_to_message"] = json!({"message_id": 9, "date": 1, "chat": group(), "text": "BTC"});
    assert_eq!(command(&update).reply_to, Some(9));
}

#[test]
fn an_anonymous_admin_writes_as_the_group() {
    let mut update = message(group(), "/mute 1h");
    update["message"]["sender_chat"] = group();
    assert_eq!(command(&update).author, Author::AnonymousAdmin);
    update["message"]["sender_chat"] = json!({"id": -7, "type": "channel", "title": "Linked"});
    assert_eq!(command(&update).author, Author::User(42));
    assert_eq!(command(&update).chat.name, Some("@the_desk".parse().unwrap()));
}

#[test]
fn later_versions_of_the_bot_api_change_nothing() {
    let mut update = message(private(), "/why");
    update["message"]["entities"] = json!([{"type": "hologram", "offset": 0, "length": 4}]);
    update["message"]["reply_to_message"] = json!({"message_id": 9, "date": 1, "chat": private(),
        "text": "x", "reply_markup": {"inline_keyboard": [[{"teleport": 1}]]}, "rich_message": {"blocks": 3}});
    assert_eq!(command(&update).reply_to, Some(9));
}

#[test]
fn presses_name_their_button_and_alert() {
    let alert = Id::of("test", &[]);
    let mut update = json!({"update_id": 8, "callback_query": {
        "id": "991", "chat_instance": "1", "data": Button::Details.encode(alert),
        "from": {"id": 42, "is_bot": false, "first_name": "Ann"},
        "message": {"message_id": 3, "date": 1_790_000_000, "chat": group(), "text": "BTC",
            "message_thread_id": 5, "is_topic_message": true, "reply_markup": {"inline_keyboard": [[{"teleport": 1}]]}},
    }});
    let expected = Pressed {
        update: 8,
        callback_id: "991".to_owned(),
        chat: Chat {
            id: ChatId::from_number(-100_123),
            name: Some("@the_desk".parse().unwrap()),
            kind: ChatKind::Group,
        },
        user: 42,
        message_id: 3,
        forum: Some(5),
        button: Some((Button::Details, alert)),
    };
    assert_eq!(read(&update, "b"), Asked::Press(expected.clone()));
    update["callback_query"]["message"] = json!({"message_id": 3, "date": 0, "chat": group()});
    assert_eq!(read(&update, "b"), Asked::Press(Pressed { forum: None, ..expected.clone() }), "an old message");
    update["callback_query"]["data"] = json!("of another program");
    assert_eq!(read(&update, "b"), Asked::Press(Pressed { forum: None, button: None, ..expected }));
}

#[test]
fn the_bot_is_let_in_and_put_out() {
    let bot = json!({"id": 1, "is_bot": true, "first_name": "Foreshock"});
    for (member, present) in [
        (json!({"status": "member", "user": bot}), true),
        (json!({"status": "kicked", "user": bot, "until_date": 0}), false),
        (json!({"status": "left", "user": bot}), false),
    ] {
        let update = json!({"update_id": 9, "my_chat_member": {
            "chat": group(), "from": {"id": 42, "is_bot": false, "first_name": "Ann"}, "date": 1_790_000_000,
            "old_chat_member": {"status": "left", "user": bot}, "new_chat_member": member,
        }});
        let Asked::Member(membership) = read(&update, "b") else { panic!("{:?}", read(&update, "b")) };
        assert_eq!((membership.update, membership.present), (9, present));
    }
}

#[test]
fn what_cannot_be_read_is_ignored_with_its_number() {
    for (update, number, reason) in [
        (json!({"update_id": 5, "hologram": {}}), Some(5), Reason::Undecodable),
        (json!({"update_id": 5, "message": {"text": "/mute"}}), Some(5), Reason::Undecodable),
        (json!({"update_id": 5, "message": "x"}), Some(5), Reason::Undecodable),
        (json!({"update_id": 5}), Some(5), Reason::Undecodable),
        (json!({"update_id": -5, "message": {}}), Some(-5), Reason::Undecodable),
        (json!(null), None, Reason::Undecodable),
        (json!([1]), None, Reason::Undecodable),
    ] {
        assert_eq!(read(&update, "b"), Asked::Ignored(Ignored { update: number, reason }), "{update}");
    }
    let mut sticker = message(private(), "");
    sticker["message"].as_object_mut().unwrap().remove("text");
    assert_eq!(reason(&sticker), "not_a_command");
    let mut edited = message(private(), "/mute 1h");
    let inner = edited["message"].take();
    assert_eq!(reason(&json!({"update_id": 7, "edited_message": inner})), "other_kind");
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let key = prop::sample::select(vec![
        "update_id",
        "message",
        "callback_query",
        "my_chat_member",
        "chat",
        "from",
        "date",
        "text",
        "id",
        "type",
        "message_id",
        "data",
        "status",
        "reply_to_message",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(/mute |private|supergroup|[a-z<é🚨 ]){0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn no_update_makes_it_panic(update in any_json(), text in "/?[a-z@/0-9<🚨é :\\-]{0,40}") {
        let _ = read(&update, "bot");
        let _ = read(&message(private(), &text), "bot");
        for name in ["threshold", "mute", "quiet", "history", "subscribe", "settings", "why"] {
            let written = command(&message(private(), &format!("/{name} {text}")));
            proptest::prop_assert_eq!(written.name, name);
        }
    }
}
