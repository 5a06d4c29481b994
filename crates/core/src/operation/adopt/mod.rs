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
    NATIVE_DIFFERING, NATIVE_STAMP, NativeManager, NativeOrigin, NativePackage, NativeRecords, differing_text,
};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::{AdoptableSoftware, AdoptionConflict, Adoptions, forget};
use patchadm_planning::resolve::{InstalledPackages, OfferedPackage};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
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
    pub notes: Vec<String>,
    /// `None` if nothing was changed.
    pub receipt: Option<Receipt>,
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
    let root = &adopter.ground.root;
    let mut all = AllPackages::of(adopter, request)?;
    let mut is_there = false;
    for manager in NativeManager::ALL {
        let Some(records) = NativeRecords::find(root, manager)? else { continue };
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
        let registrations = Registrations::of(&adopter.ground.root, &packages);
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
    let Some(Unregistered { packages, mut registrations }) = unregistered(ground, offered)? else {
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

pub(super) fn unregistered_native(ground: &RootAndPolicy, offered: &[OfferedPackage]) -> Option<String> {
    let unregistered = unregistered(ground, offered).ok()??;
    let (_, native) = unregistered.packages.into_iter().next()?;
    Some(format!("{} {}", native.origin, native.version))
}

/// Native packages that are not registered, each with its registration's name if it differs.
struct Unregistered {
    packages: Vec<(Option<String>, NativePackage)>,
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
    let registrations = Registrations::of(&ground.root, &installed);
    let mut packages: Vec<(Option<String>, NativePackage)> = Vec::new();
    for manager in NativeManager::ALL {
        let Some(records) = NativeRecords::find(&ground.root, manager)? else { continue };
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
                let is_again = |(_, known): &(Option<String>, NativePackage)| {
                    (&known.origin, &known.version, &known.arch)
                        == (&native.origin, &native.version, &native.arch)
                };
                let is_known = registrations.holder(&native).is_some() || packages.iter().any(is_again);
                // The usual names of packages with different names may be the same.
                let is_meant = !is_native_name(pkg) || native.origin.name == pkg;
                if is_meant && missing.iter().any(fits) && !is_known {
                    let is_usual = manager.package_name(&native.origin.name) == pkg;
                    packages.push(((!is_usual).then(|| pkg.to_owned()), native));
                }
            }
        }
    }
    Ok(Some(Unregistered { packages, registrations }))
}

/// Finds objects that are not a file with the recorded sum.
fn differing(
    root: &Root,
    sums: &BTreeMap<ObjectPath, FileSum>,
    objects: &[ObjectPath],
    interrupt: Interrupt<'_>,
) -> Result<Vec<ObjectPath>, Failure> {
    let looked_at = side_by_side(root.workers(), objects.len(), || {
        let resolver = root.resolver();
        move |at: usize| {
            let path = objects.get(at)?;
            let expected = sums.get(path)?;
            let has = Failure::unless_interrupted(interrupt)
                .and_then(|()| has_sum(root, &resolver, path, *expected));
            Some(has.map(|has| (!has).then(|| path.clone())))
        }
    });
    let differing: Result<Vec<Option<ObjectPath>>, Failure> = looked_at.into_iter().flatten().collect();
    Ok(differing?.into_iter().flatten().collect())
}

pub(super) fn has_sum(
    root: &Root,
    resolver: &Resolver<'_>,
    path: &ObjectPath,
    expected: FileSum,
) -> Result<bool, Failure> {
    let physical = resolver.locate(path)?;
    let Some(parent) = physical.parent() else { return Ok(false) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(false) };
    let is_file = dir.look(physical.name())?.is_some_and(|seen| seen.file_type == FileType::Regular);
    if !is_file {
        return Ok(false);
    }
    let mut file = dir.open_regular(physical.name())?;
    Ok(expected.is_of(&mut file).map_err(|error| dir.read_error(physical.name(), &error))?)
}

#[derive(Clone, Debug)]
pub struct AdoptRequest {
    pub source: AdoptSource,
    pub wishes: AdoptWishes,
    pub dry_run: bool,
}

#[derive(Clone, Debug)]
pub struct AdoptWishes {
    /// `None`: derived from the native name.
    pub pkg: Option<String>,
    /// `None`: the native version.
    pub version: Option<String>,
    /// `None`: the native architecture, otherwise `all`.
    pub arch: Option<String>,
    /// One line.
    pub name: Option<String>,
    /// Base of relative paths.
    pub basedir: ObjectPath,
    pub editable: Vec<PathGlob>,
    /// Files that change by themselves.
    pub volatile: Vec<PathGlob>,
    /// Left out, with everything below them.
    pub exclude: Vec<PathGlob>,
    /// Recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
}

