//! A market told sample by sample.

use detect::detector::{Detected, Detector, Output, Start};
use rust_decimal::Decimal;
use schemas::{
    alert::{Finding, OiExplosion},
    amount::{Price, Quantity, Usd},
    market::{Feed, MarketEvent, OpenInterest, Origin, Rules, VERSION},
    name::{Base, Instrument, Venue},
    position::Sequence,
    time::{EventTime, ReceivedAt},
};

/// 15 % within 15 minutes on two venues that hold 1,000,000 USD.
pub(crate) const RULES: &str = "[oi.BTC]\nchange_pct = 15\nwindow = \"15m\"\nmin_usd = 1_000_000\nconfirm = 2\n";

pub(crate) struct Market {
    pub(crate) detector: Detector,
    position: u64,
    version: u64,
    /// USD of a coin.
    pub(crate) mark: i64,
}

impl Market {
    pub(crate) fn begin(start: Start, rules: &str) -> Self {
        let mut market = Self { detector: Detector::new(start), position: 0, version: 0, mark: 1_000 };
        market.rules(rules);
        market
    }

    pub(crate) fn rules(&mut self, text: &str) {
        self.version += 1;
        self.handle(&MarketEvent::Rules(Rules::new(self.version, Origin::Cli, text.to_owned())));
    }

    /// Tells that `okx` is alive at `minute`.
    pub(crate) fn alive(&mut self, minute: i64) {
        let feed = Feed::alive("okx".parse().unwrap(), "liquidation", minute_of(minute));
        self.handle(&MarketEvent::Feed(feed));
    }

    /// Tells one sample a minute of `coins` on each venue, for the minutes given.
    pub(crate) fn steady(&mut self, venues: &[(&str, i64)], minutes: impl IntoIterator<Item = i64>) -> Vec<Detected> {
        let mut alerts = Vec::new();
        for minute in minutes {
            self.alive(minute);
            for (venue, coins) in venues {
                alerts.extend(self.coins(venue, minute, *coins));
            }
        }
        alerts
    }

    /// Tells a sample of a linear contract of one coin.
    pub(crate) fn coins(&mut self, venue: &str, minute: i64, coins: i64) -> Vec<Detected> {
        self.sample(venue, "BTCUSDT", minute, (coins, coins.into(), coins * self.mark))
    }

    /// Tells a sample of (contracts, coins, USD) of an instrument.
    pub(crate) fn sample(
        &mut self,
        venue: &str,
        instrument: &str,
        minute: i64,
        (contracts, coins, usd): (i64, Decimal, i64),
    ) -> Vec<Detected> {
        let (venue, instrument): (Venue, Instrument) = (venue.parse().unwrap(), instrument.parse().unwrap());
        let event_time = minute_of(minute);
        self.handle(&MarketEvent::OpenInterest(OpenInterest {
            v: VERSION,
            id: OpenInterest::id_of(&venue, &instrument, minute),
            venue,
            instrument,
            base: "BTC".parse::<Base>().unwrap(),
            contracts: Quantity::new(contracts.into()).unwrap(),
            coins: Quantity::new(coins).unwrap(),
            mark_price: Price::new(self.mark.into()).unwrap(),
            notional_usd: Usd::from_cents(usd * 100),
            interval_ms: 60_000,
            event_time,
            received_at: ReceivedAt::from_millis(event_time.as_millis() + 40),
        }))
    }

    fn handle(&mut self, event: &MarketEvent) -> Vec<Detected> {
        self.position += 1;
        self.detector.handle_event(Sequence::new(self.position), event);
        let outputs = std::iter::from_fn(|| self.detector.poll_output());
        outputs
            .map(|output| match output {
                Output::Alert(alert) => *alert,
                Output::RulesRefused { error, .. } => panic!("{error}"),
            })
            .collect()
    }
}

pub(crate) fn minute_of(minute: i64) -> EventTime {
    EventTime::from_millis(1_772_634_600_000 + minute * 60_000)
}

/// The explosion of the only alert there is.
pub(crate) fn only(alerts: &[Detected]) -> OiExplosion {
    let [detected] = alerts else { panic!("one alert expected: {alerts:?}") };
    explosion(detected)
}

pub(crate) fn explosion(detected: &Detected) -> OiExplosion {
    match &detected.alert.finding {
        Finding::OiExplosion(explosion) => explosion.clone(),
        Finding::LargeLiquidation(_) | Finding::Cascade(_) => panic!("no explosion: {detected:?}"),
    }
}
