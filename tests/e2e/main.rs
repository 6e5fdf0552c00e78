//! The program as its users run it: real processes, a real nats-server, the simulated venues and Bot API.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chaos;
mod commands;
mod faults;
mod pipeline;
mod recordings;
mod support;
mod up;
mod workers;
