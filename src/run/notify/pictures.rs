//! The chart that follows an alert: drawn from MARKET when it is first asked for, uploaded once, then known by its name.

use std::{collections::VecDeque, sync::Arc};

use anyhow::Context as _;
use detect::rules::Rules;
use nats::{Bus, Cursor, RulesVersion};
use notify::{
    failure::{Failure, MessageId, Refusal},
    recipient::ChatId,
    telegram::{Frame, Photo, SendError, Telegram},
};
use schemas::{
    alert::{Alert, Finding, Phase},
    amount::Ratio,
    id::Id,
    market::MarketEvent,
    position::{Evidence, Sequence},
    subject::Stream,
    wire,
};
use tokio::sync::{Mutex, OnceCell};
use tracing::warn;

use crate::chart::{Interest, Liquidations};

/// Alerts whose chart can be asked for: one is dropped a minute after its message, and more starts than this within a
/// minute are more than any chat is told of. An older one is looked up in ALERTS.
const ALERTS_MAX: usize = 32;

/// Places of MARKET before the evidence in which the minutes before an alert are looked for: a minute at the market's worst
/// (a few hundred events a second), hours otherwise.
const LEAD: u64 = 20_000;

/// Longest time before an alert that a chart shows, in milliseconds of venue time: five minutes of liquidations, or a window
/// of open interest with its lead-in.
const SPAN_MS: i64 = 3 * 3600 * 1000;

/// Events a chart is made of; of more the newest.
const EVENTS_MAX: usize = 20_000;

pub(super) struct Pictures {
    bus: Bus,
    alerts: std::sync::Mutex<VecDeque<Arc<Picture>>>,
}

/// One alert's chart.
struct Picture {
    alert: Alert,
    evidence: Evidence,
    /// PNG; absent when it cannot be drawn.
    png: OnceCell<Option<Vec<u8>>>,
    /// Telegram's name of it. Who uploads it holds the lock, and the others wait for the name.
    file: Mutex<Option<String>>,
}

