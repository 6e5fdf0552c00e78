//! The only file that spells stream names, subjects, consumers, buckets and headers.

use std::str::FromStr;

use crate::{
    alert::Kind,
    delivery::{Delivery, Feedback, LedgerEvent, Note, Update},
    id::Id,
    name::{Base, Venue, subject_token},
};

/// Header: `<type>/<version>` of the payload.
pub const HEADER_SCHEMA: &str = "Foreshock-Schema";
/// Header: host clock when an alert was detected, milliseconds since 1970 UTC.
pub const HEADER_DETECTED_AT: &str = "Foreshock-Detected-At";
/// Header: [`crate::position::MarketPosition`] of the firing event.
pub const HEADER_POSITION: &str = "Foreshock-Position";
/// Header: [`crate::position::Evidence`] of an alert.
pub const HEADER_EVIDENCE: &str = "Foreshock-Evidence";

/// A stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// What venues said, what state each feed was in, which rules came into force.
    Market,
    /// An index of every version of the rules.
    Rules,
    /// What we concluded.
    Alerts,
    /// What we decided and sent.
    Deliveries,
    /// Preferences, as events.
    Subscribers,
    /// What could not be decoded or processed.
    Dead,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 6] =
        [Self::Market, Self::Rules, Self::Alerts, Self::Deliveries, Self::Subscribers, Self::Dead];

    /// Returns the name without prefix.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "MARKET",
            Self::Rules => "RULES",
            Self::Alerts => "ALERTS",
            Self::Deliveries => "DELIVERIES",
            Self::Subscribers => "SUBSCRIBERS",
            Self::Dead => "DEAD",
        }
    }
}

/// A key-value bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Snapshots of the detector.
    State,
    /// Who sends, who polls a venue's REST.
    Leases,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 2] = [Self::State, Self::Leases];

    /// Returns the name without prefix.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Leases => "LEASES",
        }
    }
}

/// A prefix is not usable in names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no prefix: [a-z0-9-], at most 16 characters, or nothing")]
pub struct InvalidPrefix(String);

/// Builds every name, with one configurable prefix: several installations, or a replay beside production.
///
/// With the prefix `p` the stream is `p-MARKET` and the subject `p.market.…`; without one `MARKET` and `market.…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl FromStr for Names {
    type Err = InvalidPrefix;

    fn from_str(prefix: &str) -> Result<Self, Self::Err> {
        let valid =
            prefix.len() <= 16 && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid { Ok(Self { prefix: prefix.to_owned() }) } else { Err(InvalidPrefix(prefix.to_owned())) }
    }
}

