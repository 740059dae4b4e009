//! Samples side by side: what one pass of the model reads and what it is judged by.

use super::loss::{Judged, LossOptions, TargetToken, at_tokens, target_tokens};
use super::sample::{PatchImage, Referred, Sample, Shown};
use crate::config::{OfaConfig, STEM_STRIDE};
use crate::error::{Error, Result};
use crate::kernels::{in_host_memory, indices, tensor};
use crate::model::{EncoderOutput, ImageFeatures, OfaModel, Source, TokenBatch};
use burn::tensor::{Device, Tensor, TensorData, activation};
use std::sync::Arc;

/// What another rectangle costs, in positions of padding: about the time of launching a pass's operations again, where
/// the host computes and where it only launches.
const RECTANGLE_COSTS: [usize; 2] = [64, 4096];
/// Keeps the logarithm of a look finite.
const LEAST_LOOK: f64 = 1e-6;

/// How samples are laid out in a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrangement {
    /// So many patches are kept of each image, in an order drawn with `seed` (reference §1.4, `sample_patch_num`).
    pub keep: Option<usize>,
    pub seed: u64,
    /// What another rectangle of samples of like length costs, in positions of padding.
    pub rectangle_cost: usize,
}

impl Arrangement {
    /// All patches, and rectangles as `device` likes them.
    pub fn on(device: &Device) -> Self {
        let [host, launched] = RECTANGLE_COSTS;
        Self { rectangle_cost: if in_host_memory(device) { host } else { launched }, ..Self::default() }
    }
}

/// Samples of one pass. The stem runs once over their images; the layers run over rectangles of samples of like
/// length, because padding costs as much as text.
#[derive(Debug, Clone)]
pub struct Batch {
    pub conf: Vec<f32>,
    /// The objective of each sample.
    pub objectives: Vec<&'static str>,
    rectangles: Vec<Rectangle>,
    /// What the model is judged by, rectangle after rectangle.
    tokens: Vec<TargetToken>,
    /// For each of them the only tokens that compete there; none where all do.
    allowed: Vec<Option<Vec<u32>>>,
    images: Option<Images>,
}

/// Samples padded to the same lengths.
#[derive(Debug, Clone)]
struct Rectangle {
    /// Which samples of the batch, B of them.
    samples: Vec<usize>,
    /// `[B, S]`
    source: TokenBatch,
    /// What the decoder reads, `[B, T]`.
    previous: TokenBatch,
    /// What the model is judged by; `sample` counts within the rectangle.
    tokens: Vec<TargetToken>,
    codes: Vec<bool>,
    /// For each sample the patches that its instruction refers to, where they are known.
    referred: Vec<Option<Referred>>,
    looks: Vec<Look>,
}

/// What a pass of the model gives.
pub struct Pass {
    /// Where the model is judged, in the order of [`Batch::tokens`]: `[n, V]`.
    pub logits: Tensor<2>,
    /// How well patches say what they are to the instruction: the summed negative log-likelihood of the words for their
    /// [roles](super::Role) when the tied output projection reads the encoder's output there, `[1]`; `None` where that is
    /// not known. [`Known::referred`] makes a mean of it.
    ///
    /// An answer of one word says little about which of all the things in a picture led to it. This says it, patch by
    /// patch, and it needs no further parameters.
    pub referred: Option<Tensor<1>>,
    /// How well the decoder looks at what it speaks of: the negative logarithm of the share of its cross-attention that
    /// lies there, a mean over half of the heads of every layer and a sum over tokens, `[1]`; `None` where that is not
    /// known. [`Known::looked`] makes a mean of it.
    ///
    /// Which of the things in a picture a word is about is all that is hard about a caption; the words alone say it late.
    pub looked: Option<Tensor<1>>,
}

/// How much a batch knows beside its answers. Sums over batches and ranks divide by sums of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Patches whose names are known.
    pub named: usize,
    /// Patches, as samples see them, whose role is.
    pub referred: usize,
    /// Tokens of answers of which it is known what shows what they speak of.
    pub looked: usize,
}

/// What a pass says beside the logits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// [`Pass::referred`].
    pub referred: bool,
    /// [`Pass::looked`].
    pub looked: bool,
}

