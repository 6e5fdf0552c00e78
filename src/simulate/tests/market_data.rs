//! The stand-in of the market-data service.

use super::*;

/// A service whose upstream requests take no time.
async fn quick() -> (Simulator, CancellationToken) {
    let (simulator, shutdown) = quiet().await;
    simulator.control().set_market_data(behaviour(0));
    (simulator, shutdown)
}

fn behaviour(upstream_ms: u64) -> MarketData {
    MarketData { upstream_ms: Upstream::ALL.map(|upstream| (upstream, upstream_ms)).into(), ..MarketData::default() }
}

async fn post(simulator: &Simulator, endpoint: &str, body: &str) -> (u16, String) {
    let url = format!("{}/{endpoint}", simulator.market_data_url());
    let response = http().post(url).body(body.to_owned()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn multi_oi(simulator: &Simulator, base: &str) -> Value {
    let (status, text) = post(simulator, "multi_oi", &json!({"base_symbol": base}).to_string()).await;
    assert_eq!(status, 200);
    serde_json::from_str(&text).unwrap()
}

fn exchanges(answer: &Value) -> Vec<&str> {
    answer["exchange_breakdown"].as_array().unwrap().iter().map(|one| one["exchange"].as_str().unwrap()).collect()
}

/// Returns the open interest in tokens of a venue's market in USDT.
fn usdt(answer: &Value, exchange: &str) -> f64 {
    let venues = answer["exchange_breakdown"].as_array().unwrap();
    let venue = venues.iter().find(|venue| venue["exchange"] == exchange).unwrap();
    let market = venue["market_breakdown"].as_array().unwrap().iter().find(|market| market["type"] == "USDT").unwrap();
    market["oi_tokens"].as_f64().unwrap()
}

#[tokio::test]
async fn an_answer_is_flat_and_a_call_fans_out() {
    let (simulator, shutdown) = quick().await;
    let answer = multi_oi(&simulator, "BTC").await;
    assert_eq!((&answer["success"], &answer["base_symbol"]), (&json!(true), &json!("BTC")));
    assert_eq!(exchanges(&answer), ["binance", "bybit", "okx", "gateio", "bitget", "hyperliquid"]);
    assert!(answer["timestamp"].as_str().unwrap().parse::<jiff::civil::DateTime>().is_ok(), "{answer}");
    assert!(answer["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_err(), "{answer}");
    let sum: f64 =
        answer["exchange_breakdown"].as_array().unwrap().iter().map(|one| one["oi_tokens"].as_f64().unwrap()).sum();
    assert!((answer["aggregated_oi"]["total_tokens"].as_f64().unwrap() / sum - 1.0).abs() < 1e-9);
    assert_eq!(answer["aggregated_oi"]["exchanges_count"], 6);
    assert_eq!(answer["market_categories"]["usdt_stable"]["exchanges"], 5);
    assert_eq!(answer["validation_summary"]["failed_details"], json!({}));
    let state = simulator.control().state().market_data;
    assert_eq!(state.calls, [("multi_oi".to_owned(), 1)].into());
    assert_eq!(state.upstream_requests, Upstream::ALL.map(|upstream| (upstream, upstream.requests())).into());
    assert_eq!(state.upstream_requests.values().sum::<u64>(), 29);
    let health = get(&format!("{}/health", simulator.market_data_url())).await;
    assert_eq!(health, json!({"status": "healthy", "service": "market-data"}));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn bybit_is_doubled_and_gate_has_the_wrong_multiplier() {
    let (simulator, shutdown) = quick().await;
    let (btc, eth) = (multi_oi(&simulator, "BTC").await, multi_oi(&simulator, "ETH").await);
    for answer in [&btc, &eth] {
        assert!((usdt(answer, "bybit") / usdt(answer, "binance") - 2.0).abs() < 0.1);
    }
    assert!((usdt(&btc, "gateio") / usdt(&btc, "bitget") - 1.0).abs() < 0.1);
    assert!((usdt(&eth, "gateio") / usdt(&eth, "bitget") - 0.01).abs() < 0.001);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn failures_look_as_they_really_do() {
    let (simulator, shutdown) = quick().await;
    let control = simulator.control();
    // The prefix that is left over is no coin.
    for base in ["BTC-USDT", "NOPE"] {
        let answer = multi_oi(&simulator, base).await;
        assert_eq!(answer["error"], "'NoneType' object has no attribute 'validation_passed'");
    }
    assert_eq!(multi_oi(&simulator, "btcusdt").await["base_symbol"], "BTC");
    let (status, text) = post(&simulator, "multi_oi", r#"{"symbol":"BTC-USDT"}"#).await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()["success"].take()), (200, json!(false)));
    assert_eq!(post(&simulator, "multi_oi", "nonsense").await.0, 500);
    control.set_market_data(MarketData { failed: [Upstream::Hyperliquid].into(), ..behaviour(0) });
    assert_eq!(multi_oi(&simulator, "BTC").await["success"], false);
    control.set_market_data(MarketData { failed: [Upstream::Okx, Upstream::Bitget].into(), ..behaviour(0) });
    control.set_faults(Exchange::Bybit, Faults { refuse_rest: Some(Refusal::Forbidden), ..Faults::default() });
    let answer = multi_oi(&simulator, "BTC").await;
    assert_eq!(exchanges(&answer), ["binance", "gateio", "hyperliquid"]);
    let summary = &answer["validation_summary"];
    assert_eq!((&summary["failed_exchanges"], &summary["validation_passed"]), (&json!(3), &json!(false)));
    let order = json!({"market_data": {"crash": true}});
    let url = format!("http://{}/control", simulator.addr());
    assert_eq!(http().post(url).body(order.to_string()).send().await.unwrap().status(), 200);
    let (status, text) = post(&simulator, "multi_oi", r#"{"base_symbol":"BTC"}"#).await;
    assert!(status == 500 && serde_json::from_str::<Value>(&text).is_err(), "{text}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn calls_share_one_line_to_each_upstream_venue() {
    let (simulator, shutdown) = quiet().await;
    simulator.control().set_market_data(MarketData { upstream_ms: [(Upstream::Binance, 100)].into(), ..behaviour(0) });
    let started = Instant::now();
    let price = || post(&simulator, "combined_price", r#"{"symbol":"BTC-USDT","exchange":null}"#);
    let (_, first, second) = tokio::join!(multi_oi(&simulator, "BTC"), price(), price());
    // Nine and two requests, one at a time: never sooner.
    assert!(started.elapsed() >= Duration::from_millis(1100), "{:?}", started.elapsed());
    for (status, text) in [first, second] {
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["data"]["base_symbol"]), (200, &json!("BTC")));
        assert!(answer["data"]["perp"]["open_interest"].is_f64());
    }
    assert_eq!(simulator.control().state().market_data.upstream_requests[&Upstream::Binance], 11);
    stop(simulator, shutdown).await;
}
