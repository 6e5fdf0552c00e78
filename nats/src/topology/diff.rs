//! Comparing configurations field by field, by the server's own names.

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::{
    consumer::{FromConsumer, PullConsumer, pull},
    stream,
};
use serde_json::{Map, Value};

use crate::topology::FieldChange;

/// Prefix of metadata the server writes itself (nats.md 1).
const SERVER_METADATA: &str = "_nats.";

/// Fields in nanoseconds, shown as durations.
const DURATIONS: [&str; 4] = ["max_age", "duplicate_window", "subject_delete_marker_ttl", "ack_wait"];

/// How something is or should be.
#[derive(Clone, Debug)]
pub(super) enum Configuration {
    Stream(Box<stream::Config>),
    Consumer(Box<pull::Config>),
}

impl Configuration {
    pub(super) fn stream(config: stream::Config) -> Self {
        Self::Stream(Box::new(config))
    }

    pub(super) fn consumer(consumer: &PullConsumer) -> Result<Self, async_nats::Error> {
        let config = pull::Config::try_from_consumer_config(consumer.cached_info().config.clone())?;
        Ok(Self::Consumer(Box::new(config)))
    }

    /// Returns the fields to be changed for this to become `wanted`, sorted by name.
    pub(super) fn differences(&self, wanted: &Self) -> Vec<FieldChange> {
        let (is, should) = (self.fields(), wanted.fields());
        let names: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
        let differing = names.into_iter().filter(|name| is.get(*name) != should.get(*name));
        differing.map(|name| change(name, is.get(name), should.get(name))).collect()
    }

    fn fields(&self) -> Map<String, Value> {
        let value = match self {
            Self::Stream(config) => serde_json::to_value(config),
            Self::Consumer(config) => serde_json::to_value(config),
        };
        let Ok(Value::Object(mut fields)) = value else { unreachable!("a configuration is a JSON object") };
        if let Some(Value::Object(metadata)) = fields.remove("metadata") {
            for (name, value) in metadata.into_iter().filter(|(name, _)| !name.starts_with(SERVER_METADATA)) {
                fields.insert(format!("metadata.{name}"), value);
            }
        }
        fields
    }
}

fn change(field: &str, from: Option<&Value>, to: Option<&Value>) -> FieldChange {
    let shown = |value: Option<&Value>| {
        let value = value?;
        match value.as_u64() {
            Some(nanos) if DURATIONS.contains(&field) => Some(format!("{:?}", Duration::from_nanos(nanos)).into()),
            _ => Some(value.clone()),
        }
    };
    FieldChange { field: field.to_owned(), from: shown(from), to: shown(to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named_and_durations_are_readable() {
        let is = stream::Config { max_age: Duration::from_secs(60), num_replicas: 1, ..stream::Config::default() };
        let mut served = is.clone();
        served.metadata.insert("_nats.ver".to_owned(), "2.15.1".to_owned());
        let should = stream::Config { max_age: Duration::from_secs(90), ..is };
        let changes = Configuration::stream(served).differences(&Configuration::stream(should));
        let expected = FieldChange { field: "max_age".to_owned(), from: Some("60s".into()), to: Some("90s".into()) };
        assert_eq!(changes, [expected]);
        assert_eq!(changes[0].to_string(), r#"max_age "60s" → "90s""#);
    }
}
