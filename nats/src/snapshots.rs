//! Snapshots of the detector in the bucket STATE: chunks first, then one head that names them.
//!
//! A head is replaced by compare-and-set, so of two workers the one that is further on wins, and a reader sees either a
//! whole snapshot or none (design 4, State).

use async_nats::{
    HeaderMap,
    jetstream::{
        context::{PublishError as NatsPublishError, PublishErrorKind},
        message::{PublishMessage, StreamMessage},
        stream::{DirectGetErrorKind, Stream as Handle},
    },
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use schemas::{
    id::Id,
    name::subject_token,
    position::{Created, Sequence},
    subject::{Bucket, Stream},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    bus::Bus,
    log::{Expect, expect_last},
    read::ReadError,
    topology::{bucket_stream, bucket_subject},
};

/// Bytes of one chunk at most, so that it fits a message of 64 KB with its headers (design 4).
const CHUNK_BYTES_MAX: usize = 48 * 1024;
/// Bytes of one snapshot at most: STATE must hold three of them. A larger one is refused.
const SNAPSHOT_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Another worker may replace the head while this one looks at it; more often than this it is left to the next time.
const ATTEMPTS_MAX: u32 = 4;

/// Which state of which code a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Digest of the code and whatever else makes state incompatible.
    pub code: String,
    /// When the MARKET it is a fold of was created.
    pub created: Created,
    /// The last place folded into it.
    pub position: Sequence,
    /// The id of the event at that place, which must still lie there.
    pub id_at_position: Id,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    /// It is the one to start from.
    Saved,
    /// One that is as far or further on is there already and matches the log.
    Superseded,
}

/// A snapshot cannot be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is larger than STATE takes.
    #[error("a snapshot of {bytes} bytes is over the limit of {SNAPSHOT_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Other workers kept replacing the head.
    #[error("the head of the snapshot kept changing")]
    Contended,
    /// STATE does not answer or refuses.
    #[error("the bucket of snapshots does not take or give anything")]
    State(#[source] async_nats::Error),
    /// MARKET does not answer.
    #[error("a snapshot cannot be compared with the log")]
    Market(#[from] ReadError),
}

/// The head as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredHead {
    #[serde(flatten)]
    head: SnapshotHead,
    chunks: u32,
    bytes: usize,
    sha256: String,
}

