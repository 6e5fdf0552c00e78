//! `foreshock subscribers`: who is told what, changed as the chat's own commands change it.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use detect::rules::{LiquidationRule, OiRule, Rules};
use jiff::Timestamp;
use nats::{Bus, PublishError, StoredSubscriber};
use notify::{
    commands::{
        self,
        facts::{Floor, Floors},
        settings::{Change, Refused, Stamp, change, check_stored},
        words,
    },
    recipient::Recipient,
    time::WallTime,
};
use schemas::{
    amount::Ratio,
    position::Sequence,
    subscriber::{Cause, Standing, Subscriber},
};

use crate::{
    cli::subscribers::{self as cli, Subscribers},
    exit::UsageError,
    run::{Context, connect, host_clock_ms, stdout, table::table},
};

/// Changes of others that may come first, again and again, before this one is given up.
const ATTEMPTS_MAX: usize = 8;

/// Bytes of a file read by `add --from`: 64 MiB, far above what 64 KB for each of 1,000 chats need.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) async fn run(context: &Context, command: &Subscribers) -> anyhow::Result<()> {
    let text = match command {
        Subscribers::List => list(context).await?,
        Subscribers::Export => export(context).await?,
        Subscribers::Add(add) => match (&add.from, &add.recipient) {
            (Some(file), _) => import(context, file).await?,
            (None, Some(recipient)) => {
                let changes = [vec![Change::On], add.settings.changes()].concat();
                one(context, recipient, &changes, Unknown::Begins).await?
            }
            (None, None) => return Err(UsageError("a chat or a file is needed".to_owned()).into()),
        },
        Subscribers::Set(set) => {
            let changes = set.settings.changes();
            if changes.is_empty() {
                return Err(UsageError("nothing is to be set: give at least one option".to_owned()).into());
            }
            one(context, &set.recipient, &changes, Unknown::Refused).await?
        }
        Subscribers::Mute(cli::Mute { recipient, phrase }) => {
            let phrase: Vec<&str> = phrase.iter().flat_map(|words| words.split_whitespace()).collect();
            let mute = words::mute(&phrase).map_err(|wrong| UsageError(wrong.to_string()))?;
            one(context, recipient, &[mute], Unknown::Refused).await?
        }
        Subscribers::Remove { recipient } => one(context, recipient, &[Change::Off], Unknown::Refused).await?,
    };
    let mut out = stdout();
    let newline = if text.is_empty() { "" } else { "\n" };
    write!(out, "{text}{newline}").and_then(|()| out.flush()).context("stdout cannot be written")
}

async fn prepared(context: &Context) -> anyhow::Result<Bus> {
    let bus = connect(context, "subscribers").await?;
    bus.check_market().await.context("the subscribers cannot be reached")?;
    Ok(bus)
}

/// Returns the thresholds of the rules in force, or nothing when no rules are.
async fn floors_in_force(bus: &Bus) -> anyhow::Result<Option<Floors>> {
    bus.repair_rules().await?;
    floors_known(bus).await
}

/// Returns the thresholds of the newest rules in RULES, without repairing it.
pub(crate) async fn floors_known(bus: &Bus) -> anyhow::Result<Option<Floors>> {
    let Some(version) = bus.rules_versions().await?.pop() else { return Ok(None) };
    let rules = Rules::parse(&version.rules.text).context("the rules in force cannot be read")?;
    Ok(Some(floors(&rules)))
}

/// Returns the thresholds of rules: own ones are at least these.
pub(crate) fn floors(rules: &Rules) -> Floors {
    let floor = |(liquidation, oi): (Option<&LiquidationRule>, Option<&OiRule>)| Floor {
        single_usd: liquidation.map(|rule| rule.single_usd),
        cascade_usd: liquidation.map(|rule| rule.cascade_usd),
        cascade_count: liquidation.map(|rule| rule.cascade_count),
        change_pct: oi.map(|rule| Ratio::new(rule.change_pct)),
    };
    let bases = rules.bases();
    let others = rules.others();
    Floors {
        bases: bases
            .into_iter()
            .map(|base| (base.clone(), floor((rules.liquidation(&base), rules.oi(&base)))))
            .collect(),
        others: (others != (None, None)).then(|| floor(others)),
    }
}

/// What becomes of a change of somebody who was never heard of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Begins,
    Refused,
}

