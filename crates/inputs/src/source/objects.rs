//! The second pass: the content of objects, in the order of the source.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

use super::error::{MISSING, SourceProblem};
use super::image::{Image, PackageImage};
use super::member::{MemberGroup, MemberKind, MemberStamp, PackagePart, SourceMember};
use super::scan::{check_content, check_size};
use super::{Source, SourceError};
use patchadm_changeset::format::manifest::{UndoManifest, decode};
use patchadm_changeset::stored_file::{StoredFile, StoredFileError};
use patchadm_rootfs::{Dir, Interrupt, InterruptibleRead, ObjectStatus, Root, Sums, never};
use patchadm_svr4::package::checksum::Checksum;
use patchadm_svr4::package::{ContentInfo, ObjectPath, PackagePath};

/// Up to this size, the data of a file with several names is kept in memory. A larger file costs a pass per name.
const HELD: u64 = 16 << 20;

/// Gets index of the package, path, header in the source, content.
pub type Sink<'a, E> = dyn FnMut(usize, &PackagePath, ObjectHeader, &mut dyn Read) -> Result<(), E> + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHeader {
    pub size: u64,
    /// Mode and time of the file that holds it.
    pub stamp: MemberStamp,
}

struct Want<'a> {
    package: usize,
    path: &'a PackagePath,
    part: u32,
    met: bool,
    stamp: MemberStamp,
}

impl<'a> Want<'a> {
    fn place(&self) -> (usize, &'a [u8]) {
        (self.package, self.path.as_bytes())
    }
}

struct Round<'a> {
    image: &'a Image,
    wants: Vec<Want<'a>>,
    index: Vec<usize>,
    groups: HashMap<MemberGroup, Vec<usize>>,
    filled: HashSet<MemberGroup>,
    links: HashMap<PackagePath, Vec<usize>>,
}

impl Source {
    /// Passes objects (`f`, `e`, `v`) that `wanted` accepts to `sink`, in the order of the source, a file with several
    /// names at one of them.
    ///
    /// A missing object is an error. Nothing is compared with the pkgmap (see [`Source::verify`]). If reading fails,
    /// the sink gets an error, and the [`SourceError`] is returned regardless of its reaction.
    pub fn stream<E: From<SourceError>>(
        &self,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        self.stream_until(image, wanted, &never, sink)
    }

    /// Like [`Self::stream`], with a signal check.
    pub fn stream_until<E: From<SourceError>>(
        &self,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        interrupt: Interrupt<'_>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        if let Some(stored) = &self.stored {
            return stored.stream(self, image, wanted, sink);
        }
        let mut round = Round::new(image, wanted);
        let directories = round.directories();
        loop {
            let before = round.missing().count();
            if before == 0 {
                return Ok(());
            }
            self.walk_within(
                &|directory| directories.contains(directory),
                interrupt,
                &mut |member, data| round.take(self, member, data, sink),
            )?;
            round.give_empty(sink)?;
            let after = round.missing().count();
            if after > 0 && (after == before || round.groups.is_empty() && round.links.is_empty()) {
                break;
            }
        }
        let Some(want) = round.missing().next() else { return Ok(()) };
        Err(self.error(round.corrupt(want, MISSING)).into())
    }

    /// Also compares size and sum with the pkgmap. The sink must read all content.
    pub fn stream_checked<E: From<SourceError>>(
        &self,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        self.stream_checked_until(image, wanted, &never, sink)
    }

    fn stream_checked_until<E: From<SourceError>>(
        &self,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        interrupt: Interrupt<'_>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let mut contents: HashMap<usize, HashMap<&PackagePath, ContentInfo>> = HashMap::new();
        let mut checked =
            |package: usize, path: &PackagePath, delivered: ObjectHeader, data: &mut dyn Read| {
                let of_package = contents.entry(package).or_insert_with(|| {
                    let files = image.packages.get(package).into_iter().flat_map(PackageImage::files);
                    files.map(|entry| (&entry.path, entry.object.content)).collect()
                });
                let expected = of_package.get(path).copied().unwrap_or_default();
                let corrupt = |reason| {
                    let name = image.packages.get(package).map_or("", |package| &package.directory);
                    self.error(SourceProblem::corrupt(name, path.to_string(), reason))
                };
                // Content of the wrong size is not read: it may be a few bytes that were compressed from gigabytes.
                check_size(expected, delivered.size).map_err(corrupt)?;
                let mut summed = Summed { inner: data, sum: Checksum::new(), size: 0 };
                sink(package, path, delivered, &mut summed)?;
                check_content(expected, summed.size, summed.sum.finish())
                    .map_err(|reason| corrupt(reason).into())
            };
        self.stream_until(image, wanted, interrupt, &mut checked)
    }

    /// Compares size and sum of all objects with the pkgmap. A signal ends it.
    pub fn verify(&self, image: &Image, interrupt: Interrupt<'_>) -> Result<(), SourceError> {
        let mut read = |package: usize, path: &PackagePath, _, data: &mut dyn Read| {
            let name = image.packages.get(package).map_or("", |package| &package.directory);
            let read = io::copy(data, &mut io::sink()).map(drop);
            read.map_err(|error| self.error(SourceProblem::read(&format!("{name}: {path}"), error)))
        };
        self.stream_checked_until(image, &mut |_, _| true, interrupt, &mut read)
    }
}

