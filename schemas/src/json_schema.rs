//! The published JSON Schemas: one file an event in `docs/schemas/`, compared with the types.
//!
//! `UPDATE_GOLDEN=1 cargo test -p schemas` writes the files.

use std::{borrow::Cow, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    alert::Alert,
    amount::{Price, Quantity, Ratio, Usd},
    delivery::{Dead, Decision, Delivery, Feedback, Note, Update},
    id::Id,
    market::{Canary, Feed, Liquidation, OpenInterest, Rules},
    subscriber::Subscriber,
};

macro_rules! string_schema {
    ($name:ident, $description:literal, $pattern:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $description, "type": "string", "pattern": $pattern })
            }
        }
    };
}

string_schema!(Id, "The first 128 bits of a SHA-256 in lower-case base32.", "^[a-z2-7]{26}$");
string_schema!(Price, "USD per coin: a positive decimal without trailing zeros.", r"^[0-9]+(\.[0-9]*[1-9])?$");
string_schema!(Quantity, "Coins or contracts: a positive decimal without trailing zeros.", r"^[0-9]+(\.[0-9]*[1-9])?$");
string_schema!(Usd, "USD with two places; may be negative where it is a difference.", r"^-?[0-9]+\.[0-9]{2}$");
string_schema!(Ratio, "A ratio, percentage or score, rounded half-even to four places.", r"^-?[0-9]+(\.[0-9]{1,4})?$");

/// Returns the schema of `T` as the event `type`.
fn schema_of<T: JsonSchema>(r#type: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let Value::Object(mut fields) = generator.into_root_schema_for::<T>().to_value() else {
        panic!("the schema of a struct is an object")
    };
    // Structs do not know the tag their enum writes.
    fields["properties"]["type"] = json!({ "type": "string", "const": r#type });
    let required = fields["required"].as_array_mut().unwrap();
    if !required.contains(&json!("type")) {
        required.insert(0, json!("type"));
    }
    fields.insert("title".to_owned(), json!(r#type));
    let mut schema = Map::new();
    for first in ["$schema", "title", "description"] {
        schema.extend(fields.shift_remove_entry(first));
    }
    schema.extend(fields);
    let mut schema = Value::Object(schema);
    never_null(&mut schema);
    schema
}

/// Absent optional fields are left out, never null (design 3).
fn never_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                fields["type"] = fields["type"][0].take();
            }
            if let Some(Value::Array(mut choices)) = fields.shift_remove("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                let Some(Value::Object(only)) = choices.pop() else { panic!("`anyOf` is only written for options") };
                fields.extend(only);
            }
            fields.values_mut().for_each(never_null);
        }
        Value::Array(items) => items.iter_mut().for_each(never_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn schemas() -> [(&'static str, Value); 13] {
    [
        ("liquidation", schema_of::<Liquidation>("liquidation")),
        ("open_interest", schema_of::<OpenInterest>("open_interest")),
        ("feed", schema_of::<Feed>("feed")),
        ("rules", schema_of::<Rules>("rules")),
        ("canary", schema_of::<Canary>("canary")),
        ("alert", schema_of::<Alert>("alert")),
        ("decision", schema_of::<Decision>("decision")),
        ("delivery", schema_of::<Delivery>("delivery")),
        ("note", schema_of::<Note>("note")),
        ("feedback", schema_of::<Feedback>("feedback")),
        ("update", schema_of::<Update>("update")),
        ("subscriber", schema_of::<Subscriber>("subscriber")),
        ("dead", schema_of::<Dead>("dead")),
    ]
}

fn path(directory: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(directory).join(file)
}

#[expect(clippy::disallowed_methods, reason = "golden files are read, and written on request")]
#[test]
fn the_published_schemas_are_those_of_the_types() {
    for (event, schema) in schemas() {
        let file = path("../docs/schemas", &format!("{event}.json"));
        let text = format!("{schema:#}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "{event}.json: UPDATE_GOLDEN=1 rewrites it");
    }
}

#[test]
fn every_schema_has_a_title_and_a_description() {
    for (event, schema) in schemas() {
        assert_eq!(schema["title"], event);
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{event}");
    }
}
