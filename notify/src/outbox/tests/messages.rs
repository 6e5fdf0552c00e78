//! Growing messages, notes, and recipients that change.

use schemas::{
    delivery::{self, Decision, Edit},
    subscriber::{Preferences, Subscriber},
};

use super::*;

fn thread() -> Id {
    Id::of("test", &["episode"])
}

/// The first message of the episode, or a reply to it.
fn told(number: i64, recipient: &Recipient, reply: bool) -> LedgerEvent {
    let text = format!("first {number}");
    let outcome = Outcome::Intent { text, thread: Some(thread()), reply, picture: !reply };
    samples::delivery(&alert(number, Priority::Medium), recipient, outcome)
}

/// The decision about alert `number`, made at `at`, that changes every message but those of `except`.
fn revision(number: i64, at: i64, last: bool, except: &[&str]) -> LedgerEvent {
    let LedgerEvent::Decision(decision) = samples::decision(&alert(number, Priority::Low)) else { unreachable!() };
    let except = except.iter().map(|name| (*name).to_owned()).collect();
    let edit = Edit { thread: thread(), at, text: format!("figures {number}"), last, except };
    LedgerEvent::Decision(Decision { edit: Some(edit), ..decision })
}

fn note(id: &str, topic: Topic, at: i64) -> LedgerEvent {
    LedgerEvent::Note(Note {
        v: delivery::VERSION,
        id: Id::of("test", &[id]),
        channel: "telegram".to_owned(),
        recipient: "1".to_owned(),
        at,
        topic,
        outcome: Outcome::Intent { text: id.to_owned(), thread: None, reply: false, picture: false },
    })
}

fn answer() -> Topic {
    Topic::Answer { update: 1, command: "help".to_owned(), reply_to: Some(77), forum: Some(5) }
}

fn sent(id: i64) -> Result<Option<MessageId>, Failure> {
    Ok(Some(MessageId(id)))
}

impl Desk {
    /// Carries out what is due at these moments; every call succeeds.
    fn carry_out(&mut self, moments: impl IntoIterator<Item = i64>) -> Vec<Call> {
        let mut made = Vec::new();
        for now in moments {
            let calls = self.run(now);
            calls.iter().for_each(|call| self.outbox.handle_result(call, sent(11), at(now)));
            made.extend(calls);
        }
        made
    }
}

/// A desk on which chat 1 has the first message of the episode, as message 10, sent at 0, and its chart at 1000.
fn growing() -> Desk {
    let mut desk = Desk::new([told(1, &chat(1), false)]);
    desk.call(0, sent(10));
    desk.call(1_000, sent(11));
    desk
}

#[test]
fn only_the_newest_revision_is_shown_and_ever_more_seldom() {
    let mut desk = growing();
    desk.store(revision(2, 1_100, false, &[]));
    desk.store(revision(3, 1_200, false, &[]));
    let call = desk.call(3_000, sent(10));
    assert_eq!((text_of(&call), call.number), ("figures 3", 0));
    assert!(matches!(call.what, What::Edit { message: MessageId(10), .. }));
    assert_eq!(desk.outcomes().last(), Some(&(3_000, Outcome::Edited { message_id: 10 })));
    let mut edited = Vec::new();
    let mut now = 3_000;
    for number in 4..8 {
        desk.store(revision(number, now, false, &[]));
        now = desk.outbox.poll_timeout(at(now)).expect("an edit waits").as_millis();
        desk.call(now, sent(10));
        edited.push(now / 1000);
    }
    assert_eq!(edited, [9, 21, 45, 85], "6, 12, 24, 40 s apart");
    // The last one does not wait.
    desk.store(revision(9, 85_100, true, &[]));
    assert_eq!(text_of(&desk.call(86_000, sent(10))), "figures 9");
    assert_eq!(desk.outbox.poll_timeout(at(86_000)), None);
}

#[test]
fn a_text_that_is_shown_already_is_not_shown_again() {
    let mut desk = growing();
    desk.store(revision(2, 1_100, false, &[]));
    desk.call(3_000, sent(10));
    desk.store(revision(2, 3_100, false, &[]));
    assert_eq!(desk.outbox.poll_timeout(at(100_000)), None);
}

