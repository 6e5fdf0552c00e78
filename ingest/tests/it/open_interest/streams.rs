use std::sync::Arc;

use ingest::{account::OwnAccounts, exchange::Exchange, monitor::Via, normalize::Reason};
use schemas::market::FeedState;

use super::*;

#[tokio::test]
async fn bybit_counts_both_sides_and_a_delta_leaves_out_what_is_unchanged() {
    let venue = Venue::start().await;
    let (rest, asked) = rest(|_| Err("503 Service Unavailable".to_owned())).await;
    let mut ingest =
        start_direct(Exchange::Bybit, &venue, &rest, &["BTC", "ETH", "PEPE"], Arc::new(OwnAccounts::default()));
    let (_liquidations, mut client) = both(&venue).await;
    let ack = |id: &str| format!(r#"{{"success":true,"ret_msg":"","conn_id":"c","req_id":"{id}","op":"subscribe"}}"#);
    client.send(&ack("oi-1")).await;
    assert!(client.text().await.contains(r#"["tickers.ETHUSDT","tickers.PEPEUSDT"]"#));
    // One refused topic loses no other.
    let refusal = r#"{"success":false,"ret_msg":"error:handler not found,topic:tickers.PEPEUSDT","conn_id":"c","req_id":"oi-2","op":"subscribe"}"#;
    client.send(refusal).await;
    assert!(client.text().await.contains(r#"["tickers.ETHUSDT"]"#));
    client.send(&ack("oi-3")).await;
    let whole = r#","markPrice":"82546.60","openInterest":"56106.721","singleOpenInterest":"28053.361""#;
    client.send(&bybit_ticker("delta", "BTCUSDT", 0, whole)).await;
    client.send(&bybit_ticker("snapshot", "BTCUSDT", 1_000, whole)).await;
    assert_eq!(ingest.feed().await.state, FeedState::Connected);
    assert_eq!(ingest.sample().await, sample("BTCUSDT", "28053.361", "28053.361", "82546.6", 1));
    client.send(&bybit_ticker("snapshot", "ETHUSDT", 1_000, r#","markPrice":"2","openInterest":"10""#)).await;
    assert_eq!(ingest.sample().await, sample("ETHUSDT", "5", "5", "2", 1));
    client.send(&bybit_ticker("delta", "BTCUSDT", 61_000, r#","markPrice":"80000""#)).await;
    assert_eq!(ingest.sample().await, sample("BTCUSDT", "28053.361", "28053.361", "80000", 61));
    let status = ingest.status(&Exchange::Bybit.venue());
    assert_eq!(status.refused, BTreeMap::from([(Reason::Subscription, 1)]));
    assert_eq!((status.sampling.interval_ms, status.sampling.samples), (60_000, 3));
    assert_eq!(status.sampling.newest[&"BTCUSDT".parse().unwrap()].via, Via::Stream);
    assert_eq!(asked.lock().unwrap().len(), 0);
    // A new socket begins with a snapshot; the gap is told, and liquidations know nothing of it.
    drop(client);
    assert_eq!(ingest.feed().await.state, FeedState::Disconnected);
    let mut client = venue.accept().await;
    assert!(client.text().await.contains("oi-1"));
    client.send(&bybit_ticker("delta", "BTCUSDT", 121_000, r#","markPrice":"80000""#)).await;
    client.send(&bybit_ticker("snapshot", "BTCUSDT", 122_000, whole)).await;
    assert_eq!(ingest.sample().await.4, 122);
    ingest.stop().await;
}

#[tokio::test]
async fn okx_counts_contracts_and_rest_gives_what_the_stream_did_not() {
    let venue = Venue::start().await;
    let (rest, asked) = rest(|path| {
        assert_eq!(path, "/api/v5/public/open-interest?instType=SWAP");
        // The second row cannot be read, MUBARAK is not in it.
        let row = okx_interest("BTC-USDT-SWAP", 95_000, "22161130.1");
        Ok(format!(r#"{{"code":"0","msg":"","data":[{row},{{"instId":"X","ts":7}}]}}"#))
    })
    .await;
    let accounts = Arc::new(OwnAccounts::default());
    let mut ingest = start_direct(Exchange::Okx, &venue, &rest, &["BTC", "MUBARAK", "DOGE"], accounts.clone());
    let (_liquidations, mut client) = both(&venue).await;
    ingest.has_turn(Exchange::Okx).await;
    client.send(&okx_mark("BTC-USDT-SWAP", 0)).await;
    assert_eq!(ingest.feed().await.state, FeedState::Connected);
    let frame =
        |ms, contracts| okx_frame("open-interest", "BTC-USDT-SWAP", &okx_interest("BTC-USDT-SWAP", ms, contracts));
    client.send(&frame(1_000, "2216113.01000000309")).await;
    let told = sample("BTC-USDT-SWAP", "2216113.01000000309", "22161.1301000000309", "77086.9", 1);
    assert_eq!(ingest.sample().await, told);
    // What the venue repeats without moving its time is no sample.
    client.send(&frame(1_000, "2216113.01000000309")).await;
    let okx = Exchange::Okx.venue();
    ingest.until(&okx, "the repetition", |status| status.refused.contains_key(&Reason::Repeated)).await;
    // The venue lists no DOGE.
    let line = "OKX (open interest) does not list DOGE-USDT-SWAP: its open interest is left out";
    ingest.until(&okx, "the line", |status| status.last_error.as_deref() == Some(line)).await;
    // Past the middle of a slot without a value, all are asked for at once; contracts of a tenth show as such.
    client.send(&okx_mark("BTC-USDT-SWAP", 89_000)).await;
    client.send(&okx_mark("BTC-USDT-SWAP", 95_000)).await;
    assert_eq!(ingest.sample().await, sample("BTC-USDT-SWAP", "22161130.1", "22161.1301000000309", "77086.9", 95));
    let status = ingest.until(&okx, "the request", |status| status.sampling.requests_hour > 1).await;
    assert_eq!(status.refused[&Reason::Missing], 1);
    assert_eq!(status.refused[&Reason::UnknownFrame], 1);
    assert_eq!(status.sampling.newest[&"BTC-USDT-SWAP".parse().unwrap()].via, Via::Rest);
    assert!(status.sampling.has_turn);
    assert_eq!(asked.lock().unwrap().len(), 1);
    ingest.stop().await;
}

#[tokio::test]
async fn binance_is_asked_for_each_symbol_at_its_place_in_the_slot() {
    let venue = Venue::start().await;
    let (rest, asked) = rest(|path| {
        let (_, symbol) = path.split_once("/fapi/v1/openInterest?symbol=").unwrap();
        let ms = if symbol == "BTCUSDT" { 40_000 } else { 80_000 };
        Ok(binance_interest(symbol, ms))
    })
    .await;
    let mut ingest = start_direct(Exchange::Binance, &venue, &rest, &["BTC", "ETH"], Arc::new(OwnAccounts::default()));
    let (_liquidations, mut client) = both(&venue).await;
    ingest.has_turn(Exchange::Binance).await;
    assert_eq!(client.path, "/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s");
    client.send(&binance_mark("BTCUSDT", 1_000)).await;
    client.send(&binance_mark("ETHUSDT", 1_000)).await;
    assert_eq!(ingest.feed().await.state, FeedState::Connected);
    client.send(&binance_mark("BTCUSDT", 40_000)).await;
    assert_eq!(ingest.sample().await, sample("BTCUSDT", "10659.509", "10659.509", "76888.1", 40));
    assert_eq!(asked.lock().unwrap().len(), 1);
    client.send(&binance_mark("ETHUSDT", 80_000)).await;
    assert_eq!(ingest.sample().await, sample("ETHUSDT", "10659.509", "10659.509", "76888.1", 80));
    // The next slot repeats the old figure: asked, and no sample.
    client.send(&binance_mark("BTCUSDT", 160_000)).await;
    let binance = Exchange::Binance.venue();
    let status = ingest.until(&binance, "the repetition", |status| !status.refused.is_empty()).await;
    assert_eq!(status.refused, BTreeMap::from([(Reason::Repeated, 1)]));
    assert_eq!((status.sampling.interval_ms, status.sampling.samples), (120_000, 2));
    ingest.stop().await;
}

#[tokio::test]
async fn a_refused_socket_is_told_and_rest_goes_on() {
    let venue = Venue::start().await;
    let (rest, _) = rest(|_| {
        let row = okx_interest("BTC-USDT-SWAP", 30_500, "100");
        Ok(format!(r#"{{"code":"0","msg":"","data":[{row}]}}"#))
    })
    .await;
    let mut ingest = start_direct(Exchange::Okx, &venue, &rest, &["BTC"], Arc::new(OwnAccounts::default()));
    let (_liquidations, mut client) = both(&venue).await;
    ingest.has_turn(Exchange::Okx).await;
    client.send(&okx_mark("BTC-USDT-SWAP", 29_000)).await;
    assert_eq!(ingest.feed().await.state, FeedState::Connected);
    drop(client);
    venue.refuse("HTTP/1.1 451 Unavailable For Legal Reasons\r\ncontent-length: 2\r\n\r\n{}").await;
    assert_eq!(ingest.feed().await.state, FeedState::Disconnected);
    assert_eq!(ingest.feed().await.state, FeedState::Refused);
    let line = "OKX refuses this region (451); trying again in 1 h";
    assert_eq!(ingest.status(&Exchange::Okx.venue()).last_error.as_deref(), Some(line));
    // Our clock carries the venue's time on, over the middle of the slot.
    assert_eq!(ingest.sample().await, sample("BTC-USDT-SWAP", "100", "22161.1301000000309", "77086.9", 30));
    ingest.stop().await;
}
