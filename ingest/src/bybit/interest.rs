//! Bybit's tickers, of the stream and of `GET /v5/market/tickers?category=linear` → quotes.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    bybit::message::{Ticker, TickerList, Tickers},
    exchange::Exchange,
    instruments::InvalidReply,
    metadata::outer,
    normalize::escape,
    open_interest::quote::{Batch, Quote, Scope, Size},
};

pub(crate) fn parse(reply: &[u8]) -> Result<Batch, InvalidReply> {
    let exchange = Exchange::Bybit;
    let reply: Tickers<'_> = outer(exchange, reply)?;
    if reply.ret_code != 0 {
        let message = escape(&reply.ret_msg.unwrap_or_default());
        return Err(InvalidReply::Venue { exchange, code: reply.ret_code.to_string(), message });
    }
    let result: TickerList<'_> = outer(exchange, reply.result.map_or("{}", RawValue::get).as_bytes())?;
    Ok(Batch::of(&result.list, |ticker: Ticker<'_>| Some(quote(ticker, reply.time, Scope::Statement))))
}

/// exchanges.md C.3: `openInterest` counts both sides; `single…` exists since 2026-06-11.
pub(crate) fn quote(ticker: Ticker<'_>, time_ms: Option<i64>, scope: Scope) -> Quote {
    let one_side = ticker.single_open_interest.map(|coins| Size::Coins(coins.into_owned()));
    let both_sides = || ticker.open_interest.map(|coins| Size::CoinsOfBothSides(coins.into_owned()));
    Quote {
        instrument: ticker.symbol.into_owned(),
        time_ms,
        scope,
        size: one_side.or_else(both_sides),
        mark: ticker.mark_price.map(Cow::into_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKER: &str = r#"{"symbol":"BTCUSDT","lastPrice":"82546.60","markPrice":"82546.60","indexPrice":"82592.30","openInterest":"56106.721","openInterestValue":"4631419055.70","singleOpenInterest":"28053.361","singleOpenInterestValue":"2315709569.12","fundingRate":"-0.00004893","nextFundingTime":"1791619200000"}"#;

    #[test]
    fn one_side_is_taken_or_both_are_told_and_a_bad_row_loses_nothing_else() {
        let reply = format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"linear","list":[{TICKER},{{"symbol":7}},{{"symbol":"ETHUSDT","openInterest":"10","markPrice":"2"}}]}},"time":1791594602983}}"#
        );
        let batch = parse(reply.as_bytes()).unwrap();
        assert_eq!(batch.refused.len(), 1);
        let told: Vec<_> =
            batch.quotes.into_iter().map(|quote| (quote.instrument, quote.time_ms, quote.size)).collect();
        let time = Some(1_791_594_602_983);
        assert_eq!(told[0], ("BTCUSDT".to_owned(), time, Some(Size::Coins("28053.361".to_owned()))));
        assert_eq!(told[1], ("ETHUSDT".to_owned(), time, Some(Size::CoinsOfBothSides("10".to_owned()))));
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"retCode":10006,"retMsg":"Too many visits","result":{}}"#).unwrap_err();
        assert_eq!(error.to_string(), "bybit answered code 10006: Too many visits");
    }
}
