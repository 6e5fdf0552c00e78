//! Operators: what is told when a feed is dead and when it is back.

use std::time::Duration;

use anyhow::Context as _;
use nats::{Bus, Cursor, Record};
use notify::{
    feeds::{Config, Watch},
    recipient::Recipient,
};
use schemas::{delivery::LedgerEvent, market::MarketEvent, subject::Stream, wire};
use tokio::sync::mpsc;
use tracing::warn;

use super::wall_time;
use crate::run::host_clock_ms;
use notify::time::WallTime;

/// States of feeds that are read at the start: what is told of them has ids that the ledger knows.
const HISTORY_MS: i64 = 3600 * 1000;

/// Notices on their way to the ledger; more wait.
pub(super) const NOTICES_MAX: usize = 64;

/// How long nothing is looked at, when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// Watches the feeds of a live market until `notices` is closed.
pub(super) async fn watch(
    bus: Bus,
    operators: Vec<Recipient>,
    grace: Duration,
    notices: mpsc::Sender<LedgerEvent>,
) -> anyhow::Result<()> {
    let from = bus.first_stored_at(Stream::Market, host_clock_ms() - HISTORY_MS).await?;
    let mut feeds = Cursor::open(&bus, Stream::Market, from, Some(bus.names().feeds())).await?;
    let mut watch = Watch::new(Config { grace });
    loop {
        // Before what is stored is read to its end, this host's clock says nothing about silence.
        while let Some(record) = feeds.next_pending().await.context("MARKET cannot be read")? {
            take(&mut watch, &record);
        }
        let now = wall_time();
        while let Some(notice) = watch.poll(now) {
            warn!(notice = notice.name, text = notice.message.plain(), "feeds");
            for event in notice.events(&operators, now) {
                if notices.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
        let due = watch.poll_timeout(now).map_or(IDLE, |at| now.until(at).min(IDLE));
        tokio::select! {
            record = feeds.next() => take(&mut watch, &record.context("MARKET cannot be read")?),
            () = tokio::time::sleep(due) => {}
            () = notices.closed() => return Ok(()),
        }
    }
}

fn take(watch: &mut Watch, record: &Record) {
    // What cannot be decoded is parked by the detector.
    if let Ok(MarketEvent::Feed(feed)) = wire::decode(&record.payload) {
        watch.handle(&feed, WallTime::from_millis(record.published_ns / 1_000_000));
    }
}
