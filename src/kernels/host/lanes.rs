//! Registers of several f32 values: one interface over AVX2, NEON, WebAssembly SIMD and plain Rust.
//!
//! A kernel is a [`Work`], written once for any [`Lanes`]; [`run`] chooses the widest that the machine has. The
//! kernel and all it calls are inlined into a function that has the instructions switched on, so they must be
//! `#[inline(always)]`.

/// A register of `COUNT` values. All methods may only be called where its instructions are known to exist, which
/// [`run`] sees to; pointers must be valid for as many values as a method reads or writes.
pub trait Lanes: Copy {
    const COUNT: usize;
    /// Rows of the tile of a matrix product whose sums fit the registers beside what they are made of.
    const TILE_ROWS: usize;
    /// Sixteen values in as many registers as that takes.
    type Sixteen: AsRef<[Self]> + Copy;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `self + a · b`, rounded once or twice.
    unsafe fn add_mul(self, a: Self, b: Self) -> Self;
    /// To the nearest whole number.
    unsafe fn round(self) -> Self;
    /// 2 to the power of whole numbers from -126 to 127.
    unsafe fn pow2(self) -> Self;
    /// Asks for the memory around a byte, which will soon be read.
    unsafe fn prefetch(at: *const u8);
    /// Sixteen unsigned bytes as values.
    unsafe fn bytes(from: *const u8) -> Self::Sixteen;
    /// Sixteen unsigned halves of eight bytes as values, the low half of each first.
    unsafe fn nibbles(from: *const u8) -> Self::Sixteen;

    unsafe fn sum(self) -> f32;

    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        let mut values = [f32::NEG_INFINITY; 16];
        unsafe { self.store(values.as_mut_ptr()) };
        values[..Self::COUNT].iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// A kernel for any registers.
pub trait Work {
    type Output;

    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The instructions behind `L` exist on this machine.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with the best registers of this machine.
pub fn run<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the instructions were just found.
        return unsafe { x86::run(work) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: NEON is part of the architecture.
    return unsafe { work.run::<neon::Neon>() };
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    // SAFETY: a module with these instructions does not load where they are missing.
    return unsafe { work.run::<wasm::Simd128>() };
    #[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
    // SAFETY: plain Rust.
    unsafe {
        work.run::<Plain>()
    }
}

/// For machines without any of the instructions above, and what they are tested against.
#[derive(Clone, Copy)]
#[cfg_attr(any(target_arch = "aarch64", target_arch = "wasm32"), allow(dead_code))]
pub struct Plain([f32; 4]);

#[cfg_attr(any(target_arch = "aarch64", target_arch = "wasm32"), allow(dead_code))]
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
    unsafe fn prefetch(_at: *const u8) {}
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
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Work};
    use std::arch::x86_64::*;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// # Safety
    /// AVX2 and FMA exist.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn run<W: Work>(work: W) -> W::Output {
        unsafe { work.run::<Avx2>() }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Lanes for Avx2 {
        const COUNT: usize = 8;
        const TILE_ROWS: usize = 6;
        type Sixteen = [Self; 2];

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            Self(unsafe { _mm256_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn add_mul(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            Self(unsafe { _mm256_round_ps(self.0, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC) })
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
                Self(_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23)))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps(self.0, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> [Self; 2] {
            unsafe { widened(_mm_loadu_si128(from.cast())) }
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8) -> [Self; 2] {
            unsafe {
                let packed = _mm_loadl_epi64(from.cast());
                let mask = _mm_set1_epi8(15);
                let (low, high) = (_mm_and_si128(packed, mask), _mm_and_si128(_mm_srli_epi16(packed, 4), mask));
                widened(_mm_unpacklo_epi8(low, high))
            }
        }
    }

    #[inline(always)]
    unsafe fn widened(bytes: __m128i) -> [Avx2; 2] {
        unsafe {
            let of = |bytes| Avx2(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
            [of(bytes), of(_mm_srli_si128(bytes, 8))]
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Lanes;
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub struct Neon(float32x4_t);

    impl Lanes for Neon {
        const COUNT: usize = 4;
        const TILE_ROWS: usize = 8;
        type Sixteen = [Self; 4];

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
        unsafe fn prefetch(_at: *const u8) {}
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> [Self; 4] {
            unsafe { widened(vld1q_u8(from)) }
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8) -> [Self; 4] {
            unsafe {
                let packed = vld1_u8(from);
                let (low, high) = (vand_u8(packed, vdup_n_u8(15)), vshr_n_u8(packed, 4));
                widened(vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high)))
            }
        }
    }

    #[inline(always)]
    unsafe fn widened(bytes: uint8x16_t) -> [Neon; 4] {
        unsafe {
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
            let of = |four| Neon(vcvtq_f32_u32(vmovl_u16(four)));
            [of(vget_low_u16(low)), of(vget_high_u16(low)), of(vget_low_u16(high)), of(vget_high_u16(high))]
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use super::Lanes;
    use std::arch::wasm32::*;

    #[derive(Clone, Copy)]
    pub struct Simd128(v128);

    impl Lanes for Simd128 {
        const COUNT: usize = 4;
        /// Without a fused multiply-add, and on machines with 16 registers, more rows spill.
        const TILE_ROWS: usize = 4;
        type Sixteen = [Self; 4];

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
            Self(f32x4_add(self.0, f32x4_mul(a.0, b.0)))
        }
        #[inline(always)]
        unsafe fn round(self) -> Self {
            Self(f32x4_nearest(self.0))
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            Self(i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(self.0), i32x4_splat(127)), 23))
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let two = f32x4_add(self.0, i32x4_shuffle::<2, 3, 2, 3>(self.0, self.0));
            f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
        }
        #[inline(always)]
        unsafe fn prefetch(at: *const u8) {
            // There is no instruction for it; a read whose value nobody waits for does the same.
            unsafe { at.read_volatile() };
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> [Self; 4] {
            widened(unsafe { v128_load(from.cast()) })
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8) -> [Self; 4] {
            let packed = unsafe { v128_load64_zero(from.cast()) };
            let (low, high) = (v128_and(packed, u8x16_splat(15)), u8x16_shr(packed, 4));
            widened(u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(low, high))
        }
    }

    #[inline(always)]
    fn widened(bytes: v128) -> [Simd128; 4] {
        let (low, high) = (u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes));
        [
            Simd128(f32x4_convert_u32x4(u32x4_extend_low_u16x8(low))),
            Simd128(f32x4_convert_u32x4(u32x4_extend_high_u16x8(low))),
            Simd128(f32x4_convert_u32x4(u32x4_extend_low_u16x8(high))),
            Simd128(f32x4_convert_u32x4(u32x4_extend_high_u16x8(high))),
        ]
    }
}
