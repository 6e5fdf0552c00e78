//! The notifier's durable consumer of ALERTS: what is not acknowledged comes again.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{Consumer, pull},
    message::Acker,
};
use futures_util::StreamExt;
use schemas::{position::Sequence, subject::Stream};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    bus::{Bus, Connection},
    read::{Headers, RETRY_PAUSE, Record, nanos},
    topology::NOTIFY_ACK_PENDING_MAX,
};

/// How long a request for messages waits at the server, and how often the server says that it is there.
const EXPIRES: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A reader that cannot be rebuilt says so once per interval.
const STALL_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The durable consumer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// There is no such consumer.
    #[error("consumer {consumer:?} of stream {stream:?} not found; `foreshock topology apply` creates it")]
    NoConsumer {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
}

/// An acknowledgement was not confirmed; the message may come again.
#[derive(Debug, thiserror::Error)]
#[error("the acknowledgement of alert {sequence} was not confirmed")]
pub struct AckError {
    sequence: Sequence,
    #[source]
    source: async_nats::Error,
}

/// An alert, and the way to say that it is done with.
pub struct Delivered {
    /// The message.
    pub record: Record,
    /// How many times it was delivered, from 1.
    pub deliveries: i64,
    acker: Acker,
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { record, deliveries, acker: _ } = self;
        f.debug_struct("Delivered").field("record", record).field("deliveries", deliveries).finish_non_exhaustive()
    }
}

impl Delivered {
    /// Acknowledges it and waits for the server's confirmation. Call it when everything that follows from it is stored.
    ///
    /// # Errors
    /// [`AckError`]: it may come again, which must change nothing.
    pub async fn double_ack(&self) -> Result<(), AckError> {
        self.acker.double_ack().await.map_err(|source| AckError { sequence: self.record.sequence, source })
    }
}

/// The reader. Dropping [`Durable::next`] loses nothing: what was not acknowledged comes again.
#[derive(Debug)]
pub struct Durable {
    bus: Bus,
    reading: Option<Reading>,
    built: Option<Instant>,
}

struct Reading {
    messages: pull::Stream,
    epoch: u64,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("epoch", &self.epoch).finish()
    }
}

impl Durable {
    /// Opens the consumer `notify` of ALERTS. Only the holder of the sender's lease may: opening takes over whatever
    /// another one had not acknowledged.
    ///
    /// # Errors
    /// [`DurableError::NoConsumer`].
    pub async fn open(bus: &Bus) -> Result<Self, DurableError> {
        let mut durable = Self { bus: bus.clone(), reading: None, built: None };
        durable.rebuild().await?;
        Ok(durable)
    }

    /// Returns the next alert, waiting for it as long as it takes, in the order of ALERTS from the first that is not
    /// acknowledged.
    ///
    /// # Errors
    /// [`DurableError::NoConsumer`] when the consumer was deleted.
    pub async fn next(&mut self) -> Result<Delivered, DurableError> {
        loop {
            let Some(reading) = self.reading.as_mut() else {
                self.rebuild().await?;
                continue;
            };
            let mut connection = self.bus.connection();
            let epoch = reading.epoch;
            let another = |state: &Connection| matches!(state, Connection::Up { epoch: up } if *up != epoch);
            tokio::select! {
                biased;
                message = reading.messages.next() => match message {
                    Some(Ok(message)) => {
                        let Ok(info) = message.info() else { continue };
                        let (sequence, deliveries) = (Sequence::new(info.stream_sequence), info.delivered);
                        let (published_ns, pending) = (nanos(info.published), info.pending);
                        let (message, acker) = message.split();
                        let subject = message.subject.into_string();
                        let headers = Headers::from(message.headers);
                        let record =
                            Record { sequence, published_ns, subject, headers, payload: message.payload, pending };
                        return Ok(Delivered { record, deliveries, acker });
                    }
                    Some(Err(error)) => {
                        debug!(%error, "the reader of alerts is rebuilt");
                        self.reading = None;
                    }
                    None => self.reading = None,
                },
                _ = connection.wait_for(another) => self.reading = None,
            }
        }
    }

    async fn rebuild(&mut self) -> Result<(), DurableError> {
        let mut said: Option<Instant> = None;
        loop {
            if let Some(built) = self.built {
                tokio::time::sleep_until(built + RETRY_PAUSE).await;
            }
            self.built = Some(Instant::now());
            match self.build().await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    return Err(DurableError::NoConsumer {
                        stream: self.bus.stream_name(Stream::Alerts),
                        consumer: self.bus.names().notify_consumer().to_owned(),
                    });
                }
                Err(error) => {
                    if said.is_none_or(|said| said.elapsed() >= STALL_LOG_INTERVAL) {
                        said = Some(Instant::now());
                        warn!(%error, "cannot read alerts; retrying");
                    }
                }
            }
        }
    }

    /// Returns false when there is no such consumer.
    async fn build(&mut self) -> Result<bool, async_nats::Error> {
        use async_nats::jetstream::{ErrorCode, stream::ConsumerErrorKind};
        let epoch = self.bus.connected().await;
        let stream = self.bus.stream_name(Stream::Alerts);
        let found = self.bus.jetstream().get_consumer_from_stream(self.bus.names().notify_consumer(), stream).await;
        let mut consumer: Consumer<pull::Config> = match found {
            Ok(consumer) => consumer,
            Err(error) => {
                let missing = match error.kind() {
                    ConsumerErrorKind::JetStream(refused) => {
                        matches!(refused.error_code(), ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND)
                    }
                    ConsumerErrorKind::TimedOut
                    | ConsumerErrorKind::Request
                    | ConsumerErrorKind::InvalidConsumerType
                    | ConsumerErrorKind::InvalidName
                    | ConsumerErrorKind::Other => false,
                };
                return if missing { Ok(false) } else { Err(error.into()) };
            }
        };
        // Back to the first alert that is not acknowledged: without it, what a predecessor had in hand would come only
        // after `ack_wait`, and after newer alerts (nats.md 2.4).
        consumer.reset(None).await?;
        let messages = consumer.stream().max_messages_per_batch(NOTIFY_ACK_PENDING_MAX).expires(EXPIRES);
        let messages = messages.heartbeat(HEARTBEAT).messages().await?;
        self.reading = Some(Reading { messages, epoch });
        Ok(true)
    }
}
