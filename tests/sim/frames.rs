//! The venues' frames as text (exchanges.md A.1 to A.3, B), and what no venue should send.

use ingest::{config::RETENTION, exchange::Exchange, instruments::Instruments, normalize::Normalizer};
use rand::{Rng, rngs::SmallRng};

use crate::market::{BASES, Fact};

/// Coins of one OKX contract, in hundredths, by base.
fn contract(base: &str) -> i64 {
    match base {
        "BTC" | "BNB" => 1,
        "ETH" => 10,
        _ => 100,
    }
}

/// Reads a venue's frames, with every base tracked.
pub(crate) fn normalizer(exchange: Exchange) -> Normalizer {
    let instruments = Instruments::by_name(exchange).unwrap_or_else(|| {
        let rows: Vec<_> = BASES.map(|(base, _)| {
            let value = hundredths(contract(base));
            format!(
                r#"{{"instType":"SWAP","instId":"{base}-USDT-SWAP","instFamily":"{base}-USDT","uly":"{base}-USDT","ctVal":"{value}","ctMult":"1","ctValCcy":"{base}","ctType":"linear","settleCcy":"USDT","baseCcy":"","quoteCcy":"","state":"live"}}"#
            )
        }).into();
        let reply = format!(r#"{{"code":"0","msg":"","data":[{}]}}"#, rows.join(","));
        Instruments::from_reply(exchange, reply.as_bytes()).unwrap()
    });
    Normalizer::new(instruments, ingest::config::Bases::All, RETENTION)
}

fn hundredths(value: i64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// An order of the merged stream, half of them as the combined stream wraps it.
pub(crate) fn binance(fact: &Fact, pushed_ms: i64) -> String {
    let Fact { base, is_short, price_usd, hundredths: coins, time_ms, .. } = fact;
    let (side, coins) = (if *is_short { "BUY" } else { "SELL" }, hundredths(*coins));
    // `p` is the limit, far from the average `ap` that counts; `l` only the last fill.
    let limit = price_usd * 9 / 10;
    let order = format!(
        r#"{{"e":"forceOrder","E":{pushed_ms},"o":{{"s":"{base}USDT","S":"{side}","o":"LIMIT","f":"IOC","q":"{coins}","p":"{limit}","ap":"{price_usd}.0","X":"FILLED","l":"0.01","z":"{coins}","T":{time_ms},"ps":"{base}USDT","st":1}}}}"#
    );
    if time_ms % 2 == 0 { order } else { format!(r#"{{"stream":"!forceOrder@arr","data":{order}}}"#) }
}

/// One symbol's half second; `facts` is not empty and of one base.
pub(crate) fn bybit(facts: &[Fact], pushed_ms: i64) -> String {
    let symbol = format!("{}USDT", facts[0].base);
    let item = |fact: &Fact| {
        let (side, coins) = (if fact.is_short { "Sell" } else { "Buy" }, hundredths(fact.hundredths));
        format!(r#"{{"T":{},"s":"{symbol}","S":"{side}","v":"{coins}","p":"{}.00"}}"#, fact.time_ms, fact.price_usd)
    };
    let items: Vec<_> = facts.iter().map(item).collect();
    let data = items.join(",");
    format!(r#"{{"topic":"allLiquidation.{symbol}","type":"snapshot","ts":{pushed_ms},"data":[{data}]}}"#)
}

/// Neighbours of one base share a row.
pub(crate) fn okx(facts: &[Fact]) -> String {
    let rows = facts.chunk_by(|a, b| a.base == b.base).map(|facts| {
        let base = facts[0].base;
        let details: Vec<_> = facts.iter().map(okx_detail).collect();
        format!(
            r#"{{"details":[{}],"instFamily":"{base}-USDT","instId":"{base}-USDT-SWAP","instType":"SWAP","uly":"{base}-USDT"}}"#,
            details.join(",")
        )
    });
    let rows: Vec<_> = rows.collect();
    format!(r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{}]}}"#, rows.join(","))
}

fn okx_detail(fact: &Fact) -> String {
    let (position, order) = if fact.is_short { ("short", "buy") } else { ("long", "sell") };
    // Contracts may be fractional.
    let contracts = rust_decimal::Decimal::from(fact.hundredths) / rust_decimal::Decimal::from(contract(fact.base));
    let (price, time) = (fact.price_usd, fact.time_ms);
    format!(
        r#"{{"bkLoss":"0","bkPx":"{price}","ccy":"","posSide":"{position}","side":"{order}","sz":"{contracts}","ts":"{time}"}}"#
    )
}

/// The always busy companion channel.
pub(crate) fn companion(exchange: Exchange, pushed_ms: i64) -> String {
    match exchange {
        Exchange::Binance => format!(
            r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{pushed_ms},"s":"BTCUSDT","p":"97000.1"}}}}"#
        ),
        Exchange::Bybit => format!(
            r#"{{"topic":"tickers.BTCUSDT","type":"delta","ts":{pushed_ms},"data":{{"symbol":"BTCUSDT","markPrice":"97000.1"}}}}"#
        ),
        Exchange::Okx => format!(
            r#"{{"arg":{{"channel":"mark-price","instId":"BTC-USDT-SWAP"}},"data":[{{"instId":"BTC-USDT-SWAP","instType":"SWAP","markPx":"97000.1","ts":"{pushed_ms}"}}]}}"#
        ),
    }
}

/// Something that holds no liquidation to take: `near` cut off, or what is refused by itself.
pub(crate) fn noise(rng: &mut SmallRng, exchange: Exchange, near: &[u8]) -> Vec<u8> {
    let text = match (rng.random_range(0..6), exchange) {
        (0, _) => return near[..rng.random_range(0..near.len())].to_vec(),
        (1, _) => return (0..rng.random_range(1..40)).map(|_| rng.random()).collect(),
        (2, _) => "[[[[{}".to_owned(),
        // Far ahead of every clock: it must move nothing.
        (3, _) => companion(exchange, 4_000_000_000_000),
        (4, Exchange::Binance) => {
            r#"{"e":"forceOrder","E":1,"o":{"s":"BTCUSD_PERP","S":"SELL","q":"2304","p":"76986.8","ap":"76986.8","z":"2304","T":1763900000000}}"#.to_owned()
        }
        (4, Exchange::Bybit) => {
            r#"{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1763900000000,"s":"BTCUSDT","S":"Sell","v":"-1","p":"1"},{"T":4000000000000,"s":"BTCUSDT","S":"Sell","v":"1","p":"1"},7]}"#.to_owned()
        }
        (4, Exchange::Okx) => {
            r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"NONE-USDT-SWAP","details":[{"bkPx":"1","posSide":"long","side":"sell","sz":"1","ts":"1763900000000"}]},{"instId":"BTC-USDT-SWAP","details":[{"bkPx":"NaN","posSide":"long","side":"sell","sz":"1","ts":"1763900000000"}]}]}"#.to_owned()
        }
        _ => r#"{"event":"error","code":"60012","msg":"Invalid request"}"#.to_owned(),
    };
    text.into_bytes()
}
