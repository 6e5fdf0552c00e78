//! `foreshock plot`: open interest as the detector judged it, as a picture; nothing is sent or stored.

mod draw;

use std::{collections::BTreeMap, ops::RangeInclusive};

use anyhow::{Context as _, ensure};
use detect::{
    detector::{Detector, Output, Start},
    rules::{OiRule, Rules},
};
use jiff::Timestamp;
use nats::Cursor;
use rust_decimal::prelude::ToPrimitive as _;
use schemas::{
    alert::{Alert, Finding},
    market::{MarketEvent, OpenInterest, Origin, Rules as RulesEvent},
    name::{Base, Venue},
    position::Sequence,
    subject::Stream,
    wire,
};
use tracing::warn;

use self::draw::{Chart, Line};
use crate::{
    cli,
    run::{Context, connect, detect::from_the_first, say},
};

/// The longest stretch that is drawn by default: what people remember of a day.
const SINCE: cli::When = cli::When::Ago(std::time::Duration::from_hours(24));

pub(super) async fn run(context: &Context, options: &cli::Plot) -> anyhow::Result<()> {
    let story = match options.scenario {
        Some(scenario) => Story::of(&context.settings.rules_in_force(), scenario.samples(options.seed), &options.base),
        None => from_stream(context, options).await?,
    };
    ensure!(
        !story.samples.is_empty(),
        "there is no open interest of {} in that time; `foreshock status` shows what is sampled",
        options.base
    );
    let samples: usize = story.samples.values().map(Vec::len).sum();
    let chart = story.chart(&options.base);
    let is_png = options.out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let picture = if is_png { chart.png()? } else { chart.svg()?.into_bytes() };
    tokio::fs::write(&options.out, picture)
        .await
        .with_context(|| format!("the picture cannot be written to {}", options.out.display()))?;
    say(&format!("{samples} samples, {} alerts: {}", story.alerts.len(), options.out.display()));
    Ok(())
}

/// What is told of one base: its samples by venue in the order of the log, the alerts, and the rule they were judged by.
struct Story {
    samples: BTreeMap<Venue, Vec<OpenInterest>>,
    alerts: Vec<Alert>,
    rule: Option<OiRule>,
}

impl Story {
    /// Folds samples that are in no log.
    fn of(rules: &Rules, samples: Vec<OpenInterest>, base: &Base) -> Self {
        let mut story = Self { samples: BTreeMap::new(), alerts: Vec::new(), rule: rules.oi(base).cloned() };
        let mut detector = Detector::new(Start::Complete);
        let mut position = Sequence::new(1);
        let rules = RulesEvent::new(1, Origin::Config, rules.to_toml());
        detector.handle_event(position, &MarketEvent::Rules(rules));
        for sample in samples {
            position = position.next();
            let event = MarketEvent::OpenInterest(sample);
            detector.handle_event(position, &event);
            story.take(event, base);
            story.drain(&mut detector, base);
        }
        story
    }

    fn take(&mut self, event: MarketEvent, base: &Base) {
        if let MarketEvent::OpenInterest(sample) = event
            && sample.base == *base
        {
            self.samples.entry(sample.venue.clone()).or_default().push(sample);
        }
    }

    fn drain(&mut self, detector: &mut Detector, base: &Base) {
        while let Some(output) = detector.poll_output() {
            if let Output::Alert(detected) = output
                && detected.alert.base == *base
                && matches!(detected.alert.finding, Finding::OiExplosion(_))
            {
                self.alerts.push(detected.alert);
            }
        }
    }

    fn chart(&self, base: &Base) -> Chart {
        let window_ms = self.rule.as_ref().map_or(15 * 60_000, |rule| rule.window_ms);
        let line = |venue: &Venue, stretches| Line { name: venue.to_string(), stretches };
        let changes = self.samples.iter().map(|(venue, samples)| line(venue, changes(samples, window_ms)));
        let levels = self.samples.iter().map(|(venue, samples)| line(venue, levels(samples)));
        let first = self.samples.values().flatten().map(|sample| sample.event_time).min();
        let day = first.and_then(|first| Timestamp::from_millisecond(first.as_millis()).ok());
        let day = day.map(|day| day.strftime(", %Y-%m-%d UTC").to_string()).unwrap_or_default();
        Chart {
            title: format!("{base} open interest{day}"),
            changes: changes.collect(),
            changes_of: format!("change over {} min, %", window_ms / 60_000),
            threshold: self.rule.as_ref().and_then(|rule| rule.change_pct.to_f64()),
            levels: levels.collect(),
            alerts: self.alerts.iter().map(|alert| (alert.event_time.as_millis(), caption(alert))).collect(),
        }
    }
}

