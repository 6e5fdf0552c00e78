//! The open-interest side of the reference: every sample is kept, everything is computed from the text of the contract.

use std::collections::BTreeMap;

use detect::rules::OiRule;
use rust_decimal::Decimal;
use schemas::{
    alert::{Baseline, Direction, OiExplosion, Phase, Priority, VenueChange},
    amount::{Quantity, Ratio, Usd},
    market::OpenInterest,
    name::{Base, Instrument, Venue},
    position::Sequence,
    time::EventTime,
};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

type Placed = (Sequence, OpenInterest);

#[derive(Default)]
pub(crate) struct OpenInterestReference {
    bases: BTreeMap<Base, BTreeMap<Venue, BTreeMap<Instrument, Line>>>,
    told: BTreeMap<(Base, Direction), (u64, EventTime)>,
}

/// Every sample of an instrument that was taken since its contract's size changed.
#[derive(Default)]
struct Line {
    taken: Vec<Placed>,
    suspect: Option<Placed>,
}

/// A window of one instrument: the sample before, and the newest.
type Ends<'a> = (&'a Placed, &'a Placed);

impl OpenInterestReference {
    /// Forgets what was told of the bases that no section covers.
    pub(crate) fn disarm(&mut self, is_covered: impl Fn(&Base) -> bool) {
        self.told.retain(|(base, _), _| is_covered(base));
    }

    /// Takes a sample; gives the finding, its priority, and the first position of its evidence.
    pub(crate) fn handle(
        &mut self,
        placed: &Placed,
        rule: Option<&OiRule>,
        timer: Option<EventTime>,
    ) -> Option<(OiExplosion, Priority, Sequence)> {
        let event = &placed.1;
        let venues = self.bases.entry(event.base.clone()).or_default();
        let line = venues.entry(event.venue.clone()).or_default().entry(event.instrument.clone()).or_default();
        if !line.take(placed) {
            return None;
        }
        let (rule, now) = (rule?, timer.unwrap_or(event.event_time));
        let venues = &self.bases[&event.base];
        let is_direct_alive = venues.iter().any(|(venue, lines)| {
            !venue.as_str().starts_with("ext-") && lines.values().any(|line| !line.is_stale(timer))
        });
        let acts = |venue: &Venue| venue.as_str().starts_with("ext-") != is_direct_alive;
        let windows: BTreeMap<&Venue, Vec<Ends<'_>>> = venues
            .iter()
            .map(|(venue, lines)| {
                let fresh = lines.values().filter(|line| !line.is_stale(timer));
                (venue, fresh.filter_map(|line| line.window(rule.window_ms)).collect::<Vec<_>>())
            })
            .filter(|(_, ends)| !ends.is_empty())
            .collect();
        let mut found = None;
        for direction in [Direction::Up, Direction::Down] {
            let confirming: Vec<_> = windows
                .iter()
                .filter(|(venue, ends)| acts(venue) && signed(venue_pct(ends), direction) >= rule.change_pct)
                .collect();
            let ends: Vec<Ends<'_>> = confirming.iter().flat_map(|(_, ends)| ends.iter().copied()).collect();
            let after: Usd = ends.iter().map(|(_, after)| after.1.notional_usd).sum();
            if confirming.len() < rule.confirm as usize || after < rule.min_usd {
                continue;
            }
            let change = signed(pct(&ends), direction);
            let level = (0..40).map(|n| 1_u64 << n).filter(|level| change >= rule.change_pct * Decimal::from(*level));
            let level = level.max().unwrap_or(1);
            let key = (event.base.clone(), direction);
            let told = self.told.get(&key).copied().filter(|(_, held)| now.millis_since(*held) < rule.window_ms);
            let phase = match told {
                None => Phase::Started,
                Some((told, _)) if level > told => Phase::Escalated,
                Some((told, _)) => {
                    self.told.insert(key, (told, now));
                    continue;
                }
            };
            if found.is_some() {
                // It is told at the next sample.
                match told {
                    None => drop(self.told.remove(&key)),
                    Some((told, _)) => drop(self.told.insert(key, (told, now))),
                }
                continue;
            }
            self.told.insert(key, (level, now));
            let before = ends.iter().map(|(before, after)| value(before, after)).sum();
            found = Some((direction, phase, confirming.len(), ends, Usd::round(before).unwrap(), after));
        }
        let (direction, phase, confirming, ends, before_usd, after_usd) = found?;

        let acting: Vec<_> = windows.iter().filter(|(venue, _)| acts(venue)).collect();
        let all: Vec<Ends<'_>> = acting.iter().flat_map(|(_, ends)| ends.iter().copied()).collect();
        let reporting: Vec<&Line> =
            all.iter().map(|(_, newest)| &venues[&newest.1.venue][&newest.1.instrument]).collect();
        let of_class: Vec<&Line> =
            venues.iter().filter(|(venue, _)| acts(venue)).flat_map(|(_, lines)| lines.values()).collect();
        let sum = |coins: &mut dyn Iterator<Item = Quantity>| Quantity::new(coins.map(Quantity::value).sum()).unwrap();
        let finding = OiExplosion {
            direction,
            phase,
            change_pct: Ratio::new(pct(&ends)),
            before_usd,
            after_usd,
            change_usd: after_usd - before_usd,
            confirming: u32::try_from(confirming).unwrap(),
            reporting: u32::try_from(acting.len()).unwrap(),
            all_change_pct: Ratio::new(pct(&all)),
            venues: windows
                .iter()
                .map(|(venue, ends)| {
                    let change = VenueChange {
                        change_pct: Ratio::new(venue_pct(ends)),
                        coins_before: sum(&mut ends.iter().map(|(before, _)| before.1.coins)),
                        coins_after: sum(&mut ends.iter().map(|(_, after)| after.1.coins)),
                    };
                    ((*venue).clone(), change)
                })
                .collect(),
            baseline: baseline(&of_class, rule.window_ms, event.event_time, pct(&all)),
            momentum_pct_per_min: momentum(&reporting),
            trend_1h_pct: trend(&reporting, HOUR_MS),
            trend_24h_pct: trend(&reporting, 24 * HOUR_MS),
        };
        let is_large = signed(pct(&ends), direction) >= rule.change_pct * Decimal::new(15, 1);
        let all_confirm = acting.len() >= 2 && confirming == acting.len();
        let priority = if is_large || all_confirm { Priority::High } else { Priority::Medium };
        Some((finding, priority, ends.iter().map(|(before, _)| before.0).min().unwrap()))
    }
}

