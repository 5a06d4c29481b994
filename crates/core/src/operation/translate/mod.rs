//! Moving packages from one device to another: pkgtrans(1), `pkgadd -s` and `pkgrm -s`.
//!
//! ```text
//! Device ─ prepare ─► Translation ─ perform ─► directory   one directory per package, each whole or not there
//!                                         └──► stream      one file, whole or as it was before
//! ```
//! Only the parts of a package are transferred: its pkginfo and pkgmap byte for byte, the files of its `install` directory,
//! and the objects that its pkgmap delivers, with the modes and times of their files in the source. Sizes and sums are
//! compared with the pkgmap on the way. Nothing appears under its name before it is complete. New objects are not synced,
//! because they can be made again; before something replaces an existing object, its bytes are synced. No package database
//! is read, no lock is taken, and no script runs.
//!
//! Signatures are neither verified nor made here.

mod error;
mod removal;
mod stream;
mod tree;

use std::path::{Path, PathBuf};

pub use error::TranslateError;
pub use removal::remove_spooled;

use super::device::{self, OpenDevice};
use patchadm_inputs::source::{Form, MemberStamp, PackageImage};
use patchadm_rootfs::{Interrupt, never};
use patchadm_svr4::format::pkgmap;
use patchadm_svr4::package::PackagePath;

/// The part of the private name of a package or stream that is being written.
const PROGRAM: &str = "pkgtrans";

/// What to move, and where.
#[derive(Clone, Debug)]
pub struct TranslateRequest {
    /// The source of the packages: a directory of packages, one package, a datastream, an archive, a pipe.
    pub device: PathBuf,
    /// The packages to move: names, `PKG.*`, `all`; all packages if empty.
    pub packages: Vec<String>,
    /// The categories to which the packages are limited; no limit if empty.
    pub categories: Vec<String>,
    /// The destination.
    pub to: TransferDestination,
    /// What happens to packages that already exist there.
    pub existing: ExistingPolicy,
    /// Whether only pkginfo and pkgmap are wanted.
    pub description_only: bool,
}

/// The destination of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferDestination {
    /// An existing directory: each package becomes a directory in it.
    Directory(PathBuf),
    /// A file, a pipe or a device: all packages become one datastream. A file is replaced.
    Stream(PathBuf),
}

/// What happens if a directory already has a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingPolicy {
    /// It is an error, and nothing is changed.
    Refuse,
    /// The new one takes its place.
    Overwrite,
    /// The new one gets the first free name `PKG.2`, `PKG.3`, …
    Rename,
}

/// A package that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferredPackage {
    /// Its name on its device.
    pub name: String,
    /// Its name at the destination.
    pub instance: String,
}

/// The observer of a transfer, who may end it.
pub struct TransferObserver<'a> {
    /// Returns the signal that asks the transfer to end, if one arrived.
    pub interrupt: Interrupt<'a>,
    /// Receives each package before it is moved.
    pub transferring: &'a mut dyn FnMut(&TransferredPackage),
}

/// Selected packages whose descriptions have been read and found valid.
pub struct PackageTranslation {
    device: OpenDevice,
    to: TransferDestination,
    existing: ExistingPolicy,
    description_only: bool,
}

impl TransferDestination {
    /// Interprets the word `to` of a command line for packages from `from`: as a directory if one exists and `as_stream`
    /// does not say otherwise. A relative name of a stream is below a source that is a directory, as it always was.
    pub fn named(to: &Path, from: &Path, as_stream: bool) -> Self {
        let (to, from) = (device::named(to), device::named(from));
        if !as_stream && to.is_dir() {
            return Self::Directory(to);
        }
        Self::Stream(if from.is_dir() { from.join(to) } else { to })
    }

    /// Returns the path of the destination.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Stream(path) => path,
        }
    }
}

impl PackageTranslation {
    /// Reads the selected packages, except for the content of the objects.
    pub fn prepare(request: TranslateRequest) -> Result<Self, TranslateError> {
        let TranslateRequest { device: from, packages, categories, to, existing, description_only } = request;
        let (opened, is_description) = match OpenDevice::open(&from, &packages, &never) {
            Ok(opened) => (opened, false),
            Err(error) => (OpenDevice::description(&from, &packages, error)?, true),
        };
        let device = opened.and_then(|device| device.of_categories(&categories));
        let device = device.map_err(TranslateError::NoPackage)?;
        let description_only = description_only || is_description || device.is_description();
        let is_directory = matches!(to, TransferDestination::Directory(_)) && to.path().is_dir();
        match (device.source.form(), &to) {
            (Form::Datastream(_), to) if !is_directory => {
                return Err(TranslateError::TwoStreams(to.path().to_owned()));
            }
            (_, TransferDestination::Directory(to)) if !is_directory => {
                return Err(TranslateError::NotADirectory(to.clone()));
            }
            _ => {}
        }
        let real = |path: &Path| path.canonicalize().ok();
        if real(&from).is_some_and(|from| real(to.path()) == Some(from)) {
            return Err(TranslateError::SameDevice);
        }
        Ok(Self { device, to, existing, description_only })
    }

    /// Moves the packages. An error leaves nothing new, except for packages that were already complete directories.
    pub fn perform(
        self,
        observer: &mut TransferObserver<'_>,
    ) -> Result<Vec<TransferredPackage>, TranslateError> {
        let result = match &self.to {
            TransferDestination::Directory(to) => tree::write(&self, to, observer),
            TransferDestination::Stream(to) => stream::write(&self, to, observer),
        };
        // A signal makes the current operation fail in some way.
        match (observer.interrupt)() {
            Some(signal) if result.is_err() => Err(TranslateError::Interrupted(signal)),
            _ => result,
        }
    }

    /// Returns the packages in the order of their transfer.
    fn packages(&self) -> impl Iterator<Item = (usize, &PackageImage)> {
        let packages = &self.device.image.packages;
        self.device.selected.iter().filter_map(|&index| Some((index, packages.get(index)?)))
    }

    /// Returns the files of `install/`; empty if they are not wanted.
    fn information<'a>(
        &self,
        package: &'a PackageImage,
    ) -> impl Iterator<Item = (String, &'a [u8], MemberStamp)> {
        let wanted = !self.description_only;
        package.install.iter().filter(move |_| wanted).map(|(name, bytes)| {
            let name = format!("install/{name}");
            let stamp = package.stamp(&name);
            (name, bytes.as_slice(), stamp)
        })
    }
}

impl TransferObserver<'_> {
    fn check(&self) -> Result<(), TranslateError> {
        (self.interrupt)().map_or(Ok(()), |signal| Err(TranslateError::Interrupted(signal)))
    }
}

/// Returns the place of the content of an object in the directory of its package: `reloc/…` or `root/…`, with the number of
/// the part from the second on.
fn member_name(path: &PackagePath, part: u32) -> Vec<u8> {
    let name = pkgmap::member_name(path);
    if part < 2 {
        return name;
    }
    let slash = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    let (place, rest) = name.split_at(slash);
    [place, format!(".{part}").as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests;
