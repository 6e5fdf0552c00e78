//! What follows: settings, who may, and what a repeated update does.

use super::*;

fn preferences(texts: &[&str]) -> Preferences {
    let after = Desk::private().after(texts);
    assert_eq!(after.standing, Standing::Active, "{texts:?}");
    after.preferences
}

fn bases(names: &[&str]) -> Option<BTreeSet<Base>> {
    Some(names.iter().map(|name| base(name)).collect())
}

#[test]
fn symbols_and_kinds_are_chosen() {
    assert_eq!(preferences(&["/subscribe BTC"]).bases, bases(&["BTC"]));
    assert_eq!(preferences(&["/subscribe BTC", "/subscribe eth"]).bases, bases(&["BTC", "ETH"]));
    assert_eq!(preferences(&["/subscribe BTC", "/subscribe all"]).bases, None);
    assert_eq!(preferences(&["/unsubscribe BTC"]).bases, bases(&["ETH", "SOL"]));
    assert_eq!(preferences(&["/subscribe BTC ETH", "/unsubscribe ETH"]).bases, bases(&["BTC"]));
    let chosen = preferences(&["/subscribe BTC cascades", "/subscribe oi"]);
    assert_eq!(chosen.kinds, Some(BTreeSet::from([Kind::Cascade, Kind::OiExplosion])));
    assert_eq!(chosen.bases, bases(&["BTC"]));
    let left = preferences(&["/unsubscribe oi"]);
    assert_eq!(left.kinds, Some(BTreeSet::from([Kind::Cascade, Kind::LargeLiquidation])));
}

#[test]
fn who_leaves_everything_is_unsubscribed_and_keeps_its_settings() {
    for texts in [&["/subscribe BTC", "/unsubscribe BTC"][..], &["/subscribe BTC", "/unsubscribe"]] {
        let after = Desk::private().after(texts);
        assert_eq!((after.standing, after.preferences.bases), (Standing::Unsubscribed, bases(&["BTC"])));
    }
    let back = Desk::private().after(&["/subscribe BTC", "/unsubscribe", "/start"]);
    assert_eq!((back.standing, back.preferences.bases), (Standing::Active, bases(&["BTC"])));
    let other = Desk::private().after(&["/subscribe BTC", "/unsubscribe", "/subscribe ETH"]);
    assert_eq!((other.standing, other.preferences.bases), (Standing::Active, bases(&["ETH"])));
}

#[test]
fn thresholds_only_narrow() {
    let own = preferences(&["/threshold BTC 250k", "/threshold BTC cascade 2m 10", "/threshold ETH oi 20"]).thresholds;
    let btc = own[&base("BTC")];
    assert_eq!(btc.single_usd, Some(usd("250000")));
    assert_eq!((btc.cascade_usd, btc.cascade_count), (Some(usd("2000000")), Some(10)));
    assert_eq!(own[&base("ETH")].change_pct, Some(ratio("20")));
    assert!(preferences(&["/threshold BTC 250k", "/threshold BTC off"]).thresholds.is_empty());
    assert_eq!(preferences(&["/threshold BTC 100k"]).thresholds[&base("BTC")].single_usd, Some(usd("100000")));
    for (text, refusal) in [
        (
            "/threshold BTC 99999",
            "🤔 Large liquidations of BTC are looked for from $100,000 on, so $99,999 would change nothing.",
        ),
        (
            "/threshold ETH cascade 200k",
            "🤔 Cascades of ETH are looked for from $250,000 on, so $200,000 would change nothing.",
        ),
        (
            "/threshold BTC cascade 1m 4",
            "🤔 Cascades of BTC are looked for from 5 liquidations on, so 4 liquidations would change nothing.",
        ),
        (
            "/threshold BTC oi 14.9%",
            "🤔 Moves of open interest of BTC are looked for from 15% on, so 14.9% would change nothing.",
        ),
        ("/threshold SOL oi 50%", "🤔 Moves of open interest of SOL are not looked for here."),
        ("/threshold DOGE 1m", "🤔 DOGE is not watched here, only: BTC, ETH, SOL."),
    ] {
        let mut desk = Desk::private();
        let effects = desk.say(text);
        assert_eq!(
            (html(&effects).as_str(), effects.subscribers.as_slice(), effects.refused),
            (refusal, &[][..], true)
        );
    }
    let mut desk = Desk::private();
    desk.known.floors = None;
    assert_eq!(html(&desk.say("/threshold BTC 1m")), "🤔 The rules in force cannot be looked up just now.");
}

