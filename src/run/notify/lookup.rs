//! What commands need to know, looked up outside the loop, so that no question delays an alert.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ingest::exchange::Exchange;
use nats::{Bus, Cursor, Market};
use notify::{
    caps::ADMIN_AGE_MAX,
    commands::facts::{Known, Liquidations, Need, Sides},
    decide::Policy,
    recipient::{ChatId, Recipient},
    telegram::OwnBot,
};
use schemas::{
    alert::Alert,
    delivery::{LedgerEvent, Outcome},
    id::Id,
    market::{FeedState, Liquidation, MarketEvent, Side},
    name::{Base, Venue},
    position::Sequence,
    subject::Stream,
    wire,
};
use tokio::sync::Mutex;
use tracing::warn;

use crate::run::{explain, history, host_clock_ms, subscribers};

/// How long one question is looked up: somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers about administrators that are kept; beyond it all are asked again.
const ADMINS_MAX: usize = 1000;

/// A venue without any word for this long is not listed (design 4).
const LISTED_MS: i64 = 24 * 3600 * 1000;

/// A venue is heard while one `alive` was stored within this time: three of them are due in it (design 4).
const HEARD_MS: i64 = 15_000;

/// Looks things up.
pub(super) struct Lookup {
    bus: Bus,
    policy: Policy,
    bot: Option<OwnBot>,
    admins: Mutex<BTreeMap<(ChatId, i64), (Instant, bool)>>,
    /// One at a time reads through a stream.
    reading: Mutex<()>,
}

impl Lookup {
    pub(super) fn new(bus: &Bus, policy: Policy, bot: Option<OwnBot>) -> Self {
        Self { bus: bus.clone(), policy, bot, admins: Mutex::default(), reading: Mutex::default() }
    }

    /// Looks everything up. What cannot be is left out, and the answer says so.
    pub(super) async fn known(&self, needs: &[Need]) -> Known {
        let mut known = Known::default();
        for need in needs {
            let looked = tokio::time::timeout(PATIENCE, self.look_up(need, &mut known)).await;
            if let Err(error) = looked.unwrap_or_else(|_| Err(anyhow::anyhow!("it took over {} s", PATIENCE.as_secs())))
            {
                warn!(?need, error = format!("{error:#}"), "a question cannot be answered");
            }
        }
        known
    }

    async fn look_up(&self, need: &Need, known: &mut Known) -> anyhow::Result<()> {
        match need {
            Need::Admin { chat, user } => known.is_admin = Some(self.is_admin(chat, *user).await?),
            Need::Rules => known.floors = subscribers::floors_known(&self.bus).await?,
            Need::Status => known.venues = Some(venues_heard(&self.bus, host_clock_ms()).await?),
            Need::Base { alert } => known.base = base_of(&self.bus, *alert).await?,
            Need::Recent { count } => known.recent = Some(newest_alerts(&self.bus, *count).await?),
            Need::Liquidations { base, span } => {
                let _one = self.reading.lock().await;
                known.liquidations = Some(liquidations(&self.bus, base.as_ref(), *span).await?);
            }
            Need::History { span, base } => {
                let _one = self.reading.lock().await;
                known.history = Some(history::facts(&self.bus, *span, base.as_ref()).await?);
            }
            Need::Why { alert, message } => {
                let _one = self.reading.lock().await;
                if let Some(alert) = self.meant(*alert, message.as_ref()).await? {
                    let explained = explain::explain(&self.bus, alert, &self.policy).await?;
                    known.explanation = explained.as_ref().map(explain::lines);
                }
            }
        }
        Ok(())
    }

    /// Returns the alert somebody means: the one named, or else the one a message shows, or else the newest.
    async fn meant(&self, alert: Option<Id>, message: Option<&(Recipient, i64)>) -> anyhow::Result<Option<Id>> {
        match (alert, message) {
            (Some(alert), _) => Ok(Some(alert)),
            (None, Some((recipient, message))) => alert_of_message(&self.bus, recipient, *message).await,
            (None, None) => Ok(newest_alerts(&self.bus, 1).await?.first().map(|alert| alert.id)),
        }
    }

    async fn is_admin(&self, chat: &ChatId, user: i64) -> anyhow::Result<bool> {
        let key = (chat.clone(), user);
        if let Some((asked, is_admin)) = self.admins.lock().await.get(&key)
            && asked.elapsed() < ADMIN_AGE_MAX
        {
            return Ok(*is_admin);
        }
        let bot = self.bot.as_ref().context("no bot of our own could ask")?;
        let is_admin = bot.is_admin(chat, user).await?;
        let mut admins = self.admins.lock().await;
        if admins.len() >= ADMINS_MAX {
            admins.clear();
        }
        admins.insert(key, (Instant::now(), is_admin));
        Ok(is_admin)
    }
}

