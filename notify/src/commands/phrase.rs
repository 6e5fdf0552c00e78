//! What people type: amounts, spans, kinds, hours. `None` for what is not understood.

use std::{sync::LazyLock, time::Duration};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use rust_decimal::Decimal;
use schemas::{
    alert::{Kind, Priority},
    amount::{Ratio, Usd, parse_decimal},
    name::Base,
};

/// Largest amount taken, in USD: the limit of the rules (`detect::rules`).
const USD_MAX: i64 = 1_000_000_000_000;

/// Largest change taken, in percent: the limit of the rules (`detect::rules`).
const PERCENT_MAX: i64 = 10_000;

/// The hour of `until tomorrow`: people who mute until tomorrow do not want to be woken at midnight.
pub(super) const MORNING_HOUR: i8 = 8;

/// The time zones of the world as this program was built, so that no file of the host decides what is valid.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Reads USD: `250000`, `250,000`, `250k`, `1.5m`, `$2M`; above zero.
pub(super) fn usd(text: &str) -> Option<Usd> {
    let text = text.trim_start_matches('$').replace([',', '_'], "").to_ascii_lowercase();
    let (digits, scale) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'm' => (&text[..text.len() - 1], 1_000_000),
        b'b' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text.as_str(), 1),
    };
    let amount = parse_decimal(digits).ok()?.checked_mul(Decimal::from(scale))?;
    let in_range = amount > Decimal::ZERO && amount <= Decimal::from(USD_MAX);
    Usd::round(amount).filter(|usd| in_range && *usd > Usd::default())
}

/// Reads a change: `20%`, `12.5`; above zero.
pub(super) fn percent(text: &str) -> Option<Ratio> {
    let percent = parse_decimal(text.strip_suffix('%').unwrap_or(text)).ok()?.round_dp(Ratio::PLACES);
    (percent > Decimal::ZERO && percent <= Decimal::from(PERCENT_MAX)).then(|| Ratio::new(percent.normalize()))
}

/// Reads a number of liquidations: 1 to 1,000,000, as in the rules.
pub(super) fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| (1..=1_000_000).contains(count))
}

/// Reads a span: `30m`, `8h`, `2d`, `1w`; above zero and under a hundred years.
pub(super) fn span(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    let unit = text.find(|character: char| !character.is_ascii_digit())?;
    let seconds = match &text[unit..] {
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u32 = text[..unit].parse().ok().filter(|number| (1..=36_500).contains(number))?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}

/// Reads what alerts are about.
pub(super) fn kind(text: &str) -> Option<Kind> {
    match text.to_ascii_lowercase().as_str() {
        "cascade" | "cascades" => Some(Kind::Cascade),
        "liquidation" | "liquidations" | "large_liquidation" | "single" | "large" => Some(Kind::LargeLiquidation),
        "oi" | "open-interest" | "oi_explosion" | "explosion" | "explosions" => Some(Kind::OiExplosion),
        _ => None,
    }
}

pub(super) fn priority(text: &str) -> Option<Priority> {
    match text.to_ascii_lowercase().as_str() {
        "low" | "all" => Some(Priority::Low),
        "medium" => Some(Priority::Medium),
        "high" => Some(Priority::High),
        _ => None,
    }
}

pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" => Some(true),
        "off" | "no" => Some(false),
        _ => None,
    }
}

/// Reads a base asset. Venues write them in upper case.
pub(super) fn base(text: &str) -> Option<Base> {
    let name = text.trim_start_matches(['$', '#']);
    name.chars().all(char::is_alphanumeric).then(|| name.to_uppercase().parse().ok()).flatten()
}

/// Reads the minute of a day: `23:00`, `7`, `07:30`; `24:00` is midnight.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':').unwrap_or((text, "00"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours, 2) || !digits(minutes, 2) || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let valid = hours < 24 && minutes < 60 || (hours, minutes) == (24, 0);
    valid.then_some((hours * 60 + minutes) % 1440)
}

/// Reads two times of the day, such as `23:00-07:00` or `23 – 7`: minutes of the day that differ.
pub(super) fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once(['-', '–', '—'])?;
    let (from, to) = (minute(from.trim())?, minute(to.trim())?);
    (from != to).then_some((from, to))
}

/// Returns the proper name of a time zone: `europe/berlin` is `Europe/Berlin`.
pub(super) fn zone_name(text: &str) -> Option<String> {
    Some(ZONES.get(text).ok()?.iana_name()?.to_owned())
}

