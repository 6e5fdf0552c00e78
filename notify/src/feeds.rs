//! Which feeds are dead, and what operators are told of it: a fold of the feed events of MARKET.
//!
//! Liquidations are judged by the venue's `alive`s, which are there while any ingest hears the venue, and which begin when
//! a socket was live for 10 s (design 4). Open interest has no such sign and is judged by what each ingest says of it. Other
//! states of a feed of liquidations give the reason. Only a live market has anything to be told.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use schemas::{
    delivery::{LedgerEvent, Note, Outcome, Topic, VERSION},
    id::Id,
    market::{Feed as FeedEvent, FeedState},
    name::Venue,
    time::EventTime,
};

use crate::{
    caps::{FEEDS_MAX, INSTANCES_MAX, NOTICES_MAX},
    recipient::{self, Recipient},
    text::{
        Message,
        feeds::{all_back, all_dead, back, dead},
    },
    time::{WallTime, millis},
};

/// How long open interest must be live before it is told to be back. Flapping below it goes on being one outage.
const STEADY: Duration = Duration::from_secs(10);

/// No ingest runs that was running before a silence of all venues longer than this: a new one writes no `alive` in its
/// first 10 s (design 4), and a running one writes one every 5 s and venue.
const BREAK: Duration = Duration::from_secs(10);

/// What stands in ids for venue and channel where all venues are silent.
const ALL: [&str; 2] = ["all", "all"];

/// What the operator configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a feed is dead before it is told, on the clock of the events' receipt: 20 s to an hour.
    pub grace: Duration,
}

/// A channel of a venue that operators are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    Liquidations,
    OpenInterest,
}

impl Channel {
    /// Returns the channel with this name on the wire; other names are of losses in the log, not of feeds.
    fn of(name: &str) -> Option<Self> {
        [Self::Liquidations, Self::OpenInterest].into_iter().find(|channel| channel.as_str() == name)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Liquidations => "liquidation",
            Self::OpenInterest => "open_interest",
        }
    }
}

/// How long something was not heard, in venue time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) since: EventTime,
    pub(crate) until: EventTime,
}

/// News for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// A function of what happened, in venue time: the same after a restart.
    pub id: Id,
    /// `feed_dead` or `feed_back`.
    pub name: &'static str,
    /// Its text.
    pub message: Message,
}

impl Notice {
    fn dead(feed: [&str; 2], since: EventTime, message: Message) -> Self {
        Self::new("feed_dead", feed, since, message)
    }

    fn back(feed: [&str; 2], from: EventTime, message: Message) -> Self {
        Self::new("feed_back", feed, from, message)
    }

    fn new(name: &'static str, [venue, channel]: [&str; 2], at: EventTime, message: Message) -> Self {
        Self { id: Id::of("notice", &[name, venue, channel, &at.as_millis().to_string()]), name, message }
    }

    /// Returns what is to be stored in DELIVERIES so that each of `recipients` is told; `now` is this host's clock. A note
    /// has the same id whenever it is made for the same notice and recipient: who finds it in the ledger leaves it out.
    pub fn events(&self, recipients: &[Recipient], now: WallTime) -> Vec<LedgerEvent> {
        let note = |recipient: &Recipient| {
            let (channel, name) = (recipient.channel().as_str(), recipient.name());
            let text = match recipient.channel() {
                recipient::Channel::Terminal | recipient::Channel::Null => self.message.plain(),
                recipient::Channel::Telegram => self.message.html(),
            };
            LedgerEvent::Note(Note {
                v: VERSION,
                id: Id::of("note", &[&self.id.to_string(), channel, name]),
                channel: channel.to_owned(),
                recipient: name.to_owned(),
                at: now.as_millis(),
                topic: Topic::Notice { name: self.name.to_owned() },
                outcome: Outcome::Intent { text, thread: None, reply: false, picture: false },
            })
        };
        recipients.iter().map(note).collect()
    }
}

/// Watches the feeds.
///
/// Give each event of `market.feed.>` to [`Self::handle`] in its order, with the time at which it was stored, and take
/// what [`Self::poll`] returns. After a restart the events of the last hour go in first; then come the notices of that
/// hour again, under the same ids. A feed of which that hour holds nothing is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    grace: Duration,
    feeds: BTreeMap<(Venue, Channel), Feed>,
    /// The newest `alive` of any venue, or the first event.
    heard: Option<Moment>,
    /// The end of the last silence of all venues.
    resumed: Option<WallTime>,
    /// The silence of all venues is told.
    told: bool,
    due: VecDeque<Notice>,
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// On the venue's.
    event: EventTime,
    /// On the clock of receipt.
    at: WallTime,
}

