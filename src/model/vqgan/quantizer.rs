//! Features to codes, and codes to the rows of the codebook.

use crate::config::{CodeChoice, VqganConfig};
use crate::error::Result;
use crate::kernels::{Convolution, products};
use crate::model::Path;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

#[derive(Module, Debug)]
pub struct Quantizer {
    /// Features to logits of the codes; without it the nearest row of the codebook is the code.
    proj: Option<Convolution>,
    embed: Codebook,
}

#[derive(Module, Debug)]
struct Codebook {
    /// `[n_embed, embed_dim]`
    weight: Param<Tensor<2>>,
}

impl Quantizer {
    pub fn new(config: &VqganConfig, path: &mut Path) -> Result<Self> {
        let (rows, width) = (config.n_embed, config.embed_dim);
        let gumbel = config.choice == CodeChoice::GumbelVQ;
        let proj = gumbel.then(|| path.convolution("proj", width, rows, 1)).transpose()?;
        Ok(Self { proj, embed: Codebook { weight: path.tensor("embed.weight", [rows, width])? } })
    }

    /// How well each code fits: the logits, or minus half the squared distance up to what all codes share. The
    /// original draws codes with noise; the largest score is the likeliest of its draws (reference §10).
    ///
    /// # Shapes
    /// `[B, embed_dim, h, w]` → `[B, n_embed, h, w]`
    pub fn scores(&self, features: Tensor<4>) -> Tensor<4> {
        if let Some(proj) = &self.proj {
            return proj.forward(features);
        }
        let [batch, width, height, columns] = features.dims();
        let codebook = self.codebook();
        let [rows, _] = codebook.dims();
        let norms = codebook.clone().square().sum_dim(1) * 0.5;
        let vectors = features.permute([0, 2, 3, 1]).reshape([1, 1, batch * height * columns, width]);
        let scores = products(vectors, codebook.unsqueeze()) - norms.reshape([1, 1, 1, rows]);
        scores.reshape([batch, height, columns, rows]).permute([0, 3, 1, 2])
    }

    /// # Shapes
    /// `[B, embed_dim, h, w]` → `[B, h, w]`
    pub fn codes(&self, features: Tensor<4>) -> Tensor<3, Int> {
        self.scores(features).argmax(1).squeeze_dim(1)
    }

    /// The rows of the codebook with these numbers, which have to be below `n_embed`.
    ///
    /// # Shapes
    /// `[B, h, w]` → `[B, embed_dim, h, w]`
    pub fn look_up(&self, codes: Tensor<3, Int>) -> Tensor<4> {
        let [batch, height, columns] = codes.dims();
        let codebook = self.codebook();
        let [_, width] = codebook.dims();
        let rows = codebook.select(0, codes.reshape([batch * height * columns]));
        rows.reshape([batch, height, columns, width]).permute([0, 3, 1, 2])
    }

    /// `[n_embed, embed_dim]`
    pub fn codebook(&self) -> Tensor<2> {
        self.embed.weight.val()
    }

    /// The same with another codebook, which training moves by itself.
    pub fn with_codebook(self, codebook: Tensor<2>) -> Self {
        let weight = self.embed.weight.map(|_| codebook);
        Self { embed: Codebook { weight }, ..self }
    }
}
