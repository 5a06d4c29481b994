//! The changes of applied patches to objects, read without a lock: from manifests if the caller may read them, otherwise as
//! far as lists of names tell.
//!
//! Digests of archives are not compared: the answer is for people, and decides nothing.

use std::collections::BTreeMap;

use super::object_action::ObjectAction;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ObjectRecord, PatchedPaths, RecordedState};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, RecordView, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The change of a patch to an object. What cannot be known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchedObject {
    /// The path.
    pub path: ObjectPath,
    /// The change; `None` if only the name is known.
    pub action: Option<ObjectAction>,
    /// The object before; `None` if there was none.
    pub was: Option<RecordedState>,
    /// The object as the patch left it; `None` if it left none.
    pub became: Option<RecordedState>,
    /// Whether undo data holds the object as it was.
    pub saved: bool,
}

/// The objects of a patch in one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchedPackage {
    /// The package.
    pub package: PkgInst,
    /// The objects that the patch delivered, deleted or changed, sorted by path.
    pub objects: Vec<PatchedObject>,
    /// Whether these are all objects, with the change of each.
    pub known: bool,
}

/// Reads what patches did, each ledger once.
pub(super) struct PatchReader<'a> {
    view: &'a RecordView<'a>,
    ground: Option<&'a RootAndPolicy>,
    ledgers: BTreeMap<PkgInst, Option<Ledger>>,
}

impl<'a> PatchReader<'a> {
    /// Returns a reader of this moment; without `ground`, nothing can be known.
    pub(super) fn new(view: &'a RecordView<'a>, ground: Option<&'a RootAndPolicy>) -> Self {
        Self { view, ground, ledgers: BTreeMap::new() }
    }

    /// Returns the objects of a patch in a package. `params` are those of the package.
    pub(super) fn objects(
        &mut self,
        (package, params): (&PkgInst, &Params),
        id: &PatchId,
    ) -> Result<PatchedPackage, DatabaseError> {
        let name = installed::saved_as(self.view, package, id)?;
        let nothing = PatchedPackage { package: package.clone(), objects: Vec::new(), known: false };
        let (view, ground) = (self.view, self.ground);
        let (Some(ground), Some(ledger)) = (ground, self.ledger(package)) else { return Ok(nothing) };
        let has_undo = ledger.line(&name).is_none_or(|line| line.archive().is_some());
        Ok(match ground.undo_data(view, None).told((package, params), &name, ledger) {
            Ok(PatchedPaths::Manifest(manifest)) => {
                let listed = manifest.objects.iter().filter(|record| record.is_listed() || record.kept);
                let objects = listed.filter_map(|record| object(record, has_undo)).collect();
                PatchedPackage { objects, known: true, ..nothing }
            }
            Ok(PatchedPaths::Paths(mut paths)) => {
                paths.sort();
                paths.dedup();
                PatchedPackage { objects: paths.into_iter().map(PatchedObject::named).collect(), ..nothing }
            }
            Err(ArchiveError::View(error)) if !is_of_file(&error) => return Err(error.into()),
            Err(_) => nothing,
        })
    }

    /// Returns the ledger of a package; `None` if it cannot be read.
    fn ledger(&mut self, package: &PkgInst) -> Option<&Ledger> {
        let view = self.view;
        let read = self.ledgers.entry(package.clone());
        read.or_insert_with(|| ledger::counting(view, package).ok()).as_ref()
    }
}

/// Returns whether an error concerns one file, and not the moment that is read.
fn is_of_file(error: &patchadm_inputs::database::ViewError) -> bool {
    matches!(error, patchadm_inputs::database::ViewError::Root(_))
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
    /// Returns an object that is only known by name.
    pub(super) fn named(path: ObjectPath) -> Self {
        Self { path, action: None, was: None, became: None, saved: false }
    }
}