impl Bus {
    /// Saves a snapshot, unless a newer one that matches the log is there. Call it when every output up to its position
    /// is stored.
    ///
    /// # Errors
    /// See [`SnapshotError`]; the snapshot before stays in place.
    pub async fn save_snapshot(&self, head: &SnapshotHead, state: &[u8]) -> Result<SaveOutcome, SnapshotError> {
        if state.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes: state.len() });
        }
        let mut chunks_stored = false;
        for _ in 0..ATTEMPTS_MAX {
            let (revision, before) = self.head(&head.code, head.created).await?;
            if let Some(before) = &before
                && before.head.position >= head.position
                && self.matches_log(&before.head).await?
            {
                return Ok(SaveOutcome::Superseded);
            }
            if !chunks_stored {
                for (index, chunk) in state.chunks(CHUNK_BYTES_MAX).enumerate() {
                    self.write_state(&chunk_key(head, index), chunk.to_vec().into(), Expect::Any)
                        .await
                        .map_err(state_error)?;
                }
                chunks_stored = true;
            }
            let stored = StoredHead {
                head: head.clone(),
                chunks: u32::try_from(state.len().div_ceil(CHUNK_BYTES_MAX)).expect("20 MB are few chunks"),
                bytes: state.len(),
                sha256: HEXLOWER.encode(&Sha256::digest(state)),
            };
            let value = serde_json::to_vec(&stored).expect("a head holds only strings and integers");
            let expect = Expect::LastSubjectSequence(revision);
            match self.write_state(&head_key(&head.code, head.created), value.into(), expect).await {
                Ok(()) => {
                    let keep_from = before.map_or(head.position, |before| before.head.position.min(head.position));
                    self.purge_chunks(head, keep_from).await?;
                    return Ok(SaveOutcome::Saved);
                }
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
                Err(error) => return Err(state_error(error)),
            }
        }
        Err(SnapshotError::Contended)
    }

    /// Loads the snapshot of this code for this MARKET, if it is whole and matches the log.
    ///
    /// # Errors
    /// See [`SnapshotError`]. A snapshot that is damaged or does not match is no error: there is none.
    pub async fn load_snapshot(
        &self,
        code: &str,
        created: Created,
    ) -> Result<Option<(SnapshotHead, Vec<u8>)>, SnapshotError> {
        let (_, Some(stored)) = self.head(code, created).await? else { return Ok(None) };
        if stored.head.code != code || stored.bytes > SNAPSHOT_BYTES_MAX || !self.matches_log(&stored.head).await? {
            return Ok(None);
        }
        let mut state = Vec::with_capacity(stored.bytes);
        for index in 0..stored.chunks as usize {
            match self.read_state(&chunk_key(&stored.head, index)).await? {
                Some(chunk) => state.extend_from_slice(&chunk.payload),
                None => return Ok(None),
            }
        }
        let whole = state.len() == stored.bytes && HEXLOWER.encode(&Sha256::digest(&state)) == stored.sha256;
        Ok(whole.then_some((stored.head, state)))
    }

    /// Returns whether the log is the one the snapshot is a fold of, and still holds its position.
    async fn matches_log(&self, head: &SnapshotHead) -> Result<bool, ReadError> {
        let market = self.market_state().await?;
        if market.created != head.created || head.position > market.last || head.position < market.first {
            return Ok(false);
        }
        let there = self.message_at(Stream::Market, head.position).await?;
        let id = there.and_then(|record| record.headers.message_id()?.parse::<Id>().ok());
        Ok(id == Some(head.id_at_position))
    }

    /// Returns the head and its revision: 0 when there is none.
    async fn head(&self, code: &str, created: Created) -> Result<(Sequence, Option<StoredHead>), SnapshotError> {
        let Some(entry) = self.read_state(&head_key(code, created)).await? else {
            return Ok((Sequence::new(0), None));
        };
        Ok((Sequence::new(entry.sequence), serde_json::from_slice(&entry.payload).ok()))
    }

    async fn read_state(&self, key: &str) -> Result<Option<StreamMessage>, SnapshotError> {
        let subject = bucket_subject(self.names(), Bucket::State, key);
        match self.state_stream().await?.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(SnapshotError::State(error.into())),
        }
    }

    async fn write_state(&self, key: &str, value: Bytes, expect: Expect) -> Result<(), NatsPublishError> {
        let mut headers = HeaderMap::new();
        expect_last(&mut headers, expect);
        let message = PublishMessage::build().payload(value).headers(headers);
        let subject = bucket_subject(self.names(), Bucket::State, key);
        self.jetstream().send_publish(subject, message).await?.await.map(|_| ())
    }

    /// Removes the chunks of positions before `keep_from`. A worker that is writing a later one loses nothing.
    async fn purge_chunks(&self, head: &SnapshotHead, keep_from: Sequence) -> Result<(), SnapshotError> {
        let stream = self.state_stream().await?;
        let all = bucket_subject(self.names(), Bucket::State, &format!("{}.>", chunks_key(&head.code, head.created)));
        let mut subjects = stream.info_with_subjects(&all).await.map_err(|e| SnapshotError::State(e.into()))?;
        let depth = all.split('.').count();
        let mut old = std::collections::BTreeSet::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|e| SnapshotError::State(e.into()))?;
            let position = subject.split('.').nth(depth - 1).and_then(|token| token.parse().ok()).map(Sequence::new);
            old.extend(position.filter(|position| *position < keep_from));
        }
        for position in old {
            let of_position = all.trim_end_matches('>').to_owned() + &format!("{position}.*");
            stream.purge().filter(of_position).await.map_err(|e| SnapshotError::State(e.into()))?;
        }
        Ok(())
    }

    async fn state_stream(&self) -> Result<Handle<()>, SnapshotError> {
        let name = bucket_stream(self.names(), Bucket::State);
        self.jetstream().get_stream_no_info(name).await.map_err(|e| SnapshotError::State(e.into()))
    }
}

fn state_error(error: NatsPublishError) -> SnapshotError {
    SnapshotError::State(error.into())
}

fn head_key(code: &str, created: Created) -> String {
    format!("head.{}.{}", subject_token(code), created.as_nanos())
}

fn chunks_key(code: &str, created: Created) -> String {
    format!("chunk.{}.{}", subject_token(code), created.as_nanos())
}

fn chunk_key(head: &SnapshotHead, index: usize) -> String {
    format!("{}.{}.{index}", chunks_key(&head.code, head.created), head.position)
}
