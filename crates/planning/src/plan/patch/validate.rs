//! The rules that admit a patch, in the order of patchadd(1M): the first that fails is the refusal. They look at no
//! objects; edited files and space are checked later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::inventory::{Installed, Inventory, is_kept_package};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::{Image, ImageMacros, ImageMacrosError, PackageImage};
use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{
    AppliedPatches, PatchConflict, PatchId, PatchList, PatchMacros, PatchMacrosError, PatchRecords,
    PatchStanding, Requirements,
};

use super::engine::ScriptChoice;
use super::interrupted::{interrupted, why_interrupted};
use crate::plan::edits::EditChoice;
use crate::plan::records::has_undo_data;
use crate::plan::refusal::{Reason, Wording};

const ZONE_PARAMETERS: [&str; 3] = ["SUNW_PKG_ALLZONES", "SUNW_PKG_HOLLOW", "SUNW_PKG_THISZONE"];

#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) id: PatchId,
    pub(super) obsoletes: PatchList,
    pub(super) requires: Requirements,
    pub(super) incompatibles: PatchList,
    pub(super) properties: Vec<String>,
    pub(super) packages: Vec<PatchMacros>,
}

#[derive(Clone, Debug)]
pub(super) struct MatchedPackage {
    pub(super) package: PkgInst,
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct Validated {
    pub(super) facts: Facts,
    pub(super) matches: Vec<MatchedPackage>,
    pub(super) again: bool,
    pub(super) no_undo: bool,
    pub(super) notes: Vec<String>,
}

impl Facts {
    pub(super) fn of(image: &Image, separator: &str) -> Result<Self, Reason> {
        let ImageMacros { whole, packages } = image.all_macros(separator).map_err(no_patch)?;
        let PatchMacros { id, obsoletes, requires, incompatibles, properties, .. } = whole;
        Ok(Self { id, obsoletes, requires, incompatibles, properties, packages })
    }

    fn has_property(&self, word: &str) -> bool {
        self.properties.iter().any(|property| property == word)
    }
}

/// Returns the patch's facts about itself: the union of its patchinfo and its packages, which must name one patch.
pub fn declared(image: &Image, separator: &str) -> Result<PatchMacros, Reason> {
    image.patch_macros(separator).map_err(no_patch)
}

/// Returns the patch records of some packages, in their order.
pub fn applied_to(packages: &[(&PkgInst, &Installed)], separator: &str) -> Result<Vec<PatchRecords>, Reason> {
    let read = |(package, installed): &(&PkgInst, &Installed)| {
        PatchRecords::from_params(package, &installed.params, separator)
            .map_err(|error| Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() })
    };
    packages.iter().map(read).collect()
}

fn refuse_kept(image: &Image, inventory: &Inventory) -> Result<(), Reason> {
    let is_kept = |params: &Params| {
        let name = params.text("PKG");
        is_kept_package(params) || inventory.hidden.keys().any(|hidden| hidden.abbreviation() == name.trim())
    };
    let kept = image.packages.iter().find(|package| is_kept(&package.params));
    kept.map_or(Ok(()), |package| Err(Reason::KeptPackage(package.spooled_name())))
}

/// The installed version is unknown then. Other instances of the package do not count.
fn refuse_native_changes(image: &Image, inventory: &Inventory) -> Result<(), Reason> {
    if inventory.native_changes.is_empty() {
        return Ok(());
    }
    let installed = InstalledVersions::of(&inventory.packages);
    let mut changed: HashMap<&str, Vec<&PkgInst>> = HashMap::new();
    for package in inventory.native_changes.keys() {
        changed.entry(package.abbreviation()).or_default().push(package);
    }
    for delivered in &image.packages {
        let for_it = installed.like(&delivered.params).next();
        let name = delivered.params.text("PKG");
        let of_name = changed.get(name.trim()).filter(|_| for_it.is_none()).into_iter().flatten().copied();
        must_be_as_adopted(of_name.chain(for_it.map(|(package, _)| package)), inventory)?;
    }
    Ok(())
}

pub(in crate::plan) fn must_be_as_adopted<'p>(
    packages: impl IntoIterator<Item = &'p PkgInst>,
    inventory: &Inventory,
) -> Result<(), Reason> {
    let change = |package: &PkgInst| {
        let change = Box::new(inventory.native_changes.get(package)?.clone());
        Some(Reason::NativeChanged { package: package.clone(), change })
    };
    packages.into_iter().find_map(change).map_or(Ok(()), Err)
}

