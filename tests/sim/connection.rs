//! What two ingest processes hear of a venue, with the faults of a seed.
//!
//! One of the two is always on duty: it loses nothing and is not killed, and its duty overlaps with the other's by
//! [`OVERLAP_MS`] on either side. That is the condition of design 4: "one of two ingests is subscribed at any time (for
//! 10 s, with nothing older unacknowledged, before the other is killed)". Off duty everything may happen.

use std::ops::Range;

use ingest::exchange::Exchange;
use rand::{Rng, rngs::SmallRng};

use crate::{
    frames,
    market::{FROM_MS, Frame},
};

/// 10 s of design 4, and what may lie between a frame's push and its publication here.
const OVERLAP_MS: i64 = 20_000;

/// What happens on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// The subscription is confirmed.
    Connected,
    Frame(Vec<u8>),
    /// The socket is gone; the process lives.
    Lost,
    /// The process is gone with everything it held.
    Killed,
}

/// Something heard, at a moment of the simulated clock.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_ms: i64,
    pub(crate) heard: Heard,
}

/// When a process does not hear.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    span: Range<i64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One venue's socket is gone.
    Socket(Exchange),
    /// The process is.
    Process,
    /// Single frames get lost.
    Lossy,
}

/// How frames come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// How far the venue's clock is ahead of ours.
    pub(crate) ahead_ms: i64,
    /// Nothing delays or loses a single frame.
    pub(crate) is_steady: bool,
}

/// Draws the outages of each process: never two at once, none on duty. A process without a second has none.
pub(crate) fn outages(rng: &mut SmallRng, processes: usize, until_ms: i64) -> Vec<Vec<Outage>> {
    let mut outages = vec![Vec::new(); processes];
    let mut shift = FROM_MS..FROM_MS + rng.random_range(60_000..120_000);
    let mut on_duty = 0;
    while processes > 1 && shift.start < until_ms {
        let off_duty = &mut outages[1 - on_duty];
        let end = shift.end - OVERLAP_MS;
        let mut at = shift.start + OVERLAP_MS + rng.random_range(0..10_000);
        while at < end {
            let until = (at + rng.random_range(1_000..16_000)).min(end);
            let kind = match rng.random_range(0..10) {
                0..5 => Kind::Socket(Exchange::ALL[rng.random_range(0..3)]),
                5..8 => Kind::Process,
                _ => Kind::Lossy,
            };
            off_duty.push(Outage { span: at..until, kind });
            at = until + rng.random_range(1_000..25_000);
        }
        shift = shift.end..shift.end + rng.random_range(60_000..120_000);
        on_duty = 1 - on_duty;
    }
    outages
}

/// Returns what a process hears of a venue, in order of time.
pub(crate) fn deliver(
    rng: &mut SmallRng,
    exchange: Exchange,
    frames: &[Frame],
    outages: &[Outage],
    link: Link,
) -> Vec<Arrival> {
    let breaks = outages.iter().filter(|outage| outage.kind == Kind::Process || outage.kind == Kind::Socket(exchange));
    let mut arrivals = vec![Arrival { at_ms: FROM_MS, heard: Heard::Connected }];
    let latency_ms = if link.is_steady { 40 } else { rng.random_range(20..250) };
    let mut connected_ms = FROM_MS;
    for outage in breaks.map(Some).chain([None]) {
        let until_ms = outage.map_or(i64::MAX, |outage| outage.span.start);
        let first = if connected_ms == FROM_MS {
            0
        } else {
            // Frames repeated at the beginning of a connection, like OKX's old first one (exchanges.md A.3).
            let repeated = rng.random_range(0..6);
            frames.partition_point(|frame| frame.pushed_ms - link.ahead_ms < connected_ms).saturating_sub(repeated)
        };
        let mut at_ms = connected_ms + 60;
        for frame in &frames[first..] {
            at_ms = at_ms.max(frame.pushed_ms - link.ahead_ms + latency_ms);
            // A stalled connection delivers everything behind it late and in order.
            if !link.is_steady && rng.random_bool(0.004) {
                at_ms += rng.random_range(500..2_500);
            }
            if at_ms >= until_ms {
                break;
            }
            let may_lose = |outage: &Outage| outage.kind == Kind::Lossy && outage.span.contains(&at_ms);
            if link.is_steady || !outages.iter().any(may_lose) || rng.random_bool(0.7) {
                push(&mut arrivals, at_ms, &frame.bytes);
            }
            if rng.random_bool(0.04) {
                push(&mut arrivals, at_ms, &frame.bytes);
            }
            if rng.random_bool(0.04) {
                push(&mut arrivals, at_ms, &frames::noise(rng, exchange, &frame.bytes));
            }
        }
        if let Some(Outage { span, kind }) = outage {
            let heard = if *kind == Kind::Process { Heard::Killed } else { Heard::Lost };
            arrivals.push(Arrival { at_ms: span.start, heard });
            arrivals.push(Arrival { at_ms: span.end, heard: Heard::Connected });
            connected_ms = span.end;
        }
    }
    arrivals
}

fn push(arrivals: &mut Vec<Arrival>, at_ms: i64, bytes: &[u8]) {
    arrivals.push(Arrival { at_ms, heard: Heard::Frame(bytes.to_vec()) });
}
