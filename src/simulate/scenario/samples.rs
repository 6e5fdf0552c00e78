//! What an ideal ingest would sample of a scenario.

use ingest::exchange::Exchange;
use schemas::{
    amount::{Price, Quantity, Usd},
    market::{OpenInterest, VERSION},
    name::Instrument,
    time::{EventTime, ReceivedAt},
};

use super::{
    super::{
        binance, bybit,
        market::{ASSETS, Market},
        okx::{self, Contract},
    },
    BTC, LENGTH_MS, Planted, Scenario,
};

/// When the sampled market starts, in milliseconds since 1970 UTC: a slot of every venue begins there.
const START_MS: i64 = 1_795_000_080_000;

/// How often a venue is sampled when three bases are collected: Binance by REST within its budget, the others from their
/// streams.
const fn interval_ms(venue: Exchange) -> u32 {
    match venue {
        Exchange::Binance => 120_000,
        Exchange::Bybit | Exchange::Okx => 60_000,
    }
}

impl Scenario {
    /// Returns what an ideal ingest would sample of this scenario in the market of `seed`: the USDT perpetual of BTC on
    /// the three venues, the first value of each slot (120 s on Binance, 60 s on the others), by event time, then venue.
    ///
    /// The market starts at a fixed time, so the same arguments give the same samples; `received_at` is the event time.
    /// A venue that is down gives none. A figure that stands still while its venue's clock goes on, which is how Bybit
    /// freezes, is sampled again and again.
    pub fn samples(self, seed: u64) -> Vec<OpenInterest> {
        let planted = Planted { scenario: self, start_ms: START_MS };
        let market = Market::with_scenario(seed, planted);
        let mut samples: Vec<_> = Exchange::ALL
            .into_iter()
            .flat_map(|venue| {
                let slots = (START_MS..START_MS + LENGTH_MS).step_by(interval_ms(venue) as usize);
                let market = &market;
                slots
                    .filter(move |at_ms| !planted.is_down(venue, *at_ms))
                    .map(move |at_ms| sample(market, venue, at_ms))
            })
            .collect();
        samples.sort_by_key(|sample| sample.event_time);
        samples
    }
}

