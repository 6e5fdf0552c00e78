//! A thin client of the Telegram Bot API.

mod answer;
mod bot;
mod multipart;

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, RequestBuilder, Response, header, redirect};
use schemas::secret::Secret;
use serde::Serialize;
use serde_json::{Value, json};
use url::{Host, Url};

use answer::Answer;
pub use bot::OwnBot;

use crate::{
    buttons::Buttons,
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

impl SendError {
    /// Returns the error of a call that was not made.
    pub const fn of(failure: Failure) -> Self {
        Self { failure, cause: None }
    }
}

/// The client: the calls a token that another program uses too may make (design 5). It keeps connections open and may be
/// used by many tasks at once.
#[derive(Clone)]
pub struct Telegram {
    client: Client,
    methods: Methods,
}

/// The address of each method.
#[derive(Clone)]
struct Methods {
    send_message: Url,
    edit_message: Url,
    send_photo: Url,
}

/// Where a message goes and what stands around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message it answers. If that is gone, it is sent all the same.
    pub reply_to: Option<MessageId>,
    /// The forum topic it goes to.
    pub forum: Option<i64>,
    /// It makes no sound.
    pub silent: bool,
    /// What stands under it.
    pub buttons: Option<&'a Buttons>,
}

/// A picture.
#[derive(Clone, Copy, Debug)]
pub enum Photo<'a> {
    /// PNG, to be uploaded.
    Upload(&'a [u8]),
    /// Telegram's name of one that was uploaded before.
    File(&'a str),
}

#[derive(Serialize)]
struct Body<'a> {
    chat_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_preview_options: Option<LinkPreviewOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_parameters: Option<ReplyParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_markup: Option<Keyboard>,
}

#[derive(Serialize)]
struct LinkPreviewOptions {
    is_disabled: bool,
}

#[derive(Serialize)]
struct ReplyParameters {
    message_id: i64,
    /// A first message that somebody deleted is no reason to stay silent.
    allow_sending_without_reply: bool,
}

#[derive(Serialize)]
struct Keyboard {
    inline_keyboard: [Vec<Key>; 2],
}

#[derive(Serialize)]
struct Key {
    text: String,
    callback_data: String,
}

impl Keyboard {
    fn of(buttons: &Buttons) -> Self {
        let key = |(text, button): (String, crate::buttons::Button)| Key {
            text,
            callback_data: button.encode(buttons.alert),
        };
        Self { inline_keyboard: buttons.rows().map(|row| row.into_iter().map(key).collect()) }
    }
}

impl<'a> Body<'a> {
    fn new(chat: &'a ChatId, frame: &Frame<'_>) -> Self {
        let reply = |MessageId(message_id)| ReplyParameters { message_id, allow_sending_without_reply: true };
        Self {
            chat_id: chat.as_str(),
            message_id: None,
            text: None,
            photo: None,
            parse_mode: None,
            link_preview_options: None,
            reply_parameters: frame.reply_to.map(reply),
            message_thread_id: frame.forum,
            disable_notification: frame.silent,
            reply_markup: frame.buttons.map(Keyboard::of),
        }
    }

    fn with_text(self, text: &'a Text) -> Self {
        let (text, parse_mode) = match text {
            Text::Html(text) => (text, Some("HTML")),
            Text::Plain(text) => (text, None),
        };
        let link_preview_options = Some(LinkPreviewOptions { is_disabled: true });
        Self { text: Some(text), parse_mode, link_preview_options, ..self }
    }
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
        let client = client(timeout)?;
        let methods = Methods {
            send_message: method_url(config, "sendMessage")?,
            edit_message: method_url(config, "editMessageText")?,
            send_photo: method_url(config, "sendPhoto")?,
        };
        Ok(Self { client, methods })
    }

    /// Sends a message with link previews off. Cancelling it leaves open whether it was sent.
    ///
    /// # Errors
    /// [`SendError`], classified as in telegram.md 4 and 5.
    pub async fn send_message(&self, chat: &ChatId, text: &Text, frame: &Frame<'_>) -> Result<MessageId, SendError> {
        let body = Body::new(chat, frame).with_text(text);
        let answer = call(self.client.post(self.methods.send_message.clone()).json(&body), ANSWER_BYTES_MAX).await?;
        answer.message_id()
    }

    /// Changes a message of our own. One that shows the text already is a success.
    ///
    /// # Errors
    /// [`SendError`]; after an ambiguous one it may be called again.
    pub async fn edit_message(
        &self,
        chat: &ChatId,
        message: MessageId,
        text: &Text,
        buttons: Option<&Buttons>,
    ) -> Result<MessageId, SendError> {
        let frame = Frame { buttons, ..Frame::default() };
        let body = Body { message_id: Some(message.0), ..Body::new(chat, &frame).with_text(text) };
        match call(self.client.post(self.methods.edit_message.clone()).json(&body), ANSWER_BYTES_MAX).await {
            Ok(_) => Ok(message),
            Err(SendError { failure: Failure::NotModified, .. }) => Ok(message),
            Err(error) => Err(error),
        }
    }

    /// Sends a picture and returns, with its message, Telegram's name of the file: sending it again needs no upload.
    ///
    /// # Errors
    /// [`SendError`], classified as in telegram.md 4 and 5.
    pub async fn send_photo(
        &self,
        chat: &ChatId,
        photo: Photo<'_>,
        frame: &Frame<'_>,
    ) -> Result<(MessageId, Option<String>), SendError> {
        let request = self.client.post(self.methods.send_photo.clone());
        let body = Body::new(chat, frame);
        let request = match photo {
            Photo::File(name) => request.json(&Body { photo: Some(name), ..body }),
            Photo::Upload(png) => {
                let (content_type, form) = multipart::form(&body, png);
                request.header(header::CONTENT_TYPE, content_type).body(form)
            }
        };
        let answer = call(request, ANSWER_BYTES_MAX).await?;
        Ok((answer.message_id()?, answer.file_id()))
    }
}

/// Returns the commands that the bot shows in its menu, as Telegram tells them. It changes nothing.
///
/// # Errors
/// [`SendError`]; without a client that can be made, [`Failure::NotSent`].
pub async fn menu(config: &Config) -> Result<Value, SendError> {
    let not_sent = |_: ConfigError| SendError::of(Failure::NotSent);
    let url = method_url(config, "getMyCommands").map_err(not_sent)?;
    let request = client(CALL_TIMEOUT).map_err(not_sent)?.post(url).json(&json!({}));
    Ok(call(request, ANSWER_BYTES_MAX).await?.into_result())
}

fn client(timeout: Duration) -> Result<Client, ConfigError> {
    Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        // The Bot API never redirects, and a token must not follow.
        .redirect(redirect::Policy::none())
        // Nothing here reads the environment.
        .no_proxy()
        .build()
        .map_err(|error| ConfigError::Client(error.without_url()))
}

/// Makes a call; an answer of more than `bytes_max` counts as broken off.
async fn call(request: RequestBuilder, bytes_max: usize) -> Result<Answer, SendError> {
    let response = request.send().await.map_err(|error| {
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
    let (body, cause) = read(response, bytes_max).await;
    answer::classify(status, retry_after, body.as_deref()).map_err(|failure| SendError { failure, cause })
}

/// Reads an answer's body whole, or nothing of one that breaks off or is too long.
async fn read(mut response: Response, bytes_max: usize) -> (Option<Vec<u8>>, Option<reqwest::Error>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= bytes_max => body.extend_from_slice(&chunk),
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
