//! What comes of the same thing when nothing goes wrong.

use std::collections::BTreeMap;

use detect::detector::{Detected, Detector, Output, Start};
use ingest::{exchange::Exchange, normalize::Receipt};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use schemas::{
    alert::{Alert, Finding, Phase},
    id::Id,
    market::MarketEvent,
    time::ReceivedAt,
};

use crate::{
    connection::{Link, deliver, outages},
    feed::Feed,
    frames,
    market::Market,
    streams::Log,
    world::rules,
};

/// One fold of a log from its first message.
pub(crate) fn fold(log: &Log) -> Vec<Detected> {
    let mut detector = Detector::new(Start::Complete);
    let mut alerts = Vec::new();
    for (position, event) in log.events() {
        detector.handle_event(position, event);
        while let Some(output) = detector.poll_output() {
            match output {
                Output::Alert(detected) => alerts.push(*detected),
                Output::RulesRefused { error, .. } => panic!("the rules of the test are valid: {error}"),
            }
        }
    }
    alerts
}

/// Promise (b) of design 4: a recording of one venue, read as a file, and heard by two ingests with duplicates,
/// disconnects, kills, repeats and noise, give equal ids and figures.
///
/// It holds where nothing is lost and the venue's order cannot change on its way into the log. So there is one venue
/// (two of them interleave by their delays), one latency for both connections, no frame is lost on its own, and every
/// publish is acknowledged before the next frame comes: otherwise a fresh socket, which has nothing waiting, would
/// overtake what the other process still holds.
pub(crate) fn promise_b(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let exchange = Exchange::ALL[rng.random_range(0..3)];
    let market = Market::random(&mut rng, &[exchange]);
    let frames = &market.venues[&exchange];

    let mut file = Log::default();
    file.publish(&rules(1));
    let mut normalizer = frames::normalizer(exchange);
    for frame in frames {
        let read = normalizer.frame(&frame.bytes, Receipt::Recorded);
        read.liquidations.into_iter().for_each(|event| file.publish(&MarketEvent::Liquidation(event)));
    }

    let mut heard = Log::default();
    heard.publish(&rules(1));
    let link = Link { ahead_ms: rng.random_range(-800..800), is_steady: true };
    let outages = outages(&mut rng, 2, market.until_ms);
    let mut agenda = BTreeMap::new();
    for (process, outages) in outages.iter().enumerate() {
        let arrivals = deliver(&mut rng, exchange, frames, outages, link);
        agenda.insert((0, process), Feed::new(exchange, format!("ingest-{process}"), arrivals, true));
    }
    while let Some(((at_ms, process), mut feed)) = agenda.pop_first() {
        if let Some(next_ms) = feed.step(&mut rng, &mut heard, at_ms) {
            agenda.insert((next_ms, process), feed);
        }
    }

    assert_eq!(liquidations(&heard), liquidations(&file), "the venue's order");
    let (mut heard, file) = (figures(&heard), figures(&file));
    // A file ends nothing, so an episode may stay open in it.
    heard.retain(|id, alert| file.contains_key(id) || !is_ended(alert));
    assert!(!file.is_empty(), "the market alerts");
    assert_eq!(heard, file, "promise (b)");
}

fn liquidations(log: &Log) -> Vec<Id> {
    let events = log.events().map(|(_, event)| event);
    events.filter(|event| matches!(event, MarketEvent::Liquidation(_))).map(|event| event.id()).collect()
}

/// The alerts by id, without what may differ because the world differed.
fn figures(log: &Log) -> BTreeMap<Id, Alert> {
    let alerts = fold(log).into_iter().map(|Detected { alert, .. }| {
        let plain = Alert { coverage: BTreeMap::new(), received_at: ReceivedAt::unrecorded(alert.event_time), ..alert };
        (plain.id, plain)
    });
    alerts.collect()
}

fn is_ended(alert: &Alert) -> bool {
    match &alert.finding {
        Finding::Cascade(cascade) => cascade.phase == Phase::Ended,
        Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => false,
    }
}
