//! The facts of foreshock: events, ids, amounts, times, their wire format, and the names of streams and subjects.
//!
//! This crate has no clock, no I/O and no randomness. An event is immutable and complete; its id is a function of what
//! was reported, never of when or by whom it was heard. Nobody else spells a subject, a stream name or a header.

pub mod alert;
pub mod amount;
pub mod caps;
pub mod delivery;
pub mod id;
#[cfg(test)]
mod json_schema;
pub mod market;
pub mod name;
pub mod position;
pub mod secret;
pub mod subject;
pub mod subscriber;
pub mod time;
pub mod wire;
