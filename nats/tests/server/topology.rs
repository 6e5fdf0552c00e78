use std::time::Duration;

use nats::{Action, Bus, Change, Config, Limits, Market, Replicas, TopologyError};

use crate::support::{Server, connect};

fn is_equal(changes: &[Change]) -> bool {
    changes.iter().all(|change| change.action == Action::Equal)
}

async fn with_limits(server: &Server, limits: Limits) -> Bus {
    connect(Config { limits, ..server.config() }).await
}

#[tokio::test]
async fn applied_twice_it_is_equal() {
    let Some(server) = Server::start() else { return };
    let bus = server.bus().await;
    let planned = bus.plan_topology().await.unwrap();
    assert!(planned.iter().all(|change| change.action == Action::Create), "{planned:?}");
    assert_eq!(bus.apply_topology().await.unwrap(), planned);
    let again = bus.apply_topology().await.unwrap();
    assert!(is_equal(&again), "{again:#?}");
}

#[tokio::test]
async fn a_difference_is_planned_and_then_applied() {
    let Some(server) = Server::start() else { return };
    server.ready().await;
    let bus = with_limits(&server, Limits { market_age: Duration::from_secs(3600), ..Limits::DEFAULT }).await;
    let planned = bus.plan_topology().await.unwrap();
    let differing: Vec<String> =
        planned.iter().filter(|change| change.action != Action::Equal).map(Change::to_string).collect();
    assert_eq!(differing, [r#"update stream MARKET: max_age "604800s" → "3600s""#]);
    let json = serde_json::to_value(&planned[0]).unwrap();
    assert_eq!((&json["action"], &json["fields"][0]["field"]), (&"update".into(), &"max_age".into()));
    bus.apply_topology().await.unwrap();
    assert!(is_equal(&bus.plan_topology().await.unwrap()));
}

#[tokio::test]
async fn several_processes_may_apply_at_once() {
    let Some(server) = Server::start() else { return };
    let buses = [server.bus().await, server.bus().await, server.bus().await];
    let (a, b, c) = tokio::join!(buses[0].apply_topology(), buses[1].apply_topology(), buses[2].apply_topology());
    for applied in [a, b, c] {
        applied.unwrap();
    }
    assert!(is_equal(&buses[0].plan_topology().await.unwrap()));
}

#[tokio::test]
async fn a_market_of_the_other_kind_is_refused_and_left_alone() {
    let Some(server) = Server::start() else { return };
    let live = server.ready().await;
    let recorded = connect(Config { market: Market::Recorded, ..server.config() }).await;
    for refused in [recorded.check_market().await, recorded.apply_topology().await.map(|_| ())] {
        let Err(TopologyError::Market { stored, configured, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((stored.as_str(), configured), ("live", Market::Recorded));
    }
    assert!(is_equal(&live.plan_topology().await.unwrap()));
}

#[tokio::test]
async fn without_a_market_a_service_is_told_what_to_do() {
    let Some(server) = Server::start() else { return };
    let missing = server.bus().await.check_market().await.unwrap_err();
    assert_eq!(missing.to_string(), "stream MARKET not found; `foreshock topology apply` creates it");
}

#[tokio::test]
async fn what_the_server_does_not_change_is_said_with_its_fields() {
    let Some(server) = Server::start() else { return };
    server.ready().await;
    let bus = connect(Config { replicas: Replicas::Three, ..server.config() }).await;
    let error = bus.apply_topology().await.unwrap_err();
    let TopologyError::Refused { target, fields, .. } = error else { panic!("{error:?}") };
    assert_eq!((target.as_str(), fields.as_str()), ("stream MARKET", "num_replicas"));
}

#[tokio::test]
async fn a_prefix_keeps_two_installations_apart() {
    let Some(server) = Server::start() else { return };
    server.ready().await;
    let config = Config { names: "replay".parse().unwrap(), market: Market::Recorded, ..server.config() };
    let other = connect(config).await;
    other.apply_topology().await.unwrap();
    other.check_market().await.unwrap();
}
