//! The actual bytes of version 1, in hex, with their JSON beside: they are read for ever.
//!
//! `UPDATE_GOLDEN=1` writes the files that are missing and never rewrites one: a changed layout is a new version.

use std::{fmt::Debug, path::PathBuf};

use schemas::{
    delivery::Outcome,
    wire::{DecodeError, Message, decode, encode},
};
use serde_json::Value;

use crate::samples;

#[expect(clippy::disallowed_methods, reason = "fixtures are read, and written on request when missing")]
fn fixture(file: &str, actual: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(file);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}; UPDATE_GOLDEN=1 writes it"))
}

/// Hex in lines of 64 digits, so that a change shows where it is.
fn hex(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|chunk| data_encoding::HEXLOWER.encode(chunk) + "\n").collect()
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.replace('\n', "").as_bytes()).unwrap()
}

fn holds<M: Message + Debug + PartialEq>(name: &str, event: &M) {
    let encoded = encode(event).unwrap();
    let bytes = unhex(&fixture(&format!("{name}.hex"), &hex(&encoded.payload)));
    assert_eq!(decode::<M>(&bytes).as_ref(), Ok(event), "{name}: bytes to event");
    assert_eq!(hex(&encoded.payload), hex(&bytes), "{name}: event to bytes");
    let json = serde_json::to_string_pretty(event).unwrap() + "\n";
    assert_eq!(json, fixture(&format!("{name}.json"), &json), "{name}: JSON");
    assert_eq!(serde_json::from_str::<M>(&json).unwrap(), *event, "{name}: JSON to event");
}

#[test]
fn the_bytes_of_version_1_are_read_and_written() {
    holds("liquidation", &samples::liquidation());
    holds("open_interest", &samples::open_interest());
    holds("feed_alive", &samples::alive());
    holds("feed_recovered", &samples::recovered());
    holds("rules", &samples::rules());
    holds("canary", &samples::canary());
    holds("alert_large_liquidation", &samples::large_liquidation());
    holds("alert_cascade", &samples::cascade());
    holds("alert_oi_explosion", &samples::oi_explosion());
    holds("alert_oi_explosion_young", &samples::young_oi_explosion());
    holds("decision", &samples::decision());
    for (name, outcome) in samples::outcomes() {
        holds(&format!("delivery_{name}"), &samples::delivery(outcome));
    }
    holds("decision_edit", &samples::decision_with_edit());
    for (name, topic) in samples::topics() {
        holds(&format!("note_{name}"), &samples::note(topic, Outcome::Sent { message_id: Some(43) }));
    }
    holds("feedback", &samples::feedback());
    holds("update", &samples::update());
    holds("subscriber", &samples::subscriber());
    holds("subscriber_plain", &samples::plain_subscriber());
    holds("dead", &samples::dead());
}

/// Field names of design 3, in any order.
fn has_fields<M: Message>(event: &M, expected: &str) {
    let Value::Object(fields) = serde_json::to_value(event).unwrap() else { panic!("an event is an object") };
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = expected.split_whitespace().collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, value) in &fields {
        plain(name, value);
    }
}

/// Times and counts are integers, decimals are strings, nothing is null.
fn plain(name: &str, value: &Value) {
    match value {
        Value::Null => panic!("{name} is null: absent optional fields are left out"),
        Value::Number(number) => assert!(number.is_i64() || number.is_u64(), "{name}: {number}"),
        Value::Array(items) => items.iter().for_each(|item| plain(name, item)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| plain(name, value)),
        Value::Bool(_) | Value::String(_) => {}
    }
    let decimal = ["usd", "pct", "price", "coins", "contracts", "quantity", "share", "z_score"];
    if !value.is_object()
        && decimal.iter().any(|part| name.contains(part))
        && !["price_kind", "price_venue"].contains(&name)
    {
        let text = value.as_str().unwrap_or_else(|| panic!("{name} is no string"));
        assert!(schemas::amount::parse_decimal(text).is_ok(), "{name}: {text}");
    }
    if name.ends_with("_ms") || ["event_time", "received_at", "since", "at"].contains(&name) {
        assert!(value.is_i64(), "{name} is no integer");
    }
}

#[test]
fn json_has_the_fields_of_the_contract() {
    has_fields(
        &samples::liquidation(),
        "type v id venue instrument base liquidated quantity price price_kind notional_usd event_time received_at",
    );
    has_fields(
        &samples::open_interest(),
        "type v id venue instrument base contracts coins mark_price notional_usd interval_ms event_time received_at",
    );
    has_fields(&samples::recovered(), "type v id venue channel instance state since gap_ms event_time");
    has_fields(&samples::alive(), "type v id venue channel state since event_time");
    has_fields(&samples::rules(), "type v id version origin text");
    has_fields(&samples::canary(), "type v id received_at");
    let alert = "type v id kind base priority rules trigger event_time received_at window_ms coverage saturated";
    has_fields(
        &samples::large_liquidation(),
        &format!("{alert} venue instrument liquidated quantity price price_kind notional_usd episode"),
    );
    has_fields(
        &samples::cascade(),
        &format!(
            "{alert} phase episode tier count notional_usd longs shorts long_usd short_usd dominant largest_usd bursts \
             venues price_venue first_price last_price linked_bases duration_ms"
        ),
    );
    let explosion =
        "direction phase change_pct before_usd after_usd change_usd confirming reporting all_change_pct venues";
    has_fields(&samples::young_oi_explosion(), &format!("{alert} {explosion}"));
    has_fields(
        &samples::oi_explosion(),
        &format!("{alert} {explosion} baseline momentum_pct_per_min trend_1h_pct trend_24h_pct"),
    );
    has_fields(
        &samples::delivery(Outcome::Sent { message_id: None }),
        "type v alert kind base priority event_time channel recipient at state",
    );
}

#[test]
fn the_schema_header_names_type_and_version() {
    assert_eq!(encode(&samples::open_interest()).unwrap().schema, "open_interest/1");
    assert_eq!(encode(&samples::cascade()).unwrap().schema, "alert/1");
    assert_eq!(encode(&samples::decision()).unwrap().schema, "decision/1");
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut alert = samples::cascade();
    alert.v = 2;
    let payload = rmp_serde::to_vec_named(&alert).unwrap();
    assert_eq!(decode::<schemas::alert::Alert>(&payload), Err(DecodeError::Newer { found: 2, known: 1 }));
}

#[test]
fn another_kind_of_event_is_refused() {
    let payload = encode(&samples::cascade()).unwrap().payload;
    let refused = decode::<schemas::market::MarketEvent>(&payload);
    assert!(matches!(refused, Err(DecodeError::Malformed(_))), "{refused:?}");
}
