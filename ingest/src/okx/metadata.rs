//! `GET /api/v5/public/instruments?instType=SWAP` → instruments.

use rust_decimal::Decimal;
use schemas::{
    amount::{InvalidAmount, Quantity},
    name::Instrument,
};

use crate::{
    exchange::Exchange,
    instruments::{Contract, InvalidReply, Page, Unit, base_of, is_usd_stable},
    metadata::{InvalidRow, outer, rows},
    normalize::escape,
    okx::message::{InstrumentInfo, Reply},
};

pub(crate) fn parse(reply: &[u8]) -> Result<Page, InvalidReply> {
    Ok(rows(Exchange::Okx, &data(reply)?.data, contract))
}

/// Reads a REST reply whose code is 0.
pub(crate) fn data(reply: &[u8]) -> Result<Reply<'_>, InvalidReply> {
    let reply: Reply<'_> = outer(Exchange::Okx, reply)?;
    if reply.code != "0" {
        let (code, message) = (escape(&reply.code), escape(&reply.msg.unwrap_or_default()));
        return Err(InvalidReply::Venue { exchange: Exchange::Okx, code, message });
    }
    Ok(reply)
}

fn contract(info: InstrumentInfo<'_>) -> Result<Option<(Instrument, Contract)>, InvalidRow> {
    if info.inst_type != "SWAP" {
        return Ok(None);
    }
    let instrument = info.inst_id.parse().map_err(|_| InvalidRow)?;
    // exchanges.md D: `baseCcy` is empty for swaps, the family names the base.
    let (family_base, quote) = info.inst_family.split_once('-').ok_or(InvalidRow)?;
    let base = base_of(family_base).ok_or(InvalidRow)?;
    let value = contract_value(&info).map_err(|_| InvalidRow)?;
    // exchanges.md A.3: decided by type and currency of the value, never by name.
    let unit = match &*info.ct_type {
        "linear" if info.ct_val_ccy == family_base && is_usd_stable(&info.settle_ccy) => Unit::Coins(value),
        "inverse" if info.ct_val_ccy == "USD" && quote == "USD" => Unit::Usd(value),
        _ => Unit::NotUsd,
    };
    Ok(Some((instrument, Contract { base, unit })))
}

fn contract_value(info: &InstrumentInfo<'_>) -> Result<Decimal, InvalidAmount> {
    let (value, multiplier): (Quantity, Quantity) = (info.ct_val.parse()?, info.ct_mult.parse()?);
    value.value().checked_mul(multiplier.value()).ok_or(InvalidAmount::Absurd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, family: &str, value: &str, currency: &str, kind: &str, settle: &str) -> String {
        format!(
            r#"{{"instType":"SWAP","instId":"{id}","instFamily":"{family}","uly":"{family}","ctVal":"{value}","ctMult":"1","ctValCcy":"{currency}","ctType":"{kind}","settleCcy":"{settle}","baseCcy":""}}"#
        )
    }

    #[test]
    fn contracts_are_valued_by_type_and_currency() {
        let reply = format!(
            r#"{{"code":"0","msg":"","data":[{},{},{},{},{{"instType":"FUTURES"}}]}}"#,
            row("BTC-USDT-SWAP", "BTC-USDT", "0.01", "BTC", "linear", "USDT"),
            row("BTC-USD-SWAP", "BTC-USD", "100", "USD", "inverse", "BTC"),
            row("ETH-BTC-SWAP", "ETH-BTC", "1", "ETH", "linear", "BTC"),
            row("BAD-USDT-SWAP", "BAD-USDT", "", "BAD", "linear", "USDT"),
        );
        let page = parse(reply.as_bytes()).unwrap();
        let unit = |name: &str| page.instruments.get(&name.parse().unwrap()).map(|contract| contract.unit);
        assert_eq!(unit("BTC-USDT-SWAP"), Some(Unit::Coins(Decimal::new(1, 2))));
        assert_eq!(unit("BTC-USD-SWAP"), Some(Unit::Usd(Decimal::ONE_HUNDRED)));
        assert_eq!(unit("ETH-BTC-SWAP"), Some(Unit::NotUsd));
        assert_eq!((unit("BAD-USDT-SWAP"), page.skipped), (None, 2));
    }

    #[test]
    fn an_error_of_the_venue_is_told() {
        let error = parse(br#"{"code":"50011","msg":"Too Many Requests","data":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "okx answered code 50011: Too Many Requests");
    }
}
