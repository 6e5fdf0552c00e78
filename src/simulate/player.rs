//! The one task that moves market time and hands every venue's frames to its sockets.

use std::{sync::Arc, time::Duration};

use futures_util::future::select_all;
use tokio::time::{Instant, timeout};
use tracing::info;

use ingest::exchange::Exchange;

use super::{
    Speed,
    clock::Clock,
    hub::{Item, Shared},
    recording::{Frame, Recording},
};

mod seed;

pub(super) use seed::play_seed;

/// Companion rounds of a recording or an accelerated market come at every market second, but not more often than this in real time.
const ROUND_MIN: Duration = Duration::from_millis(1);

/// How long subscriptions must have been unchanged before a market starts: a client may subscribe topic by topic.
const SETTLED: Duration = Duration::from_millis(300);

/// How long before the start of a market its clock waits for subscribers, in milliseconds. After an hour it stands.
const LEAD_MS: i64 = 3_600_000;

/// How far the clock jumps past the end of a recording played at [`Speed::Max`], in milliseconds: past every window and
/// grace of the detector's liquidation rules as shipped.
const JUMP_MS: i64 = 120_000;

/// Returns the clock of a recording before it is played.
pub(super) fn before_recording(recording: &Recording) -> Clock {
    before(first(recording).ahead_ms)
}

/// Returns the clock of a market before it starts at `start_ms`.
pub(super) const fn before(start_ms: i64) -> Clock {
    Clock::Standing(start_ms - LEAD_MS)
}

fn first(recording: &Recording) -> &Frame {
    recording.frames.first().expect("a recording is not empty")
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
    let first = first(recording);
    let end_ms = recording.frames.iter().map(|frame| frame.sent_ms).fold(first.sent_ms, i64::max);
    let mut player = Player { shared, venue, speed, round_ms: i64::MIN, rounded_at: Instant::now() };
    if wait_subscribers > 0 {
        wait(shared, &[venue], wait_subscribers, first.ahead_ms).await;
    }
    info!(%venue, frames = recording.frames.len(), "recording starts");
    player.play(&recording.frames, first.ahead_ms).await;
    info!(%venue, "recording ended");
    player.go_on(end_ms).await;
}

/// Waits until each of `venues` has subscribers. Meanwhile the clock runs in the hour before the start, and companions show
/// that the sockets of every venue live.
async fn wait(shared: &Shared, venues: &[Exchange], wait_subscribers: usize, start_ms: i64) {
    let clock = Clock::Running { from_ms: start_ms - LEAD_MS, since: Instant::now(), speed: 1.0 };
    shared.clock.send_replace(clock);
    let mut sockets: Vec<_> = venues.iter().map(|venue| shared.hub(*venue).sockets.subscribe()).collect();
    loop {
        // Every one is looked at, so that only what changes from here on is a change.
        let fewest = sockets.iter_mut().map(|sockets| sockets.borrow_and_update().subscribed).min();
        let enough = fewest.is_some_and(|fewest| fewest >= wait_subscribers);
        let patience = if enough { SETTLED } else { Duration::from_secs(1) };
        let changes = select_all(sockets.iter_mut().map(|sockets| Box::pin(sockets.changed())));
        let changed = timeout(patience, changes).await.is_ok();
        if enough && !changed {
            return;
        }
        if !changed {
            let now_ms = whole_second(shared.market_ms().min(start_ms));
            Exchange::ALL.into_iter().for_each(|venue| shared.hub(venue).send(Item::Tick(now_ms)));
        }
    }
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
                self.shared.sleep_until_market(frame.sent_ms).await;
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
        self.round_ms.saturating_add(round_step_ms(speed))
    }

    async fn next_companions(&mut self, speed: f64) {
        let next_ms = self.next_round(speed);
        self.shared.sleep_until_market(next_ms).await;
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
}

/// Returns the market time between companion rounds at a speed, in milliseconds: whole seconds, and at least
/// [`ROUND_MIN`] of real time.
fn round_step_ms(speed: f64) -> i64 {
    let seconds = (speed * ROUND_MIN.as_secs_f64()).ceil().max(1.0) as i64;
    seconds.saturating_mul(1000)
}

const fn whole_second(ms: i64) -> i64 {
    ms.div_euclid(1000) * 1000
}
