//! Accounts of what venues were asked, and turns to ask them, kept in the bucket LEASES: neither a restart nor a second
//! ingest forgets them (design 9).

use std::{collections::BTreeMap, error::Error, time::Duration};

use futures_util::future::BoxFuture;
use ingest::account::{Account, Accounts, Denied, Hold, Purpose};
use nats::{Bus, Connection, Lease, LeaseError, Register, RegisterError};
use schemas::{name::subject_token, time::ReceivedAt};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, error::Elapsed, timeout},
};
use tracing::warn;

use crate::{config::Market, run::host_clock_ms};

/// How long NATS may take to answer for one account. Then the answer is given from what this process knows.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// After NATS did not answer, how long it is not asked again: with it no caller waits longer than twice
/// [`ANSWER_TIME`], however many there are. Afterwards what was counted meanwhile is stored.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a turn lasts when it is not kept: after a kill, another process polls this much later.
const TURN: Duration = Duration::from_secs(10);

/// Age at which a turn that is asked for is renewed: a third of [`TURN`] or less, so that one renewal may fail.
const TURN_RENEWED: Duration = Duration::from_secs(2);

/// Callers that wait for an answer; the next one waits for a place.
const ASKING_MAX: usize = 16;

/// Requests counted in an hour of a recorded market, whose hour denies nothing: beyond it no more are counted, so that
/// an account always fits a message.
const RECORDED_MAX: u32 = 1_000;

/// Why a process that ends makes no request.
const ENDING: &str = "this process is ending";

/// Accounts shared by every ingest of an installation. Clones share one [`Keeper`].
///
/// While NATS does not answer, requests are judged on the account as last seen and on what this process spent since,
/// which is stored as soon as NATS answers again. A store that timed out may have happened all the same: then its
/// requests count twice for an hour, never not at all.
///
/// In a recorded market the hour is counted and denies nothing, for it runs faster than its hours and has no venue to
/// protect; a pause holds as ever.
#[derive(Clone, Debug)]
pub struct NatsAccounts {
    asking: mpsc::Sender<Ask>,
    seen: watch::Receiver<BTreeMap<String, Account>>,
}

impl NatsAccounts {
    /// Returns the accounts, and the keeper that must run for them to answer. `holder` is a name of this process alone,
    /// under which it takes its turns.
    pub fn new(bus: Bus, holder: String, market: Market) -> (Self, Keeper) {
        let (asking, asked) = mpsc::channel(ASKING_MAX);
        let (seen, watched) = watch::channel(BTreeMap::new());
        let keeper = Keeper { bus, holder, market, asked, seen, kept: BTreeMap::new(), silent_until: None };
        (Self { asking, seen: watched }, keeper)
    }

    /// Returns nothing when the keeper has ended.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asking.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }
}

impl Accounts for NatsAccounts {
    fn spend<'a>(
        &'a self,
        account: &'a str,
        now: ReceivedAt,
        purpose: Purpose,
        count: u32,
    ) -> BoxFuture<'a, Result<(), Denied>> {
        Box::pin(async move {
            let name = account.to_owned();
            let answer = self.ask(|answer| Ask::Spend { account: name, now, purpose, count, answer }).await;
            let until = ReceivedAt::from_millis(now.as_millis() + i64::try_from(SILENCE.as_millis()).unwrap_or(0));
            answer.unwrap_or_else(|| Err(Denied::Held(Hold { until, why: ENDING.to_owned() })))
        })
    }

    fn hold<'a>(&'a self, account: &'a str, now: ReceivedAt, hold: Hold) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = account.to_owned();
            if self.ask(|answer| Ask::Hold { account: name, now, hold, answer }).await.is_none() {
                warn!(account, "a pause the venue demanded was not noted");
            }
        })
    }

    fn turn<'a>(&'a self, account: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let name = account.to_owned();
            self.ask(|answer| Ask::Turn { account: name, answer }).await.unwrap_or(false)
        })
    }

    fn seen(&self, account: &str) -> Account {
        self.seen.borrow().get(account).cloned().unwrap_or_default()
    }
}

/// What a caller wants of the keeper.
#[derive(Debug)]
enum Ask {
    Spend {
        account: String,
        now: ReceivedAt,
        purpose: Purpose,
        count: u32,
        answer: oneshot::Sender<Result<(), Denied>>,
    },
    Hold {
        account: String,
        now: ReceivedAt,
        hold: Hold,
        answer: oneshot::Sender<()>,
    },
    Turn {
        account: String,
        answer: oneshot::Sender<bool>,
    },
}

