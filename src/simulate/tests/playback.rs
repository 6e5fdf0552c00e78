//! Where the market comes from.

use super::*;

#[tokio::test]
async fn a_recording_reaches_two_subscribers_complete_and_in_one_order() {
    // More than a queue holds, so that the player has to wait.
    let frames = okx_frames(10_000, 700);
    let file = recording(&frames);
    let (simulator, shutdown) = simulator(okx_source(&file, Speed::Max, 2), Timing::default()).await;
    let collect = |mut client: Client| async move {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&9_999) {
            numbers.extend(number(&client.json().await));
        }
        numbers
    };
    let one = Client::okx(&simulator).await;
    assert_eq!(simulator.control().state().playback.unwrap().position, 0);
    let two = Client::okx(&simulator).await;
    let (one, two) = tokio::join!(collect(one), collect(two));
    assert_eq!(one, (0..10_000).collect::<Vec<_>>());
    assert_eq!(one, two);
    timeout(PATIENCE, simulator.done()).await.unwrap();
    let state = simulator.control().state();
    assert_eq!(state.playback, Some(Playback { position: 10_000, frames: 10_000, skipped: 0, done: true }));
    let end_ms = 1_772_622_793_984 + 9_999 * 700;
    assert!(state.market_ms >= end_ms + 120_000, "{} {end_ms}", state.market_ms);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn companions_are_never_stamped_ahead_of_a_liquidation_that_is_still_to_come() {
    let file = recording(&okx_frames(200, 450));
    for speed in [Speed::Max, Speed::Times(200.0)] {
        let (simulator, shutdown) = simulator(okx_source(&file, speed, 1), Timing::default()).await;
        let mut client = Client::okx(&simulator).await;
        let (mut newest_ms, mut companions, mut seen) = (0, 0, 0);
        let end_ms = 1_772_622_793_984 + 199 * 450;
        while newest_ms <= end_ms {
            let frame = client.json().await;
            let time = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
            if number(&frame).is_some() {
                seen += 1;
                let event_ms = time(&frame["data"][0]["details"][0]["ts"]);
                assert!(newest_ms <= event_ms, "{newest_ms} before {event_ms} at {speed:?}");
            } else {
                companions += 1;
                newest_ms = time(&frame["data"][0]["ts"]);
            }
        }
        // The clock went past the end, so every liquidation is behind it.
        assert_eq!(seen, 200);
        assert!(companions > 1, "{companions} at {speed:?}");
        stop(simulator, shutdown).await;
    }
}

