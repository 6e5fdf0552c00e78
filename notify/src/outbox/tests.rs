use proptest::prelude::*;
use schemas::alert::{Alert, Kind, Priority};

use super::*;
use crate::{
    caps::{BURST, OVERALL_LIMIT},
    failure::{Failure, Refusal},
    recipient::ChatId,
    samples::{self, chat},
};

const fn at(millis: i64) -> WallTime {
    WallTime::from_millis(millis)
}

fn outbox(market: Market) -> Outbox {
    Outbox::new(Config { market, overall_limit: OVERALL_LIMIT, buttons: false })
}

/// The alert number `number` of this priority, of the moment 0.
fn alert(number: i64, priority: Priority) -> Alert {
    let mut alert = samples::alert(Kind::Cascade, "BTC", 0);
    alert.id = Id::of("test", &[&number.to_string()]);
    alert.priority = priority;
    alert
}

fn intent(number: i64, priority: Priority, recipient: &Recipient) -> LedgerEvent {
    samples::delivery(
        &alert(number, priority),
        recipient,
        Outcome::Intent { text: format!("<i>{number}</i>"), thread: None, reply: false, picture: false },
    )
}

/// The text of a message or edit.
fn text_of(call: &Call) -> &str {
    match &call.what {
        What::Message { text, .. } | What::Edit { text, .. } => text.as_str(),
        What::Picture { .. } => "picture",
    }
}

/// An outbox with its ledger: what it records is stored and comes back at once.
struct Desk {
    outbox: Outbox,
    ledger: Vec<LedgerEvent>,
}

impl Desk {
    fn new(events: impl IntoIterator<Item = LedgerEvent>) -> Self {
        let mut desk = Self { outbox: outbox(Market::Live), ledger: Vec::new() };
        events.into_iter().for_each(|event| desk.store(event));
        desk
    }

    fn store(&mut self, event: LedgerEvent) {
        self.outbox.handle_event(&event);
        self.ledger.push(event);
    }

    /// A new process folds the same ledger.
    fn restarted(self) -> Self {
        Self::new(self.ledger)
    }

    /// Carries out everything that is due; the calls are returned.
    fn run(&mut self, now: i64) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some(action) = self.outbox.poll(at(now)) {
            match action {
                Action::Record(event) => self.store(event),
                Action::Send(call) => calls.push(call),
            }
        }
        calls
    }

    fn texts(&mut self, now: i64) -> Vec<String> {
        self.run(now).iter().map(|call| text_of(call).to_owned()).collect()
    }

    /// Runs until the one call that is due, gives it this result, and stores what came of it.
    fn call(&mut self, now: i64, result: Result<Option<MessageId>, Failure>) -> Call {
        let mut calls = self.run(now);
        let call = calls.pop().expect("a call is due");
        assert_eq!(calls, [], "one call is due");
        self.outbox.handle_result(&call, result, at(now));
        match self.outbox.poll(at(now)) {
            Some(Action::Record(event)) => self.store(event),
            Some(Action::Send(call)) => panic!("{call:?} before the result is recorded"),
            None => {}
        }
        call
    }

    /// The outcomes stored after the intents, and when.
    fn outcomes(&self) -> Vec<(i64, Outcome)> {
        self.ledger
            .iter()
            .filter_map(|event| match event {
                LedgerEvent::Delivery(Delivery { outcome: Outcome::Intent { .. }, .. }) | LedgerEvent::Decision(_) => {
                    None
                }
                LedgerEvent::Delivery(delivery) => Some((delivery.at, delivery.outcome.clone())),
                LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
            })
            .collect()
    }
}

/// When an event of a delivery was recorded, and what it says.
fn outcome_of(event: &LedgerEvent) -> (i64, Outcome) {
    match event {
        LedgerEvent::Delivery(Delivery { at, outcome, .. }) | LedgerEvent::Note(Note { at, outcome, .. }) => {
            (*at, outcome.clone())
        }
        LedgerEvent::Decision(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => panic!("{event:?}"),
    }
}

fn attempt(number: u32) -> Outcome {
    Outcome::Attempt { number }
}

fn deferred(reason: &str, wait_ms: u64) -> Outcome {
    Outcome::Deferred { reason: reason.to_owned(), wait_ms, moved_to: None }
}

fn gave_up(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned() }
}

