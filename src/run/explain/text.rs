//! An explanation as people read it: a page on a terminal, a few lines on a phone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use notify::text::figures::{percent, usd};
use schemas::{
    alert::{Alert, Finding},
    market::{MarketEvent, Side},
};

use super::{Explanation, Proof, Step};
use crate::run::rules::origin_text;

/// Events and recipients listed on a terminal; the rest is counted.
const EVENTS_SHOWN: usize = 20;
/// See [`EVENTS_SHOWN`].
const RECIPIENTS_SHOWN: usize = 30;

/// Width of the words in front of each part of a page.
const LABEL: usize = 10;

/// Returns a page for a terminal.
pub(super) fn page(explained: &Explanation) -> String {
    let Explanation { alert, evidence, .. } = explained;
    let mut lines: Vec<String> = explained.text.lines().map(shown).collect();
    lines.push(String::new());
    lines.extend(part("alert", [format!("{} ({}, {} priority)", alert.id, state(alert), priority(alert))]));
    lines.extend(part("time", times(explained)));
    lines.extend(part("rule", rule(explained)));
    lines.extend(part("coverage", [coverage(alert)]));
    lines.extend(part("evidence", events(evidence)));
    lines.extend(part("decision", decision(explained)));
    lines.extend(part("told", recipients(&explained.recipients)));
    lines.join("\n")
}

/// Returns the few lines a chat gets.
pub(crate) fn lines(explained: &Explanation) -> Vec<String> {
    let alert = &explained.alert;
    let first = explained.text.lines().next().unwrap_or_default().to_owned();
    let condition = explained.rule.as_ref().map_or_else(
        || "The rule of that time is not known any more".to_owned(),
        |rule| format!("Rule (version {}): {}", rule.version, rule.section.lines().collect::<Vec<_>>().join(", ")),
    );
    let found = match &alert.finding {
        Finding::LargeLiquidation(large) => format!("Found: {} on {}", usd(large.notional_usd), large.venue),
        Finding::Cascade(cascade) => {
            let venues = cascade.venues.iter();
            let venues: Vec<_> =
                venues.map(|(venue, part)| format!("{venue} {} ({})", usd(part.notional_usd), part.count)).collect();
            format!(
                "Found: {} liquidations, {}; the largest {}\nVenues: {}",
                cascade.count,
                usd(cascade.notional_usd),
                usd(cascade.largest_usd),
                venues.join(", ")
            )
        }
        Finding::OiExplosion(explosion) => {
            let venues = explosion.venues.iter();
            let venues: Vec<_> = venues.map(|(venue, part)| format!("{venue} {}", percent(part.change_pct))).collect();
            format!(
                "Found: {} on {} of {} venues\nVenues: {}",
                percent(explosion.change_pct),
                explosion.confirming,
                explosion.reporting,
                venues.join(", ")
            )
        }
    };
    let found = found.lines().map(str::to_owned);
    let events = explained.evidence.range.as_ref().map(|range| format!("Evidence: {range}"));
    std::iter::once(first)
        .chain(found)
        .chain([condition, format!("Coverage: {}", coverage(alert))])
        .chain(events)
        .chain(times(explained))
        .chain(decision(explained).into_iter().take(1).map(|counts| format!("Decided: {counts}")))
        .collect()
}

/// Puts a word in front of the first line and room in front of the others.
fn part(label: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(lines).map(|(label, line)| format!("{label:<LABEL$}{}", shown(&line))).collect()
}

/// What is not printable is escaped: names come from venues.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '�' } else { c }).collect()
}

fn state(alert: &Alert) -> String {
    match &alert.finding {
        Finding::LargeLiquidation(_) => alert.kind().as_str().to_owned(),
        Finding::Cascade(cascade) => format!("cascade, {}, tier {}", cascade.phase.as_str(), cascade.tier),
        Finding::OiExplosion(explosion) => format!("oi_explosion, {}", explosion.phase.as_str()),
    }
}

