//! Bringing configured rules into force.

use anyhow::Context as _;
use detect::rules::Rules;
use nats::{Bus, PublishError, RulesVersion};
use schemas::{
    market::{Origin, Rules as RulesEvent},
    position::{MarketPosition, Sequence},
};
use tracing::{info, warn};

use crate::run::RETRY_PAUSE;

/// Publishes the configured rules as a new version if they differ from the last version that came from configuration
/// (design 7). Without configured rules the shipped ones are published only where there is no version at all.
///
/// Afterwards MARKET or, when MARKET was trimmed past it, RULES holds a version.
pub(super) async fn bring_into_force(bus: &Bus, configured: Option<Rules>) -> anyhow::Result<()> {
    let repaired = bus.repair_rules().await?;
    if repaired > 0 {
        warn!(versions = repaired, "index of rules repaired from MARKET");
    }
    loop {
        let versions = bus.rules_versions().await?;
        let Some((text, origin)) = due(&versions, configured.as_ref(), bus.market_state().await?.created) else {
            return Ok(());
        };
        if publish(bus, origin, text, &versions).await?.is_some() {
            return Ok(());
        }
        // Another worker was faster; what it published decides anew.
        tokio::time::sleep(RETRY_PAUSE).await;
        bus.repair_rules().await?;
    }
}

/// Returns the version to publish, if one is due.
fn due(
    versions: &[RulesVersion],
    configured: Option<&Rules>,
    created: schemas::position::Created,
) -> Option<(String, Origin)> {
    let last_configured = versions.iter().rev().find(|version| version.rules.origin == Origin::Config);
    match configured {
        Some(rules) if last_configured.is_none_or(|version| !is_same(&version.rules.text, rules)) => {
            Some((rules.to_toml(), Origin::Config))
        }
        Some(_) | None => match versions.last() {
            None => Some((Rules::shipped().to_toml(), Origin::Config)),
            // A MARKET that was created anew holds none of them: the last one comes into force in it.
            Some(last) if last.position.created != created => Some((last.rules.text.clone(), last.rules.origin)),
            Some(_) => None,
        },
    }
}

fn is_same(text: &str, rules: &Rules) -> bool {
    Rules::parse(text).is_ok_and(|known| known == *rules)
}

/// Publishes the next version after `versions`. Returns nothing when another one came in between.
///
/// # Errors
/// What is not a matter of time.
pub(crate) async fn publish(
    bus: &Bus,
    origin: Origin,
    text: String,
    versions: &[RulesVersion],
) -> anyhow::Result<Option<u64>> {
    let version = versions.last().map_or(1, |last| last.rules.version + 1);
    let rules = RulesEvent::new(version, origin, text);
    let last = bus.rules_in_market().await?.map_or(Sequence::new(0), |(_, sequence)| sequence);
    let stored = loop {
        match bus.publish_rules(&rules, last).await {
            Ok(stored) => break stored,
            Err(problem) if problem.is_retryable() => {
                warn!(error = %problem, "rules not acknowledged; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(PublishError::WrongLastSequence { .. }) => return Ok(None),
            Err(problem) => return Err(problem).context("the rules cannot be stored in MARKET"),
        }
    };
    let position = MarketPosition { created: bus.market_state().await?.created, sequence: stored.sequence };
    bus.index_rules(&RulesVersion { rules, position }).await?;
    info!(version, position = %stored.sequence, "rules in force");
    Ok(Some(version))
}
