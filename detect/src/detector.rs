//! The fold over MARKET.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemas::{
    alert::{Alert, Finding, Kind, LargeLiquidation, Phase, Priority, VERSION},
    amount::Usd,
    id::Id,
    market::{Feed, FeedState, Liquidation, MarketEvent, Rules as RulesEvent},
    name::Base,
    position::{Evidence, Sequence},
    time::{EventTime, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use crate::{
    coverage::Coverage,
    episode::{Episode, Firing, Growth, Totals},
    rules::{InvalidRules, LIQUIDATION_WINDOW_MS_MAX, LiquidationRule, Rules},
    window::{Item, Window},
};

/// Names the code whose snapshots this code can go on from: the program's version and the layout of the state.
///
/// Raise the layout with every change of a type in a snapshot or of what the fold concludes.
pub const CODE: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// A single liquidation at this multiple of `single_usd` has high priority (design 4).
const HIGH_MULTIPLE: i64 = 10;

/// A single liquidation at this multiple of `single_usd` has medium priority (design 4).
const MEDIUM_MULTIPLE: i64 = 3;

/// A cascade of this tier has high priority (design 4).
const HIGH_TIER: u64 = 2;

/// Where a fold begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first message MARKET ever had.
    Complete,
    /// At the first message MARKET still has: nothing is emitted for a base until its look-back is full, five minutes
    /// of event time and no episode open.
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
    /// Its window clock.
    pub clock: Option<EventTime>,
    /// Accepted liquidations in its window.
    pub count: u64,
    /// Their sum.
    pub sum: Usd,
    /// The tier of its open cascade.
    pub open_tier: Option<u64>,
}

