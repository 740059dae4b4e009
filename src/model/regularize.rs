//! Dropout and drop path. Both act only on a device that records gradients, so that one forward serves training
//! and answering.

use burn::tensor::{Distribution, Tensor};

/// Zeroes each element with probability `rate` and scales the others by `1 / (1 - rate)`.
pub fn dropout<const D: usize>(x: Tensor<D>, rate: f64) -> Tensor<D> {
    if rate == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let shape = x.dims();
    drop(x, rate, shape)
}

/// Zeroes the whole branch of a sample with probability `rate` (reference §1.12: per sample, scaled).
pub fn drop_path<const D: usize>(x: Tensor<D>, rate: f64) -> Tensor<D> {
    if rate == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let mut shape = [1; D];
    shape[0] = x.dims()[0];
    drop(x, rate, shape)
}

/// The rate of layer or block `index` of `count`: rising linearly from 0 to `rate`.
pub fn drop_path_rate(rate: f64, index: usize, count: usize) -> f64 {
    if count < 2 { 0.0 } else { rate * index as f64 / (count - 1) as f64 }
}

fn drop<const D: usize>(x: Tensor<D>, rate: f64, mask_shape: [usize; D]) -> Tensor<D> {
    let keep = 1.0 - rate;
    let mask = Tensor::random(mask_shape, Distribution::Bernoulli(keep), &x.device());
    x * mask * (1.0 / keep)
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn kept_elements_are_scaled_and_samples_fall_whole() {
        let device = Device::flex();
        device.seed(7);
        let dropped = drop(Tensor::<3>::ones([64, 4, 4], &device), 0.25, [64, 1, 1]);
        let values: Vec<f32> = dropped.into_data().try_into_vec().expect("f32");
        let mut kept = 0;
        for sample in values.chunks(16) {
            assert!(sample.iter().all(|value| *value == sample[0]), "a sample is dropped whole");
            assert!(sample[0] == 0.0 || (sample[0] - 4.0 / 3.0).abs() < 1e-6);
            kept += usize::from(sample[0] > 0.0);
        }
        assert!((32..64).contains(&kept), "about three quarters of 64 are kept, found {kept}");
    }

    #[test]
    fn without_gradients_nothing_is_dropped() {
        let x = Tensor::<3>::ones([2, 3, 4], &Device::flex());
        let sum: f32 = drop_path(dropout(x, 0.5), 0.5).sum().into_scalar();
        assert_eq!(sum, 24.0);
    }

    #[test]
    fn rates_rise_linearly() {
        assert_eq!((0..3).map(|layer| drop_path_rate(0.2, layer, 3)).collect::<Vec<_>>(), [0.0, 0.1, 0.2]);
        assert_eq!(drop_path_rate(0.2, 0, 1), 0.0);
    }
}
