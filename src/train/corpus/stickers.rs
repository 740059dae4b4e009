//! Drawings of nouns: read from Iconify's JSON, rendered once at start.

use super::nouns::Noun;
use super::outline::Outline;
use super::words::Style;
use crate::error::{Error, Result};
use rayon::prelude::*;
use resvg::tiny_skia::{Pixmap, PixmapPaint, Transform};
use resvg::usvg;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A drawing is measured at this side before it is rendered to fill its square.
const MEASURE: u32 = 64;
/// The smallest copy kept of a drawing.
const SMALLEST: u32 = 12;

/// The set of a style as the crate ships it; nothing of OpenMoji is shipped.
fn committed(style: Style) -> Option<&'static str> {
    match style {
        Style::Noto => Some(include_str!("../../../assets/stickers/noto.json")),
        Style::Fluent => Some(include_str!("../../../assets/stickers/fluent-emoji-flat.json")),
        Style::Twemoji => Some(include_str!("../../../assets/stickers/twemoji.json")),
        Style::Emojione => Some(include_str!("../../../assets/stickers/emojione.json")),
        Style::Openmoji => None,
    }
}

/// Where `make stickers` puts the whole sets.
pub fn fetched_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(cache.join("ofa/stickers"))
}

#[derive(Deserialize)]
struct IconSet {
    icons: HashMap<String, Icon>,
    #[serde(default)]
    aliases: HashMap<String, Alias>,
    #[serde(default = "side")]
    width: f32,
    #[serde(default = "side")]
    height: f32,
}

#[derive(Deserialize)]
struct Icon {
    body: String,
    width: Option<f32>,
    height: Option<f32>,
}

#[derive(Deserialize)]
struct Alias {
    parent: String,
}

/// Iconify's own default.
fn side() -> f32 {
    16.0
}

