//! What the service answers, its wrong figures included. Numbers are JSON numbers, as Python writes them.

use std::collections::{BTreeMap, BTreeSet};

use ingest::exchange::Exchange;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    super::{hub::Shared, market::ASSETS},
    Upstream,
};

/// Open interest margined in USDC and in coins, as shares of that in USDT.
const USDC_SHARE: f64 = 0.05;
const INVERSE_SHARE: f64 = 0.3;

/// Volume of a day, as a multiple of the open interest.
const TURNOVER: f64 = 4.0;

const FUNDING_RATE: f64 = 0.000_1;

/// Venues that must have answered for `validation_passed`.
const VENUES_MIN: usize = 4;

/// One market of one venue.
struct Row {
    kind: &'static str,
    symbol: String,
    tokens: f64,
}

/// Returns the markets of a base on a venue; none where it is not traded.
fn markets(shared: &Shared, upstream: Upstream, asset: usize, now_ms: i64) -> Vec<Row> {
    let (market, base) = (&shared.market, ASSETS[asset].base);
    let coins = match upstream.simulated() {
        Some(venue) if !ASSETS[asset].trades_on(venue) => return Vec::new(),
        Some(venue) => market.open_interest(venue, asset, shared.interest_ms(venue, now_ms)),
        None => market.open_interest_elsewhere(upstream as usize, asset, now_ms),
    };
    let row = |kind, symbol: String, tokens| Row { kind, symbol, tokens };
    let (usdc, inverse) = (coins * USDC_SHARE, coins * INVERSE_SHARE);
    // exchanges.md F.1 has each of these.
    match upstream {
        Upstream::Binance => {
            // 100 USD per COIN-M contract, where most are 10.
            let wrong = if base == "BTC" { 1.0 } else { 10.0 };
            vec![
                row("USDT", format!("{base}USDT"), coins),
                row("USDC", format!("{base}USDC"), usdc),
                row("USD", format!("{base}USD_PERP"), inverse * wrong),
            ]
        }
        // Both sides; and it asks for a contract in USDC by a name that does not exist.
        Upstream::Bybit => {
            vec![row("USDT", format!("{base}USDT"), coins * 2.0), row("USD", format!("{base}USD"), inverse * 2.0)]
        }
        Upstream::Okx => vec![
            row("USDT", format!("{base}-USDT-SWAP"), coins),
            row("USDC", format!("{base}-USDC-SWAP"), usdc),
            row("USD", format!("{base}-USD-SWAP"), inverse),
        ],
        Upstream::Gateio => {
            // Every contract is taken for 0.0001 coins.
            let wrong = match base {
                "BTC" => 1.0,
                "ETH" => 0.01,
                _ => 0.000_1,
            };
            vec![row("USDT", format!("{base}_USDT"), coins * wrong), row("USD", format!("{base}_USD"), inverse)]
        }
        Upstream::Bitget => {
            vec![row("USDT", format!("{base}USDT_UMCBL"), coins), row("USD", format!("{base}USD_DMCBL"), inverse)]
        }
        Upstream::Hyperliquid => vec![row("USDC", base.to_owned(), coins)],
    }
}

/// Returns the flat answer of `multi_oi`.
pub(super) fn multi_oi(shared: &Shared, asset: usize, failed: &BTreeSet<Upstream>) -> Value {
    let now_ms = shared.market_ms();
    let price = shared.market.price(asset, now_ms);
    let mut details = BTreeMap::new();
    let mut answered = Vec::new();
    for upstream in Upstream::ALL {
        let rows = markets(shared, upstream, asset, now_ms);
        if failed.contains(&upstream) || rows.is_empty() {
            details.insert(upstream.as_str(), "Validation failed: []");
        } else {
            answered.push((upstream, rows));
        }
    }
    let sum = |rows: &[Row]| rows.iter().map(|row| row.tokens).sum::<f64>();
    let total: f64 = answered.iter().map(|(_, rows)| sum(rows)).sum();
    let total_markets: usize = answered.iter().map(|(_, rows)| rows.len()).sum();
    let breakdown: Vec<_> = answered
        .iter()
        .map(|(upstream, rows)| {
            let tokens = sum(rows);
            let market_breakdown: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({"type": row.kind, "symbol": row.symbol, "oi_tokens": row.tokens,
                        "oi_usd": row.tokens * price, "price": price, "funding_rate": FUNDING_RATE,
                        "volume_24h": row.tokens * TURNOVER, "volume_24h_usd": row.tokens * TURNOVER * price})
                })
                .collect();
            json!({"exchange": upstream.as_str(), "oi_tokens": tokens, "oi_usd": tokens * price,
                "oi_percentage": share_percent(tokens, total), "funding_rate": FUNDING_RATE,
                "volume_24h": tokens * TURNOVER, "volume_24h_usd": tokens * TURNOVER * price, "markets": rows.len(),
                "market_breakdown": market_breakdown})
        })
        .collect();
    let category = |kind: &str| {
        let of_kind = || answered.iter().flat_map(|(_, rows)| rows).filter(|row| row.kind == kind);
        let tokens: f64 = of_kind().map(|row| row.tokens).sum();
        // No venue has two markets of a kind.
        json!({"total_tokens": tokens, "total_usd": tokens * price, "percentage": share_percent(tokens, total),
            "exchanges": of_kind().count()})
    };
    json!({
        "success": true, "base_symbol": ASSETS[asset].base, "timestamp": naive(now_ms), "total_markets": total_markets,
        "aggregated_oi": {"total_tokens": total, "total_usd": total * price, "total_volume_24h": total * TURNOVER,
            "total_volume_24h_usd": total * TURNOVER * price, "exchanges_count": answered.len()},
        "exchange_breakdown": breakdown,
        "market_categories": {"usdt_stable": category("USDT"), "usdc_stable": category("USDC"),
            "usd_inverse": category("USD")},
        "validation_summary": {"successful_exchanges": answered.len(), "failed_exchanges": details.len(),
            "total_markets": total_markets, "validation_passed": answered.len() >= VENUES_MIN,
            "failed_details": details},
    })
}

