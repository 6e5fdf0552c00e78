//! `foreshock normalize`: raw venue frames in, events as JSON lines out.

use std::io::Write;

use anyhow::Context as _;
use ingest::config::Bases;
use schemas::market::MarketEvent;

use crate::{
    cli,
    run::{frames::Frames, say, stdout},
};

pub(super) fn run(options: &cli::Normalize) -> anyhow::Result<()> {
    let mut frames = Frames::open(options.venue, options.instruments.as_deref(), &options.file, Bases::All)?;
    let mut out = stdout();
    let mut events = 0_u64;
    while let Some((line, frame)) = frames.next()? {
        for refusal in &frame.refused {
            say(&format!("line {line}: {}: {}", refusal.reason, refusal.detail));
        }
        for liquidation in frame.liquidations {
            events += 1;
            let event = serde_json::to_string(&MarketEvent::Liquidation(liquidation)).context("event not writable")?;
            writeln!(out, "{event}").context("stdout cannot be written")?;
        }
    }
    out.flush().context("stdout cannot be written")?;
    say(&format!("{events} events, {}", frames.refused()));
    Ok(())
}
