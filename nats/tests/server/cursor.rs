use nats::{Bus, Cursor, CursorError, Record};
use schemas::{
    position::Sequence,
    subject::{Names, Stream},
};

use crate::support::{Server, alive, liquidation, soon, venue};

async fn open(bus: &Bus, from: u64) -> Cursor {
    soon(Cursor::open(bus, Stream::Market, Sequence::new(from), None)).await.unwrap()
}

async fn next(cursor: &mut Cursor) -> Record {
    soon(cursor.next()).await.unwrap()
}

async fn fill(bus: &Bus, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        bus.publish_event(&liquidation(number, 1_000)).await.unwrap();
    }
}

#[tokio::test]
async fn it_reads_in_order_and_knows_when_it_has_caught_up() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=5).await;
    let mut cursor = open(&bus, 3).await;
    assert_eq!(cursor.pending(), 3);
    let mut seen = Vec::new();
    while let Some(record) = soon(cursor.next_pending()).await.unwrap() {
        seen.push((record.sequence.get(), record.pending));
    }
    assert_eq!(seen, [(3, 2), (4, 1), (5, 0)]);
    fill(&bus, 6..=6).await;
    let record = next(&mut cursor).await;
    assert_eq!((record.sequence.get(), record.subject.as_str()), (6, "market.liquidation.okx.BTC"));
    assert!(record.published_ns > 0);
}

#[tokio::test]
async fn a_filter_leaves_out_the_rest() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=1).await;
    bus.publish_event(&alive(5_000)).await.unwrap();
    let filter = Some(Names::default().feed(&venue()));
    let mut cursor = soon(Cursor::open(&bus, Stream::Market, Sequence::new(1), filter)).await.unwrap();
    assert_eq!(next(&mut cursor).await.sequence, Sequence::new(2));
}

/// The trap of nats.md 2.3: after a restart the client's own ordered consumers replay everything.
#[tokio::test]
async fn idle_at_the_end_it_does_not_go_back_when_the_server_is_killed() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=50).await;
    // One has read everything, the other began at the end and has seen nothing yet.
    let mut reader = open(&bus, 1).await;
    for _ in 0..50 {
        next(&mut reader).await;
    }
    let mut waiting = open(&bus, 51).await;
    server.kill().await;
    server.run();
    let publishing = async { while bus.publish_event(&liquidation(51, 1_000)).await.is_err() {} };
    let ((), read, waited) = tokio::join!(soon(publishing), next(&mut reader), next(&mut waiting));
    assert_eq!((read.sequence.get(), waited.sequence.get()), (51, 51));
}

#[tokio::test]
async fn killed_again_and_again_nothing_is_lost_or_repeated() {
    let Some(mut server) = Server::start() else { return };
    let bus = server.ready().await;
    let mut cursor = open(&bus, 1).await;
    let publisher = bus.clone();
    let publishing = tokio::spawn(async move {
        for number in 1..=600 {
            while publisher.publish_event(&liquidation(number, 1_000)).await.is_err() {}
        }
    });
    for expected in 1..=600 {
        assert_eq!(next(&mut cursor).await.sequence.get(), expected);
        if expected % 200 == 100 {
            server.kill().await;
            server.run();
        }
    }
    soon(publishing).await.unwrap();
    assert_eq!(bus.market_state().await.unwrap().last, Sequence::new(600));
}

#[tokio::test]
async fn a_consumer_that_vanishes_is_rebuilt_in_place() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=3).await;
    let mut cursor = open(&bus, 1).await;
    next(&mut cursor).await;
    let market = server.intruder().await.get_stream("MARKET").await.unwrap();
    let names: Vec<String> = futures_util::TryStreamExt::try_collect(market.consumer_names()).await.unwrap();
    for name in names {
        market.delete_consumer(&name).await.unwrap();
    }
    assert_eq!(next(&mut cursor).await.sequence.get(), 2);
    assert_eq!(next(&mut cursor).await.sequence.get(), 3);
    fill(&bus, 4..=4).await;
    assert_eq!(next(&mut cursor).await.sequence.get(), 4);
}

#[tokio::test]
async fn what_was_trimmed_is_passed_over() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=5).await;
    server.intruder().await.get_stream("MARKET").await.unwrap().purge().sequence(4).await.unwrap();
    let mut cursor = open(&bus, 1).await;
    assert_eq!(next(&mut cursor).await.sequence.get(), 4);
}

#[tokio::test]
async fn another_stream_of_the_same_name_is_an_error() {
    let Some(server) = Server::start() else { return };
    let bus = server.ready().await;
    fill(&bus, 1..=2).await;
    let mut cursor = open(&bus, 1).await;
    let created = cursor.created().unwrap();
    assert_eq!(created, bus.market_state().await.unwrap().created);
    next(&mut cursor).await;
    next(&mut cursor).await;
    server.intruder().await.delete_stream("MARKET").await.unwrap();
    bus.apply_topology().await.unwrap();
    let error = soon(cursor.next()).await.unwrap_err();
    assert!(matches!(error, CursorError::Recreated { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cursor_beyond_the_end_or_of_no_stream_is_an_error() {
    let Some(server) = Server::start() else { return };
    let bus = server.bus().await;
    let missing = soon(Cursor::open(&bus, Stream::Market, Sequence::new(1), None)).await.unwrap_err();
    assert!(matches!(missing, CursorError::NoStream { .. }), "{missing:?}");
    bus.apply_topology().await.unwrap();
    open(&bus, 1).await;
    let beyond = soon(Cursor::open(&bus, Stream::Market, Sequence::new(2), None)).await.unwrap_err();
    assert!(matches!(beyond, CursorError::Truncated { .. }), "{beyond:?}");
}
