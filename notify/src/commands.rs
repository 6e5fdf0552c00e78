//! Commands and buttons: what is asked, what must be known first, what follows. Pure; the root looks things up, stores
//! and sends.
//!
//! 1. [`update::read`] (or [`request::read`]) turns an update into [`Asked`];
//! 2. [`needs`] says what must be looked up; the root fills [`Known`];
//! 3. [`carry_out`] returns the [`Effects`]. The root stores the subscribers, then [`Effects::events`] in order, answers a
//!    pressed button, and only then confirms the update to Telegram. [`journal::Journal`] knows what was carried out.
//!
//! A crash anywhere repeats the update, and the effects are those of the first time: a mute begins when the message was
//! written, an answer's id is a function of the update, and a change that is stored is known by its update.
//!
//! teloxide gives the types, the commands and their menu. Its dispatcher is not used: it is asynchronous, carries out and
//! polls, while one `match` over [`Command`] is shorter and the compiler checks that it is complete.

pub mod command;
pub mod facts;
pub mod journal;
mod page;
mod phrase;
mod press;
pub mod request;
pub mod settings;
mod texts;
pub mod update;
pub mod words;

use std::collections::BTreeSet;

use schemas::{
    delivery::{self, Feedback, LedgerEvent, Note, Outcome, Topic, Update},
    id::Id,
    subscriber::{Cause, Standing, Subscriber},
};

use crate::{
    buttons::Button,
    caps::{LIQUIDATIONS_SPAN, RECENT_READ},
    failure::Refusal,
    recipient::{ChatId, Recipient},
    subscribers::Subscribers,
    time::WallTime,
};
use command::Command;
use facts::{Floors, Known, Need};
pub use page::Page;
use settings::{Stamp, change};
use texts::reports;
use update::{Asked, Author, Chat, ChatKind, Membership, Written};

/// Who may use commands. Nobody else may: an empty list lets in only the chats of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `TELEGRAM_CHAT_ID`: the chats the operator named.
    pub configured: Vec<ChatId>,
    /// Numbers of further chats that may subscribe; a person's private chat has the person's number.
    pub allowed: BTreeSet<i64>,
}

/// What follows from an update or a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be stored in SUBSCRIBERS.
    pub subscribers: Vec<Subscriber>,
    /// What somebody thinks of an alert.
    pub feedback: Option<Feedback>,
    /// What the chat is told.
    pub answer: Option<Answer>,
    /// What answers a pressed button, at most [`crate::caps::TOAST_CHARS_MAX`] characters; absent when none was pressed.
    pub toast: Option<String>,
    /// What is sent to the recipient to show that messages arrive: of `/test`.
    pub test: Option<LedgerEvent>,
    /// What was asked for cannot be done; the answer says why.
    pub refused: bool,
    /// The update was carried out; absent for a request, and for what is ignored.
    pub update: Option<Update>,
}

/// What a chat is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To whom.
    pub recipient: Recipient,
    /// The text.
    pub page: Page,
    /// The command's name.
    pub command: String,
    /// The message it replies to.
    pub reply_to: Option<i64>,
    /// The forum topic it goes to.
    pub forum: Option<i64>,
}

impl Effects {
    /// Returns what is to be stored in DELIVERIES, in this order, once the subscribers are stored.
    pub fn events(&self, now: WallTime) -> Vec<LedgerEvent> {
        let feedback = self.feedback.clone().map(LedgerEvent::Feedback);
        let note = self.update.as_ref().zip(self.answer.as_ref());
        let note = note.map(|(update, answer)| LedgerEvent::Note(answer.note(update.update, now)));
        let update = self.update.clone().map(LedgerEvent::Update);
        [feedback, note, self.test.clone(), update].into_iter().flatten().collect()
    }
}

impl Answer {
    fn note(&self, update: i64, now: WallTime) -> Note {
        let (channel, recipient) = (self.recipient.channel().as_str(), self.recipient.name());
        let text = self.page.text_for(&self.recipient);
        Note {
            v: delivery::VERSION,
            id: Id::of("answer", &[channel, recipient, &update.to_string()]),
            channel: channel.to_owned(),
            recipient: recipient.to_owned(),
            at: now.as_millis(),
            topic: Topic::Answer { update, command: self.command.clone(), reply_to: self.reply_to, forum: self.forum },
            outcome: Outcome::Intent { text, thread: None, reply: false, picture: false },
        }
    }
}

/// Returns everything that is set for a recipient, as plain text; mutes that are over at `now` are left out.
pub fn describe(subscriber: &Subscriber, floors: Option<&Floors>, now: WallTime) -> String {
    texts::settings(Some(subscriber), floors, now).plain()
}

