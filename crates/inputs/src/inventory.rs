//! The facts about a root that a plan needs: the input of every planner, together with the delivered packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::native::dpkg::StatOverrides;
use crate::native::{DivertedPath, NativeChange, NativeManager, NativeOrigin, NativeOwner, NativeOwners};
use patchadm_changeset::RecordFile;
use patchadm_changeset::plan::UndoFormat;
use patchadm_rootfs::{Digest, KnownFile, Live, LiveKind};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{
    Accounts, ContentsLine, Ftype, Mode, ObjectAttributes, ObjectPath, Params, PkgInst,
};

/// The state of a root before a change. `database` fills it in; planners only read it.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The marker of the root: 16 hexadecimal digits that bind undo archives to it (patchadm-journal(5)).
    pub marker: String,
    /// The path of the root on the host, which messages put before every path of it; none if it is `/` or was
    /// named by a relative path.
    pub prefix: Option<ObjectPath>,
    /// Every installed package, but for those of kept libraries.
    pub packages: BTreeMap<PkgInst, Installed>,
    /// The packages of kept libraries, which were hidden ([`Self::hide_kept`]).
    pub hidden: BTreeMap<PkgInst, Installed>,
    /// The `contents` lines of the paths concerned, and every hard-link line that points to one of them.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// The objects at the paths concerned (those that were surveyed); absent where nothing is.
    pub live: BTreeMap<ObjectPath, Live>,
    /// The files with several names among both, where they were found ([`Self::find_names`]).
    pub names: Option<FileNames>,
    /// Where each path concerned is when the symbolic links among its parents are followed.
    pub physical: BTreeMap<ObjectPath, ObjectPath>,
    /// The directories inside the root to which symbolic links at the paths concerned lead, by the path of the link:
    /// for paths at which a directory is delivered or recorded.
    pub linked_directories: BTreeMap<ObjectPath, LinkedDirectory>,
    /// The digests of the objects that the last patch to change a path delivered there (undo manifests), for paths
    /// whose size and sum agree with `contents` and whose time does not.
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// Paths whose live bytes are exactly those that are delivered now; compared only where size, sum, time and
    /// attributes agree.
    pub identical: BTreeSet<ObjectPath>,
    /// Which applied patches have a path in their undo archives, in order of application, for the paths concerned.
    pub patched_by: BTreeMap<ObjectPath, Vec<String>>,
    /// What the package managers of the system changed since packages were adopted from them, by adopted package.
    pub native_changes: BTreeMap<PkgInst, NativeChange>,
    /// The packages of dpkg and rpm that own the paths concerned now.
    pub native_owners: NativeOwners,
    /// The overrides of dpkg-statoverride(1), if packages of dpkg are concerned.
    pub overrides: StatOverrides,
    /// The accounts that count in this root.
    pub accounts: Accounts,
    /// Whether owners can be set; if not, they are recorded only.
    pub privileged: bool,
    /// The caller's numeric user and group, for an unprivileged run.
    pub caller: (u32, u32),
    /// The file systems concerned.
    pub file_systems: Vec<FileSystem>,
    /// The file system that each path concerned is on, by its place in `file_systems`.
    pub on: BTreeMap<ObjectPath, usize>,
    /// Bytes of `contents` and its stamp, which are written anew by every change.
    pub contents_size: u64,
    /// The place in `file_systems` of the one that holds `var/sadm`.
    pub records_on: usize,
}

impl Inventory {
    /// Returns a path of the root as messages name it: where the host sees it.
    pub fn show(&self, path: &ObjectPath) -> ObjectPath {
        let seen = self.prefix.as_ref().and_then(|prefix| prefix.join(path.relative()).ok());
        seen.unwrap_or_else(|| path.clone())
    }

    /// Returns the place in `file_systems` of the one that a path is on: that of the nearest directory above it that is
    /// known.
    pub fn file_system_of(&self, path: &ObjectPath) -> usize {
        let known = self.on.get(path).copied();
        let above = || path.ancestors_bytes().find_map(|above| self.on.get(above).copied());
        known.or_else(above).unwrap_or(self.records_on)
    }

    /// Returns the native package of an adopted package; for a package of kept libraries, the one that they come from.
    pub fn native_origin(&self, package: &PkgInst) -> Option<NativeOrigin> {
        let installed = self.packages.get(package).or_else(|| self.hidden.get(package))?;
        let from = installed.params.text(KEPT_FROM);
        let from = PkgInst::new(from.trim()).ok().and_then(|from| self.packages.get(&from));
        NativeOrigin::of(&from.unwrap_or(installed).params)
    }

    /// Returns a package of dpkg or rpm that owns a path, other than the native package of `package`. Every change of an object
    /// asks here, because objects of foreign packages are neither replaced nor deleted, moved or changed.
    pub fn foreign_owner(&self, package: &PkgInst, path: &ObjectPath) -> Option<&NativeOwner> {
        if self.native_owners.of(path).is_empty() {
            return None;
        }
        self.native_owners.foreign(path, self.native_origin(package).as_ref())
    }

