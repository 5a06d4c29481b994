//! The patches of packages that only the stage has. They follow the promotion, which installs the package as the first
//! of them found it. Its undo archive records that state, and takes back nothing of what they did: they come off before
//! it.

use std::collections::BTreeMap;

use super::brought::{FoundByPatch, NewPatches};
use crate::plan::RecordChange;
use crate::plan::records::package_path;
use crate::plan::refusal::Reason;
use patchadm_changeset::format::manifest::{ObjectRecord, encode};
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

impl NewPatches {
    /// Lists them in the parameters of their package, after the promotion.
    pub(super) fn list_behind(&self, promotion: &PatchId, params: &mut Params) {
        let ids = std::iter::once(promotion).chain(&self.ids);
        let list: Vec<&str> = ids.map(PatchId::as_str).collect();
        params.set("PATCHLIST", list.join(" "));
    }

    /// Their save directories, as the stage has them.
    pub(super) fn save_directories(&self, package: &PkgInst) -> Result<Vec<RecordChange>, Reason> {
        let directory = |(name, files): (&String, &Vec<_>)| {
            let path = package_path(package, format!("save/{name}").as_bytes())?;
            Ok(RecordChange::AddTree { path, files: files.clone() })
        };
        self.saves.iter().map(directory).collect()
    }

    /// Lets the undo manifest of the promotion say of every path what was there before the first of them.
    pub(super) fn take_out_of(&self, objects: &mut Vec<ObjectRecord>) {
        let mut found: BTreeMap<String, &FoundByPatch> =
            self.found.iter().map(|(path, found)| (encode(path.as_bytes()), found)).collect();
        for record in objects.iter_mut() {
            if let Some(found) = found.remove(&record.path) {
                (record.became, record.new_line) = (found.state.clone(), found.line.clone());
            }
        }
        objects.extend(found.into_iter().map(|(path, found)| added(path, found)));
        let is_nothing = |record: &ObjectRecord| {
            record.was.is_none()
                && record.became.is_none()
                && record.line.is_none()
                && record.new_line.is_none()
        };
        objects.retain(|record| !is_nothing(record));
        objects.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    }
}

/// Returns the record of an object that the promotion put at an empty path and that the patches then removed.
fn added(path: String, found: &FoundByPatch) -> ObjectRecord {
    ObjectRecord {
        path,
        was: None,
        line: None,
        became: found.state.clone(),
        new_line: found.line.clone(),
        kept: false,
        delivered: found.state.is_some(),
        member: None,
        shlib: None,
        file: None,
    }
}
