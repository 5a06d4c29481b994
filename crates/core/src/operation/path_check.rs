//! Properties of a path: valpath(1). Nothing is made or opened. Links are followed, except to see whether a name is
//! taken. Only the first character makes a path absolute; the classic tool also accepts a relative name with a blank or
//! shell character.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProperty {
    Absolute,
    Relative,
    Readable,
    Writable,
    /// Or searchable, for a directory.
    Executable,
    Block,
    Character,
    Regular,
    Directory,
    /// Not taken, not even by a dangling link.
    New,
    /// It exists, or the caller may make it.
    Creatable,
    NonEmpty,
    Old,
}

/// An empty path has none.
pub fn has_all(path: &Path, properties: &[PathProperty]) -> bool {
    !path.as_os_str().is_empty() && properties.iter().all(|property| has(path, *property))
}

fn has(path: &Path, property: PathProperty) -> bool {
    let is_absolute = path.as_os_str().as_bytes().first() == Some(&b'/');
    let is = |test: fn(&Metadata) -> bool| fs::metadata(path).is_ok_and(|metadata| test(&metadata));
    match property {
        PathProperty::Absolute => is_absolute,
        PathProperty::Relative => !is_absolute,
        PathProperty::Readable => may(path, Access::READ_OK),
        PathProperty::Writable => may(path, Access::WRITE_OK),
        PathProperty::Executable => may(path, Access::EXEC_OK),
        PathProperty::Block => is(|metadata| metadata.file_type().is_block_device()),
        PathProperty::Character => is(|metadata| metadata.file_type().is_char_device()),
        PathProperty::Regular => is(Metadata::is_file),
        PathProperty::Directory => is(Metadata::is_dir),
        PathProperty::New => fs::symlink_metadata(path).is_err(),
        PathProperty::Creatable => is(|_| true) || is_creatable(path),
        PathProperty::NonEmpty => is(|metadata| metadata.len() > 0),
        PathProperty::Old => is(|_| true),
    }
}

fn may(path: &Path, access: Access) -> bool {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

fn is_creatable(path: &Path) -> bool {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return false,
    };
    has(path, PathProperty::New) && parent.is_dir() && may(parent, Access::WRITE_OK | Access::EXEC_OK)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_first_character_says_whether_a_path_is_absolute() {
        for relative in ["a", "a b", "x*", "'", "./a", "~"] {
            assert!(has(Path::new(relative), PathProperty::Relative), "{relative}");
        }
        assert!(has(Path::new("/a b"), PathProperty::Absolute));
        assert!(!has_all(Path::new(""), &[]), "an empty path has no property");
    }

    #[test]
    fn what_is_there_is_told_apart_from_what_could_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("full"), "x").unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for (name, properties, expected) in [
            (
                "full",
                &[PathProperty::Old, PathProperty::Regular, PathProperty::NonEmpty, PathProperty::Readable][..],
                true,
            ),
            ("empty", &[PathProperty::NonEmpty], false),
            ("empty", &[PathProperty::Creatable, PathProperty::Writable], true),
            ("empty", &[PathProperty::Executable], false),
            ("empty", &[PathProperty::New], false),
            ("other", &[PathProperty::New, PathProperty::Creatable], true),
            ("other", &[PathProperty::Old], false),
            ("dangling", &[PathProperty::New], false),
            ("dangling", &[PathProperty::Old], false),
            ("dangling", &[PathProperty::Creatable], false),
            ("no/such/directory", &[PathProperty::Creatable], false),
            (".", &[PathProperty::Directory, PathProperty::Executable], true),
        ] {
            assert_eq!(has_all(&at(name), properties), expected, "{name} {properties:?}");
        }
        assert!(has_all(Path::new("/dev/null"), &[PathProperty::Character]));
        assert!(!has_all(Path::new("/dev/null"), &[PathProperty::Block]));
    }
}
