//! Programs that use files that a plan replaces, or that an earlier run replaced there, and need a restart. Only for
//! the running system, only advice: the superuser alone sees other users' processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::operation::running::{
    NOT_ALL_SEEN, ProcessFiles, ReplacedFiles, WantedFiles, by_place, processes,
};
use patchadm_planning::plan::{Action, Plan};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsingProcess {
    pub process: u32,
    pub program: String,
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct InUse {
    pub(in crate::operation) processes: Vec<UsingProcess>,
    pub(in crate::operation) note: Option<&'static str>,
}

pub(in crate::operation) fn in_use(root: &Root, plan: &Plan) -> InUse {
    in_use_of_each(root, &[plan]).pop().unwrap_or_default()
}

/// One pass over all processes serves all plans.
pub(super) fn in_use_of_each(root: &Root, plans: &[&Plan]) -> Vec<InUse> {
    let mut each: Vec<InUse> = plans.iter().map(|_| InUse::default()).collect();
    if !root.is_system() {
        return each;
    }
    let replaced = ReplacedFiles::of(root);
    let places: Vec<BTreeMap<_, _>> = plans.iter().map(|plan| by_place(root, taken_by(plan))).collect();
    let wanted = WantedFiles::at(root, places.iter().flat_map(BTreeMap::keys), &replaced);
    if wanted.is_empty() {
        return each;
    }
    for (process, directory) in processes() {
        let Some(files) = ProcessFiles::of(&directory) else { continue };
        let used = wanted.used_by(files.all());
        for (found, places) in each.iter_mut().zip(&places) {
            if files.is_hidden && !places.is_empty() {
                found.note = Some(NOT_ALL_SEEN);
            }
            let own = used.iter().filter_map(|place| places.get(place)).flatten();
            let mut paths: Vec<String> = own.map(ToString::to_string).collect();
            paths.sort();
            if !paths.is_empty() {
                found.processes.push(UsingProcess { process, program: name_of(&directory), paths });
            }
        }
    }
    each
}

fn taken_by(plan: &Plan) -> impl Iterator<Item = &ObjectPath> {
    let changing =
        plan.changes.iter().filter(|change| matches!(change.action, Action::Replace(_) | Action::Delete));
    changing.map(|change| &change.path)
}

fn name_of(directory: &Path) -> String {
    fs::read_to_string(directory.join("comm")).unwrap_or_default().trim().to_owned()
}
