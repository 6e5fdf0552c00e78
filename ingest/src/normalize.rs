//! From a venue's raw frame to events: pure, and the same for sockets, `normalize` and `replay --file`.

use std::{fmt, time::Duration};

use schemas::{
    amount::InvalidAmount,
    market::{Liquidation, PriceKind},
    time::{EventTime, ReceivedAt},
};
use serde::Serialize;

use crate::{
    binance, bybit,
    config::Bases,
    exchange::Exchange,
    instruments::Instruments,
    okx,
    open_interest::quote::Quote,
    reading::{Limits, Ordinals, Reading},
};

/// Largest frame that is read, in bytes. The largest real ones are a few kilobytes; a larger one is refused whole as
/// `oversized`.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How far ahead of receipt an event may be, in milliseconds (design 3); beyond it is refused as `future`.
pub const FUTURE_MS_MAX: i64 = 10_000;

/// Longest excerpt of a venue's text in a refusal or a log line, in characters.
const EXCERPT_CHARS_MAX: usize = 96;

/// How a frame was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// From the live market at this moment of our clock: event times are checked against it.
    Live(ReceivedAt),
    /// From a recording: `received_at` becomes the event time and no time is checked.
    Recorded,
}

/// What one frame held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What kind of frame it was.
    pub kind: Kind,
    /// The liquidations of tracked bases, in the venue's order.
    pub liquidations: Vec<Liquidation>,
    /// What the companion channel states about open interest and mark prices, in the venue's order.
    pub quotes: Vec<Quote>,
    /// What could not be taken, and why.
    pub refused: Vec<Refusal>,
    /// Well-formed liquidations of bases that are not tracked.
    pub untracked: u64,
    /// When the venue sent the frame, on its clock, where it says so. Not checked against ours.
    pub pushed_at: Option<EventTime>,
}

impl Frame {
    /// Returns how many of the liquidations are valued at the bankruptcy price for want of an average (Binance).
    pub fn without_average(&self) -> u64 {
        let lacks = |event: &&Liquidation| {
            event.venue.as_str() == Exchange::Binance.as_str() && event.price_kind == PriceKind::Bankruptcy
        };
        self.liquidations.iter().filter(lacks).count() as u64
    }
}

/// What kind of frame it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Liquidations, perhaps all of them refused or untracked.
    Liquidations,
    /// The always busy companion channel: proof that data flows.
    Companion,
    /// The venue confirmed a subscription.
    Subscribed {
        /// The request's id (Binance, Bybit; may be empty) or the channel (OKX).
        request: String,
    },
    /// The venue refused a subscription; also listed under `refused`.
    SubscriptionRefused {
        /// The request's id; may be empty.
        request: String,
        /// The topic or channel the venue names.
        topic: Option<String>,
    },
    /// The answer to an application ping.
    Pong,
    /// OKX 64008: this connection ends within 60 s for an upgrade.
    UpgradeNotice,
    /// Well formed and of no interest.
    Ignored,
    /// It could not be read at all; listed under `refused`.
    Unreadable,
}

/// Something a venue sent that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// A short excerpt, escaped for a terminal.
    pub detail: String,
}

/// Why something was refused. The names are stable: logs, metrics and `normalize` use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The frame is above [`FRAME_BYTES_MAX`], or an item of it beyond the number that is read.
    Oversized,
    /// It is no JSON (or cut off).
    Malformed,
    /// It is JSON of a shape this venue is not known to send.
    UnknownFrame,
    /// The venue lists no such instrument, as far as known here.
    UnknownInstrument,
    /// A COIN-M contract in Binance's merged stream, whose quantity counts contracts.
    CoinMargined,
    /// The instrument is priced in something that is no USD.
    NotUsd,
    /// The side is none the venue documents.
    UnknownSide,
    /// A figure is no plain decimal number.
    NotANumber,
    /// A figure is zero.
    Zero,
    /// A figure is negative.
    Negative,
    /// A figure or time is larger than anything that can be true.
    Absurd,
    /// More than [`FUTURE_MS_MAX`] ahead of receipt, corrected by the feed's offset.
    Future,
    /// Older than MARKET keeps.
    Past,
    /// The feed's clock is too far off the others'.
    Skewed,
    /// The venue refused a subscription.
    Subscription,
    /// An open interest whose venue time did not advance since the last sample.
    Repeated,
    /// An instrument that is sampled and that an answer for all instruments lacks.
    Missing,
    /// An open interest without a mark price to value it.
    Unmarked,
    /// A figure whose unit cannot be known.
    UnknownUnit,
}

