//! Work that makes the same launches time after time. They are recorded once and replayed from then on, which saves most of
//! a launch's time on the host: finding its pipeline, binding its buffers.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Shape};
use burn_cubecl::cubecl::client::{Client, Graph};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use std::cell::RefCell;

thread_local! {
    /// What the work at hand makes its tensors of, where they are kept for the next time.
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

struct Kept {
    tensors: Vec<CubeTensor>,
    next: usize,
}

/// The launches of some work and the tensors that they make, which stay where they are.
pub struct Steady {
    client: Client,
    made: Vec<CubeTensor>,
    graph: Option<Graph>,
}

impl Steady {
    /// Does the work a first time; what it makes from now on lies where it does now.
    pub fn first<T>(device: &Device, work: impl FnOnce() -> T) -> (Self, T) {
        let (done, made) = keeping(Vec::new(), work);
        (Self { client: client(device), made, graph: None }, done)
    }

    /// Does the work again, which must be what it was: recorded if it was not yet, and replayed. Whether it is done.
    ///
    /// # Safety
    /// The tensors that the work reads or writes besides those that it makes are where they were, and no other thread writes
    /// them.
    pub unsafe fn again(&mut self, work: impl FnOnce()) -> bool {
        if self.graph.is_none() {
            self.graph = self.record(work);
        }
        self.graph.as_ref().is_some_and(|graph| unsafe { graph.replay() }.is_ok())
    }

    fn record(&mut self, work: impl FnOnce()) -> Option<Graph> {
        let opened = self.client.graph_prepare().is_ok() && self.client.start_capture().is_ok();
        if opened {
            let before = self.made.len();
            ((), self.made) = keeping(std::mem::take(&mut self.made), work);
            debug_assert_eq!(before, self.made.len(), "the same work makes the same tensors");
        }
        // Whatever was opened has to be closed.
        self.client.stop_capture().ok().filter(|_| opened)
    }
}

/// Does some work, whose tensors are made of those `kept`, and gives back these and what was missing.
fn keeping<T>(kept: Vec<CubeTensor>, work: impl FnOnce() -> T) -> (T, Vec<CubeTensor>) {
    KEPT.set(Some(Kept { tensors: kept, next: 0 }));
    let done = work();
    (done, KEPT.take().map(|kept| kept.tensors).unwrap_or_default())
}

/// A tensor on the device of `beside` whose values are yet to be written, all of them.
pub fn made(beside: &CubeTensor, shape: Shape) -> CubeTensor {
    let new = |shape| empty_device_contiguous_dtype(beside.client.clone(), beside.device.clone(), shape, DType::F32);
    KEPT.with_borrow_mut(|kept| {
        let Some(Kept { tensors, next }) = kept else { return new(shape) };
        *next += 1;
        match tensors.get(*next - 1) {
            Some(tensor) if *tensor.meta.shape() == shape => tensor.clone(),
            Some(_) => new(shape),
            None => {
                let tensor = new(shape);
                tensors.push(tensor.clone());
                tensor
            }
        }
    })
}

fn client(device: &Device) -> Client {
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => device.client(),
        #[allow(unreachable_patterns)] // Where GPUs are the only devices of a build.
        _ => unreachable!("kernels of GPUs run on GPUs"),
    }
}
