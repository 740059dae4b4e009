//! From a device to the host.

use crate::error::{Error, Result};
use burn::tensor::Tensor;

/// A tensor's values in row-major order: the one wait for the device that whoever needs numbers makes.
///
/// # Errors
/// The device's.
pub async fn floats<const D: usize>(values: Tensor<D>) -> Result<Vec<f32>> {
    #[cfg(all(feature = "gpu", target_family = "wasm"))]
    if super::gpu::serves(&values.device())
        && let Some(values) = super::gpu::few_floats(&values).await
    {
        return values;
    }
    let data = values.into_data_async().await.map_err(Error::device)?;
    data.try_into_vec().map_err(|error| Error::device(format!("{error:?}")))
}
