//! The live view on a terminal: feeds, windows, the last alerts, and what went wrong.

use std::{
    collections::VecDeque,
    io::{IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use jiff::{Timestamp, tz::TimeZone};
use ratatui::{
    DefaultTerminal, Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Table},
};
use schemas::{market::FeedState, name::Venue};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    cli::Command,
    run::{
        detect, host_clock_ms, ingest, notify, service,
        status::{open_interest, without_state},
    },
};

/// How often the picture is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(250);

/// Log lines kept for the view; older ones go.
const LOG_LINES: usize = 200;

/// Over how many pictures a rate is taken: five seconds.
const RATE_SPAN: usize = 20;

/// Where log lines and messages go: into the live view, or to stderr and stdout.
#[derive(Clone)]
pub(crate) struct View {
    log: Option<LogLines>,
}

/// The newest log lines, for the view.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<VecDeque<String>>>);

impl View {
    /// `up` has a live view where a person sees its output; everything else writes plain lines.
    pub(crate) fn for_command(command: &Command) -> Self {
        let seen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        Self { log: (matches!(command, Command::Up(_)) && seen).then(LogLines::default) }
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.log.is_some()
    }

    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter(self.log.clone())
    }
}

/// Writes log lines into the view, or to stderr.
pub(crate) struct LogWriter(Option<LogLines>);

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = Box<dyn Write + 'w>;

    fn make_writer(&'w self) -> Self::Writer {
        match &self.0 {
            Some(lines) => Box::new(lines.clone()),
            None => Box::new(std::io::stderr()),
        }
    }
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a picture shows.
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) ingest: ingest::Status,
    pub(crate) detect: detect::Status,
    pub(crate) notify: notify::Status,
}

/// Draws `picture` until `end`; the key `q` and Ctrl-C cancel `shutdown`, as SIGINT does elsewhere.
pub(crate) fn show(
    view: &View,
    picture: impl Fn() -> Picture,
    shutdown: &CancellationToken,
    end: &CancellationToken,
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let drawn = draw_until(&mut terminal, view, picture, shutdown, end);
    ratatui::try_restore()?;
    drawn
}

fn draw_until(
    terminal: &mut DefaultTerminal,
    view: &View,
    picture: impl Fn() -> Picture,
    shutdown: &CancellationToken,
    end: &CancellationToken,
) -> std::io::Result<()> {
    let began = Instant::now();
    let mut rates = Rates::default();
    while !end.is_cancelled() {
        let picture = picture();
        rates.note(&picture.ingest);
        let log = view.log.as_ref().map(|lines| lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let log = log.unwrap_or_default();
        terminal.draw(|frame| draw(frame, &picture, &rates, &log, began.elapsed()))?;
        if crossterm::event::poll(DRAWN_EVERY)?
            && let Event::Key(key) = crossterm::event::read()?
            && key.kind == KeyEventKind::Press
        {
            let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || key.code == KeyCode::Char('q') {
                shutdown.cancel();
            }
        }
    }
    Ok(())
}

/// Frames and events a second, by venue, over the last pictures.
#[derive(Default)]
struct Rates(VecDeque<(Instant, ingest::Status)>);

impl Rates {
    fn note(&mut self, status: &ingest::Status) {
        if self.0.len() == RATE_SPAN {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now(), status.clone()));
    }

    fn of(&self, venue: &Venue, counter: impl Fn(&ingest::Feed) -> u64) -> f64 {
        let (Some((first_at, first)), Some((last_at, last))) = (self.0.front(), self.0.back()) else { return 0.0 };
        let count = |status: &ingest::Status| status.venues.get(venue).map_or(0, &counter);
        let seconds = last_at.duration_since(*first_at).as_secs_f64();
        // Counters of one venue over five seconds are far below 2^52.
        if seconds < 0.1 { 0.0 } else { count(last).saturating_sub(count(first)) as f64 / seconds }
    }
}

fn draw(frame: &mut Frame<'_>, picture: &Picture, rates: &Rates, log: &VecDeque<String>, elapsed: Duration) {
    let venues = u16::try_from(picture.ingest.venues.len()).unwrap_or(3);
    let bases = u16::try_from(picture.detect.bases.len().clamp(1, 8)).unwrap_or(8);
    let log_height = if frame.area().height > 30 { 7 } else { 4 };
    let rows = [
        Constraint::Length(1),
        Constraint::Length(venues + 3),
        Constraint::Length(bases + 3),
        Constraint::Min(4),
        Constraint::Length(log_height),
        Constraint::Length(1),
    ];
    let [title, feeds, windows, alerts, lines, footer] = Layout::vertical(rows).areas(frame.area());
    let clock = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%H:%M:%S UTC").to_string();
    let up = elapsed.as_secs();
    let heading = Line::from(vec![
        Span::styled(" foreshock ", Style::new().bold().reversed()),
        Span::raw(format!(" {}  ·  {clock}  ·  up {:02}:{:02}:{:02}", picture.title, up / 3600, up / 60 % 60, up % 60)),
    ]);
    frame.render_widget(heading, title);
    draw_feeds(frame, feeds, &picture.ingest, rates);
    draw_windows(frame, windows, &picture.detect);
    draw_alerts(frame, alerts, &picture.notify);
    draw_log(frame, lines, log);
    frame.render_widget(Line::from(summary(picture)).dim(), footer);
}

fn summary(picture: &Picture) -> String {
    let (detect, notify) = (&picture.detect, &picture.notify);
    let decided: Vec<_> = notify.decided.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let decided = if decided.is_empty() { "no alert decided yet".to_owned() } else { decided.join(", ") };
    format!(
        " MARKET:{} ({} behind)  ·  {} alerts  ·  {} sent, {} waiting  ·  {decided}  ·  q quits",
        detect.position,
        detect.pending,
        detect.stored + detect.already_present,
        notify.sent,
        notify.waiting,
    )
}