/// Changes one recipient and returns what is to be said.
async fn one(context: &Context, recipient: &Recipient, changes: &[Change], unknown: Unknown) -> anyhow::Result<String> {
    let bus = prepared(context).await?;
    let floors = floors_in_force(&bus).await?;
    let after = changed(&bus, recipient, changes, floors.as_ref(), unknown).await?;
    bus.close().await;
    Ok(if context.json {
        serde_json::to_string(&after)?
    } else {
        let settings = commands::describe(&after, floors.as_ref(), WallTime::from_millis(host_clock_ms()));
        format!("{}\n{settings}", recipient.name())
    })
}

/// Stores the state after `changes`; when another change comes first, judges again on top of it.
async fn changed(
    bus: &Bus,
    recipient: &Recipient,
    changes: &[Change],
    floors: Option<&Floors>,
    unknown: Unknown,
) -> anyhow::Result<Subscriber> {
    let name = recipient.name();
    for _ in 0..ATTEMPTS_MAX {
        let before = bus.subscriber(recipient.channel().as_str(), name).await?;
        let last = before.as_ref().map_or(Sequence::new(0), |stored| stored.sequence);
        let before = before.map(|stored| stored.subscriber);
        match &before {
            None if unknown == Unknown::Refused => {
                bail!("{name} was never subscribed; `foreshock subscribers add {name}` does it")
            }
            Some(Subscriber { standing: Standing::Moved { to }, .. }) => {
                bail!("{name} has another id by now: {to}")
            }
            Some(_) | None => {}
        }
        let now = WallTime::from_millis(host_clock_ms());
        let stamp = Stamp { cause: Cause::Cli, update: None, asked: now, now };
        let after = change(recipient, before.as_ref(), changes, floors, stamp).map_err(refused)?;
        let Some(after) = after else { return before.context("nothing was changed of nothing") };
        match bus.put_subscriber(&after, last).await {
            Ok(_) => return Ok(after),
            Err(PublishError::WrongLastSequence { .. }) => {}
            Err(error) => return Err(error).context("the change may be stored or not; ask for it again"),
        }
    }
    bail!("{name} is being changed by others all the time; nothing was changed")
}

fn refused(refused: Refused) -> anyhow::Error {
    match refused {
        Refused::NoRules => anyhow::Error::new(refused)
            .context("there are no rules yet: a worker of `foreshock detect` brings them into force at its start"),
        Refused::NotWatched { .. }
        | Refused::NoRule { .. }
        | Refused::BelowRule { .. }
        | Refused::TooMany { .. }
        | Refused::NoEnd
        | Refused::InvalidQuiet => UsageError(refused.to_string()).into(),
    }
}

async fn list(context: &Context) -> anyhow::Result<String> {
    let subscribers = all(context).await?;
    if context.json {
        return Ok(serde_json::to_string(&subscribers)?);
    }
    if subscribers.is_empty() {
        return Ok("there are no subscribers; `foreshock subscribers add CHAT` adds one".to_owned());
    }
    let head = ["chat", "standing", "symbols", "about", "priority", "quiet", "mutes", "changed"];
    let rows = subscribers.iter().map(|subscriber| row(subscriber, host_clock_ms()));
    Ok(table(&[vec![head.map(str::to_owned)], rows.collect()].concat()))
}

async fn export(context: &Context) -> anyhow::Result<String> {
    let lines: Result<Vec<_>, _> = all(context).await?.iter().map(serde_json::to_string).collect();
    Ok(lines?.join("\n"))
}

async fn all(context: &Context) -> anyhow::Result<Vec<Subscriber>> {
    let bus = prepared(context).await?;
    let stored = bus.subscribers().await?;
    bus.close().await;
    Ok(stored.into_iter().map(|StoredSubscriber { subscriber, .. }| subscriber).collect())
}

