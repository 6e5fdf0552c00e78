//! `foreshock explain`: why an alert fired, who was told, and how fast.

mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use anyhow::{Context as _, bail};
use detect::rules::Rules;
use nats::{Bus, Cursor, Market, Record};
use notify::{
    decide::{self, Decision as Decided, Policy, Reason},
    recipient::Recipient,
    subscribers::Subscribers,
    time::WallTime,
};
use schemas::{
    alert::{Alert, Kind},
    delivery::{Decision, LedgerEvent, Outcome},
    id::Id,
    market::{MarketEvent, Origin},
    position::{Evidence, Sequence},
    subject::Stream,
    subscriber::{Standing, Subscriber},
    wire,
};
use serde::Serialize;

pub(crate) use self::text::lines;
use crate::{
    cli,
    run::{Context, connect, notify::policy, stdout},
};

/// Events of the evidence that are read; a longer one says how many there are.
const EVENTS_MAX: usize = 10_000;

/// How long after its decision an alert may still be on its way: its time to live, and the edits that follow.
const AFTERWARDS_MS: i64 = 15 * 60 * 1000;

/// What a recipient's channel accepted.
const SENT: &str = "sent";

/// Shortest beginning of an id that is looked for.
const PREFIX_MIN: usize = 4;

/// Everything that is known of one alert.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) alert: Alert,
    /// The text, as the terminal shows it.
    pub(crate) text: String,
    /// Host clock when it was detected, milliseconds since 1970 UTC.
    pub(crate) detected_at: Option<i64>,
    pub(crate) evidence: Proof,
    pub(crate) rule: Option<Rule>,
    pub(crate) decision: Option<Decision>,
    /// Host clock when the decision was stored, milliseconds since 1970 UTC.
    pub(crate) decided_at: Option<i64>,
    /// Every recipient, and what became of the alert there.
    pub(crate) recipients: BTreeMap<String, Vec<Step>>,
    /// The market is live: times say how fast it went.
    #[serde(skip)]
    is_live: bool,
}

impl Explanation {
    /// Returns when each recipient's channel accepted it: host clock, milliseconds since 1970 UTC.
    fn accepted(&self) -> impl Iterator<Item = i64> {
        let steps = self.recipients.values().flatten();
        steps.filter(|step| step.what == SENT).filter_map(|step| step.at)
    }
}

/// The events that fired it.
#[derive(Debug, Serialize)]
pub(crate) struct Proof {
    /// Where they are, such as `MARKET:17-42`.
    pub(crate) range: Option<String>,
    /// The base's events in it.
    pub(crate) events: Vec<MarketEvent>,
    /// How many more there are.
    pub(crate) more: usize,
    /// Why they cannot be shown, or not all of them.
    pub(crate) missing: Option<String>,
}

/// The rule that was in force.
#[derive(Debug, Serialize)]
pub(crate) struct Rule {
    pub(crate) version: u64,
    pub(crate) origin: Origin,
    /// The keys of its section, as TOML.
    pub(crate) section: String,
}

/// Something that happened between the alert and a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Host clock, milliseconds since 1970 UTC; absent of what was never stored, but follows from the subscriber.
    pub(crate) at: Option<i64>,
    /// `send`, `reply`, `attempt`, `sent`, `edited`, `held:…`, `expired`, `failed:…`, …
    pub(crate) what: String,
}

pub(super) async fn run(context: &Context, command: &cli::Explain) -> anyhow::Result<()> {
    let bus = connect(context, "explain").await?;
    bus.check_market().await.context("nothing can be explained")?;
    let alert = find(&bus, &command.alert).await?;
    let policy = policy(&context.settings)?;
    let Some(explanation) = explain(&bus, alert, &policy).await? else {
        bail!("the alert {alert} is not in ALERTS any more, which keeps 90 days");
    };
    bus.close().await;
    let text = if context.json { serde_json::to_string(&explanation)? } else { text::page(&explanation) };
    let mut out = stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("stdout cannot be written")
}

