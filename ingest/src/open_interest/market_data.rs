//! The existing market-data service as a source: one call per base and slot, its figures as venues of their own
//! (exchanges.md F.1).
//!
//! The service asks six exchanges itself for each call, without a cache and from the same address as we do: what a call
//! costs them is spent from their accounts. It states no time that can be used, so a sample's time is our receipt.

mod answer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use schemas::{
    name::{Base, Venue},
    time::{EventTime, ReceivedAt},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    account::{Accounts, Denied, Purpose},
    config::Timings,
    feed::Stop,
    monitor::Via,
    normalize::{Reason, Refusal},
    open_interest::{
        external,
        plan::{Schedule, slot_start},
        teller::Teller,
    },
    rest::{body, chain, join},
    socket::now,
    task::{Task, finish},
};
use answer::{InvalidAnswer, Told};

/// The exchanges the service asks, in its order, and what one call costs each (exchanges.md F.1).
const UPSTREAM: [(&str, u32); 6] =
    [("binance", 9), ("bybit", 3), ("okx", 9), ("gateio", 3), ("bitget", 4), ("hyperliquid", 1)];

/// Longest time of a call: the slowest exchange decides, and the service gives each 30 s (exchanges.md F.1).
const CALL_TIMEOUT: Duration = Duration::from_secs(35);

/// Under this name the turn to call the service is taken, and its calls are counted: one each.
const ACCOUNT: &str = "market-data";

/// Returns the venues under which the service's figures are written, in its order.
pub fn external_venues() -> impl Iterator<Item = Venue> {
    UPSTREAM.iter().filter_map(|(exchange, _)| external(exchange))
}

/// A call gave nothing.
#[derive(Debug, thiserror::Error)]
enum CallError {
    /// It was not made.
    #[error("is not asked: {0}")]
    Denied(#[from] Denied),
    /// No answer in time or at all.
    #[error("cannot be reached: {}", chain(.0))]
    Transport(reqwest::Error),
    /// Another status than 200.
    #[error("answers status {0}")]
    Status(u16),
    /// More than is read.
    #[error("answers more than is read")]
    TooLarge,
    /// Nothing in it.
    #[error("{0}")]
    Answer(#[from] InvalidAnswer),
}

/// The task that asks the service.
pub(crate) struct MarketData {
    pub(crate) service: Service,
    pub(crate) bases: Vec<Base>,
    pub(crate) interval_ms: u32,
    pub(crate) timings: Timings,
    /// Who speaks for each of [`external_venues`].
    pub(crate) tellers: BTreeMap<Venue, Teller>,
    pub(crate) shutdown: CancellationToken,
}

/// How the service is reached.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    client: reqwest::Client,
    url: Url,
    accounts: Arc<dyn Accounts>,
    interval_ms: u32,
}

type Answer = (usize, Result<Vec<Told>, CallError>);

/// What runs beside the loop.
struct Polling {
    schedule: Schedule,
    call: Task<Answer>,
    not_before: Instant,
    turn: Task<bool>,
    has_turn: bool,
    turn_at: Instant,
    /// Venues whose absence was said, per base.
    absent: BTreeSet<(Venue, usize)>,
    said: Option<String>,
}

impl Polling {
    fn new(interval_ms: u32, bases: usize) -> Self {
        let start = Instant::now();
        Self {
            schedule: Schedule::new(interval_ms, bases),
            call: None,
            not_before: start,
            turn: None,
            has_turn: false,
            turn_at: start,
            absent: BTreeSet::new(),
            said: None,
        }
    }
}

impl Service {
    pub(crate) fn new(url: Url, accounts: Arc<dyn Accounts>, interval_ms: u32) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(CALL_TIMEOUT).no_proxy().user_agent("foreshock").build()?;
        Ok(Self { client, url, accounts, interval_ms })
    }

    /// Spends what a call costs upstream, and makes it.
    async fn call(&self, base: &Base) -> Result<Vec<Told>, CallError> {
        for (account, cost) in UPSTREAM {
            // What was spent before a refusal stays spent: too much counted is on the safe side.
            self.accounts.spend(account, now(), Purpose::Sampling, cost).await?;
        }
        // Last, so that it counts the calls that are really made.
        self.accounts.spend(ACCOUNT, now(), Purpose::Sampling, 1).await?;
        let request = serde_json::json!({"base_symbol": base}).to_string();
        let post = self.client.post(join(&self.url, "/multi_oi")).header("content-type", "application/json");
        let response = post.body(request).send().await.map_err(CallError::Transport)?;
        if !response.status().is_success() {
            return Err(CallError::Status(response.status().as_u16()));
        }
        let answer = body(response).await.map_err(|_| CallError::TooLarge)?;
        Ok(answer::parse(&answer, base, self.interval_ms, now())?)
    }
}

