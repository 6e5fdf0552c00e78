//! A chat as the app on a phone shows it: one page without scripts, made to be looked at 360 px wide.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    chat::{BOT_ID, BOT_NAME, Chat, GENERAL_TOPIC, Kind},
    keyboard,
    message::{Content, Message},
    photos::Photos,
};

mod markup;

use markup::{escape, formatted, line};

/// Messages on a page, the newest ones.
const MESSAGES_MAX: usize = 200;

/// Chats in the list, by number.
const CHATS_MAX: usize = 500;

/// Colours of names and pictures, as the app gives them to users in groups.
const COLOURS: [&str; 7] = ["#e17076", "#faa774", "#a695e7", "#7bc862", "#6ec9cb", "#65aadd", "#ee7aae"];

const STYLE: &str = include_str!("page/style.css");

/// A bell that is struck out: the message made no sound.
const SILENT: &str = "<svg class=\"bell\" viewBox=\"0 0 24 24\" role=\"img\" aria-label=\"silent\"><path \
    d=\"M6.3 8.5A6 6 0 0 1 18 9c0 5 2 6 2 7H9M5 16c.4-.8 1-2 1.2-4M10 19a2 2 0 0 0 4 0M4 4l16 16\"/></svg>";

/// What of a chat is shown, and how.
#[derive(Debug, Default, Deserialize)]
pub(super) struct View {
    thread: Option<i64>,
    #[serde(default)]
    theme: Theme,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Theme {
    #[default]
    Light,
    Dark,
}

impl Theme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Returns the list of chats.
pub(super) fn list<'a>(chats: impl Iterator<Item = &'a Chat>, view: &View) -> String {
    let theme = view.theme.as_str();
    let row = |chat: &Chat| {
        let last = chat.messages.values().next_back();
        let text = last.map_or_else(|| "no messages".to_owned(), |message| line(&summary(message)));
        let time = last.map(|message| clock(message.date_s)).unwrap_or_default();
        let id = chat.id;
        format!(
            "<a class=\"row\" href=\"chat/{id}?theme={theme}\">{}<div><b>{}</b><small>{id}</small><p>{text}</p></div>\
             <time>{time}</time></a>",
            avatar(&chat.title, id),
            escape(&chat.title),
        )
    };
    let rows: String = chats.take(CHATS_MAX).map(row).collect();
    page(view.theme, "Chats", &format!("<header><div><b>Chats</b></div></header><main class=\"list\">{rows}</main>"))
}

/// Returns the newest messages of a chat, or of one of its topics.
pub(super) fn chat(chat: &Chat, photos: &Photos, view: &View) -> String {
    let thread_of = |message: &Message| message.thread.unwrap_or(GENERAL_TOPIC);
    let fits = |message: &&Message| view.thread.is_none_or(|thread| thread_of(message) == thread);
    let mut messages: Vec<_> = chat.messages.values().rev().filter(fits).take(MESSAGES_MAX).collect();
    // A stable sort: the topics follow each other, each in order.
    messages.reverse();
    messages.sort_by_key(|message| thread_of(message));
    let (mut body, mut topic, mut day) = (String::new(), None, None);
    for message in messages {
        if !chat.topics.is_empty() && view.thread.is_none() && topic != Some(thread_of(message)) {
            (topic, day) = (Some(thread_of(message)), None);
            body += &format!("<h2><i>#</i>{}</h2>", escape(&topic_name(chat, thread_of(message))));
        }
        let on = date(message.date_s);
        if day.as_ref() != Some(&on) {
            body += &format!("<div class=\"pill\">{on}</div>");
            day = Some(on);
        }
        body += &row(chat, message, photos);
    }
    let shown = view.thread.filter(|_| !chat.topics.is_empty()).map(|thread| topic_name(chat, thread));
    let (title, below) = match shown {
        Some(topic) => (topic, title(chat)),
        None => (title(chat), subtitle(chat)),
    };
    let header = format!(
        "<header><svg class=\"back\" viewBox=\"0 0 24 24\"><path d=\"M20 12H5m6-7-7 7 7 7\"/></svg>{}<div><b>{}</b>\
         <small>{}</small></div></header>",
        avatar(&title, chat.id),
        escape(&title),
        escape(&below),
    );
    page(view.theme, &title, &format!("{header}<main>{body}</main>"))
}

fn page(theme: Theme, title: &str, body: &str) -> String {
    let (theme, title) = (theme.as_str(), escape(title));
    format!(
        "<!doctype html><html lang=\"en\" class=\"{theme}\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style><body>{body}</body>\
         </html>"
    )
}