#[tokio::test]
async fn sockets_live_while_a_recording_waits_for_subscribers() {
    let file = recording(&okx_frames(1, 1));
    let (simulator, shutdown) = simulator(okx_source(&file, Speed::Max, 2), Timing::default()).await;
    let mut client = Client::okx(&simulator).await;
    let companion = client.json().await;
    let ts: i64 = companion["data"][0]["ts"].as_str().unwrap().parse().unwrap();
    assert!((1..=3_600_000).contains(&(1_772_622_793_984 - ts)), "{ts}");
    assert_eq!(simulator.control().state().playback.unwrap().position, 0);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn the_history_tells_what_was_published_so_far() {
    let file = recording(&okx_frames(150, 10));
    let (simulator, shutdown) = simulator(okx_source(&file, Speed::Max, 1), Timing::default()).await;
    let url = format!(
        "{}/api/v5/public/liquidation-orders?instType=SWAP&state=filled&uly=BTC-USDT",
        simulator.http_url(Exchange::Okx)
    );
    assert_eq!(get(&url).await["data"], json!([]));
    let _client = Client::okx(&simulator).await;
    timeout(PATIENCE, simulator.done()).await.unwrap();
    let details = |reply: &Value| reply["data"][0]["details"].as_array().unwrap().clone();
    let first = details(&get(&url).await);
    assert_eq!((first.len(), &first[0]["sz"], &first[99]["sz"]), (100, &json!("149"), &json!("50")));
    let second = details(&get(&format!("{url}&after={}", first[99]["ts"].as_str().unwrap())).await);
    assert_eq!((second.len(), &second[0]["sz"], &second[49]["sz"]), (50, &json!("49"), &json!("0")));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn given_instruments_replace_those_that_are_built_in() {
    let file = recording(&okx_frames(1, 1));
    let instruments = recording(&[json!({"code": "0", "data": [{"instId": "HYPE-USDT-SWAP", "ctVal": "0.1"}]})]);
    let source = Source::Recording {
        venue: Exchange::Okx,
        file: file.path().to_owned(),
        instruments: Some(instruments.path().to_owned()),
        speed: Speed::Max,
        wait_subscribers: 0,
    };
    let (simulator, shutdown) = simulator(source, Timing::default()).await;
    let url = format!("{}/api/v5/public/instruments?instType=SWAP", simulator.http_url(Exchange::Okx));
    assert_eq!(get(&url).await["data"], json!([{"instId": "HYPE-USDT-SWAP", "ctVal": "0.1"}]));
    let binance = get(&format!("{}/fapi/v1/exchangeInfo", simulator.http_url(Exchange::Binance))).await;
    assert!(binance["symbols"].as_array().unwrap().len() > 1);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn two_connections_and_two_simulators_of_one_seed_see_the_same_storm() {
    let storms = Some(Storms { every: Duration::from_secs(5), strength: 3.0 });
    let (one, shutdown_one) = simulator(
        Source::Seed { seed: 9, storms, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        Timing::default(),
    )
    .await;
    let (two, shutdown_two) = simulator(
        Source::Seed { seed: 9, storms, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        Timing::default(),
    )
    .await;
    let mut clients = [Client::okx(&one).await, Client::okx(&one).await, Client::okx(&two).await];
    // The first liquidation that the last client sees was seen by all, or is still on its way to them.
    let mut seen = Vec::new();
    for client in clients.iter_mut().rev() {
        let mut frames: Vec<Value> = Vec::new();
        while frames.len() < 5 {
            let frame = client.json().await;
            let wanted = seen.first().is_none_or(|first: &Vec<Value>| !frames.is_empty() || frame == first[0]);
            if number(&frame).is_some() && wanted {
                frames.push(frame);
            }
        }
        seen.push(frames);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    stop(one, shutdown_one).await;
    stop(two, shutdown_two).await;
}

#[tokio::test]
async fn a_speed_of_zero_is_refused() {
    let file = recording(&okx_frames(1, 1));
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let config = Config {
            listen: LOOPBACK,
            source: okx_source(&file, Speed::Times(speed), 0),
            timing: Timing::default(),
            faults: BTreeMap::new(),
        };
        let started = start(config, CancellationToken::new()).await;
        assert!(matches!(started, Err(StartError::Speed(_))), "{speed}");
    }
}

#[tokio::test]
async fn an_invented_market_cannot_be_run_to_its_end() {
    for (speed, endless) in [(Speed::Max, true), (Speed::Times(0.0), false)] {
        let source = Source::Seed { seed: 1, storms: None, scenario: None, speed, wait_subscribers: 0 };
        let config = Config { listen: LOOPBACK, source, timing: Timing::default(), faults: BTreeMap::new() };
        let error = start(config, CancellationToken::new()).await.err().unwrap();
        assert_eq!(matches!(error, StartError::Endless), endless, "{error}");
    }
}

#[tokio::test]
async fn an_accelerated_market_sends_companions_once_a_market_second() {
    let source = Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(30.0), wait_subscribers: 0 };
    let (simulator, shutdown) = simulator(source, Timing::default()).await;
    let mut client = Client::bybit(&simulator).await;
    let mut times = Vec::new();
    while times.len() < 60 {
        times.push(client.json().await["ts"].as_i64().unwrap());
    }
    assert!(times.is_sorted() && times.iter().all(|ts| ts % 1000 == 0), "{times:?}");
    // A price that stood still for a second leaves a ticker out.
    assert!(times[59] - times[0] < 90_000, "{times:?}");
    let state = simulator.control().state();
    assert!(times[59] <= state.market_ms && state.market_ms > wall_ms());
    stop(simulator, shutdown).await;
}
