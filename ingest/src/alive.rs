//! Which `alive` ticks a venue's time has passed (design 4, Clocks).

use schemas::time::EventTime;

/// Grace for what a venue sends late, in milliseconds (exchanges.md E: Binance is 1 s late, OKX may be out of order).
const GRACE_MS: i64 = 3_000;

/// Distance of ticks, in milliseconds of venue time (design 4).
const TICK_MS: i64 = 5_000;

/// Most ticks written at once, 83 minutes of a recorded market that jumps; older ones are left out, and the span before
/// them stays without coverage.
const TICKS_MAX: i64 = 1_000;

/// The ticks of one venue, each once and in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alive {
    last: Option<EventTime>,
    is_unbroken: bool,
}

impl Alive {
    /// Forgets that the feed was live up to the last tick: ticks of a gap are never written.
    pub(crate) const fn break_off(&mut self) {
        self.is_unbroken = false;
    }

    /// Returns the ticks that `newest`, the newest venue time on a socket that is proven live, has passed.
    pub(crate) fn advance(&mut self, newest: EventTime) -> impl Iterator<Item = EventTime> + use<> {
        let until = (newest.as_millis() - GRACE_MS).div_euclid(TICK_MS);
        let first = match self.last.map(|last| last.as_millis() / TICK_MS + 1) {
            Some(next) if self.is_unbroken => next.max(until + 1 - TICKS_MAX),
            Some(next) => next.max(until),
            None => until,
        };
        if first <= until {
            self.last = Some(EventTime::from_millis(until * TICK_MS));
            self.is_unbroken = true;
        }
        (first..=until).map(|tick| EventTime::from_millis(tick * TICK_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_772_622_790_000;

    fn ticks(alive: &mut Alive, offset_ms: i64) -> Vec<i64> {
        alive.advance(EventTime::from_millis(START + offset_ms)).map(|tick| tick.as_millis() - START).collect()
    }

    #[test]
    fn a_tick_is_three_seconds_late_and_written_once() {
        let mut alive = Alive::default();
        assert_eq!(ticks(&mut alive, 2_999), [-5_000]);
        assert_eq!(ticks(&mut alive, 3_000), [0]);
        assert_eq!(ticks(&mut alive, 7_999), [0; 0]);
        assert_eq!(ticks(&mut alive, 1_000), [0; 0]);
        assert_eq!(ticks(&mut alive, 18_000), [5_000, 10_000, 15_000]);
    }

    #[test]
    fn the_ticks_of_a_gap_are_left_out() {
        let mut alive = Alive::default();
        assert_eq!(ticks(&mut alive, 3_000), [0]);
        alive.break_off();
        assert_eq!(ticks(&mut alive, 63_000), [60_000]);
        alive.break_off();
        assert_eq!(ticks(&mut alive, 63_000), [0; 0]);
        assert_eq!(ticks(&mut alive, 73_000), [70_000]);
    }

    #[test]
    fn a_jump_of_days_writes_only_the_newest_thousand() {
        let mut alive = Alive::default();
        assert_eq!(ticks(&mut alive, 3_000), [0]);
        let written = ticks(&mut alive, 86_400_000 + 3_000);
        assert_eq!(written.len(), 1_000);
        assert_eq!(written.last(), Some(&86_400_000));
    }
}
