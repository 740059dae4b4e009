//! AVX-512.

use super::x86::turn;
use super::{HALF_EXPONENTS, Lanes, SQUARE, Work};
use std::arch::x86_64::*;

pub fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && super::x86::available()
}

/// # Safety
/// The instructions that [`available`] looks for exist.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub unsafe fn run<W: Work>(work: W) -> W::Output {
    unsafe { work.run::<Avx512>() }
}

#[derive(Clone, Copy)]
pub struct Avx512(__m512);

impl Lanes for Avx512 {
    const COUNT: usize = 16;
    const TILE_ROWS: usize = 12;
    const PREFETCHES: bool = true;
    type Sixteen = [Self; 1];
    type Codes = __m256i;
    /// Eight sums: as many as the products of sixteen codes make.
    type Counts = __m256i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn evens(from: *const f32) -> Self {
        unsafe {
            let places = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
            Self(_mm512_permutex2var_ps(_mm512_loadu_ps(from), places, _mm512_loadu_ps(from.add(16))))
        }
    }
    #[inline(always)]
    unsafe fn turn(rows: [*const f32; SQUARE], to: *mut f32, width: usize) {
        unsafe { turn(rows, to, width) }
    }
    #[inline(always)]
    unsafe fn zipped(self, other: Self) -> [Self; 2] {
        unsafe {
            let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
            let high = _mm512_or_epi32(low, _mm512_set1_epi32(8));
            [low, high].map(|places| Self(_mm512_permutex2var_ps(self.0, places, other.0)))
        }
    }
    #[inline(always)]
    unsafe fn byte_pairs(from: *const u8) -> Self {
        unsafe { Self(_mm512_castsi512_ps(_mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn nibble_pairs(from: *const u8) -> Self {
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let low = _mm512_and_epi32(bytes, _mm512_set1_epi32(0x0f));
            let high = _mm512_slli_epi32::<12>(_mm512_and_epi32(bytes, _mm512_set1_epi32(0xf0)));
            Self(_mm512_castsi512_ps(_mm512_or_epi32(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn paired(self, behind: Self) -> Self {
        unsafe {
            let (first, second) = (_mm512_cvtps_epi32(self.0), _mm512_cvtps_epi32(behind.0));
            // The upper half of each word from the second, the lower from the first.
            let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, first, _mm512_slli_epi32::<16>(second));
            Self(_mm512_castsi512_ps(pairs))
        }
    }
    #[inline(always)]
    unsafe fn store_numbers(self, to: *mut i16) {
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(self.0))) }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            let (a, b) = (_mm512_castps_si512(a.0), _mm512_castps_si512(b.0));
            Self(_mm512_castsi512_ps(_mm512_dpwssd_epi32(_mm512_castps_si512(self.0), a, b)))
        }
    }
    #[inline(always)]
    unsafe fn whole(self) -> Self {
        unsafe { Self(_mm512_cvtepi32_ps(_mm512_castps_si512(self.0))) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn add_mul(self, a: Self, b: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8) -> [Self; 1] {
        unsafe { widened(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8) -> [Self; 1] {
        unsafe { widened(super::x86::nibbles(from)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        unsafe { halves_of(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn first_halves(from: *const u32, count: usize) -> [Self; 2] {
        unsafe { halves_of(_mm512_maskz_loadu_epi32((1 << count) - 1, from.cast())) }
    }
    #[inline(always)]
    unsafe fn joined(numbers: __m256i, parts: *const i16) -> [Self; 1] {
        unsafe {
            let parts = _mm512_cvtepi16_epi32(_mm256_loadu_si256(parts.cast()));
            let numbers = _mm512_slli_epi32::<12>(_mm512_cvtepi16_epi32(numbers));
            [Self(_mm512_cvtepi32_ps(_mm512_add_epi32(numbers, parts)))]
        }
    }
    #[inline(always)]
    unsafe fn byte_codes(from: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn nibble_codes(from: *const u8) -> __m256i {
        unsafe { super::x86::nibble_codes(from) }
    }
    #[inline(always)]
    unsafe fn numbers(from: *const i16) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn raised(numbers: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16::<4>(numbers) }
    }
    #[inline(always)]
    unsafe fn raised_sum(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16::<4>(_mm256_add_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn no_counts() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn count(sums: __m256i, codes: __m256i, numbers: *const i16) -> __m256i {
        unsafe { _mm256_dpwssd_epi32(sums, codes, _mm256_loadu_si256(numbers.cast())) }
    }
    #[inline(always)]
    unsafe fn counted(sums: __m256i) -> Self {
        Self(unsafe { _mm512_zextps256_ps512(_mm256_cvtepi32_ps(sums)) })
    }
}

#[inline(always)]
unsafe fn widened(bytes: __m128i) -> [Avx512; 1] {
    unsafe { [Avx512(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))] }
}

/// Of words the values of their low halves and of their high halves.
#[inline(always)]
unsafe fn halves_of(words: __m512i) -> [Avx512; 2] {
    unsafe {
        // Of what lies in the high half of a word.
        let value = |words| {
            let magnitude = _mm512_srli_epi32::<3>(_mm512_and_si512(words, _mm512_set1_epi32(0x7fff_0000)));
            let magnitude = _mm512_mul_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(HALF_EXPONENTS));
            let sign = _mm512_and_si512(words, _mm512_set1_epi32(i32::MIN));
            Avx512(_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(magnitude), sign)))
        };
        [value(_mm512_slli_epi32::<16>(words)), value(words)]
    }
}
