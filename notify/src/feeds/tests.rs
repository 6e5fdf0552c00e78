use proptest::prelude::*;

use super::*;
use crate::samples::chat;

/// 14:30:00 UTC on a day of 2026, at which the times of tests begin.
const BEGIN: i64 = 1_772_634_600_000;

/// How much later than the venue's time an event is stored.
const DELAY: i64 = 4_000;

const SECOND: i64 = 1_000;

fn received(second: i64) -> WallTime {
    WallTime::from_millis(BEGIN + second * SECOND + DELAY)
}

fn venue_time(second: i64) -> EventTime {
    EventTime::from_millis(BEGIN + second * SECOND)
}

fn venue(name: &str) -> Venue {
    name.parse().unwrap()
}

fn alive(name: &str, second: i64) -> FeedEvent {
    FeedEvent::alive(venue(name), "liquidation", venue_time(second))
}

/// A change that ingest `instance` saw, `gap` seconds after the venue was heard before.
fn change(name: &str, channel: &str, instance: &str, state: FeedState, second: i64, gap: Option<u64>) -> FeedEvent {
    let (at, gap_ms) = (venue_time(second), gap.map(|gap| gap * 1_000));
    FeedEvent::change(venue(name), channel, instance, state, at, gap_ms, at)
}

/// A watch, the events it was given in their order, and what it told.
struct Desk {
    watch: Watch,
    log: Vec<(FeedEvent, WallTime)>,
    told: Vec<Notice>,
}

impl Desk {
    fn new() -> Self {
        Self { watch: Watch::new(Config { grace: Duration::from_secs(60) }), log: Vec::new(), told: Vec::new() }
    }

    fn handle(&mut self, event: FeedEvent, second: i64) {
        self.watch.handle(&event, received(second));
        self.log.push((event, received(second)));
        self.poll(second);
    }

    fn change(&mut self, name: &str, channel: &str, instance: &str, state: FeedState, second: i64) {
        self.handle(change(name, channel, instance, state, second, None), second);
    }

    fn open_interest(&mut self, instance: &str, state: FeedState, second: i64) {
        self.change("okx", "open_interest", instance, state, second);
    }

    /// An `alive` of each of these venues every five seconds.
    fn live(&mut self, names: &[&str], seconds: std::ops::RangeInclusive<i64>) {
        for second in seconds.step_by(5) {
            for name in names {
                self.handle(alive(name, second), second);
            }
        }
    }

    fn poll(&mut self, second: i64) {
        while let Some(notice) = self.watch.poll(received(second)) {
            self.told.push(notice);
        }
    }

    /// Takes what was told since the last call, as first lines.
    fn headlines(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
        told.iter().map(|notice| notice.message.plain().lines().next().unwrap().to_owned()).collect()
    }

    fn texts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told).iter().map(|notice| notice.message.plain()).collect()
    }
}

const ALL_VENUES: [&str; 3] = ["binance", "bybit", "okx"];
const TWO: [&str; 2] = ["binance", "bybit"];
const NOTHING: [&str; 0] = [];

#[test]
fn a_dead_feed_is_told_after_the_grace_and_back_with_its_gap() {
    let mut desk = Desk::new();
    desk.live(&ALL_VENUES, 0..=75);
    desk.change("okx", "liquidation", "a", FeedState::Disconnected, 78);
    desk.live(&TWO, 80..=130);
    assert_eq!(desk.headlines(), NOTHING);
    desk.live(&TWO, 135..=320);
    let dead = "\
🔌 OKX liquidations: no data for 1 minute
since 14:31:15 UTC, reason: disconnected
2 of 3 venues left";
    assert_eq!(desk.texts(), [dead]);
    desk.change("okx", "liquidation", "a", FeedState::Recovered, 312);
    desk.live(&ALL_VENUES, 325..=500);
    let back = "\
✅ OKX liquidations are back
gap 4 min 10 s (14:31:15–14:35:25 UTC)
alerts in between were made without it";
    assert_eq!(desk.texts(), [back]);
}

