//! The detector: pure, synchronous, deterministic.
//!
//! [`detector::Detector`] is a fold over MARKET: one event in, alerts out. It has no clock, no I/O, no randomness and no
//! hash order, so the same log gives the same alerts, live, after any crash, and in a replay a year later.
//!
//! The call order is: [`detector::Detector::handle_event`] with every event of MARKET in its stored order, then
//! [`detector::Detector::poll_output`] until it returns nothing.

pub mod coverage;
pub mod detector;
pub mod rules;

mod episode;
mod open_interest;
mod record;
mod window;