impl Line {
    /// Whether there is a new newest sample.
    fn take(&mut self, placed: &Placed) -> bool {
        let event = &placed.1;
        let Some((_, newest)) = self.taken.last() else {
            self.taken.push(placed.clone());
            return true;
        };
        let heard = self.suspect.as_ref().map_or(newest.event_time, |(_, suspect)| suspect.event_time);
        if event.event_time <= heard {
            return false;
        }
        let per_contract = |figure: Decimal, of: &OpenInterest| figure / of.contracts.value();
        let kept = |figure: fn(&OpenInterest) -> Decimal| {
            let (before, after) = (per_contract(figure(newest), newest), per_contract(figure(event), event));
            (after - before).abs() <= before / Decimal::from(1_000)
        };
        let jumped = event.contracts.value() >= newest.contracts.value() * Decimal::TWO
            || event.contracts.value() <= newest.contracts.value() / Decimal::TWO;
        let worth = newest.notional_usd.to_decimal();
        let rebased = jumped && (event.notional_usd.to_decimal() - worth).abs() <= worth / Decimal::from(4);
        if rebased || (!kept(|event| event.coins.value()) && !kept(|event| event.notional_usd.to_decimal())) {
            *self = Self { taken: vec![placed.clone()], suspect: None };
            return true;
        }
        let contracts = |event: &OpenInterest| event.contracts.value();
        if let Some(suspect) = self.suspect.take() {
            let distance = (contracts(event) - contracts(&suspect.1)).abs();
            if distance <= contracts(&suspect.1) / Decimal::from(4) {
                self.taken.extend([suspect, placed.clone()]);
                return true;
            }
        }
        let newest = contracts(&self.taken.last().unwrap().1);
        let jumps = contracts(event) >= newest * Decimal::TWO || contracts(event) <= newest / Decimal::TWO;
        if jumps {
            self.suspect = Some(placed.clone());
        } else {
            self.taken.push(placed.clone());
        }
        !jumps
    }

    fn newest(&self) -> &OpenInterest {
        &self.taken.last().unwrap().1
    }

    fn tolerance(&self) -> i64 {
        2 * i64::from(self.newest().interval_ms)
    }

    fn is_stale(&self, timer: Option<EventTime>) -> bool {
        timer.is_some_and(|timer| timer.millis_since(self.newest().event_time) > self.tolerance())
    }

    fn window(&self, window_ms: i64) -> Option<Ends<'_>> {
        let start = self.newest().event_time.plus_millis(-window_ms);
        let before = self.taken.iter().rfind(|(_, sample)| sample.event_time <= start)?;
        (start.millis_since(before.1.event_time) <= self.tolerance()).then_some((before, self.taken.last()?))
    }

    /// The last sample at or before `time` of those a detector keeps: all of 70 minutes, and for 25 hours the last ones
    /// before full five minutes.
    fn at(&self, time: EventTime, tolerance_ms: i64) -> Option<&OpenInterest> {
        let age = |sample: &OpenInterest| self.newest().event_time.millis_since(sample.event_time);
        let ends_five_minutes = |n: usize| {
            let (from, to) = (self.taken[n].1.event_time.as_millis(), self.taken[n + 1].1.event_time.as_millis());
            (from..to).contains(&(from + (5 * MINUTE_MS - from % (5 * MINUTE_MS)) % (5 * MINUTE_MS)))
        };
        let kept = self.taken.iter().enumerate().filter(|(n, (_, sample))| {
            age(sample) <= 70 * MINUTE_MS || age(sample) <= 25 * HOUR_MS && ends_five_minutes(*n)
        });
        let (_, (_, found)) = kept.rev().find(|(_, (_, sample))| sample.event_time <= time)?;
        (time.millis_since(found.event_time) <= tolerance_ms).then_some(found)
    }

    fn value_of(&self, sample: &OpenInterest) -> Decimal {
        let newest = self.newest();
        newest.notional_usd.to_decimal() * sample.contracts.value() / newest.contracts.value()
    }
}

