//! Each fault does what it says.

use super::*;

/// Plays liquidations to one OKX client while `faults` hold, and returns its texts up to the end of the recording.
async fn played(faults: Faults, count: i64) -> Vec<String> {
    let file = recording(&okx_frames(count, 10));
    let shutdown = CancellationToken::new();
    let config = Config {
        listen: LOOPBACK,
        source: okx_source(&file, Speed::Times(1.0), 1),
        timing: Timing::default(),
        faults: BTreeMap::from([(Exchange::Okx, faults)]),
    };
    let simulator = start(config, shutdown.clone()).await.unwrap();
    let mut client = Client::okx(&simulator).await;
    timeout(PATIENCE, simulator.done()).await.unwrap();
    // Longer than anything is held back.
    tokio::time::sleep(GLANCE).await;
    client.send_text("ping").await;
    let mut texts = Vec::new();
    loop {
        let text = client.text().await;
        if text == "pong" {
            break;
        }
        texts.push(text);
    }
    stop(simulator, shutdown).await;
    texts
}

fn numbers(texts: &[String]) -> Vec<i64> {
    texts.iter().filter_map(|text| serde_json::from_str(text).ok()).filter_map(|frame| number(&frame)).collect()
}

#[tokio::test]
async fn duplicates_come_twice() {
    let texts = played(Faults { duplicate: 1.0, ..Faults::default() }, 3).await;
    assert_eq!(numbers(&texts), [0, 0, 1, 1, 2, 2]);
}

#[tokio::test]
async fn disorder_loses_nothing() {
    let disorder = Some(Disorder { probability: 0.5, max_ms: 100 });
    let got = numbers(&played(Faults { disorder, ..Faults::default() }, 40).await);
    let mut sorted = got.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    assert_ne!(got, sorted);
}

