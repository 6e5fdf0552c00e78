//! A chat: what it is, who is in it, and whether the bot may write there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{fault::Refusal, limits::Window, message::Message};

/// The bot, as Telegram shows it. Its number is none that a test takes for a person.
pub(super) const BOT_ID: i64 = 7_000_000_001;
pub(super) const BOT_NAME: &str = "foreshock";
pub(super) const BOT_USERNAME: &str = "simulator_bot";

/// Supergroups and channels have numbers from here downwards.
const SUPERGROUP_MAX: i64 = -1_000_000_000_000;

/// Who does what nobody else is named for.
const SOMEBODY: i64 = 1_000;

/// The topic that every group with topics has, and that no message names (`telegram.md` 9).
pub(super) const GENERAL_TOPIC: i64 = 1;

/// What kind of chat it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The bot and one person, whose number is the chat's.
    Private,
    /// A basic group.
    Group,
    /// A supergroup, with topics or without.
    Supergroup,
    /// A channel.
    Channel,
}

impl Kind {
    /// Returns what a chat of this number is as long as nobody says otherwise.
    pub(super) const fn of(id: i64) -> Self {
        if id > 0 {
            Self::Private
        } else if id > SUPERGROUP_MAX {
            Self::Group
        } else {
            Self::Supergroup
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Group => "group",
            Self::Supergroup => "supergroup",
            Self::Channel => "channel",
        }
    }

    /// Returns whether messages are numbered per chat; the others share the bot's own numbers.
    pub(super) const fn has_own_numbers(self) -> bool {
        matches!(self, Self::Supergroup | Self::Channel)
    }
}

/// What somebody is in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The owner.
    Creator,
    /// An administrator.
    Administrator,
    /// A member.
    Member,
    /// A member who may not write.
    Restricted,
    /// Nobody there; of the bot in a private chat: never started.
    Left,
    /// Banned; of the bot in a private chat: blocked.
    Kicked,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Creator => "creator",
            Self::Administrator => "administrator",
            Self::Member => "member",
            Self::Restricted => "restricted",
            Self::Left => "left",
            Self::Kicked => "kicked",
        }
    }

    /// Returns whether it may change how a chat is run.
    pub(super) const fn is_admin(self) -> bool {
        matches!(self, Self::Creator | Self::Administrator)
    }

    /// Returns somebody as `ChatMember`.
    pub(super) fn json(self, user: Value) -> Value {
        let mut member = json!({"user": user, "status": self.as_str()});
        let rights: &[&str] = match self {
            Self::Creator => &[],
            Self::Administrator => &[
                "can_manage_chat",
                "can_change_info",
                "can_delete_messages",
                "can_manage_video_chats",
                "can_invite_users",
                "can_restrict_members",
                "can_pin_messages",
                "can_promote_members",
            ],
            Self::Restricted => &[
                "can_send_messages",
                "can_send_audios",
                "can_send_documents",
                "can_send_photos",
                "can_send_videos",
                "can_send_video_notes",
                "can_send_voice_notes",
                "can_send_polls",
                "can_send_other_messages",
                "can_add_web_page_previews",
                "can_change_info",
                "can_invite_users",
                "can_pin_messages",
                "can_manage_topics",
            ],
            Self::Member | Self::Left | Self::Kicked => &[],
        };
        for right in rights {
            member[*right] = json!(self == Self::Administrator);
        }
        match self {
            Self::Creator => member["is_anonymous"] = json!(false),
            Self::Administrator => {
                member["is_anonymous"] = json!(false);
                member["can_be_edited"] = json!(false);
            }
            Self::Restricted => {
                member["is_member"] = json!(true);
                member["until_date"] = json!(0);
            }
            Self::Kicked => member["until_date"] = json!(0),
            Self::Member | Self::Left => {}
        }
        member
    }
}

/// Somebody in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The user's number.
    pub id: i64,
    /// The first name.
    pub name: String,
    /// What they are there.
    pub status: Status,
}

/// Whether there is a chat at all, and what the bot is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Is(Status),
    /// The person, or the chat, is no more.
    Gone,
    Migrated(i64),
}

/// A chat and its messages.
pub(super) struct Chat {
    pub(super) id: i64,
    pub(super) kind: Kind,
    pub(super) title: String,
    pub(super) username: Option<String>,
    pub(super) standing: Standing,
    pub(super) topics: BTreeMap<i64, String>,
    pub(super) members: BTreeMap<i64, Member>,
    pub(super) messages: BTreeMap<i64, Message>,
    pub(super) last_message: i64,
    pub(super) sent: Window,
    pub(super) sent_in_group: Window,
}

