//! What a socket is for: each venue has one for liquidations and one for open interest, apart from each other, so that
//! neither a flood of tickers nor a refused topic touches liquidations.

/// A channel of a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Forced liquidations.
    Liquidations,
    /// Open interest.
    OpenInterest,
}

impl Channel {
    /// Returns the name feed events carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liquidations => "liquidation",
            Self::OpenInterest => "open_interest",
        }
    }
}
