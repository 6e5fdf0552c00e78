//! Places in a stream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A place in a stream: its sequence number, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sequence(u64);

impl Sequence {
    /// Takes a stream sequence number; 0 is the place before the first message.
    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When the server created a stream, in nanoseconds since 1970 UTC: positions are compared only within one creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Created(i64);

impl Created {
    /// Takes nanoseconds since 1970 UTC on the server's clock.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns nanoseconds since 1970 UTC on the server's clock.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

/// The MARKET position of a firing event as the header `Foreshock-Position` carries it: `<created of MARKET>:<sequence>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketPosition {
    /// When MARKET was created.
    pub created: Created,
    /// The place of the event in it.
    pub sequence: Sequence,
}

impl fmt::Display for MarketPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.created.0, self.sequence)
    }
}

/// A text is not a MARKET position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a position: `<created>:<sequence>` is expected")]
pub struct InvalidPosition(String);

impl FromStr for MarketPosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPosition(text.to_owned());
        let (created, sequence) = text.rsplit_once(':').ok_or_else(invalid)?;
        Ok(Self {
            created: Created(created.parse().map_err(|_| invalid())?),
            sequence: Sequence(sequence.parse().map_err(|_| invalid())?),
        })
    }
}

/// The range of MARKET that holds the evidence of an alert, as the header `Foreshock-Evidence` carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The first event, inclusive.
    pub first: Sequence,
    /// The last event, inclusive.
    pub last: Sequence,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MARKET:{}-{}", self.first, self.last)
    }
}

/// A text is not a range of MARKET.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not evidence: `MARKET:<first>-<last>` is expected")]
pub struct InvalidEvidence(String);

impl FromStr for Evidence {
    type Err = InvalidEvidence;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidEvidence(text.to_owned());
        let range = text.strip_prefix("MARKET:").ok_or_else(invalid)?;
        let (first, last) = range.split_once('-').ok_or_else(invalid)?;
        Ok(Self {
            first: Sequence(first.parse().map_err(|_| invalid())?),
            last: Sequence(last.parse().map_err(|_| invalid())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_back() {
        let position =
            MarketPosition { created: Created::from_nanos(1_763_922_488_123_456_789), sequence: Sequence(42) };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!("42".parse::<MarketPosition>().is_err());
    }

    #[test]
    fn evidence_is_read_back() {
        let evidence = Evidence { first: Sequence(7), last: Sequence(42) };
        assert_eq!(evidence.to_string().parse(), Ok(evidence));
        assert!("ALERTS:7-42".parse::<Evidence>().is_err());
    }
}
