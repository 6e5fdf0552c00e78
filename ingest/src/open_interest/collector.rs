//! Collects the open interest of one venue: what its stream states, and over REST what the stream does not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use schemas::{
    name::Instrument,
    time::{EventTime, ReceivedAt},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    account::{Accounts, Purpose},
    binance, bybit,
    config::{Market, Timings},
    exchange::Exchange,
    feed::Stop,
    monitor::Via,
    normalize::{Reason, Receipt, Refusal},
    okx,
    open_interest::{
        plan::Schedule,
        quote::{Batch, Quote},
        sampler::Sampler,
        teller::Teller,
    },
    reading::Limits,
    rest::{Rest, RestError, join},
    skew::Clocks,
    socket::now,
    task::{Task, finish},
};

/// A wait below this is no line: the rolling hour makes room within a moment when requests are an hour apart but for a
/// fraction of a second.
const WAIT_TOLD: Duration = Duration::from_secs(10);

/// What the venue's stream said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A socket was opened: it begins with snapshots.
    Opened,
    /// A frame.
    Frame { quotes: Vec<Quote>, pushed_at: Option<EventTime>, received_at: ReceivedAt },
}

/// The collector of one venue.
pub(crate) struct Collector {
    pub(crate) exchange: Exchange,
    pub(crate) market: Market,
    pub(crate) retention: Duration,
    pub(crate) timings: Timings,
    pub(crate) sampler: Sampler,
    pub(crate) rest: Rest,
    pub(crate) base: Url,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) clocks: Clocks,
    pub(crate) teller: Teller,
    pub(crate) heard: mpsc::Receiver<Heard>,
    /// Which of the sampled instruments the venue does not list, as far as known.
    pub(crate) unlisted: watch::Receiver<BTreeSet<Instrument>>,
    pub(crate) shutdown: CancellationToken,
}

/// A request that is under way: its place in the schedule and what it gave.
type Answer = (usize, Result<Batch, RestError>);

/// What a running collector keeps beside its wiring.
struct Polling {
    schedule: Schedule,
    /// What each place of the schedule asks for: one instrument, or all of them.
    asked: Vec<Option<Instrument>>,
    request: Task<Answer>,
    not_before: Instant,
    turn: Task<bool>,
    has_turn: bool,
    turn_at: Instant,
    /// The newest venue time and when it was heard, on our clock.
    newest: Option<(EventTime, Instant)>,
}

enum Wake {
    Shutdown,
    Heard(Option<Heard>),
    Answer(Answer),
    Turn(bool),
    Timer,
}

