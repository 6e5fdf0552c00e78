//! The rules in their file form: what is looked for, per base.
//!
//! A version of the rules is one TOML text. It is read whole or refused with every mistake at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use rust_decimal::Decimal;
use schemas::{
    amount::{Usd, parse_decimal},
    id::Id,
    name::Base,
};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Longest window for liquidations, in milliseconds: 5 minutes. Windows are kept that long whatever a rule says, so
/// that a rule that widens a window finds what it needs (design 4).
pub const LIQUIDATION_WINDOW_MS_MAX: i64 = 5 * 60 * 1000;

/// Longest window for open interest, in milliseconds: 1 hour. The look-back of a fold (25 h) covers it and the day.
pub const OI_WINDOW_MS_MAX: i64 = 60 * 60 * 1000;

/// The section that covers every base without one of its own; off as shipped.
const DEFAULT_SECTION: &str = "default";

/// The rules as shipped (design 4): thresholds per asset class as the existing bot's users know them.
pub const SHIPPED: &str = r#"[liquidation.BTC]
single_usd = 100_000
cascade_count = 5
cascade_usd = 500_000
window = "30s"

[liquidation.ETH]
single_usd = 50_000
cascade_count = 5
cascade_usd = 250_000
window = "30s"

[liquidation.SOL]
single_usd = 25_000
cascade_count = 4
cascade_usd = 100_000
window = "30s"

[oi.BTC]
change_pct = 15.0
window = "15m"
min_usd = 50_000_000
confirm = 2

[oi.ETH]
change_pct = 18.0
window = "15m"
min_usd = 25_000_000
confirm = 2

[oi.SOL]
change_pct = 25.0
window = "15m"
min_usd = 10_000_000
confirm = 2
"#;

/// What counts as large and as a cascade for one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiquidationRule {
    /// A single liquidation of at least this is large.
    pub single_usd: Usd,
    /// A cascade needs at least this many liquidations in the window.
    pub cascade_count: u64,
    /// A cascade needs at least this many USD in the window; tiers are multiples of it.
    pub cascade_usd: Usd,
    /// Length of the window in milliseconds of event time, at most [`LIQUIDATION_WINDOW_MS_MAX`].
    pub window_ms: i64,
    /// Liquidations below this do not count towards `cascade_count` (their USD still count towards the sum).
    pub min_event_usd: Option<Usd>,
    /// The largest liquidation may be at most this share of the sum, above 0 and up to 1.
    pub max_share: Option<Decimal>,
    /// At least this many distinct (venue, instrument, side, second).
    pub min_bursts: Option<u64>,
    /// The heavier side must have at least this share of the USD, 0.5 to 1.
    pub min_side_share: Option<Decimal>,
}

/// What counts as an open-interest explosion for one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OiRule {
    /// Change over the window, in percent, in either direction.
    pub change_pct: Decimal,
    /// Length of the window in milliseconds of event time, at most [`OI_WINDOW_MS_MAX`].
    pub window_ms: i64,
    /// The confirming venues together must hold at least this.
    pub min_usd: Usd,
    /// How many venues must show the change themselves.
    pub confirm: u32,
}

/// One version of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    liquidation: BTreeMap<String, LiquidationRule>,
    oi: BTreeMap<String, OiRule>,
}

/// A text is not a version of the rules: every mistake, each with its place and what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("; "))]
pub struct InvalidRules {
    /// The mistakes, in the order of the text's keys.
    pub problems: Vec<String>,
}

