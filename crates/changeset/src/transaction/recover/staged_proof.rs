//! What a stage alone proves about a run that has lost its journal and all copies.
//!
//! Objects that the run made are younger than the stage; objects that it found are older. So a young staged object
//! waits for the switch, and an old one has come out of its place. The state is *before* if no staged object is old and
//! every path named by the staged undo archives is as it was. It is *after* if no staged object is young and every path
//! in the published archives is as they say it became. Anything else proves nothing.

use std::collections::BTreeMap;

use crate::archive_file::{UnboundArchive, UnreadContent, read_manifest};
use crate::format::manifest::{KEPT_MANIFEST, Manifest, RecordedState, StateDifferences};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::stage::own_stage::{MARKER, OwnStage};
use patchadm_rootfs::{Dir, FileType, Root, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The largest number of paths that are named.
const TOLD: usize = 50;

/// The proof about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proved {
    /// None of its changes has been made.
    Before,
    /// All of its changes have been made; the manifests of its archives.
    After(Vec<Manifest>),
    /// Neither; these paths are in doubt.
    Nothing(Vec<String>),
}

/// The evidence about a run.
struct Evidence<'a> {
    root: &'a Root,
    /// The birth time of the stage.
    since: Timestamp,
    /// The numbers of staged objects that the run made, and that it found.
    young: usize,
    old: usize,
    /// Published records that the run made.
    published: Vec<ObjectPath>,
    /// The manifests of its archives.
    manifests: Vec<Manifest>,
    /// The paths that cannot be examined.
    doubtful: Vec<String>,
}

/// Examines a stage and the objects it was made for.
pub(crate) fn prove(root: &Root, own: &Dir, stage: &OwnStage) -> Result<Proved, Cause> {
    let unproved = || Ok(Proved::Nothing(vec![root.show(stage.dir.path())]));
    let Some(since) = stage.dir.look(MARKER)?.and_then(|marker| marker.inode.born) else { return unproved() };
    let mut found = Evidence {
        root,
        since,
        young: 0,
        old: 0,
        published: Vec::new(),
        manifests: Vec::new(),
        doubtful: Vec::new(),
    };
    for within in [&b"o"[..], b"db"] {
        if stage.dir.look(within)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            return unproved();
        }
        found.staged(&stage.dir.dir(within)?)?;
    }
    found.live_records(own)?;
    if found.manifests.is_empty() {
        return unproved();
    }
    let (not_before, mut not_after) = found.compared()?;
    not_after.extend(found.kept_packages()?);
    let is_certain = found.doubtful.is_empty();
    if is_certain && found.old == 0 && found.published.is_empty() && not_before.is_empty() {
        return Ok(Proved::Before);
    }
    if is_certain && found.young == 0 && !found.published.is_empty() && not_after.is_empty() {
        return Ok(Proved::After(found.manifests));
    }
    Ok(Proved::Nothing(found.in_doubt(&stage.dir, not_before)))
}

