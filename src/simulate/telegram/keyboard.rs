//! The buttons under a message: which the server takes, and which one can be pressed.

use serde_json::{Value, json};
use url::Url;

use super::{call::Call, fault::Refusal};

/// Longest `callback_data`, in bytes (`telegram.md` 9).
const DATA_BYTES_MAX: usize = 64;

/// Most buttons under one message; beyond it "reply markup is too long" (`core.telegram.org/bots/api`, not verified).
const BUTTONS_MAX: usize = 100;

/// Fields that make a button one that answers nobody; which of them has no effect here.
const OTHER_KINDS: [&str; 8] = [
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
];

/// Returns the inline keyboard of a request as a message keeps it; null where there is none.
pub(super) fn inline(call: &Call) -> Result<Value, Refusal> {
    let markup =
        call.structure("reply_markup").map_err(|_| Refusal::bad("can't parse reply keyboard markup JSON object"))?;
    if markup.is_null() {
        return Ok(Value::Null);
    }
    let markup = markup.as_object().ok_or_else(|| Refusal::bad("object expected as reply markup"))?;
    let Some(rows) = markup.get("inline_keyboard") else { return Ok(Value::Null) };
    let rows = rows.as_array().ok_or_else(|| Refusal::bad("field \"inline_keyboard\" must be of type Array"))?;
    for row in rows {
        let no_array = "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays";
        for button in row.as_array().ok_or_else(|| Refusal::bad(no_array))? {
            check(button)?;
        }
    }
    // The server leaves out rows without buttons, and keyboards without rows.
    let rows: Vec<_> = rows.iter().filter(|row| row.as_array().is_some_and(|row| !row.is_empty())).collect();
    if rows.iter().filter_map(|row| row.as_array()).map(Vec::len).sum::<usize>() > BUTTONS_MAX {
        return Err(Refusal::bad("reply markup is too long"));
    }
    Ok(if rows.is_empty() { Value::Null } else { json!({"inline_keyboard": rows}) })
}

fn check(button: &Value) -> Result<(), Refusal> {
    let malformed = |what: &str| Err(Refusal::bad(&format!("can't parse inline keyboard button: {what}")));
    let Some(fields) = button.as_object() else { return malformed("InlineKeyboardButton must be an Object") };
    match fields.get("text").map(Value::as_str) {
        None => return malformed("Can't find field \"text\""),
        Some(None) => return malformed("Field \"text\" must be of type String"),
        Some(Some("")) => return Err(Refusal::bad("inline keyboard button text must be non-empty")),
        Some(Some(_)) => {}
    }
    let filled = |name: &str| button[name].as_str().filter(|value| !value.is_empty());
    match (filled("url"), filled("callback_data")) {
        (Some(url), _) if Url::parse(url).is_err() => Err(Refusal::bad("BUTTON_URL_INVALID")),
        (None, Some(data)) if data.len() > DATA_BYTES_MAX => Err(Refusal::bad("BUTTON_DATA_INVALID")),
        (Some(_), _) | (None, Some(_)) => Ok(()),
        (None, None) if OTHER_KINDS.iter().any(|kind| fields.contains_key(*kind)) => Ok(()),
        (None, None) => malformed("Text buttons are unallowed in the inline keyboard"),
    }
}

/// Returns the buttons of a keyboard, row by row.
pub(super) fn rows(keyboard: &Value) -> impl Iterator<Item = &Vec<Value>> {
    keyboard["inline_keyboard"].as_array().into_iter().flatten().filter_map(Value::as_array)
}

/// Returns whether a press on one of the buttons sends `data`.
pub(super) fn has_data(keyboard: &Value, data: &str) -> bool {
    rows(keyboard).flatten().any(|button| button.get("url").is_none() && button["callback_data"] == data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(markup: Value) -> Result<Value, String> {
        let fields = [("reply_markup".to_owned(), markup)].into_iter().collect();
        inline(&Call { fields, ..Call::default() }).map_err(|refusal| refusal.description)
    }

    fn one(button: Value) -> Value {
        json!({"inline_keyboard": [[button]]})
    }

    #[test]
    fn well_formed_keyboards_are_kept() {
        let good = json!({"inline_keyboard": [[{"text": "Mute", "callback_data": "m"}],
            [{"text": "Web", "url": "https://e.org"}]]});
        assert_eq!(kept(good.clone()), Ok(good.clone()));
        assert_eq!(kept(json!(good.to_string())), Ok(good.clone()));
        assert_eq!(kept(json!({"inline_keyboard": [[]]})), Ok(Value::Null));
        assert_eq!(kept(json!({"remove_keyboard": true})), Ok(Value::Null));
        let longest = one(json!({"text": "x", "callback_data": "ä".repeat(32)}));
        assert_eq!(kept(longest.clone()), Ok(longest));
        assert!(has_data(&good, "m") && !has_data(&good, "n") && !has_data(&Value::Null, "m"));
    }

    #[test]
    fn malformed_keyboards_are_refused_as_the_server_does() {
        let button = "can't parse inline keyboard button: ";
        for (markup, error) in [
            (json!("{"), "can't parse reply keyboard markup JSON object".to_owned()),
            (json!([]), "object expected as reply markup".to_owned()),
            (
                json!({"inline_keyboard": [{}]}),
                "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays".to_owned(),
            ),
            (one(json!("x")), format!("{button}InlineKeyboardButton must be an Object")),
            (one(json!({"callback_data": "x"})), format!("{button}Can't find field \"text\"")),
            (one(json!({"text": "x"})), format!("{button}Text buttons are unallowed in the inline keyboard")),
            (one(json!({"text": "x", "callback_data": "ä".repeat(33)})), "BUTTON_DATA_INVALID".to_owned()),
            (one(json!({"text": "x", "url": "no url"})), "BUTTON_URL_INVALID".to_owned()),
            (
                json!({"inline_keyboard": [vec![json!({"text": "x", "callback_data": "x"}); 101]]}),
                "reply markup is too long".to_owned(),
            ),
        ] {
            assert_eq!(kept(markup), Err(format!("Bad Request: {error}")));
        }
    }
}
