//! Writes a package beside its place, and moves it there as a whole.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::error::MakeError;
use super::lookup::{Source, open};
use super::mapping::Item;
use super::{Draft, MakeRequest, Step, Watch, parameters};
use crate::format::pkgmap::Pkgmap;
use crate::package::checksum::Sum;
use crate::package::{Content, Mode, ObjectPath, PkgInst, Timestamp};
use crate::root::{Dir, FileType, Root, RootError, random};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;
/// What everybody may do with the files of a package, and what is kept of their own mode (pkgmk(1)).
const READABLE: u32 = 0o644;
const KEPT: u32 = 0o777;

/// Reads all sources and writes nothing.
pub(super) fn read(mut draft: Draft, watch: &mut Watch<'_>) -> Result<Pkgmap, MakeError> {
    for item in &mut draft.items {
        let Some(source) = &item.source else { continue };
        watch.check()?;
        let (content, _) = pass(source, draft.now, watch, &mut |_| Ok(()))?;
        item.entry.object.content = content;
    }
    draft.pkgmap()
}

/// Writes the package of a draft.
pub(super) fn write(
    mut draft: Draft,
    request: &MakeRequest,
    watch: &mut Watch<'_>,
) -> Result<Pkgmap, MakeError> {
    let place = Place::of(request, &draft.package)?;
    (watch.tell)(Step::Packaging);
    let building = Building::begin(&place.top, &draft.package, draft.now)?;
    for name in ["pkgmap", "pkginfo"] {
        (watch.tell)(Step::Writing(place.path.join(name)));
    }
    building.file(b"pkginfo", &draft.pkginfo)?;
    let mut directories = BTreeSet::new();
    for item in &mut draft.items {
        let Some(member) = item.member() else { continue };
        watch.check()?;
        (watch.tell)(Step::Writing(place.path.join(as_path(&member))));
        building.member(item, &member, &mut directories, watch)?;
    }
    (watch.tell)(Step::Validating);
    parameters::check_scripts(&draft.parameters, &draft.items, watch);
    let package = draft.package.clone();
    let pkgmap = draft.pkgmap()?;
    building.file(b"pkgmap", &pkgmap.write())?;
    building.date(&directories)?;
    watch.check()?;
    building.publish(&place, &package)?;
    Ok(pkgmap)
}

/// Where the package is to stand.
struct Place {
    /// The directory that was named as the device.
    top: Dir,
    path: PathBuf,
    overwrite: bool,
}

