//! Limits of the packages that builds deliver. A run reads the packages of a whole set, several at a time, and none of them
//! may take much of its memory. A build that delivers more fails.

use std::collections::HashSet;
use std::path::Path;

use patchadm_inputs::source::{
    Image, PackageImage, Source, SourceError, SourceLimits, SourceProblem, open_within,
};
use patchadm_rootfs::{Dir, FileType, RootError};
use patchadm_svr4::package::{Ftype, ObjectPath};

use crate::object_places::placed;
use crate::tree_copy::{each_part, names_up_to};

/// The most lines of a pkgmap. Each takes some hundred bytes of memory where it is read.
pub(crate) const MOST_OBJECTS: usize = 500_000;

/// The largest pkgmap in bytes, 128 for each line.
const LARGEST_PKGMAP: u64 = 64 << 20;

/// The most bytes of scripts and other information files of a package.
const LARGEST_INFORMATION: u64 = 48 << 20;

/// The most bytes of names and package files that are held of a file: all of a package within the other limits.
const LARGEST_LISTS: u64 = 256 << 20;

/// The most bytes of paths of a package, with the values of variables and all directories above.
pub(crate) const LARGEST_PATHS: usize = 64 << 20;

/// The most bytes of files of a package that are settings of loaders. Such a file has a few lines, and those of all packages
/// of a set are held.
pub(crate) const LARGEST_SETTINGS: u64 = 64 << 10;

/// Opens a package without its objects.
pub(crate) fn open_package(path: &Path) -> Result<(Source, Image), SourceError> {
    let (source, image) = open_within(path, SourceLimits { held: LARGEST_LISTS, lines: MOST_OBJECTS })?;
    if !are_within(image.packages.iter().flat_map(places_of), LARGEST_PATHS) {
        let reason = format!(
            "its paths and the directories above them have more than {LARGEST_PATHS} bytes: deliver it as several packages"
        );
        return Err(SourceError { path: path.to_owned(), problem: SourceProblem::BadForm(reason) });
    }
    Ok((source, image))
}

fn places_of(package: &PackageImage) -> impl Iterator<Item = ObjectPath> {
    let objects = package.pkgmap.entries.iter().filter(|entry| entry.object.ftype != Ftype::Information);
    objects.filter_map(move |entry| placed(package, &entry.path))
}

/// Returns true if these paths and all directories above them have at most this many bytes, each directory counted once.
fn are_within(paths: impl Iterator<Item = ObjectPath>, most: usize) -> bool {
    let (mut held, mut bytes, mut with_repetitions) = (Vec::new(), 0_usize, 0_usize);
    for path in paths {
        let own = path.as_bytes().len();
        let above: usize = path.ancestors_bytes().map(<[u8]>::len).sum();
        bytes = bytes.saturating_add(own);
        with_repetitions = with_repetitions.saturating_add(own + above);
        if bytes > most {
            return false;
        }
        held.push(path);
    }
    if with_repetitions <= most {
        return true;
    }
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for path in &held {
        for directory in path.ancestors_bytes() {
            if !seen.insert(directory) {
                break;
            }
            bytes = bytes.saturating_add(directory.len());
        }
        if bytes > most {
            return false;
        }
    }
    true
}

/// Returns true if a loader reads its settings there.
pub(crate) fn is_settings(path: &ObjectPath) -> bool {
    let path = path.as_bytes();
    [&b"/etc/ld.so.conf"[..], b"/etc/ld.so.preload", b"/etc/ld-musl-"]
        .iter()
        .any(|begin| path.starts_with(begin))
}

