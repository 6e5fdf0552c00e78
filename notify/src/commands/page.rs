//! Answers before they are rendered: lines of text with the few marks Telegram and we both know.

use crate::{caps::TEXT_UNITS_MAX, recipient::Recipient, text::escaped};

/// An answer. What is in it is escaped when it is rendered, never before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(Vec<Line>);

/// One line of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Mark, String)>);

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Bold,
    Code,
    Small,
}

impl Line {
    pub(super) fn text(self, text: impl Into<String>) -> Self {
        self.with(Mark::None, text)
    }

    pub(super) fn bold(self, text: impl Into<String>) -> Self {
        self.with(Mark::Bold, text)
    }

    /// Something to copy.
    pub(super) fn code(self, text: impl Into<String>) -> Self {
        self.with(Mark::Code, text)
    }

    pub(super) fn small(self, text: impl Into<String>) -> Self {
        self.with(Mark::Small, text)
    }

    fn with(mut self, mark: Mark, text: impl Into<String>) -> Self {
        self.0.push((mark, text.into()));
        self
    }

    fn html(&self) -> String {
        let piece = |(mark, text): &(Mark, String)| {
            let text = escaped(text);
            match mark {
                Mark::None => text,
                Mark::Bold => format!("<b>{text}</b>"),
                Mark::Code => format!("<code>{text}</code>"),
                Mark::Small => format!("<i>{text}</i>"),
            }
        };
        self.0.iter().map(piece).collect()
    }

    fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

impl Page {
    /// Begins with a headline: a sign and bold words.
    pub(super) fn headed(sign: &str, words: impl Into<String>) -> Self {
        Self::default().line(Line::default().text(format!("{sign} ")).bold(words))
    }

    /// Adds a line.
    pub(super) fn line(mut self, line: Line) -> Self {
        self.0.push(line);
        self
    }

    /// Adds a line without marks.
    pub(super) fn text(self, text: impl Into<String>) -> Self {
        self.line(Line::default().text(text))
    }

    /// Adds a small line.
    pub(super) fn small(self, text: impl Into<String>) -> Self {
        self.line(Line::default().small(text))
    }

    /// Adds an empty line.
    pub(super) fn gap(self) -> Self {
        self.line(Line::default())
    }

    pub(super) fn lines(mut self, lines: impl IntoIterator<Item = Line>) -> Self {
        self.0.extend(lines);
        self
    }

    /// Returns the answer as Telegram's HTML, at most [`TEXT_UNITS_MAX`] long; lines beyond it are counted.
    pub fn html(&self) -> String {
        self.render(Line::html)
    }

    /// Returns the answer as plain text, as long at most.
    pub fn plain(&self) -> String {
        self.render(Line::plain)
    }

    /// Returns the answer as this recipient's channel shows it.
    pub(super) fn text_for(&self, recipient: &Recipient) -> String {
        match recipient {
            Recipient::Terminal | Recipient::Null => self.plain(),
            Recipient::Telegram(_) => self.html(),
        }
    }

    fn render(&self, line: fn(&Line) -> String) -> String {
        // Leaves room for the line that counts the rest.
        let room = TEXT_UNITS_MAX - 32;
        let (mut shown, mut units) = (Vec::new(), 0);
        for text in self.0.iter().map(line) {
            units += text.encode_utf16().count() + 1;
            if units > room {
                shown.push(format!("… {} more lines", self.0.len() - shown.len()));
                break;
            }
            shown.push(text);
        }
        shown.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped_and_marks_are_tags_only_in_html() {
        let page = Page::headed("🔔", "A<b>").line(Line::default().code("x & y").small(" >"));
        assert_eq!(page.html(), "🔔 <b>A&lt;b&gt;</b>\n<code>x &amp; y</code><i> &gt;</i>");
        assert_eq!(page.plain(), "🔔 A<b>\nx & y >");
    }

    #[test]
    fn a_long_answer_loses_whole_lines() {
        let page = Page::default().lines((0..200).map(|_| Line::default().bold("🚨".repeat(20))));
        let html = page.html();
        assert!(html.encode_utf16().count() <= TEXT_UNITS_MAX, "{}", html.encode_utf16().count());
        assert_eq!(html.matches("<b>").count(), html.matches("</b>").count());
        let counted: usize = html.lines().last().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(counted + html.matches("<b>").count(), 200);
    }
}
