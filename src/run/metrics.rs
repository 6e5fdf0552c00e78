//! What every process measures of itself, and how a service's figures become metrics.
//!
//! Names and labels follow ops.md 4: base units, counters end in `_total`, labels from closed sets only. The names of a
//! service stand in the file `metrics.rs` of that service, and nothing else spells them.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use crate::run::host_clock_ms;

/// Upper bounds of durations, in seconds: the budgets of design 9 (2, 3 and 5 s) are bounds (ops.md 4).
const SECONDS: [f64; 15] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];

/// Bytes of a page of memory on every machine this is built for (x86_64 and aarch64 as Debian has them).
const PAGE_BYTES: f64 = 4096.0;

/// A limit of memory as large as this, in bytes, is none: the first version of control groups has no other way to say so.
const NO_LIMIT_BYTES: f64 = 1e15;

/// Returns an empty histogram of durations in seconds.
pub(super) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Returns a registry that knows the process; the services add theirs below `foreshock_`.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process { started_s: ms_to_s(host_clock_ms()) }));
    registry
}

/// Adds a service's figures.
pub(super) fn ours(registry: &mut Registry) -> &mut Registry {
    registry.sub_registry_with_prefix("foreshock")
}

/// Writes metrics whose values are kept elsewhere.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    /// Writes a counter; `_total` is added to its name.
    pub(super) fn counter<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.write(name, help, MetricType::Counter, samples)
    }

    /// Writes a gauge; what is not known is left out.
    pub(super) fn gauge<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], Option<f64>)>,
    ) -> fmt::Result {
        let samples = samples.into_iter().filter_map(|(labels, value)| Some((labels, ConstGauge::new(value?))));
        self.write(name, help, MetricType::Gauge, samples)
    }

    fn write<const N: usize, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = ([(&'static str, String); N], M)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in samples {
            if N == 0 {
                // A name without labels has one value.
                return metric.encode(family);
            }
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Returns seconds since 1970 UTC.
pub(super) fn ms_to_s(ms: i64) -> f64 {
    // Exact up to the year 200,000 and more.
    ms as f64 / 1000.0
}

/// The process, under the names every Prometheus client uses.
#[derive(Debug)]
struct Process {
    started_s: f64,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let info = [([("version", env!("CARGO_PKG_VERSION").to_owned())], Some(1.0))];
        page.gauge("foreshock_build_info", "The program that runs", info)?;
        page.gauge("process_start_time_seconds", "When the process began, host clock", [([], Some(self.started_s))])?;
        let resident = "Memory the process holds, pages of its file included";
        page.gauge("process_resident_memory_bytes", resident, [([], resident_bytes())])?;
        page.gauge("process_open_fds", "Files and sockets the process holds", [([], open_files())])?;
        let (held, limit) = container_memory();
        page.gauge("foreshock_memory_bytes", "Memory that counts against the container's limit", [([], held)])?;
        page.gauge("foreshock_memory_limit_bytes", "The container's limit of memory", [([], limit)])
    }
}

/// Returns what the kernel counts against the limit of this control group, and the limit; nothing where there is none. Pages of
/// files that nobody used lately are given back before the limit hurts, so they are left out, as `docker stats` does.
fn container_memory() -> (Option<f64>, Option<f64>) {
    // The second version of control groups, then the first.
    const FILES: [[&str; 3]; 2] = [
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"],
        [
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
        ],
    ];
    let read = |[limit, held, stat]: [&str; 3]| {
        let number = |file| fs::read_to_string(file).ok()?.trim().parse::<f64>().ok();
        let limit = number(limit).filter(|limit| *limit < NO_LIMIT_BYTES)?;
        let stat = fs::read_to_string(stat).ok()?;
        let unused = stat.lines().find_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            // Of the group and those below it, where the first version tells both.
            ["inactive_file", "total_inactive_file"].contains(&name).then(|| bytes.parse::<f64>().ok())?
        });
        Some((number(held)? - unused.unwrap_or(0.0), limit))
    };
    FILES.into_iter().find_map(read).unzip()
}

/// Returns nothing where there is no /proc.
fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse::<f64>().ok().map(|pages| pages * PAGE_BYTES)
}

fn open_files() -> Option<f64> {
    fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_told_under_the_usual_names() {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry()).unwrap();
        for name in ["process_resident_memory_bytes ", "process_open_fds ", "process_start_time_seconds "] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(value > 0.0, "{line}");
        }
        assert!(
            text.contains(&format!("foreshock_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }
}
