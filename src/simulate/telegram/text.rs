//! A text as the server keeps it: what stands in it, and where it is formatted.

use serde_json::{Value, json};

use super::{call::Call, fault::Refusal, html};

/// Longest text and caption after parsing, in UTF-16 units (`telegram.md` 6).
const TEXT_UNITS_MAX: usize = 4096;
const CAPTION_UNITS_MAX: usize = 1024;

/// Longest command, in bytes (`telegram.md` 9).
const COMMAND_BYTES_MAX: usize = 32;

/// How a part of a text is formatted (`core.telegram.org/bots/api#messageentity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bold,
    Italic,
    Underline,
    Strikethrough,
    Spoiler,
    Code,
    Pre,
    Quote,
    ExpandableQuote,
    Link(String),
    Command,
}

/// A formatted part, in UTF-16 units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) format: Format,
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// A text without markup. Its entities are sorted by offset, the longer first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) entities: Vec<Entity>,
}

impl Text {
    /// Returns what a person typed: nothing in it is formatted, but commands are found.
    pub(super) fn plain(text: &str) -> Self {
        Self::new(text, Vec::new())
    }

    /// Returns `text` without the white space around it, and its entities moved and cut along.
    pub(super) fn new(text: &str, entities: Vec<Entity>) -> Self {
        let start = units(text) - units(text.trim_start());
        let text = text.trim();
        let end = units(text);
        let cut = |mut entity: Entity| {
            let last = (entity.offset + entity.length).saturating_sub(start).min(end);
            entity.offset = entity.offset.saturating_sub(start);
            entity.length = last.saturating_sub(entity.offset);
            (entity.length > 0).then_some(entity)
        };
        let mut entities: Vec<_> = entities.into_iter().filter_map(cut).collect();
        let is_verbatim = |entity: &&Entity| matches!(entity.format, Format::Code | Format::Pre | Format::Link(_));
        let verbatim: Vec<_> = entities.iter().filter(is_verbatim).cloned().collect();
        entities.extend(commands(text).into_iter().filter(|one| !verbatim.iter().any(|other| overlap(one, other))));
        entities.sort_by_key(|entity| (entity.offset, usize::MAX - entity.length));
        Self { text: text.to_owned(), entities }
    }

    /// Returns the text of a message.
    pub(super) fn of_message(call: &Call) -> Result<Self, Refusal> {
        let text = Self::parsed(call, "text", TEXT_UNITS_MAX, "message is too long")?;
        if text.text.is_empty() { Err(Refusal::bad("message text is empty")) } else { Ok(text) }
    }

    /// Returns the caption of a photo, which may be empty.
    pub(super) fn of_caption(call: &Call) -> Result<Self, Refusal> {
        Self::parsed(call, "caption", CAPTION_UNITS_MAX, "message caption is too long")
    }

    fn parsed(call: &Call, field: &str, units_max: usize, too_long: &str) -> Result<Self, Refusal> {
        let text = call.text(field);
        let text = match call.text("parse_mode").to_ascii_lowercase().as_str() {
            "" => Self::plain(text),
            "html" => html::parse(text).map_err(|error| Refusal::bad(&format!("can't parse entities: {error}")))?,
            _ => return Err(Refusal::bad("unsupported parse_mode")),
        };
        if units(&text.text) > units_max { Err(Refusal::bad(too_long)) } else { Ok(text) }
    }

    /// Puts text and entities into a message, under the names they have there.
    pub(super) fn store(&self, message: &mut Value, text_field: &str, entities_field: &str) {
        if !self.text.is_empty() {
            message[text_field] = json!(self.text);
        }
        if !self.entities.is_empty() {
            message[entities_field] = self.entities.iter().map(Entity::json).collect();
        }
    }
}

impl Entity {
    fn json(&self) -> Value {
        let kind = match &self.format {
            Format::Bold => "bold",
            Format::Italic => "italic",
            Format::Underline => "underline",
            Format::Strikethrough => "strikethrough",
            Format::Spoiler => "spoiler",
            Format::Code => "code",
            Format::Pre => "pre",
            Format::Quote => "blockquote",
            Format::ExpandableQuote => "expandable_blockquote",
            Format::Link(_) => "text_link",
            Format::Command => "bot_command",
        };
        let mut entity = json!({"type": kind, "offset": self.offset, "length": self.length});
        if let Format::Link(url) = &self.format {
            entity["url"] = json!(url);
        }
        entity
    }
}

/// Returns the length of a text as Telegram counts it.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn overlap(one: &Entity, other: &Entity) -> bool {
    one.offset < other.offset + other.length && other.offset < one.offset + one.length
}

/// Returns the words that are commands: `/name` or `/name@bot`.
fn commands(text: &str) -> Vec<Entity> {
    let mut found = Vec::new();
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        if let Some(length) = command_length(word) {
            found.push(Entity { format: Format::Command, offset, length });
        }
        offset += units(word);
    }
    found
}

/// Returns the length of the command a word begins with, which is ASCII.
fn command_length(word: &str) -> Option<usize> {
    let name_length = |text: &str| {
        let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        end.unwrap_or(text.len())
    };
    let name = name_length(word.strip_prefix('/')?);
    if !(1..=COMMAND_BYTES_MAX).contains(&name) {
        return None;
    }
    let rest = &word[1 + name..];
    let bot = rest.strip_prefix('@').map_or(0, |bot| 1 + name_length(bot));
    let is_end = !rest[bot..].starts_with(['/', '@']);
    is_end.then_some(1 + name + bot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_where_a_word_begins() {
        let found = |text: &str| {
            let entities = Text::plain(text).entities.into_iter();
            entities.map(|entity| (entity.offset, entity.length)).collect::<Vec<_>>()
        };
        assert_eq!(found("/mute BTC"), [(0, 5)]);
        assert_eq!(found("🚨 try /help, or /start@simulator_bot"), [(7, 5), (17, 20)]);
        for text in ["1/2", "/", "//x", "/a/b", "https://example.org/x", "/ümlaut"] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn entities_follow_a_text_that_is_trimmed() {
        let bold = |offset, length| Entity { format: Format::Bold, offset, length };
        let text = Text::new("  🚨ab  ", vec![bold(0, 4), bold(4, 20), bold(6, 2)]);
        assert_eq!(text, Text { text: "🚨ab".into(), entities: vec![bold(0, 2), bold(2, 2)] });
    }
}
