//! Streams, buckets and the durable consumer as they should be against as they are.
//!
//! `plan` compares, `apply` makes them equal: it creates what is missing and updates what differs, never anything else.
//! Several processes may apply at once: creating or updating to the same configuration twice changes nothing.

mod assets;
mod diff;

use std::fmt;

use async_nats::jetstream::{
    ErrorCode,
    consumer::PullConsumer,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind},
    stream::{ConsumerError, ConsumerErrorKind},
};
use schemas::subject::{Bucket, Stream};
use serde::Serialize;

pub(crate) use assets::{MARKET_MODE, NOTIFY_ACK_PENDING_MAX, bucket_stream, bucket_subject};

use crate::{
    bus::Bus,
    config::Market,
    topology::{
        assets::{bucket_config, notify_config, stream_config},
        diff::Configuration,
    },
};

/// Another process may create what this one has just found missing; more often than this is no race.
const ATTEMPTS_MAX: u32 = 3;

/// What is to be done about a stream, bucket or consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is: `stream MARKET`, `bucket STATE`, `consumer ALERTS/notify`.
    pub target: String,
    /// What is to be done.
    #[serde(flatten)]
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It is missing.
    Create,
    /// It differs.
    Update {
        /// In what.
        fields: Vec<FieldChange>,
    },
    /// It is as it should be.
    Equal,
}

/// One field that differs. Absent values are the server's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The server's name of the field.
    pub field: String,
    /// As it is.
    pub from: Option<serde_json::Value>,
    /// As it should be.
    pub to: Option<serde_json::Value>,
}

/// The topology cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// MARKET holds another kind of market than this service is configured for.
    #[error(
        "{stream} holds a {stored} market and this service is configured for a {configured} one; \
             use another prefix or set FORESHOCK_MARKET={stored}"
    )]
    Market {
        /// The stream.
        stream: String,
        /// What its metadata says.
        stored: String,
        /// What the configuration says.
        configured: Market,
    },
    /// MARKET was not created yet, or not by foreshock.
    #[error("{target} not found; `foreshock topology apply` creates it")]
    Missing {
        /// What is missing.
        target: String,
    },
    /// The server refuses the change. Some fields can only be chosen at creation.
    #[error("the server refuses to change {target} ({fields}): {reason}")]
    Refused {
        /// What was to be changed.
        target: String,
        /// The fields that differ.
        fields: String,
        /// What the server said.
        reason: String,
    },
    /// No answer.
    #[error("{target} cannot be looked up or changed")]
    Unanswered {
        /// What was asked about.
        target: String,
        /// What the client or the server said.
        #[source]
        source: async_nats::Error,
    },
}