impl Reason {
    /// Returns the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::UnknownFrame => "unknown_frame",
            Self::UnknownInstrument => "unknown_instrument",
            Self::CoinMargined => "coin_margined",
            Self::NotUsd => "not_usd",
            Self::UnknownSide => "unknown_side",
            Self::NotANumber => "not_a_number",
            Self::Zero => "zero",
            Self::Negative => "negative",
            Self::Absurd => "absurd",
            Self::Future => "future",
            Self::Past => "past",
            Self::Skewed => "skewed",
            Self::Subscription => "subscription",
            Self::Repeated => "repeated",
            Self::Missing => "missing",
            Self::Unmarked => "unmarked",
            Self::UnknownUnit => "unknown_unit",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<InvalidAmount> for Reason {
    fn from(invalid: InvalidAmount) -> Self {
        match invalid {
            InvalidAmount::NotANumber => Self::NotANumber,
            InvalidAmount::Zero => Self::Zero,
            InvalidAmount::Negative => Self::Negative,
            InvalidAmount::Absurd => Self::Absurd,
        }
    }
}

/// Reads the frames of one venue.
#[derive(Clone, Debug)]
pub struct Normalizer {
    instruments: Instruments,
    bases: Bases,
    retention: Duration,
    offset_ms: i64,
}

impl Normalizer {
    /// Reads frames of the venue of `instruments`; events older than `retention` are refused as `past` in a live market.
    pub const fn new(instruments: Instruments, bases: Bases, retention: Duration) -> Self {
        Self { instruments, bases, retention, offset_ms: 0 }
    }

    /// Returns what the venue lists.
    pub const fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Returns the bases that are kept.
    pub const fn bases(&self) -> &Bases {
        &self.bases
    }

    /// Replaces what the venue lists.
    pub fn set_instruments(&mut self, instruments: Instruments) {
        self.instruments = instruments;
    }

    /// Sets the feed's measured offset, received minus venue time, in milliseconds; positive when the venue is behind.
    pub const fn set_offset_ms(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
    }

    /// Returns whether a venue time is too far ahead of a receipt to be true.
    pub(crate) fn is_future(&self, time: EventTime, received_at: ReceivedAt) -> bool {
        self.limits().is_future(time, received_at)
    }

    /// Reads one frame as the venue sent it. Total: any bytes give a frame, and one bad item loses only itself.
    pub fn frame(&mut self, bytes: &[u8], receipt: Receipt) -> Frame {
        let mut reading = self.reading(receipt, Ordinals::Counted);
        if bytes.len() > FRAME_BYTES_MAX {
            reading.refuse(Reason::Oversized, &format!("a frame of {} bytes", bytes.len()));
            return reading.finish(Kind::Unreadable);
        }
        let kind = match self.instruments.exchange() {
            Exchange::Binance => binance::parse::frame(bytes, &mut reading),
            Exchange::Bybit => bybit::parse::frame(bytes, &mut reading),
            Exchange::Okx => okx::parse::frame(bytes, &mut reading),
        };
        reading.finish(kind)
    }

    /// Starts the reading of one frame or page.
    pub(crate) fn reading(&self, receipt: Receipt, ordinals: Ordinals) -> Reading<'_> {
        Reading::new(&self.instruments, &self.bases, receipt, self.limits(), ordinals)
    }

    fn limits(&self) -> Limits {
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        Limits { offset_ms: self.offset_ms, retention_ms }
    }
}

/// Returns the beginning of a venue's text, safe for a terminal; quotes are, and stay as they are.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars().take(EXCERPT_CHARS_MAX) {
        match char {
            '\'' | '"' => escaped.push(char),
            _ => escaped.extend(char.escape_debug()),
        }
    }
    escaped
}

/// Returns the beginning of a venue's bytes, safe for a terminal.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    // Four bytes are the longest character of UTF-8.
    let end = bytes.len().min(EXCERPT_CHARS_MAX * 4);
    escape(&String::from_utf8_lossy(&bytes[..end]))
}
