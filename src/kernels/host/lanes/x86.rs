//! AVX2 and FMA.

use super::{HALF_EXPONENTS, Lanes, SQUARE, Work};
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

/// As [`Lanes::turn`], four columns at a time: halves of rows 0 and 4, 1 and 5 and so on share a register.
#[inline(always)]
pub(super) unsafe fn turn(rows: [*const f32; SQUARE], to: *mut f32, width: usize) {
    unsafe {
        for first in [0, 4] {
            let both = |row: usize| {
                let upper = _mm256_castps128_ps256(_mm_loadu_ps(rows[row].add(first)));
                _mm256_insertf128_ps::<1>(upper, _mm_loadu_ps(rows[row + 4].add(first)))
            };
            let [a, b, c, d] = [both(0), both(1), both(2), both(3)];
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let to = to.add(first * width);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
            _mm256_storeu_ps(to.add(width), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            _mm256_storeu_ps(to.add(2 * width), _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
            _mm256_storeu_ps(to.add(3 * width), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
        }
    }
}

impl Lanes for Avx2 {
    const COUNT: usize = 8;
    const TILE_ROWS: usize = 6;
    const PREFETCHES: bool = true;
    type Sixteen = [Self; 2];
    type Codes = __m256i;
    type Counts = __m256i;

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
    unsafe fn evens(from: *const f32) -> Self {
        unsafe {
            let evens = _mm256_shuffle_ps::<0b10_00_10_00>(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
            Self(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(evens))))
        }
    }
    #[inline(always)]
    unsafe fn turn(rows: [*const f32; SQUARE], to: *mut f32, width: usize) {
        unsafe { turn(rows, to, width) }
    }
    #[inline(always)]
    unsafe fn zipped(self, other: Self) -> [Self; 2] {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(self.0, other.0), _mm256_unpackhi_ps(self.0, other.0));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)].map(Self)
        }
    }
    #[inline(always)]
    unsafe fn byte_pairs(from: *const u8) -> Self {
        unsafe { Self(_mm256_castsi256_ps(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn nibble_pairs(from: *const u8) -> Self {
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let low = _mm256_and_si256(bytes, _mm256_set1_epi32(0x0f));
            let high = _mm256_slli_epi32::<12>(_mm256_and_si256(bytes, _mm256_set1_epi32(0xf0)));
            Self(_mm256_castsi256_ps(_mm256_or_si256(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn paired(self, behind: Self) -> Self {
        unsafe {
            let (first, second) = (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(behind.0));
            // The upper half of each word from the second, the lower from the first.
            let pairs = _mm256_blend_epi16::<0b1010_1010>(first, _mm256_slli_epi32::<16>(second));
            Self(_mm256_castsi256_ps(pairs))
        }
    }
    #[inline(always)]
    unsafe fn store_numbers(self, to: *mut i16) {
        unsafe {
            let numbers = _mm256_cvtps_epi32(self.0);
            let (low, high) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
            _mm_storeu_si128(to.cast(), _mm_packs_epi32(low, high));
        }
    }
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        unsafe {
            let products = _mm256_madd_epi16(_mm256_castps_si256(a.0), _mm256_castps_si256(b.0));
            Self(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), products)))
        }
    }
    #[inline(always)]
    unsafe fn whole(self) -> Self {
        unsafe { Self(_mm256_cvtepi32_ps(_mm256_castps_si256(self.0))) }
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
        unsafe { widened(nibbles(from)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            // Of what lies in the high half of a word.
            let value = |words| {
                let magnitude = _mm256_srli_epi32(_mm256_and_si256(words, _mm256_set1_epi32(0x7fff_0000)), 3);
                let magnitude = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(HALF_EXPONENTS));
                let sign = _mm256_and_si256(words, _mm256_set1_epi32(i32::MIN));
                Self(_mm256_or_ps(magnitude, _mm256_castsi256_ps(sign)))
            };
            [value(_mm256_slli_epi32(words, 16)), value(words)]
        }
    }
    #[inline(always)]
    unsafe fn joined(numbers: __m256i, parts: *const i16) -> [Self; 2] {
        unsafe {
            let (first, second) = (_mm256_castsi256_si128(numbers), _mm256_extracti128_si256(numbers, 1));
            [joined(first, parts), joined(second, parts.add(8))]
        }
    }
    #[inline(always)]
    unsafe fn byte_codes(from: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn nibble_codes(from: *const u8) -> __m256i {
        unsafe { nibble_codes(from) }
    }
    #[inline(always)]
    unsafe fn numbers(from: *const i16) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn raised(numbers: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16(numbers, 4) }
    }
    #[inline(always)]
    unsafe fn raised_sum(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16(_mm256_add_epi16(a, b), 4) }
    }
    #[inline(always)]
    unsafe fn no_counts() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn count(sums: __m256i, codes: __m256i, numbers: *const i16) -> __m256i {
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(codes, _mm256_loadu_si256(numbers.cast()))) }
    }
    #[inline(always)]
    unsafe fn counted(sums: __m256i) -> Self {
        Self(unsafe { _mm256_cvtepi32_ps(sums) })
    }
}

/// [`Lanes::joined`] of eight.
#[inline(always)]
unsafe fn joined(numbers: __m128i, parts: *const i16) -> Avx2 {
    unsafe {
        let parts = _mm256_cvtepi16_epi32(_mm_loadu_si128(parts.cast()));
        Avx2(_mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_cvtepi16_epi32(numbers), 12), parts)))
    }
}

/// The halves of eight bytes as sixteen, the low half of each first.
#[inline(always)]
pub(super) unsafe fn nibbles(from: *const u8) -> __m128i {
    unsafe {
        let packed = _mm_loadl_epi64(from.cast());
        let mask = _mm_set1_epi8(15);
        let (low, high) = (_mm_and_si128(packed, mask), _mm_and_si128(_mm_srli_epi16(packed, 4), mask));
        _mm_unpacklo_epi8(low, high)
    }
}

/// The low halves of eight bytes as whole numbers, then the high ones.
#[inline(always)]
pub(super) unsafe fn nibble_codes(from: *const u8) -> __m256i {
    unsafe {
        let bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64(from.cast()));
        _mm256_set_m128i(_mm_srli_epi16(bytes, 4), _mm_and_si128(bytes, _mm_set1_epi16(15)))
    }
}

#[inline(always)]
unsafe fn widened(bytes: __m128i) -> [Avx2; 2] {
    unsafe {
        let of = |bytes| Avx2(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
        [of(bytes), of(_mm_srli_si128(bytes, 8))]
    }
}
