//! A picture of a tree: every object with every attribute, for comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Extended attributes, ACLs among them.
pub(super) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The objects of a tree by path, without a leading `/`; everything but `var/sadm`.
pub(super) type Picture = BTreeMap<Vec<u8>, Node>;

/// An object.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds. `None` for a directory, and in an expected picture if any time is allowed.
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) xattrs: Xattrs,
    /// Names of one file have the same number; two pictures may use different numbers.
    pub(super) file: u64,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Pipe,
    Device { block: bool, numbers: (u32, u32) },
}

/// Reads everything below `root`, except `var/sadm` and its content, and old files on other file systems.
pub(super) fn picture(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let is_ours = |path: &[u8]| path == b"var/sadm" || path.ends_with(b"/.patchadm");
    walk(root, root, &is_ours, &mut picture);
    picture
}

/// Reads the database alone.
pub(super) fn database(root: &Path) -> Picture {
    let mut picture = Picture::new();
    let top = root.join("var/sadm");
    walk(&top, &top, &|_| false, &mut picture);
    picture
}

fn walk(top: &Path, at: &Path, leave_out: &dyn Fn(&[u8]) -> bool, picture: &mut Picture) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        if leave_out(&name) {
            continue;
        }
        let node = node(&path);
        if node.kind == Kind::Directory {
            walk(top, &path, leave_out, picture);
        }
        picture.insert(name, node);
    }
}

/// Reads an object itself, never the target of a symbolic link.
pub(super) fn node(path: &Path) -> Node {
    let seen = fs::symlink_metadata(path).unwrap();
    let kind = match seen.mode() & 0o170_000 {
        0o100_000 => Kind::File(fs::read(path).unwrap()),
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Symlink(fs::read_link(path).unwrap().into_os_string().into_vec()),
        0o010_000 => Kind::Pipe,
        format @ (0o020_000 | 0o060_000) => Kind::Device {
            block: format == 0o060_000,
            numbers: (rustix::fs::major(seen.rdev()), rustix::fs::minor(seen.rdev())),
        },
        format => unreachable!("{} is of type {format:o}", path.display()),
    };
    Node {
        mtime: (kind != Kind::Directory).then(|| (seen.mtime(), seen.mtime_nsec())),
        kind,
        mode: seen.mode() & 0o7777,
        uid: seen.uid(),
        gid: seen.gid(),
        xattrs: xattrs(path),
        file: seen.ino(),
    }
}

/// The extended attributes of an object; empty if the file system has none.
fn xattrs(path: &Path) -> Xattrs {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0u8; 1 << 16];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// The differences, a line for each object; empty if there are none.
pub(super) fn differences(expected: &Picture, found: &Picture) -> String {
    let (same_file, same_file_found) = (groups(expected), groups(found));
    let mut lines = Vec::new();
    let paths: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for path in paths {
        let mut different = match (expected.get(path), found.get(path)) {
            (Some(_), None) => vec!["is missing".to_owned()],
            (Some(expected), Some(found)) => expected.unlike(found),
            (None, _) => vec!["should not be there".to_owned()],
        };
        let groups = (same_file.get(path.as_slice()), same_file_found.get(path.as_slice()));
        if different.is_empty() && groups.0 != groups.1 {
            different.push(format!("is the same file as {:?} instead of {:?}", groups.1, groups.0));
        }
        lines.extend(different.into_iter().map(|what| format!("{}: {what}", path.escape_ascii())));
    }
    lines.join("\n")
}

/// Maps each name of a file with several names to the first one.
fn groups(picture: &Picture) -> BTreeMap<&[u8], String> {
    let mut names: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for (path, node) in picture.iter().filter(|(_, node)| matches!(node.kind, Kind::File(_))) {
        names.entry(node.file).or_default().push(path);
    }
    let several = names.into_values().filter(|names| names.len() > 1);
    several
        .flat_map(|names| {
            let first = names[0].escape_ascii().to_string();
            names.into_iter().map(move |name| (name, first.clone()))
        })
        .collect()
}

impl Node {
    fn unlike(&self, found: &Self) -> Vec<String> {
        let mut unlike = Vec::new();
        let mut compare = |same: bool, what: String| {
            if !same {
                unlike.push(what);
            }
        };
        compare(
            self.kind == found.kind,
            format!("is a {} instead of a {}", found.kind.shown(), self.kind.shown()),
        );
        compare(self.mode == found.mode, format!("mode {:o} instead of {:o}", found.mode, self.mode));
        let owners = |node: &Self| (node.uid, node.gid);
        compare(
            owners(self) == owners(found),
            format!("owners {:?} instead of {:?}", owners(found), owners(self)),
        );
        let time = self.mtime.is_none() || self.mtime == found.mtime;
        compare(time, format!("mtime {:?} instead of {:?}", found.mtime, self.mtime));
        compare(
            self.xattrs == found.xattrs,
            format!("xattrs {:?} instead of {:?}", found.xattrs, self.xattrs),
        );
        unlike
    }
}

impl Kind {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(bytes) => {
                let start = bytes[..bytes.len().min(20)].escape_ascii();
                format!("file of {} bytes ({start}…)", bytes.len())
            }
            Self::Directory => "directory".to_owned(),
            Self::Symlink(target) => format!("link to {}", target.escape_ascii()),
            Self::Pipe => "pipe".to_owned(),
            Self::Device { block, numbers } => format!("device {numbers:?}, block: {block}"),
        }
    }
}