/// The detector. See the crate's documentation for the order of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detector {
    rules: Rules,
    bases: BTreeMap<Base, BaseState>,
    coverage: Coverage,
    newest_alive: Option<EventTime>,
    /// From when on the look-back is full; in a complete fold nothing is waited for.
    warm: Warm,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BaseState {
    window: Window,
    episode: Option<Episode>,
    /// Deadline of the last episode.
    ended: Option<EventTime>,
    /// The look-back is not full yet: what fires is not emitted.
    cold: bool,
}

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("snapshot not readable")]
pub struct InvalidSnapshot(#[source] rmp_serde::decode::Error);

impl Detector {
    /// Returns a detector before the first event, with no rules in force.
    pub fn new(start: Start) -> Self {
        Self {
            rules: Rules::default(),
            bases: BTreeMap::new(),
            coverage: Coverage::default(),
            newest_alive: None,
            warm: match start {
                Start::Complete => Warm::Complete,
                Start::Trimmed => Warm::Unknown,
            },
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Handles the event at `position` of MARKET.
    pub fn handle_event(&mut self, position: Sequence, event: &MarketEvent) {
        match event {
            MarketEvent::Liquidation(event) => {
                self.warm_up(event.event_time);
                self.handle_liquidation(position, event);
            }
            MarketEvent::Feed(feed) if feed.state == FeedState::Alive => {
                self.warm_up(feed.event_time);
                self.handle_alive(position, feed);
            }
            // Other states of a feed inform people; open interest moves no window clock.
            MarketEvent::Feed(_) | MarketEvent::OpenInterest(_) => {}
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
        self.bases.iter().map(|(base, state)| BaseView {
            base,
            clock: state.window.clock(),
            count: state.window.count(),
            sum: state.window.sum(),
            open_tier: state.episode.as_ref().map(Episode::tier),
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
        let deadline = |state: &BaseState| state.episode.as_ref().map(Episode::deadline);
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

    fn handle_liquidation(&mut self, position: Sequence, event: &Liquidation) {
        self.counters.liquidations += 1;
        // The base's own state is taken out, so that what stays are the other bases.
        let (base, mut state) = self
            .bases
            .remove_entry(&event.base)
            .unwrap_or_else(|| (event.base.clone(), BaseState::new(self.rules.liquidation(&event.base), self.warm)));

        // Timers that are due before an event are handled before it.
        self.end_if_due(&base, &mut state, event.event_time, position);
        state.window.advance(event.event_time);
        let clock = state.window.clock().expect("advanced above");
        if state.episode.is_none() && self.warm.is_over(self.timer_clock(clock)) {
            state.cold = false;
        }

        let accepted = !state.is_late(event.event_time, clock);
        let item = state.window.insert(event, position, accepted);
        let saturated = state.window.is_saturated();
        self.counters.late += u64::from(!accepted);
        self.counters.saturated += u64::from(accepted && saturated);
        self.link_others_to(&base, event);
        if let Some(item) = item {
            let firing = Firing { id: event.id, received_at: event.received_at, position, clock };
            if let Some(mut episode) = state.episode.take() {
                self.grow(&base, &state, &mut episode, &item, firing);
                state.episode = Some(episode);
            } else {
                self.open_if_condition_holds(&base, &mut state, firing);
                // Where `alive`s are far ahead of a base's own events, its deadline may be past already.
                self.end_if_due(&base, &mut state, clock, position);
            }
        }
        self.judge_single(&state, position, event);
        self.bases.insert(base, state);
    }

    /// Ends the base's episode if its deadline lies before `now` on the timer clock.
    fn end_if_due(&mut self, base: &Base, state: &mut BaseState, now: EventTime, position: Sequence) {
        let now = self.timer_clock(now);
        let Some(episode) = state.episode.take_if(|episode| episode.deadline() < now) else { return };
        let deadline = episode.deadline();
        self.emit_phase(base, state, &episode, Phase::Ended, None, deadline, episode.renewed_by(), position);
        state.ended = Some(deadline);
        state.judge(self.rules.liquidation(base));
    }

    fn grow(&mut self, base: &Base, state: &BaseState, episode: &mut Episode, item: &Item<'_>, firing: Firing) {
        for linked in self.bases_with(std::iter::once(*item)) {
            episode.link(&linked);
        }
        let holds = condition_holds(&state.window, &episode.rule);
        let (phase, count) = match episode.grow(item, holds, state.window.is_saturated(), firing) {
            Growth::Quiet => return,
            Growth::Escalated { tier } => (Phase::Escalated, tier),
            Growth::Updated { ordinal } => (Phase::Updated, ordinal),
        };
        let trigger = (firing.id, firing.received_at);
        self.emit_phase(base, state, episode, phase, Some(count), firing.clock, trigger, firing.position);
    }

    fn open_if_condition_holds(&mut self, base: &Base, state: &mut BaseState, firing: Firing) {
        let rule = self.rules.liquidation(base).filter(|rule| condition_holds(&state.window, rule));
        let Some(rule) = rule.cloned() else { return };
        let id = Alert::id_of_start(Kind::Cascade, base, firing.id);
        let items: Vec<_> = state.window.judged().collect();
        let linked = self.bases_with(items.iter().copied());
        let episode = Episode::open(id, rule, &items, linked, state.window.is_saturated(), firing);
        let trigger = (firing.id, firing.received_at);
        self.emit_phase(base, state, &episode, Phase::Started, None, firing.clock, trigger, firing.position);
        state.episode = Some(episode);
    }

    /// Returns the other bases that have a liquidation of equal venue, side and event time as one of `items`.
    ///
    /// A base remembers its liquidations for five minutes of its own clock; what is older is not seen.
    fn bases_with<'a>(&self, items: impl Iterator<Item = Item<'a>> + Clone) -> BTreeSet<Base> {
        let has_one =
            |state: &BaseState| items.clone().any(|item| state.window.holds(item.venue, item.side, item.time));
        self.bases.iter().filter(|(_, state)| has_one(state)).map(|(base, _)| base.clone()).collect()
    }

    /// Notes `event` of `base` in every other open episode that has one of equal venue, side and event time.
    fn link_others_to(&mut self, base: &Base, event: &Liquidation) {
        for state in self.bases.values_mut() {
            if let Some(episode) = &mut state.episode
                && episode.spans(event.event_time)
                && state.window.holds_accepted(&event.venue, event.liquidated, event.event_time)
            {
                episode.link(base);
            }
        }
    }

    fn judge_single(&mut self, state: &BaseState, position: Sequence, event: &Liquidation) {
        let Some(rule) = self.rules.liquidation(&event.base) else { return };
        if event.notional_usd < rule.single_usd {
            return;
        }
        let at_multiple =
            |multiple: i64| event.notional_usd.cents() >= rule.single_usd.cents().saturating_mul(multiple);
        let priority = match () {
            () if at_multiple(HIGH_MULTIPLE) => Priority::High,
            () if at_multiple(MEDIUM_MULTIPLE) => Priority::Medium,
            () => Priority::Low,
        };
        let finding = Finding::LargeLiquidation(LargeLiquidation {
            venue: event.venue.clone(),
            instrument: event.instrument.clone(),
            liquidated: event.liquidated,
            quantity: event.quantity,
            price: event.price,
            price_kind: event.price_kind,
            notional_usd: event.notional_usd,
            episode: state.episode.as_ref().map(|episode| episode.id),
        });
        let alert = self.alert(AlertHead {
            id: Alert::id_of_start(Kind::LargeLiquidation, &event.base, event.id),
            base: &event.base,
            priority,
            rule,
            trigger: (event.id, event.received_at),
            event_time: event.event_time,
            saturated: false,
            finding,
        });
        self.emit(state, Detected { alert, position, evidence: Evidence { first: position, last: position } });
    }

    #[expect(clippy::too_many_arguments, reason = "an alert of an episode is all of these facts")]
    fn emit_phase(
        &mut self,
        base: &Base,
        state: &BaseState,
        episode: &Episode,
        phase: Phase,
        count: Option<u64>,
        event_time: EventTime,
        trigger: (Id, ReceivedAt),
        position: Sequence,
    ) {
        let id = match phase {
            Phase::Started => episode.id,
            Phase::Escalated | Phase::Updated | Phase::Ended => Alert::id_of_phase(base, episode.id, phase, count),
        };
        let alert = self.alert(AlertHead {
            id,
            base,
            priority: if episode.tier() >= HIGH_TIER { Priority::High } else { Priority::Medium },
            rule: &episode.rule,
            trigger,
            event_time,
            saturated: episode.saturated,
            finding: Finding::Cascade(episode.figures(phase)),
        });
        self.emit(state, Detected { alert, position, evidence: episode.evidence });
    }

    fn alert(&self, head: AlertHead<'_>) -> Alert {
        let AlertHead { id, base, priority, rule, trigger, event_time, saturated, finding } = head;
        let start = event_time.plus_millis(-rule.window_ms);
        Alert {
            v: VERSION,
            id,
            base: base.clone(),
            priority,
            rules: rule.digest(),
            trigger: trigger.0,
            event_time,
            received_at: trigger.1,
            window_ms: rule.window_ms.unsigned_abs(),
            coverage: self.coverage.judge(start, event_time, self.timer_clock(event_time)),
            saturated,
            finding,
        }
    }

    fn emit(&mut self, state: &BaseState, detected: Detected) {
        if state.cold {
            self.counters.cold += 1;
        } else {
            self.outputs.push_back(Output::Alert(Box::new(detected)));
        }
    }

    /// The larger of a base's window clock and the newest `alive`.
    fn timer_clock(&self, window_clock: EventTime) -> EventTime {
        self.newest_alive.map_or(window_clock, |alive| alive.max(window_clock))
    }

    fn warm_up(&mut self, first: EventTime) {
        if self.warm == Warm::Unknown {
            self.warm = Warm::From(first.plus_millis(LIQUIDATION_WINDOW_MS_MAX));
        }
    }
}

/// What an alert is made of beside what every alert has.
struct AlertHead<'a> {
    id: Id,
    base: &'a Base,
    priority: Priority,
    rule: &'a LiquidationRule,
    trigger: (Id, ReceivedAt),
    event_time: EventTime,
    saturated: bool,
    finding: Finding,
}

impl Warm {
    fn is_over(self, timer_clock: EventTime) -> bool {
        match self {
            Self::Complete => true,
            Self::Unknown => false,
            Self::From(time) => timer_clock >= time,
        }
    }
}

impl BaseState {
    fn new(rule: Option<&LiquidationRule>, warm: Warm) -> Self {
        let (span, dust_below) = judged_by(rule);
        let window = Window::new(span, dust_below);
        Self { window, episode: None, ended: None, cold: warm != Warm::Complete }
    }

    /// Judges the window by `rule`, or by the open episode's own section.
    fn judge(&mut self, rule: Option<&LiquidationRule>) {
        let (span, dust_below) = judged_by(self.episode.as_ref().map(|episode| &episode.rule).or(rule));
        self.window.judge(span, dust_below);
    }

    /// The late rule: what is too old for the window, or not newer than the end of the last episode, enters no window.
    fn is_late(&self, time: EventTime, clock: EventTime) -> bool {
        time <= clock.plus_millis(-self.window.span()) || self.ended.is_some_and(|ended| time <= ended)
    }
}

/// A base without a section keeps its window as long as any rule could ask for.
fn judged_by(rule: Option<&LiquidationRule>) -> (i64, Usd) {
    match rule {
        Some(rule) => (rule.window_ms, rule.min_event_usd.unwrap_or_default()),
        None => (LIQUIDATION_WINDOW_MS_MAX, Usd::default()),
    }
}

fn condition_holds(window: &Window, rule: &LiquidationRule) -> bool {
    let is_plain = rule.max_share.is_none() && rule.min_bursts.is_none() && rule.min_side_share.is_none();
    window.qualified() >= rule.cascade_count
        && window.sum() >= rule.cascade_usd
        && (is_plain || Totals::of(window.judged()).satisfy(rule))
}
