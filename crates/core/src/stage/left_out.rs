//! Objects that no promotion takes and no stage gets: sockets, files that name a running process, and what the operator
//! excludes.

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

    /// Whether a pattern names a path, or a directory above it.
    pub fn excludes(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|pattern| pattern.names_it_or_above(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
