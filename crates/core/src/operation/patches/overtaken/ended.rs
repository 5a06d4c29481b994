//! Patches that ended, and changes of their list.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::facts::{RegistrationFacts, fixed_in};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenPatches, OvertakenState};
use patchadm_inputs::inventory::{Installed, Inventory, KEPT_FROM, KeptLibraries};
use patchadm_inputs::native::{
    FixedIn, NativeChange, NativeManager, NativeOrigin, NativeOwner, NativeRegistration,
};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{KeepingCause, KeptInput, KeptSettlement};
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::patch::{FixRecord, PatchId};
use patchadm_svr4::places;

/// `None` if it is unchanged.
pub(super) fn written(before: &OvertakenPatches, list: &OvertakenPatches) -> Option<RecordChange> {
    if before.patches == list.patches {
        return None;
    }
    let (path, bytes) = (places::lost(), list.to_bytes());
    Some(if bytes.is_empty() {
        RecordChange::RemoveFile(path)
    } else {
        RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None }
    })
}

/// Marks and returns contained patches whose fix the present version lacks, according to `version`. Without a stated
/// version, the patch was contained by its bytes: a newer version keeps them, an older one does not.
pub(super) fn lose_contained(
    list: &mut OvertakenPatches,
    version: impl Fn(NativeManager, &str) -> Option<String>,
) -> Vec<OvertakenPatch> {
    let mut lost = Vec::new();
    for one in list.patches.iter_mut().filter(|one| one.state == OvertakenState::Contained) {
        let Some(manager) = NativeManager::named(&one.manager) else { continue };
        let Some(now) = version(manager, &one.package) else { continue };
        let fixed: Option<FixedIn> = one.fixed_in.as_deref().and_then(|text| text.parse().ok());
        let has_fix = match &fixed {
            Some(fixed) if fixed.has(manager, &one.package, &now) => true,
            Some(fixed) if fixed.has(manager, &one.package, &one.version) => false,
            _ => manager.compare(&now, &one.version) != Ordering::Less,
        };
        if !has_fix {
            (one.state, one.version) = (OvertakenState::Lost, now);
            lost.push(one.clone());
        }
    }
    lost
}

/// Marks lost patches as contained if their bytes are at all paths again.
pub(super) fn find_again(list: &mut OvertakenPatches, inventory: &Inventory) {
    for one in list.patches.iter_mut().filter(|one| one.state == OvertakenState::Lost) {
        let is_there = |lost: &LostPath| {
            let live = lost.object_path().and_then(|path| inventory.live.get(&path)?.digest());
            live.is_some_and(|digest| lost.b3.as_deref() == Some(&digest.to_string()))
        };
        if !one.paths.is_empty() && one.paths.iter().all(is_there) {
            one.state = OvertakenState::Contained;
        }
    }
}

pub(super) fn accepted_beforehand(id: &PatchId, marker: &str, time: &str) -> OvertakenPatch {
    OvertakenPatch {
        root: marker.to_owned(),
        patch: id.to_string(),
        state: OvertakenState::AcceptedBeforehand,
        manager: String::new(),
        package: String::new(),
        version: String::new(),
        fixed_in: None,
        fixes: Vec::new(),
        paths: Vec::new(),
        time: time.to_owned(),
    }
}

/// Plans a run for records only. Closing lines of `contents` name the package `named`.
pub(super) fn records_alone(
    records: Vec<RecordChange>,
    packages: Vec<PkgInst>,
    named: &PkgInst,
    now: &Now,
) -> Plan {
    let trailer = now.trailer(Command::Adopt.name(), named);
    Plan { packages, records, ..Plan::empty(Command::Adopt.name(), trailer) }
}

pub(super) struct EndingPatches<'a> {
    pub(super) marker: &'a str,
    pub(super) time: &'a str,
    pub(super) packages: &'a BTreeMap<PkgInst, Installed>,
    pub(super) changes: &'a BTreeMap<PkgInst, NativeChange>,
    pub(super) known: &'a OvertakenPatches,
    /// `None` if all objects count as gone.
    pub(super) facts: Option<&'a RegistrationFacts>,
    /// Returns the native package that replaced a removed one.
    pub(super) successor: &'a dyn Fn(&PatchId, &PkgInst, &NativeOrigin) -> Option<NativeOwner>,
}

struct PackageEnd {
    state: OvertakenState,
    manager: NativeManager,
    name: String,
    version: String,
    paths: Vec<LostPath>,
}

