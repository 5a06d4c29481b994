//! Trials of patches: lint, a trial alone over the source's released packages, a trial together over the released set.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::report::UnmetLibrary;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_making::delta::{MadePatch, PatchToTry, PatchTrials, TrialFailure, TriedPatches, TriedTogether};
use patchadm_making::lint::{LintCode, LintFinding, LintInput, Severity, lint};
use patchadm_making::release::{Release, ReleaseError, ReleasePackage, open_packages, set_entries};
use patchadm_rootfs::{Dir, NewTree, side_by_side};
use patchadm_svr4::package::Mode;

use super::PatchesRequest;
use super::inside::{
    LOWER, OwnPackages, PACKAGES, TOUCHED, TrialDifference, TrialOrder, TrialResult, TrialStep,
};
use super::packages::{PackageOfSet, PathHolders, SetPackages, is_of_package};
use super::units::{LibraryChanges, PatchUnits};
use crate::name_list::first_names;
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxLimits, StopCause, TaskLog, environment,
    installer,
};
use crate::set::{BaseLibraries, SetError, unmet_in};
use crate::task::installing::{
    InstallWay, POLICY, POLICY_FILE, PackageFile, ROOM, installed_set, stopped_while,
};
use crate::task::place::{TaskPlace, forget_mount};
use crate::task::sandbox_run::{
    Ticks, fail_if_full, fail_without_room, memory_file, run_installer, run_work_in_sandbox,
};
use crate::task::{StepError, TaskError, TaskFailure};
use crate::tree_copy::copy_file;