/// One channel of one venue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Feed {
    /// What each ingest said of it last, and when.
    instances: BTreeMap<String, (FeedState, WallTime)>,
    /// The last moment it was live; of open interest nothing while it is.
    live_until: Option<Moment>,
    /// Its death is told.
    told: bool,
    /// Since when it is live again, until that is [`STEADY`].
    back: Option<Moment>,
}

impl Watch {
    /// Returns a watch that knows of no feed.
    pub const fn new(config: Config) -> Self {
        let Config { grace } = config;
        Self { grace, feeds: BTreeMap::new(), heard: None, resumed: None, told: false, due: VecDeque::new() }
    }

    /// Handles a feed event that was stored at `received`. Events of other channels than a venue's own are passed over.
    pub fn handle(&mut self, event: &FeedEvent, received: WallTime) {
        self.advance(received);
        let Some(channel) = Channel::of(&event.channel) else { return };
        let key = (event.venue.clone(), channel);
        let is_known = self.feeds.contains_key(&key);
        if !is_known && self.feeds.len() == FEEDS_MAX {
            return;
        }
        self.heard.get_or_insert(Moment { event: event.since, at: received });
        let feed = self.feeds.entry(key).or_default();
        if !is_known {
            feed.begin(channel, event, received, self.grace);
        }
        match event.state {
            FeedState::Alive => self.alive(&event.venue, Moment { event: event.event_time, at: received }),
            FeedState::Connected
            | FeedState::Disconnected
            | FeedState::Stale
            | FeedState::Recovered
            | FeedState::Skewed
            | FeedState::Refused => feed.change(channel, event, received),
        }
    }

    /// Returns the next notice, oldest first; `now` is the clock of receipt.
    pub fn poll(&mut self, now: WallTime) -> Option<Notice> {
        self.advance(now);
        self.due.pop_front()
    }

    /// Returns when [`Self::poll`] has something to return if nothing is heard until then. What a single feed is told of
    /// follows an event.
    pub fn poll_timeout(&self, now: WallTime) -> Option<WallTime> {
        if self.due.is_empty() { self.silent_at() } else { Some(now) }
    }

    fn silent_at(&self) -> Option<WallTime> {
        self.heard.filter(|_| !self.told).map(|heard| heard.at.plus(self.grace))
    }

    /// Tells of the silence of all venues, once.
    fn advance(&mut self, now: WallTime) {
        let Some(heard) = self.heard.filter(|_| self.silent_at().is_some_and(|at| at <= now)) else { return };
        self.told = true;
        let feeds = self.feeds.iter().filter(|((_, channel), _)| *channel == Channel::Liquidations);
        let reasons = feeds.filter_map(|((venue, _), feed)| Some((venue, feed.reason()?)));
        let message = all_dead(self.grace, heard.event, reasons);
        self.push(Notice::dead(ALL, heard.event, message));
    }

    /// Takes a sign of life: of its own venue, and that an ingest runs, so that what others do not hear can be judged.
    fn alive(&mut self, venue: &Venue, now: Moment) {
        if let Some(before) = self.heard.replace(now) {
            let was_told = std::mem::take(&mut self.told);
            if was_told || before.at.until(now.at) > BREAK {
                self.resumed = Some(now.at);
                self.feeds.values_mut().for_each(|feed| feed.forget_live(before.at));
            }
            if was_told {
                let gap = Gap { since: before.event, until: now.event };
                self.push(Notice::back(ALL, now.event, all_back(gap)));
            }
        }
        let key = (venue.clone(), Channel::Liquidations);
        self.end_outage(&key, now.event);
        if let Some(feed) = self.feeds.get_mut(&key) {
            feed.live_until = Some(now);
        }
        self.judge(now.at);
    }

    /// Tells which feeds are dead or back as of `now`.
    fn judge(&mut self, now: WallTime) {
        let back: Vec<_> = self.feeds.iter().filter_map(|(key, feed)| Some((key.clone(), feed.steady(now)?))).collect();
        for (key, since) in back {
            self.end_outage(&key, since);
        }
        let is_dead = |feed: &Feed| feed.dead_at(self.grace, self.resumed).is_some_and(|at| at <= now);
        let dead: Vec<_> = self.feeds.iter().filter(|(_, feed)| is_dead(feed)).map(|(key, _)| key.clone()).collect();
        for key in dead {
            self.tell_dead(&key);
        }
    }

