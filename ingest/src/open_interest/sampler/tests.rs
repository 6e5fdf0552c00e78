use super::*;
use crate::exchange::Exchange;

const START: i64 = 1_795_000_020_000;

/// A sampler of one instrument in slots of a minute.
fn sampler(exchange: Exchange, instrument: &str) -> Sampler {
    Sampler::new(exchange.venue(), 60_000, [(instrument.parse().unwrap(), "BTC".parse().unwrap())])
}

fn coins(text: &str) -> Option<Size> {
    Some(Size::Coins(text.to_owned()))
}

fn quote(instrument: &str, second: i64, scope: Scope, size: Option<Size>, mark: Option<&str>) -> Quote {
    let time_ms = Some(START + second * 1_000);
    Quote { instrument: instrument.to_owned(), time_ms, scope, size, mark: mark.map(str::to_owned) }
}

/// Contracts, coins, mark, USD and the second of a sample; nothing; or why not.
type Taken = Result<Option<(String, String, String, String, i64)>, Reason>;

fn take(sampler: &mut Sampler, quote: &Quote) -> Taken {
    take_at(sampler, quote, Receipt::Recorded)
}

fn take_at(sampler: &mut Sampler, quote: &Quote, receipt: Receipt) -> Taken {
    let limits = Limits { offset_ms: 0, retention_ms: 604_800_000 };
    let sample = sampler.take(quote, receipt, limits).map_err(|refusal| refusal.reason)?;
    Ok(sample.map(|sample| {
        let second = (sample.event_time.as_millis() - START) / 1_000;
        let figures = [sample.contracts.to_string(), sample.coins.to_string(), sample.mark_price.to_string()];
        let [contracts, coins, mark] = figures;
        (contracts, coins, mark, sample.notional_usd.to_string(), second)
    }))
}

fn told(figures: [&str; 4], second: i64) -> Taken {
    let [contracts, coins, mark, usd] = figures.map(str::to_owned);
    Ok(Some((contracts, coins, mark, usd, second)))
}

#[test]
fn the_first_value_of_a_slot_is_the_sample() {
    let mut sampler = sampler(Exchange::Bybit, "BTCUSDT");
    let mut at = |second, size| take(&mut sampler, &quote("BTCUSDT", second, Scope::Statement, coins(size), Some("2")));
    assert_eq!(at(10, "100"), told(["100", "100", "2", "200.00"], 10));
    assert_eq!(at(20, "101"), Ok(None));
    assert_eq!(at(70, "102"), told(["102", "102", "2", "204.00"], 70));
    assert_eq!(at(80, "103"), Ok(None));
}

#[test]
fn a_venue_time_that_stands_still_is_no_sample() {
    let mut sampler = sampler(Exchange::Okx, "BTC-USDT-SWAP");
    let stale = quote("BTC-USDT-SWAP", 10, Scope::Statement, coins("100"), Some("2"));
    assert!(take(&mut sampler, &stale).unwrap().is_some());
    assert_eq!(take(&mut sampler, &stale), Err(Reason::Repeated));
    let older = quote("BTC-USDT-SWAP", -100, Scope::Statement, coins("100"), Some("2"));
    assert_eq!(take(&mut sampler, &older), Err(Reason::Repeated));
}

#[test]
fn a_delta_without_the_field_leaves_it_unchanged_and_one_before_a_snapshot_gives_nothing() {
    let mut sampler = sampler(Exchange::Bybit, "BTCUSDT");
    let both = |text: &str| Some(Size::CoinsOfBothSides(text.to_owned()));
    let delta = |second, size, mark| quote("BTCUSDT", second, Scope::Delta, size, mark);
    assert_eq!(take(&mut sampler, &delta(0, coins("7"), Some("2"))), Ok(None));
    let snapshot = quote("BTCUSDT", 1, Scope::Snapshot, coins("100"), Some("2"));
    assert_eq!(take(&mut sampler, &snapshot), told(["100", "100", "2", "200.00"], 1));
    assert_eq!(take(&mut sampler, &delta(2, None, Some("3"))), Ok(None));
    assert_eq!(take(&mut sampler, &delta(60, None, None)), told(["100", "100", "3", "300.00"], 60));
    // Only the figure of both sides changed: half of it is one side.
    assert_eq!(take(&mut sampler, &delta(70, both("210"), None)), Ok(None));
    assert_eq!(take(&mut sampler, &delta(120, None, None)), told(["105", "105", "3", "315.00"], 120));
    sampler.new_socket();
    assert_eq!(take(&mut sampler, &delta(180, coins("7"), None)), Ok(None));
    // A snapshot without the field states nothing of before.
    assert_eq!(take(&mut sampler, &quote("BTCUSDT", 181, Scope::Snapshot, None, Some("3"))), Ok(None));
    assert_eq!(take(&mut sampler, &delta(182, None, None)), Ok(None));
}

