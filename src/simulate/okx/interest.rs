//! How OKX words open interest and mark prices.

use serde_json::{Value, json};

use ingest::exchange::Exchange;

use super::super::{
    hub::Shared,
    market::{ASSETS, Market},
};

/// Added to a number of contracts, as in the sample of `exchanges.md` C.2: sums of floats leave such dust.
const DUST: f64 = 3.09e-9;

/// The smallest part of a contract that is traded.
const LOT: f64 = 0.01;

/// What one contract of an instrument is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Contract {
    value: f64,
    /// Whether `value` is in USD, not in coins.
    inverse: bool,
}

impl Contract {
    /// Reads a row of the instruments reply.
    pub(in super::super) fn of(row: &Value) -> Option<Self> {
        let number = |field: &str| row[field].as_str()?.parse::<f64>().ok();
        let value = number("ctVal")? * number("ctMult").unwrap_or(1.0);
        (value > 0.0).then_some(Self { value, inverse: row["ctType"] == "inverse" })
    }
}

/// Open interest of one side in the venue's three units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Interest {
    /// `oi`.
    pub(in super::super) contracts: String,
    /// `oiCcy`.
    pub(in super::super) coins: String,
    /// `oiUsd`.
    pub(in super::super) usd: String,
}

impl Interest {
    /// Returns what is published of market time `at_ms`.
    pub(in super::super) fn at(market: &Market, asset: usize, contract: Contract, at_ms: i64) -> Self {
        let price = market.price(asset, at_ms);
        let coins_per_contract = if contract.inverse { contract.value / price } else { contract.value };
        let whole = market.open_interest(Exchange::Okx, asset, at_ms) / coins_per_contract;
        let contracts = (whole / LOT).round() * LOT + DUST;
        let coins = contracts * coins_per_contract;
        // exchanges.md C.2: long decimals, the one in USD of 24 digits.
        Self {
            contracts: format!("{contracts:.11}"),
            coins: format!("{coins:.13}"),
            usd: format!("{:.14}", coins * price),
        }
    }
}

/// Returns the mark price at market time `at_ms` as the venue words it.
pub(in super::super) fn mark_price(market: &Market, asset: usize, at_ms: i64) -> String {
    format!("{:.*}", ASSETS[asset].price_places, market.price(asset, at_ms))
}

fn asset_of(instrument: &str) -> Option<usize> {
    ASSETS.iter().position(|asset| instrument.strip_prefix(asset.base).is_some_and(|rest| rest.starts_with('-')))
}

/// Returns the row of a listed instrument's open interest of market time `interest_ms`, which is its `ts`.
pub(super) fn row(shared: &Shared, instrument: &str, interest_ms: i64) -> Option<Value> {
    let contract = Contract::of(shared.hub(Exchange::Okx).instruments.row(instrument)?)?;
    let Interest { contracts, coins, usd } = Interest::at(&shared.market, asset_of(instrument)?, contract, interest_ms);
    Some(json!({"instId": instrument, "instType": "SWAP", "oi": contracts, "oiCcy": coins, "oiUsd": usd,
        "ts": interest_ms.to_string()}))
}

/// Returns the row of a listed instrument's mark price at market time `now_ms`.
pub(super) fn mark_row(shared: &Shared, instrument: &str, now_ms: i64) -> Option<Value> {
    shared.hub(Exchange::Okx).instruments.row(instrument)?;
    let price = mark_price(&shared.market, asset_of(instrument)?, now_ms);
    Some(json!({"instId": instrument, "instType": "SWAP", "markPx": price, "ts": now_ms.to_string()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_coins_and_dollars_agree_and_carry_dust() {
        let market = Market::new(1, None);
        for (asset, row) in [
            (0, json!({"ctVal": "0.01", "ctMult": "1", "ctType": "linear"})),
            (2, json!({"ctVal": "1", "ctMult": "1", "ctType": "linear"})),
            (0, json!({"ctVal": "100", "ctMult": "1", "ctType": "inverse"})),
        ] {
            let contract = Contract::of(&row).unwrap();
            let interest = Interest::at(&market, asset, contract, 1_795_000_000_000);
            let [contracts, coins, usd] =
                [&interest.contracts, &interest.coins, &interest.usd].map(|text| text.parse::<f64>().unwrap());
            let price = market.price(asset, 1_795_000_000_000);
            let each = if contract.inverse { contract.value / price } else { contract.value };
            assert!((coins / contracts / each - 1.0).abs() < 1e-9, "{interest:?}");
            assert!((usd / coins / price - 1.0).abs() < 1e-9, "{interest:?}");
            assert!(
                interest.contracts.parse::<rust_decimal::Decimal>().unwrap().normalize().scale() > 8,
                "{interest:?}"
            );
        }
    }

    #[test]
    fn a_row_without_a_contract_value_is_no_contract() {
        assert_eq!(Contract::of(&json!({"ctVal": "", "ctType": "linear"})), None);
        assert_eq!(Contract::of(&json!({"ctVal": "0", "ctMult": "1"})), None);
    }
}
