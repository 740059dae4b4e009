use crate::error::{Error, Result};
use burn::tensor::Device;

pub fn open() -> Result<Device> {
    Err(Error::device("this build has no CUDA backend (cargo feature `cuda`)"))
}
