//! Answers that show what was looked up.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemas::{
    alert::{Alert, Finding, Phase},
    amount::Usd,
    name::{Base, Venue},
    subscriber::Subscriber,
};

use super::{clock, kind_name, muted_lines, standing, unknown};
use crate::{
    caps::{EXPLANATION_CHARS_MAX, EXPLANATION_LINES_MAX, LIQUIDATIONS_SPAN, ROWS_MAX},
    commands::{
        facts::{History, Known, Liquidations, Sides},
        page::{Line, Page},
        settings::KINDS,
    },
    text::figures::{count, grouped, percent, shown, usd},
    time::WallTime,
};

pub(in crate::commands) fn alerts(subscriber: Option<&Subscriber>, known: &Known, asked: WallTime) -> Page {
    let (Some(venues), Some(recent)) = (&known.venues, &known.recent) else { return unknown("📡") };
    let silent: Vec<_> = venues.iter().filter(|(_, heard)| !**heard).map(|(venue, _)| venue.as_str()).collect();
    let heard =
        format!("{} of {} heard", venues.len() - silent.len(), count(venues.len() as u64, "exchange", "exchanges"));
    let page = if venues.is_empty() {
        Page::headed("⚠️", "No exchange is heard")
    } else if silent.is_empty() {
        Page::headed("📡", heard)
    } else {
        Page::headed("⚠️", heard).text(format!("No data: {}", silent.join(", ")))
    };
    let page = match subscriber.map(|subscriber| (standing(subscriber), subscriber)) {
        None => page.line(Line::default().text("🔕 Alerts are off here. On: ").code("/start")),
        Some((Some(off), _)) => page.line(off),
        Some((None, subscriber)) => {
            let has_mutes = subscriber.preferences.mutes.iter().any(|mute| mute.until > asked.as_millis());
            let page = page.text("🔔 Alerts: on");
            if has_mutes { page.lines(muted_lines(&subscriber.preferences, asked)) } else { page }
        }
    };
    let zone = subscriber.and_then(|subscriber| subscriber.preferences.quiet.as_ref()).map(|quiet| quiet.zone.as_str());
    let rows = stories(recent);
    if rows.is_empty() {
        return page.gap().text("Nothing was found lately.");
    }
    let line = |alert: &&Alert| {
        Line::default().code(clock(alert.event_time.as_millis(), zone)).text(format!(" {}", summary(alert)))
    };
    page.gap()
        .line(Line::default().bold(format!("Newest ({})", zone.unwrap_or("UTC"))))
        .lines(rows.iter().take(ROWS_MAX).map(line))
}

/// Leaves one alert of each cascade: the newest.
fn stories(recent: &[Alert]) -> Vec<&Alert> {
    let mut seen = BTreeSet::new();
    recent
        .iter()
        .filter(|alert| match &alert.finding {
            Finding::Cascade(cascade) => seen.insert(cascade.episode),
            Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => true,
        })
        .collect()
}

fn summary(alert: &Alert) -> String {
    let base = shown(alert.base.as_str());
    match &alert.finding {
        Finding::LargeLiquidation(large) => format!("💥 {base} {} liquidated", usd(large.notional_usd)),
        Finding::Cascade(cascade) => {
            let state = match cascade.phase {
                Phase::Started | Phase::Escalated | Phase::Updated => "cascade",
                Phase::Ended => "cascade, ended",
            };
            format!("🚨 {base} {state} {}", usd(cascade.notional_usd))
        }
        Finding::OiExplosion(explosion) => format!("📈 {base} open interest {}", percent(explosion.change_pct)),
    }
}

pub(in crate::commands) fn liquidations(base: Option<&Base>, totals: Option<&Liquidations>) -> Page {
    let Some(totals) = totals else { return unknown("💥") };
    let span = LIQUIDATIONS_SPAN.as_secs() / 60;
    let of = base.map_or_else(|| "Liquidations".to_owned(), |base| format!("{} liquidations", shown(base.as_str())));
    let page = Page::headed("💥", format!("{of}, last {span} minutes"));
    let mut rows: Vec<_> = totals
        .iter()
        .map(|(base, venues)| (base, venues, venues.values().fold(Sides::default(), |sum, sides| sum.plus(*sides))))
        .filter(|(_, _, sum)| sum.longs + sum.shorts > 0)
        .collect();
    rows.sort_by_key(|(base, _, sum)| (Reverse(sum.usd()), (*base).clone()));
    if rows.is_empty() {
        return page.text("None.");
    }
    let more = rows.len().saturating_sub(ROWS_MAX);
    let page =
        rows.iter().take(ROWS_MAX).fold(page, |page, (base, venues, sum)| page.lines(liquidated(base, venues, *sum)));
    if more > 0 { page.text(format!("+{more} more symbols")) } else { page }
}

