//! Objects that applied patches changed: from manifests, or else from lists of names. For people only, so archive
//! digests are not compared.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::operation::failure::Failure;
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::manifest::{
    ArchivedPaths, ObjectRecord, RecordedState, StateDifferences, encode,
};
use patchadm_changeset::format::undo_sidecars::PathDigest;
use patchadm_inputs::database::installed::SavedNames;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{
    DatabaseError, RecordView, ViewError, all, contents, installed, ledger, read_consistently, saves,
};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchId, PatchRecords};

/// `None` if the patch is not applied. Without readable undo data, only names are known.
pub fn patch_files(root: &Root, id: &str) -> Result<Option<Vec<PatchedPackage>>, Failure> {
    must_have_database(root)?;
    let (Policy { separator, .. }, ground) = RootAndPolicy::as_far_as_known(root)?;
    let Ok(id) = PatchId::parse(id, &separator) else { return Ok(None) };
    read_consistently(root, |view| {
        let (applied, params) = records(view, &separator)?;
        let Some(patch) = applied.get(&id) else { return Ok(None) };
        let mut reader = PatchReader::new(view, ground.as_ref());
        let mut files = Vec::new();
        for package in &patch.packages {
            let none = Params::default();
            let params = params.get(package).unwrap_or(&none);
            let told = reader.objects((package, params), &id)?;
            files.push(if told.known || !told.objects.is_empty() {
                told
            } else {
                by_names(view, told, &id)?
            });
        }
        Ok(Some(files))
    })
}

pub(super) fn records(
    view: &RecordView<'_>,
    separator: &str,
) -> Result<(AppliedPatches, BTreeMap<PkgInst, Params>), Failure> {
    let params = all::params_of_all(view)?;
    Ok((applied_patches(view, &params, separator)?, params))
}

pub(super) fn applied_patches(
    view: &RecordView<'_>,
    params: &BTreeMap<PkgInst, Params>,
    separator: &str,
) -> Result<AppliedPatches, Failure> {
    let of = |(package, params)| installed::patch_records(view.root(), package, params, separator);
    let records: Result<Vec<PatchRecords>, _> = params.iter().map(of).collect();
    Ok(AppliedPatches::new(records?))
}

/// Deleted objects are in no list.
fn by_names(view: &RecordView<'_>, told: PatchedPackage, id: &PatchId) -> Result<PatchedPackage, Failure> {
    let lists = saves::paths(view, &told.package)?;
    let is_of_patch = |name: &String| PatchId::new(name).is_ok_and(|other| other == *id);
    let Some((_, list)) = lists.into_iter().find(|(name, _)| is_of_patch(name)) else { return Ok(told) };
    let lines = contents::lines_of_package(view, &told.package).map_err(DatabaseError::from)?;
    let paths = lines.into_keys().filter(|path| list.has(&PathDigest::of(path)));
    Ok(PatchedPackage { objects: paths.map(PatchedObject::named).collect(), ..told })
}

/// Unknown facts are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchedObject {
    pub path: ObjectPath,
    /// `None` if only the name is known.
    pub action: Option<ObjectAction>,
    /// `None` if there was none.
    pub was: Option<RecordedState>,
    /// `None` if it left none.
    pub became: Option<RecordedState>,
    /// Undo data has the old object.
    pub saved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchedPackage {
    pub package: PkgInst,
    /// Sorted by path.
    pub objects: Vec<PatchedObject>,
    /// The list is complete, with all actions.
    pub known: bool,
}

/// Reads each ledger once.
pub(super) struct PatchReader<'a> {
    view: &'a RecordView<'a>,
    ground: Option<&'a RootAndPolicy>,
    ledgers: BTreeMap<PkgInst, Option<Ledger>>,
    saved: BTreeMap<PkgInst, SavedNames>,
}

impl<'a> PatchReader<'a> {
    pub(super) fn new(view: &'a RecordView<'a>, ground: Option<&'a RootAndPolicy>) -> Self {
        Self { view, ground, ledgers: BTreeMap::new(), saved: BTreeMap::new() }
    }

