//! Send or hold, and why: a pure function over an alert and what a recipient was told before.

mod held;
mod history;
mod quiet;

use std::time::Duration;

use schemas::{
    alert::{Alert, Direction, Finding, Kind, Phase, Priority},
    amount::Ratio,
    id::Id,
    subscriber::{Preferences, Standing, Subscriber, Thresholds},
    time::EventTime,
};

use crate::{
    caps::{RATE_LIMIT_MAX, REPEAT_AFTER, TIME_TO_LIVE, TRIAL_AFTER},
    recipient::Channel,
    time::{WallTime, millis},
};

pub use held::Held;
pub use history::History;
pub(crate) use quiet::is_quiet;

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
    /// The way messages go; recipients on another one are not decided about.
    pub channel: Channel,
    /// Another program uses the token too, so nobody tells us that a chat is back.
    pub shared_token: bool,
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
    /// It is to be sent as a first message.
    Send,
    /// It is to be sent as a reply to the first message of its thread.
    Reply,
    /// The first message of its thread is to show it.
    Edit,
    /// It is not to be told.
    Hold(Reason),
}

impl Decision {
    /// Returns the stable name under which the ledger, logs and metrics count it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Reply => "reply",
            Self::Edit => "edit",
            Self::Hold(reason) => reason.as_str(),
        }
    }
}

/// Why an alert is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The recipient unsubscribed, or Telegram refuses messages to it.
    Off,
    /// Alerts of this kind are switched off by configuration.
    Disabled,
    /// The recipient does not want it: base, kind, mute, own threshold, priority.
    Filter,
    /// It ends something the recipient was not told of.
    Phase,
    /// It is past its time to live.
    Expired {
        /// Its age on this host's clock, in milliseconds.
        age_ms: i64,
    },
    /// The recipient's quiet hours.
    Quiet,
    /// A single liquidation inside a cascade.
    Cascade,
    /// The recipient was told of this base and kind within five minutes.
    FiveMinutes,
    /// The recipient was told of this base within the configured rate limit.
    Rate,
    /// The hour has no place left for its priority.
    Hour,
}

impl Reason {
    /// Returns the stable name used in the ledger, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "held:off",
            Self::Disabled => "held:disabled",
            Self::Filter => "held:filter",
            Self::Phase => "held:phase",
            Self::Expired { .. } => "expired",
            Self::Quiet => "held:quiet",
            Self::Cascade => "held:cascade",
            Self::FiveMinutes => "held:five_minutes",
            Self::Rate => "held:rate",
            Self::Hour => "held:hour",
        }
    }
}

/// When a decision is made, on both clocks (design 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The largest event time decided so far, this alert included: limits run on it, so that decisions replay.
    pub clock: EventTime,
    /// This host's clock: time to live, quiet hours, mutes and trials run on it.
    pub wall: WallTime,
}

/// Decides about one alert for one recipient. The first rule of design 5 that matches wins.
pub fn decide(alert: &Alert, subscriber: &Subscriber, history: &History, policy: &Policy, now: Now) -> Decision {
    let phase = phase(alert);
    match unwanted(alert, subscriber, policy, now.wall) {
        Some(reason) => Decision::Hold(reason),
        None => match thread(alert).filter(|thread| goes_on(phase) && history.has_thread(*thread, now.clock)) {
            Some(thread) => go_on(alert, thread, subscriber, history, policy, now),
            None if phase == Some(Phase::Ended) => Decision::Hold(Reason::Phase),
            None => limit(alert, subscriber, history, policy, now).map_or(Decision::Send, Decision::Hold),
        },
    }
}

/// Rule 1, and what comes before every rule: who gets nothing at all, and what is switched off for all. It needs no history.
pub fn unwanted(alert: &Alert, subscriber: &Subscriber, policy: &Policy, now: WallTime) -> Option<Reason> {
    if !gets_alerts(alert, subscriber, policy, now) {
        Some(Reason::Off)
    } else if !policy.enables(alert.kind()) {
        Some(Reason::Disabled)
    } else if !wants(alert, &subscriber.preferences, now) {
        Some(Reason::Filter)
    } else {
        None
    }
}

fn gets_alerts(alert: &Alert, subscriber: &Subscriber, policy: &Policy, now: WallTime) -> bool {
    match &subscriber.standing {
        Standing::Active => true,
        Standing::Off { .. } => {
            let rested = now.as_millis().saturating_sub(subscriber.at) >= millis(TRIAL_AFTER);
            policy.shared_token && alert.priority == Priority::High && rested
        }
        Standing::Unsubscribed | Standing::Moved { .. } => false,
    }
}