/// Finds the one alert whose id is or begins with what was typed.
async fn find(bus: &Bus, typed: &str) -> anyhow::Result<Id> {
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let typed = typed.to_lowercase();
    if typed.len() < PREFIX_MIN {
        bail!("`{}` is no id of an alert; at least its first {PREFIX_MIN} letters are needed", typed.escape_debug());
    }
    let mut found = BTreeSet::new();
    let mut cursor = Cursor::open(bus, Stream::Alerts, Sequence::new(1), Some(bus.names().alerts())).await?;
    while let Some(record) = cursor.next_pending().await? {
        let id = record.subject.rsplit('.').next().unwrap_or_default();
        if id.starts_with(&typed) {
            found.insert(id.to_owned());
        }
    }
    match (found.pop_first(), found.len()) {
        (Some(only), 0) => Ok(only.parse()?),
        (Some(_), more) => bail!("{} alerts begin with `{typed}`; give more of the id", more + 1),
        (None, _) => bail!(
            "no alert in ALERTS begins with `{}`; `foreshock history` lists them with their ids",
            typed.escape_debug()
        ),
    }
}

/// Gathers what the logs hold of an alert; nothing when ALERTS does not hold it.
///
/// # Errors
/// When a stream cannot be read.
pub(crate) async fn explain(bus: &Bus, alert: Id, policy: &Policy) -> anyhow::Result<Option<Explanation>> {
    let mut alerts =
        Cursor::open(bus, Stream::Alerts, Sequence::new(1), Some(bus.names().alert_with_id(alert))).await?;
    let Some(record) = alerts.next_pending().await? else { return Ok(None) };
    let alert: Alert = wire::decode(&record.payload).context("the alert cannot be decoded")?;
    let (decision, recipients) = told(bus, &alert, policy).await?;
    let (decision, decided_at) = decision.unzip();
    Ok(Some(Explanation {
        text: notify::text::Message::of(&alert, None).plain(),
        detected_at: record.headers.detected_at_ms(),
        evidence: proof(bus, &alert, &record).await?,
        rule: rule(bus, &alert, &record).await?,
        decision,
        decided_at,
        recipients,
        is_live: bus.market() == Market::Live,
        alert,
    }))
}

/// Reads the base's events in the range that fired the alert.
async fn proof(bus: &Bus, alert: &Alert, record: &Record) -> anyhow::Result<Proof> {
    let mut proof = Proof { range: None, events: Vec::new(), more: 0, missing: None };
    let Some(evidence @ Evidence { first, last }) = record.headers.evidence() else {
        proof.missing = Some("the alert does not say which events fired it".to_owned());
        return Ok(proof);
    };
    proof.range = Some(evidence.to_string());
    let market = bus.market_state().await?;
    if record.headers.position().is_some_and(|position| position.created != market.created) {
        proof.missing = Some("MARKET was created anew since".to_owned());
        return Ok(proof);
    }
    if market.first > first {
        proof.missing = Some(format!("MARKET holds nothing before {} any more", market.first));
    }
    let names = bus.names();
    let filter = match alert.kind() {
        Kind::OiExplosion => names.open_interest_of_base(&alert.base),
        Kind::LargeLiquidation | Kind::Cascade => names.liquidations_of_base(&alert.base),
    };
    let mut cursor = Cursor::open(bus, Stream::Market, first, Some(filter)).await?;
    while let Some(record) = cursor.next_pending().await? {
        if record.sequence > last {
            break;
        }
        if proof.events.len() == EVENTS_MAX {
            proof.more += 1;
        } else if let Ok(event) = wire::decode(&record.payload) {
            proof.events.push(event);
        }
    }
    Ok(proof)
}

/// Finds the version whose section of the base has the digest the alert was made under.
async fn rule(bus: &Bus, alert: &Alert, record: &Record) -> anyhow::Result<Option<Rule>> {
    let fired = record.headers.position();
    for version in bus.rules_versions().await?.into_iter().rev() {
        let came_later = fired.is_some_and(|fired| {
            fired.created == version.position.created && version.position.sequence > fired.sequence
        });
        let Ok(rules) = Rules::parse(&version.rules.text) else { continue };
        let (digest, section) = match alert.kind() {
            Kind::OiExplosion => rules.oi(&alert.base).map(|rule| (rule.digest(), rule.to_toml())),
            Kind::LargeLiquidation | Kind::Cascade => {
                rules.liquidation(&alert.base).map(|rule| (rule.digest(), rule.to_toml()))
            }
        }
        .unzip();
        if !came_later && digest == Some(alert.rules) {
            let (version, origin) = (version.rules.version, version.rules.origin);
            return Ok(Some(Rule { version, origin, section: section.unwrap_or_default() }));
        }
    }
    Ok(None)
}

