//! What a collector says: its samples to the log, its refusals and waits to people.

use schemas::{
    market::{MarketEvent, OpenInterest},
    name::Venue,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    account::Accounts,
    feed::Stop,
    monitor::{InterestMonitor, NewestSample, Via},
    normalize::Refusal,
    refusals::RefusalLog,
    run::Observation,
    socket::now,
};

/// The voice of a collector on one venue.
pub(crate) struct Teller {
    venue: Venue,
    /// What lines begin with.
    title: String,
    monitor: InterestMonitor,
    output: mpsc::Sender<Observation>,
    shutdown: CancellationToken,
    refusals: RefusalLog,
    /// What is being said: the same once more is no line.
    said: Option<String>,
}

impl Teller {
    pub(crate) fn new(
        venue: Venue,
        title: String,
        monitor: InterestMonitor,
        output: mpsc::Sender<Observation>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { venue, title, monitor, output, shutdown, refusals: RefusalLog::default(), said: None }
    }

    /// Hands a sample on, waiting where the channel is full; a shutdown ends the wait.
    pub(crate) async fn sample(&self, sample: OpenInterest, via: Via) -> Result<(), Stop> {
        let newest = NewestSample { event_time: sample.event_time, via };
        let instrument = sample.instrument.clone();
        let observation = Observation { event: MarketEvent::OpenInterest(sample), backfill: false };
        tokio::select! {
            biased;
            sent = self.output.send(observation) => sent.map_err(|_| Stop::OutputClosed)?,
            () = self.shutdown.cancelled() => return Err(Stop::Shutdown),
        }
        let mut sampling = self.monitor.sampling();
        sampling.samples += 1;
        sampling.newest.insert(instrument, newest);
        Ok(())
    }

    /// Counts something refused and logs it at a bounded rate.
    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.monitor.socket.count_refused(refusal.reason);
        if self.refusals.note(refusal.reason, Instant::now()) {
            tracing::warn!(venue = %self.venue, reason = %refusal.reason, detail = refusal.detail, "refused an open interest");
        }
    }

    /// Logs the counts of refusals that were not logged themselves.
    pub(crate) fn log_refusals(&mut self) {
        for (reason, count) in self.refusals.due(Instant::now()) {
            tracing::warn!(venue = %self.venue, %reason, count, "refused an open interest");
        }
    }

    /// Logs a line about something that went wrong, unless it is what was said last, and keeps it for the status.
    pub(crate) fn complain(&mut self, what: &str) {
        if self.said.as_deref() == Some(what) {
            return;
        }
        self.said = Some(what.to_owned());
        let line = format!("{} {what}", self.title);
        tracing::warn!("{line}");
        self.remember(&line);
    }

    /// Keeps a line for the status that somebody else logged.
    pub(crate) fn remember(&self, line: &str) {
        self.monitor.socket.status().last_error = Some(line.to_owned());
    }

    /// Notes that what was complained about is over.
    pub(crate) fn content(&mut self) {
        if self.said.take().is_some() {
            tracing::info!(venue = %self.venue, "open interest is collected again");
        }
    }

    /// Shows the turn and the account as they are.
    pub(crate) fn show(&self, has_turn: bool, accounts: &dyn Accounts, account: &str) {
        let (seen, now) = (accounts.seen(account), now());
        let mut sampling = self.monitor.sampling();
        sampling.has_turn = has_turn;
        sampling.requests_hour = seen.spent(now);
        sampling.hold = seen.held(now).cloned();
    }
}