#[test]
fn only_what_is_watched_is_subscribed_to() {
    let mut desk = Desk::private();
    assert!(desk.say("/subscribe DOGE").refused);
    desk.known.floors = Some(Floors { others: Some(Floor::default()), ..floors() });
    assert!(!desk.say("/subscribe DOGE").refused, "the section `default` watches it");
}

#[test]
fn mutes_begin_when_they_were_written_and_replace_each_other() {
    let mute = |base: Option<&str>, kind, until| Mute { base: base.map(super::base), kind, until };
    assert_eq!(preferences(&["/mute BTC 1h"]).mutes, [mute(Some("BTC"), None, AT_MS + HOUR)]);
    assert_eq!(preferences(&["/mute BTC 1h", "/mute BTC 8h"]).mutes, [mute(Some("BTC"), None, AT_MS + 8 * HOUR)]);
    assert_eq!(
        preferences(&["/mute BTC cascades 1h", "/mute 2h"]).mutes,
        [mute(Some("BTC"), Some(Kind::Cascade), AT_MS + HOUR), mute(None, None, AT_MS + 2 * HOUR)]
    );
    assert_eq!(preferences(&["/mute BTC ETH 1h", "/mute BTC off"]).mutes, [mute(Some("ETH"), None, AT_MS + HOUR)]);
    assert!(preferences(&["/mute BTC 1h", "/mute oi 8h", "/mute off"]).mutes.is_empty());
    // 2026-09-22 08:00 UTC, and in Berlin two hours earlier.
    assert_eq!(preferences(&["/mute until tomorrow"]).mutes, [mute(None, None, 1_790_064_000_000)]);
    let quiet = "/quiet 23-7 Europe/Berlin";
    assert_eq!(preferences(&[quiet, "/mute until tomorrow"]).mutes, [mute(None, None, 1_790_056_800_000)]);
}

#[test]
fn mutes_that_are_over_are_dropped_and_their_number_is_bounded() {
    let mut desk = Desk::private();
    let mut state = desk.state();
    state.preferences.mutes = vec![Mute { base: None, kind: None, until: AT_MS }];
    desk.subscribers.handle(state);
    assert!(desk.clone().after(&["/settings pictures off"]).preferences.mutes.is_empty());
    let names: Vec<_> = (0..33).map(|number| format!("A{number}")).collect();
    let effects = desk.say(&format!("/mute {} 1h", names.join(" ")));
    assert_eq!(html(&effects), "🤔 There is room for 32 mutes only.");
}

#[test]
fn quiet_hours_keep_their_zone() {
    let quiet = |from, to, zone: &str| Some(QuietHours { from, to, zone: zone.to_owned() });
    assert_eq!(preferences(&["/quiet 23-7"]).quiet, quiet(1380, 420, "UTC"));
    assert_eq!(preferences(&["/quiet 23-7 Europe/Berlin", "/quiet 22-6"]).quiet, quiet(1320, 360, "Europe/Berlin"));
    assert_eq!(preferences(&["/quiet 23-7", "/quiet off"]).quiet, None);
}

#[test]
fn the_small_settings() {
    let set = preferences(&["/settings pictures off", "/settings edits on", "/settings priority high"]);
    assert_eq!((set.pictures, set.edits_only, set.min_priority), (false, true, Priority::High));
}

#[test]
fn reading_stores_nothing_but_the_update_and_the_answer() {
    for text in
        ["/settings", "/alerts", "/liquidations", "/threshold", "/mute", "/quiet", "/history", "/why", "/help", "hi"]
    {
        let mut desk = Desk::private();
        let effects = desk.say(text);
        assert_eq!((effects.subscribers.as_slice(), effects.feedback.as_ref(), &effects.test), (&[][..], None, &None));
        let events = effects.events(WallTime::from_millis(AT_MS));
        assert!(matches!(events.as_slice(), [LedgerEvent::Note(_), LedgerEvent::Update(_)]), "{text}: {events:?}");
    }
}

#[test]
fn what_changes_nothing_is_not_stored_again() {
    let mut desk = Desk::private();
    assert_eq!(desk.say("/start").subscribers, []);
    assert_eq!(desk.say("/settings pictures off").subscribers.len(), 1);
    assert_eq!(desk.say("/settings pictures off").subscribers, []);
}