impl Evidence<'_> {
    /// Counts what is staged in a directory, and reads the manifests of undo archives there.
    fn staged(&mut self, dir: &Dir) -> Result<(), Cause> {
        for name in dir.names()? {
            let Some(seen) = dir.look(&name)? else { continue };
            // Taken out of an outgoing directory, after the outcome.
            if name.starts_with(b"taken.") {
                continue;
            }
            // A safety copy is younger than its stage but represents the old object.
            let is_held = name.starts_with(b"held.") || name.starts_with(b"again.");
            match seen.inode.born {
                Some(born) if !is_held && born >= self.since => self.young += 1,
                Some(_) if !is_held => self.old += 1,
                _ => self.doubtful.push(self.root.show(&dir.at(&name))),
            }
            if seen.file_type == FileType::Directory && !name.starts_with(b"tree.") {
                self.manifest_in(&dir.dir(&name)?)?;
            }
        }
        Ok(())
    }

    /// Reads the manifest in a possible save directory of a patch.
    fn manifest_in(&mut self, save: &Dir) -> Result<(), Cause> {
        for name in save.names()? {
            let is_archive =
                name.starts_with(b"undo") && !name.starts_with(b"undo.b3") && name != b"undo.paths";
            let is_kept = name == KEPT_MANIFEST.as_bytes();
            if !is_archive && !is_kept {
                continue;
            }
            let Ok(file) = save.open_regular(&name) else { continue };
            let shown = self.root.show(&save.at(&name));
            let read = if is_kept {
                kept_manifest(file).map(Some).map_err(drop)
            } else {
                UnboundArchive::new(file, shown.clone()).manifest().map_err(drop)
            };
            match read {
                Ok(Some(manifest)) => self.manifests.push(manifest),
                Ok(None) | Err(()) => self.doubtful.push(shown),
            }
        }
        Ok(())
    }

    /// Finds the records that the run has published: save directories, ledgers and directories of patches.
    fn live_records(&mut self, own: &Dir) -> Result<(), Cause> {
        let mut directories = vec![own.path().join(b"ledger").ok(), Some(places::patches())];
        for package in self.names(&places::packages())? {
            let save = places::packages().join(&package).and_then(|package| package.join(b"save"));
            directories.push(save.ok());
        }
        for directory in directories.into_iter().flatten() {
            let physical = self.root.resolver().locate_dir(&directory)?;
            let Some(dir) = self.root.dir_if_there(&physical)? else { continue };
            for name in dir.names()? {
                let Some(seen) = dir.look(&name)? else { continue };
                if seen.inode.born.is_some_and(|born| born >= self.since) {
                    self.published.push(dir.at(&name));
                    if seen.file_type == FileType::Directory {
                        self.manifest_in(&dir.dir(&name)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn names(&self, directory: &ObjectPath) -> Result<Vec<Vec<u8>>, Cause> {
        let physical = self.root.resolver().locate_dir(directory)?;
        Ok(self.root.dir_if_there(&physical)?.map(|dir| dir.names()).transpose()?.unwrap_or_default())
    }

    /// Returns the paths whose state matches no manifest's old state, and those whose state matches no manifest's new
    /// state.
    fn compared(&self) -> Result<(Vec<String>, Vec<String>), Cause> {
        let mut paths: BTreeMap<ObjectPath, (bool, bool)> = BTreeMap::new();
        let mut dirs = Dirs::new(self.root);
        let objects = self.manifests.iter().flat_map(|manifest| &manifest.objects);
        for record in objects.filter(|record| record.is_changed() && !record.kept) {
            let Some(path) = record.object_path() else { continue };
            let physical = self.root.resolver().locate_object(&path)?;
            let found = match dirs.parent(&physical)? {
                Some(dir) => dir.live(physical.name())?.as_ref().map(RecordedState::of),
                None => None,
            };
            let is = |state: Option<&RecordedState>| StateDifferences::is_found(state, found.as_ref());
            let known = paths.entry(path).or_default();
            known.0 |= is(record.was.as_ref());
            known.1 |= is(record.became.as_ref());
        }
        let not = |is: fn(&(bool, bool)) -> bool| {
            paths.iter().filter(|(_, found)| !is(found)).map(|(path, _)| self.root.show(path)).collect()
        };
        Ok((not(|found| found.0), not(|found| found.1)))
    }

    /// Returns the directories of packages of kept libraries that the run has changed and not removed: for a removed
    /// one, there is no staged object whose absence would show that it is gone.
    fn kept_packages(&self) -> Result<Vec<String>, Cause> {
        let mut left = Vec::new();
        let names = self.manifests.iter().flat_map(|manifest| &manifest.header.kept);
        for package in names.filter_map(|name| PkgInst::new(name).ok()) {
            let physical = self.root.resolver().locate_dir(&places::package(&package))?;
            let Some(dir) = self.root.dir_if_there(&physical)? else { continue };
            if dir.itself()?.inode.born.is_none_or(|born| born < self.since) {
                left.push(self.root.show(dir.path()));
            }
        }
        Ok(left)
    }

    /// Returns the paths to be named if nothing is proved.
    fn in_doubt(&self, stage: &Dir, not_before: Vec<String>) -> Vec<String> {
        let mut paths = not_before;
        paths.extend(self.published.iter().map(|path| self.root.show(path)));
        paths.extend(self.doubtful.iter().cloned());
        if paths.is_empty() {
            paths.push(self.root.show(stage.path()));
        }
        let more = paths.len().saturating_sub(TOLD);
        if more > 0 {
            paths.truncate(TOLD);
            paths.push(format!("{more} more"));
        }
        paths
    }
}

/// Reads the manifest that is kept in the absence of an archive.
fn kept_manifest(file: std::fs::File) -> Result<Manifest, UnreadContent> {
    let mut opened = patchadm_container::open_container(file)
        .map_err(|error| UnreadContent::Damaged(error.to_string()))?;
    read_manifest(&mut opened.reader)
}
