//! A text with its entities as HTML. Everything in it is escaped.

use super::super::text::{Entity, Format, Text};

/// Characters of a quote from which on it is folded: about what three lines of a phone hold.
const FOLDED_CHARS: usize = 110;
const FOLDED_LINES: usize = 3;

/// Returns a text that stands for itself, also within quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns the first line of a text.
pub(super) fn line(text: &str) -> String {
    escape(text.lines().next().unwrap_or_default())
}

/// Returns a text with its formatting.
pub(super) fn formatted(text: &Text) -> String {
    let units: Vec<u16> = text.text.encode_utf16().collect();
    let is_quote = |entity: &&Entity| matches!(entity.format, Format::Quote | Format::ExpandableQuote);
    let mut html = String::new();
    let mut at = 0;
    // Quotes do not stand in each other; of those that did the first is shown.
    for quote in text.entities.iter().filter(is_quote).filter(|quote| quote.length > 0) {
        if quote.offset < at {
            continue;
        }
        let end = quote.offset + quote.length;
        let before = inline(&units, &text.entities, at, quote.offset);
        let before = if at > 0 { before.strip_prefix('\n').unwrap_or(&before) } else { &before };
        html += before.strip_suffix('\n').unwrap_or(before);
        let inner = inline(&units, &text.entities, quote.offset, end);
        let plain = String::from_utf16_lossy(&units[quote.offset..end]);
        let is_long = plain.chars().count() > FOLDED_CHARS || plain.lines().count() > FOLDED_LINES;
        let folded = quote.format == Format::ExpandableQuote && is_long;
        html += &if folded {
            format!("<label class=\"quote folded\"><input type=\"checkbox\"><span>{inner}</span></label>")
        } else {
            format!("<span class=\"quote\">{inner}</span>")
        };
        at = end;
    }
    let rest = inline(&units, &text.entities, at, units.len());
    html += if at > 0 { rest.strip_prefix('\n').unwrap_or(&rest) } else { &rest };
    html
}

/// Returns a part of a text, quotes aside. Entities may cross each other: each stretch between two of their ends is put
/// into all tags that cover it.
fn inline(units: &[u16], entities: &[Entity], from: usize, to: usize) -> String {
    let inner: Vec<_> = entities.iter().filter(|entity| tags(&entity.format).is_some()).collect();
    let ends = inner.iter().flat_map(|entity| [entity.offset, entity.offset + entity.length]);
    let mut ends: Vec<_> = ends.filter(|end| (from..to).contains(end)).chain([from, to]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut html = String::new();
    for stretch in ends.windows(2) {
        let (start, end) = (stretch[0], stretch[1]);
        let covers = |entity: &&&Entity| entity.offset <= start && end <= entity.offset + entity.length;
        let (mut open, mut close) = (String::new(), String::new());
        for (tag, end_tag) in inner.iter().filter(covers).filter_map(|entity| tags(&entity.format)) {
            open += &tag;
            close.insert_str(0, end_tag);
        }
        html += &format!("{open}{}{close}", escape(&String::from_utf16_lossy(&units[start..end])));
    }
    html
}

/// Returns the tags of a format; none of quotes, which are blocks.
fn tags(format: &Format) -> Option<(String, &'static str)> {
    let (open, close) = match format {
        Format::Bold => ("<b>", "</b>"),
        Format::Italic => ("<em>", "</em>"),
        Format::Underline => ("<u>", "</u>"),
        Format::Strikethrough => ("<s>", "</s>"),
        Format::Spoiler => ("<span class=\"spoiler\">", "</span>"),
        Format::Code => ("<code>", "</code>"),
        Format::Pre => ("<code class=\"pre\">", "</code>"),
        Format::Command => ("<span class=\"command\">", "</span>"),
        Format::Link(url) => return Some((format!("<a href=\"{}\" rel=\"noreferrer\">", escape(url)), "</a>")),
        Format::Quote | Format::ExpandableQuote => return None,
    };
    Some((open.to_owned(), close))
}

#[cfg(test)]
mod tests {
    use super::{super::super::html, *};

    fn shown(html: &str) -> String {
        formatted(&html::parse(html).unwrap())
    }

    #[test]
    fn formats_become_tags_and_everything_else_is_escaped() {
        for (html, expected) in [
            ("🚨 <b>B &lt;x&gt; <i>y</i></b> z", "🚨 <b>B &lt;x&gt; </b><b><em>y</em></b> z"),
            ("&lt;script&gt;&amp;'\"", "&lt;script&gt;&amp;&#39;&quot;"),
            (
                "<a href=\"https://e.org/?a='&quot;&lt;\">l</a>",
                "<a href=\"https://e.org/?a=&#39;&quot;&lt;\" rel=\"noreferrer\">l</a>",
            ),
            ("a\n<blockquote>q <b>1</b></blockquote>\nb", "a<span class=\"quote\">q <b>1</b></span>b"),
            ("<blockquote expandable>short</blockquote>", "<span class=\"quote\">short</span>"),
            (
                "<blockquote expandable>1\n2\n3\n4</blockquote>",
                "<label class=\"quote folded\"><input type=\"checkbox\"><span>1\n2\n3\n4</span></label>",
            ),
            ("use /help", "use <span class=\"command\">/help</span>"),
        ] {
            assert_eq!(shown(html), expected, "{html}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_leaves_its_place(
            html in "(<b>|</b>|<i>|</i>|<code>|</code>|<blockquote>|</blockquote>|&lt;|&amp;|🚨|é|/x|\"|\n| ){0,30}"
        ) {
            if let Ok(text) = html::parse(&html) {
                let shown = formatted(&text);
                let mut plain = String::new();
                let mut rest = shown.as_str();
                while let Some((before, tag)) = rest.split_once('<') {
                    plain += before;
                    rest = tag.split_once('>').expect("every tag ends").1;
                }
                plain += rest;
                let without_lines = |text: &str| text.replace('\n', "");
                assert_eq!(without_lines(&plain), without_lines(&escape(&text.text)), "{shown}");
            }
        }
    }
}
