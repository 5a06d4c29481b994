//! What applied patches did to objects, read without a lock: from manifests where the caller may read them, else as far
//! as lists of names go.
//!
//! Digests of archives are not compared: the answer is for people, and decides nothing.

use std::collections::BTreeMap;

use super::object_action::ObjectAction;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ObjectRecord, PatchedPaths, RecordedState};
use patchadm_inputs::database::archive::{self, ArchiveError};
use patchadm_inputs::database::{DatabaseError, RecordView, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// What a patch did to an object. What cannot be known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchedObject {
    /// The path.
    pub path: ObjectPath,
    /// The change; `None` where only the name is known.
    pub action: Option<ObjectAction>,
    /// The object before; `None` where nothing was.
    pub was: Option<RecordedState>,
    /// The object as the patch left it; `None` where it left nothing.
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
    /// Whether that is all, with what the patch did to each.
    pub known: bool,
}

/// Reads what patches did; each ledger once.
pub(super) struct PatchReader<'a> {
    view: &'a RecordView<'a>,
    ground: Option<&'a RootAndPolicy>,
    ledgers: BTreeMap<PkgInst, Option<Ledger>>,
}

impl<'a> PatchReader<'a> {
    /// A reader of this moment; without `ground` nothing can be known.
    pub(super) fn new(view: &'a RecordView<'a>, ground: Option<&'a RootAndPolicy>) -> Self {
        Self { view, ground, ledgers: BTreeMap::new() }
    }

    /// The objects of a patch in a package. `params` are those of the package.
    pub(super) fn objects(
        &mut self,
        (package, params): (&PkgInst, &Params),
        id: &PatchId,
    ) -> Result<PatchedPackage, DatabaseError> {
        let name = installed::saved_as(self.view, package, id)?;
        let nothing = PatchedPackage { package: package.clone(), objects: Vec::new(), known: false };
        let (view, ground) = (self.view, self.ground);
        let (Some(ground), Some(ledger)) = (ground, self.ledger(package)) else { return Ok(nothing) };
        let outside = ground.outside.with(None);
        let has_undo = ledger.line(&name).is_none_or(|line| line.archive().is_some());
        let told = archive::told(view, &ground.host, (package, params), &name, ledger, &outside);
        Ok(match told {
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

    /// The ledger of a package; none where it cannot be read.
    fn ledger(&mut self, package: &PkgInst) -> Option<&Ledger> {
        let view = self.view;
        let read = self.ledgers.entry(package.clone());
        read.or_insert_with(|| ledger::counting(view, package).ok()).as_ref()
    }
}

/// Whether an error is that of one file, and not of the moment that is read.
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
    /// An object of which only the name is known.
    pub(super) fn named(path: ObjectPath) -> Self {
        Self { path, action: None, was: None, became: None, saved: false }
    }
}
