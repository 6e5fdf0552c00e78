//! The whole pipeline as one simulation: raw venue frames → adapter parsing → in-memory log → detector → notifier.
//!
//! One thread, one simulated clock, one seed; no runtime and no sockets. The pure parts are the program's own
//! (`ingest::normalize`, `detect::detector`, `notify::decider`, `notify::outbox`); what stands for the broker, the
//! venues, the Bot API and the processes is in this folder, and any of them may fail between any two steps.
//!
//! A failing seed prints itself; `FORESHOCK_SEED=7` runs that one alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bot;
mod checks;
mod connection;
mod course;
mod feed;
mod frames;
mod market;
mod notifier;
mod streams;
mod undisturbed;
mod week;
mod worker;
mod world;

/// Seeds of the normal run.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=40;

/// Seeds in which a deferral that is not fenced leads to a fourth attempt, and one in which the late result of an older
/// attempt would end a delivery that has another left.
const RARE: [u64; 3] = [46, 373, 731];

/// Seeds that are run twice.
const TWICE: [u64; 3] = [3, 17, 31];

/// Prints the seed when its run panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nthis seed fails: FORESHOCK_SEED={} cargo test --test sim", self.0);
        }
    }
}

/// The seeds to run: these, or the one that was asked for.
fn seeds(seeds: impl IntoIterator<Item = u64>) -> Vec<u64> {
    match std::env::var("FORESHOCK_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => seeds.into_iter().collect(),
    }
}

#[test]
fn whatever_fails_alerts_and_deliveries_are_as_promised() {
    let mut struck = world::Struck::default();
    let seeds = seeds(SEEDS.chain(RARE));
    for seed in &seeds {
        let _named = Seed(*seed);
        let (market, world) = world::run(*seed);
        checks::log_holds_what_happened(&market, &world);
        checks::alerts_are_the_fold_of_the_log(&world);
        course::deliveries_are_as_promised(&world);
        struck.add(&world);
    }
    assert!(seeds.len() == 1 || struck.is_everything(), "the seeds exercise too little: {struck:?}");
}

#[test]
fn one_recording_gives_the_same_figures_through_a_file_and_through_failing_sockets() {
    for seed in seeds(SEEDS) {
        let _named = Seed(seed);
        undisturbed::promise_b(seed);
    }
}

#[test]
fn a_seed_run_twice_leaves_the_same_bytes() {
    let bytes = |seed| {
        let (_, world) = world::run(seed);
        (world.log.payloads().clone(), world.alerts.stored, world.ledger.into_records())
    };
    for seed in seeds(TWICE) {
        let _named = Seed(seed);
        assert!(bytes(seed) == bytes(seed), "the two runs differ");
    }
}
