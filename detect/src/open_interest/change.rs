//! A change from one quantity to another, compared without rounding.

use rust_decimal::Decimal;
use schemas::alert::Direction;

/// A quantity before and after, both in the same unit and not negative.
///
/// Every operation that decimals do not hold gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: Decimal,
    pub(crate) after: Decimal,
}

impl Change {
    /// Returns the change of all together, or nothing of none.
    pub(crate) fn sum(changes: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut changes = changes.into_iter();
        let first = changes.next()?;
        changes.try_fold(first, |sum, change| {
            Some(Self { before: sum.before.checked_add(change.before)?, after: sum.after.checked_add(change.after)? })
        })
    }

    /// Returns the change in percent of what was before, or nothing where there was nothing before.
    pub(crate) fn pct(self) -> Option<Decimal> {
        self.after.checked_sub(self.before)?.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(self.before)
    }

    /// Whether it is a change of at least `pct` percent in `direction`.
    pub(crate) fn reaches(self, direction: Direction, pct: Decimal) -> bool {
        self.compare(direction, pct) == Some(true)
    }

    fn compare(self, direction: Direction, pct: Decimal) -> Option<bool> {
        let gained = match direction {
            Direction::Up => self.after.checked_sub(self.before)?,
            Direction::Down => self.before.checked_sub(self.after)?,
        };
        Some(gained.checked_mul(Decimal::ONE_HUNDRED)? >= pct.checked_mul(self.before)?)
    }

    /// Returns the largest of 1, 2, 4, 8 … whose multiple of `pct` percent is reached in `direction`; at least 1.
    pub(crate) fn level(self, direction: Direction, pct: Decimal) -> u64 {
        let mut level = 1_u64;
        while let Some(next) = level.checked_mul(2)
            && pct.checked_mul(next.into()).is_some_and(|pct| self.reaches(direction, pct))
        {
            level = next;
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: i64, after: i64) -> Change {
        Change { before: before.into(), after: after.into() }
    }

    #[test]
    fn a_change_is_compared_exactly() {
        let fifteen = Decimal::from(15);
        assert!(change(1_000_000, 1_150_000).reaches(Direction::Up, fifteen));
        assert!(!change(1_000_000, 1_149_999).reaches(Direction::Up, fifteen));
        assert!(change(1_000_000, 850_000).reaches(Direction::Down, fifteen));
        assert!(!change(1_000_000, 850_001).reaches(Direction::Down, fifteen));
        assert!(!change(1_000_000, 1_150_000).reaches(Direction::Down, fifteen));
        // 0.1 * 3 steps of a third: no rounding on the way.
        assert!(!change(3, 3).reaches(Direction::Up, Decimal::new(1, 28)));
    }

    #[test]
    fn levels_are_powers_of_two() {
        let level = |after| change(1000, after).level(Direction::Up, Decimal::from(15));
        assert_eq!([1150, 1299, 1300, 1599, 1600, 2200].map(level), [1, 1, 2, 2, 4, 8]);
        assert_eq!(change(1000, 400).level(Direction::Down, Decimal::from(15)), 4);
    }

    #[test]
    fn a_sum_weighs_by_size_and_nothing_has_none() {
        assert_eq!(Change::sum([change(100, 120), change(300, 300)]), Some(change(400, 420)));
        assert_eq!(Change::sum([]), None);
        assert_eq!(change(400, 420).pct(), Some(Decimal::from(5)));
        assert_eq!(change(0, 420).pct(), None);
        let huge = Change { before: Decimal::MAX, after: Decimal::MAX };
        assert_eq!(Change::sum([huge, huge]), None);
        assert_eq!(huge.pct(), Some(Decimal::ZERO));
    }
}