#[tokio::test]
async fn bad_frames_come_besides_the_good_ones() {
    let texts = played(Faults { malformed: 1.0, truncated: 1.0, oversized: 1.0, ..Faults::default() }, 3).await;
    assert_eq!(numbers(&texts), [0, 1, 2]);
    assert!(texts.iter().filter(|text| text.len() > 1024 * 1024).count() >= 3);
    assert!(texts.iter().filter(|text| serde_json::from_str::<Value>(text).is_err()).count() >= 3);
    assert!(texts.iter().filter(|text| text.contains(r#""details":7"#)).count() >= 3);
}

#[tokio::test]
async fn a_wrong_clock_shifts_sockets_and_rest() {
    let texts = played(Faults { clock_ms: 3_600_000, ..Faults::default() }, 1).await;
    assert!(texts.iter().any(|text| text.contains(&(1_772_622_793_984_i64 + 3_600_000).to_string())), "{texts:?}");
    let (simulator, shutdown) = quiet().await;
    simulator.control().set_faults(Exchange::Binance, Faults { clock_ms: 3_600_000, ..Faults::default() });
    let time = get(&format!("{}/fapi/v1/time", simulator.http_url(Exchange::Binance))).await;
    assert!(time["serverTime"].as_i64().unwrap() > wall_ms() + 3_000_000);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn silence_may_answer_pings_or_not_and_ends() {
    let (simulator, shutdown) = quiet().await;
    let control = simulator.control();
    let mut client = Client::bybit(&simulator).await;
    client.json().await;
    for silence in [Silence::Answering, Silence::Deaf] {
        control.set_faults(Exchange::Bybit, Faults { silence: Some(silence), ..Faults::default() });
        // What was on its way still comes.
        while !client.is_silent().await {}
        client.send(&json!({"op": "ping"})).await;
        match silence {
            Silence::Answering => assert_eq!(client.json().await["ret_msg"], "pong"),
            Silence::Deaf => assert!(client.is_silent().await),
        }
    }
    control.set_faults(Exchange::Bybit, Faults::default());
    // The ping of the deaf time is read now, and data flows.
    let frames = [client.json().await, client.json().await, client.json().await];
    assert!(frames.iter().any(|frame| frame["ret_msg"] == "pong"), "{frames:?}");
    assert!(frames.iter().any(|frame| frame["type"] == "delta"), "{frames:?}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn half_open_sockets_stay_open_and_dead_while_new_ones_work() {
    let (simulator, shutdown) = quiet().await;
    let mut dead = Client::bybit(&simulator).await;
    simulator.control().act(Exchange::Bybit, Action::HalfOpen);
    while !dead.is_silent().await {}
    dead.send(&json!({"op": "ping"})).await;
    assert!(dead.is_silent().await);
    assert_eq!(simulator.control().state().venues[&Exchange::Bybit].connected, 0);
    assert_eq!(Client::bybit(&simulator).await.json().await["type"], "snapshot");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn sockets_are_dropped_on_request_and_after_a_time() {
    let (simulator, shutdown) = quiet().await;
    let control = simulator.control();
    let mut client = Client::bybit(&simulator).await;
    client.json().await;
    control.act(Exchange::Bybit, Action::Disconnect);
    client.ended().await;
    control.set_faults(Exchange::Bybit, Faults { disconnect_every_ms: Some(200), ..Faults::default() });
    Client::bybit(&simulator).await.ended().await;
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn topics_are_refused_as_unknown_ones_are() {
    let (simulator, shutdown) = quiet().await;
    let refuse = |topic: &str| Faults { refuse_topics: vec![topic.to_owned()], ..Faults::default() };
    simulator.control().set_faults(Exchange::Bybit, refuse("tickers.BTCUSDT"));
    simulator.control().set_faults(Exchange::Okx, refuse("liquidation-orders"));
    simulator.control().set_faults(Exchange::Binance, refuse("!forceOrder@arr"));
    let mut bybit = Client::connect(&format!("{}/v5/public/linear", simulator.ws_url(Exchange::Bybit))).await;
    bybit.send(&json!({"op": "subscribe", "args": ["tickers.BTCUSDT"]})).await;
    assert_eq!(bybit.json().await["ret_msg"], "error:handler not found,topic:tickers.BTCUSDT");
    let mut okx = Client::connect(&format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await;
    okx.send(&json!({"op": "subscribe", "args": [{"channel": "liquidation-orders", "instType": "SWAP"}]})).await;
    assert_eq!(okx.json().await["code"], "60018");
    let mut binance = Client::connect(&format!("{}/market/ws", simulator.ws_url(Exchange::Binance))).await;
    binance.send(&json!({"method": "SUBSCRIBE", "params": ["!forceOrder@arr"], "id": 4})).await;
    let refusal = binance.json().await;
    assert_eq!((&refusal["id"], refusal["error"]["code"].is_number()), (&json!(4), true));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn upgrades_and_rest_are_refused_as_each_venue_does() {
    let (simulator, shutdown) = quiet().await;
    let control = simulator.control();
    let paths = [
        (Exchange::Binance, "/market/ws/x", "/fapi/v1/time"),
        (Exchange::Bybit, "/v5/public/linear", "/v5/market/time"),
        (Exchange::Okx, "/ws/v5/public", "/api/v5/public/time"),
    ];
    for (refusal, statuses) in [
        (Refusal::Restricted, [451, 451, 451]),
        (Refusal::Forbidden, [403, 403, 403]),
        (Refusal::RateLimited, [429, 200, 429]),
        (Refusal::Banned, [418, 403, 429]),
        (Refusal::Unavailable, [503, 503, 503]),
    ] {
        for ((venue, socket, rest), status) in paths.into_iter().zip(statuses) {
            let faults = Faults { refuse_sockets: Some(refusal), refuse_rest: Some(refusal), ..Faults::default() };
            control.set_faults(venue, faults);
            let Err(Error::Http(answer)) = connect_async(format!("{}{socket}", simulator.ws_url(venue))).await else {
                unreachable!("{venue} takes a socket in spite of {refusal:?}");
            };
            assert_eq!(answer.status().as_u16(), status, "{venue} {refusal:?}");
            let answer = http().get(format!("{}{rest}", simulator.http_url(venue))).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{venue} {refusal:?}");
            assert_eq!(answer.headers().contains_key("retry-after"), status == 429, "{venue} {refusal:?}");
            let body = answer.text().await.unwrap();
            let expected = match (refusal, venue) {
                (Refusal::Restricted, _) => "restricted location",
                (Refusal::Forbidden | Refusal::Unavailable, _) => "<html>",
                (Refusal::RateLimited | Refusal::Banned, Exchange::Okx) => "50011",
                (Refusal::RateLimited, Exchange::Bybit) => "10006",
                (Refusal::Banned, Exchange::Bybit) => "access too frequent",
                (Refusal::RateLimited, Exchange::Binance) => "-1003",
                (Refusal::Banned, Exchange::Binance) => "banned until",
            };
            assert!(body.contains(expected), "{venue} {refusal:?} {body}");
        }
    }
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn a_slow_socket_is_cut_and_delays_no_other() {
    let (simulator, shutdown) = quiet().await;
    let _slow = Client::bybit(&simulator).await;
    let mut quick = Client::bybit(&simulator).await;
    let control = simulator.control();
    // Fills the TCP window of the one that does not read, and then its queue.
    timeout(PATIENCE * 3, async {
        while control.state().venues[&Exchange::Bybit].cut_slow == 0 {
            for _ in 0..512 {
                control.act(Exchange::Bybit, Action::Malformed);
            }
            control.act(Exchange::Bybit, Action::Oversized);
            while !quick.text().await.contains("pad") {}
        }
    })
    .await
    .unwrap();
    assert_eq!(control.state().venues[&Exchange::Bybit].connected, 1);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn the_control_works_over_http() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("http://{}/control", simulator.addr());
    let post = |body: &str| http().post(&url).body(body.to_owned()).send();
    let answer = post(r#"{"venue":"okx","faults":{"silence":"answering"}}"#).await.unwrap();
    assert_eq!(answer.status(), 200);
    let state = get(&url).await;
    assert_eq!(state["venues"]["okx"]["faults"]["silence"], "answering");
    assert_eq!(state["venues"]["bybit"]["faults"]["silence"], Value::Null);
    assert_eq!((&state["playback"], state["market_ms"].is_i64()), (&Value::Null, true));
    for body in [r#"{"venue":"ftx"}"#, r#"{"faults":{"silense":"deaf"}}"#, "", r#"{"action":"explode"}"#] {
        assert_eq!(post(body).await.unwrap().status(), 400, "{body}");
    }
    let mut client = Client::bybit(&simulator).await;
    assert_eq!(post(r#"{"action":"disconnect"}"#).await.unwrap().status(), 200);
    client.ended().await;
    stop(simulator, shutdown).await;
}
