//! `GET /fapi/v1/exchangeInfo` → instruments.

use rust_decimal::Decimal;
use schemas::name::Instrument;

use crate::{
    binance::message::{ExchangeInfo, Symbol},
    exchange::Exchange,
    instruments::{Contract, InvalidReply, Page, Unit, base_of, is_usd_stable},
    metadata::{InvalidRow, outer, rows},
    normalize::escape,
};

pub(crate) fn parse(reply: &[u8]) -> Result<Page, InvalidReply> {
    let info: ExchangeInfo<'_> = outer(Exchange::Binance, reply)?;
    if let Some(code) = info.code {
        let message = escape(&info.msg.unwrap_or_default());
        return Err(InvalidReply::Venue { exchange: Exchange::Binance, code: code.to_string(), message });
    }
    Ok(rows(Exchange::Binance, &info.symbols, contract))
}

/// Quantities are coins (exchanges.md A.1). A quote that is no USD (`ETHBTC`) cannot be valued.
fn contract(symbol: Symbol<'_>) -> Result<Option<(Instrument, Contract)>, InvalidRow> {
    let instrument = symbol.symbol.parse().map_err(|_| InvalidRow)?;
    let base = base_of(&symbol.base_asset).ok_or(InvalidRow)?;
    let is_usd = is_usd_stable(&symbol.quote_asset) && is_usd_stable(&symbol.margin_asset);
    let unit = if is_usd { Unit::Coins(Decimal::ONE) } else { Unit::NotUsd };
    Ok(Some((instrument, Contract { base, unit })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_read_and_a_bad_one_is_skipped() {
        let reply = r#"{"timezone":"UTC","symbols":[
            {"symbol":"BTCUSDT","pair":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT"},
            {"symbol":"1000PEPEUSDC","baseAsset":"1000PEPE","quoteAsset":"USDC","marginAsset":"USDC"},
            {"symbol":"ETHBTC","baseAsset":"ETH","quoteAsset":"BTC","marginAsset":"BTC"},
            {"symbol":7}]}"#;
        let page = parse(reply.as_bytes()).unwrap();
        assert_eq!((page.instruments.count(), page.skipped, page.next), (Some(3), 1, None));
        let get = |name: &str| page.instruments.get(&name.parse().unwrap());
        assert_eq!(get("1000PEPEUSDC").unwrap().base.as_str(), "1000PEPE");
        assert_eq!(get("BTCUSDT").unwrap().unit, Unit::Coins(Decimal::ONE));
        assert_eq!(get("ETHBTC").unwrap().unit, Unit::NotUsd);
        assert_eq!(get("BTC"), None);
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"code":0,"msg":"Service unavailable from a restricted location"}"#).unwrap_err();
        assert_eq!(error.to_string(), "binance answered code 0: Service unavailable from a restricted location");
        assert!(matches!(parse(b"<html>"), Err(InvalidReply::Malformed { .. })));
    }
}
