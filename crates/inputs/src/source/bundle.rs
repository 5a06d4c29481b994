//! Bundles: directories and archives of several patches, such as recommended sets and clusters of vendors. Patches of
//! a directory are used in place. Patches of an archive are unpacked once into a private directory: reading in place
//! would decompress the whole archive for each.
//!
//! ```text
//! 10_Recommended/patch_order        the ids, one a line; without it all patches in the bundle count
//! 10_Recommended/CLUSTER_README     NAME: the name of the set
//! 10_Recommended/106793-01/…        a patch as a directory, or
//! 10_Recommended/106793-02.zip      a patch as an archive, with its manifest and signature beside it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::SourceProblem;
use super::image::{Form, cut};
use super::member::{MemberKind, SourceMember};
use super::{Source, SourceError};
use crate::input_file::InputDirectory;
use crate::sign::file_of_manifest;
use patchadm_rootfs::{Dir, Interrupt, RootError, Timestamp, UnnamedDirectory};
use patchadm_svr4::format::patch_order;
use patchadm_svr4::package::{Mode, PackagePath};
use patchadm_svr4::patch::PatchId;

const PROGRAM: &str = "patchadm-bundle";

/// `10_Recommended/patches`.
const DEEPEST: usize = 2;

/// Of a member: no patch that is nested deeper can be opened.
const DEEPEST_MEMBER: usize = 256;

const MOST_PATCHES: usize = 100_000;
const LARGEST_TEXT: u64 = 4 << 20;
const BUFFER: usize = 1 << 18;

/// Disk space of a file or directory in addition to its content, in bytes.
const BLOCK: u64 = 4096;

/// Its patches are not open yet.
#[derive(Debug)]
pub struct Bundle {
    source: Source,
    texts: BundleTexts,
    patches: BTreeMap<PackagePath, BundledPatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleTexts {
    /// The words of `patch_order`.
    pub order: Option<Vec<String>>,
    /// In `CLUSTER_README`.
    pub name: Option<String>,
}

#[derive(Debug, Default)]
struct BundledPatch {
    bytes: u64,
    files: u64,
}

/// They can be opened as sources.
#[derive(Debug)]
pub struct BundlePatches {
    /// Sorted by name.
    pub paths: Vec<PathBuf>,
    pub texts: BundleTexts,
    _unpacked: Option<UnnamedDirectory>,
}

impl Bundle {
    /// Returns `None` if the operand has no patches below its top: it can only be a patch itself.
    pub fn open(path: &Path, interrupt: Interrupt<'_>) -> Result<Option<Self>, SourceError> {
        let source = Source::open(path, interrupt)?;
        let mut bundle = Self { source, texts: BundleTexts::default(), patches: BTreeMap::new() };
        if bundle.source.form == Form::Directory {
            bundle.look_into_directory()?;
        } else {
            bundle.look_into_archive(interrupt)?;
        }
        Ok((!bundle.patches.is_empty()).then_some(bundle))
    }

    /// A directory, or an archive with several patches, with archives, or with an order. An archive with one directory
    /// of packages may be a damaged patch.
    pub fn is_set(&self) -> bool {
        let is_archive = |at: &PackagePath| is_archive_of_id(&String::from_utf8_lossy(last(at).1));
        self.source.form == Form::Directory
            || self.patches.len() > 1
            || self.texts.order.is_some()
            || self.patches.keys().any(is_archive)
    }

    pub fn texts(&self) -> &BundleTexts {
        &self.texts
    }

    /// Returns the patches. Patches of an archive are unpacked into a private directory below `place`, if they fit
    /// beside its reserve. A signal ends this and leaves nothing there.
    pub fn patches(self, place: &Dir, interrupt: Interrupt<'_>) -> Result<BundlePatches, SourceError> {
        let path = self.source.path.clone();
        if self.source.form == Form::Directory {
            let paths = self.patches.keys().map(|at| below(&path, at)).collect();
            return Ok(BundlePatches { paths, texts: self.texts, _unpacked: None });
        }
        let fail =
            |error: RootError| SourceError { path: path.clone(), problem: SourceProblem::Spool(error) };
        self.check_space(place)?;
        // Leftovers of another run do not matter here.
        let _ = place.remove_leftovers(PROGRAM);
        let mut unpacked = UnnamedDirectory::begin(place, PROGRAM, b"bundle").map_err(fail)?;
        self.unpack(&mut unpacked, interrupt)?;
        let top = unpacked.private_path();
        let paths = self.patches.keys().map(|at| below(&top, at)).collect();
        Ok(BundlePatches { paths, texts: self.texts, _unpacked: Some(unpacked) })
    }

