//! `add --adopt`: native packages that patches are for are adopted, where they are not registered and have the version that a
//! patch names.

use std::collections::BTreeSet;

use super::Adopter;
use super::adopted::AdoptedPackage;
use super::listed::ListedSoftware;
use super::registrations::Registrations;
use super::request::AdoptWishes;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_inputs::native::{NativeManager, NativePackage, NativeRecords};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::package::adopt::Adoptions;
use patchadm_planning::resolve::{InstalledPackages, OfferedPackage};
use patchadm_svr4::package::Params;

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
    let Some(Unregistered { packages, mut registrations }) = unregistered(ground, wanted)? else {
        return Ok(demand);
    };
    for (pkg, native) in packages {
        let list = registrations.software(&native);
        let origin = list.origin.clone().unwrap_or_else(|| native.origin.clone());
        let wishes = AdoptWishes { pkg, ..AdoptWishes::none(environment.clone()) };
        let listed = ListedSoftware::wished(list, &wishes)?;
        registrations.add(&listed.software.package, &native);
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
    let unregistered = unregistered(ground, wanted).ok()??;
    let (_, native) = unregistered.packages.into_iter().next()?;
    Some(format!("{} {}", native.origin, native.version))
}

/// Native packages that are not registered, each with the name of its registration where the native name does not give it.
struct Unregistered {
    packages: Vec<(Option<String>, NativePackage)>,
    registrations: Registrations,
}

/// Finds the native packages that packages of patches stand for, and that are not registered.
fn unregistered(ground: &RootAndPolicy, wanted: &[OfferedPackage]) -> Result<Option<Unregistered>, Failure> {
    let is_of = |one: &OfferedPackage, manager: NativeManager| one.pkg.starts_with(&manager.package_name(""));
    let is_native = |one: &OfferedPackage| NativeManager::ALL.iter().any(|manager| is_of(one, *manager));
    if !wanted.iter().any(is_native) {
        return Ok(None);
    }
    let installed = ground.packages()?;
    let known = InstalledPackages::of(installed.iter().map(|(package, one)| (package, &one.params)));
    let missing: Vec<&OfferedPackage> =
        wanted.iter().filter(|one| is_native(one) && !known.has(one)).collect();
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
        for (pkg, own) in pkgs.into_iter().filter_map(|pkg| Some((pkg, names.get(pkg)?))) {
            // One that cannot be read, or is being changed, is none that could be adopted.
            for native in own.iter().filter_map(|name| records.package(name).ok()) {
                let fits = |one: &&OfferedPackage| {
                    (one.pkg.as_str(), &one.version, &one.arch) == (pkg, &native.version, &native.arch)
                };
                let is_again = |(_, known): &(Option<String>, NativePackage)| {
                    (&known.origin, &known.version, &known.arch)
                        == (&native.origin, &native.version, &native.arch)
                };
                let is_known = registrations.holder(&native).is_some() || packages.iter().any(is_again);
                if missing.iter().any(fits) && !is_known {
                    let is_usual = manager.package_name(&native.origin.name) == pkg;
                    packages.push(((!is_usual).then(|| pkg.to_owned()), native));
                }
            }
        }
    }
    Ok(Some(Unregistered { packages, registrations }))
}
