//! `foreshock replay`: a recording or a range of MARKET through the live detector; nothing is sent or stored.

use std::{collections::BTreeSet, io::Write, time::Duration};

use anyhow::Context as _;
use detect::{
    detector::{Detected, Detector, Output, Start as FoldStart},
    rules::Rules,
};
use ingest::config::Bases;
use jiff::Timestamp;
use nats::{Bus, Cursor};
use schemas::{
    id::Id,
    market::{MarketEvent, Origin, Rules as RulesEvent},
    position::Sequence,
    subject::Stream,
    time::EventTime,
    wire,
};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    cli::{self, Speed},
    run::{self, Context, connect, detect::from_the_first, frames::Frames, say, stdout},
};

pub(super) async fn run(context: &Context, options: &cli::Replay) -> anyhow::Result<()> {
    let rules = options.rules.as_deref().map(run::rules::read).transpose()?;
    let replay = match (&options.file, options.venue) {
        (Some(file), Some(venue)) => {
            let frames = Frames::open(venue, options.instruments.as_deref(), file, bases(context))?;
            replay_file(frames, rules.unwrap_or_else(|| context.settings.rules_in_force()), options.speed).await?
        }
        _ => {
            let bus = connect(context, "replay").await?;
            let replay = replay_stream(&bus, rules, options).await?;
            bus.close().await;
            replay
        }
    };
    let refused = replay.refused.map(|refused| format!(", {refused}")).unwrap_or_default();
    say(&format!("{} events, {} alerts{refused}", replay.events, replay.alerts));
    Ok(())
}

fn bases(context: &Context) -> Bases {
    run::ingest::bases(&context.settings.bases)
}

/// What a replay went through and gave out.
#[derive(Default)]
struct Totals {
    events: u64,
    alerts: u64,
    /// What a file held and could not be taken.
    refused: Option<String>,
}

/// Frames become a log as MARKET would hold it: every id once, in file order, behind the rules.
async fn replay_file(mut frames: Frames, rules: Rules, speed: Speed) -> anyhow::Result<Totals> {
    let mut detector = Detector::new(FoldStart::Complete);
    let rules = RulesEvent::new(1, Origin::Config, rules.to_toml());
    let mut position = Sequence::new(1);
    detector.handle_event(position, &MarketEvent::Rules(rules));
    let mut printer = Printer::new();
    let mut pace = Pace::new(speed);
    let mut seen: BTreeSet<Id> = BTreeSet::new();
    while let Some((_, frame)) = frames.next()? {
        for liquidation in frame.liquidations {
            if !seen.insert(liquidation.id) {
                continue;
            }
            pace.wait_for(liquidation.event_time).await;
            position = position.next();
            printer.totals.events += 1;
            detector.handle_event(position, &MarketEvent::Liquidation(liquidation));
            printer.drain(&mut detector, |_| true)?;
        }
    }
    printer.totals.refused = Some(frames.refused());
    Ok(printer.totals)
}

/// Which alerts of the stream are shown.
#[derive(Clone, Copy)]
struct Range {
    from: Sequence,
    to: Sequence,
}

impl Range {
    fn holds(self, detected: &Detected) -> bool {
        (self.from..=self.to).contains(&detected.position)
    }
}

/// A range begins 25 h earlier, or at the first retained message, and drops what fires before it. Here every fold begins
/// at the first retained message: it reads 300,000 messages a second, and the result is that of the longest look-back.
async fn replay_stream(bus: &Bus, rules: Option<Rules>, options: &cli::Replay) -> anyhow::Result<Totals> {
    bus.check_market().await.context("MARKET cannot be replayed")?;
    let range = range(bus, options).await?;
    let start = from_the_first(bus).await?;
    let mut detector = start.detector;
    if let Some(rules) = &rules {
        let event = RulesEvent::new(0, Origin::Cli, rules.to_toml());
        detector.handle_event(Sequence::new(0), &MarketEvent::Rules(event));
    }
    let mut cursor = Cursor::open(bus, Stream::Market, start.from, None).await?;
    let mut printer = Printer::new();
    let mut pace = Pace::new(options.speed);
    while let Some(record) = cursor.next_pending().await? {
        if record.sequence > range.to {
            break;
        }
        let event = match wire::decode::<MarketEvent>(&record.payload) {
            Ok(MarketEvent::Rules(_)) if rules.is_some() => continue,
            Ok(event) => event,
            Err(error) => {
                warn!(sequence = %record.sequence, %error, "message of MARKET cannot be decoded");
                continue;
            }
        };
        printer.totals.events += 1;
        if record.sequence >= range.from
            && let MarketEvent::Liquidation(event) = &event
        {
            pace.wait_for(event.event_time).await;
        }
        detector.handle_event(record.sequence, &event);
        printer.drain(&mut detector, |detected| range.holds(detected))?;
    }
    Ok(printer.totals)
}

async fn range(bus: &Bus, options: &cli::Replay) -> anyhow::Result<Range> {
    let now = Timestamp::now();
    let place = async |when: Option<cli::When>| match when {
        Some(when) => bus.first_stored_at(Stream::Market, when.resolve(now).as_millisecond()).await.map(Some),
        None => Ok(None),
    };
    let last = bus.market_state().await?.last;
    let since = place(options.since).await?.or_else(|| options.from_seq.map(Sequence::new));
    let until = place(options.until).await?.map(|until| Sequence::new(until.get().saturating_sub(1)));
    Ok(Range {
        from: since.unwrap_or(Sequence::new(1)),
        to: until.or_else(|| options.to_seq.map(Sequence::new)).unwrap_or(last),
    })
}

/// Prints alerts as JSON lines.
struct Printer {
    out: Box<dyn Write + Send>,
    totals: Totals,
}

impl Printer {
    fn new() -> Self {
        Self { out: stdout(), totals: Totals::default() }
    }

    /// Prints what the detector gave out and is `shown`.
    fn drain(&mut self, detector: &mut Detector, shown: impl Fn(&Detected) -> bool) -> anyhow::Result<()> {
        while let Some(output) = detector.poll_output() {
            match output {
                Output::Alert(detected) if shown(&detected) => {
                    self.totals.alerts += 1;
                    let alert = serde_json::to_string(&detected.alert).context("alert not writable")?;
                    let written = writeln!(self.out, "{alert}").and_then(|()| self.out.flush());
                    written.context("stdout cannot be written")?;
                }
                Output::Alert(_) => {}
                Output::RulesRefused { position, version, error } => {
                    warn!(%position, version, %error, "rules cannot be read; the version before stays in force");
                }
            }
        }
        Ok(())
    }
}

/// Lets event time pass at a multiple of real time.
struct Pace {
    factor: Option<f64>,
    began: Option<(Instant, EventTime)>,
}

impl Pace {
    const fn new(speed: Speed) -> Self {
        let factor = match speed {
            Speed::Times(factor) => Some(factor),
            Speed::Max => None,
        };
        Self { factor, began: None }
    }

    async fn wait_for(&mut self, time: EventTime) {
        let Some(factor) = self.factor else { return };
        let (began, first) = *self.began.get_or_insert_with(|| (Instant::now(), time));
        let millis = u32::try_from(time.millis_since(first)).unwrap_or(0);
        tokio::time::sleep_until(began + Duration::from_millis(millis.into()).div_f64(factor)).await;
    }
}
