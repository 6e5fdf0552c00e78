//! Where a fold of MARKET goes on, or begins.

use anyhow::Context as _;
use detect::detector::{CODE, Detector, Start as FoldStart};
use nats::Bus;
use schemas::{
    id::Id,
    market::MarketEvent,
    position::{Created, Sequence},
    subject::Stream,
};
use tracing::{info, warn};

/// A detector and the first place it has to read.
pub(crate) struct Start {
    pub(crate) detector: Detector,
    pub(crate) created: Created,
    pub(crate) from: Sequence,
    /// The last message folded in, with the id it was published under.
    pub(crate) last: Option<(Sequence, Option<Id>)>,
    /// What fires before this place is in ALERTS already.
    pub(crate) skip_before: Sequence,
}

/// Goes on from the snapshot of this code if it matches the log, else begins at the first retained message and leaves
/// out what ALERTS holds already (design 4, State).
pub(super) async fn find(bus: &Bus) -> anyhow::Result<Start> {
    let market = bus.market_state().await?;
    if let Some((head, state)) = bus.load_snapshot(CODE, market.created).await? {
        match Detector::restore(&state) {
            Ok(detector) => {
                info!(position = %head.position, bytes = state.len(), "detector goes on from a snapshot");
                return Ok(Start {
                    detector,
                    created: market.created,
                    from: head.position.next(),
                    last: Some((head.position, Some(head.id_at_position))),
                    skip_before: Sequence::new(0),
                });
            }
            Err(error) => warn!(%error, "snapshot not used"),
        }
    }
    let skip_before = newest_alert_position(bus, market.created).await?;
    Ok(Start { skip_before, ..from_the_first(bus).await? })
}

/// Begins at the first retained message of MARKET.
pub(crate) async fn from_the_first(bus: &Bus) -> anyhow::Result<Start> {
    let market = bus.market_state().await?;
    let is_complete = market.first <= Sequence::new(1);
    let mut detector = Detector::new(if is_complete { FoldStart::Complete } else { FoldStart::Trimmed });
    if !is_complete {
        info!(first = %market.first, "MARKET was trimmed: alerts begin once the look-back is full");
        let versions = bus.rules_versions().await?;
        let in_force = versions
            .into_iter()
            .rev()
            .find(|version| version.position.created == market.created && version.position.sequence < market.first);
        if let Some(version) = in_force {
            detector.handle_event(version.position.sequence, &MarketEvent::Rules(version.rules));
        }
    }
    Ok(Start { detector, created: market.created, from: market.first, last: None, skip_before: Sequence::new(0) })
}

/// Returns the largest position in ALERTS: alerts lie there in the order of their positions, so the last one has it. Canaries, which
/// go after an hour and leave the stream's last place empty, do not count.
async fn newest_alert_position(bus: &Bus, created: Created) -> anyhow::Result<Sequence> {
    let last = bus.last_on_subject(Stream::Alerts, &bus.names().alerts()).await;
    let position = last.context("the newest alert cannot be read")?.and_then(|record| record.headers.position());
    Ok(position.filter(|position| position.created == created).map_or(Sequence::new(0), |position| position.sequence))
}
