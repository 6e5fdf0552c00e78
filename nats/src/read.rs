//! Looking into streams: their state, single messages, and what lies from some place on.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    datetime::DateTime,
    header::NATS_MESSAGE_ID,
    jetstream::{
        ErrorCode,
        context::GetStreamErrorKind,
        message::StreamMessage,
        stream::{DirectGetError, DirectGetErrorKind},
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use schemas::{
    position::{Created, Evidence, MarketPosition, Sequence},
    subject::{HEADER_DETECTED_AT, HEADER_EVIDENCE, HEADER_POSITION, HEADER_SCHEMA, Stream},
};

use crate::bus::Bus;

/// The extent of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// When the server created it.
    pub created: Created,
    /// The first place still held; one above `last` when nothing is held.
    pub first: Sequence,
    /// The last place ever written; 0 when nothing was.
    pub last: Sequence,
    /// Messages held.
    pub messages: u64,
    /// Bytes held.
    pub bytes: u64,
}

/// A stored message. Its payload is not decoded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place.
    pub sequence: Sequence,
    /// The server's clock when it was stored, in nanoseconds since 1970 UTC.
    pub published_ns: i64,
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// MessagePack.
    pub payload: Bytes,
    /// How many messages the server held after this one for the same reader; 0 for a single look-up.
    pub pending: u64,
}

/// The headers of a stored message, by meaning. A header that cannot be read is as good as absent.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// Returns the id the message was published under.
    pub fn message_id(&self) -> Option<&str> {
        self.0.get(NATS_MESSAGE_ID).map(AsRef::as_ref)
    }

    /// Returns `<type>/<version>` of the payload.
    pub fn schema(&self) -> Option<&str> {
        self.text(HEADER_SCHEMA)
    }

    /// Returns the MARKET position of the firing event.
    pub fn position(&self) -> Option<MarketPosition> {
        self.text(HEADER_POSITION)?.parse().ok()
    }

    /// Returns the range of MARKET that holds the evidence.
    pub fn evidence(&self) -> Option<Evidence> {
        self.text(HEADER_EVIDENCE)?.parse().ok()
    }

    /// Returns the host's clock when the alert was detected, in milliseconds since 1970 UTC.
    pub fn detected_at_ms(&self) -> Option<i64> {
        self.text(HEADER_DETECTED_AT)?.parse().ok()
    }
}

impl From<Option<HeaderMap>> for Headers {
    fn from(headers: Option<HeaderMap>) -> Self {
        Self(headers.unwrap_or_default())
    }
}

/// A question about a stream was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such stream.
    #[error("stream {stream:?} not found; `foreshock topology apply` creates it")]
    NoStream {
        /// Its name.
        stream: String,
    },
    /// No answer, or one that may change.
    #[error("stream {stream:?} does not answer")]
    Unanswered {
        /// Its name.
        stream: String,
        /// What the client or the server said.
        #[source]
        source: async_nats::Error,
    },
}

impl ReadError {
    /// Returns whether asking again may help.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NoStream { .. } => false,
            Self::Unanswered { .. } => true,
        }
    }

    pub(crate) fn unanswered(stream: &str, source: impl Into<async_nats::Error>) -> Self {
        Self::Unanswered { stream: stream.to_owned(), source: source.into() }
    }
}

/// From where a batch is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadFrom {
    /// This place.
    Sequence(Sequence),
    /// The first message the server stored at or after this moment, in milliseconds since 1970 UTC.
    StoredAt(i64),
}

