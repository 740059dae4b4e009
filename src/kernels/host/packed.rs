//! Packed 8- and 4-bit matrices, unpacked in registers where they are multiplied.

use super::few_rows::{TOGETHER, WeightRows, bytes, few_rows};
use super::lanes::{Lanes, MOST_LANES, SQUARE, Work, run};
use super::parallel::Shared;
use super::product::{BLOCK, Left, Right, turn};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Codes that a register or two take at a time.
pub(super) const SIXTEEN: usize = 16;
/// Codes of a group whose products with numbers of sixteen bits 32 bits can sum: 255 · 32,767 · 256 does not pass 2³¹.
const LARGEST_GROUP: usize = 256;

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
        cfg!(target_endian = "little")
            && (bits == 8 || bits == 4)
            && group.is_multiple_of(SIXTEEN)
            && group <= LARGEST_GROUP
    }

    /// Where the codes of a row lie, from the value `at` on.
    #[inline(always)]
    pub(super) fn code(&self, row: usize, at: usize) -> *const u8 {
        let words = &self.codes[row * self.depth * self.bits / 32..][..self.depth * self.bits / 32];
        // SAFETY: `at` is below `depth`.
        unsafe { words.as_ptr().cast::<u8>().add(at * self.bits / 8) }
    }

    /// Values from `at` on, where a group begins, a whole number of sixteens, into `place`.
    ///
    /// # Safety
    /// The instructions behind `L` exist.
    #[inline(always)]
    pub unsafe fn unpack<L: Lanes>(&self, row: usize, at: usize, place: &mut [f32]) {
        unsafe {
            if self.bits == 8 {
                self.unpack_bits::<L, 8>(row, at, place);
            } else {
                self.unpack_bits::<L, 4>(row, at, place);
            }
        }
    }

    #[inline(always)]
    unsafe fn unpack_bits<L: Lanes, const BITS: usize>(&self, row: usize, at: usize, place: &mut [f32]) {
        // Divisions cost as much as the values of a group.
        let first = row * (self.depth / self.group) + at / self.group;
        let mut codes = self.code(row, at);
        for (place, pair) in place.chunks_mut(self.group).zip(&self.scales[first..]) {
            let [scale, bias] = scale_and_bias(*pair);
            unsafe {
                let [scale, bias] = [L::splat(scale), L::splat(bias)];
                for place in place.chunks_exact_mut(SIXTEEN) {
                    let values = if BITS == 8 { L::bytes(codes) } else { L::nibbles(codes) };
                    for (part, value) in values.as_ref().iter().enumerate() {
                        bias.add_mul(*value, scale).store(place.as_mut_ptr().add(part * L::COUNT));
                    }
                    codes = codes.add(SIXTEEN * BITS / 8);
                }
            }
        }
    }
}

/// Of the group whose f16 numbers these are.
#[inline(always)]
pub(super) fn scale_and_bias(pair: u32) -> [f32; 2] {
    [pair & 0xffff, pair >> 16].map(half_to_float)
}

/// Of finite values; scales and biases are.
#[inline(always)]
fn half_to_float(bits: u32) -> f32 {
    // The exponents' offsets differ by 112; the product also brings numbers below the smallest normal half right.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

/// What sums of products stay below: half of what 32 bits hold, for numbers are rounded.
const MOST_COUNTED: f32 = (1 << 30) as f32;

/// Rows to multiply with packed ones: by groups, whole numbers of sixteen bits and what to scale them by. They are half
/// a 65,534th of a group's greatest value away from what they stand for at most, and a register multiplies twice as many
/// of them, without unpacking the codes to floats.
pub struct CountedRows {
    /// As they are read: of the rows that are multiplied together sixteen each, then the next sixteen.
    pub numbers: Vec<i16>,
    /// `[rows, stride]`
    pub scales: Vec<f32>,
    /// The sums of what the numbers stand for, `[rows, stride]`.
    pub sums: Vec<f32>,
    /// Groups of a row, up to whole registers; behind the last one are zeros.
    pub stride: usize,
}

impl CountedRows {
    /// For codes of so many bits. `longest` is the greatest length of a group of them, if sums of products could exceed 32
    /// bits. For [`Lanes::nibble_codes`] the numbers at even places of a sixteen come first.
    pub fn new(x: &[f32], depth: usize, group: usize, longest: f32, bits: usize) -> Self {
        run(Counting { x, depth, group, longest, bits })
    }
}

struct Counting<'a> {
    x: &'a [f32],
    depth: usize,
    group: usize,
    longest: f32,
    bits: usize,
}

/// Numbers of a row that lie in one piece, beside those of the other rows that are multiplied together: as many as codes of
/// so many bits are taken at a time.
#[inline(always)]
fn piece<L: Lanes>(bits: usize, group: usize) -> usize {
    if bits == 8 && L::COUNT == SIXTEEN && group.is_multiple_of(2 * SIXTEEN) { 2 * SIXTEEN } else { SIXTEEN }
}

