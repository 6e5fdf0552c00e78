//! The generated year: what truly was, and what of it the venues told.

use rust_decimal::Decimal;
use schemas::{
    amount::{Price, Quantity, Usd},
    market::{Feed, MarketEvent, OpenInterest, VERSION},
    name::{Base, Instrument, Venue},
    time::{EventTime, ReceivedAt},
};

use crate::random::Random;

/// 2026-01-01.
pub(crate) const START_MS: i64 = 1_767_225_600_000;
pub(crate) const YEAR_MINUTES: i64 = 365 * 1_440;
const MINUTE_MS: i64 = 60_000;

/// How many of each are planted.
pub(crate) const EXPLOSIONS: usize = 500;
pub(crate) const DECOYS: usize = 500;

/// One begins in each of these, in minutes, in its first two hours. So the one before has faded, and none begins while
/// another goes on.
const PLOT_MINUTES: i64 = YEAR_MINUTES / (EXPLOSIONS + DECOYS) as i64;

/// How long a level is held once it is reached, and how slowly it fades: never a fall as steep as an explosion.
const HELD_MINUTES: f64 = 20.0;
const FADES_MINUTES: f64 = 100.0;

/// The venues: name, instrument, minutes between samples, thousandths of a coin at the start.
const VENUES: [(&str, &str, i64, f64); 3] = [
    ("binance", "BTCUSDT", 2, 92_000_000.0),
    ("bybit", "BTCUSDT", 1, 51_000_000.0),
    ("okx", "BTC-USDT-SWAP", 1, 31_000_000.0),
];

/// A planted move of open interest.
pub(crate) struct Planted {
    pub(crate) begins: i64,
    /// Whether two venues or three show it; else one only, and it is a decoy.
    pub(crate) is_explosion: bool,
    pub(crate) rises: bool,
    ramp_minutes: f64,
    /// The logarithm of each venue's move.
    moves: [f64; 3],
}

/// A value a venue truly had when it was sampled.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) venue: usize,
    pub(crate) time_ms: i64,
    pub(crate) thousandths: i64,
    pub(crate) usd_cents: i64,
}

/// What is told, in the order of MARKET.
pub(crate) struct Told {
    pub(crate) event: MarketEvent,
    /// The truth it tells, if it tells one: a repetition or a glitch does not.
    pub(crate) truth: Option<Truth>,
}

pub(crate) struct Year {
    random: Random,
    pub(crate) planted: Vec<Planted>,
    minute: i64,
    /// Logarithms of the level that all share, of each venue's own, of its jumps, and of the price.
    common: f64,
    own: [f64; 3],
    jumps: [f64; 3],
    price: f64,
    /// Up to which minute a venue says nothing.
    silent_until: [i64; 3],
    last: [Option<OpenInterest>; 3],
    /// Samples told without a value of their own, to be counted by the detector too.
    pub(crate) repeated: u64,
    pub(crate) glitches: u64,
    names: [(Venue, Instrument); 3],
    base: Base,
}

impl Planted {
    /// The part of the move that stands at `minute`.
    fn part(&self, minute: f64) -> f64 {
        let since = minute - self.begins as f64;
        let faded = (since - self.ramp_minutes - HELD_MINUTES).max(0.0);
        (since / self.ramp_minutes).clamp(0.0, 1.0) * (-faded / FADES_MINUTES).exp()
    }
}

fn plant(random: &mut Random) -> Vec<Planted> {
    let mut left = [EXPLOSIONS, DECOYS];
    (0..(EXPLOSIONS + DECOYS) as i64)
        .map(|plot| {
            let is_explosion = random.below(left[0] + left[1]) < left[0];
            left[usize::from(!is_explosion)] -= 1;
            let rises = random.unit() < 0.5;
            // A rise by 20 to 60 percent or a fall by 17 to 40; the venues without it go up to 7 percent of the way.
            let mut moved = || if rises { random.between(0.182, 0.47) } else { random.between(-0.51, -0.186) };
            let moves = [moved(), moved(), moved()];
            let mut bystander = || random.between(0.0, if rises { 0.068 } else { -0.073 });
            let bystanders = [bystander(), bystander(), bystander()];
            let odd = random.below(3);
            let shows = match (is_explosion, random.unit() < 0.5) {
                (true, true) => [true; 3],
                (true, false) => std::array::from_fn(|venue| venue != odd),
                (false, _) => std::array::from_fn(|venue| venue == odd),
            };
            Planted {
                begins: plot * PLOT_MINUTES + random.below(120) as i64,
                is_explosion,
                rises,
                ramp_minutes: random.between(1.0, 13.0),
                moves: std::array::from_fn(|venue| if shows[venue] { moves[venue] } else { bystanders[venue] }),
            }
        })
        .collect()
}

