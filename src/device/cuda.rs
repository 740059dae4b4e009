use crate::error::Result;
use burn::tensor::Device;

pub fn open() -> Result<Device> {
    Ok(Device::cuda(0))
}
