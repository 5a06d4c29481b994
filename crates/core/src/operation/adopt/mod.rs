//! `adopt`: software that is already on the disk becomes a package, and `--forget` gives the registration up.
//!
//! ```text
//! tree | paths | dpkg | rpm ──► ListedSoftware ──► survey ──► plan ──► one run of records
//!         all of dpkg and rpm, portion by portion ──┘
//! ```
//! No object of the software is changed. The records of other package managers are only read, under their lock where the
//! caller may take it.

mod adopted;
mod all;
pub(in crate::operation) mod differing;
mod listed;
pub(in crate::operation) mod on_demand;
mod registrations;
mod request;
mod software_list;
mod tree;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::content::NoContent;
use super::failure::Failure;
use super::log;
use super::new_database::NewDatabase;
use super::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::trial::begin::{begin_change, begin_change_beside, must_be_off_trial};
use adopted::TakenUp;
use listed::{ListedSoftware, packages_beside};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::native::{NATIVE_DIFFERING, NATIVE_STAMP, NativeManager, differing_text};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::forget;
use patchadm_planning::plan::package::adopt::{AdoptableSoftware, AdoptionConflict, Adoptions};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

pub use adopted::AdoptedPackage;
pub use all::{AdoptAllReport, AdoptAllRequest, LeftPackage, adopt_all};
pub use request::{AdoptRequest, AdoptSource, AdoptWishes};

/// The outcome of an adoption.
#[derive(Debug)]
pub struct AdoptReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The package.
    pub package: String,
    /// The number of its objects.
    pub objects: usize,
    /// The number of its directories that other packages have as well.
    pub directories_shared: usize,
    /// Files that differ from the records of the other package manager; they are adopted as they are.
    pub differing: Vec<ObjectPath>,
    /// Listed paths at which nothing is; they are left out.
    pub missing: Vec<ObjectPath>,
    /// Objects that other packages own. If there are any, nothing was changed.
    pub conflicts: Vec<AdoptionConflict>,
    /// Sentences for a person.
    pub notes: Vec<String>,
    /// The receipt of the run; `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

impl AdoptReport {
    /// Adds the reason why the caller could not carry out the plan.
    fn noting(mut self, refused: &Failure) -> Self {
        self.notes.push(refused.to_string());
        self
    }
}

/// Adopts software. A report with conflicts says that nothing was changed.
pub fn adopt_software(
    root: &Root,
    request: &AdoptRequest,
    caller: &Caller<'_>,
) -> Result<AdoptReport, Failure> {
    if request.dry_run {
        let shown = || {
            let ground = RootAndPolicy::of(root)?.for_who_may()?;
            let listed = ListedSoftware::of(&ground, request, caller)?;
            without_lock(root, || Ok(Adopter { ground: &ground, caller }.planned(&listed)?.report))
        };
        return shown_to_anybody(root, shown, |report, refused| report.noting(&refused));
    }
    let manager = request.source.manager();
    let (report, recovered) = with_database(root, caller, manager.as_slice(), |session| {
        let listed = ListedSoftware::of(&session.ground, request, caller)?;
        let report = carry_out(session, &listed)?;
        let is_done = report.receipt.is_some();
        Ok((report, is_done))
    })?;
    Ok(AdoptReport { recovered, ..report })
}

/// Locks a root and keeps these package managers out, with a new database where it has none, and does work that tells
/// whether it changed anything.
fn with_database<T>(
    root: &Root,
    caller: &Caller<'_>,
    managers: &[NativeManager],
    work: impl FnOnce(&Session<'_>) -> Result<(T, bool), Failure>,
) -> Result<(T, Recovered), Failure> {
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let new = NewDatabase::make(root)?;
    let session = begin_change_beside(ground, caller, managers).inspect_err(|_| new.remove_empty(root))?;
    let done = work(&session);
    if !matches!(done, Ok((_, true))) {
        new.remove(root);
    }
    Ok((done?.0, session.recovered))
}

fn carry_out(session: &Session<'_>, listed: &ListedSoftware) -> Result<AdoptReport, Failure> {
    // Remains of an earlier registration of the package are no obstacle.
    let is_own = |package: &PkgInst| *package == listed.software.package;
    must_agree(&session.ground.root, session.caller.interrupt, is_own)?;
    let adopter = Adopter { ground: &session.ground, caller: session.caller };
    let PlannedAdoption { mut report, plan } = adopter.planned(listed)?;
    if let Some(plan) = plan {
        report.receipt = Some(perform(session, &plan, &mut report.notes)?);
    }
    Ok(report)
}

/// Gives the registration of an adopted package up; its files stay as they are.
pub fn forget_software(
    root: &Root,
    package: &PkgInst,
    dry_run: bool,
    caller: &Caller<'_>,
) -> Result<AdoptReport, Failure> {
    must_have_database(root)?;
    if dry_run {
        let shown = || {
            without_lock(root, || {
                must_be_off_trial(root, caller, None)?;
                let ground = RootAndPolicy::of(root)?.for_who_may()?;
                Adopter { ground: &ground, caller }.forgetting(package).map(|planned| planned.report)
            })
        };
        return shown_to_anybody(root, shown, |report, refused| report.noting(&refused));
    }
    may_change(root)?;
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let adopter = Adopter { ground: &session.ground, caller };
    let PlannedAdoption { mut report, plan } = adopter.forgetting(package)?;
    if let Some(plan) = plan {
        report.receipt = Some(perform(&session, &plan, &mut report.notes)?);
    }
    Ok(AdoptReport { recovered: session.recovered, ..report })
}

/// Carries a plan of records out.
fn perform(session: &Session<'_>, plan: &Plan, notes: &mut Vec<String>) -> Result<Receipt, Failure> {
    perform_text(session, plan, log::of_registration(plan), notes)
}

/// Carries a plan of records out, with this text as its log.
fn perform_text(
    session: &Session<'_>,
    plan: &Plan,
    text: String,
    notes: &mut Vec<String>,
) -> Result<Receipt, Failure> {
    let receipt = session.perform(plan, &mut NoContent, None, text)?;
    notes.extend(receipt.notes.iter().cloned());
    Ok(receipt)
}

/// Plans adoptions for one root.
struct Adopter<'a> {
    ground: &'a RootAndPolicy,
    caller: &'a Caller<'a>,
}

