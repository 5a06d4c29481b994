//! The first pass over a source: everything except the content of objects, checked as far as possible.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::Arc;

use super::error::{MISSING, NO_PACKAGE, SourceProblem};
use super::image::{Form, Hooks, Image, ImageSignature, PackageImage, cut};
use super::member::{MemberKind, MemberStamp, PackagePart, SourceMember};
use super::room::{MOST_HELD, RoomTaken, SharedRoom};
use crate::format::objects_file::{OBJECTS, ObjectsFile};
use crate::sign::{LARGEST_MANIFEST, LARGEST_SIGNATURE, SignatureFormat, SignedFiles, is_of_manifest};
use patchadm_changeset::format::manifest as undo_manifest;
use patchadm_changeset::limits::LARGEST_MANIFEST as LARGEST_OF_UNDO_ARCHIVE;
use patchadm_rootfs::human;
use patchadm_svr4::format::deletes;
use patchadm_svr4::format::params::{self, ParamFile};
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, PkgmapError};
use patchadm_svr4::package::checksum;
use patchadm_svr4::package::{ContentInfo, PackagePath, Params, PkgInst};

const LARGEST_FILE: u64 = 16 << 20;

/// How much of a source is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// The bytes of names and package files, among them the pkgmaps.
    pub held: u64,
    /// The lines of a pkgmap.
    pub lines: usize,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { held: MOST_HELD, lines: usize::MAX }
    }
}

/// A patch directory and a package directory.
const DEEPEST: usize = 2;

fn largest_in_install(name: &[u8]) -> u64 {
    let of_undo_archive = [undo_manifest::MANIFEST, undo_manifest::RECORDS];
    let is_of_undo_archive = of_undo_archive.iter().any(|own| own.as_bytes() == name);
    if is_of_undo_archive { LARGEST_OF_UNDO_ARCHIVE } else { LARGEST_FILE }
}

/// Information files that a datastream must still show before its objects, by its pkgmaps.
#[derive(Debug, Default)]
pub(super) struct InformationLeft(HashSet<Vec<u8>>);

impl InformationLeft {
    pub(super) fn is_last(&mut self, member: &PackagePath, scan: &mut Scan) -> bool {
        let Some((directory, b"pkgmap")) = cut(member.as_bytes(), 1) else {
            return self.0.remove(member.as_bytes()) && self.0.is_empty();
        };
        let entries = scan.pkgmap(member).map(|pkgmap| &pkgmap.entries[..]).unwrap_or_default();
        let files = entries.iter().filter(|entry| entry.is_information()).map(PkgmapEntry::member_name);
        let files = files.filter(|name| name != b"pkginfo");
        self.0.extend(files.map(|name| [directory, &name].concat()));
        false
    }
}

