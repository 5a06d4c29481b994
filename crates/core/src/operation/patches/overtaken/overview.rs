//! For queries: stale registrations, effects of a refresh on patches, and ended patches.

use std::collections::BTreeMap;

use super::ended::{EndingPatches, lose_contained};
use super::planner::{Refresher, UnadoptedVersions};
use super::request::{EndedRegistration, RegistrationRefreshRequest, StandingPatch};
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::encode;
use patchadm_changeset::format::undo_sidecars::PathDigest;
use patchadm_inputs::database::{RecordView, marker, saves};
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenPatches, OvertakenState};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{
    FixedIn, NATIVE_OVERTAKEN, NativeChange, NativeManager, NativeOrigin, NativeRegistration,
};
use patchadm_inputs::program_run::ending_signal;
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchId};

#[derive(Debug, Default)]
pub struct NativeOverview {
    pub changes: BTreeMap<PkgInst, NativeChange>,
    pub would_end: Vec<EndedRegistration>,
    /// Stand, but a refresh would find them lost at some paths.
    pub would_lose: Vec<OvertakenPatch>,
    /// A part was, or would be, handed over.
    pub partly: Vec<PatchId>,
    /// Contained or lost; without losses that something else has made good.
    pub ended: Vec<OvertakenPatch>,
    /// Losses that were accepted and not made good.
    accepted: Vec<OvertakenPatch>,
    /// Removed with their packages.
    removed: Vec<OvertakenPatch>,
    /// Why the effects of a refresh are unknown.
    pub unknown: Option<String>,
}

impl NativeOverview {
    /// Reads no package if none was adopted (`has_native`) and no patch ended.
    pub fn of(root: &Root, now: &Now, has_native: bool) -> Result<Self, Failure> {
        Self::read(root, Some(now), has_native)
    }

    /// Reads only the list of ended patches; empty on failure.
    pub fn of_ended(root: &Root) -> Self {
        Self::read(root, None, false).unwrap_or_default()
    }

