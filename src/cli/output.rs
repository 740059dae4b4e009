//! Standard output and standard error that may end before the work does.

use crate::error::{Error, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line. Whoever stops reading, as `head` does, stops no run; what cannot be written is said once.
pub fn line(line: Arguments<'_>) {
    match writeln!(stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) => {
            tell!("error: standard output: {error}");
        }
        _ => {}
    }
}

/// Refuses a file whose name says that it is a picture of another kind than the one that is written.
///
/// # Errors
/// [`Error::Option`] of `--out`.
pub fn check_png(out: &Path) -> Result<()> {
    match out.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("png") => {
            Err(Error::option("out", "a name that ends in .png", out.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a line beside the output. That nobody reads it ends nothing.
pub fn aside(line: Arguments<'_>) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Whether something that was to be written was not.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
