//! One JSON object a line, its keys a kind's fields, its image a path beside the file.

use super::{ImageData, Lines, Record, Records};
use crate::error::Result;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A JSONL file with its folder of images.
#[derive(Debug)]
pub struct Jsonl {
    lines: Lines,
    folder: PathBuf,
}

impl Jsonl {
    /// Opens a file; images are looked for from its folder on.
    ///
    /// # Errors
    /// [`crate::error::Error::File`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { lines: Lines::open(path)?, folder })
    }
}

impl Records for Jsonl {
    fn len(&self) -> u64 {
        self.lines.len()
    }

    fn record(&self, row: u64) -> Result<Record> {
        let mut record = Record { place: self.lines.place(row), fields: Vec::new(), image: None };
        let line = self.lines.line(row)?;
        let object: Map<String, Value> =
            serde_json::from_str(&line).map_err(|error| record.fail(format!("not a JSON object: {error}")))?;
        for (name, value) in object {
            match (name.as_str(), value) {
                ("image", Value::String(path)) => record.image = Some(ImageData::File(self.folder.join(path))),
                ("image", _) => return Err(record.fail("`image`: expected a path")),
                (_, value) => record.fields.push((name, value)),
            }
        }
        Ok(record)
    }
}
