//! What several rooms' tests need.

pub mod ranks;
pub mod torch;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The CPU backend has one generator of random numbers a process: tests that repeat a seed draw from it one at a time.
pub fn only_drawer() -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The directory of goldens: `OFA_GOLDENS`, or the ones in this repository.
pub fn goldens() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    std::env::var_os("OFA_GOLDENS").map_or_else(|| own.into(), PathBuf::from)
}

/// The original's BPE files: `OFA_BPE`, or the directory beside the repository. They may not be copied here.
pub fn original_bpe() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bpe");
    let directory = std::env::var_os("OFA_BPE").map_or(beside, PathBuf::from);
    directory.join("dict.txt").is_file().then_some(directory)
}

/// Seeded weights of the real OFA-Tiny shape (`make seeded-weights`), under the original's names.
pub fn tiny_weights() -> Option<PathBuf> {
    std::env::var_os("OFA_TINY_WEIGHTS").map(PathBuf::from).filter(|path| path.is_file())
}
