//! Figures as people read them: rounded, with units, singular and plural right.

use rust_decimal::Decimal;
use schemas::amount::{Price, Quantity, Ratio, Usd};

/// U+2212, the sign the contract shows before a fall.
const MINUS: char = '−';

/// Returns an amount such as `$850`, `$12.3K`, `$1.2M`, `−$2.1B`; rounded half-even.
pub fn usd(amount: Usd) -> String {
    let minus = if amount < Usd::default() { "−" } else { "" };
    let whole = amount.to_decimal().abs();
    let thousand = Decimal::ONE_THOUSAND;
    let mut rounded = whole.round_dp(0);
    let mut scale = Decimal::ONE;
    let mut unit = "";
    for larger in ["K", "M", "B"] {
        if rounded < thousand {
            break;
        }
        scale *= thousand;
        unit = larger;
        rounded = (whole / scale).round_dp(1);
    }
    format!("{minus}${}{unit}", commas(rounded))
}

/// Returns a change in percent with its sign: `+18%`, `−18%`; one decimal below ten.
pub fn percent(ratio: Ratio) -> String {
    signed_percent(ratio.value())
}

/// Returns the change from `first` to `last` in percent.
pub(super) fn change(first: Decimal, last: Decimal) -> String {
    let change = last.checked_div(first).and_then(|ratio| (ratio - Decimal::ONE).checked_mul(Decimal::ONE_HUNDRED));
    signed_percent(change.unwrap_or_default())
}

fn signed_percent(value: Decimal) -> String {
    let places = u32::from(value.abs() < Decimal::TEN);
    format!("{}%", signed(value.round_dp(places)))
}

/// Returns a score with one decimal: `4.2`, `−4.2`.
pub(super) fn score(ratio: Ratio) -> String {
    let rounded = ratio.value().round_dp(1);
    if rounded.is_sign_negative() { signed(rounded) } else { commas(rounded) }
}

/// Returns milliseconds in seconds with their sign and one decimal: `+0.4`, `+2.0`.
pub(super) fn seconds(millis: i64) -> String {
    let mut rounded = Decimal::new(millis, 3).round_dp(1);
    rounded.rescale(1);
    format!("{}{}", sign(rounded), rounded.abs())
}

fn signed(value: Decimal) -> String {
    format!("{}{}", sign(value), commas(value.abs()))
}

fn sign(value: Decimal) -> char {
    if value.is_sign_negative() && !value.is_zero() { MINUS } else { '+' }
}

/// Returns a count with its noun: `1 long`, `1,234 longs`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Returns a whole number with commas: `1,234`.
pub(crate) fn grouped(number: u64) -> String {
    commas(Decimal::from(number))
}

/// Returns a price as published: `$97,123.4`.
pub(crate) fn price(price: Price) -> String {
    format!("${}", commas(price.value()))
}

/// Returns a number of coins: four decimals, or four significant digits below one.
pub(super) fn quantity(quantity: Quantity) -> String {
    let value = quantity.value();
    let rounded = if value >= Decimal::ONE { Some(value.round_dp(4)) } else { value.round_sf(4) };
    commas(rounded.unwrap_or(value))
}

/// Returns a length of time: `30 seconds`, `15 minutes`, but `2 min 5 s`, so that its line fits a phone; at least a second,
/// rounded to whole ones.
pub(super) fn span(millis: u64) -> String {
    let seconds = (millis.saturating_add(500) / 1000).max(1);
    let parts = [
        (seconds / 3600, ["hour", "hours", "h"]),
        (seconds / 60 % 60, ["minute", "minutes", "min"]),
        (seconds % 60, ["second", "seconds", "s"]),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(number, _)| *number > 0).collect();
    match parts[..] {
        [(number, [one, many, _])] => count(number, one, many),
        _ => parts
            .iter()
            .map(|(number, [.., unit])| format!("{} {unit}", grouped(*number)))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// Writes a number without trailing zeros and with commas between thousands.
pub(crate) fn commas(value: Decimal) -> String {
    let text = value.normalize().to_string();
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let first = digits.len() % 3;
    let mut groups: Vec<&str> = Vec::with_capacity(digits.len() / 3 + 1);
    if first > 0 {
        groups.push(&digits[..first]);
    }
    groups.extend(digits.as_bytes()[first..].chunks(3).filter_map(|chunk| std::str::from_utf8(chunk).ok()));
    format!("{sign}{}{rest}", groups.join(","))
}

/// Returns a name a venue gave, with every character escaped that could disturb what stands around it.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_alphanumeric() || character.is_ascii_graphic() {
            text.push(character);
        } else {
            // Such as U+202E, which turns the rest of the line around.
            text.extend(character.escape_unicode());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_to_one_decimal_of_their_unit() {
        for (text, shown) in [
            ("0", "$0"),
            ("849.50", "$850"),
            ("999.49", "$999"),
            ("999.50", "$1K"),
            ("12345", "$12.3K"),
            ("100000", "$100K"),
            ("999949.99", "$999.9K"),
            ("999950", "$1M"),
            ("1234567.89", "$1.2M"),
            ("400000000", "$400M"),
            ("2100000000", "$2.1B"),
            ("1234500000000", "$1,234.5B"),
            ("-400000000", "−$400M"),
        ] {
            assert_eq!(usd(text.parse().unwrap()), shown, "{text}");
        }
    }

    #[test]
    fn percentages_are_whole_from_ten_on() {
        for (value, shown) in [
            ("18.4213", "+18%"),
            ("-18.4213", "−18%"),
            ("9.96", "+10%"),
            ("1.25", "+1.2%"),
            ("-0.04", "+0%"),
            ("0", "+0%"),
        ] {
            assert_eq!(percent(Ratio::new(value.parse().unwrap())), shown, "{value}");
        }
        assert_eq!(change(Decimal::from(100), Decimal::from(98)), "−2%");
        assert_eq!(score(Ratio::new(Decimal::new(-42, 1))), "−4.2");
        assert_eq!(score(Ratio::new(Decimal::new(42, 1))), "4.2");
        assert_eq!((seconds(449), seconds(-50), seconds(-1_000)), ("+0.4".into(), "+0.0".into(), "−1.0".into()));
    }

    #[test]
    fn spans_are_in_the_largest_units_that_fit() {
        for (millis, shown) in [
            (30_000, "30 seconds"),
            (1_000, "1 second"),
            (0, "1 second"),
            (21_500, "22 seconds"),
            (60_000, "1 minute"),
            (900_000, "15 minutes"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 hour"),
        ] {
            assert_eq!(span(millis), shown);
        }
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(price("97123.4".parse().unwrap()), "$97,123.4");
        assert_eq!(price("0.00001234".parse().unwrap()), "$0.00001234");
        assert_eq!(price("100".parse().unwrap()), "$100");
        assert_eq!(quantity("2216113.01000000309".parse().unwrap()), "2,216,113.01");
        assert_eq!(quantity("0.0015004".parse().unwrap()), "0.0015");
        assert_eq!(count(1_234, "long", "longs"), "1,234 longs");
        assert_eq!(count(1, "long", "longs"), "1 long");
        assert_eq!(count(0, "long", "longs"), "0 longs");
    }

    #[test]
    fn names_cannot_disturb_a_line() {
        assert_eq!(shown("币安人生USDT"), "币安人生USDT");
        assert_eq!(shown("A\u{202e}B"), "A\\u{202e}B");
    }
}