type Told = (Option<(Decision, i64)>, BTreeMap<String, Vec<Step>>);

/// Reads what was decided about an alert and what became of it, and decides again where nothing was stored.
async fn told(bus: &Bus, alert: &Alert, policy: &Policy) -> anyhow::Result<Told> {
    let Some(record) = bus.last_on_subject(Stream::Deliveries, &bus.names().decision(alert.id)).await? else {
        return Ok((None, BTreeMap::new()));
    };
    let LedgerEvent::Decision(decision) = wire::decode(&record.payload).context("the decision cannot be decoded")?
    else {
        bail!("what stands in the place of the decision about {} is none", alert.id);
    };
    let decided_at = record.published_ns / 1_000_000;
    let (mut recipients, mut channel) = (BTreeMap::<String, Vec<Step>>::new(), policy.channel);
    // Intents are stored before the decision: from the alert on, which was detected before.
    let from = bus.first_stored_at(Stream::Deliveries, decided_at - AFTERWARDS_MS).await?;
    let mut ledger = Cursor::open(bus, Stream::Deliveries, from, None).await?;
    while let Some(record) = ledger.next_pending().await? {
        if record.published_ns / 1_000_000 > decided_at + AFTERWARDS_MS {
            break;
        }
        if let Ok(LedgerEvent::Delivery(delivery)) = wire::decode(&record.payload)
            && delivery.alert == alert.id
        {
            let step = Step { at: Some(delivery.at), what: what(&delivery.outcome) };
            channel =
                Recipient::from_ledger(&delivery.channel, &delivery.recipient).map_or(channel, |one| one.channel());
            recipients.entry(delivery.recipient).or_default().push(step);
        }
    }
    for (recipient, subscriber) in subscribers_at(bus, decided_at).await?.iter() {
        let is_moved = matches!(subscriber.standing, Standing::Moved { .. });
        if !is_moved && recipient.channel() == channel && !recipients.contains_key(recipient.name()) {
            let what = unstored(alert, subscriber, &decision, policy, decided_at).to_owned();
            recipients.insert(recipient.name().to_owned(), vec![Step { at: None, what }]);
        }
    }
    Ok((Some((decision, decided_at)), recipients))
}

/// Returns who was subscribed at a moment of the server's clock, in milliseconds since 1970 UTC.
async fn subscribers_at(bus: &Bus, at_ms: i64) -> anyhow::Result<Subscribers> {
    let mut subscribers = Subscribers::new();
    let mut cursor = Cursor::open(bus, Stream::Subscribers, Sequence::new(1), None).await?;
    while let Some(record) = cursor.next_pending().await? {
        if record.published_ns / 1_000_000 > at_ms {
            break;
        }
        if let Ok(subscriber) = wire::decode(&record.payload) {
            subscribers.handle(subscriber);
        }
    }
    Ok(subscribers)
}

/// Returns what was decided for a recipient of whom nothing is stored: by its own filters, or else by the episode.
fn unstored(alert: &Alert, subscriber: &Subscriber, decision: &Decision, policy: &Policy, at_ms: i64) -> &'static str {
    if let Some(reason) = decide::unwanted(alert, subscriber, policy, WallTime::from_millis(at_ms)) {
        return reason.as_str();
    }
    match &decision.edit {
        Some(edit) if !edit.except.contains(&subscriber.recipient) => Decided::Edit.as_str(),
        Some(_) | None => Reason::Phase.as_str(),
    }
}

fn what(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Intent { reply: false, .. } => Decided::Send.as_str().to_owned(),
        Outcome::Intent { reply: true, .. } => Decided::Reply.as_str().to_owned(),
        Outcome::Limited { reason } | Outcome::Failed { reason } => reason.clone(),
        Outcome::Expired { .. } => "expired".to_owned(),
        Outcome::Attempt { number } => format!("attempt {number}"),
        Outcome::Deferred { reason, .. } => format!("deferred:{reason}"),
        Outcome::Sent { .. } => SENT.to_owned(),
        Outcome::Edited { .. } => "edited".to_owned(),
        Outcome::Gone { .. } => "gone".to_owned(),
    }
}
