//! From bytes to the device: tensors go up one by one as shards arrive, and the model takes them by name.

use super::layout::EMBEDDING;
use super::quantize::packed_names;
use super::raw::{Dtype, RawTensor};
use super::strict::refuse;
use crate::config::{OfaConfig, Packing, Quantization, VqganConfig};
use crate::error::{Error, Result};
use crate::kernels::{self, PackedWeight, SplitWeight, Splitting, Table, Words};
use crate::model::{OfaModel, Parameters, Stored, Vqgan};
use burn::tensor::{Device, Tensor};
use half::f16;
use std::collections::BTreeMap;

/// Uploaded tensors waiting for the model to be built.
pub struct DeviceWeights {
    device: Device,
    packing: Option<Packing>,
    tensors: BTreeMap<String, Uploaded>,
    /// What the model asked for in vain; said all at once when it is complete.
    problems: Vec<String>,
}

struct Uploaded {
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    Float(Tensor<1>),
    /// Whole rows, each part small enough for one binding.
    Rows(Vec<Tensor<2>>),
    /// The output projection where it is split.
    Split(SplitWeight),
    /// Codes of a packed matrix.
    Words(Words),
    /// Scales or biases of a packed matrix, which wait on the host for the codes.
    Halves(Vec<f16>),
}

impl DeviceWeights {
    pub fn new(config: &OfaConfig, device: Device) -> Self {
        Self { device, packing: config.quantization.clone(), tensors: BTreeMap::new(), problems: Vec::new() }
    }

    /// For a model that is never quantised.
    pub fn plain(device: Device) -> Self {
        Self { device, packing: None, tensors: BTreeMap::new(), problems: Vec::new() }
    }

    /// Uploads one tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a type the model does not compute with.
    pub fn insert(&mut self, name: &str, tensor: &RawTensor<'_>) -> Result<()> {
        let shape = tensor.shape.clone();
        let count = tensor.elements();
        let values = if tensor.dtype == Dtype::U32 {
            Values::Words(Words::new(tensor.to_u32(name)?, &self.device))
        } else if self.packing.is_some() && tensor.dtype == Dtype::F16 && is_side(name) {
            Values::Halves(tensor.to_f16(name)?)
        } else if let Some(weight) = self.split(name, tensor)? {
            Values::Split(weight)
        } else {
            let values = tensor.to_f32(name)?;
            match shape[..] {
                [rows, width] if width > 0 && rows > Table::rows_per_part(4 * width) => {
                    let parts = values
                        .chunks(Table::rows_per_part(4 * width) * width)
                        .map(|part| kernels::tensor(part.to_vec(), [part.len() / width, width], &self.device));
                    Values::Rows(parts.collect())
                }
                _ => Values::Float(kernels::tensor(values, [count], &self.device)),
            }
        };
        self.tensors.insert(name.to_string(), Uploaded { shape, values });
        Ok(())
    }

    /// The output projection in parts, where that is faster and its values allow it.
    fn split(&self, name: &str, tensor: &RawTensor<'_>) -> Result<Option<SplitWeight>> {
        let [rows, width] = tensor.shape[..] else { return Ok(None) };
        if name != EMBEDDING || !Splitting::suits([rows, width], &self.device) {
            return Ok(None);
        }
        let mut parts = Splitting::new([rows, width]);
        let size = tensor.dtype.size() * width;
        for data in tensor.data.chunks((VALUES_AT_A_TIME / width).max(1) * size) {
            let block = RawTensor::new(name, tensor.dtype, vec![data.len() / size, width], data)?;
            if !parts.extend(&block.to_f32(name)?) {
                return Ok(None);
            }
        }
        Ok(Some(parts.into_weight(&self.device)))
    }

    /// Builds the model, which takes every tensor.
    ///
    /// # Errors
    /// One error that lists every missing, wrongly shaped and unused tensor.
    pub fn into_model(mut self, config: &OfaConfig) -> Result<OfaModel> {
        config.validate()?;
        let model = OfaModel::new(config, &mut self)?;
        self.finish()?;
        Ok(model)
    }

