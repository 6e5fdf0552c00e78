//! What all pictures share: colours, the font, the time axis.

use std::ops::Range;

use jiff::Timestamp;
use plotters::{
    coord::Shift,
    prelude::{Color as _, DrawingArea, PathElement, RGBColor},
    style::{
        FontStyle, IntoFont as _, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use schemas::time::EventTime;

use super::{Canvas, DrawError};

/// The family: the viewer's own in an SVG, the built-in one on a canvas.
pub(crate) const FONT: &str = "sans-serif";

/// Colours that people with any colour vision tell apart (Okabe and Ito; yellow, which is weak on white, is a brown).
pub(crate) const LINES: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
    RGBColor(140, 86, 75),
];

/// The rule's lines and the axes.
pub(crate) const RULE: RGBColor = RGBColor(120, 120, 120);

/// Lines of the grid.
pub(crate) const GRID: RGBColor = RGBColor(230, 230, 230);

/// The moment an alert fired.
pub(crate) const ALERT: RGBColor = RGBColor(200, 0, 0);

/// Returns a time as an axis counts it: in minutes, so that its steps are round ones.
pub(crate) fn minutes(millis: i64) -> f64 {
    millis as f64 / 60_000.0
}

/// Returns the time of day, UTC, at a place of an axis in [`minutes`]: `14:31`.
pub(crate) fn clock(minutes: f64) -> String {
    moment((minutes * 60_000.0).round() as i64, "%H:%M")
}

/// Returns a time in milliseconds since 1970 in a form of `strftime`, UTC.
pub(crate) fn moment(millis: i64, form: &str) -> String {
    Timestamp::from_millisecond(millis).map(|at| at.strftime(form).to_string()).unwrap_or_default()
}

/// Width and height of a chart in pixels: it is shown about half as wide on a phone, so text and lines are large.
pub(super) const SIZE: (u32, u32) = (800, 450);

/// Sizes of text in pixels an em.
pub(super) const TITLE_EM: u32 = 30;
/// See [`TITLE_EM`].
pub(super) const LABEL_EM: u32 = 23;

/// Space at the left and right edge in pixels.
pub(super) const EDGE: i32 = 16;

/// Heights in pixels at which the lines of the head are centred, and where the plot begins.
pub(super) const TITLE_Y: i32 = 30;
/// See [`TITLE_Y`].
pub(super) const HEAD_Y: i32 = 68;
/// See [`TITLE_Y`].
pub(super) const PLOT_TOP: i32 = 94;

/// Height in pixels of the strip above and below what is plotted, where labels stand.
pub(super) const STRIP: i32 = 34;

/// Characters of a name that are shown; a longer one is cut.
const NAME_CHARS_MAX: usize = 12;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(35, 35, 40);

/// Behind the rule's window.
pub(super) const WINDOW: RGBColor = RGBColor(255, 244, 214);

/// An area of the whole picture.
pub(super) type Area<'a> = DrawingArea<Canvas<'a>, Shift>;

/// Returns text of this size and colour, anchored at its left end and in the middle of its height.
pub(super) fn text(em: u32, color: RGBColor) -> TextStyle<'static> {
    let pos = Pos::new(HPos::Left, VPos::Center);
    // Plotters draws a font of size 1.24 as one of 1 em.
    let font = (FONT, f64::from(em) * 1.24).into_font();
    TextStyle { font, color: color.to_backend_color(), pos }
}

/// Returns [`text`] in bold.
pub(super) fn bold(em: u32, color: RGBColor) -> TextStyle<'static> {
    let mut style = text(em, color);
    style.font = style.font.style(FontStyle::Bold);
    style
}

/// Returns the text anchored at its right end.
pub(super) fn to_the_left(style: TextStyle<'_>) -> TextStyle<'_> {
    style.pos(Pos::new(HPos::Right, VPos::Center))
}

/// Returns the width of a text in pixels.
pub(super) fn width(area: &Area<'_>, text: &str, style: &TextStyle<'_>) -> Result<i32, DrawError> {
    let (width, _) = area.estimate_text_size(text, style)?;
    Ok(i32::try_from(width).unwrap_or(i32::MAX))
}

/// Returns a name as it is drawn: cut where it is long.
pub(super) fn name(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Marks the alert at the right end of a plot, its time in the upper strip.
pub(super) fn mark(area: &Area<'_>, (x, y): (Range<i32>, Range<i32>), at: EventTime) -> Result<(), DrawError> {
    area.draw(&PathElement::new([(x.end, y.start), (x.end, y.end)], INK.stroke_width(3)))?;
    let label = moment(at.as_millis(), "alert %H:%M:%S UTC");
    area.draw_text(&label, &to_the_left(bold(LABEL_EM, INK)), (x.end - 10, y.start + STRIP / 2))?;
    Ok(())
}
