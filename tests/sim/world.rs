//! One thread, one simulated clock, one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use ingest::exchange::Exchange;
use notify::outbox::Call;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use schemas::{
    market::{MarketEvent, Origin, Rules},
    subscriber::Subscriber,
};

use crate::{
    bot::{Answer, Bot, recipients},
    connection::{Link, deliver, outages},
    feed::Feed,
    market::{FROM_MS, Market},
    notifier::{Lease, Notifier, rate_limit, subscribed},
    streams::{Alerts, Ledger, Log, Snapshots},
    worker::Worker,
};

/// After the market's end, and after the last fault, everything must come to rest within this time. The longest wait is
/// a `retry_after` of 150 s, behind which others of the same chat wait.
const REST_MS: i64 = 8 * 60_000;

/// What the actors share.
pub(crate) struct World {
    pub(crate) now_ms: i64,
    /// The notifiers' clock, ahead of the simulated one.
    wall_ahead_ms: i64,
    faults_until_ms: i64,
    rng: SmallRng,
    pub(crate) log: Log,
    pub(crate) alerts: Alerts,
    pub(crate) ledger: Ledger,
    /// SUBSCRIBERS.
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) snapshots: Snapshots,
    pub(crate) lease: Lease,
    pub(crate) bot: Bot,
    pub(crate) struck: Struck,
}

/// How often what matters struck.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Struck {
    pub(crate) worker_crashes: usize,
    pub(crate) notifier_crashes: usize,
    pub(crate) freezes: usize,
    /// Senders stopped by another one's record.
    pub(crate) fenced: usize,
    delivered: usize,
    delivered_twice: usize,
    failed_calls: usize,
}

impl Struck {
    /// Adds a run.
    pub(crate) fn add(&mut self, world: &World) {
        let Self { worker_crashes, notifier_crashes, freezes, fenced, .. } = world.struck;
        self.worker_crashes += worker_crashes;
        self.notifier_crashes += notifier_crashes;
        self.freezes += freezes;
        self.fenced += fenced;
        let mut delivered = BTreeSet::new();
        for call in &world.bot.calls {
            self.failed_calls += usize::from(call.answer.is_err());
            if call.is_delivered && call.is_new() {
                self.delivered += 1;
                self.delivered_twice += usize::from(!delivered.insert((call.id, &call.recipient)));
            }
        }
    }

    /// Whether the list of seeds is worth its time; it has about ten times as much of each.
    pub(crate) const fn is_everything(&self) -> bool {
        self.worker_crashes > 100
            && self.notifier_crashes > 30
            && self.freezes > 30
            && self.fenced > 5
            && self.delivered > 300
            && self.delivered_twice > 10
            && self.failed_calls > 100
    }
}

impl World {
    /// Whether a fault of this probability strikes.
    pub(crate) fn strikes(&mut self, probability: f64) -> bool {
        self.now_ms < self.faults_until_ms && self.rng.random_bool(probability)
    }

    /// Returns a moment that is later by one of these milliseconds.
    pub(crate) fn after(&mut self, wait_ms: Range<i64>) -> i64 {
        self.now_ms + self.rng.random_range(wait_ms)
    }

    /// The notifiers' clock.
    pub(crate) const fn wall_ms(&self) -> i64 {
        self.now_ms + self.wall_ahead_ms
    }

    /// Calls the Bot API and returns its answer and how long it takes.
    pub(crate) fn call(&mut self, call: &Call) -> (Answer, i64) {
        let is_faulty = self.now_ms < self.faults_until_ms;
        self.bot.call(&mut self.rng, call, self.now_ms, is_faulty)
    }
}

enum Actor {
    Feed(usize),
    Worker(usize),
    Notifier(usize),
    /// Somebody sets other rules.
    Operator,
}