pub(super) struct BulkTrials<'a> {
    pub(super) request: &'a PatchesRequest<'a>,
    pub(super) released: &'a SetPackages,
    pub(super) newest: &'a SetPackages,
    pub(super) holders: PathHolders<'a>,
    pub(super) libraries: &'a LibraryChanges,
    pub(super) libraries_of_base: &'a BaseLibraries<'a>,
    pub(super) base: LintBase,
    /// Sources whose released packages conflict with others, and their dependents, with reasons. Computed on first use.
    pub(super) apart: OnceLock<Result<BTreeMap<String, String>, TrialFailure>>,
    /// Conflicting sources, found by the common trial.
    pub(super) spoilers: Mutex<BTreeMap<String, String>>,
    /// Libraries that released packages lack without any patch. Computed on first use.
    pub(super) lacking: OnceLock<Result<Vec<UnmetLibrary>, TrialFailure>>,
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
        self.trial(vec![patches], &sources, &self.released.with_needs(&sources)).run(self.request)
    }

    fn try_together(&self, patches: &[MadePatch]) -> TriedTogether {
        let units = PatchUnits::of(patches, self.libraries, self.released);
        let mut log = Vec::new();
        loop {
            let tried = self.try_all(&units.first(units.len()));
            log.extend_from_slice(&tried.log);
            let Err(TrialFailure::Patch(reason)) = &tried.end else {
                return together(log, tried.end, BTreeMap::new());
            };
            let guilty = match self.guilty_of(&units, reason) {
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

enum Guilty {
    /// Reasons by source.
    Patches(BTreeMap<String, String>),
    /// The source of released packages, and the reason.
    Released(String, String),
}

fn together(log: Vec<u8>, end: Result<(), TrialFailure>, guilty: BTreeMap<String, String>) -> TriedTogether {
    TriedTogether { tried: TriedPatches { log, end }, guilty }
}

impl BulkTrials<'_> {
    fn must_fit(&self, source: &str) -> Result<(), TrialFailure> {
        match self.all_apart()?.get(source) {
            Some(reason) => Err(TrialFailure::Patch(reason.clone())),
            None => Ok(()),
        }
    }

    fn all_apart(&self) -> Result<BTreeMap<String, String>, TrialFailure> {
        let mut apart = self.apart()?.clone();
        apart.extend(self.spoilers().clone());
        Ok(apart)
    }

    fn spoilers(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // A panic cannot leave this half-changed.
        self.spoilers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a source and its dependents as conflicting, and returns them.
    fn set_apart(&self, source: &str, reason: &str) -> BTreeSet<String> {
        let gone: BTreeSet<String> =
            self.released.with_those_that_need(source).into_iter().map(str::to_owned).collect();
        self.spoilers().extend(gone.iter().map(|source| (source.clone(), reason.to_owned())));
        gone
    }

    /// Returns the sources whose released packages conflict. Their scripts cannot hold back other patches.
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
            let gone = self.released.with_those_that_need(&guilty.source);
            apart.extend(gone.into_iter().map(|source| (source.to_owned(), reason.clone())));
        }
    }

    /// Finds the package that causes a conflict: the last one of the shortest failing prefix, unless an earlier package
    /// prevents its installation.
    fn guilty_one<'s>(
        &self,
        packages: &[&'s PackageOfSet],
    ) -> Result<Option<(&'s PackageOfSet, String)>, TrialFailure> {
        let files = files_of(packages.iter().copied());
        let of_first = |count: usize| misfit(self.request, files.get(..count).unwrap_or_default());
        let Some(mut found) = of_first(files.len())? else { return Ok(None) };
        // The lengths of the longest passing and the shortest failing prefix so far.
        let (mut good, mut bad) = (0_usize, files.len());
        loop {
            let mut next = good.midpoint(bad);
            if let Misfit::Refused(Some(number), _) = &found {
                // Each is installed by itself, so the failing one is known. Earlier ones may conflict.
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
                if let Some((spoiler, changes)) = self.spoiler_of(guilty, before)? {
                    let does = format!("{changes}keeps {name} from being installed");
                    return Ok(Some((spoiler, format!("{} {does}: {how}", spoiler.pkgname))));
                }
                format!("{name} cannot be installed with the other packages: {how}")
            }
            Misfit::Changed(changed) => {
                match changed.package.and_then(|number| packages.get(number)).map(|owner| &owner.pkgname) {
                    Some(owner) if owner == name => {
                        format!("{name} was not installed as delivered: {}", changed.how)
                    }
                    Some(owner) => format!("{name} changes what {owner} has installed: {}", changed.how),
                    None => format!("{name} changes objects of other packages: {}", changed.how),
                }
            }
        };
        Ok(Some((guilty, reason)))
    }

    /// Finds the earlier package that prevents the installation of one, and the object that it changes outside the places
    /// of packages. Returns `None` if that one fails alone too. One with scripts may also fail on purpose, so the earlier
    /// package must change such an object, or fail.
    fn spoiler_of<'s>(
        &self,
        package: &'s PackageOfSet,
        before: &[&'s PackageOfSet],
    ) -> Result<Option<(&'s PackageOfSet, String)>, TrialFailure> {
        let own = self.released.with_needs(&BTreeSet::from([&*package.source]));
        let fits_behind = |count: usize| -> Result<bool, TrialFailure> {
            let kept = before
                .iter()
                .enumerate()
                .filter(|(at, one)| *at < count || own.iter().any(|need| need.pkgname == one.pkgname))
                .map(|(_, one)| *one);
            Ok(misfit(self.request, &files_of(kept.chain([package])))?.is_none())
        };
        if before.is_empty() || !fits_behind(0)? || fits_behind(before.len())? {
            return Ok(None);
        }
        let place = first_that_fails(before.len(), fits_behind)?;
        let Some(spoiler) = before.get(place).copied() else { return Ok(None) };
        if !package.is_scripted {
            return Ok(Some((spoiler, String::new())));
        }
        let spoils = self.spoils(before.get(..=place).unwrap_or_default(), &spoiler.source)?;
        Ok(spoils.map(|changes| (spoiler, changes)))
    }

    /// Tells what a source's package changes outside the places of packages when these are installed. The text is empty if
    /// the package fails, as it did not before.
    fn spoils(&self, installed: &[&PackageOfSet], source: &str) -> Result<Option<String>, TrialFailure> {
        for (at, package) in installed.iter().enumerate() {
            if package.source == source && package.is_scripted {
                let files = files_of(installed.iter().take(at + 1).copied());
                let failure = installation_failure(self.request, &files, InstallWay::Watched)?;
                match failure {
                    Some(found) if found.cause == FailureCause::Check => {
                        let path = found.detail;
                        return Ok(Some(format!("changes {path}, which no package delivers, and ")));
                    }
                    Some(found) if is_of_file(&found, &package.file) => return Ok(Some(String::new())),
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    fn try_all(&self, units: &[&[&MadePatch]]) -> TriedPatches {
        match self.sources_together() {
            Ok(over) => self.try_over(units, &over),
            Err(failure) => TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) },
        }
    }

    /// Returns the sources whose released packages are installed together.
    fn sources_together(&self) -> Result<BTreeSet<&str>, TrialFailure> {
        let apart = self.all_apart()?;
        let all = self.released.by_source().into_keys();
        Ok(all.filter(|source| !apart.contains_key(*source)).collect())
    }

    fn try_over(&self, units: &[&[&MadePatch]], over: &BTreeSet<&str>) -> TriedPatches {
        let patches = units.iter().copied().flatten();
        let sources: BTreeSet<&str> = patches.map(|patch| patch.source.as_str()).collect();
        if let Err(failure) = self.must_be_met(&sources) {
            return TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) };
        }
        self.trial_over(units, over).run(self.request)
    }

    fn trial_over<'p>(&self, units: &[&[&'p MadePatch]], over: &BTreeSet<&str>) -> SandboxTrial<'p> {
        let sources = units.iter().copied().flatten().map(|patch| patch.source.as_str());
        let over: BTreeSet<&str> = over.iter().copied().chain(sources).collect();
        self.trial(self.commands(units), &over, &self.released.with_needs(&over))
    }

    /// Returns the patches of each command. A unit with scripts has one of its own, in any trial: its scripts cannot tell
    /// which units follow, and a failure is its own.
    fn commands<'p>(&self, units: &[&[&'p MadePatch]]) -> Vec<Vec<&'p MadePatch>> {
        let scripted = self.scripted_sources();
        let (mut commands, mut is_open): (Vec<Vec<&MadePatch>>, bool) = (Vec::new(), false);
        for unit in units {
            let is_plain = !unit.iter().any(|patch| scripted.contains(&*patch.source));
            match commands.last_mut().filter(|_| is_open && is_plain) {
                Some(command) => command.extend_from_slice(unit),
                None => commands.push(unit.to_vec()),
            }
            is_open = is_plain;
        }
        commands
    }

    fn scripted_sources(&self) -> HashSet<&str> {
        let packages = self.released.packages.iter().chain(&self.newest.packages);
        packages.filter(|package| package.is_scripted).map(|package| &*package.source).collect()
    }

    /// Finds why a common trial failed: a released package, or else one of the units.
    fn guilty_of(&self, units: &PatchUnits<'_>, reason: &str) -> Result<Guilty, TrialFailure> {
        let last = first_that_fails(units.len(), |count| self.passes(&units.first(count)))?;
        if !self.passes(&units.with_required(last))? {
            // Patches without code would also fail there.
            let is_plain = |at: &usize| !self.is_scripted(&units.with_required(*at).concat());
            let plain = (0..units.len()).find(is_plain).filter(|_| !is_plain(&last));
            for at in plain.into_iter().chain([last]) {
                if let Some(found) = self.released_guilty(&units.with_required(at))? {
                    return Ok(found);
                }
            }
        }
        let (guilty, kept) = guilty_unit(units, last, self)?;
        let how = match kept {
            None => format!("it fails together with the others: {reason}"),
            Some(kept) => {
                let kept: Vec<&str> = units.unit(kept).iter().map(|patch| &*patch.id).collect();
                format!("it keeps {} from passing: {reason}", kept.join(", "))
            }
        };
        Ok(guilty_patches(units.unit(guilty), &how))
    }

    /// Returns the command of a unit, with its packages.
    fn watched(&self, commands: &[Vec<&MadePatch>], unit: &[&MadePatch]) -> Option<WatchedCommand> {
        let is_own = |package: &&PackageOfSet| unit.iter().any(|patch| patch.source == package.source);
        let own = || self.released.packages.iter().chain(&self.newest.packages).filter(is_own);
        Some(WatchedCommand {
            number: commands.iter().position(|command| command == unit)?,
            files: files_of(own()),
            names: own().map(|package| package.pkg.clone()).collect(),
        })
    }

    /// Returns released packages that make units fail over the whole set.
    fn released_guilty(&self, units: &[&[&MadePatch]]) -> Result<Option<Guilty>, TrialFailure> {
        let (all, patches) = (self.sources_together()?, units.concat());
        let own: BTreeSet<&str> = patches.iter().map(|patch| &*patch.source).collect();
        let order = sources_in_order(&self.released.with_needs(&all), &own);
        let mut how = String::new();
        let mut passes_over = |count: usize| {
            let over = order.iter().take(count).copied().collect();
            match self.try_over(units, &over).end {
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
        let place = first_that_fails(order.len(), passes_over)?;
        let Some(source) = order.get(place).copied() else { return Ok(None) };
        if self.is_scripted(&patches) {
            let over: BTreeSet<&str> = order.iter().take(place + 1).copied().chain(own).collect();
            let installed: Vec<&PackageOfSet> =
                first_of_files(self.released.with_needs(&over).into_iter()).collect();
            if self.spoils(&installed, source)?.is_none() {
                return Ok(None);
            }
        }
        let kept: Vec<&str> = patches.iter().map(|patch| &*patch.id).collect();
        let reason = format!("its released package keeps {} from passing: {how}", kept.join(", "));
        Ok(Some(Guilty::Released(source.to_owned(), reason)))
    }

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

    fn trial<'p>(
        &self,
        commands: Vec<Vec<&'p MadePatch>>,
        compared: &BTreeSet<&str>,
        installed: &[&PackageOfSet],
    ) -> SandboxTrial<'p> {
        let patched: BTreeSet<&str> = commands.iter().flatten().map(|patch| patch.source.as_str()).collect();
        let released = self.released.packages.iter().filter(|package| compared.contains(&*package.source));
        let released: Vec<&PackageOfSet> = released.collect();
        let newest = self.newest.by_name();
        let expected = released.iter().map(|package| expected(&newest, package, &patched));
        SandboxTrial {
            expected: files_of(expected),
            released: files_of(released.iter().copied()),
            installed: files_of(installed.iter().copied()),
            commands,
            watched: None,
            seen: Cell::default(),
        }
    }

    /// Checks that all libraries are found once these sources are patched, except those that packages lack anyway.
    fn must_be_met(&self, patched: &BTreeSet<&str>) -> Result<(), TrialFailure> {
        let lacking = self.lacking.get_or_init(|| self.unmet(&BTreeSet::new()));
        let lacking = lacking.as_ref().map_err(Clone::clone)?;
        let mut unmet = self.unmet(patched)?;
        unmet.retain(|one| !lacking.contains(one));
        if unmet.is_empty() { Ok(()) } else { Err(TrialFailure::Patch(unmet_text(&unmet))) }
    }

    fn unmet(&self, patched: &BTreeSet<&str>) -> Result<Vec<UnmetLibrary>, TrialFailure> {
        let newest = self.newest.by_name();
        let packages = self.released.packages.iter().map(|package| expected(&newest, package, patched));
        let delivered = first_of_files(packages).map(|package| (&*package.pkgname, &*package.delivered));
        match unmet_in(delivered.collect(), self.libraries_of_base, self.request.interrupt) {
            Ok(unmet) => Ok(unmet),
            Err(SetError::Interrupted(signal)) => Err(TrialFailure::Interrupted(signal)),
            Err(error) => Err(TrialFailure::Machine(error.to_string())),
        }
    }
}

