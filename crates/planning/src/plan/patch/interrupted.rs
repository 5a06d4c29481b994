//! Patches that a tool without recovery left half applied: some files may be in place, and nothing was saved. Such a
//! tool records a patch before it installs the first file, saves replaced objects at the end, and leaves a lock if
//! interrupted. A second, refused call puts the records of the first aside; the files stay.

use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::inventory::Installed;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

use crate::plan::RecordChange;
use crate::plan::records::{INSTALL_LOCK, has_undo_data, package_path, save_of};
use crate::plan::refusal::{Command, Reason, Refusal, Wording};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    pub patch: PatchId,
    pub package: PkgInst,
    /// The records of the package are those from before the patch.
    pub is_put_aside: bool,
}

impl Interrupted {
    /// Returns the refusal of patchrm(1M), because the patch can neither be backed out nor applied.
    pub fn refusal(&self) -> Refusal {
        self.reason().of(Command::Patchrm, &self.patch)
    }

    /// Describes the interruption and the possible actions in one sentence.
    pub fn told(&self, wording: &Wording) -> String {
        let refusal = self.refusal();
        format!("{}: {}; {}", self.patch, refusal.why(), refusal.hint(wording))
    }

    pub(super) fn reason(&self) -> Reason {
        Reason::Interrupted { package: self.package.clone(), is_put_aside: self.is_put_aside }
    }
}

/// Returns the patches that were left half applied to a package: at most one of its records and one of those put aside.
pub fn interrupted(package: &PkgInst, installed: &Installed, separator: &str) -> Vec<Interrupted> {
    let traces = &installed.interruption;
    let recorded = locked_by(installed, separator);
    let put_aside = traces.put_aside.as_ref().and_then(|params| last_patch(params, separator));
    let put_aside = put_aside.filter(|last| !is_applied(installed, last, separator));
    let half = |is_put_aside| move |patch| Interrupted { patch, package: package.clone(), is_put_aside };
    recorded.map(half(false)).into_iter().chain(put_aside.map(half(true))).collect()
}

pub(super) fn why_interrupted(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    separator: &str,
) -> Option<Reason> {
    let found = interrupted(package, installed, separator);
    found.iter().find(|half| half.patch == *id).map(Interrupted::reason)
}

/// A run with scripts uses the same lock and would remove it.
pub(super) fn refuse_scripts(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    separator: &str,
) -> Result<(), Reason> {
    match locked_by(installed, separator).filter(|patch| patch != id) {
        Some(patch) => Err(Reason::OtherInterrupted { package: package.clone(), patch }),
        None => Ok(()),
    }
}

pub(super) fn forget(
    package: &PkgInst,
    installed: &Installed,
    id: &PatchId,
    separator: &str,
) -> Result<Vec<RecordChange>, Reason> {
    let is_last = |params: &Params| last_patch(params, separator).as_ref() == Some(id);
    let traces = &installed.interruption;
    let mut changes = Vec::new();
    let is_others = locked_by(installed, separator).is_some_and(|other| other != *id);
    if traces.is_locked && is_last(&installed.params) && !is_others {
        changes.push(RecordChange::RemoveFile(package_path(package, INSTALL_LOCK.as_bytes())?));
    }
    if traces.put_aside.as_ref().is_some_and(is_last) {
        changes.push(RecordChange::RemoveTree(package_path(package, package.as_str().as_bytes())?));
    }
    Ok(changes)
}

/// The last recorded patch without undo data of this program: runs of this program leave no lock.
fn locked_by(installed: &Installed, separator: &str) -> Option<PatchId> {
    if !installed.interruption.is_locked {
        return None;
    }
    let list = installed.params.text("PATCHLIST");
    let mut ids = list.split_whitespace().rev().filter_map(|id| PatchId::parse(id, separator).ok());
    let is_ours = |id: &PatchId| {
        let save = save_of(installed, id, separator).map(|(_, save)| save);
        let is_ours = |name: &String| UndoFormat::of_name(name.as_bytes()).is_of_this_program();
        save.is_some_and(|save| save.has_manifest || save.archive.as_ref().is_some_and(is_ours))
    };
    ids.find(|id| !is_ours(id)).filter(|id| !has_undo_data(installed, id, separator))
}

fn last_patch(params: &Params, separator: &str) -> Option<PatchId> {
    let list = params.text("PATCHLIST");
    PatchId::parse(list.split_whitespace().last()?, separator).ok()
}

fn is_applied(installed: &Installed, id: &PatchId, separator: &str) -> bool {
    let list = installed.params.text("PATCHLIST");
    list.split_whitespace().any(|applied| PatchId::parse(applied, separator).as_ref() == Ok(id))
}
