//! Which side of the bus a tensor lies on: what is right for a GPU is often wrong for a CPU.

use burn::tensor::Device;

/// Whether the device's tensors lie in memory that the host reads without waiting.
#[cfg(feature = "cpu")]
pub fn in_host_memory(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// Without the CPU backend every device is a GPU.
#[cfg(not(feature = "cpu"))]
pub fn in_host_memory(_device: &Device) -> bool {
    false
}
