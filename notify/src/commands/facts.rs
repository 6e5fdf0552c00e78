//! What an answer needs to know and this crate does not: plain values the root looks up.

use std::{collections::BTreeMap, time::Duration};

use schemas::{
    alert::{Alert, Kind},
    amount::{Ratio, Usd},
    id::Id,
    name::{Base, Venue},
};

use crate::recipient::{ChatId, Recipient};

/// Something to look up before a command is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Whether this person is an administrator or the owner of this group.
    Admin {
        /// The group.
        chat: ChatId,
        /// Telegram's number of the person.
        user: i64,
    },
    /// The rules in force.
    Rules,
    /// Which venues are heard.
    Status,
    /// The newest alerts of any phase.
    Recent {
        /// How many at most.
        count: usize,
    },
    /// What was liquidated in the last minutes.
    Liquidations {
        /// Only this base asset; absent: all.
        base: Option<Base>,
        /// How far back, in event time.
        span: Duration,
    },
    /// What was found and told.
    History {
        /// How far back.
        span: Duration,
        /// Only this base asset; absent: all.
        base: Option<Base>,
    },
    /// Why an alert fired: of the alert, or of the one a message was about, or else of the newest.
    Why {
        /// The alert.
        alert: Option<Id>,
        /// Whose message, and Telegram's number of it.
        message: Option<(Recipient, i64)>,
    },
    /// The base asset of an alert.
    Base {
        /// The alert.
        alert: Id,
    },
}

/// The answers to [`Need`]s. What is absent was not asked or could not be looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// See [`Need::Admin`].
    pub is_admin: Option<bool>,
    /// Whether this chat was told before that it may not use commands: see [`super::journal::Journal`].
    pub refused_before: bool,
    /// See [`Need::Rules`].
    pub floors: Option<Floors>,
    /// See [`Need::Status`]: each venue of the last 24 h, and whether it is heard.
    pub venues: Option<BTreeMap<Venue, bool>>,
    /// See [`Need::Recent`]; newest first.
    pub recent: Option<Vec<Alert>>,
    /// See [`Need::Liquidations`].
    pub liquidations: Option<Liquidations>,
    /// See [`Need::History`].
    pub history: Option<History>,
    /// See [`Need::Why`]: plain lines; absent when the alert is not known any more.
    pub explanation: Option<Vec<String>>,
    /// See [`Need::Base`].
    pub base: Option<Base>,
}

/// The thresholds of the rules in force: own ones are at least these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Bases with a section of their own.
    pub bases: BTreeMap<Base, Floor>,
    /// What holds for every other base: the section `default`.
    pub others: Option<Floor>,
}

impl Floors {
    /// Returns the thresholds of a base, or nothing when it is not watched.
    pub fn get(&self, base: &Base) -> Option<&Floor> {
        self.bases.get(base).or(self.others.as_ref())
    }
}

/// The thresholds of one base; an absent one means that nothing of this kind is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Least worth of a large liquidation, USD.
    pub single_usd: Option<Usd>,
    /// Least worth of a cascade, USD.
    pub cascade_usd: Option<Usd>,
    /// Least number of liquidations of a cascade.
    pub cascade_count: Option<u64>,
    /// Least change of open interest, percent.
    pub change_pct: Option<Ratio>,
}

/// Totals of what was liquidated, by base and venue.
pub type Liquidations = BTreeMap<Base, BTreeMap<Venue, Sides>>;

/// Totals of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Liquidated longs.
    pub longs: u64,
    /// Their worth.
    pub long_usd: Usd,
    /// Liquidated shorts.
    pub shorts: u64,
    /// Their worth.
    pub short_usd: Usd,
}

impl Sides {
    /// Returns the worth of both sides.
    pub fn usd(&self) -> Usd {
        self.long_usd + self.short_usd
    }

    /// Returns the totals of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            longs: self.longs.saturating_add(other.longs),
            long_usd: self.long_usd + other.long_usd,
            shorts: self.shorts.saturating_add(other.shorts),
            short_usd: self.short_usd + other.short_usd,
        }
    }
}

/// What was found and told in a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How often something began, by base and kind.
    pub found: BTreeMap<(Base, Kind), u64>,
    /// Messages that were to be sent.
    pub due: u64,
    /// Messages Telegram accepted.
    pub sent: u64,
    /// Half of them came within this, from the venue's time, in milliseconds.
    pub p50_ms: Option<u64>,
    /// All but a hundredth of them came within this, from the venue's time, in milliseconds.
    pub p99_ms: Option<u64>,
    /// Alerts people have rated.
    pub rated: u64,
    /// Those rated useful.
    pub useful: u64,
}
