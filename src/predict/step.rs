//! The model as the search sees it.

use crate::config::{Decoding, OfaConfig};
use crate::error::{Error, Result};
use crate::generate::{Candidate, RowScores, Step, StepRequest};
use crate::kernels::{
    Best, Choice, Found, MOST_FOUND, NextTokens, Steady, TokenScoring, allowed_alone, allowed_range, entries,
};
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

/// Steps that make the same launches on a GPU, and leave what they find in the same place.
struct SteadyStep {
    /// What the launches depend on, [`launches`](crate::model::Decoder::launches) and the candidates wanted.
    depends_on: ([usize; 2], usize),
    launches: Steady,
    next: NextTokens,
    found: Found,
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

    /// Takes a step whose launches depend on these alone, and says where the `count` best tokens are found; `None` where
    /// kernels do not find them.
    fn steady_step(&mut self, tokens: &TokenBatch, launches: [usize; 2], count: usize) -> Option<&SteadyStep> {
        let Self { model, cache, scoring, choice, next, steady, unsteady, .. } = self;
        let depends_on = (launches, count);
        let mut work = || {
            let hidden = model.pass(tokens, cache);
            let next = model.next_tokens(hidden, choice.as_ref());
            let found = next.found(scoring, count);
            (next, found)
        };
        if let Some(known) = steady.as_mut().filter(|known| known.depends_on == depends_on) {
            // SAFETY: The model and the cache stay where they are, and `depends_on` is other than before when a part of the
            // cache was laid elsewhere.
            if unsafe { known.launches.again(|| drop(work())) } {
                *next = Some(known.next.clone());
                return steady.as_ref();
            }
            *unsteady = true;
        }
        // What was recorded lets go of its memory first.
        *steady = None;
        let (launches, (tokens, found)) = Steady::first(&model.device(), work);
        *next = Some(tokens.clone());
        *steady = found.map(|found| SteadyStep { depends_on, launches, next: tokens, found });
        steady.as_ref()
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
        self.model.decoder.advance(&tokens, &mut self.cache);
        let launches = self.model.decoder.launches(&tokens, &self.cache);
        let launches = launches.filter(|_| probes.is_empty() && count <= MOST_FOUND && !self.unsteady);
        let steady = launches.and_then(|launches| self.steady_step(&tokens, launches, count));
        let (best, probed) = match steady {
            Some(SteadyStep { next, found, .. }) => (next.read(found).await?, Vec::new()),
            None => {
                let hidden = self.model.pass(&tokens, &mut self.cache);
                let next = self.next.insert(self.model.next_tokens(hidden, self.choice.as_ref()));
                next.best(&self.scoring, count, &probes).await?
            }
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
