use nats::{Lease, Loaded, Register, RegisterError};
use schemas::position::Sequence;

use crate::support::{Server, soon};

#[tokio::test]
async fn a_key_nobody_wrote_holds_nothing() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let register = Register::new(&bus, "requests", "okx");
    assert_eq!(register.load().await.unwrap(), Loaded { revision: Sequence::new(0), value: None });
    let revision = register.replace(Sequence::new(0), "1".into()).await.unwrap();
    assert_eq!(register.load().await.unwrap(), Loaded { revision, value: Some("1".into()) });
    assert_eq!(Register::new(&bus, "requests", "bybit").load().await.unwrap().value, None);
}

#[tokio::test]
async fn only_who_has_seen_the_value_replaces_it() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let [a, b] = [(); 2].map(|()| Register::new(&bus, "requests", "okx"));
    let first = a.replace(Sequence::new(0), "a".into()).await.unwrap();
    let changed = b.replace(Sequence::new(0), "b".into()).await;
    assert!(matches!(changed, Err(RegisterError::Changed { .. })));
    let second = b.replace(first, "b".into()).await.unwrap();
    let changed = a.replace(first, "c".into()).await;
    assert!(matches!(changed, Err(RegisterError::Changed { .. })));
    assert_eq!(a.load().await.unwrap(), Loaded { revision: second, value: Some("b".into()) });
}

#[tokio::test]
async fn it_outlives_a_restart_of_the_server() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.ready().await;
    let register = Register::new(&bus, "requests", "okx");
    let revision = register.replace(Sequence::new(0), "99".into()).await.unwrap();
    server.kill().await;
    let away = register.load().await;
    assert!(matches!(away, Err(RegisterError::Unanswered { .. })));
    server.run();
    let loaded = soon(async {
        loop {
            if let Ok(loaded) = register.load().await {
                return loaded;
            }
        }
    });
    assert_eq!(loaded.await, Loaded { revision, value: Some("99".into()) });
}

#[tokio::test]
async fn any_name_is_one_token_and_no_lease() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    let odd = Register::new(&bus, "requests", "a.b>*");
    odd.replace(Sequence::new(0), "1".into()).await.unwrap();
    assert_eq!(odd.load().await.unwrap().value, Some("1".into()));
    assert_eq!(Register::new(&bus, "requests", "a").load().await.unwrap().value, None);
    assert_eq!(Lease::holder(&bus, "requests.a").await.unwrap(), None);
}
