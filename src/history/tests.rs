use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schemas::{
    alert::{self, Alert, Finding, Kind, LargeLiquidation, Priority},
    delivery::{self, Decision, Delivery, Feedback, LedgerEvent, Outcome},
    id::Id,
    market::{PriceKind, Side},
    name::Base,
    time::{EventTime, ReceivedAt},
};

use super::*;

const CREATED: Created = Created::from_nanos(7);
const EVERYTHING: Range = Range { since: i64::MIN, until: i64::MAX, base: None, kind: None };
const BASES: [&str; 3] = ["BTC", "ETH", "SOL"];

fn base(number: usize) -> Base {
    BASES[number % BASES.len()].parse().unwrap()
}

fn id(number: usize) -> Id {
    Id::of("test", &[&number.to_string()])
}

/// An alert of its own minute, found 400 ms after the venue's time.
fn alert(number: usize) -> Alert {
    let at = EventTime::from_millis(number as i64 * 60_000);
    Alert {
        v: alert::VERSION,
        id: id(number),
        base: base(number),
        priority: Priority::Low,
        rules: id(0),
        trigger: id(0),
        event_time: at,
        received_at: ReceivedAt::from_millis(0),
        window_ms: 30_000,
        coverage: BTreeMap::new(),
        saturated: false,
        finding: Finding::LargeLiquidation(LargeLiquidation {
            venue: "okx".parse().unwrap(),
            instrument: "BTC-USDT-SWAP".parse().unwrap(),
            liquidated: Side::Long,
            quantity: "1".parse().unwrap(),
            price: "100000".parse().unwrap(),
            price_kind: PriceKind::Bankruptcy,
            notional_usd: "100000".parse().unwrap(),
            episode: None,
        }),
    }
}

fn delivery(number: usize, recipient: usize, after_ms: i64, outcome: Outcome) -> LedgerEvent {
    let Alert { id, base, priority, event_time, .. } = alert(number);
    LedgerEvent::Delivery(Delivery {
        v: delivery::VERSION,
        alert: id,
        kind: Kind::LargeLiquidation,
        base,
        priority,
        event_time,
        channel: "telegram".to_owned(),
        recipient: recipient.to_string(),
        at: event_time.as_millis() + after_ms,
        outcome,
    })
}

fn intent() -> Outcome {
    Outcome::Intent { text: "text".to_owned(), thread: None, reply: false, picture: false }
}

fn decision(number: usize, recipients: &[(&str, u32)]) -> LedgerEvent {
    let Alert { id, base, priority, event_time, .. } = alert(number);
    let recipients = recipients.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let kind = Kind::LargeLiquidation;
    LedgerEvent::Decision(Decision {
        v: delivery::VERSION,
        alert: id,
        kind,
        base,
        priority,
        event_time,
        recipients,
        edit: None,
    })
}

fn rating(number: usize, person: usize, useful: bool) -> LedgerEvent {
    LedgerEvent::Feedback(Feedback {
        v: delivery::VERSION,
        alert: id(number),
        channel: "telegram".to_owned(),
        recipient: "1".to_owned(),
        by: id(person),
        useful,
        update: 1,
        at: 1,
    })
}

/// Takes everything in, in pieces of `size`; the first event of the ledger has the place after `before`.
fn fold(model: &mut Model, alerts: &[Alert], ledger: &[LedgerEvent], before: usize, size: usize) {
    let fold = model.fold().unwrap();
    for (number, alert) in (1..).zip(alerts) {
        fold.alert(Sequence::new(number), alert, Some(alert.event_time.as_millis() + 400)).unwrap();
    }
    fold.commit(Source::Alerts, CREATED, Sequence::new(alerts.len() as u64 + 1)).unwrap();
    let mut place = Sequence::new(before as u64 + 1);
    for piece in ledger.chunks(size) {
        let fold = model.fold().unwrap();
        for event in piece {
            fold.ledger(place, event, true).unwrap();
            place = place.next();
        }
        fold.commit(Source::Deliveries, CREATED, place).unwrap();
    }
}