impl AdoptWishes {
    pub fn none(environment: Params) -> Self {
        Self {
            pkg: None,
            version: None,
            arch: None,
            name: None,
            basedir: ObjectPath::root(),
            editable: Vec::new(),
            volatile: Vec::new(),
            exclude: Vec::new(),
            environment,
        }
    }
}

#[derive(Clone, Debug)]
pub enum AdoptSource {
    /// Everything in a directory, on its file system.
    Tree(ObjectPath),
    /// A host file with one path per line.
    Paths(PathBuf),
    /// A package of dpkg (`NAME` or `NAME:ARCH`) or rpm.
    Native(NativeManager, String),
}

impl AdoptSource {
    fn manager(&self) -> Option<NativeManager> {
        match self {
            Self::Native(manager, _) => Some(*manager),
            Self::Tree(_) | Self::Paths(_) => None,
        }
    }
}

/// A package that was added to the plan, or conflicts with others.
struct TakenUp {
    intended: IntendedAdoption,
    differing: Vec<ObjectPath>,
}

#[derive(Debug)]
pub struct AdoptedPackage {
    pub package: PkgInst,
    pub origin: NativeOrigin,
    pub objects: usize,
    /// Files that differ from the native records; adopted as they are.
    pub differing: Vec<ObjectPath>,
    /// Listed, but missing; left out.
    pub missing: Vec<ObjectPath>,
}

impl AdoptedPackage {
    fn of(package: PkgInst, origin: NativeOrigin, taken_up: TakenUp) -> Self {
        let TakenUp { intended, differing } = taken_up;
        Self { package, origin, objects: intended.objects, differing, missing: intended.missing }
    }
}

/// In bytes.
const LARGEST_LIST: u64 = 256 << 20;

#[derive(Debug)]
struct ListedSoftware {
    software: AdoptableSoftware,
    sums: BTreeMap<ObjectPath, FileSum>,
    damaged: Option<DamagedPackage>,
    notes: Vec<String>,
}

impl ListedSoftware {
    fn of(ground: &RootAndPolicy, request: &AdoptRequest, caller: &Caller<'_>) -> Result<Self, Failure> {
        let root = &ground.root;
        let list = match &request.source {
            AdoptSource::Tree(top) => listed(root, top, &request.wishes.basedir)?,
            AdoptSource::Paths(file) => paths_in(file)?,
            AdoptSource::Native(manager, name) => {
                let native = manager.package(root, name)?;
                let packages = packages_beside(ground, &possible_names(&native, &request.wishes))?;
                let list = Registrations::of(root, &packages).software(&native);
                let listed = Self::wished(list, &request.wishes)?;
                return listed.over_damaged(ground, caller);
            }
        };
        Self::wished(list, &request.wishes)
    }

    /// Finds remains of a damaged earlier registration. Fails if that can still be restored.
    fn over_damaged(self, ground: &RootAndPolicy, caller: &Caller<'_>) -> Result<Self, Failure> {
        let package = &self.software.package;
        let damaged = damaged_package(&ground.root, package)?;
        if damaged.is_some() && can_be_mended(ground, caller, package)? {
            all::params_of(&RecordView::live(&ground.root), package)?;
        }
        Ok(Self { damaged, ..self })
    }

    fn wished(mut list: SoftwareList, wishes: &AdoptWishes) -> Result<Self, Failure> {
        list.paths.retain(|path, _| !wishes.exclude.iter().any(|glob| glob.names_it_or_above(path)));
        for (path, ftype) in &mut list.paths {
            let is_named = |globs: &[PathGlob]| globs.iter().any(|glob| glob.names(path));
            if is_named(&wishes.volatile) {
                *ftype = Ftype::Volatile;
            } else if is_named(&wishes.editable) {
                *ftype = Ftype::Editable;
            }
        }
        let (package, params) = called(&list, wishes)?;
        let software = AdoptableSoftware {
            package,
            params,
            environment: wishes.environment.clone(),
            paths: list.paths,
            must_be_there: list.must_be_there,
        };
        Ok(Self { software, sums: list.sums, damaged: None, notes: list.notes })
    }
}

fn possible_names(native: &NativePackage, wishes: &AdoptWishes) -> Vec<PkgInst> {
    let usual = || vec![native.origin.manager.package_name(&native.origin.name), native.instance_name()];
    let names = wishes.pkg.as_ref().map_or_else(usual, |pkg| vec![pkg.clone()]);
    names.iter().filter_map(|name| PkgInst::new(name).ok()).collect()
}

/// Excludes packages of these names with damaged records.
fn packages_beside(
    ground: &RootAndPolicy,
    names: &[PkgInst],
) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
    let is_damaged = |package: &PkgInst| names.contains(package);
    Ok(packages_but(&RecordView::live(&ground.root), is_damaged)?)
}