fn one(priority: Priority) -> Desk {
    Desk::new([intent(1, priority, &chat(1))])
}

#[test]
fn what_came_of_an_attempt_that_another_sender_s_followed_is_no_news_unless_it_arrived() {
    for (result, is_news) in [
        (Err(Failure::Ambiguous), false),
        (Err(Failure::NotSent), false),
        (Err(Failure::RetryAfter(Duration::from_secs(5))), false),
        (Err(Failure::SentIdLost), true),
        (Ok(Some(MessageId(42))), true),
    ] {
        let mut desk = one(Priority::High);
        let [call] = desk.run(0).try_into().expect("one call is due");
        let other = |outcome| samples::delivery(&alert(1, Priority::High), &chat(1), outcome);
        desk.store(other(attempt(2)));
        desk.store(other(deferred("unreachable", 2_000)));
        desk.outbox.handle_result(&call, result.clone(), at(1));
        let recorded = desk.outbox.poll(at(1));
        assert_eq!(recorded.is_some(), is_news, "{result:?}: {recorded:?}");
    }
}

#[test]
fn an_attempt_is_recorded_before_the_call() {
    let mut outbox = outbox(Market::Live);
    outbox.handle_event(&intent(1, Priority::Low, &chat(1)));
    let Some(Action::Record(record)) = outbox.poll(at(5)) else { panic!("the attempt comes first") };
    assert_eq!(outcome_of(&record), (5, attempt(1)));
    assert_eq!((outbox.poll(at(5)), outbox.poll_timeout(at(5))), (None, None));
    outbox.handle_event(&record);
    assert_eq!(outbox.poll_timeout(at(5)), Some(at(5)));
    let text = Text::Html("<i>1</i>".to_owned());
    let what = What::Message { text, reply_to: None, forum: None, silent: false, buttons: None };
    let call = Call { to: chat(1), id: alert(1, Priority::Low).id, number: 1, what };
    assert_eq!(outbox.poll(at(5)), Some(Action::Send(call.clone())));
    assert_eq!(outbox.poll(at(5)), None);
    outbox.handle_result(&call, Ok(Some(MessageId(42))), at(9));
    let Some(Action::Record(record)) = outbox.poll(at(9)) else { panic!("the outcome is recorded") };
    assert_eq!(outcome_of(&record), (9, Outcome::Sent { message_id: Some(42) }));
    outbox.handle_event(&record);
    assert_eq!((outbox.poll(at(9)), outbox.poll_timeout(at(9)), outbox.pending()), (None, None, 0));
}

#[test]
fn higher_priorities_go_first_then_the_order_of_the_ledger() {
    let mut desk = Desk::new([
        intent(1, Priority::Low, &Recipient::Terminal),
        intent(2, Priority::Medium, &Recipient::Terminal),
        intent(3, Priority::High, &Recipient::Terminal),
        intent(4, Priority::Medium, &Recipient::Terminal),
    ]);
    let order: Vec<String> = (0..4).map(|_| text_of(&desk.call(0, Ok(None))).to_owned()).collect();
    assert_eq!(order, ["<i>3</i>", "<i>2</i>", "<i>4</i>", "<i>1</i>"]);
}

#[test]
fn a_chat_gets_one_message_a_second_and_the_terminal_any_number() {
    let mut desk = Desk::new((1..=2).map(|number| intent(number, Priority::Low, &chat(1))));
    desk.call(0, Ok(None));
    assert_eq!(desk.texts(999), Vec::<String>::new());
    assert_eq!(desk.outbox.poll_timeout(at(999)), Some(at(1_000)));
    desk.call(1_000, Ok(None));

    let mut desk = Desk::new((1..=50).map(|number| intent(number, Priority::Low, &Recipient::Terminal)));
    for _ in 0..50 {
        desk.call(0, Ok(None));
    }
}

#[test]
fn a_group_gets_twenty_messages_a_minute() {
    let mut desk = Desk::new((1..=21).map(|number| intent(number, Priority::Low, &chat(-1))));
    for second in 0..20 {
        desk.call(second * 1_000, Ok(None));
    }
    assert_eq!(desk.outbox.poll_timeout(at(20_000)), Some(at(60_000)));
    desk.call(60_000, Ok(None));
}