#[test]
fn figures_are_those_of_the_ledger() {
    let sent = Outcome::Sent { message_id: Some(1) };
    let failed = Outcome::Failed { reason: "failed:blocked".to_owned() };
    let ledger = [
        delivery(1, 1, 100, intent()),
        delivery(1, 2, 100, intent()),
        delivery(1, 3, 100, intent()),
        delivery(1, 4, 100, Outcome::Limited { reason: "held:hour".to_owned() }),
        // Too old when it was decided: it was never due.
        delivery(1, 5, 100, Outcome::Expired { age_ms: 1 }),
        decision(1, &[("send", 3), ("held:hour", 1), ("expired", 1)]),
        // A late copy of an intent is none.
        delivery(1, 1, 150, intent()),
        delivery(1, 1, 200, Outcome::Attempt { number: 1 }),
        delivery(1, 1, 900, sent.clone()),
        delivery(1, 2, 300, Outcome::Attempt { number: 1 }),
        delivery(1, 2, 400, Outcome::Deferred { reason: "rate_limited".to_owned(), wait_ms: 1, moved_to: None }),
        delivery(1, 2, 1_500, Outcome::Attempt { number: 2 }),
        delivery(1, 2, 2_000, failed),
        // Two senders may both say how it ended.
        delivery(1, 1, 5_000, sent.clone()),
        delivery(2, 1, 0, intent()),
        decision(2, &[("send", 1)]),
        delivery(2, 1, 700, sent),
        delivery(2, 1, 800, Outcome::Edited { message_id: 1 }),
        rating(1, 1, true),
        rating(1, 2, true),
        rating(1, 1, false),
    ];
    let mut model = Model::in_memory().unwrap();
    fold(&mut model, &[alert(1), alert(2), alert(3)], &ledger, 0, 100);
    let all = model.summary(&EVERYTHING).unwrap();
    assert_eq!((all.alerts, all.began, all.due, all.sent, all.attempts, all.edited), (3, 3, 4, 2, 3, 1));
    assert_eq!(all.not_sent, BTreeMap::from([("failed:blocked".to_owned(), 1)]));
    assert_eq!(all.deferred, BTreeMap::from([("rate_limited".to_owned(), 1)]));
    assert_eq!(
        all.decided,
        BTreeMap::from([("send", 4), ("held:hour", 1), ("expired", 1)].map(|(n, c)| (n.to_owned(), c)))
    );
    assert_eq!((all.rated, all.useful, all.on_the_way()), (2, 1, 1));
    // 700 and 900 ms, each rounded down by less than a thirty-second part.
    assert_eq!(all.accepted_ms, Percentiles { p50: Some(688), p90: Some(896), p99: Some(896) });
    assert_eq!(all.detected_ms.p50, Some(400));

    let of = |number| Range { base: Some(base(number)), ..EVERYTHING };
    assert_eq!(model.summary(&of(1)).unwrap().sent, 1);
    assert_eq!(model.summary(&Range { kind: Some(Kind::Cascade), ..EVERYTHING }).unwrap(), Summary::default());
    assert_eq!(model.summary(&Range { since: 60_001, until: 180_000, ..EVERYTHING }).unwrap().alerts, 1);
    let groups = model.groups(GroupBy::Base, &EVERYTHING).unwrap();
    let groups: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.summary.sent)).collect();
    assert_eq!(groups, [("BTC", 0), ("ETH", 1), ("SOL", 1)]);
    let rows = model.rows(&EVERYTHING, 2).unwrap();
    assert_eq!(rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), [id(2).to_string(), id(3).to_string()]);
    assert_eq!((rows[0].summary.due, rows[1].summary.due), (1, 0));
    assert_eq!(model.groups(GroupBy::Day, &EVERYTHING).unwrap()[0].name, "1970-01-01");
    assert_eq!(model.began(&EVERYTHING).unwrap()[&(base(1), Kind::LargeLiquidation)], 1);
}

#[test]
fn a_stream_of_another_time_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.sqlite");
    let mut model = Model::open(&file).unwrap();
    fold(&mut model, &[alert(1)], &[], 0, 1);
    drop(model);
    let model = Model::open(&file).unwrap();
    assert_eq!(model.next(Source::Alerts, CREATED).unwrap(), Some(Sequence::new(2)));
    assert_eq!(model.next(Source::Alerts, Created::from_nanos(8)).unwrap(), None);
    assert!(!model.is_empty().unwrap());
    model.clear().unwrap();
    assert!(model.is_empty().unwrap());
    assert_eq!(model.summary(&EVERYTHING).unwrap(), Summary::default());
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "this is no database, and long enough to be told from an empty one").unwrap();
    assert!(Model::open(&text).is_err());
}

/// What a notifier stores of an alert for two recipients.
fn told(number: usize) -> Vec<LedgerEvent> {
    vec![
        delivery(number, 1, 0, intent()),
        delivery(number, 2, 0, intent()),
        decision(number, &[("send", 2)]),
        delivery(number, 1, 1, Outcome::Attempt { number: 1 }),
        delivery(number, 1, 700, Outcome::Sent { message_id: Some(1) }),
        delivery(number, 2, 800, Outcome::Failed { reason: "failed:blocked".to_owned() }),
        rating(number, 1, true),
    ]
}

