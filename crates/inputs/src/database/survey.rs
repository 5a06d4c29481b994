//! The survey: everything about a root that a plan needs to know, read into one [`Inventory`].
//!
//! The caller says what a change is about ([`Touched`]). The survey adds everything related: the directories above each
//! path, the targets of symbolic links among them, the other names of hard-linked files, files that earlier runs kept
//! beside a path, and the contents of a directory that would become something else. Every regular file among them is
//! read once, for its digest. Meant for the holder of the lock: the live objects are not part of a view.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::{ContentsLines, lines_below, lines_of_paths};
use super::undo_data::OutsideAccess;
use super::{DatabaseError, RecordView, all, installed, marker, places};
use crate::inventory::Interruption;
use crate::inventory::{Installed, Inventory, LinkedDirectory, Touched};
use patchadm_rootfs::{Digest, Interrupt, Live, LiveKind};
use patchadm_rootfs::{Resolver, Root, accounts_of};
use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};

mod file_systems;
mod looking;
mod patches;

use file_systems::FileSystems;
use looking::{DirectorySeen, SurveyedDirectory, kept_name};

/// The input of a survey apart from the root.
#[derive(Clone, Copy)]
pub struct SurveySettings<'a> {
    /// The root of the running system: for accounts that the root lacks, and undo archives outside the root.
    pub host: &'a Root,
    /// The separator between base and revision of a patch id.
    pub separator: &'a str,
    /// The marker for a root without a journal: 16 random hexadecimal digits.
    pub new_marker: &'a str,
    /// The undo archives outside the root that may be opened.
    pub outside: OutsideAccess<'a>,
    /// Asks whether the survey is to end.
    pub interrupt: Interrupt<'a>,
}

impl SurveySettings<'_> {
    /// Ends the survey if a signal came.
    fn go_on(&self) -> Result<(), DatabaseError> {
        DatabaseError::unless_interrupted(self.interrupt)
    }
}

/// Returns the path of a root on the host, or `None` for `/` and for a relative path.
pub fn prefix(root: &Root) -> Option<ObjectPath> {
    use std::os::unix::ffi::OsStrExt;
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok()?;
    (prefix != ObjectPath::root()).then_some(prefix)
}

/// Reads everything that a plan for `touched` needs.
pub fn survey(
    view: &RecordView<'_>,
    touched: &Touched,
    setting: &SurveySettings<'_>,
) -> Result<Inventory, DatabaseError> {
    survey_with(packages(view)?, view, touched, setting)
}

/// Does the same with the [`packages`], or their [`parameters`], at hand. They must not have changed since they were
/// read.
pub fn survey_with(
    packages: BTreeMap<PkgInst, Installed>,
    view: &RecordView<'_>,
    touched: &Touched,
    setting: &SurveySettings<'_>,
) -> Result<Inventory, DatabaseError> {
    setting.go_on()?;
    let root = view.root();
    let mut inventory = Inventory {
        marker: marker(root)?.unwrap_or_else(|| setting.new_marker.to_owned()),
        prefix: prefix(root),
        accounts: accounts_of(root, setting.host)?,
        privileged: root.is_privileged(),
        caller: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        contents_size: size(view, &places::contents())?
            + size(view, &places::pkglog())?
            + size(view, &places::contents_stamp())?,
        packages,
        ..Inventory::default()
    };
    for package in &touched.packages {
        if let Some(installed) = inventory.packages.get_mut(package) {
            // What other packages may lack, those that change must have.
            installed::params(view, package)?;
            installed::records(view, package, installed)?;
        }
    }
    let mut walk = ObjectSurvey::new(root, (touched, setting), inventory);
    walk.lines(view)?;
    walk.objects()?;
    let trees = walk.trees.clone();
    let mut inventory = walk.finish()?;
    if !trees.is_empty() {
        inventory.lines.extend(lines_below(view, &trees)?);
    }
    mark_swap_files(root, &mut inventory)?;
    patches::read(view, touched, setting, &mut inventory)?;
    Ok(inventory)
}

fn size(view: &RecordView<'_>, record: &ObjectPath) -> Result<u64, DatabaseError> {
    Ok(view.look(record)?.map_or(0, |seen| seen.size))
}

/// Reads every package with its parameters, and those put aside by an unfinished installation: all that the rules
/// about patches need of packages not concerned.
pub fn parameters(view: &RecordView<'_>) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    #[cfg(debug_assertions)]
    super::counted::note(view.root());
    let packages = all::each(view, |package| {
        let Some(params) = package.params()? else { return Ok(None) };
        let interruption = Interruption { put_aside: package.put_aside()?, ..Interruption::default() };
        let installed = Installed { params, interruption, ..Installed::default() };
        Ok::<_, DatabaseError>(Some((package.inst().clone(), installed)))
    });
    Ok(packages?.into_iter().collect())
}

/// Returns every package with its parameters, and whether it is only partially there; nothing of what only the packages
/// concerned are asked for.
pub fn packages(view: &RecordView<'_>) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    packages_but(view, |_| false)
}

