//! A tensor as it lies in a file: little-endian bytes, a type and a shape.

use crate::error::{Error, Result};
use half::{bf16, f16};
use std::borrow::Cow;
use std::fmt;

/// The element types that checkpoints and bundles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    U64,
    I32,
    U32,
    I16,
    U16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Elements of `shape`; `None` when the product does not fit a `usize`.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side))
}

/// A dense tensor in row-major order. `data` borrows the shard it was read from, or owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Cow<'a, [u8]>,
}

/// Tensors with their names, in an order that means something.
pub type Tensors<'a> = Vec<(String, RawTensor<'a>)>;

impl<'a> RawTensor<'a> {
    /// # Errors
    /// [`Error::Tensor`] when the number of bytes is not what the type and shape ask for.
    pub fn new(name: &str, dtype: Dtype, shape: Vec<usize>, data: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        let data = data.into();
        match elements(&shape).and_then(|count| count.checked_mul(dtype.size())) {
            Some(bytes) if bytes == data.len() => Ok(Self { dtype, shape, data }),
            Some(bytes) => Err(Error::tensor(
                name,
                format!("{bytes} bytes for {dtype} {shape:?}"),
                format!("{} bytes", data.len()),
            )),
            None => Err(Error::tensor(name, "a shape whose size fits the address space", format!("{shape:?}"))),
        }
    }

    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// The same tensor with bytes of its own.
    pub fn into_owned(self) -> RawTensor<'static> {
        RawTensor { dtype: self.dtype, shape: self.shape, data: Cow::Owned(self.data.into_owned()) }
    }

    /// The values as f32, in row-major order.
    ///
    /// # Errors
    /// [`Error::Tensor`] unless the type is one of the floating ones.
    pub fn to_f32(&self, name: &str) -> Result<Vec<f32>> {
        let data = &self.data;
        Ok(match self.dtype {
            Dtype::F32 => words(data).map(f32::from_le_bytes).collect(),
            Dtype::F16 => words(data).map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            Dtype::BF16 => words(data).map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
            Dtype::F64 => words(data).map(|bytes| f64::from_le_bytes(bytes) as f32).collect(),
            found => return Err(Error::tensor(name, "floating-point values", found)),
        })
    }

    /// Whether all values are finite; words are no values.
    pub fn is_finite(&self) -> bool {
        match self.dtype {
            Dtype::F32 => words(&self.data).map(f32::from_le_bytes).all(f32::is_finite),
            Dtype::F16 => words(&self.data).map(f16::from_le_bytes).all(f16::is_finite),
            Dtype::BF16 => words(&self.data).map(bf16::from_le_bytes).all(bf16::is_finite),
            Dtype::F64 => words(&self.data).map(f64::from_le_bytes).all(f64::is_finite),
            _ => true,
        }
    }

    /// The scales or biases of a quantised tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] unless the type is F16.
    pub fn to_f16(&self, name: &str) -> Result<Vec<f16>> {
        match self.dtype {
            Dtype::F16 => Ok(words(&self.data).map(f16::from_le_bytes).collect()),
            found => Err(Error::tensor(name, "F16 values", found)),
        }
    }

    /// The packed words of a quantised tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] unless the type is U32.
    pub fn to_u32(&self, name: &str) -> Result<Vec<u32>> {
        match self.dtype {
            Dtype::U32 => Ok(words(&self.data).map(u32::from_le_bytes).collect()),
            found => Err(Error::tensor(name, "packed U32 words", found)),
        }
    }
}

impl RawTensor<'static> {
    /// `values` as f32; their number must be that of `shape`, or the tensor is refused by [`RawTensor::new`].
    pub fn from_f32(name: &str, shape: Vec<usize>, values: &[f32]) -> Result<Self> {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, Dtype::F32, shape, data)
    }

    /// `values` rounded to f16.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a finite value is too large for f16: the model would silently compute with infinities.
    pub fn from_f32_as_f16(name: &str, shape: Vec<usize>, values: &[f32]) -> Result<Self> {
        let mut data = Vec::with_capacity(values.len() * 2);
        for value in values {
            let half = f16::from_f32(*value);
            if half.is_infinite() && value.is_finite() {
                return Err(Error::tensor(name, "values that fit f16 (at most 65504)", value));
            }
            data.extend_from_slice(&half.to_le_bytes());
        }
        Self::new(name, Dtype::F16, shape, data)
    }
}

/// `data` in pieces of `N` bytes; a rest is left out, which [`RawTensor::new`] has ruled out.
fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.chunks_exact(N).map(|chunk| {
        let mut word = [0; N];
        word.copy_from_slice(chunk);
        word
    })
}
