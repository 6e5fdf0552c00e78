//! `foreshock rules`: what is looked for, and since when.

use std::{
    io::{Read as _, Write},
    path::Path,
};

use anyhow::{Context as _, bail};
use detect::rules::Rules;
use nats::Bus;
use schemas::market::Origin;
use serde_json::json;

use crate::{
    cli,
    exit::UsageError,
    run::{Context, connect, detect::publish_rules, stdout},
};

/// Longest text of rules, in bytes: with its envelope it must fit a message of 64 KB.
const RULES_BYTES_MAX: u64 = 60 * 1024;

pub(super) async fn run(context: &Context, command: &cli::Rules) -> anyhow::Result<()> {
    let mut out = stdout();
    let text = match command {
        cli::Rules::Check { file } => {
            let rules = read(file)?;
            if context.json { json!({ "rules": rules.to_toml() }).to_string() } else { rules.to_toml() }
        }
        cli::Rules::Set { file } => {
            let rules = read(file)?;
            let bus = prepared(context).await?;
            let version = set(&bus, rules.to_toml()).await?;
            bus.close().await;
            if context.json {
                json!({ "version": version }).to_string()
            } else {
                format!("version {version} is in force")
            }
        }
        cli::Rules::Show => show(context).await?,
        cli::Rules::History => history(context).await?,
    };
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context("stdout cannot be written")
}

async fn prepared(context: &Context) -> anyhow::Result<Bus> {
    let bus = connect(context, "rules").await?;
    bus.check_market().await.context("the rules cannot be reached")?;
    bus.repair_rules().await?;
    Ok(bus)
}

async fn set(bus: &Bus, text: String) -> anyhow::Result<u64> {
    loop {
        let versions = bus.rules_versions().await?;
        if let Some(version) = publish_rules(bus, Origin::Cli, text.clone(), &versions).await? {
            return Ok(version);
        }
        bus.repair_rules().await?;
    }
}

async fn show(context: &Context) -> anyhow::Result<String> {
    let bus = prepared(context).await?;
    let versions = bus.rules_versions().await?;
    bus.close().await;
    let Some(last) = versions.last() else {
        bail!("there are no rules yet: a worker of `foreshock detect` brings them into force at its start");
    };
    let rules = &last.rules;
    Ok(if context.json {
        json!({ "version": rules.version, "origin": rules.origin, "position": last.position.sequence, "text": rules.text })
            .to_string()
    } else {
        let origin = origin_text(rules.origin);
        format!(
            "# version {}, from {origin}, in force since MARKET:{}\n{}",
            rules.version, last.position.sequence, rules.text
        )
    })
}

async fn history(context: &Context) -> anyhow::Result<String> {
    let bus = prepared(context).await?;
    let versions = bus.rules_versions().await?;
    bus.close().await;
    Ok(if context.json {
        let versions = versions.iter().map(|version| {
            json!({
                "version": version.rules.version,
                "origin": version.rules.origin,
                "position": version.position.to_string(),
                "text": version.rules.text,
            })
        });
        serde_json::Value::Array(versions.collect()).to_string()
    } else {
        let lines = versions.iter().map(|version| {
            let origin = origin_text(version.rules.origin);
            format!("{:>7}  {origin:<13}  MARKET:{}", version.rules.version, version.position.sequence)
        });
        std::iter::once("version  from           since".to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
    })
}

pub(super) const fn origin_text(origin: Origin) -> &'static str {
    match origin {
        Origin::Config => "configuration",
        Origin::Cli => "rules set",
    }
}

/// Reads a file of rules (`-` is stdin); mistakes in it are wrong usage, all told at once.
pub(super) fn read(file: &Path) -> anyhow::Result<Rules> {
    let mut text = String::new();
    let shown = file.display();
    let read = if file == Path::new("-") {
        std::io::stdin().take(RULES_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(RULES_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let length = read.map_err(|error| UsageError(format!("the rules in {shown} cannot be read: {error}")))?;
    if length as u64 > RULES_BYTES_MAX {
        return Err(UsageError(format!("the rules in {shown} are longer than {RULES_BYTES_MAX} bytes")).into());
    }
    Rules::parse(&text).map_err(|error| {
        UsageError(format!("the rules in {shown} cannot be used:\n  {}", error.problems.join("\n  "))).into()
    })
}
