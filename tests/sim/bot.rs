//! A Bot API that fails as Telegram does (telegram.md 3 to 5), and remembers every call.

use std::{collections::BTreeSet, time::Duration};

use notify::{
    failure::{Failure, MessageId, Refusal},
    outbox::{Call, What},
    recipient::{ChatId, Recipient},
    text::Text,
};
use rand::{Rng, rngs::SmallRng};
use schemas::id::Id;

use crate::market::FROM_MS;

/// How a call ended.
pub(crate) type Answer = Result<Option<MessageId>, Failure>;

/// One call as the API saw it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The alert or note.
    pub(crate) id: Id,
    /// The chat, a migrated group under its first id.
    pub(crate) recipient: Recipient,
    pub(crate) what: What,
    /// The chat has the message.
    pub(crate) is_delivered: bool,
    pub(crate) answer: Answer,
}

impl Heard {
    pub(crate) fn is_marked(&self) -> bool {
        match &self.what {
            What::Message { text, .. } | What::Edit { text, .. } => text.as_str().contains("(may repeat)"),
            What::Picture { .. } => false,
        }
    }

    /// Whether it is a new message, and not a change of one.
    pub(crate) const fn is_new(&self) -> bool {
        match self.what {
            What::Message { .. } | What::Picture { .. } => true,
            What::Edit { .. } => false,
        }
    }
}

/// The API.
pub(crate) struct Bot {
    /// The user blocks the bot then.
    blocked_from_ms: i64,
    /// The group becomes another chat then.
    migrated_from_ms: i64,
    /// The token is refused in between.
    unauthorized_ms: std::ops::Range<i64>,
    pub(crate) calls: Vec<Heard>,
}

/// Returns a chat under its first id.
pub(crate) fn settled(recipient: &Recipient) -> Recipient {
    let supergroup = Recipient::Telegram(ChatId::from_number(SUPERGROUP));
    if *recipient == supergroup { Recipient::Telegram(ChatId::from_number(GROUP)) } else { recipient.clone() }
}

/// Two people, one of whom may block the bot, and a group that may migrate.
pub(crate) fn recipients() -> BTreeSet<Recipient> {
    [PERSON, FICKLE, GROUP].map(|number| Recipient::Telegram(ChatId::from_number(number))).into()
}

const PERSON: i64 = 101;
const FICKLE: i64 = 102;
const GROUP: i64 = -500;
const SUPERGROUP: i64 = -1_001_000_000_500;

impl Bot {
    pub(crate) fn random(rng: &mut SmallRng) -> Self {
        let mut sometimes = |probability| {
            if rng.random_bool(probability) { FROM_MS + rng.random_range(0..480_000) } else { i64::MAX }
        };
        let (blocked_from_ms, migrated_from_ms, unauthorized) = (sometimes(0.3), sometimes(0.4), sometimes(0.15));
        let unauthorized_ms = unauthorized..unauthorized.saturating_add(15_000);
        Self { blocked_from_ms, migrated_from_ms, unauthorized_ms, calls: Vec::new() }
    }

    /// Takes a call at this moment and returns its answer and how long that takes.
    pub(crate) fn call(&mut self, rng: &mut SmallRng, call: &Call, now_ms: i64, is_faulty: bool) -> (Answer, i64) {
        let (is_delivered, answer) = self.answer(rng, call, now_ms, is_faulty);
        let quick_ms = rng.random_range(30..600);
        // telegram.md 5: a call is given up after 10 s.
        let wait_ms = if answer == Err(Failure::Ambiguous) { rng.random_range(30..10_000) } else { quick_ms };
        let Call { to, id, what, .. } = call.clone();
        self.calls.push(Heard { id, recipient: settled(&to), what, is_delivered, answer: answer.clone() });
        (answer, wait_ms)
    }

    fn answer(&self, rng: &mut SmallRng, call: &Call, now_ms: i64, is_faulty: bool) -> (bool, Answer) {
        let is_to = |number| call.to == Recipient::Telegram(ChatId::from_number(number));
        let drawn = if is_faulty { rng.random_range(0..100) } else { 100 };
        match drawn {
            0..6 => return (false, Err(Failure::NotSent)),
            6..10 => return (false, Err(Failure::Ambiguous)),
            10..16 => return (true, Err(Failure::Ambiguous)),
            _ => {}
        }
        if self.unauthorized_ms.contains(&now_ms) {
            return (false, Err(Failure::Unauthorized));
        }
        if is_to(FICKLE) && now_ms >= self.blocked_from_ms {
            return (false, Err(Failure::Refused(Refusal::Blocked)));
        }
        if is_to(GROUP) && now_ms >= self.migrated_from_ms {
            return (false, Err(Failure::Migrated(ChatId::from_number(SUPERGROUP))));
        }
        let delivered = Ok(Some(MessageId(self.calls.len() as i64 + 1)));
        let is_html =
            matches!(&call.what, What::Message { text: Text::Html(_), .. } | What::Edit { text: Text::Html(_), .. });
        let is_edit = matches!(call.what, What::Edit { .. });
        match drawn {
            16..24 => {
                let seconds = if rng.random_bool(0.1) { 150 } else { rng.random_range(1..30) };
                (false, Err(Failure::RetryAfter(Duration::from_secs(seconds))))
            }
            24..27 if is_html => (false, Err(Failure::Unparseable)),
            27..30 => (true, Err(Failure::SentIdLost)),
            30..32 if is_edit => (false, Err(Failure::MessageGone)),
            _ => (true, delivered),
        }
    }
}
