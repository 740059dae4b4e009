//! Examples of every pre-training task about a scene.

use super::ask::{Asked, Asker, Topic};
use super::describe::{Description, Hidden, Mentioned, refer};
use super::nouns::Noun;
use super::options::{ScenesOptions, TaskWeights};
use super::scene::Scene;
use super::statement::{Spoken, Statement};
use crate::config::STEM_STRIDE;
use crate::error::Result;
use crate::image::{Pixels, crop};
use crate::task::{self, Inputs, Task};
use crate::train::sample::{Example, Role, Shown, Target};
use fastrand::Rng;
use std::ops::Range;
use std::sync::Arc;

/// Topics tried until one can be asked of the scene.
const TRIES: usize = 12;
/// The share of a text's words that are masked.
const MASKED: f32 = 0.3;
const MASK: &str = "<mask>";

/// What makes image codes.
pub struct Codes {
    /// Pixels of the side that codes stand for.
    pub side: u32,
    /// The codes of a picture of this side, in raster order.
    pub encode: Box<Encode>,
}

/// From a picture to its codes.
pub type Encode = dyn Fn(&Pixels) -> Result<Vec<usize>> + Send + Sync;

/// Codes of a scene's pictures, which `draw` makes at any side.
#[derive(Clone, Copy)]
pub struct Coder<'a> {
    pub codes: &'a Codes,
    pub draw: &'a dyn Fn(u32) -> Result<Pixels>,
}

/// What training is told of a scene: about the picture, and beside it (reference §6.1).
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub main: Vec<Example>,
    pub extra: Vec<Example>,
    /// What lies in each patch of the picture.
    pub patches: Vec<String>,
}

/// What is asked, what is right, and the objects it is about where it is about some.
struct Posed {
    inputs: Inputs,
    target: Target,
    objects: Option<Mentioned>,
    spoken: Spoken,
}

/// An example, the objects its instruction is about, and those that its answer is about.
struct About {
    example: Example,
    objects: Option<Mentioned>,
    spoken: Spoken,
}

impl Posed {
    /// An instruction about some objects, and an answer about its targets.
    fn about(inputs: Inputs, target: Target, objects: Option<Mentioned>) -> Self {
        let spoken = objects.iter().map(|objects| (0..usize::MAX, objects.targets.clone())).collect();
        Self { inputs, target, objects, spoken }
    }
}

impl About {
    /// The example with what its instruction refers to, given the object in each patch.
    fn example(self, in_patches: &[Option<usize>]) -> Example {
        let shows = |objects: Mentioned| {
            in_patches.iter().map(|object| object.map_or(Role::Other, |object| objects.role(object))).collect()
        };
        let shown = |(part, objects): (Range<usize>, Vec<usize>)| {
            let of = |patch: &usize| in_patches[*patch].is_some_and(|object| objects.contains(&object));
            Shown { part, patches: (0..in_patches.len()).filter(of).collect() }
        };
        let shown = self.spoken.into_iter().map(shown).filter(|shown| !shown.patches.is_empty()).collect();
        Example { referred: self.objects.map(shows), shown, ..self.example }
    }
}

/// Who tells.
pub struct Teller<'a> {
    pub scene: &'a Scene,
    /// Goes into the examples; without one they have none.
    pub image: Option<&'a Arc<Pixels>>,
    pub nouns: &'a [Noun],
    /// Whether what training never says may be said.
    pub held_out: bool,
    /// Without it there are no tasks with codes.
    pub coder: Option<Coder<'a>>,
}

