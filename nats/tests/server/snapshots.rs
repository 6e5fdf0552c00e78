use nats::{Bus, SaveOutcome, SnapshotHead};
use schemas::{id::Id, position::Sequence};

use crate::support::{Server, liquidation};

/// A state of several chunks that is different for every position.
fn state(position: u64) -> Vec<u8> {
    (0..120_000u64).map(|index| ((index * 31 + position) % 251) as u8).collect()
}

async fn head(bus: &Bus, position: u64) -> SnapshotHead {
    let id_at_position = liquidation(usize::try_from(position).unwrap(), 1_000).id();
    let created = bus.market_state().await.unwrap().created;
    SnapshotHead { code: "code-1".to_owned(), created, position: Sequence::new(position), id_at_position }
}

async fn filled(server: &Server) -> Bus {
    let bus = server.ready().await;
    for number in 1..=9 {
        bus.publish_event(&liquidation(number, 1_000)).await.unwrap();
    }
    bus
}

async fn save(bus: &Bus, position: u64) -> SaveOutcome {
    bus.save_snapshot(&head(bus, position).await, &state(position)).await.unwrap()
}

async fn load(bus: &Bus) -> Option<(u64, Vec<u8>)> {
    let created = bus.market_state().await.unwrap().created;
    let loaded = bus.load_snapshot("code-1", created).await.unwrap();
    loaded.map(|(head, state)| (head.position.get(), state))
}

#[tokio::test]
async fn what_was_saved_is_loaded_and_a_smaller_position_never_replaces_it() {
    let Some(server) = Server::start() else { return };
    let bus = filled(&server).await;
    assert_eq!(load(&bus).await, None);
    assert_eq!(save(&bus, 5).await, SaveOutcome::Saved);
    assert_eq!(load(&bus).await, Some((5, state(5))));
    assert_eq!(save(&bus, 4).await, SaveOutcome::Superseded);
    assert_eq!(save(&bus, 5).await, SaveOutcome::Superseded);
    assert_eq!(save(&bus, 6).await, SaveOutcome::Saved);
    assert_eq!(load(&bus).await, Some((6, state(6))));
    let created = bus.market_state().await.unwrap().created;
    assert_eq!(bus.load_snapshot("code-2", created).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_savers_at_once_the_one_that_is_furthest_wins() {
    let Some(server) = Server::start() else { return };
    let bus = filled(&server).await;
    let other = server.bus().await;
    let (a, b, c) = tokio::join!(save(&bus, 3), save(&other, 7), save(&bus, 5));
    assert_eq!(b, SaveOutcome::Saved, "{a:?} {c:?}");
    assert_eq!(load(&bus).await, Some((7, state(7))));
}

#[tokio::test]
async fn only_the_chunks_of_the_last_two_positions_stay() {
    let Some(server) = Server::start() else { return };
    let bus = filled(&server).await;
    for position in [3, 5, 7] {
        save(&bus, position).await;
    }
    let stream = server.intruder().await.get_stream("KV_STATE").await.unwrap();
    // Three chunks of two positions, and the head.
    assert_eq!(stream.cached_info().state.messages, 7);
}

#[tokio::test]
async fn a_missing_or_damaged_chunk_makes_a_snapshot_useless() {
    let Some(server) = Server::start() else { return };
    let bus = filled(&server).await;
    let head = head(&bus, 5).await;
    let jetstream = server.intruder().await;
    let chunk = format!("$KV.STATE.chunk.code-1.{}.5.1", head.created.as_nanos());
    save(&bus, 5).await;
    jetstream.publish(chunk.clone(), "damaged".into()).await.unwrap().await.unwrap();
    assert_eq!(load(&bus).await, None);
    jetstream.get_stream("KV_STATE").await.unwrap().purge().filter(chunk).await.unwrap();
    assert_eq!(load(&bus).await, None);
}

#[tokio::test]
async fn a_snapshot_that_does_not_match_the_log_is_not_used_and_may_be_replaced() {
    let Some(server) = Server::start() else { return };
    let bus = filled(&server).await;
    let wrong = SnapshotHead { id_at_position: Id::of("test", &[]), ..head(&bus, 8).await };
    assert_eq!(bus.save_snapshot(&wrong, &state(8)).await.unwrap(), SaveOutcome::Saved);
    assert_eq!(load(&bus).await, None);
    assert_eq!(save(&bus, 2).await, SaveOutcome::Saved);
    assert_eq!(load(&bus).await, Some((2, state(2))));
    let beyond = SnapshotHead { position: Sequence::new(99), ..head(&bus, 9).await };
    assert_eq!(bus.save_snapshot(&beyond, &state(9)).await.unwrap(), SaveOutcome::Saved);
    assert_eq!(load(&bus).await, None);
}
