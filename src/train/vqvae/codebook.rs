//! The codebook in training: the moving average of the vectors that choose its rows.

use crate::error::Result;
use crate::kernels::{floats, indices};
use crate::model::Quantizer;
use burn::tensor::{Int, Tensor, TensorData};

/// The codebook and what it is the mean of.
pub struct MovingCodebook {
    pub quantizer: Quantizer,
    /// How many vectors of a batch choose each row, averaged over batches, `[K]`.
    pub uses: Tensor<1>,
    /// The sum of those vectors, `[K, C]`.
    pub sums: Tensor<2>,
}

impl MovingCodebook {
    pub fn new(quantizer: Quantizer) -> Self {
        let codebook = quantizer.codebook();
        let [rows, _] = codebook.dims();
        Self { quantizer, uses: Tensor::zeros([rows], &codebook.device()), sums: codebook.zeros_like() }
    }

    /// Moves each row towards the mean of the vectors that chose it; tells how many rows were chosen, `[1]`.
    ///
    /// # Shapes
    /// codes `[B, h, w]`, vectors `[B, C, h, w]`
    pub fn follow(&mut self, codes: Tensor<3, Int>, vectors: Tensor<4>, decay: f64) -> Tensor<1> {
        let [rows, _] = self.sums.dims();
        let vectors = columns(vectors);
        let [count, _] = vectors.dims();
        let chosen = codes.reshape([count]).one_hot::<2>(rows).float();
        let uses = chosen.clone().sum_dim(0).reshape([rows]);
        let used = uses.clone().greater_elem(0.5).float().sum();
        let average = |old: Tensor<2>, new: Tensor<2>| old * decay + new * (1.0 - decay);
        self.uses = average(self.uses.clone().unsqueeze(), uses.unsqueeze()).reshape([rows]);
        self.sums = average(self.sums.clone(), chosen.transpose().matmul(vectors));
        // What nothing has chosen for so long that nothing is left to divide by stays where it is.
        let dead = self.uses.clone().lower_elem(f32::MIN_POSITIVE).reshape([rows, 1]).expand(self.sums.dims());
        let means = self.sums.clone() / self.uses.clone().reshape([rows, 1]);
        self.quantizer = self.quantizer.clone().with_codebook(means.mask_where(dead, self.quantizer.codebook()));
        used
    }

    /// Sets rows that are hardly used to vectors drawn by `seed`; at first all are.
    ///
    /// # Shapes
    /// vectors `[B, C, h, w]`
    pub async fn restart(&mut self, vectors: &Tensor<4>, least_use: f64, seed: u64) -> Result<()> {
        let vectors = columns(vectors.clone());
        let ([count, _], [rows, _]) = (vectors.dims(), self.sums.dims());
        let fair = count as f64 / rows as f64;
        let mut uses = floats(self.uses.clone()).await?;
        let dead: Vec<bool> = uses.iter().map(|uses| f64::from(*uses) <= least_use * fair).collect();
        if !dead.contains(&true) {
            return Ok(());
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let device = vectors.device();
        let drawn = vectors.select(0, indices((0..rows).map(|_| random.usize(0..count)), &device));
        let revived: Vec<f32> = dead.iter().map(|dead| f32::from(*dead)).collect();
        let revived = Tensor::<2>::from_data(TensorData::new(revived, [rows, 1]), &device);
        let codebook = self.quantizer.codebook();
        let codebook = codebook.clone() + (drawn - codebook) * revived;
        for (uses, _) in uses.iter_mut().zip(&dead).filter(|(_, dead)| **dead) {
            *uses = fair as f32;
        }
        self.uses = Tensor::from_data(TensorData::new(uses, [rows]), &device);
        self.sums = codebook.clone() * self.uses.clone().reshape([rows, 1]);
        self.quantizer = self.quantizer.clone().with_codebook(codebook);
        Ok(())
    }
}

/// `[B, C, h, w]` → `[B · h · w, C]`, in the order of codes.
fn columns(vectors: Tensor<4>) -> Tensor<2> {
    let [batch, width, height, columns] = vectors.dims();
    vectors.permute([0, 2, 3, 1]).reshape([batch * height * columns, width])
}
