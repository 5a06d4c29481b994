//! `adopt`: registers software on the disk as a package; `--forget` removes a registration.
//!
//! ```text
//! tree | paths | dpkg | rpm ──► ListedSoftware ──► survey ──► plan ──► one run of records
//!         all of dpkg and rpm, portion by portion ──┘
//! ```
//! Files are never changed. Records of other package managers are only read, under their lock if the caller may take
//! it.

mod software;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::new_database::NewDatabase;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::system_managers::differing;
use crate::operation::trial::{begin_change, begin_change_beside, must_be_off_trial};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::native::{
    ADOPTED, NATIVE_DIFFERING, NATIVE_EDITED, NATIVE_STAMP, NativeManager, NativeOrigin, NativePackage,
    differing_text, edited_text,
};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::{AdoptableSoftware, AdoptionConflict, Adoptions, forget};
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::resolve::{InstalledPackages, OfferedPackage};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ContentInfo, ObjectPath, Params, PkgInst};
use patchadm_svr4::places;
use software::{ListedSoftware, Registrations, TakenUp, packages_beside};

pub use software::{AdoptRequest, AdoptSource, AdoptWishes, AdoptedPackage};

#[derive(Debug)]
pub struct SoftwareAdoptionReport {
    pub recovered: Recovered,
    pub package: String,
    /// Its parameters; none if it is unregistered.
    pub params: Params,
    pub objects: usize,
    /// Directories that other packages have as well.
    pub directories_shared: usize,
    /// Files that differ from the native records; adopted as they are.
    pub differing: Vec<ObjectPath>,
    /// Listed, but missing; left out.
    pub missing: Vec<ObjectPath>,
    /// Objects that other packages own. If there are any, nothing was changed.
    pub conflicts: Vec<AdoptionConflict>,
    /// The owner of all objects in the way, if it is adopted.
    pub only_owner: Option<AdoptedOwner>,
    pub notes: Vec<String>,
    /// `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

#[derive(Debug)]
pub struct AdoptedOwner {
    pub package: PkgInst,
    pub is_native: bool,
}

impl AdoptedOwner {
    fn of(conflicts: &[AdoptionConflict], inventory: &Inventory) -> Option<Self> {
        let owners: BTreeSet<_> = conflicts.iter().flat_map(|conflict| &conflict.owners).collect();
        let package = owners.first().filter(|_| owners.len() == 1)?;
        let params = &inventory.packages.get(*package)?.params;
        let is_native = NativeOrigin::of(params).is_some();
        (is_native || params.get(ADOPTED).is_some()).then(|| Self { package: (*package).clone(), is_native })
    }
}

impl SoftwareAdoptionReport {
    fn noting(mut self, refused: &Failure) -> Self {
        self.notes.push(refused.to_string());
        self
    }
}

/// A report with conflicts means that nothing was changed.
pub fn adopt_software(
    root: &Root,
    request: &AdoptRequest,
    caller: &Caller<'_>,
) -> Result<SoftwareAdoptionReport, Failure> {
    if request.dry_run {
        let shown = || {
            let ground = RootAndPolicy::of(root)?.for_who_may()?;
            let listed = ListedSoftware::of(&ground, request, caller)?;
            without_lock(root, || Ok(AdoptionPlanner { ground: &ground, caller }.planned(&listed)?.report))
        };
        return shown_to_anybody(root, shown, |report, refused| report.noting(&refused));
    }
    let manager = request.source.manager();
    let (report, recovered) = with_database(root, caller, manager.as_slice(), |session| {
        let listed = ListedSoftware::of(&session.ground, request, caller)?;
        // Remains of an earlier registration are no obstacle.
        let is_own = |package: &PkgInst| *package == listed.software.package;
        must_agree(&session.ground.root, caller.interrupt, is_own)?;
        let PlannedAdoption { mut report, plan } =
            AdoptionPlanner { ground: &session.ground, caller }.planned(&listed)?;
        if let Some(plan) = plan {
            report.receipt = Some(perform(session, &plan, log::of_registration(&plan), &mut report.notes)?);
        }
        let is_done = report.receipt.is_some();
        Ok((report, is_done))
    })?;
    Ok(SoftwareAdoptionReport { recovered, ..report })
}

/// Takes the locks, and makes a database if the root has none. `work` returns whether it changed anything.
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

/// Files stay as they are.
pub fn forget_software(
    root: &Root,
    package: &PkgInst,
    dry_run: bool,
    caller: &Caller<'_>,
) -> Result<SoftwareAdoptionReport, Failure> {
    must_have_database(root)?;
    if dry_run {
        let shown = || {
            without_lock(root, || {
                must_be_off_trial(root, caller, None)?;
                let ground = RootAndPolicy::of(root)?.for_who_may()?;
                AdoptionPlanner { ground: &ground, caller }.forgetting(package).map(|planned| planned.report)
            })
        };
        return shown_to_anybody(root, shown, |report, refused| report.noting(&refused));
    }
    may_change(root)?;
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let adopter = AdoptionPlanner { ground: &session.ground, caller };
    let PlannedAdoption { mut report, plan } = adopter.forgetting(package)?;
    if let Some(plan) = plan {
        report.receipt = Some(perform(&session, &plan, log::of_registration(&plan), &mut report.notes)?);
    }
    Ok(SoftwareAdoptionReport { recovered: session.recovered, ..report })
}

fn perform(
    session: &Session<'_>,
    plan: &Plan,
    text: String,
    notes: &mut Vec<String>,
) -> Result<Receipt, Failure> {
    let receipt = session.perform(plan, &mut NoContent, None, text)?;
    notes.extend(receipt.notes.iter().cloned());
    Ok(receipt)
}

struct AdoptionPlanner<'a> {
    ground: &'a RootAndPolicy,
    caller: &'a Caller<'a>,
}

