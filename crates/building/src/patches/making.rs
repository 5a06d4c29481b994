//! Making patches from the released set to the newest one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use patchadm_bulk_values::report::{ReportedPatches, SourcePatchReport, TakenLibrary};
use patchadm_inputs::input_file::read_own;
use patchadm_making::build::PatchForm;
use patchadm_making::delta::{DeltaReport, DeltaRequest, SourceFailure, SourceOutcome, delta, parse_bases};
use patchadm_making::release::ReleaseError;
use serde_json::Value;

use super::packages::{PackageOfSet, SetPackages};
use super::trials::{BulkTrials, LintBase};
use super::units::{LibraryChanges, Providers};
use super::{MadePatches, MakePatchesError, PatchesRequest};
use crate::object_places::root_of_base;
use crate::set::{BaseLibraries, CURRENT, EarlierSet, RELEASED, read_set, set_of_link, verify_set};
use crate::space::must_have_room;
use crate::task::place::remove_abandoned;
use crate::work::{BulkWork, WorkError};

pub(crate) const PATCHES: &str = "patches";

const LARGEST_IDS: u64 = 16 << 20;

pub fn make_patches(request: &PatchesRequest<'_>) -> Result<MadePatches, MakePatchesError> {
    let (work, cores) = (request.work, request.cores);
    if !request.is_dry_run {
        must_have_room(&work.dir, 0)?;
    }
    let released = set_behind(work, RELEASED)?.ok_or(MakePatchesError::NothingReleased)?;
    let newest = set_behind(work, CURRENT)?.ok_or(MakePatchesError::NoSet)?;
    for set in [&released, &newest] {
        verify_set(set, request.interrupt)?;
    }
    let bases = bases(work)?;
    remove_abandoned(&work.conf.build_dir, &work.id, request.interrupt).map_err(WorkError::from)?;
    let base = root_of_base(&work.conf.base).map_err(WorkError::from)?;
    let mut released = SetPackages::read((&released, base.as_ref()), cores, request.interrupt)?;
    let newest = SetPackages::read((&newest, base.as_ref()), cores, request.interrupt)?;
    let (shared_paths, rivals) = released.take_rivals(base.as_ref())?;
    let libraries_of_base = BaseLibraries::new(work, request.interrupt);
    let [before, after] =
        [&released, &newest].map(|set| Providers::find(set, &libraries_of_base, request.interrupt));
    let libraries = LibraryChanges::between((&released, &before?), (&newest, &after?));
    let restricted = restricted_sources(work, &released, &newest);
    let unusable: BTreeMap<&String, &Arc<ReleaseError>> =
        newest.unusable.iter().chain(&released.unusable).collect();
    let others = rivals.iter().chain(unusable.keys().copied()).map(String::as_str);
    let without: BTreeSet<&str> = restricted.iter().copied().chain(others).collect();
    let only = sources_without(&without, &released, &newest);
    let trials = BulkTrials {
        request,
        released: &released,
        newest: &newest,
        holders: released.holders(),
        libraries: &libraries,
        libraries_of_base: &libraries_of_base,
        base: LintBase::of(&released.directory, cores, request.syntax),
        apart: OnceLock::new(),
        spoilers: Mutex::default(),
        lacking: OnceLock::new(),
    };
    let mut made = if only.is_empty() && !without.is_empty() {
        DeltaReport { sources: Vec::new(), to_sign: 0, together: None }
    } else {
        delta(
            &DeltaRequest {
                release: &released.directory,
                stable: &newest.directory,
                work: &work.path.join(PATCHES),
                bases,
                only: if without.is_empty() { &[] } else { &only },
                form: PatchForm::TarGz,
                rebuild: false,
                is_dry_run: request.is_dry_run,
                patch: request.patch,
                against: &[],
                needs: libraries.needs.clone(),
                trials: Some(&trials),
                cores,
                interrupt: request.interrupt,
                meter: request.meter.clone(),
            },
            &mut |_| false,
        )?
    };
    if let Some(before) = request.before {
        for outcome in &mut made.sources {
            let patch = outcome.id.clone().zip(outcome.sha256.clone());
            if patch.is_some_and(|patch| !before.contains(&patch)) {
                outcome.tell_as_built();
            }
        }
    }
    made.sources.extend(
        unusable
            .into_iter()
            .map(|(source, error)| SourceOutcome::failed(source, SourceFailure::Release(error.clone()))),
    );
    made.sources.sort_by(|one, other| one.source.cmp(&other.source));
    let mut patches = reported(&made, (&released, &newest), &libraries, &restricted);
    // Strings and numbers: serializing these cannot fail.
    let shared_paths = serde_json::to_value(&shared_paths).unwrap_or_default();
    patches.report.others.insert("shared_paths".to_owned(), shared_paths);
    Ok(patches)
}

