//! The lines of a text file that say something, by their number: an index of offsets, built once.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What some programs put before the first line of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The longest line that is read. Images are lines here; a binary file given by mistake is not.
const MAX_LINE: u64 = 256 << 20;

/// A text file whose lines are read by their number, counted without those of white space alone. Eight bytes a line stay
/// in memory.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    /// Where each line of the file ends, its line break included.
    ends: Vec<u64>,
    /// For each line of white space alone how many others come before it.
    blank: Vec<u64>,
}

impl Lines {
    /// Finds the lines of a file. A line break at the very end opens no line.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |error| Error::file(path.display(), error);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(fail)?);
        let mut lines = Self { path: path.to_path_buf(), ends: Vec::new(), blank: Vec::new() };
        let (mut at, mut is_blank) = (0, true);
        loop {
            let block = reader.fill_buf().map_err(fail)?;
            if block.is_empty() {
                break;
            }
            // A line may go on in the next block.
            for part in block.split_inclusive(|byte| *byte == b'\n') {
                let text = if at == 0 { part.strip_prefix(BYTE_ORDER_MARK).unwrap_or(part) } else { part };
                is_blank = is_blank && text.iter().all(u8::is_ascii_whitespace);
                at += part.len() as u64;
                if part.ends_with(b"\n") {
                    lines.end(at, is_blank);
                    is_blank = true;
                }
            }
            let read = block.len();
            reader.consume(read);
        }
        if lines.ends.last().copied().unwrap_or(0) < at {
            lines.end(at, is_blank);
        }
        Ok(lines)
    }

    fn end(&mut self, at: u64, is_blank: bool) {
        if is_blank {
            let before = self.len();
            self.blank.push(before);
        }
        self.ends.push(at);
    }

    /// Lines that say something.
    pub fn len(&self) -> u64 {
        (self.ends.len() - self.blank.len()) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number that a line has in the file.
    fn number(&self, line: u64) -> u64 {
        line + self.blank.partition_point(|before| *before <= line) as u64
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What errors call a line: people count from 1.
    pub fn place(&self, line: u64) -> String {
        format!("{}:{}", self.path.display(), self.number(line) + 1)
    }

    /// A line without its break.
    ///
    /// # Errors
    /// [`Error::File`] naming the line, if there is none, if it is no UTF-8, longer than 256 MiB, or gone.
    pub fn line(&self, line: u64) -> Result<String> {
        let fail = |reason: String| Error::file(self.place(line), reason);
        let at = self.number(line) as usize;
        let end = *self.ends.get(at).ok_or_else(|| fail(format!("the file has {} lines", self.ends.len())))?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        if end - start > MAX_LINE {
            return Err(fail(format!("a line of {} bytes; at most {MAX_LINE} are read", end - start)));
        }
        let mut bytes = vec![0; (end - start) as usize];
        // Each read opens the file anew, so that workers need not wait for each other's positions.
        let mut file = File::open(&self.path).map_err(|error| fail(error.to_string()))?;
        file.seek(SeekFrom::Start(start)).map_err(|error| fail(error.to_string()))?;
        file.read_exact(&mut bytes).map_err(|_| fail("the file became shorter while it was in use".into()))?;
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        if at == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        String::from_utf8(bytes).map_err(|error| fail(format!("not UTF-8: {error}")))
    }
}
