//! What is understood of what people type.

use super::*;
use crate::commands::settings::{Change, End, Figure, Hours, Selection};

fn parsed(text: &str) -> Command {
    match Desk::private().asked(text) {
        Asked::Command(written) => written.command,
        other @ (Asked::Press(_) | Asked::Member(_) | Asked::Ignored(_)) => panic!("{text}: {other:?}"),
    }
}

fn selection(bases: &[&str], kinds: &[Kind]) -> Selection {
    Selection { bases: bases.iter().map(|name| base(name)).collect(), kinds: kinds.iter().copied().collect() }
}

#[test]
fn what_is_meant() {
    use Command::{Alerts, Help, Liquidations, Mutes, Settings, Test, Thresholds, Why};
    let changes = |change| Command::Change(change);
    let hours = |count: u64| End::After(Duration::from_secs(count * 3600));
    let history = |hours: u64, base| Command::History { span: Duration::from_secs(hours * 3600), base };
    for (text, expected) in [
        ("/start", changes(Change::On)),
        ("/start from-the-web_1", changes(Change::On)),
        ("/subscribe", changes(Change::On)),
        ("/subscribe all", changes(Change::Everything(BTreeSet::new()))),
        ("/subscribe all oi", changes(Change::Everything(BTreeSet::from([Kind::OiExplosion])))),
        ("/subscribe btc, ETH", changes(Change::Take(selection(&["BTC", "ETH"], &[])))),
        ("/subscribe SOL cascades", changes(Change::Take(selection(&["SOL"], &[Kind::Cascade])))),
        ("/subscribe liquidations", changes(Change::Take(selection(&[], &[Kind::LargeLiquidation])))),
        ("/unsubscribe", changes(Change::Off)),
        ("/unsubscribe all", changes(Change::Off)),
        ("/unsubscribe BTC", changes(Change::Leave(selection(&["BTC"], &[])))),
        ("/alerts", Alerts),
        ("/liquidations", Liquidations(None)),
        ("/liquidations btc", Liquidations(Some(base("BTC")))),
        ("/threshold", Thresholds),
        ("/threshold BTC 250000", changes(Change::Threshold(base("BTC"), Figure::Single(usd("250000"))))),
        ("/threshold btc $1.5M", changes(Change::Threshold(base("BTC"), Figure::Single(usd("1500000"))))),
        ("/threshold BTC cascade 2m", changes(Change::Threshold(base("BTC"), Figure::Cascade(usd("2000000"))))),
        (
            "/threshold BTC cascade 2m 10",
            changes(Change::Threshold(base("BTC"), Figure::CascadeBoth(usd("2000000"), 10))),
        ),
        ("/threshold BTC oi 20%", changes(Change::Threshold(base("BTC"), Figure::OpenInterest(ratio("20"))))),
        ("/threshold BTC off", changes(Change::RuleThresholds(base("BTC")))),
        ("/mute", Mutes),
        ("/mute 1h", changes(Change::Mute(selection(&[], &[]), hours(1)))),
        ("/mute all 8h", changes(Change::Mute(selection(&[], &[]), hours(8)))),
        ("/mute BTC 2d", changes(Change::Mute(selection(&["BTC"], &[]), hours(48)))),
        ("/mute cascades BTC 1h", changes(Change::Mute(selection(&["BTC"], &[Kind::Cascade]), hours(1)))),
        ("/mute BTC until tomorrow", changes(Change::Mute(selection(&["BTC"], &[]), End::Tomorrow))),
        ("/mute tomorrow", changes(Change::Mute(selection(&[], &[]), End::Tomorrow))),
        ("/mute off", changes(Change::Unmute(selection(&[], &[])))),
        ("/mute BTC off", changes(Change::Unmute(selection(&["BTC"], &[])))),
        ("/quiet", Settings),
        ("/quiet off", changes(Change::Quiet(None))),
        (
            "/quiet 23:00-07:00 Europe/Berlin",
            changes(Change::Quiet(Some(Hours { from: 1380, to: 420, zone: Some("Europe/Berlin".to_owned()) }))),
        ),
        (
            "/quiet 22 – 6:30 america/new_york",
            changes(Change::Quiet(Some(Hours { from: 1320, to: 390, zone: Some("America/New_York".to_owned()) }))),
        ),
        ("/quiet 23-7", changes(Change::Quiet(Some(Hours { from: 1380, to: 420, zone: None })))),
        ("/settings", Settings),
        ("/settings pictures off", changes(Change::Pictures(false))),
        ("/settings edits on", changes(Change::EditsOnly(true))),
        ("/settings priority medium", changes(Change::MinPriority(Priority::Medium))),
        ("/settings topic here", changes(Change::Topic(None))),
        ("/settings topic off", changes(Change::Topic(None))),
        ("/history", history(24, None)),
        ("/history 7d", history(168, None)),
        ("/history BTC 24h", history(24, Some(base("BTC")))),
        ("/why", Why(None)),
        (&format!("/why {}", alert()), Why(Some(alert()))),
        ("/test", Test),
        ("/help", Help),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_told_with_an_example_that_works() {
    for (text, problem, example) in [
        ("/subscribe B.T.C", "“B.T.C” is no symbol and no kind of alert.", "/subscribe BTC ETH cascades"),
        ("/subscribe all BTC", "Either all symbols or some.", "/subscribe BTC ETH cascades"),
        ("/unsubscribe <b>", "“<b>” is no symbol and no kind of alert.", "/unsubscribe SOL"),
        ("/liquidations BTC ETH", "One symbol at a time, please.", "/liquidations BTC"),
        ("/threshold BTC", "A symbol and an amount are needed.", "/threshold BTC 250k"),
        ("/threshold BTC much", "“much” is no amount.", "/threshold BTC 250k"),
        ("/threshold BTC cascade 2m few", "“few” is no number of liquidations.", "/threshold BTC cascade 2m 10"),
        ("/threshold BTC oi 0%", "“0%” is no change in percent.", "/threshold BTC oi 20%"),
        ("/mute BTC", "For how long? 30m, 1h, 8h, 2d or “until tomorrow”.", "/mute BTC 1h"),
        ("/mute BTC 31d", "30 days are the longest mute; /unsubscribe stops alerts for good.", "/mute BTC 2d"),
        ("/quiet 23:00", "Two different times of the day are needed, from and to.", "/quiet 23:00-07:00 Europe/Berlin"),
        ("/quiet 7-7", "Two different times of the day are needed, from and to.", "/quiet 23:00-07:00 Europe/Berlin"),
        ("/quiet 23-7 Berlin", "“Berlin” is no time zone. Is it Europe/Berlin?", "/quiet 23:00-07:00 Europe/Berlin"),
        ("/quiet 23-7 Mars", "“Mars” is no time zone.", "/quiet 23:00-07:00 Europe/Berlin"),
        ("/settings pictures", "One setting and its value are needed.", "/settings pictures off"),
        ("/settings pictures maybe", "“on” or “off” is needed.", "/settings pictures off"),
        ("/settings topic 5", "“here” or “off” is needed.", "/settings topic here"),
        ("/settings priority urgent", "“low”, “medium” or “high” is needed.", "/settings priority medium"),
        (
            "/settings volume up",
            "There is no setting “volume”: pictures, edits, priority and topic are.",
            "/settings pictures off",
        ),
        ("/history 31d", "30 days are kept.", "/history 30d"),
        ("/history 1h 2h", "A span and a symbol are understood.", "/history 24h BTC"),
        ("/why not", "This is no alert's id. Reply to an alert with /why instead.", "/why"),
    ] {
        let Command::Wrong(wrong) = parsed(text) else { panic!("{text}: {:?}", parsed(text)) };
        assert_eq!((wrong.problem.as_str(), wrong.example), (problem, example), "{text}");
        assert!(!matches!(parsed(example), Command::Wrong(_) | Command::Hint), "{example}");
    }
    let long = format!("/mute {} 1h", "BTC ".repeat(1000));
    assert!(matches!(parsed(&long), Command::Wrong(_)));
}

#[test]
fn the_menu_fits_telegram() {
    let menu = command::menu();
    assert_eq!(menu.len(), 13);
    for (name, description) in &menu {
        assert!((1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
        assert!((3..=256).contains(&description.chars().count()), "{description}");
        assert!(!matches!(parsed(&format!("/{name}")), Command::Hint | Command::Wrong(_)), "{name}");
    }
}

#[test]
fn the_command_line_reads_lists() {
    assert_eq!(words::bases("btc, ETH"), Ok(Change::Bases(Some(BTreeSet::from([base("BTC"), base("ETH")])))));
    assert_eq!(words::bases("all"), Ok(Change::Bases(None)));
    assert!(words::bases("BTC,,ETH").is_err() && words::bases("").is_err());
    let kinds = BTreeSet::from([Kind::Cascade, Kind::OiExplosion]);
    assert_eq!(words::kinds("oi,cascades"), Ok(Change::Kinds(Some(kinds))));
    assert!(words::kinds("BTC").is_err());
    assert_eq!(words::min_priority("HIGH"), Ok(Change::MinPriority(Priority::High)));
}

#[test]
fn a_request_is_a_command_with_the_operators_authority() {
    let read = |json: &str| request::read(json.as_bytes(), WallTime::from_millis(AT_MS));
    let (asked, id) = read(r#"{"recipient":"-100123","command":"/mute BTC 1h","request":"r1"}"#).unwrap();
    let Asked::Command(written) = asked else { panic!("{asked:?}") };
    assert_eq!((id.as_deref(), written.author, written.update), (Some("r1"), Author::Operator, None));
    assert_eq!((written.chat.id.as_str(), written.name, written.at.as_millis()), ("-100123", "mute", AT_MS));
    for (json, error) in [
        ("{}", "the request is not understood"),
        (r#"{"recipient":"1","command":"/help","x":1}"#, "the request is not understood"),
        (r#"{"recipient":"nobody","command":"/help"}"#, "`nobody` is no chat"),
        (r#"{"recipient":"1","command":"/weather"}"#, "there is no such command"),
        (r#"{"recipient":"1","command":"help"}"#, "there is no such command"),
    ] {
        let refusal = read(json).unwrap_err();
        let reply = serde_json::to_value(request::refused(&refusal)).unwrap();
        assert_eq!(reply["ok"], false);
        assert!(reply["error"].as_str().unwrap().starts_with(error), "{json}: {reply}");
    }
}
