use crate::error::{Error, Result};
use burn::tensor::Device;

pub fn open(_gpu: bool) -> Result<Device> {
    Err(Error::device("this build has no LibTorch backend (cargo feature `torch`)"))
}
