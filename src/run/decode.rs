//! `foreshock decode`: one stored message on stdin, JSON on stdout, for `nats sub --translate`.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use schemas::caps::MESSAGE_BYTES_MAX;

pub(super) fn run() -> anyhow::Result<()> {
    let mut payload = Vec::new();
    let limit = MESSAGE_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut payload).context("stdin cannot be read")?;
    if payload.len() > MESSAGE_BYTES_MAX {
        bail!("stdin holds more than {MESSAGE_BYTES_MAX} bytes, the most a message has");
    }
    writeln!(super::stdout(), "{}", to_json(&payload)?).context("stdout cannot be written")
}

/// Any version and any type: the format describes itself.
fn to_json(payload: &[u8]) -> anyhow::Result<serde_json::Value> {
    let mut rest = payload;
    let value = rmp_serde::from_read(&mut rest).context("stdin holds no MessagePack")?;
    if !rest.is_empty() {
        bail!("{} bytes follow the message: one message at a time is decoded", rest.len());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use schemas::{
        market::{Feed, MarketEvent},
        time::EventTime,
        wire,
    };

    use super::*;

    #[test]
    fn a_message_reads_like_its_event() {
        let event =
            MarketEvent::Feed(Feed::alive("okx".parse().unwrap(), "liquidation", EventTime::from_millis(5_000)));
        let json = to_json(&wire::encode(&event).unwrap().payload).unwrap();
        assert_eq!(json, serde_json::to_value(&event).unwrap());
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(to_json(b"").is_err());
        assert!(to_json(&[0x01, 0x02]).is_err());
    }
}
