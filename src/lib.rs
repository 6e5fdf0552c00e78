//! Foreshock: early warning of liquidation cascades and open-interest explosions on crypto futures venues.
//!
//! This is where the crates meet: it reads the configuration, joins venues, broker, detector and sinks, and shuts them
//! down. `docs/architecture.md` has the picture.

pub mod chart;
pub mod cli;
pub mod config;
pub mod run;
pub mod simulate;

mod exit;
mod history;
mod logging;
mod signal;
mod validate;

pub use exit::ExitCode;
