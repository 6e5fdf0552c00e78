//! The words of answers: short, for a phone, and functions of what holds rather than of what was before.

pub(super) mod reports;

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemas::{
    alert::{Kind, Priority},
    name::Base,
    subscriber::{Mute, Preferences, QuietHours, Standing, Subscriber},
};

use super::{
    command::{self, Wrong},
    facts::{Floor, Floors},
    page::{Line, Page},
    phrase,
    settings::{self, Change, Refused, Selection, dollars},
};
use crate::{caps::ROWS_MAX, recipient::ChatId, text::figures::shown, time::WallTime};

pub(super) const TOAST_STRANGER: &str = "🔒 This chat may not use commands here.";
pub(super) const TOAST_UNKNOWN: &str = "🤔 This alert is not known any more.";
pub(super) const TOAST_DETAILS: &str = "🔎 Details follow.";
pub(super) const TOAST_USEFUL: &str = "👍 Thanks, noted as useful.";
pub(super) const TOAST_NOT_USEFUL: &str = "👎 Thanks, noted as not useful.";
pub(super) const TOAST_ADMINS_ONLY: &str = "🔒 Only admins of this group can mute.";
pub(super) const TOAST_ADMINS_UNKNOWN: &str = "⏳ Telegram did not say who is an admin. Please try again.";

pub(super) fn stranger(chat: &ChatId) -> Page {
    Page::headed("🔒", "This bot serves invited chats")
        .text("Ask whoever runs it to allow this chat:")
        .line(Line::default().code(chat.as_str()))
}

pub(super) fn admins_only() -> Page {
    Page::headed("🔒", "Only admins of this group can do this")
        .line(Line::default().text("Everybody can look: ").code("/settings").text(" ").code("/alerts"))
}

pub(super) fn admins_unknown() -> Page {
    Page::headed("⏳", "Telegram did not say who is an admin").text("Please try again in a moment.")
}

pub(super) fn hint() -> Page {
    Page::headed("👋", "I understand commands")
        .line(Line::default().code("/alerts").text(" how things stand"))
        .line(Line::default().code("/settings").text(" what you get"))
        .line(Line::default().code("/help").text(" everything else"))
}

pub(super) fn wrong(wrong: &Wrong) -> Page {
    Page::default()
        .text(format!("🤔 {}", wrong.problem))
        .line(Line::default().text("For example: ").code(wrong.example))
}

pub(super) fn refused(refused: &Refused) -> Page {
    let text = refused.to_string();
    let mut letters = text.chars();
    let sentence: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    Page::default().text(format!("🤔 {sentence}."))
}

pub(super) fn test() -> Page {
    Page::headed("🧪", "A test message is on its way")
        .text("It takes the way of every alert. If it arrives, so will they.")
}

pub(super) fn test_message() -> Page {
    Page::headed("🧪", "TEST: no alert").text("This message took the way of every alert.")
}

pub(super) fn help() -> Page {
    let commands = command::menu();
    let lines = commands.iter().map(|(name, what)| Line::default().code(format!("/{name}")).text(format!(" {what}")));
    Page::headed("📖", "Commands").lines(lines).gap().small("Alerts have buttons too: mute, details, useful or not.")
}

fn unknown(sign: &str) -> Page {
    Page::headed(sign, "This cannot be looked up just now").text("Please try again in a moment.")
}

