//! Fresh weights of which some heads already attend to what is alike.

use super::seed::seed_of;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::model::{Parameters, Random, Stored, score_scale};
use burn::tensor::{Tensor, TensorData};
use fastrand::Rng;

/// The score that a normalised position gives itself in such a head; one that resembles nothing gets about 0.
const SELF_SCORE: f64 = 10.0;

/// [`Random`] parameters, but in the first layers of the encoder half of the heads have queries equal to their keys,
/// so that a word finds the patches that resemble it from the first update on. Heads that start near 0 take most of a
/// short run to find that out. After "Mimetic Initialization of Self-Attention Layers" (Trockman and Kolter, 2023).
pub struct AlikeHeads {
    random: Random,
    /// Names of projections begin with one of these.
    layers: Vec<String>,
    config: OfaConfig,
    seed: u64,
}

impl AlikeHeads {
    /// Such heads in `layers` layers.
    pub fn new(random: Random, config: &OfaConfig, layers: usize, seed: u64) -> Self {
        let layers = (0..layers).map(|layer| format!("encoder.layers.{layer}.self_attn.")).collect();
        Self { random, layers, config: config.clone(), seed }
    }

    /// Rows of the projection of queries, and of that of keys, in layer `layer`: orthogonal in each head, of one length.
    ///
    /// # Shapes
    /// → `[heads / 2 · D, d_model]`
    fn rows(&self, layer: usize) -> Vec<f32> {
        let OfaConfig { d_model: width, encoder_attention_heads: heads, .. } = self.config;
        let depth = width / heads;
        let gain = (SELF_SCORE / (depth as f64 * score_scale(&self.config, heads))).sqrt();
        let mut rng = Rng::with_seed(seed_of(&[self.seed, layer as u64]));
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for row in 0..heads.div_ceil(2) * depth {
            let mut drawn: Vec<f64> = (0..width).map(|_| normal(&mut rng)).collect();
            for other in &rows[row / depth * depth..] {
                let along = dot(&drawn, other);
                drawn.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
            let length = dot(&drawn, &drawn).sqrt();
            rows.push(drawn.into_iter().map(|value| value / length).collect());
        }
        rows.concat().into_iter().map(|value| (value * gain) as f32).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// N(0, 1), after Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

impl Parameters for AlikeHeads {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let stored = self.random.take(name, shape)?;
        let layer = self.layers.iter().position(|layer| name.starts_with(layer));
        let projection = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
        Ok(match (stored, layer) {
            (Stored::Flat(values), Some(layer)) if projection => {
                let rows = self.rows(layer);
                let rest = values.slice(rows.len()..);
                let rows = Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), &rest.device());
                Stored::Flat(Tensor::cat(vec![rows, rest], 0))
            }
            (stored, _) => stored,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::floats;
    use burn::tensor::Device;

    /// Rounding of 32 products to f32.
    const ROUNDING: f32 = 1e-4;

    #[test]
    fn half_of_the_heads_find_what_is_alike() {
        let config = OfaConfig { d_model: 32, encoder_attention_heads: 4, ..OfaConfig::default() };
        let random = Random { device: Device::flex(), pad_token_id: 1, gain: 1.0 };
        let mut parameters = AlikeHeads::new(random, &config, 1, 7);
        let mut take = |name: &str| match parameters.take(name, &[32, 32]).expect("a parameter") {
            Stored::Flat(values) => pollster::block_on(floats(values)).expect("its values"),
            _ => panic!("{name} is one row of numbers"),
        };
        let [q, k] = ["q", "k"].map(|part| take(&format!("encoder.layers.0.self_attn.{part}_proj.weight")));
        let (alike, rest) = (16 * 32, q.len());
        assert_eq!(q[..alike], k[..alike]);
        assert_ne!(q[alike..rest], k[alike..rest]);
        // What is of length √32, as normalised positions are, and lies in the rows of a head gets 4 of its own score.
        let gain = q[..32].iter().map(|value| value * value).sum::<f32>();
        let score = gain * 8.0 * score_scale(&config, 4) as f32;
        assert!((score - SELF_SCORE as f32).abs() < ROUNDING, "{score}");
        let across: f32 = q[..32].iter().zip(&q[32..64]).map(|(a, b)| a * b).sum();
        assert!(across.abs() < ROUNDING, "{across}");
        let later = ["q", "k"].map(|part| take(&format!("encoder.layers.1.self_attn.{part}_proj.weight")));
        assert_ne!(later[0], later[1]);
    }
}
