use std::{sync::Arc, time::Duration};

use nats::{
    BacklogLimits, Bus, Config, Limits, Market, Observed, PublisherConfig, PublisherMonitor, PublisherReport,
    RulesVersion, VenuePublisher,
};
use schemas::{
    market::{FeedState, MarketEvent},
    position::{Created, MarketPosition, Sequence},
    subject::Stream,
    wire,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::{
    PATIENCE, Server, alive, connect, contents, liquidation, now_ms, rules, soon, stored_ids, until, venue,
};

struct Running {
    events: mpsc::Sender<Observed>,
    monitor: Arc<PublisherMonitor>,
    shutdown: CancellationToken,
    task: JoinHandle<PublisherReport>,
}

impl Running {
    fn start(bus: &Bus, backlog: BacklogLimits) -> Self {
        let (events, received) = mpsc::channel(16);
        let (monitor, shutdown) = (Arc::new(PublisherMonitor::default()), CancellationToken::new());
        let config = PublisherConfig { instance: "a".to_owned(), backlog, drain: PATIENCE };
        let publisher = VenuePublisher::new(bus.clone(), venue(), config, Arc::clone(&monitor));
        let task = tokio::spawn(publisher.run(received, shutdown.clone()));
        Self { events, monitor, shutdown, task }
    }

    async fn send(&self, event: MarketEvent) {
        soon(self.events.send(Observed { event, backfill: false })).await.unwrap();
    }

    async fn send_backfill(&self, event: MarketEvent) {
        soon(self.events.send(Observed { event, backfill: true })).await.unwrap();
    }

    /// Lets it publish everything and end.
    async fn finish(self) -> PublisherReport {
        drop(self.events);
        soon(self.task).await.unwrap()
    }
}

async fn with_rules(server: &Server, config: Config) -> Bus {
    let bus = connect(Config { servers: server.config().servers, ..config }).await;
    bus.apply_topology().await.unwrap();
    bus.publish_rules(&rules(1), Sequence::new(0)).await.unwrap();
    bus
}

fn ids(events: &[MarketEvent]) -> Vec<String> {
    events.iter().map(|event| event.id().to_string()).collect()
}

const CLEAN: PublisherReport = PublisherReport { unpublished: 0 };

#[tokio::test]
async fn two_publishers_of_one_venue_store_each_event_once_and_in_order() {
    let Some(server) = Server::start() else { return };
    let bus = with_rules(&server, server.config()).await;
    let events: Vec<MarketEvent> = (0..300).map(|number| liquidation(number, now_ms())).collect();
    let publishers =
        [Running::start(&bus, BacklogLimits::PROCESS), Running::start(&server.bus().await, BacklogLimits::PROCESS)];
    let feed = |publisher: Running| {
        let events = events.clone();
        async move {
            for event in events {
                publisher.send(event).await;
            }
            let monitor = Arc::clone(&publisher.monitor);
            assert_eq!(publisher.finish().await, CLEAN);
            monitor.stats()
        }
    };
    let [a, b] = publishers;
    let (a, b) = tokio::join!(feed(a), feed(b));
    assert_eq!(stored_ids(&bus).await, ids(&events));
    assert_eq!((a.stored + b.stored, a.duplicates + b.duplicates), (300, 300));
}

#[tokio::test]
async fn what_came_while_nats_was_away_is_stored_in_order_and_one_sign_of_life_last() {
    let Some(mut server) = Server::start() else { return };
    let bus = with_rules(&server, server.config()).await;
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    let events: Vec<MarketEvent> = (0..20).map(|number| liquidation(number, now_ms())).collect();
    publisher.send(events[0].clone()).await;
    until(|| publisher.monitor.stats().stored == 1).await;
    server.kill().await;
    for (tick, event) in (1..).zip(&events[1..]) {
        publisher.send(event.clone()).await;
        publisher.send(alive(tick * 5_000)).await;
    }
    until(|| publisher.monitor.stats().alives_discarded == 18).await;
    server.run();
    let monitor = Arc::clone(&publisher.monitor);
    assert_eq!(publisher.finish().await, CLEAN);
    assert_eq!(stored_ids(&bus).await, ids(&events));
    let last = contents(&bus, Stream::Market, None).await.pop().unwrap();
    let last: MarketEvent = wire::decode(&last.payload).unwrap();
    assert_eq!(last, alive(19 * 5_000));
    assert_eq!(monitor.stats().dropped, 0);
}

#[tokio::test]
async fn beyond_the_bound_the_oldest_go_and_the_log_tells_of_the_gap() {
    let Some(mut server) = Server::start() else { return };
    let bus = with_rules(&server, server.config()).await;
    let publisher = Running::start(&bus, BacklogLimits { events: 3, bytes: 1_000_000 });
    let start = now_ms();
    let events: Vec<MarketEvent> = (0..10).map(|number| liquidation(number, start + number as i64)).collect();
    publisher.send(events[0].clone()).await;
    until(|| publisher.monitor.stats().stored == 1).await;
    server.kill().await;
    soon(bus.connection().wait_for(|state| *state == nats::Connection::Away)).await.unwrap();
    for event in &events[1..] {
        publisher.send(event.clone()).await;
    }
    // One is in hand, three wait, five are gone.
    until(|| publisher.monitor.stats().dropped == 5).await;
    server.run();
    assert_eq!(publisher.finish().await, CLEAN);
    let expected: Vec<MarketEvent> = [0, 1, 7, 8, 9].into_iter().map(|number| events[number].clone()).collect();
    assert_eq!(stored_ids(&bus).await, ids(&expected));
    let stored = contents(&bus, Stream::Market, None).await;
    // rules, 0, 1, the gap, 7, 8, 9
    let MarketEvent::Feed(gap) = wire::decode(&stored[3].payload).unwrap() else { panic!("{:?}", stored[3]) };
    assert_eq!((gap.channel.as_str(), gap.state, gap.gap_ms), ("log", FeedState::Recovered, Some(4)));
    assert_eq!((gap.since.as_millis(), gap.event_time.as_millis()), (start + 2, start + 6));
    assert_eq!(gap.instance.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_backfill_leaves_out_what_the_server_no_longer_knows_by_id() {
    let Some(server) = Server::start() else { return };
    // The shortest window the server knows (nats.md 1).
    let limits = Limits { duplicate_window: Duration::from_millis(100), ..Limits::DEFAULT };
    let bus = with_rules(&server, Config { limits, ..server.config() }).await;
    let events: Vec<MarketEvent> = (0..20).map(|number| liquidation(number, now_ms())).collect();
    for event in events.iter().step_by(2) {
        bus.publish_event(event).await.unwrap();
    }
    // The dedup window is a matter of time, so time has to pass.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    for event in &events {
        publisher.send_backfill(event.clone()).await;
    }
    let monitor = Arc::clone(&publisher.monitor);
    assert_eq!(publisher.finish().await, CLEAN);
    let mut stored = stored_ids(&bus).await;
    let mut expected = ids(&events);
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
    assert_eq!((monitor.stats().left_out, monitor.stats().stored), (10, 10));
}

#[tokio::test]
async fn an_event_older_than_the_window_is_looked_up_without_being_asked_to() {
    let Some(server) = Server::start() else { return };
    let bus = with_rules(&server, server.config()).await;
    let old = liquidation(1, now_ms() - 150_000);
    bus.publish_event(&old).await.unwrap();
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    publisher.send(old).await;
    publisher.send(liquidation(2, now_ms() - 900_000)).await;
    let monitor = Arc::clone(&publisher.monitor);
    assert_eq!(publisher.finish().await, CLEAN);
    assert_eq!((monitor.stats().left_out, monitor.stats().stored), (1, 1));
}

#[tokio::test]
async fn in_a_recorded_market_everything_is_looked_up_from_the_first_message_on() {
    let Some(server) = Server::start() else { return };
    let limits = Limits { duplicate_window: Duration::from_millis(100), ..Limits::DEFAULT };
    let bus = with_rules(&server, Config { limits, market: Market::Recorded, ..server.config() }).await;
    let events: Vec<MarketEvent> = (0..50).map(|number| liquidation(number, 1_000 + number as i64)).collect();
    for event in &events {
        bus.publish_event(event).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    for event in &events {
        publisher.send(event.clone()).await;
    }
    let monitor = Arc::clone(&publisher.monitor);
    assert_eq!(publisher.finish().await, CLEAN);
    assert_eq!(stored_ids(&bus).await, ids(&events));
    assert_eq!(monitor.stats().left_out, 50);
}

#[tokio::test]
async fn nothing_is_published_before_there_are_rules() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    // What came into force in an earlier MARKET is none of this one.
    let earlier = MarketPosition { created: Created::from_nanos(1), sequence: Sequence::new(1) };
    bus.index_rules(&RulesVersion { rules: rules(1), position: earlier }).await.unwrap();
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    publisher.send(liquidation(1, now_ms())).await;
    until(|| publisher.monitor.stats().backlog_events == 0 && publisher.events.capacity() == 16).await;
    assert_eq!(bus.market_state().await.unwrap().messages, 0);
    bus.publish_rules(&rules(2), Sequence::new(0)).await.unwrap();
    assert_eq!(publisher.finish().await, CLEAN);
    let subjects: Vec<String> =
        contents(&bus, Stream::Market, None).await.into_iter().map(|record| record.subject).collect();
    assert_eq!(subjects, ["market.rules", "market.liquidation.okx.BTC"]);
}

#[tokio::test]
async fn shutdown_empties_the_backlog() {
    let Some(server) = Server::start() else { return };
    let bus = with_rules(&server, server.config()).await;
    let publisher = Running::start(&bus, BacklogLimits::PROCESS);
    let events: Vec<MarketEvent> = (0..16).map(|number| liquidation(number, now_ms())).collect();
    for event in &events {
        publisher.send(event.clone()).await;
    }
    publisher.shutdown.cancel();
    assert_eq!(soon(publisher.task).await.unwrap(), CLEAN);
    assert_eq!(stored_ids(&bus).await, ids(&events));
}