/// Returns the same without damaged packages for which `is_passed_over` holds.
pub fn packages_but(
    view: &RecordView<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    #[cfg(debug_assertions)]
    super::counted::note(view.root());
    let packages = all::each(view, |package| {
        let params = if is_passed_over(package.inst()) {
            match package.whole_params() {
                Err(DatabaseError::Damaged(_)) => None,
                read => read?,
            }
        } else {
            package.params()?
        };
        let Some(params) = params else { return Ok(None) };
        let partial = package.is_partial()?;
        let installed = Installed { params, partial, ..Installed::default() };
        Ok::<_, DatabaseError>(Some((package.inst().clone(), installed)))
    });
    Ok(packages?.into_iter().collect())
}

/// Marks the paths whose live bytes are exactly the delivered ones.
pub fn fill_identical(inventory: &mut Inventory, delivered: impl IntoIterator<Item = (ObjectPath, Digest)>) {
    for (path, digest) in delivered {
        if inventory.live.get(&path).and_then(Live::digest) == Some(digest) {
            inventory.identical.insert(path);
        }
    }
}

/// The part of a survey that reads objects: from path to path, directory by directory.
struct ObjectSurvey<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    touched: &'a Touched,
    setting: &'a SurveySettings<'a>,
    inventory: Inventory,
    file_systems: FileSystems<'a>,
    /// The paths still to be read.
    open: BTreeSet<ObjectPath>,
    /// The directories whose whole subtrees are surveyed.
    trees: Vec<ObjectPath>,
}

impl<'a> ObjectSurvey<'a> {
    fn new(
        root: &'a Root,
        (touched, setting): (&'a Touched, &'a SurveySettings<'a>),
        inventory: Inventory,
    ) -> Self {
        let mut walk = Self {
            root,
            resolver: root.resolver(),
            touched,
            setting,
            inventory,
            file_systems: FileSystems::new(root),
            open: BTreeSet::new(),
            trees: Vec::new(),
        };
        touched.paths.iter().chain(&touched.not_directories).for_each(|path| walk.add(path));
        walk
    }

    /// Adds a path and the directories above it.
    fn add(&mut self, path: &ObjectPath) {
        let mut next = (!self.is_known(path.as_bytes())).then(|| path.clone());
        while let Some(path) = next {
            // With a path come all directories above it, so those of a known one are known.
            let is_led_to = path.parent_bytes().is_none_or(|above| self.is_known(above));
            next = if is_led_to { None } else { path.parent() };
            self.open.insert(path);
        }
    }

    /// Tells whether a path is in the survey already.
    fn is_known(&self, path: &[u8]) -> bool {
        self.open.contains(path) || self.inventory.physical.contains_key(path)
    }

    /// Reads the lines of the paths, and of the other names of their files, which become paths of the survey too.
    fn lines(&mut self, view: &RecordView<'_>) -> Result<(), DatabaseError> {
        let mut lines = ContentsLines::new();
        let mut new = self.open.clone();
        // A name may be recorded as one of a file that is itself recorded as a name of another.
        while !new.is_empty() {
            self.setting.go_on()?;
            let found = lines_of_paths(view, &new)?;
            let known = self.open.clone();
            for path in found.keys().chain(&link_sources(&found)) {
                self.add(path);
            }
            new = self.open.difference(&known).cloned().collect();
            lines.extend(found);
        }
        self.inventory.lines = lines;
        Ok(())
    }

    /// Reads all paths, and those that they bring with them.
    fn objects(&mut self) -> Result<(), DatabaseError> {
        while !self.open.is_empty() {
            let mut by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, Vec<u8>)>> = BTreeMap::new();
            for path in std::mem::take(&mut self.open) {
                self.setting.go_on()?;
                let physical = self.resolver.locate_object(&path)?;
                // A link among the parents may lead to directories that no path names.
                if physical != path {
                    self.add(&physical);
                }
                self.inventory.physical.insert(path.clone(), physical.clone());
                let directory = physical.parent_bytes().unwrap_or_else(|| physical.as_bytes());
                let of_directory = match by_directory.get_mut(directory) {
                    Some(of_directory) => of_directory,
                    None => {
                        by_directory.entry(physical.parent().unwrap_or_else(ObjectPath::root)).or_default()
                    }
                };
                of_directory.push((path, physical.name().to_vec()));
            }
            self.open.retain(|path| !self.inventory.physical.contains_key(path));
            self.directories(by_directory)?;
        }
        Ok(())
    }

