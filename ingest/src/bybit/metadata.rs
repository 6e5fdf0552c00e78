//! `GET /v5/market/instruments-info?category=linear` → one page of instruments.

use rust_decimal::Decimal;
use schemas::name::Instrument;

use crate::{
    bybit::message::{InstrumentInfo, InstrumentsInfo, InstrumentsPage},
    exchange::Exchange,
    instruments::{Contract, InvalidReply, Page, Unit, base_of, is_usd_stable},
    metadata::{InvalidRow, outer, rows},
    normalize::escape,
};

pub(crate) fn parse(reply: &[u8]) -> Result<Page, InvalidReply> {
    let info: InstrumentsInfo<'_> = outer(Exchange::Bybit, reply)?;
    if info.ret_code != 0 {
        let message = escape(&info.ret_msg.unwrap_or_default());
        return Err(InvalidReply::Venue { exchange: Exchange::Bybit, code: info.ret_code.to_string(), message });
    }
    let result = info.result.map_or("{}", serde_json::value::RawValue::get);
    let result: InstrumentsPage<'_> = outer(Exchange::Bybit, result.as_bytes())?;
    let next = result.next_page_cursor.filter(|cursor| !cursor.is_empty()).map(std::borrow::Cow::into_owned);
    Ok(Page { next, ..rows(Exchange::Bybit, &result.list, contract) })
}

/// Linear quantities are coins (exchanges.md A.2); an inverse contract counts USD and is on another socket.
fn contract(info: InstrumentInfo<'_>) -> Result<Option<(Instrument, Contract)>, InvalidRow> {
    if !info.contract_type.starts_with("Linear") {
        return Ok(None);
    }
    let instrument = info.symbol.parse().map_err(|_| InvalidRow)?;
    let base = base_of(&info.base_coin).ok_or(InvalidRow)?;
    let unit = if is_usd_stable(&info.settle_coin) { Unit::Coins(Decimal::ONE) } else { Unit::NotUsd };
    Ok(Some((instrument, Contract { base, unit })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next() {
        let reply = r#"{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[
            {"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT"},
            {"symbol":"BTCPERP","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDC","settleCoin":"USDC"},
            {"symbol":"BTC-26DEC25","contractType":"LinearFutures","status":"Trading","baseCoin":"BTC","quoteCoin":"USDC","settleCoin":"USDC"},
            {"symbol":"BTCUSD","contractType":"InversePerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USD","settleCoin":"BTC"},
            null],"nextPageCursor":"first%3DZEC"},"time":1}"#;
        let page = parse(reply.as_bytes()).unwrap();
        assert_eq!((page.instruments.count(), page.skipped, page.next.as_deref()), (Some(3), 1, Some("first%3DZEC")));
        let last = br#"{"retCode":0,"retMsg":"OK","result":{"list":[],"nextPageCursor":""}}"#;
        assert_eq!(parse(last).unwrap().next, None);
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"retCode":10006,"retMsg":"Too many visits","result":{}}"#).unwrap_err();
        assert_eq!(error.to_string(), "bybit answered code 10006: Too many visits");
    }
}