impl Rules {
    /// Reads a version of the rules.
    ///
    /// # Errors
    /// Every mistake at once: unknown keys and sections, missing keys, values out of range.
    pub fn parse(text: &str) -> Result<Self, InvalidRules> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| InvalidRules {
            problems: vec![format!("not TOML: {}", error.message())],
        })?;
        Self::from_table(&table)
    }

    /// Reads a version of the rules from a table that holds nothing else.
    ///
    /// # Errors
    /// As [`Rules::parse`].
    pub fn from_table(table: &Table) -> Result<Self, InvalidRules> {
        let mut problems = Vec::new();
        let mut rules = Self::default();
        for (kind, sections) in table {
            let Value::Table(sections) = sections else {
                problems.push(format!("`{kind}` must hold sections such as [{kind}.BTC]"));
                continue;
            };
            for (name, section) in sections {
                let place = format!("{kind}.{name}");
                if name != DEFAULT_SECTION && name.parse::<Base>().is_err() {
                    problems.push(format!("[{place}]: `{}` is no base asset", name.escape_debug()));
                }
                let Value::Table(section) = section else {
                    problems.push(format!("[{place}] must be a section"));
                    continue;
                };
                let mut keys = Keys { place, section, problems: &mut problems, known: Vec::new() };
                match kind.as_str() {
                    "liquidation" => drop(rules.liquidation.insert(name.clone(), LiquidationRule::read(&mut keys))),
                    "oi" => drop(rules.oi.insert(name.clone(), OiRule::read(&mut keys))),
                    _ => {
                        keys.problems.push(format!("[{kind}.{name}]: sections are [liquidation.BASE] and [oi.BASE]"));
                        continue;
                    }
                }
                keys.refuse_unknown();
            }
        }
        if problems.is_empty() { Ok(rules) } else { Err(InvalidRules { problems }) }
    }

    /// Returns the rules as shipped.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).expect("the shipped rules are valid: a test reads them")
    }

    /// Returns what is looked for in liquidations of `base`, or nothing when no section covers it.
    pub fn liquidation(&self, base: &Base) -> Option<&LiquidationRule> {
        self.liquidation.get(base.as_str()).or_else(|| self.liquidation.get(DEFAULT_SECTION))
    }

    /// Returns what is looked for in open interest of `base`, or nothing when no section covers it.
    pub fn oi(&self, base: &Base) -> Option<&OiRule> {
        self.oi.get(base.as_str()).or_else(|| self.oi.get(DEFAULT_SECTION))
    }

    /// Returns the base assets with a section of their own.
    pub fn bases(&self) -> BTreeSet<Base> {
        let names = self.liquidation.keys().chain(self.oi.keys()).filter(|name| *name != DEFAULT_SECTION);
        names.filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns what is looked for in every base without a section of its own: the sections `default`.
    pub fn others(&self) -> (Option<&LiquidationRule>, Option<&OiRule>) {
        (self.liquidation.get(DEFAULT_SECTION), self.oi.get(DEFAULT_SECTION))
    }

    /// Returns the section of a base's liquidations to change, if it has one of its own.
    pub fn liquidation_mut(&mut self, base: &Base) -> Option<&mut LiquidationRule> {
        self.liquidation.get_mut(base.as_str())
    }

    /// Returns the section of a base's open interest to change, if it has one of its own.
    pub fn oi_mut(&mut self, base: &Base) -> Option<&mut OiRule> {
        self.oi.get_mut(base.as_str())
    }

    /// Returns the file form: sections and keys in a fixed order, so that equal rules have equal texts.
    pub fn to_toml(&self) -> String {
        let liquidation = self.liquidation.iter().map(|(name, rule)| ("liquidation", name, rule.to_toml()));
        let oi = self.oi.iter().map(|(name, rule)| ("oi", name, rule.to_toml()));
        liquidation.chain(oi).fold(String::new(), |mut text, (kind, name, keys)| {
            let separator = if text.is_empty() { "" } else { "\n" };
            let section = if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                name.clone()
            } else {
                Value::from(name.as_str()).to_string()
            };
            write!(text, "{separator}[{kind}.{section}]\n{keys}").expect("writing to a string does not fail");
            text
        })
    }
}

impl LiquidationRule {
    fn read(keys: &mut Keys<'_>) -> Self {
        Self {
            single_usd: keys.usd("single_usd"),
            cascade_count: keys.count("cascade_count", 1, 1_000_000),
            cascade_usd: keys.usd("cascade_usd"),
            window_ms: keys.duration("window", LIQUIDATION_WINDOW_MS_MAX),
            min_event_usd: keys.has("min_event_usd").then(|| keys.usd("min_event_usd")),
            max_share: keys.has("max_share").then(|| keys.number("max_share", Decimal::ZERO, Decimal::ONE)),
            min_bursts: keys.has("min_bursts").then(|| keys.count("min_bursts", 1, 1_000_000)),
            min_side_share: keys
                .has("min_side_share")
                .then(|| keys.number("min_side_share", Decimal::new(4999, 4), Decimal::ONE)),
        }
    }

