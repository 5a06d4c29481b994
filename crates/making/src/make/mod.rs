//! pkgmk(1): makes a package in directory form from a prototype.
//!
//! The package is renamed into place as a whole, but not synced, because it can be made again. Sizes and sums are those of
//! the written bytes. Packages have one part: requests for others are reported and ignored.

pub mod describe;
mod mapping;
mod messages;
mod parameters;
mod reading;

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use mapping::{FoundContent, MappedPrototype, ObjectLookup, PackageItem};
pub use messages::{
    MakeError, MakeStep, MakeWarning, MakeWatch, NoObject, PrototypeTrouble, PrototypeTroubleKind,
};
pub use parameters::ParameterDefaults;
use patchadm_rootfs::{Dir, FileType, NewTree, RootError, Timestamp, UnnamedDirectory};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::checksum::Checksum;
use patchadm_svr4::package::{ContentInfo, Ftype, Mode, Object, PackagePath, Params, PkgInst};
use reading::{PrototypeVariables, open};

#[derive(Clone, Debug)]
pub struct MakeRequest {
    /// Default: `prototype`, else `Prototype`, in the working directory.
    pub prototype: Option<PathBuf>,
    /// The package's parent directory.
    pub device: PathBuf,
    /// Replace an existing package (`-o`).
    pub overwrite: bool,
    /// Directories with objects (`-r`).
    pub roots: Vec<PathBuf>,
    /// The place of relative objects below `roots` (`-b`).
    pub basedir: Option<PathBuf>,
    /// Parameters of the command line, in the order of the pkginfo.
    pub assignments: Params,
    /// Blocks of 512 bytes (`-l`).
    pub limit: Option<u64>,
    /// Default: PKG.
    pub instance: Option<PkgInst>,
    pub defaults: ParameterDefaults,
    /// Modification time of generated files, in seconds since 1970.
    pub now: i64,
}

#[derive(Clone, Debug)]
pub struct MadePackage {
    pub package: PkgInst,
    pub directory: PathBuf,
    pub parameters: Params,
    pub pkgmap: Pkgmap,
}

pub fn make_package(request: &MakeRequest, watch: &mut MakeWatch<'_>) -> Result<MadePackage, MakeError> {
    let draft = PackageDraft::of(request, watch)?;
    let (package, parameters) = (draft.package.clone(), draft.parameters.clone());
    let directory = request.device.join(package.as_str());
    let pkgmap = write(draft, request, watch)?;
    (watch.tell)(MakeStep::Complete);
    Ok(MadePackage { package, directory, parameters, pkgmap })
}

/// Reads everything that making a package would read, without writing.
pub fn map_package(request: &MakeRequest, watch: &mut MakeWatch<'_>) -> Result<MadePackage, MakeError> {
    let draft = PackageDraft::of(request, watch)?;
    let (package, parameters) = (draft.package.clone(), draft.parameters.clone());
    let directory = request.device.join(package.as_str());
    let pkgmap = read(draft, watch)?;
    Ok(MadePackage { package, directory, parameters, pkgmap })
}

struct PackageDraft {
    package: PkgInst,
    parameters: Params,
    pkginfo: Vec<u8>,
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
            // Unreadable lines or a missing prototype may hold it.
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
        parameters::look_at_deletes(&parameters, &items, watch);
        parameters::look_at_owners(&items, watch);
        let package = parameters::instance(&parameters, request.instance.as_ref())?;
        let pkginfo = params::write(&parameters);
        let space = space(&items, pkginfo.len() as u64);
        (watch.tell)(MakeStep::Volumizing(items.len()));
        (watch.tell)(MakeStep::Part { blocks: space.blocks, entries: space.entries });
        if let Some(limit) = request.limit.filter(|limit| *limit < space.blocks) {
            return Err(MakeError::Limit { blocks: space.blocks, limit });
        }
        Ok(Self { package, parameters, pkginfo, items, blocks: space.blocks, now: request.now })
    }

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

fn prototype(named: Option<&Path>) -> Result<PathBuf, MakeError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = ["prototype", "Prototype"].map(PathBuf::from);
    usual.into_iter().find(|path| path.exists()).ok_or(MakeError::NoPrototype)
}

const PROGRAM: &str = "pkgmk";
const BUFFER: usize = 1 << 18;