#[test]
fn what_the_streams_hold_no_more_is_forgotten() {
    let ledger: Vec<LedgerEvent> = (0..3).flat_map(told).collect();
    let alerts: Vec<Alert> = (0..3).map(alert).collect();
    let mut kept = Model::in_memory().unwrap();
    fold(&mut kept, &alerts, &ledger, 0, 100);
    // Everything of the first alert goes; of the second what came before its end, and then its rating is left.
    for cut in [0, 7, 10, 13, 14] {
        kept.prune(Sequence::new(1), Sequence::new(cut as u64 + 1)).unwrap();
        let mut anew = Model::in_memory().unwrap();
        fold(&mut anew, &alerts, &ledger[cut..], cut, 100);
        assert_eq!(kept.rows(&EVERYTHING, 9).unwrap(), anew.rows(&EVERYTHING, 9).unwrap(), "{cut}");
    }
    kept.prune(Sequence::new(3), Sequence::new(14)).unwrap();
    assert_eq!(kept.summary(&EVERYTHING).unwrap().alerts, 1);
}

/// Any ledger, also one that no notifier writes.
fn any_ledger() -> impl Strategy<Value = Vec<LedgerEvent>> {
    let outcome = prop_oneof![
        4 => Just(intent()),
        3 => Just(Outcome::Sent { message_id: None }),
        1 => Just(Outcome::Failed { reason: "failed:ambiguous".to_owned() }),
        1 => Just(Outcome::Expired { age_ms: 5 }),
        1 => Just(Outcome::Attempt { number: 1 }),
        1 => Just(Outcome::Limited { reason: "held:rate".to_owned() }),
    ];
    let event = prop_oneof![
        8 => (0..6_usize, 0..4_usize, 0..5_000_i64, outcome).prop_map(|(n, r, after, outcome)| delivery(n, r, after, outcome)),
        1 => (0..6_usize).prop_map(|n| decision(n, &[("send", 2), ("held:rate", 1)])),
        1 => (0..6_usize, 0..3_usize, any::<bool>()).prop_map(|(n, person, useful)| rating(n, person, useful)),
    ];
    prop::collection::vec(event, 0..200)
}

/// Messages due and accepted, counted with a row for each.
fn counted(ledger: &[LedgerEvent]) -> (u64, u64) {
    let (mut decided, mut open, mut due, mut sent) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
    for event in ledger {
        match event {
            LedgerEvent::Decision(decision) => drop(decided.insert(decision.alert)),
            LedgerEvent::Delivery(Delivery { alert, recipient, outcome, .. }) => match outcome {
                Outcome::Intent { .. } => {
                    due += u64::from(!decided.contains(alert) && open.insert((*alert, recipient)))
                }
                Outcome::Sent { .. } => sent += u64::from(open.remove(&(*alert, recipient))),
                Outcome::Failed { .. } | Outcome::Expired { .. } => drop(open.remove(&(*alert, recipient))),
                Outcome::Limited { .. }
                | Outcome::Attempt { .. }
                | Outcome::Deferred { .. }
                | Outcome::Edited { .. }
                | Outcome::Gone { .. } => {}
            },
            LedgerEvent::Note(_) | LedgerEvent::Feedback(_) | LedgerEvent::Update(_) => {}
        }
    }
    (due, sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_history_gone_on_with_is_the_one_made_anew(ledger in any_ledger(), size in 1..50_usize, cut in 0..200_usize) {
        let alerts: Vec<Alert> = (0..6).map(alert).collect();
        let mut whole = Model::in_memory().unwrap();
        fold(&mut whole, &alerts, &ledger, 0, usize::MAX);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.sqlite");
        let cut = cut.min(ledger.len());
        let mut kept = Model::open(&file).unwrap();
        fold(&mut kept, &alerts[..3], &ledger[..cut], 0, size);
        // Not committed: as if it had been killed here.
        let place = Sequence::new(cut as u64 + 1);
        ledger[cut..].iter().for_each(|event| kept.fold().unwrap().ledger(place, event, true).unwrap());
        drop(kept);
        let mut kept = Model::open(&file).unwrap();
        prop_assert!(cut == 0 || kept.next(Source::Deliveries, CREATED).unwrap() == Some(Sequence::new(cut as u64 + 1)));
        fold(&mut kept, &alerts, &ledger[cut..], cut, size);

        prop_assert_eq!(kept.rows(&EVERYTHING, 100).unwrap(), whole.rows(&EVERYTHING, 100).unwrap());
        for by in [GroupBy::Base, GroupBy::Kind, GroupBy::Priority, GroupBy::Day, GroupBy::Hour] {
            prop_assert_eq!(kept.groups(by, &EVERYTHING).unwrap(), whole.groups(by, &EVERYTHING).unwrap());
        }
        let all = whole.summary(&EVERYTHING).unwrap();
        prop_assert_eq!((all.due, all.sent), counted(&ledger));
    }
}
