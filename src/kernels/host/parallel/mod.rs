//! All cores natively, where the command line brings threads; in a browser those of a crew, where there is one.

#[cfg(all(target_family = "wasm", feature = "threads"))]
mod crew;

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;

#[cfg(feature = "cli")]
mod team {
    use rayon::prelude::*;

    /// Multiply-adds below which waking threads costs more than it saves.
    const WORTH: usize = 1 << 20;

    /// Threads that share so many multiply-adds.
    pub fn threads(work: usize) -> usize {
        if work < WORTH { 1 } else { rayon::current_num_threads() }
    }

    pub fn share(pieces: usize, each: &(dyn Fn(usize) + Sync)) {
        (0..pieces).into_par_iter().for_each(each);
    }
}
#[cfg(all(target_family = "wasm", feature = "threads"))]
use crew as team;
#[cfg(not(any(feature = "cli", all(target_family = "wasm", feature = "threads"))))]
mod team {
    pub fn threads(_work: usize) -> usize {
        1
    }

    pub fn share(pieces: usize, each: &(dyn Fn(usize) + Sync)) {
        (0..pieces).for_each(each);
    }
}

/// Cuts `0..count` into ranges and calls `each` for all of them, in parallel where `work`, the multiply-adds of the
/// whole, is worth it. How it is cut changes no result.
pub fn ranges(count: usize, longest: usize, work: usize, each: impl Fn(Range<usize>) + Sync) {
    let threads = team::threads(work);
    // Four pieces a thread, so that none waits long for another.
    let length = if threads == 1 { longest } else { count.div_ceil(4 * threads).clamp(1, longest) };
    let pieces = count.div_ceil(length);
    // One piece of code, whoever runs it: it is inlined into what calls it but once.
    let each: &(dyn Fn(usize) + Sync) = &|piece| each(piece * length..((piece + 1) * length).min(count));
    if threads == 1 { (0..pieces).for_each(each) } else { team::share(pieces, each) }
}

/// Memory for values that are written before they are read.
pub struct Room(Vec<MaybeUninit<f32>>);

impl Room {
    pub fn new(len: usize) -> Self {
        let mut values = Vec::with_capacity(len);
        // SAFETY: they may be anything.
        unsafe { values.set_len(len) };
        Self(values)
    }

    pub fn shared(&mut self) -> Shared {
        Shared(self.0.as_mut_ptr().cast(), self.0.len())
    }

    /// # Safety
    /// It has been written, and nothing writes it now.
    pub unsafe fn part(&self, start: usize, len: usize) -> &[f32] {
        let values = &self.0[start..start + len];
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), len) }
    }

    /// # Safety
    /// All of it has been written.
    pub unsafe fn filled(self) -> Vec<f32> {
        let mut values = ManuallyDrop::new(self.0);
        // SAFETY: the memory of a vector whose values have the same size.
        unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), values.len(), values.capacity()) }
    }
}

/// A buffer whose parts several threads write, each its own.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32, usize);

// SAFETY: whoever calls `part` promises that parts do not overlap.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr(), values.len())
    }

    /// The buffer from `start` on.
    pub fn behind(&self, start: usize) -> Self {
        assert!(start <= self.1);
        // SAFETY: within the buffer.
        Self(unsafe { self.0.add(start) }, self.1 - start)
    }

    /// Where the value `start` lies.
    #[inline(always)]
    pub fn at(&self, start: usize) -> *mut f32 {
        debug_assert!(start <= self.1);
        self.0.wrapping_add(start)
    }

    /// # Safety
    /// It has been written or is written before it is read, and no other part that is alive overlaps this one.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        debug_assert!(start + len <= self.1);
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}
