//! The control over HTTP: every order the handle has, as JSON.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{
    Bot, Rule,
    chance::Chance,
    people::{ChatSetup, Membership, Migration, PeopleError, Press, Say},
};

/// Orders are carried out in this order; the first that cannot be ends them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    rules: Option<Vec<Rule>>,
    limits: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    chance: Option<Option<Chance>>,
    delay_ms: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    webhook: Option<Option<String>>,
    chat: Option<ChatSetup>,
    gone: Option<i64>,
    member: Option<Membership>,
    migrate: Option<Migration>,
    say: Option<Say>,
    press: Option<Press>,
}

/// An order cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OrderError {
    /// It is not possible in the chat.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The chance is none.
    #[error(transparent)]
    Chance(#[from] ChanceError),
}

/// A probability is not between 0 and 1, or all together are more than 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("probabilities are between 0 and 1, also together")]
pub struct ChanceError;

impl Order {
    /// Carries out the order and returns what came of it.
    pub(super) fn carry_out(self, bot: &Bot) -> Result<Value, OrderError> {
        let mut answer = json!({"ok": true});
        if let Some(rules) = self.rules {
            bot.set_rules(rules);
        }
        if let Some(is_on) = self.limits {
            bot.set_limits(is_on);
        }
        if let Some(chance) = self.chance {
            bot.set_chance(chance)?;
        }
        if let Some(longest) = self.delay_ms {
            bot.set_delay(Duration::from_millis(longest));
        }
        if let Some(url) = self.webhook {
            bot.set_webhook(url);
        }
        if let Some(chat) = self.chat {
            bot.set_chat(chat)?;
        }
        if let Some(chat) = self.gone {
            bot.remove_chat(chat)?;
        }
        if let Some(change) = self.member {
            bot.set_member(change)?;
        }
        if let Some(migration) = self.migrate {
            bot.migrate(migration)?;
        }
        if let Some(say) = self.say {
            answer["message_id"] = json!(bot.say(say)?);
        }
        if let Some(press) = self.press {
            answer["callback_query_id"] = json!(bot.press(press)?);
        }
        Ok(answer)
    }
}

/// Tells null, which switches something off, from what is not named.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}
