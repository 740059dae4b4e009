//! Opening a device, and saying which one it is and why.

#[cfg_attr(not(feature = "cpu"), path = "no_cpu.rs")]
mod cpu;
#[cfg_attr(not(feature = "cuda"), path = "no_cuda.rs")]
mod cuda;
#[cfg_attr(not(feature = "gpu"), path = "no_gpu.rs")]
mod gpu;
#[cfg_attr(not(feature = "torch"), path = "no_torch.rs")]
mod torch;

#[cfg(all(feature = "parity", feature = "gpu", target_family = "wasm"))]
pub use gpu::as_on_real_adapters;

use crate::error::{Error, Result};
use burn::tensor::Device;
use serde::Serialize;

/// What the caller wants to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    Auto,
    /// A GPU, even one emulated in software.
    Gpu,
    Cpu,
    /// An NVIDIA GPU by burn's CUDA backend, for training.
    Cuda,
    /// An NVIDIA GPU by LibTorch, for training.
    Torch,
    /// LibTorch on the CPU: what [`Torch`](Self::Torch) computes, where there is no such GPU.
    TorchCpu,
}

/// What the model runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// `gpu`, `cpu`, `cuda` or `torch`.
    pub kind: &'static str,
    /// The adapter's own name, or what the CPU path is.
    pub name: String,
    /// Why this one, where it was not asked for by name.
    pub reason: Option<String>,
}

/// An adapter that was opened.
struct Adapter {
    device: Device,
    name: String,
    software: bool,
}

impl DeviceChoice {
    /// # Errors
    /// [`Error::Option`] for anything but `auto`, `gpu`, `cpu`, `cuda`, `torch` and `torch-cpu`.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "gpu" | "webgpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "torch" => Ok(Self::Torch),
            "torch-cpu" => Ok(Self::TorchCpu),
            _ => Err(Error::option("device", "auto, gpu, cpu, cuda, torch or torch-cpu", name)),
        }
    }

    /// Opens the device. A GPU is opened once a process and then shared.
    ///
    /// # Errors
    /// [`Error::Device`] when there is none of the kind, or this build has no support for it.
    pub async fn open(self) -> Result<(Device, DeviceReport)> {
        let report = |kind, name: &str| DeviceReport { kind, name: name.into(), reason: None };
        match self {
            Self::Cpu => return open_cpu(None),
            Self::Cuda => return Ok((cuda::open()?, report("cuda", "burn-cuda"))),
            Self::Torch => return Ok((torch::open(true)?, report("torch", "LibTorch, CUDA"))),
            Self::TorchCpu => return Ok((torch::open(false)?, report("torch", "LibTorch, CPU"))),
            Self::Auto | Self::Gpu => {}
        }
        match gpu::open().await {
            Ok(Adapter { name, software: true, .. }) if self == Self::Auto => {
                open_cpu(Some(format!("the only GPU is emulated in software ({name}), which is slower")))
            }
            Ok(Adapter { device, name, .. }) => Ok((device, report("gpu", &name))),
            Err(error) if self == Self::Auto => open_cpu(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

fn open_cpu(reason: Option<String>) -> Result<(Device, DeviceReport)> {
    Ok((cpu::open()?, DeviceReport { kind: "cpu", name: "burn-flex".into(), reason }))
}
