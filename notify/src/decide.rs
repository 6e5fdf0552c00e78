//! Send or hold, and why: a pure function over an alert and what a recipient was told before.

use std::{collections::BTreeMap, time::Duration};

use schemas::{
    alert::{Alert, Finding, Kind, Phase},
    delivery::{LedgerEvent, Outcome},
    name::Base,
    time::EventTime,
};

use crate::{
    caps::{RATE_LIMIT_MAX, REPEAT_AFTER, TIME_TO_LIVE},
    recipient::Recipient,
    time::{WallTime, millis},
};

/// Whether alerts are of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// They are: an old one is no news.
    Live,
    /// They come from a recording: time to live is off, and no latency is shown.
    Recorded,
}

impl Market {
    /// Returns the age of an alert in milliseconds when it is past its time to live.
    pub(crate) fn expired(self, event_time: EventTime, now: WallTime) -> Option<i64> {
        let age_ms = now.millis_after(event_time);
        match self {
            Self::Live => (age_ms > millis(TIME_TO_LIVE)).then_some(age_ms),
            Self::Recorded => None,
        }
    }
}

/// The least event time between two messages about one base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(Duration);

/// A rate limit is longer than histories remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate limit of {} s is over the limit of {} s", .0.as_secs(), RATE_LIMIT_MAX.as_secs())]
pub struct RateLimitTooLong(pub Duration);

impl RateLimit {
    /// Takes `ALERT_RATE_LIMIT_SECONDS`.
    ///
    /// # Errors
    /// [`RateLimitTooLong`] above [`RATE_LIMIT_MAX`].
    pub fn new(limit: Duration) -> Result<Self, RateLimitTooLong> {
        if limit > RATE_LIMIT_MAX { Err(RateLimitTooLong(limit)) } else { Ok(Self(limit)) }
    }
}

/// What the operator configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Live or recorded.
    pub market: Market,
    /// `ENABLE_LIQUIDATION_ALERTS`: large liquidations and cascades.
    pub liquidation_alerts: bool,
    /// `ENABLE_OI_ALERTS`: open-interest explosions.
    pub oi_alerts: bool,
    /// `ALERT_RATE_LIMIT_SECONDS`, when it is configured.
    pub rate_limit: Option<RateLimit>,
}

impl Policy {
    const fn enables(&self, kind: Kind) -> bool {
        match kind {
            Kind::LargeLiquidation | Kind::Cascade => self.liquidation_alerts,
            Kind::OiExplosion => self.oi_alerts,
        }
    }
}

/// What was decided about one alert for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is to be sent.
    Send,
    /// It is not.
    Hold(Reason),
}

impl Decision {
    /// Returns the stable name under which the ledger, logs and metrics count it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Hold(reason) => reason.as_str(),
        }
    }
}

/// Why an alert is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Alerts of this kind are switched off.
    Disabled,
    /// It continues something that was told when it started.
    Phase,
    /// It is past its time to live.
    Expired {
        /// Its age on this host's clock, in milliseconds.
        age_ms: i64,
    },
    /// The recipient was told of this base and kind within five minutes.
    FiveMinutes,
    /// The recipient was told of this base within the configured rate limit.
    Rate,
}

impl Reason {
    /// Returns the stable name used in the ledger, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "held:disabled",
            Self::Phase => "held:phase",
            Self::Expired { .. } => "expired",
            Self::FiveMinutes => "held:five_minutes",
            Self::Rate => "held:rate",
        }
    }
}

/// What one recipient was told: a fold of the ledger, in its stored order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    recipient: Recipient,
    /// The largest event time decided so far; it never goes back.
    clock: Option<EventTime>,
    /// For each base and kind the clock when it was last to be sent.
    told: BTreeMap<(Base, Kind), EventTime>,
}

impl History {
    /// Returns the history of somebody who was told nothing.
    pub const fn new(recipient: Recipient) -> Self {
        Self { recipient, clock: None, told: BTreeMap::new() }
    }