fn expected<'s>(
    newest: &HashMap<(&str, &str), &'s PackageOfSet>,
    released: &'s PackageOfSet,
    patched: &BTreeSet<&str>,
) -> &'s PackageOfSet {
    let newest = newest.get(&(&*released.pkg, &*released.arch)).copied();
    newest.filter(|_| patched.contains(&*released.source)).unwrap_or(released)
}

/// Trials of units in the search for the guilty one.
trait UnitTrials {
    fn passes(&self, tried: &[&[&MadePatch]]) -> Result<bool, TrialFailure>;

    /// Tries the same again, and looks at the changes of one unit. Returns the number of a failing unit, if it is known.
    fn watch(&self, units: &PatchUnits<'_>, tried: &[&[&MadePatch]], at: usize)
    -> Result<Seen, TrialFailure>;

    fn is_scripted(&self, unit: &[&MadePatch]) -> bool;
}

impl UnitTrials for BulkTrials<'_> {
    fn passes(&self, tried: &[&[&MadePatch]]) -> Result<bool, TrialFailure> {
        match self.try_all(tried).end {
            Ok(()) => Ok(true),
            Err(TrialFailure::Patch(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn watch(
        &self,
        units: &PatchUnits<'_>,
        tried: &[&[&MadePatch]],
        at: usize,
    ) -> Result<Seen, TrialFailure> {
        let mut trial = self.trial_over(tried, &self.sources_together()?);
        trial.watched = self.watched(&trial.commands, units.unit(at));
        match trial.result(self.request).1 {
            Ok(_) | Err(TrialFailure::Patch(_)) => {}
            Err(failure) => return Err(failure),
        }
        let Seen::Fails(number) = trial.seen.get() else { return Ok(trial.seen.get()) };
        let command = trial.commands.get(number).map(Vec::as_slice).unwrap_or_default();
        let unit = (0..units.len()).find(|at| units.unit(*at) == command);
        Ok(unit.map_or(Seen::Nothing, Seen::Fails))
    }

    fn is_scripted(&self, unit: &[&MadePatch]) -> bool {
        let scripted = self.scripted_sources();
        unit.iter().any(|patch| scripted.contains(&*patch.source))
    }
}

/// Finds the unit that makes the units up to `last` fail, and the unit that it prevents from passing.
///
/// A unit may fail on purpose, because of what it sees. So another one without which it passes is guilty only if it changes
/// what is not its own, or if the failing one has no scripts. The failing one need not be `last`, which others see too.
fn guilty_unit(
    units: &PatchUnits<'_>,
    last: usize,
    trials: &dyn UnitTrials,
) -> Result<(usize, Option<usize>), TrialFailure> {
    // Units that the failure needs; `others` first units may be more of them.
    let (mut failing, mut kept, mut others) = (last, vec![last], last);
    loop {
        let alone = units.first_with(0, &kept);
        if others == 0 || !trials.passes(&alone)? {
            return Ok(match trials.watch(units, &alone, failing)? {
                Seen::Fails(at) => (at, None),
                Seen::Changes | Seen::Nothing => (failing, None),
            });
        }
        let other = first_that_fails(others, |count| trials.passes(&units.first_with(count, &kept)))?;
        if trials.is_scripted(units.unit(other)) {
            let tried = units.first_with(other + 1, &kept);
            match trials.watch(units, &tried, other)? {
                Seen::Fails(at) if !kept.contains(&at) => {
                    // Its backout may fail because of what a later one has changed.
                    if trials.watch(units, &tried, failing)? == Seen::Changes {
                        return Ok((failing, Some(at)));
                    }
                    kept.push(at);
                    failing = at;
                }
                Seen::Fails(_) | Seen::Nothing if trials.is_scripted(units.unit(failing)) => {}
                Seen::Changes | Seen::Fails(_) | Seen::Nothing => return Ok((other, Some(failing))),
            }
        }
        kept.push(other);
        others = other;
    }
}

fn guilty_patches(patches: &[&MadePatch], reason: &str) -> Guilty {
    Guilty::Patches(patches.iter().map(|patch| (patch.source.clone(), reason.to_owned())).collect())
}

/// Bisects for the last element of the shortest failing prefix. `passes` tests a prefix.
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

fn sources_in_order<'p>(packages: &[&'p PackageOfSet], without: &BTreeSet<&str>) -> Vec<&'p str> {
    let mut seen = without.clone();
    packages.iter().map(|package| &*package.source).filter(|source| seen.insert(*source)).collect()
}

fn files_of<'p>(packages: impl Iterator<Item = &'p PackageOfSet>) -> Vec<PackageFile> {
    first_of_files(packages).map(|package| package.file.clone()).collect()
}

