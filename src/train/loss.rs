//! The original's losses (reference §8): label-smoothed cross-entropy with its additions, R-Drop, SCST.
//!
//! Plain tensor functions, so that they are differentiated like the model. Choosing tokens to drop reads their losses
//! back, which no gradient passes through.

use crate::error::Result;
use crate::kernels::{MASKED, allowed_alone, allowed_range, floats, indices, tensor};
use crate::model::TokenBatch;
use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

/// Ids below this stay allowed under every constraint range.
const ALWAYS_ALLOWED: u32 = 4;
/// Keeps the share of each smoothed token finite where constraints leave a single one.
const SMOOTHING_EPSILON: f64 = 1e-6;
/// The encouraging bonus looks at `1 - p` no closer to 0 than this.
const LEAST_DOUBT: f64 = 1e-5;
/// R-Drop doubles a batch: tokens and samples count once for each pass.
const PASSES: f64 = 2.0;

/// Names and defaults of the original.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossOptions {
    pub label_smoothing: f64,
    /// Divide by sentences instead of tokens; R-Drop reads each twice.
    pub sentence_avg: bool,
    /// 0 weighs every token of a batch alike, as the original does; 1 every answer, however long. Between them an
    /// answer of n tokens weighs n to the power of one minus this.
    pub even_answers: f64,
    /// The share of tokens with the largest losses that is left out.
    pub drop_worst_ratio: f64,
    /// Updates before that begins.
    pub drop_worst_after: usize,
    /// Leading positions of every row that are left out.
    pub ignore_prefix_size: usize,
    pub ignore_eos: bool,
    /// Only ids 0..=3 and `start..end` take part.
    pub constraint_range: Option<(u32, u32)>,
    /// Weight of R-Drop's divergence.
    pub reg_alpha: f64,
    /// Encouraging loss, with its bonus linear where the probability is above this; 1 keeps the logarithm.
    pub log_end: Option<f64>,
}

impl LossOptions {
    /// Whether a token is judged at all.
    fn judges(&self, token: &TargetToken, eos: u32) -> bool {
        token.position >= self.ignore_prefix_size && !(self.ignore_eos && token.id == eos)
    }

    /// What each token weighs, given the sample it belongs to.
    fn weights(&self, samples: &[usize]) -> Vec<f64> {
        let mut lengths = vec![0usize; samples.iter().max().map_or(0, |last| last + 1)];
        samples.iter().for_each(|sample| lengths[*sample] += 1);
        samples.iter().map(|sample| (lengths[*sample] as f64).powf(-self.even_answers)).collect()
    }

    /// What divides the summed losses of these tokens, before any of them are dropped.
    pub fn size(&self, tokens: &[TargetToken], samples: usize, eos: u32) -> f64 {
        let of: Vec<usize> = tokens.iter().filter(|token| self.judges(token, eos)).map(|token| token.sample).collect();
        let size = self.size_of_pass(self.weights(&of).iter().sum(), samples);
        if self.reg_alpha > 0.0 { PASSES * size } else { size }
    }

    /// What divides the summed losses of one pass over so many samples, whose tokens weigh so much.
    fn size_of_pass(&self, weight: f64, samples: usize) -> f64 {
        if self.sentence_avg { samples as f64 } else { weight }
    }

    fn drops_worst(&self, update: usize) -> bool {
        self.drop_worst_ratio > 0.0 && update > self.drop_worst_after
    }
}

/// A token that the model should have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetToken {
    /// The sample of the batch that it belongs to.
    pub sample: usize,
    /// Where in that sample's answer.
    pub position: usize,
    pub id: u32,
}

/// What a step of training is judged by.
#[derive(Clone)]
pub struct Judged<'a> {
    /// `[n, V]`
    pub logits: Tensor<2>,
    /// What should have been written there, n tokens.
    pub tokens: &'a [TargetToken],
    /// Samples of the batch, B.
    pub samples: usize,
    /// A factor of each sample's log-probabilities, B of them.
    pub conf: Option<&'a [f32]>,
    /// `[n, V]`, true where a token is allowed.
    pub constraint_masks: Option<&'a [bool]>,
    /// Updates done so far.
    pub update: usize,
    pub eos: u32,
}

/// The tokens of `target` `[B, T]` that are not padding.
pub fn target_tokens(target: &TokenBatch, pad: u32) -> Vec<TargetToken> {
    let token = |at: usize| TargetToken { sample: at / target.len, position: at % target.len, id: target.ids[at] };
    (0..target.ids.len()).map(token).filter(|token| token.id != pad).collect()
}