#[derive(Debug, Clone)]
struct Images {
    /// Each image once, `[n, 3, height, width]`.
    values: Vec<f32>,
    height: usize,
    width: usize,
    /// For each sample its image.
    index: Vec<Option<usize>>,
    /// Patches kept of each sample, in this order.
    order: Option<Vec<Vec<usize>>>,
    /// For each image the tokens that name what lies in each patch, where that is known.
    names: Vec<Option<Arc<Vec<Vec<u32>>>>>,
}

impl Batch {
    /// Puts samples side by side.
    ///
    /// # Errors
    /// [`Error::Image`] for images of more than one size, [`Error::Task`] for a text beyond the model's positions and for
    /// an instruction that refers to patches of another grid.
    pub fn new(samples: &[Sample], config: &OfaConfig, arrangement: Arrangement) -> Result<Self> {
        let limit = config.max_position_embeddings;
        for sample in samples {
            let longest = sample.source.len().max(sample.decoder_len());
            if longest > limit {
                return Err(Error::task(sample.objective, format!("{longest} tokens; at most {limit} fit")));
            }
        }
        let images = Images::new(samples, arrangement)?;
        let all = images.as_ref().map_or(0, Images::all);
        for sample in samples {
            let referred = sample.referred.as_ref().map_or(all, |referred| referred.patches.len());
            if referred != all {
                let reason = format!("refers to an image of {referred} patches; it has {all}");
                return Err(Error::task(sample.objective, reason));
            }
        }
        let patches = images.as_ref().map_or(0, Images::kept);
        let encoder_len = |sample: &Sample| sample.source.len() + if sample.image.is_some() { patches } else { 0 };
        let sizes: Vec<[usize; 2]> = samples.iter().map(|one| [encoder_len(one), one.decoder_len()]).collect();
        let rectangles = cut(&sizes, arrangement.rectangle_cost)
            .into_iter()
            .map(|chosen| Rectangle::new(samples, chosen, images.as_ref(), config))
            .collect();
        let conf = samples.iter().map(|sample| sample.conf).collect();
        let objectives = samples.iter().map(|sample| sample.objective).collect();
        let mut batch = Self::of(rectangles, conf, objectives, images);
        if samples.iter().any(|sample| sample.answers.is_some()) {
            let allowed = |token: &TargetToken| samples[token.sample].allowed(token.position);
            batch.allowed = batch.tokens.iter().map(allowed).collect();
        }
        Ok(batch)
    }

    /// A batch of what has been put side by side already, `[B, S]`, `[B, T]` and `[B, T]`, pad where it is not judged;
    /// images `[B, 3, height, width]`.
    ///
    /// # Panics
    /// If the parts are not of one batch.
    pub fn from_parts(
        [source, previous, target]: [TokenBatch; 3],
        (values, [height, width]): (Vec<f32>, [usize; 2]),
        objectives: Vec<&'static str>,
        pad: u32,
    ) -> Self {
        let count = objectives.len();
        assert!([source.batch, previous.batch, target.batch].iter().all(|batch| *batch == count));
        assert_eq!(values.len(), count * 3 * height * width);
        let images = Some(Images {
            values,
            height,
            width,
            index: (0..count).map(Some).collect(),
            order: None,
            names: Vec::new(),
        });
        let tokens = target_tokens(&target, pad);
        let (samples, codes, referred) = ((0..count).collect(), vec![false; count], vec![None; count]);
        let whole = Rectangle { samples, source, previous, tokens, codes, referred, looks: Vec::new() };
        Self::of(vec![whole], vec![1.0; count], objectives, images)
    }

