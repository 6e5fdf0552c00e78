//! The versions of the rules: in force by their place in MARKET, kept for ever in the index RULES.

use async_nats::HeaderMap;
use schemas::{
    market::{MarketEvent, Rules},
    position::{MarketPosition, Sequence},
    subject::{HEADER_POSITION, Stream},
    wire::{self, DecodeError},
};

use crate::{
    bus::Bus,
    cursor::{Cursor, CursorError},
    log::{Expect, PublishError, Stored, encode, expect_last},
    read::{ReadError, Record},
};

/// A version of the rules, and where it came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesVersion {
    /// The version.
    pub rules: Rules,
    /// Its MARKET position. Positions of an earlier MARKET stay in the index and are of no place in this one.
    pub position: MarketPosition,
}

/// The versions of the rules cannot be read or indexed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A stream does not answer.
    #[error("the rules cannot be looked up")]
    Read(#[from] ReadError),
    /// A stream is not the one it was.
    #[error("the rules cannot be read")]
    Cursor(#[from] CursorError),
    /// A version was not acknowledged.
    #[error("a version of the rules cannot be indexed")]
    Publish(#[from] PublishError),
    /// A stored version cannot be understood.
    #[error("the rules at {sequence} of {stream} cannot be decoded")]
    Undecodable {
        /// The stream.
        stream: &'static str,
        /// The place.
        sequence: Sequence,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

impl Bus {
    /// Returns the version in force at the end of MARKET, if MARKET still holds it, with its place: the sequence is what
    /// [`Bus::publish_rules`] expects.
    ///
    /// # Errors
    /// See [`RulesError`].
    pub async fn rules_in_market(&self) -> Result<Option<(Rules, Sequence)>, RulesError> {
        let Some(record) = self.last_on_subject(Stream::Market, &self.names().rules()).await? else { return Ok(None) };
        let rules = rules_of(Stream::Market, &record)?;
        Ok(rules.map(|rules| (rules, record.sequence)))
    }

    /// Returns every version in RULES, oldest first.
    ///
    /// # Errors
    /// See [`RulesError`].
    pub async fn rules_versions(&self) -> Result<Vec<RulesVersion>, RulesError> {
        let mut versions = Vec::new();
        let mut cursor = Cursor::open(self, Stream::Rules, Sequence::new(1), None).await?;
        while let Some(record) = cursor.next_pending().await? {
            let rules = rules_of(Stream::Rules, &record)?;
            if let (Some(rules), Some(position)) = (rules, record.headers.position()) {
                versions.push(RulesVersion { rules, position });
            }
        }
        versions.sort_by_key(|version| version.rules.version);
        Ok(versions)
    }

    /// Puts a version into RULES, unless it is there.
    ///
    /// # Errors
    /// See [`PublishError`]; repeating is always safe.
    pub async fn index_rules(&self, version: &RulesVersion) -> Result<(), PublishError> {
        let subject = self.names().rules_version(version.rules.version);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_POSITION, version.position.to_string());
        expect_last(&mut headers, Expect::LastSubjectSequence(Sequence::new(0)));
        let encoded = encode(&subject, &MarketEvent::Rules(version.rules.clone()))?;
        match self.store(&subject, encoded, headers, Some(&version.rules.id.to_string())).await {
            Ok(Stored { .. }) | Err(PublishError::WrongLastSequence { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts every version MARKET holds and RULES lacks into RULES, and returns how many those were.
    ///
    /// # Errors
    /// See [`RulesError`].
    pub async fn repair_rules(&self) -> Result<usize, RulesError> {
        let known: Vec<u64> = self.rules_versions().await?.iter().map(|known| known.rules.version).collect();
        let mut cursor = Cursor::open(self, Stream::Market, Sequence::new(1), Some(self.names().rules())).await?;
        let mut repaired = 0;
        while let Some(record) = cursor.next_pending().await? {
            let (Some(rules), Some(created)) = (rules_of(Stream::Market, &record)?, cursor.created()) else { continue };
            if !known.contains(&rules.version) {
                let position = MarketPosition { created, sequence: record.sequence };
                self.index_rules(&RulesVersion { rules, position }).await?;
                repaired += 1;
            }
        }
        Ok(repaired)
    }

    /// Returns whether a version of the rules is in force: in MARKET, or in the index because MARKET was trimmed past it.
    /// What came into force in an earlier MARKET is not.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) async fn has_rules(&self) -> Result<bool, ReadError> {
        if self.last_on_subject(Stream::Market, &self.names().rules()).await?.is_some() {
            return Ok(true);
        }
        let index = self.stream_state(Stream::Rules).await?;
        if index.messages == 0 {
            return Ok(false);
        }
        let last = self.message_at(Stream::Rules, index.last).await?;
        let position = last.and_then(|record| record.headers.position());
        let created = self.market_state().await?.created;
        Ok(position.is_some_and(|position| position.created == created))
    }
}

/// Returns nothing for an event of another type.
fn rules_of(stream: Stream, record: &Record) -> Result<Option<Rules>, RulesError> {
    match wire::decode::<MarketEvent>(&record.payload) {
        Ok(MarketEvent::Rules(rules)) => Ok(Some(rules)),
        Ok(
            MarketEvent::Liquidation(_) | MarketEvent::OpenInterest(_) | MarketEvent::Feed(_) | MarketEvent::Canary(_),
        ) => Ok(None),
        Err(source) => Err(RulesError::Undecodable { stream: stream.as_str(), sequence: record.sequence, source }),
    }
}
