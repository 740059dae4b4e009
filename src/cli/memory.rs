//! How memory is asked for while a model is trained.

/// Keeps what is freed for the next operation, which wants as much again: tensors of some megabytes come and go all the time,
/// and the system clears what it is given back page by page.
pub fn keep_freed() {
    // SAFETY: both only set numbers, and these are in range.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        // The most it takes; larger ones are few.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
