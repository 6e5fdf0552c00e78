//! The seeded market: what happens in a second is a function of the seed and that second, and of nothing else. With a
//! scenario, seconds count from its start.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use schemas::market::Side;

use ingest::exchange::Exchange;

use super::scenario::Planted;

mod asset;

pub(super) use asset::{ASSETS, Asset};

/// Storms: bursts of liquidations of one base on all venues, strong enough to be a cascade by the rules as shipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storms {
    /// There is one in each stretch of this length; under five seconds it is taken as five.
    pub every: Duration,
    /// Multiplies the number of liquidations and with it the money; 1 gives about two to seven times the shipped `cascade_usd`.
    pub strength: f64,
}

impl Storms {
    /// About one a minute: what a demonstration needs to show something soon.
    pub const DEMO: Self = Self { every: Duration::from_secs(60), strength: 1.0 };
}

/// One forced liquidation, before a venue words it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Forced {
    pub(super) venue: Exchange,
    /// Index in [`ASSETS`].
    pub(super) asset: usize,
    /// On the coin-margined contract of the asset, where the venue's feed carries those.
    pub(super) inverse: bool,
    pub(super) liquidated: Side,
    pub(super) usd: f64,
    /// Market price, USD per coin.
    pub(super) mark: f64,
    /// Market time, in milliseconds.
    pub(super) at_ms: i64,
}

impl Forced {
    pub(super) fn asset(&self) -> &'static Asset {
        &ASSETS[self.asset]
    }

    /// Returns the mark moved by `share` in the direction the liquidation pushes.
    pub(super) fn beyond_mark(&self, share: f64) -> f64 {
        match self.liquidated {
            Side::Long => self.mark * (1.0 - share),
            Side::Short => self.mark * (1.0 + share),
        }
    }
}

/// Waves of the price: period in milliseconds and height as a share of the price.
const PRICE_WAVES: [(i64, f64); 4] = [(21_600_000, 0.03), (1_800_000, 0.01), (120_000, 0.0025), (10_000, 0.0005)];

/// Waves of open interest. Together they stay far below any explosion rule.
const OPEN_INTEREST_WAVES: [(i64, f64); 2] = [(3_600_000, 0.01), (60_000, 0.0005)];

/// Open interest of a venue that is not simulated here, as a share of one that is.
const ELSEWHERE_SHARE: f64 = 0.4;

/// Share of the BTC liquidations on Binance that are of the COIN-M contract (`exchanges.md` A.1: UM + CM merge).
const INVERSE_SHARE: f64 = 0.1;

/// Probability that a second brings a large single liquidation: about one in three minutes.
const LARGE_PER_SECOND: f64 = 1.0 / 180.0;

/// Probability that a liquidation of a storm on Bybit takes a second asset of the same account with it, at the very same
/// time (`exchanges.md` A.2: eight symbols carried one `T`).
const LINKED_SHARE: f64 = 0.1;

/// What a random draw is for: keeps the draws of one second apart.
#[derive(Clone, Copy)]
enum Draw {
    Quiet = 1,
    Large,
    Storm,
    StormSecond,
    Price,
    OpenInterest,
}

/// The market of one seed.
#[derive(Clone, Debug)]
pub(super) struct Market {
    seed: u64,
    storms: Option<Storms>,
    planted: Option<Planted>,
}

struct Storm {
    asset: usize,
    liquidated: Side,
    start_ms: i64,
    length_ms: i64,
    slot_end_ms: i64,
    /// Liquidations expected over its whole length.
    count: f64,
    /// USD of one of them, on average.
    mean_usd: f64,
    /// How far the price goes, as a share.
    depth: f64,
}

impl Market {
    pub(super) const fn new(seed: u64, storms: Option<Storms>) -> Self {
        Self { seed, storms, planted: None }
    }

    /// Returns a market without storms in which a scenario is planted.
    pub(super) const fn with_scenario(seed: u64, planted: Planted) -> Self {
        Self { seed, storms: None, planted: Some(planted) }
    }

    pub(super) const fn planted(&self) -> Option<Planted> {
        self.planted
    }

