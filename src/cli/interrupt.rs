//! Ctrl-C, where something is to be put in order first.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether there was a Ctrl-C: at the first `act` is done, the second ends the process.
pub fn interrupted(act: impl Fn() + Send + 'static) -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        act();
    })
    .map_err(|error| Error::device(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(interrupted)
}

/// What a bundle in `out` is made of, up to a Ctrl-C: then an error, so that what was written is taken away.
pub fn until_interrupted<T>(
    out: &Path,
    tensors: impl Iterator<Item = Result<T>>,
) -> Result<impl Iterator<Item = Result<T>>> {
    let interrupted = interrupted(|| ())?;
    Ok(tensors.map(move |tensor| match interrupted.load(Ordering::Relaxed) {
        true => Err(Error::file(out.display(), "interrupted; nothing was written")),
        false => tensor,
    }))
}
