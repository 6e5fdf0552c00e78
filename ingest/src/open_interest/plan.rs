//! How often each venue is sampled and when inside a slot it is asked: pure arithmetic over the budget of requests.

use std::collections::BTreeSet;

use schemas::time::{EventTime, ReceivedAt};

use crate::{
    account::HOUR_SAMPLING_MAX,
    config::{OpenInterest, Source},
    exchange::Exchange,
};

/// Interval of the venues that have a stream and one request for all instruments, in milliseconds: 60 requests an hour at
/// the most (exchanges.md C.6).
const STREAMED_INTERVAL_MS: u32 = 60_000;

/// Intervals of Binance, which is asked once per instrument, in milliseconds (exchanges.md C.1); design 9 wants a sample
/// at least every 5 minutes.
const BINANCE_INTERVALS_MS: [u32; 4] = [120_000, 180_000, 240_000, 300_000];

/// Intervals of the market-data service, in milliseconds: its cost upstream allows no shorter ones (exchanges.md C.6).
const MARKET_DATA_INTERVALS_MS: [u32; 4] = [600_000, 1_200_000, 1_800_000, 3_600_000];

/// What one call of the market-data service costs the venues it asks most, Binance and OKX (exchanges.md F.1).
const MARKET_DATA_COST: u32 = 9;

/// Most bases that are sampled where no budget says less: two OKX channels for each stay far below its 480 subscriptions
/// an hour (exchanges.md B).
const BASES_MAX: usize = 100;

/// One hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// More bases than the budget of requests carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyBases {
    /// On a venue that is asked for each.
    #[error(
        "{bases} bases need {} requests an hour of {asked} at the longest interval of {} min; {HOUR_SAMPLING_MAX} are \
         allowed: at most {bases_max} bases",
        .requests, .interval_ms / 60_000
    )]
    Requests {
        /// Who would be asked too often.
        asked: &'static str,
        /// How many bases are configured.
        bases: usize,
        /// What they would need an hour.
        requests: u64,
        /// The longest interval.
        interval_ms: u32,
        /// The largest number of bases that can be sampled.
        bases_max: usize,
    },
    /// Anywhere.
    #[error("{0} bases are more than can be subscribed: at most {BASES_MAX}")]
    Subscriptions(usize),
}

/// Checks that `open_interest` can be sampled within the budget of every one of `venues`.
///
/// # Errors
/// [`TooManyBases`], with the figures for people.
pub fn check(open_interest: &OpenInterest, venues: impl IntoIterator<Item = Exchange>) -> Result<(), TooManyBases> {
    let bases = open_interest.bases.len();
    match open_interest.source {
        Source::Direct => venues.into_iter().try_for_each(|exchange| interval_ms(exchange, bases).map(drop)),
        Source::MarketData(_) => market_data_interval_ms(bases).map(drop),
    }
}

/// Returns how often `exchange` is sampled for this many bases, in milliseconds.
pub(crate) fn interval_ms(exchange: Exchange, bases: usize) -> Result<u32, TooManyBases> {
    match exchange {
        Exchange::Binance => shortest(&BINANCE_INTERVALS_MS, bases, 1, "Binance"),
        Exchange::Bybit | Exchange::Okx if bases > BASES_MAX => Err(TooManyBases::Subscriptions(bases)),
        Exchange::Bybit | Exchange::Okx => Ok(STREAMED_INTERVAL_MS),
    }
}

/// Returns how often the market-data service is asked for each of this many bases, in milliseconds.
pub(crate) fn market_data_interval_ms(bases: usize) -> Result<u32, TooManyBases> {
    shortest(&MARKET_DATA_INTERVALS_MS, bases, MARKET_DATA_COST, "Binance and OKX through the market-data service")
}

fn shortest(intervals: &[u32; 4], bases: usize, cost: u32, asked: &'static str) -> Result<u32, TooManyBases> {
    let requests = |bases: usize, interval_ms: u32| bases as u64 * u64::from(cost) * HOUR_MS / u64::from(interval_ms);
    let fits = |bases: usize, interval_ms: u32| requests(bases, interval_ms) <= u64::from(HOUR_SAMPLING_MAX);
    let longest = intervals[intervals.len() - 1];
    intervals.iter().copied().find(|interval_ms| fits(bases, *interval_ms)).ok_or_else(|| TooManyBases::Requests {
        asked,
        bases,
        requests: requests(bases, longest),
        interval_ms: longest,
        bases_max: (0..bases).rev().find(|fewer| fits(*fewer, longest)).unwrap_or_default(),
    })
}

