//! Tensors too large for one shard are stored in parts of whole rows and put together here, the one place that
//! knows. Part k of n of tensor `X` is named `X#00001-of-0000n`, k from 1, as the shards are.
//!
//! Plain names pass through, so that everything that reads shards, on disk or off the network, reads them this way.

use super::raw::{RawTensor, Tensors};
use super::shard::read_shard;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;

/// Takes shards as they come and gives back the tensors that they complete.
///
/// The parts of a tensor must come in order, in one shard or in several; shards are otherwise independent.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Names already given back or begun: a second tensor of the name is an error.
    seen: HashSet<String>,
    partial: Vec<Partial>,
}

#[derive(Debug)]
struct Partial {
    name: String,
    /// Parts taken so far, and parts in all.
    taken: usize,
    count: usize,
    tensor: RawTensor<'static>,
}

impl Assembler {
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensors that are complete with this file: views into `bytes`, or joined from their parts.
    ///
    /// # Errors
    /// Those of [`read_shard`], and [`Error::Tensor`] when a name occurs twice or parts do not fit together.
    pub fn push<'a>(&mut self, file_name: &str, bytes: &'a [u8]) -> Result<Tensors<'a>> {
        let mut shard: Vec<_> = read_shard(file_name, bytes)?
            .into_iter()
            .map(|(stored, tensor)| (PartName::parse(&stored), stored, tensor))
            .collect();
        // The format sorts by type and name; parts of one tensor have one type, but nothing promises their order.
        shard.sort_by_key(|(part, _, _)| part.as_ref().map_or(0, |part| part.index));
        let mut complete = Vec::with_capacity(shard.len());
        for (part, stored, tensor) in shard {
            match part {
                Some(part) => complete.extend(self.join(part, tensor)?),
                None if self.seen.insert(stored.clone()) => complete.push((stored, tensor)),
                None => {
                    return Err(Error::tensor(stored, "one tensor of this name", format!("another in {file_name}")));
                }
            }
        }
        Ok(complete)
    }

    /// # Errors
    /// [`Error::Tensor`] when a tensor lacks its last parts.
    pub fn finish(self) -> Result<()> {
        match self.partial.first() {
            None => Ok(()),
            Some(partial) => {
                let expected = format!("{} parts", partial.count);
                Err(Error::tensor(&partial.name, expected, format!("{} parts", partial.taken)))
            }
        }
    }

    fn join<'a>(&mut self, part: PartName, tensor: RawTensor<'_>) -> Result<Option<(String, RawTensor<'a>)>> {
        let PartName { name, index, count } = part;
        if tensor.shape.is_empty() {
            return Err(Error::tensor(name, "parts made of rows", "a part that is a single number"));
        }
        let place = match self.partial.iter().position(|partial| partial.name == name) {
            Some(place) => {
                let partial = &mut self.partial[place];
                if (index, count) != (partial.taken + 1, partial.count) {
                    let expected = format!("part {} of {}", partial.taken + 1, partial.count);
                    return Err(Error::tensor(name, expected, format!("part {index} of {count}")));
                }
                let whole = &mut partial.tensor;
                if tensor.dtype != whole.dtype || tensor.shape[1..] != whole.shape[1..] {
                    let expected = format!("a part of {} [_, {:?}]", whole.dtype, &whole.shape[1..]);
                    return Err(Error::tensor(name, expected, format!("{} {:?}", tensor.dtype, tensor.shape)));
                }
                whole.shape[0] = whole.shape[0]
                    .checked_add(tensor.shape[0])
                    .ok_or_else(|| Error::tensor(&name, "a number of rows", "an overflow"))?;
                // Exact growth: doubling would ask the browser for twice an embedding table.
                let data = whole.data.to_mut();
                data.reserve_exact(tensor.data.len());
                data.extend_from_slice(&tensor.data);
                partial.taken = index;
                place
            }
            None if index == 1 && self.seen.insert(name.clone()) => {
                self.partial.push(Partial { name, taken: 1, count, tensor: tensor.into_owned() });
                self.partial.len() - 1
            }
            None => return Err(Error::tensor(name, "one tensor, from part 1 on", format!("part {index} of {count}"))),
        };
        if self.partial[place].taken < count {
            return Ok(None);
        }
        let Partial { name, tensor, .. } = self.partial.swap_remove(place);
        Ok(Some((name, tensor)))
    }
}

struct PartName {
    name: String,
    index: usize,
    count: usize,
}

impl PartName {
    fn parse(stored: &str) -> Option<Self> {
        let (name, place) = stored.rsplit_once('#')?;
        let (index, count) = place.split_once("-of-")?;
        let (index, count) = (index.parse().ok()?, count.parse().ok()?);
        (1 <= index && index <= count).then(|| Self { name: name.to_owned(), index, count })
    }
}

/// `tensor` in parts of whole rows of at most `limit` bytes each, or as it is when it is small enough or has only
/// one row.
pub fn split(name: String, tensor: RawTensor<'_>, limit: usize) -> Tensors<'_> {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    if tensor.data.len() <= limit || rows <= 1 {
        return vec![(name, tensor)];
    }
    let row_bytes = tensor.data.len() / rows;
    let rows_a_part = (limit / row_bytes).max(1);
    let count = rows.div_ceil(rows_a_part);
    let parts = tensor.data.chunks(rows_a_part * row_bytes).enumerate();
    parts
        .map(|(index, data)| {
            let mut shape = tensor.shape.clone();
            shape[0] = data.len() / row_bytes;
            let part = RawTensor { dtype: tensor.dtype, shape, data: Cow::Owned(data.to_vec()) };
            (format!("{name}#{:05}-of-{count:05}", index + 1), part)
        })
        .collect()
}
