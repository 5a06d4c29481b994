//! The form of an operand, or of an entry of a set: determined by its content, from its first bytes alone.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::archive_file::ArchiveFile;
use super::error::ReleaseProblem;
use super::{deb, rpm};
use patchadm_container::{ContainerFormat, open_container};

/// The most packages of a set.
pub(super) const MOST_PACKAGES: usize = 100_000;

/// The form of an operand, or of an entry of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperandForm {
    Tree,
    Svr4,
    Tar,
    Deb,
    Rpm,
}

/// Returns the entries of a directory, sorted.
pub(super) fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().into_vec());
        if names.len() > MOST_PACKAGES {
            break;
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| path.join(OsStr::from_bytes(&name))).collect())
}

pub(super) fn is_svr4_directory(path: &Path) -> bool {
    ["pkginfo", "pkgmap"]
        .iter()
        .all(|name| path.join(name).symlink_metadata().is_ok_and(|seen| seen.is_file()))
}

/// Returns the form of an entry in a directory, if it is a package by itself; links are not packages.
pub(super) fn package_form(path: &Path) -> Option<OperandForm> {
    let seen = path.symlink_metadata().ok()?;
    if seen.is_dir() {
        return is_svr4_directory(path).then_some(OperandForm::Svr4);
    }
    file_form(path).ok().filter(|form| seen.is_file() && *form != OperandForm::Tar)
}

/// Returns the form of an entry in a directory that the user called a set.
pub(super) fn named_form(path: &Path) -> Result<OperandForm, ReleaseProblem> {
    if !std::fs::metadata(path).map_err(ReleaseProblem::Io)?.is_dir() {
        return file_form(path);
    }
    if is_svr4_directory(path) {
        return Ok(OperandForm::Svr4);
    }
    Err(ReleaseProblem::bad("it is a directory in a set, and no package"))
}

/// Returns the form of a file, from its first bytes.
pub(super) fn file_form(path: &Path) -> Result<OperandForm, ReleaseProblem> {
    let file = ArchiveFile::open(path)?;
    let whole = file.part(0, file.size());
    let mut start = Vec::new();
    whole.reader().take(8).read_to_end(&mut start).map_err(ReleaseProblem::Io)?;
    if start.starts_with(deb::MAGIC) {
        return Ok(OperandForm::Deb);
    }
    if start.starts_with(rpm::MAGIC) {
        return Ok(OperandForm::Rpm);
    }
    let opened = open_container(whole.reader()).map_err(ReleaseProblem::of_archive)?;
    match opened.form {
        ContainerFormat::Datastream => Ok(OperandForm::Svr4),
        ContainerFormat::Tar => Ok(OperandForm::Tar),
        ContainerFormat::Zip => Err(ReleaseProblem::Unsupported("a release in a zip archive".to_owned())),
        ContainerFormat::Unsupported(what) => Err(ReleaseProblem::Unsupported(format!("{what} compression"))),
        _ => Err(ReleaseProblem::bad("it is neither a package nor a tar archive")),
    }
}
