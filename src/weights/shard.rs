//! Safetensors in memory: read one file's tensors without copying, and write one.
//!
//! Reading is our own because bundles come from the network: the `safetensors` crate adds offsets without a check,
//! so that a hostile header ends in a panic wherever overflow checks are on, and it keeps the last of two tensors
//! with one name.

use super::raw::{Dtype, RawTensor, Tensors, elements};
use crate::error::{Error, Result};
use safetensors::{Dtype as FileDtype, View};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The format's own limit on the JSON header.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of one safetensors file, in the order in which their bytes lie. `file_name` only serves messages.
///
/// Any bytes may be given: header length, JSON, offsets (contiguous, within the file, as long as the shape asks for)
/// and shapes are checked, and nothing much larger than the header is allocated.
///
/// # Errors
/// [`Error::File`] when the file is malformed, [`Error::Tensor`] when a tensor has a type no checkpoint uses.
pub fn read_shard<'a>(file_name: &str, bytes: &'a [u8]) -> Result<Tensors<'a>> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| malformed(file_name, "shorter than 8 bytes"))?;
    let length = header_length(file_name, *length, bytes.len() as u64)?;
    let (header, body) = rest.split_at_checked(length).ok_or_else(|| malformed(file_name, "the header is cut off"))?;
    let slots = read_header(file_name, header, body.len())?;
    slots
        .into_iter()
        .map(|Slot { name, dtype, shape, start, end }| {
            let tensor = RawTensor::new(&name, dtype, shape, body.get(start..end).unwrap_or_default())?;
            Ok((name, tensor))
        })
        .collect()
}

/// Where one tensor lies, counted from the end of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub start: usize,
    pub end: usize,
}

/// Bytes of the JSON header, from the first eight of a file of `file_length` bytes.
///
/// # Errors
/// [`Error::File`] when the header is longer than the file, or than the format allows.
pub fn header_length(file_name: &str, first: [u8; 8], file_length: u64) -> Result<usize> {
    let length = u64::from_le_bytes(first);
    if length > MAX_HEADER || length > file_length.saturating_sub(8) {
        return Err(malformed(file_name, format!("header of {length} bytes in a file of {file_length} bytes")));
    }
    Ok(length as usize)
}

/// The checked slots of a header, in the order of their bytes; they fill the `body` bytes that follow it.
///
/// # Errors
/// Those of [`read_shard`].
pub fn read_header(file_name: &str, header: &[u8], body: usize) -> Result<Vec<Slot>> {
    let Header(mut entries) = serde_json::from_slice(header).map_err(|error| malformed(file_name, error))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut slots = Vec::with_capacity(entries.len());
    let mut end_of_last = 0;
    for (name, Entry { dtype, shape, data_offsets: (start, end) }) in entries {
        if start != end_of_last || end < start || end > body {
            let reason = format!("tensor `{name}` at {start}..{end} of {body} bytes, where {end_of_last} comes next");
            return Err(malformed(file_name, reason));
        }
        let dtype = DTYPES
            .iter()
            .find(|(_, _, text)| *text == dtype)
            .map(|(own, _, _)| *own)
            .ok_or_else(|| Error::tensor(&name, "a type of this model", format!("{dtype} in {file_name}")))?;
        if elements(&shape).and_then(|count| count.checked_mul(dtype.size())) != Some(end - start) {
            return Err(malformed(file_name, format!("tensor `{name}`, {dtype} {shape:?}, has {} bytes", end - start)));
        }
        slots.push(Slot { name, dtype, shape, start, end });
        end_of_last = end;
    }
    if end_of_last != body {
        return Err(malformed(file_name, format!("{} bytes belong to no tensor", body - end_of_last)));
    }
    Ok(slots)
}

fn malformed(file_name: &str, reason: impl fmt::Display) -> Error {
    Error::file(file_name, format!("not a valid safetensors file: {reason}"))
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header's entries; a map type would hide that a name occurs twice.
struct Header<'a>(Vec<(String, Entry<'a>)>);

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header<'de>, A::Error> {
                let mut entries = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("two tensors named `{name}`")));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// One safetensors file with these tensors. The format orders them by type, then name.
///
/// # Errors
/// [`Error::File`] naming `file_name` when the tensors cannot be described.
pub fn encode_shard(file_name: &str, tensors: &[(String, RawTensor<'_>)]) -> Result<Vec<u8>> {
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), Stored(tensor)));
    // "pt" is what the Python tools look for before they open a file.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| Error::file(file_name, error))
}

struct Stored<'a>(&'a RawTensor<'a>);

impl View for Stored<'_> {
    fn dtype(&self) -> FileDtype {
        DTYPES.iter().find(|(own, _, _)| *own == self.0.dtype).map_or(FileDtype::U8, |(_, file, _)| *file)
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0.data)
    }

    fn data_len(&self) -> usize {
        self.0.data.len()
    }
}

const DTYPES: [(Dtype, FileDtype, &str); 13] = [
    (Dtype::F64, FileDtype::F64, "F64"),
    (Dtype::F32, FileDtype::F32, "F32"),
    (Dtype::F16, FileDtype::F16, "F16"),
    (Dtype::BF16, FileDtype::BF16, "BF16"),
    (Dtype::I64, FileDtype::I64, "I64"),
    (Dtype::U64, FileDtype::U64, "U64"),
    (Dtype::I32, FileDtype::I32, "I32"),
    (Dtype::U32, FileDtype::U32, "U32"),
    (Dtype::I16, FileDtype::I16, "I16"),
    (Dtype::U16, FileDtype::U16, "U16"),
    (Dtype::I8, FileDtype::I8, "I8"),
    (Dtype::U8, FileDtype::U8, "U8"),
    (Dtype::Bool, FileDtype::BOOL, "BOOL"),
];
