//! Draws liquidations: shorts above the axis, longs below, stacked by venue in shades of their side's colour.

use std::ops::Range;

use notify::text::figures::usd;
use plotters::prelude::{ChartBuilder, Color as _, IntoDrawingArea as _, RGBColor, Rectangle};
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};
use schemas::amount::Usd;

use super::{
    Canvas, DrawError,
    liquidations::{BAR_MS, Bar, Liquidations, SPAN_MS, VENUES_MAX},
    style::{
        Area, EDGE, GRID, HEAD_Y, INK, LABEL_EM, PLOT_TOP, RULE, SIZE, STRIP, TITLE_EM, TITLE_Y, WINDOW, bold, clock,
        mark, minutes, name, text, to_the_left, width,
    },
};

/// Shades of longs and shorts, the largest venue first: apart in lightness, so that they are for any colour vision.
const LONGS: [RGBColor; VENUES_MAX] =
    [RGBColor(158, 22, 32), RGBColor(222, 82, 70), RGBColor(243, 156, 140), RGBColor(251, 211, 203)];
/// See [`LONGS`].
const SHORTS: [RGBColor; VENUES_MAX] =
    [RGBColor(0, 92, 75), RGBColor(14, 152, 122), RGBColor(112, 201, 174), RGBColor(190, 231, 217)];

/// Height in pixels of the smallest bar: what was liquidated is seen.
const BAR_HEIGHT_MIN: i32 = 4;

/// Smallest range of the axis in USD, so that its steps are whole dollars even when nothing is shown.
const USD_MIN: f64 = 100.0;

/// Smallest text of the head in pixels an em, when names are long.
const HEAD_EM_MIN: u32 = 12;

impl Liquidations {
    /// Draws the chart as PNG, 800 x 450 pixels.
    ///
    /// # Errors
    /// [`DrawError`] when the library refuses; it has no cause in the values.
    pub fn png(&self) -> Result<Vec<u8>, DrawError> {
        Canvas::png(SIZE, |canvas| self.draw(&canvas.into_drawing_area()))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), DrawError> {
        let title = format!("{} liquidations, last {} min", name(self.base.as_str()), SPAN_MS / 60_000);
        area.draw_text(&title, &bold(TITLE_EM, INK), (EDGE, TITLE_Y))?;
        self.head(area)?;

        let (low, high) = self.range();
        let last = minutes(self.at.as_millis());
        let mut chart = ChartBuilder::on(area)
            .margin_top(PLOT_TOP)
            .margin_right(2 * EDGE)
            .margin_bottom(8)
            .x_label_area_size(40)
            .y_label_area_size(92)
            .build_cartesian_2d(last - minutes(SPAN_MS)..last, low..high)?;
        let (x, y) = chart.plotting_area().get_pixel_range();
        let window = self.at.plus_millis(-self.window_ms);
        let left = chart.backend_coord(&(minutes(window.as_millis()), 0.0)).0;
        area.draw(&Rectangle::new([(left, y.start), (x.end, y.end)], WINDOW.filled()))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WINDOW.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(RULE)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|minutes| clock(*minutes))
            .y_label_formatter(&|value| dollars(*value))
            .label_style(text(LABEL_EM, INK))
            .draw()?;
        let height = |usd: Usd| chart.backend_coord(&(last, plain(usd))).1;
        let zero = height(Usd::default());
        for bar in &self.bars {
            let right = chart.backend_coord(&(minutes(bar.until.as_millis()), 0.0)).0;
            let left = chart.backend_coord(&(minutes(bar.until.as_millis() - BAR_MS), 0.0)).0;
            let x = left + 1..right - 1;
            stack(area, &x, (&bar.shorts, SHORTS), zero - BAR_HEIGHT_MIN, height)?;
            stack(area, &x, (&bar.longs, LONGS), zero + BAR_HEIGHT_MIN, |usd| height(Usd::default() - usd))?;
        }
        area.draw(&Rectangle::new([(x.start, zero - 1), (x.end, zero)], INK.filled()))?;