pub(super) fn validate(
    image: &Image,
    facts: Facts,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    options: &ApplyOptions,
) -> Result<Validated, Reason> {
    let separator = &policy.separator;
    if options.ignores_rules {
        let matches = matches(image, inventory)?;
        let packages: Vec<PkgInst> = matches.iter().map(|found| found.package.clone()).collect();
        let again = matches!(applied?.standing(&facts.id, &packages), PatchStanding::Applied);
        return Ok(Validated { facts, matches, again, no_undo: options.no_undo, notes: Vec::new() });
    }
    if policy.excludes(&facts.id) {
        return Err(Reason::Excluded);
    }
    refuse_kept(image, inventory)?;
    refuse_native_changes(image, inventory)?;
    let all = matches(image, inventory)?;
    let applied = applied?;
    let packages: Vec<PkgInst> = all.iter().map(|found| found.package.clone()).collect();
    let mut notes = Vec::new();
    let restricted = policy.is_restricted(facts.id.base());
    let no_undo = !restricted && (options.no_undo || facts.has_property("nobackout"));
    let refuse_interrupted = || refuse_interrupted(inventory, &facts.id, &packages, separator);
    let (remaining, again) = standing(applied, &facts.id, &packages, options, refuse_interrupted)?;
    if !(options.unconditional && options.no_undo && no_undo) {
        refuse_interrupted()?;
    }
    notes.extend(warn_of_interrupted(inventory, &facts.id, &packages, separator));
    refuse_relations(applied, &facts, &remaining, policy, options, &mut notes)?;
    if let Some(directory) = options.undo_dir.as_ref().filter(|directory| !directory.is_absolute()) {
        return Err(Reason::BackoutDirectory(directory.clone()));
    }
    if restricted && options.no_undo {
        notes.push(format!("-d is ignored for restricted patch {}.", facts.id));
    }
    if !again {
        refuse_undo_mismatch(applied, inventory, &facts.id, separator, no_undo)?;
    }
    if facts.has_property("interactive") && !options.conversation {
        return Err(Reason::Interactive);
    }
    let remaining: HashSet<&PkgInst> = remaining.iter().collect();
    let matches: Vec<MatchedPackage> =
        all.into_iter().filter(|found| remaining.contains(&found.package)).collect();
    for found in &matches {
        refuse_zones(image, inventory, found)?;
    }
    Ok(Validated { facts, matches, again, no_undo, notes })
}

fn no_patch(error: ImageMacrosError) -> Reason {
    let bad = |package: String, reason: String| Reason::BadPkginfo { package, reason };
    let of_patchinfo = |reason: String| bad("patchinfo".to_owned(), reason);
    match error {
        ImageMacrosError::Package { package, error } => match *error {
            PatchMacrosError::Id { .. } => Reason::BadId(format!("package {package}: {error}")),
            PatchMacrosError::TwoIds { .. } => Reason::BadPatch(format!("package {package}: {error}")),
            _ => bad(package, error.to_string()),
        },
        ImageMacrosError::NoPatch(package) => {
            Reason::BadPatch(format!("package {package} names no patch (SUNW_PATCHID)"))
        }
        ImageMacrosError::TwoIds(..) => Reason::BadPatch(error.to_string()),
        ImageMacrosError::NoPackage => Reason::BadPatch("it contains no packages".to_owned()),
        ImageMacrosError::List(error) => of_patchinfo(error.to_string()),
        ImageMacrosError::Requires(error) => of_patchinfo(error.to_string()),
    }
}

pub(super) fn matches(image: &Image, inventory: &Inventory) -> Result<Vec<MatchedPackage>, Reason> {
    let mut taken: BTreeMap<&PkgInst, &PackageImage> = BTreeMap::new();
    let mut matches = Vec::new();
    let installed = InstalledVersions::of(&inventory.packages);
    for (index, delivered) in image.packages.iter().enumerate() {
        let Some((package, _)) = installed.like(&delivered.params).next() else { continue };
        if let Some(first) = taken.insert(package, delivered) {
            let (one, other) = (&first.directory, &delivered.directory);
            return Err(Reason::BadPatch(format!("{one} and {other} are both for package {package}")));
        }
        matches.push(MatchedPackage { package: package.clone(), index });
    }
    if matches.is_empty() {
        return Err(Reason::NotInstalled(image.packages.iter().map(|one| missed(one, inventory)).collect()));
    }
    Ok(matches)
}

/// Compares PKG and VERSION byte for byte, ARCH without white space.
pub fn same_version(one: &Params, other: &Params) -> bool {
    let is_same = |name| one.get(name) == other.get(name);
    is_same("PKG") && is_same("VERSION") && same_architecture(one, other)
}

/// Installed packages by PKG and VERSION.
pub(in crate::plan) struct InstalledVersions<'i>(
    HashMap<NameAndVersion<'i>, Vec<(&'i PkgInst, &'i Installed)>>,
);

type NameAndVersion<'i> = (Option<&'i [u8]>, Option<&'i [u8]>);

