//! Memory for weights and activations.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes from which it matters where memory begins.
const LARGE: usize = 1 << 10;
/// Bytes of the widest registers there may be.
const REGISTER: usize = if cfg!(target_family = "wasm") { 16 } else { 64 };

/// The standard allocator, except that what is large begins at a multiple of a register, so that kernels load none from two
/// lines of the cache. Left to chance, that costs a decoding step a twentieth of its time.
pub struct Aligned;

fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(REGISTER).unwrap_or(layout) }
}

// SAFETY: all is passed on, and nothing is aligned less than it was to be.
unsafe impl GlobalAlloc for Aligned {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(aligned(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(aligned(layout)) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, aligned(layout)) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            if layout.size().max(size) < LARGE {
                return System.realloc(at, layout, size);
            }
            let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !other.is_null() {
                std::ptr::copy_nonoverlapping(at, other, size.min(layout.size()));
                self.dealloc(at, layout);
            }
            other
        }
    }
}