/// The rows of `values` at these tokens.
///
/// # Shapes
/// `[B, T, C]` → `[n, C]`
pub fn at_tokens(values: Tensor<3>, tokens: &[TargetToken]) -> Tensor<2> {
    let [batch, len, width] = values.dims();
    let rows = tokens.iter().map(|token| token.sample * len + token.position);
    let rows = indices(rows, &values.device());
    values.reshape([batch * len, width]).select(0, rows)
}

/// Sums over tokens, `[1]` each, and what to divide them by.
#[derive(Debug, Clone)]
pub struct Loss {
    pub loss: Tensor<1>,
    pub nll: Tensor<1>,
    pub sample_size: f64,
    /// The same likelihoods token by token, `[n]`, and the sample that each token belongs to.
    pub token_nll: Tensor<1>,
    pub samples: Vec<usize>,
}

/// Label-smoothed cross-entropy.
///
/// # Errors
/// The device's, when losses cannot be read back to drop the worst.
pub async fn cross_entropy(judged: Judged<'_>, options: &LossOptions) -> Result<Loss> {
    let (update, samples) = (judged.update, judged.samples);
    let tokens = Tokens::new(judged, options);
    let tokens = if options.drops_worst(update) { tokens.without_worst(options).await? } else { tokens };
    let (losses, nlls) = tokens.losses(options.label_smoothing);
    let (losses, weight) = tokens.weighed(losses, options);
    let loss = tokens.encouraged(losses.sum(), options);
    let sample_size = options.size_of_pass(weight, samples);
    Ok(Loss { loss, nll: nlls.clone().sum(), sample_size, token_nll: nlls, samples: tokens.samples })
}

/// R-Drop over one batch: what the first pass wrote and was judged by, and the logits of a second pass.
///
/// # Errors
/// As [`cross_entropy`].
pub async fn cross_entropy_twice(judged: Judged<'_>, again: Tensor<2>, options: &LossOptions) -> Result<Loss> {
    let (update, samples) = (judged.update, judged.samples);
    let second = Tokens::new(Judged { logits: again, ..judged.clone() }, options);
    let first = Tokens::new(judged, options);
    regularised_dropout([first, second], samples, options, options.drops_worst(update)).await
}

/// R-Drop: two passes over the same `target`, each token a sample of its own, and what divides them.
///
/// # Shapes
/// log-probabilities `[n, V]` each, n targets
///
/// # Errors
/// As [`cross_entropy`].
pub async fn r_drop(passes: [Tensor<2>; 2], target: &[u32], options: &LossOptions) -> Result<Loss> {
    let samples: Vec<usize> = (0..target.len()).collect();
    let passes = passes.map(|lprobs| Tokens { lprobs, ids: target.to_vec(), samples: samples.clone(), allowed: None });
    regularised_dropout(passes, target.len(), options, options.drop_worst_ratio > 0.0).await
}

async fn regularised_dropout(
    mut passes: [Tokens; 2],
    samples: usize,
    options: &LossOptions,
    drop_worst: bool,
) -> Result<Loss> {
    if drop_worst {
        // The first pass decides for both.
        let kept = passes[0].best(options).await?;
        passes = passes.map(|tokens| tokens.only(&kept));
    }
    let [first, second] = passes;
    let ((losses_a, nlls_a), (losses_b, nlls_b)) =
        (first.losses(options.label_smoothing), second.losses(options.label_smoothing));
    let difference = first.lprobs.clone() - second.lprobs.clone();
    // KL(p ‖ q) + KL(q ‖ p) = Σ (p - q)(ln p - ln q).
    let divergence = ((first.lprobs.clone().exp() - second.lprobs.clone().exp()) * difference).sum() * 0.5;
    let (losses, weight) = first.weighed(losses_a + losses_b, options);
    let loss = first.encouraged(second.encouraged(losses.sum(), options), options);
    Ok(Loss {
        loss: loss + divergence * options.reg_alpha,
        nll: nlls_a.clone().sum() + nlls_b.clone().sum(),
        sample_size: PASSES * options.size_of_pass(weight, samples),
        token_nll: (nlls_a + nlls_b) * 0.5,
        samples: first.samples,
    })
}

