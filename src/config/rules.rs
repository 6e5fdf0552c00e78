//! The configured rules: the shipped ones, the file's sections over them, an existing environment's thresholds on top.

use detect::rules::{Rules, SHIPPED};
use rust_decimal::Decimal;
use schemas::amount::parse_decimal;
use toml::{Table, Value};

use super::{Environment, keys};

/// Takes the rules out of the file: all of `[liquidation]`, and of `[oi]` everything that is no key of our own.
pub(super) fn take_sections(file: &mut Table) -> Table {
    let mut sections = Table::new();
    if let Some(section) = file.remove(keys::LIQUIDATION) {
        sections.insert(keys::LIQUIDATION.to_owned(), section);
    }
    if let Some(Value::Table(oi)) = file.get_mut(keys::OI) {
        let is_own = |name: &String| keys::ALL.iter().any(|key| key.path == format!("{}.{name}", keys::OI));
        let (own, rules): (Table, Table) = std::mem::take(oi).into_iter().partition(|(name, _)| is_own(name));
        *oi = own;
        if !rules.is_empty() {
            sections.insert(keys::OI.to_owned(), rules.into());
        }
    }
    sections
}

/// Returns the configured rules, or nothing when neither file nor environment says anything about them.
///
/// A key that a section of the file leaves out is as shipped, where that base is shipped.
pub(super) fn configured(mut sections: Table, environment: &Environment, problems: &mut Vec<String>) -> Option<Rules> {
    for (variable, kind, base, key) in keys::THRESHOLDS {
        let Some(text) = environment.get(variable) else { continue };
        if parse_decimal(text).is_ok_and(|number| number > Decimal::ZERO) {
            let threshold = Table::from_iter([(key.to_owned(), Value::from(text))]);
            let section = Table::from_iter([(base.to_owned(), threshold.into())]);
            put_over(&mut sections, Table::from_iter([(kind.to_owned(), section.into())]));
        } else {
            problems.push(format!("{variable} is \"{}\": a number above 0 is expected", text.escape_debug()));
        }
    }
    if sections.is_empty() {
        return None;
    }
    let mut rules: Table = SHIPPED.parse().expect("the shipped rules are TOML: a test reads them");
    put_over(&mut rules, sections);
    Rules::from_table(&rules).map_err(|invalid| problems.extend(invalid.problems)).ok()
}

fn put_over(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => put_over(inner, value),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}
