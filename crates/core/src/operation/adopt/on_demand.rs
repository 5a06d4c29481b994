//! `add --adopt`: native packages that patches are for are adopted, where they are not registered and have the version that a
//! patch names.

use std::collections::BTreeSet;

use super::Adopter;
use super::adopted::AdoptedPackage;
use super::listed::ListedSoftware;
use super::request::AdoptWishes;
use super::software_list::SoftwareList;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_inputs::native::{NativeManager, NativePackage, NativeRecords};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::Adoptions;
use patchadm_planning::resolve::OfferedPackage;
use patchadm_svr4::package::{Params, PkgInst};

/// Adoptions that come before patches.
#[derive(Debug, Default)]
pub(in crate::operation) struct OnDemand {
    pub(in crate::operation) adopted: Vec<AdoptedPackage>,
    /// Everything that changes; none where nothing is adopted.
    pub(in crate::operation) plan: Option<Plan>,
    /// Sentences for a person: what stands in the way of an adoption.
    pub(in crate::operation) notes: Vec<String>,
}

/// Plans the adoption of the native packages that patches are `wanted` for.
pub(in crate::operation) fn adopt_on_demand(
    ground: &RootAndPolicy,
    wanted: &[OfferedPackage],
    environment: &Params,
    caller: &Caller<'_>,
) -> Result<OnDemand, Failure> {
    let adopter = Adopter { ground, caller };
    let mut demand = OnDemand::default();
    let (mut adoptions, mut surveyed) = (Adoptions::default(), None);
    for (pkg, native) in unregistered(ground, wanted)? {
        let origin = native.origin.clone();
        let wishes = AdoptWishes { pkg: Some(pkg), ..AdoptWishes::none(environment.clone()) };
        let listed = ListedSoftware::wished(SoftwareList::from(native), &wishes)?;
        let inventory = adopter.survey(ground.all_packages()?, [&listed.software])?;
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

/// Returns the first native package that one of these packages stands for, as a sentence names it.
pub(in crate::operation) fn unregistered_native(
    ground: &RootAndPolicy,
    wanted: &[OfferedPackage],
) -> Option<String> {
    let (_, native) = unregistered(ground, wanted).ok()?.into_iter().next()?;
    Some(format!("{} {}", native.origin, native.version))
}

/// Returns the native packages that these packages stand for, and that are not registered, each with its name here.
fn unregistered(
    ground: &RootAndPolicy,
    wanted: &[OfferedPackage],
) -> Result<Vec<(String, NativePackage)>, Failure> {
    let named = |manager: NativeManager| {
        let prefix = manager.package_name("");
        wanted.iter().filter(move |one| one.pkg.starts_with(&prefix))
    };
    let managers = NativeManager::ALL;
    if managers.iter().all(|manager| named(*manager).next().is_none()) {
        return Ok(Vec::new());
    }
    let installed = ground.packages()?;
    let names: BTreeSet<&str> = installed.keys().map(PkgInst::abbreviation).collect();
    let mut found: Vec<(String, NativePackage)> = Vec::new();
    for manager in managers {
        let missing: Vec<&OfferedPackage> =
            named(manager).filter(|one| !names.contains(one.pkg.as_str())).collect();
        if missing.is_empty() {
            continue;
        }
        let Some(records) = NativeRecords::find(&ground.root, manager)? else { continue };
        let names = records.names()?;
        for one in missing {
            for name in names.get(&one.pkg).into_iter().flatten() {
                // One that cannot be read, or is being changed, is none that could be adopted.
                let Ok(native) = records.package(name) else { continue };
                let fits = native.version == one.version && native.arch == one.arch;
                if fits && !found.iter().any(|(pkg, _)| *pkg == one.pkg) {
                    found.push((one.pkg.clone(), native));
                }
            }
        }
    }
    Ok(found)
}
