//! Every sample frame of `exchanges.md` gives the side, quantity and notional that the fact sheet derives.

use ingest::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    normalize::{FRAME_BYTES_MAX, Frame, Kind, Normalizer, Reason, Receipt},
};
use schemas::{
    market::{Liquidation, PriceKind},
    time::{EventTime, ReceivedAt},
};

use crate::venues::*;

/// Instrument, base, side, coins, price, USD, venue time.
fn told(event: &Liquidation) -> (String, String, String, String, String, String, i64) {
    let json = serde_json::to_value(event).unwrap();
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    (
        text("instrument"),
        text("base"),
        text("liquidated"),
        text("quantity"),
        text("price"),
        text("notional_usd"),
        event.event_time.as_millis(),
    )
}

fn expect(
    instrument: &str,
    side: &str,
    figures: [&str; 3],
    time: i64,
) -> (String, String, String, String, String, String, i64) {
    let base =
        ["-USDT-SWAP", "-USD-SWAP", "USDT", "PERP"].iter().find_map(|suffix| instrument.strip_suffix(suffix)).unwrap();
    let [quantity, price, usd] = figures.map(str::to_owned);
    (instrument.to_owned(), base.to_owned(), side.to_owned(), quantity, price, usd, time)
}

fn reasons(frame: &Frame) -> Vec<Reason> {
    frame.refused.iter().map(|refusal| refusal.reason).collect()
}

#[test]
fn a_liquidation_keeps_its_side_quantity_and_value() {
    let cases = [
        (
            Exchange::Binance,
            BINANCE_XRP,
            vec![expect("XRPUSDT", "short", ["15.4", "1.4043", "21.63"], 1_791_435_249_136)],
        ),
        // The total filled and the average price, neither the last fill nor the limit price.
        (
            Exchange::Binance,
            BINANCE_AIN,
            vec![expect("AINUSDT", "long", ["1861", "0.0387407", "72.10"], 1_791_435_150_342)],
        ),
        (
            Exchange::Binance,
            BINANCE_2022,
            vec![expect("BTCUSDT", "long", ["0.288", "39021", "11238.05"], 1_650_898_329_196)],
        ),
        (
            Exchange::Bybit,
            BYBIT_BTC,
            vec![expect("BTCUSDT", "short", ["0.024", "82843", "1988.23"], 1_791_594_602_908)],
        ),
        (
            Exchange::Bybit,
            BYBIT_PEPE,
            vec![expect("1000PEPEUSDT", "short", ["102600", "0.004042", "414.71"], 1_791_594_602_908)],
        ),
        (
            Exchange::Bybit,
            BYBIT_MAGIC,
            vec![
                expect("MAGICUSDT", "long", ["3700", "0.11859", "438.78"], 1_791_594_740_140),
                expect("MAGICUSDT", "long", ["11882", "0.11805", "1402.67"], 1_791_594_740_163),
                expect("MAGICUSDT", "long", ["3154", "0.11873", "374.47"], 1_791_594_740_315),
                expect("MAGICUSDT", "long", ["41", "0.11854", "4.86"], 1_791_594_740_321),
            ],
        ),
        (
            Exchange::Okx,
            OKX_MUBARAK,
            vec![expect("MUBARAK-USDT-SWAP", "long", ["200", "0.072682", "14.54"], 1_791_435_480_289)],
        ),
        (
            Exchange::Okx,
            OKX_CNPY,
            vec![expect("CNPY-USDT-SWAP", "short", ["2137", "0.4162", "889.42"], 1_789_669_898_955)],
        ),
    ];
    for (exchange, raw, expected) in cases {
        let frame = read(exchange, raw);
        assert_eq!(frame.liquidations.iter().map(told).collect::<Vec<_>>(), expected, "{raw}");
        assert_eq!((frame.kind, frame.refused), (Kind::Liquidations, vec![]), "{raw}");
        for event in &frame.liquidations {
            assert_eq!(event.received_at, ReceivedAt::unrecorded(event.event_time));
        }
    }
}

#[test]
fn an_inverse_swap_counts_usd() {
    let raw = OKX_CNPY.replace("CNPY-USDT", "BTC-USD").replace("0.4162", "63524.6").replace("2137", "1000");
    let frame = read(Exchange::Okx, &raw);
    let expected = expect("BTC-USD-SWAP", "short", ["1.5741933", "63524.6", "100000.00"], 1_789_669_898_955);
    assert_eq!(frame.liquidations.iter().map(told).collect::<Vec<_>>(), [expected]);
}