fn priority(alert: &Alert) -> String {
    format!("{:?}", alert.priority).to_lowercase()
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

fn clock(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%H:%M:%S%.3f").to_string()
}

/// When it happened, and how long each step took from the venue's time; of a recording only the former.
fn times(explained: &Explanation) -> Vec<String> {
    let at = explained.alert.event_time.as_millis();
    let after = |millis: i64| format!("{:+.1} s", (millis - at) as f64 / 1000.0);
    let mut lines = vec![time(at)];
    if explained.is_live {
        let mut sent: Vec<i64> = explained.accepted().collect();
        sent.sort_unstable();
        let steps = [
            ("received", Some(explained.alert.received_at.as_millis())),
            ("detected", explained.detected_at),
            ("decided", explained.decided_at),
            ("accepted", sent.get(sent.len().saturating_sub(1) / 2).copied()),
        ];
        let steps = steps.into_iter().filter_map(|(name, millis)| Some(format!("{name} {}", after(millis?))));
        let last = sent.last().filter(|_| sent.len() > 1).map(|millis| format!("the last {}", after(*millis)));
        lines.push(steps.chain(last).collect::<Vec<_>>().join(", "));
    }
    lines
}

fn rule(explained: &Explanation) -> Vec<String> {
    match &explained.rule {
        None => vec!["none in RULES has its digest".to_owned()],
        Some(rule) => {
            let head = format!("version {}, from {}", rule.version, origin_text(rule.origin));
            std::iter::once(head).chain(rule.section.lines().map(str::to_owned)).collect()
        }
    }
}

fn coverage(alert: &Alert) -> String {
    let blind: Vec<_> =
        alert.coverage.iter().filter(|(_, covered)| !**covered).map(|(venue, _)| venue.as_str()).collect();
    let venues: Vec<_> = alert.coverage.keys().map(|venue| venue.as_str()).collect();
    match (venues.is_empty(), blind.is_empty()) {
        (true, _) => "unknown".to_owned(),
        (false, true) => format!("all of {}", venues.join(", ")),
        (false, false) => {
            format!("{} of {} venues; no full data of {}", venues.len() - blind.len(), venues.len(), blind.join(", "))
        }
    }
}

fn events(proof: &Proof) -> Vec<String> {
    let count = proof.events.len() + proof.more;
    let head = match (&proof.range, count) {
        (None, _) => None,
        (Some(range), 1) => Some(format!("{range}, 1 event")),
        (Some(range), count) => Some(format!("{range}, {count} events")),
    };
    let hidden = count.saturating_sub(EVENTS_SHOWN);
    let more = (hidden > 0).then(|| format!("+{hidden} more (--json has them)"));
    head.into_iter()
        .chain(proof.missing.clone())
        .chain(proof.events.iter().take(EVENTS_SHOWN).map(event))
        .chain(more)
        .collect()
}

fn event(event: &MarketEvent) -> String {
    match event {
        MarketEvent::Liquidation(one) => {
            let side = match one.liquidated {
                Side::Long => "long",
                Side::Short => "short",
            };
            let (at, worth) = (clock(one.event_time.as_millis()), usd(one.notional_usd));
            format!("{at} {} {} {side} {} at {} = {worth}", one.venue, one.instrument, one.quantity, one.price)
        }
        MarketEvent::OpenInterest(sample) => {
            let (at, worth) = (clock(sample.event_time.as_millis()), usd(sample.notional_usd));
            format!("{at} {} {} {} coins = {worth}", sample.venue, sample.instrument, sample.coins)
        }
        MarketEvent::Feed(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => String::new(),
    }
}

fn decision(explained: &Explanation) -> Vec<String> {
    match &explained.decision {
        None => vec!["none yet, or DELIVERIES does not hold it any more".to_owned()],
        Some(decision) => {
            let counts = decision.recipients.iter().map(|(reason, count)| format!("{reason} {count}"));
            let counts: Vec<_> = counts.collect();
            vec![if counts.is_empty() { "nobody is subscribed".to_owned() } else { counts.join(", ") }]
        }
    }
}

fn recipients(recipients: &BTreeMap<String, Vec<Step>>) -> Vec<String> {
    let width = recipients.keys().map(String::len).max().unwrap_or(0);
    let step = |step: &Step| match step.at {
        Some(at) => format!("{} {}", step.what, clock(at)),
        None => step.what.clone(),
    };
    let line = |(name, steps): (&String, &Vec<Step>)| {
        let steps: Vec<_> = steps.iter().map(step).collect();
        format!("{name:<width$}  {}", steps.join(", "))
    };
    let hidden = recipients.len().saturating_sub(RECIPIENTS_SHOWN);
    let more = (hidden > 0).then(|| format!("+{hidden} more (--json has them)"));
    recipients.iter().take(RECIPIENTS_SHOWN).map(line).chain(more).collect()
}