        let (longs, shorts) = self.sides();
        let lower = y.end - STRIP / 2;
        let left = x.start + 10;
        area.draw_text(&format!("shorts {}", usd(shorts)), &bold(LABEL_EM, SHORTS[0]), (left, y.start + STRIP / 2))?;
        area.draw_text(&format!("longs {}", usd(longs)), &bold(LABEL_EM, LONGS[0]), (left, lower))?;
        let seconds = self.window_ms / 1000;
        let window =
            if seconds % 60 == 0 { format!("{} min window", seconds / 60) } else { format!("{seconds} s window") };
        area.draw_text(&window, &to_the_left(text(LABEL_EM, INK)), (x.end - 10, lower))?;
        mark(area, (x, y), self.at)
    }

    /// Draws what each venue had, and its shades.
    fn head(&self, area: &Area<'_>) -> Result<(), DrawError> {
        let entries: Vec<_> = self.venues.iter().map(|it| format!("{} {}", name(&it.name), usd(it.usd))).collect();
        let mut em = LABEL_EM;
        let (square, widths) = loop {
            let style = text(em, INK);
            let widths: Vec<_> = entries.iter().map(|entry| width(area, entry, &style)).collect::<Result<_, _>>()?;
            let square = em as i32 * 5 / 8;
            let all: i32 = widths.iter().map(|width| width + square * 7 / 2).sum();
            if em == HEAD_EM_MIN || all <= SIZE.0 as i32 - 2 * EDGE + square {
                break (square, widths);
            }
            em -= 1;
        };
        let mut x = EDGE;
        for (entry, ((width, short), long)) in entries.iter().zip(widths.iter().zip(SHORTS).zip(LONGS)) {
            for shade in [short, long] {
                let top = HEAD_Y - square / 2;
                area.draw(&Rectangle::new([(x, top), (x + square - 1, top + square - 1)], shade.filled()))?;
                x += square;
            }
            x += square / 2;
            area.draw_text(entry, &text(em, INK), (x, HEAD_Y))?;
            x += width + square;
        }
        Ok(())
    }

    /// Returns what the axis shows in USD: the largest bars of both sides, and a strip beyond each for labels.
    fn range(&self) -> (f64, f64) {
        let long = self.bars.iter().map(Bar::long).max().unwrap_or_default();
        let short = self.bars.iter().map(Bar::short).max().unwrap_or_default();
        let (long, short) = (plain(long), plain(short));
        let height = f64::from(SIZE.1 as i32 - PLOT_TOP - 48);
        let strip = (long + short).max(USD_MIN) * f64::from(STRIP) / (height - 2.0 * f64::from(STRIP));
        (-long - strip, short + strip)
    }
}

/// Draws the amounts from zero outwards to `nearest` at least; `height` is where a sum lies.
fn stack(
    area: &Area<'_>,
    x: &Range<i32>,
    (amounts, shades): (&[Usd], [RGBColor; VENUES_MAX]),
    nearest: i32,
    height: impl Fn(Usd) -> i32,
) -> Result<(), DrawError> {
    let rectangle = |from, to, shade: RGBColor| Rectangle::new([(x.start, from), (x.end, to)], shade.filled());
    let zero = height(Usd::default());
    let mut sum = Usd::default();
    for (amount, shade) in amounts.iter().zip(shades).filter(|(amount, _)| **amount > Usd::default()) {
        let from = height(sum);
        sum += *amount;
        area.draw(&rectangle(from, height(sum), shade))?;
    }
    if sum > Usd::default() && (height(sum) - zero).abs() < (nearest - zero).abs() {
        area.draw(&rectangle(zero, nearest, shades[0]))?;
    }
    Ok(())
}

/// Returns an amount in USD.
fn plain(usd: Usd) -> f64 {
    usd.to_decimal().to_f64().unwrap_or_default()
}

/// Returns an amount at the axis, without its sign.
fn dollars(value: f64) -> String {
    let amount = rust_decimal::Decimal::from_f64(value.abs()).and_then(Usd::round);
    amount.map(usd).unwrap_or_default()
}