fn first_of_files<'p>(
    packages: impl Iterator<Item = &'p PackageOfSet>,
) -> impl Iterator<Item = &'p PackageOfSet> {
    let mut seen = BTreeSet::new();
    packages.filter(move |package| seen.insert((&package.file.directory, &package.file.file)))
}

fn unmet_text(unmet: &[UnmetLibrary]) -> String {
    let needs = unmet.iter().map(|one| format!("{} needs {}", one.package, one.library));
    format!("libraries would be missing: {}", first_names(&needs.collect::<Vec<_>>()))
}

/// The released set for linting patches, read on first use.
pub(super) struct LintBase {
    directory: PathBuf,
    cores: usize,
    syntax: fn(&[u8]) -> Result<(), String>,
    base: OnceLock<Result<Release, String>>,
}

impl LintBase {
    pub(super) fn of(directory: &Path, cores: usize, syntax: fn(&[u8]) -> Result<(), String>) -> Self {
        Self { directory: directory.to_owned(), cores, syntax, base: OnceLock::new() }
    }

    /// Opens all packages that can be used.
    fn open(&self) -> Result<Release, ReleaseError> {
        let entries = set_entries(&self.directory)?;
        let opened = side_by_side(self.cores.max(1), entries.len(), || {
            |at: usize| {
                let entry = entries.get(at..=at).unwrap_or_default();
                match open_packages("the released set", entry, 1, &|_| true) {
                    Ok(release) => Ok(release.packages),
                    Err(error) if is_of_package(&error.problem) => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            }
        });
        let opened = opened.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut packages: Vec<ReleasePackage> = opened.into_iter().flatten().collect();
        packages.sort_by(|one, other| (&one.name, &one.arch).cmp(&(&other.name, &other.arch)));
        Ok(Release { name: format!("set:{}", self.directory.display()), packages })
    }

    /// Returns the lint errors of a patch. `may_take_away` allows removed libraries. The outer error is the machine's.
    pub(super) fn look_at(&self, patch: &Path, may_take_away: bool) -> Result<Result<(), String>, String> {
        let base = self.base.get_or_init(|| self.open().map_err(|error| error.to_string()));
        let base = base.as_ref().map_err(Clone::clone)?;
        let input = LintInput { base: Some(base), depot: &[], syntax: &self.syntax };
        let linted = match lint(patch, &input) {
            Ok(linted) => linted,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let errors: Vec<String> = linted
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .filter(|finding| !(may_take_away && finding.code == LintCode::Abi))
            .map(shown)
            .collect();
        Ok(if errors.is_empty() { Ok(()) } else { Err(first_names(&errors)) })
    }
}

fn shown(finding: &LintFinding) -> String {
    let place = [finding.package.as_deref(), finding.path.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(": ")) };
    format!("{}: {place}{}", finding.code, finding.text)
}

/// Names a trial as work of the sandbox's first process.
pub const TRIAL: &str = "trial";

const LONGEST: Duration = Duration::from_secs(1800);
const LARGEST_LOG: u64 = 4 << 20;

const LONGEST_RESULT: u64 = 1 << 20;

/// Patches to try in one tree. Without patches, the installed packages are compared.
pub(super) struct SandboxTrial<'a> {
    /// The patches of each command: added in this order, removed in the reverse one.
    pub(super) commands: Vec<Vec<&'a MadePatch>>,
    pub(super) watched: Option<WatchedCommand>,
    pub(super) seen: Cell<Seen>,
    pub(super) installed: Vec<PackageFile>,
    pub(super) released: Vec<PackageFile>,
    pub(super) expected: Vec<PackageFile>,
}

