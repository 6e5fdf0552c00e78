//! The program as its users run it: real processes, a real nats-server, the simulated venues and Bot API.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod canary;
mod chaos;
mod commands;
mod conversation;
mod day;
mod delivery;
mod faults;
mod feeds;
mod history;
mod http;
mod market_data;
mod open_interest;
mod permissions;
mod pipeline;
mod recordings;
mod subscribers;
mod support;
mod tls;
mod up;
mod workers;