impl<'a> Round<'a> {
    fn new(image: &'a Image, wanted: &mut dyn FnMut(usize, &PackagePath) -> bool) -> Self {
        let mut wants = Vec::new();
        for (package, content) in image.packages.iter().enumerate() {
            for entry in content.files().filter(|entry| wanted(package, &entry.path)) {
                let (path, part, stamp) = (&entry.path, entry.part, MemberStamp::UNKNOWN);
                wants.push(Want { package, path, part, met: false, stamp });
            }
        }
        wants.shrink_to_fit();
        let mut index: Vec<usize> = (0..wants.len()).collect();
        index.sort_by_key(|&at| wants.get(at).map(Want::place));
        let (groups, filled, links) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { image, wants, index, groups, filled, links }
    }

    fn directories(&self) -> HashSet<&'a [u8]> {
        let packages: HashSet<usize> = self.wants.iter().map(|want| want.package).collect();
        let packages = packages.into_iter().filter_map(|package| self.image.packages.get(package));
        packages.map(|package| package.at.strip_suffix(b"/").unwrap_or(&package.at)).collect()
    }

    fn missing(&self) -> impl Iterator<Item = &Want<'a>> {
        self.wants.iter().filter(|want| !want.met)
    }

    fn corrupt(&self, want: &Want<'_>, reason: &str) -> SourceProblem {
        let package = self.image.packages.get(want.package).map_or("", |package| &package.directory);
        SourceProblem::corrupt(package, want.path.to_string(), reason)
    }

    fn want(&self, member: &SourceMember) -> Option<usize> {
        let (package, place) = self.image.locate(&member.path)?;
        let PackagePart::Object(part, path) = place else { return None };
        let found = self
            .index
            .binary_search_by_key(&Some((package, path)), |&at| self.wants.get(at).map(Want::place));
        let at = *self.index.get(found.ok()?)?;
        self.wants.get(at).is_some_and(|want| want.part == part).then_some(at)
    }

    fn take<E: From<SourceError>>(
        &mut self,
        source: &Source,
        member: &SourceMember,
        data: &mut dyn Read,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let own = self.want(member);
        let wanted = own.and_then(|at| self.wants.get(at));
        let refuse = |problem| Err(source.error(problem).into());
        match (&member.kind, wanted) {
            (MemberKind::File, _) => {}
            (MemberKind::HardLink(target), Some(_)) => {
                let names = self.links.entry(target.clone()).or_default();
                names.extend(own);
                return Ok(());
            }
            (MemberKind::Symlink, Some(want)) => {
                let package = self.image.packages.get(want.package).map(|package| package.directory.clone());
                let (package, file) = (package.unwrap_or_default(), want.path.clone());
                return refuse(SourceProblem::Symlink { package, file });
            }
            (_, Some(want)) => return refuse(self.corrupt(want, "not a regular file")),
            (_, None) => return Ok(()),
        }
        let wants = &self.wants;
        let is_open = |at: &usize| wants.get(*at).is_some_and(|want| !want.met);
        let mut names: Vec<usize> = own.into_iter().collect();
        if let Some(group) = member.group {
            if member.size == 0 {
                let names = self.groups.entry(group).or_default();
                names.extend(own);
                if let Some(want) = own.and_then(|at| self.wants.get_mut(at)) {
                    want.stamp = member.stamp;
                }
                return Ok(());
            }
            self.filled.insert(group);
            if let Some(of_group) = self.groups.get_mut(&group) {
                of_group.retain(is_open);
                names.extend_from_slice(of_group);
            }
        }
        if let Some(links) = self.links.get_mut(&member.path) {
            links.retain(is_open);
            names.extend_from_slice(links);
        }
        let mut known = HashSet::new();
        names.retain(|at| is_open(at) && known.insert(*at));
        self.give(source, &names, member, data, sink)
    }

    fn give<E: From<SourceError>>(
        &mut self,
        source: &Source,
        names: &[usize],
        member: &SourceMember,
        data: &mut dyn Read,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let delivered = ObjectHeader { size: member.size, stamp: member.stamp };
        let mut watched = WatchedMember { inner: data, member, left: member.size, failed: None };
        if names.len() > 1 && member.size <= HELD {
            let mut held = Vec::new();
            let read = watched.read_to_end(&mut held);
            let failed =
                watched.failed.or_else(|| Some(SourceProblem::read(&member.path.to_string(), read.err()?)));
            if let Some(problem) = failed {
                return Err(source.error(problem).into());
            }
            return names.iter().try_for_each(|&at| self.give_one(at, delivered, &mut &held[..], sink));
        }
        let Some(&first) = names.first() else { return Ok(()) };
        let given = self.give_one(first, delivered, &mut watched, sink);
        match watched.failed {
            Some(problem) => Err(source.error(problem).into()),
            None => given,
        }
    }

    fn give_one<E>(
        &mut self,
        at: usize,
        delivered: ObjectHeader,
        data: &mut dyn Read,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let Some(want) = self.wants.get_mut(at) else { return Ok(()) };
        want.met = true;
        sink(want.package, want.path, delivered, data)
    }

    /// Names of a group without data are empty files.
    fn give_empty<E: From<SourceError>>(&mut self, sink: &mut Sink<'_, E>) -> Result<(), E> {
        let empty = self.groups.iter().filter(|(group, _)| !self.filled.contains(group));
        let mut names: Vec<usize> = empty.flat_map(|(_, names)| names.iter().copied()).collect();
        names.retain(|&at| self.wants.get(at).is_some_and(|want| !want.met));
        names.sort_unstable();
        names.dedup();
        names.into_iter().try_for_each(|at| {
            let stamp = self.wants.get(at).map_or(MemberStamp::UNKNOWN, |want| want.stamp);
            self.give_one(at, ObjectHeader { size: 0, stamp }, &mut io::empty(), sink)
        })
    }
}