/// Self-critical training: each row's log-probability weighted by its reward.
///
/// # Shapes
/// logits `[B, T, V]`, target `[B, T]`, B rewards
pub fn self_critical(logits: Tensor<3>, target: &TokenBatch, reward: &[f32], pad: u32) -> Loss {
    let [batch, len, vocabulary] = logits.dims();
    let device = logits.device();
    let lprobs = activation::log_softmax(logits.reshape([batch * len, vocabulary]), 1);
    let weights: Vec<f32> =
        target.ids.iter().enumerate().map(|(at, id)| if *id == pad { 0.0 } else { reward[at / len] }).collect();
    let count = target.ids.iter().filter(|id| **id != pad).count();
    let chosen = picked(lprobs, &target.ids);
    let weighted = (chosen * Tensor::<1>::from_data(TensorData::new(weights, [batch * len]), &device)).neg();
    let loss = weighted.clone().sum();
    let samples = (0..batch * len).map(|at| at / len).collect();
    Loss { nll: loss.clone(), loss, sample_size: count as f64, token_nll: weighted, samples }
}

/// Which tokens take part, for every row or for all alike.
#[derive(Clone)]
struct Allowed {
    /// 0 or [`MASKED`], `[n or 1, V]`.
    additive: Tensor<2>,
    /// Allowed tokens of each row.
    counts: Vec<usize>,
}

impl Allowed {
    fn masks(masks: &[bool], kept: &[usize], vocabulary: usize, device: &Device) -> Self {
        let rows = || kept.iter().map(|at| &masks[at * vocabulary..(at + 1) * vocabulary]);
        let values: Vec<f32> = rows().flatten().map(|allowed| if *allowed { 0.0 } else { MASKED }).collect();
        Self {
            additive: Tensor::from_data(TensorData::new(values, [kept.len(), vocabulary]), device),
            counts: rows().map(|row| row.iter().filter(|allowed| **allowed).count()).collect(),
        }
    }

    fn range(range: (u32, u32), rows: usize, vocabulary: usize, device: &Device) -> Self {
        let ids = allowed_range(vocabulary, ALWAYS_ALLOWED, range);
        Self { additive: allowed_alone(vocabulary, &ids, device), counts: vec![ids.len(); rows] }
    }

    fn only(&self, kept: &[usize]) -> Self {
        let [rows, _] = self.additive.dims();
        let additive = if rows == 1 {
            self.additive.clone()
        } else {
            self.additive.clone().select(0, indices(kept.iter().copied(), &self.additive.device()))
        };
        Self { additive, counts: kept.iter().map(|row| self.counts[*row]).collect() }
    }
}

/// Tokens that count, one a row.
struct Tokens {
    /// `[n, V]`
    lprobs: Tensor<2>,
    ids: Vec<u32>,
    /// The samples that they belong to.
    samples: Vec<usize>,
    allowed: Option<Allowed>,
}

impl Tokens {
    fn new(judged: Judged<'_>, options: &LossOptions) -> Self {
        let Judged { logits, tokens, conf, constraint_masks, eos, .. } = judged;
        let [count, vocabulary] = logits.dims();
        let device = logits.device();
        let kept: Vec<usize> = (0..count).filter(|at| options.judges(&tokens[*at], eos)).collect();
        let logits =
            if kept.len() == count { logits } else { logits.select(0, indices(kept.iter().copied(), &device)) };
        let allowed = match (constraint_masks, options.constraint_range) {
            (Some(masks), _) => Some(Allowed::masks(masks, &kept, vocabulary, &device)),
            (None, Some(range)) => Some(Allowed::range(range, kept.len(), vocabulary, &device)),
            (None, None) => None,
        };
        let logits = match &allowed {
            Some(allowed) => logits + allowed.additive.clone(),
            None => logits,
        };
        let mut lprobs = activation::log_softmax(logits, 1);
        if let Some(conf) = conf {
            let conf: Vec<f32> = kept.iter().map(|at| conf[tokens[*at].sample]).collect();
            lprobs = lprobs * Tensor::<2>::from_data(TensorData::new(conf, [kept.len(), 1]), &device);
        }
        let ids = kept.iter().map(|at| tokens[*at].id).collect();
        Self { lprobs, ids, samples: kept.iter().map(|at| tokens[*at].sample).collect(), allowed }
    }

