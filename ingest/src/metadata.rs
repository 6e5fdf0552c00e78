//! What the three instruments replies have in common.

use std::collections::BTreeMap;

use schemas::name::Instrument;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    exchange::Exchange,
    instruments::{Contract, Instruments, InvalidReply, Page},
    normalize::escape,
};

/// Reads a reply's outer shape.
pub(crate) fn outer<'a, Reply: Deserialize<'a>>(exchange: Exchange, reply: &'a [u8]) -> Result<Reply, InvalidReply> {
    serde_json::from_slice(reply)
        .map_err(|error| InvalidReply::Malformed { exchange, detail: escape(&error.to_string()) })
}

/// Reads every row on its own: one that cannot be read is counted and loses nothing but itself. `contract` answers
/// nothing for a row that is well formed and not for us.
pub(crate) fn rows<'a, Row: Deserialize<'a>>(
    exchange: Exchange,
    rows: &[&'a RawValue],
    contract: impl Fn(Row) -> Result<Option<(Instrument, Contract)>, InvalidRow>,
) -> Page {
    let mut listed = BTreeMap::new();
    let mut skipped = 0;
    for row in rows {
        match serde_json::from_str(row.get()).map_err(|_| InvalidRow).and_then(&contract) {
            Ok(Some((instrument, contract))) => {
                listed.insert(instrument, contract);
            }
            Ok(None) => {}
            Err(InvalidRow) => skipped += 1,
        }
    }
    Page { instruments: Instruments::listed(exchange, listed), next: None, skipped }
}

/// A row of an instruments reply cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidRow;
