//! `foreshock history`: what was found and told, read from the streams.

mod view;

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use nats::{Bus, Cursor, Market, Record};
use notify::commands::facts;
use schemas::{
    alert::{Alert, Kind},
    name::Base,
    position::Sequence,
    subject::Stream,
    wire,
};
use tracing::warn;

use crate::{
    cli,
    exit::UsageError,
    history::{Model, Range, Source},
    run::{Context, connect, host_clock_ms, stdout},
};

/// Events in one transaction.
const BATCH: usize = 10_000;

/// How far back is shown when nobody says.
const SPAN: Duration = Duration::from_secs(24 * 3600);

/// How long after its venue time an alert may be stored and still be found by it: a venue's clock is at most 10 s ahead
/// (design 3), and what is later is stored later.
const AHEAD_MS: i64 = 60_000;

pub(super) async fn run(context: &Context, options: &cli::History) -> anyhow::Result<()> {
    let bus = connect(context, "history").await?;
    bus.check_market().await.context("there is no history to be read")?;
    let range = range(options, bus.market())?;
    let mut model = match &options.db {
        None => Model::in_memory()?,
        Some(file) => {
            let model = Model::open(file);
            let model = model.with_context(|| format!("the history in {} cannot be opened", file.display()))?;
            if options.rebuild {
                model.clear()?;
            }
            model
        }
    };
    // A kept model is folded whole, so that any question can be asked of it later; else what is asked about is enough.
    let since = (options.db.is_none() && bus.market() == Market::Live).then_some(range.since);
    fold(&bus, &mut model, since).await?;
    bus.close().await;
    let text = view::shown(&model, &range, options, context.json)?;
    let mut out = stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("stdout cannot be written")
}

/// Returns what is asked about. A recorded market has a time of its own: of it everything is shown, unless somebody says.
fn range(options: &cli::History, market: Market) -> anyhow::Result<Range> {
    let now = Timestamp::now();
    let millis = |when: cli::When| when.resolve(now).as_millisecond();
    let since = match (options.since, market) {
        (Some(since), _) => millis(since),
        (None, Market::Live) => millis(cli::When::Ago(SPAN)),
        (None, Market::Recorded) => i64::MIN,
    };
    let until = options.until.map_or(i64::MAX, millis);
    if since >= until {
        return Err(UsageError("--since is not before --until: nothing lies between them".to_owned()).into());
    }
    let kind = options.kind.map(Kind::from);
    Ok(Range { since, until, base: options.base.clone(), kind })
}

/// Brings a model up to date: from where it left off, else from the first that was stored at `since` (milliseconds since
/// 1970 UTC) or, without it, from the first that is held.
async fn fold(bus: &Bus, model: &mut Model, since: Option<i64>) -> anyhow::Result<()> {
    let is_live = bus.market() == Market::Live;
    let alerts = bus.stream_state(Stream::Alerts).await?;
    let deliveries = bus.stream_state(Stream::Deliveries).await?;
    let mut places = [
        (Source::Alerts, Stream::Alerts, alerts.created, model.next(Source::Alerts, alerts.created)?),
        (
            Source::Deliveries,
            Stream::Deliveries,
            deliveries.created,
            model.next(Source::Deliveries, deliveries.created)?,
        ),
    ];
    if !model.is_empty()? && places.iter().any(|(.., next)| next.is_none()) {
        // A stream is not the one it was: nothing that was folded holds any more.
        model.clear()?;
        places.iter_mut().for_each(|(.., next)| *next = None);
    }
    for (source, stream, created, next) in places {
        let from = match (next, since) {
            (Some(next), _) => next,
            (None, Some(since)) => bus.first_stored_at(stream, since.saturating_sub(AHEAD_MS).max(0)).await?,
            (None, None) => Sequence::new(1),
        };
        let mut cursor =
            Cursor::open(bus, stream, from, (stream == Stream::Alerts).then(|| bus.names().alerts())).await?;
        let mut batch = Vec::new();
        loop {
            let record = cursor.next_pending().await?;
            let is_last = record.is_none();
            batch.extend(record);
            if batch.len() >= BATCH || is_last {
                let next = cursor.position();
                let fold = model.fold()?;
                for record in batch.drain(..) {
                    take(&fold, source, &record, is_live)?;
                }
                fold.commit(source, created, next)?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(model.prune(alerts.first, deliveries.first)?)
}

fn take(fold: &crate::history::Fold<'_>, source: Source, record: &Record, is_live: bool) -> anyhow::Result<()> {
    let undecodable = |error| {
        warn!(stream = ?source, sequence = %record.sequence, %error, "a message cannot be decoded; its figures are missing");
    };
    match source {
        Source::Alerts => match wire::decode::<Alert>(&record.payload) {
            Ok(alert) => fold.alert(record.sequence, &alert, record.headers.detected_at_ms().filter(|_| is_live))?,
            Err(error) => undecodable(error),
        },
        Source::Deliveries => match wire::decode(&record.payload) {
            Ok(event) => fold.ledger(record.sequence, &event, is_live)?,
            Err(error) => undecodable(error),
        },
    }
    Ok(())
}

/// Returns the figures a chat is told: of the last `span`, and of a base, if one is named.
///
/// # Errors
/// When a stream cannot be read.
pub(crate) async fn facts(bus: &Bus, span: Duration, base: Option<&Base>) -> anyhow::Result<facts::History> {
    let since = host_clock_ms() - i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let mut model = Model::in_memory()?;
    let (since, stored) = match bus.market() {
        Market::Live => (since, Some(since)),
        Market::Recorded => (i64::MIN, None),
    };
    fold(bus, &mut model, stored).await?;
    let range = Range { since, until: i64::MAX, base: base.cloned(), kind: None };
    let summary = model.summary(&range)?;
    let unsigned = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok());
    Ok(facts::History {
        found: model.began(&range)?,
        due: summary.due,
        sent: summary.sent,
        p50_ms: unsigned(summary.accepted_ms.p50),
        p99_ms: unsigned(summary.accepted_ms.p99),
        rated: summary.rated,
        useful: summary.useful,
    })
}