#[test]
fn an_edit_waits_for_its_message_and_leaves_out_who_is_not_to_see_it() {
    let mut desk = Desk::new([told(1, &chat(1), false), told(1, &chat(2), false), told(1, &chat(3), false)]);
    let calls = desk.run(0);
    desk.store(revision(2, 100, false, &["3"]));
    assert_eq!(desk.run(100), []);
    for (call, id) in calls.iter().zip(10..) {
        let result = if call.to == chat(2) { Err(Failure::SentIdLost) } else { sent(id) };
        desk.outbox.handle_result(call, result, at(200));
    }
    let edits = desk.carry_out([1_200, 2_400, 3_600, 4_800]);
    let edits: Vec<_> =
        edits.iter().filter(|call| matches!(call.what, What::Edit { .. })).map(|call| &call.to).collect();
    assert_eq!(edits, [&chat(1)], "chat 2's answer was lost, chat 3 is left out");
}

#[test]
fn a_message_that_is_gone_grows_no_more_and_other_failures_are_tried_again() {
    for (failure, after) in [
        (Failure::MessageGone, Some(Outcome::Gone { message_id: 10 })),
        (Failure::Refused(Refusal::Blocked), Some(gave_up("failed:blocked"))),
        (Failure::Unparseable, None),
    ] {
        let mut desk = growing();
        let before = desk.ledger.len();
        desk.store(revision(2, 1_100, false, &[]));
        desk.call(3_000, Err(failure));
        let outcomes = desk.outcomes();
        assert_eq!(outcomes.last().filter(|_| desk.ledger.len() > before + 1).map(|(_, last)| last.clone()), after);
        assert_eq!(desk.outbox.poll_timeout(at(60_000)), None);
    }
    for (failure, again) in
        [(Failure::Ambiguous, 4_000), (Failure::NotSent, 4_000), (Failure::RetryAfter(Duration::from_secs(9)), 12_000)]
    {
        let mut desk = growing();
        desk.store(revision(2, 1_100, false, &[]));
        desk.call(3_000, Err(failure));
        assert_eq!(desk.outbox.poll_timeout(at(3_000)), Some(at(again)));
        assert_eq!(text_of(&desk.call(again, sent(10))), "figures 2");
    }
}

#[test]
fn edits_of_a_former_process_go_on_and_old_ones_are_dropped() {
    let mut desk = growing();
    desk.store(revision(2, 1_100, false, &[]));
    let mut desk = desk.restarted();
    assert_eq!(text_of(&desk.call(3_000, sent(10))), "figures 2");
    desk.store(revision(3, 4_000, false, &[]));
    let mut desk = desk.restarted();
    assert_eq!(desk.run(700_000), []);
    assert_eq!(desk.outbox.poll_timeout(at(700_000)), None);
}

#[test]
fn a_tier_rise_replies_to_the_first_message_once_that_is_there() {
    let mut desk = Desk::new([told(1, &chat(1), false), told(2, &chat(1), true)]);
    let first = desk.call(0, Err(Failure::RetryAfter(Duration::from_secs(5))));
    assert!(matches!(first.what, What::Message { reply_to: None, .. }));
    assert_eq!(text_of(&desk.call(5_000, sent(10))), "first 1");
    let reply = desk.call(6_000, sent(11));
    assert!(matches!(reply.what, What::Message { reply_to: Some(MessageId(10)), .. }), "{reply:?}");
}

#[test]
fn a_chart_follows_its_message_last_of_all_and_only_for_a_minute() {
    let mut desk = Desk::new([told(1, &chat(1), false)]);
    desk.call(0, sent(10));
    desk.store(intent(2, Priority::Low, &chat(1)));
    assert_eq!(text_of(&desk.call(1_000, sent(11))), "<i>2</i>");
    let picture = desk.call(2_000, Err(Failure::Ambiguous));
    assert_eq!(
        picture.what,
        What::Picture { alert: alert(1, Priority::Medium).id, reply_to: Some(MessageId(10)), forum: None }
    );
    assert_eq!(desk.outcomes().len(), 4, "the chart is a note");
    assert!(matches!(desk.ledger.last(), Some(LedgerEvent::Note(Note { outcome: Outcome::Failed { .. }, .. }))));
    assert_eq!(desk.outbox.pending(), 0);

    let mut late = Desk::new([told(1, &chat(1), false)]);
    late.call(0, sent(10));
    assert_eq!(late.run(60_001), []);
    let Some(LedgerEvent::Note(Note { outcome, .. })) = late.ledger.last() else {
        panic!("the chart's end is recorded")
    };
    assert_eq!(*outcome, Outcome::Expired { age_ms: 60_001 });
}

