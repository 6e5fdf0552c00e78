//! What the venues said, what state each feed was in, and which rules came into force: the events of MARKET.

use serde::{Deserialize, Serialize};

use crate::{
    amount::{Price, Quantity, Usd},
    id::Id,
    name::{Base, Instrument, Venue},
    time::{EventTime, ReceivedAt},
};

/// Version of every MARKET event written by this code. Decoding keeps reading older ones for ever.
pub const VERSION: u16 = 1;

/// One event of MARKET, told apart by its field `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum MarketEvent {
    /// A forced liquidation a venue published.
    Liquidation(Liquidation),
    /// A sample of a venue's open interest.
    OpenInterest(OpenInterest),
    /// A change of a feed's state, or the sign that it is alive.
    Feed(Feed),
    /// A version of the rules, in force from its position on.
    Rules(Rules),
    /// A sign that goes the whole way to the delivery and tells nobody anything.
    Canary(Canary),
}

impl MarketEvent {
    /// Returns the id of the fact.
    pub const fn id(&self) -> Id {
        match self {
            Self::Liquidation(event) => event.id,
            Self::OpenInterest(event) => event.id,
            Self::Feed(event) => event.id,
            Self::Rules(event) => event.id,
            Self::Canary(event) => event.id,
        }
    }
}

/// Which side was liquidated: the position that died, not the order that closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Side {
    /// A long position died: the market fell.
    Long,
    /// A short position died: the market rose.
    Short,
}

/// Which price a venue publishes with a liquidation (the venues do not publish the same one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum PriceKind {
    /// The average fill: money that traded (Binance).
    Average,
    /// The bankruptcy price of the position (Bybit, OKX; Binance when no fill is stated).
    Bankruptcy,
}

/// A forced liquidation as one venue published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Liquidation {
    /// Schema version.
    pub v: u16,
    /// Id of the fact: the venue's own fields and the ordinal among equal ones in a frame.
    pub id: Id,
    /// The venue that published it.
    pub venue: Venue,
    /// The venue's own name of the instrument.
    pub instrument: Instrument,
    /// The base asset the instrument is counted under.
    pub base: Base,
    /// The side that died.
    pub liquidated: Side,
    /// Coins, after contract value and multiplier.
    pub quantity: Quantity,
    /// USD per coin.
    pub price: Price,
    /// Which price `price` is.
    pub price_kind: PriceKind,
    /// USD rounded half-even to cents.
    pub notional_usd: Usd,
    /// The venue's time of the liquidation.
    pub event_time: EventTime,
    /// When this host received it; in a recorded market the recorded receipt, or the event time.
    pub received_at: ReceivedAt,
}

/// What a venue stated about a liquidation, in the domain's units; [`Liquidation::new`] completes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The venue.
    pub venue: Venue,
    /// The venue's own name of the instrument.
    pub instrument: Instrument,
    /// The base asset.
    pub base: Base,
    /// The side that died.
    pub liquidated: Side,
    /// Coins.
    pub quantity: Quantity,
    /// USD per coin.
    pub price: Price,
    /// Which price.
    pub price_kind: PriceKind,
    /// USD rounded half-even to cents: coins times price, or contracts times value where the contract is in USD.
    pub notional_usd: Usd,
    /// The venue's time.
    pub event_time: EventTime,
}

impl Liquidation {
    /// Completes a reported liquidation with its id and receipt.
    ///
    /// `key` are the venue's fields of the dedup key (`exchanges.md` A.6), decimals normalised; `ordinal` counts from 1
    /// among equal keys of one frame, so that two equal fills survive while a second connection's copy collapses.
    pub fn new(reported: Reported, key: &[&str], ordinal: u32, received_at: ReceivedAt) -> Self {
        let ordinal = ordinal.to_string();
        let mut fields = vec![reported.venue.as_str()];
        fields.extend_from_slice(key);
        fields.push(&ordinal);
        let id = Id::of("liquidation", &fields);
        let Reported { venue, instrument, base, liquidated, quantity, price, price_kind, notional_usd, event_time } =
            reported;
        Self {
            v: VERSION,
            id,
            venue,
            instrument,
            base,
            liquidated,
            quantity,
            price,
            price_kind,
            notional_usd,
            event_time,
            received_at,
        }
    }
}

/// A sample of one instrument's open interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OpenInterest {
    /// Schema version.
    pub v: u16,
    /// Id of the fact: venue, instrument, sampling slot.
    pub id: Id,
    /// The venue that published it.
    pub venue: Venue,
    /// The venue's own name of the instrument.
    pub instrument: Instrument,
    /// The base asset the instrument is counted under.
    pub base: Base,
    /// The venue's native quantity, one side.
    pub contracts: Quantity,
    /// The same in coins.
    pub coins: Quantity,
    /// USD per coin, the venue's mark.
    pub mark_price: Price,
    /// USD rounded half-even to cents.
    pub notional_usd: Usd,
    /// How often this venue is sampled, in milliseconds.
    pub interval_ms: u32,
    /// The venue's time of the sample.
    pub event_time: EventTime,
    /// When this host received it.
    pub received_at: ReceivedAt,
}