fn wants(alert: &Alert, preferences: &Preferences, now: WallTime) -> bool {
    let kind = alert.kind();
    let is_muted = preferences.mutes.iter().any(|mute| {
        mute.until > now.as_millis()
            && mute.base.as_ref().is_none_or(|base| *base == alert.base)
            && mute.kind.is_none_or(|muted| muted == kind)
    });
    preferences.bases.as_ref().is_none_or(|bases| bases.contains(&alert.base))
        && preferences.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
        && !is_muted
        && preferences.thresholds.get(&alert.base).is_none_or(|own| reaches(alert, own))
        && alert.priority >= preferences.min_priority
}

fn reaches(alert: &Alert, own: &Thresholds) -> bool {
    match &alert.finding {
        Finding::LargeLiquidation(large) => own.single_usd.is_none_or(|least| large.notional_usd >= least),
        Finding::Cascade(cascade) => {
            own.cascade_usd.is_none_or(|least| cascade.notional_usd >= least)
                && own.cascade_count.is_none_or(|least| cascade.count >= least)
        }
        Finding::OiExplosion(explosion) => {
            let change = Ratio::new(explosion.change_pct.value().abs());
            own.change_pct.is_none_or(|least| change >= least)
        }
    }
}

/// Rule 2: the chat has a message of this thread. A reply skips the quiet hours, the five minutes and the rate.
fn go_on(alert: &Alert, thread: Id, subscriber: &Subscriber, history: &History, policy: &Policy, now: Now) -> Decision {
    let is_news = phase(alert) == Some(Phase::Escalated)
        && !subscriber.preferences.edits_only
        && !history.replied_lately(thread, now.clock)
        && policy.market.expired(alert.event_time, now.wall).is_none()
        && !history.is_full(alert.priority, now.clock);
    if is_news { Decision::Reply } else { Decision::Edit }
}

/// Rules 3 to 8.
fn limit(
    alert: &Alert,
    subscriber: &Subscriber,
    history: &History,
    policy: &Policy,
    Now { clock, wall }: Now,
) -> Option<Reason> {
    let preferences = &subscriber.preferences;
    if let Some(age_ms) = policy.market.expired(alert.event_time, wall) {
        return Some(Reason::Expired { age_ms });
    }
    let limited = |RateLimit(limit)| history.told_of_base_within(&alert.base, clock, limit);
    if preferences.quiet.as_ref().is_some_and(|quiet| is_quiet(quiet, wall)) {
        Some(Reason::Quiet)
    } else if is_part_of_a_cascade(alert, preferences) {
        Some(Reason::Cascade)
    } else if history.told_within(&alert.base, alert.kind(), clock, REPEAT_AFTER) {
        Some(Reason::FiveMinutes)
    } else if policy.rate_limit.is_some_and(limited) {
        Some(Reason::Rate)
    } else if history.is_full(alert.priority, clock) {
        Some(Reason::Hour)
    } else {
        None
    }
}

/// A chat that takes no cascades is told of the singles inside one.
fn is_part_of_a_cascade(alert: &Alert, preferences: &Preferences) -> bool {
    let takes_cascades = preferences.kinds.as_ref().is_none_or(|kinds| kinds.contains(&Kind::Cascade));
    match &alert.finding {
        Finding::LargeLiquidation(large) => {
            large.episode.is_some() && alert.priority != Priority::High && takes_cascades
        }
        Finding::Cascade(_) | Finding::OiExplosion(_) => false,
    }
}

/// Returns what the messages about an alert belong to: a cascade's episode, or the explosion of a base in one direction.
pub(crate) fn thread(alert: &Alert) -> Option<Id> {
    match &alert.finding {
        Finding::LargeLiquidation(_) => None,
        Finding::Cascade(cascade) => Some(cascade.episode),
        Finding::OiExplosion(explosion) => {
            let direction = match explosion.direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            Some(Id::of("explosion", &[alert.base.as_str(), direction]))
        }
    }
}

pub(crate) const fn phase(alert: &Alert) -> Option<Phase> {
    match &alert.finding {
        Finding::LargeLiquidation(_) => None,
        Finding::Cascade(cascade) => Some(cascade.phase),
        Finding::OiExplosion(explosion) => Some(explosion.phase),
    }
}

/// Returns whether an alert continues what was told before. A `started` begins its thread anew.
const fn goes_on(phase: Option<Phase>) -> bool {
    match phase {
        None | Some(Phase::Started) => false,
        Some(Phase::Escalated | Phase::Updated | Phase::Ended) => true,
    }
}

#[cfg(test)]
mod tests;
