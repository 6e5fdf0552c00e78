//! The words behind a command.

use std::{collections::BTreeSet, time::Duration};

use schemas::name::Base;

use super::{
    command::{Command, Wrong},
    phrase,
    settings::{Change, End, Figure, Hours, Selection},
};
use crate::caps::{HISTORY_MAX, MUTE_MAX};

pub(super) fn wrong<T>(problem: impl Into<String>, example: &'static str) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), example })
}

/// Reads bases and kinds in any order; `all` empties both.
pub(super) fn selection(words: &[&str], example: &'static str) -> Result<Selection, Wrong> {
    let mut selection = Selection::default();
    for word in words.iter().flat_map(|word| word.split(',')).filter(|word| !word.is_empty()) {
        match (phrase::kind(word), phrase::base(word)) {
            (Some(kind), _) => drop(selection.kinds.insert(kind)),
            (None, Some(base)) => drop(selection.bases.insert(base)),
            (None, None) => return wrong(format!("“{word}” is no symbol and no kind of alert."), example),
        }
    }
    Ok(selection)
}

pub(super) fn subscribe(words: &[&str]) -> Result<Change, Wrong> {
    const EXAMPLE: &str = "/subscribe BTC ETH cascades";
    match words {
        [] => Ok(Change::On),
        [all, kinds @ ..] if all.eq_ignore_ascii_case("all") => {
            let selection = selection(kinds, EXAMPLE)?;
            match selection.bases.is_empty() {
                true => Ok(Change::Everything(selection.kinds)),
                false => wrong("Either all symbols or some.", EXAMPLE),
            }
        }
        _ => selection(words, EXAMPLE).map(Change::Take),
    }
}

pub(super) fn unsubscribe(words: &[&str]) -> Result<Change, Wrong> {
    match words {
        [] => Ok(Change::Off),
        [all] if all.eq_ignore_ascii_case("all") => Ok(Change::Off),
        _ => selection(words, "/unsubscribe SOL").map(Change::Leave),
    }
}

pub(super) fn one_base(words: &[&str], example: &'static str) -> Result<Option<Base>, Wrong> {
    match words {
        [] => Ok(None),
        [word] => match phrase::base(word) {
            Some(base) => Ok(Some(base)),
            None => wrong(format!("“{word}” is no symbol."), example),
        },
        _ => wrong("One symbol at a time, please.", example),
    }
}

/// Reads a threshold: `BTC 250k`, `BTC cascade 2m 10`, `BTC oi 20%`, `BTC off`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn threshold(words: &[&str]) -> Result<Change, Wrong> {
    const EXAMPLE: &str = "/threshold BTC 250k";
    let [base, rest @ ..] = words else { return wrong("Which symbol?", EXAMPLE) };
    let Some(base) = phrase::base(base) else { return wrong(format!("“{base}” is no symbol."), EXAMPLE) };
    let lower: Vec<String> = rest.iter().map(|word| word.to_ascii_lowercase()).collect();
    let usd =
        |text: &str, example| phrase::usd(text).map_or_else(|| wrong(format!("“{text}” is no amount."), example), Ok);
    let figure = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["off"] => return Ok(Change::RuleThresholds(base)),
        ["single" | "liquidation" | "liquidations", amount] | [amount] => Figure::Single(usd(amount, EXAMPLE)?),
        ["cascade" | "cascades", amount] => Figure::Cascade(usd(amount, "/threshold BTC cascade 2m")?),
        ["cascade" | "cascades", amount, number] => {
            let amount = usd(amount, "/threshold BTC cascade 2m 10")?;
            match phrase::count(number) {
                Some(number) => Figure::CascadeBoth(amount, number),
                None => {
                    return wrong(format!("“{number}” is no number of liquidations."), "/threshold BTC cascade 2m 10");
                }
            }
        }
        ["cascade_count", number] => match phrase::count(number) {
            Some(number) => Figure::CascadeCount(number),
            None => return wrong(format!("“{number}” is no number of liquidations."), "/threshold BTC cascade 2m 10"),
        },
        ["oi" | "open-interest", change] => match phrase::percent(change) {
            Some(change) => Figure::OpenInterest(change),
            None => return wrong(format!("“{change}” is no change in percent."), "/threshold BTC oi 20%"),
        },
        _ => return wrong("A symbol and an amount are needed.", EXAMPLE),
    };
    Ok(Change::Threshold(base, figure))
}

/// Reads a mute: `BTC 1h`, `cascades 8h`, `2d`, `BTC until tomorrow`, `off`, `BTC off`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn mute(words: &[&str]) -> Result<Change, Wrong> {
    const EXAMPLE: &str = "/mute BTC 1h";
    let (what, end) = match words {
        [what @ .., last] if last.eq_ignore_ascii_case("off") => {
            return selection(without_all(what), EXAMPLE).map(Change::Unmute);
        }
        [what @ .., until, last] if until.eq_ignore_ascii_case("until") && last.eq_ignore_ascii_case("tomorrow") => {
            (what, End::Tomorrow)
        }
        [what @ .., last] if last.eq_ignore_ascii_case("tomorrow") => (what, End::Tomorrow),
        [what @ .., last] => match phrase::span(last) {
            Some(span) if span > MUTE_MAX => {
                return wrong("30 days are the longest mute; /unsubscribe stops alerts for good.", "/mute BTC 2d");
            }
            Some(span) => (what, End::After(span)),
            None => return wrong("For how long? 30m, 1h, 8h, 2d or “until tomorrow”.", EXAMPLE),
        },
        [] => return wrong("For how long? 30m, 1h, 8h, 2d or “until tomorrow”.", EXAMPLE),
    };
    Ok(Change::Mute(selection(without_all(what), EXAMPLE)?, end))
}

