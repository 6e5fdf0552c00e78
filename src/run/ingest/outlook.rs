//! What a refusal leaves: whether enough venues are left to confirm an explosion (design 6).

use std::{collections::BTreeSet, time::Duration};

use detect::rules::Rules;
use ingest::config::Source;
use nats::Bus;
use schemas::{
    market::{Feed, FeedState},
    name::{Base, Venue},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{info, warn};

use crate::config::Settings;

/// How long the rules in force are looked for; then those of the configuration stand in.
const RULES_TIME: Duration = Duration::from_secs(2);

/// Which of the sampled venues refuse this client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    /// How many venues are sampled.
    venues: usize,
    /// Refused channels.
    refused: BTreeSet<(Venue, String)>,
}

impl Outlook {
    fn of(venues: usize) -> Self {
        Self { venues, refused: BTreeSet::new() }
    }

    /// Takes a change of a feed, and returns whether it changes how many venues are left.
    fn note(&mut self, feed: &Feed) -> bool {
        let before = self.left();
        let channel = (feed.venue.clone(), feed.channel.clone());
        match feed.state {
            FeedState::Refused => drop(self.refused.insert(channel)),
            FeedState::Connected | FeedState::Recovered => drop(self.refused.remove(&channel)),
            FeedState::Disconnected | FeedState::Stale | FeedState::Skewed | FeedState::Alive => {}
        }
        self.left() != before
    }

    /// A venue that refuses one of its channels is not counted on.
    fn left(&self) -> usize {
        let refused: BTreeSet<_> = self.refused.iter().map(|(venue, _)| venue).collect();
        self.venues.saturating_sub(refused.len())
    }

    /// Returns what is left, as people are told it, where a rule demands `confirm` venues; nothing while none refuses.
    fn text(&self, confirm: Option<u32>) -> Option<String> {
        if self.refused.is_empty() {
            return None;
        }
        let left = self.left();
        let met = match confirm {
            None => String::new(),
            Some(confirm) if u32::try_from(left).unwrap_or(u32::MAX) >= confirm => {
                format!(", `confirm = {confirm}` can still be met")
            }
            Some(confirm) => format!(", `confirm = {confirm}` can no longer be met: explosions cannot be confirmed"),
        };
        Some(format!("{left} of {} venues left{met}", self.venues))
    }
}

/// Says each refusal of a venue in one line with what is left, and keeps what is left in `told`, until nothing more can
/// come.
///
/// `reason` is the last complaint about the channel of a feed. Where the venues are not sampled themselves no explosion
/// depends on them, and the reason is all there is to say.
pub(super) async fn tell(
    bus: Bus,
    settings: Settings,
    venues: usize,
    mut changes: mpsc::Receiver<Feed>,
    reason: impl Fn(&Feed) -> Option<String>,
    told: watch::Sender<Option<String>>,
) {
    let mut outlook = Outlook::of(venues);
    while let Some(feed) = changes.recv().await {
        if !outlook.note(&feed) {
            continue;
        }
        let text = if is_sampled(&settings) {
            outlook.text(confirm(&rules(&bus, &settings).await, &settings.open_interest.bases))
        } else {
            None
        };
        let left = text.as_ref().map(|left| format!("; {left}")).unwrap_or_default();
        if feed.state == FeedState::Refused {
            let reason = reason(&feed).unwrap_or_else(|| format!("{} refuses this client", feed.venue));
            warn!("{reason}{left}");
        } else {
            info!(venue = %feed.venue, "no longer refused{left}");
        }
        told.send_replace(text);
    }
}

fn is_sampled(settings: &Settings) -> bool {
    settings.open_interest.source == Source::Direct && !settings.open_interest.bases.is_empty()
}

/// Returns how many venues the most demanding rule of a sampled base wants.
fn confirm(rules: &Rules, bases: &BTreeSet<Base>) -> Option<u32> {
    bases.iter().filter_map(|base| rules.oi(base)).map(|rule| rule.confirm).max()
}

/// Returns the rules in force, or those of the configuration where NATS has none or does not answer.
async fn rules(bus: &Bus, settings: &Settings) -> Rules {
    let newest = async {
        match bus.rules_in_market().await {
            Ok(Some((rules, _))) => Some(rules.text),
            // MARKET was trimmed past the last version, which the index still holds.
            Ok(None) => bus.rules_versions().await.ok()?.pop().map(|version| version.rules.text),
            Err(_) => None,
        }
    };
    let newest = timeout(RULES_TIME, newest).await.ok().flatten();
    newest.and_then(|text| Rules::parse(&text).ok()).unwrap_or_else(|| settings.rules_in_force())
}

#[cfg(test)]
mod tests {
    use schemas::time::EventTime;

    use super::*;

    fn feed(venue: &str, channel: &str, state: FeedState) -> Feed {
        let at = EventTime::from_millis(1_795_000_000_000);
        Feed::change(venue.parse().unwrap(), channel, "a", state, at, None, at)
    }

    #[test]
    fn a_refusal_says_whether_the_rule_can_still_be_met() {
        let mut outlook = Outlook::of(3);
        assert!(!outlook.note(&feed("okx", "liquidation", FeedState::Connected)));
        assert_eq!(outlook.text(Some(2)), None);
        assert!(outlook.note(&feed("binance", "liquidation", FeedState::Refused)));
        assert_eq!(outlook.text(Some(2)).unwrap(), "2 of 3 venues left, `confirm = 2` can still be met");
        assert_eq!(outlook.text(None).unwrap(), "2 of 3 venues left");
        assert!(outlook.note(&feed("bybit", "liquidation", FeedState::Refused)));
        assert_eq!(
            outlook.text(Some(2)).unwrap(),
            "1 of 3 venues left, `confirm = 2` can no longer be met: explosions cannot be confirmed"
        );
    }

    #[test]
    fn a_venue_counts_again_when_none_of_its_channels_is_refused() {
        let mut outlook = Outlook::of(3);
        assert!(outlook.note(&feed("binance", "liquidation", FeedState::Refused)));
        assert!(!outlook.note(&feed("binance", "open_interest", FeedState::Refused)), "told once a venue");
        assert!(!outlook.note(&feed("binance", "liquidation", FeedState::Recovered)));
        assert!(!outlook.note(&feed("binance", "open_interest", FeedState::Disconnected)));
        assert!(outlook.note(&feed("binance", "open_interest", FeedState::Connected)));
        assert_eq!(outlook, Outlook::of(3));
    }

    #[test]
    fn the_most_demanding_rule_of_a_sampled_base_counts() {
        let base = |name: &str| name.parse::<Base>().unwrap();
        let mut rules = Rules::shipped();
        rules.oi_mut(&base("SOL")).unwrap().confirm = 3;
        assert_eq!(confirm(&rules, &["BTC", "ETH"].map(base).into()), Some(2));
        assert_eq!(confirm(&rules, &["BTC", "SOL", "DOGE"].map(base).into()), Some(3));
        assert_eq!(confirm(&rules, &["DOGE"].map(base).into()), None);
    }
}