struct PlannedAdoption {
    report: SoftwareAdoptionReport,
    plan: Option<Plan>,
}

impl AdoptionPlanner<'_> {
    fn planned(&self, listed: &ListedSoftware) -> Result<PlannedAdoption, Failure> {
        let inventory = self.survey_over(listed)?;
        let mut adoptions = Adoptions::default();
        let one = self.take_up(&mut adoptions, listed, &inventory)?;
        let plan = adoptions.plan(&inventory, &self.caller.now)?;
        let mut notes = listed.notes.clone();
        notes.extend(plan.iter().flat_map(|plan| plan.notes.iter().cloned()));
        let report = SoftwareAdoptionReport {
            recovered: Recovered::Nothing,
            package: listed.software.package.to_string(),
            params: listed.software.params.clone(),
            objects: one.intended.objects,
            directories_shared: one.intended.directories_shared,
            differing: one.differing,
            missing: one.intended.missing,
            only_owner: AdoptedOwner::of(&one.intended.conflicts, &inventory),
            conflicts: one.intended.conflicts,
            notes,
            receipt: None,
        };
        Ok(PlannedAdoption { report, plan })
    }

    fn take_up(
        &self,
        adoptions: &mut Adoptions,
        listed: &ListedSoftware,
        inventory: &Inventory,
    ) -> Result<TakenUp, Failure> {
        let there: Vec<ObjectPath> =
            listed.sums.keys().filter(|path| inventory.live.contains_key(*path)).cloned().collect();
        let differing = differing(&self.ground.root, &listed.sums, &there, self.caller.interrupt)?;
        let mut software = Cow::Borrowed(&listed.software);
        let is_native = listed.software.params.get(NATIVE_STAMP).is_some();
        let absent = listed.software.paths.keys().filter(|_| is_native);
        let absent = absent.filter(|path| !inventory.live.contains_key(*path));
        let differing_or_absent: Vec<&ObjectPath> = differing.iter().chain(absent).collect();
        if !differing_or_absent.is_empty() {
            software.to_mut().params.set(NATIVE_DIFFERING, differing_text(differing_or_absent));
        }
        let edited = differing.iter();
        let edited =
            edited.filter_map(|path| Some((path.clone(), inventory.live.get(path)?.content_info()?)));
        let edited: BTreeMap<ObjectPath, ContentInfo> = edited.collect();
        if !edited.is_empty() {
            software.to_mut().params.set(NATIVE_EDITED, edited_text(&edited));
        }
        let intended = adoptions.add(&software, listed.damaged.as_ref(), inventory, &self.caller.now)?;
        Ok(TakenUp { intended, differing: differing.iter().map(|path| inventory.show(path)).collect() })
    }

    fn survey<'s>(
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

    /// Accepts software whose earlier registration is damaged.
    fn survey_over(&self, listed: &ListedSoftware) -> Result<Inventory, Failure> {
        let Some(damaged) = &listed.damaged else {
            return self.survey(self.ground.packages()?, [&listed.software], BTreeSet::new());
        };
        let package = &listed.software.package;
        let packages = packages_beside(self.ground, std::slice::from_ref(package))?;
        let directories = damaged.ended.iter().filter_map(|id| places::patch(id).ok()).collect();
        let mut inventory = self.survey(packages, [&listed.software], directories)?;
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
        let report = SoftwareAdoptionReport {
            package: package.to_string(),
            params: Params::new(),
            objects: plan.contents.len(),
            directories_shared: plan.contents.keys().filter(is_shared).count(),
            recovered: Recovered::Nothing,
            differing: Vec::new(),
            missing: Vec::new(),
            conflicts: Vec::new(),
            only_owner: None,
            notes: Vec::new(),
            receipt: None,
        };
        Ok(PlannedAdoption { report, plan: Some(plan) })
    }
}