#[test]
fn a_feed_that_flaps_within_the_grace_is_not_told() {
    let mut desk = Desk::new();
    desk.live(&ALL_VENUES, 0..=60);
    for round in 1..=5 {
        desk.live(&TWO, round * 60..=round * 60 + 50);
        desk.live(&ALL_VENUES, round * 60 + 55..=round * 60 + 60);
    }
    assert_eq!(desk.headlines(), NOTHING);
}

#[test]
fn a_feed_is_live_while_one_ingest_hears_it() {
    let mut desk = Desk::new();
    desk.live(&ALL_VENUES, 0..=10);
    desk.open_interest("a", FeedState::Connected, 11);
    desk.open_interest("b", FeedState::Connected, 12);
    desk.change("okx", "liquidation", "a", FeedState::Disconnected, 13);
    desk.open_interest("a", FeedState::Disconnected, 13);
    desk.live(&ALL_VENUES, 15..=200);
    assert_eq!(desk.headlines(), NOTHING);
    desk.open_interest("b", FeedState::Stale, 201);
    desk.live(&ALL_VENUES, 205..=300);
    let dead = "\
🔌 OKX open interest: no data for 1 minute
since 14:33:21 UTC, reason: silent
0 of 1 venues left";
    assert_eq!(desk.texts(), [dead]);
    desk.open_interest("a", FeedState::Recovered, 301);
    desk.live(&ALL_VENUES, 305..=320);
    assert_eq!(desk.headlines(), ["✅ OKX open interest is back"]);
}

#[test]
fn open_interest_is_back_once_it_was_live_for_ten_seconds() {
    let mut desk = Desk::new();
    desk.live(&TWO, 0..=5);
    desk.open_interest("a", FeedState::Connected, 6);
    desk.open_interest("a", FeedState::Disconnected, 10);
    desk.live(&TWO, 10..=75);
    assert_eq!(desk.headlines(), ["🔌 OKX open interest: no data for 1 minute"]);
    for second in [80, 95, 110] {
        desk.open_interest("a", FeedState::Recovered, second);
        desk.live(&TWO, second..=second + 5);
        desk.open_interest("a", FeedState::Disconnected, second + 7);
        desk.live(&TWO, second + 10..=second + 10);
    }
    assert_eq!(desk.headlines(), NOTHING);
    desk.open_interest("a", FeedState::Recovered, 130);
    desk.live(&TWO, 130..=140);
    let back = "\
✅ OKX open interest is back
gap 2 minutes (14:30:10–14:32:10 UTC)
alerts in between were made without it";
    assert_eq!(desk.texts(), [back]);
}

#[test]
fn open_interest_that_flaps_is_one_outage() {
    let mut desk = Desk::new();
    desk.open_interest("a", FeedState::Disconnected, 0);
    for second in (5..=60).step_by(5) {
        desk.live(&TWO, second..=second);
        let state = if second % 10 == 0 { FeedState::Disconnected } else { FeedState::Recovered };
        desk.open_interest("a", state, second);
    }
    assert_eq!(desk.headlines(), NOTHING);
    desk.live(&TWO, 65..=65);
    assert_eq!(desk.headlines(), ["🔌 OKX open interest: no data for 1 minute"]);
}

#[test]
fn a_venue_that_refuses_is_dead_with_that_reason() {
    let mut desk = Desk::new();
    desk.change("binance", "liquidation", "a", FeedState::Refused, 0);
    desk.live(&["bybit", "okx"], 0..=70);
    let dead = "\
🔌 Binance liquidations: no data for 1 minute
since 14:30:00 UTC, reason: refuses our region (403 or 451)
2 of 3 venues left";
    assert_eq!(desk.texts(), [dead]);
}

#[test]
fn a_venue_without_alives_is_dead_whatever_its_socket_says() {
    let mut desk = Desk::new();
    desk.change("okx", "liquidation", "a", FeedState::Connected, 0);
    for second in (5..=60).step_by(5) {
        desk.live(&TWO, second..=second);
        desk.change("okx", "liquidation", "a", FeedState::Recovered, second);
    }
    let dead = "\
🔌 OKX liquidations: no data for 1 minute
since 14:30:00 UTC, reason: unknown
2 of 3 venues left";
    assert_eq!(desk.watch.poll_timeout(received(60)), Some(received(120)));
    assert_eq!(desk.texts(), [dead]);
}

