//! The original's files: tab-separated columns, images in base64.

use super::{ImageData, Kind, Lines, Record, Records};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// A TSV file of one kind.
#[derive(Debug)]
pub struct Tsv {
    lines: Lines,
    kind: &'static Kind,
    columns: Vec<usize>,
}

impl Tsv {
    /// Opens a file whose fields stand in `columns`, one number a field of its kind.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::Option`] for another number of columns.
    pub fn open(path: &Path, kind: &'static Kind, columns: &[usize]) -> Result<Self> {
        if columns.len() != kind.fields.len() {
            let expected = format!("{} columns: {}", kind.fields.len(), kind.fields.join(", "));
            return Err(Error::option("columns", expected, columns.len()));
        }
        Ok(Self { lines: Lines::open(path)?, kind, columns: columns.to_vec() })
    }
}

impl Records for Tsv {
    fn len(&self) -> u64 {
        self.lines.len()
    }

    fn record(&self, row: u64) -> Result<Record> {
        let line = self.lines.line(row)?;
        let place = self.lines.place(row);
        let cells: Vec<&str> = line.split('\t').collect();
        let mut record = Record { place, fields: Vec::new(), image: None };
        for (name, column) in self.kind.fields.iter().zip(&self.columns) {
            let cell = cells.get(*column).ok_or_else(|| {
                record.fail(format!("`{name}` is column {column}, counted from 0, but there are {}", cells.len()))
            })?;
            match *name {
                "image" if cell.trim().is_empty() => {}
                "image" => record.image = Some(ImageData::Base64((*cell).to_owned())),
                _ => record.fields.push(((*name).to_owned(), Value::String((*cell).to_owned()))),
            }
        }
        Ok(record)
    }
}