    /// Smoothed and plain negative log-likelihood of each token, `[n]` each.
    fn losses(&self, smoothing: f64) -> (Tensor<1>, Tensor<1>) {
        let [count, vocabulary] = self.lprobs.dims();
        let nll = picked(self.lprobs.clone(), &self.ids).neg();
        let (sum, shares) = match &self.allowed {
            None => (self.lprobs.clone().sum_dim(1), vec![smoothing / (vocabulary - 1) as f64; count]),
            Some(Allowed { additive, counts }) => {
                // Forbidden tokens have a log-probability that means nothing: they leave the sum.
                let open = additive.clone().greater_equal_elem(MASKED / 2.0).float();
                let sum = (self.lprobs.clone() * open).sum_dim(1);
                let share = |count: &usize| smoothing / (*count as f64 - 1.0 + SMOOTHING_EPSILON);
                (sum, counts.iter().map(share).collect())
            }
        };
        let smooth = sum.reshape([count]).neg();
        let column = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [count]), &nll.device());
        let rest = column(shares.iter().map(|share| (1.0 - smoothing - share) as f32).collect());
        let shares = column(shares.iter().map(|share| *share as f32).collect());
        (nll.clone() * rest + smooth * shares, nll)
    }

    /// Losses of the tokens, `[n]`, weighed by the lengths of their answers ([`LossOptions::even_answers`]), and the sum of
    /// the weights.
    fn weighed(&self, losses: Tensor<1>, options: &LossOptions) -> (Tensor<1>, f64) {
        if options.even_answers == 0.0 {
            return (losses, self.ids.len() as f64);
        }
        let weights = options.weights(&self.samples);
        let sum = weights.iter().sum();
        let weights =
            tensor(weights.into_iter().map(|weight| weight as f32).collect(), losses.dims(), &losses.device());
        (losses * weights, sum)
    }

    /// A summed loss of these tokens with the bonus of the encouraging loss, where that is asked for.
    fn encouraged(&self, loss: Tensor<1>, options: &LossOptions) -> Tensor<1> {
        match options.log_end {
            Some(log_end) => loss + self.encouragement(options.label_smoothing, log_end),
            None => loss,
        }
    }

    /// The bonus of the encouraging loss, summed (reference §8.3).
    fn encouragement(&self, smoothing: f64, log_end: f64) -> Tensor<1> {
        let [_, vocabulary] = self.lprobs.dims();
        let p = self.lprobs.clone().exp();
        let bonus = (p.clone().neg() + 1.0).clamp_min(LEAST_DOUBT).log();
        let bonus = if log_end == 1.0 {
            bonus
        } else {
            let tangent = (p.clone() - log_end) / (log_end - 1.0) + (1.0 - log_end).ln();
            bonus.mask_where(p.greater_elem(log_end), tangent)
        };
        let of_targets = picked(bonus.clone(), &self.ids).sum() * (1.0 - smoothing);
        of_targets + bonus.sum() * (smoothing / vocabulary as f64)
    }

    /// The rows with the smallest losses, in their order of size.
    async fn best(&self, options: &LossOptions) -> Result<Vec<usize>> {
        let (losses, _) = self.losses(options.label_smoothing);
        let losses = floats(losses).await?;
        let mut order: Vec<usize> = (0..losses.len()).collect();
        order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
        order.truncate((losses.len() as f64 * (1.0 - options.drop_worst_ratio)) as usize);
        Ok(order)
    }

    async fn without_worst(self, options: &LossOptions) -> Result<Self> {
        let kept = self.best(options).await?;
        Ok(self.only(&kept))
    }

    fn only(self, kept: &[usize]) -> Self {
        let device = self.lprobs.device();
        Self {
            lprobs: self.lprobs.select(0, indices(kept.iter().copied(), &device)),
            ids: kept.iter().map(|row| self.ids[*row]).collect(),
            samples: kept.iter().map(|row| self.samples[*row]).collect(),
            allowed: self.allowed.map(|allowed| allowed.only(kept)),
        }
    }
}

