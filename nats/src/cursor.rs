//! Reading a stream in order from one's own cursor: never below it, never past anything that is held.
//!
//! The client's ordered consumers replay a whole stream when their server forgets them before the first message
//! (nats.md 2.3), so the place is kept here and the server's consumer is only a means that is rebuilt from it: after a
//! reconnect, a missed heartbeat, an error, or a gap in the consumer's own numbering.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use futures_util::StreamExt;
use schemas::{
    position::{Created, Sequence},
    subject::Stream,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    bus::{Bus, Connection},
    read::{Headers, RETRY_PAUSE, ReadError, Record, nanos},
};

/// Messages asked for at once: 381,000 a second (nats.md 0), and at most 64 MB in the client's buffer.
const BATCH_MAX: usize = 1000;
/// How long a request for messages waits at the server.
const EXPIRES: Duration = Duration::from_secs(5);
/// How often the server says that it is still there; two missed ones and the consumer is rebuilt.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After how long without requests the server forgets a consumer, such as one that was rebuilt elsewhere.
const INACTIVE_AFTER: Duration = Duration::from_secs(30);
/// A reader that cannot be rebuilt says so once per interval.
const STALL_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The log is not the one that was being read. Everything that may pass is waited out instead.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The stream was deleted and created again: positions in it mean something else.
    #[error("stream {stream:?} was created anew")]
    Recreated {
        /// Its name.
        stream: String,
    },
    /// The stream ends before the cursor: it was restored from an older copy.
    #[error("stream {stream:?} ends at {last}, before {next} that was to be read next")]
    Truncated {
        /// Its name.
        stream: String,
        /// The cursor.
        next: Sequence,
        /// The end of the stream.
        last: Sequence,
    },
    /// There is no such stream.
    #[error("stream {stream:?} not found; `foreshock topology apply` creates it")]
    NoStream {
        /// Its name.
        stream: String,
    },
}

/// A reader of one stream. Dropping [`Cursor::next`] loses nothing.
#[derive(Debug)]
pub struct Cursor {
    bus: Bus,
    stream: Stream,
    filter: Option<String>,
    next: Sequence,
    created: Option<Created>,
    reading: Option<Reading>,
    built: Option<Instant>,
    pending: u64,
}

/// One consumer at the server.
struct Reading {
    messages: pull::Stream,
    epoch: u64,
    delivered: u64,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("epoch", &self.epoch).field("delivered", &self.delivered).finish()
    }
}

impl Cursor {
    /// Opens a reader whose first message is at `from` or later (or the first that is held), of the subjects that match
    /// `filter`. Waits while NATS is away.
    ///
    /// # Errors
    /// [`CursorError::NoStream`], or [`CursorError::Truncated`] when `from` is more than one past the end.
    pub async fn open(bus: &Bus, stream: Stream, from: Sequence, filter: Option<String>) -> Result<Self, CursorError> {
        let next = from.max(Sequence::new(1));
        let bus = bus.clone();
        let mut cursor = Self { bus, stream, filter, next, created: None, reading: None, built: None, pending: 0 };
        cursor.rebuild().await?;
        Ok(cursor)
    }

    /// Returns the next place to be read.
    pub const fn position(&self) -> Sequence {
        self.next
    }

    /// Returns when the stream that is being read was created.
    pub const fn created(&self) -> Option<Created> {
        self.created
    }

    /// Returns how many messages the server is known to hold that were not read yet: 0 when the reader has caught up
    /// with what was stored when it was opened or when the last message was delivered.
    pub const fn pending(&self) -> u64 {
        self.pending
    }