#[test]
fn all_chats_together_get_the_overall_limit_a_second_spread_over_it() {
    let mut desk = Desk::new((1..=70).map(|number| intent(number, Priority::Low, &chat(number))));
    let mut sent = Vec::new();
    let mut now = at(0);
    while sent.len() < 70 {
        for call in desk.run(now.as_millis()) {
            desk.outbox.handle_result(&call, Ok(None), now);
            sent.push(now.as_millis());
        }
        now = desk.outbox.poll_timeout(now).unwrap_or_else(|| now.plus(Duration::from_millis(1))).max(now);
    }
    let within = |from: i64, until: i64| sent.iter().filter(|at| (from..until).contains(*at)).count();
    assert_eq!((within(0, 1_000), within(1_000, 2_000)), (OVERALL_LIMIT, OVERALL_LIMIT));
    assert!((0..2_000).step_by(100).all(|from| within(from, from + 100) == BURST), "{sent:?}");
}

#[test]
fn few_calls_are_under_way_at_once() {
    let mut desk = Desk::new((1..=20).map(|number| intent(number, Priority::Low, &chat(number))));
    let calls: Vec<Call> = (0..10).flat_map(|tenth| desk.run(tenth * 100)).collect();
    assert_eq!(calls.len(), IN_FLIGHT_MAX);
    assert_eq!(desk.outbox.poll_timeout(at(1_000)), None);
    desk.outbox.handle_result(&calls[0], Ok(None), at(1_000));
    assert_eq!(desk.run(1_000).len(), 1);
}

#[test]
fn too_many_requests_hold_that_chat_only() {
    let mut desk = Desk::new([intent(1, Priority::High, &chat(1)), intent(2, Priority::Low, &chat(2))]);
    let calls = desk.run(0);
    desk.outbox.handle_result(&calls[0], Err(Failure::RetryAfter(Duration::from_secs(7))), at(0));
    desk.outbox.handle_result(&calls[1], Ok(None), at(0));
    desk.store(intent(3, Priority::Low, &chat(2)));
    assert_eq!(desk.texts(6_999), ["<i>3</i>"]);
    assert_eq!(desk.outbox.poll_timeout(at(6_999)), Some(at(7_000)));
    assert_eq!(desk.texts(7_000), ["<i>1</i>"]);
    assert!(desk.outcomes().contains(&(0, deferred("rate_limited", 7_000))));
}

#[test]
fn what_was_refused_for_now_is_tried_three_times() {
    let mut desk = one(Priority::Low);
    for now in [0, 1_000, 2_000] {
        desk.call(now, Err(Failure::RetryAfter(Duration::from_secs(1))));
    }
    let expected = [
        (0, attempt(1)),
        (0, deferred("rate_limited", 1_000)),
        (1_000, attempt(2)),
        (1_000, deferred("rate_limited", 1_000)),
        (2_000, attempt(3)),
        (2_000, gave_up("failed:rate_limited")),
    ];
    assert_eq!(desk.outcomes(), expected);
    assert_eq!(desk.outbox.pending(), 0);
}

/// Design 5 allows three attempts at a message; while nobody can be reached none is made.
#[test]
fn while_the_bot_api_is_away_messages_wait_for_as_long_as_they_are_news() {
    let mut desk = one(Priority::Low);
    let mut looks = Vec::new();
    let mut now = 0;
    while now <= 120_000 {
        desk.call(now, Err(Failure::NotSent));
        looks.push(now / 1000);
        now = desk.outbox.poll_timeout(at(now)).expect("it waits").as_millis();
    }
    assert_eq!(looks, [0, 1, 3, 7, 15, 31, 47, 63, 79, 95, 111]);
    assert!(desk.outcomes().contains(&(0, deferred("unreachable", 0))));
    // It is there again; a newer message finds it at once.
    desk.store(samples::delivery(
        &Alert { event_time: schemas::time::EventTime::from_millis(100_000), ..alert(2, Priority::High) },
        &chat(2),
        samples::intent(),
    ));
    let sent = desk.call(127_000, Ok(Some(MessageId(1))));
    assert_eq!(sent.to, chat(2));
    assert_eq!(desk.run(127_000), []);
    assert!(desk.outcomes().contains(&(127_000, Outcome::Expired { age_ms: 127_000 })));
}