impl TaskWeights {
    fn main(&self) -> [(&'static str, f32); 6] {
        [
            ("caption", self.caption),
            ("vqa", self.vqa),
            ("grounding", self.grounding),
            ("region_caption", self.region_caption),
            ("match", self.matching),
            ("vqa_match", self.vqa_match),
        ]
    }

    fn extra(&self, codes: bool) -> Vec<(&'static str, f32)> {
        let mut tasks = vec![("detect", self.detect), ("infill_text", self.infill_text)];
        if codes {
            tasks.extend([("infill_image", self.infill_image), ("image_gen", self.image_gen)]);
        }
        tasks
    }
}

/// One by its weight; `None` if all weigh nothing.
pub fn weighted<T: Copy>(weights: &[(T, f32)], rng: &mut Rng) -> Option<T> {
    let mut at = rng.f32() * weights.iter().map(|(_, weight)| weight).sum::<f32>();
    let positive = weights.iter().filter(|(_, weight)| *weight > 0.0);
    let chosen = positive.clone().find(|(_, weight)| {
        at -= weight;
        at < 0.0
    });
    chosen.or(positive.last()).map(|(item, _)| *item)
}

fn text(text: String) -> Inputs {
    Inputs { text: Some(text), ..Inputs::default() }
}

impl Teller<'_> {
    /// Examples as often as the options say, none twice.
    ///
    /// # Errors
    /// Those of the codes.
    pub fn told(&self, options: &ScenesOptions, rng: &mut Rng) -> Result<Told> {
        let in_patches = self.scene.objects_in_patches(options.side.div_ceil(STEM_STRIDE as u32) as usize);
        let main = self.several(&options.tasks.main(), options.samples, rng)?;
        let whole = options.extra_samples.trunc();
        let number = whole as usize + usize::from(rng.f32() < options.extra_samples - whole);
        let extra = self.several(&options.tasks.extra(self.coder.is_some()), number, rng)?;
        let patches = in_patches.iter().map(|object| self.scene.label(*object)).collect();
        let [main, extra] = [main, extra].map(|told| told.into_iter().map(|told| told.example(&in_patches)).collect());
        Ok(Told { main, extra, patches })
    }