impl Place {
    /// Finds out whether the package may stand there, before anything is written.
    fn of(request: &MakeRequest, package: &PkgInst) -> Result<Self, MakeError> {
        let top = Root::open(&request.device)?.dir(&ObjectPath::root())?;
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

/// A package that is being written. It stands in a private directory of its own, so that nobody takes it for a package
/// before it is one; whatever is left there goes with the value.
struct Building {
    top: Dir,
    name: Vec<u8>,
    private: Dir,
    /// The directory of the package.
    package: Dir,
    instance: Vec<u8>,
    now: Timestamp,
}

impl Drop for Building {
    fn drop(&mut self) {
        // What cannot be removed stays under a name that says what it was.
        let _ = self.top.remove_tree(&self.name);
    }
}

impl Building {
    fn begin(top: &Dir, package: &PkgInst, now: i64) -> Result<Self, RootError> {
        let name = format!(".pkgmk-{:016x}", random()?).into_bytes();
        let private = top.make_dir(&name, Mode::of(0o700))?;
        let instance = package.as_str().as_bytes().to_vec();
        let made = top.again().and_then(|top| Ok((top, private.make_dir(&instance, Mode::of(0o755))?)));
        match made {
            Ok((top, package)) => {
                Ok(Self { top, name, private, package, instance, now: Timestamp::whole(now) })
            }
            Err(error) => {
                // The first error is the one to be told.
                let _ = top.remove_tree(&name);
                Err(error)
            }
        }
    }

    /// Writes a file of the making itself.
    fn file(&self, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
        let mut file = self.package.create(name)?;
        file.put(bytes)?;
        file.set_mode(Mode::of(READABLE))?;
        file.set_mtime(self.now)
    }

    /// Writes the content of an item, and enters into the item what was written.
    fn member(
        &self,
        item: &mut Item,
        member: &[u8],
        directories: &mut BTreeSet<Vec<u8>>,
        watch: &Watch<'_>,
    ) -> Result<(), MakeError> {
        let Some(source) = &item.source else { return Ok(()) };
        let (dir, name) = self.directory_of(member, directories)?;
        let mut file = dir.create(name)?;
        let (content, seen) = pass(source, self.now.seconds, watch, &mut |bytes| file.put(bytes))?;
        let mode = item.entry.object.attributes.mode.map(Mode::bits);
        let mode = mode.or(seen.as_ref().map(Metadata::mode)).unwrap_or(READABLE);
        file.set_mode(Mode::of((mode | READABLE) & KEPT))?;
        file.set_mtime(seen.map_or(self.now, |seen| Timestamp {
            seconds: seen.mtime(),
            nanoseconds: u32::try_from(seen.mtime_nsec()).unwrap_or_default(),
        }))?;
        item.entry.object.content = content;
        Ok(())
    }

    /// The directory of a member, made where it is not there yet, and the name in it.
    fn directory_of<'m>(
        &self,
        member: &'m [u8],
        directories: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(Dir, &'m [u8]), RootError> {
        let mut dir = self.package.again()?;
        let mut start = 0;
        while let Some(length) = member.iter().skip(start).position(|&byte| byte == b'/') {
            let end = start + length;
            let name = member.get(start..end).unwrap_or_default();
            dir = if directories.insert(member.get(..end).unwrap_or_default().to_vec()) {
                dir.make_dir(name, Mode::of(0o755))?
            } else {
                dir.dir(name)?
            };
            start = end + 1;
        }
        Ok((dir, member.get(start..).unwrap_or_default()))
    }

    /// Gives all directories the time of the making, so that two makings are the same.
    fn date(&self, directories: &BTreeSet<Vec<u8>>) -> Result<(), RootError> {
        for path in directories {
            let mut parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
            let Some(name) = parts.pop() else { continue };
            let dir = parts.into_iter().try_fold(self.package.again()?, |dir, part| dir.dir(part))?;
            dir.set_mtime(name, self.now)?;
        }
        self.private.set_mtime(&self.instance, self.now)
    }

    /// Moves the package to its place, in exchange for what is there.
    fn publish(self, place: &Place, package: &PkgInst) -> Result<(), MakeError> {
        let name = package.as_str().as_bytes();
        match self.private.move_to(name, &place.top, name) {
            Err(error) if error.errno() == Some(Errno::EXIST) && place.overwrite => {}
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                return Err(MakeError::Exists(place.path.clone()));
            }
            other => return Ok(other?),
        }
        match self.private.exchange(name, &place.top, name) {
            // A file system that cannot exchange: for a moment no package is there.
            Err(error) if error.errno() == Some(Errno::INVAL) => {
                place.top.move_to(name, &self.private, b".old")?;
                Ok(self.private.move_to(name, &place.top, name)?)
            }
            other => Ok(other?),
        }
    }
}

/// Gives the bytes of a source to `put`, and tells what they were, and what the file is.
fn pass(
    source: &Source,
    now: i64,
    watch: &Watch<'_>,
    put: &mut dyn FnMut(&[u8]) -> Result<(), RootError>,
) -> Result<(Content, Option<Metadata>), MakeError> {
    let Source::File(path) = source else {
        return Ok((Content { size: Some(0), cksum: Some(0), mtime: Some(now) }, None));
    };
    let unreadable = |error| MakeError::Read { path: path.clone(), error };
    let mut file = open(path).map_err(unreadable)?;
    let seen = file.metadata().map_err(unreadable)?;
    let (mut size, mut sum) = (0, Sum::new());
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match file.read(&mut buffer) {
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
    let content = Content { size: Some(size), cksum: Some(sum.finish()), mtime: Some(seen.mtime()) };
    Ok((content, Some(seen)))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}
