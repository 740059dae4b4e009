//! Whether a model draws the shape of which it sees only what sticks out of the hidden middle.

use super::compose::Split;
use super::held_out;
use super::options::Level;
use super::scene::{Kind, Object, Scene};
use super::words::{Colour, Pattern, Shape, Size};
use super::world::World;
use crate::config::AnswerOptions;
use crate::error::{Error, Result};
use crate::image::{Pixels, crop};
use crate::predict::{ImageCodes, Predictor};
use crate::task::{self, Answer, Inputs};
use crate::train::seed::seed_of;
use fastrand::Rng;

/// Half of the shape's side, and how far its centre is from the picture's: an eighth of the side sticks out.
const RADIUS: f32 = 0.24;
const ASIDE: f32 = 0.13;

/// The share of `count` pictures, each of one shape, into whose hidden middle a model draws what is nearer to that shape
/// than to any other in the same place and colour.
///
/// # Errors
/// Those of the world, of answering and of decoding.
pub async fn infilled_shapes(
    predictor: &Predictor,
    codes: &ImageCodes,
    world: &World,
    seed: u64,
    count: u64,
) -> Result<f64> {
    let (task, options) = (task::find("infill_image")?, AnswerOptions::default());
    let side = predictor.config().code_image_size as u32;
    let mut right = 0;
    for index in 0..count {
        let (shape, scenes) = world.rivals(seed, index)?;
        let (_, scene) = scenes.iter().find(|(rival, _)| *rival == shape).ok_or_else(|| Error::image("no shape"))?;
        let picture = world.painter().render(scene, 2 * side)?;
        let image = predictor.encode_image(task, &picture, &options).await?;
        let answered = predictor.answer(task, Some(&image), &Inputs::default(), &options, async |_| Ok(())).await?;
        let Answer::Codes { codes: sequences, .. } = answered.answer else { continue };
        let Some(found) = sequences.first() else { continue };
        let drawn = codes.decode(found, predictor.config().code_grid()).await?;
        let far = |(rival, scene): &(Shape, Scene)| {
            let middle = crop(&world.painter().render(scene, 2 * side)?, (side / 2, side / 2), side, side)?;
            Ok((distance(&middle, &drawn), *rival))
        };
        let distances = scenes.iter().map(far).collect::<Result<Vec<_>>>()?;
        let nearest = distances.into_iter().min_by_key(|(distance, _)| *distance);
        right += u64::from(nearest.is_some_and(|(_, rival)| rival == shape));
    }
    Ok(right as f64 / count.max(1) as f64)
}

fn distance(a: &Pixels, b: &Pixels) -> u64 {
    a.rgb().iter().zip(b.rgb()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
}

impl World {
    /// A scene with every shape in the same place, and the one that is meant.
    fn rivals(&self, seed: u64, index: u64) -> Result<(Shape, Vec<(Shape, Scene)>)> {
        let mut rng = Rng::with_seed(seed_of(&[!seed, index, u64::MAX]));
        let empty = self.composer().compose(self.painter(), Level::One, Split::Seen, &mut rng)?;
        let shape = Shape::ALL[index as usize % Shape::ALL.len()];
        let seen = Colour::ALL.iter().copied().filter(|&colour| !held_out::pair(colour, shape));
        let colour = rng.choice(seen.collect::<Vec<_>>()).unwrap_or(Colour::Blue);
        let angle = rng.f32() * std::f32::consts::TAU;
        let centre = [0.5 + ASIDE * angle.cos(), 0.5 + ASIDE * angle.sin()];
        let with = |shape: Shape| {
            let kind = Kind::Shape { shape, colour, pattern: Pattern::Plain };
            let region = self.painter().outline(kind)?.region(centre, RADIUS, 0.0);
            let object = Object { kind, size: Size::Large, centre, radius: RADIUS, rotation: 0.0, shade: 1.0, region };
            Ok((shape, Scene { objects: vec![object], ..empty.clone() }))
        };
        Ok((shape, Shape::ALL.iter().map(|&shape| with(shape)).collect::<Result<_>>()?))
    }
}
