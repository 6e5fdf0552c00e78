//! A stormy week for a thousand chats: the notifier's two state machines on one simulated clock, against a Bot API that
//! keeps Telegram's limits and fails one call in a hundred.
//!
//! Nothing crashes here and the ledger is not kept, only checked as it grows: crashes are for the rest of this folder.

use std::time::Instant;

use notify::{
    caps::OVERALL_LIMIT,
    decide::{Market, Policy},
    decider::Decider,
    outbox::{Action, Call, Config, Outbox},
    recipient::Channel,
    time::WallTime,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use schemas::{alert::Alert, delivery::LedgerEvent, subscriber::Subscriber};

use self::{account::Account, api::Api};
use crate::{Seed, bot::Answer, notifier::rate_limit, seeds};

mod account;
mod api;
mod people;
mod storm;

/// Midnight UTC.
const FROM_MS: i64 = 1_791_417_600_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const DAYS: i64 = 7;

/// Digests are looked for this often. The program does so every second, which is no more to check.
const DIGESTS_MS: i64 = 30_000;

/// After the last alert everything must come to rest within this time.
const REST_MS: i64 = 2 * HOUR_MS;

struct Week {
    now_ms: i64,
    decider: Decider,
    outbox: Outbox,
    api: Api,
    account: Account,
    /// Answers on their way, with the moment they come.
    calls: Vec<(i64, Call, Answer)>,
}

impl Week {
    fn now(&self) -> WallTime {
        WallTime::from_millis(self.now_ms)
    }

    fn subscribe(&mut self, subscriber: Subscriber) {
        self.outbox.handle_subscriber(&subscriber);
        self.account.handle_subscriber(&subscriber);
        self.decider.handle_subscriber(subscriber);
    }

    /// Stores an event and does what follows from it at once.
    fn store(&mut self, event: &LedgerEvent) {
        self.account.handle_event(event, self.now_ms);
        self.decider.handle_event(event);
        self.outbox.handle_event(event);
        for changed in self.decider.standing_after(event) {
            self.subscribe(changed);
        }
    }

    fn decide(&mut self, alert: &Alert) {
        for event in self.decider.decide(alert, self.now()) {
            self.store(&event);
        }
        assert_eq!(self.decider.decide(alert, self.now()), [], "an alert that comes again is not decided again");
    }

    fn act(&mut self) {
        while let Some(action) = self.outbox.poll(self.now()) {
            match action {
                Action::Record(event) => self.store(&event),
                Action::Send(call) => {
                    let (answer, wait_ms) = self.api.call(&call, self.now_ms);
                    self.calls.push((self.now_ms + wait_ms, call, answer));
                }
            }
        }
    }

    /// Lets time pass until `until_ms`, and does what is due on the way.
    fn run(&mut self, until_ms: i64) {
        loop {
            self.act();
            let answered = self.calls.iter().map(|(at, ..)| *at).min();
            let due = self.outbox.poll_timeout(self.now()).map(WallTime::as_millis);
            let next = answered.into_iter().chain(due).min().unwrap_or(i64::MAX);
            if next > until_ms {
                break;
            }
            self.now_ms = self.now_ms.max(next);
            while let Some(index) = self.calls.iter().position(|(at, ..)| *at <= self.now_ms) {
                let (_, call, answer) = self.calls.swap_remove(index);
                self.outbox.handle_result(&call, answer, self.now());
            }
        }
        self.now_ms = until_ms;
    }

    fn make_digests(&mut self) {
        for digest in self.decider.digests(self.now()) {
            self.store(&digest);
        }
    }
}

fn run(seed: u64) -> Week {
    let mut rng = SmallRng::seed_from_u64(seed);
    let everybody = people::everybody(&mut rng);
    let mut changes = people::changes(&mut rng, &everybody).into_iter().peekable();
    let mut alerts = storm::week(&mut rng).into_iter().peekable();
    let policy = Policy {
        market: Market::Live,
        channel: Channel::Telegram,
        shared_token: false,
        liquidation_alerts: true,
        oi_alerts: true,
        rate_limit: Some(rate_limit()),
    };
    let mut week = Week {
        now_ms: FROM_MS,
        decider: Decider::new(policy),
        outbox: Outbox::new(Config { market: Market::Live, overall_limit: OVERALL_LIMIT, buttons: false }),
        api: Api::new(rng.random()),
        account: Account::default(),
        calls: Vec::new(),
    };
    everybody.into_iter().for_each(|subscriber| week.subscribe(subscriber));
    let end_ms = FROM_MS + DAYS * DAY_MS + REST_MS;
    for digests_ms in (FROM_MS..end_ms).step_by(DIGESTS_MS as usize) {
        loop {
            let change_ms = changes.peek().map_or(i64::MAX, |(at, _)| *at);
            let alert_ms = alerts.peek().map_or(i64::MAX, |(at, _)| *at);
            if change_ms.min(alert_ms) > digests_ms {
                break;
            }
            week.run(change_ms.min(alert_ms));
            if let Some((_, changed)) = changes.next_if(|(at, _)| *at <= alert_ms) {
                week.subscribe(changed);
            } else if let Some((_, alert)) = alerts.next() {
                week.account.handle_alert(&alert);
                week.decide(&alert);
            }
        }
        week.run(digests_ms);
        week.make_digests();
    }
    week.run(end_ms);
    week
}

#[test]
fn a_thousand_chats_are_told_of_a_stormy_week_as_promised() {
    for seed in seeds([7]) {
        let _named = Seed(seed);
        let began = Instant::now();
        let week = run(seed);
        assert_eq!((week.outbox.pending(), week.calls.len()), (0, 0), "everything came to rest");
        let summary = week.account.finish(&week.api);
        eprintln!("{summary}; {:.0} s", began.elapsed().as_secs_f64());
    }
}
