//! Texts become values: one function per form, `None` for what is not valid.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr, time::Duration};

use detect::rules::parse_duration;
use notify::caps::RATE_LIMIT_MAX;
use schemas::{name::Base, secret::Secret};
use url::{Host, Url};

use super::{Bases, Credentials, Http, LogFormat, LogLevel, Market};

/// Longest name of a process, in characters. It stands in every feed event; a longer one is refused.
const INSTANCE_CHARS_MAX: usize = 64;

/// Grace before a dead feed is told: longer than an ingest that begins is without a sign of life (10 s and a tick of 5 s), up
/// to what would hide an outage. Others are refused.
const FEED_GRACE: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(60 * 60);

/// How often a canary may go.
const CANARY_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

pub(super) fn market(text: &str) -> Option<Market> {
    match text.to_ascii_lowercase().as_str() {
        "live" => Some(Market::Live),
        "recorded" => Some(Market::Recorded),
        _ => None,
    }
}

/// Reads base assets. Venues write them in upper case, so a lower-case one could never match.
pub(super) fn bases(text: &str) -> Option<Bases> {
    if text == "*" {
        return Some(Bases::All);
    }
    let only: Option<BTreeSet<Base>> =
        items(text)?.into_iter().map(|name| name.to_uppercase().parse().ok().filter(|_| name != "*")).collect();
    only.map(Bases::Only)
}

/// Reads where open interest comes from: true for the venues, false for the market-data service.
pub(super) fn is_direct(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "direct" => Some(true),
        "market-data" => Some(false),
        _ => None,
    }
}

/// Reads base assets to sample; none of them for `none`, and for an empty array in the file. All are too many for any
/// venue.
pub(super) fn oi_bases(text: &str) -> Option<BTreeSet<Base>> {
    match bases(text) {
        _ if ["", "none"].contains(&text.to_ascii_lowercase().as_str()) => Some(BTreeSet::new()),
        Some(Bases::Only(bases)) => Some(bases),
        Some(Bases::All) | None => None,
    }
}

pub(super) fn instance(text: &str) -> Option<String> {
    let valid = (1..=INSTANCE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    valid.then(|| text.to_owned())
}

pub(super) fn non_empty<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() { None } else { text.parse().ok() }
}

pub(super) fn replicas(text: &str) -> Option<usize> {
    text.parse().ok().filter(|replicas| [1, 3].contains(replicas))
}

/// Reads NATS servers: their addresses without user and password, and the one pair that stood in them.
pub(super) fn nats_servers(text: &str) -> Option<(Vec<String>, Option<Credentials>)> {
    let servers: Vec<_> = items(text)?.into_iter().map(nats_server).collect::<Option<_>>()?;
    let (addresses, mut credentials): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    credentials.dedup();
    match credentials.len() {
        1 => Some((addresses, credentials.pop().flatten())),
        _ => None,
    }
}

fn nats_server(text: &str) -> Option<(String, Option<Credentials>)> {
    let text = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
    let mut url = Url::parse(&text).ok()?;
    let plain = ["", "/"].contains(&url.path()) && url.query().is_none() && url.fragment().is_none();
    if !plain || !["nats", "tls"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return None;
    }
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) if !user.is_empty() && !user.contains('%') && !password.contains('%') => {
            Some(Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
        }
        _ => return None,
    };
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    Some((url.as_str().trim_end_matches('/').to_owned(), credentials))
}

/// Reads which of the three venues are enabled: Binance, Bybit, OKX.
pub(super) fn venues(text: &str) -> Option<[bool; 3]> {
    let mut enabled = [false; 3];
    for name in items(text)? {
        let venue = ["binance", "bybit", "okx"].iter().position(|venue| name.eq_ignore_ascii_case(venue))?;
        enabled[venue] = true;
    }
    Some(enabled)
}

pub(super) fn ws_base(text: &str) -> Option<Url> {
    base_url(text, &["ws", "wss"])
}

pub(super) fn http_base(text: &str) -> Option<Url> {
    base_url(text, &["http", "https"])
}

/// Reads where a token is sent: over plain http to loopback only (design 7).
pub(super) fn token_base(text: &str) -> Option<Url> {
    let url = http_base(text)?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "https" || loopback).then_some(url)
}

/// Reads a URL to which paths are appended: without user, query or fragment.
fn base_url(text: &str, schemes: &[&str]) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (plain && schemes.contains(&url.scheme()) && url.has_host()).then_some(url)
}

/// Reads a bot's token, `<number>:<secret>`. It stands in a URL's path, so nothing else may be in it.
pub(super) fn token(text: &str) -> Option<Secret> {
    let (number, secret) = text.split_once(':')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let is_secret = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    (is_number && is_secret).then(|| Secret::new(text.to_owned()))
}

/// Reads chats, each once, in the order given.
pub(super) fn chats(text: &str) -> Option<Vec<String>> {
    let mut chats = Vec::new();
    for chat in items(text)? {
        let chat = match chat.strip_prefix('@') {
            Some(name) => is_chat_name(name).then(|| chat.to_owned())?,
            None => chat.parse::<i64>().ok().filter(|&id| id != 0)?.to_string(),
        };
        if !chats.contains(&chat) {
            chats.push(chat);
        }
    }
    Some(chats)
}

/// Reads numbers of chats and people.
pub(super) fn allowed(text: &str) -> Option<BTreeSet<i64>> {
    items(text)?.into_iter().map(|number| number.parse().ok().filter(|&number| number != 0)).collect()
}

fn is_chat_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads a boolean in every spelling an existing environment may use.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Reads a duration, or whole seconds as the variable's name says.
pub(super) fn rate_limit(text: &str) -> Option<Duration> {
    let limit = text.parse().ok().map(Duration::from_secs).or_else(|| duration(text))?;
    (limit <= RATE_LIMIT_MAX).then_some(limit)
}

/// Reads how often a canary goes; nothing for `off`.
pub(super) fn canary(text: &str) -> Option<Option<Duration>> {
    if text.eq_ignore_ascii_case("off") {
        return Some(None);
    }
    duration(text).filter(|every| CANARY_INTERVAL.contains(every)).map(Some)
}

pub(super) fn feed_grace(text: &str) -> Option<Duration> {
    duration(text).filter(|grace| FEED_GRACE.contains(grace))
}

pub(super) fn log_level(text: &str) -> Option<LogLevel> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Some(LogLevel::Trace),
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        "WARNING" | "WARN" => Some(LogLevel::Warn),
        "ERROR" | "CRITICAL" => Some(LogLevel::Error),
        _ => None,
    }
}

pub(super) fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Reads a duration such as `500ms`, `30s`, `15m`, `2h` or `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    parse_duration(text).and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis)
}

/// Returns the items of a list, or nothing when there is none.
fn items(text: &str) -> Option<Vec<&str>> {
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    (!items.is_empty()).then_some(items)
}

/// Reads where to answer HTTP.
pub(super) fn http_listen(text: &str) -> Option<Http> {
    if text.eq_ignore_ascii_case("off") { Some(Http::Off) } else { text.parse().ok().map(Http::At) }
}
