//! Whatever a venue sends, reading it gives a frame.

use ingest::{exchange::Exchange, instruments::Page, normalize::Receipt};
use proptest::prelude::*;
use schemas::time::ReceivedAt;

use crate::venues::{FRAMES, normalizer, okx_instruments};

fn read_everywhere(bytes: &[u8]) {
    for exchange in Exchange::ALL {
        let mut normalizer = normalizer(exchange);
        normalizer.frame(bytes, Receipt::Recorded);
        let frame = normalizer.frame(bytes, Receipt::Live(ReceivedAt::from_millis(1_791_594_603_000)));
        for refusal in &frame.refused {
            assert!(!refusal.detail.chars().any(char::is_control), "{refusal:?}");
        }
        // A page of anything is an error or a page.
        let _ = Page::parse(exchange, bytes);
        let _ = ingest::okx::page::parse(bytes, &normalizer, Receipt::Recorded);
    }
}

/// A real frame with some bytes overwritten, a piece cut out, and a piece of another put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let pick = 0..FRAMES.len();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (pick.clone(), pick, edits, cut).prop_map(|(frame, other, edits, (from, to))| {
        let (mut bytes, other) = (FRAMES[frame].1.as_bytes().to_vec(), FRAMES[other].1.as_bytes());
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let from = from.index(bytes.len());
        let to = from + to.index(bytes.len() - from + 1);
        bytes.splice(from..to, other[..to.min(other.len()) - from.min(to.min(other.len()))].iter().copied());
        bytes
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_give_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_everywhere(&bytes);
    }

    #[test]
    fn mutated_frames_give_a_frame(bytes in mutated()) {
        read_everywhere(&bytes);
    }

    #[test]
    fn any_figures_give_an_event_or_a_refusal(price in "[-0-9.eE]{0,40}", quantity in "[-0-9.]{0,40}", time in any::<i64>()) {
        let raw = format!(
            r#"{{"topic":"allLiquidation.BTCUSDT","ts":{time},"data":[{{"T":{time},"s":"BTCUSDT","S":"Buy","v":"{quantity}","p":"{price}"}}]}}"#
        );
        let frame = normalizer(Exchange::Bybit).frame(raw.as_bytes(), Receipt::Recorded);
        prop_assert_eq!(frame.liquidations.len() + frame.refused.len(), 1);
    }
}

#[test]
fn a_reply_cut_anywhere_is_an_error() {
    let reply = okx_instruments();
    for end in 0..reply.len() {
        assert!(Page::parse(Exchange::Okx, &reply.as_bytes()[..end]).is_err(), "{end}");
    }
}
