//! Registers of several f32 values: one interface over AVX-512, AVX2, NEON, WebAssembly SIMD and plain Rust.
//!
//! A kernel is a [`Work`], written once for any [`Lanes`]; [`run`] chooses the widest that the machine has. The
//! kernel and all it calls are inlined into a function that has the instructions switched on, so they must be
//! `#[inline(always)]`.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod plain;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_wide;

/// Values of the widest registers.
pub const MOST_LANES: usize = 16;
/// The side of the squares that [`Lanes::turn`] turns; two registers are whole numbers of them wide.
pub const SQUARE: usize = 8;

/// A register of `COUNT` values. All methods may only be called where its instructions are known to exist, which
/// [`run`] sees to; pointers must be valid for as many values as a method reads or writes.
pub trait Lanes: Copy {
    const COUNT: usize;
    /// Rows of the tile of a matrix product whose sums fit the registers beside what they are made of.
    const TILE_ROWS: usize;
    /// Whether there is an instruction that fetches memory ahead.
    const PREFETCHES: bool = false;
    /// Sixteen values in as many registers as that takes.
    type Sixteen: AsRef<[Self]> + Copy;
    /// Sixteen packed codes as whole numbers of sixteen bits.
    type Codes: Copy;
    /// At most `COUNT` sums of products of whole numbers, in 32 bits.
    type Counts: Copy;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Every second of twice `COUNT` values, from the first on.
    unsafe fn evens(from: *const f32) -> Self;
    /// The values of two registers in turns.
    unsafe fn zipped(self, other: Self) -> [Self; 2];
    /// Writes the rows of a square as columns, `width` from line to line.
    #[inline(always)]
    unsafe fn turn(rows: [*const f32; SQUARE], to: *mut f32, width: usize) {
        unsafe {
            let square = rows.map(|row| row.cast::<[f32; SQUARE]>().read_unaligned());
            for k in 0..SQUARE {
                to.add(k * width).cast::<[f32; SQUARE]>().write_unaligned(square.map(|row| row[k]));
            }
        }
    }
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
    /// Asks for the memory around a byte, which will soon be read, where [`Self::PREFETCHES`].
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
    /// Sixteen unsigned bytes as values.
    unsafe fn bytes(from: *const u8) -> Self::Sixteen;
    /// Sixteen unsigned halves of eight bytes as values, the low half of each first.
    unsafe fn nibbles(from: *const u8) -> Self::Sixteen;

    /// `COUNT` words as the values of their low halves and of their high halves, which are finite f16 numbers.
    unsafe fn halves(from: *const u32) -> [Self; 2];
    /// The same of the first `count` words, fewer than `COUNT`, and zeros behind them.
    #[inline(always)]
    unsafe fn first_halves(from: *const u32, count: usize) -> [Self; 2] {
        let mut padded = [0u32; 16];
        padded[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
        unsafe { Self::halves(padded.as_ptr()) }
    }
    /// Sixteen whole numbers of 4096 parts, and parts of each, as values that count parts.
    unsafe fn joined(numbers: Self::Codes, parts: *const i16) -> Self::Sixteen;
    /// Sixteen unsigned bytes as whole numbers.
    unsafe fn byte_codes(from: *const u8) -> Self::Codes;
    /// Sixteen unsigned halves of eight bytes as whole numbers: the low halves, then the high ones.
    unsafe fn nibble_codes(from: *const u8) -> Self::Codes;
    /// Sixteen whole numbers.
    unsafe fn numbers(from: *const i16) -> Self::Codes;
    /// Sixteen times each number, without what is beyond its sixteen bits.
    unsafe fn raised(numbers: Self::Codes) -> Self::Codes;
    /// Sixteen times each sum, likewise.
    unsafe fn raised_sum(a: Self::Codes, b: Self::Codes) -> Self::Codes;
    unsafe fn no_counts() -> Self::Counts;
    /// Adds the products of sixteen codes and as many numbers to sums, in any order.
    unsafe fn count(sums: Self::Counts, codes: Self::Codes, numbers: *const i16) -> Self::Counts;
    /// The sums as values, and zeros where there are fewer.
    unsafe fn counted(sums: Self::Counts) -> Self;

    // A register also holds `COUNT` pairs of whole numbers of sixteen bits, or `COUNT` counts of 32.

    /// Pairs of twice `COUNT` unsigned bytes.
    #[inline(always)]
    unsafe fn byte_pairs(from: *const u8) -> Self {
        Self::of_words(|at| unsafe { u32::from(*from.add(2 * at)) | u32::from(*from.add(2 * at + 1)) << 16 })
    }
    /// Pairs of the unsigned halves of `COUNT` bytes.
    #[inline(always)]
    unsafe fn nibble_pairs(from: *const u8) -> Self {
        Self::of_words(|at| unsafe { u32::from(*from.add(at) & 15) | u32::from(*from.add(at) >> 4) << 16 })
    }
    /// Whole numbers, and others behind each.
    #[inline(always)]
    unsafe fn paired(self, behind: Self) -> Self {
        let (first, second) = (self.values(), behind.values());
        let bits = |value: f32| u32::from(value as i16 as u16);
        Self::of_words(|at| bits(first[at]) | bits(second[at]) << 16)
    }
    /// Writes whole numbers in sixteen bits each.
    #[inline(always)]
    unsafe fn store_numbers(self, to: *mut i16) {
        for (at, value) in self.values().into_iter().enumerate().take(Self::COUNT) {
            unsafe { to.add(at).write(value as i16) };
        }
    }
    /// Counts, and the two products of each of two pairs.
    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        let [sums, a, b] = [self.values(), a.values(), b.values()].map(|values| values.map(f32::to_bits));
        let halves = |bits: u32| [bits as i16, (bits >> 16) as i16].map(i32::from);
        Self::of_words(|at| {
            let ([a, c], [b, d]) = (halves(a[at]), halves(b[at]));
            (sums[at] as i32).wrapping_add(a * b).wrapping_add(c * d) as u32
        })
    }
    /// Counts as values.
    #[inline(always)]
    unsafe fn whole(self) -> Self {
        let counts = self.values();
        Self::of_words(|at| (counts[at].to_bits() as i32 as f32).to_bits())
    }
    #[inline(always)]
    fn of_words(word: impl Fn(usize) -> u32) -> Self {
        let mut words = [0.0f32; MOST_LANES];
        (0..Self::COUNT).for_each(|at| words[at] = f32::from_bits(word(at)));
        unsafe { Self::load(words.as_ptr()) }
    }
    /// The values, and zeros behind them.
    #[inline(always)]
    fn values(self) -> [f32; MOST_LANES] {
        let mut values = [0.0f32; MOST_LANES];
        unsafe { self.store(values.as_mut_ptr()) };
        values
    }

