//! Plans a refresh: changed packages, their patches, and the consequences.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ended::{
    EndingPatches, accepted_beforehand, end_keeping, find_again, lose_contained, records_alone, written,
};
use super::facts::{ChangedPackage, OfPackage, RegistrationFacts, SavedPatches, TrimmedPatches, TrimmedUndo};
use super::request::{
    EndedRegistration, RefreshedRegistration, RegistrationRefreshReport, RegistrationRefreshRequest,
};
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, LibraryRequest, PlanToSettle};
use crate::operation::log;
use crate::operation::overtaken_list::{EndedPatches, overtaken_patches};
use crate::operation::patches::back_out::BackOutRequest;
use crate::operation::patches::back_out::input::BackOutInput;
use crate::operation::session::{Caller, RootAndPolicy, RunOptions, Session, patch_record};
use patchadm_changeset::format::journal::PatchRecord;
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenPatches, OvertakenState};
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::native::{
    NATIVE_STAMP, NativeChange, NativeManager, NativeOrigin, NativeReader, differing_of, differing_text,
    edited_of, edited_text,
};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::package::adopt::bare_patches;
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, GoingPatch, LaterUndo, UndoSources};
use patchadm_planning::plan::patch::overtaken::Trimmed;
use patchadm_planning::plan::patch::overtaken::{PatchOfPackage, Standings};
use patchadm_planning::plan::patch::registration_refresh::{
    IntendedRefresh, RefreshInput, RefreshedPackage, RefreshedSoftware, refresh,
};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::format::params;
use patchadm_svr4::package::{ContentInfo, Mode, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, UnmetRequirement};
use patchadm_svr4::places;

/// `None` if nothing is stale.
pub(in crate::operation) fn planned_refresh(
    ground: &RootAndPolicy,
    request: &RegistrationRefreshRequest,
    caller: &Caller<'_>,
) -> Result<Option<(RegistrationRefreshReport, Option<Plan>)>, Failure> {
    let request = RegistrationRefreshRequest { dry_run: true, ..request.clone() };
    let Caller { now, time, interrupt, .. } = caller;
    let refresher = Refresher { ground, request: &request, now, time, interrupt: *interrupt };
    Ok(refresher.planned()?.map(|planned| (planned.report, planned.plan)))
}