#[derive(Debug)]
pub(super) struct Scan {
    limits: SourceLimits,
    room: u64,
    taken: RoomTaken,
    /// Of the taken bytes.
    of_names: u64,
    names: HashSet<PackagePath>,
    /// `None` for a file that is too large to be held.
    files: BTreeMap<PackagePath, Option<Vec<u8>>>,
    special: Vec<(PackagePath, MemberKind)>,
    class_archives: BTreeSet<PackagePath>,
    stamps: BTreeMap<PackagePath, MemberStamp>,
    pkgmaps: HashMap<PackagePath, Pkgmap>,
    holds_manifests: bool,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self::within(SourceLimits::default())
    }

    pub(super) fn within(limits: SourceLimits) -> Self {
        let (names, files) = (HashSet::new(), BTreeMap::new());
        let (special, class_archives) = (Vec::new(), BTreeSet::new());
        let (stamps, pkgmaps) = (BTreeMap::new(), HashMap::new());
        Self {
            limits,
            room: limits.held,
            taken: RoomTaken::default(),
            of_names: 0,
            names,
            files,
            special,
            class_archives,
            stamps,
            pkgmaps,
            holds_manifests: false,
        }
    }

    pub(super) fn sharing(self, room: Option<SharedRoom>) -> Self {
        Self { taken: RoomTaken::of(room), ..self }
    }

    /// Malformed pkgmaps are reported when the image is put together.
    fn pkgmap(&mut self, path: &PackagePath) -> Option<&Pkgmap> {
        let read = Pkgmap::parse(self.files.get(path)?.as_deref()?).ok()?;
        Some(self.pkgmaps.entry(path.clone()).or_insert(read))
    }

    pub(super) fn holding_manifests() -> Self {
        Self { holds_manifests: true, ..Self::new() }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &PackagePath> {
        self.names.iter()
    }

    pub(super) fn special(&self) -> impl Iterator<Item = (&PackagePath, &MemberKind)> {
        self.special.iter().map(|(path, kind)| (path, kind))
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (&PackagePath, Option<&[u8]>)> {
        self.names.iter().map(|path| (path, self.files.get(path).and_then(Option::as_deref)))
    }

    /// Beside the packages, with their directory, ended by `/` if it is not the top.
    pub(super) fn signed_files(&self) -> Result<Option<(Vec<u8>, SignedFiles)>, SourceProblem> {
        let (depth, directories) = self.packages()?;
        if depth == 0 {
            return Ok(None);
        }
        let top = directories.first().and_then(|at| cut(at, depth - 1)).map_or(&b""[..], |(top, _)| top);
        let bytes = |name: &str| {
            let file = self.files.get(&[top, name.as_bytes()].concat()[..])?;
            // A larger one is reported by its reader.
            let too_large = || vec![b'#'; usize::try_from(LARGEST_SIGNATURE + 1).unwrap_or_default()];
            Some(file.clone().unwrap_or_else(too_large))
        };
        let Some(manifest) = bytes("MANIFEST") else { return Ok(None) };
        let signature = SignatureFormat::ALL
            .into_iter()
            .find_map(|format| Some((format, bytes(&format!("MANIFEST{}", format.ending()))?)));
        Ok(Some((top.to_vec(), SignedFiles { manifest, signature })))
    }

    pub(super) fn has_pkcs7(&self) -> bool {
        let endings = [&b".RSA"[..], b".DSA", b".EC"];
        self.names.iter().any(|path| {
            let name = path.as_bytes().strip_prefix(b"META-INF/");
            name.is_some_and(|name| endings.iter().any(|ending| name.ends_with(ending)))
        })
    }

    pub(super) fn take(&mut self, member: &SourceMember, data: &mut dyn Read) -> Result<(), SourceProblem> {
        if member.kind == MemberKind::Directory {
            return Ok(());
        }
        let of_name = member.path.as_bytes().len() as u64 + 64;
        self.spend(of_name)?;
        self.of_names += of_name;
        if !self.names.insert(member.path.clone()) {
            let reason = "occurs twice".to_owned();
            return Err(SourceProblem::Unsafe { member: member.path.to_string(), reason });
        }
        if member.kind != MemberKind::File {
            self.special.push((member.path.clone(), member.kind.clone()));
            return Ok(());
        }
        let Some(limit) = self.limit(&member.path) else { return Ok(()) };
        let limit = limit.min(self.room);
        self.spend(member.size.min(limit))?;
        let bytes =
            read_up_to(data, limit + 1).map_err(|error| SourceProblem::of_member(&member.path, error))?;
        let length = bytes.len() as u64;
        if length <= limit && length != member.size {
            let reason = format!("{length} bytes, expected {}", member.size);
            return Err(SourceProblem::BadForm(format!("member <{}> has {reason}", member.path)));
        }
        self.stamps.insert(member.path.clone(), member.stamp);
        self.files.insert(member.path.clone(), (length <= limit).then_some(bytes));
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), SourceProblem> {
        let too_much = || {
            let held = human(self.limits.held);
            SourceProblem::BadForm(format!("it holds more than {held} of names and package files"))
        };
        self.room = self.room.checked_sub(bytes).ok_or_else(too_much)?;
        self.taken.take(bytes)
    }

    /// How much of a file may be held. The depth of packages is not known yet, so all depths count, but not inside a
    /// package that has shown itself.
    fn limit(&mut self, path: &PackagePath) -> Option<u64> {
        let bytes = path.as_bytes();
        let mut limit = None;
        for depth in 0..=DEEPEST {
            let Some((directory, rest)) = cut(bytes, depth) else { break };
            match PackagePart::of(rest) {
                PackagePart::Pkgmap => limit = Some(self.limits.held),
                PackagePart::Install(name) => limit = limit.max(Some(largest_in_install(name))),
                PackagePart::Pkginfo => limit = limit.max(Some(LARGEST_FILE)),
                PackagePart::ClassArchive => {
                    self.class_archives.insert(path.clone());
                }
                PackagePart::Elsewhere if self.holds_manifests && is_of_manifest(rest) => {
                    limit = limit.max(Some(if rest.contains(&b'.') {
                        LARGEST_SIGNATURE
                    } else {
                        LARGEST_MANIFEST
                    }));
                }
                PackagePart::Elsewhere if is_of_patch(rest) => limit = limit.max(Some(LARGEST_FILE)),
                _ => {}
            }
            if self.has(directory, "pkginfo") && self.has(directory, "pkgmap") {
                break;
            }
        }
        limit
    }

    fn has(&self, directory: &[u8], file: &str) -> bool {
        self.files.contains_key(&[directory, file.as_bytes()].concat()[..])
    }

    pub(super) fn finish(
        mut self,
        name: &str,
        form: Form,
        order: &HashMap<Vec<u8>, usize>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Image, SourceProblem> {
        let (depth, mut directories) = self.packages()?;
        directories.retain(|at| depth == 0 || wanted(&last_component(at)));
        if directories.is_empty() {
            return Err(SourceProblem::BadForm("it contains none of the requested packages".to_owned()));
        }
        directories.sort_by_key(|at| order.get(at));
        let top = directories.first().and_then(|at| cut(at, 1)).filter(|_| depth == DEEPEST);
        let top = top.map(|(top, _)| top.to_vec());
        if top.as_ref().is_some_and(|top| !directories.iter().all(|at| at.starts_with(top))) {
            return Err(SourceProblem::BadForm(
                "more than one top-level directory contains packages".to_owned(),
            ));
        }
        let mut packages = Vec::new();
        let with_objects = self.with_objects(depth, form);
        for at in directories {
            let is_description = matches!(form, Form::Datastream(_)) && !with_objects.contains(&at);
            packages.push(self.package(name, at, is_description)?);
        }
        let beside = top.clone().unwrap_or_default();
        let beside = (depth > 0).then_some(beside.as_slice());
        let patchinfo = self.beside(beside, "patchinfo")?.map(|bytes| ParamFile::parse(&bytes)).transpose();
        let patchinfo = patchinfo.map_err(|error| SourceProblem::BadForm(format!("patchinfo: {error}")))?;
        let patchinfo = patchinfo.map(|file| PatchinfoFile::from_params(&file.params()));
        let hooks = Hooks {
            prepatch: self.beside(beside, "prepatch")?,
            postpatch: self.beside(beside, "postpatch")?,
            prebackout: self.beside(beside, "prebackout")?,
            postbackout: self.beside(beside, "postbackout")?,
        };
        let readme = self.readme(beside);
        let top = top.map(|top| String::from_utf8_lossy(&top).trim_end_matches('/').to_owned());
        let index = packages.iter().map(|package| package.at.clone()).zip(0..).collect();
        let name = name.to_owned();
        let signature = ImageSignature::unchecked();
        // The names are dropped with the scan.
        self.taken.give_back(self.of_names);
        let taken = Arc::new(std::mem::take(&mut self.taken));
        let image = Image {
            name,
            top,
            form,
            packages,
            readme,
            patchinfo,
            hooks,
            signature,
            sha256: None,
            index,
            _taken: taken,
        };
        self.check_special(&image)?;
        Ok(image)
    }

    /// Returns the lowest depth at which a directory has both a pkginfo and a pkgmap.
    fn packages(&self) -> Result<(usize, Vec<Vec<u8>>), SourceProblem> {
        for depth in 0..=DEEPEST {
            let mut directories = Vec::new();
            for path in self.files.keys() {
                if let Some((at, b"pkginfo")) = cut(path.as_bytes(), depth) {
                    directories.push(at.to_vec());
                }
            }
            if directories.iter().any(|at| self.has(at, "pkgmap")) {
                return Ok((depth, directories));
            }
        }
        Err(SourceProblem::BadForm(NO_PACKAGE.to_owned()))
    }

    /// Returns the directories of packages that have more than a description, for a datastream.
    fn with_objects(&self, depth: usize, form: Form) -> HashSet<Vec<u8>> {
        let files = self.names.iter().filter_map(|path| cut(path.as_bytes(), depth));
        let objects = files.filter(|(_, file)| !matches!(*file, b"pkginfo" | b"pkgmap"));
        let is_datastream = matches!(form, Form::Datastream(_));
        objects.filter(|_| is_datastream).map(|(at, _)| at.to_vec()).collect()
    }

    fn package(
        &mut self,
        name: &str,
        at: Vec<u8>,
        is_description: bool,
    ) -> Result<PackageImage, SourceProblem> {
        let limits = self.limits;
        let directory = if at.is_empty() { name.to_owned() } else { last_component(&at) };
        let corrupt = |file: &str, reason: String| SourceProblem::CorruptPackageFile {
            package: directory.clone(),
            file: file.to_owned(),
            reason,
        };
        let archives = self.class_archives.range::<[u8], _>((Bound::Included(&at[..]), Bound::Unbounded));
        if let Some(archive) = archives.take(1).find(|path| path.as_bytes().starts_with(&at)) {
            return Err(SourceProblem::Unsupported(format!(
                "package {directory}: a class archive ({archive})"
            )));
        }
        let mut description =
            |file: &str, limit: &str| match inside(&at, file).and_then(|path| self.files.remove(&path)) {
                Some(Some(bytes)) => Ok(bytes),
                Some(None) => Err(corrupt(file, format!("it is larger than the limit of {limit}"))),
                None => Err(corrupt(file, "it is missing".to_owned())),
            };
        let pkginfo_bytes = description("pkginfo", "16 MiB")?;
        let pkgmap_bytes = description("pkgmap", &human(limits.held))?;
        let mut lines = pkgmap_bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        if limits.lines < usize::MAX && lines.nth(limits.lines).is_some() {
            return Err(corrupt("pkgmap", format!("it has more than {} lines", limits.lines)));
        }
        let params =
            ParamFile::parse(&pkginfo_bytes).map_err(|error| corrupt("pkginfo", error.to_string()))?.params();
        params::check(&pkginfo_bytes, &params).map_err(|error| corrupt("pkginfo", error.to_string()))?;
        check_name(&params).map_err(|reason| corrupt("pkginfo", reason))?;
        let known = inside(&at, "pkgmap").and_then(|path| self.pkgmaps.remove(&path));
        let pkgmap = known.map_or_else(|| Pkgmap::parse(&pkgmap_bytes), Ok).map_err(|error| match error {
            PkgmapError::NoRoom(_) => SourceProblem::read(
                &format!("{directory}/pkgmap"),
                io::Error::new(io::ErrorKind::OutOfMemory, error),
            ),
            error => corrupt("pkgmap", error.to_string()),
        })?;
        let install = self.install_files(&at)?;
        let deletes = install.get("deletes").map(|bytes| deletes::parse(bytes)).transpose();
        let deletes = deletes.map_err(|error| corrupt("deletes", error.to_string()))?.unwrap_or_default();
        let given = install.get(OBJECTS).map(|bytes| given_attributes(bytes, &pkgmap)).transpose();
        let given = given.map_err(|reason| corrupt(OBJECTS, reason))?.unwrap_or_default();
        let stamps = self.stamps_below(&at);
        let package = PackageImage {
            directory,
            params,
            pkginfo_bytes,
            pkgmap,
            pkgmap_bytes,
            install,
            deletes,
            given,
            is_description,
            at,
            stamps,
        };
        Ok(package)
    }

    fn install_files(&mut self, at: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, SourceProblem> {
        let prefix = [at, b"install/"].concat();
        let paths: Vec<_> = below(&self.files, &prefix).map(|(path, _)| path.clone()).collect();
        let mut install = BTreeMap::new();
        for path in paths {
            let name =
                String::from_utf8_lossy(path.as_bytes().get(prefix.len()..).unwrap_or_default()).into_owned();
            if let Some(bytes) = self.file(at, &format!("install/{name}"))? {
                install.insert(name, bytes);
            }
        }
        Ok(install)
    }

    fn stamps_below(&self, at: &[u8]) -> BTreeMap<String, MemberStamp> {
        let inside = below(&self.stamps, at)
            .filter_map(|(path, stamp)| Some((path.as_bytes().strip_prefix(at)?, stamp)));
        inside.map(|(name, stamp)| (String::from_utf8_lossy(name).into_owned(), *stamp)).collect()
    }

    fn file(&mut self, directory: &[u8], name: &str) -> Result<Option<Vec<u8>>, SourceProblem> {
        let Some(path) = inside(directory, name) else { return Ok(None) };
        match self.files.remove(&path) {
            None => Ok(None),
            Some(Some(bytes)) => Ok(Some(bytes)),
            Some(None) => {
                let limit = name
                    .strip_prefix("install/")
                    .map_or(LARGEST_FILE, |name| largest_in_install(name.as_bytes()));
                let reason = format!("{path} is larger than the limit of {} MiB", limit >> 20);
                Err(SourceProblem::BadForm(reason))
            }
        }
    }

    fn beside(&mut self, directory: Option<&[u8]>, name: &str) -> Result<Option<Vec<u8>>, SourceProblem> {
        directory.map_or(Ok(None), |directory| self.file(directory, name))
    }

    fn readme(&mut self, directory: Option<&[u8]>) -> Option<(String, Vec<u8>)> {
        let directory = directory?;
        let path = self.files.keys().find(|path| {
            path.as_bytes()
                .strip_prefix(directory)
                .is_some_and(|name| !name.contains(&b'/') && is_readme(name))
        });
        let path = path?.clone();
        let name = path.as_bytes().get(directory.len()..).unwrap_or_default();
        Some((String::from_utf8_lossy(name).into_owned(), self.files.remove(&path)??))
    }

    /// A pkgmap file must be a regular file, not a link or a device.
    fn check_special(&self, image: &Image) -> Result<(), SourceProblem> {
        let mut files: Vec<Option<HashSet<&[u8]>>> = vec![None; image.packages.len()];
        for (path, kind) in &self.special {
            let Some((index, PackagePart::Object(_, object))) = image.locate(path) else { continue };
            let (Some(package), Some(known)) = (image.packages.get(index), files.get_mut(index)) else {
                continue;
            };
            let known =
                known.get_or_insert_with(|| package.files().map(|entry| entry.path.as_bytes()).collect());
            let Some(object) = known.get(object).and_then(|object| PackagePath::new(object).ok()) else {
                continue;
            };
            let package = package.directory.clone();
            match kind {
                MemberKind::Symlink => return Err(SourceProblem::Symlink { package, file: object }),
                MemberKind::Other => {
                    return Err(SourceProblem::corrupt(&package, object.to_string(), "not a regular file"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn below<'m, V>(
    paths: &'m BTreeMap<PackagePath, V>,
    prefix: &'m [u8],
) -> impl Iterator<Item = (&'m PackagePath, &'m V)> {
    let from = paths.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
    from.take_while(move |(path, _)| path.as_bytes().starts_with(prefix))
}

/// The pkgmap must name each object that has additional attributes.
fn given_attributes(bytes: &[u8], pkgmap: &Pkgmap) -> Result<ObjectsFile, String> {
    let given = ObjectsFile::parse(bytes).map_err(|error| error.to_string())?;
    let objects = pkgmap.entries.iter().filter(|entry| !entry.is_information());
    let delivered: HashSet<&PackagePath> = objects.map(|entry| &entry.path).collect();
    match given.objects.keys().find(|path| !delivered.contains(path)) {
        Some(path) => Err(format!("the package delivers no {path}")),
        None => Ok(given),
    }
}

fn inside(directory: &[u8], name: &str) -> Option<PackagePath> {
    PackagePath::new(&[directory, name.as_bytes()].concat()).ok()
}

/// Returns the first bytes of a file. Memory grows with the bytes that arrive and by an eighth of them, so that a large
/// file takes little more than its size. One that does not fit is an error.
fn read_up_to(data: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let step = (bytes.len() / 8).max(1 << 16);
        let step = usize::try_from(most.saturating_sub(bytes.len() as u64)).unwrap_or(step).min(step);
        bytes.try_reserve_exact(step)?;
        if data.take(step as u64).read_to_end(&mut bytes)? < step || step == 0 {
            // With many packages, every small file would otherwise keep the room of a large one.
            bytes.shrink_to_fit();
            return Ok(bytes);
        }
    }
}

pub(super) fn last_component(at: &[u8]) -> String {
    let path = at.strip_suffix(b"/").unwrap_or(at);
    String::from_utf8_lossy(patchadm_svr4::package::last_component(path)).into_owned()
}

fn is_of_patch(name: &[u8]) -> bool {
    matches!(name, b"patchinfo" | b"prepatch" | b"postpatch" | b"prebackout" | b"postbackout")
        || !name.contains(&b'/') && is_readme(name)
}

fn is_readme(name: &[u8]) -> bool {
    name.starts_with(b"README") || name.ends_with(b".README")
}

fn check_name(params: &Params) -> Result<(), String> {
    let name = params.get("PKG").ok_or("PKG is missing")?;
    let name = std::str::from_utf8(name).map_err(|_| "PKG has stray bytes")?;
    PkgInst::new(name).map_err(|error| format!("PKG: {error}"))?;
    Ok(())
}

/// Information files must agree with the pkgmap.
pub(super) fn check_information(package: &PackageImage) -> Result<(), SourceProblem> {
    for entry in package.pkgmap.entries.iter().filter(|entry| entry.is_information()) {
        let name = String::from_utf8_lossy(entry.path.as_bytes());
        let (file, bytes) = match &*name {
            "pkginfo" => ("pkginfo".to_owned(), Some(&package.pkginfo_bytes)),
            name => (format!("install/{name}"), package.install.get(name)),
        };
        let Some(bytes) = bytes else {
            return Err(SourceProblem::corrupt(&package.directory, file, MISSING));
        };
        check_content(entry.object.content, bytes.len() as u64, checksum::sum(bytes))
            .map_err(|reason| SourceProblem::corrupt(&package.directory, file, reason))?;
    }
    Ok(())
}

/// The time is not compared: zip files and version control lose it.
pub(super) fn check_content(expected: ContentInfo, size: u64, cksum: u16) -> Result<(), String> {
    check_size(expected, size)?;
    if let Some(expected) = expected.cksum.filter(|&expected| expected != cksum) {
        return Err(format!("sum {cksum}, expected {expected}"));
    }
    Ok(())
}

pub(super) fn check_size(expected: ContentInfo, size: u64) -> Result<(), String> {
    match expected.size.filter(|&expected| expected != size) {
        Some(expected) => Err(format!("size {size}, expected {expected}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::read_up_to;

    #[test]
    fn a_small_file_takes_no_room_of_a_large_one() {
        let bytes = read_up_to(&mut &b"PKG=X\n"[..], 1 << 24).unwrap();
        assert!(bytes.capacity() < 64, "{}", bytes.capacity());
        let large = vec![b'x'; 200_000];
        let read = read_up_to(&mut &large[..], 1 << 24).unwrap();
        assert!(read == large && read.capacity() < 250_000, "{}", read.capacity());
    }
}