impl Bus {
    /// Returns the extent of MARKET.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn market_state(&self) -> Result<StreamState, ReadError> {
        self.stream_state(Stream::Market).await
    }

    /// Returns the extent of a stream.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn stream_state(&self, stream: Stream) -> Result<StreamState, ReadError> {
        let name = self.stream_name(stream);
        let found = self.jetstream().get_stream(&name).await.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(refused) if refused.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                ReadError::NoStream { stream: name.clone() }
            }
            GetStreamErrorKind::JetStream(_)
            | GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::InvalidStreamName
            | GetStreamErrorKind::Request => ReadError::unanswered(&name, error),
        })?;
        let info = found.cached_info();
        Ok(StreamState {
            created: Created::from_nanos(nanos(info.created)),
            first: Sequence::new(info.state.first_sequence),
            last: Sequence::new(info.state.last_sequence),
            messages: info.state.messages,
            bytes: info.state.bytes,
        })
    }

    /// Returns the message at a place, if it is still held.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn message_at(&self, stream: Stream, sequence: Sequence) -> Result<Option<Record>, ReadError> {
        let name = self.stream_name(stream);
        let handle = self.jetstream().get_stream_no_info(&name).await.map_err(|e| ReadError::unanswered(&name, e))?;
        looked_up(&name, handle.direct_get(sequence.get()).await)
    }

    /// Returns the last message on a subject, or on any that a filter with wildcards fits.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn last_on_subject(&self, stream: Stream, subject: &str) -> Result<Option<Record>, ReadError> {
        let name = self.stream_name(stream);
        let handle = self.jetstream().get_stream_no_info(&name).await.map_err(|e| ReadError::unanswered(&name, e))?;
        looked_up(&name, handle.direct_get_last_for_subject(subject).await)
    }

    /// Returns the place of the first message the server stored at or after a moment of its clock, in milliseconds since
    /// 1970 UTC; one past the end when there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn first_stored_at(&self, stream: Stream, millis: i64) -> Result<Sequence, ReadError> {
        let last = self.stream_state(stream).await?.last;
        let first = self.batch(stream, ReadFrom::StoredAt(millis), ">", 1).await?;
        Ok(first.first().map_or_else(|| last.next(), |record| record.sequence))
    }

    /// Returns up to `count` messages that match `filter`, in order. An empty answer means that there are none.
    ///
    /// Unlike a consumer it says what is held at this moment and leaves nothing behind on the server. async-nats 0.51
    /// has no call for it (nats.md 1).
    pub(crate) async fn batch(
        &self,
        stream: Stream,
        from: ReadFrom,
        filter: &str,
        count: u32,
    ) -> Result<Vec<Record>, ReadError> {
        let name = self.stream_name(stream);
        let mut request = serde_json::json!({ "next_by_subj": filter, "batch": count });
        match from {
            ReadFrom::Sequence(sequence) => request["seq"] = sequence.get().max(1).into(),
            ReadFrom::StoredAt(millis) => request["start_time"] = rfc3339(millis).into(),
        }
        let unanswered = |source: async_nats::Error| ReadError::unanswered(&name, source);
        let inbox = self.client().new_inbox();
        let mut answers = self.client().subscribe(inbox.clone()).await.map_err(|e| unanswered(e.into()))?;
        let subject = format!("$JS.API.DIRECT.GET.{name}");
        let request = Bytes::from(request.to_string());
        self.client().publish_with_reply(subject, inbox, request).await.map_err(|e| unanswered(e.into()))?;
        let mut records = Vec::new();
        loop {
            let answer = tokio::time::timeout(Self::REQUEST_TIMEOUT, answers.next())
                .await
                .map_err(|elapsed| unanswered(elapsed.into()))?
                .ok_or_else(|| unanswered("the connection was closed".into()))?;
            match answer.status.map(|status| status.as_u16()) {
                None => {
                    let message = StreamMessage::try_from(answer).map_err(|e| unanswered(e.into()))?;
                    records.push(record(message));
                }
                Some(END_OF_BATCH | NOTHING_FOUND) => return Ok(records),
                Some(status) => return Err(unanswered(format!("status {status}").into())),
            }
        }
    }
}

/// ADR-31: a direct batch ends with an empty message of this status.
const END_OF_BATCH: u16 = 204;
/// ADR-31: no message matches.
const NOTHING_FOUND: u16 = 404;

fn looked_up(stream: &str, answer: Result<StreamMessage, DirectGetError>) -> Result<Option<Record>, ReadError> {
    match answer {
        Ok(message) => Ok(Some(record(message))),
        Err(error) => match error.kind() {
            DirectGetErrorKind::NotFound => Ok(None),
            DirectGetErrorKind::InvalidSubject
            | DirectGetErrorKind::TimedOut
            | DirectGetErrorKind::Request
            | DirectGetErrorKind::ErrorResponse(..)
            | DirectGetErrorKind::Other => Err(ReadError::unanswered(stream, error)),
        },
    }
}

fn record(message: StreamMessage) -> Record {
    Record {
        sequence: Sequence::new(message.sequence),
        published_ns: nanos(message.time),
        subject: message.subject.into_string(),
        headers: Headers(message.headers),
        payload: message.payload,
        pending: 0,
    }
}

/// Returns nanoseconds since 1970 UTC, held at the ends of the range (year 2262).
pub(crate) fn nanos(moment: DateTime) -> i64 {
    let nanos = moment.unix_timestamp_nanos();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Pause between two attempts of a call that is repeated until it succeeds.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(250);
