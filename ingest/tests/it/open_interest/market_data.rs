use std::sync::Arc;

use ingest::{account::OwnAccounts, open_interest::external_venues};

use super::*;

/// What a call costs and what is made of its answer is tested beside the parsing: the service has no clock but ours, and
/// is asked once in many minutes.
#[tokio::test]
async fn the_service_needs_an_output_for_each_of_its_venues() {
    let (rest, _) = rest(|_| Ok("{}".to_owned())).await;
    let names: Vec<_> = external_venues().map(|venue| venue.to_string()).collect();
    assert_eq!(names, ["binance", "bybit", "okx", "gateio", "bitget", "hyperliquid"].map(|name| format!("ext-{name}")));
    let source = Source::MarketData(rest.url.clone());
    let lacking = config(BTreeMap::new(), &["BTC"], source.clone());
    let ended = soon("the end", start(lacking, &[], Arc::new(OwnAccounts::default())).task).await.unwrap();
    assert!(matches!(ended, Err(RunError::NoOutput(_))), "{ended:?}");
    let venues: Vec<_> = external_venues().collect();
    let config = config(BTreeMap::new(), &["BTC"], source);
    let ingest = start(config, &venues, Arc::new(OwnAccounts::default()));
    let status = ingest.until(&venues[0], "the turn", |status| status.sampling.has_turn).await;
    assert_eq!(status.sampling.interval_ms, 600_000);
    ingest.stop().await;
}
