//! Pressed buttons.

use std::{collections::BTreeSet, time::Duration};

use schemas::{
    delivery::{self, Feedback},
    id::Id,
    subscriber::Cause,
};

use super::{
    Answer, Effects, REFUSED, done,
    facts::Known,
    settings::{Change, End, Selection, Stamp, change},
    texts::{self, reports},
    update::{ChatKind, Pressed},
};
use crate::{buttons::Button, caps::TOAST_CHARS_MAX, recipient::Recipient, subscribers::Subscribers, time::WallTime};

pub(super) fn press(
    pressed: &Pressed,
    recipient: Option<Recipient>,
    known: &Known,
    subscribers: &Subscribers,
    now: WallTime,
) -> Effects {
    let is_stranger = recipient.is_none();
    let recipient = recipient.unwrap_or_else(|| Recipient::Telegram(pressed.chat.id.clone()));
    let mut effects = Effects::default();
    let (name, toast) = match pressed.button {
        _ if is_stranger => (REFUSED, texts::TOAST_STRANGER.to_owned()),
        None => ("unknown", texts::TOAST_UNKNOWN.to_owned()),
        Some((button, alert)) => match button {
            Button::Mute1h => ("mute_1h", mute(1, pressed, &recipient, known, subscribers, &mut effects, now)),
            Button::Mute8h => ("mute_8h", mute(8, pressed, &recipient, known, subscribers, &mut effects, now)),
            Button::Details => {
                effects.answer = Some(Answer {
                    recipient: recipient.clone(),
                    page: reports::why(known.explanation.as_deref()),
                    command: "details".to_owned(),
                    reply_to: Some(pressed.message_id),
                    forum: pressed.forum,
                });
                ("details", texts::TOAST_DETAILS.to_owned())
            }
            Button::Useful | Button::NotUseful => {
                let useful = button == Button::Useful;
                effects.feedback = Some(feedback(pressed, alert, useful, &recipient, now));
                let thanks = if useful { texts::TOAST_USEFUL } else { texts::TOAST_NOT_USEFUL };
                (if useful { "useful" } else { "not_useful" }, thanks.to_owned())
            }
        },
    };
    effects.toast = Some(toast.chars().take(TOAST_CHARS_MAX).collect());
    effects.update = Some(done(pressed.update, &recipient, name, now));
    effects
}

/// Mutes the base of an alert. A press has no time of its own in Telegram, so the mute begins now; a repeated update
/// finds it stored and begins no other.
fn mute(
    hours: u64,
    pressed: &Pressed,
    recipient: &Recipient,
    known: &Known,
    subscribers: &Subscribers,
    effects: &mut Effects,
    now: WallTime,
) -> String {
    match (pressed.chat.kind, known.is_admin) {
        (ChatKind::Private, _) | (_, Some(true)) => {}
        (ChatKind::Group | ChatKind::Channel, Some(false)) => return texts::TOAST_ADMINS_ONLY.to_owned(),
        (ChatKind::Group | ChatKind::Channel, None) => return texts::TOAST_ADMINS_UNKNOWN.to_owned(),
    }
    let Some(base) = &known.base else { return texts::TOAST_UNKNOWN.to_owned() };
    let before = subscribers.get(recipient);
    let selection = Selection { bases: BTreeSet::from([base.clone()]), kinds: BTreeSet::new() };
    let end = End::After(Duration::from_secs(hours * 3600));
    let stamp = Stamp { cause: Cause::Chat, update: Some(pressed.update), asked: now, now };
    match change(recipient, before, &[Change::Mute(selection.clone(), end)], None, stamp) {
        Ok(after) => {
            effects.subscribers.extend(after);
            texts::muted(&selection, effects.subscribers.first().or(before))
        }
        Err(refused) => refused.to_string(),
    }
}

fn feedback(pressed: &Pressed, alert: Id, useful: bool, recipient: &Recipient, now: WallTime) -> Feedback {
    Feedback {
        v: delivery::VERSION,
        alert,
        channel: recipient.channel().as_str().to_owned(),
        recipient: recipient.name().to_owned(),
        by: Id::of("person", &[&pressed.user.to_string()]),
        useful,
        update: pressed.update,
        at: now.as_millis(),
    }
}
