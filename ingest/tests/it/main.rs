//! The ingest from outside: the frames of the fact sheet, the recordings, arbitrary bytes, and feeds against local
//! servers.
#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests may")]

mod frames;
mod live;
mod open_interest;
mod recordings;
mod robustness;
mod server;
mod venues;