/// Returns the slot a moment lies in: venue time divided by the interval.
pub(crate) const fn slot(time: EventTime, interval_ms: u32) -> i64 {
    time.as_millis().div_euclid(interval_ms as i64)
}

/// Returns when the slot of a moment began, by the same clock.
pub(crate) const fn slot_start(time: EventTime, interval_ms: u32) -> ReceivedAt {
    ReceivedAt::from_millis(slot(time, interval_ms) * interval_ms as i64)
}

/// The slot of a schedule that was never looked at.
const NEVER: i64 = i64::MIN;

/// When requests are made: each of a number of requests once a slot, spread away from the slot's borders.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    interval_ms: u32,
    count: usize,
    slot: i64,
    /// Those of `slot` that were made or are not needed.
    done: BTreeSet<usize>,
    /// The slot whose open requests do not wait for their place in it.
    hurried: i64,
}

impl Schedule {
    /// Plans `count` requests a slot; one request alone is made in the middle of it.
    pub(crate) const fn new(interval_ms: u32, count: usize) -> Self {
        Self { interval_ms, count, slot: NEVER, done: BTreeSet::new(), hurried: NEVER }
    }

    /// Makes every request of the slot of `now` due at once but for the first `made`, which somebody made in it already:
    /// requests are made in their order, so the number says which. No request is made twice in a slot because of it.
    pub(crate) fn hurry(&mut self, now: EventTime, made: usize) {
        self.slot = slot(now, self.interval_ms);
        self.hurried = self.slot;
        self.done = (0..made.min(self.count)).collect();
    }

    /// Returns the requests that are due at `now` and not done in its slot. A slot that has passed is not made up for, nor
    /// what the first look finds passed.
    pub(crate) fn due(&mut self, now: EventTime) -> Vec<usize> {
        let slot = slot(now, self.interval_ms);
        let into_ms = now.as_millis() - slot * i64::from(self.interval_ms);
        let passed: Vec<_> = (0..self.count).filter(|index| into_ms >= self.offset_ms(*index)).collect();
        if slot != self.slot {
            self.done.clear();
            if self.slot == NEVER {
                // Whoever asked before this process has made them; a restart must not spend them again.
                self.done.extend(passed.iter().copied());
            }
            self.slot = slot;
        }
        let due = if slot == self.hurried { (0..self.count).collect() } else { passed };
        due.into_iter().filter(|index| !self.done.contains(index)).collect()
    }

    /// Returns the slot of the last look.
    pub(crate) const fn slot(&self) -> i64 {
        self.slot
    }

    /// Notes that a request of the last look's slot was made, or is not needed.
    pub(crate) fn done(&mut self, index: usize) {
        self.done.insert(index);
    }

