//! The answer of `POST /multi_oi` → samples; pure (exchanges.md F.1).

use std::borrow::Cow;

use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd, parse_decimal},
    market::{OpenInterest, VERSION},
    name::{Base, Instrument},
    time::{EventTime, ReceivedAt},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    normalize::{Reason, escape},
    open_interest::{external, plan},
};

/// The flat answer; a failure comes with status 200 as well.
///
/// ```json
/// {"success":true,"base_symbol":"BTC","timestamp":"2025-10-21T12:00:00","exchange_breakdown":[]}
/// {"success":false,"error":"'NoneType' object has no attribute 'validation_passed'","base_symbol":"BTC"}
/// ```
#[derive(Deserialize)]
struct MultiOi<'a> {
    success: bool,
    error: Option<Cow<'a, str>>,
    base_symbol: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    exchange_breakdown: Vec<&'a RawValue>,
}

/// One exchange of [`MultiOi`].
///
/// ```json
/// {"exchange":"bybit","oi_tokens":112213.4,"markets":2,"market_breakdown":[]}
/// ```
#[derive(Deserialize)]
struct Exchange<'a> {
    #[serde(borrow)]
    exchange: Cow<'a, str>,
    #[serde(borrow, default)]
    market_breakdown: Vec<&'a RawValue>,
}

/// One market of an [`Exchange`].
///
/// ```json
/// {"type":"USDT","symbol":"BTCUSDT","oi_tokens":56106.721,"oi_usd":4631419055.7,"price":82546.6}
/// ```
#[derive(Deserialize)]
struct Market<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    oi_tokens: &'a RawValue,
    #[serde(borrow)]
    price: &'a RawValue,
}

/// An answer holds nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAnswer {
    /// It is not what the service documents.
    #[error("answers something else: {0}")]
    Malformed(String),
    /// The service says so itself, with status 200.
    #[error("failed: {0}")]
    Failed(String),
    /// It is about another base.
    #[error("answered for `{0}` instead of the base asked for")]
    OtherBase(String),
}

/// What the answer says of one exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The service's name of the exchange.
    pub(crate) exchange: String,
    pub(crate) sample: Result<OpenInterest, Reason>,
}

/// Reads an answer about `base`. An exchange that is not in it is not told.
pub(crate) fn parse(
    answer: &[u8],
    base: &Base,
    interval_ms: u32,
    received_at: ReceivedAt,
) -> Result<Vec<Told>, InvalidAnswer> {
    let answer: MultiOi<'_> =
        serde_json::from_slice(answer).map_err(|error| InvalidAnswer::Malformed(escape(&error.to_string())))?;
    if !answer.success {
        return Err(InvalidAnswer::Failed(escape(&answer.error.unwrap_or_default())));
    }
    let echo = answer.base_symbol.unwrap_or_default();
    if echo != base.as_str() {
        return Err(InvalidAnswer::OtherBase(escape(&echo)));
    }
    let exchanges = answer.exchange_breakdown.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
    let told = exchanges.map(|exchange: Exchange<'_>| Told {
        sample: sample(&exchange, base, interval_ms, received_at),
        exchange: exchange.exchange.into_owned(),
    });
    Ok(told.collect())
}

