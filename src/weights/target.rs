//! Where a bundle goes: it appears there complete or not at all, and nothing is lost that is not a bundle's.

use super::bundle::{read_manifest, sync_directory, write_file};
use super::manifest::{MANIFEST, RECIPE, TOKENIZER};
use super::vqgan_files::VQGAN;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory that a bundle may replace, fill or become.
pub struct Target {
    path: PathBuf,
    /// Whether the bundle has a model, or image codes alone.
    with_model: bool,
}

impl Target {
    /// # Errors
    /// [`Error::File`] when something is in the way that is not to be replaced.
    pub fn new(out: &Path, with_model: bool) -> Result<Self> {
        // What a link leads to is replaced, not the link; and the directory at hand has a name and a parent.
        let path = out.canonicalize().unwrap_or_else(|_| out.to_owned());
        let target = Self { path, with_model };
        check(&target.path, with_model)?;
        if !is_empty(&target.path) && std::env::current_dir().is_ok_and(|here| here.starts_with(&target.path)) {
            let reason = "is the directory that this runs in, and cannot be replaced from there; run it from another";
            return Err(Error::file(target.path.display(), reason));
        }
        Ok(target)
    }

    /// The directory that it lies in.
    pub fn parent(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// Puts a finished bundle there. What is replaced goes to `old`, in the same file system.
    ///
    /// # Errors
    /// [`Error::File`] as above, or when files cannot be moved: then what was there is there again.
    pub fn put(&self, bundle: &Path, old: &Path) -> Result<()> {
        let Self { path, with_model } = self;
        let failed = |error: std::io::Error| Error::file(path.display(), error);
        // Somebody may have put something there meanwhile.
        check(path, *with_model)?;
        if is_empty(path) {
            // It may be what a file system is mounted on, or somebody's current directory.
            let filled = fill(path, bundle);
            if filled.is_err() {
                fs::read_dir(path).map_err(failed)?.flatten().for_each(|entry| remove(&entry.path()));
            }
            return filled;
        }
        let (codes, kept) = (bundle.join(VQGAN), old.join(VQGAN));
        let replaced = path.exists();
        if replaced {
            fs::rename(path, old).map_err(failed)?;
        }
        // Image codes serve any model of as many: those that are there stay if no others come.
        let keeps = kept.exists() && !codes.exists();
        let moved = if keeps { fs::rename(&kept, &codes) } else { Ok(()) };
        if let Err(error) = moved.and_then(|()| fs::rename(bundle, path)) {
            if keeps && codes.exists() {
                fs::rename(&codes, &kept).map_err(failed)?;
            }
            if replaced {
                fs::rename(old, path).map_err(failed)?;
            }
            return Err(failed(error));
        }
        sync_directory(self.parent());
        Ok(())
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Moves the files of a bundle into an empty directory, the manifest last: without it there is no bundle yet.
fn fill(out: &Path, from: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::file(out.display(), error);
    let mut entries = fs::read_dir(from).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(|entry| entry.file_name() == MANIFEST);
    for entry in entries {
        let (source, target) = (entry.path(), out.join(entry.file_name()));
        if fs::rename(&source, &target).is_ok() {
            continue;
        }
        // Another file system.
        if source.is_dir() {
            fs::create_dir(&target).map_err(failed)?;
            fill(&target, &source)?;
        } else {
            write_file(&target, &fs::read(&source).map_err(failed)?)?;
        }
    }
    sync_directory(out);
    Ok(())
}

/// Nothing that is not a bundle's is ever removed, and no model in place of image codes, or the other way round.
fn check(out: &Path, with_model: bool) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let failed = |error: std::io::Error| Error::file(out.display(), error);
    let found = fs::read_dir(out).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    if found.is_empty() {
        return Ok(());
    }
    let refused = |why: String| Error::file(out.display(), format!("exists and {why}; choose another directory"));
    let manifest = read_manifest(out).map_err(|_| refused(format!("is not a bundle (it has no {MANIFEST} of one)")))?;
    match manifest.files.iter().any(|file| file.name == TOKENIZER) {
        true if !with_model => {
            return Err(refused(format!("is a bundle, whose image codes belong into {VQGAN} in it")));
        }
        false if with_model => return Err(refused("holds image codes alone".to_owned())),
        _ => {}
    }
    for entry in found {
        let name = entry.file_name();
        let own = |own: &str| name == own;
        if own(VQGAN) {
            check(&entry.path(), false)?;
        } else if !own(MANIFEST) && !own(RECIPE) && !manifest.files.iter().any(|file| own(&file.name)) {
            return Err(refused(format!("holds {}, which is not of the bundle there", name.to_string_lossy())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::CONFIG;

    #[test]
    fn an_empty_directory_is_filled_from_another_file_system() {
        let home = tempfile::tempdir().expect("a directory");
        // Memory, where there is such a place; elsewhere files are renamed.
        let other =
            Path::new("/dev/shm").is_dir().then(|| tempfile::tempdir_in("/dev/shm")).and_then(std::io::Result::ok);
        let out = other.as_ref().unwrap_or(&home).path().join("out");
        let from = home.path().join("from");
        fs::create_dir_all(from.join(VQGAN)).and_then(|()| fs::create_dir(&out)).expect("directories");
        for name in [MANIFEST, CONFIG, "vqgan/config.json"] {
            fs::write(from.join(name), name).expect("a file");
        }
        fill(&out, &from).expect("a bundle");
        for name in [MANIFEST, CONFIG, "vqgan/config.json"] {
            assert_eq!(fs::read_to_string(out.join(name)).expect("a file"), name);
        }
    }
}