/// Everyone may read the files of a package; these bits of their own mode are kept (pkgmk(1)).
const READABLE: u32 = 0o644;

const KEPT: u32 = 0o777;

fn read(mut draft: PackageDraft, watch: &mut MakeWatch<'_>) -> Result<Pkgmap, MakeError> {
    let mut buffer = vec![0; BUFFER];
    for item in &mut draft.items {
        let Some(source) = &item.source else { continue };
        watch.check()?;
        let (content, _) = pass(source, draft.now, watch, &mut buffer, &mut |_| Ok(()))?;
        item.entry.object.content = content;
    }
    draft.pkgmap()
}

fn write(
    mut draft: PackageDraft,
    request: &MakeRequest,
    watch: &mut MakeWatch<'_>,
) -> Result<Pkgmap, MakeError> {
    let place = PackagePlace::of(request, &draft.package)?;
    (watch.tell)(MakeStep::Packaging);
    let now = Timestamp::whole(draft.now);
    // Leftovers of another run must not make this one fail.
    let _ = place.top.remove_leftovers(PROGRAM);
    let mut building = UnnamedDirectory::begin(&place.top, PROGRAM, draft.package.as_str().as_bytes())?;
    for name in ["pkgmap", "pkginfo"] {
        (watch.tell)(MakeStep::Writing(place.path.join(name)));
    }
    own_file(&mut building.tree, b"pkginfo", &draft.pkginfo, now)?;
    let mut buffer = vec![0; BUFFER];
    for item in &mut draft.items {
        let Some(path) = item.member() else { continue };
        watch.check()?;
        (watch.tell)(MakeStep::Writing(place.path.join(as_path(&path))));
        member(&mut building.tree, item, &path, now, &mut buffer, watch)?;
    }
    (watch.tell)(MakeStep::Validating);
    parameters::check_scripts(&draft.parameters, &draft.items, watch);
    let pkgmap = draft.pkgmap()?;
    own_file(&mut building.tree, b"pkgmap", &pkgmap.write(), now)?;
    // Fixed times make the result reproducible.
    building.close(now)?;
    watch.check()?;
    match building.publish(place.overwrite) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Err(MakeError::Exists(place.path)),
        published => Ok(published.map(|()| pkgmap)?),
    }
}

struct PackagePlace {
    top: Dir,
    path: PathBuf,
    overwrite: bool,
}

impl PackagePlace {
    fn of(request: &MakeRequest, package: &PkgInst) -> Result<Self, MakeError> {
        let top = Dir::of_host(&request.device)?;
        let path = request.device.join(package.as_str());
        let name = package.as_str().as_bytes();
        let Some(seen) = top.look(name)? else {
            return Ok(Self { top, path, overwrite: request.overwrite });
        };
        if !request.overwrite {
            return Err(MakeError::Exists(path));
        }
        let inside = if seen.file_type == FileType::Directory { top.dir(name)?.names()? } else { Vec::new() };
        let is_package = inside.iter().any(|name| matches!(name.as_slice(), b"pkginfo" | b"pkgmap"));
        if seen.file_type != FileType::Directory || !is_package && !inside.is_empty() {
            return Err(MakeError::Foreign(path));
        }
        Ok(Self { top, path, overwrite: true })
    }
}

fn own_file(tree: &mut NewTree, name: &[u8], bytes: &[u8], now: Timestamp) -> Result<(), RootError> {
    tree.write(name, bytes, Mode::of(READABLE))?.set_mtime(now)
}

fn member(
    tree: &mut NewTree,
    item: &mut PackageItem,
    member: &[u8],
    now: Timestamp,
    buffer: &mut [u8],
    watch: &MakeWatch<'_>,
) -> Result<(), MakeError> {
    let Some(source) = &item.source else { return Ok(()) };
    let mut file = tree.file(member)?;
    let (content, seen) = pass(source, now.seconds, watch, buffer, &mut |bytes| file.put(bytes))?;
    let mode = item.entry.object.attributes.mode.map(Mode::bits);
    let mode = mode.or(seen.as_ref().map(Metadata::mode)).unwrap_or(READABLE);
    file.set_mode(Mode::of((mode | READABLE) & KEPT))?;
    file.set_mtime(seen.map_or(now, |seen| Timestamp {
        seconds: seen.mtime(),
        nanoseconds: u32::try_from(seen.mtime_nsec()).unwrap_or_default(),
    }))?;
    item.entry.object.content = content;
    Ok(())
}

