//! What the venues show of each scenario.

use super::*;
use crate::simulate::{
    clock::Clock,
    market::Market,
    scenario::Planted,
    source::{Play, Prepared},
};

const MINUTE_MS: i64 = 60_000;

/// Market time of every start: one at which a sampling slot of Binance begins.
const START_MS: i64 = 1_795_000_080_000;

/// A simulator whose scenario is at this place, in milliseconds since its start, and goes on at the speed of real time.
async fn at(scenario: Scenario, elapsed_ms: i64) -> (Simulator, CancellationToken) {
    let prepared = Prepared {
        market: Market::with_scenario(1, Planted { scenario, start_ms: START_MS }),
        clock: Clock::Running { from_ms: START_MS + elapsed_ms, since: Instant::now(), speed: 1.0 },
        instruments: None,
        play: Play::Seed { speed: 1.0, start_ms: START_MS, wait_subscribers: 0 },
    };
    let shutdown = CancellationToken::new();
    let simulator = launch(LOOPBACK, prepared, Timing::default(), BTreeMap::new(), shutdown.clone()).await.unwrap();
    (simulator, shutdown)
}

/// What REST tells of BTC: open interest of each venue in its native unit, and a mark.
async fn told(simulator: &Simulator) -> [f64; 4] {
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let (binance, bybit, okx) = (
        format!("{}/fapi/v1", simulator.http_url(Exchange::Binance)),
        format!("{}/v5/market/tickers", simulator.http_url(Exchange::Bybit)),
        format!("{}/api/v5/public/open-interest", simulator.http_url(Exchange::Okx)),
    );
    [
        number(&get(&format!("{binance}/openInterest?symbol=BTCUSDT")).await["openInterest"]),
        number(
            &get(&format!("{bybit}?category=linear&symbol=BTCUSDT")).await["result"]["list"][0]["singleOpenInterest"],
        ),
        number(&get(&format!("{okx}?instType=SWAP&instId=BTC-USDT-SWAP")).await["data"][0]["oi"]),
        number(&get(&format!("{binance}/premiumIndex?symbol=BTCUSDT")).await["markPrice"]),
    ]
}

/// Returns the changes in percent between two places: open interest of each venue, and the mark.
async fn shown(scenario: Scenario, from_ms: i64, to_ms: i64) -> [i64; 4] {
    let mut looks = Vec::new();
    for elapsed_ms in [from_ms, to_ms] {
        let (simulator, shutdown) = at(scenario, elapsed_ms).await;
        looks.push(told(&simulator).await);
        stop(simulator, shutdown).await;
    }
    [0, 1, 2, 3].map(|index| ((looks[1][index] / looks[0][index] - 1.0) * 100.0).round() as i64)
}

/// Shows that every change is what is planted, give or take the noise: 2 % of open interest, 6 % of the price.
fn assert_near(got: [i64; 4], want: [i64; 4]) {
    let near = got.iter().zip(want).zip([2, 2, 2, 6]).all(|((got, want), noise)| (got - want).abs() <= noise);
    assert!(near, "{got:?} {want:?}");
}

