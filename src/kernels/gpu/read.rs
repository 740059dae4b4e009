//! Reading a few numbers back in a browser, where the backend would map a page of 16 KiB for the few hundred bytes that
//! a step of decoding wants.

use crate::error::{Error, Result};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};

/// More goes the backend's way, whose page it fills.
const MOST_BYTES: u64 = 4096;

/// What buffers are made with and copies are queued on.
static LINE: OnceLock<(wgpu::Device, wgpu::Queue)> = OnceLock::new();
/// Buffers that no read holds at the moment.
static SPARE: Mutex<Vec<wgpu::Buffer>> = Mutex::new(Vec::new());

/// Says what the backend computes on, once it is known.
pub fn set_line(device: wgpu::Device, queue: wgpu::Queue) {
    let _ = LINE.set((device, queue));
}

/// The values in row-major order; `None` for more than a few.
pub async fn few_floats<const D: usize>(values: &Tensor<D>) -> Option<Result<Vec<f32>>> {
    let bytes = 4 * values.shape().num_elements() as u64;
    let (device, queue) = LINE.get()?;
    if bytes == 0 || bytes > MOST_BYTES {
        return None;
    }
    Some(read(values.clone(), bytes, device, queue).await)
}

async fn read<const D: usize>(
    values: Tensor<D>,
    bytes: u64,
    device: &wgpu::Device,
    queue: &wgpu::Queue,
) -> Result<Vec<f32>> {
    let values = values.try_into_primitive::<CubeBackend>().expect("the kernels of GPUs get tensors of GPUs");
    let values = into_contiguous(values);
    let source =
        values.client.get_resource::<WgpuServer<AutoCompiler>>(values.handle.clone()).map_err(Error::device)?;
    values.client.flush().map_err(Error::device)?;
    let buffer = spare(bytes, device);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let source = source.resource();
    encoder.copy_buffer_to_buffer(&source.buffer, source.offset, &buffer, 0, bytes);
    queue.submit([encoder.finish()]);
    mapped(&buffer).await.map_err(Error::device)?;
    let view = buffer.slice(..).get_mapped_range();
    let values = view
        .map_err(Error::device)?
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    buffer.unmap();
    SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    Ok(values)
}

/// A buffer of just this size, since a map takes all of it.
fn spare(bytes: u64, device: &wgpu::Device) -> wgpu::Buffer {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    match spare.iter().position(|buffer| buffer.size() == bytes) {
        Some(index) => spare.swap_remove(index),
        None => device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }),
    }
}

/// What a map came to, and who waits for it.
#[derive(Default)]
struct Waiting {
    outcome: Option<std::result::Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

/// Waits until the host may read the buffer.
async fn mapped(buffer: &wgpu::Buffer) -> std::result::Result<(), wgpu::BufferAsyncError> {
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let told = waiting.clone();
    buffer.slice(..).map_async(wgpu::MapMode::Read, move |outcome| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.outcome = Some(outcome);
        if let Some(waker) = told.waker.take() {
            waker.wake();
        }
    });
    poll_fn(|context| {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