/// Returns the `data` of `combined_price`.
pub(super) fn combined_price(shared: &Shared, asset: usize) -> Value {
    let now_ms = shared.market_ms();
    let price = shared.market.price(asset, now_ms);
    let interest_ms = shared.interest_ms(Exchange::Binance, now_ms);
    let coins = shared.market.open_interest(Exchange::Binance, asset, interest_ms);
    let mut perp = json!({"price": price, "change_24h": 0.0, "change_15m": 0.0, "atr_24h": price * 0.02,
        "atr_15m": price * 0.002, "volume_24h": coins * TURNOVER, "volume_15m": coins * TURNOVER / 96.0,
        "delta_24h": 0.0, "delta_15m": 0.0});
    let spot = perp.clone();
    for (name, value) in
        [("open_interest", coins), ("oi_change_24h", 0.0), ("oi_change_15m", 0.0), ("funding_rate", FUNDING_RATE)]
    {
        perp[name] = value.into();
    }
    json!({"base_symbol": ASSETS[asset].base, "spot_exchange": "binance", "perp_exchange": "binance", "spot": spot,
        "perp": perp})
}

/// Returns the `data` of `comprehensive_analysis`. Only the keys and types are those of the service; nothing is computed.
pub(super) fn comprehensive_analysis(shared: &Shared, asset: usize) -> Value {
    let now_ms = shared.market_ms();
    let price = shared.market.price(asset, now_ms);
    let coins = shared.market.open_interest(Exchange::Binance, asset, shared.interest_ms(Exchange::Binance, now_ms));
    json!({
        "price_data": {"current_price": price, "change_24h": 0.0},
        "volume_analysis": {"current_volume": coins * TURNOVER, "volume_usd": coins * TURNOVER * price,
            "spike_level": "NORMAL", "spike_percentage": 0.0, "relative_volume": 1.0},
        "cvd_analysis": {"current_cvd": 0.0, "cvd_change_24h": 0.0, "cvd_trend": "NEUTRAL"},
        "technical_indicators": {"rsi_14": 50.0, "vwap": price, "atr_14": price * 0.002, "volatility_24h": 0.02},
        "market_sentiment": {"market_control": "BALANCED", "control_strength": 50.0, "aggression_level": "LOW"},
        "oi_data": {"open_interest": coins, "open_interest_usd": coins * price, "funding_rate": FUNDING_RATE},
    })
}

/// Returns the `data` of `volume_spike`; keys and types only, as above.
pub(super) fn volume_spike(shared: &Shared, asset: usize) -> Value {
    let price = shared.market.price(asset, shared.market_ms());
    json!({"spike_level": "NORMAL", "spike_percentage": 0.0, "current_volume": 1.0, "average_volume": 1.0,
        "volume_usd": price, "is_significant": false})
}

/// Returns the `data` of `cvd`; keys and types only, as above.
pub(super) fn cvd(_: &Shared, _: usize) -> Value {
    json!({"cvd_trend": "NEUTRAL", "current_cvd": 0.0, "cvd_change_24h": 0.0, "divergence_detected": false,
        "price_trend": "NEUTRAL"})
}

/// Returns the `data` of `market_profile`; keys and types only, as above.
pub(super) fn market_profile(shared: &Shared, asset: usize) -> Value {
    let price = shared.market.price(asset, shared.market_ms());
    let area = || json!({"poc": price, "vah": price * 1.01, "val": price * 0.99});
    let period =
        |period: &str| json!({"volume_profile": area(), "tpo": area(), "vwap": price, "period": period, "candles": 96});
    json!({"symbol": ASSETS[asset].base, "current_price": price, "1h": period("1h"), "4h": period("4h"),
        "1d": period("1d")})
}

fn share_percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

/// Returns a time as `datetime.now().isoformat()` writes it in a container, whose zone is UTC: without any zone.
fn naive(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    time.to_zoned(TimeZone::UTC).datetime().to_string()
}
