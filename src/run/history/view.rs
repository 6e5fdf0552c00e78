//! The history as tables, CSV and JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    cli,
    history::{Group, GroupBy, HistoryError, Model, Percentiles, Range, Row, Summary},
    run::table::{csv, table},
};

/// Alerts listed on a terminal; CSV and JSON have all.
const LISTED: usize = 40;

/// Returns what is to be printed.
pub(super) fn shown(
    model: &Model,
    range: &Range,
    options: &cli::History,
    is_json: bool,
) -> Result<String, HistoryError> {
    if let Some(by) = options.by {
        let groups = model.groups(by, range)?;
        return Ok(match (is_json, options.csv) {
            (true, _) => json!(groups).to_string(),
            (false, true) => csv(&groups_exact(by, &groups)),
            (false, false) => table(&groups_shown(by, &groups)),
        });
    }
    if options.stats {
        return stats(model, range, is_json);
    }
    if is_json || options.csv {
        let rows = model.rows(range, usize::MAX >> 1)?;
        return Ok(if is_json { json!(rows).to_string() } else { csv(&rows_exact(&rows)) });
    }
    let rows = model.rows(range, LISTED)?;
    let total = model.summary(range)?.alerts;
    let earlier = total.saturating_sub(rows.len() as u64);
    Ok(match (rows.is_empty(), earlier) {
        (true, _) => "nothing was found in this time".to_owned(),
        (false, 0) => table(&rows_shown(&rows)),
        (false, _) => {
            format!("{earlier} earlier ones are left out (--csv and --json have them)\n{}", table(&rows_shown(&rows)))
        }
    })
}

fn stats(model: &Model, range: &Range, is_json: bool) -> Result<String, HistoryError> {
    let total = model.summary(range)?;
    let groups: Vec<_> = [GroupBy::Base, GroupBy::Kind, GroupBy::Day]
        .into_iter()
        .map(|by| model.groups(by, range).map(|groups| (by, groups)))
        .collect::<Result<_, _>>()?;
    if is_json {
        let groups: BTreeMap<_, _> =
            groups.into_iter().map(|(by, groups)| (format!("by_{}", by.as_str()), groups)).collect();
        let mut stats = json!(groups);
        stats["total"] = json!(total);
        return Ok(stats.to_string());
    }
    let tables = groups.iter().map(|(by, groups)| table(&groups_shown(*by, groups)));
    Ok(std::iter::once(totals(&total)).chain(tables).collect::<Vec<_>>().join("\n\n"))
}

fn totals(total: &Summary) -> String {
    let counts = |counts: &BTreeMap<String, u64>| {
        let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    };
    let delivered = format!("{} of {} due{}", total.sent, total.due, share(total.sent, total.due));
    let useful = format!("{} of {} ratings{}", total.useful, total.rated, share(total.useful, total.rated));
    let waiting = total.on_the_way();
    let lines = [
        ("alerts", format!("{}, of which {} began something", total.alerts, total.began)),
        ("decided", counts(&total.decided)),
        ("delivered", delivered),
        (
            "not",
            if waiting > 0 {
                format!("{}, on the way {waiting}", counts(&total.not_sent))
            } else {
                counts(&total.not_sent)
            },
        ),
        ("again", counts(&total.deferred)),
        ("edits", total.edited.to_string()),
        ("detected", times(total.detected_ms)),
        ("accepted", times(total.accepted_ms)),
        ("useful", useful),
    ];
    lines.map(|(name, text)| format!("{name:<11}{text}")).join("\n")
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!(" ({:.1} %)", 100.0 * part as f64 / whole as f64) }
}

fn seconds(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", ms as f64 / 1000.0))
}

