//! The bounds of delivery, in one place, each with its source and what happens when it is reached.

use std::time::Duration;

/// Age at which an alert is no news any more (design 5). An older one is `expired`; off in a recorded market.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(120);

/// One message per base and kind in this span of event time (design 5). What comes earlier is `held:five_minutes`.
pub const REPEAT_AFTER: Duration = Duration::from_secs(300);

/// Longest `ALERT_RATE_LIMIT_SECONDS`. A longer one is refused; a [`crate::decide::History`] remembers this long.
pub const RATE_LIMIT_MAX: Duration = Duration::from_secs(3600);

/// New messages to a chat in this span of event time are counted (design 5).
pub const HOUR: Duration = Duration::from_secs(3600);

/// New messages in [`HOUR`] at which an alert of low, medium or high priority is `held:hour` (design 5).
pub const HOURLY: [usize; 3] = [6, 8, 10];

/// Least event time between two replies of one thread to one chat (design 5). What comes earlier is an edit.
pub const REPLY_AFTER: Duration = Duration::from_secs(60);

/// A thread without a message or edit for this long of event time is over: what comes then is told anew.
pub const THREAD_AGE: Duration = Duration::from_secs(3600);

/// Threads remembered a chat. Beyond it the one that was silent longest is forgotten, and told anew if it goes on.
pub const THREADS_MAX: usize = 16;

/// Pairs of base and kind a digest names; what is held beyond them is only counted ("and 7 more").
pub const HELD_MAX: usize = 32;

/// Pairs of base and kind a digest lists, so that it fits a phone's screen; the rest is counted.
pub const DIGEST_LISTED_MAX: usize = 12;

/// What is held waits this long for company before a digest tells it: a storm of a quarter of an hour is one digest.
pub const DIGEST_DELAY: Duration = Duration::from_secs(900);

/// Least time between two digests to one chat (design 5).
pub const DIGEST_AFTER: Duration = Duration::from_secs(3600);

/// How long after the first of it what a digest named that never arrived is told in the next one; then it is no news.
pub const HELD_AGE: Duration = Duration::from_secs(24 * 3600);

/// Time to live of a digest: less than [`DIGEST_AFTER`], so that what it named is held again before the next one is made.
pub const DIGEST_TIME_TO_LIVE: Duration = Duration::from_secs(1800);

/// Digests made at once; more are made a second later, so that they keep nothing else waiting.
pub const DIGESTS_MAX: usize = 100;

/// Recipients a decision leaves out of its edit, so that it stays under 64 KB; beyond it the rest see the edit too, which
/// makes no sound.
pub const EXCEPT_MAX: usize = 500;

/// A recipient that Telegram refused is tried again with the next high alert after this long, where a shared token lets
/// nobody tell us that it is back (design 5).
pub const TRIAL_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Moves of a group that are followed; a longer chain is a mistake and ends there.
pub const MOVES_MAX: usize = 8;

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

/// Longest rest of all sending between two looks whether the Bot API is there again. An attempt that made no connection is
/// none of the three: the message waits, and its time to live ends it.
pub const UNREACHABLE_REST_MAX: Duration = Duration::from_secs(16);

/// Time to live of an answer to a command: later it is no answer to anybody.
pub const ANSWER_TIME_TO_LIVE: Duration = Duration::from_secs(600);

/// Time to live of notices to operators.
pub const NOTE_TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// How long after its message a chart is still of use: last in the queue, and then it is dropped as expired.
pub const PICTURE_TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// Calls at once over all chats; the limit of a second is spread over it in steps of so many.
pub const BURST: usize = 3;

/// Edits a second over all chats (design 5); more wait, and only the newest of a message is made.
pub const EDIT_LIMIT: usize = 10;

/// Edits to one group in [`GROUP_PERIOD`], of its [`GROUP_LIMIT`] (telegram.md 7).
pub const GROUP_EDIT_LIMIT: usize = 8;

/// Least time between two edits of one message at first; it doubles with every edit (telegram.md 7).
pub const EDIT_AFTER: Duration = Duration::from_secs(3);
/// Longest time between two edits of one message that goes on growing. The last edit does not wait for it.
pub const EDIT_AFTER_MAX: Duration = Duration::from_secs(40);

/// How long an edit is tried; what is older is shown to nobody any more and is dropped.
pub const EDIT_TIME_TO_LIVE: Duration = Duration::from_secs(600);

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

/// How long a call for updates is held while there are none; Telegram allows 50 s (telegram.md 8).
pub const POLL_TIMEOUT: Duration = Duration::from_secs(25);

/// Updates in one answer, and bytes of it that are read: ten messages of 4,096 characters that each reply to another. A
/// longer answer counts as truncated, and is asked for again with one update only.
pub const UPDATES_MAX: usize = 10;
/// See [`UPDATES_MAX`].
pub const UPDATES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Updates known to be carried out. Telegram keeps updates for a day (telegram.md 8), and asks again only for those that
/// were not confirmed: one answer's worth. Beyond it the oldest is forgotten.
pub const UPDATES_DONE_MAX: usize = 10_000;

/// Chats known to have been told that they may not use commands. Beyond it the oldest is forgotten, and told again.
pub const STRANGERS_MAX: usize = 10_000;

/// How long somebody is taken for an administrator without asking again, so that a button pressed often costs one call.
pub const ADMIN_AGE_MAX: Duration = Duration::from_secs(60);

/// UTF-16 units of a message (telegram.md 6, which allows 4,096 after parsing; counted before, which is more).
pub const TEXT_UNITS_MAX: usize = 4095;

/// Units of the plain text that replaces one Telegram could not take; whole lines beyond it are left out.
pub const FALLBACK_UNITS_MAX: usize = 1024;

/// Names listed in the small line; the rest is counted (`+4 more`).
pub const LISTED_MAX: usize = 8;

/// Channels of venues watched for operators: three venues with two each, and room. Further ones are not watched.
pub const FEEDS_MAX: usize = 64;

/// Ingests of which a watched channel remembers what they said. Beyond it the one that spoke longest ago is forgotten.
pub const INSTANCES_MAX: usize = 16;

/// Notices waiting to be taken: more than one event can make. Beyond it the oldest is forgotten.
pub const NOTICES_MAX: usize = 256;

/// Base assets in a list of one chat, and bases with thresholds of its own. More are refused.
pub const BASES_MAX: usize = 64;

/// Mutes of one chat at once. One more is refused.
pub const MUTES_MAX: usize = 32;

/// Longest mute: 30 days. A longer one is refused; who wants it unsubscribes.
pub const MUTE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest span `/history` looks back: DELIVERIES keeps 30 days (design 3). A longer one is refused.
pub const HISTORY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Span of `/liquidations`: what MARKET tells of the last minutes.
pub const LIQUIDATIONS_SPAN: Duration = Duration::from_secs(15 * 60);

/// Alerts read for `/alerts`, newest first: a long cascade alone makes dozens.
pub const RECENT_READ: usize = 64;

/// Rows of a list in an answer; the rest is counted.
pub const ROWS_MAX: usize = 8;

/// Lines of an explanation in an answer, and characters of each; the rest is left out.
pub const EXPLANATION_LINES_MAX: usize = 30;
/// See [`EXPLANATION_LINES_MAX`].
pub const EXPLANATION_CHARS_MAX: usize = 200;

/// Characters of what a pressed button answers with (telegram.md 9). The rest is cut.
pub const TOAST_CHARS_MAX: usize = 200;

/// Bytes of a command: Telegram takes 4,096 characters, and no command needs as much. A longer one is refused.
pub const COMMAND_BYTES_MAX: usize = 1024;
