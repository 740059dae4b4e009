//! The world of the options: its scenes, their pictures, and what is told and asked of them.

use super::ask::{Asked, Asker, Topic};
use super::compose::{Composer, Split, is_pair, relational_object};
use super::drawing::Drawings;
use super::held_out::HeldOut;
use super::nouns::Noun;
use super::options::{Level, ScenesOptions};
use super::render::Painter;
use super::scene::{Kind, Scene};
use super::stickers::Stickers;
use super::tell::{Codes, Teller, Told};
use super::words::Style;
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::task::{self, Inputs};
use crate::train::question::{Question, Reference};
use crate::train::sample::{Example, Target};
use crate::train::seed::seed_of;
use fastrand::Rng;
use std::sync::Arc;

/// The style that is held out if its set is there: nothing of it is shipped.
const UNSEEN: Style = Style::Openmoji;
/// Scenes drawn until one has the question that is wanted.
const TRIES: u64 = 500;
/// Every so many questions of an evaluation set, one is about something held out.
const HELD_OUT_EVERY: u64 = 4;
/// Captions that a prediction is compared with.
const REFERENCES: usize = 5;

/// Everything that scenes are drawn from and with.
#[derive(Debug)]
pub struct World {
    options: ScenesOptions,
    painter: Painter,
    composer: Composer,
}

/// What one question of an evaluation set is about.
#[derive(Debug, Clone, Copy)]
enum Probe {
    Topic(Topic),
    Task(&'static str),
    HeldOut(HeldOut),
}

impl World {
    /// Loads and renders the stickers.
    ///
    /// # Errors
    /// [`Error::Option`] for an option out of range, [`Error::File`] for a sticker set that cannot be read.
    pub fn new(options: ScenesOptions) -> Result<Self> {
        options.check()?;
        // The largest sticker is about half as wide as the picture.
        let stickers = Stickers::load(options.stickers.as_deref(), options.nouns, options.side.div_ceil(2))?;
        let drawn: Vec<Style> = Style::ALL.iter().copied().filter(|&style| stickers.has_style(style)).collect();
        let held_out_style =
            options.held_out_style.or(drawn.contains(&UNSEEN).then_some(UNSEEN)).or(drawn.last().copied());
        let styles = options.styles.clone().unwrap_or(drawn);
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

    /// What the user should know of the stickers that were found.
    pub fn notes(&self) -> &[String] {
        self.painter.stickers.notes()
    }

    /// The picture of a scene.
    ///
    /// # Errors
    /// [`Error::Image`] for a sticker that was not loaded.
    pub fn render(&self, scene: &Scene) -> Result<Pixels> {
        self.painter.render(scene, self.options.side)
    }

    /// The scene of a draw of training, and what draws the texts about it.
    ///
    /// # Errors
    /// [`Error::Option`] if the options leave no scene.
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
        let teller = Teller { scene: &scene, image: Some(&image), nouns: self.nouns(), held_out: false, codes };
        teller.told(&self.options, &mut rng)
    }

    /// `count` questions about scenes of their own, each group as often as the others.
    pub fn questions(&self, seed: u64, count: u64) -> impl Iterator<Item = Result<Question>> {
        (0..count).map(move |index| self.question(seed, index))
    }

    fn probe(&self, index: u64) -> Probe {
        const TASKS: [&str; 5] = ["caption", "grounding", "region_caption", "match", "detect"];
        let offered: Vec<HeldOut> =
            HeldOut::ALL.into_iter().filter(|&what| self.composer.offers(Split::HeldOut(what))).collect();
        let (round, place) = (index / HELD_OUT_EVERY, index % HELD_OUT_EVERY);
        if place == HELD_OUT_EVERY - 1 {
            return Probe::HeldOut(offered[round as usize % offered.len()]);
        }
        let topics: Vec<Topic> =
            Topic::WEIGHTS.into_iter().map(|(topic, _)| topic).filter(|topic| self.has(*topic)).collect();
        let turn = (round * (HELD_OUT_EVERY - 1) + place) as usize % (topics.len() + TASKS.len());
        topics.get(turn).map_or_else(|| Probe::Task(TASKS[turn - topics.len()]), |topic| Probe::Topic(*topic))
    }

