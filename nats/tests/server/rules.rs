use nats::RulesVersion;
use schemas::position::{MarketPosition, Sequence};

use crate::support::{Server, liquidation, rules};

#[tokio::test]
async fn the_index_is_repaired_from_market() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    assert_eq!(bus.rules_in_market().await.unwrap(), None);
    let first = bus.publish_rules(&rules(1), Sequence::new(0)).await.unwrap();
    bus.publish_event(&liquidation(1, 1_000)).await.unwrap();
    let second = bus.publish_rules(&rules(2), first.sequence).await.unwrap();
    assert_eq!(bus.rules_in_market().await.unwrap(), Some((rules(2), second.sequence)));
    assert_eq!(bus.rules_versions().await.unwrap(), []);
    let created = bus.market_state().await.unwrap().created;
    let version =
        |number, sequence| RulesVersion { rules: rules(number), position: MarketPosition { created, sequence } };
    bus.index_rules(&version(2, second.sequence)).await.unwrap();
    assert_eq!(bus.repair_rules().await.unwrap(), 1);
    assert_eq!(bus.repair_rules().await.unwrap(), 0);
    let expected = [version(1, first.sequence), version(2, second.sequence)];
    assert_eq!(bus.rules_versions().await.unwrap(), expected);
}