/// Reports why reading failed, and detects a premature end.
struct WatchedMember<'a> {
    inner: &'a mut dyn Read,
    member: &'a SourceMember,
    left: u64,
    failed: Option<SourceProblem>,
}

impl Read for WatchedMember<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let problem = match self.inner.read(buffer) {
            Ok(0) if self.left > 0 => {
                SourceProblem::BadForm(format!("member <{}> is shorter than announced", self.member.path))
            }
            Ok(count) => match self.left.checked_sub(count as u64) {
                Some(left) => {
                    self.left = left;
                    return Ok(count);
                }
                None => {
                    SourceProblem::BadForm(format!("member <{}> is longer than announced", self.member.path))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => SourceProblem::of_member(&self.member.path, error),
        };
        let message = problem.to_string();
        self.failed = Some(problem);
        Err(io::Error::other(message))
    }
}

struct Summed<'a> {
    inner: &'a mut dyn Read,
    sum: Checksum,
    size: u64,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }
}

// Some undo data describes objects that lie as files in undo directories of the root.

#[derive(Debug)]
pub(crate) struct StoredContent {
    root: Root,
    files: BTreeMap<PackagePath, StoredFile>,
}

impl StoredContent {
    pub(crate) fn of(root: &Root, manifest: &UndoManifest) -> Option<Self> {
        let directories = manifest.header.files.as_ref()?;
        let mut files = BTreeMap::new();
        for object in manifest.all_objects() {
            let member = object.member.as_ref().and_then(|member| PackagePath::new(&decode(member)).ok());
            let (Some(member), Some(stored)) = (member, object.stored_name()) else { continue };
            if let Some(directory) = directories.directory(stored.directory) {
                files.insert(member, StoredFile { directory, name: stored.name });
            }
        }
        Some(Self { root: root.clone(), files })
    }

    pub(crate) fn sums(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(&PackagePath, Sums)>, StoredFileError> {
        let mut opened = OpenDirectories { root: &self.root, dirs: BTreeMap::new() };
        let mut all = Vec::with_capacity(self.files.len());
        for (path, file) in &self.files {
            let (content, _) = opened.open(file)?;
            let sums = Sums::of(&mut InterruptibleRead::new(content, interrupt));
            let sums = sums.map_err(|error| StoredFileError::Unreadable(file.name.clone(), error))?;
            all.push((path, sums));
        }
        Ok(all)
    }

    pub(super) fn file(&self, path: &PackagePath) -> Option<&StoredFile> {
        self.files.get(path)
    }

    pub(super) fn stream<E: From<SourceError>>(
        &self,
        source: &Source,
        image: &Image,
        wanted: &mut dyn FnMut(usize, &PackagePath) -> bool,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let mut opened = OpenDirectories { root: &self.root, dirs: BTreeMap::new() };
        let files = image.packages.first().into_iter().flat_map(PackageImage::files);
        for path in files.map(|entry| &entry.path).filter(|path| wanted(0, path)) {
            let failed = |reason: String| {
                let package = image.packages.first().map_or("", |package| &package.directory);
                source.error(SourceProblem::corrupt(package, path.to_string(), reason))
            };
            let missing = || failed("the undo data does not say where it is".to_owned());
            let file = self.files.get(path).ok_or_else(missing)?;
            let (mut content, seen) = opened.open(file).map_err(|error| failed(error.to_string()))?;
            let stamp = MemberStamp { mode: seen.mode.bits(), mtime: seen.mtime.seconds };
            let header = ObjectHeader { size: seen.size, stamp };
            sink(0, path, header, &mut content as &mut dyn Read)?;
        }
        Ok(())
    }
}

struct OpenDirectories<'a> {
    root: &'a Root,
    dirs: BTreeMap<&'a ObjectPath, Dir>,
}

impl<'a> OpenDirectories<'a> {
    fn open(&mut self, file: &'a StoredFile) -> Result<(File, ObjectStatus), StoredFileError> {
        let directory = match self.dirs.entry(&file.directory) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(file.open_directory(self.root)?),
        };
        file.open_in(directory)
    }
}
