//! The trials of patches: one alone over the released packages of its source, all together over the whole released set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use patchadm_bulk_values::report::UnmetLibrary;
use patchadm_making::delta::{MadePatch, PatchToTry, PatchTrials, TrialFailure, TriedPatches, TriedTogether};

use super::lint::LintBase;
use super::packages::{PackageOfSet, PathHolders, SetPackages};
use super::request::PatchesRequest;
use super::sandbox::{Misfit, SandboxTrial, misfit};
use super::soname::LibraryChanges;
use super::units::PatchUnits;
use crate::first_names::first_names;
use crate::set::{BaseLibraries, SetError, unmet_in_files};
use crate::task::installing::PackageFile;

/// What trials are carried out with.
pub(super) struct BulkTrials<'a> {
    pub(super) request: &'a PatchesRequest<'a>,
    pub(super) released: &'a SetPackages,
    pub(super) newest: &'a SetPackages,
    /// Who has each path of the released set.
    pub(super) holders: PathHolders<'a>,
    pub(super) libraries: &'a LibraryChanges,
    pub(super) libraries_of_base: &'a BaseLibraries<'a>,
    pub(super) base: LintBase,
    /// The sources of released packages that cannot be installed with the others, and of what needs them, each with the reason;
    /// found when the first patch is tried.
    pub(super) apart: OnceLock<Result<BTreeMap<String, String>, TrialFailure>>,
    /// Those that were found by the trial of all patches together.
    pub(super) spoilers: Mutex<BTreeMap<String, String>>,
}

impl PatchTrials for BulkTrials<'_> {
    fn try_patch(&self, patch: &PatchToTry<'_>) -> TriedPatches {
        let looked = self.must_fit(patch.source).and_then(|()| self.look_at(patch));
        if let Err(failure) = looked {
            return TriedPatches { log: format!("lint: {failure}\n").into_bytes(), end: Err(failure) };
        }
        let own = MadePatch {
            source: patch.source.to_owned(),
            id: patch.id.to_string(),
            path: patch.path.to_owned(),
        };
        let patches: Vec<&MadePatch> = patch.required.iter().chain([&own]).collect();
        let sources: BTreeSet<&str> = patches.iter().map(|patch| patch.source.as_str()).collect();
        self.trial(patches, &sources, &self.released.with_needs(&sources)).run(self.request)
    }

    fn try_together(&self, patches: &[MadePatch]) -> TriedTogether {
        let mut log = Vec::new();
        loop {
            let tried = self.try_all(&patches.iter().collect::<Vec<_>>());
            log.extend_from_slice(&tried.log);
            let Err(TrialFailure::Patch(reason)) = &tried.end else {
                return together(log, tried.end, BTreeMap::new());
            };
            let guilty = match self.guilty_of(patches, reason) {
                Ok(guilty) => guilty,
                Err(failure) => return together(log, Err(failure), BTreeMap::new()),
            };
            match guilty {
                Guilty::Patches(guilty) => return together(log, tried.end, guilty),
                Guilty::Released(source, reason) => {
                    let apart = self.set_apart(&source, &reason);
                    let named = |patch: &&MadePatch| apart.contains(&patch.source);
                    let guilty: BTreeMap<String, String> = patches
                        .iter()
                        .filter(named)
                        .map(|patch| (patch.source.clone(), reason.clone()))
                        .collect();
                    if !guilty.is_empty() {
                        return together(log, tried.end, guilty);
                    }
                }
            }
        }
    }
}

/// Whatever keeps patches from passing together.
enum Guilty {
    /// Patches, by their sources, each with the reason.
    Patches(BTreeMap<String, String>),
    /// The released packages of a source, with the reason.
    Released(String, String),
}

fn together(log: Vec<u8>, end: Result<(), TrialFailure>, guilty: BTreeMap<String, String>) -> TriedTogether {
    TriedTogether { tried: TriedPatches { log, end }, guilty }
}

