//! Telegram's HTML: which texts the server takes, and how long they are once parsed.

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

/// Returns the text without its markup, or what the server would say of it.
pub(super) fn parse(html: &str) -> Result<String, String> {
    let (mut text, mut open) = (String::new(), Vec::<(&str, usize)>::new());
    let mut offset = 0;
    while let Some(next) = html[offset..].chars().next() {
        let rest = &html[offset..];
        if let Some(tag) = rest.strip_prefix("</") {
            let (name, length) = tag.split_once('>').map(|(name, _)| (name.trim(), name.len() + 3)).unwrap_or((tag, 0));
            match open.pop() {
                None => return Err(format!("Unexpected end tag at byte offset {offset}")),
                Some((expected, _)) if length == 0 || !expected.eq_ignore_ascii_case(name) => {
                    return Err(format!(
                        "Unmatched end tag at byte offset {offset}, expected \"</{expected}>\", found \"</{name}>\""
                    ));
                }
                Some(_) => offset += length,
            }
        } else if let Some(tag) = rest.strip_prefix('<') {
            let Some((tag, _)) = tag.split_once('>') else {
                return Err(format!("Unclosed start tag at byte offset {offset}"));
            };
            let name = tag.split_whitespace().next().unwrap_or_default();
            check_start(name, tag, offset)?;
            open.push((name, offset));
            offset += tag.len() + 2;
        } else if let Some((character, length)) = entity(rest) {
            text.push(character);
            offset += length;
        } else {
            text.push(next);
            offset += next.len_utf8();
        }
    }
    match open.pop() {
        Some((name, offset)) => {
            Err(format!("Can't find end tag corresponding to start tag \"{name}\" at byte offset {offset}"))
        }
        None => Ok(text.trim().to_owned()),
    }
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
    use super::*;

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
            assert_eq!(parse(html).as_deref(), Ok(text), "{html}");
        }
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
            let _ = parse(&html);
        }
    }
}