#[test]
fn a_figure_that_cannot_be_true_is_refused_and_does_not_leave_the_one_before_in_force() {
    let mut sampler = sampler(Exchange::Bybit, "BTCUSDT");
    take(&mut sampler, &quote("BTCUSDT", 0, Scope::Snapshot, coins("100"), Some("2"))).unwrap();
    for (text, reason) in [
        ("0", Reason::Zero),
        ("-1", Reason::Negative),
        ("1e9", Reason::NotANumber),
        ("99999999999999999", Reason::Absurd),
    ] {
        assert_eq!(take(&mut sampler, &quote("BTCUSDT", 60, Scope::Delta, coins(text), None)), Err(reason), "{text}");
    }
    assert_eq!(take(&mut sampler, &quote("BTCUSDT", 61, Scope::Delta, None, None)), Ok(None));
}

#[test]
fn okx_counts_contracts_and_a_change_of_their_size_shows() {
    let mut sampler = sampler(Exchange::Okx, "BTC-USDT-SWAP");
    let size = |contracts: &str| {
        let (contracts, coins) = (contracts.to_owned(), "22161.1301000000309".to_owned());
        Some(Size::Contracts { contracts, coins, usd: Some("1939251795.54769270396321".to_owned()) })
    };
    let mut at = |second, size, mark| {
        let sample = take(&mut sampler, &quote("BTC-USDT-SWAP", second, Scope::Statement, size, mark));
        sample.map(|sample| sample.map(|(contracts, coins, mark, ..)| (contracts, coins, mark)))
    };
    let sample = |contracts: &str, mark: &str| {
        Ok(Some((contracts.to_owned(), "22161.1301000000309".to_owned(), mark.to_owned())))
    };
    // Without a mark the venue's own USD figure implies one.
    assert_eq!(at(0, size("2216113.01000000309"), None), sample("2216113.01000000309", "87506.9"));
    assert_eq!(at(1, None, Some("87000.5")), Ok(None));
    assert_eq!(at(60, size("2216113.01000000309"), None), sample("2216113.01000000309", "87000.5"));
    // Contracts of a tenth: the same coins.
    assert_eq!(at(120, size("22161130.1000000309"), None), sample("22161130.1000000309", "87000.5"));
}

#[test]
fn a_sample_needs_a_mark_that_is_no_older_than_the_longest_interval() {
    let mut sampler = sampler(Exchange::Binance, "BTCUSDT");
    let name = "BTCUSDT".parse().unwrap();
    let interest = |second| quote("BTCUSDT", second, Scope::Statement, coins("100"), None);
    assert_eq!(take(&mut sampler, &interest(0)), Err(Reason::Unmarked));
    assert_eq!(take(&mut sampler, &quote("BTCUSDT", 1, Scope::Statement, None, Some("2"))), Ok(None));
    assert!(sampler.lacks(&name, plan::slot(EventTime::from_millis(START), 60_000)));
    assert_eq!(take(&mut sampler, &interest(2)), told(["100", "100", "2", "200.00"], 2));
    assert!(!sampler.lacks(&name, plan::slot(EventTime::from_millis(START), 60_000)));
    assert!(sampler.is_marked(&name, EventTime::from_millis(START + 301_000)));
    assert!(!sampler.is_marked(&name, EventTime::from_millis(START + 301_001)));
    assert_eq!(take(&mut sampler, &interest(302)), Err(Reason::Unmarked));
}

#[test]
fn a_live_market_refuses_the_future_and_the_past_and_an_untracked_instrument_is_nothing() {
    let mut sampler = sampler(Exchange::Bybit, "BTCUSDT");
    let receipt = |second: i64| Receipt::Live(ReceivedAt::from_millis(START + second * 1_000));
    let stated = quote("BTCUSDT", 0, Scope::Statement, coins("1"), Some("2"));
    assert_eq!(take_at(&mut sampler, &stated, receipt(-11)), Err(Reason::Future));
    assert_eq!(take_at(&mut sampler, &stated, receipt(604_801)), Err(Reason::Past));
    let timeless = Quote { time_ms: None, ..stated.clone() };
    assert_eq!(take_at(&mut sampler, &timeless, receipt(0)), Err(Reason::NotANumber));
    assert_eq!(
        take_at(&mut sampler, &Quote { instrument: "ETHUSDT".to_owned(), ..stated.clone() }, receipt(0)),
        Ok(None)
    );
    assert!(take_at(&mut sampler, &stated, receipt(-9)).unwrap().is_some());
}
