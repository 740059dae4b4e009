//! Adam with decoupled weight decay, as the original's trainer has it (reference §7.1), the moving average of the
//! weights, and the learning rate's schedule.

use super::parameters::Gradient;
use super::recipe::{NOT_NEGATIVE, within};
use crate::error::Result;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Added to the norm that gradients are clipped by, so that it never divides by zero.
const CLIP_EPSILON: f64 = 1e-6;

/// Names and defaults of the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamOptions {
    pub betas: [f64; 2],
    pub eps: f64,
    /// On every parameter, norms and biases too.
    pub weight_decay: f64,
}

impl AdamOptions {
    /// # Errors
    /// [`Error::Option`](crate::error::Error::Option) for numbers that no training goes by.
    pub fn check(&self) -> Result<()> {
        for beta in self.betas {
            within("update.adam.betas", beta, 0.0..1.0, "0 to below 1")?;
        }
        within("update.adam.eps", self.eps, 0.0..f64::INFINITY, NOT_NEGATIVE)?;
        within("update.adam.weight_decay", self.weight_decay, 0.0..f64::INFINITY, NOT_NEGATIVE)
    }
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }
    }
}

/// The optimiser's memory of a row of parameters.
#[derive(Debug, Clone)]
pub struct Adam {
    pub options: AdamOptions,
    /// Running means of gradients and of their squares, `[n]` each.
    pub moments: [Tensor<1>; 2],
    /// Steps taken.
    pub steps: u64,
}

impl Adam {
    /// A fresh memory for parameters `[n]`.
    pub fn new(options: AdamOptions, values: &Tensor<1>) -> Self {
        Self { options, moments: [values.zeros_like(), values.zeros_like()], steps: 0 }
    }

    /// One step. Numbers whose `mask` is 0 keep their values and memory, as parameters without gradient do in the
    /// original.
    ///
    /// # Shapes
    /// values, gradient, mask `[n]` → values `[n]`
    pub fn step(&mut self, values: Tensor<1>, gradient: Tensor<1>, mask: Option<Tensor<1>>, lr: f64) -> Tensor<1> {
        self.steps += 1;
        let [beta1, beta2] = self.options.betas;
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let step_size = lr * correction(beta2).sqrt() / correction(beta1);
        let [first, second] = self.moments.clone();
        let new_first = first.clone() * beta1 + gradient.clone() * (1.0 - beta1);
        let new_second = second.clone() * beta2 + gradient.square() * (1.0 - beta2);
        // eps is added before the bias correction, which is in the step size.
        let direction = new_first.clone() / (new_second.clone().sqrt() + self.options.eps);
        let new_values = values.clone() * (1.0 - self.options.weight_decay * lr) - direction * step_size;
        let Some(mask) = mask else {
            self.moments = [new_first, new_second];
            return new_values;
        };
        let mask = mask.greater_elem(0.5);
        let choose = |old: Tensor<1>, new: Tensor<1>| old.mask_where(mask.clone(), new);
        self.moments = [choose(first, new_first), choose(second, new_second)];
        choose(values, new_values)
    }
}

/// Scales a gradient of length `norm` down to `limit`; 0 switches clipping off.
pub fn clip(gradient: Gradient, norm: f32, limit: f64) -> Gradient {
    let factor = limit / (f64::from(norm) + CLIP_EPSILON);
    if limit == 0.0 || factor >= 1.0 {
        return gradient;
    }
    Gradient { values: gradient.values * factor, ..gradient }
}

/// A moving average of weights, `[n]`.
#[derive(Debug, Clone)]
pub struct Average {
    pub decay: f64,
    pub values: Tensor<1>,
}

impl Average {
    /// Moves towards `values` `[n]`.
    pub fn follow(&mut self, values: &Tensor<1>) {
        self.values = self.values.clone() * self.decay + values.clone() * (1.0 - self.decay);
    }
}

/// Linear warm-up, then linear decay (the original's `polynomial_decay` with power 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    pub lr: f64,
    pub end_lr: f64,
    /// Updates of warm-up; takes the place of `warmup_ratio`.
    pub warmup_updates: Option<u64>,
    /// The share of all updates that is warm-up.
    pub warmup_ratio: f64,
    /// The update at which the rate has fallen to `end_lr`, if not the run's last.
    pub total_updates: Option<u64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { lr: 1e-4, end_lr: 0.0, warmup_updates: None, warmup_ratio: 0.01, total_updates: None }
    }
}

impl Schedule {
    /// # Errors
    /// [`Error::Option`](crate::error::Error::Option) for rates that no training goes by.
    pub fn check(&self) -> Result<()> {
        within("update.schedule.lr", self.lr, 0.0..f64::INFINITY, NOT_NEGATIVE)?;
        within("update.schedule.end_lr", self.end_lr, 0.0..f64::INFINITY, NOT_NEGATIVE)?;
        within("update.schedule.warmup_ratio", self.warmup_ratio, 0.0..=1.0, "0 to 1")
    }

    /// The update at which the rate has fallen to its end, of a run of so many.
    pub fn total(&self, updates: u64) -> u64 {
        self.total_updates.unwrap_or(updates)
    }

    /// The learning rate of an update, counted from 1, of a run of so many `updates`. The first two share theirs, because the original
    /// sets the rate of the next update after each one.
    pub fn lr(&self, update: u64, updates: u64) -> f64 {
        let total = self.total(updates);
        let warmup = self.warmup_updates.unwrap_or((self.warmup_ratio * total as f64) as u64);
        let done = update.saturating_sub(1).max(u64::from(warmup > 0));
        if done <= warmup && warmup > 0 {
            return self.lr * done as f64 / warmup as f64;
        }
        if done >= total {
            return self.end_lr;
        }
        let left = 1.0 - (done - warmup) as f64 / (total - warmup).max(1) as f64;
        (self.lr - self.end_lr) * left + self.end_lr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls_and_the_first_two_updates_share_it() {
        let schedule = Schedule { lr: 1.0, end_lr: 0.1, warmup_updates: Some(4), ..Schedule::default() };
        let rates: Vec<f64> = (1..=14).map(|update| schedule.lr(update, 14)).collect();
        assert_eq!(rates[..5], [0.25, 0.25, 0.5, 0.75, 1.0]);
        assert!(rates[4..].windows(2).all(|pair| pair[0] > pair[1]), "{rates:?}");
        assert_eq!(schedule.lr(15, 14), 0.1);
        let own = Schedule { total_updates: Some(14), ..schedule.clone() };
        assert_eq!(own.lr(10, 99), schedule.lr(10, 14));
        assert_eq!(own.lr(40, 99), 0.1);
    }

    #[test]
    fn without_warm_up_it_begins_at_its_peak() {
        let schedule = Schedule { warmup_ratio: 0.0, ..Schedule::default() };
        assert_eq!(schedule.lr(1, 10), 1e-4);
    }
}