fn sample(market: &Market, venue: Exchange, at_ms: i64) -> OpenInterest {
    let interest_ms = market.interest_ms(venue, at_ms);
    let base = ASSETS[BTC].base;
    let (name, contracts, coins, mark_price) = match venue {
        Exchange::Binance => {
            let coins = binance::coins(market, BTC, interest_ms);
            (format!("{base}USDT"), coins.clone(), coins, binance::mark_price(market, BTC, at_ms))
        }
        Exchange::Bybit => {
            let coins = bybit::single_coins(market, BTC, interest_ms);
            (format!("{base}USDT"), coins.clone(), coins, bybit::price(market, BTC, at_ms))
        }
        Exchange::Okx => {
            let name = format!("{base}-USDT-SWAP");
            let listed = okx::instruments();
            let contract =
                listed.row(&name).and_then(Contract::of).expect("the built-in swap of BTC has a contract value");
            let interest = okx::Interest::at(market, BTC, contract, interest_ms);
            (name, interest.contracts, interest.coins, okx::mark_price(market, BTC, at_ms))
        }
    };
    let quantity =
        |text: &str| text.parse::<Quantity>().expect("open interest of an asset is positive and has few digits");
    let (contracts, coins) = (quantity(&contracts), quantity(&coins));
    let mark_price: Price = mark_price.parse().expect("prices of an asset are positive and have few digits");
    let (venue_name, instrument) =
        (venue.venue(), name.parse::<Instrument>().expect("the names of the venues are instrument names"));
    let interval_ms = interval_ms(venue);
    OpenInterest {
        v: VERSION,
        id: OpenInterest::id_of(&venue_name, &instrument, at_ms.div_euclid(interval_ms.into())),
        venue: venue_name,
        instrument,
        base: base.parse().expect("the names of the assets are base names"),
        contracts,
        coins,
        mark_price,
        notional_usd: Usd::round(mark_price.value() * coins.value()).expect("billions of dollars are within an amount"),
        interval_ms,
        event_time: EventTime::from_millis(at_ms),
        received_at: ReceivedAt::unrecorded(EventTime::from_millis(at_ms)),
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::{Decimal, prelude::ToPrimitive};

    use super::*;

    /// Returns the change in contracts that `venue` shows between two minutes of a scenario, as a share.
    fn change(scenario: Scenario, venue: Exchange, from_minute: i64, to_minute: i64) -> f64 {
        let samples = scenario.samples(1);
        let at = |minute: i64| -> Decimal {
            let at_ms = START_MS + minute * 60_000;
            let is_it =
                |sample: &&OpenInterest| sample.venue == venue.venue() && sample.event_time.as_millis() <= at_ms;
            samples.iter().rfind(is_it).unwrap().contracts.value()
        };
        (at(to_minute) / at(from_minute) - Decimal::ONE).to_f64().unwrap()
    }

    fn changes(scenario: Scenario, from_minute: i64, to_minute: i64) -> [i64; 3] {
        Exchange::ALL.map(|venue| (change(scenario, venue, from_minute, to_minute) * 100.0).round() as i64)
    }

    #[test]
    fn every_scenario_moves_the_venues_it_names() {
        for (scenario, want) in [
            (Scenario::Three, [20, 20, 20]),
            (Scenario::Two, [20, 20, 0]),
            (Scenario::One, [0, 20, 0]),
            (Scenario::Fall, [-20, -20, -20]),
            (Scenario::Price, [0, 0, 0]),
            (Scenario::Stale, [20, 0, 0]),
            (Scenario::Down, [20, 20, 9]),
            (Scenario::Glitch, [0, 20, 0]),
        ] {
            let got = changes(scenario, 18, 28);
            let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() <= 2);
            assert!(near, "{scenario:?}: {got:?}");
        }
    }

    #[test]
    fn without_the_event_open_interest_is_far_below_any_rule() {
        for seed in 0..50 {
            let samples = Scenario::Price.samples(seed);
            for venue in Exchange::ALL {
                let contracts: Vec<f64> = samples
                    .iter()
                    .filter(|sample| sample.venue == venue.venue())
                    .map(|sample| sample.contracts.value().to_f64().unwrap())
                    .collect();
                let (least, most) =
                    contracts.iter().fold((f64::MAX, 0.0_f64), |(l, m), one| (l.min(*one), m.max(*one)));
                assert!(most / least < 1.05, "{seed} {venue} {least} {most}");
            }
        }
    }

    #[test]
    fn the_price_moves_in_one_scenario_only() {
        for scenario in [Scenario::Price, Scenario::Three] {
            let samples = scenario.samples(1);
            let price = |minute: i64| {
                let at = EventTime::from_millis(START_MS + minute * 60_000);
                samples.iter().find(|sample| sample.event_time == at).unwrap().mark_price.value().to_f64().unwrap()
            };
            let moved = price(32) / price(18) > 1.15;
            assert_eq!(moved, scenario == Scenario::Price);
        }
    }

    #[test]
    fn a_venue_that_is_down_gives_no_samples() {
        let samples = Scenario::Down.samples(1);
        let of = |venue: Exchange| samples.iter().filter(|sample| sample.venue == venue.venue()).count();
        assert_eq!(Exchange::ALL.map(of), [23, 45, 35]);
    }

    #[test]
    fn the_glitch_is_one_sample_for_every_phase_of_the_poller() {
        let planted = Planted { scenario: Scenario::Glitch, start_ms: START_MS + 37_000 };
        let market = Market::with_scenario(1, planted);
        for phase_ms in (0..120_000).step_by(1000) {
            let glitches = (0..22)
                .map(|slot| START_MS + slot * 120_000 + phase_ms)
                .filter(|at_ms| market.open_interest(Exchange::Binance, BTC, *at_ms) > 100_000.0)
                .count();
            assert_eq!(glitches, usize::from(phase_ms < 100_000), "{phase_ms}");
        }
    }

    #[test]
    fn samples_follow_from_scenario_and_seed() {
        let samples = Scenario::Three.samples(3);
        assert_eq!(samples, Scenario::Three.samples(3));
        assert_ne!(samples, Scenario::Three.samples(4));
        assert!(samples.is_sorted_by_key(|sample| sample.event_time));
        let okx = samples.iter().find(|sample| sample.venue == Exchange::Okx.venue()).unwrap();
        let ratio = (okx.contracts.value() / okx.coins.value()).to_f64().unwrap();
        assert!((ratio - 100.0).abs() < 1e-6, "{ratio}");
    }
}
