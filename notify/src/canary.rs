//! Canaries: what goes the way of an alert to nobody, so that the way is known to work (`schemas::market::Canary`).

use schemas::{
    delivery::{LedgerEvent, Note, Outcome, Topic, VERSION},
    market::Canary,
};

use crate::{recipient::Recipient, time::WallTime};

/// Returns what is stored in DELIVERIES for a canary that came to ALERTS: a message to nobody, which the outbox sends like any
/// other, with its attempt and its end in the ledger. It has one id whenever it is made.
pub fn intent(canary: &Canary, now: WallTime) -> LedgerEvent {
    let nobody = Recipient::Null;
    LedgerEvent::Note(Note {
        v: VERSION,
        id: canary.id,
        channel: nobody.channel().as_str().to_owned(),
        recipient: nobody.name().to_owned(),
        at: now.as_millis(),
        topic: Topic::Canary { received_at: canary.received_at },
        outcome: Outcome::Intent { text: String::new(), thread: None, reply: false, picture: false },
    })
}

#[cfg(test)]
mod tests {
    use schemas::time::ReceivedAt;

    use super::*;
    use crate::{
        caps::OVERALL_LIMIT,
        decide::Market,
        outbox::{Action, Config, Outbox},
    };

    #[test]
    fn a_canary_goes_through_the_outbox_once() {
        let now = WallTime::from_millis(1_000_000);
        let canary = Canary::new(960_000, ReceivedAt::from_millis(960_004));
        let mut outbox = Outbox::new(Config { market: Market::Live, overall_limit: OVERALL_LIMIT, buttons: false });
        let event = intent(&canary, now);
        outbox.handle_event(&event);
        outbox.handle_event(&event);
        let (mut calls, mut recorded) = (0, Vec::new());
        while let Some(action) = outbox.poll(now) {
            match action {
                Action::Record(event) => {
                    outbox.handle_event(&event);
                    recorded.push(event);
                }
                Action::Send(call) => {
                    assert_eq!(call.to, Recipient::Null);
                    calls += 1;
                    outbox.handle_result(&call, Ok(None), now);
                }
            }
        }
        // The attempt and its end.
        assert_eq!((calls, recorded.len(), outbox.pending()), (1, 2, 0));
        assert!(recorded.iter().all(|event| matches!(event, LedgerEvent::Note(note) if note.id == canary.id)));
        // What comes again after its end is known.
        outbox.handle_event(&event);
        assert_eq!(outbox.poll(now), None);
    }
}
