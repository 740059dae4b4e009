//! A bundle → a model that notes what its matrices are multiplied with, for rounding them where it shows least.

use super::bundle::{BundleFiles, read_files, read_tensors};
use super::feedback::ErrorFeedback;
use super::layout::EMBEDDING;
use super::quantize::{Storage, precision_of};
use super::upload::DeviceWeights;
use crate::error::{Error, Result};
use crate::kernels::{Seen, floats};
use crate::model::{OfaModel, Parameters, Stored};
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// What matrices have seen, by their names.
pub type SeenByName = BTreeMap<String, Seen>;

/// Loads a bundle of plain weights on the CPU. Watched are the matrices that are packed in groups of `group_size`.
///
/// # Errors
/// Those of [`load_model`](super::load_model), and [`Error::Tensor`] for weights that are packed already.
pub fn load_watched(directory: &Path, group_size: usize) -> Result<(BundleFiles, OfaModel, SeenByName)> {
    let (manifest, files) = read_files(directory)?;
    files.config.validate()?;
    let mut weights = DeviceWeights::new(&files.config, Device::flex());
    read_tensors(directory, &manifest, |name, tensor| weights.insert(&name, &tensor))?;
    let mut watching = Watching { weights, group_size, seen: BTreeMap::new() };
    let model = OfaModel::new(&files.config, &mut watching)?;
    watching.weights.finish()?;
    Ok((files, model, watching.seen))
}

/// What is added to the products of inputs, as a share of their mean: what they have in common by chance.
const DAMPING: f64 = 0.1;
/// The table of tokens is not only multiplied with hidden states but read row by row, where no error takes another back.
const READ_DAMPING: f64 = 1.0;

/// How the matrix `name` is rounded for what it has seen; `None` where it has seen nothing.
///
/// # Errors
/// Those of [`ErrorFeedback::new`] and of the device.
pub fn feedback(name: &str, seen: &Seen) -> Result<Option<ErrorFeedback>> {
    let Some(sum) = seen.sum() else { return Ok(None) };
    let [depth, _] = sum.dims();
    let products = pollster::block_on(floats(sum))?;
    let damping = if name == EMBEDDING { READ_DAMPING } else { DAMPING };
    ErrorFeedback::new(name, &products, depth, damping).map(Some)
}

struct Watching {
    weights: DeviceWeights,
    group_size: usize,
    seen: SeenByName,
}

impl Parameters for Watching {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let stored = self.weights.take(name, shape)?;
        if precision_of(name, shape, self.group_size) == Storage::Half {
            return Ok(stored);
        }
        let matrix = [shape[0], shape[1..].iter().product()];
        let values = match stored {
            Stored::Flat(values) => values.reshape(matrix),
            Stored::Rows(parts) => Tensor::cat(parts, 0),
            Stored::Split(weight) => weight.unpacked(),
            Stored::Packed(_) => return Err(Error::tensor(name, "plain weights", "packed ones")),
            stored => return Ok(stored),
        };
        let seen = Seen::default();
        self.seen.insert(name.to_owned(), seen.clone());
        Ok(Stored::Watched(values, seen))
    }
}
