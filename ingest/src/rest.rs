//! The venues' REST side: bounded requests, errors by what can be done about them.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Response, StatusCode, header};
use schemas::time::ReceivedAt;
use url::Url;

use crate::{
    account::{Accounts, Denied, Hold, Purpose},
    binance, bybit,
    exchange::Exchange,
    instruments::{Instruments, InvalidReply, Page},
    okx,
    socket::now,
};

/// Largest reply that is read, in bytes; Binance's exchangeInfo is about 2 MB. A larger one is refused.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most pages of one instruments reply: Bybit lists about 800 at 1000 a page. More is an endless cursor and refused.
const PAGES_MAX: usize = 20;

/// Shortest wait after a ban: 418 grows from two minutes, and Bybit's block demands ten without a request
/// (exchanges.md C.7, E).
const BAN_WAIT_MIN: Duration = Duration::from_mins(10);

/// Wait after 429 where the venue states none: its windows are a minute at most (exchanges.md C.7).
const LIMIT_WAIT: Duration = Duration::from_mins(1);

/// Codes of a limit in a reply of status 200: Bybit's and OKX's (exchanges.md C.7).
const LIMIT_CODES: [&str; 2] = ["10006", "50011"];

/// Longest stated wait that is believed.
const LIMIT_WAIT_MAX: Duration = Duration::from_hours(72);

/// A request did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestError {
    /// The venue refuses this region; no request before `wait` is over.
    #[error("refuses this region ({status})")]
    Refused { status: u16, wait: Duration },
    /// Too many requests; none before `wait` is over.
    #[error("limits requests ({code})")]
    Limited { code: String, wait: Duration },
    /// The request was not made: the hour is full, or the venue demanded a pause.
    #[error("is not asked: {0}")]
    Denied(#[from] Denied),
    /// Any other status.
    #[error("answers status {status}")]
    Status { status: u16 },
    /// No answer in time or at all.
    #[error("cannot be reached: {}", chain(.0))]
    Transport(reqwest::Error),
    /// The answer is too large or has too many pages.
    #[error("answers more than is read")]
    TooLarge,
    /// The answers took too long together.
    #[error("answers too slowly")]
    TooSlow,
    /// The answer is none.
    #[error("answers something else: {0}")]
    Reply(#[from] InvalidReply),
}

/// Returns an error with its causes, which reqwest and tungstenite leave out of their own text.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors print their cause themselves.
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Returns whether an answer means that this region is refused: 451, or 403 with a page for people (exchanges.md E).
pub(crate) fn is_region_refusal(status: u16, content_type: &str, body: &[u8]) -> bool {
    let is_html = content_type.contains("text/html") || body.trim_ascii_start().first() == Some(&b'<');
    status == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS || (status == StatusCode::FORBIDDEN && is_html)
}

impl RestError {
    /// Returns how long to wait before anything is asked again, where that is known.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refused { wait, .. } | Self::Limited { wait, .. } => Some(*wait),
            Self::Denied(denied) => {
                let wait_ms = denied.until().as_millis() - now().as_millis();
                Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default()))
            }
            Self::Status { .. } | Self::Transport(_) | Self::TooLarge | Self::TooSlow | Self::Reply(_) => None,
        }
    }
}

/// A REST client for every venue: it spends each request before it is made, and notes what the venue imposes.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    client: reqwest::Client,
    accounts: Arc<dyn Accounts>,
    /// Pause after the venue refused this region.
    refused_retry: Duration,
}

impl Rest {
    /// Builds the client. The environment's proxies are not read: the sockets could not use them either.
    pub(crate) fn new(
        timeout: Duration,
        refused_retry: Duration,
        accounts: Arc<dyn Accounts>,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(timeout).no_proxy().user_agent("foreshock").build()?;
        Ok(Self { client, accounts, refused_retry })
    }

