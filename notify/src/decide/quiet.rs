//! Quiet hours, on the clock of the chat's own time zone.

use jiff::{Timestamp, tz::TimeZone};
use schemas::subscriber::QuietHours;

use crate::time::WallTime;

/// Returns whether a moment lies in the quiet hours. An unknown zone counts as UTC, and a day without length as none.
pub(crate) fn is_quiet(quiet: &QuietHours, now: WallTime) -> bool {
    let Ok(now) = Timestamp::from_millisecond(now.as_millis()) else { return false };
    let local = now.to_zoned(zone(&quiet.zone).unwrap_or(TimeZone::UTC));
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or_default();
    if quiet.from <= quiet.to {
        (quiet.from..quiet.to).contains(&minute)
    } else {
        minute >= quiet.from || minute < quiet.to
    }
}

/// Returns a time zone by its IANA name; the database is part of the program.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        WallTime::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn hours(from: u16, to: u16, zone: &str) -> QuietHours {
        QuietHours { from, to, zone: zone.to_owned() }
    }

    #[test]
    fn quiet_hours_may_span_midnight_and_follow_summer_time() {
        let night = hours(23 * 60, 7 * 60, "Europe/Berlin");
        for (moment, expected) in [
            ("2026-01-15T21:59:59Z", false),
            ("2026-01-15T22:00:00Z", true),
            ("2026-01-16T05:59:59Z", true),
            ("2026-01-16T06:00:00Z", false),
            ("2026-07-15T21:00:00Z", true),
            ("2026-07-16T04:59:59Z", true),
            ("2026-07-16T05:00:00Z", false),
        ] {
            assert_eq!(is_quiet(&night, at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn a_day_without_length_is_never_quiet_and_an_unknown_zone_is_utc() {
        assert!(!is_quiet(&hours(600, 600, "UTC"), at("2026-01-15T10:00:00Z")));
        let noon = hours(720, 780, "Mars/Olympus");
        assert!(is_quiet(&noon, at("2026-01-15T12:30:00Z")));
        assert!(!is_quiet(&noon, at("2026-01-15T13:00:00Z")));
    }
}
