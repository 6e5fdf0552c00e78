//! Whether this process lives: a beat of the runtime, and a thread outside of it that ends a process whose beat stopped.
//!
//! Docker restarts what ended and only marks what hangs (ops.md 7), so a process that hangs ends itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{exit::ExitCode, run::say};

/// Time between two beats, and between two looks at them.
const BEAT: Duration = Duration::from_secs(1);

/// A runtime that did not beat for this long hangs (ops.md 7).
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// The beat of this process's runtime; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Heart {
    began: Instant,
    /// Milliseconds after `began` at the last beat.
    beat_ms: Arc<AtomicU64>,
}

impl Heart {
    /// Beats from now on, and ends the process when the runtime stops beating. Call it within the runtime, once.
    pub(crate) fn start() -> std::io::Result<Self> {
        let heart = Self { began: Instant::now(), beat_ms: Arc::default() };
        let (beating, watched) = (heart.clone(), heart.clone());
        tokio::spawn(async move {
            loop {
                beating.beat_ms.store(beating.elapsed_ms(), Ordering::Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        });
        thread::Builder::new().name("watchdog".to_owned()).stack_size(64 * 1024).spawn(move || watched.watch())?;
        Ok(heart)
    }

    /// When the process began.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// Whether the runtime beats.
    pub(crate) fn is_beating(&self) -> bool {
        self.age() < HANGS_AFTER
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed)))
    }

    fn watch(&self) {
        let mut patience = Patience::default();
        loop {
            let before = Instant::now();
            thread::sleep(BEAT);
            if patience.ends(self.age(), before.elapsed()) {
                say("the process hangs: its runtime has not moved for 10 s; ending it, so that it is started again");
                std::process::exit(i32::from(ExitCode::Hung.code()));
            }
        }
    }
}

/// Tells a runtime that hangs from a process that stood still as a whole (stopped, or its machine suspended): that one
/// goes on by itself and is given its time anew.
#[derive(Debug, Default)]
struct Patience {
    /// How old the beat may be beyond [`HANGS_AFTER`], because nobody could beat.
    excused: Duration,
}

impl Patience {
    /// Takes in the age of the beat and how long this look took to come.
    fn ends(&mut self, age: Duration, slept: Duration) -> bool {
        if age < 2 * BEAT {
            self.excused = Duration::ZERO;
        }
        self.excused += slept.saturating_sub(2 * BEAT);
        age >= HANGS_AFTER + self.excused
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    const CHILD: &str = "FORESHOCK_TEST_HANGS";

    #[test]
    fn a_beat_that_stopped_ends_the_process_and_a_standstill_does_not() {
        let mut patience = Patience::default();
        assert!(!patience.ends(Duration::from_secs(1), BEAT));
        assert!(!patience.ends(Duration::from_millis(9_900), BEAT));
        assert!(patience.ends(HANGS_AFTER, BEAT));
        // Stopped for a minute: the beat is as old as the standstill, and is given ten seconds after it.
        let mut patience = Patience::default();
        assert!(!patience.ends(Duration::from_secs(61), Duration::from_secs(61)));
        assert!(!patience.ends(Duration::from_secs(65), BEAT));
        assert!(patience.ends(Duration::from_secs(70), BEAT));
        // Back, and stuck later: no excuse is left.
        let mut patience = Patience::default();
        assert!(!patience.ends(Duration::from_secs(61), Duration::from_secs(61)));
        assert!(!patience.ends(Duration::from_millis(500), BEAT));
        assert!(patience.ends(HANGS_AFTER, BEAT));
    }

    /// The body of the child of the next test: its runtime's only thread is blocked.
    #[test]
    fn child_that_hangs() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let heart = Heart::start().unwrap();
            tokio::task::yield_now().await;
            assert!(heart.is_beating());
            thread::sleep(Duration::from_secs(120));
        });
    }

    #[test]
    fn a_runtime_that_is_blocked_ends_with_a_code_of_its_own() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::heart::tests::child_that_hangs", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert_eq!((child.status.code(), child.status.signal()), (Some(70), None));
        assert!(String::from_utf8_lossy(&child.stderr).contains("has not moved for 10 s"));
    }
}
