//! What stood here before, and what changed since: the pure part of `foreshock validate`.
//!
//! A [`Baseline`] keeps of an existing system what must not change because of us: its containers and networks, and the shape
//! and speed of its answers. It holds digests of configurations, never their values.

mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::shape::Shape;

/// Version of the file.
pub(crate) const VERSION: u16 = 1;

/// A median counts as slower only beyond the baseline's p95 and a quarter of it: two runs of one service on a busy host differ
/// by less.
const NOISE: f64 = 1.25;

/// And beyond this many milliseconds more, for answers that take next to nothing.
const NOISE_MS: f64 = 20.0;

/// All of it may hold this much together with foreshock (design 9), in bytes.
pub(crate) const MEMORY_MAX: u64 = 512 * 1024 * 1024;

/// A feed may be unstable this long (`operations.md`), in milliseconds.
const UNSTABLE_MS_MAX: i64 = 5 * 60 * 1000;

/// Delivery attempts of which more may not fail.
const FAILED_SHARE_MAX: f64 = 0.1;

/// An existing system, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// Schema version.
    pub(crate) v: u16,
    /// When, host clock, milliseconds since 1970 UTC.
    pub(crate) taken_at: i64,
    /// Containers that are not ours, by name.
    pub(crate) containers: BTreeMap<String, Container>,
    /// Networks that are not ours, by name: digests of their configuration.
    pub(crate) networks: BTreeMap<String, String>,
    /// What the bot shows in its menu, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) bot_commands: Option<Value>,
    /// What answers, by path.
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Container {
    /// The image by name.
    pub(crate) image: String,
    /// The image by content.
    pub(crate) image_id: String,
    /// Digest of its whole configuration: command, environment, mounts, limits, labels.
    pub(crate) configuration: String,
    /// Names of its networks.
    pub(crate) networks: BTreeSet<String>,
    /// `running`, `exited` …
    pub(crate) status: String,
    /// When it was started, as Docker says it.
    pub(crate) started_at: String,
    /// How often Docker restarted it.
    pub(crate) restarts: u64,
    /// Memory, in bytes; 0 when it does not run.
    pub(crate) memory_bytes: u64,
}

/// What stands behind one of the bot's commands, over several calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Calls that brought no answer at all.
    pub(crate) unanswered: u32,
    /// The HTTP statuses of the others.
    pub(crate) statuses: BTreeSet<u16>,
    /// Keys and types of the answers.
    pub(crate) shape: Shape,
    /// Median, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 95th percentile, in milliseconds.
    pub(crate) p95_ms: f64,
}

/// One call of an endpoint: what came and how long it took, in milliseconds.
pub(crate) type Call = (Option<(u16, Value)>, f64);

impl Endpoint {
    /// Sums up calls.
    pub(crate) fn of(calls: &[Call]) -> Self {
        let answers = || calls.iter().filter_map(|(answer, _)| answer.as_ref());
        let mut took: Vec<f64> =
            calls.iter().filter(|(answer, _)| answer.is_some()).map(|(_, took_ms)| *took_ms).collect();
        took.sort_by(f64::total_cmp);
        Self {
            unanswered: u32::try_from(calls.len() - took.len()).unwrap_or(u32::MAX),
            statuses: answers().map(|(status, _)| *status).collect(),
            shape: Shape::of(answers().map(|(_, body)| body)),
            p50_ms: quantile(&took, 0.5),
            p95_ms: quantile(&took, 0.95),
        }
    }
}

/// Returns the smallest value that at least `share` of the sorted `values` do not exceed; 0 where there is none.
fn quantile(values: &[f64], share: f64) -> f64 {
    // At least 1 and at most the length, which is small.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
    values.get(rank - 1).copied().unwrap_or(0.0)
}

/// What is different from the baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Differences {
    /// The existing system changed.
    pub(crate) changed: Vec<String>,
    /// Its answers take longer.
    pub(crate) slower: Vec<String>,
    /// Something is there that was not; it harms nobody.
    pub(crate) new: Vec<String>,
}

impl Differences {
    /// Returns whether the existing system is as it was.
    pub(crate) const fn is_clean(&self) -> bool {
        self.changed.is_empty() && self.slower.is_empty()
    }
}

/// Compares an existing system with what it was.
pub(crate) fn compare(before: &Baseline, now: &Baseline) -> Differences {
    let mut found = Differences::default();
    for (name, was) in &before.containers {
        match now.containers.get(name) {
            Some(is) => compare_containers(name, was, is, &mut found),
            None => found.changed.push(format!("container {name} is gone")),
        }
    }
    for (name, was) in &before.networks {
        match now.networks.get(name) {
            Some(is) if is == was => {}
            Some(_) => found.changed.push(format!("network {name} was made anew or configured otherwise")),
            None => found.changed.push(format!("network {name} is gone")),
        }
    }
    found.new.extend(added(&before.containers, &now.containers).map(|name| format!("container {name}")));
    found.new.extend(added(&before.networks, &now.networks).map(|name| format!("network {name}")));
    if before.bot_commands.is_some() && before.bot_commands != now.bot_commands {
        found.changed.push("the bot's menu of commands is another".to_owned());
    }
    for (path, was) in &before.endpoints {
        match now.endpoints.get(path) {
            Some(is) => compare_endpoints(path, was, is, &mut found),
            None => found.changed.push(format!("{path} was not asked")),
        }
    }
    found
}

fn added<'a, T>(
    before: &'a BTreeMap<String, T>,
    now: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = &'a String> + 'a {
    now.keys().filter(|name| !before.contains_key(*name))
}