    fn look_into_directory(&mut self) -> Result<(), SourceError> {
        let path = self.source.path.clone();
        for inside in ["", "patches"] {
            let names = match all_patches_in(&path.join(inside)) {
                Err(_) if !inside.is_empty() => continue,
                names => names.map_err(|error| self.source.error(SourceProblem::Io { file: None, error }))?,
            };
            for name in names {
                let at = Path::new(inside).join(name);
                if let Ok(at) = PackagePath::new(at.as_os_str().as_bytes()) {
                    self.patches.insert(at, BundledPatch::default());
                }
            }
        }
        let mut texts = BundleTexts::default();
        let directory = InputDirectory::open(&path);
        for name in [ORDER, CLUSTER] {
            let file = directory.as_ref().ok().and_then(|directory| directory.file(Path::new(name)).ok());
            let Some(file) = file else { continue };
            texts.read(name.as_bytes(), &mut &file).map_err(|problem| self.source.error(problem))?;
        }
        self.texts = texts;
        Ok(())
    }

    fn look_into_archive(&mut self, interrupt: Interrupt<'_>) -> Result<(), SourceError> {
        let (mut survey, mut texts) = (ArchiveSurvey::default(), BundleTexts::default());
        let source = &self.source;
        source.walk::<SourceError>(interrupt, &mut |member, data| {
            let (_, name) = last(&member.path);
            if member.kind == MemberKind::File
                && depth(&member.path) <= DEEPEST
                && [ORDER, CLUSTER].map(str::as_bytes).contains(&name)
            {
                texts.read(name, data).map_err(|problem| source.error(problem))?;
            }
            survey.take(member).map_err(|problem| source.error(problem))
        })?;
        self.texts = texts;
        self.patches = survey.finish();
        Ok(())
    }

    fn check_space(&self, place: &Dir) -> Result<(), SourceError> {
        let needed =
            self.patches.values().map(|patch| patch.bytes.saturating_add(patch.files.saturating_mul(BLOCK)));
        let needed = needed.fold(0_u64, u64::saturating_add);
        let space = place.space().map_err(|error| self.source.error(SourceProblem::Spool(error)))?;
        let free = space.beside_reserve();
        if needed <= free {
            return Ok(());
        }
        let place = place.root().show(&place.at(b""));
        Err(self.source.error(SourceProblem::NoSpool { needed, free, place }))
    }

    fn unpack(&self, unpacked: &mut UnnamedDirectory, interrupt: Interrupt<'_>) -> Result<(), SourceError> {
        let fail = |error: RootError| self.source.error(SourceProblem::Spool(error));
        let mut buffer = vec![0; BUFFER];
        self.source.walk::<SourceError>(interrupt, &mut |member, data| {
            let Some(patch) = self.patch_of(&member.path) else { return Ok(()) };
            let name = member.path.as_bytes();
            match &member.kind {
                MemberKind::Directory => unpacked.tree.directory(name).map(drop).map_err(fail),
                MemberKind::File => {
                    let mut file = unpacked.tree.file(name).map_err(fail)?;
                    copy(member, data, &mut buffer, &mut |part| file.put(part).map_err(SourceProblem::Spool))
                        .map_err(|problem| self.source.error(problem))?;
                    file.set_mode(Mode::of(member.stamp.mode & 0o777 | 0o600)).map_err(fail)?;
                    file.set_mtime(Timestamp::whole(member.stamp.mtime)).map_err(fail)
                }
                // A link elsewhere would need files that are not unpacked.
                MemberKind::HardLink(target) if self.patch_of(target) == Some(patch) => {
                    unpacked.tree.link(target.as_bytes(), name).map_err(fail)
                }
                // Opening the patch reports them if they are needed.
                MemberKind::HardLink(_) | MemberKind::Symlink | MemberKind::Other => Ok(()),
            }
        })
    }