/// A command whose changes are looked at, and its packages.
pub(super) struct WatchedCommand {
    number: usize,
    files: Vec<PackageFile>,
    names: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    #[default]
    Nothing,
    /// The watched command changes what is not its own.
    Changes,
    /// The command with this number fails, or ends the trial.
    Fails(usize),
}

impl SandboxTrial<'_> {
    pub(super) fn run(&self, request: &PatchesRequest<'_>) -> TriedPatches {
        let (log, result) = self.result(request);
        let end =
            result.and_then(|result| result.failure.map_or(Ok(()), |why| Err(TrialFailure::Patch(why))));
        TriedPatches { log, end }
    }

    /// Tries once more if a sandbox loses its first process, which may be an accident.
    fn result(&self, request: &PatchesRequest<'_>) -> (Vec<u8>, Result<TrialResult, TrialFailure>) {
        let (mut log, mut end) = self.attempt(request);
        if let Err(TrialStop::Step(StepError::Machine(TaskError::Lost(_)))) = end {
            (log, end) = self.attempt(request);
        }
        let end = match (end, (request.interrupt)()) {
            (Ok(result), _) => Ok(result),
            (Err(TrialStop::Failed(failure)), _) => Err(failure),
            (Err(_), Some(signal)) => Err(TrialFailure::Interrupted(signal)),
            // Released packages depend on those beside them, so the patch is to blame.
            (Err(TrialStop::Step(StepError::Package(failure))), None) => {
                Err(TrialFailure::Patch(failure.detail))
            }
            (Err(TrialStop::Step(StepError::Machine(lost @ TaskError::Lost(_)))), None) => {
                Err(TrialFailure::Patch(lost.to_string()))
            }
            (Err(TrialStop::Step(StepError::Machine(error))), None) => {
                Err(TrialFailure::Machine(error.to_string()))
            }
        };
        (log, end)
    }

    fn attempt(&self, request: &PatchesRequest<'_>) -> (Vec<u8>, Result<TrialResult, TrialStop>) {
        let work = request.work;
        let of_machine =
            |error: &dyn std::error::Error| Err(TrialStop::Failed(TrialFailure::Machine(error.to_string())));
        let place = match TaskPlace::make(&work.conf.build_dir, &work.id) {
            Ok(place) => place,
            Err(error) => return (Vec::new(), of_machine(&error)),
        };
        let end = self.run_in(request, &place);
        let log = fs::read(place.part("trial.log")).unwrap_or_default();
        match place.remove() {
            Ok(()) => (log, end),
            Err(error) => (log, of_machine(&error)),
        }
    }

    fn run_in(&self, request: &PatchesRequest<'_>, place: &TaskPlace) -> Result<TrialResult, TrialStop> {
        self.seen.set(Seen::Nothing);
        let mut log = TaskLog::begin(place.dir.create(b"trial.log")?, Some(LARGEST_LOG));
        let layer = install(request, place, (&self.installed, InstallWay::Each), &mut log)?;
        let lower: Vec<PathBuf> = layer.into_iter().chain([request.base.0.layer.clone()]).collect();
        let (order, files) = self.put_packages(place, lower.len())?;
        let root = tree_of(request, place, lower)?;
        let upper = root.lay_out(request.interrupt)?;
        NewTree::below(upper.again()?).write(POLICY_FILE.as_bytes(), POLICY.as_bytes(), Mode::of(0o644))?;
        let limits = SandboxLimits::of(&request.work.conf.limits).with_room(Self::room(place)?);
        let mut trial = RunningTrial { request, place, root, order, limits, log, took: Duration::ZERO };
        if self.commands.is_empty() {
            return Ok(trial.judge(TrialStep::Installed, None)?.0);
        }
        let (seen, before) = trial.judge(TrialStep::Before, None)?;
        if seen.failure.is_some() {
            return Ok(seen);
        }
        for (number, files) in files.iter().enumerate() {
            if let Some(failed) = self.step(&mut trial, number, ("add", "applied"), files)? {
                return Ok(failed);
            }
        }
        let (added, _) = trial.judge(TrialStep::Added, None)?;
        if added.failure.is_some() {
            return Ok(added);
        }
        for (number, patches) in self.commands.iter().enumerate().rev() {
            let ids: Vec<String> = patches.iter().map(|patch| patch.id.clone()).collect();
            if let Some(failed) = self.step(&mut trial, number, ("remove", "removed"), &ids)? {
                return Ok(failed);
            }
        }
        Ok(trial.judge(TrialStep::Removed, Some(before))?.0)
    }

    /// Runs a command. Returns the result of the trial if that ends with it.
    fn step(
        &self,
        trial: &mut RunningTrial<'_>,
        number: usize,
        (verb, done): (&str, &str),
        operands: &[String],
    ) -> Result<Option<TrialResult>, TrialStop> {
        let mut before = None;
        if self.watched.as_ref().is_some_and(|watched| watched.number == number) {
            let (seen, state) = trial.judge(TrialStep::Before, None)?;
            if seen.failure.is_some() {
                return Ok(Some(seen));
            }
            before = Some(state);
        }
        self.seen.set(Seen::Fails(number));
        if let Some(how) = trial.call(verb, operands)? {
            return Ok(Some(TrialResult::failed(format!("it cannot be {done}: {how}"))));
        }
        if before.is_some() {
            let (changed, _) = trial.judge(TrialStep::Outside, before)?;
            if changed.failure.is_some() {
                self.seen.set(Seen::Changes);
                return Ok(Some(changed));
            }
        }
        self.seen.set(Seen::Nothing);
        Ok(None)
    }

    /// Returns the disk space for replaced and saved files.
    fn room(place: &TaskPlace) -> Result<u64, StepError> {
        let packages = Dir::of_host(&place.part("packages"))?;
        let mut bytes = ROOM;
        for name in packages.names()? {
            let seen = packages.look(&name)?;
            bytes = bytes.saturating_add(seen.map_or(0, |seen| seen.size).saturating_mul(2));
        }
        Ok(bytes)
    }

    /// Puts patches and packages into the trial directory. Returns the judge's order and the patch files of each command.
    fn put_packages(
        &self,
        place: &TaskPlace,
        layers: usize,
    ) -> Result<(TrialOrder, Vec<Vec<String>>), StepError> {
        let to = place.empty("packages")?;
        let (mut patches, mut number) = (Vec::new(), 0);
        let mut order = TrialOrder {
            step: TrialStep::Installed,
            expected: Vec::new(),
            released: Vec::new(),
            own: OwnPackages::default(),
            has_owners: rustix::process::geteuid().is_root(),
            layers,
        };
        for command in &self.commands {
            let mut files = Vec::new();
            for patch in command {
                let name = patch.path.file_name().unwrap_or_default().to_string_lossy();
                let file = format!("patch{number}-{name}");
                let from = Dir::of_host(patch.path.parent().unwrap_or(Path::new("/")))?;
                copy_file(&from, name.as_bytes(), &to, file.as_bytes())?;
                files.push(format!("{PACKAGES}/{file}"));
                number += 1;
            }
            patches.push(files);
        }
        for (kind, packages, files) in
            [("new", &self.expected, &mut order.expected), ("old", &self.released, &mut order.released)]
        {
            for (number, package) in packages.iter().enumerate() {
                let file = format!("{kind}{number}.pkg");
                copy_file(&Dir::of_host(&package.directory)?, package.file.as_bytes(), &to, file.as_bytes())?;
                if self.watched.as_ref().is_some_and(|watched| watched.files.contains(package)) {
                    order.own.files.insert(file.clone());
                }
                files.push(file);
            }
        }
        order.own.names.extend(self.watched.iter().flat_map(|watched| watched.names.iter().cloned()));
        for name in to.names()? {
            to.set_mode(&name, Mode::of(0o644))?;
        }
        Ok((order, patches))
    }
}

