//! Questions of an evaluation set: every topic, every task, and what training never shows.

use super::ask::{Asked, Asker, Topic};
use super::compose::{Split, is_pair, relational_object};
use super::held_out::{self, HeldOut};
use super::mention::{mentions, names};
use super::options::Level;
use super::scene::{Kind, Scene};
use super::tell::Teller;
use super::world::World;
use crate::error::{Error, Result};
use crate::task::{self, Inputs};
use crate::train::question::{Question, Reference};
use crate::train::sample::{Example, Target};
use crate::train::seed::seed_of;
use fastrand::Rng;

/// Scenes drawn until one has the question that is wanted.
const TRIES: u64 = 500;
/// Every so many scenes, one holds something held out.
const HELD_OUT_EVERY: u64 = 4;
const TASKS: [&str; 6] = ["caption", "grounding", "region_caption", "match", "vqa_match", "detect"];

/// What a question is about.
#[derive(Debug, Clone, Copy)]
enum Probe {
    Topic(Topic),
    Task(&'static str),
    HeldOut(HeldOut),
}

impl World {
    /// Questions about `count` scenes, each group as often as the others. Every scene is drawn for a question, and up to
    /// `each` are asked of it; of those that hold something held out only the one about that.
    pub fn questions(&self, seed: u64, count: u64, each: usize) -> impl Iterator<Item = Result<Question>> {
        (0..count).flat_map(move |index| match self.asked(seed, index, each) {
            Ok(questions) => questions.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }

    fn probe(&self, index: u64) -> Probe {
        let offered: Vec<HeldOut> =
            HeldOut::ALL.into_iter().filter(|&what| self.composer().offers(Split::HeldOut(what))).collect();
        let (round, place) = (index / HELD_OUT_EVERY, index % HELD_OUT_EVERY);
        if place == HELD_OUT_EVERY - 1 {
            return Probe::HeldOut(offered[round as usize % offered.len()]);
        }
        self.seen(round * (HELD_OUT_EVERY - 1) + place)
    }

    /// The topics and tasks in turn.
    fn seen(&self, turn: u64) -> Probe {
        let topics: Vec<Topic> =
            Topic::WEIGHTS.into_iter().map(|(topic, _)| topic).filter(|topic| self.has(*topic)).collect();
        let turn = turn as usize % (topics.len() + TASKS.len());
        topics.get(turn).map_or_else(|| Probe::Task(TASKS[turn - topics.len()]), |topic| Probe::Topic(*topic))
    }

    /// Whether the options leave what a topic is about.
    fn has(&self, topic: Topic) -> bool {
        match topic {
            Topic::Written => self.options().signs > 0.0,
            Topic::Name | Topic::Category => !self.nouns().is_empty(),
            _ => true,
        }
    }

    fn asked(&self, seed: u64, index: u64, each: usize) -> Result<Vec<Question>> {
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
            let scene = self.composer().compose(self.painter(), level, split, &mut rng)?;
            let Some(question) = self.ask(probe, &scene, &mut rng)? else { continue };
            let mut questions = vec![question];
            if split == Split::Seen {
                for turn in 1..each as u64 {
                    // Far from those of the scenes before and after, so that all have their turns on all scenes.
                    questions.extend(self.ask(self.seen(index * each as u64 + turn), &scene, &mut rng)?);
                }
            }
            let image = self.render(&scene)?;
            for (number, question) in questions.iter_mut().enumerate() {
                question.id = format!("scenes-{seed}-{index}-{number}");
                question.image = question.task.image.is_some().then(|| image.clone());
            }
            return Ok(questions);
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
        let (asked, group) = match probe {
            Probe::Topic(topic) => (asker.ask(topic, rng), topic.group()),
            Probe::HeldOut(what) => {
                let topic = match what {
                    HeldOut::Pair if rng.bool() => Topic::Colour,
                    HeldOut::Pair => Topic::Shape,
                    HeldOut::Relation => Topic::Relation,
                    HeldOut::Count => Topic::Count,
                    HeldOut::Style => Topic::Name,
                };
                let asked = asker.ask(topic, rng);
                let five = held_out::COUNT.1.to_string();
                (asked.filter(|asked| what != HeldOut::Count || asked.answer == five), what.group())
            }
            Probe::Task(name) => return self.ask_task(name, scene, rng),
        };
        let Some(Asked { question, answer, .. }) = asked else { return Ok(None) };
        let inputs = Inputs { text: Some(question), ..Inputs::default() };
        posed("vqa", inputs, Reference::Texts(vec![answer]), group)
    }

    fn ask_task(&self, name: &'static str, scene: &Scene, rng: &mut Rng) -> Result<Option<Question>> {
        let teller = Teller { scene, image: None, nouns: self.nouns(), held_out: false, coder: None };
        let Some(Example { inputs, target, .. }) = teller.example(name, rng)? else { return Ok(None) };
        let described = |region: &[f32; 4]| scene.objects.iter().find(|object| object.region == *region);
        let reference = match (name, target) {
            ("caption", _) => Reference::Mentions(mentions(scene)),
            ("region_caption", _) => match inputs.region.as_ref().and_then(described) {
                Some(object) => Reference::Mentions(vec![names(object)]),
                None => return Ok(None),
            },
            (_, Target::Text(text)) => Reference::Texts(vec![text]),
            (_, Target::Region(region)) => Reference::Region(region),
            (_, Target::Objects(objects)) => Reference::Objects(objects),
            (_, Target::Codes(_)) => return Ok(None),
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