    /// Takes in an event of the ledger. A decision is about every recipient, a delivery about its own.
    pub fn apply(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Decision(decision) => self.clock = Some(self.clock_with(decision.event_time)),
            LedgerEvent::Delivery(delivery) => {
                if delivery.channel != self.recipient.channel() || delivery.recipient != self.recipient.name() {
                    return;
                }
                let clock = self.clock_with(delivery.event_time);
                self.clock = Some(clock);
                match delivery.outcome {
                    Outcome::Intent { .. } => {
                        self.told.retain(|_, told| clock.millis_since(*told) < millis(RATE_LIMIT_MAX));
                        self.told.insert((delivery.base.clone(), delivery.kind), clock);
                    }
                    Outcome::Limited { .. }
                    | Outcome::Expired { .. }
                    | Outcome::Attempt { .. }
                    | Outcome::Deferred { .. }
                    | Outcome::Sent { .. }
                    | Outcome::Failed { .. } => {}
                }
            }
        }
    }

    fn clock_with(&self, event_time: EventTime) -> EventTime {
        self.clock.map_or(event_time, |clock| clock.max(event_time))
    }
}

/// Decides about one alert for one recipient. The first rule of design 5 that matches wins.
///
/// `now` judges the time to live alone; the limits run on event time, so that decisions replay.
pub fn decide(alert: &Alert, history: &History, policy: &Policy, now: WallTime) -> Decision {
    if !policy.enables(alert.kind()) {
        return Decision::Hold(Reason::Disabled);
    }
    if !opens(alert) {
        return Decision::Hold(Reason::Phase);
    }
    if let Some(age_ms) = policy.market.expired(alert.event_time, now) {
        return Decision::Hold(Reason::Expired { age_ms });
    }
    let clock = history.clock_with(alert.event_time);
    let within = |told: &EventTime, span: Duration| clock.millis_since(*told) < millis(span);
    if history.told.get(&(alert.base.clone(), alert.kind())).is_some_and(|told| within(told, REPEAT_AFTER)) {
        return Decision::Hold(Reason::FiveMinutes);
    }
    let mut of_base = history.told.iter().filter(|((base, _), _)| *base == alert.base);
    if policy.rate_limit.is_some_and(|RateLimit(limit)| of_base.any(|(_, told)| within(told, limit))) {
        return Decision::Hold(Reason::Rate);
    }
    Decision::Send
}

