//! What `exchanges.md` says of each venue's protocol.

use super::*;

async fn binance(simulator: &Simulator, path: &str) -> Client {
    Client::connect(&format!("{}{path}", simulator.ws_url(Exchange::Binance))).await
}

#[tokio::test]
async fn binance_wraps_combined_streams_and_sends_raw_ones_as_they_are() {
    let (simulator, shutdown) = quiet().await;
    let mut wrapped = binance(&simulator, "/market/stream?streams=!forceOrder@arr/btcusdt@markPrice@1s").await;
    let mut raw = binance(&simulator, "/market/ws/btcusdt@markPrice@1s").await;
    let mut frame = wrapped.json().await;
    while frame["data"]["e"] == "forceOrder" {
        frame = wrapped.json().await;
    }
    assert_eq!((&frame["stream"], &frame["data"]["s"]), (&json!("btcusdt@markPrice@1s"), &json!("BTCUSDT")));
    assert_eq!(raw.json().await["e"], "markPriceUpdate");
    timeout(PATIENCE, simulator.control().subscribed(Exchange::Binance, 1)).await.unwrap();
    let state = &simulator.control().state().venues[&Exchange::Binance];
    assert_eq!((state.connected, state.subscribed), (2, 1));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn binance_acknowledges_subscriptions_on_the_socket() {
    let (simulator, shutdown) = quiet().await;
    let mut client = binance(&simulator, "/market/ws").await;
    client.send(&json!({"method": "SUBSCRIBE", "params": ["BTCUSDT@markPrice", "nosuch@kline"], "id": 1})).await;
    assert_eq!(client.json().await, json!({"result": null, "id": 1}));
    client.send(&json!({"method": "SUBSCRIBE", "params": ["btcusdt@markPrice@1s"], "id": 2})).await;
    assert_eq!(client.json().await, json!({"result": null, "id": 2}));
    assert_eq!(client.json().await["e"], "markPriceUpdate");
    client.send_text("nonsense").await;
    assert!(client.json().await["error"]["msg"].is_string());
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn the_retired_binance_urls_connect_and_stay_silent() {
    let (simulator, shutdown) = quiet().await;
    let mut stream = binance(&simulator, "/stream?streams=btcusdt@markPrice@1s").await;
    let mut ws = binance(&simulator, "/ws/btcusdt@markPrice@1s").await;
    ws.send(&json!({"method": "SUBSCRIBE", "params": ["btcusdt@markPrice@1s"], "id": 1})).await;
    assert_eq!(ws.json().await, json!({"result": null, "id": 1}));
    // Routed sockets get theirs meanwhile.
    let mut routed = binance(&simulator, "/market/ws/btcusdt@markPrice@1s").await;
    routed.json().await;
    routed.json().await;
    assert!(stream.is_silent().await && ws.is_silent().await);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn binance_pings_and_cuts_without_a_pong_or_with_a_flood() {
    let ping = Duration::from_millis(50);
    let timing = Timing { binance_ping: ping, binance_pong_within: ping * 6, ..Timing::default() };
    let (simulator, shutdown) = simulator(
        Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        timing,
    )
    .await;
    let mut client = binance(&simulator, "/market/ws/x").await;
    for _ in 0..10 {
        assert!(client.message().await.unwrap().unwrap().is_ping());
    }
    let mut deaf = binance(&simulator, "/market/ws/x").await;
    let control = simulator.control();
    timeout(PATIENCE, async {
        // The one that reads, and so answers, stays; the other goes.
        while control.state().venues[&Exchange::Binance].connected != 1 {
            client.message().await;
        }
    })
    .await
    .unwrap();
    deaf.ended().await;
    for _ in 0..30 {
        // The server may have cut already.
        let _ = client.0.send(Message::text("{}")).await;
    }
    client.ended().await;
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn bybit_refuses_a_whole_batch_for_one_unknown_topic() {
    let (simulator, shutdown) = quiet().await;
    let mut client = Client::bybit(&simulator).await;
    client
        .send(&json!({"req_id": "a", "op": "subscribe", "args": ["allLiquidation.BTCUSDT", "allLiquidation.NOPE"]}))
        .await;
    let refusal = loop {
        let frame = client.json().await;
        if frame.get("success").is_some() {
            break frame;
        }
    };
    assert_eq!(
        (&refusal["success"], &refusal["ret_msg"], &refusal["req_id"]),
        (&json!(false), &json!("error:handler not found,topic:allLiquidation.NOPE"), &json!("a"))
    );
    assert_eq!(simulator.control().state().venues[&Exchange::Bybit].subscribed, 0);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn bybit_sends_a_ticker_snapshot_then_deltas_and_answers_pings() {
    let (simulator, shutdown) = quiet().await;
    let mut client = Client::bybit(&simulator).await;
    let snapshot = client.json().await;
    assert_eq!((&snapshot["type"], &snapshot["topic"]), (&json!("snapshot"), &json!("tickers.BTCUSDT")));
    let coins = |field: &str| snapshot["data"][field].as_str().unwrap().parse::<f64>().unwrap();
    assert!((coins("openInterest") / coins("singleOpenInterest") - 2.0).abs() < 1e-6);
    let delta = client.json().await;
    assert_eq!((&delta["type"], delta["data"].get("fundingRate")), (&json!("delta"), None));
    client.send(&json!({"op": "ping", "req_id": "7"})).await;
    let pong = loop {
        let frame = client.json().await;
        if frame.get("op").is_some() {
            break frame;
        }
    };
    assert_eq!((&pong["ret_msg"], &pong["op"], &pong["success"]), (&json!("pong"), &json!("ping"), &json!(true)));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn okx_acknowledges_with_what_is_really_subscribed_and_refuses_the_rest() {
    let (simulator, shutdown) = quiet().await;
    let mut client = Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
    let subscribe = |arg: Value| json!({"id": "9", "op": "subscribe", "args": [arg]});
    client
        .send(&subscribe(json!({"channel": "liquidation-orders", "instType": "SWAP", "instId": "BTC-USDT-SWAP"})))
        .await;
    let ack = client.json().await;
    assert_eq!(ack["arg"], json!({"channel": "liquidation-orders", "instType": "SWAP"}));
    assert_eq!((&ack["event"], &ack["id"], ack["connId"].is_string()), (&json!("subscribe"), &json!("9"), true));
    client.send(&subscribe(json!({"channel": "liquidation-orders", "instId": "BTC-USDT-SWAP"}))).await;
    let refusal = client.json().await;
    assert_eq!((&refusal["event"], &refusal["code"]), (&json!("error"), &json!("60018")));
    let msg = "Wrong URL or channel:liquidation-orders,instId:BTC-USDT-SWAP doesn't exist. Please use the correct URL, \
        channel and parameters referring to API document.";
    assert_eq!(refusal["msg"], msg);
    client.send_text("ping").await;
    while client.text().await != "pong" {}
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn idle_okx_and_bybit_sockets_are_cut() {
    let idle = Duration::from_millis(100);
    let timing = Timing { okx_idle: idle, bybit_idle: idle, ..Timing::default() };
    let (simulator, shutdown) = simulator(
        Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        timing,
    )
    .await;
    Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await.ended().await;
    // Data is no sign of the client.
    Client::bybit(&simulator).await.ended().await;
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn okx_announces_an_upgrade_and_cuts() {
    let timing = Timing { okx_notice: Duration::from_millis(50), ..Timing::default() };
    let (simulator, shutdown) = simulator(
        Source::Seed { seed: 1, storms: None, scenario: None, speed: Speed::Times(1.0), wait_subscribers: 0 },
        timing,
    )
    .await;
    let mut client = Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
    client.send_text("ping").await;
    assert_eq!(client.text().await, "pong");
    simulator.control().act(Exchange::Okx, Action::Notice);
    let notice = client.json().await;
    assert_eq!((&notice["event"], &notice["code"]), (&json!("notice"), &json!("64008")));
    client.ended().await;
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn rest_lists_instruments_and_tells_the_time() {
    let (simulator, shutdown) = quiet().await;
    let (binance, bybit, okx) =
        (simulator.http_url(Exchange::Binance), simulator.http_url(Exchange::Bybit), simulator.http_url(Exchange::Okx));
    let info = get(&format!("{binance}/fapi/v1/exchangeInfo")).await;
    assert_eq!((&info["symbols"][0]["symbol"], &info["symbols"][0]["baseAsset"]), (&json!("BTCUSDT"), &json!("BTC")));
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let url = format!("{bybit}/v5/market/instruments-info?category=linear&limit=4&cursor={cursor}");
        let page = get(&url).await["result"].take();
        found.extend(page["list"].as_array().unwrap().iter().map(|row| row["symbol"].as_str().unwrap().to_owned()));
        cursor = page["nextPageCursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT", "BTCPERP"]);
    let swaps = get(&format!("{okx}/api/v5/public/instruments?instType=SWAP")).await;
    assert_eq!(swaps["data"].as_array().unwrap().len(), 5);
    assert_eq!(get(&format!("{okx}/api/v5/public/instruments")).await["code"], "51000");
    let times = [
        get(&format!("{binance}/fapi/v1/time")).await["serverTime"].as_i64().unwrap(),
        get(&format!("{bybit}/v5/market/time")).await["time"].as_i64().unwrap(),
        get(&format!("{okx}/api/v5/public/time")).await["data"][0]["ts"].as_str().unwrap().parse().unwrap(),
    ];
    let now = wall_ms();
    assert!(times.iter().all(|time| (0..60_000).contains(&(now - time))), "{times:?} {now}");
    stop(simulator, shutdown).await;
}
