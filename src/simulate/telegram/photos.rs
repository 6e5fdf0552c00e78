//! The photos that were uploaded.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{call::Call, fault::Refusal};

/// Photos kept. At the bound, or at that of their bytes, the oldest go, and their `file_id` is wrong then.
const PHOTOS_MAX: usize = 300;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest sum of width and height, and how many times the longer side may be the shorter one (`telegram.md` 10;
/// `core.telegram.org/bots/api#sendphoto`).
const SIDES_SUM_MAX: u32 = 10_000;
const RATIO_MAX: u32 = 20;

/// A photo as a message refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Photo {
    pub(super) file_id: String,
    pub(super) width: u32,
    pub(super) height: u32,
    bytes: usize,
}

impl Photo {
    pub(super) fn json(&self) -> Value {
        json!([{"file_id": self.file_id, "file_unique_id": format!("u{}", self.file_id), "width": self.width,
            "height": self.height, "file_size": self.bytes}])
    }
}

/// The photos that can be sent again and looked at.
#[derive(Default)]
pub(super) struct Photos {
    kept: BTreeMap<String, (Photo, Vec<u8>)>,
    order: VecDeque<String>,
    bytes: usize,
    uploaded: u64,
}

impl Photos {
    /// Returns the photo of a request: the one that comes with it, or one that was sent before.
    pub(super) fn of(&mut self, call: &mut Call) -> Result<Photo, Refusal> {
        let named = call.text("photo").to_owned();
        if let Some(bytes) = call.files.remove(named.strip_prefix("attach://").unwrap_or("photo")) {
            return self.upload(bytes);
        }
        if named.is_empty() {
            return Err(Refusal::bad("there is no photo in the request"));
        }
        let known = self.kept.get(&named).map(|(photo, _)| photo.clone());
        known.ok_or_else(|| Refusal::bad("wrong file identifier/HTTP URL specified"))
    }

    /// Returns the bytes of a photo and their media type.
    pub(super) fn look(&self, file_id: &str) -> Option<(&'static str, &[u8])> {
        let (_, bytes) = self.kept.get(file_id)?;
        Some((if bytes.starts_with(PNG) { "image/png" } else { "image/jpeg" }, bytes))
    }

    fn upload(&mut self, bytes: Vec<u8>) -> Result<Photo, Refusal> {
        let (width, height) = png_size(&bytes)
            .or_else(|| jpeg_size(&bytes))
            .filter(|(width, height)| *width > 0 && *height > 0)
            .ok_or_else(|| Refusal::bad("IMAGE_PROCESS_FAILED"))?;
        let (shorter, longer) = (width.min(height), width.max(height));
        if width.saturating_add(height) > SIDES_SUM_MAX || longer > shorter.saturating_mul(RATIO_MAX) {
            return Err(Refusal::bad("PHOTO_INVALID_DIMENSIONS"));
        }
        self.uploaded += 1;
        let photo = Photo { file_id: format!("photo-{}", self.uploaded), width, height, bytes: bytes.len() };
        self.bytes += bytes.len();
        self.order.push_back(photo.file_id.clone());
        self.kept.insert(photo.file_id.clone(), (photo.clone(), bytes));
        while self.order.len() > PHOTOS_MAX || (self.bytes > BYTES_MAX && self.order.len() > 1) {
            let oldest = self.order.pop_front().and_then(|oldest| self.kept.remove(&oldest));
            self.bytes -= oldest.map_or(0, |(_, bytes)| bytes.len());
        }
        Ok(photo)
    }
}

/// What every PNG begins with (RFC 2083, 3.1).
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Returns width and height of a PNG: of its first chunk, IHDR.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.strip_prefix(PNG)?.get(4..16)?.strip_prefix(b"IHDR")?;
    let number = |at: usize| header[at..at + 4].try_into().map(u32::from_be_bytes).ok();
    Some((number(0)?, number(4)?))
}

/// Returns width and height of a JPEG: of its first frame header, SOF0 to SOF15 but for DHT, JPG and DAC
/// (ITU-T T.81, B.1.1.3).
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let [0xff, marker, high, low, tail @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let [_, h1, h2, w1, w2, ..] = tail else { return None };
            return Some((u16::from_be_bytes([*w1, *w2]).into(), u16::from_be_bytes([*h1, *h2]).into()));
        }
        rest = tail.get(length.checked_sub(2)?..)?;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The head of a PNG, which is all that is looked at.
    pub(in super::super) fn png(width: u32, height: u32) -> Vec<u8> {
        [PNG, &[0, 0, 0, 13], b"IHDR", &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()
    }

    #[test]
    fn the_size_is_read_from_the_picture() {
        let jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\x01\xc2\x03\x20\x01";
        assert_eq!((png_size(&png(800, 450)), jpeg_size(jpeg)), (Some((800, 450)), Some((800, 450))));
        let mut photos = Photos::default();
        for (bytes, error) in [
            (b"GIF89a".to_vec(), "IMAGE_PROCESS_FAILED"),
            (jpeg[..14].to_vec(), "IMAGE_PROCESS_FAILED"),
            (png(0, 5), "IMAGE_PROCESS_FAILED"),
            (png(9_000, 1_001), "PHOTO_INVALID_DIMENSIONS"),
            (png(21, 1), "PHOTO_INVALID_DIMENSIONS"),
        ] {
            let refused = photos.upload(bytes).unwrap_err().description;
            assert_eq!(refused, format!("Bad Request: {error}"));
        }
    }

    #[test]
    fn the_oldest_photo_is_forgotten_at_the_bound() {
        let mut photos = Photos::default();
        let first = photos.upload(png(8, 4)).unwrap();
        for _ in 1..PHOTOS_MAX {
            photos.upload(png(8, 4)).unwrap();
        }
        assert!(photos.look(&first.file_id).is_some());
        photos.upload(png(8, 4)).unwrap();
        assert!(photos.look(&first.file_id).is_none());
        assert_eq!(photos.bytes, PHOTOS_MAX * png(8, 4).len());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let png = [PNG, &tail].concat();
            let jpeg = [&b"\xff\xd8\xff"[..], &tail].concat();
            assert_eq!((jpeg_size(&png), png_size(&jpeg)), (None, None));
        }
    }
}