/// Returns whether an alert is the first of its episode.
const fn opens(alert: &Alert) -> bool {
    let phase = match &alert.finding {
        Finding::LargeLiquidation(_) => return true,
        Finding::Cascade(cascade) => cascade.phase,
        Finding::OiExplosion(explosion) => explosion.phase,
    };
    match phase {
        Phase::Started => true,
        Phase::Escalated | Phase::Updated | Phase::Ended => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const MINUTE: i64 = 60_000;

    fn policy() -> Policy {
        Policy { market: Market::Live, liquidation_alerts: true, oi_alerts: true, rate_limit: None }
    }

    fn recipient() -> Recipient {
        samples::chat(1)
    }

    /// The history of a chat that was to be sent these alerts.
    fn told(alerts: &[Alert]) -> History {
        let mut history = History::new(recipient());
        for alert in alerts {
            history.apply(&samples::delivery(alert, &recipient(), Outcome::Intent { text: String::new() }));
        }
        history
    }

    fn started(kind: Kind, base: &str, minute: i64) -> Alert {
        samples::alert(kind, base, minute * MINUTE)
    }

    /// Decides as soon as the alert happened.
    fn at_once(alert: &Alert, history: &History, policy: &Policy) -> &'static str {
        decide(alert, history, policy, WallTime::from_millis(alert.event_time.as_millis())).as_str()
    }

    #[test]
    fn every_reason_in_its_order() {
        let rate_limit = Some(RateLimit::new(Duration::from_secs(60)).unwrap());
        let no_liquidations = Policy { liquidation_alerts: false, ..policy() };
        let no_oi = Policy { oi_alerts: false, ..policy() };
        let limited = Policy { rate_limit, ..policy() };
        let before = told(&[started(Kind::Cascade, "BTC", 10)]);
        let clock_at_20 = {
            let mut history = before.clone();
            history.apply(&samples::decision(&started(Kind::OiExplosion, "SOL", 20)));
            history
        };
        let phase = |phase| samples::with_phase(started(Kind::Cascade, "BTC", 10), phase);
        let escalated_oi = samples::with_phase(started(Kind::OiExplosion, "BTC", 10), Phase::Escalated);
        for (what, alert, history, policy, expected) in [
            ("nothing was told", started(Kind::Cascade, "BTC", 9), &told(&[]), policy(), "send"),
            ("liquidations off", started(Kind::LargeLiquidation, "BTC", 10), &before, no_liquidations, "held:disabled"),
            ("cascades off, before phase", phase(Phase::Ended), &before, no_liquidations, "held:disabled"),
            ("liquidations off, not OI", started(Kind::OiExplosion, "BTC", 10), &before, no_liquidations, "send"),
            ("OI off", started(Kind::OiExplosion, "BTC", 10), &before, no_oi, "held:disabled"),
            ("escalated", phase(Phase::Escalated), &before, policy(), "held:phase"),
            ("updated", phase(Phase::Updated), &before, policy(), "held:phase"),
            ("ended", phase(Phase::Ended), &before, policy(), "held:phase"),
            ("explosion escalated", escalated_oi, &before, policy(), "held:phase"),
            ("told at once before", started(Kind::Cascade, "BTC", 10), &before, policy(), "held:five_minutes"),
            ("told 4 minutes before", started(Kind::Cascade, "BTC", 14), &before, policy(), "held:five_minutes"),
            ("told 5 minutes before", started(Kind::Cascade, "BTC", 15), &before, policy(), "send"),
            ("an older event", started(Kind::Cascade, "BTC", 1), &before, policy(), "held:five_minutes"),
            ("an older event, clock moved on", started(Kind::Cascade, "BTC", 11), &clock_at_20, policy(), "send"),
            ("another kind", started(Kind::LargeLiquidation, "BTC", 10), &before, policy(), "send"),
            ("another base", started(Kind::Cascade, "ETH", 10), &before, policy(), "send"),
            ("five minutes before rate", started(Kind::Cascade, "BTC", 10), &before, limited, "held:five_minutes"),
            ("another kind, rate", started(Kind::LargeLiquidation, "BTC", 10), &before, limited, "held:rate"),
            ("rate over", started(Kind::LargeLiquidation, "BTC", 11), &before, limited, "send"),
            ("another base, rate", started(Kind::LargeLiquidation, "ETH", 10), &before, limited, "send"),
        ] {
            assert_eq!(at_once(&alert, history, &policy), expected, "{what}");
        }
    }

    #[test]
    fn an_alert_expires_after_two_minutes_unless_the_market_is_recorded() {
        let alert = started(Kind::Cascade, "BTC", 10);
        let recorded = Policy { market: Market::Recorded, ..policy() };
        for (age_ms, policy, expected) in [
            (2 * MINUTE, policy(), Decision::Send),
            (2 * MINUTE + 1, policy(), Decision::Hold(Reason::Expired { age_ms: 2 * MINUTE + 1 })),
            (2 * MINUTE + 1, recorded, Decision::Send),
            (i64::MAX, recorded, Decision::Send),
            (-MINUTE, policy(), Decision::Send),
        ] {
            let now = WallTime::from_millis(alert.event_time.as_millis().saturating_add(age_ms));
            assert_eq!(decide(&alert, &told(&[]), &policy, now), expected, "{age_ms}");
        }
    }

    #[test]
    fn what_is_held_moves_the_clock_but_not_the_five_minutes() {
        let mut history = told(&[started(Kind::Cascade, "BTC", 10)]);
        let held = started(Kind::Cascade, "BTC", 14);
        let limited = Outcome::Limited { reason: Reason::FiveMinutes.as_str().to_owned() };
        history.apply(&samples::delivery(&held, &recipient(), limited));
        assert_eq!(history.clock, Some(held.event_time));
        assert_eq!(at_once(&started(Kind::Cascade, "BTC", 15), &history, &policy()), "send");
    }

    #[test]
    fn what_another_was_told_is_no_repeat() {
        let alert = started(Kind::Cascade, "BTC", 10);
        let mut history = History::new(recipient());
        history.apply(&samples::delivery(&alert, &samples::chat(2), Outcome::Intent { text: String::new() }));
        assert_eq!(at_once(&alert, &history, &policy()), "send");
    }

    #[test]
    fn a_rate_limit_over_an_hour_is_refused() {
        assert!(RateLimit::new(Duration::from_secs(3600)).is_ok());
        assert!(RateLimit::new(Duration::from_secs(3601)).is_err());
    }
}
