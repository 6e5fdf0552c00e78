use nats::{Durable, DurableError};

use crate::support::{Server, soon, store_alert};

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_at_once_and_in_order() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    for number in 1..=4 {
        store_alert(&bus, number).await;
    }
    let mut first = soon(Durable::open(&bus)).await.unwrap();
    let alert = soon(first.next()).await.unwrap();
    assert_eq!(alert.record.sequence.get(), 1);
    alert.double_ack().await.unwrap();
    assert_eq!(soon(first.next()).await.unwrap().record.sequence.get(), 2);
    drop(first);
    let mut second = soon(Durable::open(&bus)).await.unwrap();
    for expected in 2..=4 {
        let alert = soon(second.next()).await.unwrap();
        assert_eq!(alert.record.sequence.get(), expected);
        assert_eq!(alert.record.headers.schema(), Some("alert/1"));
        alert.double_ack().await.unwrap();
    }
}

#[tokio::test]
async fn it_goes_on_after_the_server_was_killed() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.ready().await;
    store_alert(&bus, 1).await;
    store_alert(&bus, 2).await;
    let mut durable = soon(Durable::open(&bus)).await.unwrap();
    soon(durable.next()).await.unwrap().double_ack().await.unwrap();
    server.kill().await;
    server.run();
    soon(async {
        loop {
            // An acknowledgement that was lost with the server comes again; it must not be skipped.
            let alert = durable.next().await.unwrap();
            if alert.double_ack().await.is_ok() && alert.record.sequence.get() == 2 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_its_consumer_it_says_what_to_do() {
    let Some(server) = Server::start() else { return };
    let missing = soon(Durable::open(&server.bus().await)).await.unwrap_err();
    assert!(matches!(missing, DurableError::NoConsumer { .. }), "{missing:?}");
}
