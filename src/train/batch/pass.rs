//! One pass of the model over a batch, and what it is judged by beside the answers.

use super::Batch;
use super::images::Images;
use super::rectangle::{Look, Rectangle};
use crate::kernels::{indices, tensor};
use crate::model::{EncoderOutput, ImageFeatures, OfaModel, Source};
use crate::train::loss::at_tokens;
use crate::train::sample::Referred;
use burn::tensor::{Tensor, TensorData, activation};

/// Keeps the logarithm of a look finite.
const LEAST_LOOK: f64 = 1e-6;

/// What a pass of the model gives.
pub struct Pass {
    /// Where the model is judged, in the order of [`Batch::tokens`]: `[n, V]`.
    pub logits: Tensor<2>,
    /// How well patches say what they are to the instruction: the summed negative log-likelihood of the words for their
    /// [roles](crate::train::Role) when the tied output projection reads the encoder's output there, `[1]`; `None` where that is
    /// not known. [`Known::referred`](super::Known::referred) makes a mean of it.
    ///
    /// An answer of one word says little about which of all the things in a picture led to it. This says it, patch by
    /// patch, and it needs no further parameters.
    pub referred: Option<Tensor<1>>,
    /// How well the decoder looks at what it speaks of: the negative logarithm of the share of its cross-attention that
    /// lies there, a mean over half of the heads of every layer and a sum over tokens, `[1]`; `None` where that is not
    /// known. [`Known::looked`](super::Known::looked) makes a mean of it.
    ///
    /// Which of the things in a picture a word is about is all that is hard about a caption; the words alone say it late.
    pub looked: Option<Tensor<1>>,
}

/// What a pass says beside the logits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// [`Pass::referred`].
    pub referred: bool,
    /// [`Pass::looked`].
    pub looked: bool,
}

impl Batch {
    /// What the stem sees of the images; `None` without any.
    pub fn features(&self, model: &OfaModel) -> Option<ImageFeatures> {
        self.images.as_ref().map(|images| {
            let Images { values, height, width, .. } = images;
            let data = TensorData::new(values.clone(), [images.count(), 3, *height, *width]);
            model.encode_image(Tensor::from_data(data, &model.device()))
        })
    }

    /// How well patches say what lies in them: the summed negative log-likelihood of their names' tokens when the tied
    /// output projection reads the projected patches, `[1]`; `None` where no names are known. [`Known::named`](super::Known::named) makes a
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
