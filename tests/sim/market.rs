//! A random market: what happened on three venues, and the frames in which each venue tells it.

use std::collections::{BTreeMap, BTreeSet};

use ingest::exchange::Exchange;
use rand::{Rng, rngs::SmallRng};
use schemas::market::{Liquidation, Side};

use crate::frames;

/// Bases with a price in whole USD, so that every notional is a whole number of cents.
pub(crate) const BASES: [(&str, i64); 6] =
    [("BTC", 97_000), ("ETH", 3_400), ("SOL", 190), ("BNB", 870), ("LTC", 95), ("AVAX", 40)];

/// When every market begins, in milliseconds since 1970 UTC; a multiple of everything that is sampled.
pub(crate) const FROM_MS: i64 = 1_763_900_000_000;

/// How long things happen. Companions go on for [`TAIL_MS`], so that every episode ends.
const SPAN_MS: i64 = 8 * 60_000;
const TAIL_MS: i64 = 90_000;

/// Distance of companion frames of one venue. Real ones come every second; `alive` needs one in five.
const COMPANION_MS: i64 = 2_000;

/// One liquidation as it happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fact {
    pub(crate) exchange: Exchange,
    pub(crate) base: &'static str,
    pub(crate) is_short: bool,
    pub(crate) price_usd: i64,
    /// Hundredths of a coin.
    pub(crate) hundredths: i64,
    /// The venue's clock.
    pub(crate) time_ms: i64,
}

impl Fact {
    /// Whether an event says exactly this.
    pub(crate) fn is_told_by(&self, event: &Liquidation) -> bool {
        event.event_time.as_millis() == self.time_ms
            && event.venue.as_str() == self.exchange.as_str()
            && event.base.as_str() == self.base
            && (event.liquidated == Side::Short) == self.is_short
            && event.price.value() == self.price_usd.into()
            && event.quantity.value() == rust_decimal::Decimal::new(self.hundredths, 2)
            && event.notional_usd.cents() == self.price_usd * self.hundredths
    }
}

/// One frame of a venue.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// When the venue sends it, on its clock.
    pub(crate) pushed_ms: i64,
    pub(crate) bytes: Vec<u8>,
    /// What it tells, in its order; nothing in a companion.
    pub(crate) facts: Vec<Fact>,
}

/// What the venues say, each in its own order.
pub(crate) struct Market {
    pub(crate) venues: BTreeMap<Exchange, Vec<Frame>>,
    pub(crate) until_ms: i64,
}

impl Market {
    /// Draws a market on these venues.
    pub(crate) fn random(rng: &mut SmallRng, exchanges: &[Exchange]) -> Self {
        let facts = facts(rng, exchanges);
        let venues = exchanges.iter().map(|exchange| {
            let own: Vec<_> = facts.iter().filter(|fact| fact.exchange == *exchange).cloned().collect();
            let mut frames = match exchange {
                Exchange::Binance => binance(&own),
                Exchange::Bybit => bybit(rng, &own),
                Exchange::Okx => okx(rng, &own),
            };
            let companions = (FROM_MS..FROM_MS + SPAN_MS + TAIL_MS).step_by(COMPANION_MS as usize);
            frames.extend(companions.map(|pushed_ms| {
                let bytes = frames::companion(*exchange, pushed_ms).into_bytes();
                Frame { pushed_ms, bytes, facts: Vec::new() }
            }));
            frames.sort_by_key(|frame| frame.pushed_ms);
            (*exchange, frames)
        });
        Self { venues: venues.collect(), until_ms: FROM_MS + SPAN_MS + TAIL_MS }
    }

    /// Everything that happened, venue by venue in the order it was told.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.venues.values().flatten().flat_map(|frame| &frame.facts)
    }
}

/// A calm market of every base, and bursts that cascade. Sorted, each key once, so that equal facts are never two.
fn facts(rng: &mut SmallRng, exchanges: &[Exchange]) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    let mut happen = |rng: &mut SmallRng, base: usize, is_short, time_ms, usd_max: i64| {
        let (base, price) = BASES[base];
        let price_usd = price + rng.random_range(-price / 50..=price / 50);
        let hundredths = (rng.random_range(500..usd_max) * 100 / price_usd).max(1);
        let exchange = exchanges[rng.random_range(0..exchanges.len())];
        facts.insert(Fact { exchange, base, is_short, price_usd, hundredths, time_ms });
    };
    for base in 0..BASES.len() {
        let mut at = FROM_MS;
        while at < FROM_MS + SPAN_MS {
            at += rng.random_range(1_000..30_000);
            let is_short = rng.random();
            happen(rng, base, is_short, at, 60_000);
        }
    }
    for _ in 0..rng.random_range(8..16) {
        let (at, span) = (rng.random_range(FROM_MS..FROM_MS + SPAN_MS), rng.random_range(2_000..40_000));
        let (base, other) = (rng.random_range(0..BASES.len()), rng.random_range(0..BASES.len()));
        let is_short: bool = rng.random();
        let usd_max = rng.random_range(30_000..600_000);
        for _ in 0..rng.random_range(6..35) {
            let time = at + rng.random_range(0..span);
            let is_short = if rng.random_bool(0.1) { !is_short } else { is_short };
            happen(rng, base, is_short, time, usd_max);
            // One account on two bases: equal times link them.
            if rng.random_bool(0.2) {
                happen(rng, other, is_short, time, usd_max);
            }
        }
    }
    facts
}

/// exchanges.md A.1: one order a frame, which leaves when its second is over.
fn binance(facts: &[Fact]) -> Vec<Frame> {
    let frame = |fact: &Fact| {
        let pushed_ms = fact.time_ms + 1_007;
        Frame { pushed_ms, bytes: frames::binance(fact, pushed_ms).into_bytes(), facts: vec![fact.clone()] }
    };
    facts.iter().map(frame).collect()
}

/// exchanges.md A.2: one symbol's half second a frame. Two genuinely equal fills of one frame are two facts.
fn bybit(rng: &mut SmallRng, facts: &[Fact]) -> Vec<Frame> {
    let mut batches: BTreeMap<(i64, &str), Vec<Fact>> = BTreeMap::new();
    for fact in facts {
        let batch = batches.entry((fact.time_ms / 500, fact.base)).or_default();
        batch.push(fact.clone());
        if rng.random_bool(0.03) {
            batch.push(fact.clone());
        }
    }
    let frame = |((half_second, _), mut facts): (_, Vec<Fact>)| {
        facts.sort_by_key(|fact| fact.time_ms);
        let pushed_ms = (half_second + 1) * 500;
        Frame { pushed_ms, bytes: frames::bybit(&facts, pushed_ms).into_bytes(), facts }
    };
    batches.into_iter().map(frame).collect()
}

/// exchanges.md A.3: records come from several sources, up to two seconds out of order, several instruments a frame.
fn okx(rng: &mut SmallRng, facts: &[Fact]) -> Vec<Frame> {
    let mut batches: BTreeMap<i64, Vec<Fact>> = BTreeMap::new();
    for fact in facts {
        let pushed_ms = fact.time_ms + rng.random_range(20..1_900);
        batches.entry(pushed_ms / 100).or_default().push(fact.clone());
    }
    let frame = |(tenth, facts): (i64, Vec<Fact>)| {
        let pushed_ms = (tenth + 1) * 100;
        Frame { pushed_ms, bytes: frames::okx(&facts).into_bytes(), facts }
    };
    batches.into_iter().map(frame).collect()
}