impl Year {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let planted = plant(&mut random);
        let names = VENUES.map(|(venue, instrument, ..)| (venue.parse().unwrap(), instrument.parse().unwrap()));
        Self {
            random,
            planted,
            minute: 0,
            common: 0.0,
            own: [0.0; 3],
            jumps: [0.0; 3],
            price: 0.0,
            silent_until: [0; 3],
            last: [const { None }; 3],
            repeated: 0,
            glitches: 0,
            names,
            base: "BTC".parse().unwrap(),
        }
    }

    /// Returns what is told in the next minute, or nothing when the year is over.
    pub(crate) fn next_minute(&mut self) -> Option<Vec<Told>> {
        if self.minute == YEAR_MINUTES {
            return None;
        }
        self.walk();
        let now_ms = START_MS + self.minute * MINUTE_MS;
        let alive = Feed::alive(self.names[0].0.clone(), "liquidation", EventTime::from_millis(now_ms - 5_000));
        let mut told = vec![Told { event: MarketEvent::Feed(alive), truth: None }];
        for (venue, (_, _, every, _)) in VENUES.iter().enumerate() {
            if self.minute % every == 0 {
                told.extend(self.sample(venue, now_ms));
            }
        }
        self.minute += 1;
        Some(told)
    }

    /// One minute of noise; the model is told in `main.rs`.
    fn walk(&mut self) {
        // Per minute a part ln 2 / half-life reverts; the deviation keeps the stationary one given.
        let step = |value: f64, half_life: f64, deviation: f64, random: &mut Random| {
            let keeps = (-std::f64::consts::LN_2 / half_life).exp();
            value * keeps + deviation * (1.0 - keeps * keeps).sqrt() * random.normal()
        };
        let random = &mut self.random;
        self.common = step(self.common, 360.0, 0.06, random);
        self.price = step(self.price, 10_080.0, 0.10, random);
        if random.once_in(720.0) {
            self.common += (0.004 * random.heavy()).clamp(-0.03, 0.03);
        }
        for venue in 0..3 {
            self.own[venue] = step(self.own[venue], 120.0, 0.02, random);
            self.jumps[venue] = step(self.jumps[venue], 30.0, 0.0, random);
            if random.once_in(360.0) {
                self.jumps[venue] += (0.006 * random.heavy()).clamp(-0.05, 0.05);
            }
            if random.once_in(10_080.0) {
                self.silent_until[venue] = self.minute + 3 + random.below(18) as i64;
            }
        }
    }

    fn truth(&self, venue: usize, time_ms: i64) -> Truth {
        let wave = 0.02 * (std::f64::consts::TAU * self.minute as f64 / 1_440.0).sin();
        let near = (self.minute / PLOT_MINUTES) as usize;
        let planted: f64 = self.planted[near.saturating_sub(1)..=near.min(self.planted.len() - 1)]
            .iter()
            .map(|planted| planted.moves[venue] * planted.part(self.minute as f64))
            .sum();
        let log = self.common + self.own[venue] + self.jumps[venue] + wave + planted;
        let thousandths = (VENUES[venue].3 * log.exp()).round() as i64;
        Truth { venue, time_ms, thousandths, usd_cents: 0 }
    }

    fn sample(&mut self, venue: usize, now_ms: i64) -> Option<Told> {
        if self.minute < self.silent_until[venue] || self.random.once_in(100.0) {
            return None;
        }
        if self.random.once_in(80.0)
            && let Some(last) = &self.last[venue]
        {
            // The venue answers from its cache: the value of the time before, with its time.
            self.repeated += 1;
            return Some(Told { event: MarketEvent::OpenInterest(last.clone()), truth: None });
        }
        let time_ms = now_ms + self.random.below(3_000) as i64;
        let mut truth = self.truth(venue, time_ms);
        if self.random.once_in(100.0)
            && let Some(last) = &self.last[venue]
        {
            // The venue's own figure stands still under a new time.
            truth.thousandths = i64::try_from(last.contracts.value() * Decimal::ONE_THOUSAND).unwrap();
        }
        let told = self.tell(&truth);
        truth.usd_cents = told.notional_usd.cents();
        if self.random.once_in(15_000.0) {
            self.glitches += 1;
            let factor = if self.random.unit() < 0.5 { 0.3 } else { 4.0 };
            let thousandths = (truth.thousandths as f64 * factor) as i64;
            let glitch = self.tell(&Truth { thousandths, ..truth });
            return Some(Told { event: MarketEvent::OpenInterest(glitch), truth: None });
        }
        self.last[venue] = Some(told.clone());
        Some(Told { event: MarketEvent::OpenInterest(told), truth: Some(truth) })
    }

    fn tell(&self, truth: &Truth) -> OpenInterest {
        let (venue, instrument) = &self.names[truth.venue];
        let contracts = Quantity::new(Decimal::new(truth.thousandths, 3)).unwrap();
        let mark_price = Price::new(Decimal::new((6_000_000.0 * self.price.exp()) as i64, 2)).unwrap();
        let interval_ms = VENUES[truth.venue].2 * MINUTE_MS;
        let event_time = EventTime::from_millis(truth.time_ms);
        OpenInterest {
            v: VERSION,
            id: OpenInterest::id_of(venue, instrument, truth.time_ms / interval_ms),
            venue: venue.clone(),
            instrument: instrument.clone(),
            base: self.base.clone(),
            contracts,
            coins: contracts,
            mark_price,
            notional_usd: Usd::round(mark_price.value() * contracts.value()).unwrap(),
            interval_ms: u32::try_from(interval_ms).unwrap(),
            event_time,
            received_at: ReceivedAt::unrecorded(event_time),
        }
    }
}