    /// Returns the keys of this section as TOML.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "single_usd = {}\ncascade_count = {}\ncascade_usd = {}\nwindow = \"{}\"\n",
            self.single_usd.to_decimal().normalize(),
            self.cascade_count,
            self.cascade_usd.to_decimal().normalize(),
            duration_text(self.window_ms),
        );
        let optional = [
            ("min_event_usd", self.min_event_usd.map(|usd| usd.to_decimal().normalize().to_string())),
            ("max_share", self.max_share.map(|share| share.to_string())),
            ("min_bursts", self.min_bursts.map(|bursts| bursts.to_string())),
            ("min_side_share", self.min_side_share.map(|share| share.to_string())),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                writeln!(text, "{key} = {value}").expect("writing to a string does not fail");
            }
        }
        text
    }

    /// Returns the digest of this section, as alerts carry it.
    pub fn digest(&self) -> Id {
        Id::of("section", &["liquidation", &self.to_toml()])
    }
}

impl OiRule {
    fn read(keys: &mut Keys<'_>) -> Self {
        Self {
            change_pct: keys.number("change_pct", Decimal::ZERO, Decimal::from(10_000)),
            window_ms: keys.duration("window", OI_WINDOW_MS_MAX),
            min_usd: keys.usd("min_usd"),
            confirm: u32::try_from(keys.count("confirm", 1, 16)).unwrap_or(1),
        }
    }

    /// Returns the keys of this section as TOML.
    pub fn to_toml(&self) -> String {
        format!(
            "change_pct = {}\nwindow = \"{}\"\nmin_usd = {}\nconfirm = {}\n",
            self.change_pct,
            duration_text(self.window_ms),
            self.min_usd.to_decimal().normalize(),
            self.confirm,
        )
    }

    /// Returns the digest of this section, as alerts carry it.
    pub fn digest(&self) -> Id {
        Id::of("section", &["oi", &self.to_toml()])
    }
}

/// Reads the keys of one section, collecting mistakes; a key in error yields a placeholder that is never used.
struct Keys<'a> {
    place: String,
    section: &'a Table,
    problems: &'a mut Vec<String>,
    known: Vec<&'static str>,
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.section.contains_key(key)
    }

    fn problem(&mut self, key: &str, expected: &str) {
        let found = self.section.get(key).map_or_else(|| "missing".to_owned(), |value| format!("is {value}"));
        self.problems.push(format!("[{}] {key} {found}: {expected} is expected", self.place));
    }

    /// Reads a number, above `low` and up to `high`.
    fn number(&mut self, key: &'static str, low: Decimal, high: Decimal) -> Decimal {
        self.known.push(key);
        let number = match self.section.get(key) {
            Some(Value::Integer(number)) => Some(Decimal::from(*number)),
            Some(Value::Float(number)) => parse_decimal(&number.to_string()).ok(),
            Some(Value::String(number)) => parse_decimal(number).ok(),
            Some(Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_)) | None => None,
        };
        match number {
            Some(number) if number > low && number <= high => number.normalize(),
            Some(_) | None => {
                self.problem(key, &format!("a number above {} and up to {high}", low.round_dp(2)));
                Decimal::ONE
            }
        }
    }

    fn usd(&mut self, key: &'static str) -> Usd {
        let usd = self.number(key, Decimal::ZERO, Decimal::from(1_000_000_000_000_i64));
        Usd::round(usd).unwrap_or_default()
    }

    fn count(&mut self, key: &'static str, low: i64, high: i64) -> u64 {
        self.known.push(key);
        match self.section.get(key).and_then(Value::as_integer) {
            Some(count) if (low..=high).contains(&count) => count.unsigned_abs(),
            Some(_) | None => {
                self.problem(key, &format!("a whole number from {low} to {high}"));
                1
            }
        }
    }

    fn duration(&mut self, key: &'static str, max_ms: i64) -> i64 {
        self.known.push(key);
        match self.section.get(key).and_then(Value::as_str).and_then(parse_duration) {
            Some(millis) if (1..=max_ms).contains(&millis) => millis,
            Some(_) | None => {
                self.problem(key, &format!("a duration such as \"30s\", at most \"{}\",", duration_text(max_ms)));
                1
            }
        }
    }

    fn refuse_unknown(self) {
        let Self { place, section, problems, known } = self;
        let optional = ["min_event_usd", "max_share", "min_bursts", "min_side_share"];
        for key in section.keys().filter(|key| !known.contains(&key.as_str())) {
            let mut valid: Vec<_> = known.clone();
            if place.starts_with("liquidation.") {
                valid.extend(optional.iter().filter(|key| !known.contains(key)));
            }
            problems.push(format!("[{place}] {} is unknown: valid are {}", key.escape_debug(), valid.join(", ")));
        }
    }
}