impl EndingPatches<'_> {
    /// A patch is lost to the first package without its fix, else contained in the first one, else removed with the
    /// first one.
    pub(super) fn end(&self, id: &PatchId, packages: &[PkgInst]) -> OvertakenPatch {
        let ends = self.ends(id, packages);
        let of = |state: OvertakenState| ends.iter().position(|end| end.state == state);
        let at = of(OvertakenState::Lost).or(of(OvertakenState::Contained)).unwrap_or(0);
        let mut end = self.line(id, packages, OvertakenState::Lost);
        if let Some(one) = ends.get(at) {
            (end.state, end.manager) = (one.state, one.manager.name().to_owned());
            (end.package, end.version) = (one.name.clone(), one.version.clone());
        }
        end.paths = ends.into_iter().filter(|one| one.state == end.state).flat_map(|one| one.paths).collect();
        if end.state == OvertakenState::Lost && self.was_accepted(id) {
            end.state = OvertakenState::Accepted;
        }
        end
    }

    /// Returns standing patches that lost their fix at some paths. A superseded patch is reported when the later one is
    /// backed out.
    pub(super) fn all_partly_lost(&self, facts: &RegistrationFacts) -> Vec<OvertakenPatch> {
        let standing = facts.applied.iter().filter(|patch| {
            patch.packages.iter().any(|package| self.changes.contains_key(package))
                && facts.standings.standing.contains(&patch.id)
        });
        standing.filter_map(|patch| self.partly_lost(&patch.id, &patch.packages)).collect()
    }

    pub(super) fn partly_lost(&self, id: &PatchId, packages: &[PkgInst]) -> Option<OvertakenPatch> {
        let ends = self.ends(id, packages);
        let mut lost = ends.into_iter().filter(|end| end.state == OvertakenState::Lost);
        let first = lost.next()?;
        let known = self
            .known
            .of(id.as_str())
            .filter(|known| matches!(known.state, OvertakenState::PartlyLost | OvertakenState::Accepted));
        let mut line = self.line(id, packages, OvertakenState::PartlyLost);
        first.manager.name().clone_into(&mut line.manager);
        (line.package, line.version) = (first.name, first.version);
        let earlier = known.into_iter().flat_map(|known| known.paths.iter().cloned());
        line.paths = earlier.chain(first.paths).chain(lost.flat_map(|end| end.paths)).collect();
        line.paths.sort_by(|one, other| one.path.cmp(&other.path));
        line.paths.dedup_by(|one, other| one.path == other.path);
        if self.was_accepted(id) {
            line.state = OvertakenState::Accepted;
        }
        Some(line)
    }

    /// For changes undone by dpkg-statoverride(1).
    pub(super) fn overridden(
        &self,
        id: &PatchId,
        packages: &[PkgInst],
        (package, paths): (&PkgInst, Vec<LostPath>),
    ) -> OvertakenPatch {
        let known = self.known.of(id.as_str());
        let is_accepted = known.is_some_and(|known| {
            matches!(known.state, OvertakenState::Accepted | OvertakenState::AcceptedBeforehand)
        });
        let state = if is_accepted { OvertakenState::Accepted } else { OvertakenState::PartlyLost };
        let mut line = self.line(id, packages, state);
        let params = self.packages.get(package).map(|installed| &installed.params);
        if let Some((params, origin)) = params.and_then(|params| Some((params, NativeOrigin::of(params)?))) {
            origin.manager.name().clone_into(&mut line.manager);
            (line.package, line.version) = (origin.name, NativeRegistration::of(params).version);
        }
        line.paths = paths;
        line
    }

    /// `is_whole`: these are all of its paths.
    pub(super) fn taken_over(
        &self,
        id: &PatchId,
        packages: &[PkgInst],
        by: NativeOwner,
        (paths, is_whole): (Vec<LostPath>, bool),
    ) -> OvertakenPatch {
        let NativeOwner { origin, version } = by;
        let fixed = self.fixed(id, packages);
        let has_fix = fixed.is_some_and(|fixed| fixed.has(origin.manager, &origin.name, &version));
        let state = match (has_fix, self.was_accepted(id), is_whole) {
            (true, ..) => OvertakenState::Contained,
            (false, true, _) => OvertakenState::Accepted,
            (false, false, true) => OvertakenState::Lost,
            (false, false, false) => OvertakenState::PartlyLost,
        };
        let manager = origin.manager.name().to_owned();
        OvertakenPatch { manager, package: origin.name, version, paths, ..self.line(id, packages, state) }
    }

    fn was_accepted(&self, id: &PatchId) -> bool {
        self.known.of(id.as_str()).is_some_and(|known| known.state == OvertakenState::AcceptedBeforehand)
    }

    fn put(&self, id: &PatchId, package: &PkgInst) -> Vec<LostPath> {
        self.facts.map(|facts| facts.put(id, package)).unwrap_or_default()
    }

    fn ends(&self, id: &PatchId, packages: &[PkgInst]) -> Vec<PackageEnd> {
        let fixed = self.fixed(id, packages);
        let has_fix = |manager: NativeManager, name: &str, version: &str| {
            fixed.as_ref().is_some_and(|fixed| fixed.has(manager, name, version))
        };
        let mut ends = Vec::new();
        for package in packages {
            let Some(change) = self.changes.get(package) else { continue };
            let NativeOrigin { manager, name, .. } = change.origin().clone();
            let end = match (change, change.versions().1) {
                (_, Some(version)) => {
                    let lost = self.facts.map(|facts| facts.lost(id, package));
                    let is_whole = lost.as_ref().is_some_and(Vec::is_empty);
                    let is_there = is_whole || has_fix(manager, &name, version);
                    let state = if is_there { OvertakenState::Contained } else { OvertakenState::Lost };
                    let paths = match lost {
                        _ if is_there => self.put(id, package),
                        lost => lost.unwrap_or_default(),
                    };
                    PackageEnd { state, manager, name, version: version.to_owned(), paths }
                }
                (NativeChange::Removed { from, origin }, _) => match (self.successor)(id, package, origin) {
                    None => {
                        let (state, paths) = (OvertakenState::Removed, Vec::new());
                        PackageEnd { state, manager, name, version: from.clone(), paths }
                    }
                    Some(NativeOwner { origin, version }) => {
                        let is_there = has_fix(origin.manager, &origin.name, &version);
                        let state = if is_there { OvertakenState::Contained } else { OvertakenState::Lost };
                        let paths = self.put(id, package);
                        PackageEnd { state, manager, name: origin.name, version, paths }
                    }
                },
                _ => continue,
            };
            ends.push(end);
        }
        ends
    }

    fn line(&self, id: &PatchId, packages: &[PkgInst], state: OvertakenState) -> OvertakenPatch {
        let installed = packages.iter().filter_map(|package| self.packages.get(package));
        let fixes =
            FixRecord::from_params(id, installed.map(|installed| &installed.params)).fixes.to_strings();
        OvertakenPatch {
            root: self.marker.to_owned(),
            patch: id.to_string(),
            state,
            manager: String::new(),
            package: String::new(),
            version: String::new(),
            fixed_in: fixed_in(self.packages, id, packages),
            fixes,
            paths: Vec::new(),
            time: self.time.to_owned(),
        }
    }

    fn fixed(&self, id: &PatchId, packages: &[PkgInst]) -> Option<FixedIn> {
        fixed_in(self.packages, id, packages).and_then(|text| text.parse().ok())
    }
}

