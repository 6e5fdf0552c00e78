//! What people and programs ask: read, looked up, carried out by the loop that owns every state, answered.

use std::{sync::Arc, time::Duration};

use nats::{Bus, Request, Requests};
use notify::{
    caps::UNAUTHORIZED_REST,
    commands::{
        Effects, command,
        request::{self, Reply},
        update::{self, Asked},
    },
    failure::Failure,
    telegram::{OwnBot, SendError},
};
use schemas::subscriber::Subscriber;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::wall_time;
use crate::run::RETRY_PAUSE;

/// Questions on their way to the loop that answers them; more wait.
pub(super) const ASKS_MAX: usize = 8;

/// Rests between looks at a Bot API that does not answer as it should: doubled from the first to the last.
const REST: Duration = Duration::from_secs(1);
/// See [`REST`].
const REST_MAX: Duration = Duration::from_secs(16);

/// Something to be carried out, and where its answer goes.
pub(super) struct Ask {
    pub(super) asked: Arc<Asked>,
    pub(super) answer: oneshot::Sender<Done>,
}

/// What came of it, once everything that follows is stored.
pub(super) struct Done {
    pub(super) effects: Effects,
    /// What its recipient had before.
    pub(super) before: Option<Subscriber>,
}

/// Hands something to the loop and waits until it is stored; nothing when the loop ends.
async fn ask(asks: &mpsc::Sender<Ask>, asked: &Arc<Asked>) -> Option<Done> {
    begin(asks, asked).await?.await.ok()
}

async fn begin(asks: &mpsc::Sender<Ask>, asked: &Arc<Asked>) -> Option<oneshot::Receiver<Done>> {
    let (answer, done) = oneshot::channel();
    asks.send(Ask { asked: Arc::clone(asked), answer }).await.ok()?;
    Some(done)
}

/// Hears what people write, until `end`. `offset` is the first update that was not carried out.
///
/// An update is confirmed by asking for the next one, so one that was not stored comes again (telegram.md 8).
pub(super) async fn hear(bot: OwnBot, mut offset: Option<i64>, asks: mpsc::Sender<Ask>, end: CancellationToken) {
    let hearing = async {
        let name = patiently(&bot, |bot| async move { introduce(&bot).await }).await;
        info!(bot = name, "hears commands");
        loop {
            let updates = patiently(&bot, move |bot| async move { bot.updates(offset).await }).await;
            offset = next_offset(&updates).or(offset);
            if carry_out(&bot, &name, &updates, &asks).await.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        // A poll that waits is given up at once: a second poller would be refused as long as it waits.
        () = end.cancelled() => {}
    }
}

fn next_offset(updates: &[Value]) -> Option<i64> {
    updates.iter().filter_map(|update| update["update_id"].as_i64()).max().map(|last| last.saturating_add(1))
}

/// Takes over what the bot has, and returns its name.
async fn introduce(bot: &OwnBot) -> Result<String, SendError> {
    bot.delete_webhook().await?;
    bot.show_menu(&command::menu()).await?;
    bot.name().await
}

/// Makes a call until it succeeds, with rests.
async fn patiently<T, F>(bot: &OwnBot, call: impl Fn(OwnBot) -> F) -> T
where
    F: Future<Output = Result<T, SendError>>,
{
    let mut rest = REST;
    loop {
        match call(bot.clone()).await {
            Ok(answer) => return answer,
            Err(error) => {
                let wait = if let Failure::RetryAfter(wait) = error.failure {
                    wait
                } else if error.failure == Failure::Unauthorized {
                    UNAUTHORIZED_REST
                } else {
                    rest
                };
                let error = anyhow::Error::new(error);
                warn!(error = format!("{error:#}"), wait_s = wait.as_secs(), "commands are not heard; trying again");
                tokio::time::sleep(wait).await;
                rest = (rest * 2).min(REST_MAX);
            }
        }
    }
}

/// Carries updates out in their order; what must be looked up for them is looked up at once. Nothing when the loop ends.
async fn carry_out(bot: &OwnBot, name: &str, updates: &[Value], asks: &mpsc::Sender<Ask>) -> Option<()> {
    let mut begun = Vec::new();
    for update in updates {
        let asked = Arc::new(update::read(update, name));
        begun.push((Arc::clone(&asked), begin(asks, &asked).await?));
    }
    for (asked, done) in begun {
        let Done { effects, .. } = done.await.ok()?;
        if let Asked::Press(pressed) = &*asked {
            let answered = bot.answer_press(&pressed.callback_id, effects.toast.as_deref().unwrap_or_default()).await;
            if let Err(error) = answered {
                // What was asked for is done; only the button's clock goes on for a moment.
                debug!(error = format!("{:#}", anyhow::Error::new(error)), "a pressed button was not answered");
            }
        }
    }
    Some(())
}

/// Answers requests over NATS, until `end`.
pub(super) async fn serve(bus: Bus, asks: mpsc::Sender<Ask>, end: CancellationToken) {
    let Some(mut requests) = register(&bus, &end).await else { return };
    while let Some(request) = tokio::select! {
        request = requests.next() => request,
        () = end.cancelled() => None,
    } {
        let Some(reply) = reply(&request, &asks).await else { break };
        request.respond(json!(reply).to_string(), !reply.ok).await;
    }
    // Who sends no more is not to be listed as answering.
    requests.end().await;
}

async fn register(bus: &Bus, end: &CancellationToken) -> Option<Requests> {
    loop {
        match Requests::register(bus).await {
            Ok(requests) => return Some(requests),
            Err(error) => {
                let error = anyhow::Error::new(error);
                warn!(error = format!("{error:#}"), "subscriptions cannot be changed over NATS; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            () = end.cancelled() => return None,
        }
    }
}

async fn reply(request: &Request, asks: &mpsc::Sender<Ask>) -> Option<Reply> {
    match request::read(request.payload(), wall_time()) {
        Err(refusal) => Some(request::refused(&refusal)),
        Ok((asked, id)) => {
            let asked = Arc::new(asked);
            let Done { effects, before } = ask(asks, &asked).await?;
            Some(request::reply(&asked, &effects, before.as_ref(), id))
        }
    }
}