/// Returns what must be looked up before [`carry_out`].
pub fn needs(asked: &Asked, subscribers: &Subscribers, config: &Config) -> Vec<Need> {
    match asked {
        Asked::Command(written) => match recipient_of(&written.chat, Some(written.author), subscribers, config) {
            None => Vec::new(),
            Some(recipient) => admin_of(written).into_iter().chain(facts_of(written, recipient)).collect(),
        },
        Asked::Press(pressed) => match (recipient_of(&pressed.chat, None, subscribers, config), pressed.button) {
            (None, _) | (_, None) | (_, Some((Button::Useful | Button::NotUseful, _))) => Vec::new(),
            (_, Some((Button::Details, alert))) => vec![Need::Why { alert: Some(alert), message: None }],
            (_, Some((Button::Mute1h | Button::Mute8h, alert))) => {
                let admin = Need::Admin { chat: pressed.chat.id.clone(), user: pressed.user };
                let in_group = (pressed.chat.kind != ChatKind::Private).then_some(admin);
                in_group.into_iter().chain([Need::Base { alert }]).collect()
            }
        },
        Asked::Member(_) | Asked::Ignored(_) => Vec::new(),
    }
}

/// Settings of a group are its administrators' business; reading is everybody's.
fn admin_of(written: &Written) -> Option<Need> {
    match (&written.command, written.chat.kind, written.author) {
        (Command::Change(_) | Command::Test, ChatKind::Group | ChatKind::Channel, Author::User(user)) => {
            Some(Need::Admin { chat: written.chat.id.clone(), user })
        }
        _ => None,
    }
}

fn facts_of(written: &Written, recipient: Recipient) -> Vec<Need> {
    match &written.command {
        Command::Change(_) | Command::Settings | Command::Thresholds => vec![Need::Rules],
        Command::Alerts => vec![Need::Status, Need::Recent { count: RECENT_READ }],
        Command::Liquidations(base) => vec![Need::Liquidations { base: base.clone(), span: LIQUIDATIONS_SPAN }],
        Command::History { span, base } => vec![Need::History { span: *span, base: base.clone() }],
        Command::Why(alert) => {
            vec![Need::Why { alert: *alert, message: written.reply_to.map(|message| (recipient, message)) }]
        }
        Command::Mutes | Command::Test | Command::Help | Command::Hint | Command::Wrong(_) => Vec::new(),
    }
}

/// Returns as whom a chat is known, or nothing when it may not use commands.
///
/// The configuration may know a group by its public name, or by the number it had before it became a supergroup.
fn recipient_of(chat: &Chat, author: Option<Author>, subscribers: &Subscribers, config: &Config) -> Option<Recipient> {
    if author == Some(Author::Operator) {
        return Some(subscribers.resolve(&Recipient::Telegram(chat.id.clone())));
    }
    let allowed = config.allowed.iter().map(|number| ChatId::from_number(*number));
    config.configured.iter().cloned().chain(allowed).find_map(|known| {
        let is_named = chat.name.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(known.as_str()));
        let known = Recipient::Telegram(known);
        let resolved = subscribers.resolve(&known);
        (is_named || resolved.name() == chat.id.as_str() || known.name() == chat.id.as_str()).then_some(resolved)
    })
}

/// Returns what follows. `now` is the host's clock and stands only where the moment of recording is meant.
pub fn carry_out(asked: &Asked, known: &Known, subscribers: &Subscribers, config: &Config, now: WallTime) -> Effects {
    match asked {
        Asked::Command(written) => {
            let recipient = recipient_of(&written.chat, Some(written.author), subscribers, config);
            match recipient {
                Some(recipient) => command(written, &recipient, known, subscribers, now),
                None => stranger(written, known, now),
            }
        }
        Asked::Press(pressed) => {
            let recipient = recipient_of(&pressed.chat, None, subscribers, config);
            press::press(pressed, recipient, known, subscribers, now)
        }
        Asked::Member(membership) => member(membership, subscribers, config, now),
        Asked::Ignored(_) => Effects::default(),
    }
}

