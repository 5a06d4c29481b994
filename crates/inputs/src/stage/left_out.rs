//! Objects that no promotion takes and no stage gets: sockets, files that name a running process, and those that the
//! operator excludes.

use super::error::StageFileError;
use crate::path_glob::PathGlob;
use patchadm_rootfs::FileType;
use patchadm_svr4::package::ObjectPath;

/// Patterns of the operator beside what is always left out.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(Vec<PathGlob>);

/// Why an object is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// It is a socket.
    Socket,
    /// Its name is that of a file with the number of a process (`*.pid`).
    Volatile,
    /// A pattern names it, or a directory above it.
    Excluded,
}

impl LeftReason {
    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Volatile => "volatile",
            Self::Excluded => "excluded",
        }
    }
}

impl LeftOut {
    /// Makes the list of what is left out by these patterns.
    pub fn by(patterns: Vec<PathGlob>) -> Self {
        Self(patterns)
    }

    /// Reads patterns that [`write`](Self::write) wrote.
    pub fn parse(text: &[u8]) -> Result<Vec<PathGlob>, StageFileError> {
        let texts: Vec<String> =
            serde_json::from_slice(text).map_err(|error| StageFileError::at(1, error.to_string()))?;
        let patterns = texts.iter().map(|text| PathGlob::parse(text));
        let patterns = patterns.collect::<Result<Vec<_>, _>>();
        patterns.map_err(|error| StageFileError::at(1, error.to_string()))
    }

    /// Writes patterns as a file of a stage has them.
    pub fn write(patterns: &[PathGlob]) -> Vec<u8> {
        let texts: Vec<&str> = patterns.iter().map(PathGlob::as_str).collect();
        let mut line = serde_json::json!(texts).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// Returns why an object is left out, if it is. What lies below a directory that is left out is not asked for.
    pub fn reason(&self, path: &ObjectPath, file_type: FileType) -> Option<LeftReason> {
        if self.0.iter().any(|pattern| pattern.names(path)) {
            return Some(LeftReason::Excluded);
        }
        match file_type {
            FileType::Socket => Some(LeftReason::Socket),
            FileType::Directory => None,
            _ => path.name().ends_with(b".pid").then_some(LeftReason::Volatile),
        }
    }

    /// Tells whether a pattern names a path, or a directory above it.
    pub fn excludes(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|pattern| pattern.names_it_or_above(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_they_were_written_and_others_are_damage() {
        let patterns = ["*.bak", "var/*/log", "a\nb\"%"].map(|text| PathGlob::parse(text).unwrap());
        let read = LeftOut::parse(&LeftOut::write(&patterns)).unwrap();
        let texts =
            |patterns: &[PathGlob]| patterns.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&read), texts(&patterns));
        for damaged in [&b""[..], b"[\"*.bak\"", b"[1]", b"[\"\"]", b"[\"[\"]"] {
            assert!(LeftOut::parse(damaged).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn sockets_files_of_processes_and_what_a_pattern_names_are_left_out() {
        let left = LeftOut::by(vec![PathGlob::parse("*.bak").unwrap(), PathGlob::parse("var/log").unwrap()]);
        let reason = |path: &str, file_type| {
            left.reason(&ObjectPath::new(path.as_bytes()).unwrap(), file_type).map(LeftReason::word)
        };
        assert_eq!(reason("/run/a", FileType::Socket), Some("socket"));
        assert_eq!(reason("/run/a.pid", FileType::Regular), Some("volatile"));
        assert_eq!(reason("/run/a.pid", FileType::Directory), None);
        assert_eq!(reason("/usr/a.bak", FileType::Regular), Some("excluded"));
        assert_eq!(reason("/var/log", FileType::Directory), Some("excluded"));
        assert_eq!(reason("/usr/a", FileType::Regular), None);
        assert!(left.excludes(&ObjectPath::new(b"/var/log/a/b").unwrap()));
        assert_eq!(LeftOut::default().reason(&ObjectPath::new(b"/a.bak").unwrap(), FileType::Regular), None);
    }
}
