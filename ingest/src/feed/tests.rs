use super::*;
use crate::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    monitor::Monitor,
};

/// A feed of Binance in a live market that may write `alive` at once, and what it hands on.
fn feed() -> (Feed, mpsc::Receiver<Observation>) {
    let (output, observations) = mpsc::channel(1_000);
    let instruments = Instruments::by_name(Exchange::Binance).unwrap();
    let wiring = Wiring {
        instance: "a".to_owned(),
        market: Market::Live,
        alive_after: Duration::ZERO,
        output,
        collector: None,
        monitor: Monitor::new().venue(Exchange::Binance.venue()),
        clocks: Clocks::default(),
        shutdown: CancellationToken::new(),
    };
    (Feed::new(Normalizer::new(instruments, Bases::All, RETENTION), wiring), observations)
}

/// What was handed on since the last time: states, ticks in seconds after `start_ms`, liquidations as `0`.
fn told(observations: &mut mpsc::Receiver<Observation>, start_ms: i64) -> Vec<(&'static str, i64)> {
    let told = std::iter::from_fn(|| observations.try_recv().ok()).map(|observation| match observation.event {
        MarketEvent::Feed(feed) if feed.state == FeedState::Alive => {
            ("alive", (feed.event_time.as_millis() - start_ms) / 1_000)
        }
        MarketEvent::Feed(feed) => (feed.state.as_str(), 0),
        MarketEvent::Liquidation(_) => ("liquidation", 0),
        MarketEvent::OpenInterest(_) | MarketEvent::Rules(_) | MarketEvent::Canary(_) => ("other", 0),
    });
    told.collect()
}

/// One second of a venue whose clock is off: a mark and a liquidation.
async fn second(feed: &mut Feed, received_ms: i64, ahead_ms: i64) {
    let (time, received_at) = (received_ms + ahead_ms, ReceivedAt::from_millis(received_ms));
    let mark = format!(r#"{{"e":"markPriceUpdate","E":{time}}}"#);
    feed.take(mark.as_bytes(), received_at).await.unwrap();
    let forced = format!(
        r#"{{"e":"forceOrder","E":{time},"o":{{"s":"BTCUSDT","S":"SELL","q":"1","p":"2","ap":"2","z":"1","T":{time}}}}}"#
    );
    feed.take(forced.as_bytes(), received_at).await.unwrap();
    feed.tick().await.unwrap();
}

#[tokio::test]
async fn a_wrong_clock_writes_nothing_until_it_is_back() {
    let (mut feed, mut observations) = feed();
    let start_ms = now().as_millis() / 5_000 * 5_000;
    feed.live().await.unwrap();
    for s in 0..10 {
        second(&mut feed, start_ms + s * 1_000, 0).await;
    }
    let right = told(&mut observations, start_ms);
    assert_eq!(right.iter().filter(|(what, _)| *what == "liquidation").count(), 10);
    assert_eq!(right.iter().filter(|(what, _)| *what == "alive").map(|(_, at)| *at).collect::<Vec<_>>(), [-5, 0, 5]);

    // A minute ahead: refused as future while the median still trusts the clock, then as skewed.
    for s in 10..90 {
        second(&mut feed, start_ms + s * 1_000, 60_000).await;
    }
    assert_eq!(told(&mut observations, start_ms), [("skewed", 0)]);
    let refused = feed.monitor.status().refused.clone();
    assert_eq!(refused.values().sum::<u64>(), 80);
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [Reason::Future, Reason::Skewed]);

    for s in 90..160 {
        second(&mut feed, start_ms + s * 1_000, 0).await;
    }
    let back = told(&mut observations, start_ms);
    assert_eq!(back.first(), Some(&("recovered", 0)));
    let ticks: Vec<_> = back.iter().filter(|(what, _)| *what == "alive").map(|(_, at)| *at).collect();
    assert!(ticks.first().is_some_and(|first| *first > 90), "no tick of the time it was wrong: {ticks:?}");
    assert_eq!(ticks.last(), Some(&155));
    assert!(feed.monitor.status().refused[&Reason::Skewed] > refused[&Reason::Skewed]);
}

#[tokio::test]
async fn a_lost_feed_is_told_once_and_comes_back_with_its_gap() {
    let (mut feed, mut observations) = feed();
    feed.lost(FeedState::Disconnected).await.unwrap();
    feed.live().await.unwrap();
    feed.lost(FeedState::Stale).await.unwrap();
    feed.lost(FeedState::Disconnected).await.unwrap();
    assert!(feed.live().await.unwrap().is_some());
    feed.refused("refuses this region (451)").await.unwrap();
    feed.refused("refuses this region (451)").await.unwrap();
    assert_eq!(told(&mut observations, 0), ["connected", "stale", "recovered", "refused"].map(|state| (state, 0)));
}
