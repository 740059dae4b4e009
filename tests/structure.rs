//! The direction of the dependencies between the rooms.

use std::collections::BTreeSet;
use std::path::Path;

/// For each room the rooms it may name. What is missing from a row is forbidden there.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("error", &[]),
    ("config", &["error"]),
    ("kernels", &["config", "error"]),
    ("model", &["config", "error", "kernels"]),
    ("device", &["error", "kernels"]),
    ("vocab", &["config", "error"]),
    ("image", &["error"]),
    ("task", &["config", "error", "image", "vocab"]),
    ("generate", &["config", "error"]),
    ("weights", &["config", "error", "kernels", "model", "vocab"]),
    ("predict", &["config", "error", "generate", "image", "kernels", "model", "task", "vocab", "weights"]),
    ("train", &["config", "error", "generate", "image", "kernels", "model", "predict", "task", "vocab", "weights"]),
    ("wasm", &["config", "device", "error", "image", "parity", "predict", "task", "vocab", "weights"]),
    ("cli", &["config", "device", "error", "image", "model", "parity", "predict", "task", "train", "vocab", "weights"]),
];

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push((entry.display().to_string(), std::fs::read_to_string(&entry).unwrap()));
        }
    }
}

fn files_of(room: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (file, folder) = (src.join(format!("{room}.rs")), src.join(room));
    let mut found = Vec::new();
    if file.is_file() {
        found.push((file.display().to_string(), std::fs::read_to_string(&file).unwrap()));
    }
    if folder.is_dir() {
        sources(&folder, &mut found);
    }
    found
}

/// Code without its comments, whose links may point anywhere.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn names_after<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let end = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    text.split(prefix).skip(1).map(|rest| &rest[..end(rest)]).collect()
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_USE {
        for (file, text) in files_of(room) {
            for name in names_after(&code(&text), "crate::") {
                if name != room && !name.is_empty() && !allowed.contains(&name) {
                    wrong.push(format!("{file}: {room} may not use {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_door_to_javascript_names_it_and_only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for (room, _) in MAY_USE {
        for (file, text) in files_of(room) {
            let text = code(&text);
            let javascript = ["wasm_bindgen", "js_sys", "web_sys"].iter().any(|name| text.contains(name));
            if javascript && room != "wasm" {
                wrong.push(format!("{file} names JavaScript"));
            }
            let prints = ["println!", "print!", "eprintln!", "eprint!", "dbg!"].iter().any(|name| text.contains(name));
            if prints && room != "cli" {
                wrong.push(format!("{file} prints"));
            }
            let files = text.contains("std::fs") || text.contains("use std::fs");
            if files && ["model", "kernels", "vocab", "image", "task", "generate"].contains(&room) {
                wrong.push(format!("{file} touches files"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_does_not_unwrap() {
    let mut wrong = Vec::new();
    for (room, _) in MAY_USE {
        for (file, text) in files_of(room) {
            let library = text.split("#[cfg(test)]").next().unwrap_or_default();
            let library = library.split("#[cfg(all(test").next().unwrap_or_default();
            if code(library).contains(".unwrap()") {
                wrong.push(file);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