fn called(list: &SoftwareList, wishes: &AdoptWishes) -> Result<(PkgInst, Params), Failure> {
    let lacks = |what: &str| Failure::BadFile(format!("{what} of the package is unknown; name one"));
    let pkg = wishes.pkg.as_ref().or(list.pkg.as_ref()).ok_or_else(|| lacks("the name"))?;
    let version = wishes.version.as_ref().or(list.version.as_ref()).ok_or_else(|| lacks("the version"))?;
    let bad = |reason: &str| {
        Failure::BadFile(format!("<{pkg}> is not a package name: {reason}; name one with --pkg"))
    };
    let package = PkgInst::new(pkg).map_err(|error| bad(error.reason))?;
    if package.abbreviation().len() > LONGEST_PKG {
        return Err(bad("it has more than 32 characters"));
    }
    // Only a native package may have several instances.
    if list.origin.is_none() && package.abbreviation() != package.as_str() {
        return Err(bad("it has a full stop"));
    }
    let arch = wishes.arch.as_ref().or(list.arch.as_ref()).map_or("all", String::as_str);
    let title = wishes.name.as_ref().or(list.title.as_ref()).unwrap_or(pkg);
    let values = [
        ("PKG", package.abbreviation()),
        ("NAME", title.as_str()),
        ("ARCH", arch),
        ("VERSION", version.as_str()),
        ("CATEGORY", "application"),
        ("CLASSES", "none"),
        (ADOPTED, list.adopted),
    ];
    let mut params = Params::new();
    for (name, value) in values {
        if value.contains(['\n', '\0']) || value.trim().is_empty() {
            return Err(Failure::BadFile(format!("{} is not a value of {name}", value.escape_debug())));
        }
        params.set(name, value.trim());
    }
    params.set("BASEDIR", wishes.basedir.as_bytes());
    if let Some(origin) = &list.origin {
        origin.write(&mut params);
    }
    if let Some(registration) = &list.registration {
        registration.write(&mut params);
    }
    Ok((package, params))
}

/// One path per line; each must exist.
fn paths_in(file: &Path) -> Result<SoftwareList, Failure> {
    let bad = |reason: String| Failure::BadFile(format!("{}: {reason}", file.display()));
    let text = read_start(file, LARGEST_LIST).map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > LARGEST_LIST {
        return Err(bad("it is larger than 256 MiB".to_owned()));
    }
    let paths = paths_of(&text).map_err(bad)?.into_iter().map(|path| (path, Ftype::File)).collect();
    Ok(SoftwareList { adopted: "paths", paths, must_be_there: true, ..SoftwareList::default() })
}

#[derive(Debug, Default)]
struct SoftwareList {
    /// Recorded as the origin of packages that are not native.
    adopted: &'static str,
    origin: Option<NativeOrigin>,
    registration: Option<NativeRegistration>,
    /// Derived from the list.
    pkg: Option<String>,
    version: Option<String>,
    arch: Option<String>,
    title: Option<String>,
    /// With types of regular files.
    paths: BTreeMap<ObjectPath, Ftype>,
    sums: BTreeMap<ObjectPath, FileSum>,
    must_be_there: bool,
    notes: Vec<String>,
}

impl SoftwareList {
    fn of_native(package: &NativePackage) -> Self {
        let sums =
            package.paths.iter().filter_map(|(path, native)| Some((path.clone(), native.sum?))).collect();
        Self {
            adopted: package.origin.manager.name(),
            origin: Some(package.origin.clone()),
            registration: Some(package.registration()),
            pkg: Some(package.origin.manager.package_name(&package.origin.name)),
            sums,
            paths: package.paths.iter().map(|(path, native)| (path.clone(), native.ftype)).collect(),
            version: Some(package.version.clone()),
            arch: Some(package.arch.clone()),
            title: package.title.clone(),
            must_be_there: false,
            notes: Vec::new(),
        }
    }
}

/// Includes planned ones.
struct Registrations {
    claims: NativeClaims,
    taken: BTreeSet<PkgInst>,
}

impl Registrations {
    fn of(root: &Root, packages: &BTreeMap<PkgInst, Installed>) -> Self {
        let params = packages.iter().map(|(package, installed)| (package, &installed.params));
        Self { claims: NativeClaims::of(root, params), taken: packages.keys().cloned().collect() }
    }

    fn holder(&self, native: &NativePackage) -> Option<&PkgInst> {
        self.claims.holder(native)
    }

    fn add(&mut self, package: &PkgInst, native: &NativePackage) {
        self.claims.add(package.clone(), native);
        self.taken.insert(package.clone());
    }

