//! What is traded in the simulated market.

use super::Exchange;

/// A base asset of the simulated market. Sizes follow the quiet rates of `exchanges.md` A.5.
#[derive(Debug)]
pub(in super::super) struct Asset {
    pub(in super::super) base: &'static str,
    /// Price the walk stays around, USD per coin.
    pub(super) anchor: f64,
    /// Decimal places of prices.
    pub(in super::super) price_places: usize,
    /// Decimal places of quantities in coins.
    pub(in super::super) quantity_places: usize,
    /// Quiet liquidations per minute and venue.
    pub(super) per_minute: f64,
    /// Median notional of a quiet liquidation, USD.
    pub(super) median_usd: f64,
    /// A large single liquidation, USD: the shipped `single_usd`; none for the others.
    pub(super) large_usd: Option<f64>,
    /// Open interest of one side on one venue, coins.
    pub(super) open_interest: f64,
    /// Coins per OKX contract; none where OKX lists no swap or tells nothing of it.
    pub(in super::super) okx_contract: Option<f64>,
    /// Where it is traded.
    pub(super) venues: &'static [Exchange],
}

impl Asset {
    pub(in super::super) fn trades_on(&self, venue: Exchange) -> bool {
        self.venues.contains(&venue)
    }
}

/// The assets. OKX publishes liquidations of HYPE but no metadata of it: the unknown instrument of `shared/data`.
pub(in super::super) const ASSETS: [Asset; 6] = [
    Asset {
        base: "BTC",
        anchor: 82_500.0,
        price_places: 1,
        quantity_places: 3,
        per_minute: 3.0,
        median_usd: 3_000.0,
        large_usd: Some(100_000.0),
        open_interest: 28_000.0,
        okx_contract: Some(0.01),
        venues: &Exchange::ALL,
    },
    Asset {
        base: "ETH",
        anchor: 2_850.0,
        price_places: 2,
        quantity_places: 3,
        per_minute: 2.0,
        median_usd: 1_500.0,
        large_usd: Some(50_000.0),
        open_interest: 610_000.0,
        okx_contract: Some(0.1),
        venues: &Exchange::ALL,
    },
    Asset {
        base: "SOL",
        anchor: 138.0,
        price_places: 2,
        quantity_places: 1,
        per_minute: 1.5,
        median_usd: 700.0,
        large_usd: Some(25_000.0),
        open_interest: 3_900_000.0,
        okx_contract: Some(1.0),
        venues: &Exchange::ALL,
    },
    Asset {
        base: "DOGE",
        anchor: 0.19,
        price_places: 5,
        quantity_places: 0,
        per_minute: 0.5,
        median_usd: 300.0,
        large_usd: None,
        open_interest: 900_000_000.0,
        okx_contract: Some(1000.0),
        venues: &Exchange::ALL,
    },
    Asset {
        base: "XRP",
        anchor: 1.41,
        price_places: 4,
        quantity_places: 1,
        per_minute: 0.5,
        median_usd: 300.0,
        large_usd: None,
        open_interest: 120_000_000.0,
        okx_contract: None,
        venues: &[Exchange::Binance, Exchange::Bybit],
    },
    Asset {
        base: "HYPE",
        anchor: 33.0,
        price_places: 3,
        quantity_places: 2,
        per_minute: 0.5,
        median_usd: 400.0,
        large_usd: None,
        open_interest: 5_000_000.0,
        okx_contract: None,
        venues: &[Exchange::Okx],
    },
];
