//! What one socket has asked for and what was confirmed: pure, so that a refusal of one topic is testable without one.

use std::collections::BTreeSet;

use schemas::name::Instrument;

use crate::{bybit, channel::Channel, exchange::Exchange, okx};

/// Most characters of topics in one Bybit frame. The venue's limit is 21,000 for all `args` (exchanges.md B); quotes and
/// commas are counted in.
const TOPICS_CHARS_MAX: usize = 20_000;

/// The subscriptions of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscriptions {
    exchange: Exchange,
    channel: Channel,
    /// Bybit's topics that were asked for and not refused.
    topics: BTreeSet<String>,
    /// Requests without an answer, oldest first.
    awaited: Vec<Request>,
    requests: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    id: String,
    topics: Vec<String>,
}

impl Subscriptions {
    /// Begins with nothing asked for.
    pub(crate) const fn new(exchange: Exchange, channel: Channel) -> Self {
        Self { exchange, channel, topics: BTreeSet::new(), awaited: Vec::new(), requests: 0 }
    }

    /// Returns the frames that subscribe a fresh socket to the companion and to these instruments.
    pub(crate) fn start(&mut self, instruments: &[Instrument]) -> Vec<String> {
        match self.exchange {
            // Subscribed in the URL, and never confirmed: the companion's data is the proof.
            Exchange::Binance => Vec::new(),
            Exchange::Bybit => {
                let mut frames = self.request(vec![bybit::COMPANION.to_owned()]);
                frames.extend(self.add(instruments));
                frames
            }
            Exchange::Okx if self.channel == Channel::OpenInterest => okx_interest(instruments),
            Exchange::Okx => {
                self.awaited.push(Request { id: okx::LIQUIDATIONS.to_owned(), topics: Vec::new() });
                vec![okx::SUBSCRIBE.to_owned()]
            }
        }
    }

    /// Returns the frames that add instruments to a socket; those it has are left out. Only Bybit subscribes by symbol.
    pub(crate) fn add(&mut self, instruments: &[Instrument]) -> Vec<String> {
        if self.exchange != Exchange::Bybit {
            return Vec::new();
        }
        let prefix = match self.channel {
            Channel::Liquidations => bybit::LIQUIDATIONS,
            Channel::OpenInterest => bybit::TICKERS,
        };
        let topics = instruments.iter().map(|instrument| format!("{prefix}{instrument}"));
        let topics = topics.filter(|topic| !self.topics.contains(topic)).collect();
        self.request(topics)
    }