fn signed(pct: Decimal, direction: Direction) -> Decimal {
    if direction == Direction::Up { pct } else { -pct }
}

fn value(sample: &Placed, newest: &Placed) -> Decimal {
    newest.1.notional_usd.to_decimal() * sample.1.contracts.value() / newest.1.contracts.value()
}

fn pct_of(before: Decimal, after: Decimal) -> Decimal {
    (after - before) * Decimal::ONE_HUNDRED / before
}

/// Change of all together, weighed by value.
fn pct(ends: &[Ends<'_>]) -> Decimal {
    let before = ends.iter().map(|(before, after)| value(before, after)).sum();
    pct_of(before, ends.iter().map(|(_, after)| value(after, after)).sum())
}

fn venue_pct(ends: &[Ends<'_>]) -> Decimal {
    match ends {
        [(before, after)] => pct_of(before.1.contracts.value(), after.1.contracts.value()),
        _ => pct(ends),
    }
}

fn baseline(lines: &[&Line], window_ms: i64, at: EventTime, change: Decimal) -> Option<Baseline> {
    let newest_grid = at.as_millis() - at.as_millis() % (15 * MINUTE_MS);
    let kept = |line: &Line, time: EventTime| {
        let sample = line.at(time, line.tolerance())?;
        (at.millis_since(sample.event_time) <= 25 * HOUR_MS).then(|| line.value_of(sample))
    };
    let changes: Vec<Decimal> = (0..)
        .map(|n| EventTime::from_millis(newest_grid - n * 15 * MINUTE_MS))
        .take_while(|grid| at.millis_since(*grid) < 24 * HOUR_MS)
        .filter_map(|grid| {
            let both = |line: &&Line| Some((kept(line, grid.plus_millis(-window_ms))?, kept(line, grid)?));
            let ends: Vec<_> = lines.iter().filter_map(both).collect();
            let before: Decimal = ends.iter().map(|(before, _)| before).sum();
            (!ends.is_empty()).then(|| pct_of(before, ends.iter().map(|(_, after)| after).sum()))
        })
        .collect();
    if changes.len() < 48 {
        return None;
    }
    let n = Decimal::from(changes.len());
    let mean = changes.iter().rev().sum::<Decimal>() / n;
    let variance = changes.iter().rev().map(|one| (one - mean) * (one - mean)).sum::<Decimal>() / (n - Decimal::ONE);
    let deviation = root(variance);
    let z_score = (!deviation.is_zero()).then(|| Ratio::new((change - mean) / deviation))?;
    Some(Baseline { z_score, samples: u32::try_from(changes.len()).unwrap() })
}

/// Newton's method.
fn root(number: Decimal) -> Decimal {
    let mut root = Decimal::ONE.max(number);
    for _ in 0..200 {
        root = (root + number / root) / Decimal::TWO;
        if root.is_zero() {
            return root;
        }
    }
    root
}

fn momentum(lines: &[&Line]) -> Option<Ratio> {
    let slopes: Vec<(Decimal, Decimal)> = lines
        .iter()
        .filter_map(|line| {
            let is_recent =
                |sample: &OpenInterest| line.newest().event_time.millis_since(sample.event_time) <= 5 * MINUTE_MS;
            let points: Vec<(Decimal, Decimal)> = line
                .taken
                .iter()
                .filter(|(_, sample)| is_recent(sample))
                .map(|(_, sample)| (Decimal::from(sample.event_time.as_millis()), sample.contracts.value()))
                .collect();
            let n = Decimal::from(points.len());
            let mean_x = points.iter().map(|(x, _)| x).sum::<Decimal>() / n;
            let mean_y = points.iter().map(|(_, y)| y).sum::<Decimal>() / n;
            let squares: Decimal = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
            let products: Decimal = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
            let per_minute = products.checked_div(squares)? * Decimal::from(MINUTE_MS);
            Some((per_minute * Decimal::ONE_HUNDRED / points[0].1, line.newest().notional_usd.to_decimal()))
        })
        .collect();
    let weight: Decimal = slopes.iter().map(|(_, value)| value).sum();
    let sum: Decimal = slopes.iter().map(|(slope, value)| slope * value).sum();
    sum.checked_div(weight).map(Ratio::new)
}

fn trend(lines: &[&Line], span_ms: i64) -> Option<Ratio> {
    let ends: Vec<(Decimal, Decimal)> = lines
        .iter()
        .filter_map(|line| {
            let newest = line.newest();
            let before = line.at(newest.event_time.plus_millis(-span_ms), line.tolerance() + 5 * MINUTE_MS)?;
            Some((line.value_of(before), line.value_of(newest)))
        })
        .collect();
    let before: Decimal = ends.iter().map(|(before, _)| before).sum();
    (!ends.is_empty()).then(|| Ratio::new(pct_of(before, ends.iter().map(|(_, after)| after).sum())))
}
