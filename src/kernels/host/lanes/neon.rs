//! NEON.

use super::{HALF_EXPONENTS, Lanes};
use std::arch::aarch64::*;

#[derive(Clone, Copy)]
pub struct Neon(float32x4_t);

impl Lanes for Neon {
    const COUNT: usize = 4;
    const TILE_ROWS: usize = 8;
    type Sixteen = [Self; 4];
    type Codes = [int16x8_t; 2];
    type Counts = int32x4_t;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn evens(from: *const f32) -> Self {
        Self(unsafe { vuzp1q_f32(vld1q_f32(from), vld1q_f32(from.add(4))) })
    }
    #[inline(always)]
    unsafe fn zipped(self, other: Self) -> [Self; 2] {
        unsafe { [Self(vzip1q_f32(self.0, other.0)), Self(vzip2q_f32(self.0, other.0))] }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(unsafe { vmaxq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { vminq_f32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn add_mul(self, a: Self, b: Self) -> Self {
        Self(unsafe { vfmaq_f32(self.0, a.0, b.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(unsafe { vrndnq_f32(self.0) })
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(self.0), vdupq_n_s32(127));
            Self(vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> [Self; 4] {
        unsafe { widened(vld1q_u8(from)) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> [Self; 4] {
        unsafe { widened(nibbles(from)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        unsafe {
            let words = vld1q_u32(from);
            // Of what lies in the high half of a word.
            let value = |words| {
                let magnitude = vshrq_n_u32(vandq_u32(words, vdupq_n_u32(0x7fff_0000)), 3);
                let magnitude = vmulq_n_f32(vreinterpretq_f32_u32(magnitude), HALF_EXPONENTS);
                let sign = vandq_u32(words, vdupq_n_u32(1 << 31));
                Self(vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(magnitude), sign)))
            };
            [value(vshlq_n_u32(words, 16)), value(words)]
        }
    }
    #[inline(always)]
    unsafe fn joined([first, second]: [int16x8_t; 2], parts: *const i16) -> [Self; 4] {
        unsafe {
            let value = |numbers, parts| Self(vcvtq_f32_s32(vaddw_s16(numbers, parts)));
            let eight = |numbers, parts| {
                let (low, high) = (vshll_n_s16::<12>(vget_low_s16(numbers)), vshll_high_n_s16::<12>(numbers));
                [value(low, vget_low_s16(parts)), value(high, vget_high_s16(parts))]
            };
            let ([a, b], [c, d]) = (eight(first, vld1q_s16(parts)), eight(second, vld1q_s16(parts.add(8))));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn byte_codes(from: *const u8) -> [int16x8_t; 2] {
        unsafe { whole(vld1q_u8(from)) }
    }
    #[inline(always)]
    unsafe fn nibble_codes(from: *const u8) -> [int16x8_t; 2] {
        unsafe {
            let bytes = vmovl_u8(vld1_u8(from));
            [vandq_u16(bytes, vdupq_n_u16(15)), vshrq_n_u16(bytes, 4)].map(|codes| vreinterpretq_s16_u16(codes))
        }
    }
    #[inline(always)]
    unsafe fn numbers(from: *const i16) -> [int16x8_t; 2] {
        unsafe { [vld1q_s16(from), vld1q_s16(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn raised(numbers: [int16x8_t; 2]) -> [int16x8_t; 2] {
        numbers.map(|numbers| unsafe { vshlq_n_s16::<4>(numbers) })
    }
    #[inline(always)]
    unsafe fn raised_sum(a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
        std::array::from_fn(|half| unsafe { vshlq_n_s16::<4>(vaddq_s16(a[half], b[half])) })
    }
    #[inline(always)]
    unsafe fn no_counts() -> int32x4_t {
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn count(mut sums: int32x4_t, codes: [int16x8_t; 2], numbers: *const i16) -> int32x4_t {
        unsafe {
            for (part, codes) in codes.into_iter().enumerate() {
                let numbers = vld1q_s16(numbers.add(8 * part));
                sums = vmlal_s16(sums, vget_low_s16(codes), vget_low_s16(numbers));
                sums = vmlal_high_s16(sums, codes, numbers);
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn counted(sums: int32x4_t) -> Self {
        Self(unsafe { vcvtq_f32_s32(sums) })
    }
}

/// The halves of eight bytes as sixteen, the low half of each first.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> uint8x16_t {
    unsafe {
        let packed = vld1_u8(from);
        let (low, high) = (vand_u8(packed, vdup_n_u8(15)), vshr_n_u8(packed, 4));
        vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high))
    }
}

#[inline(always)]
unsafe fn whole(bytes: uint8x16_t) -> [int16x8_t; 2] {
    unsafe { [vget_low_u8(bytes), vget_high_u8(bytes)].map(|half| vreinterpretq_s16_u16(vmovl_u8(half))) }
}

#[inline(always)]
unsafe fn widened(bytes: uint8x16_t) -> [Neon; 4] {
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
        let of = |four| Neon(vcvtq_f32_u32(vmovl_u16(four)));
        [of(vget_low_u16(low)), of(vget_high_u16(low)), of(vget_low_u16(high)), of(vget_high_u16(high))]
    }
}