fn row(subscriber: &Subscriber, now_ms: i64) -> [String; 8] {
    let preferences = &subscriber.preferences;
    let joined = |names: Vec<&str>| names.join(",");
    let standing = match &subscriber.standing {
        Standing::Active => "active".to_owned(),
        Standing::Unsubscribed => "unsubscribed".to_owned(),
        Standing::Off { reason } => format!("off: {reason}"),
        Standing::Moved { to } => format!("moved to {to}"),
    };
    let bases = preferences.bases.as_ref().map(|bases| joined(bases.iter().map(|base| base.as_str()).collect()));
    let kinds = preferences.kinds.as_ref().map(|kinds| joined(kinds.iter().map(|kind| kind.as_str()).collect()));
    let quiet = preferences.quiet.as_ref().map(|quiet| {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!("{}-{} {}", clock(quiet.from), clock(quiet.to), quiet.zone)
    });
    let changed = Timestamp::from_millisecond(subscriber.at).unwrap_or_default().strftime("%Y-%m-%d %H:%M");
    [
        subscriber.recipient.clone(),
        standing,
        bases.unwrap_or_else(|| "all".to_owned()),
        kinds.unwrap_or_else(|| "all".to_owned()),
        format!("{:?}", preferences.min_priority).to_lowercase(),
        quiet.unwrap_or_else(|| "-".to_owned()),
        preferences.mutes.iter().filter(|mute| mute.until > now_ms).count().to_string(),
        changed.to_string(),
    ]
}

/// Takes back what `export` wrote: all of it is checked before any of it is stored.
async fn import(context: &Context, file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let subscribers = if file == Path::new("-") {
        parse(BufReader::new(std::io::stdin().take(FILE_BYTES_MAX)))
    } else {
        std::fs::File::open(file)
            .map_err(|error| vec![error.to_string()])
            .and_then(|file| parse(BufReader::new(file.take(FILE_BYTES_MAX))))
    };
    let wrong = |problems: Vec<String>| UsageError(format!("{shown} cannot be taken:\n  {}", problems.join("\n  ")));
    let subscribers = subscribers.map_err(wrong)?;
    let bus = prepared(context).await?;
    let floors = floors_in_force(&bus).await?;
    let problems: Vec<_> = subscribers
        .iter()
        .filter_map(|(number, subscriber)| {
            let refused = check_stored(subscriber, floors.as_ref()).err()?;
            Some(format!("line {number}: {refused}"))
        })
        .collect();
    if !problems.is_empty() {
        return Err(wrong(problems).into());
    }
    let mut stored = 0_usize;
    for (_, subscriber) in &subscribers {
        stored += usize::from(restored(&bus, subscriber).await?);
    }
    bus.close().await;
    let unchanged = subscribers.len() - stored;
    Ok(if context.json {
        serde_json::json!({ "stored": stored, "unchanged": unchanged }).to_string()
    } else {
        format!("{stored} stored, {unchanged} unchanged")
    })
}

/// Reads subscribers, one JSON a line, each with the number of its line.
fn parse(lines: impl BufRead) -> Result<Vec<(usize, Subscriber)>, Vec<String>> {
    let (mut subscribers, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(lines.lines()) {
        let line = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => line,
            Err(error) => {
                problems.push(format!("line {number}: {error}"));
                break;
            }
        };
        match serde_json::from_str::<Subscriber>(&line) {
            Ok(subscriber) if Recipient::of(&subscriber).is_some() => subscribers.push((number, subscriber)),
            Ok(_) => problems.push(format!("line {number}: no chat this program knows")),
            Err(error) => problems.push(format!("line {number}: {error}")),
        }
    }
    if problems.is_empty() { Ok(subscribers) } else { Err(problems) }
}

/// Stores a state unless it holds already, and returns whether it was stored.
async fn restored(bus: &Bus, wanted: &Subscriber) -> anyhow::Result<bool> {
    for _ in 0..ATTEMPTS_MAX {
        let before = bus.subscriber(&wanted.channel, &wanted.recipient).await?;
        let is_same = |StoredSubscriber { subscriber, .. }: &StoredSubscriber| {
            subscriber.standing == wanted.standing && subscriber.preferences == wanted.preferences
        };
        if before.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
        let after = Subscriber {
            v: schemas::subscriber::VERSION,
            at: host_clock_ms(),
            cause: Cause::Cli,
            update: None,
            ..wanted.clone()
        };
        match bus.put_subscriber(&after, before.map_or(Sequence::new(0), |stored| stored.sequence)).await {
            Ok(_) => return Ok(true),
            Err(PublishError::WrongLastSequence { .. }) => {}
            Err(error) => return Err(error).context("not every subscriber is stored; ask for it again"),
        }
    }
    bail!("{} is being changed by others all the time; not every subscriber is stored", wanted.recipient)
}

#[cfg(test)]
mod tests;
