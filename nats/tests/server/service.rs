use std::{sync::Arc, time::Duration};

use nats::{Service, ServiceStatus};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, soon};

#[tokio::test]
async fn every_process_of_every_role_answers() {
    let Some(server) = Server::start() else { return };
    let bus = server.bus().await;
    let shutdown = CancellationToken::new();
    let mut services = Vec::new();
    for (role, instance) in [("ingest", "a"), ("ingest", "b"), ("detect", "c")] {
        let status = Arc::new(move || json!({ "instance": instance }));
        let service = Service::register(&bus, role, "a test", instance, status).await.unwrap();
        services.push(tokio::spawn(service.run(shutdown.clone())));
    }
    let asked = bus.collect_status(&["ingest", "detect", "notify"], Duration::from_millis(500)).await.unwrap();
    let mut answers: Vec<(String, String)> = asked
        .into_iter()
        .map(|ServiceStatus { role, status }| (role, status["instance"].as_str().unwrap().to_owned()))
        .collect();
    answers.sort();
    let expected = [("detect", "c"), ("ingest", "a"), ("ingest", "b")];
    assert_eq!(answers, expected.map(|(role, instance)| (role.to_owned(), instance.to_owned())));
    shutdown.cancel();
    for service in services {
        soon(service).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_answers_when_nobody_is_there() {
    let Some(server) = Server::start() else { return };
    let asked = soon(server.bus().await.collect_status(&["ingest"], Duration::from_secs(60))).await.unwrap();
    assert_eq!(asked, []);
}

#[tokio::test]
async fn it_shows_up_where_the_tools_look() {
    let Some(server) = Server::start() else { return };
    let bus = server.bus().await;
    let service = Service::register(&bus, "ingest", "a test", "a", Arc::new(|| json!({}))).await.unwrap();
    let client = server.intruder().await.client();
    let info = soon(client.request("$SRV.INFO.foreshock-ingest", "".into())).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["endpoints"][0]["subject"], "service.ingest.status");
    assert_eq!(info["metadata"]["instance"], "a");
    drop(service);
}
