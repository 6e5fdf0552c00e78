//! Open interest and marks, over REST and on sockets.

use super::*;

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn binance_tells_open_interest_of_one_symbol_and_marks_of_all() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/fapi/v1", simulator.http_url(Exchange::Binance));
    let one = get(&format!("{url}/openInterest?symbol=BTCUSDT")).await;
    assert_eq!(one["symbol"], "BTCUSDT");
    assert!((20_000.0..40_000.0).contains(&number(&one["openInterest"])), "{one}");
    assert!((wall_ms() - one["time"].as_i64().unwrap()).abs() < 60_000, "{one}");
    for (query, code) in [("?symbol=NOPEUSDT", -1121), ("?symbol=btcusdt", -1121), ("", -1102)] {
        let response = http().get(format!("{url}/openInterest{query}")).send().await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "{query}");
    }
    let all = get(&format!("{url}/premiumIndex")).await;
    assert_eq!(all.as_array().unwrap().len(), 6);
    let mark = get(&format!("{url}/premiumIndex?symbol=ETHUSDT")).await;
    assert!((2_000.0..4_000.0).contains(&number(&mark["markPrice"])), "{mark}");
    let unknown = http().get(format!("{url}/premiumIndex?symbol=NOPE")).send().await.unwrap();
    assert_eq!(unknown.json::<Value>().await.unwrap()["code"], -1121);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn bybit_tells_both_sides_of_one_or_all() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/v5/market/tickers", simulator.http_url(Exchange::Bybit));
    let all = get(&format!("{url}?category=linear")).await;
    assert_eq!((&all["retCode"], all["result"]["list"].as_array().unwrap().len()), (&json!(0), 6));
    let one = get(&format!("{url}?category=linear&symbol=SOLUSDT")).await["result"]["list"][0].take();
    assert_eq!(one["symbol"], "SOLUSDT");
    for (both, single) in [("openInterest", "singleOpenInterest"), ("openInterestValue", "singleOpenInterestValue")] {
        assert!((number(&one[both]) / number(&one[single]) - 2.0).abs() < 1e-5, "{one}");
    }
    let value = number(&one["singleOpenInterest"]) * number(&one["markPrice"]);
    assert!((number(&one["singleOpenInterestValue"]) / value - 1.0).abs() < 1e-3, "{one}");
    for query in ["", "?category=inverse", "?category=linear&symbol=NOPE"] {
        assert_eq!(get(&format!("{url}{query}")).await["retCode"], 10001, "{query}");
    }
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn okx_tells_contracts_of_one_or_all() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/api/v5/public", simulator.http_url(Exchange::Okx));
    let all = get(&format!("{url}/open-interest?instType=SWAP")).await;
    assert_eq!((&all["code"], all["data"].as_array().unwrap().len()), (&json!("0"), 5));
    let one = get(&format!("{url}/open-interest?instType=SWAP&instId=BTC-USDT-SWAP")).await["data"][0].take();
    assert!((number(&one["oi"]) / number(&one["oiCcy"]) - 100.0).abs() < 1e-6, "{one}");
    assert!((number(&one["ts"]) - wall_ms() as f64).abs() < 60_000.0, "{one}");
    let mark = get(&format!("{url}/mark-price?instType=SWAP&instId=BTC-USDT-SWAP")).await["data"][0].take();
    assert!(
        (number(&one["oiUsd"]) / number(&one["oiCcy"]) / number(&mark["markPx"]) - 1.0).abs() < 1e-2,
        "{one} {mark}"
    );
    for (path, code) in [
        ("open-interest", "51000"),
        ("mark-price?instType=NOPE", "51000"),
        ("open-interest?instType=SWAP&instId=NOPE", "51001"),
        ("open-interest?instType=FUTURES", "0"),
    ] {
        assert_eq!(get(&format!("{url}/{path}")).await["code"], code, "{path}");
    }
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn okx_open_interest_comes_on_a_socket_with_long_decimals() {
    let (simulator, shutdown) = quiet().await;
    let mut client = Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
    client
        .send(&json!({"op": "subscribe", "args": [{"channel": "open-interest", "instId": "ETH-USDT-SWAP"},
            {"channel": "open-interest", "instId": "BTC-USD-SWAP"}]}))
        .await;
    let mut frames = BTreeMap::new();
    while frames.len() < 2 {
        let frame = client.json().await;
        if frame.get("data").is_some() {
            frames.insert(frame["arg"]["instId"].as_str().unwrap().to_owned(), frame["data"][0].clone());
        }
    }
    let (linear, inverse) = (&frames["ETH-USDT-SWAP"], &frames["BTC-USD-SWAP"]);
    assert!((number(&linear["oi"]) / number(&linear["oiCcy"]) - 10.0).abs() < 1e-6, "{linear}");
    assert!((number(&inverse["oiUsd"]) / number(&inverse["oi"]) - 100.0).abs() < 1e-6, "{inverse}");
    assert!(linear["oiUsd"].as_str().unwrap().len() >= 24, "{linear}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn frozen_interest_stands_still_while_prices_go_on() {
    let source = Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(60.0), wait_subscribers: 0 };
    let (simulator, shutdown) = simulator(source, Timing::default()).await;
    let control = simulator.control();
    let mut bybit = Client::bybit(&simulator).await;
    let mut okx = Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
    okx.send(&json!({"op": "subscribe", "args": [{"channel": "open-interest", "instId": "BTC-USDT-SWAP"},
        {"channel": "mark-price", "instId": "BTC-USDT-SWAP"}]}))
        .await;
    let (binance_url, okx_url) = (
        format!("{}/fapi/v1/openInterest?symbol=BTCUSDT", simulator.http_url(Exchange::Binance)),
        format!("{}/api/v5/public/open-interest?instType=SWAP", simulator.http_url(Exchange::Okx)),
    );
    for venue in Exchange::ALL {
        control.set_faults(venue, Faults { frozen_interest: true, ..Faults::default() });
    }
    let frozen_ms = control.state().market_ms;
    let before = [get(&binance_url).await, get(&okx_url).await];
    // A minute and more of the market, in which prices and their times move.
    let mut bybit_frames = Vec::new();
    while bybit_frames.last().is_none_or(|frame: &Value| frame["ts"].as_i64().unwrap() < frozen_ms + 90_000) {
        bybit_frames.push(bybit.json().await);
    }
    let after: Vec<_> = bybit_frames.iter().filter(|frame| frame["ts"].as_i64().unwrap() > frozen_ms).collect();
    assert!(after.len() > 30, "{}", after.len());
    let first_after = after.iter().position(|frame| frame["type"] == "delta").unwrap();
    for frame in &after[first_after + 1..] {
        for field in ["openInterest", "openInterestValue", "singleOpenInterest", "singleOpenInterestValue"] {
            assert_eq!(frame["data"].get(field), None, "{frame}");
        }
    }
    let mut marks = 0;
    let mut newest = 0;
    while marks < 100 {
        let frame = okx.json().await;
        let ts = frame["data"][0]["ts"].as_str().map_or(0, |ts| ts.parse::<i64>().unwrap());
        match frame["arg"]["channel"].as_str() {
            Some("mark-price") => marks += 1,
            Some(_) => newest = newest.max(ts),
            None => {}
        }
    }
    assert!(newest <= frozen_ms, "{newest} {frozen_ms}");
    assert_eq!(before, [get(&binance_url).await, get(&okx_url).await]);
    // A venue that is frozen already does not thaw when it is told again; a healthy one goes on.
    control.set_faults(Exchange::Okx, Faults { frozen_interest: true, duplicate: 0.5, ..Faults::default() });
    assert_eq!(before[1], get(&okx_url).await);
    control.set_faults(Exchange::Okx, Faults::default());
    assert_ne!(before[1]["data"][0]["ts"], get(&okx_url).await["data"][0]["ts"]);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn rest_requests_are_counted_by_path_also_when_they_are_refused() {
    let (simulator, shutdown) = quiet().await;
    let control = simulator.control();
    let url = format!("{}/fapi/v1", simulator.http_url(Exchange::Binance));
    get(&format!("{url}/openInterest?symbol=BTCUSDT")).await;
    get(&format!("{url}/openInterest?symbol=ETHUSDT")).await;
    get(&format!("{url}/time")).await;
    control.set_faults(Exchange::Binance, Faults { refuse_rest: Some(Refusal::Banned), ..Faults::default() });
    let refused = http().get(format!("{url}/openInterest?symbol=BTCUSDT")).send().await.unwrap();
    assert_eq!(refused.status(), 418);
    let state = get(&format!("http://{}/control", simulator.addr())).await;
    assert_eq!(state["venues"]["binance"]["rest_requests"], json!({"/fapi/v1/openInterest": 3, "/fapi/v1/time": 1}));
    assert_eq!(state["venues"]["bybit"]["rest_requests"], json!({}));
    stop(simulator, shutdown).await;
}