fn times(Percentiles { p50, p90, p99 }: Percentiles) -> String {
    if p50.is_none() {
        return "unknown: none in this time, or the market was recorded".to_owned();
    }
    format!("p50 {}, p90 {}, p99 {} after the venue's time", seconds(p50), seconds(p90), seconds(p99))
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Held and edited too: the reason that applied to most recipients first.
fn reasons(decided: &BTreeMap<String, u64>) -> String {
    let mut reasons: Vec<_> = decided.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

fn rows_shown(rows: &[Row]) -> Vec<[String; 7]> {
    let head = ["time (UTC)", "alert", "figures", "priority", "decided", "delivered", "id"].map(str::to_owned);
    let row = |row: &Row| {
        let phase = row.phase.as_ref().map_or_else(String::new, |phase| format!(" {phase}"));
        let (sent, due) = (row.summary.sent, row.summary.due);
        let delivered = match row.summary.accepted_ms.p50 {
            _ if due == 0 => "-".to_owned(),
            None => format!("{sent}/{due}"),
            half => format!("{sent}/{due} in {}", seconds(half)),
        };
        [
            time(row.event_time),
            format!("{} {}{phase}", row.base, row.kind),
            row.headline.clone(),
            row.priority.clone(),
            reasons(&row.summary.decided),
            delivered,
            row.id.clone(),
        ]
    };
    std::iter::once(head).chain(rows.iter().map(row)).collect()
}

fn groups_shown(by: GroupBy, groups: &[Group]) -> Vec<[String; 8]> {
    let head = [by.as_str(), "alerts", "began", "due", "delivered", "p50", "p99", "useful"].map(str::to_owned);
    let row = |Group { name, summary }: &Group| {
        let delivered = format!("{}{}", summary.sent, share(summary.sent, summary.due));
        let useful = if summary.rated == 0 { "-".to_owned() } else { format!("{}/{}", summary.useful, summary.rated) };
        [
            name.clone(),
            summary.alerts.to_string(),
            summary.began.to_string(),
            summary.due.to_string(),
            delivered,
            seconds(summary.accepted_ms.p50),
            seconds(summary.accepted_ms.p99),
            useful,
        ]
    };
    std::iter::once(head).chain(groups.iter().map(row)).collect()
}

/// Figures as they are, for other programs.
fn exact(summary: &Summary) -> [String; 13] {
    let ms = |ms: Option<i64>| ms.map_or_else(String::new, |ms| ms.to_string());
    let held: u64 = summary.decided.iter().filter(|(name, _)| name.starts_with("held:")).map(|(_, count)| count).sum();
    [
        summary.due.to_string(),
        summary.sent.to_string(),
        summary.not_sent.values().sum::<u64>().to_string(),
        held.to_string(),
        summary.edited.to_string(),
        summary.attempts.to_string(),
        ms(summary.detected_ms.p50),
        ms(summary.detected_ms.p99),
        ms(summary.accepted_ms.p50),
        ms(summary.accepted_ms.p90),
        ms(summary.accepted_ms.p99),
        summary.rated.to_string(),
        summary.useful.to_string(),
    ]
}

const EXACT: [&str; 13] = [
    "due",
    "sent",
    "not_sent",
    "held",
    "edited",
    "attempts",
    "detected_p50_ms",
    "detected_p99_ms",
    "accepted_p50_ms",
    "accepted_p90_ms",
    "accepted_p99_ms",
    "rated",
    "useful",
];

fn joined<const N: usize>(
    first: impl IntoIterator<Item = String>,
    rest: impl IntoIterator<Item = String>,
) -> [String; N] {
    let mut cells = first.into_iter().chain(rest);
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

fn rows_exact(rows: &[Row]) -> Vec<[String; 20]> {
    let names = ["time", "base", "kind", "phase", "priority", "figures", "id"].map(str::to_owned);
    let row = |row: &Row| {
        let first = [
            Timestamp::from_millisecond(row.event_time).unwrap_or_default().to_string(),
            row.base.clone(),
            row.kind.clone(),
            row.phase.clone().unwrap_or_default(),
            row.priority.clone(),
            row.headline.clone(),
            row.id.clone(),
        ];
        joined(first, exact(&row.summary))
    };
    std::iter::once(joined(names, EXACT.map(str::to_owned))).chain(rows.iter().map(row)).collect()
}

fn groups_exact(by: GroupBy, groups: &[Group]) -> Vec<[String; 16]> {
    let names = [by.as_str(), "alerts", "began"].map(str::to_owned);
    let row = |Group { name, summary }: &Group| {
        let first = [name.clone(), summary.alerts.to_string(), summary.began.to_string()];
        joined(first, exact(summary))
    };
    std::iter::once(joined(names, EXACT.map(str::to_owned))).chain(groups.iter().map(row)).collect()
}
