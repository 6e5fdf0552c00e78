//! What must hold at the end of every run: the log and ALERTS. What the ledger promises is in [`crate::course`].

use std::collections::BTreeSet;

use schemas::market::MarketEvent;

use crate::{market::Market, streams::StoredAlert, undisturbed::fold, world::World};

/// Each fact is in the log once, and nothing else is.
pub(crate) fn log_holds_what_happened(market: &Market, world: &World) {
    let mut ids = BTreeSet::new();
    let mut told = Vec::new();
    for (position, event) in world.log.events() {
        assert!(ids.insert(event.id()), "{position} repeats {}", event.id());
        if let MarketEvent::Liquidation(event) = event {
            told.push(event);
        }
    }
    for fact in market.facts() {
        let found = told.iter().position(|event| fact.is_told_by(event));
        told.swap_remove(found.unwrap_or_else(|| panic!("lost: {fact:?}")));
    }
    assert!(told.is_empty(), "made up: {told:?}");
}

/// Promise (a) of design 4: ALERTS equals one undisturbed fold of the log, in its order, byte for byte.
pub(crate) fn alerts_are_the_fold_of_the_log(world: &World) {
    let undisturbed: Vec<_> = fold(&world.log).iter().map(StoredAlert::new).collect();
    let places = |alerts: &[StoredAlert]| alerts.iter().map(|alert| alert.position).collect::<Vec<_>>();
    assert_eq!(places(&world.alerts.stored), places(&undisturbed), "the positions of ALERTS");
    assert!(world.alerts.stored == undisturbed, "the payloads of ALERTS");
    assert!(world.alerts.stored.is_sorted_by_key(|alert| alert.position), "ALERTS is ordered by position");
}
