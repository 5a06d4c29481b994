//! The objects that an applied patch changed, from its undo data: for callers who may read it.

use std::collections::BTreeSet;

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ObjectRecord, PatchedPaths, RecordedState, encode};
use patchadm_inputs::database::{DatabaseError, RecordView, installed, ledger, read_consistently};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatch, PatchId};

/// An object that a patch changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedObject {
    /// The package.
    pub package: PkgInst,
    /// Its path.
    pub path: ObjectPath,
    /// The change of the patch.
    pub action: PatchAction,
    /// The object before; `None` if the path was free.
    pub was: Option<RecordedState>,
    /// The object as the patch left it; `None` if it left none.
    pub became: Option<RecordedState>,
}

/// The change of a patch to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchAction {
    /// It did not exist before.
    Add,
    /// It existed, and now has another content, type or attributes.
    Replace,
    /// It was deleted.
    Delete,
    /// It was edited and stayed, with the version of the patch beside it.
    Keep,
}

impl PatchAction {
    /// Returns the word of plans for the change.
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

/// Returns the objects that an applied patch changed, in the order of packages and paths; `None` if the undo data of a
/// package does not tell: it is gone, another tool made it, or the caller may not read it.
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
    let Ok(PatchedPaths::Manifest(manifest)) = told else { return Ok(None) };
    let kept: BTreeSet<String> =
        manifest.objects.iter().filter(|record| record.kept).map(|record| record.path.clone()).collect();
    let suffix = format!(".patch-{}", encode(id.as_str().as_bytes()));
    // The version of the patch beside a kept file is no object of its own.
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