    /// With `now`, foresees a refresh.
    fn read(root: &Root, now: Option<&Now>, has_native: bool) -> Result<Self, Failure> {
        let mut overview = Self::default();
        let mut list = overtaken_patches(root, &marker(root)?.unwrap_or_default())?;
        if !has_native && list.patches.is_empty() {
            return Ok(overview);
        }
        let ground = RootAndPolicy::of(root)?;
        let packages = ground.packages()?;
        let applied = ground.recorded(&packages)?;
        overview.changes = ground.native_changes(&packages);
        overview.changes.extend(ground.overruled(&packages)?);
        overview.partly = partly(&packages, &applied);
        if let Some(now) = now {
            overview.foresee(&ground, now);
            overview.find_overridden(&ground, &packages, &applied, &list)?;
        }
        let unadopted = UnadoptedVersions::of(ground.native(), &packages, &list);
        let versions = Versions { packages: &packages, changes: &overview.changes, unadopted };
        lose_contained(&mut list, |manager, name| versions.of(manager, name));
        let (mut ended, mut accepted, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        let view = RecordView::live(root);
        let separator = &ground.policy.separator;
        let revisions: Vec<PatchId> = list
            .patches
            .iter()
            .filter(|one| is_end(one.state))
            .filter_map(|one| PatchId::parse(&one.patch, separator).ok())
            .collect();
        list.patches.retain(|one| {
            let id = PatchId::parse(&one.patch, separator);
            let is_later = |id: &PatchId| revisions.iter().any(|other| other.is_later_than(id));
            !(one.state.is_lost() && id.is_ok_and(|id| is_later(&id)))
        });
        for one in list.patches {
            let id = PatchId::parse(&one.patch, separator).ok();
            let patch = id.as_ref().and_then(|id| applied.get(id));
            let is_open = || {
                let stands =
                    patch.map(|patch| stands_in_part(&view, &one, patch)).transpose()?.unwrap_or(false);
                Ok::<_, Failure>(!is_made_good(&one, id.as_ref(), stands, (&applied, &versions)))
            };
            match one.state {
                OvertakenState::Contained if patch.is_none() => ended.push(one),
                OvertakenState::Lost | OvertakenState::PartlyLost if is_open()? => ended.push(one),
                OvertakenState::Accepted if is_open()? => accepted.push(one),
                OvertakenState::Removed if patch.is_none() => removed.push(one),
                _ => {}
            }
        }
        let would = |one: &OvertakenPatch| {
            overview.would_end(&one.patch).is_some()
                || overview.would_lose.iter().any(|it| it.patch == one.patch)
        };
        ended.retain(|one| !would(one));
        (overview.ended, overview.accepted, overview.removed) = (ended, accepted, removed);
        Ok(overview)
    }

    /// For queries that answer in any case: a failure becomes the reason in `unknown`.
    pub fn as_far_as_known(root: &Root, now: &Now, has_native: bool) -> Self {
        Self::of(root, now, has_native)
            .unwrap_or_else(|failure| Self { unknown: Some(failure.to_string()), ..Self::default() })
    }

    fn foresee(&mut self, ground: &RootAndPolicy, now: &Now) {
        if self.changes.values().all(|change| !change.is_settled()) {
            return;
        }
        let request = RegistrationRefreshRequest { dry_run: true, ..RegistrationRefreshRequest::default() };
        match (Refresher { ground, request: &request, now, time: "", interrupt: &ending_signal }).planned() {
            Ok(Some(planned)) => {
                let is_partly = |one: &StandingPatch| !one.handed_over.is_empty() || !one.lost.is_empty();
                let partly = planned.report.standing.into_iter().filter(is_partly).map(|one| one.id);
                self.partly.extend(partly);
                self.would_end = planned.report.ended;
                self.would_lose = planned.report.partly_lost;
            }
            Ok(None) => {}
            Err(error) => self.unknown = Some(error.to_string()),
        }
    }

    fn find_overridden(
        &mut self,
        ground: &RootAndPolicy,
        packages: &BTreeMap<PkgInst, Installed>,
        applied: &AppliedPatches,
        known: &OvertakenPatches,
    ) -> Result<(), Failure> {
        let mut undone: BTreeMap<(PatchId, PkgInst), Vec<LostPath>> = BTreeMap::new();
        for (package, id, path) in ground.undone_by_overrides(packages)? {
            let lost = LostPath { path: encode(path.as_bytes()), b3: None, by: None };
            undone.entry((id, package)).or_default().push(lost);
        }
        let ends = EndingPatches {
            marker: "",
            time: "",
            packages,
            changes: &self.changes,
            known,
            facts: None,
            successor: &|_, _, _| None,
        };
        let mut overridden: Vec<OvertakenPatch> = Vec::new();
        for ((id, package), paths) in undone {
            let Some(patch) = applied.get(&id).filter(|_| applied.superseded(&id).is_none()) else {
                continue;
            };
            overridden.push(ends.overridden(&id, &patch.packages, (&package, paths)));
        }
        for mut one in overridden {
            let mut told = self.would_end.iter_mut().map(|end| &mut end.patch).chain(&mut self.would_lose);
            if let Some(told) = told.find(|told| told.patch == one.patch) {
                told.paths.append(&mut one.paths);
                continue;
            }
            let is_earlier =
                |line: &&OvertakenPatch| line.state == OvertakenState::PartlyLost && line.patch == one.patch;
            let earlier: Vec<LostPath> =
                known.patches.iter().filter(is_earlier).flat_map(|line| line.paths.iter().cloned()).collect();
            one.paths.extend(earlier);
            self.would_lose.push(one);
        }
        Ok(())
    }

    /// Ended patches, then those that a refresh would end.
    pub fn lost(&self) -> impl Iterator<Item = &OvertakenPatch> {
        let would = self.would_end.iter().map(|one| &one.patch);
        let all = self.ended.iter().chain(would).chain(&self.would_lose);
        all.filter(|one| one.state.is_lost())
    }

    /// Ended patches, then those that a refresh would end.
    pub fn accepted(&self) -> impl Iterator<Item = &OvertakenPatch> {
        let would = self.would_end.iter().map(|one| &one.patch);
        let all = self.accepted.iter().chain(would).chain(&self.would_lose);
        all.filter(|one| one.state == OvertakenState::Accepted)
    }

    /// Includes effects of the next refresh.
    pub fn of_patch(&self, id: &str) -> Option<&OvertakenPatch> {
        let would = self.would_end.iter().map(|one| &one.patch).chain(&self.would_lose);
        let mut all = would.chain(&self.ended).chain(&self.accepted).chain(&self.removed);
        all.find(|one| one.patch == id)
    }

    /// Includes effects of the next refresh; excludes accepted losses.
    pub fn partly_lost(&self, id: &str) -> Option<&OvertakenPatch> {
        let mut all = self.would_lose.iter().chain(&self.ended);
        all.find(|one| one.patch == id && one.state == OvertakenState::PartlyLost)
    }

    /// Returns the change that makes the state of patches of these packages uncertain: no refresh can tell yet what it
    /// left of them.
    pub fn uncertain(&self, packages: &[String]) -> Option<&NativeChange> {
        let is_named = |package: &PkgInst| packages.iter().any(|name| name == package.as_str());
        let is_open = |change: &NativeChange| self.unknown.is_some() || !change.is_settled();
        let found = self.changes.iter().find(|(package, change)| is_open(change) && is_named(package));
        found.map(|(_, change)| change)
    }

    pub fn would_end(&self, id: &str) -> Option<&OvertakenPatch> {
        self.would_end.iter().map(|one| &one.patch).find(|one| one.patch == id)
    }
}

/// False if the patch is still applied. The end covers earlier revisions.
fn is_end(state: OvertakenState) -> bool {
    !matches!(state, OvertakenState::PartlyLost | OvertakenState::AcceptedBeforehand)
}

/// Handed over before.
fn partly(packages: &BTreeMap<PkgInst, Installed>, applied: &AppliedPatches) -> Vec<PatchId> {
    let texts = packages.values().map(|installed| installed.params.text(NATIVE_OVERTAKEN));
    let words: Vec<String> =
        texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let ids = applied.iter().map(|patch| &patch.id);
    ids.filter(|id| words.iter().any(|word| word == id.as_str())).cloned().collect()
}

struct Versions<'a> {
    packages: &'a BTreeMap<PkgInst, Installed>,
    changes: &'a BTreeMap<PkgInst, NativeChange>,
    unadopted: UnadoptedVersions,
}

