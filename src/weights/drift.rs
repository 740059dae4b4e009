//! What smaller weights cost: the distance between the logits of two models over the same inputs.
//!
//! Inputs are made up from a fixed seed: images of coloured squares, sources of random text. The answer is the
//! reference's own greedy one and both models are held to it, so that one different token does not make all later
//! ones incomparable.

use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{floats, tensor};
use crate::model::{OfaModel, Source, TokenBatch};

use serde::Serialize;

/// How far another model is from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Largest and mean absolute difference of a logit.
    pub max: f64,
    pub mean: f64,
    /// Standard deviation of the reference's logits, to judge the differences by.
    pub spread: f64,
    /// Positions compared, and those at which both models prefer the same token.
    pub positions: usize,
    pub agreeing: usize,
}

impl Drift {
    /// Share of the positions at which both models prefer the same token.
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.positions.max(1) as f64
    }
}

const SEED: u64 = 20_220_207;
const SAMPLES: usize = 4;
const SOURCE_TOKENS: usize = 10;
const ANSWER_TOKENS: usize = 16;
/// Squares along each side of the images.
const SQUARES: usize = 8;

/// Compares two models of one architecture; their configurations may differ in how weights are stored.
///
/// # Errors
/// [`Error::Device`](crate::error::Error::Device) when a result cannot be read back.
pub async fn drift(config: &OfaConfig, reference: &OfaModel, other: &OfaModel) -> Result<Drift> {
    let mut random = Random(SEED);
    let mut drift = Drift { max: 0.0, mean: 0.0, spread: 0.0, positions: 0, agreeing: 0 };
    let (mut count, mut sum, mut squares) = (0usize, 0.0, 0.0);
    for _ in 0..SAMPLES {
        let (pixels, side) = image(config, &mut random);
        let source = source_tokens(config, &mut random);
        let inputs = |model: &OfaModel| {
            let pixels = tensor(pixels.clone(), [1, 3, side, side], &model.device());
            let patches = model.encode_image(pixels);
            model.encode(&Source::text(source.clone()).with_image(patches))
        };

        let steps = ANSWER_TOKENS.min(config.max_position_embeddings);
        let mut cache = reference.begin(&inputs(reference), &[], steps);
        let mut answer = vec![config.bos_token_id];
        let mut expected = Vec::new();
        while answer.len() <= steps {
            let newest = TokenBatch::new(1, 1, answer[answer.len() - 1..].to_vec());
            let logits = floats(reference.logits(reference.decode(&newest, &mut cache))).await?;
            answer.push(best(&logits));
            expected.push(logits);
        }
        answer.pop();
        let mut cache = other.begin(&inputs(other), &[], steps);
        let found = floats(other.logits(other.decode(&TokenBatch::new(1, steps, answer), &mut cache))).await?;
        for (expected, found) in expected.iter().zip(found.chunks_exact(config.vocab_size)) {
            drift.positions += 1;
            drift.agreeing += usize::from(best(expected) == best(found));
            for (expected, found) in expected.iter().zip(found) {
                let difference = f64::from((expected - found).abs());
                // A NaN must not pass for agreement.
                drift.max = if difference.is_nan() { f64::NAN } else { drift.max.max(difference) };
                drift.mean += difference;
                sum += f64::from(*expected);
                squares += f64::from(*expected).powi(2);
                count += 1;
            }
        }
    }
    let count = count.max(1) as f64;
    drift.mean /= count;
    drift.spread = (squares / count - (sum / count).powi(2)).max(0.0).sqrt();
    Ok(drift)
}

/// The preferred token; the first of equals.
fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// Squares of random colours with some noise, in −1 ..= 1, and the side of the image in pixels.
fn image(config: &OfaConfig, random: &mut Random) -> (Vec<f32>, usize) {
    let side = config.orig_patch_image_size;
    let colours: Vec<f32> = (0..3 * SQUARES * SQUARES).map(|_| random.unit() * 1.6 - 0.8).collect();
    let mut pixels = Vec::with_capacity(3 * side * side);
    for channel in 0..3 {
        for row in 0..side {
            for column in 0..side {
                let square = row * SQUARES / side * SQUARES + column * SQUARES / side;
                pixels.push(colours[channel * SQUARES * SQUARES + square] + random.unit() * 0.2 - 0.1);
            }
        }
    }
    (pixels, side)
}

/// `<s>`, random text ids, `</s>`.
fn source_tokens(config: &OfaConfig, random: &mut Random) -> TokenBatch {
    let texts = u64::from(config.mask_token_id).saturating_sub(4).max(1);
    let length = SOURCE_TOKENS.min(config.max_position_embeddings.saturating_sub(2));
    let mut ids = vec![config.bos_token_id];
    ids.extend((0..length).map(|_| 4 + (random.next() % texts) as u32));
    ids.push(config.eos_token_id);
    TokenBatch::new(1, ids.len(), ids)
}

/// splitmix64: the same inputs on every machine, without a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to below 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}