/// Returns zones whose city is meant by `text`, sorted, at most three.
pub(super) fn zones_like(text: &str) -> Vec<String> {
    let wanted = text.replace(' ', "_");
    let is_meant = |name: &str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted));
    let mut names: Vec<String> = ZONES.available().map(|name| name.to_string()).filter(|name| is_meant(name)).collect();
    names.sort();
    names.truncate(3);
    names
}

/// Returns a time zone by its name; UTC when there is none of this name.
pub(super) fn zone(name: Option<&str>) -> TimeZone {
    name.and_then(|name| ZONES.get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// Returns eight in the morning of the day after `at_ms` in a zone, in milliseconds since 1970 UTC.
pub(super) fn tomorrow(at_ms: i64, zone: TimeZone) -> Option<i64> {
    let today = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.clone()).date();
    let morning = today.tomorrow().ok()?.at(MORNING_HOUR, 0, 0, 0).to_zoned(zone).ok()?;
    Some(morning.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_type_them() {
        for (text, cents) in [
            ("250000", 25_000_000),
            ("250,000", 25_000_000),
            ("250k", 25_000_000),
            ("1.5m", 150_000_000),
            ("$2M", 200_000_000),
            ("$1B", 100_000_000_000),
            ("0.01", 1),
        ] {
            assert_eq!(usd(text), Some(Usd::from_cents(cents)), "{text}");
        }
        for text in ["", "$", "k", "0", "-5", "1e6", "0.001", "2t", "abc", "99999999999999b", "1.2.3", "é"] {
            assert_eq!(usd(text), None, "{text}");
        }
    }

    #[test]
    fn changes_and_counts() {
        assert_eq!(percent("20%"), percent("20.0"));
        assert_eq!(percent("12.5").map(|ratio| ratio.value().to_string()), Some("12.5".to_owned()));
        for text in ["", "%", "0", "-3%", "20001", "a"] {
            assert_eq!(percent(text), None, "{text}");
        }
        assert_eq!((count("10"), count("0"), count("x"), count("1000001")), (Some(10), None, None, None));
    }

    #[test]
    fn spans_have_a_unit() {
        for (text, minutes) in [("30m", 30), ("1h", 60), ("8H", 480), ("2d", 2880), ("1w", 10_080)] {
            assert_eq!(span(text), Some(Duration::from_secs(minutes * 60)), "{text}");
        }
        for text in ["", "h", "1", "0h", "-1h", "1.5h", "1y", "99999999999h", "１h"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn hours_of_the_day_differ_and_may_span_midnight() {
        for (text, from, to) in
            [("23:00-07:00", 1380, 420), ("23-7", 1380, 420), ("9:30–24:00", 570, 0), ("00:00 - 06:15", 0, 375)]
        {
            assert_eq!(hours(text), Some((from, to)), "{text}");
        }
        for text in ["", "23:00", "23:00-", "25-7", "7-7", "0-24", "23:60-7", "23:0-7", "a-b", "-1-7", "+1-7"] {
            assert_eq!(hours(text), None, "{text}");
        }
    }

    #[test]
    fn zones_come_from_the_bundled_database() {
        assert_eq!(zone_name("europe/berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(zone_name("UTC").as_deref(), Some("UTC"));
        assert_eq!(zone_name("Mars/Base"), None);
        assert_eq!(zones_like("new york"), ["America/New_York"]);
        // 2026-03-28 23:00 UTC is the 29th in Berlin, where the clocks go forward that night.
        let berlin = zone(Some("Europe/Berlin"));
        assert_eq!(tomorrow(1_774_738_800_000, berlin), Some(1_774_850_400_000));
        assert_eq!(tomorrow(1_774_738_800_000, zone(None)), Some(1_774_771_200_000));
        assert_eq!(tomorrow(i64::MAX, zone(None)), None);
    }

    #[test]
    fn base_assets_are_upper_case() {
        assert_eq!(base("btc").map(|base| base.to_string()), Some("BTC".to_owned()));
        assert_eq!(base("$eth").map(|base| base.to_string()), Some("ETH".to_owned()));
        assert_eq!(base("币安人生").map(|base| base.to_string()), Some("币安人生".to_owned()));
        for text in ["", "$", "<b>", "BTC-USDT", "a.b"] {
            assert_eq!(base(text), None, "{text}");
        }
    }
}