/// Folds MARKET from its first message, as a replay does, and keeps what lies in the range.
async fn from_stream(context: &Context, options: &cli::Plot) -> anyhow::Result<Story> {
    let bus = connect(context, "plot").await?;
    bus.check_market().await.context("MARKET cannot be read")?;
    let now = Timestamp::now();
    let times = options.since.unwrap_or(SINCE).resolve(now).as_millisecond()
        ..=options.until.map_or(i64::MAX, |until| until.resolve(now).as_millisecond());
    let start = from_the_first(&bus).await?;
    let mut detector = start.detector;
    let mut cursor = Cursor::open(&bus, Stream::Market, start.from, None).await?;
    let mut story = Story { samples: BTreeMap::new(), alerts: Vec::new(), rule: None };
    while let Some(record) = cursor.next_pending().await? {
        let event = match wire::decode::<MarketEvent>(&record.payload) {
            Ok(event) => event,
            Err(error) => {
                warn!(sequence = %record.sequence, %error, "message of MARKET cannot be decoded");
                continue;
            }
        };
        detector.handle_event(record.sequence, &event);
        if is_within(&event, &times) {
            story.take(event, &options.base);
        }
        story.drain(&mut detector, &options.base);
    }
    bus.close().await;
    story.alerts.retain(|alert| times.contains(&alert.event_time.as_millis()));
    story.rule = detector.rules().oi(&options.base).cloned();
    Ok(story)
}

fn is_within(event: &MarketEvent, times: &RangeInclusive<i64>) -> bool {
    matches!(event, MarketEvent::OpenInterest(sample) if times.contains(&sample.event_time.as_millis()))
}

/// The change of each sample against the last one at least a window before it, in percent; as in detection that one may
/// be two intervals older.
fn changes(samples: &[OpenInterest], window_ms: i64) -> Vec<Vec<(i64, f64)>> {
    stretches(samples, |sample| {
        let start = sample.event_time.plus_millis(-window_ms);
        let before = samples.partition_point(|other| other.event_time <= start).checked_sub(1)?;
        let before =
            samples.get(before).filter(|before| start.millis_since(before.event_time) <= tolerance_ms(sample))?;
        let before = before.contracts.value();
        Some((sample.contracts.value() - before).to_f64()? * 100.0 / before.to_f64()?)
    })
}

/// Contracts, 100 being those of the first sample.
fn levels(samples: &[OpenInterest]) -> Vec<Vec<(i64, f64)>> {
    let Some(first) = samples.first().and_then(|first| first.contracts.value().to_f64()) else { return Vec::new() };
    stretches(samples, |sample| Some(sample.contracts.value().to_f64()? * 100.0 / first))
}

/// Returns what `value` makes of each sample, in stretches that end where the venue was stale.
fn stretches(samples: &[OpenInterest], value: impl Fn(&OpenInterest) -> Option<f64>) -> Vec<Vec<(i64, f64)>> {
    let follows =
        |one: &OpenInterest, next: &OpenInterest| next.event_time.millis_since(one.event_time) <= tolerance_ms(next);
    let point = |sample: &OpenInterest| Some((sample.event_time.as_millis(), value(sample)?));
    samples.chunk_by(follows).map(|stretch| stretch.iter().filter_map(point).collect()).collect()
}

fn tolerance_ms(sample: &OpenInterest) -> i64 {
    2 * i64::from(sample.interval_ms)
}

/// What an alert says in one line.
fn caption(alert: &Alert) -> String {
    let Finding::OiExplosion(found) = &alert.finding else { return String::new() };
    let change = found.change_pct.value().round_dp(1);
    format!("{} {change:+} %, {} of {} venues", found.phase.as_str(), found.confirming, found.reporting)
}