#[test]
fn a_test_message_is_asked_for() {
    let effects = Desk::private().say("/test");
    assert!(effects.test.is_some() && !effects.refused);
    assert!(Desk { known: Known::default(), ..Desk::group() }.say("/test").test.is_none());
}

#[test]
fn each_command_asks_for_what_it_shows() {
    let desk = Desk::private();
    let needs = |text: &str| desk.needs(&desk.asked(text));
    assert_eq!(needs("/mute 1h"), [Need::Rules]);
    assert_eq!(needs("/alerts"), [Need::Status, Need::Recent { count: RECENT_READ }]);
    assert_eq!(needs("/liquidations"), [Need::Liquidations { base: None, span: LIQUIDATIONS_SPAN }]);
    assert_eq!(needs("/history"), [Need::History { span: Duration::from_secs(86_400), base: None }]);
    assert_eq!(needs("/why"), [Need::Why { alert: None, message: None }]);
    assert_eq!(needs("/help"), []);
    let press = |button| desk.needs(&desk.pressed(button));
    assert_eq!(press(Button::Mute1h), [Need::Base { alert: alert() }]);
    assert_eq!(press(Button::Details), [Need::Why { alert: Some(alert()), message: None }]);
    assert_eq!(press(Button::Useful), []);
}

#[test]
fn settings_of_a_group_are_for_admins() {
    let admin = Need::Admin { chat: ChatId::from_number(-100_123), user: 42 };
    for (text, guarded) in
        [("/mute 1h", true), ("/start", true), ("/test", true), ("/settings", false), ("/why", false)]
    {
        let desk = Desk::group();
        assert_eq!(desk.needs(&desk.asked(text)).contains(&admin), guarded, "{text}");
        for (is_admin, refused) in [(Some(true), false), (Some(false), guarded), (None, guarded)] {
            let mut desk = desk.clone();
            desk.known.is_admin = is_admin;
            let effects = desk.say(text);
            assert_eq!(effects.refused, refused, "{text} {is_admin:?}");
            assert!(!refused || (effects.subscribers.is_empty() && effects.test.is_none()), "{text}");
        }
    }
}

#[test]
fn an_anonymous_admin_is_one() {
    let mut desk = Desk { known: Known { is_admin: None, ..Known::default() }, ..Desk::group() };
    let Asked::Command(written) = desk.asked("/mute 1h") else { panic!() };
    let asked = Asked::Command(Written { author: Author::AnonymousAdmin, ..written });
    assert_eq!(desk.needs(&asked), [Need::Rules]);
    assert_eq!(desk.carry_out(&asked).subscribers.len(), 1);
}

#[test]
fn a_stranger_is_refused_once_and_changes_nothing() {
    let mut desk = Desk { config: Config::default(), ..Desk::private() };
    for text in ["/start", "/mute 1h", "hello", "/alerts"] {
        assert_eq!(desk.needs(&desk.asked(text)), []);
        let effects = desk.say(text);
        assert!(effects.refused && effects.subscribers.is_empty() && html(&effects).contains("<code>42</code>"));
        assert_eq!(effects.update.unwrap().command, "refused");
    }
    desk.known.refused_before = true;
    let effects = desk.say("/start");
    assert_eq!((effects.answer, effects.update.is_some()), (None, true));
}

#[test]
fn the_allow_list_lets_in_chats_by_number_name_and_former_number() {
    let stranger = || Desk { subscribers: Subscribers::default(), config: Config::default(), ..Desk::group() };
    let config = |configured: &str| Config { configured: vec![configured.parse().unwrap()], allowed: BTreeSet::new() };
    let by_number = Desk { config: Config { allowed: BTreeSet::from([-100_123]), ..Config::default() }, ..stranger() };
    assert_eq!(by_number.after(&["/start"]).standing, Standing::Active);

    let mut by_name = Desk { config: config("@The_Desk"), ..stranger() };
    by_name.chat["username"] = json!("the_desk");
    let effects = by_name.say("/start");
    assert_eq!(effects.subscribers[0].recipient, "@The_Desk", "the name under which alerts go there");

    let mut moved = Desk { config: config("-123"), ..stranger() };
    assert!(moved.say("/start").refused);
    let to = Standing::Moved { to: "-100123".to_owned() };
    moved.subscribers.handle(Subscriber { standing: to, ..subscriber(-123) });
    moved.subscribers.handle(subscriber(-100_123));
    assert_eq!(moved.after(&["/mute 1h"]).preferences.mutes.len(), 1);
}