    unsafe fn sum(self) -> f32;

    #[inline(always)]
    unsafe fn greatest(self) -> f32 {
        let mut values = [f32::NEG_INFINITY; 16];
        unsafe { self.store(values.as_mut_ptr()) };
        values[..Self::COUNT].iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Bytes that processors fetch at once.
pub const CACHE_LINE: usize = 64;

/// Asks for memory that will soon be read, where there is an instruction for it.
#[inline(always)]
pub unsafe fn prefetch<L: Lanes>(memory: &[u8]) {
    if L::PREFETCHES {
        memory.iter().step_by(CACHE_LINE).for_each(|byte| unsafe { L::prefetch(byte) });
    }
}

/// The sum of all values of some registers.
///
/// # Safety
/// The instructions behind `L` exist.
#[inline(always)]
pub unsafe fn total<L: Lanes, const SUMS: usize>(sums: [L; SUMS]) -> f32 {
    let mut sum = sums[0];
    for other in &sums[1..] {
        sum = unsafe { sum.add(*other) };
    }
    unsafe { sum.sum() }
}

/// Between the exponents of f16 and f32. The product by which they are shifted also brings numbers below the smallest
/// normal half right.
const HALF_EXPONENTS: f32 = f32::from_bits((127 + 112) << 23);

/// A kernel for any registers.
pub trait Work {
    type Output;

    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The instructions behind `L` exist on this machine.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// Whether the widest registers are left alone, so that tests reach the others on machines that have them.
#[cfg(target_arch = "x86_64")]
fn narrow() -> bool {
    cfg!(test) && std::env::var_os(NARROW).is_some()
}

/// Set for a test's process that does without the widest registers.
#[cfg(target_arch = "x86_64")]
pub(super) const NARROW: &str = "OFA_NARROW_REGISTERS";

/// Whether the registers that [`run`] chooses multiply pairs of whole numbers faster than as many values.
pub fn counts_pairs() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::available();
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(all(target_arch = "wasm32", target_feature = "simd128"));
}

/// Runs a kernel with the best registers of this machine.
///
/// In WebAssembly each kernel is a function of its own: V8 shares out registers badly in functions that have too many
/// values.
#[cfg_attr(target_arch = "wasm32", inline(never))]
pub fn run<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if x86_wide::available() && !narrow() {
        // SAFETY: the instructions were just found.
        return unsafe { x86_wide::run(work) };
    }
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
        work.run::<plain::Plain>()
    }
}
