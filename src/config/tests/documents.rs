//! The documents say what the code does.

use super::*;
use crate::config::keys::{Kind, THRESHOLDS};

const EXAMPLE: &str = include_str!("../../../docs/foreshock.example.toml");
const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_example_is_what_is_in_force_without_it() {
    let (with, without) = (load(EXAMPLE, &[]).unwrap(), load("", &[]).unwrap());
    assert_eq!(Settings { effective: Vec::new(), ..with }, Settings { effective: Vec::new(), ..without });
}

#[test]
fn the_example_holds_every_key_and_the_shipped_rules() {
    let settings = load_with(
        &uncommented(),
        &[],
        &[
            ("/run/secrets/nats_password", "a"),
            ("/run/secrets/telegram_bot_token", "1:a"),
            ("/run/secrets/foreshock_bot_token", "2:b"),
        ],
        &[],
    )
    .unwrap();
    for line in &settings.effective {
        assert_eq!(line.origin, Origin::File, "{} is missing", line.key);
    }
    assert_eq!(settings.rules, Some(Rules::shipped()));
}

#[test]
fn the_example_comments_out_exactly_the_keys_without_a_default() {
    let live: Table = EXAMPLE.parse().unwrap();
    for key in keys::ALL {
        let in_file = key
            .file_path()
            .split('.')
            .try_fold(&toml::Value::from(live.clone()), |value, name| value.get(name))
            .is_some();
        assert_eq!(in_file, key.default.is_some(), "{}", key.path);
    }
}

#[test]
fn the_document_holds_every_key_variable_flag_and_default() {
    for key in keys::ALL {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{}` |", key.file_path())));
        let cells: Vec<_> = row.expect(key.path).split('|').map(str::trim).collect();
        let variables: Vec<_> = key.variables().iter().map(|name| format!("`{name}`")).collect();
        assert_eq!(cells[2], variables.join(", "), "{}", key.path);
        assert_eq!(cells[3], key.flag.map(|flag| format!("`{flag}`")).unwrap_or_default(), "{}", key.path);
        if let Some(default) = key.default.filter(|default| !default.is_empty()) {
            assert_eq!(cells[4], format!("`{default}`"), "{}", key.path);
        }
    }
    let shipped: Table = detect::rules::SHIPPED.parse().unwrap();
    for (variable, section, base, key) in THRESHOLDS {
        let value = shipped[section][base][key].to_string();
        let value = value.strip_suffix(".0").unwrap_or(&value);
        let start = format!("| `{variable}` | `{section}.{base}.{key}`, ");
        let row = DOCUMENT.lines().find(|line| line.starts_with(&start)).expect(variable);
        assert!(row.ends_with(&format!(" | `{value}` |")), "{row}");
    }
}

#[test]
fn every_name_stands_for_one_key() {
    let mut names: Vec<String> = keys::ALL.iter().flat_map(|key| key.variables()).collect();
    names.extend(THRESHOLDS.iter().map(|(variable, ..)| (*variable).to_owned()));
    names.extend(keys::ALL.iter().map(|key| key.path.to_owned()));
    let count = names.len();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), count);
    assert!(keys::ALL.iter().all(|key| key.kind != Kind::Secret || (key.default.is_none() && key.flag.is_none())));
}

/// Returns the example with every key in force: a comment is followed by a space, a key is not.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}
