//! A naive reference: everything is kept, everything is computed afresh from the text of the contract.

use std::collections::{BTreeMap, BTreeSet};

use detect::{
    detector::{Detected, Detector},
    rules::{LiquidationRule, Rules},
};
use schemas::{
    alert::{Alert, Cascade, Dominant, Finding, Kind, LargeLiquidation, Phase, Priority, VenueTotal},
    amount::Usd,
    market::{FeedState, Liquidation, MarketEvent, OpenInterest, Side},
    name::{Base, Venue},
    position::{Evidence, Sequence},
    time::EventTime,
};

use crate::open_interest::OpenInterestReference;

/// Five minutes: how long another base's liquidations are remembered.
const KEPT_MS: i64 = 300_000;

#[derive(Default)]
pub(crate) struct Reference {
    rules: Rules,
    alives: BTreeMap<Venue, BTreeSet<EventTime>>,
    bases: BTreeMap<Base, BaseLog>,
    open_interest: OpenInterestReference,
    pub(crate) alerts: Vec<Detected>,
}

#[derive(Default)]
struct BaseLog {
    clock: Option<EventTime>,
    events: Vec<(Sequence, Liquidation)>,
    accepted: Vec<(Sequence, Liquidation)>,
    open: Option<Open>,
    ended: Option<EventTime>,
}

struct Open {
    started: Alert,
    rule: LiquidationRule,
    total: Vec<(Sequence, Liquidation)>,
    /// The first event of the first window.
    first: EventTime,
    linked: BTreeSet<Base>,
    tier: u64,
    updates: u64,
    renewed: EventTime,
    renewed_by: Liquidation,
    last_alert: EventTime,
}

impl Reference {
    pub(crate) fn handle(&mut self, position: Sequence, event: &MarketEvent) {
        match event {
            MarketEvent::Liquidation(event) => self.liquidation(position, event),
            MarketEvent::Feed(feed) => {
                if feed.state == FeedState::Alive {
                    self.alives.entry(feed.venue.clone()).or_default().insert(feed.event_time);
                    self.end_due(position, None);
                }
            }
            MarketEvent::OpenInterest(event) => self.sample(position, event),
            MarketEvent::Canary(_) => {}
            MarketEvent::Rules(rules) => {
                self.rules = Rules::parse(&rules.text).unwrap_or_else(|_| self.rules.clone());
                self.open_interest.disarm(|base| self.rules.oi(base).is_some());
            }
        }
    }

    fn sample(&mut self, position: Sequence, event: &OpenInterest) {
        let rule = self.rules.oi(&event.base).cloned();
        let timer = self.newest_alive().max(self.bases.get(&event.base).and_then(|log| log.clock));
        let found = self.open_interest.handle(&(position, event.clone()), rule.as_ref(), timer);
        let (Some((finding, priority, first)), Some(rule)) = (found, rule) else { return };
        let now = self.newest_alive().max(Some(event.event_time)).unwrap();
        let alert = Alert {
            v: 1,
            id: Alert::id_of_start(Kind::OiExplosion, &event.base, event.id),
            base: event.base.clone(),
            priority,
            rules: rule.digest(),
            trigger: event.id,
            event_time: event.event_time,
            received_at: event.received_at,
            window_ms: rule.window_ms.unsigned_abs(),
            coverage: self.coverage(event.event_time, rule.window_ms, now),
            saturated: false,
            finding: Finding::OiExplosion(finding),
        };
        self.alerts.push(Detected { alert, position, evidence: Evidence { first, last: position } });
    }

    fn newest_alive(&self) -> Option<EventTime> {
        self.alives.values().filter_map(|ticks| ticks.last()).max().copied()
    }