    fn tell_dead(&mut self, key: &(Venue, Channel)) {
        let Some(feed) = self.feeds.get_mut(key) else { return };
        feed.told = true;
        let Some(since) = feed.live_until else { return };
        let reason = feed.reason();
        let of_channel = || self.feeds.iter().filter(|((_, channel), _)| *channel == key.1);
        let left = [of_channel().filter(|(_, feed)| !feed.told).count(), of_channel().count()];
        let message = dead(key, self.grace, since.event, reason, left);
        self.push(Notice::dead([key.0.as_str(), key.1.as_str()], since.event, message));
    }

    fn end_outage(&mut self, key: &(Venue, Channel), until: EventTime) {
        if let Some(since) = self.feeds.get_mut(key).and_then(Feed::end_outage) {
            let message = back(key, Gap { since, until });
            self.push(Notice::back([key.0.as_str(), key.1.as_str()], until, message));
        }
    }

    fn push(&mut self, notice: Notice) {
        if self.due.len() == NOTICES_MAX {
            self.due.pop_front();
        }
        self.due.push_back(notice);
    }
}

impl Feed {
    /// Begins with the first event of the feed that is known: an outage that it ends was told before a restart.
    fn begin(&mut self, channel: Channel, event: &FeedEvent, received: WallTime, grace: Duration) {
        let gap_ms =
            event.gap_ms.and_then(|gap_ms| i64::try_from(gap_ms).ok()).filter(|gap_ms| *gap_ms >= millis(grace));
        self.told = gap_ms.is_some();
        if self.told || channel == Channel::Liquidations {
            let since = event.since.plus_millis(-gap_ms.unwrap_or_default());
            self.live_until = Some(Moment { event: since, at: received });
        }
    }

    /// Takes what an ingest says of the feed.
    fn change(&mut self, channel: Channel, event: &FeedEvent, received: WallTime) {
        let instance = event.instance.clone().unwrap_or_default();
        if self.instances.len() == INSTANCES_MAX && !self.instances.contains_key(&instance) {
            let oldest = self.instances.iter().min_by_key(|(_, (_, at))| *at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.instances.remove(&oldest));
        }
        self.instances.insert(instance, (event.state, received));
        if channel == Channel::Liquidations {
            return;
        }
        let now = Moment { event: event.since, at: received };
        if self.instances.values().any(|(state, _)| is_live(*state)) {
            self.back = self.live_until.map(|_| self.back.unwrap_or(now));
        } else {
            self.back = None;
            self.live_until.get_or_insert(now);
        }
    }

    /// Forgets that ingests said before a silence of all venues that the feed is live: none of them says when it ends.
    fn forget_live(&mut self, before: WallTime) {
        self.instances.retain(|_, (state, at)| !is_live(*state) || *at > before);
    }

    /// Returns when the feed has been dead for `grace`; nothing while it is live, and when that is told. After a silence of
    /// all venues each has the grace again to come back.
    fn dead_at(&self, grace: Duration, resumed: Option<WallTime>) -> Option<WallTime> {
        let live_until = self.live_until.filter(|_| !self.told && self.back.is_none())?;
        Some(resumed.map_or(live_until.at, |resumed| resumed.max(live_until.at)).plus(grace))
    }

    /// Returns since when the feed is live again, once that is [`STEADY`].
    fn steady(&self, now: WallTime) -> Option<EventTime> {
        self.back.filter(|back| back.at.plus(STEADY) <= now).map(|back| back.event)
    }

    /// Ends the outage, and returns since when it was when it was told.
    fn end_outage(&mut self) -> Option<EventTime> {
        self.back = None;
        let since = self.live_until.take()?.event;
        std::mem::take(&mut self.told).then_some(since)
    }

    /// Returns what the last ingest that does not hear the feed said of it.
    fn reason(&self) -> Option<FeedState> {
        let lost = self.instances.values().filter(|(state, _)| !is_live(*state));
        lost.max_by_key(|(_, at)| *at).map(|(state, _)| *state)
    }
}

const fn is_live(state: FeedState) -> bool {
    match state {
        FeedState::Connected | FeedState::Recovered | FeedState::Alive => true,
        FeedState::Disconnected | FeedState::Stale | FeedState::Skewed | FeedState::Refused => false,
    }
}

#[cfg(test)]
mod tests;