impl Versions<'_> {
    fn of(&self, manager: NativeManager, name: &str) -> Option<String> {
        let adopted = self.packages.iter().find_map(|(package, installed)| {
            let origin = NativeOrigin::of(&installed.params)?;
            if origin.manager != manager || origin.name != name {
                return None;
            }
            match self.changes.get(package) {
                Some(NativeChange::Upgraded { to, .. }) => Some(to.clone()),
                Some(NativeChange::Removed { .. }) => None,
                _ => Some(NativeRegistration::of(&installed.params).version),
            }
        });
        adopted.or_else(|| self.unadopted.oldest(manager, name))
    }
}

/// Undo data of a patch that stands in part lacks some paths; that of a patch applied again has them.
fn stands_in_part(
    view: &RecordView<'_>,
    lost: &OvertakenPatch,
    patch: &AppliedPatch,
) -> Result<bool, Failure> {
    let lost: Vec<PathDigest> = lost.lost_paths().map(|path| PathDigest::of(&path)).collect();
    for package in &patch.packages {
        let lists = saves::paths(view, package)?;
        if lists.get(patch.id.as_str()).is_some_and(|list| lost.iter().any(|path| list.has(path))) {
            return Ok(false);
        }
    }
    Ok(!lost.is_empty())
}

/// A fix comes back through the patch, a later one, or a later version. `stands`: an applied patch lost its fix at some
/// paths.
fn is_made_good(
    lost: &OvertakenPatch,
    id: Option<&PatchId>,
    stands: bool,
    (applied, versions): (&AppliedPatches, &Versions<'_>),
) -> bool {
    if let Some(id) = id {
        // A partly lost patch that is not applied was backed out.
        let is_over = lost.state == OvertakenState::PartlyLost || applied.get(id).is_some();
        let is_again = is_over && !stands || applied.later_revision(id).is_some();
        if is_again || applied.obsoleted_by(id).is_some() {
            return true;
        }
    }
    let fixed: Option<FixedIn> = lost.fixed_in.as_deref().and_then(|text| text.parse().ok());
    let manager = NativeManager::named(&lost.manager);
    let version = manager.and_then(|manager| Some((manager, versions.of(manager, &lost.package)?)));
    fixed.zip(version).is_some_and(|(fixed, (manager, version))| fixed.has(manager, &lost.package, &version))
}
