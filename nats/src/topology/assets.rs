//! Everything the server keeps for foreshock, as code (design 3).
//!
//! `max_bytes` is reserved when a stream is created (nats.md 3.4), so the sum below must fit the server's
//! `max_file_store`: MARKET 256 + RULES 16 + ALERTS 128 + DELIVERIES 128 + SUBSCRIBERS 16 + DEAD 32 + STATE 64 +
//! LEASES 1 = 641 MB, which fits the private server's 1 GB.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::{self, Compression, DiscardPolicy},
};
use schemas::{
    alert,
    caps::MESSAGE_BYTES_MAX,
    delivery, market,
    subject::{Bucket, Names, Stream},
    subscriber,
};

use crate::config::Config;

const MEGABYTE: i64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Metadata of MARKET: which kind of market it holds.
pub(crate) const MARKET_MODE: &str = "foreshock.market";

/// Bytes of a detector's state at the very most: what STATE holds is the last two positions and one being written.
const STATE_BYTES: i64 = 64 * MEGABYTE;
/// A snapshot nobody has replaced for as long as MARKET keeps anything is of no use.
const STATE_AGE: Duration = DAY.saturating_mul(7);
/// Shortest time to live the server knows; a longer one would lengthen every lease (nats.md 1).
const LEASE_MARKER_TTL: Duration = Duration::from_secs(1);

/// Alerts in the hands of the notifier at once. Its handling of all of them must fit into [`NOTIFY_ACK_WAIT`], which
/// starts at delivery (nats.md 6.3).
pub(crate) const NOTIFY_ACK_PENDING_MAX: usize = 16;
/// After how long an alert that was not acknowledged comes again, when its notifier lives on.
const NOTIFY_ACK_WAIT: Duration = Duration::from_secs(30);

/// Returns the name of the stream behind a bucket, by the key-value convention of NATS.
pub(crate) fn bucket_stream(names: &Names, bucket: Bucket) -> String {
    format!("KV_{}", names.bucket(bucket))
}

/// Returns the subject of a key, by the key-value convention of NATS.
pub(crate) fn bucket_subject(names: &Names, bucket: Bucket, key: &str) -> String {
    format!("$KV.{}.{key}", names.bucket(bucket))
}

/// What tells one stream from another.
struct Asset {
    description: &'static str,
    schema: &'static str,
    version: u16,
    max_age: Duration,
    max_bytes: i64,
    per_subject: i64,
    /// At the bound either the oldest go or the newest are refused.
    discard: DiscardPolicy,
    /// Nobody takes single messages out of a log that others fold.
    deny_delete: bool,
}

/// No age limit.
const FOR_EVER: Duration = Duration::ZERO;
/// No limit per subject.
const ANY: i64 = -1;

pub(super) fn stream_config(config: &Config, of: Stream) -> stream::Config {
    let asset = match of {
        Stream::Market => Asset {
            description: "what venues said, what state each feed was in, which rules came into force",
            schema: "liquidation, open_interest, feed, rules, canary",
            version: market::VERSION,
            max_age: config.limits.market_age,
            max_bytes: i64::try_from(config.limits.market_bytes).unwrap_or(i64::MAX),
            per_subject: ANY,
            discard: DiscardPolicy::Old,
            deny_delete: true,
        },
        Stream::Rules => Asset {
            description: "every version of the rules and where in MARKET it came into force",
            schema: "rules",
            version: market::VERSION,
            max_age: FOR_EVER,
            max_bytes: 16 * MEGABYTE,
            per_subject: ANY,
            discard: DiscardPolicy::New,
            deny_delete: true,
        },
        Stream::Alerts => Asset {
            description: "what foreshock concluded, each alert once",
            schema: "alert, canary",
            version: alert::VERSION,
            max_age: DAY.saturating_mul(90),
            // About 100,000 alerts. At the bound the oldest go: a full log must not silence a warning.
            max_bytes: 128 * MEGABYTE,
            per_subject: ANY,
            discard: DiscardPolicy::Old,
            deny_delete: true,
        },
        Stream::Deliveries => Asset {
            description: "what was decided about each alert and what was sent to whom",
            schema: "decision, delivery, note, feedback, update",
            version: delivery::VERSION,
            max_age: DAY.saturating_mul(30),
            max_bytes: 128 * MEGABYTE,
            per_subject: ANY,
            discard: DiscardPolicy::Old,
            deny_delete: true,
        },
        Stream::Subscribers => Asset {
            description: "preferences of recipients, as events; the last one per subject is the state",
            schema: "subscriber",
            version: subscriber::VERSION,
            max_age: FOR_EVER,
            // At the bound a change is refused, which its author is told; nobody loses a subscription in silence.
            max_bytes: 16 * MEGABYTE,
            per_subject: 64,
            discard: DiscardPolicy::New,
            deny_delete: false,
        },
        Stream::Dead => Asset {
            description: "what could not be decoded or processed, with the reason and where it came from",
            schema: "dead",
            version: delivery::VERSION,
            max_age: DAY.saturating_mul(30),
            max_bytes: 32 * MEGABYTE,
            per_subject: ANY,
            discard: DiscardPolicy::Old,
            deny_delete: false,
        },
    };
    let mut stream = base(config, config.names.stream(of), config.names.stream_subjects(of), &asset);
    // Canaries are gone after an hour: a subject costs the broker memory for as long as its message lies there.
    stream.allow_message_ttl = of == Stream::Alerts;
    if asset.schema.starts_with("liquidation") {
        stream.metadata.insert(MARKET_MODE.to_owned(), config.market.as_str().to_owned());
    }
    stream
}

