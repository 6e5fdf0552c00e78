//! What a venue's REST side was asked and what it imposed: under 100 requests an hour and venue (design 9), kept outside
//! of this process so that neither a restart nor a second ingest forgets it.
//!
//! [`Account`] is the pure part; [`Accounts`] is where accounts and turns are kept, which this crate does not know.

use std::{collections::VecDeque, fmt, sync::Mutex};

use futures_util::future::BoxFuture;
use schemas::time::ReceivedAt;
use serde::{Deserialize, Serialize};

/// Most requests in a rolling hour, for whatever purpose: under 100 (design 9).
pub const HOUR_REQUESTS_MAX: u32 = 99;

/// Most requests in a rolling hour that sampling open interest may bring an account to; what is left is for instruments
/// and for the gaps of liquidations, which are few and must not wait for an hour.
pub const HOUR_SAMPLING_MAX: u32 = 90;

/// The rolling hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// What a request is for: each purpose may fill the hour only up to its own ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What the venue lists, and what the venue published during a gap.
    Upkeep,
    /// Samples of open interest.
    Sampling,
}

impl Purpose {
    const fn ceiling(self) -> u32 {
        match self {
            Self::Upkeep => HOUR_REQUESTS_MAX,
            Self::Sampling => HOUR_SAMPLING_MAX,
        }
    }
}

/// The requests of the last hour and what the venue imposed; times are this host's wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// When each request of the last hour was made, oldest first, in milliseconds; at most [`HOUR_REQUESTS_MAX`] and what
    /// another process spent at the same moment.
    spent: VecDeque<i64>,
    /// No request before this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hold: Option<Hold>,
}

/// A stretch without any request, as the venue demanded it (exchanges.md C.7, E).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Until when.
    pub until: ReceivedAt,
    /// What the venue said, for people.
    pub why: String,
}

/// A request must not be made now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The hour is full for this purpose.
    #[error("the budget of requests an hour is used up")]
    Full {
        /// When there is room again.
        until: ReceivedAt,
    },
    /// The venue demanded a pause.
    #[error("{}", .0.why)]
    Held(Hold),
}

impl Denied {
    /// Returns when to ask again.
    pub const fn until(&self) -> ReceivedAt {
        match self {
            Self::Full { until } => *until,
            Self::Held(hold) => hold.until,
        }
    }
}

impl Account {
    /// Spends `count` requests at `now`, to be called before they are made.
    ///
    /// # Errors
    /// [`Denied`]; nothing is spent then.
    pub fn spend(&mut self, now: ReceivedAt, purpose: Purpose, count: u32) -> Result<(), Denied> {
        self.forget(now);
        if let Some(hold) = &self.hold {
            return Err(Denied::Held(hold.clone()));
        }
        let room = purpose.ceiling().saturating_sub(self.spent(now));
        if count > room {
            // The oldest requests that must leave the hour to make room.
            let leaving = usize::try_from(count - room).unwrap_or(usize::MAX).min(self.spent.len());
            let oldest = leaving.checked_sub(1).and_then(|index| self.spent.get(index));
            let until = oldest.map_or(now.as_millis(), |spent| *spent) + HOUR_MS;
            return Err(Denied::Full { until: ReceivedAt::from_millis(until) });
        }
        self.count(now, count);
        Ok(())
    }

    /// Counts requests that were made without asking.
    pub fn count(&mut self, now: ReceivedAt, count: u32) {
        self.forget(now);
        let at = self.spent.partition_point(|spent| *spent <= now.as_millis());
        for _ in 0..count {
            self.spent.insert(at, now.as_millis());
        }
    }

    /// Adds what `other` counted apart from this account, and its pause.
    pub fn add(&mut self, now: ReceivedAt, other: Self) {
        self.spent.extend(other.spent);
        self.spent.make_contiguous().sort_unstable();
        if let Some(Hold { until, why }) = other.hold {
            self.hold(until, why);
        }
        self.forget(now);
    }

    /// Demands that no request is made before `until`; an earlier end never replaces a later one.
    pub fn hold(&mut self, until: ReceivedAt, why: String) {
        if self.hold.as_ref().is_none_or(|hold| hold.until < until) {
            self.hold = Some(Hold { until, why });
        }
    }

    /// Returns how many requests the last hour held.
    pub fn spent(&self, now: ReceivedAt) -> u32 {
        let within = |spent: &&i64| now.as_millis() - **spent < HOUR_MS;
        u32::try_from(self.spent.iter().filter(within).count()).unwrap_or(u32::MAX)
    }

    /// Returns how many requests of the last hour were made at `from` or later.
    pub fn spent_since(&self, from: ReceivedAt) -> u32 {
        let later = |spent: &&i64| **spent >= from.as_millis();
        u32::try_from(self.spent.iter().filter(later).count()).unwrap_or(u32::MAX)
    }

    /// Returns the pause that is in force.
    pub fn held(&self, now: ReceivedAt) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| now < hold.until)
    }

    /// Drops what no longer counts. A wall clock that was set back leaves times ahead of it: they count for an hour.
    fn forget(&mut self, now: ReceivedAt) {
        self.spent.retain(|spent| (now.as_millis() - spent).abs() < HOUR_MS);
        if self.held(now).is_none() {
            self.hold = None;
        }
    }
}

