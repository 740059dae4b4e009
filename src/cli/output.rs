//! Standard output that may end before the work does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line. Whoever stops reading, as `head` does, stops no run; what cannot be written is said once.
pub fn line(line: Arguments<'_>) {
    match writeln!(stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) => {
            eprintln!("error: standard output: {error}");
        }
        _ => {}
    }
}

/// Whether something that was to be written was not.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
