//! A chart of open interest as SVG or PNG: what each venue showed, the rule's lines, and where alerts fired.

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Color as _, DrawingArea, DrawingBackend, IntoDrawingArea as _, LineSeries, PathElement,
        SVGBackend, WHITE,
    },
    style::{BLACK, IntoTextStyle as _},
};

use crate::chart::{ALERT, Canvas, DrawError, FONT, GRID, LINES, RULE, clock, minutes};

/// Width and height in pixels.
const SIZE: (u32, u32) = (960, 600);

/// Height of the upper panel in pixels; the lower one takes the rest.
const UPPER_HEIGHT: u32 = 340;

/// One venue's line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    /// (milliseconds since 1970 UTC, value), in stretches with nothing known between them.
    pub(super) stretches: Vec<Vec<(i64, f64)>>,
}

impl Line {
    fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        self.stretches.iter().flatten().copied()
    }
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    /// Change over the window in percent, by venue.
    pub(super) changes: Vec<Line>,
    /// Name of the upper panel's axis.
    pub(super) changes_of: String,
    /// The rule's `change_pct`, drawn on both sides of zero.
    pub(super) threshold: Option<f64>,
    /// Open interest by venue, 100 being its first sample.
    pub(super) levels: Vec<Line>,
    /// When alerts fired and what they say.
    pub(super) alerts: Vec<(i64, String)>,
}

impl Chart {
    /// Draws the chart as an SVG document.
    pub(super) fn svg(&self) -> Result<String, DrawError> {
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, SIZE))?;
        Ok(text)
    }

    /// Draws the chart as PNG.
    pub(super) fn png(&self) -> Result<Vec<u8>, DrawError> {
        Canvas::png(SIZE, |canvas| self.draw(canvas))
    }

    fn draw<B: DrawingBackend>(&self, backend: B) -> Result<(), DrawError> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(&self.title, (FONT, 20).into_text_style(&area).color(&BLACK))?;
        let (upper, lower) = area.split_vertically(UPPER_HEIGHT);
        self.panel(&upper, &self.changes_of, &self.changes, self.threshold)?;
        self.panel(&lower, "contracts, first sample = 100", &self.levels, None)?;
        area.present()?;
        Ok(())
    }

    fn panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        axis: &str,
        lines: &[Line],
        threshold: Option<f64>,
    ) -> Result<(), DrawError> {
        let (first, last) = self.span();
        let (first, last) = (minutes(first), minutes(last));
        let values = || lines.iter().flat_map(Line::points).map(|(_, value)| value);
        let limits = threshold.into_iter().flat_map(|threshold| [threshold, -threshold]);
        let low = values().chain(limits.clone()).fold(f64::INFINITY, f64::min);
        let high = values().chain(limits).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = ((high - low) * 0.08).max(0.5);
        let (low, high) = (low - margin, high + margin);

        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(first..last, low..high)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(RULE)
            .x_labels(9)
            .y_labels(7)
            .x_label_formatter(&|minutes| clock(*minutes))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .y_desc(axis)
            .label_style((FONT, 13))
            .draw()?;
        for limit in threshold.into_iter().flat_map(|threshold| [threshold, -threshold]) {
            chart.draw_series(LineSeries::new([(first, limit), (last, limit)], RULE.stroke_width(1)))?;
        }
        for (at, _) in &self.alerts {
            chart.draw_series(LineSeries::new([(minutes(*at), low), (minutes(*at), high)], ALERT.stroke_width(2)))?;
        }
        for (line, color) in lines.iter().zip(LINES.iter().cycle()) {
            let style = color.stroke_width(2);
            for stretch in &line.stretches {
                let points = stretch.iter().map(|(at, value)| (minutes(*at), *value));
                chart.draw_series(LineSeries::new(points, style))?;
            }
            // Without points it is a line of the legend alone.
            chart
                .draw_series(LineSeries::new(std::iter::empty(), style))?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        if threshold.is_some() {
            for (_, text) in &self.alerts {
                chart
                    .draw_series(LineSeries::new(std::iter::empty(), ALERT))?
                    .label(text.as_str())
                    .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], ALERT.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(plotters::prelude::SeriesLabelPosition::UpperLeft)
                .label_font((FONT, 13))
                .background_style(WHITE.mix(0.85))
                .border_style(GRID)
                .draw()?;
        }
        Ok(())
    }

    /// Returns the first and the last moment of any point; never an empty stretch.
    fn span(&self) -> (i64, i64) {
        let times = || self.changes.iter().chain(&self.levels).flat_map(Line::points).map(|(at, _)| at);
        let first = times().min().unwrap_or_default();
        (first, times().max().unwrap_or_default().max(first + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn venues_rule_and_alerts_are_in_the_picture() {
        let line = |name: &str| Line { name: name.to_owned(), stretches: vec![vec![(0, 1.0), (60_000, 18.0)]] };
        let chart = Chart {
            title: "BTC <open interest>".to_owned(),
            changes: vec![line("binance"), line("okx")],
            changes_of: "change in 15 min, %".to_owned(),
            threshold: Some(15.0),
            levels: vec![line("binance")],
            alerts: vec![(60_000, "started +18 %".to_owned())],
        };
        let svg = chart.svg().unwrap();
        for text in ["BTC &lt;open interest&gt;", "binance", "okx", "started +18 %", "00:01"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert!(chart.png().unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart() {
        let chart = Chart {
            title: String::new(),
            changes: Vec::new(),
            changes_of: String::new(),
            threshold: None,
            levels: Vec::new(),
            alerts: Vec::new(),
        };
        assert!(chart.svg().unwrap().starts_with("<svg"));
    }
}