fn panel(title: &str) -> Block<'_> {
    Block::bordered().border_style(Style::new().dim()).title(format!(" {title} ")).title_style(Style::new().bold())
}

fn header<'a>(names: impl IntoIterator<Item = &'a str>) -> Row<'a> {
    Row::new(names.into_iter().map(Cell::from)).style(Style::new().dim())
}

fn draw_feeds(frame: &mut Frame<'_>, area: Rect, status: &ingest::Status, rates: &Rates) {
    let now = host_clock_ms();
    let rows = status.venues.iter().map(|(venue, feed)| {
        let sampled = open_interest(&service::json(&feed.socket)["open_interest"], now);
        let refused: u64 = feed.socket.refused.values().sum();
        let (state, colour) = feed_state(venue, feed.socket.state);
        let note = feed.socket.last_error.as_deref().filter(|_| feed.socket.state != Some(FeedState::Connected));
        Row::new(vec![
            Cell::from(venue.to_string()).bold(),
            Cell::from(state).style(Style::new().fg(colour)),
            Cell::from(format!("{:>8.1}", rates.of(venue, |feed| feed.socket.frames))),
            Cell::from(format!("{:>8.1}", rates.of(venue, |feed| feed.socket.events) * 60.0)),
            Cell::from(format!("{:>8}", feed.market.stored)),
            Cell::from(format!("{:>8}", feed.market.backlog_events)),
            Cell::from(format!("{refused:>8}")),
            Cell::from(feed.socket.venue_time.map_or_else(|| "-".to_owned(), |time| time_of_day(time.as_millis()))),
            Cell::from(sampled.unwrap_or_default()),
            Cell::from(note.unwrap_or_default().to_owned()).fg(Color::Yellow),
        ])
    });
    let widths = [15, 13, 9, 9, 9, 9, 9, 13]
        .map(Constraint::Length)
        .into_iter()
        .chain([Constraint::Fill(2), Constraint::Fill(1)]);
    let names = [
        "venue",
        "state",
        "frames/s",
        " liq/min",
        "  stored",
        " waiting",
        " refused",
        "venue time",
        "open interest",
        "",
    ];
    let title = status.outlook.as_ref().map_or_else(|| "Feeds".to_owned(), |outlook| format!("Feeds: {outlook}"));
    frame.render_widget(Table::new(rows, widths).header(header(names)).block(panel(&title)), area);
}

fn feed_state(venue: &Venue, state: Option<FeedState>) -> (&'static str, Color) {
    match state {
        None => (without_state(venue.as_str()), Color::Yellow),
        Some(FeedState::Connected | FeedState::Alive) => ("live", Color::Green),
        Some(FeedState::Recovered) => ("recovered", Color::Green),
        Some(FeedState::Disconnected) => ("disconnected", Color::Red),
        Some(FeedState::Stale) => ("stale", Color::Red),
        Some(FeedState::Skewed) => ("skewed clock", Color::Red),
        Some(FeedState::Refused) => ("refused", Color::Red),
    }
}

fn draw_windows(frame: &mut Frame<'_>, area: Rect, status: &detect::Status) {
    let rows = status.bases.iter().map(|base| {
        let cascade = match base.open_tier {
            Some(tier) => Cell::from(format!("CASCADE, tier {tier}")).style(Style::new().fg(Color::Red).bold()),
            None => Cell::from("quiet").dim(),
        };
        let usd = base.notional_usd.to_decimal().round().to_string();
        Row::new(vec![
            Cell::from(base.base.escape_debug().to_string()).bold(),
            Cell::from(format!("{:>6}", base.count)),
            Cell::from(format!("{:>14}", format!("${}", grouped(&usd)))),
            cascade,
            Cell::from(base.clock.map_or_else(|| "-".to_owned(), time_of_day)),
            Cell::from(base.open_interest.map_or_else(
                || "-".to_owned(),
                |held| {
                    let usd = held.usd.to_decimal().round().to_string();
                    format!("${} on {} venues", grouped(&usd), held.venues)
                },
            )),
        ])
    });
    let widths = [12, 8, 16, 20, 14, 36].map(Constraint::Length);
    let names = ["base", " count", "        in USD", "", "last event", "open interest"];
    frame.render_widget(Table::new(rows, widths).header(header(names)).block(panel("Windows")), area);
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, status: &notify::Status) {
    let room = usize::from(area.height.saturating_sub(2));
    let lines = status.recent.iter().rev().take(room).map(|alert| {
        let colour = match alert.priority {
            schemas::alert::Priority::High => Color::Red,
            schemas::alert::Priority::Medium => Color::Yellow,
            schemas::alert::Priority::Low => Color::Reset,
        };
        Line::from(vec![
            Span::raw(format!("{}  {:<17}  ", time_of_day(alert.event_time), alert.decision)).dim(),
            Span::styled(alert.summary.clone(), Style::new().fg(colour).add_modifier(Modifier::BOLD)),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(panel("Alerts")), area);
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, log: &VecDeque<String>) {
    let room = usize::from(area.height.saturating_sub(2));
    let lines: Vec<_> = log.iter().skip(log.len().saturating_sub(room)).map(|line| Line::raw(line.clone())).collect();
    frame.render_widget(Paragraph::new(lines).block(panel("Log")), area);
}

/// Returns a moment in milliseconds since 1970 UTC as the time of day.
fn time_of_day(millis: i64) -> String {
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| "-".to_owned(), |time| time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3f").to_string())
}

/// Returns digits in groups of three.
fn grouped(digits: &str) -> String {
    let bytes = digits.as_bytes();
    let groups: Vec<_> = bytes.rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