    /// Whether the options leave what a topic is about.
    fn has(&self, topic: Topic) -> bool {
        match topic {
            Topic::Written => self.options.signs > 0.0,
            Topic::Name | Topic::Category => !self.composer.nouns.is_empty(),
            _ => true,
        }
    }

    fn question(&self, seed: u64, index: u64) -> Result<Question> {
        let probe = self.probe(index);
        for attempt in 0..TRIES {
            // Nothing that is drawn for training is drawn from a seed of three parts that begins so.
            let mut rng = Rng::with_seed(seed_of(&[!seed, index, attempt]));
            let split = match probe {
                Probe::HeldOut(what) => Split::HeldOut(what),
                _ => Split::Seen,
            };
            let level = Level::draw(1, 0, &mut rng);
            let level = if probe.needs_several() { Level::Several } else { level };
            let scene = self.composer.compose(&self.painter, level, split, &mut rng)?;
            if let Some(mut question) = self.ask(probe, &scene, &mut rng)? {
                question.id = format!("scenes-{seed}-{index}");
                if question.task.image.is_some() {
                    question.image = Some(self.render(&scene)?);
                }
                return Ok(question);
            }
        }
        Err(Error::option("scenes", format!("a world where {probe:?} can be asked"), "options that leave none"))
    }

    fn ask(&self, probe: Probe, scene: &Scene, rng: &mut Rng) -> Result<Option<Question>> {
        let held_out = matches!(probe, Probe::HeldOut(_));
        let focus = match probe {
            Probe::HeldOut(HeldOut::Pair) => scene.objects.iter().position(|object| is_pair(object.kind)),
            Probe::HeldOut(HeldOut::Relation) => relational_object(scene),
            Probe::HeldOut(HeldOut::Style | HeldOut::Count) => {
                scene.objects.iter().position(|object| matches!(object.kind, Kind::Sticker { .. }))
            }
            _ => None,
        };
        let asker = Asker { scene, nouns: self.nouns(), held_out, focus };
        let one = |topics: &[Topic], rng: &mut Rng| topics[rng.usize(..topics.len())];
        let (asked, group) = match probe {
            Probe::Topic(topic) => (asker.ask(topic, rng), topic.group()),
            Probe::HeldOut(what) => {
                let topic = match what {
                    HeldOut::Pair => one(&[Topic::Colour, Topic::Shape], rng),
                    HeldOut::Relation => Topic::Relation,
                    HeldOut::Count => Topic::Count,
                    HeldOut::Style => one(&[Topic::Name, Topic::Category, Topic::Where], rng),
                };
                let asked = asker.ask(topic, rng);
                let five = super::held_out::COUNT.1.to_string();
                (asked.filter(|asked| what != HeldOut::Count || asked.answer == five), what.group())
            }
            Probe::Task(name) => return self.ask_task(name, scene, rng),
        };
        let Some(Asked { question, answer, .. }) = asked else { return Ok(None) };
        let inputs = Inputs { text: Some(question), ..Inputs::default() };
        posed("vqa", inputs, Reference::Texts(vec![answer]), group)
    }

    fn ask_task(&self, name: &'static str, scene: &Scene, rng: &mut Rng) -> Result<Option<Question>> {
        let teller = Teller { scene, image: None, nouns: self.nouns(), held_out: false, codes: None };
        let Some(Example { inputs, target, .. }) = teller.example(name, rng)? else { return Ok(None) };
        let reference = match target {
            Target::Text(_) if name == "caption" => {
                Reference::Texts((0..REFERENCES).map(|_| teller.caption(rng)).collect())
            }
            Target::Text(text) => Reference::Texts(vec![text]),
            Target::Region(region) => Reference::Region(region),
            Target::Objects(objects) => Reference::Objects(objects),
            Target::Codes(_) => return Ok(None),
        };
        posed(name, inputs, reference, name)
    }
}

impl Probe {
    fn needs_several(self) -> bool {
        matches!(self, Self::Topic(Topic::Relation | Topic::Compare | Topic::Count) | Self::HeldOut(HeldOut::Count))
    }
}

fn posed(name: &str, inputs: Inputs, reference: Reference, group: &str) -> Result<Option<Question>> {
    let (id, image, group) = (String::new(), None, Some(group.to_owned()));
    Ok(Some(Question { id, task: task::find(name)?, image, inputs, reference, group }))
}