impl Bus {
    /// Compares everything with how it should be, in the order in which [`Bus::apply_topology`] goes about it.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn plan_topology(&self) -> Result<Vec<Change>, TopologyError> {
        let mut changes = Vec::new();
        for target in targets() {
            changes.push(self.compare(target).await?);
        }
        Ok(changes)
    }

    /// Makes everything as it should be and returns what was done.
    ///
    /// # Errors
    /// [`TopologyError::Market`] before anything is changed when MARKET holds another kind of market.
    pub async fn apply_topology(&self) -> Result<Vec<Change>, TopologyError> {
        match self.check_market().await {
            Ok(()) | Err(TopologyError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut changes = Vec::new();
        for target in targets() {
            changes.push(self.settle(target).await?);
        }
        // A process with the other market may have created MARKET in between.
        self.check_market().await?;
        Ok(changes)
    }

    /// Checks that MARKET holds the kind of market this service is configured for. Every service calls it at its start.
    ///
    /// # Errors
    /// [`TopologyError::Market`] when it does not, [`TopologyError::Missing`] when there is no MARKET.
    pub async fn check_market(&self) -> Result<(), TopologyError> {
        let target = Target::Stream(Stream::Market);
        let Some(Configuration::Stream(found)) = self.find(target).await? else {
            return Err(TopologyError::Missing { target: self.title(target) });
        };
        let stored = found.metadata.get(MARKET_MODE).map_or("unknown", String::as_str);
        if stored == self.market().as_str() {
            return Ok(());
        }
        Err(TopologyError::Market { stream: found.name, stored: stored.to_owned(), configured: self.market() })
    }

    async fn compare(&self, target: Target) -> Result<Change, TopologyError> {
        let action = match self.find(target).await? {
            None => Action::Create,
            Some(found) => {
                let fields = found.differences(&self.wanted(target));
                if fields.is_empty() { Action::Equal } else { Action::Update { fields } }
            }
        };
        Ok(Change { target: self.title(target), action })
    }

    async fn settle(&self, target: Target) -> Result<Change, TopologyError> {
        let mut attempt = 1;
        loop {
            let change = self.compare(target).await?;
            let wanted = self.wanted(target);
            let done = match &change.action {
                Action::Equal => Ok(()),
                Action::Create => self.create(wanted).await,
                Action::Update { .. } => self.update(wanted).await,
            };
            match done {
                Ok(()) => return Ok(change),
                Err(Denial::Raced) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(Denial::Raced) => return Err(refused(change, "it keeps changing".to_owned())),
                Err(Denial::Refused(reason)) => return Err(refused(change, reason)),
                Err(Denial::Unanswered(source)) => {
                    return Err(TopologyError::Unanswered { target: change.target, source });
                }
            }
        }
    }

    async fn find(&self, target: Target) -> Result<Option<Configuration>, TopologyError> {
        let unanswered = |source: async_nats::Error| TopologyError::Unanswered { target: self.title(target), source };
        match target {
            Target::Stream(_) | Target::Bucket(_) => match self.jetstream().get_stream(self.name(target)).await {
                Ok(found) => Ok(Some(Configuration::stream(found.cached_info().config.clone()))),
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(refused) if refused.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        Ok(None)
                    }
                    GetStreamErrorKind::JetStream(_)
                    | GetStreamErrorKind::EmptyName
                    | GetStreamErrorKind::InvalidStreamName
                    | GetStreamErrorKind::Request => Err(unanswered(error.into())),
                },
            },
            Target::Notify => {
                let stream = self.stream_name(Stream::Alerts);
                let found: Result<PullConsumer, _> =
                    self.jetstream().get_consumer_from_stream(self.name(target), stream).await;
                match found {
                    Ok(found) => Configuration::consumer(&found).map(Some).map_err(unanswered),
                    Err(error) => match error.kind() {
                        ConsumerErrorKind::JetStream(refused)
                            if matches!(
                                refused.error_code(),
                                ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND
                            ) =>
                        {
                            Ok(None)
                        }
                        ConsumerErrorKind::JetStream(_)
                        | ConsumerErrorKind::TimedOut
                        | ConsumerErrorKind::Request
                        | ConsumerErrorKind::InvalidConsumerType
                        | ConsumerErrorKind::InvalidName
                        | ConsumerErrorKind::Other => Err(unanswered(error.into())),
                    },
                }
            }
        }
    }

    // nats.md 2.1: `get_or_create_stream` would keep an existing, different configuration in silence.
    async fn create(&self, wanted: Configuration) -> Result<(), Denial> {
        match wanted {
            Configuration::Stream(config) => self.jetstream().create_stream(*config).await.map(|_| ())?,
            Configuration::Consumer(config) => {
                let stream = self.stream_name(Stream::Alerts);
                self.jetstream().create_consumer_on_stream(*config, stream).await.map(|_| ())?;
            }
        }
        Ok(())
    }

    async fn update(&self, wanted: Configuration) -> Result<(), Denial> {
        match wanted {
            Configuration::Stream(config) => self.jetstream().update_stream(*config).await.map(|_| ())?,
            consumer @ Configuration::Consumer(_) => self.create(consumer).await?,
        }
        Ok(())
    }

    fn wanted(&self, target: Target) -> Configuration {
        match target {
            Target::Stream(stream) => Configuration::stream(stream_config(self.config(), stream)),
            Target::Bucket(bucket) => Configuration::stream(bucket_config(self.config(), bucket)),
            Target::Notify => Configuration::Consumer(Box::new(notify_config(self.config()))),
        }
    }

    fn name(&self, target: Target) -> String {
        match target {
            Target::Stream(stream) => self.stream_name(stream),
            Target::Bucket(bucket) => bucket_stream(self.names(), bucket),
            Target::Notify => self.names().notify_consumer().to_owned(),
        }
    }

    fn title(&self, target: Target) -> String {
        match target {
            Target::Stream(stream) => format!("stream {}", self.stream_name(stream)),
            Target::Bucket(bucket) => format!("bucket {}", self.names().bucket(bucket)),
            Target::Notify => format!("consumer {}/{}", self.stream_name(Stream::Alerts), self.name(target)),
        }
    }
}