impl<'i> InstalledVersions<'i> {
    pub(in crate::plan) fn of(installed: &'i BTreeMap<PkgInst, Installed>) -> Self {
        let mut versions: HashMap<NameAndVersion<'i>, Vec<(&PkgInst, &Installed)>> = HashMap::new();
        for (package, one) in installed {
            let key = (one.params.get("PKG"), one.params.get("VERSION"));
            versions.entry(key).or_default().push((package, one));
        }
        Self(versions)
    }

    /// Returns those of the [`same_version`], in order.
    pub(in crate::plan) fn like<'s>(
        &'s self,
        params: &'s Params,
    ) -> impl Iterator<Item = (&'i PkgInst, &'i Installed)> + use<'s, 'i> {
        let found = self.0.get(&(params.get("PKG"), params.get("VERSION"))).into_iter().flatten().copied();
        found.filter(move |(_, old)| same_version(&old.params, params))
    }
}

/// Compares ARCH without white space.
pub fn same_architecture(one: &Params, other: &Params) -> bool {
    let arch = |params: &Params| compact(params.get("ARCH").unwrap_or_default());
    arch(one) == arch(other)
}

fn missed(package: &PackageImage, inventory: &Inventory) -> String {
    let is_same = |installed: &&Installed| installed.params.get("PKG") == package.params.get("PKG");
    let installed =
        inventory.packages.values().filter(is_same).map(|installed| named_version(&installed.params));
    let installed: Vec<String> = installed.collect();
    match installed.as_slice() {
        [] => format!("{} (not installed)", named_version(&package.params)),
        installed => format!("{} (installed: {})", named_version(&package.params), installed.join(", ")),
    }
}

/// Returns a package in words: `PKG (ARCH) VERSION`.
pub fn named_version(params: &Params) -> String {
    format!("{} ({}) {}", params.text("PKG"), params.text("ARCH"), params.text("VERSION"))
}

/// The replaced files are lost. New undo data would claim that the patch's own files were there before.
fn refuse_interrupted(
    inventory: &Inventory,
    id: &PatchId,
    packages: &[PkgInst],
    separator: &str,
) -> Result<(), Reason> {
    let why = |package: &PkgInst| why_interrupted(package, inventory.packages.get(package)?, id, separator);
    packages.iter().find_map(why).map_or(Ok(()), Err)
}

/// The new patch can be undone exactly, but the files that it finds may be inconsistent.
fn warn_of_interrupted(
    inventory: &Inventory,
    id: &PatchId,
    packages: &[PkgInst],
    separator: &str,
) -> Vec<String> {
    let half = |package: &PkgInst| {
        let installed = inventory.packages.get(package);
        installed.map(|installed| interrupted(package, installed, separator)).unwrap_or_default()
    };
    let others = packages.iter().flat_map(half).filter(|half| half.patch != *id);
    let root = inventory.show(&ObjectPath::root()).to_string();
    let wording = Wording::of_verbs(Path::new(&root));
    others.map(|half| half.told(&wording)).collect()
}

fn standing(
    applied: &AppliedPatches,
    id: &PatchId,
    packages: &[PkgInst],
    options: &ApplyOptions,
    refuse_interrupted: impl Fn() -> Result<(), Reason>,
) -> Result<(Vec<PkgInst>, bool), Reason> {
    match applied.standing(id, packages) {
        PatchStanding::New => Ok((packages.to_vec(), false)),
        PatchStanding::PartlyApplied(remaining) => Ok((remaining, false)),
        PatchStanding::Applied if options.unconditional && applied.later_revision(id).is_none() => {
            Ok((packages.to_vec(), true))
        }
        PatchStanding::Applied => {
            refuse_interrupted()?;
            Err(Reason::AlreadyApplied(packages.to_vec()))
        }
        PatchStanding::LaterRevision(later) => Err(Reason::LaterRevision(later.clone())),
        PatchStanding::Obsoleted(obsoletion) => {
            Err(Reason::Obsoleted { by: obsoletion.by.cloned(), entry: obsoletion.entry.clone() })
        }
    }
}