    fn end_due(&mut self, position: Sequence, moved: Option<(&Base, EventTime)>) {
        let mut due = Vec::new();
        for (base, log) in &self.bases {
            let own = moved.filter(|(moved, _)| *moved == base).map(|(_, clock)| clock);
            let timer = own.max(log.clock).max(self.newest_alive());
            if let Some(open) = &log.open {
                let deadline = open.renewed.plus_millis(open.rule.window_ms);
                if Some(deadline) < timer {
                    due.push((deadline, base.clone(), timer));
                }
            }
        }
        due.sort();
        for (deadline, base, timer) in due {
            let log = self.bases.get_mut(&base).unwrap();
            log.ended = Some(deadline);
            let open = log.open.take().unwrap();
            let by = open.renewed_by.clone();
            let id = Alert::id_of_phase(&base, open.started.id, Phase::Ended, None);
            let alert = self.cascade(&open, Phase::Ended, id, &by, deadline, timer.unwrap());
            self.alerts.push(Detected { alert, position, evidence: span(&open.total) });
        }
    }

    fn liquidation(&mut self, position: Sequence, event: &Liquidation) {
        let base = &event.base;
        self.bases.entry(base.clone()).or_default();
        let clock = self.bases[base].clock.max(Some(event.event_time)).unwrap();
        self.end_due(position, Some((base, clock)));
        let log = self.bases.get_mut(base).unwrap();
        log.clock = Some(clock);
        log.events.push((position, event.clone()));
        let section = self.rules.liquidation(base).cloned();
        let rule = log.open.as_ref().map(|open| open.rule.clone()).or_else(|| section.clone());
        let window_ms = rule.as_ref().map_or(KEPT_MS, |rule| rule.window_ms);
        let late =
            event.event_time <= clock.plus_millis(-window_ms) || log.ended.is_some_and(|end| event.event_time <= end);
        // Other open episodes learn of this event whether or not it is late.
        for (other, log) in &mut self.bases {
            if other != base && log.open.as_ref().is_some_and(|open| open.total.iter().any(|(_, one)| same(one, event)))
            {
                let remembered = |one: &Liquidation| one.event_time > log.clock.unwrap().plus_millis(-KEPT_MS);
                if log.open.as_ref().unwrap().total.iter().any(|(_, one)| same(one, event) && remembered(one)) {
                    log.open.as_mut().unwrap().linked.insert(base.clone());
                }
            }
        }
        if !late {
            self.bases.get_mut(base).unwrap().accepted.push((position, event.clone()));
            if let Some(rule) = rule {
                self.accepted(position, event, clock, &rule);
                self.end_due(position, None);
            }
        }
        if let Some(rule) = section.filter(|rule| event.notional_usd >= rule.single_usd) {
            self.single(position, event, clock, &rule);
        }
    }

    fn accepted(&mut self, position: Sequence, event: &Liquidation, clock: EventTime, rule: &LiquidationRule) {
        let base = &event.base;
        let from = clock.plus_millis(-rule.window_ms);
        let window: Vec<_> =
            self.bases[base].accepted.iter().filter(|(_, one)| one.event_time > from).cloned().collect();
        let holds = window.len() as u64 >= rule.cascade_count && sum(&window) >= rule.cascade_usd;
        let linked = |items: &[(Sequence, Liquidation)]| -> BTreeSet<Base> {
            let others = self.bases.iter().filter(|(other, _)| *other != base);
            let linked = others.filter(|(_, log)| {
                let kept_from = log.clock.map(|clock| clock.plus_millis(-KEPT_MS));
                log.events
                    .iter()
                    .any(|(_, one)| Some(one.event_time) > kept_from && items.iter().any(|(_, item)| same(item, one)))
            });
            linked.map(|(other, _)| other.clone()).collect()
        };
        let new_links = linked(&[(position, event.clone())]);
        let start_links = linked(&window);
        let log = self.bases.get_mut(base).unwrap();
        let Some(mut open) = log.open.take() else {
            if holds {
                let id = Alert::id_of_start(Kind::Cascade, base, event.id);
                let mut open = Open {
                    started: blank(id, event),
                    rule: rule.clone(),
                    tier: tier(sum(&window), rule),
                    first: window.iter().map(|(_, one)| one.event_time).min().unwrap(),
                    total: window,
                    linked: start_links,
                    updates: 0,
                    renewed: clock,
                    renewed_by: event.clone(),
                    last_alert: clock,
                };
                let timer = self.newest_alive().max(Some(clock)).unwrap();
                open.started = self.cascade(&open, Phase::Started, id, event, clock, timer);
                self.alerts.push(Detected { alert: open.started.clone(), position, evidence: span(&open.total) });
                self.bases.get_mut(base).unwrap().open = Some(open);
            }
            return;
        };
        open.total.push((position, event.clone()));
        open.linked.extend(new_links);
        if holds {
            (open.renewed, open.renewed_by) = (clock, event.clone());
        }
        let reached = tier(sum(&open.total), rule);
        let phase = if reached > open.tier {
            open.tier = reached;
            Some((Phase::Escalated, reached))
        } else if clock.millis_since(open.last_alert) >= 5_000 {
            open.updates += 1;
            Some((Phase::Updated, open.updates))
        } else {
            None
        };
        if let Some((phase, count)) = phase {
            open.last_alert = clock;
            let id = Alert::id_of_phase(base, open.started.id, phase, Some(count));
            let timer = self.newest_alive().max(Some(clock)).unwrap();
            let alert = self.cascade(&open, phase, id, event, clock, timer);
            self.alerts.push(Detected { alert, position, evidence: span(&open.total) });
        }
        self.bases.get_mut(base).unwrap().open = Some(open);
    }

