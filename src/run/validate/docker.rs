//! What the Docker engine says, through its own command.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use anyhow::Context as _;
use schemas::id::Id;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::validate::Container;

/// The label Compose gives to everything of one project.
const PROJECT: &str = "com.docker.compose.project";

/// Returns containers and networks of the Compose project `of`, or all that do not belong to the project `ours`, by name.
pub(super) async fn existing(
    ours: &str,
    of: Option<&str>,
) -> anyhow::Result<(BTreeMap<String, Container>, BTreeMap<String, String>)> {
    let is_theirs = |labels: &Value| match of {
        Some(project) => labels[PROJECT] == project,
        None => labels[PROJECT] != ours,
    };
    let theirs = containers(is_theirs).await?;
    let networks = inspect("network", &["network", "ls", "--quiet"]).await?;
    let networks = networks.iter().filter(|network| is_theirs(&network["Labels"])).map(|network| {
        // Who is connected is told by the containers; that we join is wanted.
        let fields = ["Id", "Created", "Driver", "EnableIPv6", "IPAM", "Internal", "Attachable", "Options", "Labels"];
        let kept: BTreeMap<&str, &Value> = fields.iter().map(|name| (*name, &network[*name])).collect();
        (text(&network["Name"]), digest(&json!(kept)))
    });
    Ok((theirs, networks.collect()))
}

/// Returns how many bytes of memory the containers of the Compose project `ours` hold.
pub(super) async fn memory_of(ours: &str) -> anyhow::Result<u64> {
    Ok(containers(|labels| labels[PROJECT] == ours).await?.values().map(|container| container.memory_bytes).sum())
}

/// Containers whose labels are wanted, by name.
async fn containers(is_wanted: impl Fn(&Value) -> bool) -> anyhow::Result<BTreeMap<String, Container>> {
    let memory = docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]).await?;
    let memory: BTreeMap<&str, u64> = memory
        .lines()
        .filter_map(|line| {
            let (name, usage) = line.split_once(' ')?;
            Some((name, bytes(usage.split_once(" / ")?.0)?))
        })
        .collect();
    let all = inspect("container", &["container", "ls", "--all", "--quiet"]).await?;
    let wanted = all.iter().filter(|container| is_wanted(&container["Config"]["Labels"]));
    let named = wanted.map(|inspected| {
        let name = text(&inspected["Name"]).trim_start_matches('/').to_owned();
        let memory = memory.get(name.as_str()).copied().unwrap_or(0);
        (name, container(inspected, memory))
    });
    Ok(named.collect())
}

fn container(inspected: &Value, memory_bytes: u64) -> Container {
    let networks = inspected["NetworkSettings"]["Networks"].as_object();
    let networks: BTreeSet<String> = networks.map(|networks| networks.keys().cloned().collect()).unwrap_or_default();
    let configuration = json!([inspected["Config"], inspected["HostConfig"], inspected["Mounts"]]);
    Container {
        image: text(&inspected["Config"]["Image"]),
        image_id: text(&inspected["Image"]),
        configuration: digest(&configuration),
        networks,
        status: text(&inspected["State"]["Status"]),
        started_at: text(&inspected["State"]["StartedAt"]),
        restarts: inspected["RestartCount"].as_u64().unwrap_or(0),
        memory_bytes,
    }
}

/// Only a digest is kept: an environment holds secrets. Its keys are sorted, as `serde_json` keeps them.
fn digest(value: &Value) -> String {
    Id::of("configuration", &[&value.to_string()]).to_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads `12.77MiB` and the like.
fn bytes(shown: &str) -> Option<u64> {
    let digits = shown.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    let (number, unit) = shown.split_at(digits);
    let unit = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    // Sizes of memory, far below the precision of a double.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    number.parse::<f64>().ok().map(|number| (number * unit) as u64)
}

/// Inspects everything of a kind that `list` names.
async fn inspect(kind: &str, list: &[&str]) -> anyhow::Result<Vec<Value>> {
    let ids = docker(list).await?;
    let mut arguments = vec![kind, "inspect"];
    arguments.extend(ids.lines());
    if arguments.len() == 2 {
        return Ok(Vec::new());
    }
    serde_json::from_str(&docker(&arguments).await?).with_context(|| format!("docker {kind} inspect cannot be read"))
}

async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let command = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await;
    let output = command.context("docker cannot be run; the Docker engine's client must be installed")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "docker {}: {}", arguments[..2].join(" "), said.trim());
    String::from_utf8(output.stdout).context("docker does not answer in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_shows_them() {
        assert_eq!(bytes("12.5MiB"), Some(13_107_200));
        assert_eq!(["0B", "1KiB", "2GiB"].map(bytes), [Some(0), Some(1024), Some(2 << 30)]);
        assert_eq!(["", "--", "1.2.3MiB", "5MB"].map(bytes), [None; 4]);
    }

    #[test]
    fn a_container_is_kept_without_its_secrets() {
        let inspected = json!({
            "Name": "/bot", "Image": "sha256:1", "RestartCount": 2, "Mounts": [],
            "Config": {"Image": "bot:1", "Env": ["TELEGRAM_BOT_TOKEN=123456:secret"], "Labels": {}},
            "HostConfig": {"Memory": 5}, "State": {"Status": "running", "StartedAt": "T"},
            "NetworkSettings": {"Networks": {"b": {}, "a": {}}},
        });
        let kept = container(&inspected, 7);
        assert!(!serde_json::to_string(&kept).unwrap().contains("secret"));
        assert_eq!((kept.image.as_str(), kept.restarts, kept.memory_bytes), ("bot:1", 2, 7));
        let mut other = inspected.clone();
        other["HostConfig"]["Memory"] = json!(6);
        assert_ne!(container(&other, 7).configuration, kept.configuration);
        // The order of keys is no difference.
        let text = inspected.to_string();
        assert_eq!(container(&serde_json::from_str(&text).unwrap(), 7), kept);
    }
}
