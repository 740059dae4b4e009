//! The model as the search sees it.

use crate::config::{Decoding, OfaConfig};
use crate::error::{Error, Result};
use crate::generate::{Candidate, RowScores, Step, StepRequest};
use crate::kernels::{Best, Choice, Found, NextTokens, Steady, TokenScoring, allowed_alone, allowed_range, entries};
use crate::model::{DecoderCache, EncoderOutput, OfaModel, TokenBatch};
use std::thread::{self, ThreadId};

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
    /// See [`launches`](crate::model::Decoder::launches); and the thread, of which a device keeps the order.
    depends_on: ([usize; 2], ThreadId),
    pass: Steady<NextTokens>,
    /// How many candidates are searched for, and the search.
    found: Option<(usize, Steady<Option<Found>>)>,
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

    /// Takes the newest tokens through the decoder.
    fn pass(&mut self, tokens: &TokenBatch) {
        self.model.decoder.advance(tokens, &mut self.cache);
        let launches = self.model.decoder.launches(tokens, &self.cache).filter(|_| !self.unsteady);
        let depends_on = launches.map(|launches| (launches, thread::current().id()));
        let Self { model, cache, choice, next, steady, unsteady, .. } = self;
        *next = None;
        let mut work = || {
            let hidden = model.pass(tokens, cache);
            model.next_tokens(hidden, choice.as_ref())
        };
        let again = match (&depends_on, &mut *steady) {
            (Some(depends_on), Some(known)) if known.depends_on == *depends_on => {
                // SAFETY: The model and the cache stay where they are, and what is depended on is other than before when a part
                // of the cache was laid elsewhere or this is another thread.
                let done = unsafe { known.pass.again(&mut work) };
                *unsteady = !done;
                done
            }
            _ => false,
        };
        if !again {
            // What was recorded lets go of its memory first.
            *steady = None;
            match depends_on.filter(|_| !*unsteady) {
                Some(depends_on) => {
                    let pass = Steady::first(&model.device(), work);
                    *steady = Some(SteadyStep { depends_on, pass, found: None });
                }
                None => *next = Some(work()),
            }
        }
        if let Some(known) = steady {
            *next = known.pass.left().cloned();
        }
    }

    /// The `count` best tokens to come after a pass. `None` where passes are not steady or no kernel finds so many.
    fn found(&mut self, count: usize) -> Option<Found> {
        let Self { model, scoring, next, steady, unsteady, .. } = self;
        let (known, next) = (steady.as_mut()?, next.as_ref()?);
        let work = || next.found(scoring, count);
        match &mut known.found {
            Some((of, found)) if *of == count && matches!(found.left(), Some(None)) => return None,
            Some((of, found)) if *of == count => {
                // SAFETY: What the pass leads to stays where it is.
                if !unsafe { found.again(work) } {
                    (*steady, *unsteady) = (None, true);
                    return None;
                }
            }
            found => *found = Some((count, Steady::first(&model.device(), work))),
        }
        known.found.as_ref()?.1.left()?.clone()
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
        self.pass(&tokens);
        let found = if probes.is_empty() && count > 0 { self.found(count) } else { None };
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

#[cfg(all(test, feature = "gpu", feature = "cli", feature = "cpu"))]
mod tests {
    use super::*;
    use crate::kernels::{gpu_of_tests, tensor};
    use crate::model::{Parameters, Source, Stored};
    use burn::tensor::{Device, Tensor};

    /// Log-probabilities of two devices that sum in other orders.
    const TOLERANCE: f32 = 1e-4;

    /// Numbers that are the same on every device.
    struct Drawn {
        device: Device,
        /// Of the table of embeddings.
        parts: usize,
        drawn: u64,
    }

    impl Drawn {
        fn values(&mut self, name: &str, count: usize) -> Vec<f32> {
            let one = name.ends_with("running_var") || name.contains("norm") && name.ends_with("weight");
            let mut draw = || {
                self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.drawn >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..count).map(|_| if one { 1.0 + draw() / 10.0 } else { draw() / 4.0 }).collect()
        }
    }

    impl Parameters for Drawn {
        fn joins(&self) -> bool {
            true
        }

        fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
            let count = shape.iter().product();
            let values = self.values(name, count);
            if name.ends_with("embed_tokens.weight") {
                let rows = shape[0].div_ceil(self.parts);
                let parts = values.chunks(rows * shape[1]);
                let part = |values: &[f32]| {
                    let height = values.len() / shape[1];
                    Tensor::<2>::from_data(
                        burn::tensor::TensorData::new(values.to_vec(), [height, shape[1]]),
                        &self.device,
                    )
                };
                return Ok(Stored::Rows(parts.map(part).collect()));
            }
            Ok(Stored::Flat(tensor(values, [count], &self.device)))
        }
    }

    /// What a model says on `device` in steps that begin, branch, go on, ask for more and for certain tokens.
    fn said(config: &OfaConfig, parts: usize, device: Device) -> (Vec<RowScores>, bool) {
        let model = OfaModel::new(config, &mut Drawn { device, parts, drawn: 1 }).expect("a model");
        let encoded = model.encode(&Source::text(TokenBatch::new(1, 5, vec![0, 21, 34, 55, 2])));
        let mut step = ModelStep::new(&model, config, &encoded, &Decoding::default(), 40);
        let mut said = Vec::new();
        let free = [8, 8, 8, 8, 8, 16, 8, 80, 80, 80, 8].map(|count| (count, 0));
        let asked = free.into_iter().chain([(8, 3), (0, 2), (8, 0), (8, 0), (8, 0)]);
        for (index, (count, probes)) in asked.enumerate() {
            let rows = if index == 0 { Vec::new() } else { vec![0, usize::from(index > 1)] };
            let tokens = vec![40 + index as u32; rows.len().max(1)];
            let tokens: Vec<u32> = tokens.into_iter().enumerate().map(|(row, token)| token + 7 * row as u32).collect();
            let probes: Vec<Vec<u32>> = if probes == 0 {
                Vec::new()
            } else {
                vec![(0..probes).map(|probe| 450 + probe).collect(); tokens.len()]
            };
            let request = StepRequest { tokens, rows, samples: None, count, probes };
            said.extend(pollster::block_on(step.step(request)).expect("a step"));
            let more = pollster::block_on(step.best(70)).expect("candidates");
            said.extend(more.into_iter().map(|candidates| RowScores { candidates, probes: Vec::new() }));
        }
        let found = |known: &SteadyStep| known.found.as_ref().is_some_and(|(_, found)| found.recorded());
        let steady = step.steady.as_ref().is_some_and(|known| known.pass.recorded() && found(known));
        (said, steady && !step.unsteady)
    }

    #[test]
    fn steps_that_are_replayed_say_what_others_do() {
        let config: OfaConfig =
            serde_json::from_str(include_str!("../../tests/golden/seeded.json")).expect("a configuration");
        let scaled = OfaConfig { scale_resids: true, scale_embedding: true, ..config.clone() };
        for (config, parts) in [(&config, 1), (&config, 3), (&scaled, 1)] {
            let (expected, _) = said(config, parts, Device::flex());
            let (found, steady) = said(config, parts, gpu_of_tests());
            assert!(steady, "{parts} parts");
            assert_eq!(expected.len(), found.len());
            for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
                let scores = |row: &RowScores| -> Vec<f32> {
                    row.candidates.iter().map(|candidate| candidate.score).chain(row.probes.iter().copied()).collect()
                };
                let (expected, found) = (scores(expected), scores(found));
                assert_eq!(expected.len(), found.len());
                for (expected, found) in expected.iter().zip(found) {
                    assert!((expected - found).abs() < TOLERANCE, "{parts} parts, {index}: {expected}, found {found}");
                }
            }
        }
    }
}