/// Confirms a change: what holds by now.
pub(super) fn changed(change: &Change, after: Option<&Subscriber>, floors: Option<&Floors>, asked: WallTime) -> Page {
    let Some(after) = after else { return settings(None, floors, asked) };
    let preferences = &after.preferences;
    let page = match change {
        Change::On => Page::headed("👋", "Alerts are on")
            .text("You are told within seconds when liquidations cascade or open interest jumps.")
            .gap()
            .lines(wanted(preferences, floors)),
        Change::Everything(_) | Change::Take(_) | Change::Bases(_) | Change::Kinds(_) => {
            Page::headed("🔔", "You get").lines(wanted(preferences, floors))
        }
        Change::Off => Page::default(),
        Change::Leave(_) if after.standing != Standing::Active => Page::default(),
        Change::Leave(_) => Page::headed("🔔", "You still get").lines(wanted(preferences, floors)),
        Change::Threshold(base, _) | Change::RuleThresholds(base) => {
            let floor = floors.and_then(|floors| floors.get(base));
            Page::headed("📏", format!("{} alerts", shown(base.as_str()))).lines(figures(preferences, base, floor))
        }
        Change::Mute(selection, _) => Page::default().text(muted(selection, Some(after))),
        Change::Unmute(_) => mutes(Some(after), asked),
        Change::Quiet(_) => quiet(preferences.quiet.as_ref()),
        Change::Pictures(_) => Page::default().line(pictures(preferences)),
        Change::EditsOnly(_) => Page::default().line(edits(preferences)),
        Change::MinPriority(_) => Page::default().line(priority(preferences)),
        Change::Topic(_) => Page::default().line(topic(preferences)),
    };
    match standing(after) {
        None => page,
        Some(line) => page.line(line),
    }
}

/// Says that a chat gets nothing; nothing when it does get alerts.
fn standing(subscriber: &Subscriber) -> Option<Line> {
    let text = match &subscriber.standing {
        Standing::Active => return None,
        Standing::Unsubscribed => "🔕 Alerts are off here. On again: ".to_owned(),
        Standing::Off { reason } => format!("🔕 Alerts are off here ({}). On again: ", reason.replace('_', " ")),
        Standing::Moved { .. } => "🔕 This group has another id by now. On again: ".to_owned(),
    };
    Some(Line::default().text(text).code("/start"))
}

/// Everything that is set for a chat.
pub(super) fn settings(subscriber: Option<&Subscriber>, floors: Option<&Floors>, asked: WallTime) -> Page {
    let page = Page::headed("⚙️", "Settings of this chat");
    let Some(subscriber) = subscriber else {
        return page.line(Line::default().text("🔕 Alerts are off here. On: ").code("/start"));
    };
    let preferences = &subscriber.preferences;
    let own: Vec<Line> = preferences.thresholds.keys().flat_map(|base| own(preferences, base)).collect();
    let thresholds = if own.is_empty() { "📏 Thresholds: those of the rules" } else { "📏 Own thresholds:" };
    page.line(standing(subscriber).unwrap_or_else(|| Line::default().text("🔔 Alerts: on")))
        .lines(wanted(preferences, floors))
        .line(priority(preferences))
        .text(thresholds)
        .lines(own)
        .line(quiet_line(preferences.quiet.as_ref()))
        .lines(muted_lines(preferences, asked))
        .line(edits(preferences))
        .line(pictures(preferences))
        .line(topic(preferences))
        .gap()
        .small("Change: /subscribe /threshold /mute /quiet, or /settings pictures off")
}

fn wanted(preferences: &Preferences, floors: Option<&Floors>) -> Vec<Line> {
    let bases = match (&preferences.bases, floors) {
        (Some(bases), _) => listed(bases.iter()),
        (None, Some(floors)) if floors.others.is_none() => format!("all ({})", listed(floors.bases.keys())),
        (None, _) => "all".to_owned(),
    };
    let kinds = preferences.kinds.clone().unwrap_or_else(|| BTreeSet::from(settings::KINDS));
    let kinds: Vec<_> = settings::KINDS.into_iter().filter(|kind| kinds.contains(kind)).map(kind_name).collect();
    [format!("🪙 Symbols: {bases}"), format!("📋 About: {}", kinds.join(", "))]
        .map(|text| Line::default().text(text))
        .into()
}

