//! Moving packages from one device to another: pkgtrans(1), `pkgadd -s` and `pkgrm -s`.
//!
//! ```text
//! Device ─ prepare ─► Translation ─ perform ─► directory   one directory per package, each whole or not there
//!                                         └──► stream      one file, whole or as it was before
//! ```
//! What a package is made of goes over, and nothing else: its pkginfo and pkgmap byte for byte, the files of its
//! `install` directory, and the objects that its pkgmap delivers, with the modes and times that the source gives their
//! files. Sizes and sums are compared with the pkgmap on the way. Nothing appears under its name before it is
//! complete. What is new is not synced, because it can be made again; before something takes the place of what is
//! there, its bytes are. No package database is looked at, no lock is taken, no script is run.
//!
//! Not done here: the verification and making of signatures.

mod error;
mod removal;
mod stream;
mod tree;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use error::TranslateError;
pub use removal::remove_spooled;

use super::device::{self, OpenDevice};
use patchadm_inputs::source::{Form, MemberStamp, PackageImage};
use patchadm_svr4::format::pkgmap;
use patchadm_svr4::package::PackagePath;

/// What is in the private name of a package or stream that is being written.
const PROGRAM: &str = "pkgtrans";

/// What is to be moved, and where.
#[derive(Clone, Debug)]
pub struct TranslateRequest {
    /// Where the packages are: a directory of packages, one package, a datastream, an archive, a pipe.
    pub device: PathBuf,
    /// Which of them: names, `PKG.*`, `all`; all of them where nothing is named.
    pub packages: Vec<String>,
    /// Only those of any of these categories, where there is one.
    pub categories: Vec<String>,
    /// Where they go.
    pub to: TransferDestination,
    /// What happens to packages that are there already.
    pub existing: ExistingPolicy,
    /// Whether only pkginfo and pkgmap are wanted.
    pub description_only: bool,
}

/// Where packages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferDestination {
    /// A directory that is there: each package becomes a directory in it.
    Directory(PathBuf),
    /// A file, a pipe or a device: all packages become one datastream. A file is replaced.
    Stream(PathBuf),
}

/// What happens where a directory has a package already.
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
    /// What it is called on its device.
    pub name: String,
    /// What it is called where it went.
    pub instance: String,
}

/// Whoever watches and may end it.
pub struct TransferObserver<'a> {
    /// The signal that wants it to end, if one came.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
    /// Told of each package before it is moved.
    pub transferring: &'a mut dyn FnMut(&TransferredPackage),
}

/// Packages that are selected and whose descriptions are read and found good.
pub struct PackageTranslation {
    device: OpenDevice,
    to: TransferDestination,
    existing: ExistingPolicy,
    description_only: bool,
}

impl TransferDestination {
    /// What the word `to` of a command line means for packages from `from`: a directory where there is one and
    /// `as_stream` does not say otherwise. A relative name of a stream is below a source that is a directory, as it
    /// always was.
    pub fn named(to: &Path, from: &Path, as_stream: bool) -> Self {
        let (to, from) = (device::named(to), device::named(from));
        if !as_stream && to.is_dir() {
            return Self::Directory(to);
        }
        Self::Stream(if from.is_dir() { from.join(to) } else { to })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Stream(path) => path,
        }
    }
}

impl PackageTranslation {
    /// Reads what is selected, apart from the content of the objects.
    pub fn prepare(request: TranslateRequest) -> Result<Self, TranslateError> {
        let TranslateRequest { device: from, packages, categories, to, existing, description_only } = request;
        let device = OpenDevice::open(&from, &packages)?.and_then(|device| device.of_categories(&categories));
        let device = device.map_err(TranslateError::NoPackage)?;
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

    /// Moves them. After an error nothing new is there, but for packages that had become complete directories before
    /// it.
    pub fn perform(
        self,
        observer: &mut TransferObserver<'_>,
    ) -> Result<Vec<TransferredPackage>, TranslateError> {
        let result = match &self.to {
            TransferDestination::Directory(to) => tree::write(&self, to, observer),
            TransferDestination::Stream(to) => stream::write(&self, to, observer),
        };
        // A signal makes whatever is under way fail somehow.
        match (observer.interrupt)() {
            Some(signal) if result.is_err() => Err(TranslateError::Interrupted(signal)),
            _ => result,
        }
    }

    /// The packages, in the order in which they go over.
    fn packages(&self) -> impl Iterator<Item = (usize, &PackageImage)> {
        let packages = &self.device.image.packages;
        self.device.selected.iter().filter_map(|&index| Some((index, packages.get(index)?)))
    }

    /// The files of `install/`; none where they are not wanted.
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

/// Where the content of an object stands in the directory of its package: `reloc/…` or `root/…`, with the number of
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

/// Content that ends with an error when a signal came.
struct Attended<'a> {
    data: &'a mut dyn Read,
    interrupt: &'a dyn Fn() -> Option<i32>,
}

impl Read for Attended<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.interrupt)() {
            Some(_) => Err(io::Error::other("interrupted")),
            None => self.data.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests;