/// One account as this process knows it.
#[derive(Debug, Default)]
struct Kept {
    /// As it was last loaded or stored.
    stored: Account,
    /// What this process counted that is not stored.
    unsaved: Account,
    turn: Option<Turn>,
}

impl Kept {
    fn known(&self, now: ReceivedAt) -> Account {
        let mut known = self.stored.clone();
        known.add(now, self.unsaved.clone());
        known
    }

    fn is_saved(&self) -> bool {
        self.unsaved == Account::default()
    }
}

/// A turn this process holds.
#[derive(Debug)]
struct Turn {
    lease: Lease,
    /// When its newest renewal was sent: the server counts its time from then or later.
    kept_at: Instant,
}

/// A change of an account.
#[derive(Clone, Debug)]
enum Change {
    Spend {
        purpose: Purpose,
        count: u32,
    },
    Hold(Hold),
    /// Nothing new: only what is not stored yet.
    Nothing,
}

impl Change {
    /// Returns what is to be added to an account that is `known`.
    fn judge(&self, known: &Account, now: ReceivedAt, market: Market) -> Result<Account, Denied> {
        let mut added = Account::default();
        match (self, market) {
            (Self::Spend { purpose, count }, Market::Live) => {
                known.clone().spend(now, *purpose, *count)?;
                added.count(now, *count);
            }
            (Self::Spend { count, .. }, Market::Recorded) => {
                if let Some(hold) = known.held(now) {
                    return Err(Denied::Held(hold.clone()));
                }
                added.count(now, RECORDED_MAX.saturating_sub(known.spent(now)).min(*count));
            }
            (Self::Hold(hold), Market::Live | Market::Recorded) => added.hold(hold.until, hold.why.clone()),
            (Self::Nothing, Market::Live | Market::Recorded) => {}
        }
        Ok(added)
    }
}

/// The one task of this process that reads and writes accounts and turns.
#[derive(Debug)]
pub struct Keeper {
    bus: Bus,
    holder: String,
    market: Market,
    asked: mpsc::Receiver<Ask>,
    seen: watch::Sender<BTreeMap<String, Account>>,
    kept: BTreeMap<String, Kept>,
    /// NATS did not answer and is not asked before this.
    silent_until: Option<Instant>,
}

