//! Events become rows.

use notify::text::figures::{percent, usd};
use rusqlite::{Transaction, params};
use schemas::{
    alert::{Alert, Finding, Phase},
    delivery::{Decision, Delivery, Feedback, LedgerEvent, Outcome},
    id::Id,
    position::{Created, Sequence},
};

use super::{HistoryError, Model, Source};

/// Bits of a latency that are kept: it is rounded down by less than a thirty-second part.
const BITS: u32 = 6;

/// Events taken in and not yet stored.
pub(crate) struct Fold<'a> {
    transaction: Transaction<'a>,
}

impl Model {
    /// Begins to take in events.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn fold(&mut self) -> Result<Fold<'_>, HistoryError> {
        Ok(Fold { transaction: self.db.transaction()? })
    }
}

impl Fold<'_> {
    /// Takes in the alert at a place of ALERTS; `detected_at` is the host's clock, in milliseconds since 1970 UTC, absent in a recorded market,
    /// where it says nothing.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn alert(&self, place: Sequence, alert: &Alert, detected_at: Option<i64>) -> Result<(), HistoryError> {
        let phase = match &alert.finding {
            Finding::LargeLiquidation(_) => None,
            Finding::Cascade(cascade) => Some(cascade.phase),
            Finding::OiExplosion(explosion) => Some(explosion.phase),
        };
        let at = alert.event_time.as_millis();
        let insert = "INSERT OR IGNORE INTO alert VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.transaction.prepare_cached(insert)?.execute(params![
            alert.id.to_string(),
            alert.base.as_str(),
            alert.kind().as_str(),
            phase.map(Phase::as_str),
            format!("{:?}", alert.priority).to_lowercase(),
            at,
            detected_at.map(|detected| detected.saturating_sub(at).max(0)),
            headline(alert),
            place.get(),
        ])?;
        Ok(())
    }

    /// Takes in the event at a place of DELIVERIES; `is_live` says whether times between venue and recipient mean something.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub(crate) fn ledger(&self, place: Sequence, event: &LedgerEvent, is_live: bool) -> Result<(), HistoryError> {
        match event {
            LedgerEvent::Decision(decision) => self.decision(place, decision),
            LedgerEvent::Delivery(delivery) => self.delivery(place, delivery, is_live),
            LedgerEvent::Feedback(feedback) => self.feedback(place, feedback),
            LedgerEvent::Note(_) | LedgerEvent::Update(_) => Ok(()),
        }
    }

    fn decision(&self, place: Sequence, decision: &Decision) -> Result<(), HistoryError> {
        let alert = decision.alert.to_string();
        let insert = "INSERT OR IGNORE INTO decision VALUES (?1, ?2)";
        let is_new = self.transaction.prepare_cached(insert)?.execute(params![alert, place.get()])?;
        if is_new == 1 {
            let mut insert = self.transaction.prepare_cached("INSERT INTO decided VALUES (?1, ?2, ?3)")?;
            for (reason, count) in &decision.recipients {
                insert.execute(params![alert, reason, count])?;
            }
        }
        Ok(())
    }

    fn delivery(&self, place: Sequence, delivery: &Delivery, is_live: bool) -> Result<(), HistoryError> {
        let (name, ends) = match &delivery.outcome {
            Outcome::Intent { .. } => return self.intent(place, delivery),
            // Only counted in the decision: it was never on its way.
            Outcome::Limited { .. } => return Ok(()),
            Outcome::Sent { .. } => ("sent".to_owned(), true),
            Outcome::Failed { reason } => (reason.clone(), true),
            Outcome::Expired { .. } => ("expired".to_owned(), true),
            Outcome::Attempt { .. } => ("attempt".to_owned(), false),
            Outcome::Deferred { reason, .. } => (format!("deferred:{reason}"), false),
            Outcome::Edited { .. } => ("edited".to_owned(), false),
            Outcome::Gone { .. } => ("gone".to_owned(), false),
        };
        // A second end of the same message, or one that was held for its age: neither arrived nor failed.
        let is_known = if ends { self.close(delivery)? } else { self.is_known(delivery)? };
        if !is_known {
            return Ok(());
        }
        self.count(delivery.alert, &name)?;
        if is_live && matches!(delivery.outcome, Outcome::Sent { .. }) {
            let ms = rounded(delivery.at.saturating_sub(delivery.event_time.as_millis()));
            let add = "INSERT INTO latency VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET count = count + 1";
            self.transaction.prepare_cached(add)?.execute(params![delivery.alert.to_string(), ms])?;
        }
        Ok(())
    }

    /// A message is due. One that comes after the decision is a late copy, as for the outbox.
    fn intent(&self, place: Sequence, delivery: &Delivery) -> Result<(), HistoryError> {
        let insert =
            "INSERT OR IGNORE INTO open SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM decision WHERE alert = ?1)";
        let row = params![delivery.alert.to_string(), recipient(delivery).to_string(), place.get()];
        if self.transaction.prepare_cached(insert)?.execute(row)? == 1 {
            self.count(delivery.alert, "due")?;
        }
        Ok(())
    }

    fn close(&self, delivery: &Delivery) -> Result<bool, HistoryError> {
        let delete = "DELETE FROM open WHERE alert = ?1 AND recipient = ?2";
        let key = params![delivery.alert.to_string(), recipient(delivery).to_string()];
        Ok(self.transaction.prepare_cached(delete)?.execute(key)? == 1)
    }

    /// Returns whether an alert is decided, or on its way already. Else the log holds its end only.
    fn is_known(&self, delivery: &Delivery) -> Result<bool, HistoryError> {
        let question = "SELECT EXISTS (SELECT 1 FROM decision WHERE alert = ?1)
          OR EXISTS (SELECT 1 FROM open WHERE alert = ?1 AND recipient = ?2)";
        let key = params![delivery.alert.to_string(), recipient(delivery).to_string()];
        Ok(self.transaction.prepare_cached(question)?.query_row(key, |row| row.get(0))?)
    }

    fn count(&self, alert: Id, name: &str) -> Result<(), HistoryError> {
        let add = "INSERT INTO outcome VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET count = count + 1";
        self.transaction.prepare_cached(add)?.execute(params![alert.to_string(), name])?;
        Ok(())
    }

    /// The last word of a person counts.
    fn feedback(&self, place: Sequence, feedback: &Feedback) -> Result<(), HistoryError> {
        let set = "INSERT OR REPLACE INTO rating VALUES (?1, ?2, ?3, ?4)";
        let row = params![feedback.alert.to_string(), feedback.by.to_string(), feedback.useful, place.get()];
        self.transaction.prepare_cached(set)?.execute(row)?;
        Ok(())
    }

    /// Stores everything, and where to go on.
    ///
    /// # Errors
    /// See [`HistoryError`]; nothing is stored then.
    pub(crate) fn commit(self, source: Source, created: Created, next: Sequence) -> Result<(), HistoryError> {
        let set = "INSERT OR REPLACE INTO place VALUES (?1, ?2, ?3)";
        self.transaction.execute(set, params![source.as_str(), created.as_nanos(), next.get()])?;
        Ok(self.transaction.commit()?)
    }
}

