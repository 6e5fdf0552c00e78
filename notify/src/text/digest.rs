//! The digest: what was held, in one silent message.

use std::cmp::Reverse;

use schemas::alert::Kind;

use super::{
    Message,
    figures::{count, shown, span},
};
use crate::{caps::DIGEST_LISTED_MAX, decide::Held};

/// A digest before it is rendered.
pub(crate) struct Digest(Message);

impl Digest {
    /// Returns the digest of what was held, the most frequent first.
    pub(crate) fn of(held: &Held) -> Self {
        let mut parts: Vec<_> = held.parts.iter().collect();
        parts.sort_by_key(|(_, part)| Reverse(part.count));
        let unlisted: u32 = parts.iter().skip(DIGEST_LISTED_MAX).map(|(_, part)| part.count).sum();
        let lines = parts.iter().take(DIGEST_LISTED_MAX).map(|((base, kind), part)| {
            let times = if part.count > 1 { format!(" ×{}", part.count) } else { String::new() };
            let late = part.late_ms.and_then(|late| u64::try_from(late).ok());
            let late = late.map_or_else(String::new, |late| format!(", {} late", span(late / 60_000 * 60_000)));
            format!("{} {}{times}{late}", shown(base.as_str()), name(*kind))
        });
        let rest = unlisted.saturating_add(held.more);
        let rest = (rest > 0).then(|| format!("and {rest} more"));
        let title = format!("🔕 {} held", count(u64::from(held.count()), "more alert", "more alerts"));
        Self(Message { lines: [title].into_iter().chain(lines).chain(rest).collect(), small: Vec::new() })
    }

    pub(crate) fn html(&self) -> String {
        self.0.html()
    }

    pub(crate) fn plain(&self) -> String {
        self.0.plain()
    }
}

/// Returns what people call a kind.
const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::LargeLiquidation => "large liquidation",
        Kind::Cascade => "cascade",
        Kind::OiExplosion => "OI explosion",
    }
}
