//! Recorded frames: one JSON a line, from a file, plain or gzip, or from stdin.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use ingest::{
    config::Bases,
    exchange::Exchange,
    instruments::Instruments,
    normalize::{FRAME_BYTES_MAX, Frame, Normalizer, Reason, Receipt},
};

use crate::exit::UsageError;

/// Longest file of instruments that is read, in bytes: Bybit's whole list has about 2 MB.
const INSTRUMENTS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads the frames of one venue.
pub(crate) struct Frames {
    lines: Box<dyn BufRead>,
    normalizer: Normalizer,
    line: Vec<u8>,
    number: u64,
    refused: BTreeMap<Reason, u64>,
}

impl Frames {
    /// Opens `file` (`-` is stdin) with the venue's own instruments reply, or by name without one.
    pub(crate) fn open(venue: Exchange, instruments: Option<&Path>, file: &Path, bases: Bases) -> anyhow::Result<Self> {
        let instruments = read_instruments(venue, instruments)?;
        let lines = open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
        let normalizer = Normalizer::new(instruments, bases, ingest::config::RETENTION);
        Ok(Self { lines, normalizer, line: Vec::new(), number: 0, refused: BTreeMap::new() })
    }

    /// Returns the next frame and the number of its line, counted from 1; empty lines are passed over.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(u64, Frame)>> {
        loop {
            self.line.clear();
            self.number += 1;
            // A frame that is too long is cut right above the limit, so that it is refused as oversized.
            let limit = FRAME_BYTES_MAX as u64 + 2;
            let read = self.lines.by_ref().take(limit).read_until(b'\n', &mut self.line);
            let length = read.with_context(|| format!("line {} cannot be read", self.number))?;
            if length == 0 {
                return Ok(None);
            }
            if !self.line.ends_with(b"\n") && length as u64 == limit {
                self.lines.skip_until(b'\n').with_context(|| format!("line {} cannot be read", self.number))?;
            }
            let frame = self.line.trim_ascii();
            if !frame.is_empty() {
                let frame = self.normalizer.frame(frame, Receipt::Recorded);
                for refusal in &frame.refused {
                    *self.refused.entry(refusal.reason).or_default() += 1;
                }
                return Ok(Some((self.number, frame)));
            }
        }
    }

    /// Returns how much was refused so far, and why: `3 refused (malformed 1, zero 2)`.
    pub(crate) fn refused(&self) -> String {
        let total: u64 = self.refused.values().sum();
        let reasons: Vec<_> = self.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!("{total} refused{reasons}")
    }
}

fn read_instruments(exchange: Exchange, file: Option<&Path>) -> anyhow::Result<Instruments> {
    let Some(file) = file else {
        return Instruments::by_name(exchange).ok_or_else(|| {
            UsageError(format!(
                "{} counts contracts, so its own instruments reply is needed: --instruments FILE",
                exchange.title()
            ))
            .into()
        });
    };
    let shown = file.display();
    let mut reply = Vec::new();
    open(file)
        .and_then(|reader| reader.take(INSTRUMENTS_BYTES_MAX).read_to_end(&mut reply))
        .with_context(|| format!("{shown} cannot be read"))?;
    Instruments::from_reply(exchange, &reply).with_context(|| format!("{shown} cannot be used"))
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return unpacked(io::stdin());
    }
    unpacked(File::open(file)?)
}

/// Unpacks gzip by its first two bytes, not by the file's name.
fn unpacked(reader: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::new(reader);
    let is_gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}
