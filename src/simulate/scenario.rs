//! Scenarios of open interest: something planted in the seeded market, in BTC, at a known time.

use std::{ops::Range, time::Duration};

use clap::ValueEnum;
use ingest::exchange::Exchange;
use serde::Serialize;

mod samples;

/// What is planted in the invented market. Each begins with 20 quiet minutes, and only BTC shows anything.
//
// The doc comments of the variants are the help of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Open interest rises by 20 % within 5 minutes on all three venues: an explosion
    Three,
    /// The same on Binance and Bybit: an explosion
    Two,
    /// The same on Bybit alone: no alert
    One,
    /// Open interest falls by 20 % within 5 minutes on all three venues: an explosion downwards
    Fall,
    /// The price rises by 20 % within 10 minutes and no position changes: no alert
    Price,
    /// Like two, but what Bybit publishes stands still from minute 10 on: no alert
    Stale,
    /// Like three, but OKX is down for 10 minutes from the middle of the rise: an explosion on the other two
    Down,
    /// Like one, and Binance shows five times the truth for 100 seconds: no alert
    Glitch,
}

const MINUTE_MS: i64 = 60_000;

/// When the event begins, since the start: after more than the shipped window of 15 min and its tolerance of two samples.
const EVENT_MS: i64 = 20 * MINUTE_MS;

/// How long open interest takes to move, and the price.
const INTEREST_RAMP_MS: i64 = 5 * MINUTE_MS;
const PRICE_RAMP_MS: i64 = 10 * MINUTE_MS;

/// How far they move, as a share: the shipped `change_pct` of BTC is 15.
const MOVE: f64 = 0.2;

/// When Bybit's open interest freezes, since the start.
const FROZEN_MS: i64 = 10 * MINUTE_MS;

/// When OKX is down, since the start: from the middle of the ramp.
const DOWN_MS: Range<i64> = 22 * MINUTE_MS + MINUTE_MS / 2..32 * MINUTE_MS + MINUTE_MS / 2;

/// The glitch begins with the first sampling slot of Binance this long after the start, and lies within it.
const GLITCH_MS: i64 = 26 * MINUTE_MS;
const GLITCH_LENGTH_MS: i64 = 100_000;
const GLITCH_SLOT_MS: i64 = 120_000;
const GLITCH_FACTOR: f64 = 5.0;

/// How long a scenario is: the window after the end of the event holds whatever it still shows.
const LENGTH_MS: i64 = 45 * MINUTE_MS;

/// Index of BTC in the assets.
const BTC: usize = 0;

impl Scenario {
    /// Returns its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Three => "three",
            Self::Two => "two",
            Self::One => "one",
            Self::Fall => "fall",
            Self::Price => "price",
            Self::Stale => "stale",
            Self::Down => "down",
            Self::Glitch => "glitch",
        }
    }

    /// Returns how long it is, in market time since the start. Afterwards the market goes on quietly.
    pub const fn length(self) -> Duration {
        // One length for all, so that a run of one can be laid beside another.
        Duration::from_millis(LENGTH_MS.unsigned_abs())
    }

    /// Returns the share by which the positions on `venue` change.
    const fn interest_move(self, venue: Exchange) -> f64 {
        let moves = match (self, venue) {
            (Self::Three | Self::Down | Self::Fall, Exchange::Binance | Exchange::Bybit | Exchange::Okx) => true,
            (Self::Two | Self::Stale, Exchange::Binance | Exchange::Bybit) => true,
            (Self::One | Self::Glitch, Exchange::Bybit) => true,
            (Self::Two | Self::Stale, Exchange::Okx) => false,
            (Self::One | Self::Glitch, Exchange::Binance | Exchange::Okx) => false,
            (Self::Price, Exchange::Binance | Exchange::Bybit | Exchange::Okx) => false,
        };
        match (moves, self) {
            (false, _) => 0.0,
            (true, Self::Fall) => -MOVE,
            (true, Self::Three | Self::Two | Self::One | Self::Price | Self::Stale | Self::Down | Self::Glitch) => MOVE,
        }
    }
}

/// A scenario at its place in market time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planted {
    pub(super) scenario: Scenario,
    /// Market time of its start, a whole second, in milliseconds since 1970 UTC.
    pub(super) start_ms: i64,
}

impl Planted {
    /// Returns by how much the true open interest of one side is multiplied, the glitch included.
    pub(super) fn interest_factor(self, venue: Exchange, asset: usize, at_ms: i64) -> f64 {
        if asset != BTC {
            return 1.0;
        }
        let glitch =
            if self.scenario == Scenario::Glitch && venue == Exchange::Binance && self.glitch_ms().contains(&at_ms) {
                GLITCH_FACTOR
            } else {
                1.0
            };
        glitch * (1.0 + self.scenario.interest_move(venue) * self.ramp(INTEREST_RAMP_MS, at_ms))
    }

    /// Returns by how much the price is multiplied.
    pub(super) fn price_factor(self, asset: usize, at_ms: i64) -> f64 {
        if asset == BTC && self.scenario == Scenario::Price {
            1.0 + MOVE * self.ramp(PRICE_RAMP_MS, at_ms)
        } else {
            1.0
        }
    }

    /// Returns the market time that the open interest published by `venue` at `at_ms` is of.
    pub(super) fn interest_ms(self, venue: Exchange, at_ms: i64) -> i64 {
        if self.scenario == Scenario::Stale && venue == Exchange::Bybit {
            at_ms.min(self.start_ms + FROZEN_MS)
        } else {
            at_ms
        }
    }

    /// Returns whether `venue` is down.
    pub(super) fn is_down(self, venue: Exchange, at_ms: i64) -> bool {
        self.scenario == Scenario::Down && venue == Exchange::Okx && DOWN_MS.contains(&(at_ms - self.start_ms))
    }

    /// Returns market time since the start, in milliseconds.
    pub(super) const fn elapsed_ms(self, at_ms: i64) -> i64 {
        at_ms - self.start_ms
    }

    /// Returns whether it is over.
    pub(super) const fn is_done(self, at_ms: i64) -> bool {
        self.elapsed_ms(at_ms) >= LENGTH_MS
    }

    /// Slots are counted from 1970, so the glitch is too: it never lies in two of them.
    const fn glitch_ms(self) -> Range<i64> {
        let slot = (self.start_ms + GLITCH_MS + GLITCH_SLOT_MS - 1).div_euclid(GLITCH_SLOT_MS);
        slot * GLITCH_SLOT_MS..slot * GLITCH_SLOT_MS + GLITCH_LENGTH_MS
    }

    /// Returns how much of a move of this length is done: 0 to 1.
    fn ramp(self, length_ms: i64, at_ms: i64) -> f64 {
        ((self.elapsed_ms(at_ms) - EVENT_MS) as f64 / length_ms as f64).clamp(0.0, 1.0)
    }
}