fn liquidated(base: &Base, venues: &BTreeMap<Venue, Sides>, sum: Sides) -> [Line; 4] {
    // A line each: both do not fit beside each other on a phone.
    let side = |sign, number, one, many, worth: Usd| {
        Line::default().text(format!("{sign} {} {}", count(number, one, many), usd(worth)))
    };
    let mut venues: Vec<_> = venues.iter().map(|(venue, sides)| (Reverse(sides.usd()), venue)).collect();
    venues.sort();
    let venues: Vec<_> =
        venues.iter().take(ROWS_MAX).map(|(Reverse(worth), venue)| format!("{venue} {}", usd(*worth))).collect();
    [
        Line::default().bold(shown(base.as_str())).text(format!(" {}", usd(sum.usd()))),
        side("📉", sum.longs, "long", "longs", sum.long_usd),
        side("📈", sum.shorts, "short", "shorts", sum.short_usd),
        Line::default().small(venues.join(" · ")),
    ]
}

pub(in crate::commands) fn history(span: Duration, base: Option<&Base>, history: Option<&History>) -> Page {
    let Some(history) = history else { return unknown("📊") };
    let hours = span.as_secs() / 3600;
    let span = match (hours / 24, hours % 24) {
        (_, 0) if hours == 0 => count(span.as_secs() / 60, "minute", "minutes"),
        (days, 0) if days > 1 => count(days, "day", "days"),
        _ => count(hours, "hour", "hours"),
    };
    let of = base.map_or_else(|| "Last".to_owned(), |base| format!("{}, last", shown(base.as_str())));
    let page = Page::headed("📊", format!("{of} {span}"));
    let bases: BTreeSet<&Base> = history.found.keys().map(|(base, _)| base).collect();
    let found = |base: &Base| {
        let number = |kind| history.found.get(&(base.clone(), kind)).copied().unwrap_or(0);
        let some = KINDS.into_iter().filter(|kind| number(*kind) > 0);
        let parts: Vec<_> = some.map(|kind| format!("{} {}", kind_name(kind), grouped(number(kind)))).collect();
        Line::default().bold(shown(base.as_str())).text(format!(" {}", parts.join(" · ")))
    };
    let page = if bases.is_empty() {
        page.text("Nothing was found.")
    } else {
        let more = bases.len().saturating_sub(ROWS_MAX);
        let page = page.lines(bases.into_iter().take(ROWS_MAX).map(found));
        if more > 0 { page.text(format!("+{more} more symbols")) } else { page }
    };
    let page = match history.due {
        0 => page,
        due => page.gap().text(format!("✅ Delivered: {} of {}", grouped(history.sent), grouped(due))),
    };
    let page = match history.p50_ms.zip(history.p99_ms) {
        None => page,
        Some((half, most)) => page.text(format!("⏱ Half within {}, 99% within {}", seconds(half), seconds(most))),
    };
    match history.rated {
        0 => page,
        rated => page.text(format!("👍 Useful: {} of {} rated", grouped(history.useful), grouped(rated))),
    }
}

/// Returns milliseconds in seconds with one decimal: `0.9 s`.
fn seconds(millis: u64) -> String {
    let tenths = millis.saturating_add(50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

pub(in crate::commands) fn why(explanation: Option<&[String]>) -> Page {
    let Some(lines) = explanation else {
        return Page::headed("🔎", "This alert is not known any more")
            .line(Line::default().text("Reply to an alert with ").code("/why").text("."));
    };
    let line = |line: &String| Line::default().text(line.chars().take(EXPLANATION_CHARS_MAX).collect::<String>());
    Page::headed("🔎", "Why this alert").lines(lines.iter().take(EXPLANATION_LINES_MAX).map(line))
}
