//! What OKX still tells over REST of the liquidations it has published.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Value, json};

/// Liquidations kept; the oldest go first. The real one told about a thousand (`exchanges.md` A.3).
const KEPT_MAX: usize = 10_000;

/// Liquidations of a page: the default and the largest.
const PAGE_MAX: usize = 100;

struct Past {
    instrument: String,
    family: String,
    ts_ms: i64,
    detail: Value,
}

/// The liquidations published so far, in order of publication.
#[derive(Default)]
pub(in super::super) struct History(VecDeque<Past>);

/// Which part of the history is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Query {
    inst_type: Option<String>,
    uly: Option<String>,
    inst_family: Option<String>,
    /// Older than this, in milliseconds.
    after: Option<i64>,
    /// Newer than this, in milliseconds.
    before: Option<i64>,
    limit: Option<usize>,
}

/// The request names neither `uly` nor `instFamily`.
pub(super) struct NoFamily;

impl History {
    /// Keeps the liquidations of a published frame.
    pub(in super::super) fn push(&mut self, frame: &str) {
        let Ok(frame) = serde_json::from_str::<Value>(frame) else { return };
        for row in frame["data"].as_array().into_iter().flatten() {
            let name = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            for detail in row["details"].as_array().into_iter().flatten() {
                let Some(ts_ms) = detail["ts"].as_str().and_then(|ts| ts.parse().ok()) else { continue };
                if self.0.len() == KEPT_MAX {
                    self.0.pop_front();
                }
                let (instrument, family) = (name("instId"), name("instFamily"));
                self.0.push_back(Past { instrument, family, ts_ms, detail: detail.clone() });
            }
        }
    }

    /// Returns a page, newest first, with one row per instrument.
    pub(super) fn page(&self, query: &Query) -> Result<Vec<Value>, NoFamily> {
        let family = query.inst_family.as_ref().or(query.uly.as_ref()).ok_or(NoFamily)?;
        if query.inst_type.as_deref() != Some("SWAP") {
            return Ok(Vec::new());
        }
        let wanted = |past: &&Past| {
            past.family == *family
                && query.after.is_none_or(|after| past.ts_ms < after)
                && query.before.is_none_or(|before| past.ts_ms > before)
        };
        let mut found: Vec<_> = self.0.iter().filter(wanted).collect();
        found.sort_by_key(|past| std::cmp::Reverse(past.ts_ms));
        found.truncate(query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX));
        let mut rows: Vec<Value> = Vec::new();
        for past in found {
            match rows.iter_mut().find(|row| row["instId"] == past.instrument.as_str()) {
                Some(row) => row["details"].as_array_mut().expect("built as an array").push(past.detail.clone()),
                None => rows.push(json!({"instId": past.instrument, "instFamily": family, "instType": "SWAP",
                    "uly": family, "details": [past.detail]})),
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_back_in_time_within_one_family() {
        let mut history = History::default();
        for (instrument, ts) in [("BTC", 1), ("ETH", 2), ("BTC", 4), ("BTC", 3)] {
            let frame = json!({"data": [{"instId": format!("{instrument}-USDT-SWAP"),
                "instFamily": format!("{instrument}-USDT"), "details": [{"ts": ts.to_string()}]}]});
            history.push(&frame.to_string());
        }
        let page = |query: &str| -> Vec<i64> {
            let query: Query = serde_json::from_str(query).unwrap();
            let rows = history.page(&query).unwrap_or_default();
            let details = rows.iter().flat_map(|row| row["details"].as_array().unwrap());
            details.map(|detail| detail["ts"].as_str().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(page(r#"{"instType":"SWAP","uly":"BTC-USDT"}"#), [4, 3, 1]);
        assert_eq!(page(r#"{"instType":"SWAP","uly":"BTC-USDT","limit":1}"#), [4]);
        assert_eq!(page(r#"{"instType":"SWAP","instFamily":"BTC-USDT","after":4,"limit":1}"#), [3]);
        assert_eq!(page(r#"{"instType":"SWAP","uly":"BTC-USDT","before":3}"#), [4]);
        assert!(page(r#"{"instType":"SWAP"}"#).is_empty());
    }
}
