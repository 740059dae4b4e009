//! Relative position biases.

use super::parallel::{Room, ranges};
use super::{Values, tensor};
use crate::kernels::pairs::{NONE, TOKEN};
use burn::tensor::Tensor;

/// As [`Pairs::add`](crate::kernels::Pairs::add), with the rows `[samples, T, L]` of all pairs.
pub fn add_relative(
    absolute: &Tensor<4>,
    rows: &[u32],
    samples: usize,
    [image, token]: &[Tensor<2>; 2],
) -> Option<Tensor<4>> {
    let [absolute_batch, heads, queries, keys] = absolute.dims();
    let ([images, _], [tokens, _]) = (image.dims(), token.dims());
    let device = absolute.device();
    let (absolute, image, token) = (Values::of(absolute)?, Values::of(image)?, Values::of(token)?);
    let (absolute, image, token) = (absolute.as_slice(), image.as_slice(), token.as_slice());
    // Where a row lies in a head's column of both tables and of a zero.
    let places: Vec<u32> = rows
        .iter()
        .map(|row| match *row {
            NONE => (images + tokens) as u32,
            row if row >= TOKEN => images as u32 + (row - TOKEN),
            row => row,
        })
        .collect();
    let (batch, pairs) = (absolute_batch.max(samples), queries * keys);
    let mut sums = Room::new(batch * heads * pairs);
    let out = sums.shared();
    ranges(heads, 1, batch * heads * pairs * 4, |range| {
        for head in range {
            let mut column = Vec::with_capacity(images + tokens + 1);
            for table in [image, token] {
                column.extend(table.chunks_exact(heads).map(|row| row[head]));
            }
            column.push(0.0);
            for sample in 0..batch {
                let absolute = &absolute[(sample % absolute_batch * heads + head) * pairs..][..pairs];
                let places = &places[sample % samples * pairs..][..pairs];
                let start = (sample * heads + head) * pairs;
                for (pair, (absolute, place)) in absolute.iter().zip(places).enumerate() {
                    // SAFETY: each head of a sample is handed out once.
                    unsafe { out.at(start + pair).write(absolute + column[*place as usize]) };
                }
            }
        }
    });
    // SAFETY: each pair has been written.
    Some(tensor(unsafe { sums.filled() }, [batch, heads, queries, keys], &device))
}
