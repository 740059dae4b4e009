//! Work that makes the same launches time after time. They are recorded once and replayed from then on, which saves most of
//! a launch's time on the host: finding its pipeline, binding its buffers.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Shape};
use burn_cubecl::cubecl::client::{Client, Graph};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use std::cell::RefCell;
use std::mem::ManuallyDrop;

thread_local! {
    /// What the work at hand makes its tensors of, where they are kept for the next time.
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

struct Kept {
    tensors: Vec<CubeTensor>,
    next: usize,
}

/// The launches of some work, the tensors that they make, which stay where they are, and what the work leaves.
pub struct Steady<T> {
    client: Client,
    made: Vec<CubeTensor>,
    left: Option<T>,
    graph: Option<Graph>,
}

impl<T> Steady<T> {
    /// Does the work a first time; what it makes from now on lies where it does now.
    pub fn first(device: &Device, work: impl FnOnce() -> T) -> Self {
        let mut made = Vec::new();
        let left = keeping(&mut made, work);
        Self { client: client(device), made, left: Some(left), graph: None }
    }

    /// What the work left when it was last done.
    pub fn left(&self) -> Option<&T> {
        self.left.as_ref()
    }

    /// Does the work again, which must be what it was: recorded if it was not yet, and replayed. Whether it is done; nothing
    /// is left of it if not.
    ///
    /// # Safety
    /// The tensors that the work reads or writes besides those that it makes are where they were, no other thread writes
    /// them, and this is the thread on which it was done before.
    pub unsafe fn again(&mut self, work: impl FnOnce() -> T) -> bool {
        if self.graph.is_none() {
            self.graph = self.record(work);
        }
        let replayed = self.graph.as_ref().is_some_and(|graph| unsafe { graph.replay() }.is_ok());
        if !replayed {
            self.left = None;
        }
        replayed
    }

    fn record(&mut self, work: impl FnOnce() -> T) -> Option<Graph> {
        // Operations without a kernel here find room where they had it the first time.
        self.left = None;
        self.client.graph_prepare().ok()?;
        let window = Window(&self.client);
        self.client.start_capture().ok()?;
        let before = self.made.len();
        self.left = Some(keeping(&mut self.made, work));
        debug_assert_eq!(before, self.made.len(), "the same work makes the same tensors");
        window.graph()
    }

    #[cfg(test)]
    pub fn recorded(&self) -> bool {
        self.graph.is_some()
    }
}

/// What was prepared to record; it is closed however the work ends, since a device reads nothing back in the meantime.
struct Window<'a>(&'a Client);

impl Window<'_> {
    fn graph(self) -> Option<Graph> {
        ManuallyDrop::new(self).0.stop_capture().ok()
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let _ = self.0.stop_capture();
    }
}

/// Does some work, whose tensors are made of those `made`, and adds to them what was missing.
fn keeping<T>(made: &mut Vec<CubeTensor>, work: impl FnOnce() -> T) -> T {
    /// Ends the keeping, however the work ends.
    struct Keeping<'a>(&'a mut Vec<CubeTensor>);
    impl Drop for Keeping<'_> {
        fn drop(&mut self) {
            *self.0 = KEPT.take().map(|kept| kept.tensors).unwrap_or_default();
        }
    }
    KEPT.set(Some(Kept { tensors: std::mem::take(made), next: 0 }));
    let _kept = Keeping(made);
    work()
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