impl Collector {
    /// Collects until it is stopped. `interval_ms` is that of the sampler.
    pub(crate) async fn run(mut self, interval_ms: u32) -> Stop {
        let asked: Vec<_> = match self.exchange {
            // One request per symbol (exchanges.md C.1).
            Exchange::Binance => self.sampler.instruments().cloned().map(Some).collect(),
            Exchange::Bybit | Exchange::Okx => vec![None],
        };
        let start = Instant::now();
        let mut polling = Polling {
            schedule: Schedule::new(interval_ms, asked.len()),
            asked,
            request: None,
            not_before: start,
            turn: None,
            has_turn: false,
            turn_at: start,
            newest: None,
        };
        let mut check_at = start;
        loop {
            let wake = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => Wake::Shutdown,
                heard = self.heard.recv() => Wake::Heard(heard),
                answer = finish(&mut polling.request) => Wake::Answer(answer),
                has_turn = finish(&mut polling.turn) => Wake::Turn(has_turn),
                () = sleep_until(check_at) => Wake::Timer,
            };
            if let Err(stop) = self.handle(wake, &mut polling).await {
                return stop;
            }
            // Under a flood of frames the timer's arm is never reached.
            if Instant::now() >= check_at {
                check_at = Instant::now() + self.timings.check_every;
                self.check(&mut polling);
            }
            self.ask(&mut polling);
        }
    }

    async fn handle(&mut self, wake: Wake, polling: &mut Polling) -> Result<(), Stop> {
        match wake {
            // The stream's side ends only when everything does.
            Wake::Shutdown | Wake::Heard(None) => Err(Stop::Shutdown),
            Wake::Heard(Some(Heard::Opened)) => {
                self.sampler.new_socket();
                Ok(())
            }
            Wake::Heard(Some(Heard::Frame { quotes, pushed_at, received_at })) => {
                polling.hear(pushed_at);
                self.take(&quotes, received_at, Via::Stream).await
            }
            Wake::Answer((index, Ok(batch))) => {
                polling.schedule.done(index);
                self.teller.content();
                self.answered(batch, polling, index).await
            }
            Wake::Answer((index, Err(error))) => {
                self.failed(&error, polling, index);
                Ok(())
            }
            Wake::Turn(has_turn) => {
                if has_turn != polling.has_turn {
                    tracing::info!(has_turn, "the turn to ask for open interest changed");
                }
                polling.has_turn = has_turn;
                polling.turn_at = Instant::now() + self.timings.turn_every;
                Ok(())
            }
            Wake::Timer => Ok(()),
        }
    }

    fn check(&mut self, polling: &mut Polling) {
        self.teller.log_refusals();
        self.teller.show(polling.has_turn, self.accounts.as_ref(), self.exchange.as_str());
        let unlisted = self.unlisted.borrow_and_update().clone();
        for instrument in unlisted {
            if self.sampler.leave_out(&instrument) {
                self.teller.complain(&format!("does not list {instrument}: its open interest is left out"));
            }
        }
        if polling.turn.is_none() && Instant::now() >= polling.turn_at {
            let (accounts, account) = (self.accounts.clone(), self.exchange.as_str());
            polling.turn = Some(Box::pin(async move { accounts.turn(account).await }));
        }
    }

    /// Makes the next request that is due, needed and allowed.
    fn ask(&mut self, polling: &mut Polling) {
        if !polling.has_turn || polling.request.is_some() || Instant::now() < polling.not_before {
            return;
        }
        let now = self.venue_now(polling);
        let due = polling.schedule.due(now);
        let slot = polling.schedule.slot();
        for index in due {
            let is_needed = match &polling.asked[index] {
                Some(instrument) => self.sampler.lacks(instrument, slot),
                None => self.sampler.instruments().any(|instrument| self.sampler.lacks(instrument, slot)),
            };
            if !is_needed {
                polling.schedule.done(index);
                continue;
            }
            // Without a mark the answer would be no sample; it comes with the socket.
            if polling.asked[index].as_ref().is_some_and(|instrument| !self.sampler.is_marked(instrument, now)) {
                continue;
            }
            polling.request = Some(self.request(index, polling.asked[index].as_ref()));
            return;
        }
    }

    fn request(
        &self,
        index: usize,
        instrument: Option<&Instrument>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Answer> + Send>> {
        let (exchange, rest) = (self.exchange, self.rest.clone());
        let url = match (exchange, instrument) {
            (Exchange::Binance, instrument) => {
                let symbol = instrument.map(Instrument::as_str).unwrap_or_default();
                let symbol: String = url::form_urlencoded::byte_serialize(symbol.as_bytes()).collect();
                join(&self.base, &format!("{}{symbol}", binance::OPEN_INTEREST_PATH))
            }
            (Exchange::Bybit, _) => join(&self.base, bybit::TICKERS_PATH),
            (Exchange::Okx, _) => join(&self.base, okx::OPEN_INTEREST_PATH),
        };
        let read = match exchange {
            Exchange::Binance => binance::interest::parse,
            Exchange::Bybit => bybit::interest::parse,
            Exchange::Okx => okx::interest::parse,
        };
        Box::pin(async move { (index, rest.get(exchange, &url, Purpose::Sampling, read).await) })
    }

    async fn answered(&mut self, batch: Batch, polling: &mut Polling, index: usize) -> Result<(), Stop> {
        for refusal in &batch.refused {
            self.teller.refuse(refusal);
        }
        let stated: BTreeSet<&str> = batch.quotes.iter().map(|quote| quote.instrument.as_str()).collect();
        let expected = match &polling.asked[index] {
            Some(instrument) => vec![instrument.clone()],
            None => self.sampler.instruments().cloned().collect(),
        };
        for instrument in expected.iter().filter(|instrument| !stated.contains(instrument.as_str())) {
            let detail = format!("{instrument} is not in the answer");
            self.teller.refuse(&Refusal { reason: Reason::Missing, detail });
        }
        // A quote of an untracked instrument tells as little as one without a time.
        let times = batch.quotes.iter().filter(|quote| expected.iter().any(|name| name.as_str() == quote.instrument));
        polling.hear(times.filter_map(|quote| quote.time_ms).max().map(EventTime::from_millis));
        self.take(&batch.quotes, now(), Via::Rest).await
    }

    fn failed(&mut self, error: &RestError, polling: &mut Polling, index: usize) {
        match error.wait() {
            // Asked again in the same slot, if that is not over by then.
            Some(wait) => {
                polling.not_before = Instant::now() + wait;
                if wait >= WAIT_TOLD || !matches!(error, RestError::Denied(_)) {
                    self.teller.complain(&error.to_string());
                }
            }
            // A budget that is just enough has no room for a second try.
            None => {
                polling.schedule.done(index);
                self.teller.complain(&error.to_string());
            }
        }
    }

    async fn take(&mut self, quotes: &[Quote], received_at: ReceivedAt, via: Via) -> Result<(), Stop> {
        let receipt = match self.market {
            Market::Live => Receipt::Live(received_at),
            Market::Recorded => Receipt::Recorded,
        };
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        // Against what all clocks say: a venue whose own clock is wrong is not corrected by it.
        let limits = Limits { offset_ms: self.clocks.reference_ms(), retention_ms };
        for quote in quotes {
            match self.sampler.take(quote, receipt, limits) {
                Ok(Some(sample)) => self.teller.sample(sample, via).await?,
                Ok(None) => {}
                Err(refusal) => self.teller.refuse(&refusal),
            }
        }
        Ok(())
    }

    /// Returns the venue's time. A recorded market may run faster than ours, but not slower: between two times heard ours
    /// is a lower bound.
    fn venue_now(&self, polling: &Polling) -> EventTime {
        let ours = now().as_millis() - self.clocks.reference_ms();
        match (self.market, polling.newest) {
            (Market::Recorded, Some((newest, at))) => {
                newest.plus_millis(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX))
            }
            (Market::Live, _) | (Market::Recorded, None) => EventTime::from_millis(ours),
        }
    }
}

impl Polling {
    fn hear(&mut self, time: Option<EventTime>) {
        if let Some(time) = time
            && self.newest.is_none_or(|(newest, _)| newest < time)
        {
            self.newest = Some((time, Instant::now()));
        }
    }
}
