//! Who brought a fix: whether the records of a root know it at all. They decide nothing; what a patch is worth today is
//! asked for with the state of the patch itself.

use super::applied_run::AppliedRuns;
use super::patch_files::records;
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::must_have_database;
use patchadm_inputs::database::{marker, policy, read_consistently};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{FixId, FixRecord, PatchId, PatchStanding};

/// What the records of a root say of a fix.
#[derive(Debug, Default)]
pub struct FixReasons {
    /// The applied patches that brought it, each with the run that applied it, if the history has that.
    pub brought: Vec<(PatchId, Option<String>)>,
    /// The patches that brought it and ended since, because dpkg or rpm changed their package. Those whose loss was
    /// accepted are among them.
    pub ended: Vec<OvertakenPatch>,
    /// Whether the root knows a patch that is called like the fix: it, a later revision, or one that contains it is applied.
    pub is_known_patch: bool,
}

/// Asks the records of a root for a fix.
pub fn fix_reasons(root: &Root, fix: &FixId) -> Result<FixReasons, Failure> {
    must_have_database(root)?;
    let separator = policy::of_root(root)?.separator;
    let list = overtaken_patches(root, &marker(root)?.unwrap_or_default())?;
    let ended = |one: &OvertakenPatch| {
        one.state != OvertakenState::AcceptedBeforehand && one.fixes.iter().any(|id| id == fix.as_str())
    };
    let ended: Vec<OvertakenPatch> = list.patches.into_iter().filter(ended).collect();
    read_consistently(root, |view| {
        let (applied, params) = records(view, &separator)?;
        let brings = |id: &PatchId, packages: &[_]| {
            let params = packages.iter().filter_map(|package| params.get(package));
            FixRecord::of(id, params).fixes.contains(fix.as_str())
        };
        let patches = applied.iter().filter(|patch| brings(&patch.id, &patch.packages));
        let patches: Vec<PatchId> = patches.map(|patch| patch.id.clone()).collect();
        // The history is read only where it says something.
        let runs = (!patches.is_empty()).then(|| AppliedRuns::of(view));
        let with_run = |id: PatchId| {
            let run = runs.as_ref().and_then(|runs| runs.of_patch(&id));
            (id, run)
        };
        let is_known_patch = PatchId::parse(fix.as_str(), &separator).is_ok_and(|id| {
            let packages = applied.get(&id).map(|patch| patch.packages.clone()).unwrap_or_default();
            !matches!(applied.standing(&id, &packages), PatchStanding::New)
        });
        let brought = patches.into_iter().map(with_run).collect();
        Ok(FixReasons { brought, ended: ended.clone(), is_known_patch })
    })
}
