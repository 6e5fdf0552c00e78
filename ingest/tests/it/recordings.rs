//! The recordings beside the checkout: how many events and refusals they hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use flate2::read::GzDecoder;
use ingest::{
    config::{Bases, RETENTION},
    exchange::Exchange,
    instruments::Instruments,
    normalize::{Normalizer, Receipt},
};

/// What a recording holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    events: usize,
    distinct: usize,
    bases: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
}

/// Returns the folder of recordings; where there is none, CI fails and anybody else is told.
fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FORESHOCK_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no recordings in {}", folder.display());
    eprintln!("DID NOT RUN: no recordings in {}; set FORESHOCK_DATA", folder.display());
    None
}

fn tally(file: &str, folder: &std::path::Path, instruments: Instruments) -> Tally {
    let mut normalizer = Normalizer::new(instruments, Bases::All, RETENTION);
    let lines = BufReader::new(GzDecoder::new(File::open(folder.join(file)).unwrap())).lines();
    let mut tally = Tally::default();
    let mut ids = BTreeSet::new();
    for line in lines {
        let frame = normalizer.frame(line.unwrap().as_bytes(), Receipt::Recorded);
        for event in frame.liquidations {
            tally.events += 1;
            tally.distinct += usize::from(ids.insert(event.id));
            *tally.bases.entry(event.base.as_str().to_owned()).or_default() += 1;
        }
        for refusal in frame.refused {
            *tally.refused.entry(refusal.reason.as_str().to_owned()).or_default() += 1;
        }
    }
    tally
}

#[test]
fn the_okx_recording_is_read_whole() {
    let Some(folder) = folder() else { return };
    let reply = std::fs::read(folder.join("okx_instruments.json")).unwrap();
    let instruments = Instruments::from_reply(Exchange::Okx, &reply).unwrap();
    let tally = tally("okx_swap_liquidations_2026-03-04_to_05T06.jsonl.gz", &folder, instruments);
    assert_eq!((tally.bases["BTC"], tally.bases["ETH"], tally.bases["SOL"]), (568, 304, 866));
    // HYPE is without metadata on purpose.
    assert_eq!(tally.refused.keys().collect::<Vec<_>>(), ["unknown_instrument"]);
    assert_eq!(tally.events + tally.refused["unknown_instrument"], 3_100);
}

#[test]
fn the_binance_recording_holds_its_duplicates() {
    let Some(folder) = folder() else { return };
    let instruments = Instruments::by_name(Exchange::Binance).unwrap();
    let tally = tally("binance_usdm_liquidations_2025-01-26_to_02-06.jsonl.gz", &folder, instruments);
    assert_eq!((tally.events, tally.events - tally.distinct, &tally.refused), (3_510, 1_673, &BTreeMap::new()));
}
