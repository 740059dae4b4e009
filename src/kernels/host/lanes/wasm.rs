//! WebAssembly's SIMD.

use super::{HALF_EXPONENTS, Lanes};
use std::arch::wasm32::*;

#[derive(Clone, Copy)]
pub struct Simd128(v128);

impl Lanes for Simd128 {
    const COUNT: usize = 4;
    /// Where a multiply-add is two instructions, and on machines with 16 registers, more rows spill.
    const TILE_ROWS: usize = 4;
    type Sixteen = [Self; 4];
    type Codes = [v128; 2];
    type Counts = v128;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { v128_load(from.cast()) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { v128_store(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn evens(from: *const f32) -> Self {
        let [low, high] = unsafe { [v128_load(from.cast()), v128_load(from.add(4).cast())] };
        Self(i32x4_shuffle::<0, 2, 4, 6>(low, high))
    }
    #[inline(always)]
    unsafe fn zipped(self, other: Self) -> [Self; 2] {
        [Self(i32x4_shuffle::<0, 4, 1, 5>(self.0, other.0)), Self(i32x4_shuffle::<2, 6, 3, 7>(self.0, other.0))]
    }
    #[inline(always)]
    unsafe fn byte_pairs(from: *const u8) -> Self {
        Self(unsafe { u16x8_load_extend_u8x8(from) })
    }
    #[inline(always)]
    unsafe fn nibble_pairs(from: *const u8) -> Self {
        let bytes = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(unsafe { v128_load32_zero(from.cast()) }));
        let high = u32x4_shl(v128_and(bytes, u32x4_splat(0xf0)), 12);
        Self(v128_or(v128_and(bytes, u32x4_splat(0x0f)), high))
    }
    #[inline(always)]
    unsafe fn paired(self, behind: Self) -> Self {
        let (first, second) = (i32x4_trunc_sat_f32x4(self.0), i32x4_trunc_sat_f32x4(behind.0));
        // The lower halves of words.
        Self(i16x8_shuffle::<0, 8, 2, 10, 4, 12, 6, 14>(first, second))
    }
    #[inline(always)]
    unsafe fn store_numbers(self, to: *mut i16) {
        let numbers = i32x4_trunc_sat_f32x4(self.0);
        unsafe { v128_store64_lane::<0>(i16x8_narrow_i32x4(numbers, numbers), to.cast()) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        Self(i32x4_add(self.0, i32x4_dot_i16x8(a.0, b.0)))
    }
    #[inline(always)]
    unsafe fn whole(self) -> Self {
        Self(f32x4_convert_i32x4(self.0))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(f32x4_pmax(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(f32x4_pmin(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn add_mul(self, a: Self, b: Self) -> Self {
        // All that is used of relaxed SIMD: for browsers without it the build takes it apart again, see `www/bindgen`.
        if cfg!(target_feature = "relaxed-simd") {
            return Self(f32x4_relaxed_madd(a.0, b.0, self.0));
        }
        Self(f32x4_add(self.0, f32x4_mul(a.0, b.0)))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(f32x4_nearest(self.0))
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        // Of a sum with 1.5 · 2²³ the last bits are the whole number; a conversion takes several instructions.
        Self(i32x4_shl(f32x4_add(self.0, f32x4_splat(12_582_912.0 + 127.0)), 23))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let two = f32x4_add(self.0, i32x4_shuffle::<2, 3, 2, 3>(self.0, self.0));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> [Self; 4] {
        widened(unsafe { v128_load(from.cast()) })
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> [Self; 4] {
        widened(unsafe { nibbles(from) })
    }
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        halves_of(unsafe { v128_load(from.cast()) })
    }
    #[inline(always)]
    unsafe fn first_halves(from: *const u32, count: usize) -> [Self; 2] {
        let two = || unsafe { v128_load64_zero(from.cast()) };
        halves_of(match count {
            1 => unsafe { v128_load32_zero(from) },
            2 => two(),
            _ => unsafe { v128_load32_lane::<2>(two(), from.add(2)) },
        })
    }
    #[inline(always)]
    unsafe fn joined([first, second]: [v128; 2], parts: *const i16) -> [Self; 4] {
        let four = |numbers, at| {
            let parts = unsafe { i32x4_load_extend_i16x4(parts.add(at)) };
            Self(f32x4_convert_i32x4(i32x4_add(i32x4_shl(numbers, 12), parts)))
        };
        [
            four(i32x4_extend_low_i16x8(first), 0),
            four(i32x4_extend_high_i16x8(first), 4),
            four(i32x4_extend_low_i16x8(second), 8),
            four(i32x4_extend_high_i16x8(second), 12),
        ]
    }
    #[inline(always)]
    unsafe fn byte_codes(from: *const u8) -> [v128; 2] {
        unsafe { [u16x8_load_extend_u8x8(from), u16x8_load_extend_u8x8(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn nibble_codes(from: *const u8) -> [v128; 2] {
        let bytes = unsafe { u16x8_load_extend_u8x8(from) };
        [v128_and(bytes, u16x8_splat(15)), u16x8_shr(bytes, 4)]
    }
    #[inline(always)]
    unsafe fn numbers(from: *const i16) -> [v128; 2] {
        unsafe { [v128_load(from.cast()), v128_load(from.add(8).cast())] }
    }
    #[inline(always)]
    unsafe fn raised(numbers: [v128; 2]) -> [v128; 2] {
        numbers.map(|numbers| i16x8_shl(numbers, 4))
    }
    #[inline(always)]
    unsafe fn raised_sum(a: [v128; 2], b: [v128; 2]) -> [v128; 2] {
        [i16x8_shl(i16x8_add(a[0], b[0]), 4), i16x8_shl(i16x8_add(a[1], b[1]), 4)]
    }
    #[inline(always)]
    unsafe fn no_counts() -> v128 {
        i32x4_splat(0)
    }
    #[inline(always)]
    unsafe fn count(sums: v128, [low, high]: [v128; 2], numbers: *const i16) -> v128 {
        let numbers: *const v128 = numbers.cast();
        let (first, second) = unsafe { (v128_load(numbers), v128_load(numbers.add(1))) };
        i32x4_add(i32x4_add(sums, i32x4_dot_i16x8(low, first)), i32x4_dot_i16x8(high, second))
    }
    #[inline(always)]
    unsafe fn counted(sums: v128) -> Self {
        Self(f32x4_convert_i32x4(sums))
    }
}

#[inline(always)]
fn halves_of(words: v128) -> [Simd128; 2] {
    // Of what lies in the high half of a word.
    let value = |words| {
        let magnitude = u32x4_shr(v128_and(words, u32x4_splat(0x7fff_0000)), 3);
        let sign = v128_and(words, u32x4_splat(1 << 31));
        Simd128(v128_or(f32x4_mul(magnitude, f32x4_splat(HALF_EXPONENTS)), sign))
    };
    [value(u32x4_shl(words, 16)), value(words)]
}

/// The halves of eight bytes as sixteen, the low half of each first.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> v128 {
    let packed = unsafe { v128_load64_zero(from.cast()) };
    let (low, high) = (v128_and(packed, u8x16_splat(15)), u8x16_shr(packed, 4));
    u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(low, high)
}

#[inline(always)]
fn whole(bytes: v128) -> [v128; 2] {
    [u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes)]
}

#[inline(always)]
fn widened(bytes: v128) -> [Simd128; 4] {
    let [low, high] = whole(bytes);
    [
        Simd128(f32x4_convert_u32x4(u32x4_extend_low_u16x8(low))),
        Simd128(f32x4_convert_u32x4(u32x4_extend_high_u16x8(low))),
        Simd128(f32x4_convert_u32x4(u32x4_extend_low_u16x8(high))),
        Simd128(f32x4_convert_u32x4(u32x4_extend_high_u16x8(high))),
    ]
}