    fn software(&self, native: &NativePackage) -> SoftwareList {
        let pkg = match self.holder(native) {
            Some(package) => package.to_string(),
            None => self.free_name(native),
        };
        let origin = self.claims.origin_of(native);
        SoftwareList { pkg: Some(pkg), origin: Some(origin), ..SoftwareList::of_native(native) }
    }

    /// Returns the plain name, or an instance beside another package of that name. Appends the architecture if the
    /// plain name stands for a different package.
    fn free_name(&self, native: &NativePackage) -> String {
        let (manager, name) = (native.origin.manager, native.origin.name.as_str());
        let plain = manager.package_name(name);
        let holder = PkgInst::new(&plain).ok().filter(|package| self.taken.contains(package));
        match holder {
            None => plain,
            Some(package) if self.claims.has_name(native, &package) => native.instance_name(),
            Some(_) => manager.package_name(&format!("{name}-{}", native.arch)),
        }
    }
}

const SETTINGS: &[u8] = b"/etc/patchadm";

const STAGE: &[u8] = b".patchadm";

/// The limit of a pkgmap.
const MOST_OBJECTS: usize = patchadm_svr4::format::pkgmap::MOST_ENTRIES;

/// Includes the directory itself, unless it is the base directory, which no package delivers.
fn listed(root: &Root, top: &ObjectPath, basedir: &ObjectPath) -> Result<SoftwareList, Failure> {
    let physical = root.resolver().locate_dir(top)?;
    let no_tree = || Failure::BadFile(format!("{} is not a directory", root.show(top)));
    let Some(dir) = root.dir_if_there(&physical)? else { return Err(no_tree()) };
    let mut list = SoftwareList { adopted: "tree", ..SoftwareList::default() };
    if !top.relative().is_empty() && top != basedir {
        list.paths.insert(top.clone(), Ftype::File);
    }
    let mount = dir.itself()?.mount;
    let mut open = vec![top.clone()];
    while let Some(path) = open.pop() {
        let directory = root.dir(&physical_of(&physical, top, &path)?)?;
        for name in directory.names()? {
            let inner = path.join(&name).map_err(|error| Failure::BadFile(error.to_string()))?;
            if is_own(&inner) {
                continue;
            }
            if list.paths.len() == MOST_OBJECTS {
                return Err(Failure::BadFile(format!("{} has too many objects", root.show(top))));
            }
            match entered(&directory, &name, mount)? {
                Some(true) => open.push(inner.clone()),
                Some(false) => {}
                None => list.notes.push(format!(
                    "{} is the top of another file system; what is in it is left out",
                    root.show(&inner)
                )),
            }
            list.paths.insert(inner, Ftype::File);
        }
    }
    Ok(list)
}

/// `None` if another file system begins there.
fn entered(directory: &Dir, name: &[u8], mount: u64) -> Result<Option<bool>, Failure> {
    Ok(match directory.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => (seen.mount == mount).then_some(true),
        _ => Some(false),
    })
}

/// Only the way to `top` may lead through links.
fn physical_of(physical: &ObjectPath, top: &ObjectPath, path: &ObjectPath) -> Result<ObjectPath, Failure> {
    let below = path.as_bytes().strip_prefix(top.as_bytes()).unwrap_or_default();
    let below = below.strip_prefix(b"/").unwrap_or(below);
    if below.is_empty() {
        return Ok(physical.clone());
    }
    physical.join(below).map_err(|error| Failure::BadFile(error.to_string()))
}

fn is_own(path: &ObjectPath) -> bool {
    path.as_bytes() == places::RECORDS.as_bytes()
        || path.as_bytes() == SETTINGS
        || path.name().starts_with(STAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_without_its_records_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["opt/acme/bin", "var/sadm/pkg", "etc/patchadm"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("opt/acme/bin/tool"), "tool").unwrap();
        std::os::unix::fs::symlink("bin", dir.path().join("opt/acme/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let names = |top: &str, basedir: &str| -> Vec<String> {
            let list = listed(&root, &at(top), &at(basedir)).unwrap();
            list.paths.keys().map(ToString::to_string).collect()
        };
        let inside = ["/opt/acme/bin", "/opt/acme/bin/tool", "/opt/acme/link"];
        assert_eq!(names("/opt/acme", "/opt/acme"), inside);
        assert_eq!(names("/opt/acme", "/"), [&["/opt/acme"], &inside[..]].concat());
        let all = names("/", "/");
        assert!(all.contains(&"/var".to_owned()) && !all.iter().any(|path| path.contains("sadm")), "{all:?}");
        assert!(!all.iter().any(|path| path.contains("patchadm")), "{all:?}");
        assert!(listed(&root, &at("/nowhere"), &at("/")).is_err());
    }
}