pub(super) fn without_all<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    if matches!(words, [word] if word.eq_ignore_ascii_case("all")) { &[] } else { words }
}

/// Reads quiet hours: `23:00-07:00 Europe/Berlin`, `23-7`, `off`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn quiet(text: &str) -> Result<Change, Wrong> {
    const EXAMPLE: &str = "/quiet 23:00-07:00 Europe/Berlin";
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        return Ok(Change::Quiet(None));
    }
    let zone_at = text.find(char::is_alphabetic).unwrap_or(text.len());
    let (hours, zone) = (text[..zone_at].trim(), text[zone_at..].trim());
    let Some((from, to)) = phrase::hours(hours) else {
        return wrong("Two different times of the day are needed, from and to.", EXAMPLE);
    };
    let zone = match zone {
        "" => None,
        zone => match phrase::zone_name(zone) {
            Some(zone) => Some(zone),
            None => {
                let like = phrase::zones_like(zone);
                let meant = if like.is_empty() { String::new() } else { format!(" Is it {}?", like.join(" or ")) };
                return wrong(format!("“{zone}” is no time zone.{meant}"), EXAMPLE);
            }
        },
    };
    Ok(Change::Quiet(Some(Hours { from, to, zone })))
}

/// Reads a setting and its value: `pictures off`, `topic here`. `forum` is the topic it was written in.
///
/// # Errors
/// [`Wrong`], for people.
pub fn setting(words: &[&str], forum: Option<i64>) -> Result<Change, Wrong> {
    const EXAMPLE: &str = "/settings pictures off";
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let [name, value] = lower.as_slice() else {
        return wrong("One setting and its value are needed.", EXAMPLE);
    };
    match (name.as_str(), value.as_str(), phrase::switch(value)) {
        ("pictures" | "charts", _, Some(on)) => Ok(Change::Pictures(on)),
        ("edits", _, Some(on)) => Ok(Change::EditsOnly(on)),
        ("pictures" | "charts" | "edits", _, None) => wrong("“on” or “off” is needed.", EXAMPLE),
        ("topic", "here", _) => Ok(Change::Topic(forum)),
        ("topic", "off", _) => Ok(Change::Topic(None)),
        ("topic", ..) => wrong("“here” or “off” is needed.", "/settings topic here"),
        ("priority", value, _) => phrase::priority(value)
            .map(Change::MinPriority)
            .map_or_else(|| wrong("“low”, “medium” or “high” is needed.", "/settings priority medium"), Ok),
        _ => wrong(format!("There is no setting “{name}”: pictures, edits, priority and topic are."), EXAMPLE),
    }
}

pub(super) fn history(words: &[&str]) -> Result<Command, Wrong> {
    const EXAMPLE: &str = "/history 24h BTC";
    let (mut span, mut base) = (None, None);
    for word in words {
        match (phrase::span(word), phrase::base(word)) {
            (Some(found), _) if span.is_none() => span = Some(found),
            (None, Some(found)) if base.is_none() => base = Some(found),
            _ => return wrong("A span and a symbol are understood.", EXAMPLE),
        }
    }
    match span.unwrap_or(Duration::from_secs(86_400)) {
        span if span > HISTORY_MAX => wrong("30 days are kept.", "/history 30d"),
        span => Ok(Command::History { span, base }),
    }
}

pub(super) fn why(words: &[&str]) -> Result<Command, Wrong> {
    match words {
        [] => Ok(Command::Why(None)),
        [id] => match id.parse() {
            Ok(id) => Ok(Command::Why(Some(id))),
            Err(_) => wrong("This is no alert's id. Reply to an alert with /why instead.", "/why"),
        },
        _ => wrong("Reply to an alert with /why.", "/why"),
    }
}

/// Reads base assets as the command line takes them: `BTC,ETH`, `all`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn bases(text: &str) -> Result<Change, Wrong> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Change::Bases(None));
    }
    let bases: Option<BTreeSet<Base>> = text.split(',').map(|name| phrase::base(name.trim())).collect();
    bases.map_or_else(
        || wrong(format!("“{text}” is no list of symbols."), "BTC,ETH"),
        |bases| Ok(Change::Bases(Some(bases))),
    )
}

/// Reads kinds as the command line takes them: `cascades,oi`, `all`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn kinds(text: &str) -> Result<Change, Wrong> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Change::Kinds(None));
    }
    let kinds: Option<BTreeSet<_>> = text.split(',').map(|name| phrase::kind(name.trim())).collect();
    let problem = || wrong(format!("“{text}” is no list of kinds."), "cascades,liquidations,oi");
    kinds.map_or_else(problem, |kinds| Ok(Change::Kinds(Some(kinds))))
}

/// Reads a least priority as the command line takes it: `low`, `medium`, `high`.
///
/// # Errors
/// [`Wrong`], for people.
pub fn min_priority(text: &str) -> Result<Change, Wrong> {
    setting(&["priority", text], None)
}
