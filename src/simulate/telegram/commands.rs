//! The lists of commands a bot shows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{call::Call, fault::Refusal};

/// Most commands in a list, longest name and description, in characters (`telegram.md` 9).
const COMMANDS_MAX: usize = 100;
const NAME_MAX: usize = 32;
const DESCRIPTION_MAX: usize = 256;

/// Lists kept. At the bound another scope or language is refused.
const LISTS_MAX: usize = 1_000;

/// Scopes without a chat (`core.telegram.org/bots/api#botcommandscope`).
const SCOPES: [&str; 4] = ["default", "all_private_chats", "all_group_chats", "all_chat_administrators"];

/// The lists, by scope and language.
#[derive(Default)]
pub(super) struct Commands(BTreeMap<(String, String), Value>);

impl Commands {
    /// Replaces the list of a scope and language.
    pub(super) fn set(&mut self, call: &Call) -> Result<Value, Refusal> {
        let key = key(call)?;
        let commands = call.structure("commands").map_err(|_| Refusal::bad("can't parse commands JSON object"))?;
        let no_array = || Refusal::bad("expected an Array of BotCommand");
        let commands = if commands.is_null() { json!([]) } else { commands };
        let commands = commands.as_array().ok_or_else(no_array)?;
        if commands.len() > COMMANDS_MAX {
            return Err(Refusal::bad("BOT_COMMANDS_TOO_MUCH"));
        }
        let list = commands.iter().map(checked).collect::<Result<Value, _>>()?;
        if self.0.len() >= LISTS_MAX && !self.0.contains_key(&key) {
            return Err(Refusal::bad("BOT_COMMANDS_TOO_MUCH"));
        }
        self.0.insert(key, list);
        Ok(json!(true))
    }

    /// Returns the list of exactly this scope and language.
    pub(super) fn get(&self, call: &Call) -> Result<Value, Refusal> {
        Ok(self.0.get(&key(call)?).cloned().unwrap_or_else(|| json!([])))
    }
}

fn key(call: &Call) -> Result<(String, String), Refusal> {
    let language = call.text("language_code").to_owned();
    let scope = call.structure("scope").map_err(|_| Refusal::bad("can't parse BotCommandScope JSON object"))?;
    let refuse = |what: &str| Refusal::bad(&format!("can't parse BotCommandScope: {what}"));
    let kind = match scope["type"].as_str() {
        _ if scope.is_null() => "default",
        Some(kind) => kind,
        None => return Err(refuse("Can't find field \"type\"")),
    };
    if SCOPES.contains(&kind) {
        return Ok((kind.to_owned(), language));
    }
    if !matches!(kind, "chat" | "chat_administrators" | "chat_member") {
        return Err(refuse("Unsupported type specified"));
    }
    if scope["chat_id"].is_null() || scope["chat_id"] == "" {
        return Err(refuse("Empty chat_id specified"));
    }
    if kind == "chat_member" && scope["user_id"].as_i64().is_none_or(|user| user <= 0) {
        return Err(refuse("Invalid user_id specified"));
    }
    Ok((format!("{kind} {} {}", scope["chat_id"], scope["user_id"]), language))
}

/// Returns a command as it is kept.
fn checked(command: &Value) -> Result<Value, Refusal> {
    let field = |name: &str| {
        let value = command[name].as_str().map(str::trim);
        value.ok_or_else(|| Refusal::bad(&format!("can't parse BotCommand: Can't find field \"{name}\"")))
    };
    let (name, description) = (field("command")?, field("description")?);
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(Refusal::bad("command must be non-empty"));
    }
    if name.chars().count() > NAME_MAX {
        return Err(Refusal::bad(&format!("command length must not exceed {NAME_MAX}")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(Refusal::bad("BOT_COMMAND_INVALID"));
    }
    if description.is_empty() {
        return Err(Refusal::bad("command description must be non-empty"));
    }
    if description.chars().count() > DESCRIPTION_MAX {
        return Err(Refusal::bad(&format!("command description length must not exceed {DESCRIPTION_MAX}")));
    }
    Ok(json!({"command": name, "description": description}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: Value) -> Call {
        let Value::Object(fields) = params else { unreachable!("tests pass objects") };
        Call { fields, ..Call::default() }
    }

    #[test]
    fn lists_are_kept_by_scope_and_language() {
        let mut commands = Commands::default();
        let list = json!([{"command": "mute", "description": "Mute a symbol"}]);
        let scope = json!({"type": "chat", "chat_id": 7});
        commands.set(&call(json!({"commands": list}))).unwrap();
        commands.set(&call(json!({"commands": "[]", "scope": scope}))).unwrap();
        assert_eq!(commands.get(&call(json!({}))), Ok(list.clone()));
        assert_eq!(commands.get(&call(json!({"scope": {"type": "default"}}))), Ok(list));
        assert_eq!(commands.get(&call(json!({"language_code": "de"}))), Ok(json!([])));
        assert_eq!(commands.get(&call(json!({"scope": scope.to_string()}))), Ok(json!([])));
    }

    #[test]
    fn what_the_server_would_not_show_is_refused() {
        let one = |name: &str, description: &str| json!([{"command": name, "description": description}]);
        for (commands, error) in [
            (json!({}), "expected an Array of BotCommand"),
            (json!([{}]), "can't parse BotCommand: Can't find field \"command\""),
            (one("", "x"), "command must be non-empty"),
            (one("Mute", "x"), "BOT_COMMAND_INVALID"),
            (one(&"x".repeat(33), "x"), "command length must not exceed 32"),
            (one("x", " "), "command description must be non-empty"),
            (one("x", &"ä".repeat(257)), "command description length must not exceed 256"),
            (json!(vec![one("x", "x")[0].clone(); 101]), "BOT_COMMANDS_TOO_MUCH"),
        ] {
            let refused = Commands::default().set(&call(json!({"commands": commands}))).unwrap_err();
            assert_eq!(refused.description, format!("Bad Request: {error}"));
        }
        let scope = call(json!({"scope": {"type": "everybody"}}));
        assert!(Commands::default().get(&scope).unwrap_err().description.ends_with("Unsupported type specified"));
    }
}
