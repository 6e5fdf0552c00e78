use nats::{Bus, ConnectError, Connection, Credentials};
use schemas::secret::Secret;
use tokio_util::sync::CancellationToken;

use crate::support::{PASSWORD, Server, USER, connect, soon};

#[tokio::test]
async fn wrong_credentials_are_an_error_at_once() {
    let Some(server) = Server::start() else { return };
    drop(server.bus().await);
    let credentials = Some(Credentials { user: USER.to_owned(), password: Secret::new("hunter2".to_owned()) });
    let config = nats::Config { credentials, ..server.config() };
    let error = soon(Bus::connect(config, &CancellationToken::new())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn credentials_may_stand_in_the_url() {
    let Some(server) = Server::start() else { return };
    let servers = format!("nats://{USER}:{PASSWORD}@127.0.0.1:{}", server.port).parse().unwrap();
    let bus = connect(nats::Config { credentials: None, servers, ..server.config() }).await;
    bus.apply_topology().await.unwrap();
}

#[tokio::test]
async fn connecting_waits_for_a_server_that_comes_later() {
    let Some(mut server) = Server::prepare() else { return };
    let config = server.config();
    let connecting = tokio::spawn(async move { Bus::connect(config, &CancellationToken::new()).await });
    tokio::task::yield_now().await;
    assert!(!connecting.is_finished());
    server.run();
    let bus = soon(connecting).await.unwrap().unwrap();
    assert_eq!(soon(bus.connected()).await, 1);
}

#[tokio::test]
async fn waiting_ends_with_shutdown() {
    let Some(server) = Server::prepare() else { return };
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let stopped = soon(Bus::connect(server.config(), &shutdown)).await;
    assert!(matches!(stopped, Err(ConnectError::Stopped { .. })));
}

#[tokio::test]
async fn the_connection_can_be_watched() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.bus().await;
    let mut connection = bus.connection();
    server.kill().await;
    soon(connection.wait_for(|state| *state == Connection::Away)).await.unwrap();
    server.run();
    soon(connection.wait_for(|state| *state == Connection::Up { epoch: 2 })).await.unwrap();
}