    pub(super) fn objects(
        &mut self,
        (package, params): (&PkgInst, &Params),
        id: &PatchId,
    ) -> Result<PatchedPackage, DatabaseError> {
        let (name, is_saved) = self.saved_as(package, id)?;
        let nothing = PatchedPackage { package: package.clone(), objects: Vec::new(), known: false };
        let (view, ground) = (self.view, self.ground);
        let (Some(ground), Some(ledger)) = (ground, self.ledger(package)) else { return Ok(nothing) };
        let line = ledger.line(&name);
        if line.is_none() && !is_saved {
            return Ok(nothing);
        }
        let has_undo = line.is_none_or(|line| line.archive().is_some());
        Ok(match ground.undo_data(view, None).told((package, params), &name, ledger) {
            Ok(ArchivedPaths::Manifest(manifest)) => {
                let listed = manifest.objects.iter().filter(|record| record.is_listed() || record.kept);
                let objects = listed.filter_map(|record| object(record, has_undo)).collect();
                PatchedPackage { objects, known: true, ..nothing }
            }
            Ok(ArchivedPaths::Paths(mut paths)) => {
                paths.sort();
                paths.dedup();
                PatchedPackage { objects: paths.into_iter().map(PatchedObject::named).collect(), ..nothing }
            }
            Err(ArchiveError::View(error)) if !is_of_file(&error) => return Err(error.into()),
            Err(_) => nothing,
        })
    }

    /// Returns the name of a patch's save directory, and true if there is one.
    fn saved_as(&mut self, package: &PkgInst, id: &PatchId) -> Result<(String, bool), DatabaseError> {
        let names = match self.saved.entry(package.clone()) {
            Entry::Occupied(names) => names.into_mut(),
            Entry::Vacant(place) => place.insert(SavedNames::of(self.view, package)?),
        };
        Ok((names.name(id), names.has(id)))
    }

    /// `None` if it cannot be read.
    fn ledger(&mut self, package: &PkgInst) -> Option<&Ledger> {
        let view = self.view;
        let read = self.ledgers.entry(package.clone());
        read.or_insert_with(|| ledger::counting(view, package).ok()).as_ref()
    }
}

/// True if an error concerns one file, not the whole moment.
fn is_of_file(error: &ViewError) -> bool {
    matches!(error, ViewError::Root(_))
}

fn object(record: &ObjectRecord, has_undo: bool) -> Option<PatchedObject> {
    let action = ObjectAction::of_record(record);
    let became = if record.kept { &record.was } else { &record.became };
    Some(PatchedObject {
        path: record.object_path()?,
        action: Some(action),
        was: record.was.clone(),
        became: became.clone(),
        saved: has_undo && record.was.is_some() && action != ObjectAction::Unchanged,
    })
}