/// The rules of a version: one base as shipped, the others smaller, so that all of them cascade.
pub(crate) fn rules(version: u64) -> MarketEvent {
    let (origin, count, window) = if version == 1 { (Origin::Config, 4, "20s") } else { (Origin::Cli, 6, "45s") };
    let text = format!(
        "[liquidation.BTC]\nsingle_usd = 100_000\ncascade_count = 5\ncascade_usd = 500_000\nwindow = \"30s\"\n\
         [liquidation.default]\nsingle_usd = 250_000\ncascade_count = {count}\ncascade_usd = 150_000\n\
         window = \"{window}\"\n"
    );
    MarketEvent::Rules(Rules::new(version, origin, text))
}

/// Runs a seed to its end and returns the market and what became of it.
pub(crate) fn run(seed: u64) -> (Market, World) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let market = Market::random(&mut rng, &Exchange::ALL);
    let mut feeds = Vec::new();
    let processes = rng.random_range(1..=2);
    let outages = outages(&mut rng, processes, market.until_ms);
    for (exchange, frames) in &market.venues {
        let link = Link { ahead_ms: rng.random_range(-800..800), is_steady: false };
        for (process, outages) in outages.iter().enumerate() {
            let arrivals = deliver(&mut rng, *exchange, frames, outages, link);
            feeds.push(Feed::new(*exchange, format!("ingest-{process}"), arrivals, false));
        }
    }
    let mut workers: Vec<_> = (0..rng.random_range(1..=3)).map(|_| Worker::default()).collect();
    let limit = rng.random_bool(0.5).then(rate_limit);
    let mut notifiers: Vec<_> = (0..rng.random_range(1..=2)).map(|number| Notifier::new(number, limit)).collect();
    let mut log = Log::default();
    // Ingest publishes nothing before a version of the rules exists.
    log.publish(&rules(1));
    let mut world = World {
        now_ms: FROM_MS,
        wall_ahead_ms: rng.random_range(-400..400),
        faults_until_ms: market.until_ms,
        bot: Bot::random(&mut rng),
        rng,
        log,
        alerts: Alerts::default(),
        ledger: Ledger::default(),
        subscribers: recipients().iter().map(subscribed).collect(),
        snapshots: Snapshots::default(),
        lease: Lease::default(),
        struck: Struck::default(),
    };

    let actors = (0..feeds.len()).map(Actor::Feed).chain((0..workers.len()).map(Actor::Worker));
    let actors = actors.chain((0..notifiers.len()).map(Actor::Notifier)).chain([Actor::Operator]);
    // What is due at the same moment goes in the order of its second key.
    let mut agenda: BTreeMap<(i64, usize), Actor> = BTreeMap::new();
    for (order, actor) in actors.enumerate() {
        let at_ms = match actor {
            Actor::Operator if world.strikes(0.5) => world.after(60_000..500_000),
            Actor::Operator => i64::MAX,
            Actor::Feed(_) | Actor::Worker(_) | Actor::Notifier(_) => FROM_MS,
        };
        agenda.insert((at_ms, order), actor);
    }
    while let Some(((at_ms, order), actor)) = agenda.pop_first() {
        if at_ms > market.until_ms + REST_MS {
            break;
        }
        world.now_ms = at_ms;
        let next_ms = match actor {
            Actor::Feed(index) => feeds[index].step(&mut world.rng, &mut world.log, at_ms).unwrap_or(i64::MAX),
            Actor::Worker(index) => workers[index].step(&mut world),
            Actor::Notifier(index) => notifiers[index].step(&mut world),
            Actor::Operator => {
                world.log.publish(&rules(2));
                i64::MAX
            }
        };
        agenda.insert((next_ms, order), actor);
        // The last frames come within seconds of the market's end; then everything may be at rest.
        if at_ms > market.until_ms + 30_000
            && workers.iter().all(|worker| worker.is_idle(&world))
            && notifiers.iter().all(|notifier| notifier.is_idle(&world))
        {
            break;
        }
    }
    assert!(workers.iter().all(|worker| worker.is_idle(&world)), "every worker has handled the whole log");
    assert!(notifiers.iter().all(|notifier| notifier.is_idle(&world)), "every notifier is done");
    (market, world)
}
