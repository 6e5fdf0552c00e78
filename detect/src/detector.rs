//! The fold over MARKET.

mod liquidations;
mod open_interest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemas::{
    alert::{Alert, Finding, Priority, VERSION},
    amount::Usd,
    id::Id,
    market::{Feed, FeedState, MarketEvent, Rules as RulesEvent},
    name::Base,
    position::{Evidence, Sequence},
    time::{EventTime, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use self::liquidations::Liquidations;
use crate::{
    coverage::Coverage,
    episode::Episode,
    open_interest::{Holdings, LOOK_BACK_MS, View},
    rules::{InvalidRules, LIQUIDATION_WINDOW_MS_MAX, Rules},
    window::Window,
};

/// Names the code whose snapshots this code can go on from: the program's version and the layout of the state.
///
/// Raise the layout with every change of a type in a snapshot or of what the fold concludes.
pub const CODE: &str = concat!(env!("CARGO_PKG_VERSION"), "/2");

/// Where a fold begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first message MARKET ever had.
    Complete,
    /// At the first message MARKET still has: nothing is emitted until the look-back is full. For the liquidations of a
    /// base that is five minutes of event time and no episode open, for open interest 25 h of event time.
    Trimmed,
}

/// What the fold gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An alert fired.
    Alert(Box<Detected>),
    /// A version of the rules could not be read; the one before stays in force.
    RulesRefused {
        /// Where it stands in MARKET.
        position: Sequence,
        /// The version.
        version: u64,
        /// Why.
        error: InvalidRules,
    },
}

/// An alert and where in MARKET it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The alert.
    pub alert: Alert,
    /// The position at which it fired.
    pub position: Sequence,
    /// The range that holds the accepted events behind it.
    pub evidence: Evidence,
}

/// What happened in the fold and is not an alert, counted since the fold (or the snapshot it went on from) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Liquidations handled.
    pub liquidations: u64,
    /// Of these, too late for any window (design 4).
    pub late: u64,
    /// Of these, accepted while their window was at a bound.
    pub saturated: u64,
    /// Samples of open interest handled.
    pub oi_samples: u64,
    /// Of these, no samples: the venue's time had not advanced.
    pub oi_stale: u64,
    /// Of these, dropped as glitches: the sample after did not confirm a jump to twice or half.
    pub oi_glitches: u64,
    /// Of these, the first after a change of the contract's size.
    pub oi_resized: u64,
    /// Of these, ignored because the number of venues or instruments was at a bound.
    pub oi_ignored: u64,
    /// Versions of the rules refused.
    pub rules_refused: u64,
    /// Alerts held back because the look-back was not full.
    pub cold: u64,
}

/// What a base looks like at the moment, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseView<'a> {
    /// The base asset.
    pub base: &'a Base,
    /// Its window clock, once there is a liquidation.
    pub clock: Option<EventTime>,
    /// Accepted liquidations in its window.
    pub count: u64,
    /// Their sum.
    pub sum: Usd,
    /// The tier of its open cascade.
    pub open_tier: Option<u64>,
    /// Its open interest, once there is a sample.
    pub open_interest: Option<OpenInterestView>,
}

/// The open interest of a base at the moment, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInterestView {
    /// Venues with a sample that is not stale; external ones only where no direct one has.
    pub venues: u32,
    /// Their newest open interest together.
    pub usd: Usd,
    /// Event time of the newest sample, of whatever venue.
    pub newest: EventTime,
}