enum TrialStop {
    Failed(TrialFailure),
    Step(StepError),
}

impl<E: Into<StepError>> From<E> for TrialStop {
    fn from(error: E) -> Self {
        Self::Step(error.into())
    }
}

/// A running trial. The judge and each verb enter a sandbox of their own before they start, so they load nothing from
/// the tree, and processes left behind by scripts are gone before judging.
struct RunningTrial<'a> {
    request: &'a PatchesRequest<'a>,
    place: &'a TaskPlace,
    root: BuildRoot,
    order: TrialOrder,
    limits: SandboxLimits,
    log: TaskLog,
    took: Duration,
}

impl RunningTrial<'_> {
    /// Runs the judge, with the state before the patches if it needs that. Returns its result and the recorded state.
    fn judge(&mut self, step: TrialStep, before: Option<File>) -> Result<(TrialResult, File), TrialStop> {
        self.order.step = step;
        // Strings and numbers: serializing these cannot fail.
        let line = serde_json::to_string(&self.order).unwrap_or_default();
        let mut order = memory_file(&format!("{line}\n"))?;
        if let Some(mut before) = before {
            order.seek(SeekFrom::End(0))?;
            io::copy(&mut before, &mut order)?;
        }
        let end_of_order = order.seek(SeekFrom::End(0))?;
        order.rewind()?;
        match self.ended(|place, sandbox, limits, log, ticks| {
            run_work_in_sandbox(place, sandbox, (TRIAL, &order), limits, log, ticks)
        })? {
            Some(EnclosureEnd::Exited(0)) => {}
            end => {
                fail_if_full(&self.place.path)?;
                let how = format!("the examination of the packages ended unexpectedly: {end:?}");
                return Err(TrialStop::Failed(TrialFailure::Patch(how)));
            }
        }
        order.seek(SeekFrom::Start(end_of_order))?;
        let mut line = Vec::new();
        BufReader::new(&order).take(LONGEST_RESULT).read_until(b'\n', &mut line)?;
        let result: TrialResult =
            serde_json::from_slice(&line).map_err(|error| TaskError::Io(error.into()))?;
        if result.failure.is_some() || result.changed.is_some() {
            fail_if_full(&self.place.path)?;
        }
        order.seek(SeekFrom::Start(end_of_order + line.len() as u64))?;
        Ok((result, order))
    }

    fn call(&mut self, verb: &str, operands: &[String]) -> Result<Option<String>, TrialStop> {
        let line = format!("==> patchadm {verb} {}\n", operands.join(" "));
        self.log.add(line.as_bytes(), |_| {})?;
        let operands = operands.iter().map(String::as_str);
        let words: Vec<&str> = ["patchadm", verb].into_iter().chain(operands).collect();
        let how = match self.ended(|place, sandbox, limits, log, ticks| {
            run_installer(place, sandbox, &words, limits, log, ticks)
        })? {
            Some(EnclosureEnd::Exited(0)) => return Ok(None),
            end => end.map_or_else(|| "it was ended".to_owned(), |end| end.to_string()),
        };
        fail_without_room(self.place, SandboxTrial::room(self.place)?.saturating_sub(ROOM))?;
        self.judge(TrialStep::Failed, None)?;
        Ok(Some(format!("{verb}: {how}")))
    }

    fn ended(
        &mut self,
        run: impl FnOnce(
            &TaskPlace,
            (&BuildRoot, SandboxCommand),
            (&SandboxLimits, &[PathBuf]),
            &mut TaskLog,
            Ticks<'_>,
        ) -> Result<SandboxEnd, TaskError>,
    ) -> Result<Option<EnclosureEnd>, TrialStop> {
        forget_mount(&self.root.scratch)?;
        let command = SandboxCommand {
            words: Vec::new(),
            environment: environment(&[]),
            directory: "/".to_owned(),
            user: BuildUser::Installer,
            has_network: false,
            has_terminal: false,
        };
        let limits = self.limits.clone().within(Some(LONGEST.saturating_sub(self.took)));
        let written = [self.root.upper.clone()];
        let mut ticks = |_, _| (self.request.interrupt)().is_some();
        let sandbox = (&self.root, command);
        let ended = run(self.place, sandbox, (&limits, &written), &mut self.log, &mut ticks)?;
        self.took += ended.took;
        let how = match ended.stopped {
            None => return Ok(ended.end),
            Some(StopCause::Time(_)) => format!("it took {} s", self.took.as_secs()),
            Some(StopCause::Output(bytes)) => format!("it printed {bytes} bytes"),
            Some(stopped) => stopped_while(stopped, &self.request.work.conf.limits, "trial").detail,
        };
        Err(TrialStop::Failed(TrialFailure::Patch(how)))
    }
}

