//! Small charts that follow an alert: liquidations by side and venue, open interest by venue.
//!
//! A model is made of events and values alone; [`Liquidations::png`] and [`Interest::png`] draw it. Equal models give
//! equal bytes. Drawing takes some milliseconds of processor time and holds the picture (1.1 MB) until it is encoded.

mod bars;
mod canvas;
mod interest;
mod lines;
mod liquidations;
#[cfg(test)]
mod samples;
mod style;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    canvas::Canvas,
    style::{ALERT, FONT, GRID, LINES, RULE, clock, minutes},
};
pub use self::{interest::Interest, liquidations::Liquidations};

/// A chart cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart cannot be drawn: {0}")]
pub struct DrawError(String);

impl<E: std::error::Error + Send + Sync> From<plotters::drawing::DrawingAreaErrorKind<E>> for DrawError {
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

impl From<png::EncodingError> for DrawError {
    fn from(error: png::EncodingError) -> Self {
        Self(error.to_string())
    }
}
