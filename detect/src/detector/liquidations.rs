//! The liquidation side of the fold: windows, cascades and single liquidations.

use std::collections::BTreeSet;

use schemas::{
    alert::{Alert, Finding, Kind, LargeLiquidation, Phase, Priority},
    amount::Usd,
    id::Id,
    market::Liquidation,
    name::Base,
    position::{Evidence, Sequence},
    time::{EventTime, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use super::{AlertHead, Detected, Detector, LookBack, Warm};
use crate::{
    episode::{Episode, Firing, Growth, Totals},
    rules::{LIQUIDATION_WINDOW_MS_MAX, LiquidationRule},
    window::{Item, Window},
};

/// A single liquidation at this multiple of `single_usd` has high priority (design 4).
const HIGH_MULTIPLE: i64 = 10;

/// A single liquidation at this multiple of `single_usd` has medium priority (design 4).
const MEDIUM_MULTIPLE: i64 = 3;

/// A cascade of this tier has high priority (design 4).
const HIGH_TIER: u64 = 2;

/// The liquidations of one base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Liquidations {
    pub(super) window: Window,
    pub(super) episode: Option<Episode>,
    /// Deadline of the last episode.
    ended: Option<EventTime>,
    /// The look-back is not full yet: what fires is not emitted.
    cold: bool,
}

impl Detector {
    pub(super) fn handle_liquidation(&mut self, position: Sequence, event: &Liquidation) {
        self.counters.liquidations += 1;
        // The base's own state is taken out, so that what stays are the other bases.
        let (base, mut state) = self
            .bases
            .remove_entry(&event.base)
            .unwrap_or_else(|| (event.base.clone(), Liquidations::new(self.rules.liquidation(&event.base), self.warm)));

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
    pub(super) fn end_if_due(&mut self, base: &Base, state: &mut Liquidations, now: EventTime, position: Sequence) {
        let now = self.timer_clock(now);
        let Some(episode) = state.episode.take_if(|episode| episode.deadline() < now) else { return };
        let deadline = episode.deadline();
        self.emit_phase(base, state, &episode, Phase::Ended, None, deadline, episode.renewed_by(), position);
        state.ended = Some(deadline);
        state.judge(self.rules.liquidation(base));
    }

    fn grow(&mut self, base: &Base, state: &Liquidations, episode: &mut Episode, item: &Item<'_>, firing: Firing) {
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

    fn open_if_condition_holds(&mut self, base: &Base, state: &mut Liquidations, firing: Firing) {
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
            |state: &Liquidations| items.clone().any(|item| state.window.holds(item.venue, item.side, item.time));
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

    fn judge_single(&mut self, state: &Liquidations, position: Sequence, event: &Liquidation) {
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
            rules: rule.digest(),
            window_ms: rule.window_ms,
            trigger: (event.id, event.received_at),
            event_time: event.event_time,
            saturated: false,
            finding,
        });
        let evidence = Evidence { first: position, last: position };
        self.emit(state.look_back(), Detected { alert, position, evidence });
    }

    #[expect(clippy::too_many_arguments, reason = "an alert of an episode is all of these facts")]
    fn emit_phase(
        &mut self,
        base: &Base,
        state: &Liquidations,
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
            rules: episode.rule.digest(),
            window_ms: episode.rule.window_ms,
            trigger,
            event_time,
            saturated: episode.saturated,
            finding: Finding::Cascade(episode.figures(phase)),
        });
        self.emit(state.look_back(), Detected { alert, position, evidence: episode.evidence });
    }
}

impl Liquidations {
    fn new(rule: Option<&LiquidationRule>, warm: Warm) -> Self {
        let (span, dust_below) = judged_by(rule);
        let window = Window::new(span, dust_below);
        Self { window, episode: None, ended: None, cold: warm != Warm::Complete }
    }

    /// Judges the window by `rule`, or by the open episode's own section.
    pub(super) fn judge(&mut self, rule: Option<&LiquidationRule>) {
        let (span, dust_below) = judged_by(self.episode.as_ref().map(|episode| &episode.rule).or(rule));
        self.window.judge(span, dust_below);
    }

    fn look_back(&self) -> LookBack {
        if self.cold { LookBack::Filling } else { LookBack::Full }
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