/// The entry of each row that `ids` names, `[n]`.
fn picked(values: Tensor<2>, ids: &[u32]) -> Tensor<1> {
    let columns = indices(ids.iter().map(|id| *id as usize), &values.device()).reshape([ids.len(), 1]);
    values.gather(1, columns).reshape([ids.len()])
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    /// Sums of a few numbers near 10 in f32.
    const ROUNDING: f32 = 1e-5;

    /// A token of each of some samples: 3, 2 which ends, 4, 5.
    fn tokens(count: usize) -> Vec<TargetToken> {
        let ids = [3, 2, 4, 5].into_iter().enumerate();
        ids.map(|(at, id)| TargetToken { sample: at / 2, position: at % 2, id }).take(count).collect()
    }

    fn judged<'a>(tokens: &'a [TargetToken], masks: Option<&'a [bool]>) -> Judged<'a> {
        let values: Vec<f32> = (0..tokens.len() * 6).map(|value| (value * 7 % 11) as f32 / 4.0).collect();
        let logits = Tensor::from_data(TensorData::new(values, [tokens.len(), 6]), &Device::flex());
        Judged { logits, tokens, samples: 2, conf: None, constraint_masks: masks, update: 0, eos: 2 }
    }

    async fn values(judged: Judged<'_>, options: &LossOptions) -> (f32, f32, f64) {
        let Loss { loss, nll, sample_size, .. } = cross_entropy(judged, options).await.expect("a loss");
        (loss.into_scalar(), nll.into_scalar(), sample_size)
    }

    #[test]
    fn without_smoothing_it_is_the_likelihood() {
        let (loss, nll, size) = futures(values(judged(&tokens(4), None), &LossOptions::default()));
        assert_eq!((loss, size), (nll, 4.0));
        let (less, _, size) = futures(values(judged(&tokens(3), None), &LossOptions::default()));
        assert!(less < loss && size == 3.0);
    }

    #[test]
    fn a_prefix_and_the_end_can_be_left_out() {
        let ignoring = |options: LossOptions| futures(values(judged(&tokens(4), None), &options)).2;
        assert_eq!(ignoring(LossOptions { ignore_prefix_size: 1, ..LossOptions::default() }), 2.0);
        assert_eq!(ignoring(LossOptions { ignore_eos: true, ..LossOptions::default() }), 3.0);
    }

    #[test]
    fn answers_weigh_alike_however_long_they_are() {
        // The first answer has two tokens, the second one.
        let tokens = tokens(3);
        let nll = |at: usize| {
            let (one, options) = (judged(&tokens, None), LossOptions::default());
            let loss = futures(cross_entropy(one, &options)).expect("a loss");
            futures(floats(loss.token_nll)).expect("likelihoods")[at]
        };
        let even = LossOptions { even_answers: 1.0, ..LossOptions::default() };
        let (loss, plain, size) = futures(values(judged(&tokens, None), &even));
        // Half of the weight lies on each answer, whose weight is 1.
        let expected = (nll(0) + nll(1)) / 2.0 + nll(2);
        assert!((loss - expected).abs() < ROUNDING, "{loss} where {expected} was expected");
        assert!((plain - nll(0) - nll(1) - nll(2)).abs() < ROUNDING && size == 2.0);
        assert_eq!(even.size(&tokens, 2, 2), size);
    }

    #[test]
    fn a_second_pass_counts_as_much_as_the_first() {
        let tokens = tokens(4);
        let plain = LossOptions { label_smoothing: 0.1, ..LossOptions::default() };
        for (sentence_avg, log_end) in [(false, None), (true, Some(0.75)), (true, Some(1.0))] {
            let options = LossOptions { sentence_avg, log_end, ..plain };
            let (loss, nll, size) = futures(values(judged(&tokens, None), &options));
            let twice = LossOptions { reg_alpha: 0.7, ..options };
            let first = judged(&tokens, None);
            // Passes that agree have no divergence.
            let again = first.logits.clone();
            let both = futures(cross_entropy_twice(first, again, &twice)).expect("a loss");
            let (both_loss, both_nll): (f32, f32) = (both.loss.into_scalar(), both.nll.into_scalar());
            assert!((both_loss - 2.0 * loss).abs() < 2.0 * ROUNDING, "{both_loss}, and {loss} for one");
            assert!((both_nll - 2.0 * nll).abs() < 2.0 * ROUNDING, "{both_nll}, and {nll} for one");
            assert_eq!((both.sample_size, twice.size(&tokens, 2, 2)), (2.0 * size, 2.0 * size));
        }
    }

    #[test]
    fn a_single_allowed_token_costs_exactly_nothing() {
        let tokens = tokens(4);
        let masks: Vec<bool> = tokens.iter().flat_map(|one| (0..6).map(move |token| token == one.id)).collect();
        let options = LossOptions { label_smoothing: 0.1, ..LossOptions::default() };
        assert_eq!(futures(values(judged(&tokens, Some(&masks)), &options)).0, 0.0);
    }

    /// The CPU's readbacks are ready at once.
    fn futures<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("the CPU has nothing to wait for"),
        }
    }
}
