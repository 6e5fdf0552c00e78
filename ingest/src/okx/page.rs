//! The REST backfill `GET /api/v5/public/liquidation-orders`: the same fields as the socket, a page at a time.

use schemas::{market::Liquidation, time::EventTime};
use serde_json::value::RawValue;

use crate::{
    instruments::InvalidReply,
    normalize::{Kind, Normalizer, Receipt, Refusal},
    okx::{
        message::{Detail, Orders},
        metadata::data,
        parse::orders,
    },
    reading::Ordinals,
};

/// One page of a backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The liquidations of tracked bases, each with ordinal 1, in the venue's order (newest first).
    pub liquidations: Vec<Liquidation>,
    /// What could not be taken, and why.
    pub refused: Vec<Refusal>,
    /// The oldest time on the page, the `after` of the next one; nothing when the page is empty.
    pub oldest: Option<EventTime>,
}

/// Reads one page.
///
/// # Errors
/// [`InvalidReply`] when it is no such page or an error of the venue.
pub fn parse(reply: &[u8], normalizer: &Normalizer, receipt: Receipt) -> Result<Page, InvalidReply> {
    let rows = data(reply)?.data;
    let oldest = rows.iter().flat_map(|row| times(row.get())).min().map(EventTime::from_millis);
    let mut reading = normalizer.reading(receipt, Ordinals::One);
    orders(&rows, &mut reading);
    let frame = reading.finish(Kind::Liquidations);
    Ok(Page { liquidations: frame.liquidations, refused: frame.refused, oldest })
}

/// Returns the times of one instrument's rows, read apart from the events: a row that is refused still has a place.
fn times(row: &str) -> Vec<i64> {
    let details = serde_json::from_str::<Orders<'_>>(row).map(|orders| orders.details).unwrap_or_default();
    let time = |detail: &&RawValue| serde_json::from_str::<Detail<'_>>(detail.get()).ok()?.ts.parse().ok();
    details.iter().filter_map(time).collect()
}