/// Where accounts and turns are kept, outside of this process. `account` is a venue's name, or that of a venue another
/// service asks for us.
///
/// Both answers come in bounded time whatever the store does: one that cannot be reached answers from what this process
/// knows itself, and makes up for it later.
pub trait Accounts: Send + Sync + fmt::Debug {
    /// Spends `count` requests of `account`, before they are made.
    fn spend<'a>(
        &'a self,
        account: &'a str,
        now: ReceivedAt,
        purpose: Purpose,
        count: u32,
    ) -> BoxFuture<'a, Result<(), Denied>>;

    /// Notes a pause the venue demanded.
    fn hold<'a>(&'a self, account: &'a str, now: ReceivedAt, hold: Hold) -> BoxFuture<'a, ()>;

    /// Takes or keeps the turn to poll `account`: true while this process is the one. Asked again at every slot and at
    /// least every few seconds, for a turn ends when it is not kept.
    fn turn<'a>(&'a self, account: &'a str) -> BoxFuture<'a, bool>;

    /// Returns the account as it was last seen, for people.
    fn seen(&self, account: &str) -> Account;
}

/// Accounts of one process that nobody shares: for tests.
#[derive(Debug, Default)]
pub struct OwnAccounts(Mutex<std::collections::BTreeMap<String, Account>>);

impl OwnAccounts {
    fn with<T>(&self, account: &str, act: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(accounts.entry(account.to_owned()).or_default())
    }
}

impl Accounts for OwnAccounts {
    fn spend<'a>(
        &'a self,
        account: &'a str,
        now: ReceivedAt,
        purpose: Purpose,
        count: u32,
    ) -> BoxFuture<'a, Result<(), Denied>> {
        Box::pin(async move { self.with(account, |account| account.spend(now, purpose, count)) })
    }

    fn hold<'a>(&'a self, account: &'a str, _now: ReceivedAt, hold: Hold) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.with(account, |account| account.hold(hold.until, hold.why)) })
    }

    fn turn<'a>(&'a self, _account: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async { true })
    }

    fn seen(&self, account: &str) -> Account {
        self.with(account, |account| account.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> ReceivedAt {
        ReceivedAt::from_millis(1_795_000_000_000 + seconds * 1000)
    }

    #[test]
    fn an_hour_never_holds_a_hundred_requests() {
        let mut account = Account::default();
        let granted = (0..7200).filter(|second| account.spend(at(*second), Purpose::Upkeep, 1).is_ok()).count();
        assert_eq!(granted, 198);
        assert!((0..7200).all(|second| account.spent(at(second)) < 100));
    }

    #[test]
    fn sampling_leaves_room_for_upkeep() {
        let mut account = Account::default();
        account.spend(at(0), Purpose::Sampling, 9).unwrap();
        account.spend(at(10), Purpose::Sampling, 81).unwrap();
        assert_eq!(account.spend(at(20), Purpose::Sampling, 1), Err(Denied::Full { until: at(3600) }));
        assert_eq!(account.spend(at(20), Purpose::Sampling, 10), Err(Denied::Full { until: at(3610) }));
        account.spend(at(20), Purpose::Upkeep, 9).unwrap();
        assert!(account.spend(at(30), Purpose::Upkeep, 1).is_err());
        assert_eq!(account.spend(at(3600), Purpose::Upkeep, 9), Ok(()));
    }

    #[test]
    fn a_pause_holds_across_a_restart_and_is_never_shortened() {
        let mut account = Account::default();
        account.hold(at(600), "limits requests (418)".to_owned());
        account.hold(at(60), "limits requests (429)".to_owned());
        let bytes = serde_json::to_vec(&account).unwrap();
        let mut account: Account = serde_json::from_slice(&bytes).unwrap();
        let denied = account.spend(at(599), Purpose::Upkeep, 1).unwrap_err();
        assert_eq!((denied.until(), denied.to_string()), (at(600), "limits requests (418)".to_owned()));
        assert_eq!(account.spend(at(600), Purpose::Upkeep, 1), Ok(()));
    }

    #[test]
    fn what_was_counted_apart_is_added_in_order_with_its_pause() {
        let (mut account, mut other) = (Account::default(), Account::default());
        account.spend(at(0), Purpose::Upkeep, 1).unwrap();
        account.spend(at(20), Purpose::Upkeep, 1).unwrap();
        other.spend(at(10), Purpose::Upkeep, 1).unwrap();
        other.hold(at(60), "limits requests (429)".to_owned());
        account.add(at(30), other);
        assert_eq!(account.spent(at(3600)), 2);
        assert_eq!(account.spent(at(3610)), 1);
        assert_eq!(account.held(at(59)).map(|hold| hold.until), Some(at(60)));
    }

    #[test]
    fn a_clock_set_back_keeps_what_was_spent() {
        let mut account = Account::default();
        account.spend(at(0), Purpose::Upkeep, 99).unwrap();
        assert!(account.spend(at(-600), Purpose::Upkeep, 1).is_err());
    }
}
