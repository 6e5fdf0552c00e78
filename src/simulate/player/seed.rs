//! The player of the seeded market.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;
use tracing::info;

use ingest::exchange::Exchange;

use super::{
    super::{
        binance, bybit,
        clock::Clock,
        fault::Action,
        hub::{Item, Shared},
        okx,
    },
    round_step_ms, wait,
};

/// How often the seeded market ticks in real time, in milliseconds: the quickest companion, Bybit's ticker
/// (`exchanges.md` C.1). An accelerated one ticks with the companion rounds of a recording.
const TICK_MS: i64 = 100;

/// Seconds before the start whose frames may still be on their way.
const SECONDS_UNDERWAY: i64 = 2;

/// Seconds of real time the player may be behind the market clock, after the host slept. Market seconds beyond it are
/// skipped.
const BEHIND_MAX_SECONDS: f64 = 10.0;

/// Plays the seeded market at `speed` times real time, for ever.
///
/// Where there is anybody to wait for, its clock starts at `start_ms` when `wait_subscribers` sockets are subscribed to
/// the liquidations of each venue.
pub(in super::super) async fn play_seed(shared: &Shared, speed: f64, start_ms: i64, wait_subscribers: usize) {
    if wait_subscribers > 0 {
        wait(shared, &Exchange::ALL, wait_subscribers, start_ms).await;
        shared.clock.send_replace(Clock::Running { from_ms: start_ms, since: Instant::now(), speed });
        info!("simulated market starts");
    }
    let tick_ms = if speed > 1.0 { round_step_ms(speed) } else { TICK_MS };
    let behind_max = (BEHIND_MAX_SECONDS * speed.max(1.0)) as i64;
    let mut agenda = BTreeMap::<(i64, u64), (Exchange, Item)>::new();
    let mut number = 0;
    let first_second = shared.market_ms().div_euclid(1000);
    let mut second = first_second - SECONDS_UNDERWAY;
    loop {
        let behind = shared.market_ms().div_euclid(1000) - second;
        if behind > behind_max {
            info!(seconds = behind, "simulated market skips what it slept through");
            second += behind;
        }
        for (at_ms, venue, item) in seed_second(shared, second, tick_ms) {
            number += 1;
            agenda.insert((at_ms, number), (venue, item));
        }
        second += 1;
        // What the next second causes comes after its start, so all before that is complete.
        let later = agenda.split_off(&(second * 1000, 0));
        for ((at_ms, _), (venue, item)) in std::mem::replace(&mut agenda, later) {
            if at_ms < first_second * 1000 {
                continue;
            }
            shared.sleep_until_market(at_ms).await;
            if let Item::Liquidations(frame) = &item {
                shared.remember(venue, frame);
            }
            shared.hub(venue).send(item);
        }
    }
}

/// Returns everything that market second `second` causes, with the market time it happens at.
fn seed_second(shared: &Shared, second: i64, tick_ms: i64) -> Vec<(i64, Exchange, Item)> {
    let (start_ms, end_ms) = (second * 1000, (second + 1) * 1000);
    // In every second of it, so that a socket which was just being opened goes too.
    let cuts = Exchange::ALL
        .into_iter()
        .filter(|venue| shared.market.is_down(*venue, start_ms))
        .map(|venue| (start_ms, venue, Item::Action(Action::Disconnect)));
    let forced = shared.market.second(second);
    let published = [
        (Exchange::Binance, binance::publish(&forced)),
        (Exchange::Bybit, bybit::publish(&forced)),
        (Exchange::Okx, okx::publish(&forced)),
    ];
    let frames = published.into_iter().flat_map(|(venue, frames)| {
        frames.into_iter().map(move |(at_ms, frame)| (at_ms, venue, Item::Liquidations(Arc::new(frame))))
    });
    let (first, end) = ((start_ms + tick_ms - 1).div_euclid(tick_ms), (end_ms + tick_ms - 1).div_euclid(tick_ms));
    let ticks = (first..end)
        .map(|tick| tick * tick_ms)
        .flat_map(|at_ms| Exchange::ALL.into_iter().map(move |venue| (at_ms, venue, Item::Tick(at_ms))));
    cuts.chain(frames).chain(ticks).collect()
}
