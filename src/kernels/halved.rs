//! A matrix of which half is read where only the greatest of its products matter: whole numbers of 32 bits and a scale a row,
//! the upper sixteen bits of each apart from the lower.

use super::host;
use super::upload::tensor;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// A matrix `[out, in]` in the memory of the host. Its values are those of f32, but what is smaller than a 128th of its row's
/// greatest, which is within 2⁻³¹ of that.
#[derive(Module, Debug)]
pub struct HalvedWeight {
    /// Those of the numbers' upper halves that are above zero or below it.
    #[module(skip)]
    pub upper: Arc<Vec<i16>>,
    /// Counts from the upper half up.
    #[module(skip)]
    pub lower: Arc<Vec<u16>>,
    /// What a number is multiplied by, a row each.
    #[module(skip)]
    pub scales: Arc<Vec<f32>>,
    /// What stands best for a lower half that is not read: their mean.
    #[module(skip)]
    pub middle: u16,
    /// The greatest length of a row of what that is off by.
    #[module(skip)]
    pub reach: f32,
    /// The greatest length of a group of upper halves, as whole numbers.
    #[module(skip)]
    pub longest: f32,
    /// The greatest length of a row of what they stand for.
    #[module(skip)]
    pub longest_row: f32,
    /// The mean of all rows, and by how much their values vary, `[in]` each.
    #[module(skip)]
    pub mean: Arc<Vec<f32>>,
    #[module(skip)]
    pub variance: Arc<Vec<f32>>,
    pub rows: usize,
    pub columns: usize,
    #[module(skip)]
    device: Device,
}

/// A [`HalvedWeight`] to be, row after row.
pub struct Halves {
    columns: usize,
    upper: Vec<i16>,
    lower: Vec<u16>,
    scales: Vec<f32>,
}

/// Values that are summed in whole numbers. Rows are of whole groups.
pub const GROUP: usize = 64;
/// What an upper half counts for.
pub const UPPER: f32 = (1 << 16) as f32;

/// Bytes of f32 from which on a matrix is halved: smaller ones stay in caches, where reading them takes no time.
const LEAST_BYTES: usize = 8 << 20;

/// The least exponent of a row's greatest value, so that scales are normal numbers.
const LEAST_EXPONENT: i32 = -90;

impl Halves {
    /// Whether a matrix can be halved, and gains from it where `device` computes.
    pub fn suit([rows, columns]: [usize; 2], device: &Device) -> bool {
        let large = rows * columns >= LEAST_BYTES / size_of::<f32>() && columns.is_multiple_of(GROUP);
        large && host::in_host_memory(device) && !device.is_autodiff()
    }

    /// # Panics
    /// If rows are not of whole groups.
    pub fn new([rows, columns]: [usize; 2]) -> Self {
        assert!(columns > 0 && columns.is_multiple_of(GROUP), "rows of whole groups of {GROUP}");
        let (upper, lower) = (Vec::with_capacity(rows * columns), Vec::with_capacity(rows * columns));
        Self { columns, upper, lower, scales: Vec::with_capacity(rows) }
    }

    /// Adds rows, unless one has a value that is not finite.
    #[must_use]
    pub fn extend(&mut self, values: &[f32]) -> bool {
        values.chunks_exact(self.columns).all(|row| {
            let greatest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            if !row.iter().all(|value| value.is_finite()) {
                return false;
            }
            // Of the power of two above the greatest, which then is a number of 31 bits and a sign.
            let exponent = ((greatest.to_bits() >> 23) as i32 - 126).max(LEAST_EXPONENT);
            let (scale, inverse) = (2.0f32.powi(exponent - 31), 2.0f32.powi(31 - exponent));
            let number = |value: &f32| (value * inverse).round_ties_even() as i32;
            self.upper.extend(row.iter().map(|value| (number(value) >> 16) as i16));
            self.lower.extend(row.iter().map(|value| number(value) as u16));
            self.scales.push(scale);
            true
        })
    }

