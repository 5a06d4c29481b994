//! The input of every planner, together with the delivered packages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::native::dpkg::StatOverrides;
use crate::native::{DivertedPath, NativeChange, NativeManager, NativeOrigin, NativeOwner, NativeOwners};
use patchadm_changeset::RecordFile;
use patchadm_changeset::plan::UndoFormat;
use patchadm_rootfs::{Digest, KnownFile, Live, LiveKind};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{
    Accounts, ContentsLine, Ftype, Mode, ObjectAttributes, ObjectPath, Params, PkgInst,
};

/// The first four bytes of a file.
pub type FileHead = [u8; 4];

/// The state of a root before a change. `database` fills it in; planners only read it.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// 16 hexadecimal digits that bind undo archives to the root (patchadm-journal(5)).
    pub marker: String,
    /// The root's path on the host, for messages; `None` for `/` and relative paths.
    pub prefix: Option<ObjectPath>,
    /// Without those of kept libraries.
    pub packages: BTreeMap<PkgInst, Installed>,
    /// Of kept libraries ([`Self::hide_kept`]).
    pub hidden: BTreeMap<PkgInst, Installed>,
    /// Of the surveyed paths, and every hard-link line that points to one of them.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// At the surveyed paths; absent if nothing is there.
    pub live: BTreeMap<ObjectPath, Live>,
    /// Of surveyed files, unless their content was known or they have fewer bytes.
    pub heads: HashMap<ObjectPath, FileHead>,
    /// In both maps, once found ([`Self::find_names`]).
    pub names: Option<FileNames>,
    /// The place of each surveyed path with the links among its parents followed.
    pub physical: BTreeMap<ObjectPath, ObjectPath>,
    /// Behind symbolic links at paths of delivered or recorded directories, by the path of the link.
    pub linked_directories: BTreeMap<ObjectPath, LinkedDirectory>,
    /// Delivered by the last patch of a path (undo manifests), if size and sum agree with `contents` but the time does
    /// not.
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// Live bytes equal the delivered ones; compared only if size, sum, time and attributes agree.
    pub identical: BTreeSet<ObjectPath>,
    /// Applied patches with the path in their undo archives, in order of application.
    pub patched_by: BTreeMap<ObjectPath, Vec<String>>,
    /// Since adoption, by adopted package.
    pub native_changes: BTreeMap<PkgInst, NativeChange>,
    pub native_owners: NativeOwners,
    /// Of dpkg-statoverride(1), if dpkg packages are concerned.
    pub overrides: StatOverrides,
    pub accounts: Accounts,
    /// Owners can be set; otherwise they are only recorded.
    pub privileged: bool,
    pub caller: (u32, u32),
    pub file_systems: Vec<FileSystem>,
    /// Index in `file_systems`.
    pub on: BTreeMap<ObjectPath, usize>,
    /// Bytes of `contents` and its stamp, which every change rewrites.
    pub contents_size: u64,
    /// Index in `file_systems` of the one with `var/sadm`.
    pub records_on: usize,
}

impl Inventory {
    /// Returns a path of the root as the host sees it, for messages.
    pub fn show(&self, path: &ObjectPath) -> ObjectPath {
        let seen = self.prefix.as_ref().and_then(|prefix| prefix.join(path.relative()).ok());
        seen.unwrap_or_else(|| path.clone())
    }

    /// Returns the index in `file_systems` for a path: that of the nearest known directory above it.
    pub fn file_system_of(&self, path: &ObjectPath) -> usize {
        let known = self.on.get(path).copied();
        let above = || path.ancestors_bytes().find_map(|above| self.on.get(above).copied());
        known.or_else(above).unwrap_or(self.records_on)
    }

    /// Returns the native package of an adopted package; for kept libraries, that of the package they come from.
    pub fn native_origin(&self, package: &PkgInst) -> Option<NativeOrigin> {
        let installed = self.packages.get(package).or_else(|| self.hidden.get(package))?;
        let from = installed.params.text(KEPT_FROM);
        let from = PkgInst::new(from.trim()).ok().and_then(|from| self.packages.get(&from));
        NativeOrigin::of(&from.unwrap_or(installed).params)
    }