#[test]
fn the_silence_of_all_venues_is_one_notice_by_the_clock() {
    let mut desk = Desk::new();
    desk.open_interest("a", FeedState::Connected, 0);
    desk.live(&ALL_VENUES, 0..=75);
    desk.open_interest("a", FeedState::Disconnected, 76);
    assert_eq!(desk.watch.poll_timeout(received(76)), Some(received(135)));
    desk.poll(134);
    assert_eq!(desk.headlines(), NOTHING);
    desk.poll(135);
    desk.poll(1_000);
    let dead = "\
🔌 No venue is heard: no data for 1 minute
since 14:31:15 UTC
no reason is told: is ingest running?
no alerts meanwhile";
    assert_eq!(desk.texts(), [dead]);
    assert_eq!(desk.watch.poll_timeout(received(1_000)), None);
    // Venues come back one after the other; each has the grace again.
    desk.live(&["bybit"], 1_000..=1_000);
    let back = "\
✅ Venues are heard again
gap 15 min 25 s (14:31:15–14:46:40 UTC)
what happened in between may be missing";
    assert_eq!(desk.texts(), [back]);
    desk.live(&["bybit"], 1_005..=1_055);
    desk.live(&["okx", "bybit"], 1_058..=1_058);
    assert_eq!(desk.headlines(), NOTHING);
    desk.live(&["okx", "bybit"], 1_060..=1_080);
    assert_eq!(
        desk.headlines(),
        ["🔌 Binance liquidations: no data for 1 minute", "🔌 OKX open interest: no data for 1 minute"]
    );
}

#[test]
fn the_silence_of_all_venues_names_the_reasons_ingest_told() {
    let mut desk = Desk::new();
    desk.live(&TWO, 0..=0);
    desk.change("bybit", "liquidation", "a", FeedState::Stale, 2);
    desk.change("binance", "liquidation", "a", FeedState::Refused, 3);
    desk.poll(60);
    assert_eq!(desk.texts()[0].lines().nth(2), Some("Binance refuses our region (403 or 451), Bybit silent"));
}

#[test]
fn a_short_silence_of_all_venues_is_not_told_and_takes_the_place_of_an_ingest() {
    let mut desk = Desk::new();
    desk.open_interest("old", FeedState::Connected, 0);
    desk.live(&ALL_VENUES, 0..=10);
    desk.open_interest("new", FeedState::Connected, 20);
    desk.live(&ALL_VENUES, 30..=60);
    // The old one, which never said that it lost the feed, does not keep it alive.
    desk.open_interest("new", FeedState::Disconnected, 61);
    desk.live(&ALL_VENUES, 65..=125);
    assert_eq!(desk.headlines(), ["🔌 OKX open interest: no data for 1 minute"]);
}

#[test]
fn losses_in_the_log_are_no_feed() {
    let mut desk = Desk::new();
    desk.handle(change("okx", "log", "a", FeedState::Recovered, 0, Some(90)), 0);
    assert_eq!(desk.watch, Desk::new().watch);
}

#[test]
fn a_return_is_told_after_a_restart_that_saw_no_loss() {
    let mut desk = Desk::new();
    desk.live(&TWO, 0..=0);
    desk.handle(change("okx", "open_interest", "a", FeedState::Recovered, 1, Some(7_200)), 1);
    desk.handle(change("okx", "liquidation", "a", FeedState::Recovered, 1, Some(59)), 1);
    desk.live(&ALL_VENUES, 5..=20);
    assert_eq!(desk.texts().join("\n").lines().nth(1), Some("gap 2 hours (12:30:01–14:30:01 UTC)"));
}

