use nats::{PublishError, StoredSubscriber};
use schemas::{
    position::Sequence,
    subscriber::{Cause, Preferences, Standing, Subscriber},
};

use crate::support::Server;

fn subscriber(recipient: &str, at: i64) -> Subscriber {
    Subscriber {
        v: schemas::subscriber::VERSION,
        channel: "telegram".to_owned(),
        recipient: recipient.to_owned(),
        at,
        cause: Cause::Cli,
        update: None,
        standing: Standing::Active,
        preferences: Preferences::default(),
    }
}

#[tokio::test]
async fn the_last_state_of_a_recipient_counts_and_is_replaced_only_by_who_knows_it() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    assert_eq!(bus.subscribers().await.unwrap(), []);
    assert_eq!(bus.subscriber("telegram", "-100123").await.unwrap(), None);
    let none = Sequence::new(0);
    let first = bus.put_subscriber(&subscriber("-100123", 1), none).await.unwrap().sequence;
    let named = bus.put_subscriber(&subscriber("@alerts", 2), none).await.unwrap().sequence;
    let second = bus.put_subscriber(&subscriber("-100123", 3), first).await.unwrap().sequence;
    for last in [none, first] {
        let late = bus.put_subscriber(&subscriber("-100123", 4), last).await.unwrap_err();
        assert!(matches!(late, PublishError::WrongLastSequence { .. }), "{late}");
    }
    let stored = |name: &str, at, sequence| StoredSubscriber { subscriber: subscriber(name, at), sequence };
    assert_eq!(bus.subscriber("telegram", "-100123").await.unwrap(), Some(stored("-100123", 3, second)));
    assert_eq!(bus.subscriber("telegram", "@alerts").await.unwrap(), Some(stored("@alerts", 2, named)));
    assert_eq!(bus.subscribers().await.unwrap(), [stored("-100123", 3, second), stored("@alerts", 2, named)]);
}