#[test]
fn who_was_never_subscribed_begins_switched_off() {
    let desk = || Desk { subscribers: Subscribers::default(), ..Desk::private() };
    assert_eq!(desk().after(&["/settings pictures off"]).standing, Standing::Unsubscribed);
    assert_eq!(desk().after(&["/start"]).standing, Standing::Active);
    assert_eq!(desk().after(&["/subscribe BTC"]).preferences.bases, bases(&["BTC"]));
}

#[test]
fn buttons_mute_explain_and_rate() {
    let now = AT_MS + 500;
    let mut desk = Desk::private();
    desk.known.base = Some(base("BTC"));
    desk.known.explanation = Some(vec!["7 liquidations".to_owned()]);
    for (button, name, hours) in [(Button::Mute1h, "mute_1h", 1), (Button::Mute8h, "mute_8h", 8)] {
        let effects = desk.clone().carry_out(&desk.pressed(button));
        let until = now + hours * HOUR;
        assert_eq!(effects.subscribers[0].preferences.mutes, [Mute { base: Some(base("BTC")), kind: None, until }]);
        assert_eq!((effects.answer, effects.update.unwrap().command.as_str()), (None, name));
    }
    let details = desk.carry_out(&desk.pressed(Button::Details));
    assert_eq!(details.answer.as_ref().unwrap().reply_to, Some(3));
    assert_eq!(
        (html(&details).as_str(), details.toast.as_deref()),
        ("🔎 <b>Why this alert</b>\n7 liquidations", Some("🔎 Details follow."))
    );
    for (button, useful) in [(Button::Useful, true), (Button::NotUseful, false)] {
        let feedback = desk.carry_out(&desk.pressed(button)).feedback.unwrap();
        assert_eq!((feedback.alert, feedback.useful, feedback.by), (alert(), useful, Id::of("person", &["42"])));
    }
}

#[test]
fn every_press_is_answered_with_a_toast() {
    let known = |is_admin, name: Option<&str>| Known { is_admin, base: name.map(base), ..Known::default() };
    for (known, toast) in [
        (known(Some(true), Some("BTC")), "🔕 Muted until 21 Sep 15:13 UTC: BTC"),
        (known(Some(true), None), "🤔 This alert is not known any more."),
        (known(Some(false), Some("BTC")), "🔒 Only admins of this group can mute."),
        (known(None, Some("BTC")), "⏳ Telegram did not say who is an admin. Please try again."),
    ] {
        let mut desk = Desk { known, ..Desk::group() };
        assert_eq!(desk.carry_out(&desk.pressed(Button::Mute1h)).toast.as_deref(), Some(toast));
    }
    let mut stranger = Desk { config: Config::default(), ..Desk::group() };
    for button in Button::ALL {
        let effects = stranger.carry_out(&stranger.pressed(button));
        assert_eq!(effects.toast.as_deref(), Some("🔒 This chat may not use commands here."));
        assert!(effects.subscribers.is_empty() && effects.feedback.is_none() && effects.answer.is_none());
    }
}

#[test]
fn who_puts_the_bot_out_is_off_until_it_is_let_in_again() {
    let membership = |present, kind| {
        let id = ChatId::from_number(if kind == ChatKind::Private { 42 } else { -100_123 });
        Asked::Member(Membership {
            update: 9,
            chat: Chat { id, name: None, kind },
            present,
            at: WallTime::from_millis(AT_MS),
        })
    };
    for (mut desk, kind, reason) in
        [(Desk::private(), ChatKind::Private, "blocked"), (Desk::group(), ChatKind::Group, "kicked")]
    {
        desk.carry_out(&membership(false, kind));
        assert_eq!(desk.state().standing, Standing::Off { reason: reason.to_owned() });
        let mut stranger = Desk { config: Config::default(), ..desk.clone() };
        assert_eq!(stranger.carry_out(&membership(true, kind)).subscribers, [], "not allowed any more");
        assert_eq!(desk.clone().after(&["/start"]).standing, Standing::Active);
        desk.carry_out(&membership(true, kind));
        assert_eq!(desk.state().standing, Standing::Active);
    }
    let mut desk = Desk::private();
    desk.say("/unsubscribe");
    desk.carry_out(&membership(false, ChatKind::Private));
    desk.carry_out(&membership(true, ChatKind::Private));
    assert_eq!(desk.state().standing, Standing::Unsubscribed, "what somebody asked for stays");
}