#[test]
fn a_watch_that_is_rebuilt_tells_the_same_under_the_same_ids() {
    let mut desk = Desk::new();
    desk.open_interest("a", FeedState::Connected, 0);
    desk.live(&ALL_VENUES, 0..=60);
    desk.open_interest("a", FeedState::Disconnected, 62);
    desk.live(&TWO, 65..=150);
    desk.poll(300);
    desk.live(&ALL_VENUES, 300..=305);
    desk.open_interest("a", FeedState::Recovered, 306);
    desk.live(&ALL_VENUES, 310..=330);
    assert_eq!(
        desk.told.iter().map(|notice| notice.name).collect::<Vec<_>>(),
        ["feed_dead", "feed_dead", "feed_dead", "feed_back", "feed_back", "feed_back"]
    );

    // Nobody asked it meanwhile.
    let mut rebuilt = Watch::new(Config { grace: Duration::from_secs(60) });
    for (event, received) in &desk.log {
        rebuilt.handle(event, *received);
    }
    let told: Vec<_> = std::iter::from_fn(|| rebuilt.poll(received(330))).collect();
    assert_eq!(told, desk.told);
    assert_eq!(rebuilt, desk.watch);
}

#[test]
fn a_notice_is_a_note_for_each_recipient() {
    let mut desk = Desk::new();
    desk.live(&["okx"], 0..=0);
    desk.poll(60);
    let notice = desk.told.pop().unwrap();
    let recipients = [chat(1), Recipient::Terminal];
    let note = |event: LedgerEvent| match event {
        LedgerEvent::Note(note) => note,
        LedgerEvent::Decision(_) | LedgerEvent::Delivery(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => {
            panic!("it is a note")
        }
    };
    let events = |second| notice.events(&recipients, received(second)).into_iter().map(note).collect::<Vec<_>>();
    let (first, later) = (events(60), events(99));
    let ids = |notes: &[Note]| notes.iter().map(|note| note.id).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&later));
    assert_ne!(first[0].id, first[1].id);
    let expected = Note {
        v: VERSION,
        id: first[1].id,
        channel: "terminal".to_owned(),
        recipient: "local".to_owned(),
        at: received(60).as_millis(),
        topic: Topic::Notice { name: "feed_dead".to_owned() },
        outcome: Outcome::Intent { text: notice.message.plain(), thread: None, reply: false, picture: false },
    };
    assert_eq!(first[1], expected);
    assert_eq!(notice.events(&[], received(60)), []);
}

#[test]
fn everything_is_bounded() {
    let mut watch = Watch::new(Config { grace: Duration::from_secs(60) });
    for number in 0..1_000 {
        let (name, instance) = (format!("venue-{}", number % 100), format!("{number}"));
        watch.handle(
            &change(&name, "open_interest", &instance, FeedState::Disconnected, number, None),
            received(number),
        );
        watch.handle(&alive("venue-0", number * 100), received(number * 100));
    }
    assert_eq!(watch.feeds.len(), FEEDS_MAX);
    assert!(watch.feeds.values().all(|feed| feed.instances.len() <= INSTANCES_MAX));
    assert_eq!(watch.due.len(), NOTICES_MAX);
}

proptest! {
    /// Of each feed, and of all venues together, a death is told before a return, one for one.
    #[test]
    fn deaths_and_returns_alternate(steps in prop::collection::vec((0..3_usize, 0..6_usize, 0..2_usize, 1..40_i64), 1..300)) {
        let states = [FeedState::Connected, FeedState::Disconnected, FeedState::Stale, FeedState::Recovered];
        let mut desk = Desk::new();
        let mut second = 0;
        for (name, what, instance, wait) in steps {
            second += wait;
            let name = ALL_VENUES[name];
            match states.get(what) {
                Some(state) => desk.change(name, "open_interest", ["a", "b"][instance], *state, second),
                None => desk.handle(alive(name, second), second),
            }
        }
        let mut dead: BTreeMap<String, bool> = BTreeMap::new();
        for notice in &desk.told {
            let text = notice.message.plain();
            let of = ["Binance liq", "Bybit liq", "OKX liq", "Binance open", "Bybit open", "OKX open"];
            let of = of.iter().find(|of| text.contains(*of)).unwrap_or(&"all");
            let was_dead = dead.insert((*of).to_owned(), notice.name == "feed_dead").unwrap_or(false);
            prop_assert_eq!(was_dead, notice.name == "feed_back", "{}", text);
        }
        let ids: std::collections::BTreeSet<_> = desk.told.iter().map(|notice| notice.id).collect();
        prop_assert_eq!(ids.len(), desk.told.len());
    }
}
