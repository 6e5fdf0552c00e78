//! Keys and types of JSON answers, without their values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where something stands (`data.spot.price`, `markets[].symbol`; the answer itself is `$`), and what it is there.
type Places = BTreeMap<String, BTreeSet<String>>;

/// What several answers of one endpoint have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// What is in every answer.
    always: Places,
    /// What is in some.
    sometimes: Places,
}

/// What an answer has against another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What a reader of the earlier answers would miss.
    pub(crate) broken: Vec<String>,
    /// What is there in addition.
    pub(crate) new: Vec<String>,
}

impl Shape {
    /// Returns the shape of `answers`.
    pub(crate) fn of<'a>(answers: impl Iterator<Item = &'a Value>) -> Self {
        let each: Vec<Places> = answers
            .map(|answer| {
                let mut places = Places::new();
                look("$", answer, &mut places);
                places
            })
            .collect();
        let mut shape = Self::default();
        for (place, kinds) in each.iter().flatten() {
            let is_always = each.iter().all(|places| places.contains_key(place));
            let places = if is_always { &mut shape.always } else { &mut shape.sometimes };
            places.entry(place.clone()).or_default().extend(kinds.iter().cloned());
        }
        shape
    }

    /// Compares with earlier answers. What was in some of them only may be absent.
    pub(crate) fn since(&self, earlier: &Self) -> Difference {
        let mut difference = Difference::default();
        for place in earlier.always.keys() {
            if self.kinds(place).is_none() {
                difference.broken.push(format!("{place} is gone"));
            } else if !self.always.contains_key(place) {
                difference.broken.push(format!("{place} is not always there"));
            }
        }
        for (place, kinds) in self.always.iter().chain(&self.sometimes) {
            match earlier.kinds(place) {
                None => difference.new.push(place.clone()),
                Some(were) if !kinds.is_subset(were) => {
                    difference.broken.push(format!("{place} was {}, is {}", words(were), words(kinds)));
                }
                Some(_) => {}
            }
        }
        difference
    }

    fn kinds(&self, place: &str) -> Option<&BTreeSet<String>> {
        self.always.get(place).or_else(|| self.sometimes.get(place))
    }
}

fn words(kinds: &BTreeSet<String>) -> String {
    kinds.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
}

fn look(place: &str, value: &Value, places: &mut Places) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(elements) => {
            elements.iter().for_each(|element| look(&format!("{place}[]"), element, places));
            "array"
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| look(&format!("{place}.{name}"), field, places));
            "object"
        }
    };
    places.entry(place.to_owned()).or_default().insert(kind.to_owned());
}
