use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use schemas::{
    alert::{Kind, Priority},
    name::Base,
    subscriber::{Mute, Preferences, QuietHours},
};
use serde_json::json;

use super::{
    facts::{Floor, Floors, History, Sides},
    *,
};
use crate::samples::{self, ratio, usd, venue};

mod answers;
mod effects;
mod parsing;

/// 2026-09-21 14:13:20 UTC.
const AT_MS: i64 = 1_790_000_000_000;
const HOUR: i64 = 3_600_000;

fn base(name: &str) -> Base {
    name.parse().unwrap()
}

fn floors() -> Floors {
    let floor = |single: &str, cascade: &str, count, change: &str| Floor {
        single_usd: Some(usd(single)),
        cascade_usd: Some(usd(cascade)),
        cascade_count: Some(count),
        change_pct: Some(ratio(change)),
    };
    let only_liquidations = Floor { change_pct: None, ..floor("25000", "100000", 4, "25") };
    let bases = [
        (base("BTC"), floor("100000", "500000", 5, "15")),
        (base("ETH"), floor("50000", "250000", 5, "18")),
        (base("SOL"), only_liquidations),
    ];
    Floors { bases: BTreeMap::from(bases), others: None }
}

/// A chat, what is known of it, and what it may do.
#[derive(Clone)]
struct Desk {
    subscribers: Subscribers,
    config: Config,
    known: Known,
    chat: serde_json::Value,
    update: i64,
}

impl Desk {
    /// A private chat that the configuration names and that takes everything.
    fn private() -> Self {
        Self::of(json!({"id": 42, "type": "private", "first_name": "Ann"}), 42)
    }

    /// A group that the configuration names, and the person asking is an administrator.
    fn group() -> Self {
        Self::of(json!({"id": -100_123, "type": "supergroup", "title": "Desk"}), -100_123)
    }

    fn of(chat: serde_json::Value, number: i64) -> Self {
        let config = Config { configured: vec![ChatId::from_number(number)], allowed: BTreeSet::new() };
        let known = Known { floors: Some(floors()), is_admin: Some(true), ..Known::default() };
        let mut desk = Self { subscribers: Subscribers::default(), config, known, chat, update: 1 };
        desk.subscribers.handle(subscriber(number));
        desk
    }

    fn asked(&self, text: &str) -> Asked {
        let update = json!({"update_id": self.update, "message": {
            "message_id": 11, "date": AT_MS / 1000, "chat": self.chat, "text": text,
            "from": {"id": 42, "is_bot": false, "first_name": "Ann"},
        }});
        update::read(&update, "foreshock_bot")
    }

    fn pressed(&self, button: Button) -> Asked {
        let update = json!({"update_id": self.update, "callback_query": {
            "id": "991", "chat_instance": "1", "data": button.encode(alert()),
            "from": {"id": 42, "is_bot": false, "first_name": "Ann"},
            "message": {"message_id": 3, "date": 1_700_000_000, "chat": self.chat, "text": "BTC"},
        }});
        update::read(&update, "foreshock_bot")
    }

    fn needs(&self, asked: &Asked) -> Vec<Need> {
        needs(asked, &self.subscribers, &self.config)
    }

    fn effects(&self, asked: &Asked, now_ms: i64) -> Effects {
        carry_out(asked, &self.known, &self.subscribers, &self.config, WallTime::from_millis(now_ms))
    }

    /// Carries out and stores, as the root does.
    fn carry_out(&mut self, asked: &Asked) -> Effects {
        let effects = self.effects(asked, AT_MS + 500);
        effects.subscribers.iter().cloned().for_each(|subscriber| self.subscribers.handle(subscriber));
        self.update += 1;
        effects
    }

    fn say(&mut self, text: &str) -> Effects {
        self.carry_out(&self.asked(text))
    }

    /// The state of the chat after these commands.
    fn after(mut self, texts: &[&str]) -> Subscriber {
        texts.iter().for_each(|text| drop(self.say(text)));
        self.state()
    }

    fn state(&self) -> Subscriber {
        let number = self.chat["id"].as_i64().unwrap();
        self.subscribers.get(&samples::chat(number)).unwrap().clone()
    }
}

fn alert() -> Id {
    Id::of("test", &["alert"])
}

fn subscriber(number: i64) -> Subscriber {
    Subscriber {
        v: schemas::subscriber::VERSION,
        channel: "telegram".to_owned(),
        recipient: number.to_string(),
        at: 0,
        cause: Cause::Config,
        update: None,
        standing: Standing::Active,
        preferences: Preferences::default(),
    }
}

fn html(effects: &Effects) -> String {
    effects.answer.as_ref().unwrap().page.html()
}
