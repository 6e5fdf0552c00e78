//! Any number of detect workers leave the same ALERTS.

use std::{collections::BTreeMap, time::Duration};

use nats::Market;
use schemas::market::MarketEvent;

use crate::support::{Nats, OKX, OKX_INSTRUMENTS, Service, alerts, env, eventually, machine, recording, run, settled};

#[tokio::test(flavor = "multi_thread")]
async fn one_two_and_four_workers_leave_the_same_alerts() {
    let _machine = machine().await;
    let (Some(file), Some(instruments)) = (recording(OKX), recording(OKX_INSTRUMENTS)) else { return };
    let Some(nats) = Nats::start() else { return };
    let args = ["normalize", "--venue", "okx", "--instruments", instruments.to_str().unwrap(), file.to_str().unwrap()];
    let (_, events, _) = run(&args, &BTreeMap::new());
    let events: Vec<MarketEvent> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logs = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for workers in [1_usize, 2, 4] {
        let prefix = format!("w{workers}");
        let bus = nats.bus(&prefix, Market::Recorded).await;
        bus.apply_topology().await.unwrap();
        let start = |worker: usize| {
            let env = env([
                ("NATS_URL", nats.url()),
                ("FORESHOCK_PREFIX", prefix.clone()),
                ("FORESHOCK_MARKET", "recorded".to_owned()),
                ("FORESHOCK_INSTANCE", format!("worker-{worker}")),
            ]);
            Service::start("detect", &env, &logs.path().join(format!("{prefix}-{worker}.log")))
        };
        // Half of them are there from the start, the rest join in the middle of the log.
        let mut running: Vec<_> = (0..workers.div_ceil(2)).map(start).collect();
        eventually("rules are in force", async || bus.rules_in_market().await.unwrap().is_some()).await;
        for (index, event) in events.iter().enumerate() {
            bus.publish_event(event).await.unwrap();
            if index == events.len() / 2 {
                running.extend((running.len()..workers).map(start));
            }
        }
        let count = settled("alerts", Duration::from_secs(3), async || alerts(&bus).await.len()).await;
        assert!(count > 60, "{count}");
        results.push(alerts(&bus).await);
    }
    let [one, two, four] = results.try_into().unwrap();
    assert_eq!(one, two, "payloads byte for byte, in the same order");
    assert_eq!(one, four, "payloads byte for byte, in the same order");
}