    fn of(rectangles: Vec<Rectangle>, conf: Vec<f32>, objectives: Vec<&'static str>, images: Option<Images>) -> Self {
        let of_batch = |rectangle: &Rectangle| -> Vec<TargetToken> {
            let tokens = rectangle.tokens.iter();
            tokens.map(|token| TargetToken { sample: rectangle.samples[token.sample], ..*token }).collect()
        };
        let tokens = rectangles.iter().flat_map(of_batch).collect();
        Self { conf, objectives, rectangles, tokens, allowed: Vec::new(), images }
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.objectives.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// Tokens that are judged.
    pub fn tokens(&self) -> &[TargetToken] {
        &self.tokens
    }

    /// Which tokens of a vocabulary of this size compete at each of [`tokens`](Self::tokens), `[n, V]`; `None` if all do.
    pub fn constraint_masks(&self, vocabulary: usize) -> Option<Vec<bool>> {
        if self.allowed.is_empty() {
            return None;
        }
        let mut masks = vec![false; self.allowed.len() * vocabulary];
        for (row, allowed) in masks.chunks_mut(vocabulary).zip(&self.allowed) {
            match allowed {
                Some(ids) => ids.iter().for_each(|id| row[*id as usize] = true),
                None => row.fill(true),
            }
        }
        Some(masks)
    }

    /// Positions of the encoder and of the decoder that a pass runs over, padding and patches included.
    pub fn positions(&self) -> usize {
        let patches = self.images.as_ref().map_or(0, Images::kept);
        let of = |rectangle: &Rectangle| {
            let patches = if self.sees(rectangle) { patches } else { 0 };
            rectangle.samples.len() * (patches + rectangle.source.len + rectangle.previous.len)
        };
        self.rectangles.iter().map(of).sum()
    }

    /// What the stem sees of the images; `None` without any.
    pub fn features(&self, model: &OfaModel) -> Option<ImageFeatures> {
        self.images.as_ref().map(|images| {
            let Images { values, height, width, .. } = images;
            let data = TensorData::new(values.clone(), [images.count(), 3, *height, *width]);
            model.encode_image(Tensor::from_data(data, &model.device()))
        })
    }

    /// How much is known beside the answers.
    pub fn known(&self) -> Known {
        let referred = |rectangle: &Rectangle| rectangle.referred.iter().flatten().count();
        Known {
            named: self.named_patches().count(),
            referred: self.rectangles.iter().map(referred).sum::<usize>()
                * self.images.as_ref().map_or(0, Images::kept),
            looked: self.rectangles.iter().map(|rectangle| rectangle.looks.len()).sum(),
        }
    }

    /// Images, their patches whose names are known, and those.
    fn named_patches(&self) -> impl Iterator<Item = (usize, usize, &Vec<u32>)> {
        let images = self.images.iter().flat_map(|images| images.names.iter().enumerate());
        let named = images.filter_map(|(image, names)| Some((image, names.as_ref()?)));
        let patches = named
            .flat_map(|(image, names)| names.iter().enumerate().map(move |(patch, tokens)| (image, patch, tokens)));
        patches.filter(|(_, _, tokens)| !tokens.is_empty())
    }

    /// How well patches say what lies in them: the summed negative log-likelihood of their names' tokens when the tied
    /// output projection reads the projected patches, `[1]`; `None` where no names are known. [`Known::named`] makes a
    /// mean of it.
    ///
    /// The original starts from a stem that was trained to classify photos; a stem that starts from nothing learns what
    /// things look like far sooner from this than from answers alone, and it needs no further parameters.
    pub fn patch_nll(&self, model: &OfaModel, features: &ImageFeatures) -> Option<Tensor<1>> {
        let [_, patches, width] = features.patches.dims();
        let (mut rows, mut picks, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for (image, patch, tokens) in self.named_patches() {
            picks.extend(tokens.iter().map(|token| (rows.len(), *token as usize)));
            shares.extend(tokens.iter().map(|_| 1.0 / tokens.len() as f32));
            rows.push(image * patches + patch);
        }
        let (count, of_picks) = (rows.len(), picks.len());
        if count == 0 {
            return None;
        }
        let device = model.device();
        let [images, _, _] = features.patches.dims();
        let chosen = features.patches.clone().reshape([images * patches, width]);
        let chosen = chosen.select(0, indices(rows.into_iter(), &device));
        let lprobs = activation::log_softmax(model.logits(chosen.unsqueeze()), 2);
        let [_, _, vocabulary] = lprobs.dims();
        let at = indices(picks.into_iter().map(|(row, token)| row * vocabulary + token), &device);
        let shares = Tensor::<1>::from_data(TensorData::new(shares, [of_picks]), &device);
        let said = lprobs.reshape([count * vocabulary]).select(0, at) * shares;
        Some(said.sum().neg())
    }

    /// Runs the layers.
    pub fn pass(&self, model: &OfaModel, features: Option<&ImageFeatures>, beside: Beside) -> Pass {
        let (mut hidden, mut referrals, mut looks) = (Vec::new(), Vec::new(), Vec::new());
        for rectangle in &self.rectangles {
            let encoded = self.encode(rectangle, features, model);
            referrals.extend(beside.referred.then(|| self.referred_nll(rectangle, &encoded, model)).flatten());
            let mut cache = model.begin(&encoded, &rectangle.codes, rectangle.previous.len);
            let decoded = if beside.looked && !rectangle.looks.is_empty() {
                let (decoded, attention) = model.decode_watched(&rectangle.previous, &mut cache);
                let layers = attention.len() as f64;
                looks.extend(attention.into_iter().map(|layer| looked_nll(&rectangle.looks, layer) / layers));
                decoded
            } else {
                model.decode(&rectangle.previous, &mut cache)
            };
            hidden.push(at_tokens(decoded, &rectangle.tokens));
        }
        let logits = model.logits(Tensor::cat(hidden, 0).unsqueeze());
        let [_, count, vocabulary] = logits.dims();
        let sum = |losses: Vec<Tensor<1>>| (!losses.is_empty()).then(|| Tensor::cat(losses, 0).sum());
        Pass { logits: logits.reshape([count, vocabulary]), referred: sum(referrals), looked: sum(looks) }
    }

    /// What each patch whose role is known loses by saying it, `[m]`.
    fn referred_nll(&self, rectangle: &Rectangle, encoded: &EncoderOutput, model: &OfaModel) -> Option<Tensor<1>> {
        let images = self.images.as_ref()?;
        let words = rectangle.referred.iter().flatten().next()?.words;
        let [batch, length, width] = encoded.hidden.dims();
        let (mut rows, mut said) = (Vec::new(), Vec::new());
        for (row, referred) in rectangle.referred.iter().enumerate() {
            let Some(Referred { patches, .. }) = referred else { continue };
            for place in 0..images.kept() {
                rows.push(row * length + place);
                said.push(patches[images.patch(rectangle.samples[row], place)] as usize);
            }
        }
        let (count, device) = (rows.len(), model.device());
        let hidden =
            encoded.hidden.clone().reshape([batch * length, width]).select(0, indices(rows.into_iter(), &device));
        let scores = hidden.matmul(model.embed_tokens.rows(&words).transpose());
        let said = indices(said.into_iter(), &device).reshape([count, 1]);
        Some(activation::log_softmax(scores, 1).gather(1, said).reshape([count]).neg())
    }

    /// The encoder's output over one rectangle.
    fn encode(&self, rectangle: &Rectangle, features: Option<&ImageFeatures>, model: &OfaModel) -> EncoderOutput {
        let Rectangle { samples, source, .. } = rectangle;
        let mut source = Source::text(source.clone());
        if let (Some(images), Some(features), true) = (&self.images, features, self.sees(rectangle)) {
            // The first image stands in where there is none.
            let index: Vec<usize> = samples.iter().map(|sample| images.index[*sample].unwrap_or(0)).collect();
            let mut features = features.clone();
            if !index.iter().copied().eq(0..images.count()) {
                features.patches = features.patches.select(0, indices(index.into_iter(), &model.device()));
            }
            source = source.with_image(features);
            source.patch_masks = samples.iter().map(|sample| images.index[*sample].is_some()).collect();
            let order = |order: &Vec<Vec<usize>>| samples.iter().map(|sample| order[*sample].clone()).collect();
            source.patch_order = images.order.as_ref().map(order);
        }
        model.encode(&source)
    }

    /// What divides the summed losses of its answers.
    pub fn size(&self, options: &LossOptions, config: &OfaConfig) -> f64 {
        options.size(&self.tokens, self.len(), config.eos_token_id)
    }

    /// What these logits are judged by after `update` updates.
    pub fn judge(&self, logits: Tensor<2>, config: &OfaConfig, update: usize) -> Judged<'_> {
        Judged {
            logits,
            tokens: &self.tokens,
            samples: self.len(),
            conf: self.conf.iter().any(|conf| *conf != 1.0).then_some(self.conf.as_slice()),
            constraint_masks: None,
            update,
            eos: config.eos_token_id,
        }
    }

    fn sees(&self, rectangle: &Rectangle) -> bool {
        let images = self.images.as_ref();
        images.is_some_and(|images| rectangle.samples.iter().any(|sample| images.index[*sample].is_some()))
    }
}

/// A position of the decoder that speaks of something, and for each of the patches kept whether it shows that.
#[derive(Debug, Clone)]
struct Look {
    row: usize,
    position: usize,
    shown: Vec<bool>,
}

/// Where the answers of the chosen samples should be looked for. Without parts of which no patch was kept.
fn looks(samples: &[Sample], chosen: &[usize], images: &Images) -> Vec<Look> {
    let mut looks = Vec::new();
    for (row, &sample) in chosen.iter().enumerate() {
        let Sample { shown, prefix, .. } = &samples[sample];
        for Shown { part, patches } in shown {
            let shows = |place: usize| patches.contains(&images.patch(sample, place));
            let shown: Vec<bool> = (0..images.kept()).map(shows).collect();
            if shown.contains(&true) {
                let look = |at: usize| Look { row, position: prefix.len() + at, shown: shown.clone() };
                looks.extend(part.clone().map(look));
            }
        }
    }
    looks
}

/// What each position loses by looking elsewhere, a mean over half of the heads of one layer's attention
/// `[B, H, T, L]`: `[m]`.
fn looked_nll(looks: &[Look], attention: Tensor<4>) -> Tensor<1> {
    let [batch, heads, length, keys] = attention.dims();
    let device = attention.device();
    let watching = heads.div_ceil(2);
    let row = |Look { row, position, .. }: &Look, head: usize| (row * heads + head) * length + position;
    let rows = looks.iter().flat_map(|look| (0..watching).map(move |head| row(look, head)));
    let chosen = attention.reshape([batch * heads * length, keys]).select(0, indices(rows, &device));
    let mut there = vec![0.0f32; looks.len() * watching * keys];
    for (look, rows) in looks.iter().zip(there.chunks_exact_mut(watching * keys)) {
        for mask in rows.chunks_exact_mut(keys) {
            mask.iter_mut().zip(&look.shown).for_each(|(mask, shown)| *mask = f32::from(*shown));
        }
    }
    let there = tensor(there, [looks.len() * watching, keys], &device);
    let nll = (chosen * there).sum_dim(1).clamp_min(LEAST_LOOK).log().neg();
    nll.reshape([looks.len(), watching]).mean_dim(1).reshape([looks.len()])
}

impl Rectangle {
    fn new(samples: &[Sample], chosen: Vec<usize>, images: Option<&Images>, config: &OfaConfig) -> Self {
        let (bos, eos, pad) = (config.bos_token_id, config.eos_token_id, config.pad_token_id);
        let padded = |row: &dyn Fn(&Sample) -> Vec<u32>| {
            let rows: Vec<Vec<u32>> = chosen.iter().map(|sample| row(&samples[*sample])).collect();
            TokenBatch::padded(&rows, pad)
        };
        let source = padded(&|sample| sample.source.clone());
        let previous = padded(&|sample| sample.previous(bos));
        let target = padded(&|sample| sample.judged(eos, pad));
        let codes = chosen.iter().map(|sample| samples[*sample].codes).collect();
        let referred = chosen.iter().map(|sample| samples[*sample].referred.clone()).collect();
        let looks = images.map_or_else(Vec::new, |images| looks(samples, &chosen, images));
        Self { samples: chosen, source, previous, tokens: target_tokens(&target, pad), codes, referred, looks }
    }
}

/// Cuts samples, each of so many positions in the encoder and in the decoder, into rectangles of the least cost: by
/// length, then where the padding that is saved pays for another rectangle.
fn cut(sizes: &[[usize; 2]], rectangle_cost: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|sample| [sizes[*sample][1], sizes[*sample][0]]);
    // For each number of samples from the front, the least cost and where the last rectangle then begins.
    let mut best = vec![(0, 0)];
    for end in 1..=order.len() {
        let mut longest = [0, 0];
        let mut least = (usize::MAX, 0);
        for start in (0..end).rev() {
            longest = std::array::from_fn(|side| longest[side].max(sizes[order[start]][side]));
            let cost = best[start].0 + (end - start) * (longest[0] + longest[1]) + rectangle_cost;
            least = least.min((cost, start));
        }
        best.push(least);
    }
    let mut rectangles = Vec::new();
    let mut end = order.len();
    while end > 0 {
        let start = best[end].1;
        rectangles.push(order[start..end].to_vec());
        end = start;
    }
    rectangles
}