    /// Returns another name of an object that a package of dpkg or rpm owns and `package` does not stand for, with its owner:
    /// what changes the object in its place changes that, too.
    pub fn foreign_name(&self, package: &PkgInst, live: &Live) -> Option<&(ObjectPath, NativeOwner)> {
        let names = self.native_owners.names(live);
        let origin = if names.is_empty() { None } else { self.native_origin(package) };
        let is_own =
            |owner: &NativeOwner| origin.as_ref().is_some_and(|own| own.is_instance_of(&owner.origin));
        names.iter().find(|(_, owner)| !is_own(owner))
    }

    /// Returns where the file of a native package lies that its records have at a path; `None` unless somebody diverted it.
    pub fn place_of_native(&self, path: &ObjectPath, origin: &NativeOrigin) -> Option<&ObjectPath> {
        self.diverted(path, origin).map(|diverted| &diverted.place)
    }

    /// Returns the diversion of a path that the records of a native package have.
    pub fn diverted(&self, path: &ObjectPath, origin: &NativeOrigin) -> Option<&DivertedPath> {
        let place = self.physical.get(path).unwrap_or(path);
        self.native_owners.diverted(place, origin)
    }

    /// Returns the package manager of the system that an installed package was adopted from.
    pub fn manager(&self, package: &PkgInst) -> Option<NativeManager> {
        NativeOrigin::of(&self.packages.get(package)?.params).map(|origin| origin.manager)
    }

    /// Returns the directory behind the symbolic link that is at a path, if there is one.
    pub fn linked_directory(&self, path: &ObjectPath) -> Option<&LinkedDirectory> {
        let is_link = self.live.get(path).is_some_and(|live| matches!(live.kind, LiveKind::Symlink(_)));
        self.linked_directories.get(path).filter(|_| is_link)
    }

    /// Returns the same if the link is no object of `package`: then it stays where the package delivers a directory.
    pub fn staying_link(&self, package: &PkgInst, path: &ObjectPath) -> Option<&LinkedDirectory> {
        let is_own = |line: &ContentsLine| line.object.ftype == Ftype::Symlink && line.is_owned_by(package);
        self.linked_directory(path).filter(|_| !self.lines.get(path).is_some_and(is_own))
    }
}

/// A directory that a symbolic link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedDirectory {
    /// Its path, all links followed.
    pub path: ObjectPath,
    /// Permission bits.
    pub mode: Mode,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
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

/// The subject of a change: the paths and packages that its planner will ask for. The survey adds related ones: the
/// directories above a path, the other names of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The paths that may change: objects that are delivered or deleted, and the sources of delivered hard links.
    pub paths: BTreeSet<ObjectPath>,
    /// Those of them that will not be directories when the change is done. Where one is a directory now, everything
    /// below it is surveyed, recorded or not.
    pub not_directories: BTreeSet<ObjectPath>,
    /// The packages whose records may change.
    pub packages: BTreeSet<PkgInst>,
    /// Files whose bytes are known while their status stays the same, so that they need not be read.
    pub known: BTreeMap<ObjectPath, KnownFile>,
}

/// A package that is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its parameters.
    pub params: Params,
    /// Whether a lock of an unfinished installation or removal is in its directory.
    pub partial: bool,
    /// The traces of an installation by a tool without recovery that did not finish it. Filled in for the packages
    /// concerned; for the others a survey only has the parameters that were put aside.
    pub interruption: Interruption,
    /// Its save directories, by the patch id that names each. A survey fills them in for the packages concerned and
    /// those that own a path concerned.
    pub saves: BTreeMap<String, Save>,
    /// The files of its directory in the database that a patch may change: `pkginfo`, `install/…`,
    /// `save/pspool/…`, `save/<class>/…`, by name in that directory. Filled in for the packages concerned only.
    pub records: BTreeMap<Vec<u8>, RecordFile>,
    /// The directories among those files, `install`, `save/pspool` and `save/<class>` included where they are there.
    pub directories: BTreeSet<Vec<u8>>,
}

/// A save directory, `save/<id>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Save {
    /// The name of the archive in it: `undo.gz`, `obsolete.Z`, …; none with a remote one or without any.
    pub archive: Option<String>,
    /// The bytes of `remote`, where the archive is elsewhere.
    pub remote: Option<Vec<u8>>,
    /// The bytes of `obsoleted_by`.
    pub obsoleted_by: Option<Vec<u8>>,
    /// Size of the archive in bytes, where it is here.
    pub size: u64,
    /// The bytes that this archive occupies on its disk, with what goes when it goes: its digest, and the snapshot.
    pub allocated: u64,
    /// Whether there is a manifest instead of an archive: the patch keeps no undo data.
    pub has_manifest: bool,
    /// Whether a snapshot of this program is beside an archive that scripts made.
    pub has_snapshot: bool,
    /// Whether something else has the name that the archive would get where its patch is obsoleted, or in force again:
    /// `obsolete.gz` beside `undo.gz`. The archive keeps its name then; `obsoleted_by` says what is the case.
    pub is_other_name_taken: bool,
}

