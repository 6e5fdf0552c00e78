//! The one task that moves market time and hands every venue's frames to its sockets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::info;

use ingest::exchange::Exchange;

use super::{
    Speed, binance, bybit,
    clock::{Clock, wall_ms},
    hub::{Item, Shared},
    okx,
    recording::{Frame, Recording},
};

/// How often the seeded market ticks, in milliseconds: the quickest companion, Bybit's ticker (`exchanges.md` C.1).
const TICK_MS: i64 = 100;

/// Seconds before the start whose frames may still be on their way.
const SECONDS_UNDERWAY: i64 = 2;

/// Market seconds the seeded player may be behind the wall clock, after the host slept. Beyond it they are skipped.
const SECONDS_BEHIND_MAX: i64 = 10;

/// Companion rounds of a recording come at every market second, but not more often than this in real time.
const ROUND_MIN: Duration = Duration::from_millis(1);

/// How long subscriptions must have been unchanged before a recording starts: a client may subscribe topic by topic.
const SETTLED: Duration = Duration::from_millis(300);

/// How long before the start of a recording its clock waits for subscribers, in milliseconds. After an hour it stands.
const LEAD_MS: i64 = 3_600_000;

/// How far the clock jumps past the end of a recording played at [`Speed::Max`], in milliseconds: past every window and
/// grace of the detector's liquidation rules as shipped.
const JUMP_MS: i64 = 120_000;

/// Stands for times beyond what a timer holds.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Plays the seeded market on the wall clock, for ever.
pub(super) async fn play_seed(shared: &Shared) {
    let mut agenda = BTreeMap::<(i64, u64), (Exchange, Item)>::new();
    let mut number = 0;
    let mut second = wall_ms().div_euclid(1000) - SECONDS_UNDERWAY;
    let first_second = second + SECONDS_UNDERWAY;
    loop {
        let behind = wall_ms().div_euclid(1000) - second;
        if behind > SECONDS_BEHIND_MAX {
            info!(seconds = behind, "simulated market skips what it slept through");
            second += behind;
        }
        for (at_ms, venue, item) in seed_second(shared, second) {
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
            sleep_until_wall(at_ms).await;
            if let Item::Liquidations(frame) = &item {
                shared.remember(venue, frame);
            }
            shared.hub(venue).send(item);
        }
    }
}

/// Returns everything that market second `second` causes, with the market time it happens at.
fn seed_second(shared: &Shared, second: i64) -> Vec<(i64, Exchange, Item)> {
    let forced = shared.market.second(second);
    let published = [
        (Exchange::Binance, binance::publish(&forced)),
        (Exchange::Bybit, bybit::publish(&forced)),
        (Exchange::Okx, okx::publish(&forced)),
    ];
    let frames = published.into_iter().flat_map(|(venue, frames)| {
        frames.into_iter().map(move |(at_ms, frame)| (at_ms, venue, Item::Liquidations(Arc::new(frame))))
    });
    let ticks = (0..1000 / TICK_MS).flat_map(|tick| {
        let at_ms = second * 1000 + tick * TICK_MS;
        Exchange::ALL.into_iter().map(move |venue| (at_ms, venue, Item::Tick(at_ms)))
    });
    frames.chain(ticks).collect()
}

async fn sleep_until_wall(at_ms: i64) {
    let left_ms = u64::try_from(at_ms - wall_ms()).unwrap_or(0);
    if left_ms > 0 {
        sleep(Duration::from_millis(left_ms)).await;
    }
}

/// Plays a recording of `venue`, then lets the clock go on, for ever.
///
/// The clock starts when `wait_subscribers` sockets are subscribed to the venue's liquidations.
pub(super) async fn play_recording(
    shared: &Shared,
    venue: Exchange,
    speed: Speed,
    recording: &Recording,
    wait_subscribers: usize,
) {
    let first = recording.frames.first().expect("a recording is not empty");
    let end_ms = recording.frames.iter().map(|frame| frame.sent_ms).fold(first.sent_ms, i64::max);
    let mut player = Player { shared, venue, speed, round_ms: i64::MIN, rounded_at: Instant::now() };
    if wait_subscribers > 0 {
        player.wait(wait_subscribers, first.ahead_ms).await;
    }
    info!(%venue, frames = recording.frames.len(), "recording starts");
    player.play(&recording.frames, first.ahead_ms).await;
    info!(%venue, "recording ended");
    player.go_on(end_ms).await;
}

struct Player<'a> {
    shared: &'a Shared,
    venue: Exchange,
    speed: Speed,
    /// Market time of the last companion round, in milliseconds.
    round_ms: i64,
    rounded_at: Instant,
}

