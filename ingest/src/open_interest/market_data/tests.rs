use schemas::market::MarketEvent;
use tokio::sync::mpsc;

use super::*;
use crate::{
    account::OwnAccounts,
    monitor::{Monitor, OpenInterestStatus},
    run::Observation,
};

const BINANCE: &str =
    r#"{"exchange":"binance","market_breakdown":[{"type":"USDT","symbol":"BTCUSDT","oi_tokens":100.5,"price":2.0}]}"#;
const BYBIT: &str =
    r#"{"exchange":"bybit","market_breakdown":[{"type":"USDT","symbol":"BTCUSDT","oi_tokens":100.5,"price":2.0}]}"#;

struct Stage {
    task: MarketData,
    polling: Polling,
    samples: mpsc::Receiver<Observation>,
    monitor: Monitor,
    accounts: Arc<OwnAccounts>,
}

/// A task for BTC with a service that nobody plays.
fn stage() -> Stage {
    // A second test of this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (output, samples) = mpsc::channel(64);
    let (monitor, accounts) = (Monitor::new(), Arc::new(OwnAccounts::default()));
    let shutdown = CancellationToken::new();
    let teller = |venue: Venue| {
        let shown = monitor.open_interest(venue.clone(), 600_000);
        (venue.clone(), Teller::new(venue.clone(), venue.to_string(), shown, output.clone(), shutdown.clone()))
    };
    let service = Service::new(Url::parse("http://127.0.0.1:9").unwrap(), accounts.clone(), 600_000).unwrap();
    let task = MarketData {
        service,
        bases: vec!["BTC".parse().unwrap()],
        interval_ms: 600_000,
        timings: Timings::default(),
        tellers: external_venues().map(teller).collect(),
        shutdown,
    };
    Stage { task, polling: Polling::new(600_000, 1), samples, monitor, accounts }
}

impl Stage {
    async fn answered(&mut self, exchanges: &str) {
        let answer = format!(r#"{{"success":true,"base_symbol":"BTC","exchange_breakdown":[{exchanges}]}}"#);
        let told = answer::parse(answer.as_bytes(), &self.task.bases[0], 600_000, now()).unwrap();
        self.task.answered(0, Ok(told), &mut self.polling).await.unwrap();
    }

    async fn failed(&mut self, error: CallError) {
        self.task.answered(0, Err(error), &mut self.polling).await.unwrap();
    }

    /// The venues of the samples since the last time.
    fn venues(&mut self) -> Vec<String> {
        let samples = std::iter::from_fn(|| self.samples.try_recv().ok());
        let venues = samples.map(|observation| match observation.event {
            MarketEvent::OpenInterest(sample) => sample.venue.to_string(),
            MarketEvent::Liquidation(_) | MarketEvent::Feed(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => {
                "other".to_owned()
            }
        });
        venues.collect()
    }

    fn status(&self, venue: &str) -> OpenInterestStatus {
        self.monitor.snapshot().venues.remove(&venue.parse().unwrap()).unwrap().open_interest.unwrap()
    }
}

#[tokio::test]
async fn exchanges_come_and_go_and_each_absence_is_counted_and_said_once() {
    let mut stage = stage();
    stage.answered(&[BINANCE, BYBIT].join(",")).await;
    assert_eq!(stage.venues(), ["ext-binance", "ext-bybit"]);
    stage.answered(BINANCE).await;
    stage.answered(BINANCE).await;
    assert_eq!(stage.venues(), ["ext-binance", "ext-binance"]);
    let bybit = stage.status("ext-bybit");
    assert_eq!(bybit.refused, BTreeMap::from([(Reason::Missing, 2)]));
    assert_eq!(bybit.last_error.as_deref(), Some("ext-bybit gives no open interest of BTC (missing)"));
    assert!(stage.polling.absent.contains(&("ext-bybit".parse().unwrap(), 0)));
    stage.answered(BYBIT).await;
    assert!(!stage.polling.absent.contains(&("ext-bybit".parse().unwrap(), 0)));
    // A near-empty answer is one in which all are missing.
    stage.answered("").await;
    assert_eq!(stage.status("ext-hyperliquid").refused, BTreeMap::from([(Reason::Missing, 5)]));
}

#[tokio::test]
async fn a_failure_of_the_service_is_shown_at_every_venue() {
    let mut stage = stage();
    let what = "'NoneType' object has no attribute 'validation_passed'".to_owned();
    stage.failed(CallError::Answer(InvalidAnswer::Failed(what))).await;
    let line = "the market-data service failed: 'NoneType' object has no attribute 'validation_passed'";
    for venue in ["ext-binance", "ext-gateio"] {
        assert_eq!(stage.status(venue).last_error.as_deref(), Some(line));
    }
    stage.answered(BINANCE).await;
    assert_eq!(stage.polling.said, None);
}

#[tokio::test]
async fn a_call_is_spent_from_every_exchange_it_makes_the_service_ask() {
    let stage = stage();
    let called = stage.task.service.call(&stage.task.bases[0]).await;
    assert!(matches!(called, Err(CallError::Transport(_))), "{called:?}");
    let spent = UPSTREAM.map(|(account, _)| stage.accounts.seen(account).spent(now()));
    assert_eq!(spent, [9, 3, 9, 3, 4, 1]);
    // The tenth call of an hour fills Binance's ninety.
    for _ in 0..9 {
        stage.accounts.spend("binance", now(), Purpose::Sampling, 9).await.unwrap();
    }
    let called = stage.task.service.call(&stage.task.bases[0]).await;
    assert!(matches!(called, Err(CallError::Denied(Denied::Full { .. }))), "{called:?}");
    assert_eq!(stage.accounts.seen("okx").spent(now()), 9);
    assert_eq!(stage.accounts.seen(ACCOUNT).spent(now()), 1, "only calls that are made");
}

#[tokio::test]
async fn whoever_takes_the_turn_asks_at_once_what_nobody_asked_in_this_slot() {
    let mut stage = stage();
    stage.task.ask(&mut stage.polling);
    assert!(stage.polling.call.is_none(), "it has no turn");
    stage.task.turn(true, &mut stage.polling);
    stage.task.ask(&mut stage.polling);
    assert!(stage.polling.call.is_some());

    // A call is made, and the process is another one, or the turn comes back.
    let call = stage.polling.call.take().unwrap();
    drop(call.await);
    for mut polling in [Polling::new(600_000, 1), Polling { call: None, ..stage.polling }] {
        polling.has_turn = false;
        stage.task.turn(true, &mut polling);
        stage.task.ask(&mut polling);
        assert!(polling.call.is_none(), "asked twice in a slot");
    }
}