    /// Returns the file itself, a file of the same name with an ending, or its directory.
    fn patch_of(&self, path: &PackagePath) -> Option<&PackagePath> {
        let known = |path: &[u8]| self.patches.get_key_value(path).map(|(path, _)| path);
        let bytes = path.as_bytes();
        let itself = || known(bytes).or_else(|| known(file_of_manifest(bytes)?));
        directories_above(bytes).find_map(known).or_else(itself)
    }
}

const ORDER: &str = "patch_order";
const CLUSTER: &str = "CLUSTER_README";

impl BundleTexts {
    fn read(&mut self, name: &[u8], data: &mut dyn Read) -> Result<(), SourceProblem> {
        let mut text = Vec::new();
        data.take(LARGEST_TEXT + 1).read_to_end(&mut text).map_err(SourceProblem::of_archive)?;
        if text.len() as u64 > LARGEST_TEXT {
            let reason = format!("{} is larger than the limit of 4 MiB", name.escape_ascii());
            return Err(SourceProblem::BadForm(reason));
        }
        if name == ORDER.as_bytes() {
            let order = patch_order::parse(&text);
            self.order = Some(order.map_err(|error| SourceProblem::BadForm(format!("{ORDER}: {error}")))?);
        } else {
            self.name = patch_order::cluster_name(&text);
        }
        Ok(())
    }
}

/// Packages reveal the patches of an archive, and come in any order.
#[derive(Debug, Default)]
struct ArchiveSurvey {
    pkginfos: BTreeSet<PackagePath>,
    archives: BTreeMap<PackagePath, BundledPatch>,
    directories: BTreeMap<PackagePath, BundledPatch>,
    /// The path of the last member.
    last: Vec<u8>,
}

impl ArchiveSurvey {
    fn take(&mut self, member: &SourceMember) -> Result<(), SourceProblem> {
        let bytes = member.path.as_bytes();
        if depth(&member.path) > DEEPEST_MEMBER {
            let shown = bytes.get(..80).unwrap_or(bytes).escape_ascii();
            return Err(SourceProblem::BadForm(format!("directories are nested too deeply below {shown}")));
        }
        let files = 1 + self.directories_for(bytes);
        let size = if member.kind == MemberKind::File { member.size } else { 0 };
        for depth in 1..=DEEPEST + 1 {
            let Some((directory, rest)) = cut(bytes, depth) else { break };
            let Ok(directory) = PackagePath::new(directory) else { break };
            let is_pkginfo = rest.strip_suffix(b"/pkginfo").is_some_and(|package| !package.contains(&b'/'));
            if is_pkginfo {
                self.pkginfos.insert(directory.clone());
            }
            self.directories.entry(directory).or_default().add(size, files);
        }
        let (_, name) = last(&member.path);
        if member.kind == MemberKind::File
            && depth(&member.path) <= DEEPEST
            && is_archive_of_id(&String::from_utf8_lossy(name))
        {
            self.archives.entry(member.path.clone()).or_default().add(size, files);
        } else if let Some(archive) = file_of_manifest(bytes).and_then(|of| PackagePath::new(of).ok())
            && let Some(patch) = self.archives.get_mut(&archive)
        {
            patch.add(size, files);
        }
        if self.directories.len().max(self.archives.len()) > MOST_PATCHES {
            let reason = format!("it holds more than {MOST_PATCHES} directories at its top level");
            return Err(SourceProblem::BadForm(reason));
        }
        Ok(())
    }

    /// Returns the number of directories that a member may need and the one before it did not.
    fn directories_for(&mut self, path: &[u8]) -> u64 {
        let common = self.last.iter().zip(path).take_while(|(last, byte)| last == byte).count();
        self.last.clear();
        self.last.extend_from_slice(path);
        path.iter().skip(common).filter(|byte| **byte == b'/').count() as u64
    }

    /// Archives outside of all packages, and the outermost directories of packages.
    fn finish(mut self) -> BTreeMap<PackagePath, BundledPatch> {
        let mut patches: BTreeMap<PackagePath, BundledPatch> = BTreeMap::new();
        let is_inside = |path: &PackagePath| {
            directories_above(path.as_bytes()).any(|directory| self.pkginfos.contains(directory))
        };
        for directory in &self.pkginfos {
            if !is_inside(directory)
                && let Some(patch) = self.directories.remove(directory)
            {
                patches.insert(directory.clone(), patch);
            }
        }
        patches.extend(self.archives.into_iter().filter(|(path, _)| !is_inside(path)));
        patches
    }
}

impl BundledPatch {
    fn add(&mut self, size: u64, files: u64) {
        self.bytes = self.bytes.saturating_add(size);
        self.files = self.files.saturating_add(files);
    }
}

fn last(path: &PackagePath) -> (&[u8], &[u8]) {
    let bytes = path.as_bytes();
    bytes.split_at(bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1))
}

