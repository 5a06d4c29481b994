//! The trials of patches: one alone over the released packages of its source, all together over the whole released set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use patchadm_bulk::report::UnmetLibrary;
use patchadm_making::delta::{MadePatch, PatchToTry, PatchTrials, TrialFailure, TriedPatches};

use super::lint::LintBase;
use super::packages::{PackageOfSet, PathHolders, SetPackages};
use super::request::PatchesRequest;
use super::sandbox::{Misfit, SandboxTrial, misfit};
use super::soname::LibraryChanges;
use crate::first_names::first_names;
use crate::set::{SetError, unmet_in_files};
use crate::task::installing::PackageFile;

/// What trials are carried out with.
pub(super) struct BulkTrials<'a> {
    pub(super) request: &'a PatchesRequest<'a>,
    pub(super) released: &'a SetPackages,
    pub(super) newest: &'a SetPackages,
    /// Who has each path of the released set.
    pub(super) holders: PathHolders<'a>,
    pub(super) libraries: &'a LibraryChanges,
    pub(super) base: LintBase,
    /// The sources of released packages that cannot be installed with the others, and of what needs them, each with the reason;
    /// found when the first patch is tried.
    pub(super) apart: OnceLock<Result<BTreeMap<String, String>, TrialFailure>>,
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

    fn try_together(&self, patches: &[MadePatch]) -> TriedPatches {
        let sources: BTreeSet<&str> = patches.iter().map(|patch| patch.source.as_str()).collect();
        let apart = match (self.must_be_met(&sources), self.apart()) {
            (Ok(()), Ok(apart)) => apart,
            (Err(failure), _) | (_, Err(failure)) => {
                return TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) };
            }
        };
        let mut all: BTreeSet<&str> = self.released.by_source().into_keys().collect();
        all.retain(|source| !apart.contains_key(*source));
        let installed = self.released.with_needs(&all);
        self.trial(patches.iter().collect(), &all, &installed).run(self.request)
    }
}

impl BulkTrials<'_> {
    /// Checks that a source is none of those that are apart.
    fn must_fit(&self, source: &str) -> Result<(), TrialFailure> {
        match self.apart()?.get(source) {
            Some(reason) => Err(TrialFailure::Patch(reason.clone())),
            None => Ok(()),
        }
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
            let mut gone = BTreeSet::from([guilty.source.as_str()]);
            loop {
                let names: BTreeSet<&str> = self.named(&gone);
                let needs_one = |package: &&PackageOfSet| {
                    package.needs.iter().any(|need| names.contains(need.as_str()))
                        && !gone.contains(package.source.as_str())
                };
                let more: Vec<&str> =
                    self.released.packages.iter().filter(needs_one).map(|package| &*package.source).collect();
                if more.is_empty() {
                    break;
                }
                gone.extend(more);
            }
            apart.extend(gone.into_iter().map(|source| (source.to_owned(), reason.clone())));
        }
    }

    /// Returns the package whose scripts keep packages from going together, and why: the last one of the fewest that do not.
    fn guilty_one<'s>(
        &self,
        packages: &[&'s PackageOfSet],
    ) -> Result<Option<(&'s PackageOfSet, String)>, TrialFailure> {
        let files = files_of(packages.iter().copied());
        let of_first = |count: usize| misfit(self.request, files.get(..count).unwrap_or_default());
        let Some(mut found) = of_first(files.len())? else { return Ok(None) };
        // So many first ones go together, and so many do not.
        let (mut good, mut bad) = (0, files.len());
        let mut next = bad / 2;
        if let Misfit::Refused(Some(number), _) = &found {
            // Mostly nothing is wrong with those before it.
            (bad, next) = (number + 1, *number);
        }
        while bad - good > 1 {
            match of_first(next)? {
                None => good = next,
                Some(earlier) => (bad, found) = (next, earlier),
            }
            next = good.midpoint(bad);
        }
        let Some(guilty) = packages.get(good).copied() else { return Ok(None) };
        let name = &guilty.pkgname;
        let reason = match found {
            Misfit::Refused(_, how) => {
                format!("{name} cannot be installed with the packages before it: {how}")
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

    /// Returns the names of the released packages of some sources.
    fn named(&self, sources: &BTreeSet<&str>) -> BTreeSet<&str> {
        let released = self.released.packages.iter();
        released.filter(|package| sources.contains(&*package.source)).map(|package| &*package.pkg).collect()
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
        let unmet = unmet_in_files(&files, &self.request.work.conf.base, self.request.interrupt);
        match unmet {
            Ok(unmet) if unmet.is_empty() => Ok(()),
            Ok(unmet) => Err(TrialFailure::Patch(told(&unmet))),
            Err(SetError::Interrupted(signal)) => Err(TrialFailure::Interrupted(signal)),
            Err(error) => Err(TrialFailure::Machine(error.to_string())),
        }
    }
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
