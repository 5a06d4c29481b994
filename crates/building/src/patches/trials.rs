//! The trials of patches: one alone over the released packages of its source, all together over the whole released set.

use std::collections::BTreeSet;
use std::path::PathBuf;

use patchadm_bulk::report::UnmetLibrary;
use patchadm_making::delta::{MadePatch, PatchToTry, PatchTrials, TrialFailure, TriedPatches};

use super::lint::LintBase;
use super::packages::{PackageOfSet, PathHolders, SetPackages};
use super::request::PatchesRequest;
use super::sandbox::SandboxTrial;
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
}

impl PatchTrials for BulkTrials<'_> {
    fn try_patch(&self, patch: &PatchToTry<'_>) -> TriedPatches {
        if let Err(failure) = self.look_at(patch) {
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
        if let Err(failure) = self.must_be_met(&sources) {
            return TriedPatches { log: format!("{failure}\n").into_bytes(), end: Err(failure) };
        }
        let all: BTreeSet<&str> = self.released.by_source().into_keys().collect();
        let installed = self.released.with_needs(&all);
        self.trial(patches.iter().collect(), &all, &installed).run(self.request)
    }
}

impl BulkTrials<'_> {
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
    let mut seen = BTreeSet::new();
    let new = packages.filter(|package| seen.insert((&package.file.directory, &package.file.file)));
    new.map(|package| package.file.clone()).collect()
}

fn told(unmet: &[UnmetLibrary]) -> String {
    let needs = unmet.iter().map(|one| format!("{} needs {}", one.package, one.library));
    format!("libraries would be missing: {}", first_names(&needs.collect::<Vec<_>>()))
}
