use std::{
    path::Path,
    process::{Command, Stdio},
};

use nats::{Bus, Config, Limits, Market, PrivateServer, Replicas, SearchPath, ServerConfig, ServerError, Store};
use schemas::{position::Sequence, subject::Names};

use crate::support::{binary, connect, liquidation, soon, until};

async fn start(folder: &Path, binary: &Path) -> PrivateServer {
    soon(PrivateServer::start(config(folder, binary, Store::Kept))).await.unwrap()
}

fn config(folder: &Path, binary: &Path, store: Store) -> ServerConfig {
    let search = SearchPath { explicit: Some(binary.to_owned()), ..SearchPath::default() };
    ServerConfig { folder: folder.to_owned(), search, store }
}

async fn bus_of(server: &PrivateServer) -> Bus {
    let config = Config {
        servers: server.servers(),
        credentials: Some(server.credentials()),
        ca: None,
        names: Names::default(),
        client_name: "test".to_owned(),
        replicas: Replicas::One,
        market: Market::Live,
        limits: Limits::DEFAULT,
    };
    connect(config).await
}

fn pid_in(folder: &Path) -> Option<String> {
    let pid = std::fs::read_to_string(folder.join("nats-server.pid")).ok()?;
    (!pid.is_empty()).then_some(pid)
}

fn kill(binary: &Path, pid: &str) {
    let signal = format!("stop={pid}");
    Command::new(binary).args(["--signal", &signal]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_stop_and_a_start() {
    let Some(binary) = binary() else { return };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    let server = start(&folder, &binary).await;
    let bus = bus_of(&server).await;
    bus.apply_topology().await.unwrap();
    bus.publish_event(&liquidation(1, 1_000)).await.unwrap();
    // Not even a start that wants a fresh store touches one that is in use.
    let second = PrivateServer::start(config(&folder, &binary, Store::Fresh)).await;
    assert!(matches!(second, Err(ServerError::InUse { .. })), "{second:?}");
    bus.close().await;
    soon(server.stop()).await;
    assert_eq!(pid_in(&folder), None);
    let server = start(&folder, &binary).await;
    let bus = bus_of(&server).await;
    assert_eq!(bus.market_state().await.unwrap().last, Sequence::new(1));
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_fresh_store_begins_anew() {
    let Some(binary) = binary() else { return };
    let parent = tempfile::tempdir().unwrap();
    let server = start(parent.path(), &binary).await;
    let bus = bus_of(&server).await;
    bus.apply_topology().await.unwrap();
    soon(server.stop()).await;
    let server = soon(PrivateServer::start(config(parent.path(), &binary, Store::Fresh))).await.unwrap();
    assert!(bus_of(&server).await.market_state().await.is_err(), "no stream is left");
    soon(server.stop()).await;
}

#[tokio::test]
async fn killed_it_comes_back_where_it_was() {
    let Some(binary) = binary() else { return };
    let parent = tempfile::tempdir().unwrap();
    let server = start(parent.path(), &binary).await;
    let bus = bus_of(&server).await;
    bus.apply_topology().await.unwrap();
    let mut restarts = server.restarts();
    kill(&binary, &pid_in(parent.path()).unwrap());
    soon(restarts.wait_for(|count| *count == 1)).await.unwrap();
    soon(async { while bus.publish_event(&liquidation(1, 1_000)).await.is_err() {} }).await;
    assert_eq!(bus.market_state().await.unwrap().last, Sequence::new(1));
    soon(server.stop()).await;
}

#[tokio::test]
async fn one_that_outlived_its_parent_is_ended_by_the_next_start() {
    let Some(binary) = binary() else { return };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().canonicalize().unwrap();
    soon(start(&folder, &binary).await.stop()).await;
    // What a parent that was killed leaves behind.
    let mut orphan = Command::new(&binary).arg("-c").arg(folder.join("nats-server.conf")).spawn().unwrap();
    until(|| pid_in(&folder).is_some()).await;
    // Reaps it as init would, so that it is gone when it has ended.
    let reaper = tokio::task::spawn_blocking(move || orphan.wait());
    let server = start(&folder, &binary).await;
    assert!(soon(reaper).await.unwrap().unwrap().success());
    bus_of(&server).await.apply_topology().await.unwrap();
    soon(server.stop()).await;
}

#[tokio::test]
async fn it_is_found_in_the_tools_folder_above() {
    let Some(binary) = binary() else { return };
    let parent = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(parent.path().join(".tools")).unwrap();
    std::fs::create_dir_all(parent.path().join("target/debug")).unwrap();
    std::fs::copy(binary, parent.path().join(".tools/nats-server")).unwrap();
    let search = SearchPath { near: vec![parent.path().join("target/debug")], ..SearchPath::default() };
    let folder = parent.path().join("store");
    let server = soon(PrivateServer::start(ServerConfig { folder, search, store: Store::Kept })).await.unwrap();
    soon(server.stop()).await;
}
