//! The alerts of a stormy week: quiet days, nights of cascades, and once a day a crash of several bases at once.

use std::{collections::BTreeMap, ops::Range};

use rand::{Rng, rngs::SmallRng};
use schemas::{
    alert::{
        self, Alert, Cascade, Direction, Dominant, Finding, Kind, LargeLiquidation, OiExplosion, Phase, Priority,
        VenueChange, VenueTotal,
    },
    amount::{Ratio, Usd, parse_decimal},
    id::Id,
    market::{PriceKind, Side},
    name::{Base, Venue},
    time::{EventTime, ReceivedAt},
};

use super::{DAY_MS, DAYS, FROM_MS, HOUR_MS};

/// Each base with its thresholds as the rules have them: `single_usd`, `cascade_usd`.
pub(super) const BASES: [(&str, i64, i64); 5] = [
    ("BTC", 100_000, 500_000),
    ("ETH", 50_000, 250_000),
    ("SOL", 25_000, 100_000),
    ("XRP", 25_000, 100_000),
    ("DOGE", 25_000, 100_000),
];

/// The first of them break together. All five at once ask for more messages within the two minutes of an alert's life than
/// Telegram takes: then some of them expire, which this is not about.
const CRASHING: usize = 3;

const WINDOW_MS: i64 = 30_000;

/// Returns the alerts in the order of ALERTS, each with the moment it is stored there.
pub(super) fn week(rng: &mut SmallRng) -> Vec<(i64, Alert)> {
    let mut storm = Storm { rng, alerts: Vec::new(), busy_until: BTreeMap::new() };
    for day in 0..DAYS {
        let midnight = FROM_MS + day * DAY_MS;
        for hour in 0..24 {
            let from = midnight + hour * HOUR_MS;
            let is_night = hour < 5 || hour == 23;
            let (cascades, singles) = if is_night { (2..6, 4..12) } else { (0..2, 0..5) };
            storm.weather(from..from + HOUR_MS, cascades, singles);
        }
        let crash = midnight + storm.rng.random_range(0..DAY_MS - HOUR_MS);
        storm.crash(crash);
        for _ in 0..storm.rng.random_range(1..4) {
            let at = midnight + storm.rng.random_range(0..DAY_MS - HOUR_MS);
            let base = storm.any_base();
            storm.explosion(base, at);
        }
    }
    storm.alerts.sort_by_key(|(at, alert)| (*at, alert.id));
    storm.alerts
}

struct Storm<'a> {
    rng: &'a mut SmallRng,
    alerts: Vec<(i64, Alert)>,
    /// One episode a base at a time: when the last one is over.
    busy_until: BTreeMap<usize, i64>,
}

impl Storm<'_> {
    fn any_base(&mut self) -> usize {
        self.rng.random_range(0..BASES.len())
    }

    fn weather(&mut self, span: Range<i64>, cascades: Range<usize>, singles: Range<usize>) {
        for _ in 0..self.rng.random_range(cascades) {
            let (base, at) = (self.any_base(), self.rng.random_range(span.clone()));
            let steps = self.rng.random_range(2..20);
            self.episode(base, at, steps);
        }
        for _ in 0..self.rng.random_range(singles) {
            let (base, at) = (self.any_base(), self.rng.random_range(span.clone()));
            self.single(base, at, None);
        }
    }

    /// The three bases tracked as shipped break within seconds, for minutes, with dozens of singles and falling open interest.
    fn crash(&mut self, at: i64) {
        for base in 0..CRASHING {
            let (at, steps) = (at + self.rng.random_range(0..15_000), self.rng.random_range(20..70));
            self.episode(base, at, steps);
        }
        for _ in 0..self.rng.random_range(12..48) {
            let (base, at) = (self.rng.random_range(0..CRASHING), at + self.rng.random_range(0..HOUR_MS / 2));
            self.single(base, at, None);
        }
        self.explosion(0, at + 240_000);
    }

    /// A cascade from start to end; each step is an alert 5 to 11 s after the one before, or now and then a single.
    fn episode(&mut self, base: usize, at: i64, steps: usize) {
        if self.busy_until.get(&base).is_some_and(|until| at <= *until) {
            return;
        }
        let (name, _, threshold) = BASES[base];
        let base_name: Base = name.parse().unwrap();
        let mut usd = threshold + self.rng.random_range(0..threshold / 2);
        let (mut count, mut tier, mut updates, mut now) = (5, 1, 0, at);
        let trigger = Id::of("trigger", &[name, &at.to_string(), "cascade"]);
        let episode = Alert::id_of_start(Kind::Cascade, &base_name, trigger);
        let push = |storm: &mut Self, now: i64, phase: Phase, tier: u64, usd: i64, count: u64, ordinal| {
            let id = match phase {
                Phase::Started => episode,
                Phase::Escalated | Phase::Updated | Phase::Ended => {
                    Alert::id_of_phase(&base_name, episode, phase, ordinal)
                }
            };
            let finding = cascade(phase, episode, tier, usd, count, now - at);
            let priority = if tier >= 2 { Priority::High } else { Priority::Medium };
            storm.push(alert(id, &base_name, priority, now, finding));
        };
        push(self, now, Phase::Started, tier, usd, count, None);
        for _ in 0..steps {
            now += self.rng.random_range(5_000..11_000);
            usd += self.rng.random_range(0..threshold);
            count += self.rng.random_range(1..6);
            let reached = u64::try_from(usd / threshold).unwrap().ilog2();
            if 1 << reached > tier {
                tier = 1 << reached;
                push(self, now, Phase::Escalated, tier, usd, count, Some(tier));
            } else {
                updates += 1;
                push(self, now, Phase::Updated, tier, usd, count, Some(updates));
            }
            if self.rng.random_bool(0.15) {
                self.single(base, now + 1, Some(episode));
            }
        }
        push(self, now + WINDOW_MS, Phase::Ended, tier, usd, count, None);
        self.busy_until.insert(base, now + WINDOW_MS);
    }

    fn single(&mut self, base: usize, at: i64, episode: Option<Id>) {
        let (name, threshold, _) = BASES[base];
        // Most are just above the threshold.
        let times = [1, 1, 1, 2, 2, 4, 12][self.rng.random_range(0..7)];
        let usd = threshold * times + self.rng.random_range(0..threshold / 2);
        let priority = match times {
            1 | 2 => Priority::Low,
            4 => Priority::Medium,
            _ => Priority::High,
        };
        let trigger = Id::of("trigger", &[name, &at.to_string(), "single", &self.alerts.len().to_string()]);
        let base_name: Base = name.parse().unwrap();
        let finding = Finding::LargeLiquidation(LargeLiquidation {
            venue: venue("okx"),
            instrument: format!("{name}-USDT-SWAP").parse().unwrap(),
            liquidated: if at % 3 == 0 { Side::Short } else { Side::Long },
            quantity: "1.5".parse().unwrap(),
            price: "97123.4".parse().unwrap(),
            price_kind: PriceKind::Bankruptcy,
            notional_usd: usd_of(usd),
            episode,
        });
        let id = Alert::id_of_start(Kind::LargeLiquidation, &base_name, trigger);
        self.push(alert(id, &base_name, priority, at, finding));
    }

    /// An explosion, and in half of the cases its rise to twice the change some minutes later.
    fn explosion(&mut self, base: usize, at: i64) {
        let base_name: Base = BASES[base].0.parse().unwrap();
        let direction = if self.rng.random_bool(0.5) { Direction::Up } else { Direction::Down };
        let grows = self.rng.random_bool(0.5);
        for (phase, at, pct) in [(Phase::Started, at, 26), (Phase::Escalated, at + 200_000, 52)] {
            if phase == Phase::Escalated && !grows {
                continue;
            }
            let trigger = Id::of("trigger", &[base_name.as_str(), &at.to_string(), "oi"]);
            let id = Alert::id_of_start(Kind::OiExplosion, &base_name, trigger);
            let priority = if pct > 40 { Priority::High } else { Priority::Medium };
            self.push(alert(id, &base_name, priority, at, explosion(phase, direction, pct)));
        }
    }

    /// Detection and the broker take a moment.
    fn push(&mut self, alert: Alert) {
        let stored_at = alert.event_time.as_millis() + self.rng.random_range(150..1_500);
        self.alerts.push((stored_at, alert));
    }
}