    /// Builds the model of image codes, which takes every tensor.
    ///
    /// # Errors
    /// Those of [`Self::into_model`].
    pub fn into_vqgan(mut self, config: &VqganConfig) -> Result<Vqgan> {
        config.validate()?;
        let model = Vqgan::new(config, &mut self)?;
        self.finish()?;
        Ok(model)
    }

    /// Says what was wrong, once a model has taken what it needs.
    ///
    /// # Errors
    /// One error that lists every missing, wrongly shaped and unused tensor.
    pub fn finish(mut self) -> Result<()> {
        self.problems.extend(self.tensors.keys().map(|name| format!("unused `{name}`")));
        refuse("the bundle's tensors", &self.problems)
    }

    fn find(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let Some(Uploaded { shape: found, values }) = self.tensors.remove(name) else {
            return Err(Error::tensor(name, format!("{shape:?}"), "nothing of this name"));
        };
        match values {
            Values::Words(codes) => self.packed(name, codes, &found, shape),
            _ if found != shape => Err(Error::tensor(name, format!("{shape:?}"), format!("{found:?}"))),
            Values::Float(values) => Ok(Stored::Flat(values)),
            Values::Rows(parts) => Ok(Stored::Rows(parts)),
            Values::Split(weight) => Ok(Stored::Split(weight)),
            Values::Halves(_) => Err(Error::tensor(name, "a weight", "the scales or biases of one")),
        }
    }

    fn packed(&mut self, name: &str, codes: Words, found: &[usize], shape: &[usize]) -> Result<Stored> {
        let packing = self.packing.as_ref().ok_or_else(|| {
            Error::tensor(name, "floating-point values", "packed words, but config.json has no `quantization`")
        })?;
        let quantization = packing.of(name);
        let Quantization { bits, group_size } = quantization;
        let rows = shape.first().copied().unwrap_or(0);
        let width: usize = shape.iter().skip(1).product();
        let words = [rows, width * bits / 32];
        if found != words || !width.is_multiple_of(group_size) {
            return Err(Error::tensor(name, format!("{words:?} words for {shape:?}"), format!("{found:?} words")));
        }
        let [_, scales, biases] = packed_names(name);
        let groups = [rows, width / group_size];
        let mut side = |name: String| match self.tensors.remove(&name) {
            Some(Uploaded { shape, values: Values::Halves(values) }) if shape == groups => Ok(values),
            Some(Uploaded { shape, .. }) => Err(Error::tensor(name, format!("F16 {groups:?}"), format!("{shape:?}"))),
            None => Err(Error::tensor(name, format!("F16 {groups:?}"), "nothing of this name")),
        };
        let (scales, biases) = (side(scales)?, side(biases)?);
        let matrix = PackedWeight::new([rows, width], quantization, codes, [&scales, &biases], &self.device);
        if !PackedWeight::suits(&self.device) {
            return Ok(Stored::Flat(matrix.unpacked().reshape([rows * width])));
        }
        let part_rows = Table::rows_per_part(4 * matrix.words_per_row());
        if rows <= part_rows {
            return Ok(Stored::Packed(vec![matrix]));
        }
        let numbers: Vec<u32> = (0..rows as u32).collect();
        Ok(Stored::Packed(numbers.chunks(part_rows).map(|part| matrix.take(part)).collect()))
    }
}

/// Values that are unpacked at one time on their way into parts.
const VALUES_AT_A_TIME: usize = 1 << 16;

/// Whether a tensor is the scales or the biases of a packed matrix.
fn is_side(name: &str) -> bool {
    name.ends_with(".scales") || name.ends_with(".biases")
}

impl Parameters for DeviceWeights {
    fn joins(&self) -> bool {
        !self.device.is_autodiff()
    }

    /// A problem is noted and a stand-in given, so that all problems are found.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        Ok(self.find(name, shape).unwrap_or_else(|problem| {
            self.problems.push(problem.to_string());
            Stored::Shape(self.device.clone())
        }))
    }
}