pub(super) enum Misfit {
    /// The index of the rejected package, if known, and the reason.
    Refused(Option<usize>, String),
    /// All are installed, but an object differs from its package.
    Changed(TrialDifference),
}

/// Installs packages together, each after its dependencies, and returns the first conflict.
pub(super) fn misfit(
    request: &PatchesRequest<'_>,
    installed: &[PackageFile],
) -> Result<Option<Misfit>, TrialFailure> {
    if let Some(failure) = installation_failure(request, installed, InstallWay::Each)? {
        let number = installed.iter().position(|file| is_of_file(&failure, file));
        return Ok(Some(Misfit::Refused(number, failure.detail)));
    }
    let expected = installed.to_vec();
    let look = SandboxTrial {
        commands: Vec::new(),
        watched: None,
        seen: Cell::default(),
        installed: expected.clone(),
        released: Vec::new(),
        expected,
    };
    Ok(match look.result(request).1 {
        Ok(result) => result.changed.map(Misfit::Changed),
        // Only packages have written there.
        Err(TrialFailure::Patch(how)) => Some(Misfit::Changed(TrialDifference { package: None, how })),
        Err(failure) => return Err(failure),
    })
}

fn is_of_file(failure: &TaskFailure, file: &PackageFile) -> bool {
    failure.detail.strip_prefix(&*file.file).is_some_and(|rest| rest.starts_with(": "))
}

fn installation_failure(
    request: &PatchesRequest<'_>,
    installed: &[PackageFile],
    way: InstallWay,
) -> Result<Option<TaskFailure>, TrialFailure> {
    let machine = |error: &dyn std::fmt::Display| TrialFailure::Machine(error.to_string());
    let work = request.work;
    let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(|error| machine(&error))?;
    let ended = place.dir.create(b"trial.log").map_err(StepError::from).and_then(|log| {
        let mut log = TaskLog::begin(log, Some(LARGEST_LOG));
        install(request, &place, (installed, way), &mut log)
    });
    place.remove().map_err(|error| machine(&error))?;
    match (ended, (request.interrupt)()) {
        (_, Some(signal)) => Err(TrialFailure::Interrupted(signal)),
        (Ok(_), None) => Ok(None),
        (Err(StepError::Machine(error)), None) => Err(machine(&error)),
        (Err(StepError::Package(failure)), None) => Ok(Some(failure)),
    }
}

fn install(
    request: &PatchesRequest<'_>,
    place: &TaskPlace,
    (packages, way): (&[PackageFile], InstallWay),
    log: &mut TaskLog,
) -> Result<Option<PathBuf>, StepError> {
    let mut ticks = |_, _| (request.interrupt)().is_some();
    let base = (request.base.0, &*request.base.1.to_string());
    // Trials belong to no run, so each one checks existing layers.
    let session = format!("{} {:016x}", request.work.id, patchadm_rootfs::random()?);
    let at = (request.work.conf.build_dir.as_path(), session.as_str(), way);
    installed_set(at, base, packages, place, &request.work.conf.limits, (log, &mut ticks))
}

