//! A detect worker that may crash between any two steps.

use std::collections::VecDeque;

use detect::detector::{Detected, Detector, Output, Start};
use schemas::position::Sequence;

use crate::world::World;

/// Design 4: a snapshot is written at most every 10 s.
const SNAPSHOT_MS: i64 = 10_000;

/// Messages handled in one step while nothing comes of them.
const BATCH: usize = 32;

/// A worker; nothing while it is down.
#[derive(Default)]
pub(crate) struct Worker(Option<Running>);

struct Running {
    detector: Detector,
    /// The next message to handle.
    next: Sequence,
    /// What fires strictly before this place is in ALERTS already.
    skip_before: Sequence,
    outputs: VecDeque<Detected>,
    snapshot_at_ms: i64,
    snapshot_of: Sequence,
    /// The last step left something half done, or was the last of several.
    is_critical: bool,
}

impl Worker {
    /// Does one thing and returns when to call again.
    pub(crate) fn step(&mut self, world: &mut World) -> i64 {
        let Some(running) = &mut self.0 else {
            self.0 = Some(Running::start(world));
            return world.after(1..50);
        };
        if world.strikes(if running.is_critical { 0.03 } else { 0.000_3 }) {
            world.struck.worker_crashes += 1;
            self.0 = None;
            return world.after(500..8_000);
        }
        if world.strikes(0.000_2) {
            // A slow worker: another one is ahead of it.
            return world.after(2_000..30_000);
        }
        if running.step(world) { world.after(1..12) } else { world.after(20..300) }
    }

    /// Whether it has handled the whole log.
    pub(crate) fn is_idle(&self, world: &World) -> bool {
        self.0.as_ref().is_some_and(|running| running.outputs.is_empty() && world.log.get(running.next).is_none())
    }
}

impl Running {
    fn start(world: &mut World) -> Self {
        // A snapshot of other code is not used, nor one the bucket lost.
        let snapshot = if world.strikes(0.4) { None } else { world.snapshots.newest().cloned() };
        let (detector, position, skip_before) = match snapshot {
            Some((position, state)) => (Detector::restore(&state).unwrap(), position, Sequence::new(0)),
            None => (Detector::new(Start::Complete), Sequence::new(0), world.alerts.newest_position()),
        };
        Self {
            detector,
            next: position.next(),
            skip_before,
            outputs: VecDeque::new(),
            snapshot_at_ms: world.now_ms,
            snapshot_of: position,
            is_critical: false,
        }
    }

    /// Returns whether there was something to do.
    fn step(&mut self, world: &mut World) -> bool {
        self.is_critical = true;
        if let Some(detected) = self.outputs.pop_front() {
            world.alerts.publish(&detected);
            return true;
        }
        let position = Sequence::new(self.next.get() - 1);
        if world.now_ms - self.snapshot_at_ms >= SNAPSHOT_MS && position > self.snapshot_of {
            (self.snapshot_at_ms, self.snapshot_of) = (world.now_ms, position);
            world.snapshots.save(position, self.detector.snapshot());
            return true;
        }
        self.is_critical = false;
        for _ in 0..BATCH {
            let Some(event) = world.log.get(self.next) else { return false };
            self.detector.handle_event(self.next, event);
            self.next = self.next.next();
            while let Some(output) = self.detector.poll_output() {
                match output {
                    Output::Alert(detected) if detected.position < self.skip_before => {}
                    Output::Alert(detected) => self.outputs.push_back(*detected),
                    Output::RulesRefused { error, .. } => panic!("the rules of the test are valid: {error}"),
                }
            }
            if !self.outputs.is_empty() {
                self.is_critical = true;
                break;
            }
        }
        true
    }
}