    /// Returns whether every request was answered.
    pub(crate) const fn is_confirmed(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Takes a confirmation. Where the venue does not repeat the id it belongs to the oldest request; on OKX only the
    /// liquidation channel is waited for, the companions prove themselves.
    pub(crate) fn confirmed(&mut self, id: &str) {
        match self.position(id, None) {
            Some(index) => {
                self.awaited.remove(index);
            }
            None if self.exchange == Exchange::Bybit && !self.awaited.is_empty() => {
                self.awaited.remove(0);
            }
            None => {}
        }
    }

    /// Takes a refusal and returns what to send so that the other topics of its request are not lost: one bad topic
    /// rejects its whole batch (exchanges.md A.2). Where the venue names none, each is asked for on its own.
    pub(crate) fn refused(&mut self, id: &str, topic: Option<&str>) -> Vec<String> {
        if self.exchange != Exchange::Bybit {
            return Vec::new();
        }
        let oldest = (!self.awaited.is_empty()).then_some(0);
        let Some(index) = self.position(id, topic).or(oldest) else {
            return Vec::new();
        };
        let mut topics = self.awaited.remove(index).topics;
        for topic in &topics {
            self.topics.remove(topic);
        }
        match topics.iter().position(|other| Some(other.as_str()) == topic) {
            Some(refused) => {
                topics.remove(refused);
                self.request(topics)
            }
            None if topics.len() > 1 => topics.into_iter().flat_map(|topic| self.request(vec![topic])).collect(),
            None => Vec::new(),
        }
    }

    fn position(&self, id: &str, topic: Option<&str>) -> Option<usize> {
        let by_id = self.awaited.iter().position(|request| request.id == id);
        let holds = |request: &Request| request.topics.iter().any(|other| Some(other.as_str()) == topic);
        by_id.or_else(|| self.awaited.iter().position(holds))
    }

    /// Asks for Bybit topics in frames below the venue's limit.
    fn request(&mut self, topics: Vec<String>) -> Vec<String> {
        let mut frames = Vec::new();
        let mut batch: Vec<String> = Vec::new();
        let mut chars = 0;
        for topic in topics {
            let length = topic.chars().count() + 3;
            if chars + length > TOPICS_CHARS_MAX {
                frames.push(self.frame(std::mem::take(&mut batch)));
                chars = 0;
            }
            chars += length;
            batch.push(topic);
        }
        if !batch.is_empty() {
            frames.push(self.frame(batch));
        }
        frames
    }

    fn frame(&mut self, topics: Vec<String>) -> String {
        self.requests += 1;
        let id = match self.channel {
            Channel::Liquidations => format!("liq-{}", self.requests),
            Channel::OpenInterest => format!("oi-{}", self.requests),
        };
        let frame = serde_json::json!({"req_id": id, "op": "subscribe", "args": topics}).to_string();
        self.topics.extend(topics.iter().cloned());
        self.awaited.push(Request { id, topics });
        frame
    }
}

/// One frame per instrument and channel, so that one refused loses no other; their data is the proof.
fn okx_interest(instruments: &[Instrument]) -> Vec<String> {
    let others = instruments.iter().map(Instrument::as_str).filter(|name| *name != okx::COMPANION);
    let frames = [okx::COMPANION].into_iter().chain(others).flat_map(|instrument| {
        okx::INTEREST.map(|channel| {
            serde_json::json!({"op": "subscribe", "args": [{"channel": channel, "instId": instrument}]}).to_string()
        })
    });
    frames.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruments(names: &[&str]) -> Vec<Instrument> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn args(frame: &str) -> Vec<String> {
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        serde_json::from_value(frame["args"].clone()).unwrap()
    }

    #[test]
    fn one_refused_topic_loses_no_other() {
        let mut subscriptions = Subscriptions::new(Exchange::Bybit, Channel::Liquidations);
        let frames = subscriptions.start(&instruments(&["BTCUSDT", "PEPEUSDT", "ETHUSDT"]));
        assert_eq!(args(&frames[0]), ["tickers.BTCUSDT"]);
        subscriptions.confirmed("liq-1");
        let again = subscriptions.refused("liq-2", Some("allLiquidation.PEPEUSDT"));
        assert_eq!(again.len(), 1);
        assert_eq!(args(&again[0]), ["allLiquidation.BTCUSDT", "allLiquidation.ETHUSDT"]);
        assert!(!subscriptions.is_confirmed());
        subscriptions.confirmed("liq-3");
        assert!(subscriptions.is_confirmed());
    }

    #[test]
    fn an_unnamed_refusal_asks_for_each_topic_on_its_own() {
        let mut subscriptions = Subscriptions::new(Exchange::Bybit, Channel::Liquidations);
        subscriptions.start(&instruments(&["BTCUSDT", "PEPEUSDT"]));
        subscriptions.confirmed("liq-1");
        assert_eq!(subscriptions.refused("", None).len(), 2);
        subscriptions.confirmed("");
        assert_eq!(subscriptions.refused("", None), [""; 0]);
        assert!(subscriptions.is_confirmed());
    }

    #[test]
    fn only_what_is_new_is_added() {
        let mut subscriptions = Subscriptions::new(Exchange::Bybit, Channel::Liquidations);
        subscriptions.start(&instruments(&["BTCUSDT"]));
        let frames = subscriptions.add(&instruments(&["BTCUSDT", "BTCPERP"]));
        assert_eq!(args(&frames[0]), ["allLiquidation.BTCPERP"]);
        assert_eq!(subscriptions.add(&instruments(&["BTCPERP"])), [""; 0]);
    }

    #[test]
    fn all_topics_of_the_venue_stay_below_its_limit() {
        let names: Vec<Instrument> = (0..800).map(|n| format!("SOMELONGCOIN{n}USDT").parse().unwrap()).collect();
        let frames = Subscriptions::new(Exchange::Bybit, Channel::Liquidations).start(&names);
        assert!(frames.iter().all(|frame| frame.len() < 21_000), "{}", frames.len());
        assert_eq!(frames.iter().map(|frame| args(frame).len()).sum::<usize>(), 801);
    }

    #[test]
    fn okx_waits_for_the_liquidation_channel_alone() {
        let mut subscriptions = Subscriptions::new(Exchange::Okx, Channel::Liquidations);
        assert_eq!(subscriptions.start(&[]), [okx::SUBSCRIBE]);
        subscriptions.confirmed("mark-price");
        assert!(!subscriptions.is_confirmed());
        subscriptions.confirmed("liquidation-orders");
        assert!(subscriptions.is_confirmed());
    }

    #[test]
    fn binance_needs_no_request() {
        let mut subscriptions = Subscriptions::new(Exchange::Binance, Channel::Liquidations);
        assert_eq!(subscriptions.start(&[]), [""; 0]);
        assert!(subscriptions.is_confirmed());
    }

    #[test]
    fn open_interest_asks_for_its_own_topics() {
        let mut bybit = Subscriptions::new(Exchange::Bybit, Channel::OpenInterest);
        let frames = bybit.start(&instruments(&["BTCUSDT", "ETHUSDT"]));
        assert_eq!(
            frames.iter().flat_map(|frame| args(frame)).collect::<Vec<_>>(),
            ["tickers.BTCUSDT", "tickers.ETHUSDT"]
        );
        let mut okx = Subscriptions::new(Exchange::Okx, Channel::OpenInterest);
        let frames = okx.start(&instruments(&["ETH-USDT-SWAP"]));
        assert_eq!(frames.len(), 4);
        assert!(frames[3].contains(r#"{"channel":"mark-price","instId":"ETH-USDT-SWAP"}"#), "{}", frames[3]);
        assert!(okx.is_confirmed());
    }
}