fn sample(
    exchange: &Exchange<'_>,
    base: &Base,
    interval_ms: u32,
    received_at: ReceivedAt,
) -> Result<OpenInterest, Reason> {
    let markets = exchange.market_breakdown.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
    let market = markets.into_iter().find(|market: &Market<'_>| market.kind == "USDT").ok_or(Reason::Missing)?;
    // The service takes 0.0001 coins for every Gate contract, which is right for BTC alone (exchanges.md F.1).
    if exchange.exchange == "gateio" && base.as_str() != "BTC" {
        return Err(Reason::UnknownUnit);
    }
    let tokens = figure(market.oi_tokens)?;
    // It takes Bybit's figure of both sides (exchanges.md F.1).
    let coins = Quantity::new(if exchange.exchange == "bybit" { tokens / Decimal::TWO } else { tokens })?;
    let mark_price = Price::new(figure(market.price)?)?;
    let usd = coins.value().checked_mul(mark_price.value()).ok_or(Reason::Absurd)?;
    let venue = external(&exchange.exchange).ok_or(Reason::UnknownInstrument)?;
    let instrument: Instrument = market.symbol.parse().map_err(|_| Reason::UnknownInstrument)?;
    // Its own `timestamp` is local time without a zone: our receipt is the only time there is.
    let event_time = EventTime::from_millis(received_at.as_millis());
    Ok(OpenInterest {
        v: VERSION,
        id: OpenInterest::id_of(&venue, &instrument, plan::slot(event_time, interval_ms)),
        venue,
        instrument,
        base: base.clone(),
        contracts: coins,
        coins,
        mark_price,
        notional_usd: Usd::round(usd).ok_or(Reason::Absurd)?,
        interval_ms,
        event_time,
        received_at,
    })
}

/// Reads a JSON number as the decimal it is written as; the service writes floats, large ones with an exponent.
fn figure(raw: &RawValue) -> Result<Decimal, Reason> {
    let text = raw.get();
    if text.contains(['e', 'E']) {
        return Decimal::from_scientific(text).map_err(|_| Reason::NotANumber);
    }
    Ok(parse_decimal(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(base: &str, exchanges: &str) -> String {
        format!(
            r#"{{"success":true,"base_symbol":"{base}","timestamp":"2025-10-21T12:00:00.123","total_markets":13,"exchange_breakdown":[{exchanges}]}}"#
        )
    }

    fn exchange(name: &str, kind: &str, symbol: &str, tokens: &str) -> String {
        format!(
            r#"{{"exchange":"{name}","oi_tokens":1,"markets":1,"market_breakdown":[{{"type":"USD","symbol":"X","oi_tokens":1,"price":1}},{{"type":"{kind}","symbol":"{symbol}","oi_tokens":{tokens},"oi_usd":1,"price":2000.5}}]}}"#
        )
    }

    /// An exchange and its sample in words.
    type Read = (String, Result<String, Reason>);

    fn read(answer: &str, base: &str) -> Result<Vec<Read>, InvalidAnswer> {
        let at = ReceivedAt::from_millis(1_795_000_000_000);
        let told = parse(answer.as_bytes(), &base.parse().unwrap(), 1_200_000, at)?;
        let show = |sample: OpenInterest| {
            assert_eq!(sample.event_time.as_millis(), at.as_millis());
            format!("{} {} {} {}", sample.venue, sample.instrument, sample.coins, sample.notional_usd)
        };
        Ok(told.into_iter().map(|told| (told.exchange, told.sample.map(show))).collect())
    }

    #[test]
    fn each_exchange_is_a_venue_of_its_own_with_its_faults_mended_or_refused() {
        let exchanges = [
            exchange("binance", "USDT", "ETHUSDT", "100.5"),
            exchange("bybit", "USDT", "ETHUSDT", "1e3"),
            exchange("gateio", "USDT", "ETH_USDT", "7"),
            exchange("hyperliquid", "USDC", "ETH", "7"),
            exchange("okx", "USDT", "ETH-USDT-SWAP", "0"),
            "7".to_owned(),
        ];
        let told = read(&answer("ETH", &exchanges.join(",")), "ETH").unwrap();
        let expected = [
            ("binance", Ok("ext-binance ETHUSDT 100.5 201050.25".to_owned())),
            ("bybit", Ok("ext-bybit ETHUSDT 500 1000250.00".to_owned())),
            ("gateio", Err(Reason::UnknownUnit)),
            ("hyperliquid", Err(Reason::Missing)),
            ("okx", Err(Reason::Zero)),
        ];
        assert_eq!(told, expected.map(|(name, sample)| (name.to_owned(), sample)));
        let gate = read(&answer("BTC", &exchange("gateio", "USDT", "BTC_USDT", "7")), "BTC").unwrap();
        assert_eq!(gate[0].1, Ok("ext-gateio BTC_USDT 7 14003.50".to_owned()));
    }

    #[test]
    fn a_failure_with_status_200_and_an_answer_about_another_base_hold_nothing() {
        let failed =
            r#"{"success":false,"error":"'NoneType' object has no attribute 'validation_passed'","base_symbol":"BTC"}"#;
        let error = read(failed, "BTC").unwrap_err().to_string();
        assert!(error.starts_with("failed: ") && error.contains("NoneType"), "{error}");
        assert_eq!(read(&answer("BTC-", ""), "BTC"), Err(InvalidAnswer::OtherBase("BTC-".to_owned())));
        assert!(matches!(read("Internal Server Error", "BTC"), Err(InvalidAnswer::Malformed(_))));
        assert_eq!(read(&answer("BTC", ""), "BTC"), Ok(Vec::new()));
    }
}