fn tree_of(request: &PatchesRequest<'_>, place: &TaskPlace, lower: Vec<PathBuf>) -> io::Result<BuildRoot> {
    let upper = place.part("upper");
    let mut mounts = vec![
        SandboxMount::read_only(&place.part("packages"), "/packages"),
        SandboxMount::read_only(&upper, format!("/{TOUCHED}")),
        // For scripts, which call commands.
        installer()?,
    ];
    let layers = lower.iter().enumerate();
    mounts.extend(layers.map(|(number, layer)| SandboxMount::read_only(layer, format!("/{LOWER}/{number}"))));
    Ok(BuildRoot {
        kind: request.base.0.kind,
        ids: request.base.0.ids,
        lower,
        upper,
        scratch: place.part("scratch"),
        host: request.base.0.mounted.clone(),
        mounts,
    })
}

#[cfg(test)]
mod tests {
    use patchadm_making::delta::NeededFeature;

    use super::*;
    use crate::patches::packages::made_up::{library, package, set};

    /// Returns the unit that fails, if one does, and the units that changed objects of others before that.
    type Play = fn(&dyn Fn(&str) -> bool) -> (Option<&'static str>, &'static [&'static str]);

    /// Units as played by scripts that see all patches. Names of units without scripts begin with `plain`.
    struct Played(Play);

    impl Played {
        fn play(&self, tried: &[&[&MadePatch]]) -> (Option<&'static str>, &'static [&'static str]) {
            (self.0)(&|name: &str| tried.concat().iter().any(|patch| patch.source == name))
        }
    }

    impl UnitTrials for Played {
        fn passes(&self, tried: &[&[&MadePatch]]) -> Result<bool, TrialFailure> {
            Ok(self.play(tried).0.is_none())
        }

        fn watch(
            &self,
            units: &PatchUnits<'_>,
            tried: &[&[&MadePatch]],
            at: usize,
        ) -> Result<Seen, TrialFailure> {
            let (failing, changing) = self.play(tried);
            if changing.contains(&&*units.unit(at)[0].source) {
                return Ok(Seen::Changes);
            }
            let number = (0..units.len()).find(|at| Some(&*units.unit(*at)[0].source) == failing);
            Ok(number.map_or(Seen::Nothing, Seen::Fails))
        }

        fn is_scripted(&self, unit: &[&MadePatch]) -> bool {
            !unit[0].source.starts_with("plain")
        }
    }

    /// Returns the guilty source, and the one that it keeps from passing. Each need is that of one source for another.
    fn guilty<const N: usize>(
        sources: [&str; N],
        needs: &[(&str, &str)],
        play: Play,
    ) -> (String, Option<String>) {
        let patches = sources.map(|source| MadePatch {
            source: source.to_owned(),
            id: format!("{source}-01"),
            path: format!("/{source}").into(),
        });
        let mut libraries = LibraryChanges::default();
        for (source, needed) in needs {
            let needed = NeededFeature { source: (*needed).to_owned(), feature: library("liba.so") };
            libraries.needs.entry((*source).to_owned()).or_default().push(needed);
        }
        let released = set(sources.map(|name| package(name, &[], &[])).into());
        let (units, played) = (PatchUnits::of(&patches, &libraries, &released), Played(play));
        let last = first_that_fails(units.len(), |count| played.passes(&units.first(count))).unwrap();
        let (guilty, kept) = guilty_unit(&units, last, &played).unwrap();
        let name = |at: usize| units.unit(at)[0].source.clone();
        (name(guilty), kept.map(name))
    }

    #[test]
    fn a_unit_that_fails_where_a_later_one_is_there_is_guilty_and_not_that_one() {
        let play: Play = |has| ((has("evil") && has("victim")).then_some("evil"), &[]);
        assert_eq!(guilty(["evil", "other", "victim"], &[], play), ("evil".to_owned(), None));
        assert_eq!(guilty(["evil", "victim"], &[("victim", "evil")], play), ("evil".to_owned(), None));
        // A third one makes the difference.
        let play: Play = |has| ((has("evil") && has("plain") && has("victim")).then_some("evil"), &[]);
        assert_eq!(guilty(["evil", "plain", "victim"], &[], play), ("evil".to_owned(), None));
    }

    #[test]
    fn a_unit_that_fails_on_purpose_beside_an_earlier_one_is_guilty_unless_that_changes_something() {
        let play: Play = |has| ((has("early") && has("late")).then_some("late"), &[]);
        assert_eq!(guilty(["early", "other", "late"], &[], play), ("late".to_owned(), None));
        let play: Play = |has| ((has("early") && has("late")).then_some("late"), &["early"]);
        let expected = ("early".to_owned(), Some("late".to_owned()));
        assert_eq!(guilty(["early", "other", "late"], &[], play), expected);
        let play: Play = |has| ((has("early") && has("plain late")).then_some("plain late"), &[]);
        let expected = ("early".to_owned(), Some("plain late".to_owned()));
        assert_eq!(guilty(["early", "other", "plain late"], &[], play), expected);
    }

    #[test]
    fn a_unit_that_makes_another_one_fail_where_a_third_one_is_there_is_guilty() {
        let expected = |kept: &str| ("evil".to_owned(), Some(kept.to_owned()));
        let play: Play = |has| {
            if has("evil") && has("trigger") {
                (has("victim").then_some("victim"), &["evil"])
            } else {
                (None, &[])
            }
        };
        assert_eq!(guilty(["evil", "trigger", "victim"], &[], play), expected("victim"));
        assert_eq!(guilty(["evil", "victim", "trigger"], &[], play), expected("victim"));
        assert_eq!(guilty(["evil", "other", "victim", "trigger"], &[], play), expected("victim"));
    }

    #[test]
    fn a_unit_whose_backout_fails_because_of_a_later_one_is_not_guilty() {
        let play: Play = |has| ((has("victim") && has("evil")).then_some("victim"), &["evil"]);
        let expected = ("evil".to_owned(), Some("victim".to_owned()));
        assert_eq!(guilty(["other", "victim", "evil"], &[], play), expected);
    }
}
