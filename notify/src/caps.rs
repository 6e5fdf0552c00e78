//! The bounds of delivery, in one place, each with its source and what happens when it is reached.

use std::time::Duration;

/// Age at which an alert is no news any more (design 5). An older one is `expired`; off in a recorded market.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(120);

/// One message per base and kind in this span of event time (design 5). What comes earlier is `held:five_minutes`.
pub const REPEAT_AFTER: Duration = Duration::from_secs(300);

/// Longest `ALERT_RATE_LIMIT_SECONDS`. A longer one is refused; a [`crate::decide::History`] remembers this long.
pub const RATE_LIMIT_MAX: Duration = Duration::from_secs(3600);

/// Alerts known to be decided. An older one that ALERTS delivers again is decided again: it is past its time to live.
pub const DECIDED_MAX: usize = 10_000;

/// Alerts with some deliveries stored but not their decision: a crash leaves one, redelivery out of order a few. Beyond it
/// the oldest is forgotten, and its recipients are decided again.
pub const UNFINISHED_MAX: usize = 64;

/// Deliveries waiting in the outbox. Beyond it the oldest of the lowest priority ends as `failed:overflow`.
pub const PENDING_MAX: usize = 10_000;

/// Deliveries known to be finished, so that an intent stored twice is sent once. Beyond it the oldest is forgotten.
pub const FINISHED_MAX: usize = 10_000;

/// Calls under way at once; more wait. Small, because the server answers an excess with a minute's hold (telegram.md 3).
pub const IN_FLIGHT_MAX: usize = 16;

/// Attempts at one delivery (design 5). After the last it has failed.
pub const ATTEMPTS_MAX: u32 = 3;

/// Waits after the first and the second attempt, unless the answer names another (design 5).
pub const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// Longest wait taken from an answer; a longer one is cut to it. The longest seen is 237 s (telegram.md 3).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Wait when an answer says "too many requests" and names none.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// All sending rests this long after a refused token, so that a revoked one is not hammered (telegram.md 4).
pub const UNAUTHORIZED_REST: Duration = Duration::from_secs(60);

/// Messages to one chat in [`CHAT_PERIOD`]; more wait (telegram.md 3: about one a second).
pub const CHAT_LIMIT: usize = 1;
/// See [`CHAT_LIMIT`].
pub const CHAT_PERIOD: Duration = Duration::from_secs(1);

/// Messages to one group or channel in [`GROUP_PERIOD`]; more wait (telegram.md 3).
pub const GROUP_LIMIT: usize = 20;
/// See [`GROUP_LIMIT`].
pub const GROUP_PERIOD: Duration = Duration::from_secs(60);

/// Messages a second over all chats with a token of our own; more wait (design 5).
pub const OVERALL_LIMIT: usize = 30;
/// Messages a second over all chats with a token that another program uses too; more wait (design 5).
pub const OVERALL_LIMIT_SHARED: usize = 15;

/// Time for a connection to the Bot API. Then the call was certainly not made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole call of the Bot API. Then nobody knows whether it was made.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer read; a message of 4,096 characters comes back in about 30 KiB. A longer answer counts as truncated.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// UTF-16 units of a message (telegram.md 6, which allows 4,096 after parsing; counted before, which is more).
pub const TEXT_UNITS_MAX: usize = 4095;

/// Units of the plain text that replaces one Telegram could not take; whole lines beyond it are left out.
pub const FALLBACK_UNITS_MAX: usize = 1024;

/// Names listed in the small line; the rest is counted (`+4 more`).
pub const LISTED_MAX: usize = 8;
