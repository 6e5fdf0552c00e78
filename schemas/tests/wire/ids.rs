//! Ids pinned, one of each kind. Each is the first 16 bytes of `sha256sum` over the text beside it, in base32.

use schemas::{
    alert::{Alert, Kind, Phase},
    id::Id,
    market::OpenInterest,
    name::Base,
};

use crate::samples;

#[test]
fn the_ids_of_the_facts_never_change() {
    let base: Base = "BTC".parse().unwrap();
    let trigger: Id = "sncdqbxhjgcw7gqf6qdfxkjswe".parse().unwrap();
    let started = Alert::id_of_start(Kind::Cascade, &base, trigger);
    let sample = OpenInterest::id_of(&"okx".parse().unwrap(), &"BTC-USDT-SWAP".parse().unwrap(), 29_398_708);
    for (id, text, pinned) in [
        (
            samples::liquidation().id(),
            "liquidation|bybit|BTCUSDT|1763922488123|Buy|0.015|97123.4|1",
            "sncdqbxhjgcw7gqf6qdfxkjswe",
        ),
        (sample, "open_interest|okx|BTC-USDT-SWAP|29398708", "rtrxsobhyovbkhmbw5jn44jrb4"),
        (samples::alive().id(), "feed|binance|alive|1763922485000", "yacmox4wtlvkzuti5rds3z4ayy"),
        (
            samples::recovered().id(),
            "feed|okx|liquidation|ingest-1|recovered|1763922470000",
            "osk4aftsm4pmzb2looxoaizrtm",
        ),
        (samples::rules().id(), "rules|3|[liquidation.BTC]\nsingle_usd = 100_000\n", "a366bucs3zbml42ce2hohksso4"),
        (samples::canary().id(), "canary|1763922480000", "fn73p2bghadg6wr2b6w6oibv5q"),
        (started, "alert|cascade|BTC|<liquidation>", "hczf243thfqiuo4l3fxbfvtnl4"),
        (
            Alert::id_of_phase(&base, started, Phase::Escalated, Some(4)),
            "alert|cascade|BTC|<started>|escalated|4",
            "szls5hiblkphm3y3ll2qbzz3ry",
        ),
        (
            Alert::id_of_phase(&base, started, Phase::Ended, None),
            "alert|cascade|BTC|<started>|ended",
            "dsbls7nuockuzko2hrmxhdntsu",
        ),
    ] {
        assert_eq!(id.to_string(), pinned, "{text}");
    }
}