impl Work for Counting<'_> {
    type Output = CountedRows;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> CountedRows {
        let Self { x, depth, group, longest, bits } = self;
        let piece = piece::<L>(bits, group);
        let stride = (depth / group).next_multiple_of(MOST_LANES);
        let (mut numbers, mut scales, mut sums) = (vec![0; x.len()], Vec::new(), Vec::new());
        let together = x.chunks(TOGETHER * depth).zip(numbers.chunks_mut(TOGETHER * depth));
        for (x, numbers) in together {
            let rows = x.len() / depth;
            for (row, x) in x.chunks_exact(depth).enumerate() {
                let mut pieces = numbers.chunks_exact_mut(piece).skip(row).step_by(rows);
                for group in x.chunks_exact(group) {
                    let [greatest, length] = unsafe { greatest_and_length::<L>(group) };
                    // By Cauchy and Schwarz no sum is greater than the product of lengths.
                    let least = length * longest / MOST_COUNTED;
                    let scale = greatest / f32::from(i16::MAX);
                    // What is no number, of infinite values, loses.
                    let scale = if least > scale { least } else { scale };
                    // The greatest of values may pass over what is no number among them, their length does not.
                    let scale = if length.is_nan() { length } else { scale };
                    // Of zeros, and of what is too small to divide by.
                    let inverse = if scale > f32::MIN_POSITIVE { scale.recip() } else { 0.0 };
                    let mut sum = 0;
                    for (values, numbers) in group.chunks_exact(piece).zip(&mut pieces) {
                        let sixteens = values.as_chunks::<SIXTEEN>().0.iter().zip(numbers.as_chunks_mut::<SIXTEEN>().0);
                        for (values, numbers) in sixteens {
                            for (at, value) in values.iter().enumerate() {
                                let place = if bits == 4 { at / 2 + at % 2 * (SIXTEEN / 2) } else { at };
                                numbers[place] = (value * inverse).round_ties_even() as i16;
                                sum += i32::from(numbers[place]);
                            }
                        }
                    }
                    scales.push(scale);
                    sums.push(scale * sum as f32);
                }
                scales.resize(scales.len().next_multiple_of(stride), 0.0);
                sums.resize(sums.len().next_multiple_of(stride), 0.0);
            }
        }
        CountedRows { numbers, scales, sums, stride }
    }
}

/// The greatest magnitude among values, a multiple of sixteen, and their length as a vector.
#[inline(always)]
unsafe fn greatest_and_length<L: Lanes>(values: &[f32]) -> [f32; 2] {
    unsafe {
        let zero = L::splat(0.0);
        let (mut most, mut squares) = (zero, zero);
        for values in values.chunks_exact(L::COUNT) {
            let values = L::load(values.as_ptr());
            most = most.max(values).max(zero.sub(values));
            squares = squares.add_mul(values, values);
        }
        [most.greatest(), squares.sum().sqrt()]
    }
}

/// Packed rows of `BITS` bits, so that loops do not ask how many.
struct CodeRows<'a, const BITS: usize>(PackedRows<'a>);

/// Writes all of `out = x Wᵀ`, `[rows, count]`, of a few rows.
pub fn few_packed_rows(x: &[f32], weights: &PackedRows<'_>, out: Shared) {
    if weights.bits == 8 {
        few_rows(x, &CodeRows::<8>(*weights), out);
    } else {
        few_rows(x, &CodeRows::<4>(*weights), out);
    }
}

/// Packed rows beside counted ones.
#[derive(Clone, Copy)]
struct PackedReader<'a> {
    codes: &'a [u32],
    scales: &'a [u32],
    depth: usize,
    groups: usize,
    /// Of a group.
    sixteens: usize,
    numbers: &'a [i16],
    scales_of_x: &'a [f32],
    sums_of_x: &'a [f32],
    stride: usize,
}