/// Returns one message, its buttons below it.
fn row(chat: &Chat, message: &Message, photos: &Photos) -> String {
    let Some(text) = message.content.text() else {
        return format!("<div class=\"pill\">{}</div>", line(&summary(message)));
    };
    let is_own = chat.kind == Kind::Private && message.from != BOT_ID;
    let is_group = matches!(chat.kind, Kind::Group | Kind::Supergroup);
    let name = if is_group { name(chat, message.from) } else { String::new() };
    let replied = message.reply_to.and_then(|id| chat.messages.get(&id));
    let quote = replied.map(|replied| quoted(chat, replied, photos)).unwrap_or_default();
    let picture = match &message.content {
        Content::Photo(photo, _) => {
            let (file_id, width, height) = (escape(&photo.file_id), photo.width, photo.height);
            match photos.look(&photo.file_id) {
                Some(_) => format!(
                    "<img class=\"photo\" src=\"../photo/{file_id}\" width=\"{width}\" height=\"{height}\" alt=\"photo\">"
                ),
                None => "<div class=\"photo lost\">Photo</div>".to_owned(),
            }
        }
        Content::Text(_) | Content::MigratedTo(_) | Content::MigratedFrom(_) => String::new(),
    };
    let edited = if message.edited_s.is_some() { "edited " } else { "" };
    let bell = if message.is_silent { SILENT } else { "" };
    let ticks = if is_own { " <i class=\"ticks\">✓✓</i>" } else { "" };
    let meta = format!("<span class=\"meta\">{bell}{edited}{}{ticks}</span>", clock(message.date_s));
    let text = formatted(text);
    let text = if text.is_empty() { String::new() } else { format!("<div class=\"text\">{text}{meta}</div>") };
    let over = if text.is_empty() { meta } else { String::new() };
    let side = if is_own { "own" } else { "" };
    let kind = if picture.is_empty() { "" } else { "pictured" };
    format!(
        "<article class=\"{side} {kind}\" id=\"m{}\"><div class=\"bubble\">{name}{quote}{picture}{text}{over}</div>{}\
         </article>",
        message.id,
        keys(&message.keyboard)
    )
}

fn quoted(chat: &Chat, replied: &Message, photos: &Photos) -> String {
    let thumbnail = match &replied.content {
        Content::Photo(photo, _) if photos.look(&photo.file_id).is_some() => {
            format!("<img src=\"../photo/{}\" alt=\"\">", escape(&photo.file_id))
        }
        Content::Photo(..) | Content::Text(_) | Content::MigratedTo(_) | Content::MigratedFrom(_) => String::new(),
    };
    let name = if chat.kind == Kind::Channel { chat.title.clone() } else { chat.name(replied.from) };
    format!(
        "<a class=\"reply\" href=\"#m{}\">{thumbnail}<span><b>{}</b>{}</span></a>",
        replied.id,
        escape(&name),
        line(&summary(replied))
    )
}

fn keys(keyboard: &Value) -> String {
    let button = |button: &Value| {
        let link = if button["url"].is_string() { " class=\"link\"" } else { "" };
        format!("<span{link}>{}</span>", escape(button["text"].as_str().unwrap_or_default()))
    };
    let row = |row: &Vec<Value>| format!("<div>{}</div>", row.iter().map(button).collect::<String>());
    let rows: String = keyboard::rows(keyboard).map(row).collect();
    if rows.is_empty() { rows } else { format!("<div class=\"keys\">{rows}</div>") }
}

/// Returns what a message says in one line.
fn summary(message: &Message) -> String {
    match &message.content {
        Content::Photo(_, caption) if caption.text.is_empty() => "Photo".to_owned(),
        Content::Photo(_, text) | Content::Text(text) => text.text.clone(),
        Content::MigratedTo(_) => "This group was upgraded to a supergroup".to_owned(),
        Content::MigratedFrom(_) => "Supergroup created".to_owned(),
    }
}

fn name(chat: &Chat, user: i64) -> String {
    format!("<b class=\"name\" style=\"color:{}\">{}</b>", colour(user), escape(&chat.name(user)))
}

/// Returns what the person on the phone sees above the chat: in a private one the bot.
fn title(chat: &Chat) -> String {
    if chat.kind == Kind::Private { BOT_NAME.to_owned() } else { chat.title.clone() }
}

fn subtitle(chat: &Chat) -> String {
    match (chat.kind, chat.members.len() + 1) {
        (Kind::Private, _) => "bot".to_owned(),
        (Kind::Channel, _) => "channel".to_owned(),
        (Kind::Group | Kind::Supergroup, 1) => "1 member".to_owned(),
        (Kind::Group | Kind::Supergroup, members) => format!("{members} members"),
    }
}

fn topic_name(chat: &Chat, thread: i64) -> String {
    chat.topics.get(&thread).cloned().unwrap_or_else(|| "General".to_owned())
}

fn avatar(title: &str, id: i64) -> String {
    let initial = title.chars().find(|character| character.is_alphanumeric()).unwrap_or('•');
    format!("<i class=\"avatar\" style=\"background:{}\">{}</i>", colour(id), initial.to_uppercase())
}

fn colour(id: i64) -> &'static str {
    COLOURS[(id.unsigned_abs() % COLOURS.len() as u64) as usize]
}

fn clock(at_s: i64) -> String {
    utc(at_s, "%H:%M")
}

fn date(at_s: i64) -> String {
    utc(at_s, "%B %-d")
}

fn utc(at_s: i64, format: &str) -> String {
    Timestamp::from_second(at_s).map(|at| at.strftime(format).to_string()).unwrap_or_default()
}