    fn several(&self, tasks: &[(&'static str, f32)], number: usize, rng: &mut Rng) -> Result<Vec<About>> {
        let mut told: Vec<About> = Vec::new();
        for _ in 0..number * TRIES {
            if told.len() == number {
                break;
            }
            let Some(name) = weighted(tasks, rng) else { break };
            if let Some(about) = self.about(name, rng)? {
                let same =
                    |other: &About| other.example.task.name == name && other.example.inputs == about.example.inputs;
                if !told.iter().any(same) {
                    told.push(about);
                }
            }
        }
        Ok(told)
    }

    /// One example of a task, if the scene has one.
    ///
    /// # Errors
    /// Those of the codes, and of a task that is not in the table.
    pub fn example(&self, name: &str, rng: &mut Rng) -> Result<Option<Example>> {
        Ok(self.about(name, rng)?.map(|about| about.example))
    }

    fn about(&self, name: &str, rng: &mut Rng) -> Result<Option<About>> {
        let task = task::find(name)?;
        if task.image.is_some_and(|rule| rule.hide_middle) {
            let example = self.coder.map(|coder| coder.infilling(task)).transpose()?;
            return Ok(example.map(|example| About { example, objects: None, spoken: Vec::new() }));
        }
        let Some(Posed { inputs, target, objects, spoken }) = self.posed(name, rng)? else { return Ok(None) };
        let image = self.image.filter(|_| task.image.is_some()).cloned();
        let example = Example { task, inputs, image, target, conf: 1.0, referred: None, shown: Vec::new() };
        Ok(Some(About { example, objects, spoken }))
    }

    fn posed(&self, name: &str, rng: &mut Rng) -> Result<Option<Posed>> {
        let plain = |inputs, target| Some(Posed::about(inputs, target, None));
        Ok(match name {
            "caption" => {
                let statement = Statement::in_reading_order(self.scene, self.held_out, rng);
                let (text, spoken) = statement.spoken(rng);
                Some(Posed { inputs: Inputs::default(), target: Target::Text(text), objects: None, spoken })
            }
            "vqa" => self
                .asked(rng)
                .map(|Asked { question, answer, about, .. }| Posed::about(text(question), Target::Text(answer), about)),
            "vqa_match" => self.asked(rng).and_then(|asked| judged(asked, rng)),
            "match" => self.matching(rng),
            "grounding" => self.phrase(rng),
            "region_caption" => self.region(rng),
            "detect" => {
                let objects = self.scene.in_reading_order().map(|object| (object.region, object.label()));
                let target = Target::Objects(objects.collect());
                let order = self.scene.reading_order().into_iter().enumerate();
                let spoken = order.map(|(place, object)| (place..place + 1, vec![object])).collect();
                Some(Posed { inputs: Inputs::default(), target, objects: None, spoken })
            }
            "infill_text" => {
                let whole = self.caption(rng);
                plain(text(masked(&whole, rng)), Target::Text(whole))
            }
            "image_gen" => match self.coder {
                Some(Coder { codes, draw }) => {
                    let picture = draw(codes.side)?;
                    plain(text(self.caption(rng)), Target::Codes((codes.encode)(&picture)?))
                }
                None => None,
            },
            _ => None,
        })
    }

    /// A sentence that names every object.
    pub fn caption(&self, rng: &mut Rng) -> String {
        Statement::of(self.scene, self.held_out, rng).text(rng)
    }

    fn asked(&self, rng: &mut Rng) -> Option<Asked> {
        let Self { scene, nouns, held_out, .. } = *self;
        let asker = Asker { scene, nouns, held_out, focus: None };
        (0..TRIES).find_map(|_| asker.ask(weighted(&Topic::WEIGHTS, rng)?, rng))
    }

    fn matching(&self, rng: &mut Rng) -> Option<Posed> {
        let mut statement = Statement::of(self.scene, self.held_out, rng);
        let matches = rng.bool();
        if !matches {
            statement = statement.falsified(self.scene, self.nouns, self.held_out, rng)?;
        }
        let objects = Some(statement.about(self.scene));
        Some(Posed::about(text(statement.text(rng)), yes(matches), objects))
    }

    fn phrase(&self, rng: &mut Rng) -> Option<Posed> {
        let index = rng.usize(..self.scene.objects.len());
        let phrase = refer(self.scene, index, Hidden::Nothing, self.held_out, rng)?;
        let objects = Some(phrase.mentions(index, self.scene));
        let phrase = phrase.text();
        let phrase = if rng.bool() { format!("the {phrase}") } else { phrase };
        let target = Target::Region(self.scene.objects[index].region);
        Some(Posed::about(text(phrase), target, objects))
    }

    fn region(&self, rng: &mut Rng) -> Option<Posed> {
        let index = rng.choice(0..self.scene.objects.len())?;
        let object = &self.scene.objects[index];
        let inputs = Inputs { region: Some(object.region), ..Inputs::default() };
        let target = Target::Text(Description::natural(object, rng).counted(1));
        Some(Posed::about(inputs, target, Some(index.into())))
    }
}

impl Coder<'_> {
    /// The picture of which only the rim is shown, and the codes of its middle: half of it each way (reference §5.3).
    fn infilling(&self, task: &'static Task) -> Result<Example> {
        let side = self.codes.side;
        let whole = (self.draw)(2 * side)?;
        let middle = crop(&whole, (side / 2, side / 2), side, side)?;
        let target = Target::Codes((self.codes.encode)(&middle)?);
        let image = Some(Arc::new(whole));
        let shown = Vec::new();
        Ok(Example { task, inputs: Inputs::default(), image, target, conf: 1.0, referred: None, shown })
    }
}

fn yes(is: bool) -> Target {
    Target::Text(if is { "yes" } else { "no" }.to_owned())
}

/// Whether an answer is right; half of them are not.
fn judged(asked: Asked, rng: &mut Rng) -> Option<Posed> {
    let right = rng.bool();
    let answer = if right { asked.answer } else { rng.choice(asked.wrong)? };
    let inputs = Inputs { text2: Some(answer), ..text(asked.question) };
    Some(Posed::about(inputs, yes(right), asked.about))
}

/// The text with a span of its words in place of which one mask stands.
fn masked(text: &str, rng: &mut Rng) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let length = ((words.len() as f32 * MASKED).ceil() as usize).min(words.len());
    let start = rng.usize(..=words.len() - length);
    let kept = [&words[..start], &[MASK], &words[start + length..]].concat();
    kept.join(" ")
}