fn depth(path: &PackagePath) -> usize {
    path.as_bytes().split(|&byte| byte == b'/').count().saturating_sub(1)
}

/// Candidates above a path, outermost first, without a trailing slash.
fn directories_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.take(DEEPEST + 1).filter_map(|(at, _)| path.get(..at))
}

fn below(top: &Path, at: &PackagePath) -> PathBuf {
    top.join(OsStr::from_bytes(at.as_bytes()))
}

/// Fails unless the content is as long as its archive says.
fn copy(
    member: &SourceMember,
    data: &mut dyn Read,
    buffer: &mut [u8],
    put: &mut dyn FnMut(&[u8]) -> Result<(), SourceProblem>,
) -> Result<(), SourceProblem> {
    let mut rest = member.size;
    loop {
        let count = match data.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| SourceProblem::of_member(&member.path, error))?,
        };
        match (count as u64, buffer.get(..count)) {
            (0, _) if rest == 0 => return Ok(()),
            (count, Some(part)) if count > 0 && count <= rest => {
                rest -= count;
                put(part)?;
            }
            _ => {
                let reason =
                    format!("member <{}> is not {} bytes long, as its header says", member.path, member.size);
                return Err(SourceProblem::BadForm(reason));
            }
        }
    }
}

// To list patches, only directories and the beginning of a pkginfo are opened.

const MOST_NAMES: usize = 10_000;
const MOST_DIRECTORIES: usize = 1_000;
const MOST_PACKAGES: usize = 64;
const BEGINNING: u64 = 64 << 10;
const MARKS: [&[u8]; 2] = [b"SUNW_PATCHID=", b"Patch_label="];

const ENDINGS: [&str; 20] = [
    ".zip", ".jar", ".tar", ".tar.gz", ".tar.Z", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".taz", ".tbz2",
    ".txz", ".tzst", ".pkg", ".pkg.gz", ".pkg.Z", ".pkg.bz2", ".pkg.xz", ".pkg.zst", ".ds",
];

/// Returns at most ten thousand sorted names in a directory, with true for directories; none if it is unreadable.
pub fn directory_names(directory: &Path) -> Vec<(OsString, bool)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.take(MOST_NAMES).filter_map(Result::ok);
    let named = entries.map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (entry.file_name(), is_directory)
    });
    let mut names: Vec<_> = named.collect();
    names.sort();
    names
}

/// Returns the sorted names of patches in a directory, with true for directories: entries named by an id, archives with
/// a patch, and directories with sparse packages.
pub fn patches_in(directory: &Path) -> Vec<(OsString, bool)> {
    only_patches(directory, directory_names(directory), MOST_DIRECTORIES)
}

/// Fails on system errors: an incomplete set would be taken for the whole.
pub fn all_patches_in(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir())));
    }
    names.sort();
    Ok(only_patches(directory, names, usize::MAX).into_iter().map(|(name, _)| name).collect())
}

/// `looks` limits the directories that are opened to find out their kind.
fn only_patches(
    directory: &Path,
    mut names: Vec<(OsString, bool)>,
    mut looks: usize,
) -> Vec<(OsString, bool)> {
    names.retain(|(name, is_directory)| {
        let text = name.to_string_lossy();
        let mut holds_packages = || {
            looks = looks.saturating_sub(1);
            looks > 0 && holds_packages(&directory.join(name))
        };
        is_id(&text) || if *is_directory { holds_packages() } else { is_archive_of_id(&text) }
    });
    names
}

/// An id, but not a description such as `README.105181-05`.
fn is_id(name: &str) -> bool {
    !name.contains('.') && PatchId::new(name).is_ok()
}

pub(super) fn is_archive_of_id(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.strip_suffix(ending).is_some_and(is_id))
}