impl PatchedObject {
    pub(super) fn named(path: ObjectPath) -> Self {
        Self { path, action: None, was: None, became: None, saved: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedObject {
    pub package: PkgInst,
    pub path: ObjectPath,
    pub action: PatchAction,
    /// `None` if the path was free.
    pub was: Option<RecordedState>,
    /// `None` if it left none.
    pub became: Option<RecordedState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchAction {
    Add,
    /// New content, type or attributes.
    Replace,
    Delete,
    /// An edited file stayed, with the patch's version beside it.
    Keep,
}

impl PatchAction {
    /// As in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Keep => "keep",
        }
    }

    fn of(record: &ObjectRecord) -> Option<Self> {
        match (&record.was, &record.became) {
            _ if record.kept => Some(Self::Keep),
            _ if !record.is_changed() => None,
            (None, Some(_)) => Some(Self::Add),
            (Some(_), None) => Some(Self::Delete),
            (was, became) if was == became => None,
            _ => Some(Self::Replace),
        }
    }
}

/// `None` if undo data is gone, foreign or unreadable.
pub fn changed_objects(root: &Root, patch: &AppliedPatch) -> Result<Option<Vec<ChangedObject>>, Failure> {
    let Ok(ground) = RootAndPolicy::of(root) else { return Ok(None) };
    read_consistently(root, |view| {
        let mut all = Vec::new();
        for package in &patch.packages {
            let Some(changed) = of_package(&ground, view, &patch.id, package)? else { return Ok(None) };
            all.extend(changed);
        }
        Ok(Some(all))
    })
}

fn of_package(
    ground: &RootAndPolicy,
    view: &RecordView<'_>,
    id: &PatchId,
    package: &PkgInst,
) -> Result<Option<Vec<ChangedObject>>, DatabaseError> {
    let name = installed::saved_as(view, package, id)?;
    let Ok(ledger) = ledger::counting(view, package) else { return Ok(None) };
    let told = ground.undo_data(view, None).told((package, &Params::default()), &name, &ledger);
    let Ok(ArchivedPaths::Manifest(manifest)) = told else { return Ok(None) };
    let kept: BTreeSet<String> =
        manifest.objects.iter().filter(|record| record.kept).map(|record| record.path.clone()).collect();
    let suffix = format!(".patch-{}", encode(id.as_str().as_bytes()));
    // The version beside a kept file is no separate object.
    let is_beside = |record: &ObjectRecord| {
        let end = record.path.rfind(&suffix).filter(|_| record.was.is_none());
        end.and_then(|end| record.path.get(..end)).is_some_and(|path| kept.contains(path))
    };
    let changed = manifest.objects.iter().filter(|record| !is_beside(record)).filter_map(|record| {
        let (action, path) = (PatchAction::of(record)?, record.object_path()?);
        let (was, became) = (record.was.clone(), record.became.clone());
        Some(ChangedObject { package: package.clone(), path, action, was, became })
    });
    Ok(Some(changed.collect()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectAction {
    Added,
    /// New content or type.
    Replaced,
    Deleted,
    /// Same content, other attributes.
    Attributes,
    Unchanged,
}

impl ObjectAction {
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Attributes => "attributes",
            Self::Unchanged => "unchanged",
        }
    }

    /// A kept edited file is unchanged.
    pub fn of_record(record: &ObjectRecord) -> Self {
        if record.kept { Self::Unchanged } else { Self::between(record.was.as_ref(), record.became.as_ref()) }
    }

    pub fn between(before: Option<&RecordedState>, after: Option<&RecordedState>) -> Self {
        match (before, after) {
            (None, None) => Self::Unchanged,
            (None, Some(_)) => Self::Added,
            (Some(_), None) => Self::Deleted,
            (Some(before), Some(after)) => {
                let differ = StateDifferences::between(before, after);
                // Other names of a file and the time of a link do not count.
                let mtime = differ.mtime && after.target.is_none();
                if differ.is_of_content() {
                    Self::Replaced
                } else if (StateDifferences { mtime, names: false, ..differ }) == StateDifferences::default()
                {
                    Self::Unchanged
                } else {
                    Self::Attributes
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::{FileType, Timestamp};

    fn file(content: &str, mode: u32) -> RecordedState {
        RecordedState {
            kind: FileType::Regular,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            size: Some(content.len() as u64),
            b3: Some(Box::new(content.to_owned().into())),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            group: None,
        }
    }

    #[test]
    fn the_word_follows_from_the_two_states() {
        let (one, other) = (file("one", 0o644), file("two", 0o644));
        let mode = file("one", 0o755);
        let linked = RecordedState { group: Some(3), ..one.clone() };
        for (before, after, expected) in [
            (None, Some(&one), "added"),
            (Some(&one), None, "deleted"),
            (Some(&one), Some(&other), "replaced"),
            (Some(&one), Some(&mode), "attributes"),
            (Some(&one), Some(&linked), "unchanged"),
            (None, None, "unchanged"),
        ] {
            assert_eq!(ObjectAction::between(before, after).word(), expected);
        }
    }
}