impl MarketData {
    /// Asks the service until it is stopped.
    pub(crate) async fn run(mut self) -> Stop {
        let mut polling = Polling::new(self.interval_ms, self.bases.len());
        let mut check_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Stop::Shutdown,
                (index, called) = finish(&mut polling.call) => {
                    if let Err(stop) = self.answered(index, called, &mut polling).await {
                        return stop;
                    }
                }
                has_turn = finish(&mut polling.turn) => {
                    self.turn(has_turn, &mut polling);
                    polling.turn_at = Instant::now() + self.timings.turn_every;
                }
                () = sleep_until(check_at) => {
                    check_at = Instant::now() + self.timings.check_every;
                    self.check(&mut polling);
                }
            }
            self.ask(&mut polling);
        }
    }

    fn check(&mut self, polling: &mut Polling) {
        for (venue, teller) in &mut self.tellers {
            let exchange = venue.as_str().strip_prefix("ext-").unwrap_or_default();
            teller.log_refusals();
            teller.show(polling.has_turn, self.service.accounts.as_ref(), exchange);
        }
        if polling.turn.is_none() && Instant::now() >= polling.turn_at {
            let (accounts, had_turn) = (self.service.accounts.clone(), polling.has_turn);
            polling.turn = Some(Box::pin(async move {
                let has_turn = accounts.turn(ACCOUNT).await;
                if has_turn && !had_turn {
                    for account in UPSTREAM.map(|(account, _)| account).into_iter().chain([ACCOUNT]) {
                        // Spending nothing loads the account; whether it is held the call itself finds out.
                        let _ = accounts.spend(account, now(), Purpose::Sampling, 0).await;
                    }
                }
                has_turn
            }));
        }
    }

    /// Who takes the turn asks at once what nobody asked in this slot: a slot is long, and without it the first figures
    /// would be a slot away.
    fn turn(&self, has_turn: bool, polling: &mut Polling) {
        if has_turn && !polling.has_turn {
            let now = EventTime::from_millis(now().as_millis());
            let calls = self.service.accounts.seen(ACCOUNT).spent_since(slot_start(now, self.interval_ms));
            polling.schedule.hurry(now, usize::try_from(calls).unwrap_or(usize::MAX));
        }
        polling.has_turn = has_turn;
    }

    fn ask(&self, polling: &mut Polling) {
        if !polling.has_turn || polling.call.is_some() || Instant::now() < polling.not_before {
            return;
        }
        // The service has no clock of its own to follow.
        let now = EventTime::from_millis(now().as_millis());
        let Some(index) = polling.schedule.due(now).first().copied() else {
            return;
        };
        let (service, base) = (self.service.clone(), self.bases[index].clone());
        polling.call = Some(Box::pin(async move { (index, service.call(&base).await) }));
    }

    async fn answered(
        &mut self,
        index: usize,
        called: Result<Vec<Told>, CallError>,
        polling: &mut Polling,
    ) -> Result<(), Stop> {
        let told = match called {
            Ok(told) => told,
            Err(error) => {
                match &error {
                    CallError::Denied(denied) => polling.not_before = Instant::now() + wait(denied, now()),
                    CallError::Transport(_) | CallError::Status(_) | CallError::TooLarge | CallError::Answer(_) => {
                        polling.schedule.done(index);
                    }
                }
                self.complain(&error.to_string(), polling);
                return Ok(());
            }
        };
        polling.schedule.done(index);
        if polling.said.take().is_some() {
            tracing::info!("the market-data service answers again");
        }
        let mut lacking: BTreeSet<Venue> = external_venues().collect();
        for Told { exchange, sample } in told {
            let Some(venue) = external(&exchange) else {
                continue;
            };
            let Some(teller) = self.tellers.get_mut(&venue) else {
                continue;
            };
            lacking.remove(&venue);
            match sample {
                Ok(sample) => {
                    if polling.absent.remove(&(venue, index)) {
                        teller.content();
                    }
                    teller.sample(sample, Via::Rest).await?;
                }
                Err(reason) => self.refuse(&venue, index, reason, polling),
            }
        }
        for venue in lacking {
            self.refuse(&venue, index, Reason::Missing, polling);
        }
        Ok(())
    }

    /// Counts what an exchange gave no sample for, and says once that it is missing: exchanges come and go.
    fn refuse(&mut self, venue: &Venue, index: usize, reason: Reason, polling: &mut Polling) {
        let base = &self.bases[index];
        let Some(teller) = self.tellers.get_mut(venue) else {
            return;
        };
        teller.refuse(&Refusal { reason, detail: format!("{base} of {venue}") });
        if polling.absent.insert((venue.clone(), index)) {
            teller.complain(&format!("gives no open interest of {base} ({reason})"));
        }
    }

    /// Says once what is wrong with the service, and keeps it for the status of every venue.
    fn complain(&self, what: &str, polling: &mut Polling) {
        if polling.said.as_deref() == Some(what) {
            return;
        }
        polling.said = Some(what.to_owned());
        let line = format!("the market-data service {what}");
        tracing::warn!("{line}");
        for teller in self.tellers.values() {
            teller.remember(&line);
        }
    }
}

fn wait(denied: &Denied, now: ReceivedAt) -> Duration {
    Duration::from_millis(u64::try_from(denied.until().as_millis() - now.as_millis()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
