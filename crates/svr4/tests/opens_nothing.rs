//! The library turns bytes into values and back, and does nothing else: its sources are searched for everything else
//! that it could do.

#![allow(clippy::unwrap_used)] // all of it is a test

use std::fs;
use std::path::{Path, PathBuf};

/// Code that opens a file or connection, starts a thread or program, asks a clock or the environment, prints, or ends
/// the process.
const DOINGS: [&str; 17] = [
    "std::fs",
    "fs::",
    "File::open",
    "OpenOptions",
    "std::net",
    "std::os",
    "std::thread",
    "thread::",
    "std::process",
    "process::",
    "std::env",
    "env::",
    "SystemTime",
    "Instant",
    "Local::now",
    "println!",
    "unsafe",
];

/// The switch of this project's own test suite, which reads the environment in a build for that suite only.
const SWITCH: &str = "#[cfg(feature = \"rules-left-out\")]";

#[test]
fn the_library_opens_no_file_starts_no_thread_and_asks_neither_clock_nor_environment() {
    let mut found = Vec::new();
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 30, "{sources:?}");
    for file in sources {
        let text = fs::read_to_string(&file).unwrap();
        let library = text.split("mod tests {").next().unwrap_or_default();
        let library = library.split(SWITCH).next().unwrap_or_default();
        for (number, line) in library.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let doings = DOINGS.iter().filter(|doing| code.contains(**doing));
            found.extend(doings.map(|doing| format!("{}:{}: {doing}", file.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The files of the library without those that hold tests only.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if !path.file_stem().unwrap().to_str().unwrap().ends_with("tests") {
            found.push(path);
        }
    }
    found
}
