//! Draws open interest: one line per venue, its name and change where it ends.

use notify::text::figures::percent;
use plotters::{
    element::DashedPathElement,
    prelude::{ChartBuilder, Color as _, IntoDrawingArea as _, PathElement, Rectangle},
};
use rust_decimal::{
    Decimal,
    prelude::{FromPrimitive as _, ToPrimitive as _},
};
use schemas::{amount::Ratio, time::EventTime};

use super::{
    Canvas, DrawError,
    interest::{Interest, Line},
    style::{
        Area, EDGE, GRID, HEAD_Y, INK, LABEL_EM, LINES, PLOT_TOP, RULE, SIZE, STRIP, TITLE_EM, TITLE_Y, WINDOW, bold,
        clock, mark, minutes, moment, name, text, width,
    },
};

/// Pixels from the end of the plot to the labels, bridged by a thin line.
const LABEL_GAP: i32 = 26;

/// Pixels from one label to the next at least.
const LABEL_STEP: i32 = 29;

impl Interest {
    /// Draws the chart as PNG, 800 x 450 pixels.
    ///
    /// # Errors
    /// [`DrawError`] when the library refuses; it has no cause in the values.
    pub fn png(&self) -> Result<Vec<u8>, DrawError> {
        Canvas::png(SIZE, |canvas| self.draw(&canvas.into_drawing_area()))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), DrawError> {
        let title = format!("{} open interest, {} min", name(self.base.as_str()), self.window_ms / 60_000);
        area.draw_text(&title, &bold(TITLE_EM, INK), (EDGE, TITLE_Y))?;
        let since = moment(self.window_start().as_millis(), "change in contracts since %H:%M:%S UTC");
        area.draw_text(&since, &text(LABEL_EM, INK), (EDGE, HEAD_Y))?;

        let labels: Vec<_> = self.lines.iter().map(label).collect();
        let style = text(LABEL_EM, INK);
        let widths: Vec<_> = labels.iter().map(|label| width(area, label, &style)).collect::<Result<_, _>>()?;
        let right = LABEL_GAP + widths.into_iter().max().unwrap_or_default() + EDGE / 2;
        let (low, high) = self.range();
        let mut chart = ChartBuilder::on(area)
            .margin_top(PLOT_TOP)
            .margin_right(right)
            .margin_bottom(8)
            .x_label_area_size(40)
            .y_label_area_size(92)
            .build_cartesian_2d(at(self.from())..at(self.at), low..high)?;
        let (x, y) = chart.plotting_area().get_pixel_range();
        let left = chart.backend_coord(&(at(self.window_start()), 0.0)).0;
        area.draw(&Rectangle::new([(left, y.start), (x.end, y.end)], WINDOW.filled()))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WINDOW.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(RULE)
            .x_labels(5)
            .y_labels(6)
            .x_label_formatter(&|minutes| clock(*minutes))
            .y_label_formatter(&|value| signed(*value))
            .label_style(text(LABEL_EM, INK))
            .draw()?;
        let pixel = |(time, value): (EventTime, Ratio)| chart.backend_coord(&(at(time), plain(value)));
        let zero = pixel((self.at, Ratio::default())).1;
        area.draw(&PathElement::new([(x.start, zero), (x.end, zero)], RULE.stroke_width(2)))?;
        if let Some(threshold) = self.threshold {
            let y = pixel((self.at, threshold)).1;
            area.draw(&DashedPathElement::new([(x.start, y), (x.end, y)], 10, 8, INK.stroke_width(2)))?;
            let beyond = if y < zero { -LABEL_STEP / 2 } else { LABEL_STEP / 2 };
            area.draw_text(&format!("rule {}", percent(threshold)), &style, (x.start + 10, y + beyond))?;
        }
        for (line, color) in self.lines.iter().zip(LINES) {
            for stretch in &line.stretches {
                area.draw(&PathElement::new(
                    stretch.iter().copied().map(pixel).collect::<Vec<_>>(),
                    color.stroke_width(5),
                ))?;
            }
        }
        mark(area, (x.clone(), y.clone()), self.at)?;

        let ends: Vec<_> =
            self.lines.iter().map(|line| line.points().next_back().map_or((x.end, zero), pixel)).collect();
        let heights: Vec<_> = ends.iter().map(|(_, y)| *y).collect();
        let heights = spread(&heights, LABEL_STEP, y.end - STRIP / 2);
        for (((line, label), color), (end, height)) in
            self.lines.iter().zip(labels).zip(LINES).zip(ends.into_iter().zip(heights))
        {
            let start = x.end + LABEL_GAP;
            if line.change.is_some() {
                area.draw(&PathElement::new([end, (x.end, end.1), (start - 8, height)], color.stroke_width(2)))?;
            }
            area.draw(&PathElement::new([(start - 12, height), (start - 8, height)], color.stroke_width(8)))?;
            area.draw_text(&label, &style, (start, height))?;
        }
        Ok(())
    }

    /// Returns what the axis shows in percent, with a strip for labels above.
    fn range(&self) -> (f64, f64) {
        let values =
            || self.lines.iter().flat_map(Line::points).map(|(_, value)| value).chain(self.threshold).map(plain);
        let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
        let height = f64::from(SIZE.1 as i32 - PLOT_TOP - 48);
        let strip = (high - low).max(1.0) * f64::from(STRIP) / (height - 2.0 * f64::from(STRIP));
        (low - strip, high + strip)
    }
}

fn label(line: &Line) -> String {
    let change = line.change.map_or_else(|| "no data".to_owned(), percent);
    format!("{} {change}", name(&line.name))
}

fn at(time: EventTime) -> f64 {
    minutes(time.as_millis())
}

fn plain(ratio: Ratio) -> f64 {
    ratio.value().to_f64().unwrap_or_default()
}

/// Returns a figure at the axis.
fn signed(value: f64) -> String {
    if value.abs() < 1e-9 { "0%".to_owned() } else { percent(Ratio::new(Decimal::from_f64(value).unwrap_or_default())) }
}

/// Returns heights in the order of `heights` that lie `step` apart at least and end at `bottom`, moved as little as that takes
/// downwards first.
fn spread(heights: &[i32], step: i32, bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|place| heights[*place]);
    let mut spread = heights.to_vec();
    let mut least = i32::MIN;
    for place in &order {
        spread[*place] = spread[*place].max(least);
        least = spread[*place] + step;
    }
    let mut most = bottom;
    for place in order.iter().rev() {
        spread[*place] = spread[*place].min(most);
        most = spread[*place] - step;
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_and_stay_in_the_picture() {
        assert_eq!(spread(&[10, 100, 300], 30, 400), [10, 100, 300]);
        assert_eq!(spread(&[105, 100, 100], 30, 400), [160, 100, 130]);
        assert_eq!(spread(&[395, 390, 200], 30, 400), [400, 370, 200]);
        assert_eq!(spread(&[], 30, 400), [0; 0]);
    }
}