impl Keeper {
    /// Answers until the last clone of the accounts is dropped; then stores what is not stored and gives its turns up.
    pub async fn run(mut self) {
        let mut saving = tokio::time::interval(SILENCE);
        saving.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_saved = self.kept.values().all(Kept::is_saved);
            tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(ask) => self.answer(ask).await,
                    None => break,
                },
                _ = saving.tick(), if !is_saved => self.save().await,
            }
        }
        self.silent_until = None;
        self.save().await;
        for (account, kept) in std::mem::take(&mut self.kept) {
            if !kept.is_saved() {
                warn!(account, "requests of this process stay uncounted: NATS does not answer");
            }
            if let Some(turn) = kept.turn
                && self.is_asked()
            {
                // A turn that cannot be given up ends by itself.
                let _ = timeout(ANSWER_TIME, turn.lease.release()).await;
            }
        }
    }

    /// An asker that is gone makes no request, so there is nothing to spend for it.
    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Spend { answer, .. } if answer.is_closed() => {}
            Ask::Spend { account, now, purpose, count, answer } => {
                let spent = self.change(&account, now, Change::Spend { purpose, count }).await;
                // An asker that went meanwhile has spent for nothing.
                let _ = answer.send(spent);
            }
            Ask::Hold { account, now, hold, answer } => {
                // A pause is never denied.
                let _ = self.change(&account, now, Change::Hold(hold)).await;
                let _ = answer.send(());
            }
            Ask::Turn { account, answer } => {
                let _ = answer.send(self.turn(&account).await);
            }
        }
    }

    async fn save(&mut self) {
        let now = ReceivedAt::from_millis(host_clock_ms());
        let unsaved = self.kept.iter().filter(|(_, kept)| !kept.is_saved());
        for account in unsaved.map(|(account, _)| account.clone()).collect::<Vec<_>>() {
            // Nothing is never denied.
            let _ = self.change(&account, now, Change::Nothing).await;
        }
    }

    /// Changes an account where it is stored, or here while NATS does not answer.
    async fn change(&mut self, account: &str, now: ReceivedAt, change: Change) -> Result<(), Denied> {
        let mut kept = self.kept.remove(account).unwrap_or_default();
        let stored = if self.is_asked() {
            let answered = timeout(ANSWER_TIME, self.change_stored(account, &kept, now, &change)).await;
            self.heard(answered)
        } else {
            None
        };
        let changed = match stored {
            Some((stored, changed)) => {
                (kept.stored, kept.unsaved) = (stored, Account::default());
                changed
            }
            None => {
                let added = change.judge(&kept.known(now), now, self.market);
                added.map(|added| kept.unsaved.add(now, added))
            }
        };
        let known = kept.known(now);
        self.seen.send_modify(|seen| drop(seen.insert(account.to_owned(), known)));
        self.kept.insert(account.to_owned(), kept);
        changed
    }

    /// Stores what is not stored yet together with the change, and returns the account and whether it was allowed.
    async fn change_stored(
        &self,
        account: &str,
        kept: &Kept,
        now: ReceivedAt,
        change: &Change,
    ) -> Result<(Account, Result<(), Denied>), RegisterError> {
        let register = Register::new(&self.bus, "requests", account);
        loop {
            let loaded = register.load().await?;
            let before = match loaded.value.as_deref().map(serde_json::from_slice) {
                None => Account::default(),
                Some(Ok(before)) => before,
                Some(Err(error)) => {
                    warn!(account, %error, "a stored account cannot be read; going on with what this process knows");
                    kept.stored.clone()
                }
            };
            let mut after = before.clone();
            after.add(now, kept.unsaved.clone());
            let changed = change.judge(&after, now, self.market).map(|added| after.add(now, added));
            if after == before {
                return Ok((after, changed));
            }
            let value = serde_json::to_vec(&after).expect("an account holds only integers and a text");
            match register.replace(loaded.revision, value.into()).await {
                Ok(_) => return Ok((after, changed)),
                // Whoever was faster is through, so this ends.
                Err(RegisterError::Changed { .. }) => {}
                Err(error @ RegisterError::Unanswered { .. }) => return Err(error),
            }
        }
    }

    /// Takes or keeps a turn.
    async fn turn(&mut self, account: &str) -> bool {
        let held = self.kept.get_mut(account).and_then(|kept| kept.turn.take());
        let turn = match (held, self.is_asked()) {
            (Some(turn), true) if turn.kept_at.elapsed() >= TURN_RENEWED => self.renewed(account, turn).await,
            (None, true) => self.taken(account).await,
            // What cannot be renewed ends by itself.
            (turn, true | false) => turn,
        };
        let turn = turn.filter(|turn| turn.kept_at.elapsed() < TURN);
        let is_ours = turn.is_some();
        self.kept.entry(account.to_owned()).or_default().turn = turn;
        is_ours
    }

    async fn taken(&mut self, account: &str) -> Option<Turn> {
        let kept_at = Instant::now();
        let key = format!("poll.{}", subject_token(account));
        let answered = timeout(ANSWER_TIME, Lease::acquire(&self.bus, &key, &self.holder, TURN)).await;
        self.heard(answered).flatten().map(|lease| Turn { lease, kept_at })
    }

    async fn renewed(&mut self, account: &str, mut turn: Turn) -> Option<Turn> {
        let sent_at = Instant::now();
        let answered = timeout(ANSWER_TIME, turn.lease.renew()).await;
        if matches!(answered, Ok(Err(LeaseError::Lost { .. }))) {
            warn!(account, "the turn to ask this venue was lost");
            return None;
        }
        if self.heard(answered).is_some() {
            turn.kept_at = sent_at;
        }
        Some(turn)
    }

    /// Returns whether NATS may be asked at this moment.
    fn is_asked(&self) -> bool {
        let is_up = matches!(*self.bus.connection().borrow(), Connection::Up { .. });
        is_up && self.silent_until.is_none_or(|until| until <= Instant::now())
    }

    /// Returns an answer; where there is none, NATS is left alone for a while.
    fn heard<T, E: Error>(&mut self, answered: Result<Result<T, E>, Elapsed>) -> Option<T> {
        let error: String = match answered {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        self.silent_until = Some(Instant::now() + SILENCE);
        warn!(error, "NATS does not answer for an account; going on with what this process knows");
        None
    }
}