#[test]
fn answers_wait_for_one_place_and_not_for_a_second_and_never_come_twice() {
    let mut desk = Desk::new((2..=40).map(|number| intent(number, Priority::High, &chat(number))));
    assert_eq!(desk.carry_out([0, 0, 0]).len(), BURST);
    desk.store(note("answer", answer(), 0));
    assert_eq!(desk.carry_out([0, 99]), []);
    let calls = desk.run(100);
    calls[1..].iter().for_each(|call| desk.outbox.handle_result(call, sent(1), at(100)));
    let call = calls[0].clone();
    desk.outbox.handle_result(&call, Err(Failure::Ambiguous), at(100));
    while desk.outbox.results.len() + usize::from(desk.outbox.outstanding.is_some()) > 0 {
        desk.run(101);
    }
    let What::Message { reply_to, forum, silent, buttons, .. } = call.what else { panic!("{call:?}") };
    assert_eq!((reply_to, forum, silent, buttons), (Some(MessageId(77)), Some(5), false, None));
    let is_end = |event: &LedgerEvent| matches!(event, LedgerEvent::Note(Note { outcome: Outcome::Failed { .. }, .. }));
    assert!(desk.ledger.iter().any(is_end), "{:?}", desk.ledger.last());
}

#[test]
fn a_digest_makes_no_sound() {
    let topic = Topic::Digest { event_time: schemas::time::EventTime::from_millis(0), held: 2 };
    let mut desk = Desk::new([note("digest", topic, 0)]);
    let call = desk.call(0, sent(1));
    assert!(matches!(call.what, What::Message { silent: true, .. }), "{call:?}");
}

#[test]
fn buttons_stand_under_alerts_and_their_edits_where_somebody_hears_them() {
    let mut desk = growing();
    desk.outbox.config.buttons = true;
    desk.store(revision(2, 1_100, false, &[]));
    let call = desk.call(3_000, sent(10));
    assert!(matches!(call.what, What::Edit { buttons: Some(_), .. }), "{call:?}");
    desk.store(intent(5, Priority::Low, &chat(1)));
    let call = desk.call(4_000, sent(12));
    assert!(matches!(call.what, What::Message { buttons: Some(_), .. }), "{call:?}");
}

fn subscriber(at: i64, standing: Standing) -> Subscriber {
    Subscriber { at, standing, ..samples::subscriber(&chat(1)) }
}

#[test]
fn what_was_decided_before_a_recipient_left_is_not_sent() {
    let mut desk = Desk::new([intent(1, Priority::High, &chat(1))]);
    desk.outbox.handle_subscriber(&subscriber(0, Standing::Unsubscribed));
    assert_eq!(desk.run(1), []);
    assert_eq!(desk.outcomes(), [(1, gave_up("failed:off"))]);
    // What is decided later was decided knowing it: a trial with a shared token.
    let LedgerEvent::Delivery(later) = intent(2, Priority::High, &chat(1)) else { unreachable!() };
    desk.store(LedgerEvent::Delivery(Delivery { at: 5, ..later }));
    assert_eq!(desk.texts(6), ["<i>2</i>"]);
}

#[test]
fn messages_go_to_the_topic_until_that_is_gone() {
    let mut desk = Desk::new([intent(1, Priority::High, &chat(1))]);
    let preferences = Preferences { topic: Some(7), ..Preferences::default() };
    desk.outbox.handle_subscriber(&Subscriber { preferences, ..subscriber(0, Standing::Active) });
    let call = desk.call(0, Err(Failure::TopicGone));
    assert!(matches!(call.what, What::Message { forum: Some(7), .. }));
    let call = desk.call(1_000, sent(1));
    assert!(matches!(call.what, What::Message { forum: None, .. }));
}

