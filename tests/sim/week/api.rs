//! A Bot API with Telegram's limits, which fails one call in a hundred.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use notify::{
    failure::{Failure, MessageId, Refusal},
    outbox::{Call, What},
    recipient::Recipient,
};
use rand::{Rng, SeedableRng as _, rngs::SmallRng};
use schemas::id::Id;

use super::{DAY_MS, DAYS, FROM_MS, people};
use crate::bot::Answer;

/// One in so many calls fails by chance.
const ONE_IN: u32 = 100;

/// How a call of a thousand fails, of which ten do.
enum Chance {
    RetryAfter,
    /// The connection breaks; the request was carried out or not.
    Reset {
        is_delivered: bool,
    },
    /// 502, and nothing was carried out.
    BadGateway,
}

pub(super) struct Api {
    rng: SmallRng,
    /// Chats that block the bot, and from when on.
    blocked: BTreeMap<Recipient, i64>,
    /// Who must be left alone, and until when.
    held: BTreeMap<Recipient, i64>,
    all: VecDeque<i64>,
    chats: BTreeMap<Recipient, VecDeque<i64>>,
    last_message: i64,
    /// How often each message arrived, without the mark and with it.
    pub(super) arrived: BTreeMap<(Id, Recipient), (u32, u32)>,
    pub(super) calls: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl Api {
    /// Twenty chats block the bot, half of them from the beginning.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let from = |rng: &mut SmallRng, number| {
            if number % 2 == 0 { FROM_MS } else { FROM_MS + rng.random_range(0..DAYS * DAY_MS) }
        };
        let blocked = (0..20).map(|number| (people::chat(number * 50 + 13), from(&mut rng, number))).collect();
        Self {
            rng,
            blocked,
            held: BTreeMap::new(),
            all: VecDeque::new(),
            chats: BTreeMap::new(),
            last_message: 0,
            arrived: BTreeMap::new(),
            calls: 0,
            faults: BTreeMap::new(),
        }
    }

    /// Returns whether messages of this moment arrive in the chat.
    pub(super) fn reaches(&self, chat: &Recipient, at_ms: i64) -> bool {
        self.blocked.get(chat).is_none_or(|from| at_ms < *from)
    }

    /// Takes a call and returns its answer and how long that takes.
    pub(super) fn call(&mut self, call: &Call, now_ms: i64) -> (Answer, i64) {
        self.calls += 1;
        self.limits_are_kept(&call.to, now_ms);
        let quick_ms = self.rng.random_range(40..400);
        if !self.reaches(&call.to, now_ms) {
            return (Err(Failure::Refused(Refusal::Blocked)), quick_ms);
        }
        match self.chance() {
            None => (Ok(Some(self.carry_out(call))), quick_ms),
            Some(Chance::RetryAfter) => {
                let seconds = self.rng.random_range(1..=30_u32);
                // It counts from the answer.
                self.held.insert(call.to.clone(), now_ms + quick_ms + i64::from(seconds) * 1_000);
                (Err(Failure::RetryAfter(Duration::from_secs(seconds.into()))), quick_ms)
            }
            Some(Chance::Reset { is_delivered }) => {
                if is_delivered {
                    self.carry_out(call);
                }
                // Some are noticed only when the call is given up.
                let wait_ms = if self.rng.random_bool(0.2) { 10_000 } else { quick_ms };
                (Err(Failure::Ambiguous), wait_ms)
            }
            Some(Chance::BadGateway) => (Err(Failure::Ambiguous), quick_ms),
        }
    }

    fn chance(&mut self) -> Option<Chance> {
        if !self.rng.random_ratio(1, ONE_IN) {
            return None;
        }
        let (name, chance) = match self.rng.random_range(0..10) {
            0..4 => ("429", Chance::RetryAfter),
            4..7 => ("reset", Chance::Reset { is_delivered: self.rng.random_bool(0.5) }),
            _ => ("502", Chance::BadGateway),
        };
        *self.faults.entry(name).or_default() += 1;
        Some(chance)
    }

    fn carry_out(&mut self, call: &Call) -> MessageId {
        self.last_message += 1;
        let is_marked = match &call.what {
            What::Message { text, .. } => text.as_str().contains("(may repeat)"),
            What::Picture { .. } => false,
            What::Edit { .. } => return MessageId(self.last_message),
        };
        let (plain, marked) = self.arrived.entry((call.id, call.to.clone())).or_default();
        *(if is_marked { marked } else { plain }) += 1;
        MessageId(self.last_message)
    }

    /// 30 calls a second, 1 a second and chat, 20 a minute and group, and none to who is to be left alone.
    fn limits_are_kept(&mut self, chat: &Recipient, now_ms: i64) {
        let held = self.held.get(chat).copied().unwrap_or(0);
        assert!(now_ms >= held, "{chat:?} is to be left alone for {} ms more", held - now_ms);
        let of_chat = self.chats.entry(chat.clone()).or_default();
        let is_group = chat.name().starts_with('-');
        let limits =
            [(&self.all, 30, 1_000), (&*of_chat, 1, 1_000), (&*of_chat, if is_group { 20 } else { 60 }, 60_000)];
        for (calls, limit, span_ms) in limits {
            let within = calls.iter().rev().take_while(|at| now_ms - **at < span_ms).count();
            assert!(within < limit, "{within} calls within {span_ms} ms before one to {chat:?}");
        }
        for (calls, kept) in [(&mut self.all, 30), (of_chat, 60)] {
            calls.push_back(now_ms);
            if calls.len() > kept {
                calls.pop_front();
            }
        }
    }
}
