//! Messages: a typed model of each finding, rendered as HTML for Telegram and as plain text.
//!
//! Lines hold no tags; the one small line at the end is in italics. What could grow is cut here, in the model: names are
//! limited where they are read, lists in the small line at [`LISTED_MAX`], so every message fits (a property test).

pub(crate) mod digest;
pub(crate) mod feeds;
pub mod figures;

use std::{cmp::Reverse, fmt::Display};

use rust_decimal::Decimal;
use schemas::{
    alert::{Alert, Cascade, Direction, Finding, LargeLiquidation, OiExplosion, Phase},
    amount::Usd,
    market::{PriceKind, Side},
    name::Venue,
};

use crate::{
    caps::{FALLBACK_UNITS_MAX, LISTED_MAX},
    recipient::Recipient,
};
use figures::{change, count, grouped, percent, price, quantity, seconds, shown, span, usd};

/// How long after the venue's time an alert's event was received and its message made, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// From the venue's time to our receipt; negative when its clock is ahead of ours.
    pub seen_ms: i64,
    /// From the venue's time to the message.
    pub sent_ms: i64,
}

/// A message before it is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    lines: Vec<String>,
    small: Vec<String>,
}

impl Message {
    /// Returns the message about an alert; the latency is left out where it says nothing (a recorded market).
    pub fn of(alert: &Alert, latency: Option<Latency>) -> Self {
        let base = shown(alert.base.as_str());
        let (lines, venues, notes) = match &alert.finding {
            Finding::LargeLiquidation(large) => (large_liquidation(&base, large), None, Vec::new()),
            Finding::Cascade(found) => {
                let mut venues: Vec<_> = found.venues.iter().collect();
                venues.sort_by_key(|(_, total)| Reverse(total.notional_usd));
                let venues = venues.iter().map(|(venue, total)| format!("{venue} {}", grouped(total.count)));
                (cascade(&base, alert.window_ms, found), listed(venues), one_order(found))
            }
            Finding::OiExplosion(found) => {
                let venues = found.venues.iter().map(|(venue, part)| format!("{venue} {}", percent(part.change_pct)));
                (explosion(&base, alert.window_ms, found), listed(venues), unusual(found))
            }
        };
        let small = venues
            .into_iter()
            .chain(blind(alert))
            .chain(alert.saturated.then(|| "window full, figures are minimums".to_owned()))
            .chain(notes)
            .chain(latency.map(|Latency { seen_ms, sent_ms }| {
                format!("seen {} s, sent {} s", seconds(seen_ms), seconds(sent_ms))
            }))
            .collect();
        Self { lines, small }
    }

    /// Returns the message as Telegram's HTML.
    pub fn html(&self) -> String {
        self.render(escaped, |small| format!("<i>{}</i>", escaped(small)))
    }

    /// Returns the message as plain text.
    pub fn plain(&self) -> String {
        self.render(str::to_owned, str::to_owned)
    }

    fn render(&self, line: fn(&str) -> String, small: fn(&str) -> String) -> String {
        let lines = self.lines.iter().map(|text| line(text));
        let last = (!self.small.is_empty()).then(|| small(&self.small.join(" · ")));
        lines.chain(last).collect::<Vec<_>>().join("\n")
    }
}

/// A rendered message, as a channel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Telegram's HTML, with no tags but `<i>`, `<b>` and `<code>`.
    Html(String),
    /// As it is.
    Plain(String),
}

impl Text {
    /// Returns the text an intent holds for this recipient.
    pub(crate) const fn stored(recipient: &Recipient, text: String) -> Self {
        match recipient {
            Recipient::Terminal | Recipient::Null => Self::Plain(text),
            Recipient::Telegram(_) => Self::Html(text),
        }
    }