    /// Returns the owner of a path if it is a native package that `package` does not stand for. Every change of an
    /// object asks here: objects of foreign packages are neither replaced nor deleted, moved or changed.
    pub fn foreign_owner(&self, package: &PkgInst, path: &ObjectPath) -> Option<&NativeOwner> {
        if self.native_owners.of(path).is_empty() {
            return None;
        }
        self.native_owners.foreign(path, self.native_origin(package).as_ref())
    }

    /// Another name of an object that a foreign native package owns: changing the object would change that name, too.
    pub fn foreign_name(&self, package: &PkgInst, live: &Live) -> Option<&(ObjectPath, NativeOwner)> {
        let names = self.native_owners.names(live);
        let origin = if names.is_empty() { None } else { self.native_origin(package) };
        let is_own =
            |owner: &NativeOwner| origin.as_ref().is_some_and(|own| own.is_instance_of(&owner.origin));
        names.iter().find(|(_, owner)| !is_own(owner))
    }

    /// Returns `None` unless somebody diverted the file.
    pub fn place_of_native(&self, path: &ObjectPath, origin: &NativeOrigin) -> Option<&ObjectPath> {
        self.diverted(path, origin).map(|diverted| &diverted.place)
    }

    pub fn diverted(&self, path: &ObjectPath, origin: &NativeOrigin) -> Option<&DivertedPath> {
        let place = self.physical.get(path).unwrap_or(path);
        self.native_owners.diverted(place, origin)
    }

    pub fn manager(&self, package: &PkgInst) -> Option<NativeManager> {
        NativeOrigin::of(&self.packages.get(package)?.params).map(|origin| origin.manager)
    }

    pub fn linked_directory(&self, path: &ObjectPath) -> Option<&LinkedDirectory> {
        let is_link = self.live.get(path).is_some_and(|live| matches!(live.kind, LiveKind::Symlink(_)));
        self.linked_directories.get(path).filter(|_| is_link)
    }

    /// Unless the link is an object of `package`, or another name of one: such a link stays when the package
    /// delivers a directory.
    pub fn staying_link(&self, package: &PkgInst, path: &ObjectPath) -> Option<&LinkedDirectory> {
        let is_own = |line: &ContentsLine| line.object.ftype.is_link() && line.is_owned_by(package);
        self.linked_directory(path).filter(|_| !self.lines.get(path).is_some_and(is_own))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedDirectory {
    /// With all links followed.
    pub path: ObjectPath,
    pub mode: Mode,
    pub uid: u32,
    pub gid: u32,
}

impl LinkedDirectory {
    /// Returns its attributes as a line of `contents` has them.
    pub fn attributes(&self, accounts: &Accounts) -> ObjectAttributes {
        ObjectAttributes {
            mode: Some(self.mode),
            owner: Some(accounts.user(self.uid)),
            group: Some(accounts.group(self.gid)),
        }
    }
}

/// Paths and packages that a planner will ask for. The survey adds related paths, such as directories above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Delivered and deleted objects, and sources of delivered hard links.
    pub paths: BTreeSet<ObjectPath>,
    /// Paths that will not be directories. Everything below a present directory is surveyed.
    pub not_directories: BTreeSet<ObjectPath>,
    pub packages: BTreeSet<PkgInst>,
    /// Files with known bytes, which are not read while their status stays the same.
    pub known: BTreeMap<ObjectPath, KnownFile>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    pub params: Params,
    /// The directory has a lock of an unfinished installation or removal.
    pub partial: bool,
    /// Traces of a tool without recovery. Only filled in for the packages concerned.
    pub interruption: Interruption,
    /// By patch id; for the packages concerned and owners of paths concerned.
    pub saves: BTreeMap<String, Save>,
    /// Files of its directory that a patch may change (`pkginfo`, `install/…`, `save/pspool/…`, `save/<class>/…`), by
    /// name; only for the packages concerned.
    pub records: BTreeMap<Vec<u8>, RecordFile>,
    /// `install`, `save/pspool` and `save/<class>` with those below, if they exist.
    pub directories: BTreeSet<Vec<u8>>,
}

/// `save/<id>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// `undo.gz`, `obsolete.Z`, …; `None` if it is remote or missing.
    pub archive: Option<String>,
    /// The bytes of `remote`, if the archive is elsewhere.
    pub remote: Option<Vec<u8>>,
    pub obsoleted_by: Option<Vec<u8>>,
    /// Of a local archive.
    pub size: u64,
    /// Disk space of a local archive, with digest and snapshot.
    pub allocated: u64,
    /// A manifest instead of an archive: the patch keeps no undo data.
    pub has_manifest: bool,
    /// A snapshot of this program is beside an archive that scripts made.
    pub has_snapshot: bool,
    /// The other name (`obsolete.gz` beside `undo.gz`) is taken: the archive keeps its name and `obsoleted_by` tells
    /// its state.
    pub is_other_name_taken: bool,
}