/// Returns each venue of the last 24 h, and whether it is heard at `now_ms` of the host's clock.
async fn venues_heard(bus: &Bus, now_ms: i64) -> anyhow::Result<BTreeMap<Venue, bool>> {
    let from = bus.first_stored_at(Stream::Market, now_ms - LISTED_MS).await?;
    let recent = bus.first_stored_at(Stream::Market, now_ms - HEARD_MS).await?;
    let mut venues = BTreeMap::new();
    for exchange in Exchange::ALL {
        let last = bus.last_on_subject(Stream::Market, &bus.names().feed(&exchange.venue())).await?;
        if last.is_some_and(|record| record.sequence >= from) {
            venues.insert(exchange.venue(), false);
        }
    }
    let mut feeds = Cursor::open(bus, Stream::Market, recent, Some(bus.names().feeds())).await?;
    while let Some(record) = feeds.next_pending().await? {
        if let Ok(MarketEvent::Feed(feed)) = wire::decode(&record.payload)
            && feed.state == FeedState::Alive
        {
            venues.insert(feed.venue, true);
        }
    }
    Ok(venues)
}

async fn base_of(bus: &Bus, alert: Id) -> anyhow::Result<Option<Base>> {
    let decision = bus.last_on_subject(Stream::Deliveries, &bus.names().decision(alert)).await?;
    Ok(decision.and_then(|record| match wire::decode(&record.payload) {
        Ok(LedgerEvent::Decision(decision)) => Some(decision.base),
        Ok(_) | Err(_) => None,
    }))
}

/// Canaries that lie in ALERTS at most, at one a minute for an hour, and as many again for good measure.
const CANARIES_MAX: u64 = 120;

/// Returns the newest alerts, newest first; what cannot be decoded is left out.
async fn newest_alerts(bus: &Bus, count: usize) -> anyhow::Result<Vec<Alert>> {
    let last = bus.stream_state(Stream::Alerts).await?.last;
    // Canaries lie between them.
    let from = Sequence::new(last.get().saturating_sub(count as u64 + CANARIES_MAX) + 1);
    let mut alerts = Vec::with_capacity(count);
    let mut cursor = Cursor::open(bus, Stream::Alerts, from, Some(bus.names().alerts())).await?;
    while let Some(record) = cursor.next_pending().await? {
        alerts.extend(wire::decode::<Alert>(&record.payload).ok());
    }
    alerts.reverse();
    alerts.truncate(count);
    Ok(alerts)
}

/// Returns what was liquidated in the last `span` of event time.
async fn liquidations(bus: &Bus, base: Option<&Base>, span: Duration) -> anyhow::Result<Liquidations> {
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let from = bus.first_stored_at(Stream::Market, host_clock_ms() - span_ms).await?;
    let filter = base.map_or_else(|| bus.names().liquidations(), |base| bus.names().liquidations_of_base(base));
    let mut newest_ms = host_clock_ms();
    if bus.market() == Market::Recorded {
        // It was stored just now, whatever time it tells of: its own newest event is the present.
        newest_ms = 0;
        each_liquidation(bus, from, &filter, |one| newest_ms = newest_ms.max(one.event_time.as_millis())).await?;
    }
    let mut totals = Liquidations::new();
    each_liquidation(bus, from, &filter, |one| {
        if one.event_time.as_millis() > newest_ms - span_ms {
            let sides = match one.liquidated {
                Side::Long => Sides { longs: 1, long_usd: one.notional_usd, ..Sides::default() },
                Side::Short => Sides { shorts: 1, short_usd: one.notional_usd, ..Sides::default() },
            };
            let sum = totals.entry(one.base).or_default().entry(one.venue).or_default();
            *sum = sum.plus(sides);
        }
    })
    .await?;
    Ok(totals)
}

async fn each_liquidation(
    bus: &Bus,
    from: Sequence,
    filter: &str,
    mut take: impl FnMut(Liquidation),
) -> anyhow::Result<()> {
    let mut cursor = Cursor::open(bus, Stream::Market, from, Some(filter.to_owned())).await?;
    while let Some(record) = cursor.next_pending().await? {
        if let Ok(MarketEvent::Liquidation(liquidation)) = wire::decode(&record.payload) {
            take(liquidation);
        }
    }
    Ok(())
}

/// Returns the alert that a message shows: the last one, where it grew.
async fn alert_of_message(bus: &Bus, recipient: &Recipient, message: i64) -> anyhow::Result<Option<Id>> {
    let subject = bus.names().delivery(recipient.channel().as_str(), recipient.name());
    let mut ledger = Cursor::open(bus, Stream::Deliveries, Sequence::new(1), Some(subject)).await?;
    let mut shown = None;
    while let Some(record) = ledger.next_pending().await? {
        if let Ok(LedgerEvent::Delivery(delivery)) = wire::decode(&record.payload)
            && (delivery.outcome == Outcome::Sent { message_id: Some(message) }
                || delivery.outcome == Outcome::Edited { message_id: message })
        {
            shown = Some(delivery.alert);
        }
    }
    Ok(shown)
}
