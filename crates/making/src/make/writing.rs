//! Writes a package beside its place, and moves it there as a whole.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::error::MakeError;
use super::input::open;
use super::lookup::FoundContent;
use super::mapping::PackageItem;
use super::progress::{MakeStep, MakeWatch};
use super::{MakeRequest, PackageDraft, parameters};
use patchadm_rootfs::Timestamp;
use patchadm_rootfs::{Dir, FileType, NewTree, RootError, UnnamedDirectory};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::checksum::Checksum;
use patchadm_svr4::package::{ContentInfo, Mode, PkgInst};

/// The part of a private name that marks a package that is being made.
const PROGRAM: &str = "pkgmk";

/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;
/// The permission bits that everyone gets on the files of a package, and the bits that are kept of their own mode
/// (pkgmk(1)).
const READABLE: u32 = 0o644;
const KEPT: u32 = 0o777;

/// Reads all sources and writes nothing.
pub(super) fn read(mut draft: PackageDraft, watch: &mut MakeWatch<'_>) -> Result<Pkgmap, MakeError> {
    let mut buffer = vec![0; BUFFER];
    for item in &mut draft.items {
        let Some(source) = &item.source else { continue };
        watch.check()?;
        let (content, _) = pass(source, draft.now, watch, &mut buffer, &mut |_| Ok(()))?;
        item.entry.object.content = content;
    }
    draft.pkgmap()
}

/// Writes the package of a draft.
pub(super) fn write(
    mut draft: PackageDraft,
    request: &MakeRequest,
    watch: &mut MakeWatch<'_>,
) -> Result<Pkgmap, MakeError> {
    let place = PackagePlace::of(request, &draft.package)?;
    (watch.tell)(MakeStep::Packaging);
    let now = Timestamp::whole(draft.now);
    // The leftovers of another run are not worth an error here.
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
    // So that two makings are the same.
    building.close(now)?;
    watch.check()?;
    match building.publish(place.overwrite) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Err(MakeError::Exists(place.path)),
        published => Ok(published.map(|()| pkgmap)?),
    }
}

/// Where the package is to stand.
struct PackagePlace {
    /// The directory that was named as the device.
    top: Dir,
    path: PathBuf,
    overwrite: bool,
}

impl PackagePlace {
    /// Finds out whether the package may stand there, before anything is written.
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

/// Writes a file of the making itself.
fn own_file(tree: &mut NewTree, name: &[u8], bytes: &[u8], now: Timestamp) -> Result<(), RootError> {
    tree.write(name, bytes, Mode::of(READABLE))?.set_mtime(now)
}

/// Writes the content of an item, and enters into the item what was written.
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

/// Gives the bytes of a source to `put`, and tells what they were, and what the file is.
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