impl Save {
    /// Tells whether there is a manifest: by itself, in an archive whose form only this program keeps, or in a snapshot. A
    /// classic archive has none.
    pub fn is_told(&self) -> bool {
        let is_ours = |name: &[u8]| UndoFormat::of_name(name).is_of_this_program();
        let remote = self.remote.as_deref().and_then(|bytes| RemoteArchive::parse(bytes).ok());
        self.has_manifest
            || self.has_snapshot
            || self.archive.as_ref().is_some_and(|name| is_ours(name.as_bytes()))
            || remote.is_some_and(|remote| is_ours(remote.find_at()))
    }

    /// Tells whether the patch can be backed out: its archive is here or elsewhere.
    pub fn has_archive(&self) -> bool {
        self.archive.is_some() || self.remote.is_some()
    }
}

/// A file system that a run changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its topmost directory inside the root, as messages name it.
    pub name: String,
    /// Bytes that may still be used.
    pub free: u64,
    /// Objects that may still be made; none without such a limit.
    pub inodes: Option<u64>,
    /// Bytes are handed out in units of this size.
    pub unit: u64,
    /// Whether it is read-only, or the mount that shows it to the root is.
    pub is_read_only: bool,
}

/// The traces of an unfinished installation in the directory of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interruption {
    /// Whether the lock of an unfinished installation, `!I-Lock!`, is there.
    pub is_locked: bool,
    /// The parameters of the records that were put aside, in `PKGINST/pkginfo` of the directory: a later call of such a
    /// tool moves what an unfinished installation recorded there, puts the records of before back, and leaves the files
    /// as they are.
    pub put_aside: Option<Params>,
}

/// The paths of an inventory at which a file may have another name. Without them all paths are looked through.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    recorded: BTreeSet<ObjectPath>,
    live: BTreeSet<ObjectPath>,
}

/// Tells whether an object is one of several names of a file.
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

    /// Finds the names once for all. A caller that changes lines or objects afterwards reports it
    /// ([`Self::name_changed`]).
    pub fn find_names(&mut self) {
        let recorded = self.recorded_links().cloned().collect();
        let live = self.objects_with_names().map(|(path, _)| path.clone()).collect();
        self.names = Some(FileNames { recorded, live });
    }

    /// Takes the change of a line or object into the names that were found.
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

// Kept libraries (patchadm-shlibs(7)). Every change is planned as if nothing were kept; afterwards it is decided which
// kept libraries stay, go and come back.

/// The parameter that marks a package of kept libraries: the package that they are from.
pub const KEPT_FROM: &str = "KEPT_FROM";

/// Tells whether these are the parameters of a package of kept libraries.
pub fn is_kept_package(params: &Params) -> bool {
    params.get(KEPT_FROM).is_some()
}

/// The kept libraries of a root.
#[derive(Clone, Debug, Default)]
pub struct KeptLibraries {
    /// The packages, with the files of their directories in the database.
    pub packages: BTreeMap<PkgInst, Installed>,
    /// The lines of `contents` that they own, alone or with other packages.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// The objects at the paths of these lines; absent where nothing is.
    pub live: BTreeMap<ObjectPath, Live>,
    /// The packages of dpkg and rpm that own these paths now.
    pub native_owners: NativeOwners,
}

impl KeptLibraries {
    /// Tells whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Returns the package that keeps the object at a path; `None` for directories on the way to one.
    pub fn keeper(&self, path: &ObjectPath) -> Option<&PkgInst> {
        let line = self.lines.get(path).filter(|line| !line.object.ftype.is_directory())?;
        line.owners.iter().map(|owner| &owner.package).find(|package| self.packages.contains_key(*package))
    }

    /// Returns the paths of the kept objects, without directories.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.lines.iter().filter(|(_, line)| !line.object.ftype.is_directory()).map(|(path, _)| path)
    }

    /// Returns a line without the owners that keep it; `None` if it has no other owner.
    pub fn without_keepers(&self, line: &ContentsLine) -> Option<ContentsLine> {
        let names = self.packages.keys().collect();
        without(line.clone(), &names)
    }
}

impl Inventory {
    /// Returns every installed package, those of kept libraries too: what another survey needs.
    pub fn all_packages(mut self) -> BTreeMap<PkgInst, Installed> {
        self.packages.append(&mut self.hidden);
        self.packages
    }

    /// Hides the packages of kept libraries, their lines and their objects. Directories stay where they are, without their
    /// owners.
    pub fn hide_kept(&mut self) {
        self.hide_kept_but(|_| false);
    }

    /// Does the same, but leaves the objects at paths that are another's, to whom they do not belong by their lines.
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