/// Checks the lists in the directory of a package, before anything is read into memory. The inner error is a fault of the
/// package.
pub(crate) fn must_have_small_lists(package: &Dir) -> Result<Result<(), String>, RootError> {
    let advice = "deliver it as several packages";
    let size = package.look(b"pkgmap")?.map_or(0, |seen| seen.size);
    if size > LARGEST_PKGMAP {
        return Ok(Err(format!("pkgmap has {size} bytes, more than {LARGEST_PKGMAP}: {advice}")));
    }
    let mut lines = 0_usize;
    if size > 0 {
        let count = |bytes: &[u8]| {
            lines += bytes.split(|&byte| byte == b'\n').count() - 1;
            Ok(())
        };
        each_part(&package.open_regular(b"pkgmap")?, |error| package.read_error(b"pkgmap", error), count)?;
    }
    if lines > MOST_OBJECTS {
        return Ok(Err(format!("pkgmap has {lines} lines, more than {MOST_OBJECTS}: {advice}")));
    }
    let is_there = package.look(b"install")?.is_some_and(|seen| seen.file_type == FileType::Directory);
    let mut bytes = 0_u64;
    if is_there {
        let install = package.dir(b"install")?;
        let Some(names) = names_up_to(&install, MOST_OBJECTS)? else {
            return Ok(Err(format!(
                "install/ has more than {MOST_OBJECTS} names, or very long ones: {advice}"
            )));
        };
        for name in names {
            bytes = bytes.saturating_add(install.look(&name)?.map_or(0, |seen| seen.size));
        }
    }
    if bytes > LARGEST_INFORMATION {
        return Ok(Err(format!("install/ has {bytes} bytes, more than {LARGEST_INFORMATION}: {advice}")));
    }
    Ok(Ok(()))
}

/// Checks the sizes of the settings of loaders that a package delivers.
pub(crate) fn must_have_small_settings(package: &PackageImage) -> Result<(), String> {
    let mut bytes = 0_u64;
    for entry in package.files() {
        let Some(place) = placed(package, &entry.path).filter(is_settings) else { continue };
        bytes = bytes.saturating_add(entry.object.content.size.unwrap_or_default());
        if bytes > LARGEST_SETTINGS {
            return Err(format!(
                "the settings of loaders up to {place} have {bytes} bytes, more than {LARGEST_SETTINGS}: remove comments"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_too_many_lines_or_too_large_scripts_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let package = Dir::of_host(dir.path()).unwrap();
        let refused = || must_have_small_lists(&package).unwrap();
        assert_eq!(refused(), Ok(()));
        std::fs::write(dir.path().join("pkgmap"), "\n".repeat(MOST_OBJECTS)).unwrap();
        assert_eq!(refused(), Ok(()));
        std::fs::write(dir.path().join("pkgmap"), "\n".repeat(MOST_OBJECTS + 1)).unwrap();
        let expected = "pkgmap has 500001 lines, more than 500000: deliver it as several packages";
        assert_eq!(refused(), Err(expected.to_owned()));
        std::fs::File::create(dir.path().join("pkgmap")).unwrap().set_len(LARGEST_PKGMAP + 1).unwrap();
        assert!(refused().unwrap_err().starts_with("pkgmap has 67108865 bytes, more than 67108864"));
        std::fs::remove_file(dir.path().join("pkgmap")).unwrap();
        std::fs::create_dir(dir.path().join("install")).unwrap();
        for number in 0..4 {
            let file = std::fs::File::create(dir.path().join(format!("install/i.{number}"))).unwrap();
            file.set_len(16 << 20).unwrap();
        }
        assert!(refused().unwrap_err().starts_with("install/ has 67108864 bytes, more than 50331648"));
    }

    #[test]
    fn paths_count_with_the_directories_above_them_and_each_directory_once() {
        let within = |paths: &[&str], most: usize| {
            are_within(paths.iter().map(|path| ObjectPath::new(path.as_bytes()).unwrap()), most)
        };
        assert!(within(&["/a/b/c"], 6 + 4 + 2 + 1) && !within(&["/a/b/c"], 12));
        assert!(within(&["/a/b/c", "/a/b/d"], 6 + 6 + 7) && !within(&["/a/b/c", "/a/b/d"], 18));
        assert!(!within(&["/a/b/c", "/a/b/d"], 11));
        let deep = |number: usize| ObjectPath::new(format!("/{number}{}", "/d".repeat(2_000)).as_bytes());
        assert!(are_within((0..10).map(|number| deep(number).unwrap()), LARGEST_PATHS));
        assert!(!are_within((0..20).map(|number| deep(number).unwrap()), LARGEST_PATHS));
    }
}
