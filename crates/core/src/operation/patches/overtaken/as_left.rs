//! Packages of which only the stamp of the native records differs: whether their patches are as they were left.

use std::collections::{BTreeMap, BTreeSet};

use super::saved::SavedPatches;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::BackOutRequest;
use crate::operation::patches::back_out::input::BackOutInput;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::database::marker;
use patchadm_inputs::inventory::Installed;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::overtaken::standing::is_as_left;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// Returns those of these packages whose patches left every path as it is now. A package whose undo data cannot be read is
/// not among them.
pub(in crate::operation) fn as_left(
    ground: &RootAndPolicy,
    candidates: &BTreeSet<PkgInst>,
    packages: &BTreeMap<PkgInst, Installed>,
) -> BTreeSet<PkgInst> {
    let (mut left, mut patched) = (BTreeSet::new(), Vec::new());
    for package in candidates {
        let list = packages.get(package).map(|installed| installed.params.text("PATCHLIST").into_owned());
        let ids = list.unwrap_or_default();
        let ids = ids.split_whitespace().map(|id| PatchId::parse(id, &ground.policy.separator));
        match ids.collect::<Result<Vec<PatchId>, _>>() {
            Ok(ids) if ids.is_empty() => drop(left.insert(package.clone())),
            Ok(ids) => patched.push((package, ids)),
            Err(_) => {}
        }
    }
    for (package, ids) in patched {
        if is_package_as_left(ground, package, &ids).unwrap_or(false) {
            left.insert(package.clone());
        }
    }
    left
}

fn is_package_as_left(ground: &RootAndPolicy, package: &PkgInst, ids: &[PatchId]) -> Result<bool, Failure> {
    // Nothing is planned here, so the moment does not matter.
    let now = Now { utc: Default::default(), local: Default::default(), host: String::new() };
    let request = BackOutRequest::default();
    let input = BackOutInput::of(ground, &request, &now)?;
    let all: Vec<_> = ids.iter().map(|id| (package.clone(), id.clone())).collect();
    let saved = SavedPatches::read(&input, &marker(&ground.root)?.unwrap_or_default(), &all)?;
    let mut put: BTreeMap<ObjectPath, (&ObjectRecord, &ObjectRecord)> = BTreeMap::new();
    for one in &saved.all {
        let Some(manifest) = one.manifest() else { return Ok(false) };
        for record in manifest.objects.iter().filter(|record| record.has_path()) {
            let Some(path) = record.object_path() else { return Ok(false) };
            put.entry(path).and_modify(|(_, last)| *last = record).or_insert((record, record));
        }
    }
    let resolver = ground.root.resolver();
    for (path, (first, last)) in put {
        let physical = resolver.locate_object(&path)?;
        let directory = physical.parent().unwrap_or_else(ObjectPath::root);
        let live = match ground.root.dir_if_there(&directory)? {
            Some(dir) => dir.live(physical.name())?,
            None => None,
        };
        if !is_as_left((first, last), live.as_ref()) {
            return Ok(false);
        }
    }
    Ok(true)
}
