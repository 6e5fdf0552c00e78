//! A request of a bot: its method, and its parameters however they were written.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::{fault::Refusal, multipart};

/// A request. Parameters are read as the server reads them: a number may be a string, an object may be JSON in one.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The method as it was written; the server takes it in any case.
    pub(super) method: String,
    /// The bot's number, which begins its token and is no secret.
    pub(super) bot: String,
    /// The parameters; of an uploaded file only the size.
    pub(super) fields: Map<String, Value>,
    /// Uploaded files, by parameter.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Call {
    /// Reads the parameters from the body, or else from the query.
    pub(super) fn read(
        bot: String,
        method: String,
        query: Map<String, Value>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = kind.strip_prefix("multipart/form-data").and_then(|rest| rest.split_once("boundary="));
        let (fields, files) = match boundary {
            Some((_, boundary)) => multipart::fields(body, boundary.trim_matches('"')),
            None if body.is_empty() => (query, BTreeMap::new()),
            None => {
                let fields = serde_json::from_slice(body).map_err(|_| Refusal::bad("can't parse JSON object"))?;
                (fields, BTreeMap::new())
            }
        };
        Ok(Self { method, bot, fields, files })
    }

    /// Returns the `chat_id` as it was written.
    pub(super) fn chat(&self) -> Option<String> {
        self.fields.get("chat_id").map(|chat| chat.as_str().map_or_else(|| chat.to_string(), str::to_owned))
    }

    /// Returns a text, empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        let value = self.fields.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        let value = self.fields.get(name);
        value.is_some_and(|value| *value == true || value.as_str().is_some_and(|text| matches!(text, "true" | "1")))
    }

    /// Returns an object or array; null where there is none.
    pub(super) fn structure(&self, name: &str) -> Result<Value, serde_json::Error> {
        match self.fields.get(name) {
            None => Ok(Value::Null),
            Some(Value::String(text)) if text.is_empty() => Ok(Value::Null),
            Some(Value::String(text)) => serde_json::from_str(text),
            Some(value) => Ok(value.clone()),
        }
    }
}

/// Returns the number of the bot where a path begins with a token; the real server answers 404 to what cannot be one,
/// and 401 to one it does not know.
pub(super) fn bot_of(path: &str) -> Option<&str> {
    let (number, secret) = path.strip_prefix("bot")?.split_once(':')?;
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_token = !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !secret.is_empty()
        && secret.bytes().all(is_secret);
    is_token.then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_looks_like_a_token_is_taken() {
        for (path, bot) in [
            ("bot123:AbC-_9", Some("123")),
            ("bot123", None),
            ("bot:x", None),
            ("botx:1", None),
            ("bot1:", None),
            ("123:x", None),
        ] {
            assert_eq!(bot_of(path), bot, "{path}");
        }
    }

    #[test]
    fn parameters_are_read_in_every_form() {
        let Value::Object(fields) = json!({"a": 5, "b": "5", "c": true, "d": "true", "e": {"x": 1}, "f": "{\"x\":1}"})
        else {
            unreachable!("an object")
        };
        let call = Call { fields, ..Call::default() };
        assert_eq!((call.integer("a"), call.integer("b"), call.integer("c")), (Some(5), Some(5), None));
        assert!(call.flag("c") && call.flag("d") && !call.flag("a") && !call.flag("z"));
        assert_eq!(call.structure("e").unwrap(), call.structure("f").unwrap());
        assert_eq!(call.structure("z").unwrap(), Value::Null);
    }
}
