use std::{sync::Arc, time::SystemTime};

use ingest::{account::OwnAccounts, exchange::Exchange};

use super::*;

fn now() -> ReceivedAt {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ReceivedAt::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// Drives a venue past the moment of its request and returns the open socket.
async fn driven(ingest: &Ingest, exchange: Exchange, venue: &Venue, slot: i64) -> (Client, Client) {
    let (liquidations, mut client) = both(venue).await;
    ingest.has_turn(exchange).await;
    for second in [1, 100] {
        let ms = slot * 120_000 + second * 1_000;
        let frame = match exchange {
            Exchange::Binance => binance_mark("BTCUSDT", ms),
            // Its ticker states no open interest.
            Exchange::Bybit => bybit_ticker("snapshot", "BTCUSDT", ms, r#","markPrice":"2""#),
            Exchange::Okx => okx_mark("BTC-USDT-SWAP", ms),
        };
        client.send(&frame).await;
    }
    (liquidations, client)
}

#[tokio::test]
async fn a_pause_the_venue_demands_is_kept_and_outlives_the_process() {
    let banned = format!(
        r#"{{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until {}. Please use the websocket."}}"#,
        now().as_millis() + 7_200_000
    );
    let teapot = format!("418 I'm a teapot\r\n\r\n{banned}");
    let page = "451 Unavailable For Legal Reasons\r\n\r\n{}";
    for (exchange, answer, why, seconds) in [
        (Exchange::Binance, Err("429 Too Many Requests\r\nretry-after: 90\r\n\r\n{}"), "it limits requests (429)", 90),
        (Exchange::Binance, Err(teapot.as_str()), "it limits requests (418)", 7_200),
        (Exchange::Binance, Err("418 I'm a teapot\r\n\r\n{}"), "it limits requests (418)", 600),
        (Exchange::Binance, Err(page), "it refuses this region (451)", 3_600),
        (Exchange::Bybit, Err("403 Forbidden\r\n\r\naccess too frequent"), "it limits requests (403)", 600),
        (Exchange::Bybit, Err("403 Forbidden"), "it refuses this region (403)", 3_600),
        (
            Exchange::Bybit,
            Ok(r#"{"retCode":10006,"retMsg":"Too many visits","result":{}}"#),
            "it limits requests (10006)",
            60,
        ),
        (Exchange::Okx, Ok(r#"{"code":"50011","msg":"Too Many Requests"}"#), "it limits requests (50011)", 60),
    ] {
        let accounts = Arc::new(OwnAccounts::default());
        let venue = Venue::start().await;
        let answer = answer.map(str::to_owned).map_err(str::to_owned);
        let (rest, asked) = rest(move |_| answer.clone()).await;
        let before = now().as_millis();
        let ingest = start_direct(exchange, &venue, &rest, &["BTC"], accounts.clone());
        let _sockets = driven(&ingest, exchange, &venue, 0).await;
        let status = ingest.until(&exchange.venue(), "the pause", |status| status.sampling.hold.is_some()).await;
        let hold = status.sampling.hold.unwrap();
        assert_eq!(hold.why, why, "{exchange}");
        let lasts_ms = hold.until.as_millis() - before;
        assert!((seconds * 1_000 - 1_000..seconds * 1_000 + 20_000).contains(&lasts_ms), "{why}: {lasts_ms} ms");
        ingest.stop().await;
        assert_eq!(asked.lock().unwrap().len(), 1, "{why}");

        // Another process with the same accounts asks for nothing, and says so.
        let ingest = start_direct(exchange, &venue, &rest, &["BTC"], accounts);
        let _sockets = match exchange {
            // It cannot even learn its instruments.
            Exchange::Okx => None,
            Exchange::Binance | Exchange::Bybit => Some(driven(&ingest, exchange, &venue, 1).await),
        };
        if exchange != Exchange::Okx {
            let line = format!("{} (open interest) is not asked: {why}", exchange.title());
            let shown = |status: &OpenInterestStatus| status.last_error.as_deref() == Some(&line);
            ingest.until(&exchange.venue(), &line, shown).await;
        }
        let shown = |status: &OpenInterestStatus| status.sampling.hold.is_some();
        ingest.until(&exchange.venue(), "the pause", shown).await;
        ingest.stop().await;
        assert_eq!(asked.lock().unwrap().len(), 1, "{why}");
    }
}

#[tokio::test]
async fn only_the_process_with_the_turn_asks_and_another_takes_it_over() {
    let venue = Venue::start().await;
    let (rest, asked) = rest(|_| Ok(binance_interest("BTCUSDT", 220_000))).await;
    let accounts = Arc::new(Turns::default());
    let mut ingest = start_direct(Exchange::Binance, &venue, &rest, &["BTC"], accounts.clone());
    let (_liquidations, mut client) = both(&venue).await;
    let binance = Exchange::Binance.venue();
    accounts.give(true);
    ingest.has_turn(Exchange::Binance).await;
    accounts.give(false);
    ingest.until(&binance, "its loss", |status| !status.sampling.has_turn).await;
    client.send(&binance_mark("BTCUSDT", 1_000)).await;
    client.send(&binance_mark("BTCUSDT", 100_000)).await;
    client.send(&binance_mark("BTCUSDT", 130_000)).await;
    ingest.feed().await;
    assert_eq!(asked.lock().unwrap().len(), 0);
    accounts.give(true);
    ingest.has_turn(Exchange::Binance).await;
    client.send(&binance_mark("BTCUSDT", 220_000)).await;
    assert_eq!(ingest.sample().await.4, 220);
    ingest.stop().await;
}

#[tokio::test]
async fn more_bases_than_the_budget_carries_do_not_start() {
    let venue = Venue::start().await;
    let (rest, _) = rest(|_| Ok(String::new())).await;
    let bases = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let ingest = start_direct(Exchange::Binance, &venue, &rest, &bases, Arc::new(OwnAccounts::default()));
    let ended = soon("the end", ingest.task).await.unwrap();
    assert!(matches!(ended, Err(RunError::OpenInterest(_))), "{ended:?}");
}
