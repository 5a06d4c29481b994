//! The destination of a patch, its form, and the written files.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::error::BuildError;
use patchadm_inputs::sign::Sha256Sum;
use patchadm_rootfs::{Interrupt, WorkMeter};

/// The form that a patch is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchForm {
    /// A directory.
    #[default]
    Directory,
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// A tar archive, compressed by gzip.
    TarGz,
    /// A package datastream; it has no place for the files beside the packages.
    Datastream,
}

/// The endings of names that say a form.
const ENDINGS: [(&str, PatchForm); 5] = [
    (".tar", PatchForm::Tar),
    (".tar.gz", PatchForm::TarGz),
    (".tgz", PatchForm::TarGz),
    (".zip", PatchForm::Zip),
    (".pkg", PatchForm::Datastream),
];

/// The endings of names of archives that no patch is written as.
const OTHER_ARCHIVES: [&str; 24] = [
    ".7z", ".a", ".bz2", ".cpio", ".deb", ".gz", ".iso", ".jar", ".lz", ".lz4", ".lzma", ".rar", ".rpm",
    ".taz", ".tbz", ".tbz2", ".tlz", ".txz", ".tz2", ".tzst", ".xz", ".z", ".zipx", ".zst",
];

/// Where a patch is written.
#[derive(Clone, Debug)]
pub struct PatchDestination {
    /// The file or directory that it becomes.
    pub path: PathBuf,
    /// Its form.
    pub form: PatchForm,
    /// Whether a patch that is there is replaced.
    pub replaces: bool,
}

/// A patch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPatch {
    /// The file or directory.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// The bytes of the file, or of all files of the directory.
    pub bytes: u64,
    /// The SHA-256 of the file; of a directory that of its manifest.
    pub sha256: Sha256Sum,
}

/// Whoever wants a patch written, and may not wait for its end.
#[derive(Clone, Copy)]
pub struct WriteWatch<'a> {
    /// Tells whether a signal wants the work to end.
    pub interrupt: Interrupt<'a>,
    /// Knows how far the work is.
    pub meter: &'a WorkMeter,
}

impl PatchForm {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Datastream => "datastream",
        }
    }

    /// Returns the form that the ending of a name says, in letters of either case; `None` if it says none.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending.as_bytes()));
        ending.map(|(_, form)| *form)
    }

    /// Returns the ending of a name that belongs to an archive of none of the forms.
    pub fn other_archive(path: &Path) -> Option<&'static str> {
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        let is_end = |ending: &&&str| name.len() > ending.len() && name.ends_with(ending.as_bytes());
        OTHER_ARCHIVES.iter().find(is_end).copied().filter(|_| Self::of_name(path).is_none())
    }

    /// Returns the endings of names that say a form.
    pub fn endings() -> impl Iterator<Item = &'static str> {
        ENDINGS.iter().map(|(ending, _)| *ending)
    }
}

/// Refuses a destination that is taken.
pub(super) fn check_free(to: &PatchDestination, path: &Path) -> Result<(), BuildError> {
    if !to.replaces && path.symlink_metadata().is_ok() {
        return Err(BuildError::Exists(path.to_owned()));
    }
    Ok(())
}

/// Returns the directory that a path lies in, and its last component.
pub(super) fn parent_and_name(path: &Path) -> Result<(&Path, &[u8]), BuildError> {
    let no_name =
        || BuildError::Write { path: path.to_owned(), error: io::ErrorKind::InvalidFilename.into() };
    let name = path.file_name().ok_or_else(no_name)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_the_form() {
        for (name, form) in [
            ("100-01.tar", Some(PatchForm::Tar)),
            ("out/100-01.tar.gz", Some(PatchForm::TarGz)),
            ("100-01.TGZ", Some(PatchForm::TarGz)),
            ("100-01.Tar.Gz", Some(PatchForm::TarGz)),
            ("100-01.zip", Some(PatchForm::Zip)),
            ("100-01.pkg", Some(PatchForm::Datastream)),
            ("100-01", None),
            ("out.tar/100-01", None),
            ("tar", None),
            ("100-01.tar.xz", None),
            ("100-01.gz", None),
            ("..", None),
        ] {
            assert_eq!(PatchForm::of_name(Path::new(name)), form, "{name}");
        }
    }

    #[test]
    fn an_ending_of_an_archive_that_is_no_form_is_known_and_another_is_not() {
        for name in ["a.tar.xz", "out/a.Tar.Zst", "a.tar.bz2", "a.7z", "a.tar.Z", "a.rpm", "a.gz", "a.txz"] {
            assert!(PatchForm::other_archive(Path::new(name)).is_some(), "{name}");
        }
        for name in
            ["a", "a.tar", "a.tar.gz", "a.TGZ", "a.zip", "a.pkg", "100-01.patch", ".xz", "a.xz/b", ".."]
        {
            assert_eq!(PatchForm::other_archive(Path::new(name)), None, "{name}");
        }
    }
}