    /// Returns the market time that the open interest published by `venue` at `at_ms` is of: earlier when it is frozen.
    pub(super) fn interest_ms(&self, venue: Exchange, at_ms: i64) -> i64 {
        self.planted.map_or(at_ms, |planted| planted.interest_ms(venue, at_ms))
    }

    /// Returns whether the scenario has `venue` down at market time `at_ms`.
    pub(super) fn is_down(&self, venue: Exchange, at_ms: i64) -> bool {
        self.planted.is_some_and(|planted| planted.is_down(venue, at_ms))
    }

    /// Returns the liquidations of market second `second` (seconds since 1970 UTC), by time.
    pub(super) fn second(&self, second: i64) -> Vec<Forced> {
        let mut forced = Vec::new();
        self.quiet(second, &mut forced);
        self.large(second, &mut forced);
        self.storm_second(second, &mut forced);
        forced.sort_by_key(|forced| (forced.at_ms, forced.venue, forced.asset));
        forced
    }

    /// Returns the mark price of an asset, USD per coin, at market time `at_ms`.
    pub(super) fn price(&self, asset: usize, at_ms: i64) -> f64 {
        let walk: f64 = self.waves(Draw::Price, asset as u64, at_ms, &PRICE_WAVES);
        let storm = self.storm(at_ms).map_or(0.0, |storm| {
            // Other assets follow the one in the storm, less.
            let follows = if storm.asset == asset { 1.0 } else { 0.4 };
            storm.push(at_ms) * follows
        });
        let planted = self.planted.map_or(1.0, |planted| planted.price_factor(asset, at_ms));
        ASSETS[asset].anchor * (1.0 + walk + storm) * planted
    }

    /// Returns the open interest of one side in coins on `venue` at market time `at_ms`.
    pub(super) fn open_interest(&self, venue: Exchange, asset: usize, at_ms: i64) -> f64 {
        let planted = self.planted.map_or(1.0, |planted| planted.interest_factor(venue, asset, at_ms));
        self.quiet_interest(asset * Exchange::ALL.len() + (venue as usize), asset, at_ms) * planted
    }

    /// Returns the open interest in coins on the `place`th venue that is not simulated here; no scenario touches those.
    pub(super) fn open_interest_elsewhere(&self, place: usize, asset: usize, at_ms: i64) -> f64 {
        let stream = (place + 1) * ASSETS.len() * Exchange::ALL.len() + asset;
        ELSEWHERE_SHARE * self.quiet_interest(stream, asset, at_ms)
    }

    fn quiet_interest(&self, stream: usize, asset: usize, at_ms: i64) -> f64 {
        let waves = self.waves(Draw::OpenInterest, stream as u64, at_ms, &OPEN_INTEREST_WAVES);
        ASSETS[asset].open_interest * (1.0 + waves)
    }

    fn quiet(&self, second: i64, forced: &mut Vec<Forced>) {
        for venue in Exchange::ALL {
            let mut rng = self.rng(Draw::Quiet, (venue as usize) as u64, second - self.origin_ms() / 1000);
            for (asset, of) in ASSETS.iter().enumerate().filter(|(_, asset)| asset.trades_on(venue)) {
                for _ in 0..poisson(&mut rng, of.per_minute / 60.0) {
                    let liquidated = if rng.random_bool(0.55) { Side::Long } else { Side::Short };
                    let usd = of.median_usd * (1.4 * normal(&mut rng)).exp();
                    forced.push(self.forced(&mut rng, venue, asset, liquidated, usd, second));
                }
            }
        }
    }

    fn large(&self, second: i64, forced: &mut Vec<Forced>) {
        let mut rng = self.rng(Draw::Large, 0, second - self.origin_ms() / 1000);
        if !rng.random_bool(LARGE_PER_SECOND) {
            return;
        }
        let (venue, asset) = (Exchange::ALL[rng.random_range(0..Exchange::ALL.len())], rng.random_range(0..3));
        let liquidated = if rng.random_bool(0.55) { Side::Long } else { Side::Short };
        if let Some(large_usd) = ASSETS[asset].large_usd {
            let usd = 1.1 * large_usd * (0.8 * normal(&mut rng).abs()).exp();
            forced.push(self.forced(&mut rng, venue, asset, liquidated, usd, second));
        }
    }

