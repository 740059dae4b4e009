//! TensorBoard's event files: framed protocol buffers, of which scalars need three messages.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The polynomial of CRC-32C, reflected.
const CRC32C: u32 = 0x82F6_3B78;
/// Stored checksums are rotated and shifted by this, so that a checksum of data with checksums in it means something.
const CRC_MASK: u32 = 0xA282_EAD8;
const FILE_VERSION: &str = "brain.Event:2";

// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// One event file.
pub struct TensorBoard {
    path: PathBuf,
    file: File,
}

impl TensorBoard {
    /// Begins a new event file in `directory`, for a run that goes on after `updates` updates.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn create(directory: &Path, updates: u64) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| Error::file(directory.display(), error))?;
        let path = directory.join(format!("events.out.tfevents.{:010}.{updates}.ofa", now() as u64));
        let file = File::create(&path).map_err(|error| Error::file(path.display(), error))?;
        let mut board = Self { path, file };
        let mut event = Vec::new();
        field(&mut event, 1, FIXED64, &now().to_le_bytes());
        bytes_field(&mut event, 3, FILE_VERSION.as_bytes());
        board.record(&event)?;
        Ok(board)
    }

    /// Adds scalars of one update.
    ///
    /// # Errors
    /// [`Error::File`] when they cannot be written.
    pub fn write(&mut self, update: u64, scalars: &[(String, f32)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let mut one = Vec::new();
            bytes_field(&mut one, 1, tag.as_bytes());
            field(&mut one, 2, FIXED32, &value.to_le_bytes());
            bytes_field(&mut summary, 1, &one);
        }
        let mut event = Vec::new();
        field(&mut event, 1, FIXED64, &now().to_le_bytes());
        event.push(2 << 3 | VARINT);
        varint(&mut event, update);
        bytes_field(&mut event, 5, &summary);
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        self.file.write_all(&record).map_err(|error| Error::file(self.path.display(), error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn field(out: &mut Vec<u8>, number: u8, wire: u8, bytes: &[u8]) {
    out.push(number << 3 | wire);
    out.extend(bytes);
}

fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | BYTES);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn masked_crc(data: &[u8]) -> u32 {
    let crc = !data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ CRC32C } else { crc >> 1 })
    });
    crc.rotate_right(15).wrapping_add(CRC_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_format() {
        // The check value of CRC-32C is 0xE3069283.
        assert_eq!(masked_crc(b"123456789"), 0xE306_9283u32.rotate_right(15).wrapping_add(CRC_MASK));
    }

    #[test]
    fn long_numbers_take_several_bytes() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xAC, 0x02]);
    }
}