/// Reads `500ms`, `30s`, `15m`, `2h`, `1d` as milliseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(scale)
}

fn duration_text(millis: i64) -> String {
    match millis {
        _ if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        _ if millis % 1000 == 0 => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str) -> Base {
        name.parse().unwrap()
    }

    #[test]
    fn the_shipped_rules_are_those_of_the_contract() {
        let rules = Rules::shipped();
        let btc = rules.liquidation(&base("BTC")).unwrap();
        assert_eq!((btc.single_usd, btc.cascade_usd), (Usd::from_cents(10_000_000), Usd::from_cents(50_000_000)));
        assert_eq!((btc.cascade_count, btc.window_ms), (5, 30_000));
        let sol = rules.oi(&base("SOL")).unwrap();
        assert_eq!((sol.change_pct, sol.confirm, sol.window_ms), (Decimal::from(25), 2, 900_000));
        assert!(rules.liquidation(&base("DOGE")).is_none());
    }

    #[test]
    fn the_file_form_is_read_back_and_does_not_depend_on_order_or_spelling() {
        let rules = Rules::shipped();
        assert_eq!(Rules::parse(&rules.to_toml()), Ok(rules));
        let reordered = "[liquidation.X]\nwindow='30s'\ncascade_usd=1_000.0\nsingle_usd=\"5\"\ncascade_count=2\n";
        let plain = "[liquidation.X]\nsingle_usd=5\ncascade_count=2\ncascade_usd=1000\nwindow=\"30s\"\n";
        assert_eq!(Rules::parse(reordered).unwrap().to_toml(), Rules::parse(plain).unwrap().to_toml());
    }

    #[test]
    fn a_default_section_covers_every_other_base() {
        let rules =
            Rules::parse("[liquidation.default]\nsingle_usd=5\ncascade_count=2\ncascade_usd=1000\nwindow=\"30s\"\n");
        let rules = rules.unwrap();
        assert!(rules.liquidation(&base("DOGE")).is_some());
        assert_eq!((rules.bases(), rules.others()), (BTreeSet::new(), (rules.liquidation(&base("DOGE")), None)));
        assert_eq!(Rules::shipped().bases(), ["BTC", "ETH", "SOL"].map(base).into());
        assert_eq!(Rules::shipped().others(), (None, None));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "[liquidation.BTC]\nsingle_usd=-5\ncascade_count=0\nwindow=\"6m\"\ntypo=1\n[oi.BTC]\nchange_pct=\"x\"\nwindow=\"15m\"\nmin_usd=1\nconfirm=2\n[other.BTC]\na=1\n";
        let problems = Rules::parse(text).unwrap_err().problems;
        let expected = [
            "[liquidation.BTC] single_usd is -5: a number above 0 and up to 1000000000000 is expected",
            "[liquidation.BTC] cascade_count is 0: a whole number from 1 to 1000000 is expected",
            "[liquidation.BTC] cascade_usd missing: a number above 0 and up to 1000000000000 is expected",
            "[liquidation.BTC] window is \"6m\": a duration such as \"30s\", at most \"5m\", is expected",
            "[liquidation.BTC] typo is unknown: valid are single_usd, cascade_count, cascade_usd, window, min_event_usd, max_share, min_bursts, min_side_share",
            "[oi.BTC] change_pct is \"x\": a number above 0 and up to 10000 is expected",
            "[other.BTC]: sections are [liquidation.BASE] and [oi.BASE]",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_digest_changes_with_the_section_only() {
        let mut rules = Rules::shipped();
        let before = rules.liquidation(&base("BTC")).unwrap().digest();
        rules.liquidation_mut(&base("ETH")).unwrap().cascade_count = 9;
        assert_eq!(rules.liquidation(&base("BTC")).unwrap().digest(), before);
        rules.liquidation_mut(&base("BTC")).unwrap().cascade_count = 9;
        assert_ne!(rules.liquidation(&base("BTC")).unwrap().digest(), before);
    }
}