#[test]
fn coin_margined_contracts_are_refused_however_they_are_told() {
    let usd_margined = BINANCE_XRP.replace(r#","st":1"#, "");
    for raw in [
        BINANCE_COIN_MARGINED.to_owned(),
        BINANCE_COIN_MARGINED.replace("_PERP", "_261225"),
        BINANCE_XRP.replace(r#""st":1"#, r#""st":2"#),
        usd_margined.replace(r#""e":"forceOrder""#, r#""e":"forceOrder","st":2"#),
    ] {
        let frame = read(Exchange::Binance, &raw);
        assert_eq!((reasons(&frame), frame.liquidations.len()), (vec![Reason::CoinMargined], 0), "{raw}");
    }
    assert_eq!(reasons(&read(Exchange::Binance, &usd_margined)), []);
}

#[test]
fn what_the_venue_does_not_list_is_refused_and_never_guessed() {
    assert_eq!(reasons(&read(Exchange::Okx, OKX_FUTURES)), [Reason::UnknownInstrument]);
    let cross = BINANCE_XRP.replace("XRPUSDT", "ETHBTC");
    assert_eq!(reasons(&read(Exchange::Binance, &cross)), [Reason::UnknownInstrument]);
    let listed = br#"{"symbols":[{"symbol":"ETHBTC","baseAsset":"ETH","quoteAsset":"BTC","marginAsset":"BTC"}]}"#;
    let instruments = Instruments::from_reply(Exchange::Binance, listed).unwrap();
    let mut normalizer = Normalizer::new(instruments, Bases::All, RETENTION);
    assert_eq!(reasons(&normalizer.frame(cross.as_bytes(), Receipt::Recorded)), [Reason::NotUsd]);
}

#[test]
fn binance_frames_are_read_wrapped_and_as_arrays() {
    let wrapped = format!(r#"{{"stream":"!forceOrder@arr","data":{BINANCE_XRP}}}"#);
    let array = format!("[{BINANCE_XRP},{BINANCE_AIN}]");
    let both = format!(r#"{{"stream":"!forceOrder@arr","data":{array}}}"#);
    for (raw, count) in [(&wrapped, 1), (&array, 2), (&both, 2)] {
        let frame = read(Exchange::Binance, raw);
        assert_eq!((frame.liquidations.len(), frame.refused, frame.kind), (count, vec![], Kind::Liquidations), "{raw}");
        assert_eq!(frame.liquidations[0], read(Exchange::Binance, BINANCE_XRP).liquidations[0]);
    }
}

#[test]
fn binance_without_an_average_falls_back_to_the_limit_price_and_counts_it() {
    for raw in [BINANCE_AIN.replace("0.0387407", "0"), BINANCE_AIN.replace(r#""z":"1861""#, r#""z":"0.0""#)] {
        let frame = read(Exchange::Binance, &raw);
        let [event] = &frame.liquidations[..] else { panic!("{frame:?}") };
        assert_eq!((event.price.to_string(), event.price_kind), ("0.03487".to_owned(), PriceKind::Bankruptcy));
        assert_eq!((event.notional_usd.to_string(), frame.without_average()), ("64.89".to_owned(), 1));
    }
    assert_eq!(read(Exchange::Binance, BINANCE_AIN).without_average(), 0);
    assert_eq!(read(Exchange::Bybit, BYBIT_BTC).without_average(), 0);
}

#[test]
fn okx_net_positions_fall_back_to_the_side_of_the_order() {
    let net = read(Exchange::Okx, &OKX_CNPY.replace(r#""posSide":"short""#, r#""posSide":"net""#));
    assert_eq!(told(&net.liquidations[0]).2, "short");
    let unknown = read(Exchange::Okx, &OKX_CNPY.replace(r#""posSide":"short""#, r#""posSide":"both""#));
    assert_eq!(reasons(&unknown), [Reason::UnknownSide]);
}

#[test]
fn control_frames_are_told_apart() {
    let subscribed = |request: &str| Kind::Subscribed { request: request.to_owned() };
    let refused = |request: &str, topic: Option<&str>| Kind::SubscriptionRefused {
        request: request.to_owned(),
        topic: topic.map(str::to_owned),
    };
    for (exchange, raw, kind) in [
        (Exchange::Binance, r#"{"result":null,"id":1}"#, subscribed("1")),
        (Exchange::Binance, r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#, refused("1", None)),
        (Exchange::Binance, BINANCE_MARK, Kind::Companion),
        (Exchange::Bybit, BYBIT_ACK, subscribed("")),
        (Exchange::Bybit, BYBIT_REFUSAL, refused("old", Some("liquidation.BTCUSDT"))),
        (Exchange::Okx, OKX_REFUSAL, refused("", Some("liquidation-orders"))),
        (Exchange::Okx, "pong", Kind::Pong),
        (Exchange::Okx, r#"{"event":"channel-conn-count","channel":"x","connCount":"1"}"#, Kind::Ignored),
    ] {
        assert_eq!(read(exchange, raw).kind, kind, "{raw}");
    }
    let kinds = FRAMES.map(|(exchange, raw)| read(exchange, raw).kind);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Liquidations).count(), 10);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Companion).count(), 4);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Pong).count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::UpgradeNotice).count(), 1);
    assert!(!kinds.contains(&Kind::Unreadable));
}

#[test]
fn the_venues_own_time_is_read_where_it_is_told() {
    let pushed_at = |exchange, raw: &str| read(exchange, raw).pushed_at.map(EventTime::as_millis);
    assert_eq!(pushed_at(Exchange::Binance, BINANCE_XRP), Some(1_791_435_250_143));
    // The mark's `T` is the next funding time and no clock.
    assert_eq!(pushed_at(Exchange::Binance, BINANCE_MARK), None);
    let timed = BINANCE_MARK.replace(r#""s":"BTCUSDT""#, r#""E":1789480000000,"s":"BTCUSDT""#);
    assert_eq!(pushed_at(Exchange::Binance, &timed), Some(1_789_480_000_000));
    assert_eq!(pushed_at(Exchange::Bybit, BYBIT_BTC), Some(1_791_594_602_982));
    assert_eq!(pushed_at(Exchange::Okx, OKX_CNPY), None);
    assert_eq!(pushed_at(FRAMES[20].0, FRAMES[20].1), Some(1_789_470_161_241));
}

#[test]
fn a_bad_item_loses_only_itself() {
    let bad = r#"{"T":1791594740163,"s":"MAGICUSDT","S":"Buy","v":"11882","p":"0.11805"}"#;
    for (item, reason) in [
        (bad.replace("11882", "0"), Reason::Zero),
        (bad.replace("11882", "-1"), Reason::Negative),
        (bad.replace("0.11805", "NaN"), Reason::NotANumber),
        (bad.replace("0.11805", ""), Reason::NotANumber),
        (bad.replace("11882", "99999999999999999"), Reason::Absurd),
        (bad.replace("1791594740163", "1791594740"), Reason::Absurd),
        (bad.replace("Buy", "Long"), Reason::UnknownSide),
        (bad.replace("MAGICUSDT", "MAGICUSDT-25DEC26"), Reason::UnknownInstrument),
        (bad.replace(r#""11882""#, "11882"), Reason::UnknownFrame),
        ("null".to_owned(), Reason::UnknownFrame),
    ] {
        let frame = read(Exchange::Bybit, &BYBIT_MAGIC.replace(bad, &item));
        assert_eq!((reasons(&frame), frame.liquidations.len()), (vec![reason], 3), "{item}");
    }
    let okx = OKX_CNPY.replace(r#""details":["#, r#""details":[{"bkPx":1},"#);
    let frame = read(Exchange::Okx, &okx);
    assert_eq!((reasons(&frame), frame.liquidations.len()), (vec![Reason::UnknownFrame], 1));
    let binance = read(Exchange::Binance, &format!(r#"[{{"e":"forceOrder","o":7}},{BINANCE_XRP}]"#));
    assert_eq!((reasons(&binance), binance.liquidations.len()), (vec![Reason::UnknownFrame], 1));
}

#[test]
fn frames_that_cannot_be_read_say_why() {
    for exchange in Exchange::ALL {
        for (raw, reason) in [
            ("", Reason::Malformed),
            ("<html>", Reason::Malformed),
            (&BINANCE_XRP[..100], Reason::Malformed),
            ("7", Reason::UnknownFrame),
            (r#"{"hello":"world"}"#, Reason::UnknownFrame),
        ] {
            let frame = read(exchange, raw);
            assert_eq!((reasons(&frame), frame.kind), (vec![reason], Kind::Unreadable), "{exchange} {raw}");
        }
        let oversized = " ".repeat(FRAME_BYTES_MAX + 1);
        assert_eq!(reasons(&read(exchange, &oversized)), [Reason::Oversized]);
    }
    let escaped = read(Exchange::Okx, "\u{1b}[31m<html>");
    assert_eq!(escaped.refused[0].detail, r"\u{1b}[31m<html>");
}

#[test]
fn a_mad_batch_costs_a_bounded_number_of_refusals() {
    let items = vec!["0"; 100_000].join(",");
    let frame = read(Exchange::Bybit, &format!(r#"{{"topic":"allLiquidation.BTCUSDT","ts":1,"data":[{items}]}}"#));
    assert_eq!(frame.refused.len(), 4097);
    assert_eq!(frame.refused.last().unwrap().reason, Reason::Oversized);
}

#[test]
fn other_bases_are_counted_and_are_no_bad_input() {
    let bases = Bases::Only(["BTC".parse().unwrap()].into());
    let mut normalizer = normalizer_of(Exchange::Bybit, bases);
    let magic = normalizer.frame(BYBIT_MAGIC.as_bytes(), Receipt::Recorded);
    assert_eq!((magic.untracked, magic.liquidations.len(), magic.refused.len()), (4, 0, 0));
    let bitcoin = normalizer.frame(BYBIT_BTC.as_bytes(), Receipt::Recorded);
    assert_eq!((bitcoin.untracked, bitcoin.liquidations.len()), (0, 1));
}

#[test]
fn an_id_is_the_same_however_the_figures_are_written() {
    let plain = read(Exchange::Bybit, BYBIT_BTC);
    let padded = read(Exchange::Bybit, &BYBIT_BTC.replace("82843.00", "82843.0000").replace("0.024", "0.0240"));
    assert_eq!(plain.liquidations, padded.liquidations);
    let later = read(Exchange::Binance, &BINANCE_XRP.replace("1791435250143", "1791435250999"));
    assert_eq!(later.liquidations, read(Exchange::Binance, BINANCE_XRP).liquidations);
}

#[test]
fn equal_fills_of_one_frame_are_told_apart_and_copies_are_not() {
    let item = r#"{"T":1791594602908,"s":"BTCUSDT","S":"Sell","v":"0.024","p":"82843.00"}"#;
    let twice = read(Exchange::Bybit, &BYBIT_BTC.replace(item, &format!("{item},{item}")));
    let once = read(Exchange::Bybit, BYBIT_BTC);
    assert_eq!(twice.liquidations.len(), 2);
    assert_eq!(twice.liquidations[0].id, once.liquidations[0].id);
    assert_ne!(twice.liquidations[1].id, once.liquidations[0].id);
}

#[test]
fn a_backfill_page_has_the_ids_of_the_socket_and_never_an_ordinal_above_one() {
    let socket = read(Exchange::Okx, OKX_CNPY).liquidations;
    let detail =
        r#"{"bkLoss":"0","bkPx":"0.4162","ccy":"","posSide":"short","side":"buy","sz":"2137","ts":"1789669898955"}"#;
    let older = detail.replace("1789669898955", "1789669800000").replace("0.4162", "x");
    let page = format!(
        r#"{{"code":"0","msg":"","data":[{{"instId":"CNPY-USDT-SWAP","instType":"SWAP","uly":"CNPY-USDT","details":[{detail},{detail},{older}]}}]}}"#
    );
    let normalizer = normalizer(Exchange::Okx);
    let page = ingest::okx::page::parse(page.as_bytes(), &normalizer, Receipt::Recorded).unwrap();
    assert_eq!(page.liquidations, [socket[0].clone(), socket[0].clone()]);
    assert_eq!(page.refused[0].reason, Reason::NotANumber);
    assert_eq!(page.oldest, Some(EventTime::from_millis(1_789_669_800_000)));
    let error = br#"{"code":"50011","msg":"Too Many Requests","data":[]}"#;
    assert!(ingest::okx::page::parse(error, &normalizer, Receipt::Recorded).is_err());
}

#[test]
fn times_are_checked_against_receipt_in_a_live_market_only() {
    let time_ms = 1_791_594_602_908;
    let read_at = |offset_ms: i64, received_ms: i64| {
        let mut normalizer = normalizer(Exchange::Bybit);
        normalizer.set_offset_ms(offset_ms);
        reasons(&normalizer.frame(BYBIT_BTC.as_bytes(), Receipt::Live(ReceivedAt::from_millis(time_ms + received_ms))))
    };
    let week_ms = i64::try_from(RETENTION.as_millis()).unwrap();
    assert_eq!(read_at(0, -10_000), []);
    assert_eq!(read_at(0, -10_001), [Reason::Future]);
    assert_eq!(read_at(-60_000, -70_000), []);
    assert_eq!(read_at(-60_000, -70_001), [Reason::Future]);
    assert_eq!(read_at(0, week_ms), []);
    assert_eq!(read_at(0, week_ms + 1), [Reason::Past]);
    let frame =
        normalizer(Exchange::Bybit).frame(BYBIT_BTC.as_bytes(), Receipt::Live(ReceivedAt::from_millis(time_ms + 300)));
    assert_eq!(frame.liquidations[0].received_at.as_millis(), time_ms + 300);
}
