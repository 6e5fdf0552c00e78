//! A generated year of three venues, with planted explosions and decoys, judged by the shipped rule for BTC.
//!
//! Samples come every 120 s from binance and every 60 s from bybit and okx: 1.3 million. Of 1,000 plots of 525 minutes
//! each, 500 hold an explosion and 500 a decoy, in random order, rising or falling. An explosion moves two venues or all
//! three by +20 to +60 % or -17 to -40 % along a ramp of 1 to 13 minutes, holds for 20 minutes and fades with a time
//! constant of 100 minutes. A decoy does that on one venue. Venues without the move go up to 7 % along.
//!
//! The noise, in logarithms of the level:
//!
//! - a level that all venues share, reverting with a half-life of 6 h to a deviation of 6 %; each venue's own with a
//!   half-life of 2 h and 2 %; a daily wave of 2 %;
//! - jumps with heavy tails (Student's t, three degrees of freedom): on all venues twice a day at a scale of 0.4 % up to
//!   3 %; on each venue four times a day at 0.6 % up to 5 %, of which half is gone after 30 minutes;
//! - of each venue's samples 1 % missing, an outage of 3 to 20 minutes a week, 1.25 % repeated with the time of the one
//!   before, 1 % with a value that stands still, times up to 3 s late, one in 15,000 a glitch (at 0.3 or 4 times the
//!   level);
//! - a price that reverts with a half-life of a week to a deviation of 10 %, which no change may follow.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod market;
mod oracle;
mod random;

use detect::{
    detector::{Detector, Output, Start},
    rules::SHIPPED,
};
use schemas::{
    alert::{Direction, Finding, Phase},
    market::{MarketEvent, Origin, Rules},
    position::Sequence,
};

use crate::{
    market::{DECOYS, EXPLOSIONS, Planted, START_MS, Year},
    oracle::Oracle,
};

/// A move is told, if at all, up to this long after it began, in minutes: the ramp, the window and two intervals.
const TELLS_WITHIN_MINUTES: i64 = 32;

/// A start that was told: when, which way, and at which sample.
struct Told {
    minute: i64,
    rises: bool,
    sample: u64,
}

/// What became of the plots.
#[derive(Debug, Default)]
struct Score {
    /// Explosions told, with the samples from when the condition first held to the alert.
    told: usize,
    delays: Vec<u64>,
    /// Explosions that were not told, and those of them whose condition never held in the data.
    missed: usize,
    never_held: usize,
    decoys_silent: usize,
    /// Starts told that belong to no explosion.
    false_alerts: usize,
}

#[test]
fn a_year_with_500_explosions_and_500_decoys_is_judged_right() {
    let mut year = Year::generate(20_260_101);
    let mut detector = Detector::new(Start::Complete);
    let rules = Rules::new(1, Origin::Config, SHIPPED.to_owned());
    detector.handle_event(Sequence::new(1), &MarketEvent::Rules(rules));
    let mut oracle = Oracle::default();
    let (mut position, mut samples, mut escalated) = (1, 0, 0);
    let mut starts: Vec<Told> = Vec::new();
    // Where the condition began to hold, after a window without.
    let mut onsets: Vec<Told> = Vec::new();
    let mut held = [i64::MIN; 2];
    while let Some(told) = year.next_minute() {
        let mut timer_ms = 0;
        for told in told {
            position += 1;
            detector.handle_event(Sequence::new(position), &told.event);
            if let MarketEvent::Feed(feed) = &told.event {
                timer_ms = feed.event_time.as_millis();
                continue;
            }
            samples += 1;
            let minute = (timer_ms - START_MS).div_euclid(60_000);
            if let Some(truth) = told.truth {
                oracle.hear(truth);
                for (direction, holds) in oracle.holds(timer_ms).into_iter().enumerate() {
                    if holds {
                        if timer_ms - held[direction].max(0) >= 900_000 {
                            onsets.push(Told { minute, rises: direction == 0, sample: samples });
                        }
                        held[direction] = timer_ms;
                    }
                }
            }
            while let Some(output) = detector.poll_output() {
                let Output::Alert(detected) = output else { panic!("the shipped rules are valid") };
                let Finding::OiExplosion(explosion) = detected.alert.finding else { panic!("no liquidation was told") };
                match explosion.phase {
                    Phase::Started => {
                        starts.push(Told { minute, rises: explosion.direction == Direction::Up, sample: samples });
                    }
                    Phase::Escalated => escalated += 1,
                    Phase::Updated | Phase::Ended => panic!("an explosion has neither"),
                }
            }
        }
    }

    let counters = detector.counters();
    assert_eq!(
        (counters.oi_samples, counters.oi_stale, counters.oi_glitches, counters.oi_resized, counters.oi_ignored),
        (samples, year.repeated, year.glitches, 0, 0),
    );

    let score = score(&year.planted, &starts, &onsets);
    let recall = score.told as f64 / EXPLOSIONS as f64;
    let false_share = score.false_alerts as f64 / starts.len() as f64;
    let right = (score.told + score.decoys_silent) as f64 / (EXPLOSIONS + DECOYS) as f64;
    let slowest = score.delays.iter().max().copied().unwrap_or_default();
    eprintln!(
        "{samples} samples ({} repeated, {} glitches), {} starts, {escalated} escalations\n\
         recall {recall:.4}, false alerts {false_share:.4}, judged right {right:.4}\n\
         {} of {EXPLOSIONS} explosions told, {} missed (in {} the condition never held), {} of {DECOYS} decoys silent\n\
         slowest detection {slowest} samples after the condition first held",
        year.repeated,
        year.glitches,
        starts.len(),
        score.told,
        score.missed,
        score.never_held,
        score.decoys_silent,
    );
    assert!(recall >= 0.99);
    assert!(false_share < 0.01);
    assert!(right > 0.99);
    assert!(slowest <= 1, "{:?}", score.delays);
}

fn score(planted: &[Planted], starts: &[Told], onsets: &[Told]) -> Score {
    let mut score = Score::default();
    let belongs = |told: &&Told, planted: &Planted| {
        (planted.begins..planted.begins + TELLS_WITHIN_MINUTES).contains(&told.minute) && told.rises == planted.rises
    };
    for planted in planted {
        let told: Vec<&Told> = starts.iter().filter(|told| belongs(told, planted)).collect();
        let onset = onsets.iter().find(|told| belongs(told, planted));
        match (planted.is_explosion, told.first(), onset) {
            (true, Some(first), Some(onset)) => {
                score.told += 1;
                let delay = first.sample.checked_sub(onset.sample);
                score.delays.push(delay.expect("no alert comes before its condition holds"));
                score.false_alerts += told.len() - 1;
            }
            (true, Some(_), None) => score.false_alerts += told.len(),
            (true, None, onset) => {
                score.missed += 1;
                score.never_held += usize::from(onset.is_none());
            }
            (false, None, _) => score.decoys_silent += 1,
            (false, Some(_), _) => {}
        }
    }
    let is_planted = |told: &&Told| planted.iter().any(|one| one.is_explosion && belongs(told, one));
    score.false_alerts += starts.iter().filter(|told| !is_planted(told)).count();
    score
}