#[test]
fn a_wait_and_the_count_of_attempts_survive_a_restart() {
    let mut desk = one(Priority::Low);
    desk.call(0, Err(Failure::RetryAfter(Duration::from_secs(9))));
    let mut desk = desk.restarted();
    assert_eq!(desk.outbox.poll_timeout(at(100)), Some(at(9_000)));
    desk.call(9_000, Ok(None));
    assert_eq!(desk.outcomes()[2..], [(9_000, attempt(2)), (9_000, Outcome::Sent { message_id: None })]);
}

#[test]
fn an_ambiguous_attempt_is_resent_once_and_marked_unless_it_is_low() {
    for priority in [Priority::High, Priority::Medium] {
        let mut desk = one(priority);
        desk.call(0, Err(Failure::Ambiguous));
        assert_eq!(desk.outbox.poll_timeout(at(0)), Some(at(1_000)));
        let again = desk.call(1_000, Err(Failure::Ambiguous));
        assert_eq!(text_of(&again), "<i>1</i>\n<i>(may repeat)</i>");
        let expected = [(0, attempt(1)), (1_000, attempt(2)), (1_000, gave_up("failed:ambiguous"))];
        assert_eq!(desk.outcomes(), expected);
    }
    let mut desk = one(Priority::Low);
    desk.call(0, Err(Failure::Ambiguous));
    assert_eq!(desk.outcomes(), [(0, attempt(1)), (0, gave_up("failed:ambiguous"))]);
}

#[test]
fn a_repeat_that_is_refused_for_now_stays_marked() {
    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::Ambiguous));
    desk.call(1_000, Err(Failure::RetryAfter(Duration::from_secs(2))));
    let third = desk.restarted().call(3_000, Ok(None));
    assert!(text_of(&third).ends_with("<i>(may repeat)</i>"));
}

#[test]
fn where_a_first_copy_is_unknown_the_end_of_its_repeat_says_so() {
    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::Ambiguous));
    desk.call(1_000, Err(Failure::NotSent));
    assert_eq!(desk.run(120_001), []);
    assert_eq!(desk.outcomes().last(), Some(&(120_001, gave_up("failed:ambiguous"))));

    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::Ambiguous));
    desk.call(1_000, Err(Failure::RetryAfter(Duration::from_secs(2))));
    desk.call(3_000, Err(Failure::RetryAfter(Duration::from_secs(2))));
    assert_eq!(desk.outcomes().last(), Some(&(3_000, gave_up("failed:ambiguous"))));

    // A refusal of the recipient is news of its own.
    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::Ambiguous));
    desk.call(1_000, Err(Failure::Refused(Refusal::Blocked)));
    assert_eq!(desk.outcomes().last(), Some(&(1_000, gave_up("failed:blocked"))));
}

#[test]
fn a_crash_between_attempt_and_outcome_is_ambiguous() {
    for (priority, expected) in [
        (Priority::High, vec!["<i>1</i>\n<i>(may repeat)</i>".to_owned()]),
        (Priority::Medium, vec!["<i>1</i>\n<i>(may repeat)</i>".to_owned()]),
        (Priority::Low, vec![]),
    ] {
        let mut desk = one(priority);
        assert_eq!(desk.texts(0), ["<i>1</i>"]);
        let mut desk = desk.restarted();
        assert_eq!(desk.texts(999), Vec::<String>::new());
        assert_eq!(desk.texts(1_000), expected);
        // A second crash: nobody gets a third copy.
        let mut desk = desk.restarted();
        assert_eq!(desk.texts(10_000), Vec::<String>::new());
        assert_eq!(desk.outcomes().last().map(|(_, outcome)| outcome.clone()), Some(gave_up("failed:ambiguous")));
    }
}

#[test]
fn an_old_intent_expires_unless_the_market_is_recorded() {
    let mut desk = one(Priority::High);
    assert_eq!(desk.texts(120_001), Vec::<String>::new());
    assert_eq!(desk.outcomes(), [(120_001, Outcome::Expired { age_ms: 120_001 })]);

    let mut desk = one(Priority::High);
    desk.outbox.config.market = Market::Recorded;
    assert_eq!(desk.texts(120_001), ["<i>1</i>"]);
}

