//! Packed 8- and 4-bit matrices, unpacked in registers where they are multiplied.

use super::few_rows::{WeightRows, bytes};
use super::lanes::Lanes;
use super::product::{Left, Right};
use std::ops::Range;

/// Codes that a register or two take at a time.
const SIXTEEN: usize = 16;

/// A matrix `[count, depth]`: `w = scale · u + bias` by groups along the rows.
#[derive(Clone, Copy)]
pub struct PackedRows<'a> {
    /// `[count, depth · bits / 32]`, low bits first.
    pub codes: &'a [u32],
    /// `[count, depth / group]`: scale in the low half, bias in the high half, as f16.
    pub scales: &'a [u32],
    pub count: usize,
    pub depth: usize,
    pub bits: usize,
    pub group: usize,
}

impl PackedRows<'_> {
    /// Whether the kernels here read this packing.
    pub fn suits(bits: usize, group: usize) -> bool {
        cfg!(target_endian = "little") && (bits == 8 || bits == 4) && group.is_multiple_of(SIXTEEN)
    }

    /// Where the codes of a row lie, from the value `at` on.
    #[inline(always)]
    fn code(&self, row: usize, at: usize) -> *const u8 {
        let words = &self.codes[row * self.depth * self.bits / 32..][..self.depth * self.bits / 32];
        // SAFETY: `at` is below `depth`.
        unsafe { words.as_ptr().cast::<u8>().add(at * self.bits / 8) }
    }

    #[inline(always)]
    fn scale_and_bias(&self, row: usize, group: usize) -> [f32; 2] {
        let pair = self.scales[row * (self.depth / self.group) + group];
        [half_to_float(pair & 0xffff), half_to_float(pair >> 16)]
    }

    /// Values from `at` on, a whole number of sixteens, into `place`.
    ///
    /// # Safety
    /// The instructions behind `L` exist.
    #[inline(always)]
    pub unsafe fn unpack<L: Lanes>(&self, row: usize, at: usize, place: &mut [f32]) {
        for (index, place) in place.chunks_exact_mut(SIXTEEN).enumerate() {
            let at = at + index * SIXTEEN;
            let [scale, bias] = self.scale_and_bias(row, at / self.group);
            unsafe {
                let values = sixteen::<L>(self.code(row, at), self.bits);
                for (part, value) in values.as_ref().iter().enumerate() {
                    let value = L::splat(bias).add_mul(*value, L::splat(scale));
                    value.store(place.as_mut_ptr().add(part * L::COUNT));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn sixteen<L: Lanes>(codes: *const u8, bits: usize) -> L::Sixteen {
    unsafe { if bits == 8 { L::bytes(codes) } else { L::nibbles(codes) } }
}

/// Of finite values; scales and biases are.
#[inline(always)]
fn half_to_float(bits: u32) -> f32 {
    // The exponents' offsets differ by 112; the product also brings numbers below the smallest normal half right.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

impl WeightRows for PackedRows<'_> {
    fn depth(&self) -> usize {
        self.depth
    }

    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn bytes_from(&self, first: usize) -> &[u8] {
        bytes(&self.codes[first * (self.depth * self.bits / 32)..])
    }

    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(&self, x: &[f32], first: usize) -> [[f32; W]; X] {
        unsafe {
            // The test of the width stands outside of the loops.
            if self.bits == 8 { self.dots_of::<L, X, W, 8>(x, first) } else { self.dots_of::<L, X, W, 4>(x, first) }
        }
    }
}

impl PackedRows<'_> {
    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots_of<L: Lanes, const X: usize, const W: usize, const BITS: usize>(
        &self,
        x: &[f32],
        first: usize,
    ) -> [[f32; W]; X] {
        let codes: [*const u8; W] = std::array::from_fn(|w| self.code(first + w, 0));
        unsafe {
            let mut sums = [[L::splat(0.0); W]; X];
            for group in 0..self.depth / self.group {
                let pairs: [[f32; 2]; W] = std::array::from_fn(|w| self.scale_and_bias(first + w, group));
                let pairs = pairs.map(|pair| pair.map(|value| L::splat(value)));
                for at in (group * self.group..(group + 1) * self.group).step_by(SIXTEEN) {
                    let values: [L::Sixteen; W] =
                        std::array::from_fn(|w| sixteen::<L>(codes[w].add(at * BITS / 8), BITS));
                    for part in 0..SIXTEEN / L::COUNT {
                        let weights: [L; W] =
                            std::array::from_fn(|w| pairs[w][1].add_mul(values[w].as_ref()[part], pairs[w][0]));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let x = L::load(x.as_ptr().add(row * self.depth + at + part * L::COUNT));
                            for w in 0..W {
                                sums[w] = sums[w].add_mul(x, weights[w]);
                            }
                        }
                    }
                }
            }
            sums.map(|sums| sums.map(|sum| sum.sum()))
        }
    }
}

impl Right for PackedRows<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [0.0f32; super::product::BLOCK];
        let values = &mut values[..depth.len()];
        for column in 0..width {
            unsafe { self.unpack::<L>((first + column).min(self.count - 1), depth.start, values) };
            for (value, place) in values.iter().zip(panel[column..].iter_mut().step_by(width)) {
                *place = *value;
            }
        }
    }
}

impl Left for PackedRows<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, const T: usize>(
        &self,
        first: usize,
        depth: Range<usize>,
        scratch: &mut [f32],
    ) -> [*const f32; T] {
        let length = depth.len();
        let place = scratch.as_mut_ptr();
        for (row, place) in scratch.chunks_exact_mut(length).enumerate().take(T) {
            unsafe { self.unpack::<L>((first + row).min(self.count - 1), depth.start, place) };
        }
        std::array::from_fn(|row| unsafe { place.add(row * length).cast_const() })
    }
}
