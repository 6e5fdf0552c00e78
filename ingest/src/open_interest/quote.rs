//! What a venue states about open interest, before any of it is judged.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::normalize::{Reason, Refusal, excerpt};

/// Most rows read from one answer: Bybit and OKX list under a thousand instruments. The rest is refused as one
/// `oversized`.
const ROWS_MAX: usize = 4096;

/// A statement about one instrument; figures as the venue wrote them, absent what it did not state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The venue's name of the instrument.
    pub instrument: String,
    /// The venue's time of the statement, in milliseconds since 1970 UTC.
    pub time_ms: Option<i64>,
    /// How it relates to what was stated before.
    pub scope: Scope,
    /// The open interest.
    pub size: Option<Size>,
    /// The mark price in USD per coin.
    pub mark: Option<String>,
}

/// How a statement relates to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It stands for itself.
    Statement,
    /// It replaces everything stated before.
    Snapshot,
    /// What it leaves out is unchanged since the snapshot and the deltas before it (Bybit, exchanges.md C.1).
    Delta,
}

/// An open interest in the venue's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// Coins, each contract once.
    Coins(String),
    /// Coins, longs and shorts together: twice the open interest (Bybit, exchanges.md C.3).
    CoinsOfBothSides(String),
    /// Contracts, each once (OKX).
    Contracts {
        /// Contracts.
        contracts: String,
        /// The same in coins.
        coins: String,
        /// The same in USD.
        usd: Option<String>,
    },
}

/// What one REST answer states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What could be read, in the venue's order.
    pub quotes: Vec<Quote>,
    /// What could not.
    pub refused: Vec<Refusal>,
}

impl Batch {
    /// Reads every row on its own: one that cannot be read loses nothing but itself.
    pub(crate) fn of<'a, Row: Deserialize<'a>>(rows: &[&'a RawValue], quote: impl Fn(Row) -> Option<Quote>) -> Self {
        let mut batch = Self::default();
        for row in rows.iter().take(ROWS_MAX) {
            match serde_json::from_str(row.get()) {
                Ok(row) => batch.quotes.extend(quote(row)),
                Err(_) => {
                    let detail = excerpt(row.get().as_bytes());
                    batch.refused.push(Refusal { reason: Reason::UnknownFrame, detail });
                }
            }
        }
        if rows.len() > ROWS_MAX {
            batch.refused.push(Refusal { reason: Reason::Oversized, detail: format!("{} rows", rows.len()) });
        }
        batch
    }
}
