//! A thin client of the Telegram Bot API.

mod answer;

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, Response, header, redirect};
use schemas::secret::Secret;
use serde::Serialize;
use url::{Host, Url};

use crate::{
    caps::{ANSWER_BYTES_MAX, CALL_TIMEOUT, CONNECT_TIMEOUT},
    failure::{Failure, MessageId},
    recipient::ChatId,
    text::Text,
};

/// Where the Bot API is, and who we are there.
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://api.telegram.org`; plain http only to loopback.
    pub base_url: Url,
    /// The bot's token.
    pub token: Secret,
}

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A token would cross the network unencrypted.
    #[error("plain http only to loopback: a token would be readable on its way")]
    PlainHttp,
    /// The scheme is neither https nor http, or there is no host.
    #[error("no http or https address")]
    NoHttp,
    /// A token holds digits, a colon and `[A-Za-z0-9_-]`.
    #[error("not the form of a bot token: `<number>:<secret>` is expected")]
    Token,
    /// The HTTP client cannot be built.
    #[error("the http client cannot be built")]
    Client(#[source] reqwest::Error),
}

/// A message was not simply delivered.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct SendError {
    /// What is known of it.
    pub failure: Failure,
    /// Without its URL, which holds the token (telegram.md 5).
    #[source]
    cause: Option<reqwest::Error>,
}

/// The client. It keeps connections open and may be used by many tasks at once.
#[derive(Clone)]
pub struct Telegram {
    client: Client,
    send_message: Url,
}

#[derive(Serialize)]
struct SendMessage<'a> {
    chat_id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_mode: Option<&'static str>,
    link_preview_options: LinkPreviewOptions,
}

#[derive(Serialize)]
struct LinkPreviewOptions {
    is_disabled: bool,
}

impl Telegram {
    /// Makes a client. The process must have installed its TLS provider before.
    ///
    /// # Errors
    /// [`ConfigError`], which holds neither the address nor the token.
    ///
    /// # Panics
    /// Without an installed TLS provider.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_timeout(config, CALL_TIMEOUT)
    }

    fn with_timeout(config: &Config, timeout: Duration) -> Result<Self, ConfigError> {
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            // The Bot API never redirects, and a token must not follow.
            .redirect(redirect::Policy::none())
            // Nothing here reads the environment.
            .no_proxy()
            .build()
            .map_err(|error| ConfigError::Client(error.without_url()))?;
        Ok(Self { client, send_message: method_url(config, "sendMessage")? })
    }

    /// Sends a message with link previews off. Cancelling it leaves open whether it was sent.
    ///
    /// # Errors
    /// [`SendError`], classified as in telegram.md 4 and 5.
    pub async fn send_message(&self, chat: &ChatId, text: &Text) -> Result<MessageId, SendError> {
        let (text, parse_mode) = match text {
            Text::Html(text) => (text, Some("HTML")),
            Text::Plain(text) => (text, None),
        };
        let link_preview_options = LinkPreviewOptions { is_disabled: true };
        let body = SendMessage { chat_id: chat.as_str(), text, parse_mode, link_preview_options };
        let response = self.client.post(self.send_message.clone()).json(&body).send().await.map_err(|error| {
            // telegram.md 5: without a connection nothing was sent; after it nobody knows, whatever the error.
            let failure = if error.is_connect() { Failure::NotSent } else { Failure::Ambiguous };
            SendError { failure, cause: Some(error.without_url()) }
        })?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let (body, cause) = read(response).await;
        answer::classify(status, retry_after, body.as_deref()).map_err(|failure| SendError { failure, cause })
    }
}

/// Reads an answer's body whole, or nothing of one that breaks off or is too long.
async fn read(mut response: Response) -> (Option<Vec<u8>>, Option<reqwest::Error>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return (None, None),
            Ok(None) => return (Some(body), None),
            Err(error) => return (None, Some(error.without_url())),
        }
    }
}

fn method_url(config: &Config, method: &str) -> Result<Url, ConfigError> {
    let loopback = match config.base_url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err(ConfigError::NoHttp),
    };
    match config.base_url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(ConfigError::PlainHttp),
        _ => return Err(ConfigError::NoHttp),
    }
    let token = config.token.expose();
    let formed = token.split_once(':').is_some_and(|(number, secret)| {
        let secret_formed = secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !secret.is_empty() && secret_formed
    });
    if !formed {
        return Err(ConfigError::Token);
    }
    let mut url = config.base_url.clone();
    url.path_segments_mut()
        .map_err(|()| ConfigError::NoHttp)?
        .pop_if_empty()
        .extend([format!("bot{token}").as_str(), method]);
    Ok(url)
}

#[cfg(test)]
mod tests;
