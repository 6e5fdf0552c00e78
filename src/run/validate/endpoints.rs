//! What stands behind the existing bot's commands, asked as the bot asks (`exchanges.md` F.1).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use url::Url;

use crate::validate::{Call, Endpoint};

/// Longer than the existing service's own 30 s for each venue (`exchanges.md` F.1).
const PATIENCE: Duration = Duration::from_secs(35);

/// The bodies the bot sends; `None` where it only reads.
fn requests() -> [(&'static str, Option<Value>); 7] {
    let analysis = || json!({ "symbol": "BTC-USDT", "timeframe": "15m", "exchange": null });
    [
        ("combined_price", Some(json!({ "symbol": "BTC-USDT", "exchange": null }))),
        ("comprehensive_analysis", Some(analysis())),
        ("volume_spike", Some(analysis())),
        ("multi_oi", Some(json!({ "base_symbol": "BTC" }))),
        ("cvd", Some(analysis())),
        ("market_profile", Some(json!({ "symbol": "BTC", "exchange": "binance" }))),
        ("health", None),
    ]
}

/// Asks each endpoint below `url` as often as `rounds` says, one call after the other: nobody else shall notice.
pub(super) async fn ask(url: &Url, rounds: u32) -> anyhow::Result<BTreeMap<String, Endpoint>> {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().context("no HTTP client")?;
    let mut calls: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for _ in 0..rounds {
        for (name, body) in requests() {
            let mut at = url.clone();
            at.path_segments_mut()
                .map_err(|()| anyhow::anyhow!("{url} is no address of a service"))?
                .pop_if_empty()
                .push(name);
            let request = match &body {
                Some(body) => client.post(at).json(body),
                None => client.get(at),
            };
            calls.entry(name).or_default().push(call(request).await);
        }
    }
    Ok(calls.into_iter().map(|(name, calls)| (format!("/{name}"), Endpoint::of(&calls))).collect())
}

/// What is not JSON counts as a string: its text may change, that it is one may not.
async fn call(request: reqwest::RequestBuilder) -> Call {
    let began = Instant::now();
    let answer = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok::<_, reqwest::Error>((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    };
    let answer = answer.await.ok();
    (answer, began.elapsed().as_secs_f64() * 1000.0)
}
