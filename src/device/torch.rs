use crate::error::Result;
use burn::tensor::Device;

/// The first GPU, or the CPU.
pub fn open(gpu: bool) -> Result<Device> {
    Ok(if gpu { Device::libtorch_cuda(0) } else { Device::libtorch() })
}