/// Paths per survey.
const PORTION: usize = 20_000;

#[derive(Clone, Debug)]
pub struct AdoptAllRequest {
    /// For all packages; names follow from native ones.
    pub wishes: AdoptWishes,
    pub dry_run: bool,
}

#[derive(Debug, Default)]
pub struct AdoptAllReport {
    pub recovered: Recovered,
    pub adopted: Vec<AdoptedPackage>,
    pub left: Vec<LeftPackage>,
    /// Adopted before.
    pub known: usize,
    pub notes: Vec<String>,
    /// `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

#[derive(Debug)]
pub struct LeftPackage {
    /// `None` if unknown.
    pub origin: Option<NativeOrigin>,
    pub reason: String,
}

pub fn adopt_all(
    root: &Root,
    request: &AdoptAllRequest,
    caller: &Caller<'_>,
) -> Result<AdoptAllReport, Failure> {
    if request.dry_run {
        let shown = || {
            let ground = RootAndPolicy::of(root)?.for_who_may()?;
            without_lock(root, || Ok(planned(&AdoptionPlanner { ground: &ground, caller }, request)?.0))
        };
        return shown_to_anybody(root, shown, |mut report: AdoptAllReport, refused| {
            report.notes.push(refused.to_string());
            report
        });
    }
    let (report, recovered) = with_database(root, caller, &NativeManager::ALL, |session| {
        must_agree(root, caller.interrupt, |_| false)?;
        let (mut report, plan) = planned(&AdoptionPlanner { ground: &session.ground, caller }, request)?;
        if let Some(plan) = plan {
            let text = log_of(&report.adopted);
            report.receipt = Some(perform(session, &plan, text, &mut report.notes)?);
        }
        let is_done = report.receipt.is_some();
        Ok((report, is_done))
    })?;
    Ok(AdoptAllReport { recovered, ..report })
}

fn log_of(adopted: &[AdoptedPackage]) -> String {
    let lines: Vec<String> = adopted.iter().map(|one| format!("{} {}", one.package, one.origin)).collect();
    lines.join("\n") + "\n"
}

fn planned(
    adopter: &AdoptionPlanner<'_>,
    request: &AdoptAllRequest,
) -> Result<(AdoptAllReport, Option<Plan>), Failure> {
    let reader = adopter.ground.native();
    let mut all = AllPackages::of(adopter, request)?;
    let mut is_there = false;
    for manager in NativeManager::ALL {
        let Some(records) = reader.records(manager)? else { continue };
        is_there = true;
        for native in records.packages()? {
            Failure::unless_interrupted(adopter.caller.interrupt)?;
            match native {
                Ok(native) => all.add(&native)?,
                Err(error) => all.report.left.push(LeftPackage { origin: None, reason: error.to_string() }),
            }
        }
    }
    if !is_there {
        return Err(Failure::BadFile("the root has no records of dpkg or rpm".to_owned()));
    }
    all.finish()
}

struct AllPackages<'a> {
    adopter: &'a AdoptionPlanner<'a>,
    request: &'a AdoptAllRequest,
    packages: BTreeMap<PkgInst, Installed>,
    registrations: Registrations,
    portion: Vec<(NativeOrigin, ListedSoftware)>,
    adoptions: Adoptions,
    report: AdoptAllReport,
    inventory: Inventory,
}