pub(super) fn bucket_config(config: &Config, bucket: Bucket) -> stream::Config {
    let asset = match bucket {
        Bucket::State => Asset {
            description: "snapshots of the detector: chunks, and one head per code and MARKET",
            schema: "snapshot",
            version: 1,
            max_age: STATE_AGE,
            max_bytes: STATE_BYTES,
            per_subject: 1,
            discard: DiscardPolicy::New,
            deny_delete: true,
        },
        Bucket::Leases => Asset {
            description: "who sends, who polls a venue's REST, and what each venue was asked",
            schema: "lease",
            version: 1,
            max_age: FOR_EVER,
            max_bytes: MEGABYTE,
            per_subject: 1,
            discard: DiscardPolicy::New,
            deny_delete: true,
        },
    };
    let name = bucket_stream(&config.names, bucket);
    let stream = base(config, name, vec![bucket_subject(&config.names, bucket, ">")], &asset);
    // What the client's own key-value store asks for, so that `nats kv` understands these buckets.
    let stream = stream::Config { allow_rollup: true, ..stream };
    match bucket {
        Bucket::State => stream,
        Bucket::Leases => {
            stream::Config { allow_message_ttl: true, subject_delete_marker_ttl: Some(LEASE_MARKER_TTL), ..stream }
        }
    }
}

pub(super) fn notify_config(config: &Config) -> pull::Config {
    pull::Config {
        durable_name: Some(config.names.notify_consumer().to_owned()),
        name: Some(config.names.notify_consumer().to_owned()),
        description: Some("the notifier: acknowledged when decisions and intents are stored".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: NOTIFY_ACK_WAIT,
        max_ack_pending: i64::try_from(NOTIFY_ACK_PENDING_MAX).expect("16 fits"),
        // The notifier parks what it cannot process, so the server need not give up on anything.
        max_deliver: -1,
        // The server's own default, spelled out so that it is no difference.
        max_waiting: 512,
        metadata: metadata("alert", alert::VERSION),
        ..pull::Config::default()
    }
}

fn base(config: &Config, name: String, subjects: Vec<String>, asset: &Asset) -> stream::Config {
    stream::Config {
        name,
        subjects,
        description: Some(asset.description.to_owned()),
        metadata: metadata(asset.schema, asset.version),
        max_age: asset.max_age,
        max_bytes: asset.max_bytes,
        max_messages: -1,
        max_messages_per_subject: asset.per_subject,
        max_consumers: -1,
        max_message_size: i32::try_from(MESSAGE_BYTES_MAX).expect("64 KB fits"),
        discard: asset.discard,
        duplicate_window: config.limits.duplicate_window,
        num_replicas: config.replicas.count(),
        deny_delete: asset.deny_delete,
        allow_direct: true,
        // nats.md 3.1: compaction of compressed blocks was the last thing to corrupt them (#8312).
        compression: Some(Compression::None),
        ..stream::Config::default()
    }
}

fn metadata(schema: &str, version: u16) -> HashMap<String, String> {
    [("owner", "foreshock".to_owned()), ("schema", schema.to_owned()), ("version", version.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Market, Replicas};

    #[test]
    fn everything_is_bounded_and_fits_one_gigabyte() {
        let config = Config {
            servers: "127.0.0.1:4222".parse().unwrap(),
            credentials: None,
            ca: None,
            names: Names::default(),
            client_name: "test".to_owned(),
            replicas: Replicas::One,
            market: Market::Live,
            limits: Limits::DEFAULT,
        };
        let streams = Stream::ALL.map(|stream| stream_config(&config, stream));
        let buckets = Bucket::ALL.map(|bucket| bucket_config(&config, bucket));
        let reserved: i64 = streams.iter().chain(&buckets).map(|config| config.max_bytes).sum();
        assert_eq!(reserved, 641 * MEGABYTE);
        assert!(streams.iter().chain(&buckets).all(|config| config.max_bytes > 0 && config.max_message_size == 65_536));
    }
}
