use std::time::Duration;

use nats::{AlertStored, Config, Expect, Limits, PublishError};
use schemas::{
    alert::Alert,
    delivery::{Dead, Decision, LedgerEvent},
    market::{Canary, MarketEvent},
    position::{Created, MarketPosition, Sequence},
    subject::Stream,
    time::ReceivedAt,
    wire,
};

use crate::support::{Server, alert, connect, contents, liquidation, rules, store_alert};

#[tokio::test]
async fn an_event_published_twice_is_stored_once() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let event = liquidation(1, 1_000);
    let first = bus.publish_event(&event).await.unwrap();
    let second = bus.publish_event(&event).await.unwrap();
    assert_eq!((first.duplicate, second.duplicate, first.sequence), (false, true, second.sequence));
    let record = bus.message_at(Stream::Market, first.sequence).await.unwrap().unwrap();
    assert_eq!(record.headers.message_id().unwrap(), event.id().to_string());
    assert_eq!(record.headers.schema(), Some("liquidation/1"));
    assert_eq!(wire::decode::<MarketEvent>(&record.payload), Ok(event));
}

#[tokio::test]
async fn an_alert_is_stored_once_however_long_ago_that_was() {
    let Some(server) = Server::start() else { return };
    // The shortest window the server knows (nats.md 1).
    let limits = Limits { duplicate_window: Duration::from_millis(100), ..Limits::DEFAULT };
    let bus = connect(Config { limits, ..server.config() }).await;
    bus.apply_topology().await.unwrap();
    assert_eq!(store_alert(&bus, 1).await, AlertStored::Stored(Sequence::new(1)));
    assert_eq!(store_alert(&bus, 1).await, AlertStored::AlreadyPresent);
    // The dedup window is a matter of time, so time has to pass.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(store_alert(&bus, 1).await, AlertStored::AlreadyPresent);
    let records = contents(&bus, Stream::Alerts, None).await;
    assert_eq!(records.len(), 1);
    let headers = &records[0].headers;
    assert_eq!(headers.position().unwrap().to_string(), "7:42");
    assert_eq!(headers.evidence().unwrap().to_string(), "MARKET:40-42");
    assert_eq!(headers.detected_at_ms(), Some(1_234));
    assert_eq!(wire::decode::<Alert>(&records[0].payload), Ok(alert(1)));
}

#[tokio::test]
async fn a_canary_beside_alerts_is_stored_once_and_the_last_alert_is_found_behind_it() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let filter = bus.names().alerts();
    let position = |sequence| MarketPosition { created: Created::from_nanos(7), sequence: Sequence::new(sequence) };
    let canary = |due| Canary::new(due, ReceivedAt::from_millis(due));
    bus.publish_canary(&canary(60_000), position(41)).await.unwrap();
    assert!(bus.last_on_subject(Stream::Alerts, &filter).await.unwrap().is_none());
    store_alert(&bus, 1).await;
    for _ in 0..2 {
        bus.publish_canary(&canary(120_000), position(43)).await.unwrap();
    }
    assert_eq!(bus.stream_state(Stream::Alerts).await.unwrap().messages, 3);
    let last = bus.last_on_subject(Stream::Alerts, &filter).await.unwrap().unwrap();
    assert_eq!(wire::decode::<Alert>(&last.payload), Ok(alert(1)));
    assert_eq!(contents(&bus, Stream::Alerts, Some(filter)).await.len(), 1);
}

#[tokio::test]
async fn a_ledger_event_is_refused_when_another_came_first() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let alert = alert(1);
    let decision = LedgerEvent::Decision(Decision {
        edit: None,
        v: schemas::delivery::VERSION,
        alert: alert.id,
        kind: alert.kind(),
        base: alert.base.clone(),
        priority: alert.priority,
        event_time: alert.event_time,
        recipients: [("send".to_owned(), 1)].into(),
    });
    let subject = bus.names().decision(alert.id);
    let first = Expect::LastSubjectSequence(Sequence::new(0));
    let stored = bus.append(&subject, &decision, first, None).await.unwrap();
    let refused = bus.append(&subject, &decision, first, None).await.unwrap_err();
    assert!(matches!(refused, PublishError::WrongLastSequence { .. }) && !refused.is_retryable(), "{refused:?}");
    bus.append(&subject, &decision, Expect::LastSubjectSequence(stored.sequence), None).await.unwrap();
    bus.append(&subject, &decision, Expect::Any, None).await.unwrap();
    let last = bus.last_on_subject(Stream::Deliveries, &subject).await.unwrap().unwrap();
    assert_eq!(last.sequence, Sequence::new(3));
}

#[tokio::test]
async fn rules_are_refused_when_another_version_came_first() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let first = bus.publish_rules(&rules(1), Sequence::new(0)).await.unwrap();
    let refused = bus.publish_rules(&rules(2), Sequence::new(0)).await.unwrap_err();
    assert!(matches!(refused, PublishError::WrongLastSequence { .. }), "{refused:?}");
    bus.publish_rules(&rules(2), first.sequence).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_processed_is_parked_once() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let dead = Dead::new("MARKET", 7, "market.feed.okx", "not a known event".to_owned(), b"?");
    for _ in 0..2 {
        bus.publish_dead(Stream::Market, "undecodable", &dead).await.unwrap();
    }
    let parked = contents(&bus, Stream::Dead, None).await;
    assert_eq!(parked.iter().map(|record| record.subject.as_str()).collect::<Vec<_>>(), ["dead.MARKET.undecodable"]);
}

#[tokio::test]
async fn a_timeout_is_worth_another_try_and_a_large_message_is_not() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.ready().await;
    let large = schemas::market::Rules::new(1, schemas::market::Origin::Cli, "#".repeat(70_000));
    let refused = bus.publish_rules(&large, Sequence::new(0)).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }) && !refused.is_retryable(), "{refused:?}");
    // Below the limit of a payload, above that of a message with its headers.
    let large = schemas::market::Rules::new(1, schemas::market::Origin::Cli, "#".repeat(65_400));
    let refused = bus.publish_rules(&large, Sequence::new(0)).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused:?}");
    server.kill().await;
    let unknown = bus.publish_event(&liquidation(1, 1_000)).await.unwrap_err();
    assert!(matches!(unknown, PublishError::Unconfirmed { .. }) && unknown.is_retryable(), "{unknown:?}");
}
