//! What a tree is like, object by object: everything that a backout must restore.
//!
//! A row has the columns of the lists of expected trees, separated by tabs: type bits (octal), mode, uid, gid, size,
//! SHA-256 or `->target` or device numbers, mtime in nanoseconds (`-` for directories and symbolic links), the first
//! name of the hard-link group, extended attributes in hexadecimal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use patchadm::format::params::ParamFile;
use sha2::{Digest, Sha256};

/// The objects below a directory, by path without a leading `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Everything that is below `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let mut rows = BTreeMap::new();
        let mut first_names = BTreeMap::new();
        walk(root, root, &mut rows, &mut first_names);
        let rows = rows.into_iter().map(|(path, (row, group))| {
            let names: Option<&Vec<String>> = group.and_then(|inode| first_names.get(&inode));
            let group = names
                .filter(|names| names.len() > 1)
                .map_or("-".to_owned(), |names| format!("={}", names[0]));
            (path, row.replace("@GROUP@", &group))
        });
        Self(rows.collect())
    }

    /// A list of expected rows, as it stands in a file.
    pub(crate) fn parse(text: &str) -> Self {
        let rows = text.lines().map(|line| line.split_once('\t').unwrap());
        Self(rows.map(|(path, row)| (path.to_owned(), row.to_owned())).collect())
    }

    /// Without what is at or below these paths.
    pub(crate) fn without(mut self, paths: &[&str]) -> Self {
        let is_below = |path: &str, top: &str| path == top || path.starts_with(&format!("{top}/"));
        self.0.retain(|path, _| !paths.iter().any(|top| is_below(path, top)));
        self
    }

    /// What patches change: everything outside the package database.
    pub(crate) fn software(self) -> Self {
        self.without(&["var/sadm"])
    }

    /// Without owner and group, which only root can give away.
    pub(crate) fn without_owners(self) -> Self {
        let blank = |row: String| {
            let mut columns: Vec<&str> = row.split('\t').collect();
            (columns[2], columns[3]) = ("-", "-");
            columns.join("\t")
        };
        Self(self.0.into_iter().map(|(path, row)| (path, blank(row))).collect())
    }

    /// The columns of an object.
    pub(crate) fn row(&self, path: &str) -> Option<&str> {
        self.0.get(path.trim_start_matches('/')).map(String::as_str)
    }

    fn is_directory(&self, path: &str) -> bool {
        self.row(path).is_some_and(|row| row.starts_with("40000\t"))
    }

    /// The paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What is not the same in `other`, a line per object.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, row) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("- {path}\t{row}")),
                Some(now) if now != row => lines.push(format!("< {path}\t{row}\n> {path}\t{now}")),
                Some(_) => {}
            }
        }
        let added = other.0.iter().filter(|(path, _)| !self.0.contains_key(*path));
        lines.extend(added.map(|(path, row)| format!("+ {path}\t{row}")));
        lines
    }

    /// Ends the test with the differences, if there are any.
    #[track_caller]
    pub(crate) fn assert_is(&self, other: &Self, when: &str) {
        let differences = self.differences(other);
        assert!(differences.is_empty(), "{when}:\n{}", differences.join("\n"));
    }
}

type Rows = BTreeMap<String, (String, Option<u64>)>;

fn walk(root: &Path, directory: &Path, rows: &mut Rows, groups: &mut BTreeMap<u64, Vec<String>>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let is_directory = entry.file_type().unwrap().is_dir();
        let row = row(&path);
        if let Some(inode) = row.1 {
            groups.entry(inode).or_default().push(name.clone());
        }
        rows.insert(name, row);
        if is_directory {
            walk(root, &path, rows, groups);
        }
    }
}

/// The columns, with `@GROUP@` for the hard-link group, and the inode where there may be one.
fn row(path: &Path) -> (String, Option<u64>) {
    let seen = fs::symlink_metadata(path).unwrap();
    let kind = seen.file_type();
    let body = if kind.is_file() {
        Sha256::digest(fs::read(path).unwrap()).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    } else if kind.is_symlink() {
        format!("->{}", fs::read_link(path).unwrap().to_string_lossy())
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("{},{}", rustix::fs::major(seen.rdev()), rustix::fs::minor(seen.rdev()))
    } else {
        "-".to_owned()
    };
    let mtime = if kind.is_dir() || kind.is_symlink() {
        "-".to_owned()
    } else {
        (i128::from(seen.mtime()) * 1_000_000_000 + i128::from(seen.mtime_nsec())).to_string()
    };
    let size = if kind.is_dir() { "-".to_owned() } else { seen.size().to_string() };
    let (bits, mode) = (seen.mode() & 0o170_000, seen.mode() & 0o7777);
    let attributes = if kind.is_symlink() { "-".to_owned() } else { attributes(path) };
    let row = format!(
        "{bits:o}\t{mode:o}\t{}\t{}\t{size}\t{body}\t{mtime}\t@GROUP@\t{attributes}",
        seen.uid(),
        seen.gid()
    );
    (row, (kind.is_file() && seen.nlink() > 1).then(|| seen.ino()))
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0; 65_536];
    let Ok(length) = rustix::fs::listxattr(path, &mut names) else { return "-".to_owned() };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65_536];
        let name = std::ffi::OsStr::from_bytes(name);
        let Ok(length) = rustix::fs::getxattr(path, name, &mut value) else { continue };
        let hex = value[..length].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        found.push(format!("{}={hex}", name.to_string_lossy()));
    }
    found.sort();
    if found.is_empty() { "-".to_owned() } else { found.join(",") }
}

/// The package database as it must be again after a backout: everything below `var/sadm` but journal, history and
/// lock, without what a backout may leave behind (an emptied PATCHLIST and PATCH_OBSOLETES, `backed out`, the trailer
/// of `contents`, directories that hold nothing).
pub(crate) fn records(root: &Path) -> BTreeMap<String, String> {
    let ours = ["var/sadm/patchadm", "var/sadm/install/.lockfile"];
    let all = Tree::of(root).without(&ours);
    let holds_something = |path: &str, row: &str| {
        !row.starts_with("40000")
            || all.paths().any(|other| other.starts_with(&format!("{path}/")) && !all.is_directory(other))
    };
    let paths =
        all.0.iter().filter(|(path, row)| path.starts_with("var/sadm/") && holds_something(path, row));
    paths
        .map(|(path, row)| (path.clone(), row.clone()))
        .map(|(path, row)| {
            let file = root.join(&path);
            let said = if path.ends_with("/pkginfo") && !path.contains("/pspool/") {
                said(&fs::read(&file).unwrap())
            } else if path == "var/sadm/install/contents" {
                let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
                text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
            } else {
                row
            };
            (path, said)
        })
        .collect()
}

/// What a pkginfo says, without what may be left of patches that were backed out.
fn said(pkginfo: &[u8]) -> String {
    let params = ParamFile::parse(pkginfo).unwrap().params();
    let is_left = |name: &str, value: &[u8]| {
        (value.is_empty() && (name == "PATCHLIST" || name == "PATCH_OBSOLETES"))
            || (name.starts_with("PATCH_INFO_") && value == b"backed out")
    };
    let kept = params.iter().filter(|(name, value)| !is_left(name, value));
    kept.map(|(name, value)| format!("{name}={}\n", String::from_utf8_lossy(value))).collect()
}
