use std::{io::Cursor, ops::Range};

use plotters::style::RGBColor;
use schemas::{
    amount::Ratio,
    market::{Liquidation, OpenInterest, Side},
};

use super::{
    Interest, LINES, Liquidations,
    samples::{interest, liquidation, time},
    style::SIZE,
};

/// A decoded picture.
struct Picture {
    size: (u32, u32),
    pixels: Vec<u8>,
}

impl Picture {
    fn of(png: &[u8]) -> Self {
        let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        Self { size: (info.width, info.height), pixels }
    }

    /// Returns how many pixels of these columns have exactly this colour.
    fn count(&self, columns: Range<u32>, color: RGBColor) -> usize {
        let color = [color.0, color.1, color.2];
        let rows = self.pixels.chunks(3 * self.size.0 as usize);
        rows.flat_map(|row| row.chunks(3).zip(0..).filter(|(pixel, x)| columns.contains(x) && *pixel == color)).count()
    }

    /// Returns the lowest and the highest row (counted from the top) with this colour in these columns.
    fn rows(&self, columns: Range<u32>, color: RGBColor) -> Option<(usize, usize)> {
        let color = [color.0, color.1, color.2];
        let has = |row: &[u8]| row.chunks(3).zip(0..).any(|(pixel, x)| columns.contains(&x) && pixel == color);
        let rows: Vec<_> = self.pixels.chunks(3 * self.size.0 as usize).map(has).collect();
        Some((rows.iter().position(|has| *has)?, rows.iter().rposition(|has| *has)?))
    }
}

const LONG: RGBColor = RGBColor(158, 22, 32);
const SHORT: RGBColor = RGBColor(0, 92, 75);

/// The part of the liquidations chart where there are bars and no labels: the last seconds, but for the mark.
const LAST_BARS: Range<u32> = 740..780;

fn liquidations(events: &[Liquidation]) -> Vec<u8> {
    Liquidations::new("BTC".parse().unwrap(), time(0), 30_000, events).png().unwrap()
}

fn open_interest(samples: &[OpenInterest]) -> Vec<u8> {
    let threshold = Ratio::new("15".parse().unwrap());
    Interest::new("BTC".parse().unwrap(), time(0), 900_000, Some(threshold), samples).png().unwrap()
}

/// Twenty minutes of a venue whose open interest changes by `percent` in the last five.
fn ramp(venue: &str, percent: i64) -> Vec<OpenInterest> {
    let at = |minute: i64| interest(venue, &(1000 + 2 * percent * (minute + 5).max(0)).to_string(), 60_000 * minute);
    (-20..=0).map(at).collect()
}

#[test]
fn longs_lie_below_the_axis_and_shorts_above() {
    let events = [liquidation("okx", Side::Long, "300000", 0), liquidation("okx", Side::Short, "200000", -5_000)];
    let png = liquidations(&events);
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let picture = Picture::of(&png);
    assert_eq!(picture.size, SIZE);
    let (short, long) = (picture.rows(LAST_BARS, SHORT).unwrap(), picture.rows(LAST_BARS, LONG).unwrap());
    assert!(short.1 < long.0, "{short:?} {long:?}");
    let height = |(top, bottom): (usize, usize)| (bottom - top) as f64;
    assert!((height(long) / height(short) - 1.5).abs() < 0.05, "{short:?} {long:?}");
}

#[test]
fn one_side_alone_has_no_bar_of_the_other() {
    let picture = Picture::of(&liquidations(&[liquidation("okx", Side::Long, "3400000", 0)]));
    assert!(picture.count(LAST_BARS, LONG) > 1_000);
    assert_eq!(picture.count(LAST_BARS, SHORT), 0);
}

#[test]
fn a_tiny_liquidation_beside_a_huge_one_is_seen() {
    let events = [liquidation("okx", Side::Long, "12", -100_000), liquidation("okx", Side::Long, "3400000", 0)];
    assert!(Picture::of(&liquidations(&events)).count(400..720, LONG) > 10);
}

#[test]
fn each_venue_has_its_line_and_its_label() {
    let samples: Vec<_> = [("binance", 20), ("bybit", 18), ("okx", -3)].map(|(name, by)| ramp(name, by)).concat();
    let picture = Picture::of(&open_interest(&samples));
    assert_eq!(picture.size, SIZE);
    for (place, color) in LINES.into_iter().enumerate() {
        assert_eq!(picture.count(0..SIZE.0, color) > 100, place < 3, "{place}");
    }
    let highest = |color| picture.rows(300..560, color).unwrap().0;
    assert!(highest(LINES[0]) < highest(LINES[1]));
}

#[test]
fn equal_models_give_equal_bytes_and_small_files() {
    let side = |place: i64| if place % 3 == 0 { Side::Short } else { Side::Long };
    let event = |place: i64| {
        let venue = format!("ext-a-long-name-{}", place % 7);
        liquidation(&venue, side(place), &(place * place).to_string(), -(place * 997) % 300_000)
    };
    let events: Vec<_> = (1..2_000).map(event).collect();
    let samples: Vec<_> = (0..8).flat_map(|place| ramp(&format!("ext-a-long-name-{place}"), 4 * place)).collect();
    for (one, other) in
        [(liquidations(&events), liquidations(&events)), (open_interest(&samples), open_interest(&samples))]
    {
        assert_eq!(one, other);
        // Uploads over 100 kB are spaced by Telegram (telegram.md 3).
        assert!(one.len() < 50_000, "{}", one.len());
    }
}

#[test]
fn figures_at_their_bounds_are_drawn() {
    let huge = || liquidation("okx", Side::Long, "90000000000000000", 0);
    assert!(Picture::of(&liquidations(&[huge(), huge()])).count(LAST_BARS, LONG) > 1_000);
    let (least, most) = (interest("okx", "0.000000000001", -900_000), interest("okx", "1000000000000000", 0));
    let later = [interest("okx", "1000000000000000", -900_000), interest("okx", "0.000000000001", 0)];
    for (window_ms, samples) in
        [(900_000, [least, most]), (900_000, later.clone()), (0, later.clone()), (i64::MAX, later)]
    {
        let chart = Interest::new("BTC".parse().unwrap(), time(0), window_ms, None, &samples);
        assert_eq!(Picture::of(&chart.png().unwrap()).size, SIZE);
    }
}

#[test]
fn nothing_to_draw_is_an_empty_chart() {
    let (liquidations, interest) = (Picture::of(&liquidations(&[])), Picture::of(&open_interest(&[])));
    assert_eq!((liquidations.size, interest.size), (SIZE, SIZE));
    assert_eq!(liquidations.count(LAST_BARS, LONG), 0);
    assert_eq!(interest.count(0..SIZE.0, LINES[0]), 0);
}
