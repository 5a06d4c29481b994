//! Additional mounts for processes in a stage: `[rw:]SRC[:DST]`, as an option or a line of a mounts file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::identity::StageFileError;

const MOST: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountWord {
    /// Absolute, on the host.
    pub source: OsString,
    /// Absolute, inside the stage.
    pub place: OsString,
    pub is_writable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountWordError {
    #[error("<{0}>: the path on the host must begin with /")]
    Source(String),
    #[error("<{0}>: the path inside must begin with /")]
    Place(String),
    #[error("<{0}>: a path cannot contain a colon")]
    Colon(String),
}

impl MountWord {
    /// Parses a mount. Paths with a colon are not possible.
    pub fn parse(word: &OsStr) -> Result<Self, MountWordError> {
        let shown = || word.display().to_string();
        let text = word.as_bytes();
        let (is_writable, paths) = match text.strip_prefix(b"rw:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = paths.split(|&byte| byte == b':');
        let source = parts.next().unwrap_or_default();
        let place = parts.next().unwrap_or(source);
        if parts.next().is_some() {
            return Err(MountWordError::Colon(shown()));
        }
        if !source.starts_with(b"/") {
            return Err(MountWordError::Source(shown()));
        }
        if !place.starts_with(b"/") {
            return Err(MountWordError::Place(shown()));
        }
        let owned = |path: &[u8]| OsString::from_vec(path.to_vec());
        Ok(Self { source: owned(source), place: owned(place), is_writable })
    }
}

/// Parses a mounts file: one mount a line; `#` begins a comment.
pub fn parse_mounts(text: &[u8]) -> Result<Vec<MountWord>, StageFileError> {
    let mut mounts = Vec::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let fault = |reason: String| StageFileError::at(at + 1, reason);
        let word = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if word.is_empty() {
            continue;
        }
        if mounts.len() == MOST {
            return Err(fault(format!("there are more than {MOST} mounts")));
        }
        mounts.push(MountWord::parse(OsStr::from_bytes(word)).map_err(|error| fault(error.to_string()))?);
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str) -> Result<(String, String, bool), String> {
        let shown = |path: &OsString| path.to_string_lossy().into_owned();
        let read = MountWord::parse(OsStr::new(text)).map_err(|error| error.to_string())?;
        Ok((shown(&read.source), shown(&read.place), read.is_writable))
    }

    #[test]
    fn a_mount_is_read_only_and_at_the_same_place_unless_it_says_otherwise() {
        let expected = |source: &str, place: &str, rw| Ok((source.to_owned(), place.to_owned(), rw));
        assert_eq!(word("/usr/src"), expected("/usr/src", "/usr/src", false));
        assert_eq!(word("rw:/home/build"), expected("/home/build", "/home/build", true));
        assert_eq!(word("rw:/home/build:/src"), expected("/home/build", "/src", true));
        for bad in ["", "usr/src", "rw:", "/a:b", "/a:", "/a:/b:/c", "ro:/a"] {
            assert!(word(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mounts_file_has_comments_and_a_fault_has_its_line() {
        let mounts =
            parse_mounts(b"# of the host\n/usr/pkgsrc  # the sources\n\n rw:/home/build:/src \n").unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[1].place, "/src");
        assert_eq!(parse_mounts(b"/a\n\nb\n").unwrap_err().line, 3);
        assert!(parse_mounts("/a\n".repeat(MOST + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse_mounts(&bytes);
        }
    }
}
