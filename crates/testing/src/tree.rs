//! A tree of files as text that can be compared: one line for each object, with everything that a backout restores.
//!
//! The columns are those of `expected/*.tree` of the shared cases, separated by tabs: path, file type bits (octal),
//! mode, uid, gid, size, SHA-256 or `->target` or `major,minor`, mtime in ns (`-` for directories and symbolic
//! links), the first name of its hard-link group after `=`, extended attributes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The names of the columns behind the path.
pub const COLUMNS: [&str; 9] = ["type", "mode", "uid", "gid", "size", "bytes", "mtime", "links", "xattrs"];

/// The objects below a directory, by path: their columns behind the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Vec<String>>);

impl Tree {
    /// Reads everything below a directory, except what is at or below one of `without`.
    pub fn of(root: &Path, without: &[&str]) -> Self {
        let mut tree = Self::default();
        let mut links: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = shown(path.strip_prefix(root).unwrap());
                let is_in = |prefix: &&str| name == **prefix || name.starts_with(&format!("{prefix}/"));
                if without.iter().any(is_in) {
                    continue;
                }
                let seen = fs::symlink_metadata(&path).unwrap();
                if seen.is_file() && seen.nlink() > 1 {
                    links.entry((seen.dev(), seen.ino())).or_default().push(name.clone());
                }
                tree.0.insert(name, columns(&path, &seen));
                if seen.is_dir() {
                    open.push(path);
                }
            }
        }
        for group in links.values().filter(|group| group.len() > 1) {
            for name in group {
                tree.0.get_mut(name).unwrap()[7] = format!("={}", group.iter().min().unwrap());
            }
        }
        tree
    }

    /// Reads a `.tree` file.
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut columns = line.split('\t').map(str::to_owned);
            (columns.next().unwrap(), columns.collect())
        };
        Self(text.lines().map(line).collect())
    }

    /// Removes owners and groups, which only root can set.
    pub fn without_owners(mut self) -> Self {
        self.0.values_mut().for_each(|columns| columns[2..4].fill("-".to_owned()));
        self
    }

    /// Returns each path with its columns.
    pub fn objects(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }

    /// Returns the line of a path; empty if nothing is there.
    pub fn line(&self, path: &str) -> String {
        self.0.get(path).map(|columns| columns.join("\t")).unwrap_or_default()
    }

    /// Returns the paths, separated by blanks.
    pub fn paths(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Returns the lines in which two trees differ: `-` those of this one, `+` those of the other.
    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        for (sign, one, another) in [('-', self, other), ('+', other, self)] {
            for (path, columns) in
                one.0.iter().filter(|(path, columns)| another.0.get(*path) != Some(columns))
            {
                let _ = writeln!(text, "{sign} {path}\t{}", columns.join("\t"));
            }
        }
        text
    }
}

/// Asserts that two trees are equal. Prints the difference on failure.
#[track_caller]
pub fn assert_same(found: &Tree, expected: &Tree) {
    let difference = expected.difference(found);
    assert!(difference.is_empty(), "- expected, + found\n{difference}");
}

/// Returns a path as text: as it is if possible, else with escapes.
fn shown(path: &Path) -> String {
    let is_plain = |text: &&str| !text.chars().any(char::is_control);
    let escaped = || path.as_os_str().as_bytes().escape_ascii().to_string();
    path.to_str().filter(is_plain).map_or_else(escaped, str::to_owned)
}

fn columns(path: &Path, seen: &fs::Metadata) -> Vec<String> {
    let (kind, link) = (seen.mode() & 0o170_000, seen.is_symlink());
    let body = match kind {
        0o100_000 => {
            let digest = Sha256::digest(fs::read(path).unwrap());
            digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        }
        0o120_000 => format!("->{}", fs::read_link(path).unwrap().display()),
        0o020_000 | 0o060_000 => {
            let device = seen.rdev();
            format!("{},{}", rustix::fs::major(device), rustix::fs::minor(device))
        }
        _ => "-".to_owned(),
    };
    let mtime = i128::from(seen.mtime()) * 1_000_000_000 + i128::from(seen.mtime_nsec());
    vec![
        format!("{kind:o}"),
        format!("{:o}", seen.mode() & 0o7777),
        seen.uid().to_string(),
        seen.gid().to_string(),
        if seen.is_dir() { "-".to_owned() } else { seen.len().to_string() },
        body,
        if seen.is_dir() || link { "-".to_owned() } else { mtime.to_string() },
        "-".to_owned(),
        if link { "-".to_owned() } else { xattrs(path) },
    ]
}

/// Returns `name=hexadecimal value`, sorted, separated by commas; `-` if there are none or the file system has none.
fn xattrs(path: &Path) -> String {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let mut found: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 1 << 16];
            let name = std::ffi::OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap_or(0);
            let hex = value[..length].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            format!("{}={hex}", name.to_str().unwrap())
        })
        .collect();
    found.sort();
    if found.is_empty() { "-".to_owned() } else { found.join(",") }
}
