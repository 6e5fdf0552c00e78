//! The wire format: pinned bytes, the JSON of the contract, pinned ids, and codec properties.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers outside #[test] included")]

mod fixtures;
mod ids;
mod properties;
mod samples;