#[test]
fn an_ambiguous_attempt_is_not_repeated_after_its_time_to_live() {
    let mut desk = one(Priority::High);
    assert_eq!(desk.texts(0), ["<i>1</i>"]);
    let mut desk = desk.restarted();
    assert_eq!(desk.texts(120_001), Vec::<String>::new());
    assert_eq!(desk.outcomes(), [(0, attempt(1)), (120_001, gave_up("failed:ambiguous"))]);
}

#[test]
fn permanent_refusals_end_with_their_reason() {
    for (failure, reason) in [
        (Failure::Refused(Refusal::Blocked), "failed:blocked"),
        (Failure::Refused(Refusal::BadRequest), "failed:bad_request"),
    ] {
        let mut desk = one(Priority::High);
        desk.call(0, Err(failure));
        assert_eq!(desk.outcomes(), [(0, attempt(1)), (0, gave_up(reason))]);
    }
    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::SentIdLost));
    assert_eq!(desk.outcomes(), [(0, attempt(1)), (0, Outcome::Sent { message_id: None })]);
}

#[test]
fn a_refused_token_stops_all_chats_for_a_minute() {
    let mut desk = one(Priority::High);
    desk.call(0, Err(Failure::Unauthorized));
    desk.store(intent(2, Priority::High, &chat(2)));
    assert_eq!(desk.texts(59_999), Vec::<String>::new());
    assert_eq!(desk.outbox.poll_timeout(at(59_999)), Some(at(60_000)));
    assert_eq!(desk.texts(60_000), ["<i>1</i>", "<i>2</i>"]);
}

#[test]
fn a_migrated_group_is_written_to_under_its_new_id() {
    let mut desk = Desk::new([intent(1, Priority::Low, &chat(-1)), intent(2, Priority::Low, &chat(-1))]);
    assert_eq!(desk.call(0, Err(Failure::Migrated(ChatId::from_number(-100)))).to, chat(-1));
    assert_eq!(desk.call(1_000, Ok(None)).to, chat(-100));
    let mut desk = desk.restarted();
    assert_eq!(desk.call(3_000, Ok(None)).to, chat(-100));
    // The ledger goes on under the recipient that was decided about.
    let subjects = desk.ledger.iter().filter(|event| format!("{event:?}").contains("recipient: \"-1\""));
    assert_eq!(subjects.count(), desk.ledger.len());
}

#[test]
fn a_text_that_is_not_understood_is_resent_once_as_plain_text() {
    for failure in [Failure::Unparseable, Failure::TooLong] {
        let mut desk = one(Priority::Low);
        desk.call(0, Err(failure.clone()));
        let plain = desk.call(1_000, Err(failure.clone()));
        assert!(matches!(plain.what, What::Message { text: Text::Plain(text), .. } if text == "1"));
        assert_eq!(desk.outcomes().last(), Some(&(1_000, gave_up(&format!("failed:{}", failure.reason())))));
    }
}

#[test]
fn an_intent_stored_twice_is_sent_once() {
    let mut desk = Desk::new([intent(1, Priority::Low, &chat(1)), intent(1, Priority::Low, &chat(1))]);
    desk.call(0, Ok(None));
    desk.store(intent(1, Priority::Low, &chat(1)));
    assert_eq!(desk.texts(5_000), Vec::<String>::new());
}

#[test]
fn at_the_bound_the_oldest_of_the_lowest_priority_is_given_up() {
    let count = i64::try_from(PENDING_MAX).unwrap();
    let mut desk = Desk::new((0..count - 1).map(|number| intent(number, Priority::High, &chat(number % 10 + 1))));
    desk.store(intent(-1, Priority::Low, &chat(1)));
    desk.store(intent(-2, Priority::Low, &chat(2)));
    let Some(Action::Record(record)) = desk.outbox.poll(at(0)) else { panic!("over the bound") };
    assert!(matches!(&record, LedgerEvent::Delivery(given_up) if given_up.alert == alert(-1, Priority::Low).id));
    assert_eq!(outcome_of(&record), (0, gave_up("failed:overflow")));
    desk.store(record);
    assert_eq!(desk.outbox.pending(), PENDING_MAX);
    let Some(Action::Record(record)) = desk.outbox.poll(at(0)) else { panic!("within the bound") };
    assert_eq!(outcome_of(&record), (0, attempt(1)));
}

