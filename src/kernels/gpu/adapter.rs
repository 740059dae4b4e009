//! Which variant of a kernel runs: chosen here and nowhere else, by the adapter and by the number of rows.

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use std::sync::atomic::{AtomicBool, Ordering};

static SOFTWARE: AtomicBool = AtomicBool::new(false);

/// Says that the adapter is emulated on a CPU, once it is known.
pub fn set_software(software: bool) {
    SOFTWARE.store(software, Ordering::Relaxed);
}

/// How the invocations of a workgroup work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Team {
    /// Each for itself: an emulated adapter runs them one after the other, and a barrier makes it save and restore
    /// all of them.
    Alone,
    /// Through the workgroup's memory, as a real adapter wants it.
    Together,
}

impl Team {
    pub fn of_adapter() -> Self {
        if SOFTWARE.load(Ordering::Relaxed) { Self::Alone } else { Self::Together }
    }

    /// Invocations that share one sum, where several of them would.
    pub fn lanes(self, most: u32) -> u32 {
        if self == Self::Alone { 1 } else { most }
    }

    /// The functions that bring a sum together.
    pub fn sums(self) -> &'static str {
        match self {
            Self::Alone => include_str!("alone.wgsl"),
            Self::Together => include_str!("together.wgsl"),
        }
    }
}

/// Buffers that one kernel may bind.
pub fn most_bindings(device: &Device) -> usize {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.client().properties().hardware.max_bindings as usize,
        #[allow(unreachable_patterns)] // Where GPUs are the only devices of a build.
        _ => 0,
    }
}

/// Up to so many rows a product is bound by reading its matrix.
pub const FEW_ROWS: usize = 24;

/// Rows that share one pass over the matrix: the kernel is compiled for one row, for five beams and for eight.
pub fn rows_at_a_time(rows: usize) -> usize {
    [1, 5].into_iter().find(|at_a_time| rows <= *at_a_time).unwrap_or(8)
}
