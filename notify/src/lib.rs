//! Delivery: pure decisions and texts beside thin sinks.
//!
//! This crate knows neither NATS nor a clock of its own. The root joins it with the streams:
//!
//! 1. for each alert of ALERTS, in order: [`decider::Decider::decide`], store every event it returns in DELIVERIES in that
//!    order, give each to [`decider::Decider::handle_event`], then acknowledge the alert;
//! 2. for each event of DELIVERIES, in order and once: [`outbox::Outbox::handle_event`]; store what
//!    [`outbox::Outbox::poll`] asks to record, make the calls it asks for and hand their results back.
//!
//! A crash anywhere repeats work: both state machines are folds of DELIVERIES.

pub mod buttons;
pub mod canary;
pub mod caps;
pub mod commands;
pub mod decide;
pub mod decider;
pub mod failure;
pub mod feeds;
pub mod outbox;
mod recent;
pub mod recipient;
#[cfg(test)]
mod samples;
pub mod subscribers;
pub mod telegram;
pub mod terminal;
pub mod text;
pub mod time;