/// `None` if nothing is stale. If one run for all packages fails and is rolled back, refreshes one by one.
pub(in crate::operation) fn refresh_locked(
    session: &Session<'_>,
    request: &RegistrationRefreshRequest,
) -> Result<Option<RegistrationRefreshReport>, Failure> {
    let Caller { now, time, interrupt, .. } = session.caller;
    let refresher = Refresher { ground: &session.ground, request, now, time, interrupt: *interrupt };
    let Some(planned) = refresher.planned()? else { return Ok(None) };
    let packages: Vec<PkgInst> = planned.report.packages.iter().map(|one| one.package.clone()).collect();
    let together = match perform(session, planned) {
        Err(failure) if packages.len() > 1 && failure.is_rolled_back() => failure,
        done => return done.map(Some),
    };
    let mut whole = RegistrationRefreshReport::default();
    for package in packages {
        let alone = RegistrationRefreshRequest { packages: vec![package.clone()], ..request.clone() };
        let refresher = Refresher { request: &alone, ..refresher };
        match refresher.planned()?.map(|planned| perform(session, planned)).transpose() {
            Ok(report) => whole.add(report.unwrap_or_default()),
            Err(failure) if failure.is_rolled_back() => {
                whole.notes.push(format!("package {package} is not refreshed: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    if whole.packages.is_empty() { Err(together) } else { Ok(Some(whole)) }
}

fn perform(session: &Session<'_>, planned: PlannedRefresh) -> Result<RegistrationRefreshReport, Failure> {
    let mut report = planned.report;
    let Some(plan) = planned.plan else { return Ok(report) };
    let refreshed = report.packages.iter().map(RefreshedRegistration::record).collect();
    let record = PatchRecord { refreshed, ..patch_record(&plan, None, log::of_registration(&plan)) };
    let receipt = session.perform_run(&plan, &mut planned.undo.content(), RunOptions::of(vec![record]))?;
    report.notes.extend(receipt.notes.iter().cloned());
    report.receipt = Some(receipt);
    Ok(report)
}

type ChangesByPackage = BTreeMap<PkgInst, NativeChange>;

/// Plans in search of packages that obstruct a refresh. Each reads the records of all packages.
const MOST_TRIES: usize = 50;

pub(super) struct PlannedRefresh {
    pub(super) plan: Option<Plan>,
    pub(super) undo: SavedPatches,
    pub(super) report: RegistrationRefreshReport,
}

pub(super) struct Refresher<'a> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) request: &'a RegistrationRefreshRequest,
    pub(super) now: &'a Now,
    pub(super) time: &'a str,
    /// Checked between packages, and while undo data and objects are read.
    pub(super) interrupt: Interrupt<'a>,
}

impl Refresher<'_> {
    /// `None` if nothing is to be done. One plan serves all stale packages. If that is impossible, the obstructing
    /// packages stay stale, each with its reason.
    pub(super) fn planned(&self) -> Result<Option<PlannedRefresh>, Failure> {
        let packages = self.ground.packages()?;
        let (changes, left) = self.changes(&packages)?;
        let all = match self.planned_for(&packages, changes.clone(), left.clone()) {
            Err(failure) if changes.len() > 1 && failure.signal().is_none() => failure,
            planned => return planned,
        };
        let (mut fitting, mut left) = (ChangesByPackage::new(), left);
        let (mut parts, mut tries) = (halves(changes), 0);
        while let Some(part) = parts.pop() {
            tries += 1;
            match self.planned_for(&packages, part.clone(), ChangesByPackage::new()) {
                Ok(_) => fitting.extend(part),
                Err(failure) if failure.signal().is_some() => return Err(failure),
                Err(_) if part.len() > 1 && tries < MOST_TRIES => parts.extend(halves(part)),
                Err(failure) => {
                    let part = part.into_iter();
                    left.extend(part.map(|(package, change)| (package, not_taken_up(&change, &failure))));
                }
            }
        }
        if fitting.is_empty() {
            return Err(all);
        }
        self.planned_for(&packages, fitting, left)
    }

    /// `left` are the other stale packages.
    fn planned_for(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
        changes: ChangesByPackage,
        left: ChangesByPackage,
    ) -> Result<Option<PlannedRefresh>, Failure> {
        let renewed = self.ground.renewed(packages);
        if changes.is_empty() && !renewed.is_empty() {
            return self.renewing(packages, &renewed, left);
        }
        if changes.is_empty() {
            return self.accepting(packages, left);
        }
        let facts = self.facts(packages.clone(), changes)?;
        let mut planned = self.plan(facts)?;
        planned.report.left = left.into_iter().collect();
        Ok(Some(planned))
    }

    /// Plans new stamps if nothing is stale.
    fn renewing(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
        renewed: &BTreeMap<PkgInst, String>,
        left: BTreeMap<PkgInst, NativeChange>,
    ) -> Result<Option<PlannedRefresh>, Failure> {
        let accepting = self.accepting(packages, left)?;
        let mut planned = accepting.unwrap_or_else(|| PlannedRefresh {
            plan: None,
            undo: SavedPatches { all: Vec::new() },
            report: RegistrationRefreshReport::default(),
        });
        let Some((first, _)) = renewed.first_key_value() else { return Ok(Some(planned)) };
        let mut records = Vec::new();
        for (package, stamp) in renewed {
            records.extend(self.renewed(package, stamp, packages)?);
        }
        match &mut planned.plan {
            Some(plan) => {
                plan.records.extend(records);
                plan.packages.extend(renewed.keys().cloned());
            }
            None => planned.plan = Some(records_alone(records, vec![first.clone()], first, self.now)),
        }
        Ok(Some(planned))
    }

    fn renewed(
        &self,
        package: &PkgInst,
        stamp: &str,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<Option<RecordChange>, Failure> {
        let Some(installed) = packages.get(package) else { return Ok(None) };
        let mut params = installed.params.clone();
        params.set(NATIVE_STAMP, stamp);
        let path = places::package(package).join(b"pkginfo");
        let path = path.map_err(|error| Failure::BadFile(error.to_string()))?;
        let mode = RecordView::live(&self.ground.root).look(&path)?.map_or(Mode::of(0o644), |seen| seen.mode);
        Ok(Some(RecordChange::Write { path, bytes: params::write(&params), mode, mtime: None }))
    }

    /// For a root where nothing is stale: fixes in packages that nobody adopted may be lost again, and losses are
    /// accepted.
    fn accepting(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
        left: BTreeMap<PkgInst, NativeChange>,
    ) -> Result<Option<PlannedRefresh>, Failure> {
        let mut report = RegistrationRefreshReport {
            left: left.into_iter().collect(),
            ..RegistrationRefreshReport::default()
        };
        let undo = SavedPatches { all: Vec::new() };
        let root = &self.ground.root;
        let marker = patchadm_inputs::database::marker(root)?.unwrap_or_default();
        let known = overtaken_patches(root, &marker)?;
        let mut list = known.clone();
        let versions = UnadoptedVersions::of(self.ground.native(), packages, &list);
        let version = |manager: NativeManager, name: &str| versions.oldest(manager, name);
        let lost_again = lose_contained(&mut list, version).into_iter();
        let lost_again = lost_again.map(|patch| EndedRegistration {
            patch,
            packages: Vec::new(),
            required_by: Vec::new(),
        });
        report.lost_again = lost_again.collect();
        if self.request.accept.is_empty() && report.lost_again.is_empty() {
            let is_said = !report.left.is_empty();
            return Ok(is_said.then_some(PlannedRefresh { plan: None, undo, report }));
        }
        let (list, unlisted) = self.accepted(list, &marker, &self.ground.recorded(packages)?)?;
        (report.accepted, report.unlisted) = (self.request.accept.clone(), unlisted);
        let is_adopted =
            |(_, installed): &(&PkgInst, &Installed)| NativeOrigin::of(&installed.params).is_some();
        let adopted = packages.iter().find(is_adopted).map(|(package, _)| package.clone());
        // The package of a lost patch may be gone, and the last adopted one.
        let gone = || list.patches.iter().find_map(|one| PkgInst::new(&one.package).ok());
        let Some(named) = adopted.clone().or_else(gone) else {
            return Err(Reason::NoSuchPackage.of(Command::AdoptRefresh, &"").into());
        };
        let adopted = adopted.into_iter().collect();
        let plan =
            written(&known, &list).map(|change| records_alone(vec![change], adopted, &named, self.now));
        Ok(Some(PlannedRefresh { plan, undo, report }))
    }

    /// Adds accepted losses: of lost patches, and beforehand of applied ones. Also returns which of them
    /// were contained.
    fn accepted(
        &self,
        mut list: OvertakenPatches,
        marker: &str,
        applied: &AppliedPatches,
    ) -> Result<(OvertakenPatches, Vec<PatchId>), Failure> {
        let mut unlisted = Vec::new();
        for id in &self.request.accept {
            let ended = list.patches.iter_mut().rfind(|one| one.patch == id.as_str());
            let is_applied = applied.get(id).is_some();
            let is_meant = |one: &OvertakenPatch| match one.state {
                OvertakenState::Lost | OvertakenState::PartlyLost | OvertakenState::Accepted => true,
                // It may be lost to an older version.
                OvertakenState::Contained => !is_applied,
                OvertakenState::Removed | OvertakenState::AcceptedBeforehand => false,
            };
            match ended {
                Some(one) if is_meant(one) => {
                    unlisted.extend((one.state == OvertakenState::Contained).then(|| id.clone()));
                    one.state = OvertakenState::Accepted;
                }
                _ if is_applied => {
                    list.patches.retain(|one| one.patch != id.as_str());
                    list.patches.push(accepted_beforehand(id, marker, self.time));
                }
                _ => return Err(Reason::NotApplied.of(Command::AdoptRefresh, id).into()),
            }
        }
        Ok((list, unlisted))
    }

    fn go_on(&self) -> Result<(), Failure> {
        Failure::unless_interrupted(self.interrupt)
    }

    /// Splits changes into those of this refresh and others.
    fn changes(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<(ChangesByPackage, ChangesByPackage), Failure> {
        let mut changes = self.ground.native_changes(packages);
        changes.extend(self.ground.overruled(packages)?);
        let named = &self.request.packages;
        if let Some(unknown) = named.iter().find(|package| !packages.contains_key(*package)) {
            return Err(Reason::NoSuchPackage.of(Command::AdoptRefresh, unknown).into());
        }
        for (package, installed) in named.iter().filter_map(|package| packages.get_key_value(package)) {
            if NativeOrigin::of(&installed.params).is_none() {
                let reason = Reason::NotNative(bare_patches(&installed.params));
                return Err(reason.of(Command::AdoptRefresh, package).into());
            }
        }
        changes.retain(|package, _| named.is_empty() || named.contains(package));
        Ok(changes.into_iter().partition(|(_, change)| change.is_settled()))
    }

    fn facts(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        changes: BTreeMap<PkgInst, NativeChange>,
    ) -> Result<RegistrationFacts, Failure> {
        let root = &self.ground.root;
        let applied = self.ground.recorded(&packages)?;
        let changed = ChangedPackage::all(self.ground, &packages, &changes, self.interrupt)?;
        let of_changed = |id: &PatchId| {
            applied.get(id).is_some_and(|patch| patch.packages.iter().any(|one| changes.contains_key(one)))
        };
        let concerned = applied.packages().iter().flat_map(|records| {
            records.list.iter().filter(|id| of_changed(id)).map(|id| (records.package.clone(), id.clone()))
        });
        // Standing patches may take something over.
        let ended_in: BTreeSet<PkgInst> = concerned.map(|(package, _)| package).collect();
        let of_packages = applied.packages().iter().filter(|records| ended_in.contains(&records.package));
        let all: Vec<OfPackage> = of_packages
            .flat_map(|records| records.list.iter().map(|id| (records.package.clone(), id.clone())))
            .collect();
        let request = BackOutRequest::default();
        let input = BackOutInput::of(self.ground, &request, self.now)?.ended_by(self.interrupt);
        let marker = patchadm_inputs::database::marker(root)?.unwrap_or_default();
        let saved = SavedPatches::read(&input, &marker, &all)?;
        let list = overtaken_patches(root, &marker)?;
        let inventory = self.survey(&packages, &changed, (&saved, &list))?;
        let records =
            saved.all.iter().filter_map(|one| one.manifest()).flat_map(|manifest| &manifest.objects);
        let mut asked: BTreeSet<ObjectPath> = records.filter_map(ObjectRecord::object_path).collect();
        let places: Vec<ObjectPath> =
            asked.iter().filter_map(|path| inventory.physical.get(path)).cloned().collect();
        asked.extend(places);
        let mut native = BTreeMap::new();
        for package in &changed {
            self.go_on()?;
            native.insert(package.package.clone(), package.listed(root, &asked, self.interrupt)?);
        }
        let of_packages: Vec<PatchOfPackage<'_>> = saved
            .all
            .iter()
            .map(|one| PatchOfPackage {
                id: &one.id,
                package: &one.package,
                manifest: one.manifest(),
                version: one.native.clone(),
            })
            .collect();
        let standings = Standings::of(&of_packages, &native, &inventory);
        Ok(RegistrationFacts {
            packages,
            applied,
            list,
            changes,
            changed,
            saved,
            inventory,
            native,
            standings,
        })
    }

    fn survey(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
        changed: &[ChangedPackage],
        (saved, list): (&SavedPatches, &OvertakenPatches),
    ) -> Result<Inventory, Failure> {
        let resolver = self.ground.root.resolver();
        let mut touched = Touched::default();
        for path in changed.iter().flat_map(ChangedPackage::paths) {
            touched.paths.insert(resolver.locate(path)?);
            touched.paths.insert(path.clone());
        }
        for one in &saved.all {
            touched.packages.insert(one.package.clone());
            let records = one.manifest().into_iter().flat_map(|manifest| &manifest.objects);
            touched.paths.extend(records.filter_map(ObjectRecord::object_path));
            touched.paths.extend(places::patch(&one.id).ok());
        }
        touched.packages.extend(changed.iter().map(|one| one.package.clone()));
        let lost = list.patches.iter().flat_map(|one| &one.paths);
        touched.paths.extend(lost.filter_map(LostPath::object_path));
        let mut inventory = self.ground.survey_with(packages.clone(), &touched, (None, self.interrupt))?;
        inventory.hide_kept_but(|path| changed.iter().any(|one| one.wrote(path)));
        Ok(inventory)
    }

    fn plan(&self, mut facts: RegistrationFacts) -> Result<PlannedRefresh, Failure> {
        let (before, mut known) = (facts.list.clone(), facts.list.clone());
        let native = self.ground.native();
        let unadopted = UnadoptedVersions::of(native.clone(), &facts.packages, &known);
        let lost_again = lose_contained(&mut known, |manager, name| {
            facts.new_version(manager, name).or_else(|| unadopted.oldest(manager, name))
        });
        find_again(&mut known, &facts.inventory);
        facts.end_fixed();
        let ending = facts.ending();
        let (list, unlisted) = self.accepted(known, &facts.inventory.marker, &facts.applied)?;
        let ends = EndingPatches {
            marker: &facts.inventory.marker,
            time: self.time,
            packages: &facts.packages,
            changes: &facts.changes,
            known: &list,
            facts: Some(&facts),
            successor: &|id, package, origin| facts.successor(&native, id, package, origin),
        };
        let ended: Vec<OvertakenPatch> = ending.iter().map(|one| ends.end(&one.id, &one.packages)).collect();
        // The loss of a superseded patch is reported when the later one is backed out.
        let is_noted = |(going, end): &(&GoingPatch, &OvertakenPatch)| {
            end.state.is_lost() || facts.effective_instead(&going.id).is_none()
        };
        let told: Vec<OvertakenPatch> =
            ending.iter().zip(&ended).filter(is_noted).map(|(_, end)| end.clone()).collect();
        let partly = ends.all_partly_lost(&facts);
        let list = list_after(&list, &told, &partly, &facts);
        let unmet = self.unmet(&facts, &ending, &before, &list);
        self.go_on()?;
        let TrimmedPatches { trimmed, edits, notes } = facts.trimmed();
        let undo = facts.saved.trimmed(&trimmed, &facts.inventory)?;
        let software = self.refreshed(&facts, &trimmed)?;
        let is_ending = |id: &PatchId| ending.iter().any(|one| one.id == *id);
        let archives: Vec<BackoutArchive<'_>> =
            undo.iter().filter(|one| is_ending(&one.saved.id)).map(TrimmedUndo::as_archive).collect();
        let later: Vec<LaterUndo<'_>> =
            undo.iter().filter(|one| !is_ending(&one.saved.id)).filter_map(TrimmedUndo::as_later).collect();
        let staying = undo.iter().filter(|one| !is_ending(&one.saved.id));
        let manifests = staying.filter_map(TrimmedUndo::known_manifest);
        let manifests = manifests.map(|((package, id), one)| ((package, id.to_string()), one)).collect();
        let rewritten = trimmed.iter().filter(|((_, id), left)| left.is_changed() && !is_ending(id));
        let rewritten: BTreeSet<OfPackage> = rewritten.map(|(of, _)| of.clone()).collect();
        let told: Vec<(GoingPatch, String)> =
            ending.iter().cloned().zip(&ended).map(|(patch, end)| (patch, record_of(end))).collect();
        let input = RefreshInput {
            packages: &software,
            ending: &told,
            sources: UndoSources { archives: &archives, later: &later },
            manifests: &manifests,
            trimmed: &rewritten,
            edits: &edits,
            records: written(&before, &list).into_iter().collect(),
        };
        self.go_on()?;
        let IntendedRefresh { mut plan, missing } =
            refresh(&input, &facts.inventory, &self.ground.policy, self.now, self.interrupt)?;
        self.settle_libraries(&mut plan, &facts)?;
        let mut report = facts.report(&ending, (ended, &unmet), &trimmed, &software);
        report.missing = missing;
        let separator = &self.ground.policy.separator;
        let is_effective = |one: &OvertakenPatch| {
            let id = PatchId::parse(&one.patch, separator);
            id.is_ok_and(|id| facts.effective_instead(&id).is_none())
        };
        report.partly_lost = partly.into_iter().filter(is_effective).collect();
        (report.accepted, report.unlisted) = (self.request.accept.clone(), unlisted);
        report.lost_again =
            lost_again.into_iter().map(|one| facts.lost_again(one, separator, &unmet)).collect();
        report.notes.extend(facts.standings.notes.iter().cloned());
        report.notes.extend(notes);
        report.notes.extend(plan.notes.iter().cloned());
        Ok(PlannedRefresh { plan: Some(plan), report, undo: facts.saved })
    }

    /// Returns requirements of staying patches that were met before and are not after. `before` and `after` are lists
    /// of ended patches.
    fn unmet(
        &self,
        facts: &RegistrationFacts,
        ending: &[GoingPatch],
        before: &OvertakenPatches,
        after: &OvertakenPatches,
    ) -> Vec<UnmetRequirement> {
        let found = |list: &OvertakenPatches, changes: &ChangesByPackage| {
            let params = facts.packages.iter().map(|(package, installed)| (package, &installed.params));
            let separator = &self.ground.policy.separator;
            let ended = EndedPatches::of(&self.ground.native(), list, params, separator, || changes.clone());
            ended.beside(facts.applied.clone())
        };
        let (before, mut after) = (found(before, &ChangesByPackage::new()), found(after, &facts.changes));
        for going in ending {
            after.record_backed_out(&going.id);
        }
        before.unmet_after(&after)
    }

    fn refreshed(
        &self,
        facts: &RegistrationFacts,
        trimmed: &BTreeMap<OfPackage, Trimmed>,
    ) -> Result<BTreeMap<PkgInst, RefreshedPackage>, Failure> {
        let root = &self.ground.root;
        let mut packages = BTreeMap::new();
        for one in &facts.changed {
            self.go_on()?;
            let (package, change) = (one.package.clone(), one.change.clone());
            let Some(software) = one.software() else {
                packages.insert(package, RefreshedPackage { change, software: None });
                continue;
            };
            let held = facts.held(&package, trimmed);
            let params = facts.packages.get(&package).map(|installed| &installed.params);
            let paths: BTreeSet<ObjectPath> = held.values().map(|one| one.place.clone()).collect();
            let mut differing: BTreeSet<ObjectPath> =
                one.differing(root, &facts.inventory, &paths, self.interrupt)?.into_iter().collect();
            // The undo data still has an administrator's earlier changes.
            let before = params.map(differing_of).unwrap_or_default();
            let edited_before = params.map(edited_of).unwrap_or_default();
            let live =
                |path: &ObjectPath| Some((path.clone(), facts.inventory.live.get(path)?.content_info()?));
            let mut edited: BTreeMap<ObjectPath, ContentInfo> = differing.iter().filter_map(live).collect();
            differing.extend(before.into_iter().filter(|path| paths.contains(path)));
            edited.extend(edited_before.into_iter().filter(|(path, _)| paths.contains(path)));
            let refreshed = RefreshedSoftware {
                software,
                registration: one
                    .native
                    .as_ref()
                    .map_or_else(|| one.registered.clone(), |native| native.registration()),
                is_same: one.is_same(),
                differing: differing_text(&differing),
                edited: edited_text(&edited),
                left_out: one.left_out(&facts.inventory),
                overtaken: facts.overtaken(&package, trimmed),
                held,
            };
            packages.insert(package, RefreshedPackage { change, software: Some(refreshed) });
        }
        Ok(packages)
    }

    fn settle_libraries(&self, plan: &mut Plan, facts: &RegistrationFacts) -> Result<(), Failure> {
        let kept = end_keeping(self.ground, (plan, facts), self.now)?;
        if plan.changes.is_empty() {
            return Ok(());
        }
        let is_run = !self.request.dry_run;
        let mut keeper = LibraryKeeper::new(self.ground, LibraryRequest::default(), self.now, is_run);
        keeper = keeper.ended_by(self.interrupt);
        if let Some(kept) = kept {
            keeper = keeper.knowing(kept);
        }
        let asked = PlanToSettle::of((plan, &facts.inventory), Command::AdoptRefresh, "adopt");
        let settled = keeper.settle(&asked, &mut facts.saved.content(), LaterContent::NotAsked)?;
        if let Some(settled) = settled {
            settled.apply_to_plan(plan);
        }
        Ok(())
    }
}

/// Of packages that a list names and nobody adopted. Reads the records of each manager at most once.
pub(super) struct UnadoptedVersions {
    native: Arc<NativeReader>,
    unadopted: BTreeSet<(NativeManager, String)>,
    oldest: OnceCell<BTreeMap<(NativeManager, String), String>>,
}

impl UnadoptedVersions {
    pub(super) fn of(
        native: Arc<NativeReader>,
        packages: &BTreeMap<PkgInst, Installed>,
        list: &OvertakenPatches,
    ) -> Self {
        let origins = packages.values().filter_map(|installed| NativeOrigin::of(&installed.params));
        let adopted: BTreeSet<_> = origins.map(|origin| (origin.manager, origin.name)).collect();
        let package = |one: &OvertakenPatch| Some((NativeManager::named(&one.manager)?, one.package.clone()));
        let named = list.patches.iter().filter_map(package);
        let unadopted = named.filter(|package| !adopted.contains(package)).collect();
        Self { native, unadopted, oldest: OnceCell::new() }
    }

    /// Returns the oldest installed version; `None` if the package is missing, unfinished or adopted. For adopted
    /// packages, the registration counts.
    pub(super) fn oldest(&self, manager: NativeManager, name: &str) -> Option<String> {
        let oldest = self.oldest.get_or_init(|| {
            let of_manager = |manager: NativeManager| {
                let named = self.unadopted.iter().filter(|(of, _)| *of == manager);
                let names: BTreeSet<&str> = named.map(|(_, name)| name.as_str()).collect();
                let found = self.native.installed_versions_of(manager, &names).into_iter();
                found
                    .filter_map(move |(name, versions)| Some(((manager, name), versions.into_iter().next()?)))
            };
            NativeManager::ALL.into_iter().flat_map(of_manager).collect()
        });
        oldest.get(&(manager, name.to_owned())).cloned()
    }
}

/// The first half is the last.
fn halves(mut changes: ChangesByPackage) -> Vec<ChangesByPackage> {
    let middle = changes.keys().nth(changes.len() / 2).cloned();
    let second = middle.map(|middle| changes.split_off(&middle)).unwrap_or_default();
    vec![second, changes]
}

fn not_taken_up(change: &NativeChange, failure: &Failure) -> NativeChange {
    NativeChange::Unknown { origin: change.origin().clone(), reason: failure.to_string() }
}

fn record_of(end: &OvertakenPatch) -> String {
    let OvertakenPatch { manager, package, version, .. } = end;
    match end.state {
        OvertakenState::Removed => format!("went with {manager} {package} {version}"),
        _ => format!("overtaken by {manager} {package} {version}"),
    }
}

/// Adds patches of this refresh. A patch lost to a package that was removed without a successor is no loss any more.
fn list_after(
    list: &OvertakenPatches,
    ended: &[OvertakenPatch],
    partly: &[OvertakenPatch],
    facts: &RegistrationFacts,
) -> OvertakenPatches {
    let new = || ended.iter().chain(partly);
    let is_again = |known: &OvertakenPatch| new().any(|one| one.patch == known.patch);
    let is_removed = |known: &OvertakenPatch| {
        let is_it = |change: &NativeChange| {
            let NativeOrigin { manager, name, .. } = change.origin();
            matches!(change, NativeChange::Removed { .. })
                && (manager.name(), name) == (known.manager.as_str(), &known.package)
        };
        known.state.is_lost() && facts.changes.values().any(is_it)
    };
    let kept = list.patches.iter().filter(|known| !is_again(known) && !is_removed(known));
    let patches = kept.chain(new()).cloned().collect();
    OvertakenPatches { patches, passed_over: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_changes_are_all_of_them_and_never_empty() {
        for count in 2..7 {
            let change = |number: usize| {
                let origin = NativeOrigin::parse("dpkg web:amd64").unwrap();
                let package = PkgInst::new(&format!("DEBweb.{number}")).unwrap();
                (package, NativeChange::Removed { origin, from: String::new() })
            };
            let changes: ChangesByPackage = (2..2 + count).map(change).collect();
            let halves = halves(changes.clone());
            assert!(halves.iter().all(|half| half.len().abs_diff(count - half.len()) < 2), "{count}");
            assert_eq!(halves.into_iter().flatten().collect::<ChangesByPackage>(), changes);
        }
    }
}