    /// # Panics
    /// If no row was added, or one of another length.
    pub fn into_weight(self, device: &Device) -> HalvedWeight {
        let Self { columns, upper, lower, scales } = self;
        let rows = scales.len();
        assert!(rows > 0 && lower.len() == rows * columns, "rows of one length");
        let sum: u64 = lower.iter().map(|half| u64::from(*half)).sum();
        let middle = (sum / lower.len() as u64) as u16;
        let off = |half: &u16| f32::from(*half) - f32::from(middle);
        let reaches = lower.chunks_exact(columns).zip(&scales).map(|(row, scale)| squares(row, off).sqrt() * scale);
        let reach = reaches.fold(0.0, f32::max);
        let value = |half: &i16| f32::from(*half);
        let longest = upper.chunks_exact(GROUP).map(|group| squares(group, value)).fold(1.0, f32::max).sqrt();
        // An upper half more is more than what the lower one can add.
        let whole = |half: &i16| (f32::from(*half).abs() + 1.0) * UPPER;
        let rows_of_both = upper.chunks_exact(columns).zip(&scales);
        let longest_row = rows_of_both.map(|(row, scale)| squares(row, whole).sqrt() * scale).fold(0.0, f32::max);
        let (mean, variance) = mean_and_variance(&upper, &scales, columns);
        let (upper, lower, scales) = (Arc::new(upper), Arc::new(lower), Arc::new(scales));
        HalvedWeight {
            upper,
            lower,
            scales,
            middle,
            reach,
            longest,
            longest_row,
            mean: Arc::new(mean),
            variance: Arc::new(variance),
            rows,
            columns,
            device: device.clone(),
        }
    }
}

/// Those of each column, of upper halves alone.
fn mean_and_variance(upper: &[i16], scales: &[f32], columns: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sums, mut squares) = (vec![0.0f32; columns], vec![0.0f32; columns]);
    for (row, scale) in upper.chunks_exact(columns).zip(scales) {
        for ((sum, square), half) in sums.iter_mut().zip(&mut squares).zip(row) {
            let value = f32::from(*half) * (UPPER * scale);
            *sum += value;
            *square += value * value;
        }
    }
    let share = 1.0 / scales.len() as f32;
    sums.iter_mut().for_each(|sum| *sum *= share);
    squares.iter_mut().zip(&sums).for_each(|(square, mean)| *square = (*square * share - mean * mean).max(0.0));
    (sums, squares)
}

/// The sum of squares of values made of a row of whole groups.
fn squares<T>(row: &[T], value: impl Fn(&T) -> f32) -> f32 {
    // Several sums, so that registers can hold them.
    let mut sums = [0.0f32; 16];
    for part in row.chunks_exact(sums.len()) {
        sums.iter_mut().zip(part).for_each(|(sum, half)| *sum += value(half).powi(2));
    }
    sums.iter().sum()
}

impl HalvedWeight {
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// The rows with these numbers.
    ///
    /// # Shapes
    /// n numbers → `[n, in]`
    pub fn rows(&self, numbers: &[u32]) -> Tensor<2> {
        let mut values = Vec::with_capacity(numbers.len() * self.columns);
        for number in numbers.iter().map(|number| *number as usize) {
            let range = number * self.columns..(number + 1) * self.columns;
            let halves = self.upper[range.clone()].iter().zip(&self.lower[range]);
            values.extend(halves.map(|(upper, lower)| joined(*upper, *lower) * self.scales[number]));
        }
        tensor(values, [numbers.len(), self.columns], &self.device)
    }

    /// The whole matrix.
    ///
    /// # Shapes
    /// → `[out, in]`
    pub fn unpacked(&self) -> Tensor<2> {
        let rows: Vec<u32> = (0..self.rows as u32).collect();
        self.rows(&rows)
    }
}

/// A number of its halves.
pub fn joined(upper: i16, lower: u16) -> f32 {
    (i32::from(upper) << 16 | i32::from(lower)) as f32
}