/// Plans to stop keeping objects that are gone or the native manager's. `None` if nothing changes.
pub(super) fn end_keeping(
    ground: &RootAndPolicy,
    (plan, facts): (&mut Plan, &RegistrationFacts),
    now: &Now,
) -> Result<Option<KeptLibraries>, Failure> {
    let kept = ground.kept_libraries(&facts.inventory.hidden)?;
    let is_of_changed = |path: &ObjectPath| {
        let keeper = kept.keeper(path).and_then(|keeper| kept.packages.get(keeper));
        let from = keeper.and_then(|keeper| PkgInst::new(&keeper.params.text(KEPT_FROM)).ok());
        from.is_some_and(|from| facts.changes.contains_key(&from))
    };
    let of_changed: Vec<&ObjectPath> = kept.paths().filter(|path| is_of_changed(path)).collect();
    let is_gone = |path: &ObjectPath| !kept.live.contains_key(path);
    let is_native = |path: &ObjectPath| facts.inventory.live.contains_key(path);
    let ends = of_changed.into_iter().filter(|path| is_gone(path) || is_native(path));
    let ends: BTreeSet<ObjectPath> = ends.cloned().collect();
    if ends.is_empty() {
        return Ok(None);
    }
    let input = KeptInput {
        plan,
        inventory: &facts.inventory,
        kept: &kept,
        staying: None,
        archived_packages: &BTreeMap::new(),
        archived_directories: &BTreeMap::new(),
        returned: &ends,
        cause: KeepingCause { by: Command::Adopt.name(), is_forced: false },
        now,
    };
    let subject = plan.packages.first().map(ToString::to_string).unwrap_or_default();
    let mut settlement: KeptSettlement = input
        .settle()
        .map_err(|reason| reason.shown(&facts.inventory).of(Command::AdoptRefresh, &subject))?;
    let lines = ends.iter().filter(|path| is_gone(path)).map(|path| (path.clone(), None));
    settlement.contents.extend(lines);
    settlement.apply(plan);
    Ok(Some(settlement.kept))
}
