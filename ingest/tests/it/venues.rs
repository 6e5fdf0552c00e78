//! Normalizers and frames the tests share.

use ingest::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    normalize::{Frame, Normalizer, Receipt},
};

/// Every frame with data or control of `exchanges.md` A.1 to A.3, B and C.5, by venue.
pub(crate) const FRAMES: [(Exchange, &str); 22] = [
    (Exchange::Binance, BINANCE_XRP),
    (Exchange::Binance, BINANCE_AIN),
    (Exchange::Binance, BINANCE_COIN_MARGINED),
    (Exchange::Binance, BINANCE_2022),
    (Exchange::Binance, BINANCE_MARK),
    (Exchange::Binance, r#"{"result":null,"id":1}"#),
    (Exchange::Bybit, BYBIT_BTC),
    (Exchange::Bybit, BYBIT_PEPE),
    (Exchange::Bybit, BYBIT_MAGIC),
    (Exchange::Bybit, BYBIT_ACK),
    (Exchange::Bybit, BYBIT_REFUSAL),
    (Exchange::Bybit, r#"{"success":true,"ret_msg":"pong","conn_id":"d9tc","req_id":"","op":"ping"}"#),
    (Exchange::Bybit, r#"{"topic":"tickers.BTCUSDT","type":"delta","ts":1791594602983,"data":{"symbol":"BTCUSDT"}}"#),
    (Exchange::Okx, OKX_MUBARAK),
    (Exchange::Okx, OKX_CNPY),
    (Exchange::Okx, OKX_FUTURES),
    (
        Exchange::Okx,
        r#"{"id":"1512","event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"accb8e21"}"#,
    ),
    (Exchange::Okx, OKX_REFUSAL),
    (Exchange::Okx, "pong"),
    (
        Exchange::Okx,
        r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade.","connId":"a4d3ae55"}"#,
    ),
    (
        Exchange::Okx,
        r#"{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"markPx":"77086.9","ts":"1789470161241"}]}"#,
    ),
    (
        Exchange::Okx,
        r#"{"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP","oi":"2216113.01000000309","oiCcy":"22161.1301000000309","oiUsd":"1939251795.54769270396321","ts":"1743041250440"}]}"#,
    ),
];

pub(crate) const BINANCE_XRP: &str = r#"{"e":"forceOrder","E":1791435250143,"o":{"s":"XRPUSDT","S":"BUY","o":"LIMIT","f":"IOC","q":"15.4","p":"1.4111","ap":"1.4043","X":"FILLED","l":"15.4","z":"15.4","T":1791435249136,"ps":"XRPUSDT","st":1}}"#;
pub(crate) const BINANCE_AIN: &str = r#"{"e":"forceOrder","E":1791435151350,"o":{"s":"AINUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"1861","p":"0.0348700","ap":"0.0387407","X":"FILLED","l":"38","z":"1861","T":1791435150342,"ps":"AINUSDT","st":1}}"#;
pub(crate) const BINANCE_COIN_MARGINED: &str = r#"{"e":"forceOrder","E":1789693655000,"o":{"s":"BTCUSD_PERP","S":"SELL","q":"2304","p":"76986.8","ap":"76986.8","T":1789693655000}}"#;
pub(crate) const BINANCE_2022: &str = r#"{"e":"forceOrder","E":1650898329201,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.288","p":"38886.54","ap":"39021.00","X":"FILLED","l":"0.288","z":"0.288","T":1650898329196}}"#;
pub(crate) const BINANCE_MARK: &str = r#"{"e":"markPriceUpdate","s":"BTCUSDT","p":"76888.10000000","ap":"76888.10000000","P":"77018.80267750","i":"76935.00826087","r":"0.00008900","T":1789488000000,"st":1}"#;
pub(crate) const BYBIT_BTC: &str = r#"{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1791594602982,"data":[{"T":1791594602908,"s":"BTCUSDT","S":"Sell","v":"0.024","p":"82843.00"}]}"#;
pub(crate) const BYBIT_PEPE: &str = r#"{"topic":"allLiquidation.1000PEPEUSDT","type":"snapshot","ts":1791594603330,"data":[{"T":1791594602908,"s":"1000PEPEUSDT","S":"Sell","v":"102600","p":"0.0040420"}]}"#;
pub(crate) const BYBIT_MAGIC: &str = r#"{"topic":"allLiquidation.MAGICUSDT","type":"snapshot","ts":1791594740551,"data":[{"T":1791594740140,"s":"MAGICUSDT","S":"Buy","v":"3700","p":"0.11859"},{"T":1791594740163,"s":"MAGICUSDT","S":"Buy","v":"11882","p":"0.11805"},{"T":1791594740315,"s":"MAGICUSDT","S":"Buy","v":"3154","p":"0.11873"},{"T":1791594740321,"s":"MAGICUSDT","S":"Buy","v":"41","p":"0.11854"}]}"#;
pub(crate) const BYBIT_ACK: &str =
    r#"{"success":true,"ret_msg":"","conn_id":"d9tcajmgcca9r5l6sugg-21srs","req_id":"","op":"subscribe"}"#;
pub(crate) const BYBIT_REFUSAL: &str = r#"{"success":false,"ret_msg":"error:handler not found,topic:liquidation.BTCUSDT","conn_id":"d9tc9dal53i9ketu7b50-20zox","req_id":"old","op":"subscribe"}"#;
pub(crate) const OKX_MUBARAK: &str = r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"0.072682","ccy":"","posSide":"long","side":"sell","sz":"2","ts":"1791435480289"}],"instFamily":"MUBARAK-USDT","instId":"MUBARAK-USDT-SWAP","instType":"SWAP","uly":"MUBARAK-USDT"}]}"#;
pub(crate) const OKX_CNPY: &str = r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"CNPY-USDT-SWAP","instFamily":"CNPY-USDT","instType":"SWAP","details":[{"bkLoss":"0","bkPx":"0.4162","ccy":"","posSide":"short","side":"buy","sz":"2137","ts":"1789669898955"}]}]}"#;
pub(crate) const OKX_FUTURES: &str = r#"{"arg":{"channel":"liquidation-orders","instType":"FUTURES"},"data":[{"details":[{"bkLoss":"0","bkPx":"0.55205","ccy":"","posSide":"short","side":"buy","sz":"39","ts":"1680173247614"}],"instFamily":"XRP-USD","instId":"XRP-USD-230929","instType":"FUTURES","uly":"XRP-USD"}]}"#;
pub(crate) const OKX_REFUSAL: &str = r#"{"event":"error","msg":"Wrong URL or channel:liquidation-orders,instId:BTC-USDT-SWAP doesn't exist. Please use the correct URL, channel and parameters referring to API document.","code":"60018","connId":"439535f1"}"#;

