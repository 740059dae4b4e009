use super::Adapter;
use crate::error::{Error, Result};
use burn::tensor::Device;
use std::sync::OnceLock;

/// burn registers a runtime once a process; later models share it.
static OPENED: OnceLock<(Device, String, bool)> = OnceLock::new();

pub async fn open() -> Result<Adapter> {
    let (device, name, software) = match OPENED.get() {
        Some(opened) => opened.clone(),
        None => {
            let (device, setup) = Device::wgpu_options().init_with_setup_async().await.map_err(Error::device)?;
            let info = setup.adapter.get_info();
            let software = info.device_type == wgpu::DeviceType::Cpu;
            crate::kernels::set_software_gpu(software);
            #[cfg(target_family = "wasm")]
            crate::kernels::set_gpu_line(setup.device, setup.queue);
            let opened = (device, info.name, software);
            OPENED.get_or_init(|| opened).clone()
        }
    };
    Ok(Adapter { device, name, software })
}

/// Chooses kernels as for a real adapter from now on, which a comparison may want where there is none.
#[cfg(all(feature = "parity", target_family = "wasm"))]
pub fn as_on_real_adapters() {
    crate::kernels::set_software_gpu(false);
}
