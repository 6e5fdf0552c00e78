//! What we concluded: alerts. A payload holds nothing of the moment or place of detection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    amount::{Price, Quantity, Ratio, Usd},
    id::Id,
    market::{PriceKind, Side},
    name::{Base, Instrument, Venue},
    time::{EventTime, ReceivedAt},
};

/// Version of alerts written by this code.
pub const VERSION: u16 = 1;

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Priority {
    /// Worth knowing.
    Low,
    /// Worth looking.
    Medium,
    /// Worth waking up.
    High,
}

/// What kind of alert: a token of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Kind {
    /// One liquidation above the base's `single_usd`.
    LargeLiquidation,
    /// Many liquidations within a window.
    Cascade,
    /// Open interest moved on several venues.
    OiExplosion,
}

impl Kind {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LargeLiquidation => "large_liquidation",
            Self::Cascade => "cascade",
            Self::OiExplosion => "oi_explosion",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "alert")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// Schema version.
    pub v: u16,
    /// Id of the conclusion; rules are not part of it.
    pub id: Id,
    /// The base asset.
    pub base: Base,
    /// How much it matters.
    pub priority: Priority,
    /// Digest of the base's own section of the rules it was judged by.
    pub rules: Id,
    /// Id of the firing event; for an `ended`, whose deadline anything may reveal, of the event that set the deadline.
    pub trigger: Id,
    /// Venue time: the window clock when it fired, or the deadline of a timer.
    pub event_time: EventTime,
    /// Receipt of the event named by `trigger`.
    pub received_at: ReceivedAt,
    /// Length of the window judged, in milliseconds.
    pub window_ms: u64,
    /// Every venue alive in the last 24 h, and whether it was covered during the window.
    pub coverage: BTreeMap<Venue, bool>,
    /// A bound of the window was reached, so figures may be too low.
    pub saturated: bool,
    /// What was found, told apart by `kind`.
    #[serde(flatten)]
    pub finding: Finding,
}

impl Alert {
    /// Returns the kind of this alert.
    pub const fn kind(&self) -> Kind {
        match self.finding {
            Finding::LargeLiquidation(_) => Kind::LargeLiquidation,
            Finding::Cascade(_) => Kind::Cascade,
            Finding::OiExplosion(_) => Kind::OiExplosion,
        }
    }

    /// Returns the id of a large liquidation's alert, or of the start of a cascade or explosion.
    pub fn id_of_start(kind: Kind, base: &Base, trigger: Id) -> Id {
        Id::of("alert", &[kind.as_str(), base.as_str(), &trigger.to_string()])
    }

    /// Returns the id of a later phase of the cascade `episode`; `count` is the tier of an `escalated`, the ordinal of an
    /// `updated`, and absent for the one `ended`.
    pub fn id_of_phase(base: &Base, episode: Id, phase: Phase, count: Option<u64>) -> Id {
        let (episode, count) = (episode.to_string(), count.map(|count| count.to_string()));
        let mut fields = vec![Kind::Cascade.as_str(), base.as_str(), &episode, phase.as_str()];
        fields.extend(count.as_deref());
        Id::of("alert", &fields)
    }
}

/// What an alert found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Finding {
    /// One liquidation above the base's `single_usd`.
    LargeLiquidation(LargeLiquidation),
    /// Many liquidations within a window.
    Cascade(Cascade),
    /// Open interest moved on several venues.
    OiExplosion(OiExplosion),
}

/// The liquidation's own fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LargeLiquidation {
    /// The venue that published it.
    pub venue: Venue,
    /// The venue's own name of the instrument.
    pub instrument: Instrument,
    /// The side that died.
    pub liquidated: Side,
    /// Coins.
    pub quantity: Quantity,
    /// USD per coin.
    pub price: Price,
    /// Which price.
    pub price_kind: PriceKind,
    /// USD.
    pub notional_usd: Usd,
    /// The cascade that was open, if one was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub episode: Option<Id>,
}