#[test]
fn a_moved_group_s_message_goes_on_growing_under_its_new_id() {
    let mut desk = Desk::new([told(1, &chat(-1), false)]);
    desk.call(0, sent(10));
    desk.outbox.handle_subscriber(&Subscriber {
        standing: Standing::Moved { to: "-100".to_owned() },
        ..samples::subscriber(&chat(-1))
    });
    desk.store(revision(2, 2_000, true, &[]));
    let calls = desk.carry_out([3_000, 4_500]);
    assert!(calls.iter().all(|call| call.to == chat(-100)), "{calls:?}");
    assert!(calls.iter().any(|call| matches!(call.what, What::Edit { message: MessageId(10), .. })));
}

#[test]
fn who_is_left_out_of_an_edit_stays_so_under_a_new_id() {
    let mut desk = Desk::new([told(1, &chat(-1), false), told(1, &chat(2), false)]);
    desk.carry_out([0]);
    let moved = Subscriber { standing: Standing::Moved { to: "-100".to_owned() }, ..samples::subscriber(&chat(-1)) };
    desk.outbox.handle_subscriber(&moved);
    desk.run(0);
    let edited = |desk: &mut Desk| {
        let calls = desk.carry_out([3_000, 4_000]);
        let edits = calls.into_iter().filter(|call| matches!(call.what, What::Edit { .. }));
        edits.map(|call| call.to).collect::<Vec<_>>()
    };
    let before = desk.ledger.clone();
    desk.store(revision(2, 1_000, true, &["-1"]));
    assert_eq!(edited(&mut desk), [chat(2)]);

    // A new process reads SUBSCRIBERS first.
    let mut desk = Desk::new([]);
    desk.outbox.handle_subscriber(&moved);
    before.into_iter().for_each(|event| desk.store(event));
    desk.store(revision(2, 1_000, true, &["-1"]));
    assert_eq!(edited(&mut desk), [chat(2)]);
}

#[test]
fn after_a_deleted_message_the_thread_goes_on_in_the_next_one() {
    let mut desk = growing();
    desk.store(revision(2, 1_100, false, &[]));
    desk.call(3_000, Err(Failure::MessageGone));
    desk.store(told(3, &chat(1), false));
    assert!(matches!(desk.call(4_000, sent(20)).what, What::Message { reply_to: None, .. }));
    desk.store(revision(4, 4_100, true, &[]));
    let calls = desk.carry_out([5_000, 6_000, 7_000]);
    let is_edit = |call: &&Call| matches!(call.what, What::Edit { .. });
    let edits: Vec<_> = calls.iter().filter(is_edit).map(|call| (&call.what, text_of(call))).collect();
    assert!(matches!(edits[..], [(What::Edit { message: MessageId(20), .. }, "figures 4")]), "{edits:?}");
}

#[test]
fn an_intent_that_comes_after_its_decision_is_a_late_copy() {
    let mut desk = Desk::new([intent(1, Priority::High, &chat(1))]);
    desk.store(samples::decision(&alert(1, Priority::High)));
    desk.store(intent(1, Priority::High, &chat(2)));
    assert_eq!(desk.outbox.pending(), 1);
}

#[test]
fn two_cascades_of_one_base_do_not_disturb_each_other() {
    let earlier = Id::of("test", &["an earlier episode"]);
    let outcome = Outcome::Intent { text: "earlier".to_owned(), thread: Some(earlier), reply: false, picture: false };
    let mut desk = Desk::new([samples::delivery(&alert(8, Priority::Medium), &chat(1), outcome)]);
    desk.call(0, sent(9));
    desk.store(told(1, &chat(1), false));
    desk.call(1_000, sent(10));
    desk.call(2_000, sent(11));
    desk.store(revision(2, 2_100, true, &[]));
    let call = desk.call(3_000, sent(10));
    assert!(matches!(call.what, What::Edit { message: MessageId(10), .. }), "{call:?}");
    assert_eq!(desk.outbox.poll_timeout(at(100_000)), None, "it is shown");
}