impl Save {
    /// There is a manifest: alone, in an archive of this program, or in a snapshot.
    pub fn is_told(&self) -> bool {
        let is_ours = |name: &[u8]| UndoFormat::of_name(name).is_of_this_program();
        let remote = self.remote.as_deref().and_then(|bytes| RemoteArchive::parse(bytes).ok());
        self.has_manifest
            || self.has_snapshot
            || self.archive.as_ref().is_some_and(|name| is_ours(name.as_bytes()))
            || remote.is_some_and(|remote| is_ours(remote.find_at()))
    }

    /// The patch can be backed out.
    pub fn has_archive(&self) -> bool {
        self.archive.is_some() || self.remote.is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its topmost directory inside the root, as messages name it.
    pub name: String,
    pub free: u64,
    /// Available objects; `None` without a limit.
    pub inodes: Option<u64>,
    /// In bytes.
    pub unit: u64,
    /// It, or its mount in the root, is read-only.
    pub is_read_only: bool,
    /// The reason why nothing on it is changed: the rest of a sentence about `name`.
    pub unsupported: Option<&'static str>,
}

/// Traces of an unfinished installation in the directory of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interruption {
    /// The lock `!I-Lock!` exists.
    pub is_locked: bool,
    /// From `PKGINST/pkginfo`: after an interrupted installation, the next call of the tool moves its records there,
    /// restores the earlier records, and leaves the files as they are.
    pub put_aside: Option<Params>,
}

/// Paths at which a file may have another name.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    recorded: BTreeSet<ObjectPath>,
    live: BTreeSet<ObjectPath>,
}

/// Returns true if an object is one of several names of a file.
pub fn has_names(live: &Live) -> bool {
    live.links > 1 && !matches!(live.kind, LiveKind::Directory)
}

impl Inventory {
    /// Returns the recorded hard links, in the order of their paths.
    pub fn recorded_links(&self) -> Box<dyn Iterator<Item = &ObjectPath> + '_> {
        match &self.names {
            Some(names) => Box::new(names.recorded.iter()),
            None => Box::new(self.lines.keys().filter(|path| self.is_recorded_link(path))),
        }
    }

    /// Returns the objects that are one of several names of a file, in the order of their paths.
    pub fn objects_with_names(&self) -> Box<dyn Iterator<Item = (&ObjectPath, &Live)> + '_> {
        match &self.names {
            Some(names) => Box::new(names.live.iter().filter_map(|path| self.live.get_key_value(path))),
            None => Box::new(self.live.iter().filter(|(_, live)| has_names(live))),
        }
    }

    /// A caller that changes lines or objects afterwards reports it ([`Self::name_changed`]).
    pub fn find_names(&mut self) {
        let recorded = self.recorded_links().cloned().collect();
        let live = self.objects_with_names().map(|(path, _)| path.clone()).collect();
        self.names = Some(FileNames { recorded, live });
    }

    pub fn name_changed(&mut self, path: &ObjectPath) {
        let (is_link, has_names) = (self.is_recorded_link(path), self.live.get(path).is_some_and(has_names));
        let Some(names) = &mut self.names else { return };
        for (set, is_in) in [(&mut names.recorded, is_link), (&mut names.live, has_names)] {
            if is_in {
                set.insert(path.clone());
            } else {
                set.remove(path);
            }
        }
    }

    fn is_recorded_link(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
    }
}

// Kept libraries (patchadm-shlibs(7)): every change is planned as if nothing were kept; then it is decided which kept
// libraries stay, go and come back.

/// Marks a package of kept libraries; its value is the package that they are from.
pub const KEPT_FROM: &str = "KEPT_FROM";

