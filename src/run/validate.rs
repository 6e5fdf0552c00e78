//! `foreshock validate`: keeps what an existing system is, and says later whether it still is, and whether foreshock may stay.

mod docker;
mod endpoints;
mod ours;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context as _;
use notify::telegram;
use serde_json::{Value, json};
use url::Url;

use crate::{
    cli,
    config::{BotToken, Settings},
    exit::{ExitCode, UsageError},
    run::{Context, host_clock_ms, say, stdout, table::table},
    validate::{Baseline, Differences, VERSION, compare, judge},
};

/// Exits 1 when something of the existing system changed, or when the answer is no-go.
pub(super) async fn run(context: &Context, command: &cli::Validate) -> anyhow::Result<ExitCode> {
    match command {
        cli::Validate::Capture { existing, out } => capture(context, existing, out).await,
        cli::Validate::Check { existing, baseline, watch } => check(context, existing, baseline, *watch).await,
        cli::Validate::System { existing, baseline, ingest, notify, rollback_seconds } => {
            let before = read(baseline)?;
            let now = look(&context.settings, existing, before.bot_commands.is_some()).await?;
            let differences = compare(&before, &now);
            let running = ours::look(&existing.project, ingest, notify, *rollback_seconds).await?;
            let verdicts = judge(&now, &differences, &running);
            let go = verdicts.iter().all(|verdict| verdict.go);
            let text = if context.json {
                json!({ "go": go, "criteria": verdicts, "differences": differences }).to_string()
            } else {
                let mut rows = vec![["must hold".to_owned(), String::new(), "seen".to_owned()]];
                rows.extend(verdicts.iter().map(|verdict| {
                    let go = if verdict.go { "go" } else { "NO-GO" };
                    [verdict.criterion.to_owned(), go.to_owned(), verdict.seen.clone()]
                }));
                // What the table has no room for stands below it.
                let details = [&differences.changed, &differences.slower].into_iter().flatten();
                let details: String = details.map(|line| format!("\n  {line}")).collect();
                format!("{}{details}\n{}", table(&rows), if go { "GO" } else { "NO-GO" })
            };
            answer(&text)?;
            Ok(if go { ExitCode::Done } else { ExitCode::Failed })
        }
    }
}

async fn capture(context: &Context, existing: &cli::Existing, out: &Path) -> anyhow::Result<ExitCode> {
    let baseline = look(&context.settings, existing, existing.bot_commands).await?;
    if let Some((path, _)) = baseline.endpoints.iter().find(|(_, endpoint)| endpoint.statuses.is_empty()) {
        anyhow::bail!("{path} does not answer: a baseline is taken of a system that works");
    }
    let text = serde_json::to_string_pretty(&baseline)?;
    fs::write(out, text + "\n").with_context(|| format!("the baseline cannot be written to {}", out.display()))?;
    let text = if context.json {
        json!(baseline).to_string()
    } else {
        let (containers, networks) = (baseline.containers.len(), baseline.networks.len());
        let endpoints = baseline.endpoints.iter().map(|(path, endpoint)| {
            format!("\n  {path}: half under {:.0} ms, 95 % under {:.0} ms", endpoint.p50_ms, endpoint.p95_ms)
        });
        let endpoints: String = endpoints.collect();
        format!("{containers} containers and {networks} networks are kept in {}{endpoints}", out.display())
    };
    answer(&text)?;
    Ok(ExitCode::Done)
}

async fn check(
    context: &Context,
    existing: &cli::Existing,
    baseline: &Path,
    watch: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let before = read(baseline)?;
    loop {
        let now = look(&context.settings, existing, before.bot_commands.is_some()).await?;
        let differences = compare(&before, &now);
        answer(&told(&differences, context.json))?;
        let Some(pause) = watch else {
            return Ok(if differences.is_clean() { ExitCode::Done } else { ExitCode::Failed });
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.shutdown.cancelled() => return Ok(ExitCode::Done),
        }
    }
}

fn told(differences: &Differences, json: bool) -> String {
    if json {
        return json!({ "at": host_clock_ms(), "clean": differences.is_clean(), "differences": differences })
            .to_string();
    }
    let Differences { changed, slower, new } = differences;
    let kinds = [("changed", changed), ("slower", slower), ("new, which harms nobody", new)];
    let lines = kinds.iter().flat_map(|(kind, lines)| lines.iter().map(move |line| format!("{kind}: {line}\n")));
    let lines: String = lines.collect();
    let summary =
        if differences.is_clean() { "the existing system is as it was" } else { "the existing system changed" };
    format!("{lines}{summary}")
}

fn read(file: &Path) -> anyhow::Result<Baseline> {
    let advice = || format!("{} is no baseline; `foreshock validate capture` makes one", file.display());
    let text = fs::read_to_string(file).with_context(advice)?;
    let baseline: Baseline = serde_json::from_str(&text).with_context(advice)?;
    anyhow::ensure!(baseline.v == VERSION, "{} has version {}, not {VERSION}", file.display(), baseline.v);
    Ok(baseline)
}

/// Looks at everything that is not ours.
async fn look(settings: &Settings, existing: &cli::Existing, bot_commands: bool) -> anyhow::Result<Baseline> {
    let (containers, networks) = docker::existing(&existing.project, existing.existing.as_deref()).await?;
    let endpoints = match &existing.url {
        Some(url) => endpoints::ask(url, existing.rounds).await?,
        None => {
            say("no --url of the existing market-data service: its answers are left out");
            BTreeMap::new()
        }
    };
    let bot_commands = if bot_commands { Some(bot_commands_of(settings).await?) } else { None };
    Ok(Baseline { v: VERSION, taken_at: host_clock_ms(), containers, networks, bot_commands, endpoints })
}

/// Reads the menu of the bot whose token is shared. This reading call is the operator's own wish; the services never make it
/// with a shared token (design 5).
async fn bot_commands_of(settings: &Settings) -> anyhow::Result<Value> {
    let telegram = &settings.telegram;
    let Some(BotToken::Shared(token)) = &telegram.token else {
        return Err(UsageError("the bot's menu needs its token in TELEGRAM_BOT_TOKEN".to_owned()).into());
    };
    let config = telegram::Config { base_url: telegram.api_url.clone(), token: token.clone() };
    telegram::menu(&config).await.context("the bot's menu cannot be read")
}

fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("stdout cannot be written")
}

/// Reads what a URL answers within ten seconds.
async fn get(client: &reqwest::Client, url: Url) -> anyhow::Result<String> {
    let advice = format!("{url} does not answer");
    let response = client.get(url).timeout(Duration::from_secs(10)).send().await.context(advice)?;
    Ok(response.error_for_status()?.text().await?)
}