    /// Reads the paths of each directory.
    fn directories(
        &mut self,
        by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, Vec<u8>)>>,
    ) -> Result<(), DatabaseError> {
        let mut directories = Vec::with_capacity(by_directory.len());
        for (physical, paths) in by_directory {
            let file_system = self.file_systems.of(&physical)?;
            self.inventory.on.extend(paths.iter().map(|(path, _)| (path.clone(), file_system)));
            let is_listed = paths.iter().any(|(path, _)| self.touched.paths.contains(path));
            directories.push(SurveyedDirectory { physical, paths, is_listed });
        }
        let seen = looking::look(self.root, &directories, &self.touched.known, self.setting.interrupt)?;
        for (directory, DirectorySeen { live, kept }) in directories.iter().zip(seen) {
            for (path, live) in live {
                self.below(&path, &live)?;
                self.behind(&path, &live)?;
                self.inventory.live.insert(path, live);
            }
            self.beside(&kept, &directory.paths);
        }
        Ok(())
    }

    /// Adds the content of a directory that is to become something else.
    fn below(&mut self, path: &ObjectPath, live: &Live) -> Result<(), DatabaseError> {
        let goes =
            self.touched.not_directories.contains(path) || self.trees.iter().any(|tree| path.is_below(tree));
        if !goes || !live.is_directory() {
            return Ok(());
        }
        let physical = self.inventory.physical.get(path).unwrap_or(path);
        for inner in self.root.dir(physical)?.names()? {
            if let Ok(inner) = path.join(&inner) {
                self.add(&inner);
            }
        }
        self.trees.push(path.clone());
        Ok(())
    }

    /// Follows a symbolic link in the place of a delivered or recorded directory.
    fn behind(&mut self, path: &ObjectPath, live: &Live) -> Result<(), DatabaseError> {
        let recorded = self.inventory.lines.get(path).is_some_and(|line| line.object.ftype.is_directory());
        let delivered = self.touched.paths.contains(path) && !self.touched.not_directories.contains(path);
        if !matches!(live.kind, LiveKind::Symlink(_)) || !recorded && !delivered {
            return Ok(());
        }
        if let Some((directory, seen)) = self.resolver.directory_behind(path)? {
            let (mode, uid, gid) = (seen.mode, seen.uid, seen.gid);
            let linked = LinkedDirectory { path: directory, mode, uid, gid };
            self.inventory.linked_directories.insert(path.clone(), linked);
        }
        Ok(())
    }

    /// Adds the files that runs have kept beside the paths concerned, `PATH.edited-…` and `PATH.patch-…`, because
    /// their names are taken.
    fn beside(&mut self, kept: &[Vec<u8>], paths: &[(ObjectPath, Vec<u8>)]) {
        if kept.is_empty() {
            return;
        }
        let concerned: BTreeMap<&[u8], &ObjectPath> = paths
            .iter()
            .filter(|(path, _)| self.touched.paths.contains(path))
            .map(|(path, name)| (name.as_slice(), path))
            .collect();
        for name in kept {
            let Some(path) = kept_name(name).and_then(|name| concerned.get(name)) else { continue };
            if let Some(kept) = path.parent().and_then(|parent| parent.join(name).ok()) {
                self.add(&kept);
            }
        }
    }

    fn finish(mut self) -> Result<Inventory, DatabaseError> {
        let records = self.resolver.locate_dir(&places::packages())?;
        self.inventory.records_on = self.file_systems.of(&records)?;
        self.inventory.file_systems = self.file_systems.into_list();
        let Inventory { lines, live, physical, on, .. } = &mut self.inventory;
        compact(lines);
        compact(live);
        compact(physical);
        compact(on);
        Ok(self.inventory)
    }
}

/// Makes a map anew that was filled in the order of its keys: that leaves its nodes half empty, and all at once fills them.
fn compact<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

/// Returns the source files of recorded hard links.
fn link_sources(lines: &ContentsLines) -> BTreeSet<ObjectPath> {
    lines
        .values()
        .filter(|line| line.object.ftype == Ftype::Link)
        .filter_map(|line| line.path.link_source(line.object.target.as_deref()?).ok())
        .collect()
}

/// Marks the files that the running system swaps to, which cannot be renamed over.
fn mark_swap_files(root: &Root, inventory: &mut Inventory) -> Result<(), DatabaseError> {
    /// The most bytes read of the kernel's short table.
    const LARGEST: u64 = 1 << 20;
    if !root.is_system() {
        return Ok(());
    }
    let Ok(path) = ObjectPath::new(b"/proc/swaps") else { return Ok(()) };
    let swaps = swap_files(&root.read(&path, LARGEST)?.unwrap_or_default());
    for (path, live) in &mut inventory.live {
        if inventory.physical.get(path).is_some_and(|physical| swaps.contains(physical)) {
            live.obstacle = Some("is a swap file");
        }
    }
    Ok(())
}

/// Returns the paths in the text of `/proc/swaps`.
fn swap_files(text: &[u8]) -> BTreeSet<ObjectPath> {
    let paths =
        text.split(|&b| b == b'\n').skip(1).filter_map(|line| line.split(u8::is_ascii_whitespace).next());
    paths.filter_map(|path| ObjectPath::new(&patchadm_svr4::package::unescape(path)).ok()).collect()
}

#[cfg(test)]
mod tests;
