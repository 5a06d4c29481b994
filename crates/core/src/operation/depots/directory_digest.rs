//! The digest of a directory: that of `find -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort`, with
//! unescaped names. Empty directories do not count; other types of objects and names with a line feed are an error.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_inputs::cache::{ObjectDigest, digest_of_file};
use patchadm_inputs::input_file::{InputDirectory, InputFile, InputKind};
use patchadm_inputs::sign::{sha256, sha256_text};

const DEEPEST: usize = 256;

const MOST_FILES: usize = 1_000_000;

pub(super) enum DirectoryPart<'a> {
    File(&'a Path, &'a Metadata),
    Bytes(&'a [u8]),
}

/// Returns the digest of the list, and the total size.
fn digest_of_directory(directory: &Path) -> io::Result<ObjectDigest> {
    digest_of_parts(&InputDirectory::open(directory)?, directory, &mut |_| Ok(()))
}

/// Passes each part of a directory to `each`, whose error ends the reading. `shown` is its path in messages.
pub(super) fn digest_of_parts<E: From<io::Error>>(
    inside: &InputDirectory,
    shown: &Path,
    each: &mut dyn FnMut(DirectoryPart<'_>) -> Result<(), E>,
) -> Result<ObjectDigest, E> {
    let (mut lines, mut size) = (BTreeSet::new(), 0_u64);
    for path in files_inside(inside, shown)? {
        let mut file = inside.file(&path)?;
        each(DirectoryPart::File(&path, &file.metadata()?))?;
        let found = digest_of_file(&mut file, |bytes| each(DirectoryPart::Bytes(bytes)))?;
        let mut line = format!("{}  ", found.sha256).into_bytes();
        line.extend_from_slice(path.as_os_str().as_bytes());
        line.push(b'\n');
        lines.insert(line);
        size = size.saturating_add(found.size);
    }
    let list: Vec<u8> = lines.into_iter().flatten().collect();
    Ok(ObjectDigest { sha256: sha256_text(&sha256(&list)), size })
}

/// Digests a file or a directory.
pub(in crate::operation) fn digest_of_patch(path: &Path) -> io::Result<String> {
    if path.is_dir() {
        return Ok(digest_of_directory(path)?.sha256);
    }
    Ok(digest_of_file::<io::Error>(&mut InputFile::open(path)?, |_| Ok(()))?.sha256)
}

/// Relative paths. Links, devices and the like are an error, and so is a line feed in a name.
pub(in crate::operation) fn files_of_directory(directory: &Path) -> io::Result<Vec<PathBuf>> {
    files_inside(&InputDirectory::open(directory)?, directory)
}

pub(super) fn files_inside(inside: &InputDirectory, shown: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list((inside, shown), Path::new(""), 0, &mut files)?;
    files.sort();
    Ok(files)
}

/// Entries with their kinds; of one more than [`MOST_FILES`], the others are left out.
fn entries_of(inside: &InputDirectory, below: &Path) -> io::Result<Vec<(OsString, InputKind)>> {
    let here = inside.directory(if below == Path::new("") { Path::new(".") } else { below })?;
    let mut entries = Vec::new();
    here.each_entry(|name, kind| {
        if entries.len() <= MOST_FILES {
            entries.push((OsStr::from_bytes(name).to_owned(), kind));
        }
    })?;
    let with_kind = |(name, kind): (OsString, Option<InputKind>)| {
        if let Some(kind) = kind {
            return Ok((name, kind));
        }
        let seen = here.entry(Path::new(&name))?;
        let kind = if seen.is_dir() {
            InputKind::Directory
        } else if seen.is_file() {
            InputKind::File
        } else {
            InputKind::Other
        };
        Ok::<_, io::Error>((name, kind))
    };
    entries.into_iter().map(with_kind).collect()
}

fn list(
    (inside, top): (&InputDirectory, &Path),
    below: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let refused = |path: &Path, reason| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} {reason}", top.join(path).display()))
    };
    if depth > DEEPEST {
        return Err(refused(below, "has directories that are nested too deeply"));
    }
    let entries = entries_of(inside, below)?;
    if entries.len() > MOST_FILES {
        return Err(refused(Path::new(""), "has too many files"));
    }
    for (name, kind) in entries {
        // In a list of lines, one such name may stand for several files.
        if name.as_bytes().contains(&b'\n') {
            return Err(refused(below, "holds a name with a line feed"));
        }
        let path = below.join(name);
        match kind {
            InputKind::Directory => list((inside, top), &path, depth + 1, files)?,
            InputKind::File if files.len() < MOST_FILES => files.push(path),
            InputKind::File => return Err(refused(Path::new(""), "has too many files")),
            InputKind::Other => return Err(refused(&path, "is neither a file nor a directory")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_digest_is_that_of_what_sha256sum_prints() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir_all(at.path().join("a/empty")).unwrap();
        fs::write(at.path().join("a/x"), "x").unwrap();
        fs::write(at.path().join("b"), "").unwrap();
        let list = format!("{}  a/x\n{}  b\n", sha256_text(&sha256(b"x")), sha256_text(&sha256(b"")));
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        let sorted = lines.join("\n") + "\n";
        let found = digest_of_directory(at.path()).unwrap();
        assert_eq!(found, ObjectDigest { sha256: sha256_text(&sha256(sorted.as_bytes())), size: 1 });
    }

    #[test]
    fn a_name_with_a_line_feed_has_no_digest() {
        let at = tempfile::tempdir().unwrap();
        let line = format!("{}  b", sha256_text(&sha256(b"")));
        fs::create_dir(at.path().join("d")).unwrap();
        for name in [format!("d/a\n{line}"), "d/\n".to_owned()] {
            fs::write(at.path().join(&name), "").unwrap();
            let error = digest_of_directory(at.path()).unwrap_err().to_string();
            assert!(error.ends_with("/d holds a name with a line feed"), "{error}");
            fs::remove_file(at.path().join(name)).unwrap();
        }
        fs::write(at.path().join(r"d/dev-x\x2dy.device"), "").unwrap();
        digest_of_directory(at.path()).unwrap();
    }

    #[test]
    fn a_link_has_no_digest() {
        let at = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at.path().join("l")).unwrap();
        let error = digest_of_directory(at.path()).unwrap_err().to_string();
        assert!(error.ends_with("/l is neither a file nor a directory"), "{error}");
    }
}