impl<'a> AllPackages<'a> {
    fn of(adopter: &'a AdoptionPlanner<'a>, request: &'a AdoptAllRequest) -> Result<Self, Failure> {
        let packages = adopter.ground.packages()?;
        let registrations = Registrations::of(&adopter.ground.native(), &packages);
        Ok(Self {
            adopter,
            request,
            packages,
            registrations,
            portion: Vec::new(),
            adoptions: Adoptions::default(),
            report: AdoptAllReport::default(),
            inventory: Inventory::default(),
        })
    }

    fn add(&mut self, native: &NativePackage) -> Result<(), Failure> {
        if self.registrations.holder(native).is_some() {
            self.report.known += 1;
            return Ok(());
        }
        let list = self.registrations.software(native);
        let origin = list.origin.clone().unwrap_or_else(|| native.origin.clone());
        match ListedSoftware::wished(list, &self.request.wishes) {
            Ok(listed) => {
                self.registrations.add(&listed.software.package, native);
                self.portion.push((origin, listed));
            }
            Err(failure) => {
                let reason = failure.to_string();
                self.report.left.push(LeftPackage { origin: Some(origin), reason });
            }
        }
        let paths: usize = self.portion.iter().map(|(_, listed)| listed.software.paths.len()).sum();
        if paths >= PORTION { self.plan_portion() } else { Ok(()) }
    }