    fn storm_second(&self, second: i64, forced: &mut Vec<Forced>) {
        let Some(storm) = self.storm(second * 1000) else { return };
        let passed = (second * 1000 + 500 - storm.start_ms) as f64 / storm.length_ms as f64;
        if !(0.0..1.0).contains(&passed) {
            return;
        }
        let mut rng = self.rng(Draw::StormSecond, 0, second);
        // A triangle over the storm's length, whose sum is `count`.
        let share = 2.0 * (1.0 - (2.0 * passed - 1.0).abs()) * 1000.0 / storm.length_ms as f64;
        for _ in 0..poisson(&mut rng, storm.count * share) {
            let venue = match rng.random_range(0..10) {
                0..2 => Exchange::Binance,
                2..6 => Exchange::Bybit,
                _ => Exchange::Okx,
            };
            let usd = storm.mean_usd * (0.8 * normal(&mut rng) - 0.32).exp();
            let one = self.forced(&mut rng, venue, storm.asset, storm.liquidated, usd, second);
            if venue == Exchange::Bybit && rng.random_bool(LINKED_SHARE) {
                let asset = (storm.asset + 1) % 3;
                let mark = self.price(asset, one.at_ms);
                forced.push(Forced { asset, mark, usd: usd / 4.0, ..one.clone() });
            }
            forced.push(one);
        }
    }

    fn forced(
        &self,
        rng: &mut SmallRng,
        venue: Exchange,
        asset: usize,
        liquidated: Side,
        usd: f64,
        second: i64,
    ) -> Forced {
        let at_ms = second * 1000 + rng.random_range(0..1000);
        let inverse = venue == Exchange::Binance && asset == 0 && rng.random_bool(INVERSE_SHARE);
        Forced { venue, asset, inverse, liquidated, usd, mark: self.price(asset, at_ms), at_ms }
    }

    /// Returns the storm of the stretch that market time `at_ms` lies in.
    fn storm(&self, at_ms: i64) -> Option<Storm> {
        let storms = self.storms?;
        let every_ms = i64::try_from(storms.every.as_millis()).unwrap_or(i64::MAX / 2).max(5000);
        let slot = at_ms.div_euclid(every_ms);
        let mut rng = self.rng(Draw::Storm, 0, slot);
        let asset = rng.random_range(0..3);
        let large_usd = ASSETS[asset].large_usd?;
        let count = rng.random_range(20.0..50.0) * storms.strength;
        // The shipped `cascade_usd` is four to five times `single_usd`.
        let usd = large_usd * rng.random_range(12.0..30.0) * storms.strength;
        Some(Storm {
            asset,
            liquidated: if rng.random_bool(0.65) { Side::Long } else { Side::Short },
            start_ms: slot * every_ms + every_ms / 10 + rng.random_range(0..every_ms / 5),
            length_ms: (every_ms * 2 / 5).min(rng.random_range(8_000..20_000)),
            slot_end_ms: (slot + 1) * every_ms,
            count,
            mean_usd: usd / count.max(1.0),
            depth: rng.random_range(0.004..0.015) * storms.strength.clamp(0.0, 10.0),
        })
    }

    /// Returns the market time that draws count from, in milliseconds: a whole second.
    fn origin_ms(&self) -> i64 {
        self.planted.map_or(0, |planted| planted.start_ms)
    }