impl Chat {
    pub(super) fn new(id: i64, kind: Kind) -> Self {
        let title = match kind {
            Kind::Private => format!("User {id}"),
            Kind::Group | Kind::Supergroup => format!("Group {id}"),
            Kind::Channel => format!("Channel {id}"),
        };
        Self {
            id,
            kind,
            title,
            username: None,
            standing: Standing::Is(Status::Member),
            topics: BTreeMap::new(),
            members: BTreeMap::new(),
            messages: BTreeMap::new(),
            last_message: 0,
            sent: Window::default(),
            sent_in_group: Window::default(),
        }
    }

    /// Returns why the bot cannot write here.
    pub(super) fn write_refusal(&self) -> Option<Refusal> {
        let restricted = || Refusal::bad("not enough rights to send text messages to the chat");
        let kind = self.kind.as_str();
        Some(match (self.standing, self.kind) {
            (Standing::Is(Status::Creator | Status::Administrator | Status::Member), _) => return None,
            (Standing::Is(Status::Restricted), _) => restricted(),
            (Standing::Is(Status::Kicked), Kind::Private) => Refusal::forbidden("bot was blocked by the user"),
            (Standing::Is(Status::Left), Kind::Private) => {
                Refusal::forbidden("bot can't initiate conversation with a user")
            }
            (Standing::Is(Status::Kicked), _) => Refusal::forbidden(&format!("bot was kicked from the {kind} chat")),
            (Standing::Is(Status::Left), _) => Refusal::forbidden(&format!("bot is not a member of the {kind} chat")),
            (Standing::Gone, Kind::Private) => Refusal::forbidden("user is deactivated"),
            (Standing::Gone, Kind::Group) => Refusal::forbidden("the group chat was deleted"),
            (Standing::Gone, Kind::Supergroup | Kind::Channel) => Refusal::bad("chat not found"),
            (Standing::Migrated(to), _) => Refusal::migrated(to),
        })
    }

    /// Returns why the bot cannot even look: the server forgets supergroups and channels it is not in.
    pub(super) fn read_refusal(&self) -> Option<Refusal> {
        self.write_refusal()
            .filter(|_| self.kind.has_own_numbers() && self.standing != Standing::Is(Status::Restricted))
    }

    /// Returns the topic a message goes to: of a thread that is named. Groups without topics ignore it, as the server
    /// does.
    pub(super) fn topic(&self, thread: Option<i64>) -> Result<Option<i64>, Refusal> {
        let is_needed = self.kind == Kind::Private || !self.topics.is_empty();
        match thread.filter(|thread| *thread != 0 && is_needed) {
            Some(thread) if thread == GENERAL_TOPIC || !self.topics.contains_key(&thread) => {
                Err(Refusal::bad("message thread not found"))
            }
            thread => Ok(thread),
        }
    }

    /// Returns what a user is here.
    pub(super) fn status(&self, user: i64) -> Status {
        match (user, self.standing) {
            (BOT_ID, Standing::Is(status)) => status,
            (BOT_ID, Standing::Gone | Standing::Migrated(_)) => Status::Left,
            _ if self.kind == Kind::Private && user == self.id => Status::Member,
            _ => self.members.get(&user).map_or(Status::Left, |member| member.status),
        }
    }

    /// Returns who acts where nobody is named: the person of a private chat, an administrator, or somebody.
    pub(super) fn somebody(&self) -> i64 {
        let admin = self.members.values().find(|member| member.status.is_admin());
        if self.kind == Kind::Private { self.id } else { admin.map_or(SOMEBODY, |admin| admin.id) }
    }

    /// Returns the name of a user as members see it.
    pub(super) fn name(&self, user: i64) -> String {
        match self.members.get(&user) {
            _ if user == BOT_ID => BOT_NAME.to_owned(),
            Some(member) => member.name.clone(),
            None if user == self.id => self.title.clone(),
            None => format!("User {user}"),
        }
    }

    /// Returns a user as `User`.
    pub(super) fn user(&self, user: i64) -> Value {
        let mut value = json!({"id": user, "is_bot": user == BOT_ID, "first_name": self.name(user)});
        if user == BOT_ID {
            value["username"] = json!(BOT_USERNAME);
        }
        value
    }

    /// Returns the chat as `Chat`.
    pub(super) fn json(&self) -> Value {
        let mut chat = json!({"id": self.id, "type": self.kind.as_str()});
        chat[if self.kind == Kind::Private { "first_name" } else { "title" }] = json!(self.title);
        if let Some(username) = &self.username {
            chat["username"] = json!(username);
        }
        if !self.topics.is_empty() {
            chat["is_forum"] = json!(true);
        }
        chat
    }

    /// Returns the chat as `ChatFullInfo`, with the fields that every one has.
    pub(super) fn full(&self) -> Value {
        let mut chat = self.json();
        chat["accent_color_id"] = json!(0);
        chat["max_reaction_count"] = json!(11);
        chat["accepted_gift_types"] = json!({"unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false,
            "premium_subscription": false});
        chat
    }
}