/// A plan, and its report.
struct PlannedAdoption {
    report: AdoptReport,
    /// None where other packages own objects of the software.
    plan: Option<Plan>,
}

impl Adopter<'_> {
    fn planned(&self, listed: &ListedSoftware) -> Result<PlannedAdoption, Failure> {
        let inventory = self.survey_over(listed)?;
        let mut adoptions = Adoptions::default();
        let one = self.take_up(&mut adoptions, listed, &inventory)?;
        let plan = adoptions.plan(&inventory, &self.caller.now)?;
        let mut notes = listed.notes.clone();
        notes.extend(plan.iter().flat_map(|plan| plan.notes.iter().cloned()));
        let report = AdoptReport {
            recovered: Recovered::Nothing,
            package: listed.software.package.to_string(),
            objects: one.intended.objects,
            directories_shared: one.intended.directories_shared,
            differing: one.differing,
            missing: one.intended.missing,
            conflicts: one.intended.conflicts,
            notes,
            receipt: None,
        };
        Ok(PlannedAdoption { report, plan })
    }

    /// Takes up software that was surveyed.
    fn take_up(
        &self,
        adoptions: &mut Adoptions,
        listed: &ListedSoftware,
        inventory: &Inventory,
    ) -> Result<TakenUp, Failure> {
        let there: Vec<ObjectPath> =
            listed.sums.keys().filter(|path| inventory.live.contains_key(*path)).cloned().collect();
        let differing = differing::differing(&self.ground.root, &listed.sums, &there, self.caller.interrupt)?;
        let mut software = Cow::Borrowed(&listed.software);
        let is_native = listed.software.params.get(NATIVE_STAMP).is_some();
        let absent = listed.software.paths.keys().filter(|_| is_native);
        let absent = absent.filter(|path| !inventory.live.contains_key(*path));
        let differing_or_absent: Vec<&ObjectPath> = differing.iter().chain(absent).collect();
        if !differing_or_absent.is_empty() {
            software.to_mut().params.set(NATIVE_DIFFERING, differing_text(differing_or_absent));
        }
        let intended = adoptions.add(&software, listed.damaged.as_ref(), inventory, &self.caller.now)?;
        Ok(TakenUp { intended, differing: differing.iter().map(|path| inventory.show(path)).collect() })
    }

    /// Surveys the paths of software, and the places on the disk to which they lead.
    fn survey<'s>(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        software: impl IntoIterator<Item = &'s AdoptableSoftware>,
    ) -> Result<Inventory, Failure> {
        self.survey_beside(packages, software, BTreeSet::new())
    }

    /// Does the same with other paths.
    fn survey_beside<'s>(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        software: impl IntoIterator<Item = &'s AdoptableSoftware>,
        mut paths: BTreeSet<ObjectPath>,
    ) -> Result<Inventory, Failure> {
        let resolver = self.ground.root.resolver();
        for path in software.into_iter().flat_map(|software| software.paths.keys()) {
            paths.insert(resolver.locate(path)?);
            paths.insert(path.clone());
        }
        self.ground.survey_with(
            packages,
            &Touched { paths, ..Touched::default() },
            (None, self.caller.interrupt),
        )
    }

    /// Surveys software that may have been registered before and whose record is damaged now.
    fn survey_over(&self, listed: &ListedSoftware) -> Result<Inventory, Failure> {
        let Some(damaged) = &listed.damaged else {
            return self.survey(self.ground.packages()?, [&listed.software]);
        };
        let package = &listed.software.package;
        let packages = packages_beside(self.ground, std::slice::from_ref(package))?;
        let directories = damaged.ended.iter().filter_map(|id| places::patch(id).ok()).collect();
        let mut inventory = self.survey_beside(packages, [&listed.software], directories)?;
        inventory.lines.extend(lines_of_package(&RecordView::live(&self.ground.root), package)?);
        Ok(inventory)
    }

    fn forgetting(&self, package: &PkgInst) -> Result<PlannedAdoption, Failure> {
        let packages = BTreeSet::from([package.clone()]);
        let mut inventory =
            self.ground.survey(&Touched { packages, ..Touched::default() }, self.caller.interrupt)?;
        let view = RecordView::live(&self.ground.root);
        inventory.lines = lines_of_package(&view, package)?;
        let plan = forget(package, &inventory, &self.caller.now)?;
        let is_shared = |path: &&ObjectPath| plan.contents.get(*path).is_some_and(Option::is_some);
        let report = AdoptReport {
            package: package.to_string(),
            objects: plan.contents.len(),
            directories_shared: plan.contents.keys().filter(is_shared).count(),
            recovered: Recovered::Nothing,
            differing: Vec::new(),
            missing: Vec::new(),
            conflicts: Vec::new(),
            notes: Vec::new(),
            receipt: None,
        };
        Ok(PlannedAdoption { report, plan: Some(plan) })
    }
}
