//! Liquidations and open interest of Binance USD-M, Bybit linear and OKX swaps: pure parsing beside a thin WebSocket client.
//!
//! The pure part turns a venue's raw bytes into `schemas` events and has no clock: [`normalize::Normalizer`] serves the
//! sockets, the `normalize` command and `replay --file` alike. The shell ([`run::run`]) keeps each venue's channels
//! connected and hands what it hears, in socket order, to a bounded channel. This crate has never heard of a broker.

pub mod account;
pub mod channel;
pub mod config;
pub mod exchange;
pub mod instruments;
pub mod monitor;
pub mod normalize;
pub mod okx;
pub mod open_interest;
pub mod run;

mod alive;
mod backfill;
mod backoff;
mod binance;
mod bybit;

mod feed;
mod follow;
mod metadata;
mod reading;
mod recent;
mod refusals;
mod rest;
mod session;
mod skew;
mod socket;
mod subscription;
mod task;