impl Images {
    fn new(samples: &[Sample], Arrangement { keep, seed, .. }: Arrangement) -> Result<Option<Self>> {
        let mut images: Vec<&Arc<PatchImage>> = Vec::new();
        let mut number = |image| {
            // Neighbours share images, so the search looks at the last first.
            images.iter().rposition(|known| Arc::ptr_eq(known, image)).unwrap_or_else(|| {
                images.push(image);
                images.len() - 1
            })
        };
        let index: Vec<Option<usize>> = samples.iter().map(|sample| sample.image.as_ref().map(&mut number)).collect();
        let Some(first) = images.first() else { return Ok(None) };
        let (width, height) = (first.width, first.height);
        if let Some(other) = images.iter().find(|image| (image.width, image.height) != (width, height)) {
            let found = format!("images of {width} x {height} and {} x {}", other.width, other.height);
            return Err(Error::image(format!("one batch holds {found}")));
        }
        let patches = patches(width, height);
        let order = keep.filter(|keep| *keep < patches).map(|keep| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut drawn = || {
                let mut order: Vec<usize> = (0..patches).collect();
                random.shuffle(&mut order);
                order.truncate(keep);
                order
            };
            samples.iter().map(|_| drawn()).collect()
        });
        let values = images.iter().flat_map(|image| image.values.iter().copied()).collect();
        let mut names = vec![None; images.len()];
        for (sample, image) in samples.iter().zip(&index) {
            if let (Some(image), Some(known)) = (*image, &sample.patch_names) {
                names[image] = Some(known.clone());
            }
        }
        Ok(Some(Self { values, height, width, index, order, names }))
    }

    /// Different images.
    fn count(&self) -> usize {
        self.values.len() / (3 * self.height * self.width)
    }

    /// Patches of each.
    fn all(&self) -> usize {
        patches(self.width, self.height)
    }

    /// Patches that the encoder reads of each.
    /// The patch of a sample's image that is kept at this place.
    fn patch(&self, sample: usize, place: usize) -> usize {
        self.order.as_ref().map_or(place, |order| order[sample][place])
    }

    fn kept(&self) -> usize {
        self.order.as_ref().and_then(|order| order.first()).map_or(self.all(), Vec::len)
    }
}

fn patches(width: usize, height: usize) -> usize {
    width.div_ceil(STEM_STRIDE) * height.div_ceil(STEM_STRIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_like_length_lie_together_and_few_rectangles_are_cut() {
        let short_and_long: Vec<[usize; 2]> =
            (0..40).map(|sample| [20, if sample % 2 == 0 { 2 } else { 30 }]).collect();
        let rectangles = cut(&short_and_long, RECTANGLE_COSTS[0]);
        assert_eq!(rectangles.len(), 2);
        assert!(rectangles.iter().all(|samples| samples.iter().all(|sample| sample % 2 == samples[0] % 2)));
        let alike: Vec<[usize; 2]> = (0..40).map(|sample| [20 + sample % 2, 4]).collect();
        assert_eq!(cut(&alike, RECTANGLE_COSTS[0]).len(), 1, "a position of padding each is cheaper than another pass");
        assert_eq!(cut(&short_and_long, RECTANGLE_COSTS[1]).len(), 1, "on a GPU padding is cheap");
        assert_eq!(cut(&[], RECTANGLE_COSTS[0]), Vec::<Vec<usize>>::new());
    }
}