/// Something the server keeps for us.
#[derive(Clone, Copy, Debug)]
enum Target {
    Stream(Stream),
    Bucket(Bucket),
    Notify,
}

fn targets() -> impl Iterator<Item = Target> {
    let streams = Stream::ALL.into_iter().map(Target::Stream);
    let buckets = Bucket::ALL.into_iter().map(Target::Bucket);
    streams.chain(buckets).chain([Target::Notify])
}

/// Why the server did not do something.
enum Denial {
    /// Another process was faster: look again.
    Raced,
    Refused(String),
    Unanswered(async_nats::Error),
}

impl From<CreateStreamError> for Denial {
    fn from(error: CreateStreamError) -> Self {
        match error.kind() {
            CreateStreamErrorKind::NotFound => Self::Raced,
            CreateStreamErrorKind::JetStream(refused) => match refused.error_code() {
                // nats.md 2.1: it exists by now, with another configuration.
                ErrorCode::STREAM_NAME_EXIST => Self::Raced,
                _ => Self::Refused(refused.to_string()),
            },
            CreateStreamErrorKind::EmptyStreamName
            | CreateStreamErrorKind::InvalidStreamName
            | CreateStreamErrorKind::DomainAndExternalSet
            | CreateStreamErrorKind::JetStreamUnavailable
            | CreateStreamErrorKind::TimedOut
            | CreateStreamErrorKind::Response
            | CreateStreamErrorKind::ResponseParse => Self::Unanswered(error.into()),
        }
    }
}

impl From<ConsumerError> for Denial {
    fn from(error: ConsumerError) -> Self {
        match error.kind() {
            ConsumerErrorKind::JetStream(refused) => Self::Refused(refused.to_string()),
            ConsumerErrorKind::TimedOut
            | ConsumerErrorKind::Request
            | ConsumerErrorKind::InvalidConsumerType
            | ConsumerErrorKind::InvalidName
            | ConsumerErrorKind::Other => Self::Unanswered(error.into()),
        }
    }
}

fn refused(change: Change, reason: String) -> TopologyError {
    let fields = match change.action {
        Action::Create => "creation".to_owned(),
        Action::Equal => "nothing".to_owned(),
        Action::Update { fields } => {
            let fields: Vec<String> = fields.into_iter().map(|change| change.field).collect();
            fields.join(", ")
        }
    };
    TopologyError::Refused { target: change.target, fields, reason }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match &self.action {
            Action::Create => write!(f, "create {target}"),
            Action::Equal => write!(f, "equal  {target}"),
            Action::Update { fields } => {
                write!(f, "update {target}:")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} {field}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or_else(|| "default".to_owned(), serde_json::Value::to_string)
        };
        write!(f, "{} {} → {}", self.field, value(&self.from), value(&self.to))
    }
}