fn command(
    written: &Written,
    recipient: &Recipient,
    known: &Known,
    subscribers: &Subscribers,
    now: WallTime,
) -> Effects {
    let before = subscribers.get(recipient);
    let mut effects = Effects::default();
    let page = match (&written.command, admin_of(written).map(|_| known.is_admin)) {
        (_, Some(None)) => refuse(&mut effects, texts::admins_unknown()),
        (_, Some(Some(false))) => refuse(&mut effects, texts::admins_only()),
        (Command::Change(asked), _) => {
            let cause = if written.author == Author::Operator { Cause::Request } else { Cause::Chat };
            let stamp = Stamp { cause, update: written.update, asked: written.at, now };
            match change(recipient, before, std::slice::from_ref(asked), known.floors.as_ref(), stamp) {
                Ok(after) => {
                    effects.subscribers.extend(after);
                    texts::changed(asked, effects.subscribers.first().or(before), known.floors.as_ref(), written.at)
                }
                Err(refused) => refuse(&mut effects, texts::refused(&refused)),
            }
        }
        (Command::Settings, _) => texts::settings(before, known.floors.as_ref(), written.at),
        (Command::Thresholds, _) => texts::thresholds(before, known.floors.as_ref()),
        (Command::Mutes, _) => texts::mutes(before, written.at),
        (Command::Alerts, _) => reports::alerts(before, known, written.at),
        (Command::Liquidations(base), _) => reports::liquidations(base.as_ref(), known.liquidations.as_ref()),
        (Command::History { span, base }, _) => reports::history(*span, base.as_ref(), known.history.as_ref()),
        (Command::Why(_), _) => reports::why(known.explanation.as_deref()),
        (Command::Test, _) => {
            effects.test = Some(test(written, recipient, now));
            texts::test()
        }
        (Command::Help, _) => texts::help(),
        (Command::Hint, _) => texts::hint(),
        (Command::Wrong(wrong), _) => texts::wrong(wrong),
    };
    effects.answer = Some(answer(written, recipient.clone(), page));
    effects.update = written.update.map(|update| done(update, recipient, written.name, now));
    effects
}

const fn refuse(effects: &mut Effects, page: Page) -> Page {
    effects.refused = true;
    page
}

/// Returns a message that takes the way of an alert, through ledger and outbox.
fn test(written: &Written, recipient: &Recipient, now: WallTime) -> LedgerEvent {
    let (channel, name) = (recipient.channel().as_str(), recipient.name());
    // A request has no number; two within a millisecond ask for the same.
    let asked = written.update.unwrap_or_else(|| now.as_millis()).to_string();
    let page = texts::test_message();
    LedgerEvent::Note(Note {
        v: delivery::VERSION,
        id: Id::of("test", &[channel, name, &asked]),
        channel: channel.to_owned(),
        recipient: name.to_owned(),
        at: now.as_millis(),
        topic: Topic::Notice { name: "test".to_owned() },
        outcome: Outcome::Intent { text: page.text_for(recipient), thread: None, reply: false, picture: false },
    })
}

fn answer(written: &Written, recipient: Recipient, page: Page) -> Answer {
    // In a group the answer shows whose question it answers.
    let reply_to = written.message_id.filter(|_| written.chat.kind != ChatKind::Private);
    Answer { recipient, page, command: written.name.to_owned(), reply_to, forum: written.forum }
}

/// What a chat that may not use commands asked for, in the ledger.
const REFUSED: &str = "refused";

/// Tells a chat that may not use commands, once, whom to ask: more would let anybody spend our messages.
fn stranger(written: &Written, known: &Known, now: WallTime) -> Effects {
    let recipient = Recipient::Telegram(written.chat.id.clone());
    let answer = (!known.refused_before).then(|| Answer {
        command: REFUSED.to_owned(),
        ..answer(written, recipient.clone(), texts::stranger(&written.chat.id))
    });
    let update = written.update.map(|update| done(update, &recipient, REFUSED, now));
    Effects { answer, refused: true, update, ..Effects::default() }
}

fn done(update: i64, recipient: &Recipient, command: &str, now: WallTime) -> Update {
    Update {
        v: delivery::VERSION,
        update,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        command: command.to_owned(),
        at: now.as_millis(),
    }
}

/// Switches a recipient off when the bot is put out, and on again when it is let in. Who had unsubscribed stays so.
fn member(membership: &Membership, subscribers: &Subscribers, config: &Config, now: WallTime) -> Effects {
    let allowed = recipient_of(&membership.chat, None, subscribers, config);
    let is_allowed = allowed.is_some();
    let recipient = allowed.unwrap_or_else(|| Recipient::Telegram(membership.chat.id.clone()));
    let reason = match membership.chat.kind {
        ChatKind::Private => Refusal::Blocked,
        ChatKind::Group | ChatKind::Channel => Refusal::Kicked,
    };
    let standing = |subscriber: &Subscriber| match (&subscriber.standing, membership.present) {
        (Standing::Active, false) => Some(Standing::Off { reason: reason.as_str().to_owned() }),
        (Standing::Off { .. }, true) if is_allowed => Some(Standing::Active),
        (Standing::Active | Standing::Unsubscribed | Standing::Off { .. } | Standing::Moved { .. }, _) => None,
    };
    let before = subscribers.get(&recipient);
    let after = before.and_then(|before| {
        Some(Subscriber {
            at: now.as_millis(),
            cause: Cause::Chat,
            update: Some(membership.update),
            standing: standing(before)?,
            ..before.clone()
        })
    });
    Effects {
        subscribers: after.into_iter().collect(),
        update: Some(done(membership.update, &recipient, "member", now)),
        ..Effects::default()
    }
}

#[cfg(test)]
mod tests;
