//! A recording: raw venue frames, one JSON a line, read whole and checked before anything starts.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use ingest::exchange::Exchange;

use super::{
    binance, bybit,
    hub::{Instruments, Published},
    okx,
};

/// Largest recording or instruments file, in bytes after decompression. A larger one is refused.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How much older than its frame a liquidation may be and still hold companion frames back: the grace of `alive`
/// (design 4). Anything older is late on a live socket too.
const LATE_MS: i64 = 3000;

/// A file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", .file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than 256 MiB after decompression.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", .file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
    },
    /// A line, or the whole instruments file, is no JSON.
    #[error("{} line {line} is no JSON", .file.display())]
    NotJson {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// It holds no liquidation frame of the venue.
    #[error("{} holds no liquidation frame of {venue}", .file.display())]
    NoFrames {
        /// Which file.
        file: PathBuf,
        /// Of which venue.
        venue: Exchange,
    },
    /// It is no instruments reply of the venue.
    #[error("{} is no instruments reply of {venue}", .file.display())]
    NoInstruments {
        /// Which file.
        file: PathBuf,
        /// Of which venue.
        venue: Exchange,
    },
}

/// What a venue reads out of a recorded line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// When the venue sent it, in milliseconds.
    pub(super) sent_ms: i64,
    /// The earliest liquidation in it, in milliseconds.
    pub(super) event_ms: i64,
    pub(super) published: Published,
}

/// A frame to be played.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// When the venue sent it, in milliseconds.
    pub(super) sent_ms: i64,
    /// No companion frame before this one may be stamped later, in milliseconds.
    pub(super) ahead_ms: i64,
    pub(super) published: Arc<Published>,
}

/// A recording in file order, not empty.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) frames: Vec<Frame>,
    /// Lines that are JSON but no liquidation frame: acknowledgements, companions.
    pub(super) skipped: u64,
}

impl Recording {
    pub(super) fn read(venue: Exchange, file: &Path) -> Result<Self, FileError> {
        let read_error = |source| FileError::Read { file: file.to_owned(), source };
        let mut left = open(file).map_err(read_error)?.take(FILE_BYTES_MAX + 1);
        let (mut recorded, mut skipped, mut line) = (Vec::new(), 0, String::new());
        for number in 1.. {
            line.clear();
            if left.read_line(&mut line).map_err(read_error)? == 0 {
                break;
            }
            if left.limit() == 0 {
                return Err(FileError::TooLarge { file: file.to_owned() });
            }
            let text = line.trim();
            if text.is_empty() {
                continue;
            }
            let value: Value =
                serde_json::from_str(text).map_err(|_| FileError::NotJson { file: file.to_owned(), line: number })?;
            match recognise(venue, text, &value) {
                Some(frame) => recorded.push(frame),
                None => skipped += 1,
            }
        }
        if recorded.is_empty() {
            return Err(FileError::NoFrames { file: file.to_owned(), venue });
        }
        Ok(Self { frames: with_bounds(recorded), skipped })
    }
}

/// Returns what a venue lists when no instruments file is given with a recording: what is built in, and the plain USDT
/// and USDC names that occur in it, as `normalize` takes them without a file. OKX counts contracts: nothing is guessed.
pub(super) fn plain_instruments(venue: Exchange, recording: &Recording) -> Option<Instruments> {
    let (built_in, plain_row): (Instruments, fn(&str) -> Option<Value>) = match venue {
        Exchange::Binance => (binance::instruments(), binance::plain_row),
        Exchange::Bybit => (bybit::instruments(), bybit::plain_row),
        Exchange::Okx => return None,
    };
    let keys: BTreeSet<&str> = recording.frames.iter().map(|frame| frame.published.key.as_str()).collect();
    Some(built_in.with(keys.into_iter().filter_map(plain_row).collect(), "symbol"))
}

fn recognise(venue: Exchange, text: &str, line: &Value) -> Option<Recorded> {
    match venue {
        Exchange::Binance => binance::recorded(text, line),
        Exchange::Bybit => bybit::recorded(text, line),
        Exchange::Okx => okx::recorded(text, line),
    }
}

/// Gives each frame the earliest time among itself and all that follow, but at most [`LATE_MS`] before it was sent.
fn with_bounds(recorded: Vec<Recorded>) -> Vec<Frame> {
    let mut earliest_ms = i64::MAX;
    let mut frames: Vec<_> = recorded
        .into_iter()
        .rev()
        .map(|Recorded { sent_ms, event_ms, published }| {
            earliest_ms = earliest_ms.min(event_ms);
            Frame { sent_ms, ahead_ms: earliest_ms.max(sent_ms - LATE_MS), published: Arc::new(published) }
        })
        .collect();
    frames.reverse();
    frames
}

/// Reads the venue's own instruments reply.
pub(super) fn read_instruments(venue: Exchange, file: &Path) -> Result<Instruments, FileError> {
    let read_error = |source| FileError::Read { file: file.to_owned(), source };
    let reply: Value = serde_json::from_reader(open(file).map_err(read_error)?.take(FILE_BYTES_MAX))
        .map_err(|error| FileError::NotJson { file: file.to_owned(), line: error.line() })?;
    let instruments = match venue {
        Exchange::Binance => binance::instruments_of(&reply),
        Exchange::Bybit => bybit::instruments_of(&reply),
        Exchange::Okx => okx::instruments_of(&reply),
    };
    instruments.ok_or_else(|| FileError::NoInstruments { file: file.to_owned(), venue })
}

/// Opens a file, plain or gzip.
fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut plain = BufReader::new(File::open(file)?);
    let is_gzip = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(plain))) } else { Box::new(plain) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const LINES: &str = concat!(
        r#"{"e":"forceOrder","E":5000,"o":{"s":"BTCUSDT","T":4000}}"#,
        "\n",
        r#"{"result":null,"id":1}"#,
        "\n\n",
        r#"{"e":"forceOrder","E":9000,"o":{"s":"BTCUSDT","T":3990}}"#,
        "\n",
    );

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn plain_and_gzip_read_alike_and_other_frames_are_skipped() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(LINES.as_bytes()).unwrap();
        for bytes in [LINES.as_bytes().to_vec(), gzip.finish().unwrap()] {
            let recording = Recording::read(Exchange::Binance, file(&bytes).path()).unwrap();
            let times: Vec<_> = recording.frames.iter().map(|frame| (frame.sent_ms, frame.ahead_ms)).collect();
            // The second is more than three seconds late, so it holds nothing back for longer than that.
            assert_eq!((times, recording.skipped), (vec![(5000, 3990), (9000, 6000)], 1));
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_line() {
        let read = |bytes: &[u8]| Recording::read(Exchange::Okx, file(bytes).path()).unwrap_err();
        assert!(matches!(read(b"{}\nnonsense\n"), FileError::NotJson { line: 2, .. }));
        assert!(matches!(read(LINES.as_bytes()), FileError::NoFrames { venue: Exchange::Okx, .. }));
        assert!(matches!(
            read_instruments(Exchange::Okx, file(b"{\"symbols\":[]}").path()),
            Err(FileError::NoInstruments { .. })
        ));
    }
}