    fn plan_portion(&mut self) -> Result<(), Failure> {
        if self.portion.is_empty() {
            return Ok(());
        }
        let portion = std::mem::take(&mut self.portion);
        let software = portion.iter().map(|(_, listed)| &listed.software);
        self.inventory = self.adopter.survey(self.packages.clone(), software, BTreeSet::new())?;
        for (origin, listed) in portion {
            let taken_up = match self.adopter.take_up(&mut self.adoptions, &listed, &self.inventory) {
                Ok(taken_up) => taken_up,
                Err(Failure::Refused(refusal)) => {
                    let reason = refusal.to_string();
                    self.report.left.push(LeftPackage { origin: Some(origin), reason });
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            match taken_up.intended.conflicts.first().map(ToString::to_string) {
                Some(reason) => self.report.left.push(LeftPackage { origin: Some(origin), reason }),
                None => {
                    self.report.adopted.push(AdoptedPackage::of(listed.software.package, origin, taken_up));
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(AdoptAllReport, Option<Plan>), Failure> {
        self.plan_portion()?;
        let plan = self.adoptions.plan(&self.inventory, &self.adopter.caller.now)?;
        self.report.notes.extend(plan.iter().flat_map(|plan| plan.notes.iter().cloned()));
        Ok((self.report, plan))
    }
}

#[derive(Debug, Default)]
pub(super) struct OnDemand {
    pub(super) adopted: Vec<AdoptedPackage>,
    /// `None` if nothing is adopted.
    pub(super) plan: Option<Plan>,
    pub(super) notes: Vec<String>,
}

pub(super) fn adopt_on_demand(
    ground: &RootAndPolicy,
    offered: &[OfferedPackage],
    environment: &Params,
    caller: &Caller<'_>,
) -> Result<OnDemand, Failure> {
    let adopter = AdoptionPlanner { ground, caller };
    let mut demand = OnDemand::default();
    let (mut adoptions, mut surveyed) = (Adoptions::default(), None);
    let Some(Unregistered { packages, mut registrations, .. }) = unregistered(ground, offered)? else {
        return Ok(demand);
    };
    for (pkg, native) in packages {
        let list = registrations.software(&native);
        let origin = list.origin.clone().unwrap_or_else(|| native.origin.clone());
        let wishes = AdoptWishes { pkg, ..AdoptWishes::none(environment.clone()) };
        let listed = ListedSoftware::wished(list, &wishes)?;
        registrations.add(&listed.software.package, &native);
        let inventory = adopter.survey(ground.all_packages()?, [&listed.software], BTreeSet::new())?;
        let taken_up = adopter.take_up(&mut adoptions, &listed, &inventory)?;
        let conflicts = taken_up.intended.conflicts.iter();
        demand.notes.extend(conflicts.map(|conflict| format!("{origin} is not adopted: {conflict}")));
        if taken_up.intended.conflicts.is_empty() {
            demand.adopted.push(AdoptedPackage::of(listed.software.package, origin, taken_up));
        }
        surveyed = Some(inventory);
    }
    if let Some(inventory) = surveyed {
        demand.plan = adoptions.plan(&inventory, &caller.now)?;
    }
    Ok(demand)
}

/// Returns the reason why a patch for these packages does not apply, if a native package has the name of one of them
/// and is not registered.
pub(super) fn native_reason(ground: &RootAndPolicy, offered: &[OfferedPackage]) -> Option<Reason> {
    let Unregistered { packages: fitting, others, .. } = unregistered(ground, offered).ok()??;
    let named = |native: &NativePackage| format!("{} {}", native.origin, native.version);
    let packages = offered.iter().map(|one| format!("{} ({}) {}", one.pkg, one.arch, one.version)).collect();
    match fitting.first() {
        Some((_, native)) => Some(Reason::Unregistered { packages, native: named(native) }),
        None => Some(Reason::OtherNative { packages, native: named(others.first()?) }),
    }
}

/// Native packages that are not registered, each with its registration's name if it differs.
struct Unregistered {
    packages: Vec<(Option<String>, Arc<NativePackage>)>,
    /// Have the name of a package of a patch, and another version or architecture.
    others: Vec<Arc<NativePackage>>,
    registrations: Registrations,
}

/// Finds the native packages that patches are for. A patch names one as its registration is called (`DEBweb`), or as its
/// package manager calls it (`web`); it is then registered under the name that the patch has.
fn unregistered(ground: &RootAndPolicy, offered: &[OfferedPackage]) -> Result<Option<Unregistered>, Failure> {
    // Other SVR4 names begin with the letters of their vendor.
    let is_native_name =
        |pkg: &str| pkg.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let is_of = |one: &OfferedPackage, manager: NativeManager| {
        one.pkg.starts_with(&manager.package_name("")) || is_native_name(&one.pkg)
    };
    let is_native = |one: &OfferedPackage| NativeManager::ALL.iter().any(|manager| is_of(one, *manager));
    if !offered.iter().any(is_native) {
        return Ok(None);
    }
    let installed = ground.packages()?;
    let known = InstalledPackages::of(installed.iter().map(|(package, one)| (package, &one.params)));
    let missing: Vec<&OfferedPackage> =
        offered.iter().filter(|one| is_native(one) && !known.has(one)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let reader = ground.native();
    let registrations = Registrations::of(&reader, &installed);
    let mut packages: Vec<(Option<String>, Arc<NativePackage>)> = Vec::new();
    let mut others = Vec::new();
    for manager in NativeManager::ALL {
        let Some(records) = reader.records(manager)? else { continue };
        let names = records.names()?;
        let pkgs: BTreeSet<&str> =
            missing.iter().filter(|one| is_of(one, manager)).map(|one| one.pkg.as_str()).collect();
        let named = |pkg: &str| names.get(pkg).or_else(|| names.get(&manager.package_name(pkg)));
        for (pkg, own) in pkgs.into_iter().filter_map(|pkg| Some((pkg, named(pkg)?))) {
            // A package that is unreadable or being changed cannot be adopted.
            for native in own.iter().filter_map(|name| records.package(name).ok()) {
                let fits = |one: &&OfferedPackage| {
                    (one.pkg.as_str(), &one.version, &one.arch) == (pkg, &native.version, &native.arch)
                };
                let is_again = |(_, known): &(Option<String>, Arc<NativePackage>)| {
                    (&known.origin, &known.version, &known.arch)
                        == (&native.origin, &native.version, &native.arch)
                };
                let is_known = registrations.holder(&native).is_some() || packages.iter().any(is_again);
                // The usual names of packages with different names may be the same.
                let is_meant = !is_native_name(pkg) || native.origin.name == pkg;
                if !is_meant || is_known {
                    continue;
                }
                if missing.iter().any(fits) {
                    let is_usual = manager.package_name(&native.origin.name) == pkg;
                    packages.push(((!is_usual).then(|| pkg.to_owned()), native));
                } else if installed.values().all(|one| *one.params.text("PKG") != *pkg) {
                    others.push(native);
                }
            }
        }
    }
    Ok(Some(Unregistered { packages, others, registrations }))
}
