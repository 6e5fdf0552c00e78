//! The REST backfill of a gap (OKX alone has one, exchanges.md A.3).

use schemas::{market::Liquidation, time::EventTime};
use url::Url;

use crate::{
    account::Purpose,
    config::Market,
    exchange::Exchange,
    normalize::{Normalizer, Receipt, Refusal},
    okx,
    rest::{Rest, RestError, join},
    socket::now,
};

/// Farthest a backfill goes back, in milliseconds: the venue holds about a day (exchanges.md A.3).
const SPAN_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// What is taken before the gap, in milliseconds: the venue publishes out of order (exchanges.md A.3). Copies are dropped.
const SLACK_MS: i64 = 10_000;

/// How far the first connection of a live process goes back, in milliseconds: a restart takes seconds, and what happened
/// before is known to MARKET or too old to warn of.
const FIRST_SPAN_MS: i64 = 120_000;

/// Most pages of one family, 2,000 events; older ones of the gap are left out.
const FAMILY_PAGES_MAX: usize = 20;

/// Most requests of one backfill, for an ingest that tracks every base: families beyond it, by name, are left out.
const REQUESTS_MAX: usize = 100;

/// The span of a gap in venue time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// First moment, inclusive.
    pub(crate) from: EventTime,
    /// Last moment, inclusive: what is newer comes over the socket, in its order.
    pub(crate) until: EventTime,
}

impl Gap {
    /// Returns what to fetch when a feed became live at `until`, last heard at `heard`.
    ///
    /// A process that has heard nothing goes back two minutes in a live market and nowhere in a recorded one: there a
    /// second ingest begins amid what the first has still to publish, and must not overtake it.
    pub(crate) fn new(heard: Option<EventTime>, until: EventTime, market: Market) -> Option<Self> {
        let from = match (heard, market) {
            (Some(heard), Market::Live | Market::Recorded) => heard.plus_millis(-SLACK_MS),
            (None, Market::Live) => until.plus_millis(-FIRST_SPAN_MS),
            (None, Market::Recorded) => return None,
        };
        Some(Self { from: from.max(until.plus_millis(-SPAN_MS_MAX)), until })
    }

    fn contains(self, time: EventTime) -> bool {
        (self.from..=self.until).contains(&time)
    }
}

/// What a backfill found.
#[derive(Debug, Default)]
pub(crate) struct Backfilled {
    /// Oldest first.
    pub(crate) liquidations: Vec<Liquidation>,
    pub(crate) refused: Vec<Refusal>,
}

/// Fetches the gap of every tracked family.
pub(crate) async fn fetch(
    rest: Rest,
    base: Url,
    normalizer: Normalizer,
    gap: Gap,
    market: Market,
) -> Result<Backfilled, RestError> {
    let mut found = Backfilled::default();
    let mut requests = 0;
    for family in families(&normalizer) {
        let mut after = None;
        for _ in 0..FAMILY_PAGES_MAX {
            if requests == REQUESTS_MAX {
                tracing::warn!(requests, "the backfill reached its bound; the families after {family} are left out");
                return Ok(found.in_order());
            }
            requests += 1;
            let read = |reply: &[u8]| {
                let receipt = match market {
                    Market::Live => Receipt::Live(now()),
                    Market::Recorded => Receipt::Recorded,
                };
                okx::page::parse(reply, &normalizer, receipt)
            };
            let url = join(&base, &path(&family, after));
            let page = match rest.get(Exchange::Okx, &url, Purpose::Upkeep, read).await {
                // What was fetched so far is true without the rest.
                Err(RestError::Denied(denied)) if requests > 1 => {
                    tracing::warn!(requests, "the backfill ends at {family}: {denied}");
                    return Ok(found.in_order());
                }
                page => page?,
            };
            found.refused.extend(page.refused);
            found.liquidations.extend(page.liquidations.into_iter().filter(|event| gap.contains(event.event_time)));
            // A page that goes no further back is the last one, or a venue that ignores `after`.
            if page.oldest.is_none_or(|oldest| oldest < gap.from || after.is_some_and(|after| oldest >= after)) {
                break;
            }
            after = page.oldest;
        }
    }
    Ok(found.in_order())
}

impl Backfilled {
    fn in_order(mut self) -> Self {
        self.liquidations.sort_by_key(|event| event.event_time);
        self
    }
}

/// The family is the name of a swap without its suffix (exchanges.md A.3, D).
fn families(normalizer: &Normalizer) -> Vec<String> {
    let instruments = normalizer.instruments().of_bases(normalizer.bases());
    instruments.iter().filter_map(|name| name.as_str().strip_suffix("-SWAP").map(str::to_owned)).collect()
}

fn path(family: &str, after: Option<EventTime>) -> String {
    let after = after.map_or_else(String::new, |after| format!("&after={}", after.as_millis()));
    format!("/api/v5/public/liquidation-orders?instType=SWAP&uly={family}&state=filled&limit=100{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_bounded_by_what_was_heard_and_by_a_day() {
        let at = EventTime::from_millis;
        let until = at(1_772_622_790_000);
        let from = |heard, market| Gap::new(heard, until, market).map(|gap| gap.from.millis_since(until));
        assert_eq!(from(Some(until.plus_millis(-30_000)), Market::Live), Some(-40_000));
        assert_eq!(from(Some(at(0)), Market::Recorded), Some(-SPAN_MS_MAX));
        assert_eq!(from(None, Market::Live), Some(-120_000));
        assert_eq!(from(None, Market::Recorded), None);
    }
}