    /// Fetches one reply of status 200 and reads it.
    pub(crate) async fn get<T>(
        &self,
        exchange: Exchange,
        url: &str,
        purpose: Purpose,
        read: impl FnOnce(&[u8]) -> Result<T, InvalidReply>,
    ) -> Result<T, RestError> {
        let account = exchange.as_str();
        self.accounts.spend(account, now(), purpose, 1).await?;
        let result = match self.fetch(url).await {
            Ok(reply) => read(&reply).map_err(reply_error),
            Err(error) => Err(error),
        };
        if let Err(error) = &result
            && let Some(wait) = error.wait()
        {
            let (now, wait_ms) = (now(), i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
            let until = ReceivedAt::from_millis(now.as_millis().saturating_add(wait_ms));
            self.accounts.hold(account, now, Hold { until, why: format!("it {error}") }).await;
        }
        result
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, RestError> {
        let response = self.client.get(url).send().await.map_err(RestError::Transport)?;
        if response.status().is_success() {
            return body(response).await;
        }
        let status = response.status().as_u16();
        let content_type = text(&response, header::CONTENT_TYPE);
        let stated = text(&response, header::RETRY_AFTER).parse().ok().map(Duration::from_secs);
        // The body tells a page from a message and may name the end of a ban; without it the headers decide.
        let body = body(response).await.unwrap_or_default();
        if is_region_refusal(status, &content_type, &body) {
            return Err(RestError::Refused { status, wait: self.refused_retry });
        }
        let stated = stated.max(banned_for(&body, now()));
        Err(match status {
            403 | 418 => limited(status, stated.unwrap_or_default().max(BAN_WAIT_MIN)),
            429 => limited(status, stated.unwrap_or(LIMIT_WAIT)),
            _ => RestError::Status { status },
        })
    }

    /// Fetches all that a venue lists.
    pub(crate) async fn instruments(&self, exchange: Exchange, base: &Url) -> Result<Instruments, RestError> {
        let path = match exchange {
            Exchange::Binance => binance::INSTRUMENTS_PATH,
            Exchange::Bybit => bybit::INSTRUMENTS_PATH,
            Exchange::Okx => okx::INSTRUMENTS_PATH,
        };
        let mut page = self.page(exchange, base, path).await?;
        let mut all = page.instruments;
        for _ in 1..PAGES_MAX {
            // Bybit's cursor comes percent-encoded.
            let Some(cursor) = page.next else {
                return Ok(all.not_empty()?);
            };
            page = self.page(exchange, base, &format!("{path}&cursor={cursor}")).await?;
            all.extend(page.instruments.clone());
        }
        Err(RestError::TooLarge)
    }

    async fn page(&self, exchange: Exchange, base: &Url, path: &str) -> Result<Page, RestError> {
        let read = |reply: &[u8]| Page::parse(exchange, reply);
        let page = self.get(exchange, &join(base, path), Purpose::Upkeep, read).await?;
        if page.skipped > 0 {
            tracing::warn!(skipped = page.skipped, "instruments that could not be read were left out");
        }
        Ok(page)
    }
}

/// Tells a limit from any other reply: Bybit and OKX send theirs with status 200 (exchanges.md C.7, E).
fn reply_error(invalid: InvalidReply) -> RestError {
    match invalid {
        InvalidReply::Venue { code, .. } if LIMIT_CODES.contains(&code.as_str()) => limited(code, LIMIT_WAIT),
        invalid @ (InvalidReply::Venue { .. } | InvalidReply::Malformed { .. } | InvalidReply::Empty { .. }) => {
            RestError::Reply(invalid)
        }
    }
}

fn limited(code: impl ToString, wait: Duration) -> RestError {
    RestError::Limited { code: code.to_string(), wait: wait.min(LIMIT_WAIT_MAX) }
}

/// Returns how long a ban lasts that Binance writes into its text: `banned until 1721393459728` (exchanges.md C.7).
fn banned_for(body: &[u8], now: ReceivedAt) -> Option<Duration> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("banned until ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let until: i64 = rest[..end].parse().ok()?;
    u64::try_from(until.saturating_sub(now.as_millis())).ok().map(Duration::from_millis)
}

/// Returns an address under a base URL.
pub(crate) fn join(base: &Url, path: &str) -> String {
    format!("{}{path}", base.as_str().trim_end_matches('/'))
}

fn text(response: &Response, name: header::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Reads a body up to [`REPLY_BYTES_MAX`].
pub(crate) async fn body(mut response: Response) -> Result<Vec<u8>, RestError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(RestError::Transport)? {
        if body.len() + chunk.len() > REPLY_BYTES_MAX {
            return Err(RestError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_refused_by_451_or_a_page_for_people() {
        for (status, content_type, body, refused) in [
            (451, "application/json", &br#"{"code":0}"#[..], true),
            (403, "text/html", b"", true),
            (403, "", b" <!DOCTYPE html>", true),
            (403, "application/json", br#"{"retCode":10006}"#, false),
            (403, "", b"", false),
            (503, "text/html", b"<html>", false),
        ] {
            assert_eq!(is_region_refusal(status, content_type, body), refused, "{status} {content_type}");
        }
    }

    #[test]
    fn a_ban_lasts_as_long_as_its_text_says() {
        let body = br#"{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until 1721393459728. Please use the websocket for live updates to avoid bans."}"#;
        let at = ReceivedAt::from_millis;
        assert_eq!(banned_for(body, at(1_721_393_399_728)), Some(Duration::from_secs(60)));
        assert_eq!(banned_for(body, at(1_721_393_459_729)), None);
        assert_eq!(banned_for(b"{}", at(0)), None);
    }

    #[test]
    fn a_path_is_put_under_a_base_with_or_without_a_slash() {
        for base in ["https://www.okx.com", "https://www.okx.com/"] {
            assert_eq!(join(&Url::parse(base).unwrap(), "/api"), "https://www.okx.com/api");
        }
    }
}
