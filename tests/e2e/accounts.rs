//! What venues were asked is counted once for all processes, and forgotten by none of them.

use foreshock::{
    config::Market,
    run::ingest::accounts::{Keeper, NatsAccounts},
};
use ingest::account::{Account, Accounts as _, Denied, HOUR_SAMPLING_MAX, Hold, Purpose};
use nats::Register;
use schemas::time::ReceivedAt;
use tokio::task::JoinHandle;

use crate::support::{Nats, eventually};

const VENUE: &str = "binance";

/// What an ingest process holds of the accounts.
struct Process {
    accounts: NatsAccounts,
    keeper: JoinHandle<()>,
}

impl Process {
    async fn start(nats: &Nats, holder: &str, market: Market) -> Self {
        let bus = nats.bus("", nats::Market::Live).await;
        bus.apply_topology().await.unwrap();
        let (accounts, keeper) = NatsAccounts::new(bus, holder.to_owned(), market);
        Self { accounts, keeper: tokio::spawn(Keeper::run(keeper)) }
    }

    async fn live(nats: &Nats, holder: &str) -> Self {
        Self::start(nats, holder, Market::Live).await
    }

    async fn sample(&self, count: u32) -> Result<(), Denied> {
        self.accounts.spend(VENUE, now(), Purpose::Sampling, count).await
    }

    /// Ends as at a shutdown.
    async fn stop(self) {
        drop(self.accounts);
        self.keeper.await.unwrap();
    }
}

fn now() -> ReceivedAt {
    ReceivedAt::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// The account as it is stored.
async fn stored(nats: &Nats) -> Account {
    let bus = nats.bus("", nats::Market::Live).await;
    let value = Register::new(&bus, "requests", VENUE).load().await.unwrap().value;
    value.map(|value| serde_json::from_slice(&value).unwrap()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_request_and_no_pause() {
    let Some(nats) = Nats::start() else { return };
    let process = Process::live(&nats, "a").await;
    assert_eq!(process.sample(60).await, Ok(()));
    assert_eq!(process.accounts.seen(VENUE).spent(now()), 60);
    process.stop().await;

    let process = Process::live(&nats, "b").await;
    assert!(matches!(process.sample(31).await, Err(Denied::Full { .. })));
    assert_eq!(process.sample(30).await, Ok(()));
    assert_eq!(process.accounts.spend("okx", now(), Purpose::Sampling, 1).await, Ok(()), "an account of its own");
    let until = ReceivedAt::from_millis(now().as_millis() + 600_000);
    let hold = Hold { until, why: "limits requests (418)".to_owned() };
    process.accounts.hold(VENUE, now(), hold.clone()).await;
    // Killed: nothing is stored at the end.
    process.keeper.abort();

    let process = Process::live(&nats, "c").await;
    let denied = process.accounts.spend(VENUE, now(), Purpose::Upkeep, 1).await;
    assert_eq!(denied, Err(Denied::Held(hold.clone())));
    assert_eq!(process.accounts.seen(VENUE).held(now()), Some(&hold));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_spend_at_once_lose_no_request_and_never_reach_a_hundred() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (Process::live(&nats, "a").await, Process::live(&nats, "b").await);
    let mut spending = tokio::task::JoinSet::new();
    for request in 0..160 {
        let accounts = if request % 2 == 0 { a.accounts.clone() } else { b.accounts.clone() };
        spending.spawn(async move { accounts.spend(VENUE, now(), Purpose::Upkeep, 1).await.is_ok() });
    }
    let granted = spending.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 99);
    assert_eq!(stored(&nats).await.spent(now()), 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spent_while_nats_was_away_is_stored_when_it_is_back() {
    let Some(mut nats) = Nats::start() else { return };
    let process = Process::live(&nats, "a").await;
    assert_eq!(process.sample(50).await, Ok(()));
    nats.kill();
    assert_eq!(process.sample(40).await, Ok(()));
    assert!(matches!(process.sample(1).await, Err(Denied::Full { .. })), "judged on what is known here");
    assert_eq!(process.accounts.seen(VENUE).spent(now()), HOUR_SAMPLING_MAX);
    let until = ReceivedAt::from_millis(now().as_millis() + 600_000);
    let hold = Hold { until, why: "limits requests (429)".to_owned() };
    process.accounts.hold(VENUE, now(), hold.clone()).await;
    assert!(matches!(process.sample(1).await, Err(Denied::Held(_))));
    nats.restart();
    eventually("the account is whole", async || {
        let account = stored(&nats).await;
        account.spent(now()) == HOUR_SAMPLING_MAX && account.held(now()) == Some(&hold)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turn_is_with_one_process_and_passes_when_that_one_is_gone() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (Process::live(&nats, "a").await, Process::live(&nats, "b").await);
    assert!(a.accounts.turn(VENUE).await);
    assert!(!b.accounts.turn(VENUE).await);
    assert!(a.accounts.turn(VENUE).await);
    assert!(b.accounts.turn("okx").await, "each account has a turn of its own");
    a.stop().await;
    assert!(b.accounts.turn(VENUE).await, "given up at the end");

    // Killed: the turn runs out.
    b.keeper.abort();
    let c = Process::live(&nats, "c").await;
    assert!(!c.accounts.turn(VENUE).await);
    eventually("the turn passes", async || c.accounts.turn(VENUE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_market_counts_its_requests_and_obeys_only_pauses() {
    let Some(nats) = Nats::start() else { return };
    let process = Process::start(&nats, "a", Market::Recorded).await;
    for _ in 0..20 {
        assert_eq!(process.sample(90).await, Ok(()));
    }
    assert_eq!(stored(&nats).await.spent(now()), 1_000, "at most");
    let until = ReceivedAt::from_millis(now().as_millis() + 600_000);
    process.accounts.hold(VENUE, now(), Hold { until, why: "limits requests (429)".to_owned() }).await;
    assert!(matches!(process.sample(1).await, Err(Denied::Held(_))));
}
