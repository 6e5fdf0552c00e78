//! Telegram's HTML: which texts the server takes, and what stands in them once parsed.

use super::text::{Entity, Format, Text};

/// Tags the server takes (`core.telegram.org/bots/api`, "HTML style").
const TAGS: [&str; 16] = [
    "b",
    "strong",
    "i",
    "em",
    "u",
    "ins",
    "s",
    "strike",
    "del",
    "span",
    "tg-spoiler",
    "tg-emoji",
    "a",
    "code",
    "pre",
    "blockquote",
];

/// Named entities the server takes; it leaves any other `&` as it stands.
const ENTITIES: [(&str, char); 4] = [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"')];

/// Schemes of links that are kept; a link of another one is text.
const SCHEMES: [&str; 3] = ["http://", "https://", "tg://"];

/// A start tag that waits for its end.
struct Open<'a> {
    name: &'a str,
    /// Where it stands, in bytes of the HTML.
    at: usize,
    /// Where its text begins, in UTF-16 units.
    offset: usize,
    format: Option<Format>,
}

/// Returns the text without its markup, or what the server would say of it.
pub(super) fn parse(html: &str) -> Result<Text, String> {
    let (mut text, mut length, mut entities) = (String::new(), 0, Vec::new());
    let mut open = Vec::<Open<'_>>::new();
    let mut at = 0;
    while let Some(next) = html[at..].chars().next() {
        let rest = &html[at..];
        if let Some(tag) = rest.strip_prefix("</") {
            let (name, bytes) = tag.split_once('>').map(|(name, _)| (name.trim(), name.len() + 3)).unwrap_or((tag, 0));
            let opened = open.pop().ok_or_else(|| format!("Unexpected end tag at byte offset {at}"))?;
            if bytes == 0 || !opened.name.eq_ignore_ascii_case(name) {
                let expected = opened.name;
                return Err(format!(
                    "Unmatched end tag at byte offset {at}, expected \"</{expected}>\", found \"</{name}>\""
                ));
            }
            let entity = |format| Entity { format, offset: opened.offset, length: length - opened.offset };
            entities.extend(opened.format.map(entity));
            at += bytes;
        } else if let Some(tag) = rest.strip_prefix('<') {
            let (tag, _) = tag.split_once('>').ok_or_else(|| format!("Unclosed start tag at byte offset {at}"))?;
            let name = tag.split_whitespace().next().unwrap_or_default();
            check_start(name, tag, at)?;
            open.push(Open { name, at, offset: length, format: format(name, tag) });
            at += tag.len() + 2;
        } else {
            let (character, bytes) = entity(rest).unwrap_or_else(|| (next, next.len_utf8()));
            text.push(character);
            length += character.len_utf16();
            at += bytes;
        }
    }
    match open.pop() {
        Some(Open { name, at, .. }) => {
            Err(format!("Can't find end tag corresponding to start tag \"{name}\" at byte offset {at}"))
        }
        None => Ok(Text::new(&text, entities)),
    }
}

/// Returns what a tag does to its text; nothing where the server leaves the formatting out.
fn format(name: &str, tag: &str) -> Option<Format> {
    Some(match name.to_ascii_lowercase().as_str() {
        "b" | "strong" => Format::Bold,
        "i" | "em" => Format::Italic,
        "u" | "ins" => Format::Underline,
        "s" | "strike" | "del" => Format::Strikethrough,
        "span" | "tg-spoiler" => Format::Spoiler,
        "code" => Format::Code,
        "pre" => Format::Pre,
        "blockquote" if tag.split_whitespace().any(|word| word == "expandable") => Format::ExpandableQuote,
        "blockquote" => Format::Quote,
        "a" => Format::Link(link(tag)?),
        _ => return None,
    })
}

/// Returns where an `a` tag leads to.
fn link(tag: &str) -> Option<String> {
    let (_, value) = tag.split_once("href=")?;
    let url = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split_whitespace().next()?,
    };
    let mut decoded = String::new();
    let mut rest = url;
    while let Some(next) = rest.chars().next() {
        let (character, bytes) = entity(rest).unwrap_or_else(|| (next, next.len_utf8()));
        decoded.push(character);
        rest = &rest[bytes..];
    }
    SCHEMES.iter().any(|scheme| decoded.starts_with(scheme)).then_some(decoded)
}

fn check_start(name: &str, tag: &str, offset: usize) -> Result<(), String> {
    let known = TAGS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !known {
        return Err(format!("Unsupported start tag \"{name}\" at byte offset {offset}"));
    }
    if name.eq_ignore_ascii_case("span") && !tag.contains("class=\"tg-spoiler\"") {
        return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {offset}"));
    }
    Ok(())
}

/// Reads an entity at the start of `text`: its character and its length in bytes.
fn entity(text: &str) -> Option<(char, usize)> {
    let (name, _) = text.strip_prefix('&')?.split_once(';')?;
    let character = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((character, name.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::{super::text::units, *};

    #[test]
    fn well_formed_texts_lose_their_markup() {
        for (html, text) in [
            ("plain", "plain"),
            ("<b>BTC</b> &amp; <i>ETH</i> &#8722;18 %", "BTC & ETH −18 %"),
            ("<a href=\"https://example.org/?a=1\">link</a>", "link"),
            ("<blockquote expandable>x <code>1</code></blockquote>", "x 1"),
            ("a & b > c &unknown;", "a & b > c &unknown;"),
            ("  <b> </b>  ", ""),
        ] {
            assert_eq!(parse(html).map(|parsed| parsed.text).as_deref(), Ok(text), "{html}");
        }
    }

    #[test]
    fn markup_becomes_entities_in_utf16_units() {
        let html = "🚨 <b>BTC <i>x</i></b> <a href=\"https://e.org/?a=1&amp;b\">l</a>\
            <blockquote expandable>/q</blockquote><code>/c</code><a href='javascript:x'>j</a>";
        let found: Vec<_> =
            parse(html).unwrap().entities.into_iter().map(|one| (one.format, one.offset, one.length)).collect();
        assert_eq!(
            found,
            [
                (Format::Bold, 3, 5),
                (Format::Italic, 7, 1),
                (Format::Link("https://e.org/?a=1&b".into()), 9, 1),
                (Format::ExpandableQuote, 10, 2),
                (Format::Code, 12, 2),
            ]
        );
    }

    #[test]
    fn ill_formed_texts_are_refused_as_the_server_does() {
        for (html, error) in [
            ("a < b", "Unclosed start tag at byte offset 2"),
            ("<x>1</x>", "Unsupported start tag \"x\" at byte offset 0"),
            ("1 <2> 3", "Unsupported start tag \"2\" at byte offset 2"),
            ("<b>1", "Can't find end tag corresponding to start tag \"b\" at byte offset 0"),
            ("1</b>", "Unexpected end tag at byte offset 1"),
            ("<b><i>1</b></i>", "Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\""),
            ("<span>1</span>", "Tag \"span\" must have class \"tg-spoiler\" at byte offset 0"),
        ] {
            assert_eq!(parse(html), Err(error.to_owned()), "{html}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(html in "([<>/&;#bx \"éß🚨]|<b>|</b>){0,40}") {
            if let Ok(text) = parse(&html) {
                let end = units(&text.text);
                assert!(text.entities.iter().all(|one| one.length > 0 && one.offset + one.length <= end), "{text:?}");
            }
        }
    }
}