    /// Returns the next message, waiting for it as long as it takes.
    ///
    /// # Errors
    /// See [`CursorError`]; after one the cursor is of no use.
    pub async fn next(&mut self) -> Result<Record, CursorError> {
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
                        if let Some(record) = self.accept(message) {
                            return Ok(record);
                        }
                    }
                    Some(Err(error)) => {
                        debug!(stream = self.stream.as_str(), %error, "the consumer is rebuilt");
                        self.reading = None;
                    }
                    None => self.reading = None,
                },
                _ = connection.wait_for(another) => self.reading = None,
            }
        }
    }

    /// Returns the next message, or nothing when [`Cursor::pending`] is 0.
    ///
    /// # Errors
    /// See [`CursorError`].
    pub async fn next_pending(&mut self) -> Result<Option<Record>, CursorError> {
        if self.pending == 0 { Ok(None) } else { self.next().await.map(Some) }
    }

    /// Takes a message in, unless it shows that the consumer has to be rebuilt.
    fn accept(&mut self, message: jetstream::Message) -> Option<Record> {
        let reading = self.reading.as_mut()?;
        let Ok(info) = message.info() else {
            self.reading = None;
            return None;
        };
        if info.consumer_sequence != reading.delivered + 1 {
            debug!(stream = self.stream.as_str(), "messages were lost on the way; the consumer is rebuilt");
            self.reading = None;
            return None;
        }
        reading.delivered = info.consumer_sequence;
        let sequence = Sequence::new(info.stream_sequence);
        if sequence < self.next {
            return None;
        }
        let (published_ns, pending) = (nanos(info.published), info.pending);
        self.next = sequence.next();
        self.pending = pending;
        let (message, _) = message.split();
        let subject = message.subject.into_string();
        let headers = Headers::from(message.headers);
        Some(Record { sequence, published_ns, subject, headers, payload: message.payload, pending })
    }

    /// Builds a consumer at the cursor, trying until NATS lets it.
    async fn rebuild(&mut self) -> Result<(), CursorError> {
        let mut said: Option<Instant> = None;
        loop {
            if let Some(built) = self.built {
                tokio::time::sleep_until(built + RETRY_PAUSE).await;
            }
            self.built = Some(Instant::now());
            match self.build().await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) => {
                    if said.is_none_or(|said| said.elapsed() >= STALL_LOG_INTERVAL) {
                        said = Some(Instant::now());
                        warn!(stream = self.stream.as_str(), %error, "cannot read; retrying");
                    }
                }
            }
        }
    }

    async fn build(&mut self) -> Result<(), Failure> {
        let epoch = self.bus.connected().await;
        let stream = self.bus.stream_name(self.stream);
        let state = self.bus.stream_state(self.stream).await?;
        if self.created.is_some_and(|created| created != state.created) {
            return Err(Failure::Final(CursorError::Recreated { stream }));
        }
        if self.next > state.last.next() {
            return Err(Failure::Final(CursorError::Truncated { stream, next: self.next, last: state.last }));
        }
        let passing = |error: async_nats::Error| Failure::Passing(error);
        let config = self.consumer();
        let consumer = self.bus.jetstream().create_consumer_on_stream(config, &stream).await;
        let consumer = consumer.map_err(|error| passing(error.into()))?;
        let messages = consumer.stream().max_messages_per_batch(BATCH_MAX).expires(EXPIRES).heartbeat(HEARTBEAT);
        let messages = messages.messages().await.map_err(|error| passing(error.into()))?;
        self.created = Some(state.created);
        self.pending = consumer.cached_info().num_pending;
        self.reading = Some(Reading { messages, epoch, delivered: 0 });
        Ok(())
    }

    fn consumer(&self) -> pull::Config {
        let reader = &self.bus.config().client_name;
        pull::Config {
            // nats.md 4: an unnamed consumer needs wider permissions than a named one.
            name: Some(format!("reader-{}", self.bus.unique_token())),
            description: Some(format!("read by {reader} from its own cursor")),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next.get() },
            ack_policy: AckPolicy::None,
            filter_subject: self.filter.clone().unwrap_or_default(),
            inactive_threshold: INACTIVE_AFTER,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        }
    }
}

/// Why a consumer cannot be built.
enum Failure {
    Final(CursorError),
    Passing(async_nats::Error),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoStream { stream } => Self::Final(CursorError::NoStream { stream }),
            ReadError::Unanswered { .. } => Self::Passing(error.into()),
        }
    }
}