fn pass(
    source: &FoundContent,
    now: i64,
    watch: &MakeWatch<'_>,
    buffer: &mut [u8],
    put: &mut dyn FnMut(&[u8]) -> Result<(), RootError>,
) -> Result<(ContentInfo, Option<Metadata>), MakeError> {
    let FoundContent::File(path) = source else {
        return Ok((ContentInfo { size: Some(0), cksum: Some(0), mtime: Some(now) }, None));
    };
    let unreadable = |error| MakeError::Read { path: path.clone(), error };
    let (mut file, seen) = open(path).map_err(unreadable)?;
    let (mut size, mut sum) = (0, Checksum::new());
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        watch.check()?;
        put(bytes)?;
        sum.update(bytes);
        size += bytes.len() as u64;
    }
    let content = ContentInfo { size: Some(size), cksum: Some(sum.finish()), mtime: Some(seen.mtime()) };
    Ok((content, Some(seen)))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

// Space is the same on every machine: in units of 4,096 bytes.

const UNIT: u64 = 4096;
const UNIT_BLOCKS: u64 = UNIT / 512;

/// In bytes: two words of 64, five numbers, blanks.
const LONGEST_REST: u64 = 256;

/// The directory, the pkgmap, the pkginfo, the directory of information files.
const OWN_ENTRIES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackageSpace {
    blocks: u64,
    entries: usize,
}

/// Counts the items (sorted by path), the pkginfo, and the resulting pkgmap.
fn space(items: &[PackageItem], pkginfo: u64) -> PackageSpace {
    let line = |item: &PackageItem| item.entry.path.as_bytes().len() as u64 + LONGEST_REST;
    let pkgmap = items.iter().map(line).fold(LONGEST_REST, u64::saturating_add);
    let mut total = units(pkginfo).saturating_add(units(pkgmap));
    let mut directories = BTreeSet::from([PathBuf::new()]);
    let mut stored = Vec::new();
    for item in items {
        let (Some(source), Some(member)) = (&item.source, item.member()) else { continue };
        let units = units(size(source));
        total = total.saturating_add(units);
        stored.push((units, item));
        let member = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&member));
        directories.extend(member.ancestors().skip(1).map(Path::to_owned));
    }
    let blocks = total.saturating_add(directories.len() as u64).saturating_mul(UNIT_BLOCKS);
    // The classic command stores the largest file first, and equal ones in the order of the pkgmap.
    stored.sort_by_key(|(units, _)| std::cmp::Reverse(*units));
    let paths = stored.iter().map(|(_, item)| item.entry.path.as_bytes());
    PackageSpace { blocks, entries: OWN_ENTRIES + stored.len() + counted_directories(paths) }
}

/// Returns the directories that the classic pkgmk counts while it stores files in this order. It mistakes a missing
/// directory for a known one if it differs from any known one, so it counts little beyond those of the first file, and
/// an only directory again for each file. People compare the number.
fn counted_directories<'a>(files: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut known: BTreeSet<&[u8]> = BTreeSet::new();
    let mut count = 0;
    for file in files {
        let above = file.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let above: Vec<&[u8]> = above.filter_map(|(slash, _)| file.get(..slash)).collect();
        count += above.iter().filter(|path| known.iter().all(|other| other == *path)).count();
        known.extend(above);
    }
    count
}

fn units(size: u64) -> u64 {
    size.div_ceil(UNIT)
}

fn size(source: &FoundContent) -> u64 {
    match source {
        FoundContent::File(path) => std::fs::metadata(path).map_or(0, |found| found.len()),
        FoundContent::Empty => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_count_as_in_the_classic_pkgmk() {
        let count = |files: &[&str]| counted_directories(files.iter().map(|file| file.as_bytes()));
        assert_eq!(count(&["checkinstall", "a"]), 0);
        assert_eq!(count(&["bin/stux", "share/shared"]), 1);
        assert_eq!(count(&["share/data", "share/shr"]), 2, "the only one counts for each of its files");
        assert_eq!(count(&["a/b/c", "a/b/d", "x/y"]), 2);
        assert_eq!(count(&["/etc/x", "/usr/bin/x"]), 1);
    }
}