fn holds_packages(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    let Ok(top) = InputDirectory::open(directory) else { return false };
    let mut inside = entries.take(MOST_PACKAGES).filter_map(Result::ok);
    inside.any(|entry| {
        let pkginfo = Path::new(&entry.file_name()).join("pkginfo");
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_of_patch(&top, &pkginfo)
    })
}

/// The ending of an archive, or an id.
pub fn is_called_as_patch(name: &str) -> bool {
    is_id(name) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_of_patch(directory: &InputDirectory, pkginfo: &Path) -> bool {
    let text = directory.read_start(pkginfo, BEGINNING).ok().flatten().unwrap_or_default();
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.any(|line| MARKS.iter().any(|mark| line.starts_with(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::never;

    use std::fs;

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o4755);
            header.set_mtime(1_000_000);
            archive.append_data(&mut header, name, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    /// A recommended set: a patch as a directory, one as an archive with its manifest, and a file that is not a patch.
    const SET: [(&str, &[u8]); 10] = [
        ("10_Rec/CLUSTER_README", b"NAME: Recommended\n"),
        ("10_Rec/patch_order", b"# all\n100-01\n101-02\n"),
        ("10_Rec/100-01/README.100-01", b"read me"),
        ("10_Rec/100-01/SUNWa/pkginfo", b"PKG=SUNWa\n"),
        ("10_Rec/100-01/SUNWa/pkgmap", b": 1 1\n"),
        ("10_Rec/100-01/SUNWa/reloc/102-01.zip", b"an object"),
        ("10_Rec/101-02.zip", b"PK\x03\x04"),
        ("10_Rec/101-02.zip.manifest", b"# patchadm manifest 1\n"),
        ("10_Rec/copyright", b"nobody"),
        ("10_Rec/install_cluster", b"#!/bin/sh\n"),
    ];

    fn names(patches: &BundlePatches) -> Vec<String> {
        patches.paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_patches_of_an_archive_are_unpacked_once_and_go_with_the_value() {
        let dir = tempfile::tempdir().unwrap();
        let (file, place) = (dir.path().join("set.tar"), dir.path().join("place"));
        fs::write(&file, tar(&SET)).unwrap();
        fs::create_dir(&place).unwrap();
        let bundle = Bundle::open(&file, &never).unwrap().unwrap();
        let texts = BundleTexts {
            order: Some(vec!["100-01".to_owned(), "101-02".to_owned()]),
            name: Some("Recommended".to_owned()),
        };
        assert_eq!(bundle.texts(), &texts);
        let patches = bundle.patches(&Dir::of_host(&place).unwrap(), &never).unwrap();
        assert_eq!(names(&patches), ["100-01", "101-02.zip"]);
        let inside = |path: &str| fs::read_to_string(patches.paths[0].join(path)).unwrap();
        assert_eq!(inside("SUNWa/reloc/102-01.zip"), "an object", "an object is no patch");
        assert_eq!(inside("README.100-01"), "read me");
        let top = patches.paths[0].parent().unwrap();
        assert!(top.join("101-02.zip.manifest").exists() && !top.join("copyright").exists());
        drop(patches);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    }

    #[test]
    fn patches_that_would_take_the_reserve_of_the_disk_are_not_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("set.tar");
        fs::write(&file, tar(&SET)).unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let mut bundle = Bundle::open(&file, &never).unwrap().unwrap();
        let free = place.space().unwrap().bytes;
        let large = BundledPatch { bytes: free, files: 1 };
        bundle.patches.insert(PackagePath::new(b"large").unwrap(), large);
        let error = bundle.patches(&place, &never).unwrap_err();
        assert!(matches!(error.problem, SourceProblem::NoSpool { .. }), "{error}");
        assert!(error.to_string().ends_with(" besides its reserve"), "{error}");
    }

    #[test]
    fn the_directories_of_members_take_space_and_those_that_no_patch_may_have_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("set.tar");
        let look = |depth: usize| {
            let deep = format!("set/100-01/{}", "d/".repeat(depth));
            let names = ["set/100-01/SUNWa/pkginfo", "set/101-01/SUNWa/pkginfo", "set/100-01/README"];
            let names =
                names.map(str::to_owned).into_iter().chain(["one", "two"].map(|name| deep.clone() + name));
            let names: Vec<String> = names.collect();
            let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
            fs::write(&file, tar(&members)).unwrap();
            let bundle = Bundle::open(&file, &never).map_err(|error| error.problem.to_string())?;
            Ok::<_, String>(bundle.unwrap().patches.values().map(|patch| patch.files).collect::<Vec<_>>())
        };
        let [small, large] = [1, 201].map(|depth| look(depth).unwrap());
        assert_eq!(small[1], large[1], "of another patch");
        assert_eq!(large[0] - small[0], 200, "two members share their directories");
        assert!(look(300).unwrap_err().starts_with("directories are nested too deeply below set/100-01/d/"));
    }

    #[test]
    fn the_patches_of_a_directory_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in SET {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let set = dir.path().join("10_Rec");
        let patches = Bundle::open(&set, &never)
            .unwrap()
            .unwrap()
            .patches(&Dir::of_host(dir.path()).unwrap(), &never)
            .unwrap();
        assert_eq!(patches.paths, [set.join("100-01"), set.join("101-02.zip")]);
        assert!(Bundle::open(&set.join("100-01"), &never).unwrap().is_none(), "a patch is no bundle");
    }

    #[test]
    fn a_signal_ends_the_look_into_an_archive_and_its_unpacking_and_leaves_nothing() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (file, place) = (dir.path().join("set.tar"), dir.path().join("place"));
        let large = vec![b'x'; 1 << 20];
        let set: Vec<(&str, &[u8])> = SET.into_iter().chain([("10_Rec/103-01.zip", &large[..])]).collect();
        fs::write(&file, tar(&set)).unwrap();
        fs::create_dir(&place).unwrap();
        let asked = AtomicUsize::new(0);
        let after = |questions: usize| {
            asked.store(0, Ordering::Relaxed);
            let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(2);
            let bundle = Bundle::open(&file, &interrupt)?.unwrap();
            let looked = asked.load(Ordering::Relaxed);
            bundle.patches(&Dir::of_host(&place).unwrap(), &interrupt).map(|_| looked)
        };
        let looked = after(usize::MAX).unwrap();
        let questions = asked.load(Ordering::Relaxed);
        // For each member, and for each portion of the large one where it is read.
        assert!(looked >= set.len() && questions - looked > set.len(), "{looked} of {questions}");
        for number in 0..questions {
            let ended = after(number).map_err(|error| error.problem);
            assert!(matches!(ended, Err(SourceProblem::Interrupted(2))), "after {number}: {ended:?}");
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "after {number}");
        }
    }

    #[test]
    fn an_archive_of_one_patch_is_no_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        let of = |members: &[(&str, &[u8])]| {
            fs::write(&file, tar(members)).unwrap();
            Bundle::open(&file, &never)
                .unwrap()
                .map(|bundle| bundle.patches.into_keys().map(|at| at.to_string()).collect())
        };
        assert_eq!(of(&[("SUNWa/pkginfo", b"")]), None::<Vec<String>>);
        assert_eq!(of(&[("text", b"")]), None);
        assert_eq!(
            of(&[("100-01/SUNWa/pkginfo", b""), ("101-01/SUNWa/pkginfo", b"")]).unwrap(),
            ["100-01", "101-01"]
        );
        assert_eq!(of(&[("set/patches/100-01.zip", b"")]).unwrap(), ["set/patches/100-01.zip"]);
    }

    #[test]
    fn names_that_lead_outside_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_old();
        header.as_old_mut().name[..20].copy_from_slice(b"100-01/../../pkginfo");
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, io::empty()).unwrap();
        fs::write(&file, archive.into_inner().unwrap()).unwrap();
        let error = Bundle::open(&file, &never).unwrap_err();
        assert!(matches!(error.problem, SourceProblem::Unsafe { .. }), "{error}");
    }

    #[test]
    fn patches_are_told_from_other_names() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["105181-05", "named/SUNWcsr", "base/SUNWcsr", "empty"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for file in
            ["106793-01.zip", "README", "106793-01.txt", "named/SUNWcsr/pkginfo", "base/SUNWcsr/pkginfo"]
        {
            let text = if file.starts_with("named") { "PKG=SUNWcsr\nSUNW_PATCHID=1-01\n" } else { "" };
            fs::write(dir.path().join(file), text).unwrap();
        }
        let found: Vec<_> = patches_in(dir.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["105181-05", "106793-01.zip", "named"]);
        assert!(patches_in(&dir.path().join("nothing")).is_empty());
    }
}