#[test]
fn the_operator_needs_no_leave() {
    let read = |command: &str| {
        let json = json!({"recipient": "-100123", "command": command}).to_string();
        request::read(json.as_bytes(), WallTime::from_millis(AT_MS)).unwrap().0
    };
    let mut desk =
        Desk { config: Config::default(), known: Known { is_admin: None, ..Desk::group().known }, ..Desk::group() };
    let asked = read("/mute BTC 1h");
    assert_eq!(desk.needs(&asked), [Need::Rules]);
    let effects = desk.carry_out(&asked);
    assert_eq!(
        (effects.subscribers[0].cause, effects.events(WallTime::from_millis(0)).as_slice()),
        (Cause::Request, &[][..])
    );
    let reply = serde_json::to_value(request::reply(&asked, &effects, None, Some("r1".to_owned()))).unwrap();
    assert_eq!((&reply["ok"], &reply["request"]), (&json!(true), &json!("r1")));
    assert_eq!(reply["text"], "🔕 Muted until 21 Sep 15:13 UTC: BTC");
    assert_eq!(reply["subscriber"]["preferences"]["mutes"][0]["base"], "BTC");
    for command in ["/threshold BTC 1", "/mute BTC"] {
        let asked = read(command);
        let effects = desk.carry_out(&asked);
        let reply = serde_json::to_value(request::reply(&asked, &effects, None, None)).unwrap();
        assert_eq!((&reply["ok"], reply["error"].is_string()), (&json!(false), true), "{reply}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let command = prop::sample::select(vec![
        "/start",
        "/subscribe",
        "/subscribe all",
        "/subscribe BTC",
        "/subscribe ETH cascades",
        "/unsubscribe",
        "/unsubscribe BTC",
        "/unsubscribe oi",
        "/unsubscribe cascades liquidations",
        "/threshold BTC 250k",
        "/threshold ETH cascade 2m 10",
        "/threshold BTC off",
        "/threshold BTC 1",
        "/mute 1h",
        "/mute BTC cascades 8h",
        "/mute until tomorrow",
        "/mute off",
        "/mute BTC off",
        "/quiet 23-7 Europe/Berlin",
        "/quiet 22-6",
        "/quiet off",
        "/settings",
        "/settings pictures off",
        "/settings edits on",
        "/settings priority high",
        "/mute",
        "/threshold",
        "/test",
        "/help",
        "nonsense",
    ]);
    command.prop_map(str::to_owned)
}

/// The id under which a message is stored: once, however often it is asked for.
fn id_of(event: &Option<LedgerEvent>) -> Option<Id> {
    match event {
        Some(LedgerEvent::Note(note)) => Some(note.id),
        _ => None,
    }
}

proptest! {
    /// A crash after the subscriber is stored and before the update is marked repeats the update, at another time.
    #[test]
    fn a_repeated_update_has_the_same_effects(texts in prop::collection::vec(any_text(), 1..12), later in 0..10 * HOUR) {
        let mut desk = Desk::private();
        desk.known.base = Some(base("ETH"));
        for (number, text) in texts.iter().enumerate() {
            let asked = match number % 4 {
                3 => desk.pressed(Button::ALL[number / 4 % Button::ALL.len()]),
                _ => desk.asked(text),
            };
            let first = desk.carry_out(&asked);
            let state = desk.state();
            let again = desk.effects(&asked, AT_MS + later);
            prop_assert_eq!(&again.subscribers, &Vec::new(), "{}", text);
            prop_assert_eq!((&again.answer, &again.toast), (&first.answer, &first.toast), "{}", text);
            prop_assert_eq!((id_of(&again.test), again.refused), (id_of(&first.test), first.refused));
            prop_assert_eq!(again.feedback.map(|rated| rated.useful), first.feedback.map(|rated| rated.useful));
            prop_assert_eq!(again.update.map(|update| update.update), first.update.map(|update| update.update));
            prop_assert_eq!(desk.state(), state);
        }
    }

    #[test]
    fn what_commands_store_can_be_taken_back(texts in prop::collection::vec(any_text(), 0..12)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let state = Desk::private().after(&texts);
        prop_assert_eq!(settings::check_stored(&state, Some(&floors())), Ok(()));
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<Subscriber>(&json).unwrap(), state);
    }
}