#[tokio::test]
async fn three_rises_everywhere() {
    assert_near(shown(Scenario::Three, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [20, 20, 20, 0]);
}

#[tokio::test]
async fn two_rises_on_binance_and_bybit() {
    assert_near(shown(Scenario::Two, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [20, 20, 0, 0]);
}

#[tokio::test]
async fn one_rises_on_bybit() {
    assert_near(shown(Scenario::One, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [0, 20, 0, 0]);
}

#[tokio::test]
async fn fall_falls_everywhere() {
    assert_near(shown(Scenario::Fall, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [-20, -20, -20, 0]);
}

#[tokio::test]
async fn price_moves_the_price_and_no_position() {
    assert_near(shown(Scenario::Price, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [0, 0, 0, 20]);
}

#[tokio::test]
async fn stale_rises_on_binance_while_bybit_repeats_itself() {
    assert_near(shown(Scenario::Stale, 11 * MINUTE_MS, 26 * MINUTE_MS).await, [20, 0, 0, 0]);
    let (simulator, shutdown) = at(Scenario::Stale, 22 * MINUTE_MS).await;
    let mut client = Client::bybit(&simulator).await;
    assert_eq!(client.json().await["type"], "snapshot");
    let mut newest_ms = 0;
    for _ in 0..20 {
        let frame = client.json().await;
        assert_eq!((&frame["type"], frame["data"].get("openInterest")), (&json!("delta"), None), "{frame}");
        let ts = frame["ts"].as_i64().unwrap();
        assert!(ts > newest_ms);
        newest_ms = ts;
    }
    let faults = simulator.control().state().venues.into_iter().map(|(venue, state)| (venue, state.faults));
    let frozen: Vec<_> = faults.filter(|(_, faults)| faults.frozen_interest).map(|(venue, _)| venue).collect();
    assert_eq!(frozen, [Exchange::Bybit]);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn down_cuts_and_refuses_okx_for_ten_minutes() {
    let begin_ms = 22 * MINUTE_MS + MINUTE_MS / 2;
    let (simulator, shutdown) = at(Scenario::Down, begin_ms - 3000).await;
    let mut binance =
        Client::connect(&format!("{}/market/ws/btcusdt@markPrice@1s", simulator.ws_url(Exchange::Binance))).await;
    Client::okx(&simulator).await.ended().await;
    let url = format!("{}/api/v5/public/time", simulator.http_url(Exchange::Okx));
    assert_eq!(http().get(&url).send().await.unwrap().status(), 503);
    assert!(connect_async(format!("{}/ws/v5/public", simulator.ws_url(Exchange::Okx))).await.is_err());
    assert!(simulator.control().state().scenario.unwrap().elapsed_ms >= begin_ms);
    assert_eq!(binance.json().await["e"], "markPriceUpdate");
    stop(simulator, shutdown).await;
    assert_near(shown(Scenario::Down, 15 * MINUTE_MS, 33 * MINUTE_MS).await, [20, 20, 20, 0]);
}

#[tokio::test]
async fn glitch_shows_five_times_the_truth_on_binance_and_then_the_truth() {
    // Its slot begins at minute 26 and it lasts for 100 s.
    for (elapsed_ms, binance) in [(26 * MINUTE_MS - 60_000, 0), (26 * MINUTE_MS, 400), (28 * MINUTE_MS, 0)] {
        let got = shown(Scenario::Glitch, 15 * MINUTE_MS, elapsed_ms).await;
        assert!((got[0] - binance).abs() <= 10, "{elapsed_ms} {got:?}");
        assert_near([0, got[1], got[2], got[3]], [0, 20, 0, 0]);
    }
}

#[tokio::test]
async fn the_control_tells_how_far_a_scenario_is() {
    let length_ms = i64::try_from(Scenario::Two.length().as_millis()).unwrap();
    for (elapsed_ms, done) in [(MINUTE_MS, false), (length_ms, true)] {
        let (simulator, shutdown) = at(Scenario::Two, elapsed_ms).await;
        let state = get(&format!("http://{}/control", simulator.addr())).await;
        assert_eq!((&state["scenario"]["name"], &state["scenario"]["done"]), (&json!("two"), &json!(done)));
        assert!((elapsed_ms..elapsed_ms + MINUTE_MS).contains(&state["scenario"]["elapsed_ms"].as_i64().unwrap()));
        stop(simulator, shutdown).await;
    }
    let (simulator, shutdown) = quiet().await;
    assert_eq!(simulator.control().state().scenario, None);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn a_scenario_runs_at_the_speed_of_its_market() {
    let source = Source::Seed {
        seed: 1,
        storms: Some(Storms::DEMO),
        scenario: Some(Scenario::Three),
        speed: Speed::Times(900.0),
        wait_subscribers: 0,
    };
    let (simulator, shutdown) = simulator(source, Timing::default()).await;
    let mut client = Client::bybit(&simulator).await;
    let snapshot = client.json().await;
    let number = |frame: &Value| frame["data"]["singleOpenInterest"].as_str().map(|text| text.parse::<f64>().unwrap());
    let before = number(&snapshot).unwrap();
    while number(&client.json().await).is_none_or(|coins| coins < 1.15 * before) {}
    assert!(simulator.control().state().scenario.unwrap().elapsed_ms > 20 * MINUTE_MS);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn a_scenario_begins_when_every_venue_has_its_subscribers() {
    let speed = Speed::Times(60.0);
    let source = Source::Seed { seed: 1, storms: None, scenario: Some(Scenario::Two), speed, wait_subscribers: 1 };
    let (simulator, shutdown) = simulator(source, Timing::default()).await;
    let control = simulator.control();
    let elapsed_ms = || control.state().scenario.unwrap().elapsed_ms;
    let mut okx = Client::okx(&simulator).await;
    let _binance = Client::connect(&format!("{}/market/ws/!forceOrder@arr", simulator.ws_url(Exchange::Binance))).await;
    // Its clock runs in the hour before the start, whose companions come.
    while okx.json().await["arg"]["channel"] != "mark-price" {}
    assert!((-60 * MINUTE_MS..-59 * MINUTE_MS).contains(&elapsed_ms()), "{}", elapsed_ms());
    let mut bybit = Client::bybit(&simulator).await;
    bybit.send(&json!({"op": "subscribe", "args": ["allLiquidation.BTCUSDT"]})).await;
    while elapsed_ms() < 0 {
        okx.json().await;
    }
    let from_ms = elapsed_ms();
    while elapsed_ms() < from_ms + 30_000 {
        okx.json().await;
    }
    stop(simulator, shutdown).await;
}
