//! `foreshock replay`: a recording or a range of MARKET through the live detector; nothing is sent or stored.

mod compare;

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
    alert::Alert,
    id::Id,
    market::{MarketEvent, Origin, Rules as RulesEvent},
    position::Sequence,
    subject::Stream,
    time::EventTime,
    wire,
};
use tokio::time::Instant;
use tracing::warn;

use self::compare::{Episodes, Report};
use crate::{
    cli::{self, Speed},
    run::{self, Context, connect, detect::from_the_first, frames::Frames, say, stdout},
};

pub(super) async fn run(context: &Context, options: &cli::Replay) -> anyhow::Result<()> {
    let rules = options.rules.as_deref().map(run::rules::read).transpose()?;
    let other = options.compare.as_deref().map(run::rules::read).transpose()?;
    let replay = match (&options.file, options.venue) {
        (Some(file), Some(venue)) => {
            let frames = Frames::open(venue, options.instruments.as_deref(), file, bases(context))?;
            let rules = rules.unwrap_or_else(|| context.settings.rules_in_force());
            let replay = Replay::new(Detector::new(FoldStart::Complete), Some(rules), other);
            replay_file(frames, replay, options.speed).await?
        }
        _ => {
            let bus = connect(context, "replay").await?;
            let replay = replay_stream(&bus, rules, other, options).await?;
            bus.close().await;
            replay
        }
    };
    replay.finish(context.json)
}

fn bases(context: &Context) -> Bases {
    run::ingest::bases(&context.settings.bases)
}

/// Frames become a log as MARKET would hold it: every id once, in file order, behind the rules.
async fn replay_file(mut frames: Frames, mut replay: Replay, speed: Speed) -> anyhow::Result<Replay> {
    let mut position = Sequence::new(1);
    let mut pace = Pace::new(speed);
    let mut seen: BTreeSet<Id> = BTreeSet::new();
    while let Some((_, frame)) = frames.next()? {
        for liquidation in frame.liquidations {
            if !seen.insert(liquidation.id) {
                continue;
            }
            pace.wait_for(liquidation.event_time).await;
            position = position.next();
            replay.handle(position, &MarketEvent::Liquidation(liquidation), |_| true)?;
        }
    }
    replay.refused = Some(frames.refused());
    Ok(replay)
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
async fn replay_stream(
    bus: &Bus,
    rules: Option<Rules>,
    other: Option<Rules>,
    options: &cli::Replay,
) -> anyhow::Result<Replay> {
    bus.check_market().await.context("MARKET cannot be replayed")?;
    let range = range(bus, options).await?;
    let start = from_the_first(bus).await?;
    let mut replay = Replay::new(start.detector, rules, other);
    let mut cursor = Cursor::open(bus, Stream::Market, start.from, None).await?;
    let mut pace = Pace::new(options.speed);
    while let Some(record) = cursor.next_pending().await? {
        if record.sequence > range.to {
            break;
        }
        let event = match wire::decode::<MarketEvent>(&record.payload) {
            Ok(event) => event,
            Err(error) => {
                warn!(sequence = %record.sequence, %error, "message of MARKET cannot be decoded");
                continue;
            }
        };
        if record.sequence >= range.from
            && let MarketEvent::Liquidation(event) = &event
        {
            pace.wait_for(event.event_time).await;
        }
        replay.handle(record.sequence, &event, |detected| range.holds(detected))?;
    }
    Ok(replay)
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

/// One or two runs over the same events, and what they went through.
struct Replay {
    runs: Vec<Run>,
    events: u64,
    /// What a file held and could not be taken.
    refused: Option<String>,
}

/// One detector.
struct Run {
    detector: Detector,
    /// It keeps its rules whatever version comes into force.
    has_own_rules: bool,
    alerts: u64,
    out: Out,
}

/// Where alerts go.
enum Out {
    /// To stdout, as JSON lines.
    Lines(Box<dyn Write + Send>),
    /// Into a comparison.
    Compared(Episodes),
}

impl Replay {
    /// Begins with `detector` and `rules`, or without any with those that come into force; the `other` rules are compared.
    fn new(detector: Detector, rules: Option<Rules>, other: Option<Rules>) -> Self {
        let runs = match other {
            None => vec![Run::new(detector, rules, Out::Lines(stdout()))],
            Some(other) => {
                let compared = || Out::Compared(Episodes::default());
                vec![Run::new(detector.clone(), rules, compared()), Run::new(detector, Some(other), compared())]
            }
        };
        Self { runs, events: 0, refused: None }
    }

    /// Handles one event of the log; what it fires counts where it is `shown`.
    fn handle(
        &mut self,
        position: Sequence,
        event: &MarketEvent,
        shown: impl Fn(&Detected) -> bool,
    ) -> anyhow::Result<()> {
        self.events += 1;
        self.runs.iter_mut().try_for_each(|run| run.handle(position, event, &shown))
    }

    /// Writes what is left to be written.
    fn finish(self, json: bool) -> anyhow::Result<()> {
        let Self { runs, events, refused } = self;
        let alerts: Vec<_> = runs.iter().map(|run| run.alerts.to_string()).collect();
        let compared = runs.into_iter().filter_map(|run| match run.out {
            Out::Compared(episodes) => Some(episodes),
            Out::Lines(_) => None,
        });
        if let [before, after] = &mut compared.collect::<Vec<_>>()[..] {
            let report = Report::new(std::mem::take(before), std::mem::take(after));
            let text = if json { serde_json::to_string(&report)? } else { report.text() };
            let mut out = stdout();
            writeln!(out, "{text}").and_then(|()| out.flush()).context("stdout cannot be written")?;
        }
        let refused = refused.map(|refused| format!(", {refused}")).unwrap_or_default();
        say(&format!("{events} events, {} alerts{refused}", alerts.join(" and ")));
        Ok(())
    }
}

impl Run {
    fn new(mut detector: Detector, rules: Option<Rules>, out: Out) -> Self {
        if let Some(rules) = &rules {
            let event = RulesEvent::new(0, Origin::Cli, rules.to_toml());
            detector.handle_event(Sequence::new(0), &MarketEvent::Rules(event));
        }
        Self { detector, has_own_rules: rules.is_some(), alerts: 0, out }
    }

    fn handle(
        &mut self,
        position: Sequence,
        event: &MarketEvent,
        shown: impl Fn(&Detected) -> bool,
    ) -> anyhow::Result<()> {
        if self.has_own_rules && matches!(event, MarketEvent::Rules(_)) {
            return Ok(());
        }
        self.detector.handle_event(position, event);
        while let Some(output) = self.detector.poll_output() {
            match output {
                Output::Alert(detected) => self.take(&detected.alert, shown(&detected))?,
                Output::RulesRefused { position, version, error } => {
                    warn!(%position, version, %error, "rules cannot be read; the version before stays in force");
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, alert: &Alert, is_shown: bool) -> anyhow::Result<()> {
        self.alerts += u64::from(is_shown);
        match &mut self.out {
            Out::Lines(out) if is_shown => {
                let alert = serde_json::to_string(alert).context("alert not writable")?;
                writeln!(out, "{alert}").and_then(|()| out.flush()).context("stdout cannot be written")
            }
            Out::Lines(_) => Ok(()),
            Out::Compared(episodes) => episodes.take(alert, is_shown),
        }
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