    /// Returns smooth noise around zero: each wave goes through drawn points and is flat at them.
    fn waves(&self, draw: Draw, stream: u64, at_ms: i64, waves: &[(i64, f64)]) -> f64 {
        let at_ms = at_ms - self.origin_ms();
        let point = |cell: i64, wave: usize| {
            let bits = self.mix(draw, stream * 16 + wave as u64, cell);
            (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        waves
            .iter()
            .enumerate()
            .map(|(wave, (period_ms, height))| {
                let (cell, within) = (at_ms.div_euclid(*period_ms), at_ms.rem_euclid(*period_ms));
                let x = within as f64 / *period_ms as f64;
                let smooth = x * x * (3.0 - 2.0 * x);
                height * (point(cell, wave) * (1.0 - smooth) + point(cell + 1, wave) * smooth)
            })
            .sum()
    }

    fn rng(&self, draw: Draw, stream: u64, at: i64) -> SmallRng {
        SmallRng::seed_from_u64(self.mix(draw, stream, at))
    }

    /// Returns 64 bits that depend on all four, by the finaliser of SplitMix64.
    fn mix(&self, draw: Draw, stream: u64, at: i64) -> u64 {
        [draw as u64, stream, at.cast_unsigned()].into_iter().fold(self.seed, |hash, part| {
            let mut z = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }
}

impl Storm {
    /// Returns the signed share by which the storm has moved the price at `at_ms`: it builds up, then fades to zero.
    fn push(&self, at_ms: i64) -> f64 {
        let end_ms = self.start_ms + self.length_ms;
        let part = if at_ms < self.start_ms {
            0.0
        } else if at_ms < end_ms {
            (at_ms - self.start_ms) as f64 / self.length_ms as f64
        } else {
            (self.slot_end_ms - at_ms) as f64 / (self.slot_end_ms - end_ms) as f64
        };
        match self.liquidated {
            Side::Long => -self.depth * part,
            Side::Short => self.depth * part,
        }
    }
}

/// Draws from a Poisson distribution of mean `mean` (Knuth), for means below some hundred.
fn poisson(rng: &mut SmallRng, mean: f64) -> u32 {
    let limit = (-mean).exp();
    let (mut count, mut product) = (0, rng.random::<f64>());
    while product > limit {
        count += 1;
        product *= rng.random::<f64>();
    }
    count
}

/// Draws from about the standard normal distribution: twelve even draws (Irwin and Hall), so within six deviations.
fn normal(rng: &mut SmallRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_795_000_000;

    #[test]
    fn a_second_is_a_function_of_the_seed_and_the_second() {
        let (one, same, other) = (
            Market::new(7, Some(Storms::DEMO)),
            Market::new(7, Some(Storms::DEMO)),
            Market::new(8, Some(Storms::DEMO)),
        );
        let minutes = |market: &Market| (0..300).flat_map(|n| market.second(SECOND + n)).collect::<Vec<_>>();
        assert_eq!(minutes(&one), minutes(&same));
        assert_ne!(minutes(&one), minutes(&other));
    }

    #[test]
    fn every_stretch_has_a_storm_that_the_shipped_rules_call_a_cascade() {
        let market = Market::new(3, Some(Storms::DEMO));
        for slot in 0..20 {
            let start = SECOND - SECOND.rem_euclid(60) + slot * 60;
            let storm = market.storm(start * 1000).unwrap();
            let forced: Vec<_> = (0..60)
                .flat_map(|n| market.second(start + n))
                .filter(|forced| forced.asset == storm.asset && forced.venue != Exchange::Binance)
                .collect();
            let usd: f64 = forced.iter().map(|forced| forced.usd).sum();
            assert!(forced.len() >= 5, "{} in slot {slot}", forced.len());
            assert!(usd >= 5.0 * ASSETS[storm.asset].large_usd.unwrap(), "{usd} in slot {slot}");
        }
    }

    #[test]
    fn without_storms_the_market_is_quiet() {
        let market = Market::new(3, None);
        let forced: Vec<_> = (0..600).flat_map(|n| market.second(SECOND + n)).collect();
        assert!((100..400).contains(&forced.len()), "{}", forced.len());
        let median = {
            let mut usd: Vec<_> = forced.iter().map(|forced| forced.usd).collect();
            usd.sort_by(f64::total_cmp);
            usd[usd.len() / 2]
        };
        assert!((300.0..5_000.0).contains(&median), "{median}");
    }

    #[test]
    fn the_price_walks_without_jumps() {
        let market = Market::new(5, None);
        for second in 0..600 {
            let (now, next) =
                (market.price(0, (SECOND + second) * 1000), market.price(0, (SECOND + second + 1) * 1000));
            assert!((now - next).abs() / now < 0.002, "{now} {next}");
        }
    }
}