/// Recipients are told apart, never named: the file may be handed around.
fn recipient(delivery: &Delivery) -> Id {
    Id::of("recipient", &[&delivery.channel, &delivery.recipient])
}

/// Rounds a latency down to a few significant bits, so that there are few different ones.
fn rounded(ms: i64) -> i64 {
    let ms = ms.max(0);
    let shift = (i64::BITS - ms.leading_zeros()).saturating_sub(BITS);
    (ms >> shift) << shift
}

/// Returns the figures that matter most.
fn headline(alert: &Alert) -> String {
    match &alert.finding {
        Finding::LargeLiquidation(large) => usd(large.notional_usd),
        Finding::Cascade(cascade) => {
            format!("{} in {}, tier {}", usd(cascade.notional_usd), cascade.count, cascade.tier)
        }
        Finding::OiExplosion(explosion) => {
            format!("{} on {}/{}", percent(explosion.change_pct), explosion.confirming, explosion.reporting)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_loses_less_than_a_thirty_second_part() {
        for ms in (0..100_000).chain([i64::MAX / 2]) {
            let kept = rounded(ms);
            assert!(kept <= ms && ms - kept <= ms / 32, "{ms} {kept}");
        }
        assert_eq!([rounded(-5), rounded(63), rounded(64), rounded(65)], [0, 63, 64, 64]);
    }
}