fn refuse_relations(
    applied: &AppliedPatches,
    facts: &Facts,
    packages: &[PkgInst],
    policy: &Policy,
    options: &ApplyOptions,
    notes: &mut Vec<String>,
) -> Result<(), Reason> {
    let id = &facts.id;
    let is_restricted = |id: &PatchId| policy.is_restricted(id.base());
    if let Some((restricted, package)) = applied.restricted(id, packages, is_restricted) {
        return Err(Reason::Restricted { restricted: restricted.clone(), package: package.clone() });
    }
    match applied.incompatible_with(id, &facts.obsoletes, &facts.incompatibles) {
        Some(PatchConflict::IncomingNames { named, applied, .. }) => {
            let (applied, named) = (applied.clone(), named.clone());
            return Err(Reason::Incompatible { applied, named, says_applied: false });
        }
        Some(PatchConflict::AppliedNames { applied, named }) => {
            let (applied, named) = (applied.clone(), named.clone());
            return Err(Reason::Incompatible { applied, named, says_applied: true });
        }
        None => {}
    }
    for requirement in &facts.requires {
        if applied.satisfies(requirement).is_some() || requirement.is_met_by(id, &facts.obsoletes) {
            continue;
        }
        let mut operands = options.not_applicable.iter();
        // A lost patch is missed, although it is not for the present version.
        let needed = |needed: &&PatchId| !applied.is_lost(needed);
        let needed: Vec<&PatchId> = requirement.ids().iter().filter(needed).collect();
        match operands.find(|operand| needed.iter().any(|needed| operand.contains(needed))) {
            Some(operand) => notes.push(format!("required patch {operand} is not applicable to this root")),
            None => return Err(Reason::Required(requirement.clone())),
        }
    }
    Ok(())
}

/// A patch has undo data in all of its packages or in none.
fn refuse_undo_mismatch(
    applied: &AppliedPatches,
    inventory: &Inventory,
    id: &PatchId,
    separator: &str,
    no_undo: bool,
) -> Result<(), Reason> {
    let Some(patch) = applied.get(id) else { return Ok(()) };
    for package in &patch.packages {
        let installed = inventory.packages.get(package);
        let kept = installed.is_some_and(|installed| has_undo_data(installed, id, separator));
        if kept == no_undo {
            return Err(Reason::UndoMismatch { package: package.clone(), kept });
        }
    }
    Ok(())
}

fn refuse_zones(image: &Image, inventory: &Inventory, found: &MatchedPackage) -> Result<(), Reason> {
    let (Some(delivered), Some(installed)) =
        (image.packages.get(found.index), inventory.packages.get(&found.package))
    else {
        return Ok(());
    };
    refuse_other_zones(&found.package, &installed.params, &delivered.params)
}

/// A patch that does not mention a zone parameter does not conflict.
pub(in crate::plan) fn refuse_other_zones(
    package: &PkgInst,
    installed: &Params,
    delivered: &Params,
) -> Result<(), Reason> {
    for parameter in ZONE_PARAMETERS {
        let (old, new) = (installed.text(parameter), delivered.text(parameter));
        if delivered.get(parameter).is_some() && old.trim() != new.trim() {
            let (installed, delivered) = (old.into_owned(), new.into_owned());
            return Err(Reason::Zone { package: package.clone(), parameter, installed, delivered });
        }
    }
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// `-d`: keep no undo data.
    pub no_undo: bool,
    /// `-B`: a path of the host for undo archives, instead of the save directories.
    pub undo_dir: Option<PathBuf>,
    pub undo_format: UndoFormat,
    /// Why undo data as files is not possible here, as a whole sentence.
    pub only_archives: Option<&'static str>,
    /// `-u` is `replace`.
    pub edits: EditChoice,
    /// `-u`: a patch that is applied may be applied again.
    pub unconditional: bool,
    pub conversation: bool,
    /// Other operands of the command that touch no installed package; requirements for them count as met.
    pub not_applicable: PatchList,
    /// Compute the changes of the patch whatever stands against it. Such a plan is never performed.
    pub ignores_rules: bool,
    /// The patch is only planned: the plan has notes for its maker as well.
    pub is_rehearsal: bool,
    pub scripts: ScriptChoice,
    /// Of the packages' own checkinstall scripts, by index in the image.
    pub answers: BTreeMap<usize, Params>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_of_a_version_are_found_in_order_whatever_blanks_their_architecture_has() {
        let package = |name: &str| PkgInst::new(name).unwrap();
        let params = |pkg: &str, version: &str, arch: &str| -> Params {
            [("PKG", pkg), ("VERSION", version), ("ARCH", arch)].into_iter().collect()
        };
        let one = |name: &str, params: Params| (package(name), Installed { params, ..Installed::default() });
        let installed = BTreeMap::from([
            one("X", params("X", "1", "sparc, i386")),
            one("X.2", params("X", "2", "sparc,i386")),
            one("X.3", params("X", "1", "sparc,i386")),
            one("Y", params("Y", "1", "sparc,i386")),
            one("Z", Params::default()),
        ]);
        let versions = InstalledVersions::of(&installed);
        let like = |params: &Params| -> Vec<String> {
            versions.like(params).map(|(package, _)| package.to_string()).collect()
        };
        assert_eq!(like(&params("X", "1", "sparc,i386")), ["X", "X.3"]);
        assert_eq!(like(&params("X", "2", "sparc,i386")), ["X.2"]);
        assert_eq!(like(&params("Y", "1", "sparc")), Vec::<String>::new());
        assert_eq!(like(&Params::default()), ["Z"]);
    }
}
