//! Files written by `torch.save`: a zip archive with a pickle and one entry for each storage.

use super::pickle::{Id, Pickle, Value, View};
use super::raw::{Dtype, RawTensor, elements};
use crate::error::{Error, Result};
use std::io::{Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

/// The largest pickle read; those of real checkpoints, optimiser state included, stay below one MiB.
const MAX_PICKLE: u64 = 64 << 20;

/// An open checkpoint. Tensors are read one by one, so that memory holds what was asked for and nothing else.
pub struct TorchFile<R> {
    name: String,
    archive: ZipArchive<R>,
    /// The folder that all entries lie in; torch names it after the file.
    folder: String,
    pickle: Pickle,
    length: u64,
    /// Bytes that views may still ask for. Views that overlap could otherwise ask for the file many times over.
    budget: u64,
}

impl<R: Read + Seek> TorchFile<R> {
    /// `name` only serves messages.
    ///
    /// # Errors
    /// [`Error::File`] when this is not a zip archive of torch's, with advice for the old format.
    pub fn open(name: &str, mut reader: R) -> Result<Self> {
        let failed = |error: std::io::Error| Error::file(name, error);
        let length = reader.seek(SeekFrom::End(0)).map_err(failed)?;
        reader.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut start = [0; 2];
        if reader.read_exact(&mut start).is_err() || &start != b"PK" {
            let reason = "not a zip archive. Files of torch before 1.6 must be saved anew, with any later torch: \
                          torch.save(torch.load(OLD, map_location=\"cpu\", weights_only=False), NEW)";
            return Err(Error::file(name, reason));
        }
        reader.seek(SeekFrom::Start(0)).map_err(failed)?;
        let broken = |error: ZipError| Error::file(name, format!("broken zip archive: {error}"));
        let mut archive = ZipArchive::new(reader).map_err(broken)?;
        let folder = archive
            .file_names()
            .find_map(|entry| entry.strip_suffix("data.pkl"))
            .map(str::to_owned)
            .ok_or_else(|| Error::file(name, "no data.pkl in it: not a file of torch.save"))?;
        if archive.index_for_name(&format!("{folder}byteorder")).is_some() {
            let order = entry(name, &mut archive, &format!("{folder}byteorder"), 16)?;
            if order != b"little" {
                return Err(Error::file(name, "written on a big-endian machine, which is not supported"));
            }
        }
        let bytes = entry(name, &mut archive, &format!("{folder}data.pkl"), MAX_PICKLE.min(length))?;
        let pickle = Pickle::parse(name, &bytes)?;
        Ok(Self { name: name.to_owned(), archive, folder, pickle, length, budget: length.saturating_mul(2) })
    }

    pub fn pickle(&self) -> &Pickle {
        &self.pickle
    }

    /// Reads the tensor `id`, called `tensor` in messages.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the value is no tensor, has a type that is not read, or does not lie in its storage;
    /// [`Error::File`] when the storage is missing, of another size or corrupt.
    pub fn tensor(&mut self, tensor: &str, id: Id) -> Result<RawTensor<'static>> {
        let Value::Tensor(view) = self.pickle.value(id) else {
            return Err(Error::tensor(tensor, format!("a tensor in {}", self.name), "something else"));
        };
        let Value::Storage(storage) = self.pickle.value(view.storage) else {
            return Err(Error::tensor(tensor, "a storage", "something else"));
        };
        let dtype =
            storage.dtype.ok_or_else(|| Error::tensor(tensor, "a type of this model", "another storage type"))?;
        let path = format!("{}data/{}", self.folder, storage.key);
        // Every size below is bounded by the file's own.
        let stored = (storage.elements as u64)
            .checked_mul(dtype.size() as u64)
            .filter(|bytes| *bytes <= self.length)
            .ok_or_else(|| {
            Error::file(&self.name, format!("{path}: {} elements are more than the file holds", storage.elements))
        })?;
        let (span, dense) = span(view).ok_or_else(|| Error::tensor(tensor, "a plausible shape", "an overflow"))?;
        let inside = view.offset.checked_add(span).is_some_and(|end| end <= storage.elements);
        let count = elements(&view.shape).unwrap_or(usize::MAX);
        // Strides of 0 would let a few bytes stand for any number of elements.
        if !inside || count > span {
            let expected = format!("a view of its {} stored elements", storage.elements);
            let found = format!("offset {}, shape {:?}, strides {:?}", view.offset, view.shape, view.strides);
            return Err(Error::tensor(tensor, expected, found));
        }
        let bytes = (span * dtype.size()) as u64;
        self.budget = self
            .budget
            .checked_sub(bytes)
            .ok_or_else(|| Error::file(&self.name, "its tensors overlap so much that they exceed the file"))?;
        let offset = (view.offset * dtype.size()) as u64;
        let data = read_range(&self.name, &mut self.archive, &path, stored, offset, bytes)?;
        let data = if dense { data } else { gather(&data, view, dtype) };
        RawTensor::new(tensor, dtype, view.shape.clone(), data)
    }
}

/// Elements from the first to the last that the view touches, and whether they are the tensor in order.
fn span(view: &View) -> Option<(usize, bool)> {
    if view.shape.contains(&0) {
        return Some((0, true));
    }
    let mut last = 0usize;
    let mut dense = true;
    let mut expected = 1usize;
    for (side, stride) in view.shape.iter().zip(&view.strides).rev() {
        last = last.checked_add((side - 1).checked_mul(*stride)?)?;
        dense &= *side == 1 || *stride == expected;
        expected = expected.checked_mul(*side)?;
    }
    Some((last.checked_add(1)?, dense))
}

/// The elements of a strided view in row-major order.
fn gather(data: &[u8], view: &View, dtype: Dtype) -> Vec<u8> {
    let size = dtype.size();
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; view.shape.len()];
    let mut at = 0usize;
    loop {
        out.extend_from_slice(&data[at * size..(at + 1) * size]);
        // Count up like an odometer, the last dimension first.
        let mut axis = index.len();
        loop {
            if axis == 0 {
                return out;
            }
            axis -= 1;
            index[axis] += 1;
            at += view.strides[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            at -= index[axis] * view.strides[axis];
            index[axis] = 0;
        }
    }
}

/// A small entry, whole.
fn entry<R: Read + Seek>(name: &str, archive: &mut ZipArchive<R>, path: &str, limit: u64) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::file(name, format!("{path}: {reason}"));
    let file = archive.by_name(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// `length` bytes from `offset` of the storage `path`, which must have `stored` bytes. Whole storages are read with
/// their checksum.
fn read_range<R: Read + Seek>(
    name: &str,
    archive: &mut ZipArchive<R>,
    path: &str,
    stored: u64,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::file(name, format!("{path}: {reason}"));
    let index = archive.index_for_name(path).ok_or_else(|| failed("missing".into()))?;
    let mut bytes = Vec::new();
    {
        let file = archive.by_index(index).map_err(|error| failed(error.to_string()))?;
        if file.size() != stored || file.compressed_size() != stored {
            return Err(failed(format!("expected {stored} bytes, found {}", file.size())));
        }
        if (offset, length) == (0, stored) {
            bytes.reserve_exact(length as usize);
            file.take(length + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        }
    }
    if (offset, length) != (0, stored) {
        let mut file = archive.by_index_seek(index).map_err(|error| failed(error.to_string()))?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| failed(error.to_string()))?;
        bytes.reserve_exact(length as usize);
        file.take(length).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    }
    if bytes.len() as u64 != length {
        return Err(failed(format!("expected {length} bytes, found {}", bytes.len())));
    }
    Ok(bytes)
}