/// The detector. See the crate's documentation for the order of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detector {
    rules: Rules,
    bases: BTreeMap<Base, Liquidations>,
    holdings: Holdings,
    coverage: Coverage,
    newest_alive: Option<EventTime>,
    /// From when on the look-back is full; in a complete fold nothing is waited for.
    warm: Warm,
    /// The same for open interest.
    oi_warm: Warm,
    counters: Counters,
    #[serde(skip)]
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Warm {
    /// Always was.
    Complete,
    /// The first event will tell.
    Unknown,
    /// From this event time on.
    From(EventTime),
}

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("snapshot not readable")]
pub struct InvalidSnapshot(#[source] rmp_serde::decode::Error);

impl Detector {
    /// Returns a detector before the first event, with no rules in force.
    pub fn new(start: Start) -> Self {
        let warm = match start {
            Start::Complete => Warm::Complete,
            Start::Trimmed => Warm::Unknown,
        };
        Self {
            rules: Rules::default(),
            bases: BTreeMap::new(),
            holdings: Holdings::default(),
            coverage: Coverage::default(),
            newest_alive: None,
            warm,
            oi_warm: warm,
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Handles the event at `position` of MARKET.
    pub fn handle_event(&mut self, position: Sequence, event: &MarketEvent) {
        match event {
            MarketEvent::Liquidation(event) => {
                self.warm.begin(event.event_time, LIQUIDATION_WINDOW_MS_MAX);
                self.oi_warm.begin(event.event_time, LOOK_BACK_MS);
                self.handle_liquidation(position, event);
            }
            MarketEvent::OpenInterest(event) => {
                // Venues time their samples up to minutes back, so one does not tell when the liquidations began.
                self.oi_warm.begin(event.event_time, LOOK_BACK_MS);
                self.handle_open_interest(position, event);
            }
            MarketEvent::Feed(feed) if feed.state == FeedState::Alive => {
                self.warm.begin(feed.event_time, LIQUIDATION_WINDOW_MS_MAX);
                self.oi_warm.begin(feed.event_time, LOOK_BACK_MS);
                self.handle_alive(position, feed);
            }
            // Other states of a feed inform people; a canary is passed on by the worker.
            MarketEvent::Feed(_) | MarketEvent::Canary(_) => {}
            MarketEvent::Rules(event) => self.handle_rules(position, event),
        }
    }

    /// Returns the next thing the fold gave out, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the counters.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the rules in force.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns what each base looks like, by name.
    pub fn bases(&self) -> impl Iterator<Item = BaseView<'_>> {
        let names: BTreeSet<&Base> = self.bases.keys().chain(self.holdings.bases()).collect();
        names.into_iter().map(|base| {
            let state = self.bases.get(base);
            let window = state.map(|state| &state.window);
            let view = self.holdings.view(base, self.timer_clock_of(base));
            BaseView {
                base,
                clock: window.and_then(Window::clock),
                count: window.map_or(0, Window::count),
                sum: window.map(Window::sum).unwrap_or_default(),
                open_tier: state.and_then(|state| state.episode.as_ref()).map(Episode::tier),
                open_interest: view.map(|View { venues, usd, newest }| OpenInterestView { venues, usd, newest }),
            }
        })
    }

    /// Returns the state as bytes; every output must have been polled and stored before.
    pub fn snapshot(&self) -> Vec<u8> {
        assert!(self.outputs.is_empty(), "a snapshot says that every output up to its position is stored");
        rmp_serde::to_vec(self).expect("the state holds only plain values")
    }

    /// Returns the detector as it was when [`Detector::snapshot`] gave these bytes, under the same [`CODE`].
    ///
    /// # Errors
    /// Bytes of other code may not be readable.
    pub fn restore(bytes: &[u8]) -> Result<Self, InvalidSnapshot> {
        rmp_serde::from_slice(bytes).map_err(InvalidSnapshot)
    }

    fn handle_rules(&mut self, position: Sequence, event: &RulesEvent) {
        match Rules::parse(&event.text) {
            Ok(rules) => {
                self.rules = rules;
                for (base, state) in &mut self.bases {
                    state.judge(self.rules.liquidation(base));
                }
                self.holdings.disarm_without(&self.rules);
            }
            Err(error) => {
                self.counters.rules_refused += 1;
                self.outputs.push_back(Output::RulesRefused { position, version: event.version, error });
            }
        }
    }

    fn handle_alive(&mut self, position: Sequence, feed: &Feed) {
        self.coverage.alive(&feed.venue, feed.event_time);
        self.newest_alive = self.newest_alive.max(Some(feed.event_time));
        let deadline = |state: &Liquidations| state.episode.as_ref().map(Episode::deadline);
        let mut due: Vec<(EventTime, Base)> = self
            .bases
            .iter()
            .filter_map(|(base, state)| Some((deadline(state)?, base.clone())))
            .filter(|(deadline, _)| Some(*deadline) < self.newest_alive)
            .collect();
        due.sort();
        for (_, base) in due {
            if let Some((base, mut state)) = self.bases.remove_entry(&base) {
                self.end_if_due(&base, &mut state, feed.event_time, position);
                self.bases.insert(base, state);
            }
        }
    }

    fn alert(&self, head: AlertHead<'_>) -> Alert {
        let AlertHead { id, base, priority, rules, window_ms, trigger, event_time, saturated, finding } = head;
        let start = event_time.plus_millis(-window_ms);
        Alert {
            v: VERSION,
            id,
            base: base.clone(),
            priority,
            rules,
            trigger: trigger.0,
            event_time,
            received_at: trigger.1,
            window_ms: window_ms.unsigned_abs(),
            coverage: self.coverage.judge(start, event_time, self.timer_clock(event_time)),
            saturated,
            finding,
        }
    }

    /// Gives an alert out, unless it comes from a look-back that is not full.
    fn emit(&mut self, look_back: LookBack, detected: Detected) {
        match look_back {
            LookBack::Full => self.outputs.push_back(Output::Alert(Box::new(detected))),
            LookBack::Filling => self.counters.cold += 1,
        }
    }

    /// The larger of a base's window clock and the newest `alive`.
    fn timer_clock(&self, window_clock: EventTime) -> EventTime {
        self.newest_alive.map_or(window_clock, |alive| alive.max(window_clock))
    }

    /// The timer clock of a base, once there is one.
    fn timer_clock_of(&self, base: &Base) -> Option<EventTime> {
        self.newest_alive.max(self.bases.get(base).and_then(|state| state.window.clock()))
    }
}

/// What an alert is made of beside what every alert has.
struct AlertHead<'a> {
    id: Id,
    base: &'a Base,
    priority: Priority,
    /// Digest of the section and length of the window it was judged by.
    rules: Id,
    window_ms: i64,
    trigger: (Id, ReceivedAt),
    event_time: EventTime,
    saturated: bool,
    finding: Finding,
}

/// Whether a fold holds everything that an alert looks back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookBack {
    Full,
    Filling,
}

impl Warm {
    /// Takes the time of an event; a trimmed fold looks back to its first one.
    fn begin(&mut self, first: EventTime, look_back_ms: i64) {
        if *self == Self::Unknown {
            *self = Self::From(first.plus_millis(look_back_ms));
        }
    }

    fn is_over(self, now: EventTime) -> bool {
        match self {
            Self::Complete => true,
            Self::Unknown => false,
            Self::From(time) => now >= time,
        }
    }
}
