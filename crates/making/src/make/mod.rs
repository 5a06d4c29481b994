//! pkgmk(1): makes a package in directory form from a prototype.
//!
//! ```text
//! prototype files ─ reading ─► entries with their surroundings ─ mapping ─► pkgmap entries with their sources
//! pkginfo, command line ─ parameters ─► parameters                             │
//!                                          └──────────── writing ◄─────────────┘
//! ```
//! The package is written beside its place under a unique name, and is moved there as a whole. An observer sees the old
//! package, no package or the new one, and an interrupted run leaves nothing. Nothing is synced: a package can be made
//! again. Each source is read once; its size and sum are those of the written bytes.
//!
//! Packages have one part. Requests for parts in a prototype are reported and ignored.

pub mod describe;
mod error;
mod input;
mod lookup;
mod mapping;
mod parameters;
mod patch_warnings;
mod progress;
mod reading;
mod space;
mod variables;
mod writing;

use std::path::{Path, PathBuf};

pub use error::{MakeError, NoObject, PrototypeTrouble, PrototypeTroubleKind};
pub use parameters::ParameterDefaults;
pub use progress::{MakeStep, MakeWarning, MakeWatch};

use lookup::{FoundContent, ObjectLookup};
use mapping::{MappedPrototype, PackageItem};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ContentInfo, Ftype, Object, PackagePath, Params, PkgInst};
use variables::PrototypeVariables;

/// A request to make a package.
#[derive(Clone, Debug)]
pub struct MakeRequest {
    /// The prototype; none: `prototype`, else `Prototype`, in the working directory.
    pub prototype: Option<PathBuf>,
    /// The directory that the package is put into.
    pub device: PathBuf,
    /// Whether a package of that name may be replaced (`-o`).
    pub overwrite: bool,
    /// Directories below which objects are looked for (`-r`).
    pub roots: Vec<PathBuf>,
    /// Where relative objects are below those (`-b`).
    pub basedir: Option<PathBuf>,
    /// Parameters of the command line, in the order in which the pkginfo gets them.
    pub assignments: Params,
    /// The most blocks of 512 bytes that the package may take (`-l`).
    pub limit: Option<u64>,
    /// The instance to be made; the abbreviation where none is named.
    pub instance: Option<PkgInst>,
    /// The values of parameters that are not given.
    pub defaults: ParameterDefaults,
    /// The modification time of what the making itself writes, in seconds since 1970.
    pub now: i64,
}

/// A package that was made, or would be.
#[derive(Clone, Debug)]
pub struct MadePackage {
    /// The instance.
    pub package: PkgInst,
    /// Its directory.
    pub directory: PathBuf,
    /// Its parameters.
    pub parameters: Params,
    /// Its pkgmap.
    pub pkgmap: Pkgmap,
}

/// Makes a package.
pub fn make_package(request: &MakeRequest, watch: &mut MakeWatch<'_>) -> Result<MadePackage, MakeError> {
    let draft = PackageDraft::of(request, watch)?;
    let (package, parameters) = (draft.package.clone(), draft.parameters.clone());
    let directory = request.device.join(package.as_str());
    let pkgmap = writing::write(draft, request, watch)?;
    (watch.tell)(MakeStep::Complete);
    Ok(MadePackage { package, directory, parameters, pkgmap })
}

/// Reads everything that making a package would read, and writes nothing.
pub fn map_package(request: &MakeRequest, watch: &mut MakeWatch<'_>) -> Result<MadePackage, MakeError> {
    let draft = PackageDraft::of(request, watch)?;
    let (package, parameters) = (draft.package.clone(), draft.parameters.clone());
    let directory = request.device.join(package.as_str());
    let pkgmap = writing::read(draft, watch)?;
    Ok(MadePackage { package, directory, parameters, pkgmap })
}

/// Everything that is known of a package before its sources are read.
struct PackageDraft {
    package: PkgInst,
    parameters: Params,
    /// The bytes of its pkginfo.
    pkginfo: Vec<u8>,
    /// Objects and information files but for the pkginfo, in the order of the pkgmap.
    items: Vec<PackageItem>,
    blocks: u64,
    now: i64,
}

impl PackageDraft {
    fn of(request: &MakeRequest, watch: &mut MakeWatch<'_>) -> Result<Self, MakeError> {
        (watch.tell)(MakeStep::Building);
        let prototype = prototype(request.prototype.as_deref())?;
        let mut variables = PrototypeVariables::of(&request.assignments);
        let read = reading::read(&prototype, &variables);
        let lookup = ObjectLookup { roots: &request.roots, basedir: request.basedir.as_deref() };
        let pkginfo = mapping::pkginfo(&read, &lookup, &variables);
        let pkginfo = match pkginfo {
            // Lines that cannot be read may hold it, and so may a prototype that is not there.
            Err(_) if !read.troubles.is_empty() => return Err(MakeError::Prototype(read.troubles)),
            found => found?,
        };
        variables.pkginfo = pkginfo.as_ref().map(parameters::read).transpose()?.unwrap_or_default();
        let MappedPrototype { items, classes } = mapping::map(read, &lookup, &variables, watch)?;
        watch.check()?;
        (watch.tell)(MakeStep::Processing);
        mapping::missing_directories(&items, watch);
        let from = match &pkginfo {
            Some(FoundContent::File(path)) => path,
            _ => &prototype,
        };
        let parameters = parameters::compose(request, &variables, from, &classes, watch)?;
        patch_warnings::look_at_deletes(&parameters, &items, watch);
        patch_warnings::look_at_owners(&items, watch);
        let package = parameters::instance(&parameters, request.instance.as_ref())?;
        let pkginfo = params::write(&parameters);
        let space = space::space(&items, pkginfo.len() as u64);
        (watch.tell)(MakeStep::Volumizing(items.len()));
        (watch.tell)(MakeStep::Part { blocks: space.blocks, entries: space.entries });
        if let Some(limit) = request.limit.filter(|limit| *limit < space.blocks) {
            return Err(MakeError::Limit { blocks: space.blocks, limit });
        }
        Ok(Self { package, parameters, pkginfo, items, blocks: space.blocks, now: request.now })
    }

    /// Returns the pkgmap, when the content of every item is known.
    fn pkgmap(self) -> Result<Pkgmap, MakeError> {
        let mut object = Object::new(Ftype::Information, "");
        object.content = ContentInfo {
            size: Some(self.pkginfo.len() as u64),
            cksum: Some(patchadm_svr4::package::checksum::sum(&self.pkginfo)),
            mtime: Some(self.now),
        };
        let path = PackagePath::new(b"pkginfo").map_err(MakeError::Path)?;
        let own = PkgmapEntry { part: 1, path, object };
        let mut entries: Vec<PkgmapEntry> =
            self.items.into_iter().map(|item| item.entry).chain([own]).collect();
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(Pkgmap { parts: 1, max_blocks: self.blocks, compressed_blocks: None, entries })
    }
}

/// Returns the prototype that is meant.
fn prototype(named: Option<&Path>) -> Result<PathBuf, MakeError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = ["prototype", "Prototype"].map(PathBuf::from);
    usual.into_iter().find(|path| path.exists()).ok_or(MakeError::NoPrototype)
}