fn set_behind(work: &BulkWork, link: &str) -> Result<Option<EarlierSet>, MakePatchesError> {
    match set_of_link(work, link)? {
        Some(number) => Ok(read_set(work, number)?),
        None => Ok(None),
    }
}

fn bases(work: &BulkWork) -> Result<BTreeMap<String, String>, MakePatchesError> {
    let Some(path) = &work.conf.patch_ids else { return Ok(BTreeMap::new()) };
    let failed = |reason: String| MakePatchesError::Ids { path: path.clone(), reason };
    let text = read_own(path, LARGEST_IDS).map_err(|error| failed(error.to_string()))?;
    parse_bases(&String::from_utf8_lossy(&text)).map_err(|error| failed(error.to_string()))
}

/// Returns the sources without patches because a package is restricted.
fn restricted_sources<'a>(
    work: &BulkWork,
    released: &'a SetPackages,
    newest: &'a SetPackages,
) -> BTreeSet<&'a str> {
    let all = released.packages.iter().chain(&newest.packages);
    let restricted = all.filter(|package| package.is_restricted && !work.conf.restricted);
    restricted.map(|package| package.source.as_str()).collect()
}

fn sources_without(restricted: &BTreeSet<&str>, released: &SetPackages, newest: &SetPackages) -> Vec<String> {
    let all = released.by_source().into_keys().chain(newest.by_source().into_keys());
    let all: BTreeSet<&str> = all.filter(|source| !restricted.contains(source)).collect();
    all.into_iter().map(str::to_owned).collect()
}

fn reported(
    made: &DeltaReport,
    (released, newest): (&SetPackages, &SetPackages),
    libraries: &LibraryChanges,
    restricted: &BTreeSet<&str>,
) -> MadePatches {
    let failure = made.together.as_ref().and_then(|together| together.failure.as_ref());
    let refused = failure.map(|failure| format!("the patches do not fit together: {failure}"));
    let mut others = serde_json::Map::new();
    for word in ["built", "kept", "failed"] {
        others.insert(word.to_owned(), made.count(word).into());
    }
    others.insert("to_sign".to_owned(), made.to_sign.into());
    others.insert("refused".to_owned(), refused.clone().into());
    if let Some(together) = &made.together {
        others.insert("log".to_owned(), together.log.display().to_string().into());
    }
    let (before, after) = (released.by_name(), newest.by_name());
    let is_in = |others: &HashMap<(&str, &str), &PackageOfSet>, package: &PackageOfSet| {
        others.contains_key(&(&*package.pkg, &*package.arch))
    };
    let new = newest.packages.iter().filter(|package| !is_in(&before, package));
    let gone = released.packages.iter().filter(|package| !is_in(&after, package));
    let is_restricted = |package: &&PackageOfSet| restricted.contains(&*package.source);
    let of_restricted = newest.packages.iter().filter(is_restricted);
    others.insert("new".to_owned(), names(new.map(|package| &package.pkgname)));
    others.insert("gone".to_owned(), names(gone.map(|package| &package.pkgname)));
    others.insert("foreign".to_owned(), names(newest.foreign.iter()));
    others.insert("restricted".to_owned(), names(of_restricted.map(|package| &package.pkgname)));
    let sources = made.sources.iter().filter_map(shown).collect();
    let report = ReportedPatches { sources, takes_away: taken(made, libraries), others };
    MadePatches { report, failed: made.count("failed"), refused }
}

fn names<'p>(names: impl Iterator<Item = &'p String>) -> Value {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    names.into_iter().collect()
}

fn shown(outcome: &SourceOutcome) -> Option<SourcePatchReport> {
    // Both types have the same fields, so this cannot fail.
    serde_json::from_value(serde_json::to_value(outcome).ok()?).ok()
}

fn taken(made: &DeltaReport, libraries: &LibraryChanges) -> Vec<TakenLibrary> {
    let has_patch = |outcome: &&SourceOutcome| ["built", "kept"].contains(&outcome.end.word());
    let made = made.sources.iter().filter(has_patch);
    let ids: HashMap<&str, &String> =
        made.filter_map(|outcome| Some((&*outcome.source, outcome.id.as_ref()?))).collect();
    let taken = libraries.taken.iter().filter_map(|taken| {
        let id = (*ids.get(&*taken.source)?).clone();
        Some(TakenLibrary { id, library: taken.feature.to_string(), packages: taken.users.clone() })
    });
    taken.collect()
}