/// An OKX reply with the contract values the frames need; those of MUBARAK and CNPY are made up.
pub(crate) fn okx_instruments() -> String {
    let row = |base: &str, quote: &str, value: &str, currency: &str, kind: &str| {
        let settle = if kind == "linear" { quote } else { base };
        format!(
            r#"{{"instType":"SWAP","instId":"{base}-{quote}-SWAP","instFamily":"{base}-{quote}","uly":"{base}-{quote}","ctVal":"{value}","ctMult":"1","ctValCcy":"{currency}","ctType":"{kind}","settleCcy":"{settle}","baseCcy":"","state":"live"}}"#
        )
    };
    let rows = [
        row("BTC", "USDT", "0.01", "BTC", "linear"),
        row("BTC", "USD", "100", "USD", "inverse"),
        row("MUBARAK", "USDT", "100", "MUBARAK", "linear"),
        row("CNPY", "USDT", "1", "CNPY", "linear"),
    ];
    format!(r#"{{"code":"0","msg":"","data":[{}]}}"#, rows.join(","))
}

/// A normalizer of all bases: Binance and Bybit by name, OKX by [`okx_instruments`].
pub(crate) fn normalizer(exchange: Exchange) -> Normalizer {
    normalizer_of(exchange, Bases::All)
}

pub(crate) fn normalizer_of(exchange: Exchange, bases: Bases) -> Normalizer {
    let instruments = Instruments::by_name(exchange)
        .unwrap_or_else(|| Instruments::from_reply(exchange, okx_instruments().as_bytes()).unwrap());
    Normalizer::new(instruments, bases, RETENTION)
}

/// Reads a frame of a recorded market.
pub(crate) fn read(exchange: Exchange, frame: &str) -> Frame {
    normalizer(exchange).frame(frame.as_bytes(), Receipt::Recorded)
}
