//! The files and directories of a directory that are patches by their names.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::directory_digest::files_of_directory;
use super::error::DepotError;
use patchadm_inputs::sign::{SignatureFormat, sha256, sha256_text};

/// The files that a depot has beside its patches, and those beside patches in bundles.
const BESIDE: [&str; 9] = [
    "index",
    "index.json",
    "flags",
    "keys",
    "patchdiag.xref",
    "patch_order",
    "CLUSTER_README",
    "handover",
    "logs",
];

/// Endings of files about patches.
const ENDINGS: [&str; 8] = [".manifest", ".minisig", ".sig", ".json", ".xref", ".log", ".html", ".txt"];

/// A file or directory that may be a patch.
#[derive(Clone, Debug)]
pub(super) struct PatchFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// Its name; `None` if it is not UTF-8, which an index cannot have.
    pub(super) name: Option<String>,
    /// Whether it is a directory.
    pub(super) is_directory: bool,
    /// The existing files about it: the manifest, then its signature.
    pub(super) manifest: Option<PathBuf>,
    pub(super) signature: Option<PathBuf>,
}

/// Lists the possible patches in a directory, sorted by name.
pub(super) fn patch_files(directory: &Path) -> Result<Vec<PatchFile>, DepotError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => DepotError::NotThere(directory.to_owned()),
        _ => DepotError::Read { path: directory.to_owned(), error },
    };
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        names.push((entry.file_name(), entry.file_type().map_err(unreadable)?));
    }
    names.sort_by(|(name, _), (other, _)| name.cmp(other));
    let has = |name: &str| names.binary_search_by(|(there, _)| there.as_os_str().cmp(name.as_ref())).is_ok();
    for (name, file_type) in &names {
        let shown = name.to_string_lossy();
        let path = directory.join(name);
        // The target of a link counts; a dangling link is no patch.
        let is_directory = file_type.is_dir() || file_type.is_symlink() && path.is_dir();
        if is_beside(&shown) || !is_directory && !file_type.is_file() && !path.is_file() {
            continue;
        }
        let beside = format!("{shown}.manifest");
        let manifest = has(&beside).then(|| directory.join(&beside));
        let signature = SignatureFormat::ALL.map(|format| format!("{beside}{}", format.ending()));
        let signature = signature.into_iter().find(|name| has(name)).map(|name| directory.join(name));
        let name = name.to_str().map(str::to_owned);
        files.push(PatchFile { path, name, is_directory, manifest, signature });
    }
    Ok(files)
}

fn is_beside(name: &str) -> bool {
    name.starts_with('.')
        || BESIDE.contains(&name)
        || name.starts_with("README")
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

impl PatchFile {
    /// Returns a stamp that shows later modifications: size, times and inode of each of its files.
    pub(super) fn stamp(&self) -> io::Result<String> {
        let mut stamp = String::new();
        for path in [Some(&self.path), self.manifest.as_ref(), self.signature.as_ref()].into_iter().flatten()
        {
            stamp.push_str(&stamp_of(&std::fs::metadata(path)?));
        }
        if self.is_directory {
            let mut list = Vec::new();
            for path in files_of_directory(&self.path)? {
                let metadata = std::fs::symlink_metadata(self.path.join(&path))?;
                list.extend_from_slice(format!("{} {}\n", stamp_of(&metadata), path.display()).as_bytes());
            }
            stamp.push_str(&sha256_text(&sha256(&list)));
        }
        Ok(stamp)
    }
}

fn stamp_of(seen: &Metadata) -> String {
    let (mtime, ctime) = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
    format!("{}:{}.{}:{}.{}:{};", seen.size(), mtime.0, mtime.1, ctime.0, ctime.1, seen.ino())
}