#[test]
fn channels_of_a_newer_program_are_left_alone() {
    let mut outbox = outbox(Market::Live);
    let LedgerEvent::Delivery(mut delivery) = intent(1, Priority::High, &chat(1)) else { panic!("a delivery") };
    "pigeon".clone_into(&mut delivery.channel);
    outbox.handle_event(&LedgerEvent::Delivery(delivery));
    assert_eq!((outbox.pending(), outbox.poll(at(0))), (0, None));
}

/// What happens to a call.
#[derive(Clone, Debug)]
enum Fate {
    Result(Result<Option<MessageId>, Failure>),
    Crash,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Result(Ok(Some(MessageId(1))))),
        1 => Just(Fate::Result(Err(Failure::NotSent))),
        1 => (1..20_u64).prop_map(|seconds| Fate::Result(Err(Failure::RetryAfter(Duration::from_secs(seconds))))),
        2 => Just(Fate::Result(Err(Failure::Ambiguous))),
        1 => Just(Fate::Result(Err(Failure::Refused(Refusal::Blocked)))),
        1 => Just(Fate::Result(Err(Failure::Unparseable))),
        2 => Just(Fate::Crash),
    ]
}

proptest! {
    /// Whatever happens, every delivery ends, nothing goes out faster than allowed, and a recipient gets at most one copy
    /// that may repeat, none of a low one.
    #[test]
    fn every_delivery_ends_and_repeats_are_few(
        priorities in prop::collection::vec(prop::sample::select(vec![Priority::Low, Priority::Medium, Priority::High]), 1..8),
        fates in prop::collection::vec(fate(), 0..40),
    ) {
        let intents = (1_i64..).zip(&priorities).map(|(number, priority)| intent(number, *priority, &chat(number % 2 + 1)));
        let mut desk = Desk::new(intents);
        let mut fates = fates.into_iter();
        let mut arrived: BTreeMap<Id, Vec<(bool, bool)>> = BTreeMap::new();
        let mut now = 0;
        while desk.outbox.pending() > 0 {
            prop_assert!(now < 1_000_000, "nothing moves");
            let mut calls = VecDeque::from(desk.run(now));
            while let Some(call) = calls.pop_front() {
                let fate = fates.next().unwrap_or(Fate::Result(Ok(None)));
                let may_have = match &fate {
                    Fate::Result(Ok(_) | Err(Failure::Ambiguous)) | Fate::Crash => true,
                    Fate::Result(Err(_)) => false,
                };
                arrived.entry(call.id).or_default().push((may_have, text_of(&call).contains("may repeat")));
                match fate {
                    Fate::Result(result) => desk.outbox.handle_result(&call, result, at(now)),
                    Fate::Crash => {
                        // The other calls under way are lost too.
                        desk = desk.restarted();
                        calls.clear();
                    }
                }
                calls.extend(desk.run(now));
            }
            now = desk.outbox.poll_timeout(at(now)).map_or(now + 1_000, WallTime::as_millis);
        }
        for (number, priority) in (1_i64..).zip(&priorities) {
            let calls = arrived.get(&alert(number, *priority).id).cloned().unwrap_or_default();
            let copies = calls.iter().filter(|(may_have, _)| *may_have).count();
            prop_assert!(copies <= if *priority == Priority::Low { 1 } else { 2 }, "{calls:?}");
            // Whatever follows a copy that may have arrived is marked.
            let mut before = false;
            for (may_have, marked) in calls {
                prop_assert!(marked || !before);
                before |= may_have;
            }
        }
        for recipient in ["1", "2"] {
            let attempts: Vec<i64> = desk.ledger.iter().filter_map(|event| match event {
                LedgerEvent::Delivery(Delivery { recipient: name, outcome: Outcome::Attempt { .. }, at, .. })
                    if name == recipient =>
                {
                    Some(*at)
                }
                LedgerEvent::Delivery(_) | LedgerEvent::Decision(_) | LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => None,
            }).collect();
            prop_assert!(attempts.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{attempts:?}");
        }
    }
}

mod messages;
