//! `GET /fapi/v1/openInterest?symbol=` → a quote. There is neither a stream nor one request for all symbols
//! (exchanges.md C.1); the mark comes from the stream.

use crate::{
    binance::message::OpenInterest,
    exchange::Exchange,
    instruments::InvalidReply,
    metadata::outer,
    normalize::escape,
    open_interest::quote::{Batch, Quote, Scope, Size},
};

pub(crate) fn parse(reply: &[u8]) -> Result<Batch, InvalidReply> {
    let exchange = Exchange::Binance;
    let reply: OpenInterest<'_> = outer(exchange, reply)?;
    if let Some(code) = reply.code {
        let message = escape(&reply.msg.unwrap_or_default());
        return Err(InvalidReply::Venue { exchange, code: code.to_string(), message });
    }
    let (Some(symbol), Some(coins), Some(time_ms)) = (reply.symbol, reply.open_interest, reply.time) else {
        let detail = "without symbol, openInterest or time".to_owned();
        return Err(InvalidReply::Malformed { exchange, detail });
    };
    let quote = Quote {
        instrument: symbol.into_owned(),
        time_ms: Some(time_ms),
        scope: Scope::Statement,
        size: Some(Size::Coins(coins.into_owned())),
        mark: None,
    };
    Ok(Batch { quotes: vec![quote], refused: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_interest_is_coins_of_one_side() {
        let batch = parse(br#"{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}"#).unwrap();
        let quote = Quote {
            instrument: "BTCUSDT".to_owned(),
            time_ms: Some(1_589_437_530_011),
            scope: Scope::Statement,
            size: Some(Size::Coins("10659.509".to_owned())),
            mark: None,
        };
        assert_eq!(batch, Batch { quotes: vec![quote], refused: Vec::new() });
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"code":-1121,"msg":"Invalid symbol."}"#).unwrap_err();
        assert_eq!(error.to_string(), "binance answered code -1121: Invalid symbol.");
        assert!(matches!(parse(br#"{"symbol":"BTCUSDT"}"#), Err(InvalidReply::Malformed { .. })));
    }
}