impl OpenInterest {
    /// Returns the id of the sample of this instrument in this slot (venue time divided by the interval).
    pub fn id_of(venue: &Venue, instrument: &Instrument, slot: i64) -> Id {
        Id::of("open_interest", &[venue.as_str(), instrument.as_str(), &slot.to_string()])
    }
}

/// The state of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum FeedState {
    /// Subscribed and confirmed.
    Connected,
    /// The connection ended.
    Disconnected,
    /// Open, but nothing came for too long.
    Stale,
    /// Data flows again after a gap of `gap_ms`.
    Recovered,
    /// The venue's clock differs too much from the others'; its events are refused.
    Skewed,
    /// The venue refuses this client or region.
    Refused,
    /// Every liquidation socket of the venue was proven live up to `event_time`.
    Alive,
}

impl FeedState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Connected, Self::Disconnected, Self::Stale, Self::Recovered, Self::Skewed, Self::Refused, Self::Alive];

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Stale => "stale",
            Self::Recovered => "recovered",
            Self::Skewed => "skewed",
            Self::Refused => "refused",
            Self::Alive => "alive",
        }
    }
}

/// A change of a feed's state, or one `alive` tick in venue time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Feed {
    /// Schema version.
    pub v: u16,
    /// Id of the fact.
    pub id: Id,
    /// The venue.
    pub venue: Venue,
    /// Which of the venue's channels: `liquidation`.
    pub channel: String,
    /// Which ingest process; absent for `alive`, so that several processes write each tick once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// The state.
    pub state: FeedState,
    /// Since when the state holds, on the venue's clock as far as it is known.
    pub since: EventTime,
    /// How long nothing was heard, in milliseconds; with `recovered`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap_ms: Option<u64>,
    /// The venue's time of the fact.
    pub event_time: EventTime,
}

impl Feed {
    /// Returns the sign that every liquidation socket of `venue` was live up to `tick` (venue time).
    pub fn alive(venue: Venue, channel: &str, tick: EventTime) -> Self {
        let id = Id::of("feed", &[venue.as_str(), FeedState::Alive.as_str(), &tick.as_millis().to_string()]);
        Self {
            v: VERSION,
            id,
            venue,
            channel: channel.to_owned(),
            instance: None,
            state: FeedState::Alive,
            since: tick,
            gap_ms: None,
            event_time: tick,
        }
    }

    /// Returns a change of state of `channel` as `instance` saw it at `event_time`.
    pub fn change(
        venue: Venue,
        channel: &str,
        instance: &str,
        state: FeedState,
        since: EventTime,
        gap_ms: Option<u64>,
        event_time: EventTime,
    ) -> Self {
        let id = Id::of("feed", &[venue.as_str(), channel, instance, state.as_str(), &since.as_millis().to_string()]);
        Self {
            v: VERSION,
            id,
            venue,
            channel: channel.to_owned(),
            instance: Some(instance.to_owned()),
            state,
            since,
            gap_ms,
            event_time,
        }
    }
}

/// Where a version of the rules came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Origin {
    /// File and environment at the start of `detect`.
    Config,
    /// `foreshock rules set`.
    Cli,
}

/// A whole version of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rules {
    /// Schema version.
    pub v: u16,
    /// Id of the fact: version and text.
    pub id: Id,
    /// Counted from 1, one more than the version before.
    pub version: u64,
    /// Where it came from.
    pub origin: Origin,
    /// The rules in their file form (TOML).
    pub text: String,
}

impl Rules {
    /// Returns version `version` of the rules.
    pub fn new(version: u64, origin: Origin, text: String) -> Self {
        let id = Id::of("rules", &[&version.to_string(), &text]);
        Self { v: VERSION, id, version, origin, text }
    }
}

/// A sign of life that takes the way of every event, through MARKET, detection, ALERTS and DELIVERIES to a sink that is nobody, so
/// that the way is measured while the market is quiet. Detection does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Canary {
    /// Schema version.
    pub v: u16,
    /// Id of the fact: the moment at which it was due, so that several ingests make one.
    pub id: Id,
    /// When an ingest let it go, this host's clock.
    pub received_at: ReceivedAt,
}

impl Canary {
    /// Returns the canary that was due at `due`, milliseconds since 1970 UTC by this host's clock, and let go at `received_at`.
    pub fn new(due: i64, received_at: ReceivedAt) -> Self {
        Self { v: VERSION, id: Id::of("canary", &[&due.to_string()]), received_at }
    }
}
