//! Binance USD-M: one stream of all symbols, with COIN-M merged into it, subscribed in the URL.

use schemas::name::Instrument;

use crate::channel::Channel;

pub(crate) mod interest;
pub(crate) mod message;
pub(crate) mod metadata;
pub(crate) mod parse;

/// Returns the path under the WebSocket base. Subscribed in the URL, so no ack is sent; the unrouted paths of before
/// 2026-04-23 still complete the handshake and then deliver nothing (exchanges.md A.1). Open interest has no stream
/// (C.1): its socket carries the mark prices of `instruments`, whose stream names are in lower case.
pub(crate) fn ws_path(channel: Channel, instruments: &[Instrument]) -> String {
    match channel {
        Channel::Liquidations => format!("/market/stream?streams=!forceOrder@arr/{COMPANION}@markPrice@1s"),
        Channel::OpenInterest => {
            let symbols = instruments.iter().map(|instrument| instrument.as_str().to_lowercase());
            let others = symbols.filter(|symbol| symbol != COMPANION).map(|symbol| {
                let symbol: String = url::form_urlencoded::byte_serialize(symbol.as_bytes()).collect();
                format!("/{symbol}@markPrice@1s")
            });
            format!("/market/stream?streams={COMPANION}@markPrice@1s{}", others.collect::<String>())
        }
    }
}

/// The symbol whose mark price is always busy.
const COMPANION: &str = "btcusdt";

/// Path of the instruments reply under the REST base.
pub(crate) const INSTRUMENTS_PATH: &str = "/fapi/v1/exchangeInfo";

/// Path of the open interest of one symbol under the REST base; the symbol follows.
pub(crate) const OPEN_INTEREST_PATH: &str = "/fapi/v1/openInterest?symbol=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_streams() {
        let instruments = ["BTCUSDT", "ETHUSDT"].map(|name| name.parse().unwrap());
        assert_eq!(
            ws_path(Channel::Liquidations, &instruments),
            "/market/stream?streams=!forceOrder@arr/btcusdt@markPrice@1s"
        );
        assert_eq!(
            ws_path(Channel::OpenInterest, &instruments),
            "/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s"
        );
    }
}
