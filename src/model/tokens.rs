//! Token ids as the model takes them: a rectangle padded on the right.

/// `len` ids in each of `batch` rows. Ids stay on the host: a decoding step knows them anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    pub batch: usize,
    pub len: usize,
    pub ids: Vec<u32>,
}

impl TokenBatch {
    /// # Panics
    /// If `ids` does not hold `batch · len` ids.
    pub fn new(batch: usize, len: usize, ids: Vec<u32>) -> Self {
        assert_eq!(ids.len(), batch * len, "a token batch is a full rectangle");
        Self { batch, len, ids }
    }

    /// Rows of any lengths, padded on the right.
    pub fn padded(rows: &[Vec<u32>], pad: u32) -> Self {
        let len = rows.iter().map(Vec::len).max().unwrap_or(0);
        let ids = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(pad, len - row.len())));
        Self { batch: rows.len(), len, ids: ids.collect() }
    }

    pub fn row(&self, row: usize) -> &[u32] {
        &self.ids[row * self.len..(row + 1) * self.len]
    }
}