fn listed<'a>(bases: impl ExactSizeIterator<Item = &'a Base>) -> String {
    let more = bases.len().saturating_sub(ROWS_MAX);
    let names: Vec<_> = bases.take(ROWS_MAX).map(|base| shown(base.as_str())).collect();
    let names = names.join(", ");
    if more > 0 { format!("{names} +{more} more") } else { names }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::LargeLiquidation => "large liquidations",
        Kind::Cascade => "cascades",
        Kind::OiExplosion => "open interest",
    }
}

fn priority(preferences: &Preferences) -> Line {
    Line::default().text(match preferences.min_priority {
        Priority::Low => "🎚 Priority: all",
        Priority::Medium => "🎚 Priority: medium and high",
        Priority::High => "🎚 Priority: high only",
    })
}

fn edits(preferences: &Preferences) -> Line {
    Line::default().text(if preferences.edits_only {
        "✏️ A growing cascade: only edits its message"
    } else {
        "✏️ A growing cascade: a reply when it gets worse"
    })
}

fn pictures(preferences: &Preferences) -> Line {
    Line::default().text(if preferences.pictures { "🖼 Charts: on" } else { "🖼 Charts: off" })
}

fn topic(preferences: &Preferences) -> Line {
    Line::default().text(match preferences.topic {
        None => "💬 Topic: the general one".to_owned(),
        Some(topic) => format!("💬 Topic: number {topic}"),
    })
}

/// One base's own thresholds; nothing when it has none.
fn own(preferences: &Preferences, base: &Base) -> Vec<Line> {
    let Some(own) = preferences.thresholds.get(base) else { return Vec::new() };
    let figures = [
        own.single_usd.map(|usd| format!("large liquidations from {}", dollars(usd))),
        own.cascade_usd.map(|usd| format!("cascades from {}", dollars(usd))),
        own.cascade_count.map(|count| format!("cascades from {}", settings::liquidations(count))),
        own.change_pct.map(|change| format!("open interest from {}", settings::percent(change))),
    ];
    let line = |figure: String| Line::default().text("    ").bold(shown(base.as_str())).text(format!(" {figure}"));
    figures.into_iter().flatten().map(line).collect()
}

/// One base's thresholds as they hold: its own where it has one, else the rule's.
fn figures(preferences: &Preferences, base: &Base, floor: Option<&Floor>) -> Vec<Line> {
    let own = preferences.thresholds.get(base).copied().unwrap_or_default();
    let floor = floor.cloned().unwrap_or_default();
    let from = |mine: Option<String>, rule: Option<String>| match (mine, rule) {
        (Some(mine), Some(rule)) if mine != rule => Some(format!("{mine} (rule: {rule})")),
        (Some(mine), _) => Some(mine),
        (None, Some(rule)) => Some(format!("{rule} (rule)")),
        (None, None) => None,
    };
    let rows = [
        ("large liquidations from ", from(own.single_usd.map(dollars), floor.single_usd.map(dollars))),
        ("cascades from ", from(own.cascade_usd.map(dollars), floor.cascade_usd.map(dollars))),
        (
            "    and ",
            from(own.cascade_count.map(settings::liquidations), floor.cascade_count.map(settings::liquidations)),
        ),
        ("open interest from ", from(own.change_pct.map(settings::percent), floor.change_pct.map(settings::percent))),
    ];
    rows.into_iter().filter_map(|(what, from)| Some(Line::default().text(format!("{what}{}", from?)))).collect()
}

pub(super) fn thresholds(subscriber: Option<&Subscriber>, floors: Option<&Floors>) -> Page {
    let Some(floors) = floors else { return unknown("📏") };
    let default = Preferences::default();
    let preferences = subscriber.map_or(&default, |subscriber| &subscriber.preferences);
    let bases: BTreeSet<&Base> = floors.bases.keys().chain(preferences.thresholds.keys()).collect();
    let page = bases.iter().take(ROWS_MAX).fold(Page::headed("📏", "Thresholds of this chat"), |page, base| {
        page.line(Line::default().bold(shown(base.as_str()))).lines(figures(preferences, base, floors.get(base)))
    });
    let more = bases.len().saturating_sub(ROWS_MAX);
    let page = if more > 0 { page.text(format!("+{more} more symbols")) } else { page };
    page.gap()
        .line(Line::default().small("Change: ").code("/threshold BTC 250k").small(" or ").code("/threshold BTC off"))
}