fn alert(id: Id, base: &Base, priority: Priority, at: i64, finding: Finding) -> Alert {
    Alert {
        v: alert::VERSION,
        id,
        base: base.clone(),
        priority,
        rules: Id::of("rules", &[base.as_str()]),
        trigger: Id::of("trigger", &[&id.to_string()]),
        event_time: EventTime::from_millis(at),
        received_at: ReceivedAt::from_millis(at + 100),
        window_ms: if matches!(finding, Finding::OiExplosion(_)) { 900_000 } else { WINDOW_MS.unsigned_abs() },
        coverage: BTreeMap::from([(venue("binance"), true), (venue("okx"), true)]),
        saturated: false,
        finding,
    }
}

fn cascade(phase: Phase, episode: Id, tier: u64, usd: i64, count: u64, duration_ms: i64) -> Finding {
    let part = |count, usd| VenueTotal { count, notional_usd: usd_of(usd) };
    Finding::Cascade(Cascade {
        phase,
        episode,
        tier,
        count,
        notional_usd: usd_of(usd),
        longs: count - 1,
        shorts: 1,
        long_usd: usd_of(usd - usd / 8),
        short_usd: usd_of(usd / 8),
        dominant: Dominant { side: Side::Long, share: ratio("0.875") },
        largest_usd: usd_of(usd / 4),
        bursts: count - 1,
        venues: BTreeMap::from([(venue("binance"), part(2, usd / 4)), (venue("okx"), part(count - 2, usd - usd / 4))]),
        price_venue: venue("okx"),
        first_price: "97123.4".parse().unwrap(),
        last_price: "95200".parse().unwrap(),
        linked_bases: Vec::new(),
        duration_ms: duration_ms.unsigned_abs(),
    })
}

fn explosion(phase: Phase, direction: Direction, pct: i64) -> Finding {
    let signed = if direction == Direction::Up { pct } else { -pct };
    let (before, change) = (2_000_000_000, 20_000_000 * signed);
    let of_venue = VenueChange {
        change_pct: ratio(&signed.to_string()),
        coins_before: "10000".parse().unwrap(),
        coins_after: (10_000 + 100 * signed).to_string().parse().unwrap(),
    };
    Finding::OiExplosion(OiExplosion {
        direction,
        phase,
        change_pct: ratio(&signed.to_string()),
        before_usd: usd_of(before),
        after_usd: usd_of(before + change),
        change_usd: usd_of(change),
        confirming: 2,
        reporting: 2,
        all_change_pct: ratio(&signed.to_string()),
        venues: BTreeMap::from([(venue("binance"), of_venue.clone()), (venue("okx"), of_venue)]),
        baseline: None,
        momentum_pct_per_min: None,
        trend_1h_pct: None,
        trend_24h_pct: None,
    })
}

fn venue(name: &str) -> Venue {
    name.parse().unwrap()
}

const fn usd_of(dollars: i64) -> Usd {
    Usd::from_cents(dollars * 100)
}

fn ratio(text: &str) -> Ratio {
    Ratio::new(parse_decimal(text).unwrap())
}