    fn single(&mut self, position: Sequence, event: &Liquidation, clock: EventTime, rule: &LiquidationRule) {
        let times = event.notional_usd.cents() / rule.single_usd.cents();
        let mut alert = blank(Alert::id_of_start(Kind::LargeLiquidation, &event.base, event.id), event);
        alert.priority = if times >= 10 {
            Priority::High
        } else if times >= 3 {
            Priority::Medium
        } else {
            Priority::Low
        };
        alert.rules = rule.digest();
        alert.event_time = event.event_time;
        alert.window_ms = rule.window_ms.unsigned_abs();
        let timer = self.newest_alive().max(Some(clock)).unwrap();
        alert.coverage = self.coverage(
            event.event_time,
            rule.window_ms,
            self.newest_alive().max(Some(event.event_time)).unwrap().max(timer),
        );
        if let Finding::LargeLiquidation(finding) = &mut alert.finding {
            finding.episode = self.bases[&event.base].open.as_ref().map(|open| open.started.id);
        }
        self.alerts.push(Detected { alert, position, evidence: Evidence { first: position, last: position } });
    }

    fn cascade(
        &self,
        open: &Open,
        phase: Phase,
        id: schemas::id::Id,
        by: &Liquidation,
        time: EventTime,
        timer: EventTime,
    ) -> Alert {
        let total: Vec<&Liquidation> = open.total.iter().map(|(_, one)| one).collect();
        let of_side = |side| total.iter().filter(move |one| one.liquidated == side).map(|one| one.notional_usd);
        let (long_usd, short_usd): (Usd, Usd) = (of_side(Side::Long).sum(), of_side(Side::Short).sum());
        let mut venues: BTreeMap<Venue, VenueTotal> = BTreeMap::new();
        for one in &total {
            let venue = venues.entry(one.venue.clone()).or_default();
            venue.count += 1;
            venue.notional_usd += one.notional_usd;
        }
        let most = venues.values().map(|venue| venue.notional_usd).max().unwrap();
        let price_venue = venues.iter().find(|(_, venue)| venue.notional_usd == most).unwrap().0.clone();
        let prices: Vec<_> = {
            let mut of_venue: Vec<_> = open.total.iter().filter(|(_, one)| one.venue == price_venue).collect();
            of_venue.sort_by_key(|(position, _)| *position);
            of_venue.iter().map(|(_, one)| one.price).collect()
        };
        let bursts: BTreeSet<_> = total
            .iter()
            .map(|one| (&one.venue, &one.instrument, one.liquidated, one.event_time.as_millis() / 1000))
            .collect();
        let side = if short_usd > long_usd { Side::Short } else { Side::Long };
        let mut alert = blank(id, by);
        alert.priority = if open.tier >= 2 { Priority::High } else { Priority::Medium };
        alert.rules = open.rule.digest();
        alert.event_time = time;
        alert.window_ms = open.rule.window_ms.unsigned_abs();
        alert.coverage = self.coverage(time, open.rule.window_ms, timer);
        alert.finding = Finding::Cascade(Cascade {
            phase,
            episode: open.started.id,
            tier: open.tier,
            count: total.len() as u64,
            notional_usd: long_usd + short_usd,
            longs: of_side(Side::Long).count() as u64,
            shorts: of_side(Side::Short).count() as u64,
            long_usd,
            short_usd,
            dominant: Dominant { side, share: long_usd.max(short_usd).share_of(long_usd + short_usd) },
            largest_usd: total.iter().map(|one| one.notional_usd).max().unwrap(),
            bursts: bursts.len() as u64,
            venues,
            price_venue,
            first_price: prices[0],
            last_price: *prices.last().unwrap(),
            linked_bases: open.linked.iter().cloned().collect(),
            duration_ms: open.renewed.millis_since(open.first).unsigned_abs(),
        });
        alert
    }