impl BulkTrials<'_> {
    /// Checks that a source is none of those that are apart.
    fn must_fit(&self, source: &str) -> Result<(), TrialFailure> {
        match self.all_apart()?.get(source) {
            Some(reason) => Err(TrialFailure::Patch(reason.clone())),
            None => Ok(()),
        }
    }

    /// Returns the sources that are apart, those included that were found by the trial of patches.
    fn all_apart(&self) -> Result<BTreeMap<String, String>, TrialFailure> {
        let mut apart = self.apart()?.clone();
        apart.extend(self.spoilers().clone());
        Ok(apart)
    }

    fn spoilers(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // Nothing is changed in a way that a panic could leave half-done.
        self.spoilers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a source apart, and those that need it. Returns all of them.
    fn set_apart(&self, source: &str, reason: &str) -> BTreeSet<String> {
        let gone: BTreeSet<String> =
            self.with_those_that_need(source).into_iter().map(str::to_owned).collect();
        self.spoilers().extend(gone.iter().map(|source| (source.clone(), reason.to_owned())));
        gone
    }

    /// Returns the sources whose released packages do not go with the others, so that no package keeps the patches of others
    /// back by what its scripts do.
    fn apart(&self) -> Result<&BTreeMap<String, String>, TrialFailure> {
        self.apart.get_or_init(|| self.find_apart()).as_ref().map_err(Clone::clone)
    }

    fn find_apart(&self) -> Result<BTreeMap<String, String>, TrialFailure> {
        let mut apart = BTreeMap::new();
        loop {
            let mut sources: BTreeSet<&str> = self.released.by_source().into_keys().collect();
            sources.retain(|source| !apart.contains_key(*source));
            let installed = self.released.with_needs(&sources);
            let installed: Vec<&PackageOfSet> = first_of_files(installed.into_iter()).collect();
            let Some((guilty, reason)) = self.guilty_one(&installed)? else { return Ok(apart) };
            let gone = self.with_those_that_need(&guilty.source);
            apart.extend(gone.into_iter().map(|source| (source.to_owned(), reason.clone())));
        }
    }

    /// Returns a source, and those whose released packages need it, directly or not.
    fn with_those_that_need<'s>(&'s self, source: &'s str) -> BTreeSet<&'s str> {
        let mut gone = BTreeSet::from([source]);
        loop {
            let names: BTreeSet<&str> = self.named(&gone);
            let needs_one = |package: &&PackageOfSet| {
                package.delivery.needs.iter().any(|need| names.contains(need.as_str()))
                    && !gone.contains(package.source.as_str())
            };
            let more: Vec<&str> =
                self.released.packages.iter().filter(needs_one).map(|package| &*package.source).collect();
            if more.is_empty() {
                return gone;
            }
            gone.extend(more);
        }
    }

    /// Returns the package that keeps packages from going together, and why: the last one of the fewest that do not, unless it
    /// brings no code and one of the others keeps it from being installed.
    fn guilty_one<'s>(
        &self,
        packages: &[&'s PackageOfSet],
    ) -> Result<Option<(&'s PackageOfSet, String)>, TrialFailure> {
        let files = files_of(packages.iter().copied());
        let of_first = |count: usize| misfit(self.request, files.get(..count).unwrap_or_default());
        let Some(mut found) = of_first(files.len())? else { return Ok(None) };
        // So many first ones go together, and so many do not.
        let (mut good, mut bad) = (0_usize, files.len());
        loop {
            let mut next = good.midpoint(bad);
            if let Misfit::Refused(Some(number), _) = &found {
                // Each is installed by itself: it is known which one failed. It may be that those before it do not go together.
                (bad, next) = (bad.min(number + 1), *number);
            }
            if bad - good <= 1 || !(good..bad).contains(&next) || next == good {
                break;
            }
            match of_first(next)? {
                None => good = next,
                Some(earlier) => (bad, found) = (next, earlier),
            }
        }
        let Some(guilty) = packages.get(good).copied() else { return Ok(None) };
        let name = &guilty.pkgname;
        let reason = match found {
            Misfit::Refused(_, how) => {
                let before = packages.get(..good).unwrap_or_default();
                if let Some(spoiler) = self.spoiler_of(guilty, before)? {
                    let reason = format!("{} keeps {name} from being installed: {how}", spoiler.pkgname);
                    return Ok(Some((spoiler, reason)));
                }
                format!("{name} cannot be installed with the other packages: {how}")
            }
            Misfit::Changed(changed) => {
                match changed.package.and_then(|number| packages.get(number)).map(|owner| &owner.pkgname) {
                    Some(owner) if owner == name => {
                        format!("{name} is not installed as it is delivered: {}", changed.how)
                    }
                    Some(owner) => format!("{name} changes what {owner} has installed: {}", changed.how),
                    None => format!("{name} changes what other packages have installed: {}", changed.how),
                }
            }
        };
        Ok(Some((guilty, reason)))
    }

    /// Returns the package of those before it that keeps a package from being installed which brings no code. `None` if it cannot
    /// be installed without them either, or has scripts that may have ended it.
    fn spoiler_of<'s>(
        &self,
        package: &'s PackageOfSet,
        before: &[&'s PackageOfSet],
    ) -> Result<Option<&'s PackageOfSet>, TrialFailure> {
        if package.is_scripted {
            return Ok(None);
        }
        let own = self.released.with_needs(&BTreeSet::from([&*package.source]));
        let fits_behind = |count: usize| -> Result<bool, TrialFailure> {
            let kept = before
                .iter()
                .enumerate()
                .filter(|(at, one)| *at < count || own.iter().any(|need| need.pkgname == one.pkgname))
                .map(|(_, one)| *one);
            Ok(misfit(self.request, &files_of(kept.chain([package])))?.is_none())
        };
        if before.is_empty() || fits_behind(before.len())? || !fits_behind(0)? {
            return Ok(None);
        }
        first_that_fails(before.len(), fits_behind).map(|place| before.get(place).copied())
    }

    /// Returns the names of the released packages of some sources.
    fn named(&self, sources: &BTreeSet<&str>) -> BTreeSet<&str> {
        let released = self.released.packages.iter();
        released.filter(|package| sources.contains(&*package.source)).map(|package| &*package.pkg).collect()
    }

    /// Tries these patches together over the whole released set.
    fn try_all(&self, patches: &[&MadePatch]) -> TriedPatches {
        match self.all_apart() {
            Ok(apart) => {
                let all = self.released.by_source().into_keys();
                self.try_over(patches, &all.filter(|source| !apart.contains_key(*source)).collect())
            }
            Err(failure) => TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) },
        }
    }

    /// Tries these patches together over the released packages of some sources, and what these need.
    fn try_over(&self, patches: &[&MadePatch], over: &BTreeSet<&str>) -> TriedPatches {
        let sources: BTreeSet<&str> = patches.iter().map(|patch| patch.source.as_str()).collect();
        if let Err(failure) = self.must_be_met(&sources) {
            return TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) };
        }
        let over: BTreeSet<&str> = over.union(&sources).copied().collect();
        let installed = self.released.with_needs(&over);
        self.trial(patches.to_vec(), &over, &installed).run(self.request)
    }

    /// Finds what keeps patches from passing together: the last unit of the fewest that do not pass, unless it brings no code. Then
    /// it is a released package or another unit that this one does not pass with.
    fn guilty_of(&self, patches: &[MadePatch], reason: &str) -> Result<Guilty, TrialFailure> {
        let units = PatchUnits::of(patches, self.libraries, self.released);
        let last = first_that_fails(units.len(), |count| self.passes(&units.first(count)))?;
        let unit = units.with_required(last);
        if !self.passes(&unit)? {
            if let Some(found) = self.released_guilty(&units, last)? {
                return Ok(found);
            }
        } else if !self.is_scripted(units.unit(last)) {
            let passes_behind = |count: usize| self.passes(&units.first_with(count, last));
            let other = first_that_fails(last, passes_behind)?;
            if self.is_scripted(units.unit(other)) {
                let kept: Vec<&str> = units.unit(last).iter().map(|patch| &*patch.id).collect();
                let how = format!("it keeps {} from passing: {reason}", kept.join(", "));
                return Ok(guilty_patches(units.unit(other), &how));
            }
        }
        Ok(guilty_patches(units.unit(last), &format!("it does not fit together with the others: {reason}")))
    }

    /// Returns the released packages that keep a unit from passing over the whole released set, if it is they: patches without
    /// code of their own do not pass there either.
    fn released_guilty(&self, units: &PatchUnits<'_>, last: usize) -> Result<Option<Guilty>, TrialFailure> {
        let is_plain = |at: &usize| !self.is_scripted(&units.with_required(*at));
        let plain = Some(last).filter(is_plain).or_else(|| (0..units.len()).find(is_plain));
        let Some(plain) = plain else { return Ok(None) };
        let unit = units.with_required(plain);
        let apart = self.all_apart()?;
        let all: BTreeSet<&str> = self.released.by_source().into_keys().collect();
        let all: BTreeSet<&str> = all.into_iter().filter(|source| !apart.contains_key(*source)).collect();
        let own: BTreeSet<&str> = unit.iter().map(|patch| &*patch.source).collect();
        let order = sources_in_order(&self.released.with_needs(&all), &own);
        let mut how = String::new();
        let mut passes_over = |count: usize| {
            let over = order.iter().take(count).copied().collect();
            match self.try_over(&unit, &over).end {
                Ok(()) => Ok(true),
                Err(TrialFailure::Patch(reason)) => {
                    how = reason;
                    Ok(false)
                }
                Err(failure) => Err(failure),
            }
        };
        if passes_over(order.len())? || !passes_over(0)? {
            return Ok(None);
        }
        let found = order.get(first_that_fails(order.len(), passes_over)?);
        Ok(found.map(|source| {
            let kept: Vec<&str> = unit.iter().map(|patch| &*patch.id).collect();
            let reason = format!("its released package keeps {} from passing: {how}", kept.join(", "));
            Guilty::Released((*source).to_owned(), reason)
        }))
    }

    /// Tells whether these patches pass together over the whole released set.
    fn passes(&self, patches: &[&MadePatch]) -> Result<bool, TrialFailure> {
        match self.try_all(patches).end {
            Ok(()) => Ok(true),
            Err(TrialFailure::Patch(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Tells whether one of these patches may bring code.
    fn is_scripted(&self, patches: &[&MadePatch]) -> bool {
        let packages = || self.released.packages.iter().chain(&self.newest.packages);
        patches
            .iter()
            .any(|patch| packages().any(|package| package.source == patch.source && package.is_scripted))
    }

    /// Looks at a patch against the released set.
    fn look_at(&self, patch: &PatchToTry<'_>) -> Result<(), TrialFailure> {
        if let Some(shared) = self.newest.shared_with(&self.holders, patch.source) {
            return Err(TrialFailure::Patch(format!(
                "{shared}, which is released: one would overwrite the other"
            )));
        }
        let may_take_away = self.libraries.may_take_away(patch.source);
        let looked = self.base.look_at(patch.path, may_take_away).map_err(TrialFailure::Machine)?;
        looked.map_err(TrialFailure::Patch)
    }

    /// Returns the trial of patches; the packages of these sources are compared.
    fn trial<'p>(
        &self,
        patches: Vec<&'p MadePatch>,
        compared: &BTreeSet<&str>,
        installed: &[&PackageOfSet],
    ) -> SandboxTrial<'p> {
        let patched: BTreeSet<&str> = patches.iter().map(|patch| patch.source.as_str()).collect();
        let released = self.released.packages.iter().filter(|package| compared.contains(&*package.source));
        let released: Vec<&PackageOfSet> = released.collect();
        let expected = released.iter().map(|package| self.expected(package, &patched));
        SandboxTrial {
            expected: files_of(expected),
            released: files_of(released.iter().copied()),
            installed: files_of(installed.iter().copied()),
            patches,
        }
    }

    /// Returns what becomes of a released package where these sources are patched.
    fn expected<'s>(&'s self, released: &'s PackageOfSet, patched: &BTreeSet<&str>) -> &'s PackageOfSet {
        let newest = self.newest.find(&released.pkg, &released.arch);
        newest.filter(|_| patched.contains(&*released.source)).unwrap_or(released)
    }

    /// Checks that everything finds its libraries where these sources are patched.
    fn must_be_met(&self, patched: &BTreeSet<&str>) -> Result<(), TrialFailure> {
        let packages = self.released.packages.iter().map(|package| self.expected(package, patched));
        let files: BTreeSet<(&str, PathBuf)> = packages
            .map(|package| (package.pkgname.as_str(), package.file.directory.join(&package.file.file)))
            .collect();
        let files: Vec<_> = files.into_iter().collect();
        let unmet = unmet_in_files(&files, self.libraries_of_base, self.request.interrupt);
        match unmet {
            Ok(unmet) if unmet.is_empty() => Ok(()),
            Ok(unmet) => Err(TrialFailure::Patch(told(&unmet))),
            Err(SetError::Interrupted(signal)) => Err(TrialFailure::Interrupted(signal)),
            Err(error) => Err(TrialFailure::Machine(error.to_string())),
        }
    }
}

fn guilty_patches(patches: &[&MadePatch], reason: &str) -> Guilty {
    Guilty::Patches(patches.iter().map(|patch| (patch.source.clone(), reason.to_owned())).collect())
}

/// Returns the place of the last one of the fewest first ones that fail, of some that fail together; `passes` is asked whether so
/// many first ones pass.
fn first_that_fails<E>(count: usize, mut passes: impl FnMut(usize) -> Result<bool, E>) -> Result<usize, E> {
    let (mut good, mut bad) = (0, count);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if passes(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

/// Returns the sources of packages, in their order, without some.
fn sources_in_order<'p>(packages: &[&'p PackageOfSet], without: &BTreeSet<&str>) -> Vec<&'p str> {
    let mut seen = without.clone();
    packages.iter().map(|package| &*package.source).filter(|source| seen.insert(*source)).collect()
}

/// Returns the files of packages, each once, in their order.
fn files_of<'p>(packages: impl Iterator<Item = &'p PackageOfSet>) -> Vec<PackageFile> {
    first_of_files(packages).map(|package| package.file.clone()).collect()
}

/// Returns the first package of each file.
fn first_of_files<'p>(
    packages: impl Iterator<Item = &'p PackageOfSet>,
) -> impl Iterator<Item = &'p PackageOfSet> {
    let mut seen = BTreeSet::new();
    packages.filter(move |package| seen.insert((&package.file.directory, &package.file.file)))
}

fn told(unmet: &[UnmetLibrary]) -> String {
    let needs = unmet.iter().map(|one| format!("{} needs {}", one.package, one.library));
    format!("libraries would be missing: {}", first_names(&needs.collect::<Vec<_>>()))
}