impl Names {
    /// Returns the prefix, empty when there is none.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn subject(&self, rest: &str) -> String {
        if self.prefix.is_empty() { rest.to_owned() } else { format!("{}.{rest}", self.prefix) }
    }

    fn name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}-{name}", self.prefix) }
    }

    /// Returns the name of a stream.
    pub fn stream(&self, stream: Stream) -> String {
        self.name(stream.as_str())
    }

    /// Returns the name of a bucket.
    pub fn bucket(&self, bucket: Bucket) -> String {
        self.name(bucket.as_str())
    }

    /// Returns the subjects a stream stores.
    pub fn stream_subjects(&self, stream: Stream) -> Vec<String> {
        let subjects: &[&str] = match stream {
            Stream::Market => {
                &["market.liquidation.*.*", "market.oi.*.*", "market.feed.*", "market.rules", "market.canary"]
            }
            Stream::Rules => &["rules.*"],
            Stream::Alerts => &["alert.*.*.*", "canary.*"],
            Stream::Deliveries => &["delivery.*.*", "decision.*"],
            Stream::Subscribers => &["subscriber.*.*"],
            Stream::Dead => &["dead.*.*"],
        };
        subjects.iter().map(|subject| self.subject(subject)).collect()
    }

    /// Returns the subject of a liquidation.
    pub fn liquidation(&self, venue: &Venue, base: &Base) -> String {
        self.subject(&format!("market.liquidation.{venue}.{}", subject_token(base.as_str())))
    }

    /// Returns the filter for every liquidation of a venue.
    pub fn liquidations_of(&self, venue: &Venue) -> String {
        self.subject(&format!("market.liquidation.{venue}.*"))
    }

    /// Returns the filter for every liquidation.
    pub fn liquidations(&self) -> String {
        self.subject("market.liquidation.*.*")
    }

    /// Returns the subject of an open-interest sample.
    pub fn open_interest(&self, venue: &Venue, base: &Base) -> String {
        self.subject(&format!("market.oi.{venue}.{}", subject_token(base.as_str())))
    }

    /// Returns the subject of a feed's state.
    pub fn feed(&self, venue: &Venue) -> String {
        self.subject(&format!("market.feed.{venue}"))
    }

    /// Returns the subject of the rules in MARKET.
    pub fn rules(&self) -> String {
        self.subject("market.rules")
    }

    /// Returns the subject of canaries in MARKET.
    pub fn canary(&self) -> String {
        self.subject("market.canary")
    }

    /// Returns the subject of one canary in ALERTS. It is none of `alert.>`, which other programs listen to.
    pub fn canary_seen(&self, id: Id) -> String {
        self.subject(&format!("canary.{id}"))
    }

    /// Returns whether a subject of ALERTS is a canary's.
    pub fn is_canary(&self, subject: &str) -> bool {
        subject.starts_with(&self.subject("canary."))
    }

    /// Returns the filter for every alert.
    pub fn alerts(&self) -> String {
        self.subject("alert.*.*.*")
    }

    /// Returns the subject of one version in RULES.
    pub fn rules_version(&self, version: u64) -> String {
        self.subject(&format!("rules.{version}"))
    }

    /// Returns the subject of one alert: its own, so that storing it twice can be refused.
    pub fn alert(&self, kind: Kind, base: &Base, id: Id) -> String {
        self.subject(&format!("alert.{}.{}.{id}", kind.as_str(), subject_token(base.as_str())))
    }

    /// Returns the filter for the one alert of an id.
    pub fn alert_with_id(&self, id: Id) -> String {
        self.subject(&format!("alert.*.*.{id}"))
    }

    /// Returns the filter for every liquidation of a base.
    pub fn liquidations_of_base(&self, base: &Base) -> String {
        self.subject(&format!("market.liquidation.*.{}", subject_token(base.as_str())))
    }

    /// Returns the filter for every open-interest sample of a base.
    pub fn open_interest_of_base(&self, base: &Base) -> String {
        self.subject(&format!("market.oi.*.{}", subject_token(base.as_str())))
    }

    /// Returns the filter for the states of every feed.
    pub fn feeds(&self) -> String {
        self.subject("market.feed.*")
    }

    /// Returns the subject of everything between us and one recipient.
    pub fn delivery(&self, channel: &str, recipient: &str) -> String {
        self.subject(&format!("delivery.{}.{}", subject_token(channel), subject_token(recipient)))
    }

    /// Returns the subject of the one decision about an alert.
    pub fn decision(&self, alert: Id) -> String {
        self.subject(&format!("decision.{alert}"))
    }

    /// Returns the subject of an event of the ledger.
    pub fn ledger(&self, event: &LedgerEvent) -> String {
        match event {
            LedgerEvent::Decision(decision) => self.decision(decision.alert),
            LedgerEvent::Delivery(Delivery { channel, recipient, .. })
            | LedgerEvent::Note(Note { channel, recipient, .. })
            | LedgerEvent::Feedback(Feedback { channel, recipient, .. })
            | LedgerEvent::Update(Update { channel, recipient, .. }) => self.delivery(channel, recipient),
        }
    }

    /// Returns the subject of one recipient's preferences.
    pub fn subscriber(&self, channel: &str, recipient: &str) -> String {
        self.subject(&format!("subscriber.{}.{}", subject_token(channel), subject_token(recipient)))
    }

    /// Returns the subject of what could not be processed.
    pub fn dead(&self, stream: Stream, reason: &str) -> String {
        self.subject(&format!("dead.{}.{}", stream.as_str(), subject_token(reason)))
    }

    /// Returns the name of the notifier's durable consumer of ALERTS.
    pub const fn notify_consumer(&self) -> &'static str {
        "notify"
    }

    /// Returns the name of a service as `nats micro ls` shows it.
    pub fn service(&self, role: &str) -> String {
        self.name(&format!("foreshock-{role}"))
    }

    /// Returns the subject on which services of a role answer with their state.
    pub fn service_status(&self, role: &str) -> String {
        self.subject(&format!("service.{role}.status"))
    }

    /// Returns the subject on which other programs change what a chat is told.
    pub fn service_subscriptions(&self) -> String {
        self.subject("service.notify.subscriptions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_prefix_are_those_of_the_contract() {
        let names = Names::default();
        let base: Base = "BTC".parse().unwrap();
        let venue: Venue = "okx".parse().unwrap();
        let id = Id::of("test", &[]);
        assert_eq!(names.stream(Stream::Market), "MARKET");
        assert_eq!(names.liquidation(&venue, &base), "market.liquidation.okx.BTC");
        assert_eq!(names.open_interest(&venue, &base), "market.oi.okx.BTC");
        assert_eq!(names.feed(&venue), "market.feed.okx");
        assert_eq!(names.rules(), "market.rules");
        assert_eq!(names.alert(Kind::Cascade, &base, id), format!("alert.cascade.BTC.{id}"));
        assert_eq!(names.alert_with_id(id), format!("alert.*.*.{id}"));
        assert_eq!(names.delivery("telegram", "-100123"), "delivery.telegram.-100123");
        assert_eq!(names.decision(id), format!("decision.{id}"));
        assert_eq!(names.subscriber("telegram", "-100123"), "subscriber.telegram.-100123");
        assert_eq!(names.dead(Stream::Market, "undecodable"), "dead.MARKET.undecodable");
    }

    #[test]
    fn a_prefix_is_in_every_name() {
        let names: Names = "replay".parse().unwrap();
        assert_eq!(names.stream(Stream::Market), "replay-MARKET");
        assert_eq!(names.bucket(Bucket::State), "replay-STATE");
        assert_eq!(names.rules(), "replay.market.rules");
        for prefix in ["a.b", "A", "a b", "seventeen-letters"] {
            assert!(prefix.parse::<Names>().is_err(), "{prefix}");
        }
    }

    #[test]
    fn venue_symbols_are_escaped() {
        let base: Base = "币安人生".parse().unwrap();
        let subject = Names::default().liquidation(&"binance".parse().unwrap(), &base);
        assert_eq!(subject, "market.liquidation.binance.x-e5b881e5ae89e4babae7949f");
    }
}
