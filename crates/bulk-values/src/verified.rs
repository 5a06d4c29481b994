//! Notes about verified files of results. An unchanged file need not be read again; without notes, all are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::result::Blake3Digest;

const VERSION: u32 = 1;

/// Status of a file when it was read, and its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedFile {
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the inode, in nanoseconds since 1970.
    pub ctime: i64,
    pub digest: Blake3Digest,
}

/// By path below the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedFiles {
    files: BTreeMap<String, VerifiedFile>,
    has_changed: bool,
}

#[derive(Serialize, Deserialize)]
struct NotesVersion {
    verified: u32,
}

#[derive(Serialize, Deserialize)]
struct NoteLine {
    file: String,
    #[serde(flatten)]
    state: VerifiedFile,
}

impl VerifiedFiles {
    /// Another version or an invalid line gives empty notes.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let version = lines.next().and_then(|line| serde_json::from_slice::<NotesVersion>(line).ok());
        if version.is_none_or(|line| line.verified != VERSION) {
            return Self::default();
        }
        let files =
            lines.map(|line| serde_json::from_slice::<NoteLine>(line).map(|line| (line.file, line.state)));
        let files = files.collect::<Result<_, _>>().unwrap_or_default();
        Self { files, has_changed: false }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Numbers and strings, written to memory: this cannot fail.
        let _ = serde_json::to_writer(&mut out, &NotesVersion { verified: VERSION });
        out.push(b'\n');
        for (file, state) in &self.files {
            let _ = serde_json::to_writer(&mut out, &NoteLine { file: file.clone(), state: *state });
            out.push(b'\n');
        }
        out
    }

    /// True if this state of a file is noted.
    pub fn has(&self, file: &str, state: &VerifiedFile) -> bool {
        self.files.get(file) == Some(state)
    }

    pub fn note(&mut self, file: String, state: VerifiedFile) {
        self.has_changed = true;
        self.files.insert(file, state);
    }

    pub fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        let before = self.files.len();
        self.files.retain(|file, _| is_kept(file));
        self.has_changed |= self.files.len() != before;
    }

    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn state(inode: u64, digest: Blake3Digest) -> VerifiedFile {
        VerifiedFile { inode, size: 7, ctime: -1, digest }
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let digest = Blake3Digest::of(b"x");
        let mut notes = VerifiedFiles::default();
        notes.note("ab/abc/x.pkg".to_owned(), state(1, digest));
        notes.note("cd/cde/y \"quoted\"".to_owned(), state(2, digest));
        assert!(notes.has_changed());
        let mut read = VerifiedFiles::parse(&notes.to_bytes());
        assert!(!read.has_changed());
        assert!(read.has("ab/abc/x.pkg", &state(1, digest)));
        assert!(!read.has("ab/abc/x.pkg", &state(2, digest)));
        assert!(!read.has("ab/abc/x.pkg", &state(1, Blake3Digest::of(b"y"))));
        read.retain(|file| file.starts_with("cd"));
        assert!(read.has_changed() && !read.has("ab/abc/x.pkg", &state(1, digest)));
    }

    #[test]
    fn what_is_no_note_makes_all_of_them_nothing() {
        let mut notes = VerifiedFiles::default();
        notes.note("x".to_owned(), state(1, Blake3Digest::of(b"x")));
        let mut bytes = notes.to_bytes();
        bytes.extend(b"{\"file\":\"y\"}\n");
        for damaged in [&bytes[..], b"", b"{\"verified\":2}\n", b"\xff\n"] {
            assert_eq!(VerifiedFiles::parse(damaged), VerifiedFiles::default());
        }
    }
}