    /// Returns the rendered text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Html(text) | Self::Plain(text) => text,
        }
    }

    /// Returns the text with the mark of one whose first copy may have arrived (design 5).
    #[must_use]
    pub(crate) fn marked(self) -> Self {
        match self {
            Self::Html(text) => Self::Html(text + "\n<i>(may repeat)</i>"),
            Self::Plain(text) => Self::Plain(text + "\n(may repeat)"),
        }
    }

    /// Returns the short plain text that is sent when Telegram could not take this one (telegram.md 4).
    #[must_use]
    pub(crate) fn fallback(self) -> Self {
        let plain = match self {
            Self::Html(text) => unescaped(&text),
            Self::Plain(text) => text,
        };
        let mut units = 0;
        let fits = |line: &&str| {
            units += line.encode_utf16().count() + 1;
            units <= FALLBACK_UNITS_MAX
        };
        Self::Plain(plain.lines().take_while(fits).collect::<Vec<_>>().join("\n"))
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Undoes [`escaped`] and drops our tags.
fn unescaped(html: &str) -> String {
    let tags = ["<i>", "</i>", "<b>", "</b>", "<code>", "</code>"];
    let text = tags.iter().fold(html.to_owned(), |text, tag| text.replace(tag, ""));
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn large_liquidation(base: &str, large: &LargeLiquidation) -> Vec<String> {
    let (sign, side) = match large.liquidated {
        Side::Long => ("📉", "Long"),
        Side::Short => ("📈", "Short"),
    };
    let kind = match large.price_kind {
        PriceKind::Average => "average",
        PriceKind::Bankruptcy => "bankruptcy",
    };
    vec![
        format!("🚨 {base} LARGE LIQUIDATION"),
        format!("{sign} {side} liquidated: {}", usd(large.notional_usd)),
        format!("💰 {} {base} at {} ({kind})", quantity(large.quantity), price(large.price)),
        format!("🏦 {} on {}", shown(large.instrument.as_str()), large.venue),
    ]
}

fn cascade(base: &str, window_ms: u64, cascade: &Cascade) -> Vec<String> {
    let (headline, over_ms, last) = match cascade.phase {
        Phase::Started => {
            let warning = "⚠️ Potential price impact expected".to_owned();
            (format!("🚨 {base} LIQUIDATION CASCADE"), window_ms, warning)
        }
        Phase::Escalated => {
            let tier = format!("⚠️ {}× the alert threshold", grouped(cascade.tier));
            (format!("🚨 {base} CASCADE GROWS"), cascade.duration_ms, tier)
        }
        Phase::Updated => (format!("🔄 {base} CASCADE GOES ON"), cascade.duration_ms, prices(cascade)),
        Phase::Ended => (format!("✅ {base} CASCADE ENDED"), cascade.duration_ms, prices(cascade)),
    };
    vec![
        headline,
        format!("⚡ {} in {}", count(cascade.count, "liquidation", "liquidations"), span(over_ms)),
        format!("💰 Total: {} liquidated", usd(cascade.notional_usd)),
        sides(cascade),
        last,
    ]
}

/// The heavier side comes first, and the sign shows where it drives the price: longs down, shorts up.
fn sides(cascade: &Cascade) -> String {
    let longs = count(cascade.longs, "long", "longs");
    let shorts = count(cascade.shorts, "short", "shorts");
    match cascade.dominant.side {
        Side::Long => format!("📉 {longs}, {shorts}"),
        Side::Short => format!("📈 {shorts}, {longs}"),
    }
}

fn prices(cascade: &Cascade) -> String {
    let (first, last) = (cascade.first_price, cascade.last_price);
    let moved = change(first.value(), last.value());
    format!("📊 {} → {} ({moved}) on {}", price(first), price(last), cascade.price_venue)
}

fn explosion(base: &str, window_ms: u64, explosion: &OiExplosion) -> Vec<String> {
    let headline = match explosion.phase {
        Phase::Started => format!("🚨 {base} OI EXPLOSION"),
        Phase::Escalated | Phase::Updated | Phase::Ended => format!("🚨 {base} OI EXPLOSION GROWS"),
    };
    let (sign, what) = match explosion.direction {
        Direction::Up => ("📈", "increase"),
        Direction::Down => ("📉", "decrease"),
    };
    let (before, after) = (usd(explosion.before_usd), usd(explosion.after_usd));
    let plus = if explosion.change_usd < Usd::default() { "" } else { "+" };
    let reporting = count(u64::from(explosion.reporting), "exchange", "exchanges");
    vec![
        headline,
        format!("{sign} {} {what} in {}", percent(explosion.change_pct), span(window_ms)),
        format!("💰 {before} → {after} ({plus}{})", usd(explosion.change_usd)),
        format!("🏦 {}/{reporting} confirming", explosion.confirming),
        "⚡ Institutional positioning detected".to_owned(),
    ]
}

/// The venues that were not covered; nothing when all were, or when none is known.
fn blind(alert: &Alert) -> Option<String> {
    let blind = alert.coverage.iter().filter(|(_, covered)| !**covered).map(|(venue, _): (&Venue, _)| venue);
    Some(format!("no data: {}", listed(blind)?))
}

/// From half on, one order's share says that this is one account rather than a crowd (design 5).
fn one_order(cascade: &Cascade) -> Vec<String> {
    let share = cascade.largest_usd.share_of(cascade.notional_usd).value();
    if share < Decimal::new(5, 1) {
        return Vec::new();
    }
    vec![format!("one order: {} %", (share * Decimal::ONE_HUNDRED).round_dp(0).normalize())]
}

fn unusual(explosion: &OiExplosion) -> Vec<String> {
    let z_score = explosion.baseline.as_ref().map(|baseline| format!("z-score {}", figures::score(baseline.z_score)));
    let hour = explosion.trend_1h_pct.map(|trend| format!("1 h {}", percent(trend)));
    let day = explosion.trend_24h_pct.map(|trend| format!("24 h {}", percent(trend)));
    [z_score, hour, day].into_iter().flatten().collect()
}

/// Joins names, at most [`LISTED_MAX`] of them; nothing when there are none.
fn listed(names: impl Iterator<Item = impl Display>) -> Option<String> {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    let mut text = names.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" +{more} more");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
