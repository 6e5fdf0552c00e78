//! OKX's open interest and marks, of the streams and of `GET /api/v5/public/open-interest?instType=SWAP` → quotes.

use std::borrow::Cow;

use crate::{
    instruments::InvalidReply,
    okx::{message::Interest, metadata::data},
    open_interest::quote::{Batch, Quote, Scope, Size},
};

pub(crate) fn parse(reply: &[u8]) -> Result<Batch, InvalidReply> {
    // A row without a name belongs to nobody; a sampled instrument that is lacking is told all the same.
    Ok(Batch::of(&data(reply)?.data, |item: Interest<'_>| quote(item, None)))
}

/// `oi` counts contracts, `oiCcy` coins (exchanges.md C.3). `instrument` is that of the channel.
pub(crate) fn quote(item: Interest<'_>, instrument: Option<&str>) -> Option<Quote> {
    let instrument = item.inst_id.map(Cow::into_owned).or_else(|| instrument.map(str::to_owned))?;
    let size = item.oi.zip(item.oi_ccy).map(|(contracts, coins)| Size::Contracts {
        contracts: contracts.into_owned(),
        coins: coins.into_owned(),
        usd: item.oi_usd.map(Cow::into_owned),
    });
    let mark = item.mark_px.map(Cow::into_owned);
    Some(Quote { instrument, time_ms: item.ts.parse().ok(), scope: Scope::Statement, size, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_coins_and_usd_are_told_and_a_bad_row_loses_nothing_else() {
        let reply = br#"{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP","oi":"2216113.01000000309","oiCcy":"22161.1301000000309","oiUsd":"1939251795.54769270396321","ts":"1743041250440"},{"instId":7},{"ts":"1"}]}"#;
        let batch = parse(reply).unwrap();
        let size = Size::Contracts {
            contracts: "2216113.01000000309".to_owned(),
            coins: "22161.1301000000309".to_owned(),
            usd: Some("1939251795.54769270396321".to_owned()),
        };
        let quote = Quote {
            instrument: "BTC-USDT-SWAP".to_owned(),
            time_ms: Some(1_743_041_250_440),
            scope: Scope::Statement,
            size: Some(size),
            mark: None,
        };
        assert_eq!((batch.quotes, batch.refused.len()), (vec![quote], 1));
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"code":"50011","msg":"Too Many Requests"}"#).unwrap_err();
        assert_eq!(error.to_string(), "okx answered code 50011: Too Many Requests");
    }
}
