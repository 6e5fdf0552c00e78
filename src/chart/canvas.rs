//! A picture of pixels that plotters draws on: smooth lines, and text in a font that is part of the program.

use std::{collections::BTreeMap, convert::Infallible};

use ab_glyph::{Font as _, FontRef, Glyph, PxScale, ScaleFont as _, point};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    text_anchor::{HPos, VPos},
};

use super::DrawError;

/// Height of a capital letter of Noto Sans, in parts of its size (its `OS/2` table: 714 of 1000 units).
const CAPITAL: f32 = 0.714;

/// Steps from nothing to the full colour at smooth edges: few, so that the file is small.
const SHADES: f64 = 8.0;

/// A picture, 8 bits a colour and three bytes a pixel.
pub(crate) struct Canvas<'a> {
    size: (u32, u32),
    pixels: &'a mut [u8],
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Canvas<'_> {
    /// Returns what `draw` draws on white as PNG.
    pub(crate) fn png(
        (width, height): (u32, u32),
        draw: impl FnOnce(Canvas<'_>) -> Result<(), DrawError>,
    ) -> Result<Vec<u8>, DrawError> {
        let mut pixels = vec![u8::MAX; 3 * width as usize * height as usize];
        let font = |bytes| FontRef::try_from_slice(bytes).expect("the built-in font is a font");
        let (regular, bold) = (font(notosans::REGULAR_TTF), font(notosans::BOLD_TTF));
        draw(Canvas { size: (width, height), pixels: &mut pixels, regular, bold })?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // Flat areas repeat themselves: filters cost a fifth of the size here.
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(file)
    }

    fn blend(&mut self, (x, y): BackendCoord, color: BackendColor) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.size.0 || y >= self.size.1 {
            return;
        }
        let at = 3 * (y as usize * self.size.0 as usize + x as usize);
        let (red, green, blue) = color.rgb;
        let alpha = (color.alpha * SHADES).round() / SHADES;
        for (old, new) in self.pixels[at..at + 3].iter_mut().zip([red, green, blue]) {
            let mixed = f64::from(*old) + (f64::from(new) - f64::from(*old)) * alpha;
            *old = mixed.round() as u8;
        }
    }

    fn font(&self, style: FontStyle) -> &FontRef<'static> {
        match style {
            FontStyle::Bold => &self.bold,
            FontStyle::Normal | FontStyle::Oblique | FontStyle::Italic => &self.regular,
        }
    }

    /// Returns the glyphs of a text whose first one begins at the origin, and where the text ends.
    fn glyphs(&self, text: &str, style: &impl BackendTextStyle) -> (Vec<Glyph>, f32) {
        let font = self.font(style.style());
        let scale = PxScale::from(pixels(style) * font.height_unscaled() / font.units_per_em().unwrap_or(1000.0));
        let scaled = font.as_scaled(scale);
        let mut end = 0.0;
        let mut glyphs: Vec<Glyph> = Vec::with_capacity(text.len());
        for character in text.chars() {
            let id = font.glyph_id(character);
            end += glyphs.last().map_or(0.0, |last| scaled.kern(last.id, id));
            glyphs.push(id.with_scale_and_position(scale, point(end, 0.0)));
            end += scaled.h_advance(id);
        }
        (glyphs, end)
    }
}

/// Returns the size of a font in pixels an em, as plotters writes it into an SVG.
fn pixels(style: &impl BackendTextStyle) -> f32 {
    (style.size() / 1.24) as f32
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    /// What lies outside is left out.
    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.blend(point, color);
        Ok(())
    }

    /// Draws the path with round ends and joints; a pixel takes the colour by its distance from the nearest segment.
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let path: Vec<_> = path.into_iter().collect();
        let reach = f64::from(style.stroke_width()) / 2.0;
        let margin = reach.ceil() as i32;
        let mut nearest: BTreeMap<BackendCoord, f64> = BTreeMap::new();
        for ends in path.windows(2) {
            let [from, to] = [ends[0], ends[1]];
            for x in from.0.min(to.0) - margin..=from.0.max(to.0) + margin {
                for y in from.1.min(to.1) - margin..=from.1.max(to.1) + margin {
                    let distance = distance((x, y), from, to);
                    if distance < reach + 0.5 {
                        let nearest = nearest.entry((x, y)).or_insert(distance);
                        *nearest = nearest.min(distance);
                    }
                }
            }
        }
        let color = style.color();
        for (point, distance) in nearest {
            let alpha = color.alpha * (reach + 0.5 - distance).min(1.0);
            self.blend(point, BackendColor { alpha, ..color });
        }
        Ok(())
    }

    /// Draws the text with the anchor at its capital letters, not at its accents.
    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        let (glyphs, width) = self.glyphs(text, style);
        let capital = CAPITAL * pixels(style);
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Right => -width,
            HPos::Center => -width / 2.0,
        };
        let baseline = match style.anchor().v_pos {
            VPos::Top => capital,
            VPos::Center => capital / 2.0,
            VPos::Bottom => 0.0,
        };
        let (color, turn) = (style.color(), style.transform());
        let font = self.font(style.style()).clone();
        for mut glyph in glyphs {
            glyph.position += point(left, baseline.round());
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|glyph_x, glyph_y, coverage| {
                let (dx, dy) = turn.transform(corner.x as i32 + glyph_x as i32, corner.y as i32 + glyph_y as i32);
                let alpha = color.alpha * f64::from(coverage.clamp(0.0, 1.0));
                self.blend((x + dx, y + dy), BackendColor { alpha, ..color });
            });
        }
        Ok(())
    }

    /// Returns the width of a text and the height of its capital letters.
    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let (_, width) = self.glyphs(text, style);
        Ok((width.ceil() as u32, (CAPITAL * pixels(style)).ceil() as u32))
    }
}

/// Returns the distance of a point from a segment.
fn distance(point: BackendCoord, from: BackendCoord, to: BackendCoord) -> f64 {
    let difference = |to: BackendCoord, from: BackendCoord| (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let ((dx, dy), (px, py)) = (difference(to, from), difference(point, from));
    let length = dx.hypot(dy);
    let along = if length > 0.0 { ((px * dx + py * dy) / (length * length)).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).hypot(py - along * dy)
}
