//! Files of training data: TSV, JSONL with images beside it, WebDataset shards.
//!
//! Read `kind` (which fields the rows of a file have), `record` (one row, its fields by name), the three readers
//! `tsv`, `jsonl` and `shards` over `lines`, `order` (who comes when) and `list` (one file an epoch).

mod jsonl;
mod kind;
mod lines;
mod list;
mod order;
mod record;
mod shards;
mod tsv;

pub use jsonl::Jsonl;
pub use kind::{KINDS, Kind};
pub use lines::Lines;
pub use list::{DataList, EpochFiles, open};
pub use order::{Order, item_random};
pub use record::{ImageData, Record};
pub use shards::{CLASS, Shards};
pub use tsv::Tsv;

use crate::error::Result;

/// Rows that are read by their position, from several threads at once.
pub trait Records: Send + Sync {
    /// Rows.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row.
    ///
    /// # Errors
    /// [`crate::error::Error::File`] naming the file, the line or sample, and what is wrong there.
    fn record(&self, row: u64) -> Result<Record>;
}
