//! The world of the options: its scenes, their pictures, and what is told of them.

use super::compose::{Composer, Split};
use super::drawing::Drawings;
use super::nouns::Noun;
use super::options::{Level, ScenesOptions};
use super::render::Painter;
use super::scene::Scene;
use super::stickers::Stickers;
use super::tell::{Coder, Codes, Teller, Told};
use super::words::Style;
use crate::error::Result;
use crate::image::Pixels;
use crate::train::seed::seed_of;
use fastrand::Rng;
use std::sync::Arc;

/// The style that is held out if its set is there: nothing of it is shipped.
const UNSEEN: Style = Style::Openmoji;

/// Everything that scenes are drawn from and with.
#[derive(Debug)]
pub struct World {
    options: ScenesOptions,
    painter: Painter,
    composer: Composer,
}

impl World {
    /// Loads and renders the stickers.
    ///
    /// # Errors
    /// [`Error::Option`](crate::error::Error::Option) for an option out of range,
    /// [`Error::File`](crate::error::Error::File) for a sticker set that cannot be read.
    pub fn new(options: ScenesOptions) -> Result<Self> {
        options.check()?;
        // The largest sticker is about half as wide as the picture, and the picture whose middle is coded may be twice as
        // large as others.
        let largest = if options.codes.is_some() { options.side } else { options.side.div_ceil(2) };
        let stickers = Stickers::load(options.stickers.as_deref(), options.nouns, largest)?;
        let drawn: Vec<Style> = Style::ALL.iter().copied().filter(|&style| stickers.has_style(style)).collect();
        let held_out_style =
            options.held_out_style.or(drawn.contains(&UNSEEN).then_some(UNSEEN)).or(drawn.last().copied());
        let styles = options.styles.clone().unwrap_or(drawn);
        let held_out_style = held_out_style.filter(|&style| stickers.has_style(style));
        let styles: Vec<Style> = styles.into_iter().filter(|&style| Some(style) != held_out_style).collect();
        let nouns: Vec<Noun> =
            stickers.nouns().filter(|&noun| styles.iter().any(|&style| stickers.get(noun, style).is_some())).collect();
        let composer =
            Composer { nouns, styles, held_out_style, max_objects: options.max_objects, signs: options.signs };
        Ok(Self { options, painter: Painter { drawings: Drawings::new()?, stickers }, composer })
    }

    pub fn options(&self) -> &ScenesOptions {
        &self.options
    }

    /// The nouns that are drawn.
    pub fn nouns(&self) -> &[Noun] {
        &self.composer.nouns
    }

    /// What draws the scenes.
    pub fn painter(&self) -> &Painter {
        &self.painter
    }

    /// How many artists' drawings training shows.
    pub fn styles(&self) -> usize {
        self.composer.styles.len()
    }

    pub(super) fn composer(&self) -> &Composer {
        &self.composer
    }

    /// What the user should know of the stickers that were found.
    pub fn notes(&self) -> &[String] {
        self.painter.stickers.notes()
    }

    /// The picture of a scene.
    ///
    /// # Errors
    /// [`Error::Image`](crate::error::Error::Image) for a sticker that was not loaded.
    pub fn render(&self, scene: &Scene) -> Result<Pixels> {
        self.painter.render(scene, self.options.side)
    }

    /// The scene of a draw of training, and what draws the texts about it.
    ///
    /// # Errors
    /// [`Error::Option`](crate::error::Error::Option) if the options leave no scene.
    pub fn scene(&self, epoch: u64, index: u64) -> Result<(Scene, Rng)> {
        let mut rng = Rng::with_seed(seed_of(&[self.options.seed, epoch, index]));
        let position = epoch.saturating_mul(self.options.epoch.unwrap_or(0)).saturating_add(index);
        let level = Level::draw(position, self.options.curriculum, &mut rng);
        let scene = self.composer.compose(&self.painter, level, Split::Seen, &mut rng)?;
        Ok((scene, rng))
    }

    /// What training is told at a draw. Tasks with codes are left out without `codes`.
    ///
    /// # Errors
    /// Those of [`World::scene`] and of `codes`.
    pub fn told(&self, epoch: u64, index: u64, codes: Option<&Codes>) -> Result<Told> {
        let (scene, mut rng) = self.scene(epoch, index)?;
        let image = Arc::new(self.render(&scene)?);
        let draw = |side: u32| self.painter.render(&scene, side);
        let coder = codes.map(|codes| Coder { codes, draw: &draw });
        let teller = Teller { scene: &scene, image: Some(&image), nouns: self.nouns(), held_out: false, coder };
        teller.told(&self.options, &mut rng)
    }
}