impl Pictures {
    pub(super) fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone(), alerts: std::sync::Mutex::default() }
    }

    /// Remembers an alert that a chart may follow, so that it need not be looked up.
    pub(super) fn remember(&self, alert: &Alert, evidence: Option<Evidence>) {
        let starts = match &alert.finding {
            Finding::LargeLiquidation(_) => false,
            Finding::Cascade(cascade) => cascade.phase == Phase::Started,
            Finding::OiExplosion(explosion) => explosion.phase == Phase::Started,
        };
        let Some(evidence) = evidence.filter(|_| starts) else { return };
        let picture = Picture { alert: alert.clone(), evidence, png: OnceCell::new(), file: Mutex::default() };
        let mut alerts = self.alerts.lock().expect("nothing panics while it holds the alerts");
        if alerts.len() == ALERTS_MAX {
            alerts.pop_front();
        }
        alerts.push_back(Arc::new(picture));
    }

    /// Returns the picture of an alert: remembered, or looked up where another process decided about it.
    async fn picture(&self, alert: Id) -> Option<Arc<Picture>> {
        if let Some(picture) = self.find(alert) {
            return Some(picture);
        }
        let looked_up = self.look_up(alert).await;
        looked_up.inspect_err(|error| warn!(alert_id = %alert, error = format!("{error:#}"), "no chart")).ok()?;
        self.find(alert)
    }

    async fn look_up(&self, alert: Id) -> anyhow::Result<()> {
        let filter = self.bus.names().alert_with_id(alert);
        let mut cursor = Cursor::open(&self.bus, Stream::Alerts, Sequence::new(1), Some(filter)).await?;
        let record = cursor.next_pending().await?.context("ALERTS does not hold the alert")?;
        let found: Alert = wire::decode(&record.payload)?;
        // Another chat's call may have looked it up meanwhile: it is drawn and uploaded once.
        if self.find(alert).is_none() {
            self.remember(&found, record.headers.evidence());
        }
        Ok(())
    }

    fn find(&self, alert: Id) -> Option<Arc<Picture>> {
        let alerts = self.alerts.lock().expect("nothing panics while it holds the alerts");
        alerts.iter().rev().find(|picture| picture.alert.id == alert).cloned()
    }

    /// Sends the chart of an alert to a chat.
    pub(super) async fn send(
        &self,
        telegram: &Telegram,
        chat: &ChatId,
        alert: Id,
        frame: &Frame<'_>,
    ) -> Result<MessageId, SendError> {
        let none = SendError::of(Failure::Refused(Refusal::NoPicture));
        let Some(picture) = self.picture(alert).await else { return Err(none) };
        let Some(png) = picture.png.get_or_init(|| self.draw(&picture)).await else { return Err(none) };
        let mut file = picture.file.lock().await;
        if let Some(name) = file.clone() {
            drop(file);
            return telegram.send_photo(chat, Photo::File(&name), frame).await.map(|(id, _)| id);
        }
        let (id, name) = telegram.send_photo(chat, Photo::Upload(png), frame).await?;
        *file = name;
        Ok(id)
    }

    async fn draw(&self, picture: &Picture) -> Option<Vec<u8>> {
        let drawn = self.png(&picture.alert, picture.evidence).await;
        drawn.inspect_err(|error| warn!(alert_id = %picture.alert.id, error = format!("{error:#}"), "no chart")).ok()
    }

    async fn png(&self, alert: &Alert, evidence: Evidence) -> anyhow::Result<Vec<u8>> {
        let (base, at, window_ms) = (alert.base.clone(), alert.event_time, i64::try_from(alert.window_ms)?);
        let (names, is_oi) = (self.bus.names(), matches!(alert.finding, Finding::OiExplosion(_)));
        let filter = if is_oi { names.open_interest_of_base(&base) } else { names.liquidations_of_base(&base) };
        let events = self.events(alert, evidence, filter).await?;
        let threshold = if is_oi { self.threshold(alert).await } else { None };
        let draw = move || {
            let liquidations = events.iter().filter_map(|event| match event {
                MarketEvent::Liquidation(event) => Some(event),
                MarketEvent::OpenInterest(_)
                | MarketEvent::Feed(_)
                | MarketEvent::Rules(_)
                | MarketEvent::Canary(_) => None,
            });
            let samples = events.iter().filter_map(|event| match event {
                MarketEvent::OpenInterest(sample) => Some(sample),
                MarketEvent::Liquidation(_) | MarketEvent::Feed(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => {
                    None
                }
            });
            if is_oi {
                Interest::new(base, at, window_ms, threshold, samples).png()
            } else {
                Liquidations::new(base, at, window_ms, liquidations).png()
            }
        };
        Ok(tokio::task::spawn_blocking(draw).await.context("drawing ended badly")??)
    }

    /// Returns the `change_pct` of the rule that fired; a picture without its line is better than none.
    async fn threshold(&self, alert: &Alert) -> Option<Ratio> {
        let versions = self.bus.rules_versions().await;
        let versions =
            versions.inspect_err(|error| warn!(alert_id = %alert.id, %error, "no rules for the chart")).ok()?;
        threshold(&versions, alert)
    }

    /// Returns what MARKET holds of the alert's base from some time before it up to the end of its evidence.
    async fn events(&self, alert: &Alert, evidence: Evidence, filter: String) -> anyhow::Result<Vec<MarketEvent>> {
        let from = Sequence::new(evidence.first.get().saturating_sub(LEAD));
        let mut cursor = Cursor::open(&self.bus, Stream::Market, from, Some(filter)).await?;
        let since = alert.event_time.plus_millis(-SPAN_MS);
        let mut events = VecDeque::new();
        while let Some(record) = cursor.next_pending().await? {
            if record.sequence > evidence.last {
                break;
            }
            let Ok(event) = wire::decode::<MarketEvent>(&record.payload) else { continue };
            let event_time = match &event {
                MarketEvent::Liquidation(event) => event.event_time,
                MarketEvent::OpenInterest(sample) => sample.event_time,
                MarketEvent::Feed(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => continue,
            };
            if event_time < since {
                continue;
            }
            if events.len() == EVENTS_MAX {
                events.pop_front();
            }
            events.push_back(event);
        }
        Ok(events.into())
    }
}

/// Returns the `change_pct` of the rule that fired, if a version holds it: an alert names its rule by a digest.
fn threshold(versions: &[RulesVersion], alert: &Alert) -> Option<Ratio> {
    versions.iter().rev().find_map(|version| {
        let rules = Rules::parse(&version.rules.text).ok()?;
        let rule = rules.oi(&alert.base).filter(|rule| rule.digest() == alert.rules)?;
        Some(Ratio::new(rule.change_pct))
    })
}

#[cfg(test)]
mod tests;