    fn coverage(&self, end: EventTime, window_ms: i64, now: EventTime) -> BTreeMap<Venue, bool> {
        let start = end.plus_millis(-window_ms);
        let listed = self.alives.iter().filter(|(_, ticks)| now.millis_since(*ticks.last().unwrap()) <= 86_400_000);
        listed
            .map(|(venue, ticks)| {
                let from = ticks.range(..=start).next_back().filter(|tick| start.millis_since(**tick) <= 10_000);
                let covered = from.is_some_and(|from| {
                    let later: Vec<_> = ticks.range(*from..).collect();
                    later.windows(2).all(|pair| pair[1].millis_since(*pair[0]) <= 10_000)
                        && end.millis_since(**later.last().unwrap()) <= 15_000
                });
                (venue.clone(), covered)
            })
            .collect()
    }
}

/// An alert about `event` with everything else to be filled in.
fn blank(id: schemas::id::Id, event: &Liquidation) -> Alert {
    Alert {
        v: 1,
        id,
        base: event.base.clone(),
        priority: Priority::Low,
        rules: id,
        trigger: event.id,
        event_time: event.event_time,
        received_at: event.received_at,
        window_ms: 0,
        coverage: BTreeMap::new(),
        saturated: false,
        finding: Finding::LargeLiquidation(LargeLiquidation {
            venue: event.venue.clone(),
            instrument: event.instrument.clone(),
            liquidated: event.liquidated,
            quantity: event.quantity,
            price: event.price,
            price_kind: event.price_kind,
            notional_usd: event.notional_usd,
            episode: None,
        }),
    }
}

fn same(a: &Liquidation, b: &Liquidation) -> bool {
    a.venue == b.venue && a.liquidated == b.liquidated && a.event_time == b.event_time
}

fn sum(events: &[(Sequence, Liquidation)]) -> Usd {
    events.iter().map(|(_, event)| event.notional_usd).sum()
}

fn span(events: &[(Sequence, Liquidation)]) -> Evidence {
    let positions = || events.iter().map(|(position, _)| *position);
    Evidence { first: positions().min().unwrap(), last: positions().max().unwrap() }
}

fn tier(sum: Usd, rule: &LiquidationRule) -> u64 {
    let mut tier = 1;
    while sum.cents() >= rule.cascade_usd.cents() * tier * 2 {
        tier *= 2;
    }
    tier.unsigned_abs()
}

/// Drains the alerts of the real detector.
pub(crate) fn drain(detector: &mut Detector) -> Vec<Detected> {
    std::iter::from_fn(|| detector.poll_output())
        .filter_map(|output| match output {
            detect::detector::Output::Alert(alert) => Some(*alert),
            detect::detector::Output::RulesRefused { .. } => None,
        })
        .collect()
}
