//! The ways out: Telegram with a token, the terminal without one.

use nats::Bus;
use notify::{
    caps::{OVERALL_LIMIT, OVERALL_LIMIT_SHARED},
    commands,
    decide::{Market, Policy, RateLimit},
    failure::{Failure, MessageId, Refusal},
    outbox::{Call, Config as OutboxConfig, What},
    recipient::{Channel, ChatId, Recipient},
    telegram::{self, Frame, OwnBot, Telegram},
    terminal,
};
use schemas::secret::Secret;
use tokio::sync::Mutex;
use tracing::warn;

use super::{Terminal, pictures::Pictures};
use crate::config::{self, BotToken, Settings};

pub(super) struct Sinks {
    telegram: Option<Telegram>,
    /// Who hears people: only of a token of our own (design 5).
    pub(super) bot: Option<OwnBot>,
    terminal: Mutex<Terminal>,
    pub(super) pictures: Pictures,
    /// Who is told of dead feeds.
    pub(super) operators: Vec<Recipient>,
    /// Who is subscribed by the configuration.
    pub(super) recipients: Vec<Recipient>,
    pub(super) outbox: OutboxConfig,
    pub(super) policy: Policy,
    pub(super) commands: commands::Config,
}

const fn market(settings: &Settings) -> Market {
    match settings.market {
        config::Market::Live => Market::Live,
        config::Market::Recorded => Market::Recorded,
    }
}

/// Returns what decisions follow, as it is configured.
pub(crate) fn policy(settings: &Settings) -> anyhow::Result<Policy> {
    let token = &settings.telegram.token;
    Ok(Policy {
        market: market(settings),
        channel: if token.is_some() { Channel::Telegram } else { Channel::Terminal },
        shared_token: matches!(token, Some(BotToken::Shared(_))),
        liquidation_alerts: settings.notify.liquidation_alerts,
        oi_alerts: settings.notify.oi_alerts,
        rate_limit: Some(RateLimit::new(settings.notify.rate_limit)?),
    })
}

impl Sinks {
    pub(super) fn new(bus: &Bus, settings: &Settings, terminal: Terminal) -> anyhow::Result<Self> {
        let market = market(settings);
        let config =
            |token: &Secret| telegram::Config { base_url: settings.telegram.api_url.clone(), token: token.clone() };
        let (telegram, bot, overall_limit) = match &settings.telegram.token {
            None => (None, None, OVERALL_LIMIT),
            Some(BotToken::Own(token)) => {
                (Some(Telegram::new(&config(token))?), Some(OwnBot::new(&config(token))?), OVERALL_LIMIT)
            }
            Some(BotToken::Shared(token)) => (Some(Telegram::new(&config(token))?), None, OVERALL_LIMIT_SHARED),
        };
        let chats = settings.telegram.chats.iter().map(|chat| chat.parse());
        let chats = chats.collect::<Result<Vec<ChatId>, _>>()?;
        let recipients = match telegram {
            None => vec![Recipient::Terminal],
            Some(_) => chats.iter().cloned().map(Recipient::Telegram).collect(),
        };
        let policy = policy(settings)?;
        // Buttons need somebody who hears them.
        let outbox = OutboxConfig { market, overall_limit, buttons: bot.is_some() };
        let commands = commands::Config { configured: chats, allowed: settings.telegram.allowed.clone() };
        let operators = settings.notify.operator_chats.iter().map(|chat| Ok(Recipient::Telegram(chat.parse()?)));
        let operators = operators.filter(|_| telegram.is_some()).collect::<anyhow::Result<Vec<_>>>()?;
        let (pictures, terminal) = (Pictures::new(bus), Mutex::new(terminal));
        Ok(Self { telegram, bot, terminal, pictures, recipients, operators, outbox, policy, commands })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Option<MessageId>, Failure> {
        match (&call.to, &self.telegram) {
            (Recipient::Null, _) => Ok(None),
            (Recipient::Terminal, _) => self.print(&call.what).await,
            (Recipient::Telegram(chat), Some(telegram)) => match self.carry_out(telegram, chat, &call.what).await {
                Ok(id) => Ok(Some(id)),
                Err(error) => {
                    let failure = error.failure.clone();
                    let error = anyhow::Error::new(error);
                    warn!(%chat, id = %call.id, error = format!("{error:#}"), "not delivered");
                    Err(failure)
                }
            },
            // An intent from a time with a token, or an ambiguous attempt of it: without one it cannot be sent.
            (Recipient::Telegram(_), None) => Err(Failure::Refused(Refusal::NoToken)),
        }
    }

    async fn print(&self, what: &What) -> Result<Option<MessageId>, Failure> {
        match what {
            What::Message { text, .. } => {
                terminal::print(&mut *self.terminal.lock().await, text.as_str()).await.map(|()| None)
            }
            What::Edit { .. } | What::Picture { .. } => Err(Failure::Refused(Refusal::Closed)),
        }
    }

    async fn carry_out(
        &self,
        telegram: &Telegram,
        chat: &ChatId,
        what: &What,
    ) -> Result<MessageId, telegram::SendError> {
        match what {
            What::Message { text, reply_to, forum, silent, buttons } => {
                let frame = Frame { reply_to: *reply_to, forum: *forum, silent: *silent, buttons: buttons.as_ref() };
                telegram.send_message(chat, text, &frame).await
            }
            What::Edit { message, text, buttons } => {
                telegram.edit_message(chat, *message, text, buttons.as_ref()).await
            }
            What::Picture { alert, reply_to, forum } => {
                let frame = Frame { reply_to: *reply_to, forum: *forum, silent: true, buttons: None };
                self.pictures.send(telegram, chat, *alert, &frame).await
            }
        }
    }
}
