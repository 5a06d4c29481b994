//! Digests of files and directories of the host, and the evidence that they have not changed since.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use patchadm_inputs::input_file::InputFile;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{Sha256Sum, sha256_text};

/// Directories inside directories, at most.
const DEEPEST: usize = 256;

/// Bytes read at once.
const BUFFER: usize = 1 << 17;

/// The known facts about a package before it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InputDigest {
    /// The SHA-256 of the file, in hexadecimal digits; of a directory that of its names, types and contents.
    pub(super) sha256: String,
    /// The bytes of all files.
    pub(super) size: u64,
    /// A digest of what the system says of each file: it is another one after a change.
    pub(super) stamp: Sha256Sum,
}

/// The two digests of an input while it is read.
struct InputSums {
    content: Sha256,
    stamp: Sha256,
    size: u64,
    buffer: Vec<u8>,
    /// Whether contents are read.
    reads: bool,
}

impl InputDigest {
    /// Reads a file, or a directory with all below it. A link is followed at the top only.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let sums = InputSums::of(path, true)?;
        let sha256 = sha256_text(&sums.content.finalize());
        Ok(Self { sha256, size: sums.size, stamp: sums.stamp.finalize() })
    }

    /// Tells whether nothing was changed since.
    pub(super) fn is_still(&self, path: &Path) -> io::Result<bool> {
        Ok(self.stamp == InputSums::of(path, false)?.stamp.finalize())
    }
}

/// Computes the SHA-256 of what a reader gives.
pub(super) fn sha256_of(input: &mut impl Read) -> io::Result<Sha256Sum> {
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    while let Some(bytes) = next(input, &mut buffer)? {
        sum.update(bytes);
    }
    Ok(sum.finalize())
}

/// Reads the next bytes; none at the end.
fn next<'b>(input: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let count = loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    Ok(buffer.get(..count).filter(|bytes| !bytes.is_empty()))
}

impl InputSums {
    fn of(path: &Path, reads: bool) -> io::Result<Self> {
        let buffer = if reads { vec![0; BUFFER] } else { Vec::new() };
        let mut sums = Self { content: Sha256::new(), stamp: Sha256::new(), size: 0, buffer, reads };
        let seen = std::fs::metadata(path)?;
        if seen.is_dir() {
            sums.directory(path, &seen, 0)?;
        } else {
            sums.file(path, &seen)?;
        }
        Ok(sums)
    }

    fn directory(&mut self, path: &Path, seen: &Metadata, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "directories are nested too deeply"));
        }
        self.stamp_of(seen);
        let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let inside = path.join(&name);
            let seen = inside.symlink_metadata()?;
            // Neither a name nor a count can be taken for something else: each has its length before it.
            self.put(if seen.is_dir() { b"d" } else { b"f" });
            self.put_counted(name.as_bytes());
            if seen.is_dir() {
                self.directory(&inside, &seen, depth + 1)?;
                self.put(b"e");
            } else if seen.is_file() {
                self.put(&seen.len().to_be_bytes());
                self.file(&inside, &seen)?;
            } else {
                self.stamp_of(&seen);
                let target = std::fs::read_link(&inside).unwrap_or_default();
                self.put_counted(target.as_os_str().as_bytes());
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, seen: &Metadata) -> io::Result<()> {
        self.stamp_of(seen);
        if !seen.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a directory"));
        }
        self.size += seen.len();
        if self.reads {
            let mut file = InputFile::open(path)?;
            while let Some(bytes) = next(&mut file, &mut self.buffer)? {
                self.content.update(bytes);
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.content.update(bytes);
    }

    fn put_counted(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u64).to_be_bytes());
        self.put(bytes);
    }

    fn stamp_of(&mut self, seen: &Metadata) {
        let numbers = [seen.dev(), seen.ino(), seen.size(), u64::from(seen.mode())];
        let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
        let bytes = numbers.iter().map(|number| number.to_be_bytes());
        for bytes in bytes.chain(times.iter().map(|time| time.to_be_bytes())) {
            self.stamp.update(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_digest_of_a_file_is_that_of_sha256sum() {
        let dir = tree(&[("a", "2")]);
        let found = InputDigest::of(&dir.path().join("a")).unwrap();
        assert_eq!(found.sha256, "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35");
        assert_eq!(found.size, 1);
    }

    #[test]
    fn a_directory_has_the_digest_of_its_names_and_contents_wherever_it_is() {
        let of = |files: &[(&str, &str)]| InputDigest::of(tree(files).path()).unwrap().sha256;
        let first = of(&[("a/b", "x"), ("c", "y")]);
        assert_eq!(first, of(&[("c", "y"), ("a/b", "x")]));
        for other in [&[("a/b", "x"), ("c", "z")][..], &[("a/c", "x"), ("c", "y")], &[("a", "x"), ("c", "y")]]
        {
            assert_ne!(first, of(other), "{other:?}");
        }
        assert_ne!(of(&[("a", ""), ("b", "")]), of(&[("a", "b")]));
    }

    #[test]
    fn a_file_that_is_exchanged_for_one_of_the_same_bytes_is_another_one() {
        let dir = tree(&[("p/a", "x")]);
        let before = InputDigest::of(dir.path()).unwrap();
        assert!(before.is_still(dir.path()).unwrap());
        fs::write(dir.path().join("new"), "x").unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("p/a")).unwrap();
        assert!(!before.is_still(dir.path()).unwrap());
        assert_eq!(InputDigest::of(dir.path()).unwrap().sha256, before.sha256);
    }
}
