//! `adopt --all`: every package of the package managers of a root becomes a package, in one run.
//!
//! Native packages are read, surveyed and planned portion by portion, so that memory is that of one portion and of the
//! records. A package that cannot be adopted is left, with the reason.

use std::collections::BTreeMap;

use super::adopted::AdoptedPackage;
use super::listed::ListedSoftware;
use super::registrations::Registrations;
use super::request::AdoptWishes;
use super::{Adopter, perform_text, with_database};
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, must_agree, shown_to_anybody, without_lock};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{NativeManager, NativeOrigin, NativePackage, NativeRecords};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::Adoptions;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;

/// The paths that are surveyed in one go.
const PORTION: usize = 20_000;

/// The request to adopt all packages of the package managers of a root.
#[derive(Clone, Debug)]
pub struct AdoptAllRequest {
    /// What is wanted of the objects of all packages. Names are those that follow from the native ones.
    pub wishes: AdoptWishes,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// The outcome of the adoption of all packages.
#[derive(Debug, Default)]
pub struct AdoptAllReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The packages that are adopted.
    pub adopted: Vec<AdoptedPackage>,
    /// The native packages that are not, each with the reason.
    pub left: Vec<LeftPackage>,
    /// The number of native packages that were adopted before.
    pub known: usize,
    /// Sentences for a person.
    pub notes: Vec<String>,
    /// The receipt of the run; `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

/// A native package that is not adopted.
#[derive(Debug)]
pub struct LeftPackage {
    /// The native package; `None` where that is not known.
    pub origin: Option<NativeOrigin>,
    /// The reason.
    pub reason: String,
}

/// Adopts every native package of a root that is not adopted yet.
pub fn adopt_all(
    root: &Root,
    request: &AdoptAllRequest,
    caller: &Caller<'_>,
) -> Result<AdoptAllReport, Failure> {
    if request.dry_run {
        let shown = || {
            let ground = RootAndPolicy::of(root)?.for_who_may()?;
            without_lock(root, || Ok(planned(&Adopter { ground: &ground, caller }, request)?.0))
        };
        return shown_to_anybody(root, shown, |mut report: AdoptAllReport, refused| {
            report.notes.push(refused.to_string());
            report
        });
    }
    let (report, recovered) = with_database(root, caller, &NativeManager::ALL, |session| {
        must_agree(root, caller.interrupt, |_| false)?;
        let (mut report, plan) = planned(&Adopter { ground: &session.ground, caller }, request)?;
        if let Some(plan) = plan {
            let text = log_of(&report.adopted);
            report.receipt = Some(perform_text(session, &plan, text, &mut report.notes)?);
        }
        let is_done = report.receipt.is_some();
        Ok((report, is_done))
    })?;
    Ok(AdoptAllReport { recovered, ..report })
}

/// The log of the run: the packages, each with what it stands for.
fn log_of(adopted: &[AdoptedPackage]) -> String {
    let lines: Vec<String> = adopted.iter().map(|one| format!("{} {}", one.package, one.origin)).collect();
    lines.join("\n") + "\n"
}

fn planned(
    adopter: &Adopter<'_>,
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

/// The native packages so far.
struct AllPackages<'a> {
    adopter: &'a Adopter<'a>,
    request: &'a AdoptAllRequest,
    /// The packages that are installed.
    packages: BTreeMap<PkgInst, Installed>,
    registrations: Registrations,
    /// What is surveyed next.
    portion: Vec<(NativeOrigin, ListedSoftware)>,
    adoptions: Adoptions,
    report: AdoptAllReport,
    /// The survey of the last portion.
    inventory: Inventory,
}

impl<'a> AllPackages<'a> {
    fn of(adopter: &'a Adopter<'a>, request: &'a AdoptAllRequest) -> Result<Self, Failure> {
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

    /// Adds a native package, and plans where a portion is whole.
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
        self.inventory = self.adopter.survey(self.packages.clone(), software)?;
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
