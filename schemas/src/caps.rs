//! The bounds of the domain, in one place, each with what happens when it is reached.

/// Largest message on any stream, in bytes (design 3). A larger one is refused by [`crate::wire::encode`].
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Largest notional of one liquidation, in cents: 10 billion USD.
///
/// The largest single liquidation ever published is about 200 million USD, so anything above is a unit mistake of the
/// venue or ours and is refused as absurd. The bound also lets a window record keep its amount in five bytes.
pub const NOTIONAL_CENTS_MAX: i64 = 1_000_000_000_000;

/// Longest base or instrument name, in bytes. A longer one is refused.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest venue name, in bytes. A longer one is refused.
pub const VENUE_BYTES_MAX: usize = 32;
