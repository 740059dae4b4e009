//! The model as the search sees it.

use crate::config::{Decoding, OfaConfig};
use crate::error::{Error, Result};
use crate::generate::{Candidate, RowScores, Step, StepRequest};
use crate::kernels::{Best, Choice, Found, NextTokens, Steady, TokenScoring, allowed_alone, allowed_range, entries};
use crate::model::{DecoderCache, EncoderOutput, OfaModel, TokenBatch};

/// Ids below this stay allowed under every constraint range (reference §9.2).
const ALWAYS_ALLOWED: u32 = 4;

/// One answer in progress.
pub struct ModelStep<'a> {
    model: &'a OfaModel,
    cache: DecoderCache,
    scoring: TokenScoring,
    /// The only tokens that the constraint leaves, where their products alone are made.
    choice: Option<Choice>,
    /// Of the step just taken.
    next: Option<NextTokens>,
    steady: Option<SteadyStep>,
    /// The device did not do steady work again.
    unsteady: bool,
    steps: usize,
}

/// Steps that make the same launches on a GPU, and leave what they lead to in the same place.
struct SteadyStep {
    /// See [`launches`](crate::model::Decoder::launches).
    depends_on: [usize; 2],
    launches: Steady,
    next: NextTokens,
    /// So many candidates.
    count: usize,
    found: Option<Found>,
}

impl<'a> ModelStep<'a> {
    /// Prepares to answer for every sample of `encoder` in at most `max_len` tokens.
    pub fn new(
        model: &'a OfaModel,
        config: &OfaConfig,
        encoder: &EncoderOutput,
        options: &Decoding,
        max_len: usize,
    ) -> Self {
        let [samples, _, _] = encoder.hidden.dims();
        let allowed = options.constraint_range.map(|range| allowed_range(config.vocab_size, ALWAYS_ALLOWED, range));
        // Scores of the free model are about all tokens.
        let choice = allowed.as_ref().filter(|_| !options.zero_shot).and_then(|ids| model.choice(ids));
        let constraint = allowed.filter(|_| choice.is_none());
        let constraint = constraint.map(|ids| allowed_alone(config.vocab_size, &ids, &model.device()));
        Self {
            model,
            cache: model.begin(encoder, &vec![options.gen_code; samples], max_len + 1),
            scoring: TokenScoring { temperature: options.temperature, constraint, constrain_after: options.zero_shot },
            choice,
            next: None,
            steady: None,
            unsteady: false,
            steps: 0,
        }
    }

    /// Takes the newest tokens through the decoder. Where kernels found the `count` best to come on the way, they are given.
    fn pass(&mut self, tokens: &TokenBatch, count: usize) -> Option<Found> {
        self.model.decoder.advance(tokens, &mut self.cache);
        let depends_on = self.model.decoder.launches(tokens, &self.cache).filter(|_| !self.unsteady);
        let Self { model, cache, scoring, choice, next, steady, unsteady, .. } = self;
        let mut work = |count: usize| {
            let hidden = model.pass(tokens, cache);
            let next = model.next_tokens(hidden, choice.as_ref());
            let found = (count > 0).then(|| next.found(scoring, count)).flatten();
            (next, found)
        };
        let Some(depends_on) = depends_on else {
            let (tokens, _) = work(0);
            *next = Some(tokens);
            return None;
        };
        if let Some(known) = steady.as_mut().filter(|known| known.depends_on == depends_on) {
            // SAFETY: The model and the cache stay where they are, and `depends_on` is other than before when a part of the
            // cache was laid elsewhere.
            if unsafe { known.launches.again(|| drop(work(known.count))) } {
                *next = Some(known.next.clone());
                return known.found.clone().filter(|_| known.count == count);
            }
            *unsteady = true;
        }
        // What was recorded lets go of its memory first.
        *steady = None;
        let (launches, (tokens, found)) = Steady::first(&model.device(), || work(count));
        *next = Some(tokens.clone());
        *steady = Some(SteadyStep { depends_on, count, launches, next: tokens, found: found.clone() });
        found
    }

    /// Passes through the decoder so far.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

/// Rows whose logits exist at one time where many are scored: 64 rows of OFA's vocabulary are 15 MB.
pub(super) const LOGIT_ROWS: usize = 64;

impl Step for ModelStep<'_> {
    async fn step(&mut self, request: StepRequest) -> Result<Vec<RowScores>> {
        self.steps += 1;
        let StepRequest { tokens, rows, samples, count, probes } = request;
        if !rows.is_empty() {
            self.cache.select(&rows, samples.as_deref());
        }
        let tokens = TokenBatch::new(tokens.len(), 1, tokens);
        let found = self.pass(&tokens, count).filter(|_| probes.is_empty());
        let next = self.next.as_ref().expect("a pass leaves what it leads to");
        let (best, probed) = match found {
            Some(found) => (next.read(&found).await?, Vec::new()),
            None => next.best(&self.scoring, count, &probes).await?,
        };
        Ok(best
            .into_iter()
            .enumerate()
            .map(|(row, best)| RowScores {
                candidates: candidates(best),
                probes: probed.get(row).cloned().unwrap_or_default(),
            })
            .collect())
    }

    async fn best(&mut self, count: usize) -> Result<Vec<Vec<Candidate>>> {
        let next = self.next.as_ref().ok_or_else(|| Error::option("best", "a step taken before", "none"))?;
        let (best, _) = next.best(&self.scoring, count, &[]).await?;
        Ok(best.into_iter().map(candidates).collect())
    }

    async fn choose(&mut self, tokens: &[u32], rows: &[usize], allowed: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        self.steps += 1;
        if !rows.is_empty() {
            self.cache.select(rows, None);
        }
        let (count, len) = (allowed.len(), tokens.len() / allowed.len());
        let hidden = self.model.decode(&TokenBatch::new(count, len, tokens.to_vec()), &mut self.cache);
        let [_, _, width] = hidden.dims();
        let mut ids = allowed.concat();
        ids.sort_unstable();
        ids.dedup();
        let choice = self.model.choice(&ids);
        let column = |id: &u32| choice.as_ref().and_then(|choice| choice.column(*id)).unwrap_or(*id);
        let columns: Vec<Vec<u32>> = allowed.iter().map(|ids| ids.iter().map(column).collect()).collect();
        let mut chosen = Vec::with_capacity(count);
        for start in (0..count).step_by(LOGIT_ROWS) {
            let end = (start + LOGIT_ROWS).min(count);
            let last = hidden.clone().slice([start..end, len - 1..len, 0..width]).reshape([end - start, width]);
            let logits = match &choice {
                Some(choice) => choice.project(last),
                None => self.model.logits(last.unsqueeze_dim::<3>(1)).squeeze_dim(1),
            };
            chosen.extend(entries(logits, &columns[start..end]).await?.iter().map(|logits| log_softmax(logits)));
        }
        Ok(chosen)
    }
}

fn candidates(best: Best) -> Vec<Candidate> {
    best.into_iter().map(|(token, score)| Candidate { token, score }).collect()
}

/// Over so few values that the host does it, and exactly 0 for a single one.
fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
    logits.iter().map(|logit| logit - greatest - sum.ln()).collect()
}