pub fn is_kept_package(params: &Params) -> bool {
    params.get(KEPT_FROM).is_some()
}

#[derive(Clone, Debug, Default)]
pub struct KeptLibraries {
    /// With the files of their database directories.
    pub packages: BTreeMap<PkgInst, Installed>,
    /// Owned by them alone or with others.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// At the paths of these lines; absent if nothing is there.
    pub live: BTreeMap<ObjectPath, Live>,
    pub native_owners: NativeOwners,
}

impl KeptLibraries {
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Returns the package that keeps an object; `None` for its parent directories.
    pub fn keeper(&self, path: &ObjectPath) -> Option<&PkgInst> {
        let line = self.lines.get(path).filter(|line| !line.object.ftype.is_directory())?;
        line.owners.iter().map(|owner| &owner.package).find(|package| self.packages.contains_key(*package))
    }

    /// Returns the paths of the kept objects, without directories.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.lines.iter().filter(|(_, line)| !line.object.ftype.is_directory()).map(|(path, _)| path)
    }

    /// Removes keeping owners; `None` if nothing remains.
    pub fn without_keepers(&self, line: &ContentsLine) -> Option<ContentsLine> {
        let names = self.packages.keys().collect();
        without(line.clone(), &names)
    }
}

impl Inventory {
    /// Returns every installed package, including those of kept libraries.
    pub fn all_packages(mut self) -> BTreeMap<PkgInst, Installed> {
        self.packages.append(&mut self.hidden);
        self.packages
    }

    /// Hides packages of kept libraries, their lines and objects. Directories stay, without these owners.
    pub fn hide_kept(&mut self) {
        self.hide_kept_but(|_| false);
    }

    /// Keeps objects at paths of another owner outside `contents`.
    pub fn hide_kept_but(&mut self, is_others: impl Fn(&ObjectPath) -> bool) {
        let kept: Vec<PkgInst> = self
            .packages
            .iter()
            .filter(|(_, installed)| is_kept_package(&installed.params))
            .map(|(package, _)| package.clone())
            .collect();
        if kept.is_empty() {
            return;
        }
        for package in &kept {
            self.hidden.extend(self.packages.remove_entry(package));
        }
        let names: BTreeSet<&PkgInst> = kept.iter().collect();
        let is_kept = |line: &ContentsLine| line.owners.iter().any(|owner| names.contains(&owner.package));
        let concerned: Vec<ObjectPath> =
            self.lines.iter().filter(|(_, line)| is_kept(line)).map(|(path, _)| path.clone()).collect();
        for path in concerned {
            let Some(line) = self.lines.remove(&path) else { continue };
            let is_directory = line.object.ftype.is_directory();
            match without(line, &names) {
                Some(line) => drop(self.lines.insert(path, line)),
                None if !is_directory && !is_others(&path) => drop(self.live.remove(&path)),
                None => {}
            }
        }
    }
}

fn without(mut line: ContentsLine, names: &BTreeSet<&PkgInst>) -> Option<ContentsLine> {
    line.owners.retain(|owner| !names.contains(&owner.package));
    (!line.owners.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    fn line(text: &str) -> ContentsLine {
        ContentsLine::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn nothing_of_a_kept_package_is_seen_by_a_plan() {
        let package = |name: &str| PkgInst::new(name).unwrap();
        let kept = Installed { params: Params::from_iter([(KEPT_FROM, "X")]), ..Installed::default() };
        let lines = [
            "/opt/lib d none 0755 root root X X-SO",
            "/opt/lib/a.so.1 f none 0644 root root 1 2 3 X-SO",
            "/opt/old d none 0755 root root X-SO",
        ];
        let mut inventory = Inventory {
            packages: [(package("X"), Installed::default()), (package("X-SO"), kept)].into(),
            lines: lines.map(|text| (line(text).path.clone(), line(text))).into(),
            ..Inventory::default()
        };
        inventory.hide_kept();
        assert_eq!(inventory.packages.keys().map(PkgInst::as_str).collect::<Vec<_>>(), ["X"]);
        assert_eq!(inventory.lines.keys().collect::<Vec<_>>(), [&at("/opt/lib")]);
        assert_eq!(inventory.lines[&at("/opt/lib")], line("/opt/lib d none 0755 root root X"));
    }
}
