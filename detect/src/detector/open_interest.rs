//! The open-interest side of the fold.

use schemas::{
    alert::{Alert, Finding, Kind},
    market::OpenInterest,
    position::{Evidence, Sequence},
};

use super::{AlertHead, Detected, Detector, LookBack};
use crate::open_interest::Taken;

impl Detector {
    /// Handles a sample. Samples move neither clock of the base.
    pub(super) fn handle_open_interest(&mut self, position: Sequence, event: &OpenInterest) {
        self.counters.oi_samples += 1;
        let Some(taken) = self.holdings.take(event, position) else {
            self.counters.oi_ignored += 1;
            return;
        };
        match taken {
            Taken::Accepted => {}
            Taken::AcceptedAfterGlitch => self.counters.oi_glitches += 1,
            Taken::Resized => self.counters.oi_resized += 1,
            Taken::HeldAfterGlitch => {
                self.counters.oi_glitches += 1;
                return;
            }
            Taken::Stale => {
                self.counters.oi_stale += 1;
                return;
            }
            Taken::Held => return,
        }
        self.judge_open_interest(position, event);
    }

    fn judge_open_interest(&mut self, position: Sequence, event: &OpenInterest) {
        let Some(rule) = self.rules.oi(&event.base) else { return };
        let timer_clock = self.timer_clock_of(&event.base);
        let Some(explosion) = self.holdings.judge(&event.base, rule, event.event_time, timer_clock) else { return };
        let alert = self.alert(AlertHead {
            id: Alert::id_of_start(Kind::OiExplosion, &event.base, event.id),
            base: &event.base,
            priority: explosion.priority,
            rules: rule.digest(),
            window_ms: rule.window_ms,
            trigger: (event.id, event.received_at),
            event_time: event.event_time,
            saturated: false,
            finding: Finding::OiExplosion(explosion.finding),
        });
        let look_back = if self.oi_warm.is_over(event.event_time) { LookBack::Full } else { LookBack::Filling };
        self.emit(
            look_back,
            Detected { alert, position, evidence: Evidence { first: explosion.first, last: position } },
        );
    }
}
