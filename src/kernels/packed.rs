//! Packed 4- and 8-bit matrices, MLX convention: `w = scale · u + bias` by groups along the input dimension.

use super::upload::tensor;
use super::{gpu, host::in_host_memory};
use crate::config::Quantization;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use half::f16;
use std::sync::Arc;

/// 32-bit words where the kernels of their device read them.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // There are a few hundred of them.
pub enum Words {
    /// For kernels of the CPU, which take slices; and for devices that have no kernels for packed weights.
    Host(Arc<[u32]>),
    /// For kernels of GPUs.
    Device(Tensor<1, Int>),
}

impl Words {
    /// Puts words where `device` computes with them.
    pub fn new(words: Vec<u32>, device: &Device) -> Self {
        if !gpu::serves(device) {
            return Self::Host(words.into());
        }
        Self::Device(gpu::words(words, device))
    }

    /// The rows with these numbers, `width` words each.
    fn take(&self, numbers: &[u32], width: usize) -> Self {
        match self {
            Self::Host(words) => {
                let row = |number: &u32| &words[*number as usize * width..][..width];
                Self::Host(numbers.iter().map(row).collect::<Vec<_>>().concat().into())
            }
            Self::Device(words) => Self::Device(gpu::take_words(words.clone(), numbers, width)),
        }
    }

    /// These one after the other; all lie on the same side.
    fn join<'a>(parts: impl Iterator<Item = &'a Words> + Clone) -> Self {
        let tensors: Vec<_> = parts
            .clone()
            .filter_map(|words| match words {
                Self::Device(words) => Some(words.clone()),
                Self::Host(_) => None,
            })
            .collect();
        if !tensors.is_empty() {
            return Self::Device(Tensor::cat(tensors, 0));
        }
        let slices = parts.filter_map(|words| match words {
            Self::Host(words) => Some(&words[..]),
            Self::Device(_) => None,
        });
        Self::Host(slices.collect::<Vec<_>>().concat().into())
    }
}

/// A matrix `[out, in]` that stays packed where it lies.
#[derive(Module, Debug)]
pub struct PackedWeight {
    /// `[out, in · bits / 32]`, low bits first.
    #[module(skip)]
    pub codes: Words,
    /// `[out, in / group]`: a group's scale in the low half of a word and its bias in the high half, as f16.
    #[module(skip)]
    pub scales: Words,
    pub rows: usize,
    pub columns: usize,
    pub bits: usize,
    pub group_size: usize,
    #[module(skip)]
    device: Device,
}

impl PackedWeight {
    /// Whether `device` has kernels for packed weights. Training and the rest compute with plain ones.
    pub fn suits(device: &Device) -> bool {
        in_host_memory(device) || gpu::serves(device)
    }

    /// `codes` lie where [`Words::new`] put them; scales and biases have one value a group.
    ///
    /// # Panics
    /// If the scales are not as many as the biases.
    pub fn new(
        [rows, columns]: [usize; 2],
        quantization: Quantization,
        codes: Words,
        [scales, biases]: [&[f16]; 2],
        device: &Device,
    ) -> Self {
        assert_eq!(scales.len(), biases.len(), "each group has a scale and a bias");
        let pair = |(scale, bias): (&f16, &f16)| u32::from(scale.to_bits()) | u32::from(bias.to_bits()) << 16;
        let scales = Words::new(scales.iter().zip(biases).map(pair).collect(), device);
        let Quantization { bits, group_size } = quantization;
        Self { codes, scales, rows, columns, bits, group_size, device: device.clone() }
    }

    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// Words of one row.
    pub fn words_per_row(&self) -> usize {
        self.columns * self.bits / 32
    }

    /// Groups of one row.
    pub fn groups_per_row(&self) -> usize {
        self.columns / self.group_size
    }

    /// The rows with these numbers as a matrix of their own.
    pub fn take(&self, numbers: &[u32]) -> Self {
        Self {
            codes: self.codes.take(numbers, self.words_per_row()),
            scales: self.scales.take(numbers, self.groups_per_row()),
            rows: numbers.len(),
            ..self.clone()
        }
    }

    /// Matrices of one width and packing, one below the other; `None` where they differ.
    pub fn join(parts: &[&PackedWeight]) -> Option<Self> {
        let first = *parts.first()?;
        let packing = |part: &PackedWeight| (part.columns, part.bits, part.group_size);
        parts.iter().all(|part| packing(part) == packing(first)).then(|| Self {
            codes: Words::join(parts.iter().map(|part| &part.codes)),
            scales: Words::join(parts.iter().map(|part| &part.scales)),
            rows: parts.iter().map(|part| part.rows).sum(),
            ..first.clone()
        })
    }

    /// The rows with these numbers, unpacked.
    ///
    /// # Shapes
    /// n numbers → `[n, in]`
    pub fn rows(&self, numbers: &[u32]) -> Tensor<2> {
        match (&self.codes, &self.scales) {
            (Words::Host(codes), Words::Host(scales)) => {
                let mut values = Vec::with_capacity(numbers.len() * self.columns);
                numbers.iter().for_each(|row| self.unpack_row(codes, scales, *row as usize, &mut values));
                tensor(values, [numbers.len(), self.columns], &self.device)
            }
            _ => gpu::packed_rows(self, numbers),
        }
    }

    /// The whole matrix, unpacked.
    ///
    /// # Shapes
    /// → `[out, in]`
    pub fn unpacked(&self) -> Tensor<2> {
        let rows: Vec<u32> = (0..self.rows as u32).collect();
        self.rows(&rows)
    }

    fn unpack_row(&self, codes: &[u32], scales: &[u32], row: usize, values: &mut Vec<f32>) {
        let (width, per_word) = (self.words_per_row(), 32 / self.bits);
        let mask = (1u32 << self.bits) - 1;
        let scales = &scales[row * self.groups_per_row()..(row + 1) * self.groups_per_row()];
        let words = codes[row * width..(row + 1) * width].chunks_exact(self.group_size / per_word);
        for (words, pair) in words.zip(scales) {
            let [scale, bias] = [*pair as u16, (pair >> 16) as u16].map(|bits| f16::from_bits(bits).to_f32());
            for word in words {
                let code = |place: usize| (word >> (place * self.bits) & mask) as f32;
                values.extend((0..per_word).map(|place| code(place) * scale + bias));
            }
        }
    }
}
