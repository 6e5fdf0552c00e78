//! Everything against a real nats-server child in a folder of its own.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod connecting;
mod cursor;
mod durable;
mod leases;
mod log;
mod private_server;
mod publisher;
mod register;
mod rules;
mod service;
mod snapshots;
mod subscribers;
mod support;
mod topology;
