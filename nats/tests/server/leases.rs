use std::time::Duration;

use nats::{Lease, LeaseError};

use crate::support::{Server, soon};

/// Long enough never to end within a test.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn one_holds_it_until_it_is_released() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let mut lease = Lease::acquire(&bus, "notify", "a", LONG).await.unwrap().unwrap();
    assert!(Lease::acquire(&bus, "notify", "b", LONG).await.unwrap().is_none());
    assert_eq!(Lease::holder(&bus, "notify").await.unwrap().as_deref(), Some("a"));
    lease.renew().await.unwrap();
    assert!(Lease::acquire(&bus, "oi.okx", "b", LONG).await.unwrap().is_some());
    lease.release().await.unwrap();
    assert_eq!(Lease::holder(&bus, "notify").await.unwrap(), None);
    assert!(Lease::acquire(&bus, "notify", "b", LONG).await.unwrap().is_some());
}

#[tokio::test]
async fn of_many_at_once_one_gets_it() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let take = |holder: &'static str| Lease::acquire(&bus, "notify", holder, LONG);
    let (a, b, c) = tokio::join!(take("a"), take("b"), take("c"));
    let held = [a, b, c].into_iter().filter(|lease| lease.as_ref().unwrap().is_some()).count();
    assert_eq!(held, 1);
}

#[tokio::test]
async fn it_runs_out_when_it_is_not_renewed() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let mut lost = Lease::acquire(&bus, "notify", "a", Duration::from_secs(1)).await.unwrap().unwrap();
    let taken = async {
        loop {
            if let Some(lease) = Lease::acquire(&bus, "notify", "b", LONG).await.unwrap() {
                return lease;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _held = soon(taken).await;
    assert!(matches!(lost.renew().await, Err(LeaseError::Lost { .. })));
}
