//! The staged paths, and the objects below them that are left out.

use super::identity::StageFileError;
use crate::path_glob::PathGlob;
use patchadm_rootfs::FileType;
use patchadm_svr4::package::{Mode, ObjectPath, PathError};

/// None is inside another one; `/` alone is the whole root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<ObjectPath>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("no path was given")]
    Empty,
    #[error("{inner} lies inside {outer}: specify one of them only")]
    Nested { inner: ObjectPath, outer: ObjectPath },
    #[error("there are more than 1000 paths")]
    TooMany,
}

/// Parses a path of a root, with or without a `/` at the beginning.
pub fn staged_path(text: &[u8]) -> Result<ObjectPath, PathError> {
    ObjectPath::new(&[b"/", text].concat())
}

impl Scope {
    const MOST: usize = 1000;

    pub fn all() -> Self {
        Self(vec![ObjectPath::root()])
    }

    pub fn new(mut paths: Vec<ObjectPath>) -> Result<Self, ScopeError> {
        if paths.is_empty() {
            return Err(ScopeError::Empty);
        }
        if paths.len() > Self::MOST {
            return Err(ScopeError::TooMany);
        }
        paths.sort();
        for (at, inner) in paths.iter().enumerate() {
            let is_outer = |outer: &&ObjectPath| inner == *outer || inner.is_below(outer);
            if let Some(outer) = paths.iter().take(at).find(is_outer) {
                return Err(ScopeError::Nested { inner: inner.clone(), outer: outer.clone() });
            }
        }
        Ok(Self(paths))
    }

    /// Returns the paths, sorted.
    pub fn paths(&self) -> &[ObjectPath] {
        &self.0
    }

    pub fn is_all(&self) -> bool {
        self.0.iter().any(|path| path.relative().is_empty())
    }

    pub fn contains(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|top| path == top || path.is_below(top))
    }

    /// Returns the first path of another scope that is not in this one.
    pub fn lacks<'a>(&self, other: &'a Self) -> Option<&'a ObjectPath> {
        other.0.iter().find(|path| !self.contains(path))
    }
}

/// Patterns of the operator, in addition to objects that are always left out.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(Vec<PathGlob>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    Socket,
    Volatile,
    /// A pattern matches it, or a directory above it.
    Excluded,
}

impl LeftReason {
    /// Returns the word for JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Volatile => "volatile",
            Self::Excluded => "excluded",
        }
    }
}

impl LeftOut {
    pub fn by(patterns: Vec<PathGlob>) -> Self {
        Self(patterns)
    }

    /// Parses patterns in the form of [`write`](Self::write).
    pub fn parse(text: &[u8]) -> Result<Vec<PathGlob>, StageFileError> {
        let texts: Vec<String> =
            serde_json::from_slice(text).map_err(|error| StageFileError::at(1, error.to_string()))?;
        let patterns = texts.iter().map(|text| PathGlob::parse(text));
        let patterns = patterns.collect::<Result<Vec<_>, _>>();
        patterns.map_err(|error| StageFileError::at(1, error.to_string()))
    }

    /// Formats patterns for a file of a stage.
    pub fn write(patterns: &[PathGlob]) -> Vec<u8> {
        let texts: Vec<&str> = patterns.iter().map(PathGlob::as_str).collect();
        let mut line = serde_json::json!(texts).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// Returns why an object is left out. Objects below a directory that is left out are not examined.
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

    pub fn excludes(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|pattern| pattern.names_it_or_above(path))
    }
}

const SET_ID: u32 = 0o6000;

/// Compared between a stage and a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedAttributes {
    /// Compare owners, set-id bits, and attributes of `security` and `trusted`: a copy made without privileges cannot
    /// have them.
    pub owners: bool,
}

impl ComparedAttributes {
    pub fn mode(self, mode: Mode) -> Mode {
        if self.owners { mode } else { Mode::of(mode.bits() & !SET_ID) }
    }

    /// A label belongs to the system of the object and is not compared.
    pub fn has_xattr(self, name: &[u8]) -> bool {
        let is_label = [&b"security.selinux"[..], b"security.ima", b"security.evm"].contains(&name)
            || name.starts_with(b"security.SMACK64");
        let is_of_owner = name.starts_with(b"security.") || name.starts_with(b"trusted.");
        !is_label && (self.owners || !is_of_owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<ObjectPath> {
        texts.iter().map(|text| staged_path(text.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn a_path_is_in_a_scope_if_it_is_one_of_its_paths_or_below_one() {
        let scope = Scope::new(paths(&["var/db/pkg", "/usr/pkg/"])).unwrap();
        let is_in = |text: &str| scope.contains(&staged_path(text.as_bytes()).unwrap());
        assert!(is_in("/usr/pkg") && is_in("usr/pkg/bin/a") && is_in("/var/db/pkg/x"));
        assert!(!is_in("/usr/pkgsrc") && !is_in("/usr") && !is_in("/"));
        assert!(Scope::all().contains(&ObjectPath::root()) && Scope::all().is_all() && !scope.is_all());
        let wider = Scope::new(paths(&["/usr/pkg/bin", "/opt"])).unwrap();
        assert_eq!(scope.lacks(&wider).unwrap().as_bytes(), b"/opt");
        assert_eq!(Scope::all().lacks(&wider), None);
    }

    #[test]
    fn paths_inside_one_another_are_refused_by_name() {
        let nested = Scope::new(paths(&["usr/pkg/lib", "usr/pkg-2", "usr/pkg"])).unwrap_err();
        assert_eq!(nested.to_string(), "/usr/pkg/lib lies inside /usr/pkg: specify one of them only");
        assert!(matches!(Scope::new(paths(&["usr", "usr/"])), Err(ScopeError::Nested { .. })));
        assert!(matches!(Scope::new(paths(&["/", "usr"])), Err(ScopeError::Nested { .. })));
        assert_eq!(Scope::new(Vec::new()), Err(ScopeError::Empty));
        assert!(staged_path(b"usr/../etc").is_err());
    }

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