impl<const BITS: usize> WeightRows for CodeRows<'_, BITS> {
    type Input<'x> = CountedRows;
    type Reader<'a>
        = PackedReader<'a>
    where
        Self: 'a;
    const STREAMS: usize = 4;

    fn input(&self, x: &[f32]) -> CountedRows {
        CountedRows::new(x, self.0.depth, self.0.group, 0.0, BITS)
    }

    fn depth(&self) -> usize {
        self.0.depth
    }

    fn count(&self) -> usize {
        self.0.count
    }

    #[inline(always)]
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2] {
        let part = |words, of_row: usize| {
            let words: &[u32] = words;
            bytes(&words[rows.start * of_row..rows.end * of_row])
        };
        [part(self.0.codes, self.0.depth * BITS / 32), part(self.0.scales, self.0.depth / self.0.group)]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a CountedRows, row: usize, x: usize) -> PackedReader<'a> {
        let PackedRows { codes, scales, count, depth, group, .. } = self.0;
        let (groups, stride) = (depth / group, input.stride);
        let of_x = row * stride..(row + x) * stride;
        PackedReader {
            codes: &codes[..count * depth * BITS / 32],
            scales: &scales[..count * groups],
            depth,
            groups,
            sixteens: group / SIXTEEN,
            numbers: &input.numbers[row * depth..(row + x) * depth],
            scales_of_x: &input.scales[of_x.clone()],
            sums_of_x: &input.sums[of_x],
            stride,
        }
    }

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        reader: PackedReader<'_>,
        rows: [usize; W],
    ) -> [[f32; W]; X] {
        let PackedReader { depth, groups, sixteens, stride, .. } = reader;
        let piece = piece::<L>(BITS, sixteens * SIXTEEN);
        unsafe {
            let mut codes = rows.map(|row| reader.codes.as_ptr().cast::<u8>().add(row * (depth * BITS / 8)));
            let mut numbers = reader.numbers.as_ptr();
            let mut sums = [[L::splat(0.0); W]; X];
            // Scales and biases of as many groups at a time as a register holds.
            for block in (0..groups).step_by(L::COUNT) {
                let mut factors = [[MaybeUninit::<[f32; MOST_LANES]>::uninit(); W]; X];
                for w in 0..W {
                    let [scales, biases] = reader.scales_and_biases::<L>(rows[w] * groups + block);
                    for x in 0..X {
                        let of_x = x * stride + block;
                        let sums_of_x = L::load(reader.sums_of_x.as_ptr().add(of_x));
                        sums[x][w] = sums[x][w].add_mul(biases, sums_of_x);
                        let scales_of_x = L::load(reader.scales_of_x.as_ptr().add(of_x));
                        scales.mul(scales_of_x).store(factors[x][w].as_mut_ptr().cast());
                    }
                }
                for group in block..groups.min(block + L::COUNT) {
                    if piece == 2 * SIXTEEN {
                        // Zero is no count, too.
                        let mut counts = [[L::splat(0.0); W]; X];
                        for _ in 0..sixteens / 2 {
                            let mut pairs = [L::splat(0.0); W];
                            for w in 0..W {
                                pairs[w] = L::byte_pairs(codes[w]);
                            }
                            for x in 0..X {
                                let numbers = L::load(numbers.add(x * piece).cast());
                                for w in 0..W {
                                    counts[x][w] = counts[x][w].add_pairs(numbers, pairs[w]);
                                }
                            }
                            codes = codes.map(|at| at.add(piece));
                            numbers = numbers.add(X * piece);
                        }
                        for x in 0..X {
                            for w in 0..W {
                                let factor = L::splat(*factors[x][w].as_ptr().cast::<f32>().add(group - block));
                                sums[x][w] = sums[x][w].add_mul(counts[x][w].whole(), factor);
                            }
                        }
                        continue;
                    }
                    let mut counts = [[L::no_counts(); W]; X];
                    for _ in 0..sixteens {
                        let sixteen = codes.map(|at| if BITS == 8 { L::byte_codes(at) } else { L::nibble_codes(at) });
                        for x in 0..X {
                            for w in 0..W {
                                counts[x][w] = L::count(counts[x][w], sixteen[w], numbers.add(x * SIXTEEN));
                            }
                        }
                        codes = codes.map(|at| at.add(SIXTEEN * BITS / 8));
                        numbers = numbers.add(X * SIXTEEN);
                    }
                    for x in 0..X {
                        for w in 0..W {
                            let factor = L::splat(*factors[x][w].as_ptr().cast::<f32>().add(group - block));
                            sums[x][w] = sums[x][w].add_mul(L::counted(counts[x][w]), factor);
                        }
                    }
                }
            }
            sums.map(|sums| sums.map(|sum| sum.sum()))
        }
    }
}

impl PackedReader<'_> {
    /// Those of as many groups as a register holds. What stands behind the row's last one, of the next row or zeros, meets
    /// zeros.
    #[inline(always)]
    unsafe fn scales_and_biases<L: Lanes>(&self, at: usize) -> [L; 2] {
        unsafe {
            let (words, left) = (self.scales.as_ptr().add(at), self.scales.len() - at);
            if left >= L::COUNT { L::halves(words) } else { L::first_halves(words, left) }
        }
    }
}

impl Right for PackedRows<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [[0.0f32; BLOCK]; SQUARE];
        for left in (0..width).step_by(SQUARE) {
            for (column, values) in values.iter_mut().enumerate() {
                let row = (first + left + column).min(self.count - 1);
                unsafe { self.unpack::<L>(row, depth.start, &mut values[..depth.len()]) };
            }
            unsafe { turn::<L>(values.each_ref().map(|values| &values[..depth.len()]), left, width, panel) };
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