    /// The k-th of n requests lies at (k + 1) / (n + 1) of the slot.
    fn offset_ms(&self, index: usize) -> i64 {
        let share = |n: usize| i64::try_from(n + 1).unwrap_or(i64::MAX);
        i64::from(self.interval_ms) * share(index) / share(self.count)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::account::{Account, Purpose};

    #[test]
    fn the_interval_is_the_shortest_the_budget_carries() {
        let minutes = |interval: Result<u32, TooManyBases>| interval.map(|ms| ms / 60_000).ok();
        let binance: Vec<_> = (1..=8).map(|bases| minutes(interval_ms(Exchange::Binance, bases))).collect();
        assert_eq!(binance, [Some(2), Some(2), Some(2), Some(3), Some(4), Some(4), Some(5), None]);
        let service: Vec<_> = (1..=11).map(|bases| minutes(market_data_interval_ms(bases))).collect();
        let expected = [10, 20, 20, 30, 30, 60, 60, 60, 60, 60].map(Some);
        assert_eq!((&service[..10], service[10]), (&expected[..], None));
        assert_eq!(minutes(interval_ms(Exchange::Okx, 50)), Some(1));
    }

    #[test]
    fn more_bases_than_a_budget_carries_are_refused_with_the_figures() {
        let bases = |count: usize| (0..count).map(|n| format!("C{n}").parse().unwrap()).collect();
        let direct = |count| OpenInterest { bases: bases(count), source: Source::Direct };
        assert_eq!(check(&direct(7), Exchange::ALL), Ok(()));
        assert_eq!(check(&direct(8), [Exchange::Bybit, Exchange::Okx]), Ok(()));
        assert_eq!(
            check(&direct(8), Exchange::ALL).unwrap_err().to_string(),
            "8 bases need 96 requests an hour of Binance at the longest interval of 5 min; 90 are allowed: at most 7 bases"
        );
        assert_eq!(check(&direct(101), [Exchange::Okx]), Err(TooManyBases::Subscriptions(101)));
        let source = Source::MarketData(Url::parse("http://127.0.0.1:8001").unwrap());
        assert_eq!(check(&OpenInterest { bases: bases(10), source: source.clone() }, []), Ok(()));
        assert_eq!(
            check(&OpenInterest { bases: bases(11), source }, []).unwrap_err().to_string(),
            "11 bases need 99 requests an hour of Binance and OKX through the market-data service at the longest interval \
             of 60 min; 90 are allowed: at most 10 bases"
        );
    }

    #[test]
    fn requests_are_spread_away_from_the_borders_of_a_slot() {
        let mut schedule = Schedule::new(120_000, 3);
        let mut made = Vec::new();
        for second in 0..300 {
            for index in schedule.due(EventTime::from_millis(1_795_000_800_000 + second * 1_000)) {
                schedule.done(index);
                made.push((second, index));
            }
        }
        assert_eq!(made, [(30, 0), (60, 1), (90, 2), (150, 0), (180, 1), (210, 2), (270, 0)]);
        assert_eq!(Schedule::new(60_000, 1).offset_ms(0), 30_000);
    }

    #[test]
    fn a_hurried_slot_makes_the_requests_nobody_made_and_the_next_one_spreads_them_again() {
        let at = |minute: i64| EventTime::from_millis(1_795_000_800_000 + minute * 60_000);
        let mut schedule = Schedule::new(1_200_000, 3);
        schedule.hurry(at(1), 0);
        assert_eq!(schedule.due(at(1)), [0, 1, 2]);
        schedule.hurry(at(1), 1);
        assert_eq!(schedule.due(at(1)), [1, 2]);
        schedule.done(1);
        schedule.done(2);
        assert!(schedule.due(at(19)).is_empty());
        assert!(schedule.due(at(20)).is_empty());
        assert_eq!(schedule.due(at(25)), [0]);
        schedule.hurry(at(26), 7);
        assert!(schedule.due(at(39)).is_empty(), "more than there are: all of them");
        assert_eq!(schedule.due(at(46)), [0]);
    }

    #[test]
    fn a_day_of_samples_and_restarts_stays_below_a_hundred_requests_an_hour_and_misses_little() {
        for (bases, cost, interval_ms) in [
            (3, 1, interval_ms(Exchange::Binance, 3).unwrap()),
            (7, 1, interval_ms(Exchange::Binance, 7).unwrap()),
            (3, MARKET_DATA_COST, market_data_interval_ms(3).unwrap()),
            (10, MARKET_DATA_COST, market_data_interval_ms(10).unwrap()),
        ] {
            let start_ms = 1_795_000_000_000;
            let (mut account, mut calls) = (Account::default(), Account::default());
            let mut schedule = Schedule::new(interval_ms, bases);
            let mut samples = BTreeSet::new();
            for second in 0..86_400_i64 {
                // Now and then a process starts that knows only the account, and asks for the instruments.
                if second % 7_001 == 0 {
                    account = serde_json::from_slice(&serde_json::to_vec(&account).unwrap()).unwrap();
                    schedule = Schedule::new(interval_ms, bases);
                    let now = ReceivedAt::from_millis(start_ms + second * 1_000);
                    account.spend(now, Purpose::Upkeep, 2).unwrap();
                    if cost == MARKET_DATA_COST {
                        let now = EventTime::from_millis(now.as_millis());
                        let made = calls.spent_since(slot_start(now, interval_ms));
                        schedule.hurry(now, usize::try_from(made).unwrap());
                    }
                }
                // A look is up to 0.4 s late, never the same way.
                let now_ms = start_ms + second * 1_000 + (second * 7 % 5) * 100;
                for index in schedule.due(EventTime::from_millis(now_ms)) {
                    if account.spend(ReceivedAt::from_millis(now_ms), Purpose::Sampling, cost).is_err() {
                        break;
                    }
                    calls.count(ReceivedAt::from_millis(now_ms), 1);
                    assert!(samples.insert((schedule.slot(), index)), "twice in a slot");
                    schedule.done(index);
                }
                assert!(account.spent(ReceivedAt::from_millis(now_ms)) < 100);
            }
            let wanted = bases * 86_400_000 / usize::try_from(interval_ms).unwrap();
            assert!(samples.len() * 100 >= wanted * 90, "{} of {wanted} at {interval_ms} ms", samples.len());
        }
    }
}
