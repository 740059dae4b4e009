//! Plain Rust.

use super::{HALF_EXPONENTS, Lanes};
use crate::kernels::split::joined;

/// For machines without any of the instructions above, and what they are tested against.
#[derive(Clone, Copy)]
pub struct Plain([f32; 4]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([of(a, e), of(b, f), of(c, g), of(d, h)])
    }
}

impl Lanes for Plain {
    const COUNT: usize = 4;
    const TILE_ROWS: usize = 4;
    type Sixteen = [Self; 4];
    type Codes = [i16; 16];
    type Counts = [i32; 4];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn evens(from: *const f32) -> Self {
        let [a, _, b, _, c, _, d, _] = unsafe { from.cast::<[f32; 8]>().read_unaligned() };
        Self([a, b, c, d])
    }
    #[inline(always)]
    unsafe fn zipped(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, e, b, f]), Self([c, g, d, h])]
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, f32::max)
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, f32::min)
    }
    #[inline(always)]
    unsafe fn add_mul(self, a: Self, b: Self) -> Self {
        let product = a.zip(b, |a, b| a * b);
        self.zip(product, |sum, product| sum + product)
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        Self(self.0.map(|power| f32::from_bits(((power as i32 + 127) as u32) << 23)))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> [Self; 4] {
        let bytes = unsafe { from.cast::<[[u8; 4]; 4]>().read_unaligned() };
        bytes.map(|four| Self(four.map(f32::from)))
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> [Self; 4] {
        let bytes = unsafe { from.cast::<[[u8; 2]; 4]>().read_unaligned() };
        bytes.map(|[a, b]| Self([a & 15, a >> 4, b & 15, b >> 4].map(f32::from)))
    }
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        let words = unsafe { from.cast::<[u32; 4]>().read_unaligned() };
        let value = |half: u32| {
            let magnitude = f32::from_bits((half & 0x7fff) << 13) * HALF_EXPONENTS;
            f32::from_bits(magnitude.to_bits() | (half & 0x8000) << 16)
        };
        [Self(words.map(|word| value(word & 0xffff))), Self(words.map(|word| value(word >> 16)))]
    }
    #[inline(always)]
    unsafe fn joined(numbers: [i16; 16], parts: *const i16) -> [Self; 4] {
        [0, 4, 8, 12]
            .map(|start| Self(std::array::from_fn(|at| unsafe { joined(numbers[start + at], *parts.add(start + at)) })))
    }
    #[inline(always)]
    unsafe fn byte_codes(from: *const u8) -> [i16; 16] {
        unsafe { from.cast::<[u8; 16]>().read_unaligned() }.map(i16::from)
    }
    #[inline(always)]
    unsafe fn nibble_codes(from: *const u8) -> [i16; 16] {
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        std::array::from_fn(|at| i16::from(bytes[at % 8] >> (at / 8 * 4) & 15))
    }
    #[inline(always)]
    unsafe fn numbers(from: *const i16) -> [i16; 16] {
        unsafe { from.cast::<[i16; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn raised(numbers: [i16; 16]) -> [i16; 16] {
        numbers.map(|number| number << 4)
    }
    #[inline(always)]
    unsafe fn raised_sum(a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        std::array::from_fn(|at| a[at].wrapping_add(b[at]) << 4)
    }
    #[inline(always)]
    unsafe fn no_counts() -> [i32; 4] {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn count(mut sums: [i32; 4], codes: [i16; 16], numbers: *const i16) -> [i32; 4] {
        let numbers = unsafe { numbers.cast::<[i16; 16]>().read_unaligned() };
        for (at, (code, number)) in codes.into_iter().zip(numbers).enumerate() {
            sums[at % 4] += i32::from(code) * i32::from(number);
        }
        sums
    }
    #[inline(always)]
    unsafe fn counted(sums: [i32; 4]) -> Self {
        Self(sums.map(|sum| sum as f32))
    }
}