fn compare_containers(name: &str, was: &Container, is: &Container, found: &mut Differences) {
    let mut differ = |what: &str, was: &str, is: &str| {
        if was != is {
            found.changed.push(format!("container {name}: {what} was {was}, is {is}"));
        }
    };
    differ("its state", &was.status, &is.status);
    differ("its image", &was.image, &is.image);
    differ("its image's content", &was.image_id, &is.image_id);
    differ("its start", &was.started_at, &is.started_at);
    differ("its count of restarts", &was.restarts.to_string(), &is.restarts.to_string());
    if was.configuration != is.configuration {
        found.changed.push(format!("container {name}: its configuration is another"));
    }
    if was.networks != is.networks {
        found.changed.push(format!("container {name}: its networks were {:?}, are {:?}", was.networks, is.networks));
    }
}

fn compare_endpoints(path: &str, was: &Endpoint, is: &Endpoint, found: &mut Differences) {
    if is.unanswered > was.unanswered {
        found.changed.push(format!("{path}: {} calls were not answered", is.unanswered));
    }
    if is.statuses.is_empty() {
        return;
    }
    if !is.statuses.is_subset(&was.statuses) {
        found.changed.push(format!("{path}: HTTP status was {:?}, is {:?}", was.statuses, is.statuses));
    }
    let difference = is.shape.since(&was.shape);
    found.changed.extend(difference.broken.into_iter().map(|line| format!("{path}: {line}")));
    found.new.extend(difference.new.into_iter().map(|key| format!("{path}: {key}")));
    if is.p50_ms > (was.p95_ms * NOISE).max(was.p95_ms + NOISE_MS) {
        found.slower.push(format!("{path}: half take over {:.0} ms, 95 % took under {:.0} ms", is.p50_ms, was.p95_ms));
    }
}

/// One line of the decision whether foreshock may stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// What must hold.
    pub(crate) criterion: &'static str,
    /// Whether it does.
    pub(crate) go: bool,
    /// What was seen.
    pub(crate) seen: String,
}

/// What foreshock's services say of themselves, and what was tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    /// Memory of all containers of foreshock, in bytes.
    pub(crate) memory_bytes: u64,
    /// Host clock, milliseconds since 1970 UTC.
    pub(crate) now: i64,
    /// State and since when (milliseconds since 1970 UTC), by venue; `None` when ingest does not answer.
    pub(crate) feeds: Option<BTreeMap<String, (String, i64)>>,
    /// Calls of the Bot API that went well and that did not; `None` when notify does not answer.
    pub(crate) calls: Option<(u64, u64)>,
    /// How many seconds the rehearsal of a rollback took, when it succeeded.
    pub(crate) rollback_s: Option<u64>,
}

/// A rollback may take this many seconds.
const ROLLBACK_S_MAX: u64 = 60;

/// Decides whether foreshock may stay beside the existing system: every line must say go.
pub(crate) fn judge(existing: &Baseline, differences: &Differences, running: &Running) -> Vec<Verdict> {
    let lines = |lines: &[String], none: &str| if lines.is_empty() { none.to_owned() } else { lines.join("; ") };
    let memory = existing.containers.values().map(|container| container.memory_bytes).sum::<u64>();
    let total = memory + running.memory_bytes;
    let unstable = running.feeds.as_ref().map(|feeds| {
        let is_unstable = |(state, since): &(String, i64)| {
            !matches!(state.as_str(), "connected" | "recovered" | "alive") && running.now - since > UNSTABLE_MS_MAX
        };
        let unstable = feeds.iter().filter(|(_, feed)| is_unstable(feed));
        unstable
            .map(|(venue, (state, since))| format!("{venue} {state} for {} s", (running.now - since) / 1000))
            .collect::<Vec<_>>()
    });
    vec![
        Verdict {
            criterion: "the existing system is as it was",
            go: differences.changed.is_empty(),
            seen: lines(&differences.changed, "no difference"),
        },
        Verdict {
            criterion: "its answers are as quick as they were",
            go: differences.slower.is_empty(),
            seen: lines(&differences.slower, "within noise"),
        },
        Verdict {
            criterion: "both together hold at most 512 MiB",
            go: total <= MEMORY_MAX,
            seen: format!("{} + {} MiB", memory >> 20, running.memory_bytes >> 20),
        },
        Verdict {
            criterion: "a rehearsed rollback takes at most 60 s",
            go: running.rollback_s.is_some_and(|seconds| seconds <= ROLLBACK_S_MAX),
            seen: running.rollback_s.map_or_else(|| "it failed".to_owned(), |seconds| format!("{seconds} s")),
        },
        Verdict {
            criterion: "no feed is unstable for over 5 minutes",
            go: unstable.as_ref().is_some_and(Vec::is_empty),
            seen: unstable.map_or_else(|| "ingest does not answer".to_owned(), |feeds| lines(&feeds, "all live")),
        },
        delivery(running.calls),
    ]
}

fn delivery(calls: Option<(u64, u64)>) -> Verdict {
    let (go, seen) = match calls {
        None => (false, "notify does not answer".to_owned()),
        Some((0, 0)) => (true, "no attempt yet".to_owned()),
        Some((good, bad)) => {
            let share = bad as f64 / (good + bad) as f64;
            (share <= FAILED_SHARE_MAX, format!("{bad} of {} ({:.1} %)", good + bad, share * 100.0))
        }
    };
    Verdict { criterion: "at most 10 % of delivery attempts fail", go, seen }
}