impl Player<'_> {
    /// Waits for subscribers. Meanwhile the clock runs in the hour before the start, so that companions show that the
    /// sockets live.
    async fn wait(&mut self, wait_subscribers: usize, start_ms: i64) {
        let clock = Clock::Running { from_ms: start_ms - LEAD_MS, since: Instant::now(), speed: 1.0 };
        self.shared.clock.send_replace(clock);
        let mut sockets = self.shared.hub(self.venue).sockets.subscribe();
        loop {
            let enough = sockets.borrow_and_update().subscribed >= wait_subscribers;
            let patience = if enough { SETTLED } else { Duration::from_secs(1) };
            let changed = timeout(patience, sockets.changed()).await.is_ok();
            if enough && !changed {
                return;
            }
            if !changed {
                self.round(whole_second(self.shared.market_ms().min(start_ms))).await;
            }
        }
    }

    async fn play(&mut self, frames: &[Frame], start_ms: i64) {
        self.round_ms = whole_second(start_ms);
        let clock = match self.speed {
            Speed::Max => Clock::Standing(start_ms),
            Speed::Times(speed) => Clock::Running { from_ms: start_ms, since: Instant::now(), speed },
        };
        self.shared.clock.send_replace(clock);
        for frame in frames {
            self.companions_before(frame).await;
            self.shared.remember(self.venue, &frame.published);
            self.send(self.venue, Item::Liquidations(Arc::clone(&frame.published))).await;
            self.shared.playback.send_modify(|playback| {
                if let Some(playback) = playback {
                    playback.position += 1;
                    playback.done = playback.position == playback.frames;
                }
            });
        }
    }

    /// Sends the companion rounds that are due before `frame`, and waits for its time.
    async fn companions_before(&mut self, frame: &Frame) {
        let newest_ms = whole_second(frame.ahead_ms);
        match self.speed {
            Speed::Max => {
                if newest_ms > self.round_ms && self.rounded_at.elapsed() >= ROUND_MIN {
                    self.round(newest_ms).await;
                }
                self.shared.clock.send_replace(Clock::Standing(frame.sent_ms));
            }
            Speed::Times(speed) => {
                while self.next_round(speed) <= newest_ms {
                    self.next_companions(speed).await;
                }
                self.sleep_until_market(frame.sent_ms).await;
            }
        }
    }

    /// Moves market time on after the end.
    async fn go_on(&mut self, end_ms: i64) {
        let speed = match self.speed {
            Speed::Times(speed) => speed,
            Speed::Max => {
                let from_ms = end_ms + JUMP_MS;
                self.shared.clock.send_replace(Clock::Running { from_ms, since: Instant::now(), speed: 1.0 });
                self.round(whole_second(from_ms)).await;
                1.0
            }
        };
        loop {
            self.next_companions(speed).await;
        }
    }

    /// Returns the market time of the round after the last one: a whole second, and at least [`ROUND_MIN`] later.
    fn next_round(&self, speed: f64) -> i64 {
        let step = (speed * ROUND_MIN.as_secs_f64()).ceil().max(1.0) as i64;
        self.round_ms.saturating_add(step.saturating_mul(1000))
    }

    async fn next_companions(&mut self, speed: f64) {
        let next_ms = self.next_round(speed);
        self.sleep_until_market(next_ms).await;
        self.round(next_ms).await;
    }

    async fn round(&mut self, now_ms: i64) {
        for venue in Exchange::ALL {
            self.send(venue, Item::Tick(now_ms)).await;
        }
        (self.round_ms, self.rounded_at) = (now_ms, Instant::now());
    }

    async fn send(&self, venue: Exchange, item: Item) {
        let hub = self.shared.hub(venue);
        match self.speed {
            Speed::Max if venue == self.venue => hub.send_waiting(item).await,
            Speed::Max | Speed::Times(_) => hub.send(item),
        }
    }

    async fn sleep_until_market(&self, at_ms: i64) {
        let clock = *self.shared.clock.borrow();
        match clock {
            Clock::Running { from_ms, since, speed } => {
                let passed = (at_ms - from_ms).max(0) as f64 / 1000.0 / speed;
                let passed = Duration::try_from_secs_f64(passed).unwrap_or(NEVER);
                sleep_until(since + passed).await;
            }
            Clock::Wall | Clock::Standing(_) => {}
        }
    }
}

const fn whole_second(ms: i64) -> i64 {
    ms.div_euclid(1000) * 1000
}
