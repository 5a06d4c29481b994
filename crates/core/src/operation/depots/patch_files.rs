//! The files and directories of a directory that are patches by their names.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory_digest::files_of_directory;
use super::error::DepotError;
use patchadm_inputs::input_file::{InputDirectory, InputKind};
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
    /// The directory of all of them.
    inside: Arc<InputDirectory>,
}

/// Lists the possible patches in a directory, sorted by name.
pub(super) fn patch_files(directory: &Path) -> Result<Vec<PatchFile>, DepotError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => DepotError::NotThere(directory.to_owned()),
        _ => DepotError::Read { path: directory.to_owned(), error },
    };
    let inside = Arc::new(InputDirectory::open(directory).map_err(unreadable)?);
    let (mut names, mut files) = (Vec::new(), Vec::new());
    let listed = inside.each_entry(|name, kind| names.push((OsStr::from_bytes(name).to_owned(), kind)));
    listed.map_err(unreadable)?;
    names.sort_by(|(name, _), (other, _)| name.cmp(other));
    let has = |name: &str| names.binary_search_by(|(there, _)| there.as_os_str().cmp(name.as_ref())).is_ok();
    for (name, kind) in &names {
        let shown = name.to_string_lossy();
        let path = directory.join(name);
        if is_beside(&shown) {
            continue;
        }
        // Links are followed. A dangling link is not a patch; one that leads out of the depot fails when it is read.
        let is_directory = match kind.map_or_else(|| inside.kind(Path::new(name)), Ok) {
            Ok(InputKind::Directory) => true,
            Ok(InputKind::Other) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(InputKind::File) | Err(_) => false,
        };
        let beside = format!("{shown}.manifest");
        let manifest = has(&beside).then(|| directory.join(&beside));
        let signature = SignatureFormat::ALL.map(|format| format!("{beside}{}", format.ending()));
        let signature = signature.into_iter().find(|name| has(name)).map(|name| directory.join(name));
        let name = name.to_str().map(str::to_owned);
        files.push(PatchFile { path, name, is_directory, manifest, signature, inside: Arc::clone(&inside) });
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
    /// Opens the patch, which is a file.
    pub(super) fn open(&self) -> io::Result<File> {
        self.inside.file(name_of(&self.path))
    }

    /// Reads one of the files about it.
    pub(super) fn read_small(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.inside.read_small(name_of(path), limit)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Returns the status of one of its files.
    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inside.metadata(name_of(path))
    }

    /// Returns a stamp that shows later modifications: size, times and inode of each of its files.
    pub(super) fn stamp(&self) -> io::Result<String> {
        let mut stamp = String::new();
        for path in [Some(&self.path), self.manifest.as_ref(), self.signature.as_ref()].into_iter().flatten()
        {
            stamp.push_str(&stamp_of(&self.metadata(path)?));
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

fn name_of(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

fn stamp_of(seen: &Metadata) -> String {
    let (mtime, ctime) = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
    format!("{}:{}.{}:{}.{}:{};", seen.size(), mtime.0, mtime.1, ctime.0, ctime.1, seen.ino())
}