/// Where in the life of an episode a cascade alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Phase {
    /// The condition held for the first time.
    Started,
    /// The total reached a higher tier.
    Escalated,
    /// It goes on, 5 s or more after the last alert.
    Updated,
    /// The condition did not hold for a whole window.
    Ended,
}

impl Phase {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Escalated => "escalated",
            Self::Updated => "updated",
            Self::Ended => "ended",
        }
    }
}

/// Which side the larger part of the money was on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dominant {
    /// The side with more USD; `long` when both have the same.
    pub side: Side,
    /// Its share of the USD, 0.5 to 1.
    pub share: Ratio,
}

/// One venue's part of a cascade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VenueTotal {
    /// Liquidations.
    pub count: u64,
    /// USD.
    pub notional_usd: Usd,
}

/// A cascade: the figures of the window at its start, of the whole episode afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cascade {
    /// Where in its life the episode stands.
    pub phase: Phase,
    /// Id of the episode: of its `started` alert.
    pub episode: Id,
    /// The multiple of `cascade_usd` reached: 1, 2, 4, 8 …
    pub tier: u64,
    /// Liquidations.
    pub count: u64,
    /// USD.
    pub notional_usd: Usd,
    /// Longs that died.
    pub longs: u64,
    /// Shorts that died.
    pub shorts: u64,
    /// USD of the longs.
    pub long_usd: Usd,
    /// USD of the shorts.
    pub short_usd: Usd,
    /// The heavier side.
    pub dominant: Dominant,
    /// The largest single liquidation.
    pub largest_usd: Usd,
    /// Distinct (venue, instrument, side, second).
    pub bursts: u64,
    /// Each venue's part.
    pub venues: BTreeMap<Venue, VenueTotal>,
    /// The venue with the largest sum (ties by name), whose prices these are.
    pub price_venue: Venue,
    /// Its first price, in MARKET order.
    pub first_price: Price,
    /// Its last price, in MARKET order.
    pub last_price: Price,
    /// Other bases with a liquidation of equal venue, side and event time: probably one account.
    pub linked_bases: Vec<Base>,
    /// From the first event of the first window to the last renewal, in milliseconds.
    pub duration_ms: u64,
}

/// Which way open interest moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Direction {
    /// Positions were opened.
    Up,
    /// Positions were closed.
    Down,
}

/// An open-interest explosion, confirmed across venues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OiExplosion {
    /// Which way.
    pub direction: Direction,
    /// `started` or `escalated`.
    pub phase: Phase,
    /// Change of the confirming venues over the window, in percent.
    pub change_pct: Ratio,
    /// Their open interest before, at today's mark.
    pub before_usd: Usd,
    /// Their open interest after, at the same mark.
    pub after_usd: Usd,
    /// The difference.
    pub change_usd: Usd,
    /// Venues that show the change themselves.
    pub confirming: u32,
    /// Venues that have a baseline and are not stale.
    pub reporting: u32,
    /// Change over every reporting venue, in percent.
    pub all_change_pct: Ratio,
    /// Each reporting venue's part.
    pub venues: BTreeMap<Venue, VenueChange>,
    /// How unusual the change is; absent under 48 samples.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<Baseline>,
    /// Least-squares slope of the last 5 minutes, in percent a minute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub momentum_pct_per_min: Option<Ratio>,
    /// Change over the last hour, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trend_1h_pct: Option<Ratio>,
    /// Change over the last day, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trend_24h_pct: Option<Ratio>,
}

/// One venue's change of open interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VenueChange {
    /// In percent of its native quantity.
    pub change_pct: Ratio,
    /// Coins at the start of the window.
    pub coins_before: Quantity,
    /// Coins at its end.
    pub coins_after: Quantity,
}

/// The changes of the last day on a fixed quarter-hour grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Baseline {
    /// How many standard deviations this change lies from their mean.
    pub z_score: Ratio,
    /// How many changes there were.
    pub samples: u32,
}