fn quiet(quiet: Option<&QuietHours>) -> Page {
    let page = Page::default().line(quiet_line(quiet));
    if quiet.is_some() { page.small("What comes meanwhile is told afterwards in one silent message.") } else { page }
}

fn quiet_line(quiet: Option<&QuietHours>) -> Line {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    Line::default().text(match quiet {
        None => "🌙 Quiet hours: none".to_owned(),
        Some(QuietHours { from, to, zone }) => {
            format!("🌙 Quiet hours: {}–{} {zone}", clock(*from), clock(*to))
        }
    })
}

pub(super) fn mutes(subscriber: Option<&Subscriber>, asked: WallTime) -> Page {
    let default = Preferences::default();
    let preferences = subscriber.map_or(&default, |subscriber| &subscriber.preferences);
    let lines = Page::default().lines(muted_lines(preferences, asked));
    lines.line(Line::default().small("Mute: ").code("/mute BTC 1h").small(" or ").code("/mute off"))
}

fn muted_lines(preferences: &Preferences, asked: WallTime) -> Vec<Line> {
    let holds: Vec<&Mute> = preferences.mutes.iter().filter(|mute| mute.until > asked.as_millis()).collect();
    if holds.is_empty() {
        return vec![Line::default().text("🔊 Muted: nothing")];
    }
    let line = |mute: &&Mute| {
        let what = muted_what(mute.base.as_ref(), mute.kind);
        Line::default().text(format!("🔕 Muted: {what} until {}", moment(mute.until, preferences)))
    };
    holds.iter().map(line).collect()
}

/// Confirms a mute, as plain text: `🔕 BTC is muted until 24 Nov 14:05 UTC`.
pub(super) fn muted(selection: &Selection, after: Option<&Subscriber>) -> String {
    let preferences = after.map(|after| &after.preferences);
    let mute = preferences.and_then(|set| Some((set.mutes.iter().find(|mute| selection.covers(mute))?, set)));
    let Some((mute, preferences)) = mute else { return TOAST_UNKNOWN.to_owned() };
    let bases = (!selection.bases.is_empty()).then(|| listed(selection.bases.iter()));
    let kinds: Vec<_> =
        settings::KINDS.into_iter().filter(|kind| selection.kinds.contains(kind)).map(kind_name).collect();
    let what = match (bases, kinds.as_slice()) {
        (None, []) => "Everything".to_owned(),
        (Some(bases), []) => bases,
        (None, kinds) => kinds.join(", "),
        (Some(bases), kinds) => format!("{bases} ({})", kinds.join(", ")),
    };
    format!("🔕 Muted until {}: {what}", moment(mute.until, preferences))
}

fn muted_what(base: Option<&Base>, kind: Option<Kind>) -> String {
    match (base.map(|base| shown(base.as_str())), kind.map(kind_name)) {
        (None, None) => "everything".to_owned(),
        (Some(base), None) => base,
        (None, Some(kind)) => kind.to_owned(),
        (Some(base), Some(kind)) => format!("{base} {kind}"),
    }
}

/// Returns a moment in the zone of the chat's quiet hours, else in UTC.
fn moment(at_ms: i64, preferences: &Preferences) -> String {
    let zone = preferences.quiet.as_ref().map(|quiet| quiet.zone.as_str());
    format!("{} {}", clock(at_ms, zone), zone.unwrap_or("UTC"))
}

fn clock(at_ms: i64, zone: Option<&str>) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    at.to_zoned(phrase::zone(zone)).strftime("%-d %b %H:%M").to_string()
}
