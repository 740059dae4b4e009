//! What documents say of the tasks is what the table says.

use ofa::task::{markdown, typescript};
use std::path::Path;

/// The file between two marks, or all of it, must be `expected`; with `OFA_BLESS` it is made so.
fn holds(file: &str, marks: Option<[&str; 2]>, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if !path.parent().unwrap().exists() {
        return eprintln!("skipped {file}, which the crate's package leaves out");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let wanted = match marks {
        None => expected.to_owned(),
        Some([start, end]) => {
            let (before, rest) = found.split_once(start).unwrap_or_else(|| panic!("{file} has no {start}"));
            let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no {end}"));
            format!("{before}{start}\n{expected}{end}{after}")
        }
    };
    if std::env::var_os("OFA_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(found == wanted || std::env::var_os("OFA_BLESS").is_some(), "{file} is stale: run with OFA_BLESS=1");
}

#[test]
fn the_readme_has_the_table() {
    holds("README.md", Some(["<!-- TASKS -->", "<!-- /TASKS -->"]), &markdown());
}

#[test]
fn the_package_has_the_types() {
    holds("www/src/tasks.gen.ts", None, &typescript());
}