impl IconSet {
    fn read(name: &str, text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::file(name, error))
    }

    fn icon(&self, name: &str) -> Option<&Icon> {
        self.icons.get(name).or_else(|| self.icons.get(&self.aliases.get(name)?.parent))
    }

    fn svg(&self, name: &str) -> Option<String> {
        let icon = self.icon(name)?;
        let (width, height) = (icon.width.unwrap_or(self.width), icon.height.unwrap_or(self.height));
        Some(svg(&format!(r#"width="{width}" height="{height}""#), &icon.body))
    }
}

fn svg(attributes: &str, body: &str) -> String {
    let names = r#"xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink""#;
    format!("<svg {names} {attributes}>{body}</svg>")
}

/// The drawings of nouns in a style that the crate ships, as SVGs that their visible parts fill.
///
/// # Errors
/// [`Error::File`] for a drawing that cannot be read.
pub fn vectors(style: Style, nouns: &[Noun]) -> Result<Vec<(Noun, String)>> {
    let Some(text) = committed(style) else { return Ok(Vec::new()) };
    let set = IconSet::read(style.word(), text)?;
    let mut drawn = Vec::new();
    for &noun in nouns {
        let (Some(icon), Some(whole)) = (set.icon(noun.slug()), set.svg(noun.slug())) else { continue };
        let failed = |why: String| Error::file(style.word(), format!("{}: {why}", noun.slug()));
        let ([x, y], side) = visible(&tree(&whole).map_err(failed)?).map_err(failed)?;
        let view = [x - side / 2.0, y - side / 2.0, side, side].map(|at| format!("{at:.2}")).join(" ");
        // A size of their own, because some browsers draw no SVG without one.
        drawn.push((noun, svg(&format!(r#"width="256" height="256" viewBox="{view}""#), &icon.body)));
    }
    Ok(drawn)
}

/// The drawings of some nouns in some styles.
#[derive(Debug)]
pub struct Stickers {
    /// By noun, then by style.
    drawings: Vec<Vec<Option<Sticker>>>,
    notes: Vec<String>,
}

/// A drawing at several sizes, each half of the one before.
#[derive(Debug)]
pub struct Sticker {
    copies: Vec<Pixmap>,
    pub outline: Outline,
}

impl Stickers {
    /// Reads the sets in `folder`, and for those that are not there the ones in the crate; renders the first `nouns`
    /// of the list at `side` pixels.
    ///
    /// # Errors
    /// [`Error::File`] for a set that cannot be read or drawn.
    pub fn load(folder: Option<&Path>, nouns: usize, side: u32) -> Result<Self> {
        let mut stickers = Self { drawings: Noun::all().map(|_| Vec::new()).collect(), notes: Vec::new() };
        let mut whole = true;
        for &style in Style::ALL {
            let path = folder.map(|folder| folder.join("node_modules/@iconify-json").join(style.word()));
            let path = path.map(|path| path.join("icons.json")).filter(|path| path.is_file());
            let name = path.as_ref().map_or_else(|| style.word().to_owned(), |path| path.display().to_string());
            let read = |path: PathBuf| std::fs::read_to_string(path).map_err(|error| Error::file(&name, error));
            let text = path.map(read).transpose()?;
            whole &= text.is_some();
            let Some(text) = text.as_deref().or(committed(style)) else { continue };
            let set = IconSet::read(&name, text)?;
            let listed: Vec<Noun> = Noun::all().take(nouns).collect();
            let drawn = listed.par_iter().map(|noun| {
                let svg = set.svg(noun.slug());
                svg.map(|svg| {
                    Sticker::draw(&svg, side).map_err(|why| Error::file(&name, format!("{}: {why}", noun.slug())))
                })
            });
            for (noun, sticker) in listed.iter().zip(drawn.collect::<Vec<_>>()) {
                stickers.drawings[noun.index()].push(sticker.transpose()?);
            }
        }
        if !whole {
            let known = stickers.nouns().count();
            stickers
                .notes
                .push(format!("the sticker sets are not all there (`make stickers`): {known} nouns are drawn"));
        }
        Ok(stickers)
    }

    /// What the user should know of what was found.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The drawing, if its set has one.
    pub fn get(&self, noun: Noun, style: Style) -> Option<&Sticker> {
        self.drawings.get(noun.index())?.get(style as usize)?.as_ref()
    }

    /// Nouns drawn in at least one style.
    pub fn nouns(&self) -> impl Iterator<Item = Noun> {
        Noun::all().filter(|&noun| Style::ALL.iter().any(|&style| self.get(noun, style).is_some()))
    }

    /// Whether anything is drawn in a style.
    pub fn has_style(&self, style: Style) -> bool {
        self.nouns().any(|noun| self.get(noun, style).is_some())
    }
}

impl Sticker {
    /// The drawing's visible part, centred in its square and filling it.
    fn draw(svg: &str, side: u32) -> std::result::Result<Self, String> {
        let tree = tree(svg)?;
        let (centre, whole) = visible(&tree)?;
        let scale = side as f32 / whole;
        let half = side as f32 / 2.0;
        let fitted = Transform::from_row(scale, 0.0, 0.0, scale, half - scale * centre[0], half - scale * centre[1]);
        let mut copies = vec![render(&tree, side, fitted)?];
        let outline = Outline::of(&copies[0]);
        while let Some(half) = copies.last().filter(|copy| copy.width() / 2 >= SMALLEST).and_then(halved) {
            copies.push(half);
        }
        Ok(Self { copies, outline })
    }

    /// The smallest copy that is not smaller than `side`.
    pub fn copy(&self, side: f32) -> &Pixmap {
        let enough = self.copies.iter().rev().find(|copy| copy.width() as f32 >= side);
        enough.unwrap_or(&self.copies[0])
    }
}

fn tree(svg: &str) -> std::result::Result<usvg::Tree, String> {
    usvg::Tree::from_str(svg, &usvg::Options::default()).map_err(|error| error.to_string())
}

/// The centre and the side of the square around a drawing's visible part.
fn visible(tree: &usvg::Tree) -> std::result::Result<([f32; 2], f32), String> {
    let whole = tree.size().width().max(tree.size().height());
    let scale = MEASURE as f32 / whole;
    let draft = render(tree, MEASURE, Transform::from_scale(scale, scale))?;
    let [left, top, right, bottom] = Outline::of(&draft).region([0.5, 0.5], 0.5, 0.0);
    if left >= right || top >= bottom {
        return Err("nothing is to be seen".to_owned());
    }
    let centre = [(left + right) / 2.0 * whole, (top + bottom) / 2.0 * whole];
    Ok((centre, (right - left).max(bottom - top) * whole))
}

fn render(tree: &usvg::Tree, side: u32, transform: Transform) -> std::result::Result<Pixmap, String> {
    let mut pixmap = Pixmap::new(side, side).ok_or("no picture has a side of zero")?;
    resvg::render(tree, transform, &mut pixmap.as_mut());
    Ok(pixmap)
}

/// Half as wide: exactly at half the scale, bilinear sampling is the mean of four pixels.
fn halved(pixmap: &Pixmap) -> Option<Pixmap> {
    let mut half = Pixmap::new(pixmap.width() / 2, pixmap.height() / 2)?;
    let scale = half.width() as f32 / pixmap.width() as f32;
    let paint = PixmapPaint { quality: resvg::tiny_skia::FilterQuality::Bilinear, ..PixmapPaint::default() };
    half.draw_pixmap(0, 0, pixmap.as_ref(), &paint, Transform::from_scale(scale, scale), None);
    Some(half)
}
