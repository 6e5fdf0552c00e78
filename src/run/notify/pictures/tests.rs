use detect::{
    detector::{Detected, Detector, Output, Start},
    rules::SHIPPED,
};
use nats::{PrivateServer, SearchPath, ServerConfig, Store};
use schemas::{
    market::{OpenInterest, Origin, Rules as RulesEvent},
    position::MarketPosition,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    run::running::{self, Running},
    simulate::Scenario,
};

/// A broker whose MARKET holds the shipped rules and a planted explosion, up to where its alert fired.
struct Exploded {
    bus: Bus,
    server: PrivateServer,
    _folder: TempDir,
    alert: Alert,
    samples: Vec<OpenInterest>,
}

impl Exploded {
    /// Nothing where nats-server is missing.
    async fn start() -> Option<Self> {
        let path = std::env::var_os("PATH");
        let search = SearchPath { explicit: None, path, near: std::env::current_dir().into_iter().collect() };
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig { folder: folder.path().join("nats"), search, store: Store::Fresh };
        let server = match PrivateServer::start(config).await {
            Ok(server) => server,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("!!! NOT RUN: {error}");
                return None;
            }
        };
        let credentials = server.credentials();
        let running = Running {
            url: format!("nats://{}", server.servers()),
            user: credentials.user,
            password: credentials.password.expose().to_owned(),
            prefix: String::new(),
            market: "live".to_owned(),
        };
        let config = running::private(&running, "test".to_owned()).unwrap();
        let bus = Bus::connect(config, &CancellationToken::new()).await.unwrap();
        bus.apply_topology().await.unwrap();
        let (detected, samples) = explode(&bus).await;
        let position =
            MarketPosition { created: bus.market_state().await.unwrap().created, sequence: detected.position };
        bus.publish_alert(&detected.alert, position, detected.evidence, 0).await.unwrap();
        Some(Self { bus, server, _folder: folder, alert: detected.alert, samples })
    }

    /// The picture of the alert as a process draws it that has just begun.
    async fn drawn(&self) -> Vec<u8> {
        let pictures = Pictures::new(&self.bus);
        let picture = pictures.picture(self.alert.id).await.expect("ALERTS holds it");
        pictures.draw(&picture).await.expect("MARKET holds it")
    }

    fn expected(&self, threshold: Option<Ratio>) -> Vec<u8> {
        let (base, window_ms) = (self.alert.base.clone(), i64::try_from(self.alert.window_ms).unwrap());
        Interest::new(base, self.alert.event_time, window_ms, threshold, &self.samples).png().unwrap()
    }
}

/// Publishes the shipped rules and the samples of a scenario until an alert fires.
async fn explode(bus: &Bus) -> (Detected, Vec<OpenInterest>) {
    let mut detector = Detector::new(Start::Complete);
    let rules = RulesEvent::new(1, Origin::Cli, SHIPPED.to_owned());
    let stored = bus.publish_rules(&rules, Sequence::new(0)).await.unwrap();
    detector.handle_event(stored.sequence, &MarketEvent::Rules(rules));
    let mut samples = Vec::new();
    for sample in Scenario::Three.samples(7) {
        let event = MarketEvent::OpenInterest(sample.clone());
        let stored = bus.publish_event(&event).await.unwrap();
        samples.push(sample);
        detector.handle_event(stored.sequence, &event);
        while let Some(output) = detector.poll_output() {
            if let Output::Alert(detected) = output {
                return (*detected, samples);
            }
        }
    }
    panic!("no alert fired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_just_begun_draws_the_rule_that_fired() {
    let Some(exploded) = Exploded::start().await else { return };
    assert_eq!(exploded.drawn().await, exploded.expected(None), "a version nobody indexed is not known");
    exploded.bus.repair_rules().await.unwrap();
    // A later version is in force by now; the alert was judged by the first.
    let other = SHIPPED.replace("change_pct = 15.0", "change_pct = 40.0");
    assert_ne!(other, SHIPPED);
    let (_, last) = exploded.bus.rules_in_market().await.unwrap().unwrap();
    exploded.bus.publish_rules(&RulesEvent::new(2, Origin::Cli, other), last).await.unwrap();
    assert_eq!(exploded.bus.repair_rules().await.unwrap(), 1);
    let drawn = exploded.drawn().await;
    assert_eq!(drawn, exploded.expected(Some(Ratio::new(15.into()))));
    assert_ne!(drawn, exploded.expected(None));
    exploded.bus.close().await;
    exploded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_alert_that_nobody_stored_there_is_no_picture() {
    let Some(exploded) = Exploded::start().await else { return };
    let pictures = Pictures::new(&exploded.bus);
    assert!(pictures.picture(Id::of("test", &["unknown"])).await.is_none());
    exploded.bus.close().await;
    exploded.server.stop().await;
}
